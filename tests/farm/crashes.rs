//! Processes that die, and a bus that goes away.

use std::collections::BTreeSet;

use pybots::model::Verdict;

use crate::harness::Farm;
use crate::process::eventually;
use crate::process::now;

#[tokio::test]
async fn a_master_killed_between_two_check_ins_neither_loses_nor_repeats_one() {
    let mut farm = Farm::new().await;
    let mut revisions = vec![farm.check_in("first")];
    farm.start_master();
    farm.start_slave().await;
    for (number, file) in [(1, "second"), (2, "third"), (3, "fourth")] {
        wait_for_build(&farm, number).await;
        farm.master.as_mut().unwrap().kill();
        revisions.push(farm.check_in(file));
        farm.start_master();
    }
    wait_for_build(&farm, 4).await;
    let expected: Vec<String> = (1..)
        .zip(&revisions)
        .map(|(number, revision)| format!("foo-linux/{number} {revision}"))
        .collect();
    assert_eq!(farm.ran(), expected);
}

pub(crate) async fn wait_for_build(farm: &Farm, number: u64) {
    let id = format!("foo-linux/{number}").parse().unwrap();
    let verdict = eventually("a verdict", || async {
        farm.board().await.verdict_of(&id, now())
    })
    .await;
    assert_eq!(verdict, Verdict::Passed);
}

#[tokio::test]
async fn a_copy_of_its_own_lead_does_not_end_a_master() {
    let mut farm = Farm::new().await;
    farm.check_in("first");
    farm.start_master();
    farm.start_slave().await;
    wait_for_build(&farm, 1).await;
    let subject = farm.bus.subjects().lead();
    let lead = farm
        .bus
        .read_newest(pybots::bus::Stream::Commands, &subject)
        .await
        .unwrap()
        .unwrap();
    farm.publish(subject, lead.bytes.to_vec()).await;
    farm.check_in("second");
    wait_for_build(&farm, 2).await;
}

#[tokio::test]
async fn a113_a136_a_master_whose_bus_has_lost_its_store_says_so_and_ends() {
    let mut farm = Farm::new().await;
    farm.check_in("first");
    farm.start_master();
    farm.start_slave().await;
    wait_for_build(&farm, 1).await;
    farm.server.kill();
    std::fs::remove_dir_all(farm.path("store")).unwrap();
    farm.start_server();
    let master = farm.master.as_mut().unwrap();
    assert_eq!(master.wait(), Some(1));
    assert!(
        master.said().contains("the bus has lost what it held"),
        "{}",
        master.said()
    );
}

#[tokio::test]
async fn a_bus_killed_mid_build_gets_the_whole_report_and_log_when_it_is_back() {
    let mut farm = Farm::new().await;
    let (go, ran) = (farm.text("go"), farm.text("ran"));
    let body = format!(
        "echo once >> {ran}\necho before\nuntil [ -e {go} ]; do sleep 0.05; done\necho after\n\
         touch \"$PYBOTS_WORKSPACE/over\""
    );
    farm.script("patient.sh", &body);
    farm.write_slave_toml("[commands.patient]\nscript = \"patient.sh\"");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let id = farm.send(&farm.order(1, &["patient"])).await;
    let build = "foo-linux/1".parse().unwrap();
    eventually("it runs", || async {
        farm.log(&build).await.contains("before").then_some(())
    })
    .await;
    farm.server.kill();
    std::fs::write(&go, "").unwrap();
    let over = farm.path("slave/state/builders/foo-linux/workspace/over");
    eventually("the build goes on without the bus", || async {
        over.exists().then_some(())
    })
    .await;
    farm.start_server();
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    eventually("the whole log", || async {
        (farm.log(&build).await == "before\nafter\n").then_some(())
    })
    .await;
    assert_eq!(farm.ran().len(), 1);

    // The chain of the slave's reports is whole: each names the one before it.
    let reports = farm.reports().await;
    for pair in reports.windows(2) {
        assert_eq!(pair[1].body().previous, Some(pair[0].id()));
        assert_eq!(pair[1].body().sequence, pair[0].body().sequence + 1);
    }
}

#[tokio::test]
async fn a_bus_killed_under_master_and_slave_loses_no_check_in_and_doubles_none() {
    let mut farm = Farm::new().await;
    farm.check_in("0");
    farm.start_master();
    farm.start_slave().await;
    wait_for_build(&farm, 1).await;
    let mut newest = String::new();
    for round in 1..=3 {
        newest = farm.check_in(&round.to_string());
        farm.server.kill();
        farm.start_server();
        eventually("the check-in is built", || async {
            farm.ran()
                .iter()
                .any(|line| line.ends_with(&newest))
                .then_some(())
        })
        .await;
    }
    let lines = farm.ran();
    let distinct: BTreeSet<&String> = lines.iter().collect();
    assert_eq!(distinct.len(), lines.len(), "nothing runs twice: {lines:?}");
    assert_eq!(lines.len(), 4, "{lines:?}");
    eventually("every build has its verdict", || async {
        let board = farm.board().await;
        let id = format!("foo-linux/{}", lines.len()).parse().unwrap();
        (board.verdict_of(&id, now()) == Some(Verdict::Passed)).then_some(())
    })
    .await;
    assert!(!newest.is_empty());
}
