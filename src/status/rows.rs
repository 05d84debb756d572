//! How the rows follow from the builds.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::board::Board;
use super::build::BuildStatus;
use super::recent::recent;
use super::row::{LastWord, Newest, Row, Running, SlaveStanding};
use crate::model::{
    Branch, Build, BuildState, BuilderName, ChainFaults, RepositoryName, RosterLine, SlaveName,
    Source, Timestamp,
};
use crate::trust::{Standing, Verified, key_id};

/// The branches that a build tests together.
pub(super) type Branches = Vec<(RepositoryName, Branch)>;

/// How long after its last sign of life a slave counts as silent: the presence stream's minute, and the clocks' skew.
const SILENT_AFTER: Duration = Duration::from_secs(60 + Build::CLOCK_SKEW.as_secs());

impl Board {
    /// The rows at `now`, by project, builder and branches.
    #[must_use]
    pub fn rows(&self, now: Timestamp) -> Vec<Row> {
        let mut rows = Vec::new();
        for builder in self.builders() {
            let mut lanes: BTreeMap<Branches, Vec<&BuildStatus>> = BTreeMap::new();
            for build in self.builds_of(builder).filter(|build| build.proven) {
                lanes.entry(branches(&build.order)).or_default().push(build);
            }
            if lanes.is_empty() {
                lanes.insert(Branches::new(), Vec::new());
            }
            for (branches, builds) in lanes {
                rows.push(self.row(builder, branches, &builds, now));
            }
        }
        rows.sort_by(|a, b| {
            (&a.project, &a.builder, &a.branches).cmp(&(&b.project, &b.builder, &b.branches))
        });
        rows
    }

    fn row(
        &self,
        builder: &BuilderName,
        branches: Branches,
        builds: &[&BuildStatus],
        now: Timestamp,
    ) -> Row {
        let newest = builds.last();
        let line = self.line(builder, newest.map(|build| &build.order.slave));
        let slave = line
            .map(|line| &line.slave)
            .or(newest.map(|build| &build.order.slave));
        let presence = line
            .and_then(|line| {
                let held = self.presences.get(&line.slave)?;
                (held.signer() == key_id(&line.report_key)).then_some(held)
            })
            .map(Verified::body);
        let last_word = last_word(builds);
        let mut open: Vec<_> = builds
            .iter()
            .filter(|build| build.verdict(now).is_none())
            .collect();
        // What has come furthest; among equals, what was ordered first.
        open.sort_by_key(|build| (Reverse(progress(build.state)), build.order.number));
        Row {
            builder: builder.clone(),
            project: newest.map(|build| build.order.project.clone()),
            slave: slave.cloned(),
            standing: line.map_or(SlaveStanding::Unlisted, SlaveStanding::of),
            last_seen: presence.map(|presence| presence.issued),
            silent: presence.is_none_or(|presence| now.since(presence.issued) > SILENT_AFTER),
            paused_until: presence
                .and_then(|presence| presence.paused_until)
                .filter(|until| *until > now),
            clock: presence.and_then(|presence| presence.clock),
            chain: slave.map_or_else(ChainFaults::default, |slave| self.chain_faults(slave, now)),
            behind: last_word
                .as_ref()
                .and_then(|word| self.behind(&word.sources)),
            newest: newest.and_then(|build| {
                let verdict = build.verdict(now)?;
                let word = last_word.as_ref().map(|word| word.number);
                (word != Some(build.order.number)).then(|| Newest {
                    number: build.order.number,
                    verdict,
                    code: build.refusal_code().cloned(),
                })
            }),
            running: open.first().map(|build| running(build)),
            waiting: open.len().saturating_sub(1),
            recent: recent(builds, now),
            branches,
            last_word,
        }
    }

    /// The line of the slave that serves `builder`: the open one that names it, else the newest one of `slave`.
    fn line(&self, builder: &BuilderName, slave: Option<&SlaveName>) -> Option<&RosterLine> {
        let lines = &self.roster.as_ref()?.lines;
        let serving = lines
            .iter()
            .find(|line| line.closed.is_none() && line.builders.contains(builder));
        serving.or_else(|| {
            lines
                .iter()
                .filter(|line| Some(&line.slave) == slave)
                .max_by_key(|line| (line.closed.is_none(), line.approved))
        })
    }

