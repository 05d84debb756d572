//! The drills: what an operator does on a bad day, and what is left of the thief.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use pybots::bus::Stream;
use pybots::model::{
    Build, Command, Head, Keyring, Position, ReportBody, Roster, Timestamp, Verdict,
};
use pybots::trust::{Chain, Reader, SecretKey, Terms, countersign, rotation, seal};

use crate::harness::{Farm, write_private};
use crate::process::{PYBOTS, Process, eventually, now, pybots, succeed};

fn at(generation: u32, serial: u32) -> Position {
    Position { generation, serial }
}

impl Farm {
    /// Runs a ceremony with this farm's files and the keys from their sticks.
    fn ceremony(&self, arguments: &[&str]) -> Output {
        let config = self.text("master/master.toml");
        let output = pybots(&[arguments, &["--config", &config]].concat());
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// A build that whoever holds `key` orders.
    async fn order_by(&self, key: &SecretKey, number: u64) -> pybots::model::PayloadId {
        self.send_by(key, &self.order(number, &["record"])).await
    }

    async fn send_by(&self, key: &SecretKey, build: &Build) -> pybots::model::PayloadId {
        let sealed = seal(key, &self.id, &Command::Build(build.clone()));
        let subject = self.bus.subjects().command(&build.slave, &build.builder);
        self.publish(subject, sealed.bytes).await;
        sealed.id
    }

    /// Everything that the farm has published of its keys, as a viewer takes it in.
    async fn keyrings(&self) -> Chain {
        let first = fs::read(self.path("keys/test-farm.keyring")).unwrap();
        let mut chain = Chain::new(self.id, &first).unwrap();
        for delivery in self.bus.read_all(Stream::Keyring, ">", 1).await.unwrap() {
            let _ = chain.learn(&delivery.bytes);
        }
        chain
    }

    /// Waits until the slave says that it holds a keyring; returns when it took it.
    async fn slave_holds(&self, log: &str, position: Position) -> Timestamp {
        eventually("the slave holds the keyring", || async {
            logged(&self.path(log), "keyring accepted", &position.to_string()).pop()
        })
        .await
    }
}

/// When each line of a slave's log with both texts in it was written.
fn logged(log: &Path, message: &str, value: &str) -> Vec<Timestamp> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .filter(|line| line.contains(message) && line.contains(&format!("\"{value}\"")))
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|line| line["timestamp"].as_str()?.parse::<jiff::Timestamp>().ok())
        .map(|time| Timestamp(u64::try_from(time.as_microsecond()).unwrap()))
        .collect()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Slave maple's builds that were accepted, with the moment at which their commands came.
