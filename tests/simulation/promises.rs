//! What must hold, by what really happened and not by what anybody in the farm believes.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use super::bus::{Author, Message, Said, Stream};
use super::farm::{FARM, MAX_HEAD_AGE, START, served_by};
use super::ledger::Ledger;
use super::master::fact;
use super::run::{TURMOIL, World};
use super::slave::Slave;
use crate::master::{MasterConfig, Scheduler};
use crate::model::{
    Build, BuilderName, Command, KeyId, LockName, PayloadId, Revision, SlaveName, Timestamp,
};

/// Longer than a master waits between two turns once nothing goes wrong.
const TURN: Duration = Duration::from_secs(60);
/// Longer than a build takes once nothing goes wrong.
const RECENT: Duration = Duration::from_secs(900);

/// Which attempt a build is: there is one of each.
type Attempt = (BuilderName, Option<PayloadId>, Option<u64>);

#[derive(Default)]
pub(super) struct Promises {
    /// The first that did not hold.
    pub(super) broken: Option<String>,
    /// What was accepted, by which slave.
    pub(super) accepted: BTreeMap<PayloadId, usize>,
    pub(super) started: BTreeSet<PayloadId>,
    numbers: BTreeMap<(BuilderName, u64), PayloadId>,
    attempts: BTreeMap<Attempt, (PayloadId, KeyId)>,
    thieves: BTreeSet<PayloadId>,
}

