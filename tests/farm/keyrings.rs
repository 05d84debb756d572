//! What viewers make of keys that are renewed, stolen and overridden.

use std::fs;
use std::time::Duration;

use pybots::bus::{KeyringCursor, Progress, Taken};
use pybots::model::{
    BuildId, Head, Keyring, PayloadId, Position, PublicKey, ReportBody, RevocationReason,
    RevokedKey, Roster, SigningKeyWindow, Timestamp, Verdict,
};
use pybots::trust::{Learnt, Reader, SecretKey, commitment, countersign, payload_id, seal};
use pybots::wire::{KeyringEnvelopes, decode};

use crate::harness::Farm;
use crate::hostile::{Pick, Proxy, Rule, Way, rejections};
use crate::page::{Page, timeless};
use crate::process::{eventually, now, pybots, succeed};
use crate::viewers::farm_file;

/// The operator's keys, and what was made with them.
struct Operator<'a> {
    farm: &'a Farm,
    master: SecretKey,
    successor: SecretKey,
    /// The signing key that takes the place of the first.
    signing: SecretKey,
    first: Keyring,
    first_id: PayloadId,
    now: Timestamp,
}

fn at(generation: u32, serial: u32) -> Position {
    Position { generation, serial }
}

impl<'a> Operator<'a> {
    fn of(farm: &'a Farm) -> Self {
        let key = |name: &str| SecretKey::load(&farm.path(name)).unwrap();
        let bytes = fs::read(farm.path("keys/test-farm.keyring")).unwrap();
        let envelopes = KeyringEnvelopes::parse(&bytes).unwrap();
        Self {
            farm,
            master: key("keys/master.key"),
            successor: key("keys/successor.key"),
            signing: SecretKey::from_seed(&[7; 32]),
            first: decode(envelopes.payload()).unwrap(),
            first_id: payload_id(envelopes.payload()),
            now: now(),
        }
    }

    fn window(&self, key: PublicKey) -> SigningKeyWindow {
        SigningKeyWindow {
            key,
            not_before: self.now.before(Duration::from_secs(3600)),
            not_after: self.now.after(Duration::from_secs(90 * 24 * 3600)),
        }
    }

    /// A rotation: the new key beside the old one.
    fn rotated(&self, serial: u32) -> Keyring {
        let mut keyring = self.first.clone();
        keyring.position = at(0, serial);
        keyring.previous = Some(self.first_id);
        keyring
            .signing_keys
            .push(self.window(self.signing.public()));
        keyring
    }

    /// The new key alone; the old one was stolen.
    fn revoked(&self, serial: u32) -> Keyring {
        let mut keyring = self.rotated(serial);
        keyring.revoked = vec![RevokedKey {
            window: keyring.signing_keys.remove(0),
            reason: RevocationReason::Compromised,
            revoked: self.now,
        }];
        keyring
    }

    /// The same by the key that the first keyring committed to.
    fn succeeded(&self, serial: u32) -> Keyring {
        let next = SecretKey::from_seed(&[9; 32]).public();
        Keyring {
            position: at(1, serial),
            master_keys: vec![self.successor.public()],
            commitment: commitment(1, &[next]),
            ..self.revoked(1)
        }
    }

    fn signed(&self, keyring: &Keyring) -> Vec<u8> {
        let key = match keyring.position.generation {
            0 => &self.master,
            _ => &self.successor,
        };
        countersign(&[key], keyring).unwrap().to_bytes()
    }

    async fn publish(&self, keyring: &Keyring) {
        let subject = self.farm.bus.subjects().keyring(keyring.position);
        self.farm.publish(subject, self.signed(keyring)).await;
    }

    /// Says again with the new key what the old one has said of slaves, and how new everything is.
    async fn repeat(&self) {
        let subjects = self.farm.bus.subjects().clone();
        let rosters = self
            .farm
            .bus
            .read_all(pybots::bus::Stream::Roster, &subjects.rosters(), 0)
            .await
            .unwrap();
        let mut reader = self.reader();
        for roster in rosters {
            reader.learn_roster(&roster.bytes).unwrap();
        }
        let roster = Roster {
            version: 1000,
            ..reader.roster().unwrap().clone()
        };
        let sealed = seal(&self.signing, &self.farm.id, &roster);
        self.farm.publish(subjects.roster(1000), sealed.bytes).await;
        let head = Head {
            farm: self.farm.id,
            keyring: at(0, 1),
            roster: 1000,
            time: now(),
        };
        let sealed = seal(&self.signing, &self.farm.id, &head);
        self.farm.publish(subjects.head(), sealed.bytes).await;
    }

