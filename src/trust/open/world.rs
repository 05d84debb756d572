//! Every interleaving, in a small world, of what an operator, a thief of keys and a hostile broker can do to two slaves.
//!
//! The world: at most 3 generations of 3 serials, 2 slaves, 8 steps. A step is one of: the operator rotates, revokes a
//! stolen signing key, or publishes a succession; somebody steals a signing key, the master key or the successor; a thief
//! of a master key signs a serial that lists a key of his own and takes every revocation back, or a succession; the broker
//! hands a slave any keyring that was ever published (so it replays, rolls back, reorders, and freezes by not handing it
//! over). The slaves are the real [`Reader`]; what it makes of a message is computed once for each state that it can be in.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::*;
use crate::model::{Cancel, Command, Keyring, Position, RevokedKey, SigningKeyWindow, Text};
use crate::trust::{SecretKey, commitment, countersign, seal};

const GENERATIONS: u8 = 3;
const SERIALS: u8 = 3;
const STEPS: usize = 8;
const NOW: Timestamp = Timestamp(500);

/// A signing key: the honest one of each position, or the thief's own.
const THIEF: u8 = GENERATIONS * SERIALS;

fn master(generation: u8) -> SecretKey {
    SecretKey::from_seed(&[100 + generation; 32])
}

fn signing(key: u8) -> SecretKey {
    SecretKey::from_seed(&[1 + key; 32])
}

/// A set of keys.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Set(u16);

impl Set {
    fn with(self, member: usize) -> Self {
        Self(self.0 | 1 << member)
    }

    fn has(self, member: usize) -> bool {
        self.0 >> member & 1 == 1
    }

    fn members(self) -> impl Iterator<Item = usize> {
        (0..16).filter(move |member| self.has(*member))
    }
}

/// A set of keyrings, by their places in the catalogue: each step adds one at most.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Keyrings([u16; STEPS + 1]);

impl Keyrings {
    const NONE: u16 = u16::MAX;

    fn first() -> Self {
        let mut keyrings = [Self::NONE; STEPS + 1];
        keyrings[0] = 0;
        Self(keyrings)
    }

    fn with(mut self, keyring: usize) -> Self {
        let keyring = u16::try_from(keyring).unwrap();
        if !self.0.contains(&keyring) {
            let free = self.0.last_mut().unwrap();
            assert_eq!(*free, Self::NONE, "more keyrings than steps");
            *free = keyring;
            self.0.sort_unstable();
        }
        self
    }

    fn members(self) -> impl Iterator<Item = usize> {
        let members = self.0.into_iter();
        members
            .filter(|keyring| *keyring != Self::NONE)
            .map(usize::from)
    }
}

/// What a keyring says, as far as it matters here.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Content {
    generation: u8,
    serial: u8,
    /// The first keyring that it builds on.
    previous: Option<usize>,
    listed: Set,
    stolen: Set,
    /// Whether it commits to the operator's next master key.
    honest: bool,
}

impl Content {
    fn position(&self) -> (u8, u8) {
        (self.generation, self.serial)
    }
}

/// Every keyring that was ever signed in some world, and what readers make of them.
struct Catalogue {
    contents: Vec<Content>,
    messages: Vec<Vec<u8>>,
    ids: Vec<PayloadId>,
    index: HashMap<Content, usize>,
    readers: Vec<Reader>,
    reader_index: HashMap<String, usize>,
    learnt: HashMap<(usize, usize), (usize, bool)>,
    accepted: HashMap<usize, Set>,
    commands: Vec<Vec<u8>>,
}

