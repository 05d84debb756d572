//! The scheduler: what it does of itself. Its rules, requests and properties have files of their own.

mod masters;
mod properties;
mod requests;
mod rules;

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::master::config::Builder;
use crate::model::{
    Change, Denial, Digest, Isolation, PublicKey, ReportBody, Request, RosterLine, SlaveState,
    Text, Verdict,
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
    silent: BTreeMap<SlaveName, Timestamp>,
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
            silent: BTreeMap::new(),
            sent: Vec::new(),
            facts: Vec::new(),
        }
    }

    fn apply(&mut self, fact: Fact) {
        self.facts.push(fact.clone());
        self.scheduler.apply(fact);
    }

    fn moved(&mut self, repository: &str, revision: u64) -> PayloadId {
        self.moved_at(repository, revision, at(0), None)
    }

    fn moved_at(
        &mut self,
        repository: &str,
        revision: u64,
        seen: Timestamp,
        paths: Option<&[&str]>,
    ) -> PayloadId {
        self.sequence += 1;
        let id = id(1, self.sequence);
        let change = Change {
            farm: self.config.farm,
            repository: repository.parse().unwrap(),
            branch: "main".parse().unwrap(),
            revision: format!("{revision:040x}").parse().unwrap(),
            previous: None,
            seen,
            commits: Vec::new(),
            more: 0,
            rewritten: false,
            paths: paths.map(|paths| paths.iter().map(|path| Text::tidy(path)).collect()),
        };
        self.apply(Fact::Changed {
            sequence: self.sequence,
            id,
            change: Box::new(change),
        });
        id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances {
            farm: self.config.farm,
            keyring: Position::default(),
            roster: &self.roster,
            config: &self.config,
            silent: &self.silent,
        }
    }

    fn queue(&self, now: Timestamp) -> Vec<Waiting> {
        self.scheduler.queue(&self.circumstances(), now)
    }

    /// Decides once; what is to be done is done.
    fn decide(&mut self, now: Timestamp) -> Vec<Effect> {
        let effects = self.scheduler.decide(&self.circumstances(), now);
        for effect in &effects {
            let fact = match effect {
                Effect::Send(build) => {
                    let id = id(2, self.sent.len() as u64);
                    self.sent.push((id, (**build).clone()));
                    Fact::Ordered {
                        id,
                        build: build.clone(),
                        standing: Standing::Good,
                    }
                }
                Effect::Cancel(cancel) => Fact::Cancelled {
                    target: cancel.target,
                    builder: cancel.builder.clone(),
                    request: cancel.request,
                },
                Effect::Answer(answer) => Fact::Answered {
                    sequence: self.facts.len() as u64,
                    request: answer.request,
                    denial: answer.denial.clone(),
                },
                Effect::Announce(release) => {
                    self.sequence += 1;
                    Fact::Released {
                        sequence: self.sequence,
                        id: id(3, self.sequence),
                        release: release.clone(),
                    }
                }
                Effect::WakeAt(_) => continue,
            };
            self.apply(fact);
        }
        effects
    }

    fn report(&mut self, command: PayloadId, body: ReportBody) {
        self.report_as("maple", command, body);
    }

    fn report_as(&mut self, slave: &str, command: PayloadId, body: ReportBody) {
        self.say(slave.parse().unwrap(), builder(), command, body, at(0));
    }

    fn say(
        &mut self,
        slave: SlaveName,
        builder: BuilderName,
        command: PayloadId,
        body: ReportBody,
        issued: Timestamp,
    ) {
        self.apply(Fact::Reported {
            report: id(4, self.facts.len() as u64),
            command,
            slave,
            builder,
            body: Box::new(body),
            issued,
        });
    }

    /// The slave of the build that was sent last says how it ended.
    fn end(&mut self, verdict: Verdict, now: Timestamp) {
        let (id, build) = self.sent.last().unwrap().clone();
        let body = if verdict == Verdict::Refused {
            ReportBody::Refused {
                code: Text::tidy("E-MAPPED"),
                detail: Text::default(),
            }
        } else {
            ended(verdict)
        };
        self.say(build.slave, build.builder, id, body, now);
    }

    fn builder(&mut self, name: &str) -> &mut Builder {
        self.config
            .builders
            .get_mut(&name.parse().unwrap())
            .unwrap()
    }

    /// Another builder like the first, on that slave.
    fn add(&mut self, name: &str, slave: &str) -> &mut Builder {
        let name: BuilderName = name.parse().unwrap();
        let slave: SlaveName = slave.parse().unwrap();
        let copy = Builder {
            slave: slave.clone(),
            ..self.config.builders[&builder()].clone()
        };
        self.config.builders.insert(name.clone(), copy);
        match self
            .roster
            .lines
            .iter_mut()
            .find(|line| line.slave == slave)
        {
            Some(line) => line.builders.push(name.clone()),
            None => self.roster.lines.push(RosterLine {
                slave,
                builders: vec![name.clone()],
                ..self.roster.lines[0].clone()
            }),
        }
        self.config.builders.get_mut(&name).unwrap()
    }

    /// The builders whose builds were sent, in their order.
    fn order(&self) -> Vec<&str> {
        self.sent
            .iter()
            .map(|(_, build)| build.builder.as_str())
            .collect()
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
    ended(Verdict::Failed)
}

fn ended(verdict: Verdict) -> ReportBody {
    ReportBody::Finished {
        verdict,
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
fn an_old_note_of_a_master_that_wakes_hides_nothing_newer() {
    let mut world = World::new();
    world.moved("foo", 1);
    world.moved("python", 1);
    world.decide(at(1));
    world.finish_newest();
    let newest = world.moved("python", 2);
    // It still takes the branch to have come to revision 1 from nowhere.
    world.moved("python", 1);
    world.decide(at(2));
    assert_eq!(world.sent.len(), 2);
    assert_eq!(world.sent[1].1.covers, [newest]);
    assert_eq!(
        world.sent[1].1.sources[1].revision.as_str(),
        format!("{:040x}", 2)
    );
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
