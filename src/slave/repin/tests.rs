//! What may be changed in slave.toml, and what a crash leaves behind.

use super::*;
use crate::slave::Journal;

const OLD: FarmId = FarmId([7; 32]);
const NEW: FarmId = FarmId([8; 32]);

fn a_move() -> Move {
    Move {
        slave: "maple".parse().unwrap(),
        from: OLD,
        to: NEW,
        now: Timestamp(1_795_000_000_000_000),
    }
}

/// The state folder of a slave that was killed.
fn state() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["jobs/a", "builders/foo/workspace", "cache", "of-the-owner"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    for name in ["report.key", "bus.nk"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    drop(Journal::open(&folder.path().join("journal.db")).unwrap());
    fs::write(folder.path().join("journal.db-wal"), "").unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn of_slave_toml_only_the_farm_is_changed() {
    let line = |id: FarmId| format!("farm = \"{id}\"");
    let in_comment = format!("# {}\n", line(OLD));
    let in_environment = format!("\n[environment]\nFARM = \"{OLD}\"\n");
    for (before, after) in [
        ("name = \"maple\"\n", "\nbus = \"nats://b:4222\"\n"),
        ("", "  # pinned by hand\r\n[environment]\r\nA = \"1\"\r\n"),
        ("\"a\" = 1\n  ", "\n[farm-tools]\nfarm = \"x\"\n"),
        (&in_comment, &in_environment),
    ] {
        let text = format!("{before}{}{after}", line(OLD));
        let expected = format!("{before}{}{after}", line(NEW));
        assert_eq!(with_farm(&text, &OLD, &NEW), Some(expected), "{text}");
    }
    for spelt in ["farm = 'SHA256:x'", "[environment]\n", "farm ="] {
        assert_eq!(with_farm(spelt, &OLD, &NEW), None, "{spelt}");
    }
    // Only in a comment, or of something else.
    let other = FarmId([9; 32]);
    let text = format!("{} # once {OLD}\n[x]\n{}\n", line(other), line(OLD));
    assert_eq!(with_farm(&text, &OLD, &NEW), None);
}

#[tokio::test]
async fn a37_whatever_is_cut_off_a_new_farm_never_meets_the_old_journal_and_no_slave_starts_between()
 {
    let folder = state();
    let state = folder.path();
    let mut repin = Repin::begin(state).unwrap();
    assert!(matches!(
        Repin::begin(state),
        Err(RunError::AlreadyRunning(_))
    ));
    // Before the first move all is as it was.
    assert_eq!(unfinished(state).unwrap(), None);
    assert!(state.join("journal.db").exists());
    repin.put_away(&a_move(), OldKeys::Stay).await.unwrap();
    // This is what slave.toml finds when it changes, and what a crash then leaves.
    let held = ["bus.nk", "lock", "of-the-owner", "report.key"];
    assert_eq!(names(state)[1..], held);
    assert!(unfinished(state).unwrap().is_some());
    drop(repin);

    let repin = Repin::begin(state).unwrap();
    assert!(repin.was_cut_off());
    let archive = repin.finish().unwrap().unwrap();
    assert_eq!(
        archive.file_name().unwrap(),
        "archive-a4dqobyha4-20261118T110640Z"
    );
    assert_eq!(unfinished(state).unwrap(), None);
    let put_away = [
        "builders",
        "cache",
        "jobs",
        "journal.db",
        "journal.db-wal",
        "repin.txt",
    ];
    assert_eq!(names(&archive), put_away);
    assert!(
        archive.join("jobs/a/abandoned").exists(),
        "no keeper ever runs it"
    );
    let note = fs::read_to_string(archive.join("repin.txt")).unwrap();
    for told in [&OLD, &NEW] {
        assert!(note.contains(&told.to_string()), "{note}");
        assert!(note.contains(&words(told)), "{note}");
    }
}

#[tokio::test]
async fn a37_a_repin_that_was_cut_off_between_two_moves_is_gone_on_with_and_loses_nothing() {
    let folder = state();
    let state = folder.path();
    let begun = state.join(format!("{}{UNFINISHED}", a_move().name()));
    // The keys were put away and new ones made; the journal was not reached.
    fs::create_dir(&begun).unwrap();
    fs::rename(state.join("report.key"), begun.join("report.key")).unwrap();
    fs::write(state.join("report.key"), "newer").unwrap();
    let mut repin = Repin::begin(state).unwrap();
    let later = Move {
        now: a_move().now.after(std::time::Duration::from_secs(60)),
        ..a_move()
    };
    repin.put_away(&later, OldKeys::PutAway).await.unwrap();
    let archive = repin.finish().unwrap().unwrap();
    assert_eq!(archive, begun.with_extension(""));
    let text = |name: &str| fs::read_to_string(archive.join(name)).unwrap();
    assert_eq!(text("report.key"), "report.key");
    assert_eq!(text("report.key.2"), "newer");
    assert_eq!(names(state)[1..], ["lock", "of-the-owner"]);
}
