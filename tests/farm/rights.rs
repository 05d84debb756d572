//! What each login may do at the real server. A second wall only; the first is that everything is signed.

use std::time::Duration;

use pybots::bus::{BusError, Expected, Stream};
use pybots::model::{Position, Verdict};

use crate::harness::Farm;
use crate::hostile::{Client, rejections, starts};
use crate::process::{eventually, pybots, succeed};
use crate::requests::desk::let_ask;

#[tokio::test]
async fn a106_a107_a108_a109_a_slave_can_do_nothing_at_the_bus_but_its_own_part() {
    let farm = Farm::with_slave().await;
    let subjects = farm.bus.subjects();
    let slave = Client::with_key(&farm, "maple", "slave/state/bus.nk").await;
    let (maple, elm) = ("maple".parse().unwrap(), "elm".parse().unwrap());
    let builder = "elm-linux".parse().unwrap();

    let listen = [
        subjects.commands_of(&elm),
        // Its own, too: a core subscriber would see what the stream refuses.
        subjects.commands_of(&maple),
        subjects.commands(),
        subjects.reports(),
        subjects.live(">"),
        "_INBOX.elm.>".to_owned(),
        "_INBOX.master.>".to_owned(),
        "_INBOX.>".to_owned(),
        "$JS.>".to_owned(),
        ">".to_owned(),
    ];
    for subject in listen {
        let _listening = slave.raw.subscribe(subject.clone()).await.unwrap();
        slave
            .is_refused(&format!("Subscription to \"{subject}\""))
            .await;
    }

    let requests = [
        // a106: a consumer of its own, or another's.
        "$JS.API.CONSUMER.CREATE.COMMANDS",
        "$JS.API.CONSUMER.CREATE.COMMANDS.wide",
        "$JS.API.CONSUMER.CREATE.COMMANDS.maple",
        "$JS.API.CONSUMER.DURABLE.CREATE.COMMANDS.maple",
        "$JS.API.CONSUMER.MSG.NEXT.COMMANDS.elm",
        "$JS.API.CONSUMER.INFO.COMMANDS.elm",
        "$JS.API.CONSUMER.LIST.COMMANDS",
        "$JS.API.DIRECT.GET.COMMANDS",
        "$JS.API.STREAM.MSG.GET.COMMANDS",
        // a107: another's acknowledgements, in both forms, and consumers.
        "$JS.ACK.COMMANDS.elm.1.1.1.1.0",
        "$JS.ACK._.ACCOUNT.COMMANDS.elm.1.1.1.1.0",
        "$JS.ACK.COMMANDS.elm.COMMANDS.maple.1.1.0",
        "$JS.API.CONSUMER.DELETE.COMMANDS.maple",
        "$JS.API.CONSUMER.DELETE.COMMANDS.elm",
        "$JS.API.CONSUMER.PAUSE.COMMANDS.elm",
        // a109: whole streams.
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.STREAM.UPDATE.COMMANDS",
        "$JS.API.STREAM.PURGE.COMMANDS",
        "$JS.API.STREAM.PURGE.LOGS",
        "$JS.API.STREAM.DELETE.RESULTS",
        "$JS.API.STREAM.MSG.DELETE.RESULTS",
        "$JS.API.STREAM.SNAPSHOT.RESULTS",
        "$JS.API.STREAM.RESTORE.RESULTS",
    ];
    // a108: in the name of another slave, or of the master.
    let messages = [
        subjects.command(&elm, &builder),
        subjects.command(&maple, &"foo-linux".parse().unwrap()),
        subjects.lead(),
        subjects.head(),
        subjects.roster(2),
        subjects.keyring(Position::default()),
        subjects.change(&"python".parse().unwrap(), &[0; 32]),
        subjects.report(&elm, &builder),
        subjects.log(&elm, &"elm-linux/1".parse().unwrap()),
        subjects.presence(&elm),
        "_INBOX.elm.1".to_owned(),
    ];
    for subject in requests.map(str::to_owned).into_iter().chain(messages) {
        slave
            .raw
            .publish(subject.clone(), "{}".into())
            .await
            .unwrap();
        slave.is_refused(&format!("Publish to \"{subject}\"")).await;
    }

    // What its own part needs is not refused.
    let before = slave.refused().len();
    for subject in [
        subjects.report(&maple, &"foo-linux".parse().unwrap()),
        subjects.log(&maple, &"foo-linux/1".parse().unwrap()),
        subjects.presence(&maple),
        "$JS.ACK.COMMANDS.maple.1.999.1.1.0".to_owned(),
        "$JS.ACK._.ACCOUNT.COMMANDS.maple.1.999.1.1.0".to_owned(),
    ] {
        slave.raw.publish(subject, "junk".into()).await.unwrap();
    }
    slave.raw.flush().await.unwrap();
    farm.settle(1).await;
    assert_eq!(slave.refused().len(), before, "{:?}", slave.refused());
    assert_eq!(starts(&farm), ["foo-linux/1"]);
}

