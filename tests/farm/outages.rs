//! A broker that is killed under load, one that is full, and a slave that freezes. Each time it is counted what was asked,
//! ordered, run, reported, lost and doubled.

use std::fs;
use std::time::Duration;

use pybots::bus::{Bus, Login, Patience};
use pybots::model::{PayloadId, Timestamp, Verdict};
use pybots::wire::Subjects;

use crate::failover::{
    assert_nothing_lost_or_doubled, change, changes, count, leads, loaded_farm, long_build,
    ordered, says, start_master,
};
use crate::harness::Farm;
use crate::process::{eventually, now};

/// Waits until the bus answers again, then lets both builders build what came last.
async fn after_the_outage(farm: &Farm, asked: &mut Vec<PayloadId>) {
    let login = Login::Public {
        user: "viewer".to_owned(),
        password: "public".to_owned(),
    };
    let address = format!("nats://127.0.0.1:{}", farm.port).parse().unwrap();
    eventually("the server answers", || async {
        Bus::connect(
            &address,
            login.clone(),
            Subjects::new(&farm.id),
            Patience::Brief,
        )
        .await
        .ok()
    })
    .await;
    asked.push(change(farm, 3_000_000).await);
}

/// Kills the broker under load, for so long.
async fn outage(away: Duration) {
    let mut farm = loaded_farm().await;
    let first = start_master(&farm, "first");
    says(&first, "master leads").await;
    let second = start_master(&farm, "second");
    says(&second, "master stands by").await;
    let mut asked = changes(&farm, async || {
        long_build(&farm).await;
    })
    .await;
    farm.server.kill();
    // What runs goes on and ends meanwhile; half of the changes wait.
    fs::write(farm.path("go"), "").unwrap();
    // The outage itself, and nothing that anybody waits for.
    tokio::time::sleep(away).await;
    farm.start_server();
    after_the_outage(&farm, &mut asked).await;
    let counts = count(&farm, &asked).await;
    let told = format!("{}\n{}", first.said(), second.said());
    assert_nothing_lost_or_doubled(&counts, &told);
    for master in [&first, &second] {
        assert!(!master.has_ended(), "{told}");
        assert!(!master.said().contains("did not order"), "{told}");
    }
    // Whoever of the two leads by now: only one does.
    let leads = leads(&farm).await;
    let mut leases: Vec<u64> = leads.iter().map(|lead| lead.lease).collect();
    leases.dedup();
    assert_eq!(leases.len(), leads.len(), "{leads:?}");
}

#[tokio::test]
async fn a_broker_killed_under_load_for_five_seconds_loses_nothing_and_doubles_nothing() {
    outage(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_broker_killed_under_load_for_a_minute_loses_nothing_and_doubles_nothing() {
    outage(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn a_full_bus_is_told_once_and_what_waited_is_ordered_when_there_is_room() {
    let mut farm = loaded_farm().await;
    farm.start_master();
    let mut asked = vec![change(&farm, 1).await];
    count(&farm, &asked).await;
    // As if the disk of the bus were full: no stream may grow.
    let config = farm.path("nats-server.conf");
    let roomy = fs::read_to_string(&config).unwrap();
    let full = roomy.replace("max_file_store: 64GB", "max_file_store: 1KB");
    assert_ne!(full, roomy);
    fs::write(&config, full).unwrap();
    farm.server.kill();
    farm.start_server();
    says(farm.master.as_ref().unwrap(), "E-BUS").await;
    fs::write(&config, roomy).unwrap();
    farm.server.kill();
    farm.start_server();
    after_the_outage(&farm, &mut asked).await;
    let counts = count(&farm, &asked).await;
    assert_nothing_lost_or_doubled(&counts, &farm.master.as_ref().unwrap().said());
}

#[tokio::test]
async fn a_slave_frozen_under_load_is_noticed_and_its_build_is_rescued_when_it_wakes() {
    let mut farm = loaded_farm().await;
    let path = farm.path("master/master.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        path,
        text.replace("[periods]\n", "[periods]\nsilence-seconds = 3\n"),
    )
    .unwrap();
    farm.start_master();
    let mut running = String::new();
    let mut asked = changes(&farm, async || {
        running = long_build(&farm).await;
        farm.slave.as_ref().unwrap().pause();
        says(farm.master.as_ref().unwrap(), "E-SILENT").await;
    })
    .await;
    // Half of the changes came while it was frozen: they wait. The build in flight is lost at a time that everybody knows,
    // which has not come.
    let orders = ordered(&farm).await;
    let (_, build) = orders.last().unwrap();
    assert_eq!(build.id().to_string(), running, "nothing comes after it");
    assert!(build.finish_by > now());
    let board = farm.board().await;
    assert_eq!(board.verdict_of(&build.id(), now()), None);
    let later = Timestamp(u64::MAX / 2);
    assert_eq!(board.verdict_of(&build.id(), later), Some(Verdict::Lost));
    // Its script goes on to the end; only the slave cannot tell.
    fs::write(farm.path("go"), "").unwrap();
    farm.slave.as_ref().unwrap().resume();
    asked.push(change(&farm, 3_000_000).await);
    let counts = count(&farm, &asked).await;
    assert_nothing_lost_or_doubled(&counts, &farm.master.as_ref().unwrap().said());
}
