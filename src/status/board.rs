//! The board: a pure fold of what the streams hold.
//!
//! Events may come in any order and any number of times; the same set of them gives the same board. Each build is folded
//! from *its* reports in the order of the results stream, so that even two verdicts that contradict each other lead every
//! viewer to the same board. A report counts only for the command whose id it names, if that is on record and meant the
//! key that signed the report; whatever else was signed is a [`Stray`], and is never a result.

mod chains;
mod sightings;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{
    BuildId, BuilderName, Cancel, Change, Command, Coverage, Head, KeyId, KeyringsHeld, PayloadId,
    Position, Presence, Report, ReportChain, Roster, SlaveName, Timestamp, Verdict,
};
use crate::trust::{Chain, KeysFault, Reader, Standing, Verified};

use super::build::BuildStatus;
use super::tail::Unproven;
use sightings::Sightings;

/// Something that the streams hold.
#[derive(Clone, Debug)]
pub enum Event {
    /// A watched branch moved.
    Changed {
        /// Its place in the stream of changes.
        sequence: u64,
        /// What moved.
        change: Verified<Change>,
    },
    /// The master commanded something.
    Ordered {
        /// Its place in the stream of commands.
        sequence: u64,
        /// What it commanded.
        command: Verified<Command>,
    },
    /// A slave reported.
    Reported(Reported),
    /// A slave is alive.
    Present {
        /// When the bus stored its word, by the bus's clock.
        stored: Timestamp,
        /// What it said.
        presence: Verified<Presence>,
    },
    /// The master said how new everything is.
    Headed(Verified<Head>),
    /// Something lies in a stream that nobody entitled has signed.
    Unproven(Unproven),
}

impl Event {
    /// Why it proves nothing, if it is that.
    pub(super) fn unproven(&self) -> Option<&Unproven> {
        match self {
            Self::Unproven(unproven) => Some(unproven),
            Self::Changed { .. }
            | Self::Ordered { .. }
            | Self::Reported(_)
            | Self::Present { .. }
            | Self::Headed(_) => None,
        }
    }
}

/// A report, and where the results stream holds it.
#[derive(Clone, Debug)]
pub struct Reported {
    /// Its place in the results stream.
    pub sequence: u64,
    /// When the bus stored it, by the bus's clock.
    pub stored: Timestamp,
    /// What was said.
    pub report: Verified<Report>,
}

/// How a report relates to the commands on record.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It answers its command.
    Proper,
    /// No command with the id that it names is on record.
    NoSuchCommand,
    /// Its command was meant for another key, slave or builder, or had another number.
    NotMeant,
}

/// A verified report that is no result.
#[derive(Clone, Copy, Debug)]
pub struct Stray<'a> {
    /// The report.
    pub reported: &'a Reported,
    /// Why it is none; never [`Answer::Proper`].
    pub why: Answer,
}

/// How long after its last head the master counts as silent.
const MASTER_SILENT_AFTER: Duration = Duration::from_secs(3 * Head::PERIOD.as_secs());

/// Of the reports of one command, the first this many count. No honest build has so many; a slave that never ends must not
/// keep every viewer busy.
const MAX_REPORTS: usize = 1_000;

/// Of what does not verify, the newest this many of each stream are shown: junk must not fill a viewer's memory.
pub(super) const MAX_UNPROVEN: u16 = 200;

/// What viewers see.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// The keyrings by which everything here was verified.
    chain: Option<Chain>,
    pub(super) roster: Option<Roster>,
    pub(super) presences: BTreeMap<SlaveName, Verified<Presence>>,
    /// When the master last said how new everything is.
    head: Option<Verified<Head>>,
    changes: BTreeMap<PayloadId, (u64, Verified<Change>)>,
    builds: BTreeMap<PayloadId, BuildStatus>,
    /// Command ids in the order of number and, among namesakes, of the stream.
    numbers: BTreeMap<BuilderName, BTreeMap<(u64, u64), PayloadId>>,
    cancels: BTreeMap<PayloadId, (u64, Cancel)>,
    reports: BTreeMap<PayloadId, BTreeMap<u64, Reported>>,
    /// The place of each report: the first, if the stream holds it more than once.
    places: BTreeMap<PayloadId, u64>,
    /// What each report key has signed.
    chains: BTreeMap<KeyId, ReportChain>,
    /// By which starts of its process the slave with that report key was seen alive.
    sightings: BTreeMap<KeyId, Sightings>,
    unproven: BTreeMap<(&'static str, u64), Unproven>,
}

impl Board {
    /// Takes in the roster that counts: which one does is decided where it is verified.
    pub fn set_roster(&mut self, roster: Roster) {
        self.roster = Some(roster);
    }

    /// Takes in the keyrings by which everything that is applied is verified.
    pub(super) fn set_chain(&mut self, chain: Chain) {
        self.chain = Some(chain);
    }

    /// Whether everything here was verified by the keyring that is in force for `reader`.
    pub(super) fn is_read_by(&self, reader: &Reader) -> bool {
        let now = reader.chain();
        self.chain
            .as_ref()
            .is_some_and(|then| then.newest_id() == now.newest_id() && then.fork() == now.fork())
    }