    fn reader(&self) -> Reader {
        Reader::new(self.farm.id, &self.signed(&self.first)).unwrap()
    }

    /// Reads what the bus holds of keyrings to the end; also returns the most that one call handed out.
    async fn read(&self, reader: &mut Reader, cursor: &mut KeyringCursor) -> usize {
        let mut most = 0;
        loop {
            let mut handed = 0;
            let progress = self.farm.bus.read_keyrings(cursor, |delivery| {
                handed += 1;
                match reader.learn_keyring(&delivery.bytes) {
                    Ok(Learnt::Newer) => Taken::Newest(reader.keyring().position),
                    Ok(Learnt::Forked) => Taken::Contradiction,
                    Ok(Learnt::Nothing) | Err(_) => Taken::Nothing,
                }
            });
            let progress = progress.await.unwrap();
            most = most.max(handed);
            if progress == Progress::Done {
                return most;
            }
        }
    }
}

#[tokio::test]
async fn a31_junk_and_disorder_on_the_bus_hide_no_keyring_and_hold_up_no_reader() {
    let farm = Farm::new().await;
    let operator = Operator::of(&farm);
    let subjects = farm.bus.subjects().clone();
    let (mut reader, mut cursor) = (operator.reader(), KeyringCursor::new(0));
    let first = operator.succeeded(0);
    let first_id = {
        let envelopes = KeyringEnvelopes::parse(&operator.signed(&first)).unwrap();
        payload_id(envelopes.payload())
    };
    let later = Keyring {
        previous: Some(first_id),
        ..operator.succeeded(4)
    };
    // The newest comes before those that it builds on, and junk before and between all of them.
    operator.publish(&later).await;
    for number in 0..150_u32 {
        for position in [at(0, 0), at(0, number), at(1, 0), at(1, 4)] {
            let junk = number.to_be_bytes().to_vec();
            farm.publish(subjects.keyring(position), junk).await;
        }
    }
    operator.publish(&operator.rotated(2)).await;
    let most = operator.read(&mut reader, &mut cursor).await;
    assert_eq!(reader.keyring().position, at(0, 2));
    assert!((1..=128).contains(&most), "{most}");
    operator.publish(&first).await;
    let most = operator.read(&mut reader, &mut cursor).await;
    assert_eq!(reader.keyring().position, at(1, 4));
    assert!((1..=128).contains(&most), "{most}");
    // Nothing is handed out again.
    assert_eq!(operator.read(&mut reader, &mut cursor).await, 0);
}

#[tokio::test]
async fn a21_of_two_first_keyrings_the_one_that_came_first_leads_on() {
    let order = |thiefs, genuine| [genuine, thiefs];
    assert_eq!(two_first_keyrings(order).await, (2, false));
    // Whoever was handed the other one first stops, and does not follow what comes after the real one either.
    let order = |thiefs, genuine| [thiefs, genuine];
    assert_eq!(two_first_keyrings(order).await, (1, true));
}

/// The generation that a reader comes to, and whether it is stopped there.
async fn two_first_keyrings(order: fn(Keyring, Keyring) -> [Keyring; 2]) -> (u32, bool) {
    let farm = Farm::new().await;
    let operator = Operator::of(&farm);
    let thiefs = operator.succeeded(0);
    let mut genuine = operator.succeeded(0);
    let next = SecretKey::from_seed(&[11; 32]);
    genuine.commitment = commitment(1, &[next.public()]);
    let envelopes = KeyringEnvelopes::parse(&operator.signed(&genuine)).unwrap();
    let second = Keyring {
        position: at(2, 0),
        previous: Some(payload_id(envelopes.payload())),
        master_keys: vec![next.public()],
        ..genuine.clone()
    };
    for keyring in order(thiefs, genuine) {
        operator.publish(&keyring).await;
    }
    let signed = countersign(&[&next], &second).unwrap().to_bytes();
    let subject = farm.bus.subjects().keyring(second.position);
    farm.publish(subject, signed).await;
    let (mut reader, mut cursor) = (operator.reader(), KeyringCursor::new(0));
    operator.read(&mut reader, &mut cursor).await;
    let stopped = reader.chain().fork().is_some();
    (reader.keyring().position.generation, stopped)
}

