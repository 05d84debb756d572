//! Somebody who may ask, and a stand-in for the master that answers.

use std::cell::Cell;
use std::fs;

use pybots::bus::{Access, Login, Stream, User, users_list};
use pybots::model::{Answer, Denial, PayloadId, Request, Text};
use pybots::trust::{Purpose, SecretKey, Verified, seal};

use crate::harness::Farm;
use crate::process::{PYBOTS, Process, eventually, now, succeed};
use crate::viewers::farm_file;

/// A farm in which alice may ask, with a desk where the test answers as the master would.
pub(crate) struct Desk {
    pub(crate) farm: Farm,
    /// Alice's key.
    pub(crate) key: SecretKey,
    /// How many requests were handed out.
    taken: Cell<usize>,
    /// How many commands were started.
    started: Cell<usize>,
}

impl Desk {
    pub(crate) async fn open(farm: Farm) -> Self {
        farm.publish_keyring_and_head().await;
        farm_file(&farm);
        let key = let_ask(&farm, "alice").await;
        Self {
            farm,
            key,
            taken: Cell::new(0),
            started: Cell::new(0),
        }
    }

    /// What lets alice ask for some of what there is, in master.toml.
    pub(crate) fn stanza(&self) -> String {
        let seed = fs::read_to_string(self.farm.path("alice.nk")).unwrap();
        format!(
            "[requesters.alice]\nkey = \"{}\"\nlogin = \"{}\"\nmay = [\"force\", \"pause\"]\nbuilders = [\"*\"]\n",
            self.key.public(),
            Login::nkey_of_seed(&seed).unwrap()
        )
    }

    /// Starts a command that asks, as alice.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        let number = self.started.get() + 1;
        self.started.set(number);
        let requester = self.farm.text("requester.toml");
        let arguments = [arguments, &["--as", &requester]].concat();
        let log = self.farm.path(&format!("asking-{number}.log"));
        Process::start(PYBOTS, &arguments, log)
    }

    /// Every request of alice's that the bus holds.
    pub(crate) async fn requests(&self) -> Vec<Verified<Request>> {
        let mut reader = self.farm.reader().await;
        let alice = "alice".parse().unwrap();
        reader.let_ask([(&alice, self.key.public())]).unwrap();
        let subject = self.farm.bus.subjects().request(&alice);
        let held = self.farm.bus.read_all(Stream::Requests, &subject, 1).await;
        held.unwrap()
            .iter()
            .map(|held| {
                reader
                    .open(&held.bytes, Purpose::Admit { now: now() })
                    .unwrap()
            })
            .collect()
    }

    /// Waits for the next request.
    pub(crate) async fn asked(&self) -> (PayloadId, Request) {
        let place = self.taken.get();
        let request = eventually("somebody asks", || async {
            self.requests().await.into_iter().nth(place)
        });
        let request = request.await;
        self.taken.set(place + 1);
        (request.id(), request.into_body())
    }

    /// What the master would say.
    pub(crate) fn word(&self, request: PayloadId, denial: Option<Denial>) -> Answer {
        Answer {
            farm: self.farm.id,
            request,
            requester: "alice".parse().unwrap(),
            issued: now(),
            denial,
        }
    }

    pub(crate) fn sealed(&self, answer: &Answer) -> Vec<u8> {
        seal(&self.farm.signing, &self.farm.id, answer).bytes
    }

    pub(crate) async fn publish_answer(&self, bytes: Vec<u8>) {
        let subject = self.farm.bus.subjects().answer(&"alice".parse().unwrap());
        self.farm.publish(subject, bytes).await;
    }

    /// Answers as the master would.
    pub(crate) async fn answer(&self, request: PayloadId, denial: Option<Denial>) {
        let answer = self.word(request, denial);
        self.publish_answer(self.sealed(&answer)).await;
    }
}

pub(crate) fn denial(code: &str, detail: &str) -> Denial {
    Denial {
        code: Text::tidy(code),
        detail: Text::tidy(detail),
    }
}

/// Makes the keys of somebody who may ask, beside `farm.toml`, and lets them in at the bus; returns what they sign with.
pub(crate) async fn let_ask(farm: &Farm, name: &str) -> SecretKey {
    let folder = farm.text("");
    let stanza = succeed(&["keys", "requester", name, "--dir", &folder]);
    let login = stanza
        .lines()
        .find_map(|line| line.strip_prefix("login = "));
    let user = User::Key {
        nkey: login.unwrap().trim_matches('"').to_owned(),
        access: Access::Requester(name.parse().unwrap()),
    };
    let list = users_list(farm.bus.subjects(), &[user]);
    let entry = list.replace("users: [", "");
    let entry = entry.trim().trim_end_matches(']');
    let config = farm.path("nats-server.conf");
    let text = fs::read_to_string(&config).unwrap();
    let with = text.replacen("users: [\n", &format!("users: [\n      {entry}"), 1);
    fs::write(&config, with).unwrap();
    let before = reloads(farm);
    farm.server.hang_up();
    eventually("the server knows the login", || async {
        (reloads(farm) > before).then_some(())
    })
    .await;
    SecretKey::load(&farm.path(&format!("{name}.key"))).unwrap()
}

fn reloads(farm: &Farm) -> usize {
    farm.server
        .said()
        .matches("Reloaded server configuration")
        .count()
}
