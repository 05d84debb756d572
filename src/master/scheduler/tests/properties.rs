//! What holds over histories that nobody would write by hand.

use proptest::prelude::*;

use super::*;
use crate::master::config::{Collapse, Everything, Requester, SlaveRules};
use crate::model::{BuildState, InstanceId, Verb, Wish};

/// One thing that may happen.
#[derive(Clone, Debug)]
enum Happening {
    Moved(&'static str),
    /// The slave of one of the newest builds speaks.
    Said(usize, Word),
    Asked(usize, Ask),
    Silent(bool),
    Later(u64),
}

#[derive(Clone, Copy, Debug)]
enum Word {
    Accepted,
    Started,
    Ended(Verdict),
    Deferred,
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Force,
    Cancel,
    Retry,
    Pause,
    Resume,
}

const BUILDERS: [&str; 4] = ["foo-linux", "foo-b", "foo-every", "foo-after"];

fn happening() -> impl Strategy<Value = Happening> {
    let verdict = prop_oneof![
        3 => Just(Verdict::Passed),
        1 => Just(Verdict::Failed),
        1 => Just(Verdict::Errored),
        1 => Just(Verdict::Lost),
        1 => Just(Verdict::Refused),
        1 => Just(Verdict::Cancelled),
    ];
    let word = prop_oneof![
        2 => Just(Word::Accepted),
        2 => Just(Word::Started),
        4 => verdict.prop_map(Word::Ended),
        1 => Just(Word::Deferred),
    ];
    let ask = prop_oneof![
        2 => Just(Ask::Force),
        1 => Just(Ask::Cancel),
        1 => Just(Ask::Retry),
        1 => Just(Ask::Pause),
        1 => Just(Ask::Resume),
    ];
    prop_oneof![
        3 => Just(Happening::Moved("python")),
        2 => Just(Happening::Moved("foo")),
        6 => (0..6usize, word).prop_map(|(which, word)| Happening::Said(which, word)),
        1 => (0..BUILDERS.len(), ask).prop_map(|(builder, ask)| Happening::Asked(builder, ask)),
        1 => any::<bool>().prop_map(Happening::Silent),
        3 => (1..2_000u64).prop_map(Happening::Later),
    ]
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    prop::collection::vec(happening(), 1..80)
}

/// Four builders on two slaves: a lock, two rules of order, one slave that takes two builds.
fn farm() -> World {
    let mut world = World::new();
    let linux = world.builder("foo-linux");
    linux.locks.insert("gpu".parse().unwrap());
    linux.quiet = Duration::from_secs(30);
    world.add("foo-b", "maple").quiet = Duration::ZERO;
    world.add("foo-every", "maple").collapse = Collapse::Every;
    let after = world.add("foo-after", "oak");
    after.after.insert(builder());
    after.locks.clear();
    let rules = SlaveRules { capacity: 2 };
    world.config.slaves.insert("maple".parse().unwrap(), rules);
    let ada = Requester {
        key: PublicKey([9; 32]),
        login: None,
        may: [Verb::Force, Verb::Cancel, Verb::Retry, Verb::Pause].into(),
        builders: BTreeSet::new(),
        every_builder: Everything::Yes,
    };
    world.config.requesters.insert("ada".parse().unwrap(), ada);
    world
}

impl World {
    /// Does what is to be done until there is nothing more to do at that moment.
    fn settle(&mut self, now: Timestamp) {
        for _ in 0..100 {
            let effects = self.decide(now);
            if effects
                .iter()
                .all(|effect| matches!(effect, Effect::WakeAt(_)))
            {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn happen(&mut self, happening: &Happening, now: &mut Timestamp) {
        match happening {
            Happening::Moved(repository) => {
                self.moved_at(repository, self.sequence + 1, *now, None);
            }
            Happening::Said(which, word) => {
                let Some((id, build)) = self.sent.iter().rev().nth(*which).cloned() else {
                    return;
                };
                let body = match word {
                    Word::Accepted => ReportBody::Accepted { received: *now },
                    Word::Started => started(*now),
                    Word::Ended(Verdict::Refused) => ReportBody::Refused {
                        code: Text::tidy("E-MAPPED"),
                        detail: Text::default(),
                    },
                    Word::Ended(Verdict::Lost) => ReportBody::Lost {
                        detail: Text::default(),
                    },
                    Word::Ended(verdict) => ended(*verdict),
                    Word::Deferred => ReportBody::Deferred {
                        until: now.after(Duration::from_secs(500)),
                    },
                };
                self.say(build.slave, build.builder, id, body, *now);
            }
            Happening::Asked(builder, ask) => self.ask_for(BUILDERS[*builder], *ask, *now),
            Happening::Silent(silent) => {
                let maple = "maple".parse().unwrap();
                if *silent {
                    self.silent.insert(maple, *now);
                } else {
                    self.silent.remove(&maple);
                }
            }
            Happening::Later(seconds) => *now = now.after(Duration::from_secs(*seconds)),
        }
    }

    fn ask_for(&mut self, name: &str, ask: Ask, now: Timestamp) {
        let builder: BuilderName = name.parse().unwrap();
        let ordered = self
            .sent
            .iter()
            .filter(|(_, build)| build.builder == builder);
        let number = ordered.count() as u64;
        let wish = match ask {
            Ask::Force => Wish::Force {
                builder,
                sources: Vec::new(),
            },
            Ask::Cancel => Wish::Cancel { builder, number },
            Ask::Retry => Wish::Retry { builder, number },
            Ask::Pause => Wish::Pause {
                builder,
                until: now.after(Duration::from_secs(3_000)),
            },
            Ask::Resume => Wish::Resume { builder },
        };
        let request = Request {
            farm: self.config.farm,
            requester: "ada".parse().unwrap(),
            nonce: InstanceId([1; 16]),
            issued: now,
            reason: Text::tidy("because"),
            wish,
        };
        self.apply(Fact::Requested {
            id: id(5, self.facts.len() as u64),
            request: Box::new(request),
        });
    }

    /// The builds that may go on at `now`, by their slaves.
    fn in_flight(&self, slave: &str, now: Timestamp) -> usize {
        let slave = slave.parse().unwrap();
        self.scheduler.builds_on(&slave, now).len()
    }
}

fn live(happenings: &[Happening]) -> (World, Timestamp) {
    let mut world = farm();
    let mut now = at(1);
    for happening in happenings {
        world.happen(happening, &mut now);
        world.settle(now);
    }
    (world, now)
}

proptest! {
    #[test]
    fn never_more_in_flight_than_capacity_and_locks_allow(happenings in happenings()) {
        let mut world = farm();
        let mut now = at(1);
        for happening in &happenings {
            world.happen(happening, &mut now);
            // A late word may bring back what was given up; whatever is ordered then, is ordered within the limits.
            let before = world.sent.len();
            world.settle(now);
            let gpu = "gpu".parse().unwrap();
            for (_, build) in &world.sent[before..] {
                let (slave, most) = (build.slave.as_str(), if build.slave.as_str() == "maple" { 2 } else { 1 });
                prop_assert!(world.in_flight(slave, now) <= most);
                let needs = |builder: &BuilderName| world.config.builders[builder].locks.contains(&gpu);
                let maples = world.scheduler.builds_on(&"maple".parse().unwrap(), now);
                let locked = maples.iter().filter(|build| needs(&build.builder)).count();
                prop_assert!(!needs(&build.builder) || locked <= 1);
            }
        }
    }

    #[test]
    fn never_two_builds_in_flight_on_one_builder(happenings in happenings()) {
        let (world, _) = live(&happenings);
        for name in BUILDERS {
            let sent: Vec<_> = world.sent.iter().filter(|(_, build)| build.builder.as_str() == name).collect();
            for pair in sent.windows(2) {
                let (before, after) = (pair[0], pair[1]);
                let reported = world.facts.iter().position(|fact| matches!(
                    fact, Fact::Reported { command, body, .. } if *command == before.0 && body.verdict().is_some()
                ));
                let ordered = world.facts.iter().position(|fact| matches!(fact, Fact::Ordered { id, .. } if *id == after.0));
                let reported_first = reported.is_some_and(|reported| Some(reported) < ordered);
                let given_up = after.1.issued > before.1.lost_after(BuildState::Ordered);
                prop_assert!(reported_first || given_up);
            }
        }
    }

    /// After everything has been heard for long enough, whatever was wanted has been built or waits for a reason.
    #[test]
    fn every_wanted_change_is_built_in_the_end_or_says_why_not(happenings in happenings()) {
        let (mut world, mut now) = live(&happenings);
        world.silent.clear();
        world.moved_at("python", 1_000, now, None);
        world.moved_at("foo", 1_001, now, None);
        for _ in 0..400 {
            world.settle(now);
            let open: Vec<_> = world.sent.iter().filter(|(id, _)| !world.facts.iter().any(|fact| matches!(
                fact, Fact::Reported { command, body, .. } if command == id && body.verdict().is_some()
            ))).cloned().collect();
            for (id, build) in open {
                world.say(build.slave, build.builder, id, ended(Verdict::Passed), now);
            }
            now = now.after(Duration::from_secs(3_000));
        }
        world.settle(now);
        prop_assert_eq!(world.queue(now), Vec::new());
        for name in BUILDERS {
            let built = world.sent.iter().any(|(_, build)| {
                let revisions = build.sources.iter().map(|source| source.revision.as_str());
                build.builder.as_str() == name && revisions.eq([format!("{:040x}", 1_001), format!("{:040x}", 1_000)])
            });
            prop_assert!(built, "{}", name);
        }
    }

    /// Of everything that is wanted and not ordered, the queue says why; and what it says is not empty talk: what waits for
    /// nothing is ordered.
    #[test]
    fn a_builder_that_could_build_something_new_is_in_flight_or_in_the_queue(happenings in happenings()) {
        let (world, now) = live(&happenings);
        let tips = [("foo", "main"), ("python", "main")].map(|(repository, branch)| {
            world.scheduler.tip(&repository.parse().unwrap(), &branch.parse().unwrap()).cloned()
        });
        let queue = world.queue(now);
        for name in BUILDERS {
            let builder: BuilderName = name.parse().unwrap();
            let Some(tips) = tips.iter().cloned().collect::<Option<Vec<Revision>>>() else { continue };
            let built = world.sent.iter().any(|(_, build)| {
                build.builder == builder && build.sources.iter().map(|it| &it.revision).eq(tips.iter())
            });
            prop_assert!(built || queue.iter().any(|waiting| waiting.builder == builder), "{}", name);
        }
    }

    #[test]
    fn numbers_count_up_by_one_and_no_request_is_built_twice_at_one_attempt(happenings in happenings()) {
        let (world, _) = live(&happenings);
        for name in BUILDERS {
            let sent: Vec<_> = world.sent.iter().filter(|(_, build)| build.builder.as_str() == name).collect();
            let numbers: Vec<u64> = sent.iter().map(|(_, build)| build.number).collect();
            let expected: Vec<u64> = (1..=sent.len() as u64).collect();
            prop_assert_eq!(numbers, expected);
        }
        let asked: Vec<_> = world.sent.iter().filter_map(|(_, build)| Some((build.request?, build.attempt))).collect();
        let distinct: BTreeSet<_> = asked.iter().collect();
        prop_assert_eq!(asked.len(), distinct.len());
    }

    #[test]
    fn the_newest_revision_is_never_lost_by_collapsing(happenings in happenings()) {
        let (world, _) = live(&happenings);
        for (_, build) in &world.sent {
            if build.retry_of.is_some() || build.builder.as_str() == "foo-every" || build.builder.as_str() == "foo-after" {
                continue;
            }
            // What had moved when it was ordered is what it builds.
            let ordered = world.facts.iter().position(|fact| matches!(
                fact, Fact::Ordered { build: other, .. } if other.builder == build.builder && other.number == build.number
            )).expect("it was sent");
            for source in &build.sources {
                let newest = world.facts[..ordered].iter().rev().find_map(|fact| {
                    let Fact::Changed { change, .. } = fact else { return None };
                    (change.repository == source.repository).then_some(&change.revision)
                });
                prop_assert_eq!(newest, Some(&source.revision));
            }
        }
    }

    #[test]
    fn replay_in_any_order_between_streams_gives_the_same_decisions(happenings in happenings(), turn in 0..24usize) {
        let (mut world, now) = live(&happenings);
        // Streams keep their own order and nothing more: they come one after the other, in any order, twice.
        let stream = |fact: &Fact| match fact {
            Fact::Changed { .. } | Fact::Released { .. } => 0,
            Fact::Ordered { .. } | Fact::Cancelled { .. } | Fact::Numbered { .. } => 1,
            Fact::Reported { .. } => 2,
            Fact::Requested { .. } | Fact::Answered { .. } => 3,
        };
        let mut order = vec![0, 1, 2, 3];
        let mut rest = turn;
        for place in (1..4).rev() {
            order.swap(place, rest % (place + 1));
            rest /= place + 1;
        }
        let mut replayed = farm();
        replayed.sequence = world.sequence;
        replayed.silent = world.silent.clone();
        for wanted in order.iter().chain(&order) {
            for fact in world.facts.iter().filter(|fact| stream(fact) == *wanted) {
                replayed.scheduler.apply(fact.clone());
            }
        }
        for later in [0, 100, 100_000] {
            let now = now.after(Duration::from_secs(later));
            prop_assert_eq!(replayed.queue(now), world.queue(now));
            prop_assert_eq!(
                replayed.scheduler.decide(&replayed.circumstances(), now),
                world.scheduler.decide(&world.circumstances(), now)
            );
        }
        world.decide(now);
    }
}