/// What `pybots status` says, and its twin for programs.
fn status(farm: &Farm) -> (String, serde_json::Value) {
    let file = farm_file(farm);
    let text = succeed(&["status", "--farm", &file]);
    let json = succeed(&["status", "--farm", &file, "--json"]);
    (text, serde_json::from_str(&json).unwrap())
}

#[tokio::test]
async fn a26_pages_and_boards_go_on_when_keys_are_renewed_stolen_and_overridden() {
    let mut farm = Farm::with_slave().await;
    let answered = farm.send(&farm.order(1, &["record"])).await;
    assert_eq!(farm.verdict(answered).await, Verdict::Passed);
    let page = Page::serve(&farm, "page/history.sqlite").await;
    // Nobody looks there, so nobody answers this one.
    let elsewhere = farm
        .bus
        .subjects()
        .command(&"elm".parse().unwrap(), &"foo-linux".parse().unwrap());
    let sealed = farm.seal(&farm.order(2, &["record"]));
    farm.publish(elsewhere, sealed.bytes).await;
    let unanswered: BuildId = "foo-linux/2".parse().unwrap();
    let proven = |number: u32| {
        let page = &page;
        async move {
            let path = format!("/build/foo-linux/{number}.json");
            let body = page.get(&path).await.body;
            let build: serde_json::Value = serde_json::from_str(&body).ok()?;
            build["proven"].as_bool()
        }
    };
    eventually("the page shows both builds", || async {
        (proven(1).await? && proven(2).await?).then_some(())
    })
    .await;

    let operator = Operator::of(&farm);
    operator.publish(&operator.rotated(1)).await;
    operator.repeat().await;
    let shows = |position: &'static str| {
        let page = &page;
        async move {
            let body = page.get("/keys.json").await.body;
            let keys: serde_json::Value = serde_json::from_str(&body).ok()?;
            (keys["keyring"] == position).then_some(keys)
        }
    };
    eventually("the page shows the rotation", || shows("0.1")).await;
    assert_eq!(proven(2).await, Some(true));

    operator.publish(&operator.revoked(2)).await;
    eventually("the page shows the revocation", || shows("0.2")).await;
    eventually("what the stolen key alone said is unproven", || async {
        (!proven(2).await? && proven(1).await?).then_some(())
    })
    .await;
    let board = farm.board().await;
    assert!(!board.build(&unanswered).unwrap().proven);
    assert!(board.build(&"foo-linux/1".parse().unwrap()).unwrap().proven);

    operator.publish(&operator.succeeded(0)).await;
    let keys = eventually("the page shows the succession", || shows("1.0")).await;
    assert_eq!(keys["generations"].as_array().unwrap().len(), 2);
    assert_eq!(keys["revoked"][0]["reason"], "compromised");
    let html = page.get("/keys").await.body;
    assert!(html.contains("How it follows from the farm id"), "{html}");
    eventually("the page shows that the slave has it", || async {
        let html = page.get("/keys").await.body;
        html.contains("1 of 1 slave holds 1.0").then_some(())
    })
    .await;

    // A page that was there all along, and one that is started now.
    let fresh = Page::serve(&farm, "page/fresh.sqlite").await;
    eventually("both pages say the same", || async {
        for path in [
            "/index.json",
            "/build/foo-linux/1.json",
            "/build/foo-linux/2.json",
            "/keys.json",
        ] {
            let (old, new) = (page.get(path).await.body, fresh.get(path).await.body);
            if timeless(&old) != timeless(&new) {
                return None;
            }
        }
        Some(())
    })
    .await;

    // While the bus is away, a page that starts knows the keys from its history.
    farm.server.kill();
    drop(page);
    let offline = Page::start(&farm, "page/history.sqlite").await;
    let body = offline.get("/keys.json").await.body;
    assert!(body.contains("\"keyring\": \"1.0\""), "{body}");
}

