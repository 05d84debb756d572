//! What becomes of commands that somebody in the middle repeats, holds back, reorders, redirects and rewrites.

use std::time::Duration;

use pybots::bus::Stream;
use pybots::model::{Cancel, Command, Head, Position, ReportBody, Verdict};
use pybots::model::{PayloadId, Text};
use pybots::trust::seal;

use crate::harness::Farm;
use crate::hostile::{
    Client, Edit, Pick, Recording, Rule, Way, farm_behind_a_proxy, rejections, starts,
};
use crate::process::{eventually, now};

/// Something that is done to the delivery of a genuine command; it runs once all the same.
struct Case {
    what: &'static str,
    rules: fn() -> Vec<Rule>,
}

const CASES: &[Case] = &[
    Case {
        what: "a01: delivered five times",
        rules: || vec![Rule::Repeat(Pick::commands(), 5)],
    },
    Case {
        what: "a01, a115: its acknowledgement is lost, so that it comes again and again",
        rules: || vec![Rule::Drop(Pick::new(Way::ToServer, "$JS.ACK."))],
    },
    Case {
        what: "a111: its reply subject is that of another request",
        rules: || {
            let purge = "$JS.API.STREAM.PURGE.COMMANDS".to_owned();
            vec![Rule::Rewrite(Pick::commands(), Edit::Reply(purge))]
        },
    },
    Case {
        what: "a111: its reply subject is the inbox of another slave",
        rules: || {
            let inbox = "_INBOX.elm.1".to_owned();
            vec![Rule::Rewrite(Pick::commands(), Edit::Reply(inbox))]
        },
    },
    Case {
        what: "a111: headers that say otherwise",
        rules: || {
            let lines = "Nats-Subject: pybots.x.command.elm.elm-linux\r\nNats-Msg-Id: 1\r\nNats-Rollup: all\r\n\
                         Nats-Trace-Dest: _INBOX.elm.1\r\nNats-Sequence: 99999";
            let edit = Edit::Headers(lines.to_owned());
            vec![Rule::Rewrite(Pick::commands(), edit)]
        },
    },
    Case {
        what: "a112: its subject is that of another builder of the slave",
        rules: || {
            let subject = "pybots.x.command.maple.bar-linux".to_owned();
            vec![Rule::Rewrite(Pick::commands(), Edit::Subject(subject))]
        },
    },
    Case {
        what: "a112: its subject is that of another slave",
        rules: || {
            let subject = "pybots.x.command.elm.elm-linux".to_owned();
            vec![Rule::Rewrite(Pick::commands(), Edit::Subject(subject))]
        },
    },
];

#[tokio::test]
async fn a01_a111_a112_a113_a115_whatever_is_done_to_a_delivery_the_command_runs_once() {
    let (farm, proxy) = farm_behind_a_proxy().await;
    // So that what is not acknowledged comes again within the test.
    let hostile = Client::with_key(&farm, "hostile", "hostile.nk").await;
    hostile
        .hurry_the_consumer("maple", Duration::from_millis(200))
        .await;
    let before = Recording::of(&farm.bus, Stream::Commands).await;
    let mut expected = Vec::new();
    for (number, case) in (1..).zip(CASES) {
        proxy.set((case.rules)());
        let id = farm.send(&farm.order(number, &["record"])).await;
        assert_eq!(farm.verdict(id).await, Verdict::Passed, "{}", case.what);
        if case.what.contains("again and again") {
            eventually("it comes again and again", || async {
                (rejections(&farm, "E-REPLAY") > 4 + 5).then_some(())
            })
            .await;
        }
        proxy.be_honest();
        // a113: and all that ever came is served once more.
        for old in proxy.seen(Way::ToClient, ".command.") {
            proxy.deliver(old);
        }
        expected.push(format!("foo-linux/{number}"));
        assert_eq!(starts(&farm), expected, "{}", case.what);
    }
    let after = Recording::of(&farm.bus, Stream::Commands).await;
    assert!(
        after.begins_with(&before),
        "no redirected reply did anything to the stream"
    );
    farm.settle(99).await;
    expected.push("foo-linux/99".to_owned());
    assert_eq!(starts(&farm), expected);
}