async fn accepted(farm: &Farm) -> Vec<(u64, Timestamp)> {
    let reports = farm.reports().await;
    reports
        .iter()
        .filter_map(|report| match report.body().body {
            ReportBody::Accepted { received } => Some((report.body().number, received)),
            _ => None,
        })
        .collect()
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the time is what the drill measures")]
async fn drill_1_a_stolen_signing_key_orders_nothing_from_the_moment_its_revocation_is_seen() {
    let mut farm = Farm::new().await;
    farm.start_master();
    eventually("a head is there", || async {
        farm.bus
            .read_newest(Stream::Head, &farm.bus.subjects().head())
            .await
            .ok()?
    })
    .await;
    farm.start_slave().await;
    let good = farm.check_in("first");
    eventually("the first check-in is built", || async {
        (!farm.ran().is_empty()).then_some(())
    })
    .await;

    // The thief orders builds, says that all is well until far ahead, and takes the highest number that a roster can have.
    let thief = SecretKey::load(&farm.path("keys/signing.key")).unwrap();
    let before = farm.order_by(&thief, 1_000).await;
    assert_eq!(farm.verdict(before).await, Verdict::Passed);
    let head = Head {
        farm: farm.id,
        keyring: at(0, 0),
        roster: u64::MAX,
        time: now().after(Duration::from_secs(100)),
    };
    farm.publish(
        farm.bus.subjects().head(),
        seal(&thief, &farm.id, &head).bytes,
    )
    .await;
    let roster = Roster {
        farm: farm.id,
        version: u64::MAX,
        keyring: at(0, 0),
        issued: now(),
        lines: Vec::new(),
    };
    let subject = farm.bus.subjects().roster(u64::MAX);
    farm.publish(subject, seal(&thief, &farm.id, &roster).bytes)
        .await;

    let id = thief.id().to_string();
    let config = farm.text("master/master.toml");
    let master_key = farm.text("keys/master.key");
    let revoke = tokio::task::spawn_blocking(move || {
        let begun = now();
        let arguments = [
            "keys",
            "revoke",
            &id,
            "--compromised",
            "--config",
            &config,
            "--master-key",
            &master_key,
            "--confirm",
            "0.1",
            "--roster-version",
            "1",
        ];
        (begun, pybots(&arguments))
    });
    let mut number = 1_001;
    while !revoke.is_finished() {
        farm.order_by(&thief, number).await;
        number += 1;
    }
    let (begun, output) = revoke.await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let seen = farm.slave_holds("slave.log", at(0, 1)).await;
    let last = number + 20;
    for number in number..last {
        farm.order_by(&thief, number).await;
    }

    // The master goes on with the new key, by itself.
    let next = farm.check_in("second");
    eventually("a check-in is built under the new key", || async {
        let line = format!(" {next}");
        farm.ran()
            .iter()
            .any(|ran| ran.ends_with(&line))
            .then_some(())
    })
    .await;
    assert!(farm.ran().iter().any(|ran| ran.ends_with(&good)));
    let accepted = accepted(&farm).await;
    let thiefs: Vec<_> = accepted
        .iter()
        .filter(|(number, _)| *number >= 1_000)
        .collect();
    assert!(!thiefs.is_empty());
    for (number, received) in &thiefs {
        assert!(
            *received <= seen,
            "build {number} was accepted {:?} after the revocation was seen\n{}",
            received.since(seen),
            farm.slave_said()
                .lines()
                .filter(|l| l.contains("keyring")
                    || l.contains("head")
                    || l.contains("rejected")
                    || l.contains("accepted"))
                .map(|l| l.chars().take(330).collect::<String>())
                .collect::<Vec<_>>()
                .join("\n")
        );
    }
    assert!(thiefs.iter().all(|(accepted, _)| *accepted < number));
    let refused = logged(&farm.path("slave.log"), "message rejected", "E-REVOKED");
    assert!(refused.len() >= 20, "{} refusals", refused.len());

    let stored = farm
        .bus
        .read_all(Stream::Keyring, &farm.bus.subjects().keyring(at(0, 1)), 1)
        .await;
    let stored = stored.unwrap()[0].stored;
    println!(
        "from `keys revoke` to refusal: {:.1} ms, of which {:.1} ms from the bus to the slave; {} of the thief's builds ran",
        milliseconds(seen.since(begun)),
        milliseconds(seen.since(stored)),
        thiefs.len(),
    );
    // A thief's last word is not the last: the roster that counts is the farm's again.
    let shown = succeed(&["status", "--json", "--farm", &farm.text("master/farm.toml")]);
    assert!(shown.contains("\"maple\""), "{shown}");
}

#[tokio::test]
async fn drill_2_a_succession_takes_the_farm_back_from_a_thief_of_the_master_key() {
    let mut farm = Farm::new().await;
    farm.start_master();
    farm.start_slave().await;
    farm.check_in("first");
    eventually("the first check-in is built", || async {
        (!farm.ran().is_empty()).then_some(())
    })
    .await;

    // The thief signs serials of his own, which list a signing key of his own.
    let stolen = SecretKey::load(&farm.path("keys/master.key")).unwrap();
    let own = SecretKey::generate().unwrap();
    let mut chain = farm.keyrings().await;
    for serial in [5, 9] {
        let keyring = thiefs_keyring(&chain, serial, &own);
        let bytes = countersign(&[&stolen], &keyring).unwrap().to_bytes();
        chain.learn(&bytes).unwrap();
        farm.publish(farm.bus.subjects().keyring(keyring.position), bytes)
            .await;
    }
    farm.slave_holds("slave.log", at(0, 9)).await;
    let head = Head {
        farm: farm.id,
        keyring: at(0, 9),
        roster: 1,
        time: now(),
    };
    farm.publish(
        farm.bus.subjects().head(),
        seal(&own, &farm.id, &head).bytes,
    )
    .await;
    let ran = farm.order_by(&own, 500).await;
    assert_eq!(
        farm.verdict(ran).await,
        Verdict::Passed,
        "the slave has taken the thief's serials"
    );

    let successor = farm.text("keys/successor.key");
    let new = farm.text("stick");
    fs::create_dir(&new).unwrap();
    farm.ceremony(&[
        "keys",
        "rotate",
        "--master",
        "--successor-key",
        &successor,
        "--new-successor-dir",
        &new,
        "--confirm",
        "1.0",
    ]);
    farm.slave_holds("slave.log", at(1, 0)).await;
    let before = farm.ran().len();
    for number in 501..511 {
        farm.order_by(&own, number).await;
    }
    let next = farm.check_in("second");
    eventually(
        "the farm builds again, and nobody has touched the slave",
        || async {
            farm.ran()
                .iter()
                .any(|ran| ran.ends_with(&next))
                .then_some(())
        },
    )
    .await;
    assert_eq!(farm.ran().len(), before + 1, "{:?}", farm.ran());
    let refused = logged(&farm.path("slave.log"), "message rejected", "E-KEY");
    assert!(refused.len() >= 10, "{} refusals", refused.len());

    // A slave that was off all the while finds the way by itself, whatever the thief has left on the bus.
    let elm = Elm::new(&farm);
    farm.slave_holds("elm.log", at(1, 0)).await;
    let at_thiefs = logged(&farm.path("elm.log"), "keyring accepted", "0.9");
    assert!(at_thiefs.is_empty(), "the thief's serials are passed over");
    drop(elm);
}

/// A keyring of the thief's: his own key beside the others.
fn thiefs_keyring(chain: &Chain, serial: u32, own: &SecretKey) -> Keyring {
    let terms = Terms {
        now: now(),
        good_for: Duration::from_secs(1 << 20),
        overlap: Duration::from_secs(1 << 20),
    };
    let mut keyring = rotation(
        chain,
        Some(serial),
        SecretKey::generate().unwrap().public(),
        &terms,
    )
    .unwrap();
    let windows = &mut keyring.signing_keys;
    if let Some(window) = windows.last_mut() {
        window.key = own.public();
    }
    if windows
        .iter()
        .filter(|window| window.key == own.public())
        .count()
        > 1
    {
        windows.pop();
    }
    keyring
}

/// A second slave, that logs in with the rights of whoever holds the broker.
struct Elm {
    _process: Process,
}

impl Elm {
    fn new(farm: &Farm) -> Self {
        let folder = farm.text("elm");
        let address = format!("nats://127.0.0.1:{}", farm.port);
        let id = farm.id.to_string();
        succeed(&[
            "slave",
            "init",
            "--name",
            "elm",
            "--farm",
            &id,
            "--bus",
            &address,
            "--builder",
            "foo-elm",
            "--dir",
            &folder,
        ]);
        let seed = farm.path("elm/state/bus.nk");
        fs::remove_file(&seed).unwrap();
        write_private(&seed, &fs::read_to_string(farm.path("hostile.nk")).unwrap());
        let config = farm.text("elm/slave.toml");
        let run = ["--log-format", "json", "slave", "run", "--config", &config];
        Self {
            _process: Process::start(PYBOTS, &run, farm.path("elm.log")),
        }
    }
}

/// Most of the time that a slave may need to catch up, by its own processor.
const CATCH_UP: Duration = Duration::from_millis(900);

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the time is what the drill measures")]
async fn drill_3_a_slave_that_was_off_across_forty_rotations_and_two_successions_catches_up_by_itself()
 {
    let mut farm = Farm::with_slave().await;
    farm.settle(1).await;
    farm.slave.as_mut().unwrap().terminate();
    let first = farm.text("keys/test-farm.keyring");
    let mut ordered = Vec::new();
    let mut master = farm.text("keys/master.key");
    let mut successor = farm.text("keys/successor.key");
    for round in 0..42u64 {
        // Each key orders a build before it gives way to the next.
        let key = newest_signing_key(&farm, &first);
        let mut build = farm.order(10 + round, &["record"]);
        build.accept_by = build.issued.after(Duration::from_millis(1));
        ordered.push(farm.send_by(&key, &build).await);
        let keyring = [
            "--keyring",
            first.as_str(),
            "--overlap-days",
            "0",
            "--no-publish",
        ];
        if round == 14 || round == 28 {
            let stick = farm.text(&format!("stick-{round}"));
            fs::create_dir(&stick).unwrap();
            let generation = if round == 14 { 1 } else { 2 };
            let confirm = format!("{generation}.0");
            let rotate = [
                "keys",
                "rotate",
                "--master",
                "--successor-key",
                &successor,
                "--new-successor-dir",
                &stick,
                "--confirm",
                &confirm,
            ];
            succeed(&[&rotate[..], &keyring].concat());
            master = successor;
            let next = fs::read_dir(&stick)
                .unwrap()
                .map(|entry| entry.unwrap().path());
            let next =
                next.filter(|path| path.extension().is_some_and(|extension| extension == "key"));
            successor = next
                .last()
                .expect("a successor")
                .to_string_lossy()
                .into_owned();
        } else {
            let rotate = ["keys", "rotate", "--master-key", &master, "--yes"];
            succeed(&[&rotate[..], &keyring].concat());
        }
    }
    let newest = newest_keyring(&farm, &first);
    assert_eq!(newest, at(2, 13));
    farm.ceremony(&["keys", "publish"]);
    let key = newest_signing_key(&farm, &first);
    let head = Head {
        farm: farm.id,
        keyring: newest,
        roster: 1,
        time: now(),
    };
    farm.publish(
        farm.bus.subjects().head(),
        seal(&key, &farm.id, &head).bytes,
    )
    .await;

    let log = farm.path("slave.log");
    let started_before = logged(&log, "slave started", "maple").len();
    farm.start_slave().await;
    let caught_up = farm.slave_holds("slave.log", newest).await;
    for id in &ordered {
        let ending = farm.ending(*id).await;
        let ReportBody::Refused { code, .. } = ending else {
            panic!("{ending:?}")
        };
        assert_eq!(code.as_str(), "E-EXPIRED");
    }
    let answered = farm.reports().await.last().unwrap().body().issued;
    let connected = *logged(
        &log,
        "bus connected",
        &format!("nats://127.0.0.1:{}", farm.port),
    )
    .last()
    .unwrap();
    assert_eq!(
        logged(&log, "slave started", "maple").len(),
        started_before + 1
    );
    let used = cpu_time(farm.slave.as_ref().unwrap());
    println!(
        "42 keyrings: caught up {:.0} ms after connecting, all 42 commands answered after {:.0} ms; {:.0} ms of processor time since the process began",
        milliseconds(caught_up.since(connected)),
        milliseconds(answered.since(connected)),
        milliseconds(used),
    );
    assert!(used < CATCH_UP, "{used:?}");
    let fresh = farm.order_by(&key, 100).await;
    assert_eq!(farm.verdict(fresh).await, Verdict::Passed);
    assert_eq!(farm.ran().len(), 2, "{:?}", farm.ran());
}

fn files(farm: &Farm, first: &str) -> Reader {
    let mut reader = Reader::new(farm.id, &fs::read(first).unwrap()).unwrap();
    // However they are named: whichever can be taken in is, until none can.
    let mut learnt = true;
    while std::mem::take(&mut learnt) {
        for entry in fs::read_dir(farm.path("keys")).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "keyring")
            {
                let taken = reader.learn_keyring(&fs::read(&path).unwrap());
                learnt |= matches!(taken, Ok(pybots::trust::Learnt::Newer));
            }
        }
    }
    reader
}

