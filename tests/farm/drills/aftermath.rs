//! What a thief leaves behind on the bus.

use pybots::model::{Digest, InstanceId, Lead};

use super::*;

#[tokio::test]
async fn a134_what_a_thief_left_on_the_bus_holds_up_neither_his_revocation_nor_the_master_after_it()
{
    let mut farm = Farm::new().await;
    farm.start_master();
    let subjects = farm.bus.subjects().clone();
    eventually("a head is there", || async {
        let subject = subjects.head();
        let newest = farm.bus.read_newest(Stream::Head, &subject).await;
        newest.ok()?
    })
    .await;
    farm.start_slave().await;
    let thief = SecretKey::load(&farm.path("keys/signing.key")).unwrap();
    let lead = Lead {
        farm: farm.id,
        lease: u64::MAX,
        instance: InstanceId([9; 16]),
        config: Digest([0; 32]),
        issued: now(),
    };
    let lead = seal(&thief, &farm.id, &lead).bytes;
    farm.publish(subjects.lead(), lead.clone()).await;
    for version in 2..=100 {
        farm.publish(subjects.roster(version), b"junk".to_vec())
            .await;
    }
    farm.ceremony(&[
        "keys",
        "revoke",
        &thief.id().to_string(),
        "--compromised",
        "--master-key",
        &farm.text("keys/master.key"),
        "--confirm",
        "0.1",
    ]);
    farm.slave_holds("slave.log", at(0, 1)).await;
    farm.publish(subjects.lead(), lead).await;
    let wanted = farm.check_in("after");
    eventually("a check-in is built under the new key", || async {
        let line = format!(" {wanted}");
        let ran = farm.ran();
        ran.iter().any(|ran| ran.ends_with(&line)).then_some(())
    })
    .await;
}
