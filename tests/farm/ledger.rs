//! What the master makes of a command stream that is not its own alone.

use pybots::bus::Stream;
use pybots::trust::payload_id;
use pybots::wire::Envelope;

use crate::crashes::wait_for_build;
use crate::harness::Farm;
use crate::hostile::{Pick, Proxy, Rule, Way, starts};
use crate::process::eventually;

#[tokio::test]
async fn a129_a_command_that_the_master_did_not_order_raises_the_alarm() {
    let mut farm = Farm::new().await;
    farm.check_in("first");
    farm.start_master();
    farm.start_slave().await;
    wait_for_build(&farm, 1).await;
    // A thief of the signing key.
    let mut forged = farm.order(7, &["record"]);
    forged.builder = "bar-linux".parse().unwrap();
    let id = farm.send(&forged).await;
    let alarm = format!("command={}", id.short());
    eventually("the alarm", || async {
        let said = farm.master.as_ref().unwrap().said();
        said.lines()
            .any(|line| {
                line.contains("ERROR")
                    && line.contains("a command that this master did not order is on the bus")
                    && line.contains(&alarm)
            })
            .then_some(())
    })
    .await;
    farm.check_in("second");
    wait_for_build(&farm, 2).await;
    let said = farm.master.as_ref().unwrap().said();
    assert_eq!(
        said.matches("did not order").count(),
        1,
        "no alarm at its own: {said}"
    );
}

#[tokio::test]
async fn a110_a_message_id_that_was_used_up_before_does_not_keep_a_command_or_a_check_in_away() {
    let mut farm = Farm::new().await;
    let proxy = Proxy::before(&farm, "master/master.toml");
    farm.start_master();
    farm.start_slave().await;
    for (number, stream) in [(1, ".change."), (2, ".command.")] {
        let pick = Pick::new(Way::ToServer, stream);
        let before = proxy.seen(Way::ToServer, stream).len();
        // Its first try is lost, and somebody who has seen its id is faster than the second.
        proxy.set(vec![Rule::Drop(pick)]);
        farm.check_in(stream);
        let held = eventually("the master speaks", || async {
            proxy.seen(Way::ToServer, stream).get(before).cloned()
        })
        .await;
        // What it is identified by is the id that it bears, if it bears one.
        let envelope = Envelope::parse(&held.payload, held.payload.len()).unwrap();
        let id = payload_id(&envelope.payload).to_hex();
        assert!(held.header("Nats-Msg-Id").is_none_or(|sent| sent == id));
        farm.bus
            .publish_until_stored(held.subject.clone(), &id, b"junk".to_vec())
            .await;
        proxy.be_honest();
        wait_for_build(&farm, number).await;
    }
    assert_eq!(starts(&farm), ["foo-linux/1", "foo-linux/2"]);
    let commands = farm.bus.read_all(Stream::Commands, ">", 1).await.unwrap();
    assert_eq!(
        commands
            .iter()
            .filter(|held| held.subject.contains(".command."))
            .count(),
        3,
        "two commands, and junk"
    );
}
