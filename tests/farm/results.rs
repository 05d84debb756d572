//! What a hostile bus, a copied slave or a stolen key does to results, in every viewer and in the master's log.

use std::fs;

use pybots::model::{InstanceId, Report, ReportBody, Text, Verdict};
use pybots::status::Board;
use pybots::trust::{Verified, seal};
use serde_json::Value;

use crate::harness::Farm;
use crate::process::{PYBOTS, Process, eventually, eventually_or, now, succeed};
use crate::viewers::farm_file;

/// A farm whose slave has passed build foo-linux/1, and that build's reports.
async fn with_a_build() -> (Farm, Vec<Verified<Report>>) {
    let farm = Farm::with_slave().await;
    farm.settle(1).await;
    let reports = farm.reports().await;
    (farm, reports)
}

/// Publishes a report as the slave would sign it.
async fn say(farm: &Farm, report: &Report) {
    let subject = farm.bus.subjects().report(&report.slave, &report.builder);
    let sealed = seal(&farm.report_key(), &farm.id, report);
    farm.publish(subject, sealed.bytes).await;
}

/// What `pybots status` and `pybots build show` say of build foo-linux/1, for people and for programs.
fn shown(farm: &Farm) -> (String, Value, String, Value) {
    let file = farm_file(farm);
    let which = ["--farm", &file];
    let show = |more: &[&str]| succeed(&[more, &which[..]].concat());
    let json = |text: String| serde_json::from_str(&text).unwrap();
    (
        show(&["status"]),
        json(show(&["status", "--json"])),
        show(&["build", "show", "foo-linux/1"]),
        json(show(&["build", "show", "foo-linux/1", "--json"])),
    )
}

fn row(board: &Value) -> &Value {
    let rows = board["rows"].as_array().unwrap();
    let mut rows = rows.iter();
    rows.find(|row| row["builder"] == "foo-linux").unwrap()
}

#[tokio::test]
async fn a97_a_report_that_the_broker_drops_is_missing_for_every_viewer() {
    let (farm, reports) = with_a_build().await;
    let last = reports.last().unwrap();
    // The slave's next two reports, of which the broker lets only the second one through.
    let next = |sequence, previous| Report {
        sequence,
        previous: Some(previous),
        issued: now(),
        body: ReportBody::Accepted { received: now() },
        ..last.body().clone()
    };
    let sequence = last.body().sequence;
    let dropped = next(sequence + 1, last.id());
    let dropped = seal(&farm.report_key(), &farm.id, &dropped);
    say(&farm, &next(sequence + 2, dropped.id)).await;

    let (status, board, page, build) = shown(&farm);
    assert!(
        status.contains("! reports of maple that are missing: 1"),
        "{status}"
    );
    assert_eq!(row(&board)["missing_reports"], 1);
    assert!(
        page.contains("! reports of the slave that are missing, and may be about it: 1"),
        "{page}"
    );
    assert_eq!(build["chain"]["missing"], 1);
    assert_eq!(build["verdict"], "passed");
    // It was only late.
    let subject = farm
        .bus
        .subjects()
        .report(&last.body().slave, &last.body().builder);
    farm.publish(subject, dropped.bytes).await;
    let (_, board, _, _) = shown(&farm);
    assert_eq!(row(&board)["missing_reports"], 0);
}

#[tokio::test]
async fn a98_two_ends_of_one_build_are_a_dispute_for_every_viewer_and_both_are_kept() {
    let (farm, reports) = with_a_build().await;
    let last = reports.last().unwrap();
    let other = Report {
        sequence: last.body().sequence + 1,
        previous: Some(last.id()),
        body: ReportBody::Refused {
            code: Text::tidy("E-WHATEVER"),
            detail: Text::tidy("it never ran"),
        },
        ..last.body().clone()
    };
    say(&farm, &other).await;
    let (status, board, page, build) = shown(&farm);
    assert!(
        status.contains("! foo-linux/1: the slave signed two different ends of it"),
        "{status}"
    );
    assert_eq!(row(&board)["disputed"], true);
    assert!(
        page.contains("it also signed refused E-WHATEVER: it never ran"),
        "{page}"
    );
    assert_eq!(build["verdict"], "passed", "the first stands");
    assert_eq!(build["contradictions"][0]["verdict"], "refused");
    let file = farm_file(&farm);
    let verify = crate::process::pybots(&["build", "verify", "foo-linux/1", "--farm", &file]);
    let said = String::from_utf8_lossy(&verify.stdout).into_owned();
    assert!(said.contains("E-DISPUTED"), "{said}");
}

