//! What somebody who holds the broker cannot make a viewer believe.

use pybots::bus::Stream;
use pybots::model::{Build, Digest, Isolation, Report, ReportBody, Verdict};
use pybots::trust::{SecretKey, seal};

use crate::harness::Farm;
use crate::process::now;
use crate::process::succeed;
use crate::viewers::farm_file;

pub(crate) fn claim(farm: &Farm, build: &Build, verdict: Verdict) -> Report {
    Report {
        farm: farm.id,
        slave: build.slave.clone(),
        instance: pybots::model::InstanceId([1; 16]),
        builder: build.builder.clone(),
        command: farm.seal(build).id,
        number: build.number,
        sequence: 99,
        previous: None,
        keyring: pybots::model::Position::default(),
        issued: now(),
        experiment: None,
        body: ReportBody::Finished {
            verdict,
            log: Digest([0; 32]),
            isolation: Isolation::Plain,
            detail: None,
            network: pybots::model::Network::On,
        },
    }
}

#[tokio::test]
async fn a95_a_forged_report_never_reaches_the_board_as_a_result() {
    let farm = Farm::with_slave().await;
    let mut build = farm.order(1, &["record"]);
    build.steps[0].command = "unmapped".parse().unwrap();
    let id = farm.send(&build).await;
    assert_eq!(farm.verdict(id).await, Verdict::Refused);

    let thief = SecretKey::generate().unwrap();
    let report = claim(&farm, &build, Verdict::Passed);
    let subject = farm.bus.subjects().report(&build.slave, &build.builder);
    let mut flipped = seal(&farm.report_key(), &farm.id, &report).bytes;
    *flipped.last_mut().unwrap() ^= 1;
    let forgeries = [
        pybots::wire::encode(&report),
        b"passed".to_vec(),
        seal(&thief, &farm.id, &report).bytes,
        seal(&farm.signing, &farm.id, &report).bytes,
        seal(&farm.report_key(), &pybots::model::FarmId([9; 32]), &report).bytes,
        flipped,
    ];
    let count = forgeries.len();
    for forgery in forgeries {
        farm.publish(subject.clone(), forgery).await;
    }
    let board = farm.board().await;
    assert_eq!(
        board.verdict_of(&"foo-linux/1".parse().unwrap(), now()),
        Some(Verdict::Refused)
    );
    assert_eq!(board.unproven().count(), count);

    let tail = succeed(&["status", "tail", "--json", "--farm", &farm_file(&farm)]);
    assert_eq!(
        tail.lines()
            .filter(|line| line.contains("unproven"))
            .count(),
        count,
        "{tail}"
    );
    assert!(!tail.contains("passed"), "{tail}");
}

#[tokio::test]
async fn a96_a_genuine_report_for_a_command_that_was_never_issued_is_no_result() {
    let farm = Farm::new().await;
    farm.publish_keyring_and_head().await;
    let build = farm.order(7, &["record"]);
    let report = claim(&farm, &build, Verdict::Passed);
    let subject = farm.bus.subjects().report(&build.slave, &build.builder);
    farm.publish(subject, seal(&farm.report_key(), &farm.id, &report).bytes)
        .await;
    let board = farm.board().await;
    assert_eq!(
        board.verdict_of(&"foo-linux/7".parse().unwrap(), now()),
        None
    );
    assert_eq!(board.strays().count(), 1);
}

#[tokio::test]
async fn a14_a_report_of_an_earlier_build_is_not_that_of_a_later_one() {
    let mut farm = Farm::with_slave().await;
    farm.settle(1).await;
    farm.slave.as_mut().unwrap().kill();
    let build = farm.order(2, &["record"]);
    farm.send(&build).await;
    let old = farm.bus.read_all(Stream::Results, ">", 1).await.unwrap();
    for builder in ["foo-linux", "bar-linux"] {
        let subject = farm
            .bus
            .subjects()
            .report(&build.slave, &builder.parse().unwrap());
        for report in &old {
            farm.publish(subject.clone(), report.bytes.to_vec()).await;
        }
    }
    let board = farm.board().await;
    let verdict = |build: &str| board.verdict_of(&build.parse().unwrap(), now());
    assert_eq!(verdict("foo-linux/1"), Some(Verdict::Passed));
    assert_eq!(verdict("foo-linux/2"), None);
    assert_eq!(verdict("bar-linux/1"), None);
    assert_eq!(verdict("bar-linux/2"), None);
}