#[tokio::test]
async fn a01_a02_a113_an_old_stream_served_to_a_slave_that_has_started_again_runs_nothing() {
    let (mut farm, proxy) = farm_behind_a_proxy().await;
    for number in 1..=3 {
        farm.settle(number).await;
    }
    farm.slave.as_mut().unwrap().kill();
    let pulls = proxy.seen(Way::ToServer, "MSG.NEXT").len();
    farm.start_slave().await;
    eventually("the slave asks for commands", || async {
        (proxy.seen(Way::ToServer, "MSG.NEXT").len() > pulls).then_some(())
    })
    .await;
    for old in proxy.seen(Way::ToClient, ".command.") {
        proxy.deliver(old);
    }
    eventually("each is known", || async {
        (rejections(&farm, "E-REPLAY") == 3).then_some(())
    })
    .await;
    farm.settle(4).await;
    let expected = ["foo-linux/1", "foo-linux/2", "foo-linux/3", "foo-linux/4"];
    assert_eq!(starts(&farm), expected);
}

#[tokio::test]
async fn a03_a112_a_command_for_another_builder_or_slave_counts_by_what_is_signed_in_it() {
    let (farm, proxy) = farm_behind_a_proxy().await;
    farm.settle(1).await;
    let delivered = proxy.seen(Way::ToClient, ".command.");
    let mut message = delivered.last().unwrap().clone();
    // On the subject of foo-linux, and signed for bar-linux, for a builder of nobody's, and for another slave.
    let mut order = farm.order(2, &["record"]);
    order.builder = "bar-linux".parse().unwrap();
    let for_bar = farm.seal(&order);
    order.builder = "elm-linux".parse().unwrap();
    let for_nobody = farm.seal(&order);
    order.slave = "elm".parse().unwrap();
    let for_elm = farm.seal(&order);
    for sealed in [&for_bar, &for_nobody, &for_elm] {
        message.payload.clone_from(&sealed.bytes);
        proxy.deliver(message.clone());
    }
    assert_eq!(farm.verdict(for_bar.id).await, Verdict::Passed);
    assert_eq!(refusal(&farm, for_nobody.id).await, "E-BUILDER");
    eventually("the one for another slave is counted", || async {
        (rejections(&farm, "E-SLAVE") == 1).then_some(())
    })
    .await;
    farm.settle(3).await;
    assert_eq!(
        farm.ran()
            .iter()
            .filter(|line| line.starts_with("bar-linux/2"))
            .count(),
        1
    );
    assert_eq!(starts(&farm), ["bar-linux/2", "foo-linux/1", "foo-linux/3"]);
}

#[tokio::test]
async fn a06_a_command_that_is_held_back_until_it_has_expired_is_refused() {
    let (farm, proxy) = farm_behind_a_proxy().await;
    proxy.set(vec![Rule::Late(Pick::commands(), 1)]);
    let mut order = farm.order(1, &["record"]);
    order.accept_by = order.issued.after(Duration::from_secs(1));
    let id = farm.send(&order).await;
    eventually("it is held back until it has expired", || async {
        let held = !proxy.seen(Way::ToClient, ".command.").is_empty();
        (held && now() > order.accept_by).then_some(())
    })
    .await;
    proxy.be_honest();
    assert_eq!(refusal(&farm, id).await, "E-EXPIRED");
    farm.settle(2).await;
    assert_eq!(starts(&farm), ["foo-linux/2"]);
}

#[tokio::test]
async fn a09_a_clock_that_is_set_back_does_not_bring_an_expired_command_to_life() {
    let mut farm = Farm::with_slave().await;
    farm.settle(1).await;
    farm.slave.as_mut().unwrap().kill();
    // No process here can have a clock of its own, so what it remembers is moved: its clock was an hour ahead of what it
    // shows now.
    let before = now().after(Duration::from_secs(3600));
    let journal = rusqlite::Connection::open(farm.path("slave/state/journal.db")).unwrap();
    let moved = journal.execute(
        "UPDATE memory SET value = ?1 WHERE name = 'clock'",
        [before.0.to_be_bytes()],
    );
    assert_eq!(moved.unwrap(), 1);
    journal.close().unwrap();
    farm.start_slave().await;
    let id = farm.send(&farm.order(2, &["record"])).await;
    assert_eq!(refusal(&farm, id).await, "E-EXPIRED");
    let mut later = farm.order(3, &["record"]);
    later.accept_by = before.after(Duration::from_secs(600));
    later.finish_by = before.after(Duration::from_secs(1200));
    let id = farm.send(&later).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    assert_eq!(starts(&farm), ["foo-linux/1", "foo-linux/3"]);
}

