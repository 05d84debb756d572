//! Two masters, of which either may believe that it leads.
//!
//! The stream of commands takes a message only from whoever knows its last sequence. Here that is a number; each master
//! folds what it has read so far, and acts on that.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Turn {
    Moved,
    /// A master reads the next so many messages.
    Read(usize, usize),
    /// A master decides by what it has read and publishes, if the fence lets it.
    Acts(usize),
    /// It does so whatever the stream says: what the fence is for.
    Ended,
    Later(u64),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let one = prop_oneof![
        3 => Just(Turn::Moved),
        3 => (0..2usize, 0..5usize).prop_map(|(master, count)| Turn::Read(master, count)),
        4 => (0..2usize).prop_map(Turn::Acts),
        3 => Just(Turn::Ended),
        1 => (1..1_500u64).prop_map(Turn::Later),
    ];
    prop::collection::vec(one, 1..80)
}

/// What the expected sequence is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fence {
    WholeStream,
    NoFence,
}

/// The streams, in the order in which they were stored, and two masters that have read a part of them.
struct Bus {
    fence: Fence,
    facts: Vec<Fact>,
    commands: Vec<(PayloadId, Build)>,
    masters: [(World, usize); 2],
    now: Timestamp,
}

impl Bus {
    fn new(fence: Fence) -> Self {
        let farm = || {
            let mut world = World::new();
            world.add("foo-b", "maple");
            (world, 0)
        };
        Self {
            fence,
            facts: Vec::new(),
            commands: Vec::new(),
            masters: [farm(), farm()],
            now: at(1),
        }
    }

    fn store(&mut self, fact: Fact) {
        self.facts.push(fact);
    }

    fn read(&mut self, master: usize, count: usize) {
        let (world, read) = &mut self.masters[master];
        for fact in self.facts.iter().skip(*read).take(count) {
            world.scheduler.apply(fact.clone());
            *read += 1;
        }
    }

    fn is_current(&self, master: usize) -> bool {
        let unread = self.facts[self.masters[master].1..].iter();
        unread
            .filter(|fact| matches!(fact, Fact::Ordered { .. }))
            .count()
            == 0
    }

    fn act(&mut self, master: usize) {
        let world = &self.masters[master].0;
        let effects = world.scheduler.decide(&world.circumstances(), self.now);
        for effect in effects {
            let Effect::Send(build) = effect else {
                continue;
            };
            if self.fence == Fence::WholeStream && !self.is_current(master) {
                // Error 10071: it reads on, and decides again.
                return;
            }
            let id = id(2, self.commands.len() as u64);
            self.commands.push((id, (*build).clone()));
            let fact = Fact::Ordered {
                id,
                build,
                standing: Standing::Good,
            };
            // It knows what it has sent, and whatever else it reads comes later.
            self.masters[master].0.scheduler.apply(fact.clone());
            self.store(fact);
            let read = self.facts.len();
            if self.masters[master].1 + 1 == read {
                self.masters[master].1 = read;
            }
        }
    }

    fn moved(&mut self) {
        for repository in ["python", "foo"] {
            let sequence = self.facts.len() as u64 + 1;
            let change = Change {
                farm: self.masters[0].0.config.farm,
                repository: repository.parse().unwrap(),
                branch: "main".parse().unwrap(),
                revision: format!("{sequence:040x}").parse().unwrap(),
                previous: None,
                seen: self.now,
                commits: Vec::new(),
                more: 0,
                rewritten: false,
                paths: None,
            };
            self.store(Fact::Changed {
                sequence,
                id: id(1, sequence),
                change: Box::new(change),
            });
        }
    }

    fn ended(&mut self) {
        let over = |id: &PayloadId| {
            self.facts
                .iter()
                .any(|fact| matches!(fact, Fact::Reported { command, .. } if command == id))
        };
        let open = self.commands.iter().find(|(id, _)| !over(id)).cloned();
        if let Some((command, build)) = open {
            let report = id(4, self.facts.len() as u64);
            self.store(Fact::Reported {
                report,
                command,
                slave: build.slave,
                builder: build.builder,
                body: Box::new(finished()),
                issued: self.now,
            });
        }
    }

    fn run(fence: Fence, turns: &[Turn]) -> Self {
        let mut bus = Self::new(fence);
        for turn in turns {
            match turn {
                Turn::Moved => bus.moved(),
                Turn::Read(master, count) => bus.read(*master, *count),
                Turn::Acts(master) => bus.act(*master),
                Turn::Ended => bus.ended(),
                Turn::Later(seconds) => bus.now = bus.now.after(Duration::from_secs(*seconds)),
            }
        }
        bus
    }

    /// The attempts that were issued twice.
    fn doubled(&self) -> usize {
        let named = self
            .commands
            .iter()
            .map(|(_, build)| (build.builder.clone(), build.number));
        let distinct: BTreeSet<_> = named.collect();
        self.commands.len() - distinct.len()
    }
}

proptest! {
    #[test]
    fn two_masters_issue_no_attempt_twice_and_never_exceed_the_capacity(turns in turns()) {
        let bus = Bus::run(Fence::WholeStream, &turns);
        prop_assert_eq!(bus.doubled(), 0);
        // Whoever reads it all sees what a single master would have made of it: one build in flight on the slave, but for
        // what had been given up.
        let mut reader = Bus::new(Fence::WholeStream).masters;
        let slave = "maple".parse().unwrap();
        for fact in &bus.facts {
            let world = &mut reader[0].0;
            world.scheduler.apply(fact.clone());
            if let Fact::Ordered { build, .. } = fact {
                prop_assert!(world.scheduler.builds_on(&slave, build.issued).len() <= 1);
            }
        }
    }

    #[test]
    fn two_masters_cover_the_same_changes_as_one_that_reads_what_they_did(turns in turns()) {
        let mut bus = Bus::run(Fence::WholeStream, &turns);
        bus.moved();
        for _ in 0..40 {
            for master in 0..2 {
                bus.read(master, usize::MAX);
                bus.act(master);
            }
            bus.ended();
            bus.now = bus.now.after(Duration::from_secs(1_500));
        }
        bus.read(0, usize::MAX);
        bus.read(1, usize::MAX);
        prop_assert_eq!(bus.doubled(), 0);
        for (world, _) in &bus.masters {
            prop_assert_eq!(world.queue(bus.now), Vec::new());
        }
    }
}

#[test]
fn without_the_fence_two_masters_double_a_build() {
    let turns = [
        Turn::Moved,
        Turn::Read(0, 9),
        Turn::Read(1, 9),
        Turn::Acts(0),
        Turn::Acts(1),
    ];
    assert_eq!(Bus::run(Fence::NoFence, &turns).doubled(), 1);
    assert_eq!(Bus::run(Fence::WholeStream, &turns).doubled(), 0);
}