#[tokio::test]
async fn a26_a_bundle_tells_what_was_known_when_it_was_made_unless_it_is_told_more() {
    let farm = Farm::with_slave().await;
    let answered = farm.send(&farm.order(1, &["record"])).await;
    assert_eq!(farm.verdict(answered).await, Verdict::Passed);
    let file = farm_file(&farm);
    let export = |out: &str| {
        let which = ["--farm", &file, "--out", out];
        succeed(&[&["build", "export", "foo-linux/1"], &which[..]].concat());
    };
    let verify = |what: &[&str]| {
        let done = pybots(&[&["build", "verify"], what, &["--farm", &file]].concat());
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        (done.status.code(), said)
    };
    let (old, new, newer) = (farm.text("old"), farm.text("new"), farm.text("newer"));
    export(&old);
    let operator = Operator::of(&farm);
    operator.publish(&operator.succeeded(0)).await;
    operator.repeat().await;
    export(&new);
    let (code, said) = verify(&[&new]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("judged by keyring 1.0"), "{said}");
    assert!(said.contains("a key that was stolen"), "{said}");
    let (code, said) = verify(&[&old]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("judged by keyring 0.0"), "{said}");
    fs::write(&newer, operator.signed(&operator.succeeded(0))).unwrap();
    let (code, said) = verify(&[&old, "--keyring", &newer]);
    assert!(
        said.contains("judged by keyring 1.0, which was given"),
        "{said}"
    );
    // Its roster was signed by the stolen key.
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("E-REVOKED"), "{said}");
}

#[tokio::test]
async fn a21_two_keyrings_at_one_position_are_an_alarm_until_a_succession() {
    let farm = Farm::with_slave().await;
    let operator = Operator::of(&farm);
    let page = Page::serve(&farm, "page/history.sqlite").await;
    let alarm = "Two keyrings at 0.1: somebody else holds a master key.";
    assert_eq!(status(&farm).1["keys_fault"], serde_json::Value::Null);
    operator.publish(&operator.rotated(1)).await;
    let mut other = operator.rotated(1);
    other.expires = other.expires.after(Duration::from_secs(1));
    operator.publish(&other).await;
    eventually("the page shows the alarm", || async {
        page.get("/").await.body.contains(alarm).then_some(())
    })
    .await;
    let (text, json) = status(&farm);
    assert!(text.contains(alarm), "{text}");
    assert_eq!(json["keys_fault"]["code"], "E-FORK");

    operator.publish(&operator.succeeded(0)).await;
    operator.repeat().await;
    eventually("the alarm is over", || async {
        (!page.get("/").await.body.contains(alarm)).then_some(())
    })
    .await;
    assert_eq!(status(&farm).1["keys_fault"], serde_json::Value::Null);
}

#[tokio::test]
async fn a26_a_command_that_makes_its_slave_look_for_a_head_is_judged_by_what_was_found() {
    let mut farm = Farm::new().await;
    farm.write_slave_toml_with_periods("head-seconds = 3600");
    let first = fs::read(farm.path("keys/test-farm.keyring")).unwrap();
    farm.publish(farm.bus.subjects().keyring(at(0, 0)), first)
        .await;
    let proxy = Proxy::before(&farm, "slave/slave.toml");
    farm.start_slave().await;
    let operator = Operator::of(&farm);
    // It looks for one at its start and for this command, and then not before the next command.
    let id = farm.send(&farm.order(1, &["record"])).await;
    assert!(matches!(farm.ending(id).await, ReportBody::Refused { .. }));
    eventually("the slave has looked for a head twice", || async {
        let looked = proxy.seen(Way::ToServer, "GET.HEAD");
        (looked.len() >= 2).then_some(())
    })
    .await;
    proxy.set(vec![Rule::Drop(Pick::new(Way::ToClient, "live."))]);
    operator.publish(&operator.revoked(1)).await;
    let head = Head {
        farm: farm.id,
        keyring: at(0, 1),
        roster: 1,
        time: now(),
    };
    let sealed = seal(&operator.signing, &farm.id, &head);
    farm.publish(farm.bus.subjects().head(), sealed.bytes).await;
    farm.send(&farm.order(2, &["record"])).await;
    eventually("the thief's command is turned away", || async {
        (rejections(&farm, "E-REVOKED") == 1).then_some(())
    })
    .await;
    assert_eq!(farm.ran(), [""; 0]);
}