/// Starts the slave a second time, from a copy of its folder.
fn start_copy(farm: &Farm) -> Process {
    let copy = farm.path("copy");
    fs::create_dir(&copy).unwrap();
    let from = farm.path("slave");
    let status = std::process::Command::new("cp")
        .arg("-a")
        .args([from.join("."), copy.clone()])
        .status();
    assert!(status.unwrap().success());
    let config = copy.join("slave.toml");
    let config = config.to_string_lossy();
    let arguments = ["--log-format", "json", "slave", "run", "--config", &config];
    Process::start(PYBOTS, &arguments, farm.path("copy.log"))
}

#[tokio::test]
async fn a13_a_copied_slave_is_named_by_the_master_and_by_every_viewer() {
    let mut farm = Farm::with_slave().await;
    farm.settle(1).await;
    farm.slave.as_mut().unwrap().terminate();
    let copy = start_copy(&farm);
    eventually("the copy is ready", || async {
        copy.said().contains("slave started").then_some(())
    })
    .await;
    farm.start_slave().await;
    let faults = |board: &Board| board.chain_faults(&"maple".parse().unwrap(), now());
    // Either may be faster to take a command; both go on from the same report.
    for number in 2..40 {
        farm.settle(number).await;
        if faults(&farm.board().await).cloned {
            break;
        }
    }
    farm.start_master();
    let master = || farm.master.as_ref().map(Process::said).unwrap_or_default();
    eventually_or(
        "the master names it",
        || async {
            master()
                .contains("two instances of a slave report")
                .then_some(())
        },
        master,
    )
    .await;
    let (status, board, _, _) = shown(&farm);
    assert!(
        status.contains("! two instances of maple report since its report"),
        "{status}"
    );
    assert_eq!(row(&board)["chain"]["cloned"], true);
}

#[tokio::test]
async fn a96_a129_the_leader_alarms_on_what_a_stolen_key_signs() {
    let mut farm = Farm::with_slave().await;
    farm.start_master();
    let master = |farm: &Farm| farm.master.as_ref().map(Process::said).unwrap_or_default();
    let said = async |farm: &Farm, what: &str| {
        let look = || async { master(farm).contains(what).then_some(()) };
        eventually_or(what, look, || master(farm)).await;
    };
    said(&farm, "master leads").await;
    // Whoever has the slave's key speaks of a command that was never given.
    let never = farm.order(7, &["record"]);
    let report = Report {
        farm: farm.id,
        slave: never.slave.clone(),
        instance: InstanceId([1; 16]),
        builder: never.builder.clone(),
        command: farm.seal(&never).id,
        number: 7,
        sequence: 1,
        previous: None,
        keyring: never.keyring,
        issued: now(),
        experiment: None,
        body: ReportBody::Accepted { received: now() },
    };
    say(&farm, &report).await;
    said(&farm, "a slave reports on a command that is not on the bus").await;
    // Whoever has the signing key orders. That is on the bus, and the slave's answer is no stray.
    let id = farm.send(&farm.order(8, &["record"])).await;
    said(
        &farm,
        "a command that this master did not order is on the bus",
    )
    .await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    eventually("the board is whole again", || async {
        let board = farm.board().await;
        (board.strays().count() == 1).then_some(())
    })
    .await;
    let alarms = master(&farm).matches("reports on a command that").count();
    assert_eq!(alarms, 1);
}
