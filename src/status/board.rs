//! The board: a pure fold of what the streams hold.
//!
//! Events may come in any order and any number of times; the same set of them gives the same board. Each build is folded
//! from *its* reports in the order of the results stream, so that even two verdicts that contradict each other lead every
//! viewer to the same board. A report counts only for the command whose id it names, if that is on record and meant the
//! key that signed the report; whatever else was signed is a [`Stray`], and is never a result.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    BuildId, BuilderName, Cancel, Change, Command, KeyId, PayloadId, Presence, Report, Roster,
    SlaveName, Timestamp, Verdict,
};
use crate::trust::{Verified, key_id};

use super::build::BuildStatus;
use super::tail::Unproven;

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
    Present(Verified<Presence>),
    /// Something lies in a stream that nobody entitled has signed.
    Unproven(Unproven),
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

/// What viewers see.
#[derive(Clone, Debug, Default)]
pub struct Board {
    pub(super) roster: Option<Roster>,
    pub(super) presences: BTreeMap<SlaveName, Verified<Presence>>,
    changes: BTreeMap<PayloadId, (u64, Verified<Change>)>,
    builds: BTreeMap<PayloadId, BuildStatus>,
    /// Command ids in the order of number and, among namesakes, of the stream.
    numbers: BTreeMap<BuilderName, BTreeMap<(u64, u64), PayloadId>>,
    cancels: BTreeMap<PayloadId, (u64, Cancel)>,
    reports: BTreeMap<PayloadId, BTreeMap<u64, Reported>>,
    /// The sequence numbers of what each key has reported, per builder.
    chains: BTreeMap<KeyId, BTreeMap<BuilderName, BTreeSet<u64>>>,
    unproven: BTreeMap<(&'static str, u64), Unproven>,
}

impl Board {
    /// Takes in a roster; the greatest version counts.
    pub fn set_roster(&mut self, roster: Roster) {
        if self
            .roster
            .as_ref()
            .is_none_or(|held| held.version < roster.version)
        {
            self.roster = Some(roster);
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
            Event::Present(presence) => {
                let newness = |p: &Verified<Presence>| (p.body().issued, p.body().sequence, p.id());
                let said = presence.body();
                let held = self.presences.get(&said.slave);
                if held.is_none_or(|held| newness(held) < newness(&presence)) {
                    self.presences.insert(said.slave.clone(), presence);
                }
            }
            Event::Unproven(unproven) => {
                self.unproven
                    .insert((unproven.stream, unproven.sequence), unproven);
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
        self.chains
            .entry(reported.report.signer())
            .or_default()
            .entry(said.builder.clone())
            .or_default()
            .insert(said.sequence);
        self.reports
            .entry(command)
            .or_default()
            .insert(reported.sequence, reported);
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

    /// A change, by its id.
    #[must_use]
    pub fn change(&self, id: &PayloadId) -> Option<&Change> {
        self.changes.get(id).map(|(_, change)| change.body())
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

    /// How many reports of a slave are known to be missing: its numbering passes over them. What lies before the first
    /// report of any of its builders may have been retired by the stream's own cap, and is not counted.
    #[must_use]
    pub fn missing_reports(&self, slave: &SlaveName) -> u64 {
        let line = self.roster.as_ref().and_then(|roster| roster.line(slave));
        let chain = line.and_then(|line| self.chains.get(&key_id(&line.report_key)));
        let Some(chain) = chain else { return 0 };
        let complete_from = chain.values().filter_map(BTreeSet::first).max();
        let newest = chain.values().filter_map(BTreeSet::last).max();
        let (Some(&from), Some(&to)) = (complete_from, newest) else {
            return 0;
        };
        let held: BTreeSet<&u64> = chain.values().flat_map(|held| held.range(from..)).collect();
        (to - from + 1).saturating_sub(held.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FarmId, Report, ReportBody, Text};
    use crate::status::row::Row;
    use crate::status::sample::{Sample, at, finished, id};
    use crate::status::tail::Entry;
    use crate::trust::{SecretKey, seal};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    fn fold(sample: &Sample, events: impl IntoIterator<Item = Event>) -> Board {
        let mut board = sample.board();
        for event in events {
            board.apply(event);
        }
        board
    }

    fn lost() -> ReportBody {
        ReportBody::Lost {
            detail: Text::default(),
        }
    }

    /// Two slaves, and everything that may go wrong: a rescue, contradicting verdicts, a cancel, a command stored twice,
    /// two commands of one name, reports without a command, junk.
    fn story(sample: &Sample) -> Vec<Event> {
        let maple: Vec<_> = (1..)
            .zip(['a', 'b', 'c', 'd'])
            .map(|(number, digit)| sample.order("foo-maple", number, digit))
            .collect();
        let elm = sample.order("foo-elm", 1, 'a');
        let namesake = sample.order("foo-maple", 4, 'e');
        let unknown = sample.order("foo-maple", 9, 'f');
        let mut events = vec![
            sample.changed(1, 'a'),
            sample.changed(2, 'b'),
            sample.changed(7, 'a'),
            sample.present("maple", at(300)),
            sample.present("maple", at(310)),
            sample.ordered(6, &elm),
            sample.cancelled(7, &elm),
            sample.cancelled(5, &elm),
            sample.ordered(8, &namesake),
            sample.ordered(9, &maple[0]),
            sample.reported(&maple[1], 30, 40, lost()),
            sample.reported(&maple[1], 31, 50, finished(Verdict::Failed)),
            sample.reported(&maple[2], 40, 20, finished(Verdict::Passed)),
            sample.reported(&maple[2], 41, 21, finished(Verdict::Failed)),
            sample.reported(&unknown, 50, 5, finished(Verdict::Passed)),
            sample.delivered(60, b"junk".to_vec()).into(),
        ];
        events.extend(
            (1..)
                .zip(&maple)
                .map(|(sequence, build)| sample.ordered(sequence, build)),
        );
        events.extend(sample.run(&maple[0], 10, Verdict::Passed));
        events.extend(sample.run(&elm, 100, Verdict::Cancelled));
        events
    }

    /// Made once, for all the cases of a property.
    static STORY: LazyLock<(Sample, Vec<Event>)> = LazyLock::new(|| {
        let sample = Sample::new();
        let story = story(&sample);
        (sample, story)
    });

    proptest! {
        #[test]
        fn the_same_events_in_any_order_and_any_number_of_times_give_the_same_board(
            order in Just((0..2 * 32).collect::<Vec<usize>>()).prop_shuffle(),
            repeated in 0usize..32,
        ) {
            let (sample, story) = &*STORY;
            prop_assert_eq!(story.len(), 32);
            let shuffled = order
                .into_iter()
                .filter(|i| i % 32 >= repeated || *i < 32)
                .map(|i| story[i % 32].clone());
            let (shuffled, board) = (fold(sample, shuffled), fold(sample, story.clone()));
            prop_assert_eq!(format!("{shuffled:?}"), format!("{board:?}"));
        }

        #[test]
        fn a_report_that_was_not_asked_for_changes_nothing_that_is_shown(
            by_elm: bool,
            by_former_key: bool,
            other_builder: bool,
            other_number: bool,
            other_command: bool,
            verdict in prop::sample::select(vec![Verdict::Passed, Verdict::Failed, Verdict::Lost]),
            first: bool,
        ) {
            prop_assume!(by_elm || by_former_key || other_builder || other_number || other_command);
            let (sample, _) = &*STORY;
            let order = sample.order("foo-maple", 1, 'a');
            let mut forged: Report = sample.said(&order, 900, 1, finished(verdict));
            if by_elm {
                forged.slave = "elm".parse().unwrap();
            }
            if other_builder {
                forged.builder = "bar-maple".parse().unwrap();
            }
            if other_number {
                forged.number = 2;
            }
            if other_command {
                forged.command = id(&sample.order("foo-maple", 1, 'b'));
            }
            let mut reported = sample.stored(&forged);
            if by_former_key && !by_elm {
                reported.report = sample.verify(&sample.former_maple, &forged);
            }
            reported.sequence = if first { 1 } else { 900 };
            let why = if other_command { Answer::NoSuchCommand } else { Answer::NotMeant };
            let mut honest = vec![sample.ordered(1, &order)];
            honest.extend(sample.run(&order, 10, Verdict::Failed).into_iter().take(5));
            let mut board = fold(sample, honest);
            prop_assert_eq!(board.answer(&reported.report), why);
            let before = (format!("{:?}", board.build(&order.id())), board.rows(at(150)));
            board.apply(Event::Reported(reported));
            let rows = board.rows(at(150));
            for (row, before) in rows.iter().zip(before.1) {
                // That the sender's own numbering has a gap now is true, and shown.
                prop_assert_eq!(row, &Row { missing_reports: row.missing_reports, ..before });
            }
            prop_assert_eq!(format!("{:?}", board.build(&order.id())), before.0);
            prop_assert_eq!(board.strays().map(|stray| stray.why).collect::<Vec<_>>(), [why]);
        }
    }

    #[test]
    fn a_forged_report_never_becomes_a_result() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 1, 'a');
        let report = sample.said(&order, 1, 1, finished(Verdict::Passed));
        let genuine = seal(&sample.maple, &sample.farm, &report).bytes;
        let stranger = SecretKey::from_seed(&[9; 32]);
        let mut flipped = genuine.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let mut other_place = report.clone();
        other_place.builder = "bar-maple".parse().unwrap();
        let other_farm = FarmId([0; 32]);
        let cases = [
            (b"junk".to_vec(), "E-ENVELOPE"),
            (flipped, "E-SIGNATURE"),
            (seal(&stranger, &sample.farm, &report).bytes, "E-KEY"),
            (seal(&sample.elm, &sample.farm, &report).bytes, "E-REPORTER"),
            (seal(&sample.signing, &sample.farm, &report).bytes, "E-KEY"),
            (
                seal(&sample.maple, &other_farm, &report).bytes,
                "E-SIGNATURE",
            ),
            (
                seal(&sample.maple, &sample.farm, &other_place).bytes,
                "E-SUBJECT",
            ),
            (vec![0; 65 * 1024], "E-SIZE"),
        ];
        let mut board = fold(&sample, [sample.ordered(1, &order)]);
        let before = board.rows(at(150));
        for (sequence, (bytes, code)) in (1..).zip(cases) {
            let entry = sample.delivered(sequence, bytes);
            let Entry::Unproven(unproven) = &entry else {
                panic!("{code}: believed");
            };
            assert_eq!(unproven.code, code);
            board.apply(entry.into());
        }
        assert_eq!(board.rows(at(150)), before);
        assert_eq!(board.unproven().count(), 8);
        board.apply(sample.delivered(20, genuine).into());
        assert_eq!(
            board.verdict_of(&order.id(), at(150)),
            Some(Verdict::Passed)
        );
    }

    #[test]
    fn a_late_verdict_rescues_a_lost_build() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 1, 'a');
        let mut board = fold(&sample, [sample.ordered(1, &order)]);
        assert_eq!(
            board.verdict_of(&order.id(), at(1_000)),
            Some(Verdict::Lost)
        );
        board.apply(sample.reported(&order, 1, 40, lost()));
        assert_eq!(board.verdict_of(&order.id(), at(150)), Some(Verdict::Lost));
        board.apply(sample.reported(&order, 2, 950, finished(Verdict::Passed)));
        assert_eq!(
            board.verdict_of(&order.id(), at(1_000)),
            Some(Verdict::Passed)
        );
    }

    #[test]
    fn a26_what_a_stolen_key_ordered_counts_only_once_the_slave_has_answered() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 1, 'a');
        let command = sample.verify(&sample.stolen, &Command::Build(order.clone()));
        let mut board = fold(
            &sample,
            [Event::Ordered {
                sequence: 1,
                command,
            }],
        );
        assert!(!board.build(&order.id()).unwrap().proven);
        let empty = sample.board().rows(at(150));
        assert_eq!(board.rows(at(150)), empty);
        for event in sample.run(&order, 1, Verdict::Passed) {
            board.apply(event);
        }
        assert!(board.build(&order.id()).unwrap().proven);
        assert_ne!(board.rows(at(150)), empty);
    }