impl Promises {
    fn hold(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    /// A slave is about to put a build on record.
    pub(super) fn accepted(
        &mut self,
        number: usize,
        message: &Message,
        now: Timestamp,
        slave: &Slave,
    ) {
        let id = message.id();
        let name = &FARM.slaves[number];
        let Said::Command(said) = &message.said else {
            return;
        };
        let Command::Build(build) = said.body() else {
            return;
        };
        self.hold(
            said.is_genuine() && message.author != Author::Forger,
            || format!("2: {name} accepts {}, which nobody signed", id.short()),
        );
        self.hold(
            slave.keyring == 0 || said.signer() != FARM.signing[0],
            || {
                format!(
                    "2: {name} accepts {} by a key that it knows to be stolen",
                    id.short()
                )
            },
        );
        let is_its_own = served_by(number).any(|builder| FARM.builders[builder] == build.builder);
        self.hold(
            build.farm == FARM.id && build.slave == *name && is_its_own,
            || format!("2: {name} accepts {}, which is for another", id.short()),
        );
        let is_fresh = now < build.accept_by && build.issued <= now.after(Build::CLOCK_SKEW);
        self.hold(is_fresh, || {
            format!("2: {name} accepts {} outside its time", id.short())
        });
        let head = slave.head_time();
        self.hold(
            head.is_some_and(|time| now.since(time) <= MAX_HEAD_AGE),
            || format!("2: {name} accepts {} with a stale head", id.short()),
        );
        let is_mapped = build.steps.iter().all(|step| {
            let mut values = step.parameters.iter();
            let fits = values.next().is_some_and(|(name, value)| {
                name.as_str() == "version"
                    && value.as_str().bytes().all(|byte| byte.is_ascii_digit())
            });
            step.command.as_str() == "test" && fits && values.next().is_none()
        });
        self.hold(is_mapped && !build.steps.is_empty(), || {
            format!(
                "1: {name} accepts {}, which its owner did not allow",
                id.short()
            )
        });
        let pause = slave.owner.paused.as_ref();
        let is_paused = pause.is_some_and(|pause| pause.until.is_none_or(|until| now < until));
        self.hold(!is_paused, || {
            format!("6: {name} accepts {} in a pause", id.short())
        });
        let is_first = self.accepted.insert(id, number).is_none();
        self.hold(is_first, || {
            format!("4: {name} accepts {} twice", id.short())
        });
    }

    /// A script is about to run.
    pub(super) fn started(&mut self, number: usize, message: &Message) {
        let id = message.id();
        let name = &FARM.slaves[number];
        self.hold(self.accepted.get(&id) == Some(&number), || {
            format!("2: {name} starts {}, which it did not accept", id.short())
        });
        let is_first = self.started.insert(id);
        self.hold(is_first, || format!("4: {name} runs {} twice", id.short()));
    }

    /// A message stands in a stream.
    pub(super) fn stored(&mut self, message: &Message, revoked: Option<Timestamp>) {
        if message.author == Author::Thief {
            self.thieves.insert(message.id());
        }
        let (Said::Command(said), Author::Master(_)) = (&message.said, message.author) else {
            return;
        };
        let Command::Build(build) = said.body() else {
            return;
        };
        let held = self
            .numbers
            .insert((build.builder.clone(), build.number), said.id());
        self.hold(held.is_none(), || {
            format!("7: masters order {} twice", build.id())
        });
        // What a stolen key ordered is believed by nobody, so it is ordered again.
        if revoked.is_some() && said.signer() == FARM.signing[0] {
            return;
        }
        if build.request.is_some() || build.retry_of.is_some() {
            let attempt = (build.builder.clone(), build.request, build.retry_of);
            let held = self.attempts.insert(attempt, (said.id(), said.signer()));
            self.hold(held.is_none(), || {
                format!(
                    "7: {} repeats an attempt: request {:?}, retry of {:?}",
                    build.id(),
                    build.request,
                    build.retry_of
                )
            });
        }
    }

    /// It is known that the first key was stolen.
    pub(super) fn revoked(&mut self) {
        self.attempts.retain(|_, (_, key)| *key != FARM.signing[0]);
    }

    /// A master is about to order something.
    pub(super) fn orders(
        &mut self,
        ledger: &Ledger,
        config: &MasterConfig,
        orders: &[Command],
        now: Timestamp,
    ) {
        let builds = || {
            orders.iter().filter_map(|order| match order {
                Command::Build(build) => Some(build),
                Command::Cancel(_) => None,
            })
        };
        if builds().next().is_none() {
            return;
        }
        let mut slaves: BTreeMap<&SlaveName, u32> = BTreeMap::new();
        let mut locks: BTreeMap<&LockName, u32> = BTreeMap::new();
        let mut busy: BTreeSet<&BuilderName> = BTreeSet::new();
        let mut is_known = true;
        // What a thief ordered beside the newest order of a builder is no order, though its slave may have run it.
        let thieves = std::mem::take(&mut self.thieves);
        let known = ledger
            .in_flight(now)
            .filter(|(id, _)| !thieves.contains(id));
        for (build, is_new) in known
            .map(|(_, build)| (build, false))
            .chain(builds().map(|build| (build, true)))
        {
            let Some(builder) = config.builders.get(&build.builder) else {
                continue;
            };
            let on_slave = slaves.entry(&build.slave).or_default();
            *on_slave += 1;
            let capacity = config
                .slaves
                .get(&build.slave)
                .copied()
                .unwrap_or_default()
                .capacity;
            is_known &= busy.insert(&build.builder) || !is_new;
            self.hold(!is_new || *on_slave <= capacity, || {
                format!(
                    "7: a master orders {}, with {capacity} builds in flight on {}",
                    build.id(),
                    build.slave
                )
            });
            for lock in &builder.locks {
                let holders = locks.entry(lock).or_default();
                *holders += 1;
                let slots = config.locks.get(lock).copied().unwrap_or(1);
                self.hold(!is_new || *holders <= slots, || {
                    format!(
                        "7: a master orders {}, while lock {lock} is held",
                        build.id()
                    )
                });
            }
        }
        self.thieves = thieves;
        self.hold(is_known, || {
            "7: a master orders two builds of one builder at once".to_owned()
        });
        for build in builds() {
            let paused = ledger.paused(&build.builder);
            self.hold(paused.is_none_or(|until| until <= now), || {
                format!(
                    "6: a master orders {} while an operator pauses the builder",
                    build.id()
                )
            });
        }
    }
}

impl World {
    /// Every master decides what one would that replays the streams from nothing, in whatever order among them.
    pub(super) fn compare_with_replays(&mut self) {
        for number in 0..self.masters.len() {
            if !self.masters[number].is_up {
                continue;
            }
            let mut order = Stream::ALL;
            let turn = self.chance.below(4);
            order.rotate_left(turn);
            if self.chance.percent(50) {
                order.reverse();
            }
            let master = &self.masters[number];
            let mut replayed = Scheduler::default();
            for stream in order {
                let until = master.positions[stream as usize];
                for (place, stored) in self.bus.stream(stream).iter().enumerate() {
                    let beyond = stream == Stream::Requests && master.known_beyond.contains(&place);
                    if (place < until || beyond)
                        && let Some(fact) = fact(master.reader(), &stored.message, place as u64 + 1)
                    {
                        replayed.apply(fact);
                    }
                }
            }
            let keyring = self.keyring_of(number);
            for later in [0, 3600] {
                let now = self.master_clock(number).after(Duration::from_secs(later));
                let lived = self.ask(&self.masters[number].scheduler, keyring, now);
                let told = self.ask(&replayed, keyring, now);
                if lived != told {
                    let different = difference(&format!("{lived:#?}"), &format!("{told:#?}"));
                    let what = format!(
                        "7: m{number} decides otherwise than a replay in the order {order:?}: {different}"
                    );
                    self.promises.broken.get_or_insert(what);
                    return;
                }
            }
        }
    }

    /// After the calm: nothing is lost, and nothing waits without a reason.
    pub(super) fn judge(&mut self) -> Result<(), String> {
        self.compare_with_replays();
        if let Some(what) = self.promises.broken.take() {
            return Err(what);
        }
        let leader = self.masters.iter().position(super::master::Master::leads);
        let Some(leader) = leader else {
            return Err("nobody leads after the calm".to_owned());
        };
        self.judge_ends()?;
        self.judge_what_waits(leader)?;
        self.haunt()
    }

