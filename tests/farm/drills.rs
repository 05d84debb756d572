//! The drills: what an operator does on a bad day, and what is left of the thief.

mod absence;
mod aftermath;
mod snapshot;
mod succession;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use pybots::bus::Stream;
use pybots::model::{
    Build, Command, Head, Keyring, PayloadId, Position, ReportBody, Roster, Timestamp, Verdict,
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
    async fn order_by(&self, key: &SecretKey, number: u64) -> PayloadId {
        self.send_by(key, &self.order(number, &["record"])).await
    }

    async fn send_by(&self, key: &SecretKey, build: &Build) -> PayloadId {
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

/// When each of these commands was accepted, and when its script was started, by the slave's clock.
async fn answered(farm: &Farm, ordered: &BTreeSet<PayloadId>) -> (Vec<Timestamp>, Vec<Timestamp>) {
    let (mut accepted, mut started) = (Vec::new(), Vec::new());
    for report in farm.reports().await {
        let report = report.body();
        match report.body {
            _ if !ordered.contains(&report.command) => {}
            ReportBody::Accepted { received } => accepted.push(received),
            ReportBody::StepStarted { started: at, .. } => started.push(at),
            ReportBody::Refused { .. }
            | ReportBody::Deferred { .. }
            | ReportBody::StepFinished { .. }
            | ReportBody::Finished { .. }
            | ReportBody::Lost { .. } => {}
        }
    }
    (accepted, started)
}

/// A head from far ahead, and a roster of the highest number there is.
async fn thief_says_all_is_well(farm: &Farm, thief: &SecretKey) {
    let head = Head {
        farm: farm.id,
        keyring: at(0, 0),
        roster: u64::MAX,
        time: now().after(Duration::from_secs(100)),
    };
    farm.publish(
        farm.bus.subjects().head(),
        seal(thief, &farm.id, &head).bytes,
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
    farm.publish(subject, seal(thief, &farm.id, &roster).bytes)
        .await;
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
    thief_says_all_is_well(&farm, &thief).await;

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
    let mut thiefs = BTreeSet::from([before]);
    while !revoke.is_finished() {
        thiefs.insert(farm.order_by(&thief, 1_000 + thiefs.len() as u64).await);
    }
    let (begun, output) = revoke.await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let seen = farm.slave_holds("slave.log", at(0, 1)).await;
    for _ in 0..20 {
        thiefs.insert(farm.order_by(&thief, 1_000 + thiefs.len() as u64).await);
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
    let (accepted, started) = answered(&farm, &thiefs).await;
    assert!(started.len() > 1, "the thief's commands ran until then");
    assert!(accepted.iter().all(|received| *received <= seen));
    // Nor did anything begin that had been accepted and waited for its turn. The builder runs one build at a time: a script
    // whose process was on its way at that very moment comes to its first instruction a little later, and is stopped.
    let late = started.iter().filter(|started| **started > seen);
    assert!(late.count() <= 1, "{started:?}, revocation seen {seen}");
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
        started.len(),
    );
    // A thief's last word is not the last: the roster that counts is the farm's again.
    let shown = succeed(&["status", "--json", "--farm", &farm.text("master/farm.toml")]);
    assert!(shown.contains("\"maple\""), "{shown}");
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
    let mut ordered = BTreeSet::new();
    let mut number = 1;
    let detail = loop {
        let id = farm.order_by(&thief, number).await;
        ordered.insert(id);
        match farm.ending(id).await {
            ReportBody::Finished { verdict, .. } => assert_eq!(verdict, Verdict::Passed),
            ReportBody::Refused { code, detail } => {
                assert_eq!(code.as_str(), "E-STALE-HEAD");
                break detail;
            }
            other @ (ReportBody::Accepted { .. }
            | ReportBody::Deferred { .. }
            | ReportBody::StepStarted { .. }
            | ReportBody::StepFinished { .. }
            | ReportBody::Lost { .. }) => panic!("{other:?}"),
        }
        number += 1;
    };
    assert!(detail.as_str().contains("the newest head is"), "{detail}");
    assert!(detail.as_str().ends_with("Nothing ran."), "{detail}");
    assert!(number > 1, "the slave worked until then");
    let limit = dated.after(Duration::from_secs(60));
    let (accepted, _) = answered(&farm, &ordered).await;
    assert!(accepted.iter().all(|received| *received <= limit));
}