    #[test]
    fn two_verdicts_that_differ_are_a_dispute_and_the_first_stands() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 1, 'a');
        let events = [
            sample.ordered(1, &order),
            sample.reported(&order, 2, 21, finished(Verdict::Passed)),
            sample.reported(&order, 1, 20, finished(Verdict::Failed)),
        ];
        let board = fold(&sample, events);
        let build = board.build(&order.id()).unwrap();
        assert!(build.disputed);
        assert_eq!(build.verdict(at(150)), Some(Verdict::Failed));
    }

    #[test]
    fn a97_a_report_that_was_dropped_shows_as_a_gap_and_retired_ones_do_not() {
        let sample = Sample::new();
        let (foo, bar) = (
            sample.order("foo-maple", 1, 'a'),
            sample.order("bar-maple", 1, 'a'),
        );
        // Which of maple's reports are held, of which builder; how many are missing.
        let cases: &[(&[u64], &[u64], u64)] = &[
            (&[], &[], 0),
            (&[1, 2, 3], &[], 0),
            (&[1, 3], &[], 1),
            (&[5, 6, 9], &[], 2),
            // 6 may have been one of bar's, retired since; 8 may not.
            (&[5, 9], &[7], 1),
            (&[1, 2, 4, 6], &[3, 5], 0),
        ];
        let maple = "maple".parse().unwrap();
        for (foos, bars, missing) in cases {
            let said = |order, sequence: &u64| sample.reported(order, *sequence, 1, lost());
            let events = foos.iter().map(|sequence| said(&foo, sequence));
            let events = events.chain(bars.iter().map(|sequence| said(&bar, sequence)));
            let board = fold(&sample, events);
            assert_eq!(board.missing_reports(&maple), *missing, "{foos:?} {bars:?}");
        }
    }
}
