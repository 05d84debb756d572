//! One run: a world, a seed, and what happens one after the other in time that nobody waits for.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::bus::{Bus, Fence, Message, Said, Stream};
use super::chance::Chance;
use super::farm::{FARM, SLAVES, START};
use super::master::Master;
use super::people::Deed;
use super::promises::Promises;
use super::sabotage::Sabotage;
use super::slave::{Death, Slave};
use crate::master::MasterConfig;
use crate::model::{Head, PayloadId, RepositoryName, Revision, Timestamp};
use crate::trust::Spoken;

/// Something that is going to happen.
pub(super) enum Event {
    Tick(usize, u32),
    Arrive {
        to: (usize, u32, u64),
        behind: usize,
        messages: Vec<Rc<Message>>,
    },
    Answered {
        to: (usize, u32, u64),
        all: bool,
    },
    Store {
        stream: Stream,
        message: Rc<Message>,
        from: Option<(usize, u32)>,
    },
    Deliver(usize, Rc<Message>),
    Look(usize, u32),
    JobStarts(usize, u32, PayloadId),
    JobEnds(usize, PayloadId),
    Flush(usize, u32),
    Dies(usize, Death),
    Starts(usize),
    /// A dead slave will not come back.
    Leaves(usize),
    People(Deed),
    Compare,
    Calm,
}

/// For so long things go wrong.
pub(super) const TURMOIL: Duration = Duration::from_secs(3600);
/// After that nothing does, for so long.
pub(super) const CALM: Duration = Duration::from_secs(7200);

pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) now: Timestamp,
    agenda: BTreeMap<(Timestamp, u64), Event>,
    scheduled: u64,
    pub(super) bus: Bus,
    pub(super) config: MasterConfig,
    pub(super) masters: Vec<Master>,
    pub(super) slaves: Vec<Slave>,
    pub(super) heads: Vec<Rc<Spoken<Head>>>,
    pub(super) git: BTreeMap<RepositoryName, Revision>,
    pub(super) commits: u64,
    pub(super) revoked: Option<Timestamp>,
    pub(super) is_calm: bool,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) promises: Promises,
    story: Option<Vec<String>>,
}

/// A promise that did not hold.
pub(super) struct Broken {
    pub(super) what: String,
    pub(super) story: Vec<String>,
}

/// Whether what happens is written down. The same seed tells the same story again, so that only failures need to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Story {
    Told,
    Untold,
}

/// Runs one seed to its end, or to the first promise that breaks.
pub(super) fn run(
    seed: u64,
    sabotage: Option<Sabotage>,
    story: Story,
) -> Result<World, Box<Broken>> {
    let mut world = World::new(seed, sabotage, story);
    world.plan();
    while let Some(((now, _), event)) = world.agenda.pop_first() {
        if now > START.after(TURMOIL).after(CALM) {
            break;
        }
        world.now = now;
        world.happen(event);
        if let Some(what) = world.promises.broken.take() {
            return Err(Box::new(world.breaks(what)));
        }
    }
    match world.judge() {
        Ok(()) => Ok(world),
        Err(what) => Err(Box::new(world.breaks(what))),
    }
}

impl World {
    fn new(seed: u64, sabotage: Option<Sabotage>, story: Story) -> Self {
        let mut chance = Chance::new(seed);
        let config = FARM.config(&mut chance);
        // No two clocks differ by more than a minute.
        let mut ahead = || i64::try_from(chance.next() % 60_000_000).unwrap() - 30_000_000;
        let masters: Vec<Master> = (0..3).map(|number| Master::new(number, ahead())).collect();
        let slaves = (0..SLAVES)
            .map(|number| Slave::new(number, ahead()))
            .collect();
        let some = if chance.percent(50) { 2 } else { 3 };
        let fence = match sabotage {
            Some(Sabotage::FenceBySubject) => Fence::Subject,
            Some(Sabotage::BatchUnchained) => Fence::Numbers,
            _ => Fence::WholeStream,
        };
        Self {
            chance,
            now: START,
            agenda: BTreeMap::new(),
            scheduled: 0,
            bus: Bus::new(fence),
            config,
            masters: masters.into_iter().take(some).collect(),
            slaves,
            heads: Vec::new(),
            git: BTreeMap::new(),
            commits: 0,
            revoked: None,
            is_calm: false,
            sabotage,
            promises: Promises::default(),
            story: (story == Story::Told).then(Vec::new),
        }
    }