#[tokio::test]
async fn a10_a132_commands_in_another_order_are_decided_by_their_ids() {
    let (farm, proxy) = farm_behind_a_proxy().await;
    proxy.set(vec![Rule::Late(Pick::commands(), 1)]);
    let older = farm.send(&farm.order(1, &["record"])).await;
    let newer = farm.send(&farm.order(2, &["record"])).await;
    assert_eq!(farm.verdict(older).await, Verdict::Passed);
    assert_eq!(farm.verdict(newer).await, Verdict::Passed);
    let ran = farm.ran();
    assert!(
        ran[0].starts_with("foo-linux/2") && ran[1].starts_with("foo-linux/1"),
        "each ran once, the newer one first: {ran:?}"
    );
    // The third is overtaken by its own cancel.
    let third = farm.order(3, &["record"]);
    let id = farm.send(&third).await;
    let cancel = Command::Cancel(Cancel {
        farm: farm.id,
        slave: third.slave.clone(),
        builder: third.builder.clone(),
        target: id,
        issued: now(),
        reason: Text::tidy("a test"),
        requester: None,
        request: None,
    });
    let sealed = seal(&farm.signing, &farm.id, &cancel);
    let subject = farm.bus.subjects().command(&third.slave, &third.builder);
    farm.publish(subject, sealed.bytes).await;
    assert_eq!(refusal(&farm, id).await, "E-CANCELLED");
    proxy.be_honest();
    farm.settle(4).await;
    assert_eq!(starts(&farm), ["foo-linux/1", "foo-linux/2", "foo-linux/4"]);
}

#[tokio::test]
async fn a25_a113_a_slave_that_is_served_an_old_head_starts_nothing_until_it_sees_a_fresh_one() {
    let mut farm = Farm::new().await;
    let head = Head {
        farm: farm.id,
        keyring: Position::default(),
        roster: 1,
        time: now().before(Duration::from_secs(25 * 3600)),
    };
    let sealed = seal(&farm.signing, &farm.id, &head);
    farm.publish(farm.bus.subjects().head(), sealed.bytes).await;
    let old = Recording::of(&farm.bus, Stream::Head).await;
    farm.publish_keyring_and_head().await;
    let keyring = Recording::of(&farm.bus, Stream::Keyring).await;
    let proxy = crate::hostile::Proxy::before(&farm, "slave/slave.toml");
    proxy.set(vec![Rule::Freeze(old), Rule::Freeze(keyring)]);
    farm.start_slave().await;
    let id = farm.send(&farm.order(1, &["record"])).await;
    assert_eq!(refusal(&farm, id).await, "E-STALE-HEAD");
    proxy.be_honest();
    farm.settle(2).await;
    assert_eq!(starts(&farm), ["foo-linux/2"]);
}

async fn refusal(farm: &Farm, command: PayloadId) -> String {
    let ending = farm.ending(command).await;
    let ReportBody::Refused { code, .. } = ending else {
        panic!("not refused: {ending:?}")
    };
    code.as_str().to_owned()
}

#[tokio::test]
async fn an_owner_who_stops_a_slave_is_heard_while_the_bus_gives_no_answer() {
    let (mut farm, proxy) = farm_behind_a_proxy().await;
    farm.settle(1).await;
    proxy.set(vec![Rule::Drop(Pick::new(Way::ToClient, "_INBOX"))]);
    let asked = || proxy.seen(Way::ToServer, "DIRECT.GET.KEYRING").len();
    let before = asked();
    farm.publish(farm.bus.subjects().keyring(Position::default()), vec![0])
        .await;
    eventually("the slave asks for keyrings", || async {
        (asked() > before).then_some(())
    })
    .await;
    let begun = now();
    farm.slave.as_mut().unwrap().terminate();
    // Far less than the bus is waited for: twice five seconds for keyrings, ten for the head.
    let waited = now().since(begun);
    assert!(waited < Duration::from_secs(8), "{waited:?}");
}