#[tokio::test]
async fn a111_what_a_viewer_makes_the_server_store_elsewhere_is_noise() {
    let farm = Farm::with_slave().await;
    let subjects = farm.bus.subjects();
    let first = farm.order(1, &["record"]);
    let (slave, builder) = (&first.slave, &first.builder);
    let id = farm.send(&first).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    let viewer = Client::viewer(&farm).await;
    let stored = format!(
        "$JS.API.DIRECT.GET.RESULTS.{}",
        subjects.report(slave, builder)
    );
    // A report where commands are read; and junk where the next roster belongs, beside the keyring and over the head.
    for elsewhere in [
        subjects.command(slave, builder),
        subjects.roster(2),
        subjects.keyring(Position::default()),
        subjects.head(),
    ] {
        let sent = viewer
            .raw
            .publish_with_reply(stored.clone(), elsewhere, "".into());
        sent.await.unwrap();
    }
    eventually("the report is no command", || async {
        (rejections(&farm, "E-KIND") == 1).then_some(())
    })
    .await;
    // Whoever holds the broker can also put an older roster there.
    let oldest = farm.bus.read_all(Stream::Roster, ">", 1).await.unwrap();
    farm.publish(subjects.roster(2), oldest[0].bytes.to_vec())
        .await;
    eventually("both stand where the next roster belongs", || async {
        let next = subjects.roster(2);
        let found = farm.bus.read_all(Stream::Roster, &next, 1).await;
        (found.unwrap().len() == 2).then_some(())
    })
    .await;
    // Another slave is approved all the same, and the first one works on.
    let config = farm.text("master/master.toml");
    let line = succeed(&[
        "slave",
        "init",
        "--name",
        "elm",
        "--farm",
        &farm.id.to_string(),
        "--bus",
        &format!("nats://127.0.0.1:{}", farm.port),
        "--builder",
        "elm-linux",
        "--dir",
        &farm.text("elm"),
    ]);
    succeed(&["master", "approve", "--config", &config, line.trim()]);
    assert_eq!(farm.reader().await.roster().unwrap().version, 2);
    farm.settle(2).await;
    assert_eq!(starts(&farm), ["foo-linux/1", "foo-linux/2"]);
}

#[tokio::test]
async fn a105_a_name_that_is_more_than_one_token_or_is_another_logins_is_not_approved() {
    let farm = Farm::new().await;
    let config = farm.text("master/master.toml");
    let init = |name: &str, builder: &str| {
        let farm_id = farm.id.to_string();
        let (bus, folder) = ("nats://127.0.0.1:4222", farm.text("elm"));
        pybots(&[
            "slave",
            "init",
            "--name",
            name,
            "--farm",
            &farm_id,
            "--bus",
            bus,
            "--builder",
            builder,
            "--dir",
            &folder,
        ])
    };
    let long = "a".repeat(300);
    let good = String::from_utf8(init("elm", "elm-linux").stdout).unwrap();
    for bad in ["*", ">", "a.b", "$JS", "{{name()}}", "A", "-a", "ä", &long] {
        for line in [
            good.replacen("elm ", &format!("{bad} "), 1),
            good.replacen(" elm-linux ", &format!(" {bad} "), 1),
        ] {
            let refused = pybots(&["master", "approve", "--config", &config, line.trim()]);
            assert_eq!(refused.status.code(), Some(2), "{line}");
        }
        assert_eq!(init(bad, "elm-linux").status.code(), Some(2), "{bad}");
    }
    // The inboxes of the logins of the master, viewers and webhooks bear these names.
    for taken in ["master", "viewer", "hooks"] {
        let line = good.replacen("elm ", &format!("{taken} "), 1);
        let refused = pybots(&["master", "approve", "--config", &config, line.trim()]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success());
        assert!(
            said.contains(&format!("the name {taken} is that of another login")),
            "{said}"
        );
    }
    let roster = farm.reader().await.roster().unwrap().clone();
    assert_eq!((roster.version, roster.lines.len()), (1, 1));
}