    /// Keeps of an earlier board what no store holds, as far as `reader` still believes it.
    pub(super) fn keep_standing(&mut self, earlier: &Self, reader: &Reader) {
        let head = earlier.head.iter().filter(|head| reader.stands_by(head));
        for head in head.cloned() {
            self.apply(Event::Headed(head));
        }
        let presences = earlier.presences.values().filter(|presence| {
            let line = reader.reporter(&presence.signer());
            line.is_some_and(|line| line.slave == presence.body().slave)
        });
        for presence in presences.cloned() {
            // Which was stored first matters only among several of one slave.
            let stored = presence.body().issued;
            self.apply(Event::Present { stored, presence });
        }
    }

    /// Why nothing in the farm is to be believed at `now`, if that is so.
    #[must_use]
    pub fn keys_fault(&self, now: Timestamp) -> Option<KeysFault> {
        self.chain.as_ref()?.fault(now)
    }

    /// Which slaves of the roster say that they hold the keyring at `position`; none without a roster.
    #[must_use]
    pub fn coverage(&self, position: Position) -> Option<Coverage> {
        let roster = self.roster.as_ref()?;
        let mut held = KeyringsHeld::default();
        for presence in self.presences.values() {
            held.take_presence(presence.body());
        }
        for reported in self.reports.values().flat_map(BTreeMap::values) {
            held.take_report(reported.report.body());
        }
        Some(held.coverage(roster, position))
    }

    /// Whether an event tells nothing new, because the same message was taken in before from an earlier place.
    pub(super) fn knows(&self, event: &Event) -> bool {
        match event {
            Event::Changed { change, .. } => self.changes.contains_key(&change.id()),
            Event::Ordered { command, .. } => match command.body() {
                Command::Build(_) => self.builds.contains_key(&command.id()),
                Command::Cancel(cancel) => self.cancels.contains_key(&cancel.target),
            },
            Event::Reported(reported) => self.places.contains_key(&reported.report.id()),
            Event::Present { .. } | Event::Headed(_) | Event::Unproven(_) => false,
        }
    }

