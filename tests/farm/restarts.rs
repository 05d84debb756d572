//! A slave that is killed, upgraded or restarted in the middle of a build.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use pybots::model::{Cancel, Command, ReportBody, Text, Verdict};
use pybots::trust::seal;

use crate::harness::Farm;
use crate::hostile::Dice;
use crate::process::{eventually, now};

/// A farm whose command `chatty` prints 2,000 lines, waits for the file `go`, and prints 2,000 more.
async fn farm() -> Farm {
    let mut farm = Farm::new().await;
    let (ran, go) = (farm.text("ran"), farm.text("go"));
    let body = format!(
        "echo \"$PYBOTS_BUILD\" >> {ran}\n\
         i=0\nwhile [ $i -lt 2000 ]; do i=$((i+1)); echo \"line $i\"; done\n\
         touch \"$PYBOTS_WORKSPACE/printed\"\nuntil [ -e {go} ]; do sleep 0.02; done\n\
         while [ $i -lt 4000 ]; do i=$((i+1)); echo \"line $i\"; done\nexit 7"
    );
    farm.script("chatty.sh", &body);
    farm.write_slave_toml("[commands.chatty]\nscript = \"chatty.sh\"");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    farm
}

fn whole_log() -> String {
    (1..=4000)
        .map(|line| format!("line {line}\n"))
        .collect::<Vec<_>>()
        .concat()
}

async fn printed(farm: &Farm) {
    let printed = farm.path("slave/state/builders/foo-linux/workspace/printed");
    eventually("half of it is printed", || async {
        printed.exists().then_some(())
    })
    .await;
}