    /// How many changes came after `sources`, over all the branches among them that are watched.
    fn behind(&self, sources: &[Source]) -> Option<usize> {
        let mut behind = None;
        for source in sources {
            let mut moves: Vec<_> = self
                .changes()
                .filter(|(_, change)| change.standing() == Standing::Good)
                .map(|(sequence, change)| (sequence, change.body()))
                .filter(|(_, c)| c.repository == source.repository && c.branch == source.branch)
                .collect();
            if moves.is_empty() {
                continue;
            }
            moves.sort_unstable_by_key(|(sequence, _)| **sequence);
            let tested = moves
                .iter()
                .rposition(|(_, change)| change.revision == source.revision)?;
            *behind.get_or_insert(0) += moves.len() - 1 - tested;
        }
        behind
    }
}

/// The branches that a build tests together, in order.
pub(super) fn branches(build: &Build) -> Branches {
    let mut branches: Branches = build
        .sources
        .iter()
        .map(|source| (source.repository.clone(), source.branch.clone()))
        .collect();
    branches.sort_unstable();
    branches.dedup();
    branches
}

/// Over builds in the order of their numbers. Builds that answer a question about older code are left out, and so is
/// whatever says nothing about the code: it neither makes a verdict nor ends a run of equal ones.
fn last_word(builds: &[&BuildStatus]) -> Option<LastWord> {
    let mut words = builds
        .iter()
        .rev()
        .filter(|build| build.order.experiment.is_none())
        .filter_map(|build| match (build.state, &build.ending) {
            (BuildState::Done { verdict, .. }, Some(ending)) if verdict.is_about_the_code() => {
                Some((*build, verdict, ending.at()))
            }
            _ => None,
        });
    let (newest, verdict, at) = words.next()?;
    let (mut first, mut since) = (newest, at);
    let mut changed = false;
    for (build, earlier, at) in words {
        if earlier != verdict {
            changed = true;
            break;
        }
        (first, since) = (build, at);
    }
    let oldest = builds.first().map_or(0, |build| build.order.number);
    Some(LastWord {
        verdict,
        number: newest.order.number,
        sources: newest.order.sources.clone(),
        at,
        since,
        since_number: first.order.number,
        or_longer: !changed && oldest > 1,
        disputed: newest.is_disputed(),
    })
}

fn progress(state: BuildState) -> u8 {
    match state {
        BuildState::Ordered => 0,
        BuildState::Accepted => 1,
        BuildState::Running { .. } => 2,
        BuildState::Done { .. } => 3,
    }
}