fn newest_keyring(farm: &Farm, first: &str) -> Position {
    files(farm, first).keyring().position
}

fn newest_signing_key(farm: &Farm, first: &str) -> SecretKey {
    let reader = files(farm, first);
    let keys = fs::read_dir(farm.path("keys"))
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name()?.to_str()?;
            let is_signing = name.starts_with("signing.") && name.ends_with(".key");
            is_signing.then(|| SecretKey::load(&path).unwrap())
        });
    let newest = keys.max_by_key(|key| reader.rank(&key.id()));
    newest.expect("a signing key")
}

/// Processor time that a process has used so far.
fn cpu_time(process: &Process) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks: Vec<u64> = after_name
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // Fields 14 and 15 of proc(5), in ticks of 10 ms; the state, field 3, is no number.
    Duration::from_millis((ticks[10] + ticks[11]) * 10)
}

#[tokio::test]
async fn drill_4_a_broker_that_withholds_a_revocation_keeps_nobody_for_longer_than_the_freshness_limit()
 {
    let farm = Farm::new().await;
    farm.write_slave_toml_with_periods("max-head-age-minutes = 1\nhead-seconds = 1");
    let mut farm = farm;
    let keyring = fs::read(farm.path("keys/test-farm.keyring")).unwrap();
    farm.publish(farm.bus.subjects().keyring(at(0, 0)), keyring)
        .await;
    // The last head before the broker held everything back, and 56 of its 60 seconds are over.
    let dated = now().before(Duration::from_secs(56));
    let head = Head {
        farm: farm.id,
        keyring: at(0, 0),
        roster: 1,
        time: dated,
    };
    farm.publish(
        farm.bus.subjects().head(),
        seal(&farm.signing, &farm.id, &head).bytes,
    )
    .await;
    farm.start_slave().await;
    // Revoked, in files that reach nobody.
    let first = farm.text("keys/test-farm.keyring");
    let (id, master) = (farm.signing.id().to_string(), farm.text("keys/master.key"));
    succeed(&[
        "keys",
        "revoke",
        &id,
        "--compromised",
        "--keyring",
        &first,
        "--master-key",
        &master,
        "--confirm",
        "0.1",
        "--no-publish",
    ]);
    let thief = SecretKey::load(&farm.path("keys/signing.key")).unwrap();
    let mut number = 1;
    let detail = loop {
        let id = farm.order_by(&thief, number).await;
        match farm.ending(id).await {
            ReportBody::Finished { verdict, .. } => assert_eq!(verdict, Verdict::Passed),
            ReportBody::Refused { code, detail } => {
                assert_eq!(code.as_str(), "E-STALE-HEAD");
                break detail;
            }
            other => panic!("{other:?}"),
        }
        number += 1;
    };
    assert!(detail.as_str().contains("the newest head is"), "{detail}");
    assert!(detail.as_str().ends_with("Nothing ran."), "{detail}");
    assert!(number > 1, "the slave worked until then");
    let limit = dated.after(Duration::from_secs(60));
    for (number, received) in accepted(&farm).await {
        assert!(
            received <= limit,
            "build {number} was accepted with a stale head"
        );
    }
}
