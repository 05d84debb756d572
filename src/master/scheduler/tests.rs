//! The scheduler over histories that nobody would write by hand.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{
    BuildState, Digest, Isolation, PublicKey, RosterLine, SlaveState, Text, Verdict,
};

const CONFIG: &str = r#"
farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
bus = "nats://127.0.0.1:4222"
keyring = "k"
signing-key = "s"
bus-key = "b"
state = "state"

[repositories.python]
url = "https://example.org/python.git"
branches = ["main"]
[repositories.foo]
url = "https://example.org/foo.git"
branches = ["main"]

[builders.foo-linux]
slave = "maple"
project = "foo"
sources = { python = "main", foo = "main" }
accept-minutes = 10
steps = [{ command = "test-foo", timeout-minutes = 10 }]
"#;

/// A scheduler, and the world around it: what it sends becomes a fact, with ids counted up.
struct World {
    scheduler: Scheduler,
    config: MasterConfig,
    roster: Roster,
    sequence: u64,
    sent: Vec<(PayloadId, Build)>,
    facts: Vec<Fact>,
}

fn id(kind: u8, number: u64) -> PayloadId {
    let mut id = [kind; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    PayloadId(id)
}

fn at(second: u64) -> Timestamp {
    Timestamp(second * 1_000_000)
}

fn builder() -> BuilderName {
    "foo-linux".parse().unwrap()
}

impl World {
    fn new() -> Self {
        let config = MasterConfig::parse(CONFIG, Path::new("/")).unwrap();
        let line = RosterLine {
            slave: "maple".parse().unwrap(),
            report_key: PublicKey([1; 32]),
            bus_key: PublicKey([2; 32]),
            owner: Text::default(),
            platform: Text::default(),
            builders: vec![builder()],
            state: SlaveState::Active,
            approved: at(0),
            closed: None,
        };
        let roster = Roster {
            farm: config.farm,
            version: 1,
            keyring: Position::default(),
            issued: at(0),
            lines: vec![line],
        };
        Self {
            scheduler: Scheduler::default(),
            config,
            roster,
            sequence: 0,
            sent: Vec::new(),
            facts: Vec::new(),
        }
    }

    fn apply(&mut self, fact: Fact) {
        self.facts.push(fact.clone());
        self.scheduler.apply(fact);
    }

    fn moved(&mut self, repository: &str, revision: u64) -> PayloadId {
        self.sequence += 1;
        let id = id(1, self.sequence);
        let change = Change {
            farm: self.config.farm,
            repository: repository.parse().unwrap(),
            branch: "main".parse().unwrap(),
            revision: format!("{revision:040x}").parse().unwrap(),
            previous: None,
            seen: at(0),
            commits: Vec::new(),
            more: 0,
            rewritten: false,
            paths: None,
        };
        self.apply(Fact::Changed {
            sequence: self.sequence,
            id,
            change: Box::new(change),
        });
        id
    }

    fn decide(&mut self, now: Timestamp) -> Vec<Effect> {
        let circumstances = Circumstances {
            farm: self.config.farm,
            keyring: Position::default(),
            roster: &self.roster,
            config: &self.config,
            silent: &BTreeMap::new(),
        };
        let effects = self.scheduler.decide(&circumstances, now);
        for effect in &effects {
            if let Effect::Send(build) = effect {
                let id = id(2, self.sent.len() as u64);
                self.sent.push((id, (**build).clone()));
                self.apply(Fact::Ordered {
                    id,
                    build: build.clone(),
                    standing: Standing::Good,
                });
            }
        }
        effects
    }

    fn report(&mut self, command: PayloadId, body: ReportBody) {
        self.report_as("maple", command, body);
    }

    fn report_as(&mut self, slave: &str, command: PayloadId, body: ReportBody) {
        let slave = slave.parse().unwrap();
        self.apply(Fact::Reported {
            report: id(4, self.facts.len() as u64),
            command,
            slave,
            builder: builder(),
            body: Box::new(body),
            issued: at(0),
        });
    }

    fn finish_newest(&mut self) {
        if let Some((id, _)) = self.sent.last() {
            self.report(*id, finished());
        }
    }
}

fn started(started: Timestamp) -> ReportBody {
    ReportBody::StepStarted {
        step: 0,
        name: "test-foo".parse().unwrap(),
        started,
        script: Digest([0; 32]),
        mapped: None,
        isolation: Isolation::Plain,
        network: crate::model::Network::On,
    }
}

fn finished() -> ReportBody {
    ReportBody::Finished {
        verdict: Verdict::Failed,
        log: Digest([0; 32]),
        isolation: Isolation::Plain,
        detail: None,
        network: crate::model::Network::On,
    }
}

#[test]
fn nothing_is_built_before_every_source_is_known() {
    let mut world = World::new();
    world.moved("python", 1);
    assert!(world.decide(at(1)).is_empty());
    world.moved("foo", 2);
    world.decide(at(2));
    assert_eq!(world.sent[0].1.sources.len(), 2);
    assert_eq!(world.sent[0].1.covers.len(), 2);
}

#[test]
fn changes_during_a_build_collapse_into_one_that_covers_them_all() {
    let mut world = World::new();
    world.moved("python", 1);
    world.moved("foo", 1);
    world.decide(at(1));
    let covers = vec![world.moved("python", 2), world.moved("python", 3)];
    assert!(matches!(world.decide(at(2))[..], [Effect::WakeAt(_)]));
    world.finish_newest();
    world.decide(at(3));
    let (_, second) = &world.sent[1];
    assert_eq!((second.number, &second.covers), (2, &covers));
    let revisions: Vec<&str> = second
        .sources
        .iter()
        .map(|source| source.revision.as_str())
        .collect();
    assert_eq!(revisions, [format!("{:040x}", 1), format!("{:040x}", 3)]);
    world.finish_newest();
    assert!(world.decide(at(4)).is_empty());
}

#[test]
fn a_new_builder_starts_at_the_newest_change() {
    let mut world = World::new();
    world.moved("foo", 1);
    for revision in 1..=5 {
        world.moved("python", revision);
    }
    world.decide(at(1));
    assert_eq!(world.sent[0].1.covers.len(), 2);
}

#[test]
fn the_same_move_noted_twice_is_built_once() {
    let mut world = World::new();
    world.moved("foo", 1);
    world.moved("python", 1);
    world.decide(at(1));
    world.finish_newest();
    world.moved("python", 1);
    assert!(world.decide(at(2)).is_empty());
}

#[test]
fn a_silent_build_holds_its_builder_until_its_deadline_and_no_longer() {
    let mut world = World::new();
    world.moved("foo", 1);
    world.moved("python", 1);
    world.decide(at(0));
    world.moved("python", 2);
    let tick = Duration::from_micros(1);
    let never_accepted = world.sent[0].1.accept_by.after(Build::CLOCK_SKEW);
    assert_eq!(
        world.decide(at(1)),
        [Effect::WakeAt(never_accepted.after(tick))]
    );
    let command = world.sent[0].0;
    world.report(command, started(at(2)));
    let give_up = world.sent[0].1.finish_by.after(Build::CLOCK_SKEW);
    assert_eq!(world.decide(at(3)), [Effect::WakeAt(give_up.after(tick))]);
    assert_eq!(world.decide(give_up).len(), 1);
    world.decide(give_up.after(tick));
    assert_eq!(world.sent.len(), 2);
}

#[test]
fn a_slave_cannot_speak_for_another_ones_build() {
    let mut world = World::new();
    world.moved("foo", 1);
    world.moved("python", 1);
    world.decide(at(0));
    world.moved("python", 2);
    let command = world.sent[0].0;
    world.report_as("elm", command, finished());
    assert!(matches!(world.decide(at(1))[..], [Effect::WakeAt(_)]));
}

#[test]
fn a_slave_that_takes_no_commands_is_sent_none() {
    for state in [SlaveState::Paused, SlaveState::Revoked] {
        let mut world = World::new();
        world.roster.lines[0].state = state;
        world.moved("foo", 1);
        world.moved("python", 1);
        assert!(world.decide(at(1)).is_empty(), "{state:?}");
    }
}

#[test]
fn a136_numbering_jumps_past_what_a_slave_has_seen_if_the_bus_lost_its_store() {
    let mut world = World::new();
    world.apply(Fact::Numbered {
        builder: builder(),
        number: 41,
    });
    world.moved("foo", 1);
    world.moved("python", 1);
    world.decide(at(1));
    assert_eq!(world.sent[0].1.number, 42);
}

#[test]
fn a134_a_stolen_keys_number_counts_if_its_slave_took_it_and_not_if_it_refused() {
    let refused = ReportBody::Refused {
        code: Text::tidy("E-NUMBER"),
        detail: Text::default(),
    };
    let accepted = ReportBody::Accepted { received: at(1) };
    for (number, answer, next) in [
        (u64::MAX, refused.clone(), 1),
        (1 << 40, refused, 1),
        (7, accepted, 8),
    ] {
        for report_first in [true, false] {
            let mut sender = World::new();
            sender.moved("foo", 1);
            sender.moved("python", 1);
            sender.decide(at(1));
            let mut build = sender.sent.remove(0).1;
            build.number = number;
            build.covers.clear();
            let mut world = World::new();
            let order = Fact::Ordered {
                id: id(9, 1),
                build: Box::new(build),
                standing: Standing::Unproven,
            };
            if report_first {
                world.report(id(9, 1), answer.clone());
                world.apply(order);
            } else {
                world.apply(order);
                world.report(id(9, 1), answer.clone());
            }
            world.report(id(9, 1), finished());
            world.moved("foo", 2);
            world.moved("python", 2);
            world.decide(at(2));
            let sent = world.sent.first().map(|(_, build)| build.number);
            assert_eq!(sent, Some(next), "{number}, {answer:?}");
        }
    }
}

/// One thing that may happen.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Python,
    Foo,
    Accepted,
    Finished,
    Later(u64),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        Just(Happening::Python),
        Just(Happening::Foo),
        Just(Happening::Accepted),
        Just(Happening::Finished),
        (1..2000u64).prop_map(Happening::Later),
    ];
    prop::collection::vec(one, 1..60)
}