fn running(build: &BuildStatus) -> Running {
    let (step_name, since) = match build.state {
        BuildState::Running { step, since } => {
            let step = build.steps.get(usize::from(step));
            (step.map(|step| step.name.clone()), since)
        }
        BuildState::Accepted | BuildState::Ordered | BuildState::Done { .. } => {
            (None, build.received.unwrap_or(build.order.issued))
        }
    };
    Running {
        number: build.order.number,
        state: build.state,
        steps: build.steps.len(),
        step_name,
        since,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Experiment, ExperimentRole, ReportBody, SlaveState, Verdict};
    use crate::status::board::Event;
    use crate::status::row::Shown;
    use crate::status::sample::{Sample, at, finished, id, started, text};

    /// Builds of foo-maple, numbered from 1, each with what it came to.
    fn board_of(sample: &Sample, verdicts: &[Verdict]) -> Board {
        let mut board = sample.board();
        for (number, verdict) in (1..).zip(verdicts) {
            let order = sample.order("foo-maple", number, 'a');
            board.apply(sample.ordered(number, &order));
            for event in sample.run(&order, number * 10, *verdict) {
                board.apply(event);
            }
        }
        board
    }

    fn row(board: &Board, builder: &str, seconds: u64) -> Row {
        let rows = board.rows(at(seconds));
        let mut rows = rows
            .into_iter()
            .filter(|row| row.builder.as_str() == builder);
        let row = rows.next().unwrap();
        assert_eq!(rows.next(), None);
        row
    }

    #[test]
    fn only_what_is_about_the_code_makes_or_ends_a_verdict() {
        use Verdict::{
            Cancelled, Errored, Failed, Lost, Passed, Refused, Skipped, TimedOut, Warned,
        };
        // The verdict, its build, and the build since which it has been that.
        type Word = (Verdict, u64, u64);
        // What the builds from number 1 on came to, and what is said of the code then.
        let cases: &[(&[Verdict], Option<Word>)] = &[
            (&[], None),
            (
                &[Errored, Lost, Refused, TimedOut, Cancelled, Skipped],
                None,
            ),
            (&[Passed], Some((Passed, 1, 1))),
            (&[Passed, Passed, Errored], Some((Passed, 2, 1))),
            (&[Failed, Errored, Failed, Lost], Some((Failed, 3, 1))),
            (&[Passed, Failed, Failed], Some((Failed, 3, 2))),
            (&[Failed, Passed, Skipped, Passed], Some((Passed, 4, 2))),
            (&[Passed, Warned, Refused], Some((Warned, 2, 2))),
            (&[Passed, Failed, Passed], Some((Passed, 3, 3))),
        ];
        let sample = Sample::new();
        for (verdicts, expected) in cases {
            let board = board_of(&sample, verdicts);
            let row = row(&board, "foo-maple", 2_000);
            let last = row.last_word.as_ref();
            let got = last.map(|last| (last.verdict, last.number, last.since_number));
            assert_eq!(got, *expected, "{verdicts:?}");
            if let Some(last) = last {
                assert_eq!(last.since, at(last.since_number * 100 + 20), "{verdicts:?}");
                assert_eq!(last.at, at(last.number * 100 + 20), "{verdicts:?}");
                assert!(!last.or_longer, "{verdicts:?}");
            }
            // What came in between the machine and the code is shown all the same.
            let newest = verdicts
                .last()
                .filter(|verdict| !verdict.is_about_the_code());
            assert_eq!(row.newest.map(|newest| newest.verdict), newest.copied());
        }
    }

    #[test]
    fn a_run_whose_beginning_is_no_longer_on_record_may_be_older() {
        let sample = Sample::new();
        let mut board = sample.board();
        let order = sample.order("foo-maple", 7, 'a');
        board.apply(sample.ordered(1, &order));
        for event in sample.run(&order, 10, Verdict::Passed) {
            board.apply(event);
        }
        assert!(row(&board, "foo-maple", 800).last_word.unwrap().or_longer);
    }

    #[test]
    fn a_branch_that_passed_does_not_hide_one_that_failed() {
        let sample = Sample::new();
        let mut board = board_of(&sample, &[Verdict::Failed]);
        let mut order = sample.order("foo-maple", 2, 'b');
        order.sources[0].branch = "3.14".parse().unwrap();
        board.apply(sample.ordered(2, &order));
        for event in sample.run(&order, 20, Verdict::Passed) {
            board.apply(event);
        }
        let rows = board.rows(at(300));
        let shown: Vec<_> = rows
            .iter()
            .filter(|row| row.builder.as_str() == "foo-maple")
            .map(|row| {
                (
                    row.branches[0].1.as_str(),
                    row.last_word.as_ref().unwrap().verdict,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [("3.14", Verdict::Passed), ("main", Verdict::Failed)]
        );
    }

    #[test]
    fn a_build_that_answers_a_question_is_no_word_on_the_newest_code() {
        let sample = Sample::new();
        let mut board = board_of(&sample, &[Verdict::Failed]);
        let mut order = sample.order("foo-maple", 2, 'a');
        order.experiment = Some(Experiment {
            id: id(&order),
            role: ExperimentRole::Bisect,
            baseline: Vec::new(),
        });
        board.apply(sample.ordered(2, &order));
        for event in sample.run(&order, 20, Verdict::Passed) {
            board.apply(event);
        }
        let row = row(&board, "foo-maple", 300);
        assert_eq!(row.last_word.unwrap().verdict, Verdict::Failed);
    }

    #[test]
    fn what_runs_is_what_has_come_furthest() {
        let sample = Sample::new();
        let mut board = sample.board();
        let (first, second) = (
            sample.order("foo-maple", 1, 'a'),
            sample.order("foo-maple", 2, 'b'),
        );
        board.apply(sample.ordered(1, &first));
        let waiting = row(&board, "foo-maple", 110);
        assert_eq!(waiting.running.unwrap().state, BuildState::Ordered);
        board.apply(sample.ordered(2, &second));
        board.apply(sample.reported(&second, 1, 0, started(1, at(203))));
        let row = row(&board, "foo-maple", 205);
        let running = row.running.clone().unwrap();
        assert_eq!(
            (running.number, running.since, row.waiting),
            (2, at(203), 1)
        );
        assert_eq!(running.step_name.unwrap().as_str(), "test-project");
        // The first is silent beyond the time to accept it and the skew: lost, and not running.
        assert_eq!(board.verdict_of(&first.id(), at(250)), None);
        assert_eq!(board.verdict_of(&first.id(), at(251)), Some(Verdict::Lost));
        assert_eq!(board.rows(at(251))[2].waiting, 0);
    }

    #[test]
    fn green_is_shown_only_for_what_is_known() {
        let sample = Sample::new();
        let alive = sample.present("maple", at(200));
        // Changes after the one that was built, whether the slave is alive, its line's state; what is shown.
        let active = SlaveState::Active;
        let cases = [
            (1, true, active, false, Shown::Verdict(Verdict::Passed)),
            (1, false, active, false, Shown::Verdict(Verdict::Passed)),
            (3, true, active, false, Shown::Verdict(Verdict::Passed)),
            (3, false, active, false, Shown::Stale(Verdict::Passed)),
            (0, false, active, false, Shown::Stale(Verdict::Passed)),
            (1, true, active, true, Shown::Verdict(Verdict::Passed)),
            (3, true, active, true, Shown::Stale(Verdict::Passed)),
            (
                1,
                true,
                SlaveState::Revoked,
                false,
                Shown::Stale(Verdict::Passed),
            ),
        ];
        for (changes, alive_now, state, closed, expected) in cases {
            let mut board = board_of(&sample, &[Verdict::Passed]);
            for (sequence, digit) in (1..).zip(['a', 'b', 'c']).take(changes) {
                board.apply(sample.changed(sequence, digit));
            }
            if alive_now {
                board.apply(alive.clone());
            }
            let mut roster = sample.roster(2);
            roster.lines[0].state = state;
            roster.lines[0].closed = closed.then_some(at(150));
            board.set_roster(roster);
            let row = row(&board, "foo-maple", 210);
            assert_eq!(
                row.shown(),
                expected,
                "{changes} {alive_now} {state:?} {closed}"
            );
            assert_eq!(row.behind, changes.checked_sub(1));
        }
        let nothing = row(&sample.board(), "foo-maple", 0);
        assert_eq!((nothing.shown(), nothing.project), (Shown::Unknown, None));
    }

    #[test]
    fn a_slave_is_silent_when_its_last_sign_is_old_or_by_another_key() {
        let sample = Sample::new();
        let mut board = sample.board();
        assert!(row(&board, "foo-maple", 200).silent);
        board.apply(sample.present("maple", at(200)));
        // An older sign changes nothing.
        board.apply(sample.present("maple", at(100)));
        assert!(!row(&board, "foo-maple", 380).silent);
        assert!(row(&board, "foo-maple", 381).silent);
        let mut roster = sample.roster(2);
        roster.lines[0].report_key = crate::trust::SecretKey::from_seed(&[9; 32]).public();
        board.set_roster(roster);
        assert!(row(&board, "foo-maple", 210).silent);
    }

    #[test]
    fn a_clock_that_is_ahead_makes_no_result_look_fresh() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 1, 'a');
        let mut board = sample.board();
        board.apply(sample.ordered(1, &order));
        let mut reported =
            sample.stored(&sample.said(&order, 1, 999_999, finished(Verdict::Passed)));
        reported.stored = at(120);
        board.apply(Event::Reported(reported));
        let last = row(&board, "foo-maple", 400).last_word.unwrap();
        assert_eq!((last.at, last.since), (at(120), at(120)));
    }

    #[test]
    fn a_refusal_is_shown_with_its_code() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 1, 'a');
        let mut board = sample.board();
        board.apply(sample.ordered(1, &order));
        let body = ReportBody::Refused {
            code: text("E-UNMAPPED"),
            detail: text("no script is mapped"),
        };
        board.apply(sample.reported(&order, 1, 0, body));
        let row = row(&board, "foo-maple", 400);
        assert_eq!(row.shown(), Shown::Unknown);
        let newest = row.newest.unwrap();
        assert_eq!(newest.verdict, Verdict::Refused);
        assert_eq!(newest.code.unwrap().as_str(), "E-UNMAPPED");
    }
}
