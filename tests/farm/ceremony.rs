//! Keys that change: rotated, signed offline, replaced by their successors, revoked; and each way that this goes wrong.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use pybots::bus::Stream;
use pybots::model::{FarmId, Position};
use pybots::trust::{Chain, Purpose, Reader, SecretKey, Terms, countersign, rotation, seal};
use serde_json::Value;
use tempfile::TempDir;

use crate::bad_input::fails_with;
use crate::harness::Farm;
use crate::process::{PYBOTS, now, pybots, succeed};

/// The keys of a farm in a folder of their own: nothing runs.
struct Folder(TempDir);

impl Folder {
    fn new(more: &[&str]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let keys = folder.text("");
        succeed(&[&["keys", "init", "test-farm", "--dir", &keys][..], more].concat());
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// The farm's public files, with drafts, as somebody carries them to another machine.
    fn carry_to(&self, other: &Folder) {
        for entry in fs::read_dir(self.0.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.contains(".keyring")
                || Path::new(name).extension().is_some_and(|e| e == "draft")
            {
                fs::copy(&path, other.path(name)).unwrap();
            }
        }
    }

    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn show(&self) -> Value {
        shown(&["keys", "show", &self.text("test-farm.keyring"), "--json"])
    }

    /// A rotation by files alone.
    fn rotate(&self, more: &[&str]) -> Output {
        let first = self.text("test-farm.keyring");
        pybots(&[&["keys", "rotate", "--keyring", &first, "--yes"][..], more].concat())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn shown(arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(arguments)).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn split(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Runs the program and answers it.
fn answer(arguments: &[&str], answer: &str) -> Output {
    let mut child = Command::new(PYBOTS)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever ends before asking does not read it.
    let _ = writeln!(child.stdin.take().unwrap(), "{answer}");
    child.wait_with_output().unwrap()
}

/// Asks, and gets no answer.
fn declines(arguments: &[&str], sentence: &str) {
    let output = pybots(arguments);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(sentence), "{}", said(&output));
}

fn at(generation: u32, serial: u32) -> Position {
    Position { generation, serial }
}

/// What a thief of the master key puts in the place of the next keyring.
fn thiefs_keyring(farm: FarmId, first: &[u8], master: &Path) -> (SecretKey, Vec<u8>) {
    let chain = Chain::new(farm, first).unwrap();
    let stolen = SecretKey::load(master).unwrap();
    let key = SecretKey::generate().unwrap();
    let terms = Terms {
        now: now(),
        good_for: Duration::from_secs(1 << 20),
        overlap: Duration::ZERO,
    };
    let draft = rotation(&chain, None, key.public(), &terms).unwrap();
    (key, countersign(&[&stolen], &draft).unwrap().to_bytes())
}

#[tokio::test]
async fn a_rotation_makes_a_key_and_a_keyring_publishes_it_and_says_who_holds_it() {
    let mut farm = Farm::with_slave().await;
    let config = farm.text("master/master.toml");
    let (master, before) = (farm.text("keys/master.key"), files_of(&farm));
    let rotate = format!("keys rotate --config {config} --master-key {master}");
    let rotate = split(&rotate);

    let dry = pybots(&[&rotate[..], &["--dry-run"]].concat());
    assert!(dry.status.success(), "{}", said(&dry));
    assert!(
        said(&dry).contains("new      signing key ed25519:"),
        "{}",
        said(&dry)
    );
    assert!(
        said(&dry).contains("For the one slave on the roster"),
        "{}",
        said(&dry)
    );
    declines(&rotate, "no answer came, where yes was wanted");
    assert_eq!(answer(&rotate, "no").status.code(), Some(1));
    assert_eq!(files_of(&farm), before, "nothing was made");

    let rotated = answer(&rotate, "yes");
    assert!(rotated.status.success(), "{}", said(&rotated));
    let coverage = String::from_utf8_lossy(&rotated.stdout);
    assert!(coverage.contains("of 1 slave holds 0.1"), "{coverage}");
    let mode = |name: &str| fs::metadata(farm.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("keys/signing.0.1.key") & 0o7777, 0o600);
    assert!(farm.path("keys/test-farm.0.1.keyring").exists());
    assert!(!farm.path("keys/test-farm.0.1.draft").exists());
    let record = fs::read_to_string(farm.path("keys/master.key.signed")).unwrap();
    assert_eq!(record.lines().count(), 2, "{record}");

    // What the bus holds now is all that a viewer needs.
    let farm_file = crate::viewers::farm_file(&farm);
    let by_viewer = shown(&["keys", "show", "--farm-file", &farm_file, "--json"]);
    assert_eq!(by_viewer["position"], "0.1");
    assert_eq!(by_viewer["signing_keys"].as_array().unwrap().len(), 2);
    assert_eq!(by_viewer["slaves"][0]["slave"], "maple");
    assert_eq!(by_viewer["farm"], farm.id.to_string());
    let by_master = shown(&["keys", "show", "--config", &config, "--json"]);
    assert_eq!(by_viewer, by_master);

    // A slave that is away is waited for, not for ever.
    let wait =
        format!("keys rotate --config {config} --master-key {master} --yes --wait --deadline 0");
    farm.slave.take();
    let waited = pybots(&split(&wait));
    assert_eq!(waited.status.code(), Some(7), "{}", said(&waited));
    let coverage = String::from_utf8_lossy(&waited.stdout).into_owned();
    assert_eq!(coverage.trim(), "0 of 1 slave holds 0.2; waiting for maple");

    // Done once, it is done.
    let again = pybots(&["keys", "publish", "--config", &config]);
    assert!(
        again.status.success() && !said(&again).contains("published"),
        "{}",
        said(&again)
    );
    assert!(
        pybots(&["master", "check", "--config", &config])
            .status
            .success()
    );
}

fn files_of(farm: &Farm) -> Vec<PathBuf> {
    let entries = fs::read_dir(farm.path("keys")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_master_key_signs_on_a_machine_without_network_by_files_alone() {
    let farm = Farm::new().await;
    farm.publish_keyring_and_head().await;
    let config = farm.text("master/master.toml");
    let stick = Folder::empty();
    for name in ["master.key", "master.key.signed"] {
        fs::rename(farm.path("keys").join(name), stick.path(name)).unwrap();
    }
    let drafted = answer(&["keys", "rotate", "--config", &config, "--draft"], "yes");
    assert!(drafted.status.success(), "{}", said(&drafted));
    for name in ["test-farm.keyring", "test-farm.0.1.draft"] {
        fs::copy(farm.path("keys").join(name), stick.path(name)).unwrap();
    }
    let (draft, key) = (stick.text("test-farm.0.1.draft"), stick.text("master.key"));
    let sign = format!("keys sign {draft} --key {key}");
    let sign = split(&sign);
    declines(&sign, "no answer came, where 0.1 was wanted");
    assert_eq!(
        answer(&sign, "yes").status.code(),
        Some(1),
        "the position is asked for"
    );
    let signed = answer(&sign, "0.1");
    assert!(signed.status.success(), "{}", said(&signed));
    assert!(
        said(&signed).contains(&farm.id.to_string()),
        "{}",
        said(&signed)
    );
    assert!(!farm.path("keys/test-farm.0.1.keyring").exists());
    fails_with(
        &[
            "keys",
            "publish",
            &stick.text("test-farm.0.1.draft"),
            "--config",
            &config,
        ],
        4,
        "is not a keyring that verifies",
    );

    let home = farm.text("keys/test-farm.0.1.keyring");
    fs::copy(stick.path("test-farm.0.1.keyring"), &home).unwrap();
    succeed(&["keys", "verify", &home, "--farm", &farm.id.to_string()]);
    let published = pybots(&["keys", "publish", "--config", &config]);
    assert!(
        said(&published).contains("published       keyring 0.1"),
        "{}",
        said(&published)
    );
    let subject = farm.bus.subjects().keyring(at(0, 1));
    let there = farm
        .bus
        .read_newest(Stream::Keyring, &subject)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(there.bytes, fs::read(home).unwrap());
}

#[test]
fn a_master_key_never_signs_two_keyrings_for_one_place() {
    let (here, there, stick) = (Folder::new(&[]), Folder::empty(), Folder::empty());
    here.carry_to(&there);
    let key = here.text("master.key");
    // Two operators draft at once.
    for folder in [&here, &there] {
        assert!(folder.rotate(&["--draft"]).status.success());
    }
    let draft = |folder: &Folder| folder.text("test-farm.0.1.draft");
    succeed(&[
        "keys",
        "sign",
        &draft(&here),
        "--key",
        &key,
        "--confirm",
        "0.1",
    ]);
    let second = [
        "keys",
        "sign",
        &draft(&there),
        "--key",
        &key,
        "--confirm",
        "0.1",
    ];
    fails_with(&second, 4, "this key has signed another keyring 0.1");
    assert!(!there.path("test-farm.0.1.keyring").exists());
    // The same once more is not another one.
    fs::remove_file(here.path("test-farm.0.1.keyring")).unwrap();
    succeed(&[
        "keys",
        "sign",
        &draft(&here),
        "--key",
        &key,
        "--confirm",
        "0.1",
    ]);

    // Where nothing can be written down, nothing is signed. A folder stands in for a stick that is write-protected.
    fs::copy(&key, stick.path("master.key")).unwrap();
    fs::create_dir(stick.path("master.key.signed")).unwrap();
    let key = stick.text("master.key");
    fails_with(
        &[
            "keys",
            "sign",
            &draft(&there),
            "--key",
            &key,
            "--confirm",
            "0.1",
        ],
        8,
        "master.key.signed",
    );
    assert!(!there.path("test-farm.0.1.keyring").exists());

    // One that was signed and lost is passed over on purpose.
    fs::remove_file(draft(&there)).unwrap();
    fs::remove_file(there.path("signing.0.1.key")).unwrap();
    let key = here.text("master.key");
    assert_eq!(there.rotate(&["--master-key", &key]).status.code(), Some(4));
    let passed = there.rotate(&["--master-key", &key, "--serial", "2"]);
    assert!(passed.status.success(), "{}", said(&passed));
    assert_eq!(there.show()["position"], "0.2");
}

#[test]
fn k_of_n_master_keys_sign_together_or_one_machine_after_the_other() {
    let folder = Folder::new(&["--masters", "3", "--threshold", "2"]);
    let keys: Vec<String> = (1..=3)
        .map(|n| folder.text(&format!("master-{n}.key")))
        .collect();
    let both = folder.rotate(&["--master-key", &keys[0], "--master-key", &keys[2]]);
    assert!(both.status.success(), "{}", said(&both));
    assert_eq!(folder.show()["position"], "0.1");

    let one = folder.rotate(&["--master-key", &keys[1]]);
    assert!(said(&one).contains("signed by 1 of 2"), "{}", said(&one));
    assert_eq!(folder.show()["position"], "0.1", "one is not enough");
    let draft = folder.text("test-farm.0.2.draft");
    let sign = |key: &str| answer(&["keys", "sign", &draft, "--key", key], "0.2");
    assert!(
        said(&sign(&keys[1])).contains("signed by 1 of 2"),
        "twice by one is once"
    );
    assert!(sign(&keys[2]).status.success());
    assert_eq!(folder.show()["position"], "0.2");
    assert!(!folder.path("test-farm.0.2.keyring.partial").exists());
    // The third may add its signature.
    assert!(sign(&keys[0]).status.success());
    let verify = ["keys", "verify", &folder.text("test-farm.0.2.keyring")];
    succeed(&verify);

    // Two of the three successors are enough as well: each knows the set that it belongs to.
    let first = folder.text("test-farm.keyring");
    let successors = [1, 3].map(|n| folder.text(&format!("successor-{n}.key")));
    let succession = format!("keys rotate --master --keyring {first} --confirm 1.0");
    let succession = split(&succession);
    let one = ["--successor-key", &successors[0]];
    let two = ["--successor-key", &successors[1]];
    succeed(&[&succession[..], &one, &two].concat());
    let after = folder.show();
    assert_eq!(
        (&after["position"], &after["threshold"]),
        (&"1.0".into(), &2.into())
    );
    assert!(folder.path("successor.1-3.key.set").exists());
}

#[test]
fn a_successor_takes_the_master_keys_place_with_nothing_else_in_hand() {
    let folder = Folder::new(&[]);
    let before = folder.show();
    let key = folder.text("master.key");
    assert!(folder.rotate(&["--master-key", &key]).status.success());
    // The master key is gone, and all that runs.
    let drawer = Folder::empty();
    folder.carry_to(&drawer);
    fs::rename(folder.path("successor.key"), drawer.path("successor.key")).unwrap();
    let first = drawer.text("test-farm.keyring");
    let successor = drawer.text("successor.key");
    let succession = format!("keys rotate --master --keyring {first} --successor-key {successor}");
    let succession = split(&succession);
    fails_with(
        &[&succession[..], &["--yes"]].concat(),
        2,
        "cannot be used with",
    );
    let names = drawer.names();
    let dry = pybots(&[&succession[..], &["--dry-run"]].concat());
    assert!(
        said(&dry).contains("keyring   1.0 takes the place of 0.1"),
        "{}",
        said(&dry)
    );
    assert_eq!(answer(&succession, "yes").status.code(), Some(1));
    assert_eq!(drawer.names(), names, "nothing was made");

    let stolen = before["signing_keys"][0]["id"].as_str().unwrap();
    let done = answer(
        &[&succession[..], &["--compromised", &stolen[..16]]].concat(),
        "1.0",
    );
    assert!(done.status.success(), "{}", said(&done));
    let after = drawer.show();
    assert_eq!(after["farm"], before["farm"], "the farm stays what it was");
    assert_eq!(after["position"], "1.0");
    assert_ne!(after["master_keys"], before["master_keys"]);
    assert_ne!(after["commitment"], before["commitment"]);
    assert_eq!(after["revoked"][0]["id"], stolen);
    assert_eq!(after["revoked"][0]["reason"], "compromised");
    assert_eq!(after["signing_keys"].as_array().unwrap().len(), 2);
    for name in [
        "signing.1.0.key",
        "successor.1.key",
        "test-farm.1.0.keyring",
        "successor.key.signed",
    ] {
        assert!(drawer.path(name).exists(), "{name}");
    }

    // The old master key is worth nothing; the successor signs, and its own successor follows.
    drawer.carry_to(&folder);
    let old = folder.rotate(&["--master-key", &key]);
    assert_eq!(old.status.code(), Some(8));
    assert!(
        said(&old).contains("is no master key of keyring 1.1"),
        "{}",
        said(&old)
    );
    assert!(
        drawer
            .rotate(&["--master-key", &successor])
            .status
            .success()
    );
    let next = drawer.text("successor.1.key");
    let again =
        format!("keys rotate --master --keyring {first} --successor-key {next} --confirm 2.0");
    let again = split(&again);
    succeed(&again);
    assert_eq!(drawer.show()["position"], "2.0");
}

/// Runs each; it must end with that code and sentence, and the folder be as it was.
fn each_fails(folder: &Folder, cases: &[(String, i32, &str)]) {
    let names = folder.names();
    for (line, exit, sentence) in cases {
        fails_with(&split(line), *exit, sentence);
        assert_eq!(folder.names(), names, "{line}");
    }
}

#[test]
fn a_draft_is_signed_only_with_the_right_key_for_the_right_farm_on_its_own_chain() {
    let (ours, theirs) = (Folder::new(&[]), Folder::new(&[]));
    assert!(ours.rotate(&["--draft"]).status.success());
    let draft = ours.text("test-farm.0.1.draft");
    let (key, keyring) = (ours.text("master.key"), ours.text("test-farm.keyring"));
    let their_farm = theirs.show()["farm"].as_str().unwrap().to_owned();
    // A draft that every slave would refuse: it builds on another farm's first keyring.
    let refused = theirs.text("test-farm.0.1.draft");
    fs::copy(&draft, &refused).unwrap();
    // A name that lies.
    let misnamed = ours.text("test-farm.0.2.draft");
    fs::copy(&draft, &misnamed).unwrap();
    let sign = |draft: &str, key: &str| format!("keys sign {draft} --confirm 0.1 --key {key}");
    let no_master = "is no master key of keyring 0.1";
    let cases = [
        (sign(&draft, &theirs.text("master.key")), 8, no_master),
        (sign(&draft, &ours.text("signing.key")), 8, no_master),
        (
            sign(&draft, &ours.text("no.key")),
            8,
            "cannot read the key file",
        ),
        (sign(&draft, &keyring), 8, "so others can read it"),
        (sign(&keyring, &key), 4, "is not the draft of a keyring"),
        (sign(&misnamed, &key), 4, "which its name does not say"),
        (sign(&refused, &key), 4, "E-PREDECESSOR"),
        (
            sign(&draft, &format!("{key} --farm {their_farm}")),
            4,
            "not of the pinned farm",
        ),
        (format!("keys verify {draft}"), 4, "E-ENVELOPE"),
        (
            format!("keys verify {keyring} --farm {their_farm}"),
            4,
            "E-FARM",
        ),
        (
            format!("keys show {draft}"),
            4,
            "is not a keyring that verifies",
        ),
    ];
    each_fails(&ours, &cases);
    // A sibling that does not belong to the chain.
    fs::remove_file(&refused).unwrap();
    let rotated = theirs.rotate(&["--master-key", &theirs.text("master.key")]);
    assert!(rotated.status.success());
    let sibling = ours.text("test-farm.0.1.keyring");
    fs::copy(theirs.path("test-farm.0.1.keyring"), &sibling).unwrap();
    let not_ours = "test-farm.0.1.keyring is not a keyring that verifies";
    fails_with(&["keys", "show", &keyring], 4, not_ours);
    fails_with(&["keys", "verify", &sibling], 4, "E-PREDECESSOR");
}

#[test]
fn each_wrong_thing_in_hand_is_named_and_nothing_is_made() {
    let (ours, theirs) = (Folder::new(&[]), Folder::new(&[]));
    assert!(ours.rotate(&["--draft"]).status.success());
    let draft = ours.text("test-farm.0.1.draft");
    let (key, keyring) = (ours.text("master.key"), ours.text("test-farm.keyring"));
    let other_farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    let rotate = |more: &str| format!("keys rotate --yes --keyring {keyring} {more}");
    let succeed_with = |key: &str, more: &str| {
        format!(
            "keys rotate --master --confirm 1.0 --keyring {keyring} --successor-key {key} {more}"
        )
    };
    let successor = ours.text("successor.key");
    let others = "announces other successor keys";
    let cases = [
        (rotate(""), 8, "test-farm.0.1.draft is there already"),
        (rotate("--serial 0"), 2, "would change nothing"),
        (rotate("--serial 3"), 2, "who signs?"),
        (
            rotate(&format!("--farm {other_farm}")),
            4,
            "not of the pinned farm",
        ),
        (
            format!("keys rotate --master --keyring {keyring}"),
            2,
            "--successor-key",
        ),
        (succeed_with(&theirs.text("successor.key"), ""), 8, others),
        (succeed_with(&key, ""), 8, others),
        (
            succeed_with(&successor, &format!("--from {draft}")),
            8,
            "is none of the keyrings",
        ),
        (
            succeed_with(&successor, "--compromised AAAA"),
            2,
            "lists no signing key AAAA",
        ),
        (succeed_with(&successor, "--yes"), 2, "cannot be used with"),
        (
            format!("keys revoke AAAA --retired --keyring {keyring}"),
            2,
            "lists no signing key AAAA",
        ),
        (
            format!("keys revoke AAAA --keyring {keyring}"),
            2,
            "--compromised",
        ),
        (format!("keys publish --keyring {keyring}"), 2, "which bus?"),
        (
            "keys init x --masters 2 --threshold 3 --dir /nonexistent".to_owned(),
            2,
            "cannot sign",
        ),
    ];
    each_fails(&ours, &cases);
}

#[tokio::test]
async fn a21_what_only_the_bus_holds_stops_every_ceremony_but_a_succession() {
    let farm = Farm::new().await;
    farm.publish_keyring_and_head().await;
    let config = farm.text("master/master.toml");
    let (master, successor) = (
        farm.text("keys/master.key"),
        farm.text("keys/successor.key"),
    );
    let first = fs::read(farm.path("keys/test-farm.keyring")).unwrap();
    let (thief, keyring) = thiefs_keyring(farm.id, &first, &farm.path("keys/master.key"));
    farm.publish(farm.bus.subjects().keyring(at(0, 1)), keyring)
        .await;

    let rotate = format!("keys rotate --config {config} --master-key {master} --yes");
    let rotate = split(&rotate);
    fails_with(
        &rotate,
        4,
        "the bus holds keyring 0.1, signed as it must be",
    );
    // Somebody who does not look makes it a fork.
    let offline = farm.text("keys/test-farm.keyring");
    succeed(&[
        "keys",
        "rotate",
        "--keyring",
        &offline,
        "--master-key",
        &master,
        "--yes",
    ]);
    fails_with(
        &["keys", "publish", "--config", &config],
        4,
        "two different keyrings claim the place 0.1",
    );
    fails_with(
        &["keys", "show", "--config", &config],
        4,
        "two different keyrings claim the place 0.1",
    );
    let subject = farm.bus.subjects().keyring(at(0, 1));
    assert_eq!(
        farm.bus
            .read_all(Stream::Keyring, &subject, 1)
            .await
            .unwrap()
            .len(),
        1,
        "ours was not sent"
    );

    let succession =
        format!("keys rotate --master --config {config} --successor-key {successor} --confirm 1.0");
    let succession = split(&succession);
    let done = pybots(&succession);
    assert!(done.status.success(), "{}", said(&done));
    let told = format!("signing key {} stands only there", thief.public());
    assert!(
        said(&done).contains(&told) || said(&done).contains("two different keyrings claim"),
        "{}",
        said(&done)
    );
    let after = shown(&["keys", "show", "--config", &config, "--json"]);
    assert_eq!(after["position"], "1.0");
    assert!(
        !after["signing_keys"]
            .to_string()
            .contains(&thief.public().to_string())
    );
}

#[tokio::test]
async fn a_revocation_vouches_for_the_roster_first_and_leaves_out_whom_a_thief_let_in() {
    let farm = Farm::new().await;
    farm.publish_keyring_and_head().await;
    let config = farm.text("master/master.toml");
    let master = farm.text("keys/master.key");
    let reader = reader_of(&farm, &[]).await;
    // A thief of the signing key lets somebody in.
    let mut roster = reader.roster().unwrap().clone();
    let mut line = roster.lines[0].clone();
    line.slave = "mole".parse().unwrap();
    line.report_key = SecretKey::generate().unwrap().public();
    line.bus_key = SecretKey::generate().unwrap().public();
    line.builders.clear();
    roster.lines.push(line);
    roster.version += 1;
    let thiefs = seal(&farm.signing, &farm.id, &roster);
    farm.publish(farm.bus.subjects().roster(roster.version), thiefs.bytes)
        .await;
    // And takes the next number.
    farm.publish(
        farm.bus.subjects().roster(roster.version + 1),
        b"mine".to_vec(),
    )
    .await;

    let stolen = farm.signing.public().to_string();
    let revoke =
        format!("keys revoke {stolen} --compromised --config {config} --master-key {master}");
    let revoke = split(&revoke);
    let dry = pybots(&[&revoke[..], &["--dry-run"]].concat());
    assert!(dry.status.success(), "{}", said(&dry));
    assert!(
        said(&dry).contains("mole") && said(&dry).contains("maple"),
        "{}",
        said(&dry)
    );
    assert!(said(&dry).contains("did you approve it?"), "{}", said(&dry));
    assert_eq!(answer(&revoke, "yes").status.code(), Some(1));
    assert!(!farm.path("keys/signing.0.1.key").exists());

    let done = answer(&[&revoke[..], &["--roster-version", "1"]].concat(), "0.1");
    assert!(done.status.success(), "{}", said(&done));
    let said = said(&done);
    let order = [
        "published       roster, version 4",
        "published       head",
        "published       keyring 0.1",
    ];
    let places: Vec<Option<usize>> = order.iter().map(|line| said.find(line)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{said}");

    let keyring = fs::read(farm.path("keys/test-farm.0.1.keyring")).unwrap();
    let reader = reader_of(&farm, &[keyring]).await;
    let roster = reader.verified_roster().unwrap();
    let fresh = SecretKey::load(&farm.path("keys/signing.0.1.key")).unwrap();
    assert_eq!((roster.body().version, roster.signer()), (4, fresh.id()));
    let slaves: Vec<&str> = roster
        .body()
        .lines
        .iter()
        .map(|line| line.slave.as_str())
        .collect();
    assert_eq!(slaves, ["maple"]);
    let subject = farm.bus.subjects().head();
    let head = farm
        .bus
        .read_newest(Stream::Head, &subject)
        .await
        .unwrap()
        .unwrap();
    let head = reader
        .open::<pybots::model::Head>(&head.bytes, Purpose::Admit { now: now() })
        .unwrap();
    assert_eq!((head.body().keyring, head.body().roster), (at(0, 1), 4));

    // The master's commands go on with the new key, and a retired key is only put away.
    assert!(
        pybots(&["master", "check", "--config", &config])
            .status
            .success()
    );
    let id = fresh.id().to_string();
    let retire = format!(
        "keys revoke {} --retired --config {config} --master-key {master} --confirm 0.2",
        &id[..14]
    );
    let retire = split(&retire);
    let retired = pybots(&retire);
    assert!(retired.status.success());
    assert!(!String::from_utf8_lossy(&retired.stderr).contains("signed anew"));
}

/// What somebody holds who has read the keyrings and every roster.
async fn reader_of(farm: &Farm, keyrings: &[Vec<u8>]) -> Reader {
    let first = fs::read(farm.path("keys/test-farm.keyring")).unwrap();
    let mut reader = Reader::new(farm.id, &first).unwrap();
    for keyring in keyrings {
        reader.learn_keyring(keyring).unwrap();
    }
    for delivery in farm.bus.read_all(Stream::Roster, ">", 1).await.unwrap() {
        let _ = reader.learn_roster(&delivery.bytes);
    }
    reader
}
