//! The farm that is simulated: its keys, its slaves, what their owners allow and what its masters want.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use super::chance::Chance;
use crate::master::{Collapse, Everything, MasterConfig, Requester, SlaveRules};
use crate::model::{
    BuilderName, FarmId, KeyId, Keyring, Position, PublicKey, RepositoryName, RequesterName,
    Roster, RosterLine, SlaveName, SlaveState, Text, Timestamp, Verb,
};
use crate::slave::{Abilities, Gate, SlaveConfig};
use crate::trust::{Reader, SecretKey, commitment, countersign, payload_id, seal};

pub(super) const SLAVES: usize = 50;
/// So many slaves serve a second builder.
pub(super) const SECOND: usize = 10;
pub(super) const START: Timestamp = Timestamp(1_795_370_400_000_000);
pub(super) const REPOSITORIES: [&str; 2] = ["foo", "python"];
pub(super) const MAX_HEAD_AGE: Duration = Duration::from_secs(3600);

/// A farm, as it is before anything happens.
pub(super) struct Farm {
    pub(super) id: FarmId,
    /// What is believed before it is known that the first signing key was stolen, and after.
    pub(super) readers: [Reader; 2],
    pub(super) positions: [Position; 2],
    pub(super) roster: Roster,
    pub(super) config: MasterConfig,
    pub(super) gates: Vec<Gate>,
    pub(super) slaves: Vec<SlaveName>,
    pub(super) builders: Vec<BuilderName>,
    pub(super) repositories: Vec<RepositoryName>,
    /// The key that is stolen, and the one that takes its place.
    pub(super) signing: [KeyId; 2],
    pub(super) report_keys: Vec<KeyId>,
    /// Who may ask for everything, and who may ask for nothing.
    pub(super) requesters: [(RequesterName, KeyId); 2],
}

pub(super) static FARM: LazyLock<Farm> = LazyLock::new(Farm::new);

fn key(kind: u8, number: usize) -> SecretKey {
    let mut seed = [kind; 32];
    seed[0] = u8::try_from(number).unwrap();
    SecretKey::from_seed(&seed)
}

fn window(key: PublicKey, from: u64) -> crate::model::SigningKeyWindow {
    crate::model::SigningKeyWindow {
        key,
        not_before: Timestamp(from),
        not_after: Timestamp(u64::MAX),
    }
}

impl Farm {
    #[expect(
        clippy::too_many_lines,
        reason = "one thing after another, each a few lines"
    )]
    fn new() -> Self {
        let (master, signing) = (key(1, 0), [key(2, 0), key(2, 1)]);
        let first = Keyring {
            name: "simulation".parse().unwrap(),
            position: Position::default(),
            previous: None,
            issued: Timestamp(0),
            expires: Timestamp(u64::MAX),
            master_keys: vec![master.public()],
            threshold: 1,
            commitment: commitment(1, &[key(1, 1).public()]),
            signing_keys: vec![
                window(signing[0].public(), 0),
                window(signing[1].public(), 1),
            ],
            revoked: vec![],
        };
        let envelopes = countersign(&[&master], &first).unwrap();
        let id = FarmId(payload_id(envelopes.payload()).0);
        let mut before = Reader::new(id, &envelopes.to_bytes()).unwrap();
        let second = Keyring {
            position: Position {
                generation: 0,
                serial: 1,
            },
            previous: Some(payload_id(envelopes.payload())),
            issued: START,
            signing_keys: vec![window(signing[1].public(), 1)],
            revoked: vec![crate::model::RevokedKey {
                window: window(signing[0].public(), 0),
                reason: crate::model::RevocationReason::Compromised,
                revoked: START,
            }],
            ..first
        };
        let revoking = countersign(&[&master], &second).unwrap();
        let slaves: Vec<SlaveName> = (0..SLAVES)
            .map(|n| format!("s{n:02}").parse().unwrap())
            .collect();
        let builders: Vec<BuilderName> = (0..SLAVES + SECOND)
            .map(|n| format!("b{n:02}").parse().unwrap())
            .collect();
        let lines = slaves.iter().enumerate().map(|(n, slave)| RosterLine {
            slave: slave.clone(),
            report_key: key(3, n).public(),
            bus_key: key(4, n).public(),
            owner: Text::default(),
            platform: Text::default(),
            builders: served_by(n).map(|n| builders[n].clone()).collect(),
            state: SlaveState::Active,
            approved: Timestamp(0),
            closed: None,
        });
        let roster = Roster {
            farm: id,
            version: 1,
            keyring: Position::default(),
            issued: START,
            lines: lines.collect(),
        };
        let sealed = seal(&signing[1], &id, &roster);
        before.learn_roster(&sealed.bytes).unwrap();
        let people: [(RequesterName, PublicKey); 2] = [
            ("alice".parse().unwrap(), key(5, 0).public()),
            ("eve".parse().unwrap(), key(5, 1).public()),
        ];
        before
            .let_ask(people.iter().map(|(name, key)| (name, *key)))
            .unwrap();
        let mut after = before.clone();
        after.learn_keyring(&revoking.to_bytes()).unwrap();
        after.learn_roster(&sealed.bytes).unwrap();
        let mut config = MasterConfig::parse(&master_toml(&id), Path::new("/")).unwrap();
        let may = [Verb::Force, Verb::Cancel, Verb::Retry, Verb::Pause];
        for (n, (name, key)) in people.iter().enumerate() {
            let requester = Requester {
                key: *key,
                login: None,
                may: if n == 0 {
                    may.into_iter().collect()
                } else {
                    std::collections::BTreeSet::new()
                },
                builders: std::collections::BTreeSet::new(),
                every_builder: Everything::Yes,
            };
            config.requesters.insert(name.clone(), requester);
        }
        Self {
            id,
            positions: [before.keyring().position, after.keyring().position],
            readers: [before, after],
            roster,
            config,
            gates: (0..SLAVES).map(|n| gate(&id, n)).collect(),
            slaves,
            builders,
            repositories: REPOSITORIES.map(|name| name.parse().unwrap()).to_vec(),
            signing: [signing[0].id(), signing[1].id()],
            report_keys: (0..SLAVES).map(|n| key(3, n).id()).collect(),
            requesters: people.map(|(name, public)| (name, crate::trust::key_id(&public))),
        }
    }

    /// What the masters of one run want: rules by chance.
    pub(super) fn config(&self, chance: &mut Chance) -> MasterConfig {
        let mut config = self.config.clone();
        for (n, slave) in self.slaves.iter().enumerate() {
            let capacity = u32::try_from(parallel(n)).unwrap();
            config.slaves.insert(slave.clone(), SlaveRules { capacity });
        }
        for (n, builder) in config.builders.values_mut().enumerate() {
            builder.quiet = if chance.percent(30) {
                chance.seconds(10, 120)
            } else {
                Duration::ZERO
            };
            if chance.percent(20) {
                builder.collapse = Collapse::Every;
            }
            if chance.percent(10) {
                builder.locks.insert("lock".parse().unwrap());
            }
            if n > 5 && chance.percent(10) {
                builder.after.insert(self.builders[chance.below(5)].clone());
            }
            builder.start_window = Duration::from_secs(1200);
        }
        config.locks.insert("lock".parse().unwrap(), 2);
        config
    }
}