    /// A hostile broker hands out every command again, days and weeks later: nobody has anything to add.
    fn haunt(&mut self) -> Result<(), String> {
        let commands: Vec<_> = self
            .bus
            .stream(Stream::Commands)
            .iter()
            .map(|stored| Rc::clone(&stored.message))
            .collect();
        for days in [1, 6, 8, 30] {
            self.now = START.after(TURMOIL + Duration::from_secs(days * 24 * 3600));
            for message in &commands {
                let slave = message
                    .subject()
                    .and_then(|(slave, _)| FARM.slaves.iter().position(|it| it == slave));
                let Some(slave) = slave.filter(|slave| !self.slaves[*slave].is_gone) else {
                    continue;
                };
                let said = self.slaves[slave].said();
                self.deliver(slave, Rc::clone(message));
                if self.slaves[slave].said() != said {
                    return Err(format!(
                        "4: after {days} days {} answers {} again",
                        FARM.slaves[slave],
                        message.id().short()
                    ));
                }
            }
        }
        Ok(())
    }

    fn judge_ends(&self) -> Result<(), String> {
        let mut ends: BTreeMap<PayloadId, BTreeSet<PayloadId>> = BTreeMap::new();
        for stored in self.bus.stream(Stream::Results) {
            if let Said::Report(said) = &stored.message.said
                && said.body().body.verdict().is_some()
            {
                ends.entry(said.body().command)
                    .or_default()
                    .insert(said.id());
            }
        }
        let count = |id: &PayloadId| ends.get(id).map_or(0, BTreeSet::len);
        // What was ordered a moment ago, when a builder's rest was over, is not over yet.
        let recent: BTreeSet<PayloadId> = self
            .bus
            .stream(Stream::Commands)
            .iter()
            .filter(|stored| self.now.since(stored.at) < RECENT)
            .map(|stored| stored.message.id())
            .collect();
        for (id, slave) in &self.promises.accepted {
            if recent.contains(id) {
                continue;
            }
            let ends = count(id);
            if ends > 1 || (ends == 0 && !self.slaves[*slave].is_gone) {
                return Err(format!(
                    "5: {} accepted {}, and it has {ends} ends",
                    FARM.slaves[*slave],
                    id.short()
                ));
            }
        }
        for stored in self.bus.stream(Stream::Commands) {
            let Said::Command(said) = &stored.message.said else {
                continue;
            };
            let Command::Build(build) = said.body() else {
                continue;
            };
            if stored.message.author == Author::Forger && count(&said.id()) > 0 {
                return Err(format!("3: {} was made up, and is answered", build.id()));
            }
            let slave = FARM.slaves.iter().position(|slave| *slave == build.slave);
            let is_gone = slave.is_none_or(|slave| self.slaves[slave].is_gone);
            let is_stolen = self.revoked.is_some() && said.signer() == FARM.signing[0];
            let by_master = matches!(stored.message.author, Author::Master(_));
            if by_master
                && !recent.contains(&said.id())
                && !is_gone
                && !is_stolen
                && count(&said.id()) != 1
            {
                return Err(format!(
                    "5: {} was ordered, and has {} ends",
                    build.id(),
                    count(&said.id())
                ));
            }
        }
        Ok(())
    }

    fn judge_what_waits(&self, leader: usize) -> Result<(), String> {
        let master = &self.masters[leader];
        let now = self.master_clock(leader);
        // What became due since its last turn waits for the next one.
        let then = now.before(TURN);
        let (effects, queue) = self.ask(&master.scheduler, self.keyring_of(leader), then);
        if effects
            .iter()
            .any(|effect| !matches!(effect, crate::master::Effect::WakeAt(_)))
        {
            return Err(format!(
                "5: m{leader} still has something to do: {effects:?}"
            ));
        }
        let mut in_flight = master.ledger.in_flight(now);
        if let Some((_, build)) = in_flight.find(|(_, build)| now.since(build.issued) > RECENT) {
            return Err(format!("5: {} is still in flight", build.id()));
        }
        let may_wait = ["set-aside", "after", "silent", "paused", "deferred"];
        if let Some(stuck) = queue
            .iter()
            .find(|waiting| !may_wait.contains(&waiting.reason.word()))
        {
            return Err(format!(
                "7: {} waits for nothing: {}",
                stuck.builder, stuck.reason
            ));
        }
        let moves = master.ledger.moves();
        for (name, builder) in &self.config.builders {
            if queue.iter().any(|waiting| waiting.builder == *name) {
                continue;
            }
            let covered = master.ledger.covered(name);
            for repository in builder.sources.keys() {
                let of_it = || moves.iter().filter(|moved| moved.repository == *repository);
                let is_built = |revision: &Revision| {
                    of_it().any(|other| other.revision == *revision && covered.contains(&other.id))
                };
                if let Some(newest) = of_it().next_back()
                    && !is_built(&newest.revision)
                {
                    return Err(format!(
                        "7: {name} never built {repository} {}, and does not say why",
                        newest.revision
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The first lines in which two texts differ.
fn difference(one: &str, other: &str) -> String {
    let (mut ours, mut theirs) = (one.lines(), other.lines());
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return "nothing".to_owned(),
            (one, other) if one != other => return format!("{one:?} and {other:?}"),
            _ => {}
        }
    }
}