    /// Takes in an event.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Changed { sequence, change } => {
                let known = self
                    .changes
                    .entry(change.id())
                    .or_insert((sequence, change));
                known.0 = known.0.min(sequence);
            }
            Event::Ordered { sequence, command } => match command.body() {
                Command::Build(_) => self.order(sequence, command),
                Command::Cancel(cancel) => {
                    let known = self.cancels.entry(cancel.target);
                    let known = known.or_insert_with(|| (sequence, cancel.clone()));
                    if sequence < known.0 {
                        *known = (sequence, cancel.clone());
                    }
                }
            },
            Event::Reported(reported) => self.report(reported),
            Event::Present { stored, presence } => {
                let newness = |p: &Verified<Presence>| (p.body().issued, p.body().sequence, p.id());
                let said = presence.body();
                self.chains
                    .entry(presence.signer())
                    .or_default()
                    .sign_of_life(said);
                self.sightings
                    .entry(presence.signer())
                    .or_default()
                    .take(stored, said);
                let held = self.presences.get(&said.slave);
                if held.is_none_or(|held| newness(held) < newness(&presence)) {
                    self.presences.insert(said.slave.clone(), presence);
                }
            }
            Event::Headed(head) => {
                // A thief's word on how new everything is proves nothing.
                let time = |head: &Verified<Head>| head.body().time;
                let newest = self.head.as_ref().map(time);
                if head.standing() == Standing::Good && newest < Some(time(&head)) {
                    self.head = Some(head);
                }
            }
            Event::Unproven(unproven) => {
                let stream = unproven.stream;
                self.unproven.insert((stream, unproven.sequence), unproven);
                let held = self.unproven.range((stream, 0)..=(stream, u64::MAX));
                if held.count() > usize::from(MAX_UNPROVEN)
                    && let Some(oldest) =
                        self.unproven.range((stream, 0)..).next().map(|(at, _)| *at)
                {
                    self.unproven.remove(&oldest);
                }
            }
        }
    }

    fn order(&mut self, sequence: u64, command: Verified<Command>) {
        let id = command.id();
        if let Some(known) = self.builds.get_mut(&id) {
            // The same command, stored twice: one build, in the earlier place.
            let place = (known.order.number, known.sequence);
            if let Some(numbers) = self.numbers.get_mut(&known.order.builder)
                && sequence < known.sequence
            {
                known.sequence = sequence;
                numbers.remove(&place);
                numbers.insert((known.order.number, sequence), id);
            }
            return;
        }
        let (signer, standing) = (command.signer(), command.standing());
        let Command::Build(order) = command.into_body() else {
            return;
        };
        self.numbers
            .entry(order.builder.clone())
            .or_default()
            .insert((order.number, sequence), id);
        let build = BuildStatus::new(id, sequence, signer, standing, order);
        self.builds.insert(id, build);
        self.fold(&id);
    }

    fn report(&mut self, reported: Reported) {
        let said = reported.report.body();
        let command = said.command;
        let id = reported.report.id();
        // Also what is not held: it was said.
        self.chains
            .entry(reported.report.signer())
            .or_default()
            .report(id, said);
        let held = self.reports.entry(command).or_default();
        match self.places.get(&id) {
            Some(place) if *place <= reported.sequence => return,
            Some(place) => {
                held.remove(place);
            }
            None => {}
        }
        if held.len() >= MAX_REPORTS
            && let Some(newest) = held.last_entry()
        {
            if *newest.key() < reported.sequence {
                return;
            }
            self.places.remove(&newest.remove().report.id());
        }
        self.places.insert(id, reported.sequence);
        held.insert(reported.sequence, reported);
        self.fold(&command);
    }

    fn fold(&mut self, command: &PayloadId) {
        if let (Some(build), Some(reports)) =
            (self.builds.get_mut(command), self.reports.get(command))
        {
            build.fold(reports.values());
        }
    }

    /// Every builder that was ever given a command, or that an open line of the roster names.
    pub(super) fn builders(&self) -> impl Iterator<Item = &BuilderName> {
        let lines = self.roster.iter().flat_map(|roster| &roster.lines);
        let listed = lines
            .filter(|line| line.closed.is_none())
            .flat_map(|line| &line.builders);
        let mut builders: Vec<&BuilderName> = self.numbers.keys().chain(listed).collect();
        builders.sort_unstable();
        builders.dedup();
        builders.into_iter()
    }

    /// The builds of a builder, by number.
    pub fn builds_of(
        &self,
        builder: &BuilderName,
    ) -> impl DoubleEndedIterator<Item = &BuildStatus> {
        let numbers = self.numbers.get(builder).into_iter();
        numbers
            .flat_map(BTreeMap::values)
            .filter_map(|id| self.builds.get(id))
    }

    /// Every build, by builder and number.
    pub fn builds(&self) -> impl Iterator<Item = &BuildStatus> {
        self.numbers
            .keys()
            .flat_map(|builder| self.builds_of(builder))
    }

    /// A build. Should two commands bear one name, the one that the stream holds first.
    #[must_use]
    pub fn build(&self, id: &BuildId) -> Option<&BuildStatus> {
        self.namesakes(id).next()
    }

    /// Every command that bears the name of one build. More than one means that the bus lost its store, or that somebody
    /// else signs commands.
    pub fn namesakes(&self, id: &BuildId) -> impl Iterator<Item = &BuildStatus> {
        let range = (id.number, 0)..=(id.number, u64::MAX);
        let numbers = self.numbers.get(&id.builder).into_iter();
        numbers
            .flat_map(move |numbers| numbers.range(range.clone()))
            .filter_map(|(_, command)| self.builds.get(command))
    }

    /// The verdict of a build at `now`; none while it may still go on, or if there is no such build.
    #[must_use]
    pub fn verdict_of(&self, id: &BuildId, now: Timestamp) -> Option<Verdict> {
        self.build(id)?.verdict(now)
    }

    /// The order to cancel a build, if there was one.
    #[must_use]
    pub fn cancel_of(&self, build: &BuildStatus) -> Option<&Cancel> {
        let (_, cancel) = self.cancels.get(&build.command)?;
        let fits = cancel.slave == build.order.slave && cancel.builder == build.order.builder;
        fits.then_some(cancel)
    }

    /// For how long the master has said nothing, if that is longer than it should be: then newer check-ins may not be known.
    #[must_use]
    pub fn master_silent(&self, now: Timestamp) -> Option<Duration> {
        let silent = now.since(self.head.as_ref()?.body().time);
        (silent > MASTER_SILENT_AFTER).then_some(silent)
    }

    /// A change, by its id.
    #[must_use]
    pub fn change(&self, id: &PayloadId) -> Option<&Change> {
        self.changes.get(id).map(|(_, change)| change.body())
    }

    /// A change and its place in the stream, by its id.
    pub(super) fn placed_change(&self, id: &PayloadId) -> Option<&(u64, Verified<Change>)> {
        self.changes.get(id)
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = &(u64, Verified<Change>)> {
        self.changes.values()
    }

    /// How a report relates to the commands on record.
    #[must_use]
    pub fn answer(&self, report: &Verified<Report>) -> Answer {
        match self.builds.get(&report.body().command) {
            None => Answer::NoSuchCommand,
            Some(build) if build.is_answered_by(report) => Answer::Proper,
            Some(_) => Answer::NotMeant,
        }
    }

    /// Verified reports that are no results, by the ids that they name.
    pub fn strays(&self) -> impl Iterator<Item = Stray<'_>> {
        let reports = self.reports.values().flat_map(BTreeMap::values);
        reports.filter_map(|reported| match self.answer(&reported.report) {
            Answer::Proper => None,
            why @ (Answer::NoSuchCommand | Answer::NotMeant) => Some(Stray { reported, why }),
        })
    }

    /// What does not verify, by stream and place.
    pub fn unproven(&self) -> impl Iterator<Item = &Unproven> {
        self.unproven.values()
    }
}

#[cfg(test)]
mod tests;
