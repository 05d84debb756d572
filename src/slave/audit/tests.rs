//! The record and its chain.

use std::io::Write as _;

use super::*;

const NOW: Timestamp = Timestamp(1_795_370_400_000_000);

fn record(acts: &[&str]) -> (tempfile::TempDir, Audit) {
    let state = tempfile::tempdir().unwrap();
    let audit = Audit::of(state.path());
    for act in acts {
        audit.note(NOW, &Event::owner(act, "")).unwrap();
    }
    (state, audit)
}

fn acts(record: &Record) -> Vec<String> {
    let act = |line: &Line| {
        let Event::Owner { act, .. } = &line.event else {
            panic!("{line:?}")
        };
        act.to_string()
    };
    record.lines.iter().map(act).collect()
}

#[test]
fn what_is_noted_is_read_in_its_order_and_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_state, audit) = record(&["pause", "resume", "panic"]);
    let read = audit.read().unwrap();
    assert_eq!(acts(&read), ["pause", "resume", "panic"]);
    assert_eq!(read.fault, None);
    let mode = fs::metadata(&audit.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (_state, none) = record(&[]);
    assert!(none.read().unwrap().lines.is_empty());
}

#[test]
fn a_change_is_found_at_its_line_whatever_it_is() {
    type Change = fn(&mut Vec<String>);
    let cases: &[(&str, Option<Fault>, Change)] = &[
        ("nothing", None, |_| {}),
        ("a word", Some(Fault::Changed(2)), |lines| {
            lines[1] = lines[1].replace("two", "owt");
        }),
        ("a line is taken out", Some(Fault::Missing(2)), |lines| {
            lines.remove(1);
        }),
        ("the first is taken out", Some(Fault::Missing(1)), |lines| {
            lines.remove(0);
        }),
        ("a line is repeated", Some(Fault::Missing(3)), |lines| {
            let again = lines[1].clone();
            lines.insert(2, again);
        }),
        ("two change places", Some(Fault::Missing(2)), |lines| {
            lines.swap(1, 2);
        }),
        ("a line becomes junk", Some(Fault::Changed(2)), |lines| {
            lines[1] = "junk".to_owned();
        }),
        ("the last becomes junk", Some(Fault::Changed(4)), |lines| {
            lines[3] = "junk".to_owned();
        }),
        ("junk is put in", Some(Fault::Changed(3)), |lines| {
            lines.insert(2, "junk".to_owned());
        }),
    ];
    let (_state, audit) = record(&["one", "two", "three", "four"]);
    let text = fs::read_to_string(&audit.path).unwrap();
    for (case, fault, change) in cases {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(&audit.path, lines.join("\n") + "\n").unwrap();
        assert_eq!(audit.read().unwrap().fault, *fault, "{case}");
    }
}

#[test]
fn a_line_that_a_power_cut_has_torn_is_marked_by_the_next_and_hides_nothing_before_it() {
    for torn in [&b"{\"n\":3,\"ti"[..], b"\0\0\0\0", b"{"] {
        let (_state, audit) = record(&["one", "two"]);
        let append = |bytes: &[u8]| {
            let mut file = File::options().append(true).open(&audit.path).unwrap();
            file.write_all(bytes).unwrap();
        };
        append(torn);
        let read = audit.read().unwrap();
        assert_eq!((acts(&read).len(), read.fault), (2, None));
        audit.note(NOW, &Event::owner("three", "")).unwrap();
        audit.note(NOW, &Event::owner("four", "")).unwrap();
        let read = audit.read().unwrap();
        assert_eq!(acts(&read), ["one", "two", "three", "four"]);
        assert_eq!(read.fault, None);
        assert!(read.lines[2].torn.is_some() && read.lines[3].torn.is_none());
        // What was torn cannot be made anything else afterwards.
        let text = fs::read(&audit.path).unwrap();
        let at = text
            .split(|byte| *byte == b'\n')
            .take(2)
            .map(|line| line.len() + 1)
            .sum::<usize>();
        let mut changed = text.clone();
        changed[at] = b'x';
        fs::write(&audit.path, changed).unwrap();
        assert_eq!(audit.read().unwrap().fault, Some(Fault::Changed(3)));
    }
}