async fn expect_whole_log(farm: &Farm, number: u64) {
    let build = format!("foo-linux/{number}").parse().unwrap();
    eventually("every line arrives", || async {
        let log = farm.log(&build).await;
        (log.trim_end_matches("recorded\n") == whole_log()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a02_a_build_whose_slave_is_killed_ends_with_its_real_verdict_and_a_whole_log() {
    let mut farm = farm().await;
    let mut order = farm.order(1, &["chatty", "record"]);
    order.steps[0].halt_on_failure = false;
    let id = farm.send(&order).await;
    printed(&farm).await;
    farm.slave.as_mut().unwrap().kill();
    fs::write(farm.path("go"), "").unwrap();
    farm.start_slave().await;
    assert_eq!(farm.verdict(id).await, Verdict::Failed);
    expect_whole_log(&farm, 1).await;
    farm.settle(2).await;
    assert_eq!(farm.ran().len(), 3, "nothing runs twice: {:?}", farm.ran());
    let exits: Vec<_> = (farm.reports().await.iter())
        .filter_map(|report| {
            if let ReportBody::StepFinished { outcome, .. } = &report.body().body {
                outcome.exit
            } else {
                None
            }
        })
        .collect();
    assert_eq!(exits, [7, 0, 0], "each step is reported once");
    eventually("the job folders are gone", || async {
        let jobs = fs::read_dir(farm.path("slave/state/jobs")).unwrap();
        (jobs.count() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_build_ends_while_its_slave_is_away_and_is_reported_when_it_is_back() {
    let mut farm = farm().await;
    let id = farm.send(&farm.order(1, &["chatty"])).await;
    printed(&farm).await;
    farm.slave.as_mut().unwrap().terminate();
    fs::write(farm.path("go"), "").unwrap();
    let jobs = farm.path("slave/state/jobs");
    eventually("its keeper has ended it", || async {
        let mut folders = fs::read_dir(&jobs).unwrap().flatten();
        folders
            .any(|folder| folder.path().join("exit.json").exists())
            .then_some(())
    })
    .await;
    farm.start_slave().await;
    assert_eq!(farm.verdict(id).await, Verdict::Failed);
    expect_whole_log(&farm, 1).await;
}

#[tokio::test]
async fn ctrl_c_ends_the_builds_and_says_that_they_are_lost() {
    let mut farm = farm().await;
    let id = farm.send(&farm.order(1, &["chatty"])).await;
    printed(&farm).await;
    assert_eq!(farm.slave.as_mut().unwrap().interrupt(), Some(0));
    assert!(matches!(farm.ending(id).await, ReportBody::Lost { .. }));
}

#[tokio::test]
async fn a80_a_cancel_outlives_the_slave_that_took_it() {
    let mut farm = farm().await;
    let first = farm.send(&farm.order(1, &["chatty"])).await;
    let waiting = farm.send(&farm.order(2, &["record"])).await;
    printed(&farm).await;
    let cancel = Command::Cancel(Cancel {
        farm: farm.id,
        slave: "maple".parse().unwrap(),
        builder: "foo-linux".parse().unwrap(),
        target: waiting,
        issued: now(),
        reason: Text::tidy("a test"),
        requester: None,
        request: None,
    });
    let subject = farm
        .bus
        .subjects()
        .command(cancel.slave(), cancel.builder());
    let sealed = seal(&farm.signing, &farm.id, &cancel);
    farm.publish(subject, sealed.bytes).await;
    eventually("the cancel is taken", || async {
        farm.slave_said().contains("cancel received").then_some(())
    })
    .await;
    farm.slave.as_mut().unwrap().kill();
    fs::write(farm.path("go"), "").unwrap();
    farm.start_slave().await;
    assert_eq!(farm.verdict(first).await, Verdict::Failed);
    assert_eq!(farm.verdict(waiting).await, Verdict::Cancelled);
    assert_eq!(farm.ran(), ["foo-linux/1"]);
}

#[tokio::test]
async fn a82_after_a_power_cut_a_build_is_lost_and_never_run_again() {
    let mut farm = farm().await;
    let id = farm.send(&farm.order(1, &["chatty"])).await;
    printed(&farm).await;
    farm.slave.as_mut().unwrap().kill();
    // What tells one start of the machine from another is another now. The keeper is ended, as a power cut would have.
    let journal = rusqlite::Connection::open(farm.path("slave/state/journal.db")).unwrap();
    let other = "UPDATE memory SET value = CAST('another' AS BLOB) WHERE name = 'boot'";
    assert_eq!(journal.execute(other, []).unwrap(), 1);
    drop(journal);
    farm.start_slave().await;
    assert!(matches!(farm.ending(id).await, ReportBody::Lost { .. }));
    farm.settle(2).await;
    assert_eq!(farm.ran().len(), 2, "{:?}", farm.ran());
}

/// The moments: from before the command comes, over the journal's sync and the keeper's start, to after the end.
#[tokio::test]
async fn a_slave_killed_at_fifty_random_moments_loses_no_build_and_doubles_none() {
    let mut farm = farm().await;
    fs::write(farm.path("go"), "").unwrap();
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).unwrap();
    let seed = u64::from_le_bytes(seed);
    let mut dice = Dice::new(seed, 0);
    let mut expected = BTreeSet::new();
    for number in 1..=50 {
        let id = farm.send(&farm.order(number, &["chatty"])).await;
        expected.insert(format!("foo-linux/{number}"));
        let moment = Duration::from_micros(dice.below(60_000) as u64);
        tokio::time::sleep(moment).await;
        farm.slave.as_mut().unwrap().kill();
        farm.start_slave().await;
        let ending = farm.ending(id).await;
        let verdict = ending.verdict();
        assert_eq!(
            verdict,
            Some(Verdict::Failed),
            "{number}, killed after {moment:?}, seed {seed}: {ending:?}"
        );
    }
    let ran = farm.ran();
    assert_eq!(ran.len(), 50, "nothing runs twice: {ran:?}");
    assert_eq!(ran.into_iter().collect::<BTreeSet<_>>(), expected);
    for number in 1..=50 {
        expect_whole_log(&farm, number).await;
    }
}