/// The builders of a slave.
pub(super) fn served_by(slave: usize) -> impl Iterator<Item = usize> {
    [slave]
        .into_iter()
        .chain((slave < SECOND).then_some(SLAVES + slave))
}

/// How many builds a slave runs at once.
pub(super) fn parallel(slave: usize) -> usize {
    if slave < SECOND / 2 { 2 } else { 1 }
}

fn gate(farm: &FarmId, number: usize) -> Gate {
    let mut text = format!(
        "name = \"s{number:02}\"\nfarm = \"{farm}\"\nbus = \"nats://127.0.0.1:4222\"\nstate = \"state\"\n"
    );
    for builder in served_by(number) {
        writeln!(text, "[builders.b{builder:02}]").unwrap();
    }
    text.push_str("[commands.test]\nscript = \"test.sh\"\nparameters.version = { type = \"integer\", min = 0, max = 99 }\n");
    text.push_str("[periods]\nmax-head-age-minutes = 60\n");
    let config = SlaveConfig::parse(&text, Path::new("/")).unwrap();
    Gate::new(config, key(3, number).id(), Abilities::none())
}

fn master_toml(farm: &FarmId) -> String {
    let mut text = format!(
        "farm = \"{farm}\"\nbus = \"nats://127.0.0.1:4222\"\nkeyring = \"k\"\nsigning-key = \"s\"\nbus-key = \"b\"\nstate = \"state\"\n"
    );
    for repository in REPOSITORIES {
        writeln!(
            text,
            "[repositories.{repository}]\nurl = \"https://example.org/{repository}.git\"\nbranches = [\"main\"]"
        )
        .unwrap();
    }
    for n in 0..SLAVES + SECOND {
        // The farm's operator errs in one builder, and names a script that its owner did not map.
        let command = if n == SLAVES - 1 {
            "format-disk"
        } else {
            "test"
        };
        writeln!(
            text,
            "[builders.b{n:02}]\nslave = \"s{:02}\"\nproject = \"foo\"\nsources = {{ foo = \"main\"{} }}\naccept-minutes = 15",
            n % SLAVES,
            if n % 2 == 0 { ", python = \"main\"" } else { "" },
        )
        .unwrap();
        writeln!(
            text,
            "steps = [{{ command = \"{command}\", parameters = {{ version = \"3\" }}, timeout-minutes = 15 }}]"
        )
        .unwrap();
    }
    text
}