fn live(happenings: &[Happening]) -> (World, Timestamp) {
    let mut world = World::new();
    let mut now = at(1);
    for happening in happenings {
        match happening {
            Happening::Python => drop(world.moved("python", world.sequence + 1)),
            Happening::Foo => drop(world.moved("foo", world.sequence + 1)),
            Happening::Accepted => {
                if let Some((id, _)) = world.sent.last() {
                    world.report(*id, ReportBody::Accepted { received: now });
                }
            }
            Happening::Finished => world.finish_newest(),
            Happening::Later(seconds) => now = now.after(Duration::from_secs(*seconds)),
        }
        world.decide(now);
    }
    (world, now)
}

proptest! {
    #[test]
    fn never_two_builds_in_flight_on_one_builder(happenings in happenings()) {
        let (world, _) = live(&happenings);
        for pair in world.sent.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            let reported = world.facts.iter().position(|fact| matches!(
                fact, Fact::Reported { command, body, .. } if *command == before.0 && body.verdict().is_some()
            ));
            let ordered = world.facts.iter().position(|fact| matches!(fact, Fact::Ordered { id, .. } if *id == after.0));
            let reported_first = reported.is_some_and(|reported| Some(reported) < ordered);
            let given_up = after.1.issued > before.1.lost_after(BuildState::Ordered);
            prop_assert!(reported_first || given_up);
        }
    }

    #[test]
    fn every_newest_change_is_in_the_end_built(happenings in happenings()) {
        let (mut world, mut now) = live(&happenings);
        world.moved("python", 1000);
        world.moved("foo", 1001);
        for _ in 0..3 {
            world.decide(now);
            world.finish_newest();
            now = now.after(Duration::from_secs(1));
        }
        let (_, newest) = world.sent.last().expect("a build");
        let revisions: Vec<&str> = newest.sources.iter().map(|source| source.revision.as_str()).collect();
        prop_assert_eq!(revisions, [format!("{:040x}", 1001), format!("{:040x}", 1000)]);
        prop_assert!(world.decide(now).is_empty());
    }

    #[test]
    fn numbers_count_up_by_one(happenings in happenings()) {
        let (world, _) = live(&happenings);
        let numbers: Vec<u64> = world.sent.iter().map(|(_, build)| build.number).collect();
        let expected: Vec<u64> = (1..=world.sent.len() as u64).collect();
        prop_assert_eq!(numbers, expected);
    }

    #[test]
    fn replay_in_any_order_between_streams_gives_the_same_decisions(happenings in happenings(), turn in 0..6usize) {
        let (mut world, now) = live(&happenings);
        // Streams keep their own order and nothing more: they come one after the other, in any of the six orders, twice.
        let stream = |fact: &Fact| match fact {
            Fact::Changed { .. } | Fact::Released { .. } => 0,
            Fact::Ordered { .. }
            | Fact::Cancelled { .. }
            | Fact::Numbered { .. }
            | Fact::Requested { .. }
            | Fact::Answered { .. } => 1,
            Fact::Reported { .. } => 2,
        };
        let order = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][turn];
        let mut replayed = World::new();
        replayed.sequence = world.sequence;
        for wanted in order.into_iter().chain(order) {
            for fact in world.facts.iter().filter(|fact| stream(fact) == wanted) {
                replayed.scheduler.apply(fact.clone());
            }
        }
        for later in [0, 100_000] {
            let now = now.after(Duration::from_secs(later));
            prop_assert_eq!(replayed.decide(now), world.decide(now));
        }
    }
}
