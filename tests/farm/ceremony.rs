//! Keys that change: rotated, signed offline, replaced by their successors, revoked; and each way that this goes wrong.

mod by_files;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use pybots::bus::Stream;
use pybots::model::{FarmId, Position};
use pybots::trust::{Chain, Purpose, Reader, SecretKey, Terms, countersign, rotation, seal};
use pybots::wire::{Envelope, Kind};
use serde_json::Value;

use self::by_files::Folder;
use crate::bad_input::fails_with;
use crate::harness::Farm;
use crate::process::{PYBOTS, eventually, now, pybots, succeed};

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
pub(crate) fn answer(arguments: &[&str], answer: &str) -> Output {
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

    let rotated = answer(&[&rotate[..], &["--wait"]].concat(), "yes");
    assert!(rotated.status.success(), "{}", said(&rotated));
    let coverage = String::from_utf8_lossy(&rotated.stdout);
    assert_eq!(coverage.trim(), "1 of 1 slave holds 0.1");
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

#[tokio::test]
async fn a_master_that_runs_takes_up_the_new_key_and_its_slave_goes_on() {
    let mut farm = Farm::new().await;
    farm.check_in("first");
    farm.start_master();
    farm.start_slave().await;
    let ran = |builds: usize| {
        let farm = &farm;
        eventually("the script runs", move || async move {
            (farm.ran().len() == builds).then_some(())
        })
    };
    ran(1).await;
    let (config, master) = (
        farm.text("master/master.toml"),
        farm.text("keys/master.key"),
    );
    // Without an overlap the old key signs nothing any more.
    let rotate = format!(
        "keys rotate --config {config} --master-key {master} --overlap-days 0 --yes --wait"
    );
    assert_eq!(succeed(&split(&rotate)).trim(), "1 of 1 slave holds 0.1");
    farm.check_in("second");
    ran(2).await;
    let fresh = SecretKey::load(&farm.path("keys/signing.0.1.key")).unwrap();
    let commands = farm.bus.subjects().commands();
    let newest = farm
        .bus
        .read_all(Stream::Commands, &commands, 1)
        .await
        .unwrap()
        .pop()
        .unwrap();
    let signer = Envelope::parse(&newest.bytes, Kind::Command.max_len())
        .unwrap()
        .signer;
    assert_eq!(signer, fresh.id());
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
    // And stores junk under the next number, which keeps nobody away.
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
        "published       roster, version 3",
        "published       head",
        "published       keyring 0.1",
    ];
    let places: Vec<Option<usize>> = order.iter().map(|line| said.find(line)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{said}");

    let keyring = fs::read(farm.path("keys/test-farm.0.1.keyring")).unwrap();
    let reader = reader_of(&farm, &[keyring]).await;
    let roster = reader.verified_roster().unwrap();
    let fresh = SecretKey::load(&farm.path("keys/signing.0.1.key")).unwrap();
    assert_eq!((roster.body().version, roster.signer()), (3, fresh.id()));
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
    assert_eq!((head.body().keyring, head.body().roster), (at(0, 1), 3));

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