    pub(super) fn into_story(self) -> Vec<String> {
        self.story.unwrap_or_default()
    }

    fn breaks(self, what: String) -> Broken {
        Broken {
            what,
            story: self.story.unwrap_or_default(),
        }
    }

    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        self.scheduled += 1;
        self.agenda
            .insert((self.now.after(delay), self.scheduled), event);
    }

    /// True so many times in a hundred while things go wrong, and never afterwards.
    pub(super) fn disturbs(&mut self, percent: u64) -> bool {
        !self.is_calm && self.chance.percent(percent)
    }

    pub(super) fn latency(&mut self) -> Duration {
        self.chance.millis(1, 400)
    }

    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let since = self.now.since(START).as_secs_f64();
            story.push(format!("{since:9.3} {}", what()));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(number, incarnation) => self.tick(number, incarnation),
            Event::Arrive {
                to,
                behind,
                messages,
            } => self.arrive(to, behind, &messages),
            Event::Answered { to, all } => self.answered(to, all),
            Event::Store {
                stream,
                message,
                from,
            } => self.arrive_unfenced(stream, message, from),
            Event::Deliver(number, message) => self.deliver(number, message),
            Event::Look(number, incarnation) => self.look(number, incarnation),
            Event::JobStarts(number, incarnation, id) => self.start_job(number, incarnation, id),
            Event::JobEnds(number, id) => self.end_job(number, id),
            Event::Flush(number, incarnation) => self.flush(number, incarnation),
            Event::Dies(number, death) => self.kill_slave(number, death),
            Event::Starts(number) => self.start_slave(number),
            Event::Leaves(number) => self.slaves[number].is_gone = !self.slaves[number].is_up,
            Event::People(deed) => self.do_deed(deed),
            Event::Compare => self.compare_with_replays(),
            Event::Calm => self.calm_down(),
        }
    }

    /// The broker has stored a message: readers find it there, and slaves are handed what is on their subject.
    pub(super) fn is_stored(&mut self, stream: Stream, message: &Rc<Message>) {
        self.promises.stored(message, self.revoked);
        let Said::Command(said) = &message.said else {
            return;
        };
        if stream != Stream::Commands {
            return;
        }
        let Some(number) = FARM
            .slaves
            .iter()
            .position(|slave| slave == said.body().slave())
        else {
            return;
        };
        let longest = if self.disturbs(4) { 3_600_000 } else { 2_000 };
        let delay = self.chance.millis(5, longest);
        self.after(delay, Event::Deliver(number, Rc::clone(message)));
    }

    /// From here on nothing goes wrong any more.
    fn calm_down(&mut self) {
        self.is_calm = true;
        self.bus.is_up = true;
        self.tell(|| "calm".to_owned());
        for number in 0..self.masters.len() {
            self.wake_master(number);
            self.start_master(number);
        }
        for number in 0..SLAVES {
            self.slaves[number].owner.paused = None;
            self.start_slave(number);
        }
        let mut held = Vec::new();
        for (place, event) in &self.agenda {
            // What the broker held back is handed out.
            if matches!(event, Event::Deliver(..)) {
                held.push(*place);
            }
        }
        for place in held {
            if let Some(event) = self.agenda.remove(&place) {
                let soon = self.chance.seconds(1, 60);
                self.after(soon, event);
            }
        }
    }
}