impl Catalogue {
    fn new() -> Self {
        let mut catalogue = Self {
            contents: Vec::new(),
            messages: Vec::new(),
            ids: Vec::new(),
            index: HashMap::new(),
            readers: Vec::new(),
            reader_index: HashMap::new(),
            learnt: HashMap::new(),
            accepted: HashMap::new(),
            commands: Vec::new(),
        };
        let first = Content {
            generation: 0,
            serial: 0,
            previous: None,
            listed: Set::default().with(0),
            stolen: Set::default(),
            honest: true,
        };
        catalogue.keyring(first);
        let farm = FarmId(catalogue.ids[0].0);
        catalogue.reader(Reader::new(farm, &catalogue.messages[0]).unwrap());
        catalogue.commands = (0..=THIEF)
            .map(|key| {
                let cancel = Cancel {
                    farm,
                    slave: "maple".parse().unwrap(),
                    builder: "foo".parse().unwrap(),
                    target: PayloadId([key; 32]),
                    issued: NOW,
                    reason: Text::default(),
                    requester: None,
                    request: None,
                };
                seal(&signing(key), &farm, &Command::Cancel(cancel)).bytes
            })
            .collect();
        catalogue
    }

    fn keyring(&mut self, content: Content) -> usize {
        if let Some(known) = self.index.get(&content) {
            return *known;
        }
        let window = |key: usize| SigningKeyWindow {
            key: signing(u8::try_from(key).unwrap()).public(),
            not_before: Timestamp(0),
            not_after: Timestamp(1_000),
        };
        let revoked = content.stolen.members().map(|key| RevokedKey {
            window: window(key),
            reason: RevocationReason::Compromised,
            revoked: Timestamp(0),
        });
        let next = if content.honest {
            content.generation + 1
        } else {
            99
        };
        let keyring = Keyring {
            name: "world".parse().unwrap(),
            position: Position {
                generation: content.generation.into(),
                serial: content.serial.into(),
            },
            previous: content.previous.map(|previous| self.ids[previous]),
            issued: Timestamp(0),
            expires: Timestamp(1_000),
            master_keys: vec![master(content.generation).public()],
            threshold: 1,
            commitment: commitment(1, &[master(next).public()]),
            signing_keys: content.listed.members().map(window).collect(),
            revoked: revoked.collect(),
        };
        let envelopes = countersign(&[&master(content.generation)], &keyring).unwrap();
        self.ids.push(payload_id(envelopes.payload()));
        self.messages.push(envelopes.to_bytes());
        self.contents.push(content.clone());
        self.index.insert(content, self.contents.len() - 1);
        self.contents.len() - 1
    }

    /// Readers that hold the same are one.
    fn reader(&mut self, reader: Reader) -> usize {
        let held = format!("{:?}", reader.chain());
        *self.reader_index.entry(held).or_insert_with(|| {
            self.readers.push(reader);
            self.readers.len() - 1
        })
    }

    /// What a reader is after it was handed a keyring, and whether it took it for genuine.
    fn learn(&mut self, reader: usize, keyring: usize) -> (usize, bool) {
        if let Some(known) = self.learnt.get(&(reader, keyring)) {
            return *known;
        }
        let mut after = self.readers[reader].clone();
        let genuine = after.learn_keyring(&self.messages[keyring]).is_ok();
        let after = if genuine { self.reader(after) } else { reader };
        self.learnt.insert((reader, keyring), (after, genuine));
        (after, genuine)
    }

    /// By which keys a reader takes commands.
    fn accepted(&mut self, reader: usize) -> Set {
        if let Some(known) = self.accepted.get(&reader) {
            return *known;
        }
        let held = &self.readers[reader];
        let mut accepted = Set::default();
        for (key, command) in self.commands.iter().enumerate() {
            let opened = held.open::<Command>(command, Purpose::Admit { now: NOW });
            // The gate asks for both.
            if opened.is_ok() && held.keys_fault(NOW).is_none() {
                accepted = accepted.with(key);
            }
        }
        self.accepted.insert(reader, accepted);
        accepted
    }