#[tokio::test]
async fn a140_what_the_stream_refuses_reaches_neither_slave_nor_viewer() {
    let farm = Farm::with_slave().await;
    let subjects = farm.bus.subjects();
    let build = farm.order(1, &["record"]);
    let hostile = Client::with_key(&farm, "hostile", "hostile.nk").await;
    let subject = subjects.command(&build.slave, &build.builder);
    let mut listening = hostile.raw.subscribe(subject.clone()).await.unwrap();
    hostile.round_trip().await;
    let sealed = farm.seal(&build);
    let refused = farm
        .bus
        .publish_expecting(
            Stream::Commands,
            subject,
            sealed.bytes.clone(),
            Expected::Stream(999),
        )
        .await;
    assert!(matches!(refused, Err(BusError::Overtaken)), "{refused:?}");
    let seen = futures_util::StreamExt::next(&mut listening);
    let seen = tokio::time::timeout(Duration::from_secs(60), seen).await;
    assert_eq!(
        seen.unwrap().unwrap().payload,
        sealed.bytes,
        "a core subscriber sees it"
    );
    farm.settle(2).await;
    assert_eq!(starts(&farm), ["foo-linux/2"]);
    let board = farm.board().await;
    assert!(board.build(&build.id()).is_none());
}

#[tokio::test]
async fn a108_a109_a_requester_may_ask_in_its_own_name_and_look_and_nothing_else() {
    let farm = Farm::with_slave().await;
    let subjects = farm.bus.subjects();
    let_ask(&farm, "alice").await;
    let alice = Client::with_key(&farm, "alice", "alice.nk").await;
    let (own, other) = ("alice".parse().unwrap(), "bob".parse().unwrap());
    let (maple, builder) = ("maple".parse().unwrap(), "foo-linux".parse().unwrap());

    for subject in [
        // A core subscriber would see what the stream refuses.
        subjects.requests(),
        subjects.answers(),
        subjects.commands(),
        subjects.reports(),
        subjects.hints(),
        "_INBOX.master.>".to_owned(),
        "_INBOX.maple.>".to_owned(),
        "_INBOX.bob.>".to_owned(),
        "_INBOX.>".to_owned(),
        "$JS.>".to_owned(),
        ">".to_owned(),
    ] {
        let _listening = alice.raw.subscribe(subject.clone()).await.unwrap();
        alice
            .is_refused(&format!("Subscription to \"{subject}\""))
            .await;
    }
    let requests = [
        "$JS.API.CONSUMER.CREATE.REQUESTS",
        "$JS.API.CONSUMER.MSG.NEXT.COMMANDS.maple",
        "$JS.ACK.COMMANDS.maple.1.1.1.1.0",
        "$JS.API.STREAM.MSG.GET.REQUESTS",
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.STREAM.UPDATE.REQUESTS",
        "$JS.API.STREAM.PURGE.REQUESTS",
        "$JS.API.STREAM.MSG.DELETE.REQUESTS",
    ];
    let messages = [
        subjects.request(&other),
        subjects.answer(&own),
        subjects.command(&maple, &builder),
        subjects.report(&maple, &builder),
        subjects.lead(),
        subjects.lease(),
        subjects.head(),
        subjects.roster(2),
        subjects.keyring(Position::default()),
        subjects.change(&"python".parse().unwrap(), &[0; 32]),
        subjects.release(&"foo".parse().unwrap()),
        subjects.hint(&"python".parse().unwrap()),
        subjects.presence(&maple),
        "_INBOX.bob.1".to_owned(),
    ];
    for subject in requests.map(str::to_owned).into_iter().chain(messages) {
        let publish = alice.raw.publish(subject.clone(), "{}".into());
        publish.await.unwrap();
        alice.is_refused(&format!("Publish to \"{subject}\"")).await;
    }

    // What its own part needs is not refused: to ask, and to see what a viewer sees.
    let before = alice.refused().len();
    let publish = alice.raw.publish(subjects.request(&own), "junk".into());
    publish.await.unwrap();
    let mut live = alice.raw.subscribe(subjects.live(">")).await.unwrap();
    for stream in Stream::ALL {
        let get = format!("$JS.API.DIRECT.GET.{}", stream.name());
        let get = alice.raw.request(get, "{\"seq\":1}".into()).await;
        get.unwrap_or_else(|error| panic!("{}: {error}", stream.name()));
    }
    alice.raw.flush().await.unwrap();
    farm.settle(1).await;
    let next = tokio::time::timeout(
        Duration::from_secs(60),
        futures_util::StreamExt::next(&mut live),
    );
    assert!(next.await.unwrap().is_some());
    assert_eq!(alice.refused().len(), before, "{:?}", alice.refused());
    let held = farm.bus.read_all(Stream::Requests, ">", 1).await.unwrap();
    let held: Vec<&str> = held.iter().map(|held| held.subject.as_str()).collect();
    assert_eq!(held, [subjects.request(&own)]);
    assert_eq!(starts(&farm), ["foo-linux/1"]);
}