    fn is_stopped(&self, reader: usize) -> bool {
        self.readers[reader].chain().fork().is_some()
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Slave {
    reader: usize,
    /// The keyrings that it was handed and took for genuine.
    seen: Keyrings,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct World {
    /// The operator's newest keyring, and the first of its generation.
    newest: usize,
    first: usize,
    stolen_signing: Set,
    stolen_masters: Set,
    published: Keyrings,
    slaves: [Slave; 2],
}

impl World {
    fn new() -> Self {
        let slave = Slave {
            reader: 0,
            seen: Keyrings::first(),
        };
        Self {
            newest: 0,
            first: 0,
            stolen_signing: Set::default(),
            stolen_masters: Set::default(),
            published: Keyrings::first(),
            slaves: [slave; 2],
        }
    }

    /// Every world that is one step away.
    fn steps(&self, catalogue: &mut Catalogue) -> Vec<World> {
        let mut worlds = Vec::new();
        self.operator(catalogue, &mut worlds);
        self.thief(catalogue, &mut worlds);
        for (index, slave) in self.slaves.iter().enumerate() {
            for keyring in self.published.members() {
                let (reader, genuine) = catalogue.learn(slave.reader, keyring);
                let mut after = *self;
                after.slaves[index].reader = reader;
                if genuine {
                    after.slaves[index].seen = slave.seen.with(keyring);
                }
                worlds.push(after);
            }
        }
        for world in &mut worlds {
            // The slaves are alike.
            world.slaves.sort_unstable();
        }
        worlds
    }

    fn operator(&self, catalogue: &mut Catalogue, worlds: &mut Vec<World>) {
        let newest = catalogue.contents[self.newest].clone();
        let fresh = usize::from(newest.generation * SERIALS + newest.serial + 1);
        if newest.serial + 1 < SERIALS {
            let rotated = Content {
                serial: newest.serial + 1,
                previous: Some(self.first),
                listed: newest.listed.with(fresh),
                ..newest.clone()
            };
            // Routine, or with what is known to be stolen.
            let known = Content {
                listed: Set(rotated.listed.0 & !self.stolen_signing.0),
                stolen: Set(newest.stolen.0 | self.stolen_signing.0),
                ..rotated.clone()
            };
            for content in [rotated, known] {
                let keyring = catalogue.keyring(content);
                worlds.push(World {
                    newest: keyring,
                    published: self.published.with(keyring),
                    ..*self
                });
            }
        }
        if newest.generation + 1 < GENERATIONS {
            let keyring = catalogue.keyring(Content {
                generation: newest.generation + 1,
                serial: 0,
                previous: Some(self.first),
                listed: Set(newest.listed.0 & !self.stolen_signing.0)
                    .with(usize::from((newest.generation + 1) * SERIALS)),
                stolen: Set(newest.stolen.0 | self.stolen_signing.0),
                honest: true,
            });
            worlds.push(World {
                newest: keyring,
                first: keyring,
                published: self.published.with(keyring),
                ..*self
            });
        }
    }

    fn thief(&self, catalogue: &mut Catalogue, worlds: &mut Vec<World>) {
        let newest = catalogue.contents[self.newest].clone();
        let current = usize::from(newest.generation * SERIALS + newest.serial);
        if !self.stolen_signing.has(current) {
            worlds.push(World {
                stolen_signing: self.stolen_signing.with(current),
                ..*self
            });
        }
        for generation in [newest.generation, newest.generation + 1] {
            if !self.stolen_masters.has(generation.into()) {
                worlds.push(World {
                    stolen_masters: self.stolen_masters.with(generation.into()),
                    ..*self
                });
            }
        }
        let evil = |generation, serial| Content {
            generation,
            serial,
            previous: Some(self.first),
            listed: Set(newest.listed.0 | newest.stolen.0).with(THIEF.into()),
            stolen: Set::default(),
            honest: serial > 0,
        };
        let mut forged = Vec::new();
        if self.stolen_masters.has(newest.generation.into()) {
            forged.extend((1..SERIALS).map(|serial| evil(newest.generation, serial)));
            // Another first keyring of the generation, which only its predecessor's commitment vouches for.
            if newest.generation > 0 {
                forged.push(Content {
                    previous: catalogue.contents[self.first].previous,
                    ..evil(newest.generation, 0)
                });
            }
        }
        if self.stolen_masters.has(usize::from(newest.generation) + 1)
            && newest.generation + 1 < GENERATIONS
        {
            forged.push(evil(newest.generation + 1, 0));
        }
        for content in forged {
            let keyring = catalogue.keyring(content);
            worlds.push(World {
                published: self.published.with(keyring),
                ..*self
            });
        }
    }

    /// No command is taken from a key that the best a slave knows calls stolen, does not list, or cannot be told.
    fn check_safety(&self, catalogue: &mut Catalogue) {
        for slave in self.slaves {
            let accepted = catalogue.accepted(slave.reader);
            let seen: Vec<&Content> = slave
                .seen
                .members()
                .map(|keyring| &catalogue.contents[keyring])
                .collect();
            let generation = seen.iter().map(|content| content.generation).max().unwrap();
            let best: Vec<&&Content> = seen
                .iter()
                .filter(|content| content.generation == generation)
                .collect();
            for content in &best {
                assert_eq!(
                    accepted.0 & content.stolen.0,
                    0,
                    "a stolen key is believed: {self:?}"
                );
            }
            let mut positions = BTreeMap::new();
            for content in &best {
                *positions.entry(content.position()).or_insert(0) += 1;
            }
            if positions.values().any(|count| *count > 1) {
                assert_eq!(accepted, Set::default(), "a fork is believed: {self:?}");
                assert!(catalogue.is_stopped(slave.reader), "no evidence: {self:?}");
            }
            let newest = best
                .iter()
                .max_by_key(|content| content.position())
                .unwrap();
            assert_eq!(
                accepted.0 & !newest.listed.0,
                0,
                "an unlisted key is believed: {self:?}"
            );
        }
    }

    /// Whoever can reach all that was published ends at the newest keyring, or stops with evidence of a fork.
    fn check_convergence(&self, catalogue: &mut Catalogue) {
        let newest = catalogue.contents[self.newest].position();
        let thief_goes_on = self.published.members().any(|keyring| {
            let position = catalogue.contents[keyring].position();
            keyring != self.newest && position >= newest
        });
        let ends = self.slaves.map(|slave| {
            let mut reader = slave.reader;
            // As the bus is read: the first of the next generation as long as there is one, then the serials.
            for _ in 0..=GENERATIONS {
                for keyring in self.published.members() {
                    reader = catalogue.learn(reader, keyring).0;
                }
            }
            reader
        });
        for reader in ends {
            if catalogue.is_stopped(reader) {
                continue;
            }
            let held = catalogue.readers[reader].chain().newest_id();
            if !thief_goes_on {
                assert_eq!(held, catalogue.ids[self.newest], "not converged: {self:?}");
                assert_ne!(catalogue.accepted(reader), Set::default(), "{self:?}");
            }
        }
        // A thief who goes on alone is believed until the succession, but by everybody alike.
        let held = ends.map(|reader| {
            let chain = catalogue.readers[reader].chain();
            chain.fork().is_none().then(|| chain.newest_id())
        });
        if let [Some(one), Some(other)] = held {
            assert_eq!(one, other, "two truths: {self:?}");
        }
    }
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "how large the world was is a part of the claim"
)]
fn in_every_interleaving_no_stolen_key_is_believed_and_every_slave_converges_or_stops() {
    let mut catalogue = Catalogue::new();
    let mut known = HashSet::from([World::new()]);
    let mut frontier = vec![World::new()];
    for _ in 0..STEPS {
        let mut next = Vec::new();
        for world in &frontier {
            for after in world.steps(&mut catalogue) {
                if known.insert(after) {
                    after.check_safety(&mut catalogue);
                    after.check_convergence(&mut catalogue);
                    next.push(after);
                }
            }
        }
        frontier = next;
    }
    println!(
        "{} worlds, {} keyrings, {} states of a slave",
        known.len(),
        catalogue.contents.len(),
        catalogue.readers.len()
    );
    assert!(known.len() > 10_000, "the world has shrunk");
}
