//! How a build gets on: what there is to tell of it, and how long it should take. Pure.

use std::time::Duration;

use crate::model::{BuildState, BuilderName, Timestamp, Verdict};

use super::board::Board;
use super::build::BuildStatus;

/// Something that happened to a build, to be told once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum News {
    /// It was commanded.
    Ordered,
    /// Its slave will run it.
    Accepted,
    /// A step began.
    StepStarted {
        /// Which, from 0.
        step: usize,
    },
    /// A step is over.
    StepFinished {
        /// Which, from 0.
        step: usize,
        /// With what.
        verdict: Verdict,
        /// How long it took.
        took: Duration,
    },
    /// It is over.
    Over {
        /// With what.
        verdict: Verdict,
        /// How long its scripts took, if any ran.
        took: Option<Duration>,
    },
}

/// All that there is to tell of a build at `now`, in the order in which it happens.
#[must_use]
pub fn news(build: &BuildStatus, now: Timestamp) -> Vec<News> {
    let mut all = vec![News::Ordered];
    if build.received.is_some() {
        all.push(News::Accepted);
    }
    for (step, status) in build.steps.iter().enumerate() {
        if status.started.is_some() {
            all.push(News::StepStarted { step });
        }
        if let Some(outcome) = &status.outcome {
            all.push(News::StepFinished {
                step,
                verdict: outcome.verdict,
                took: outcome.duration,
            });
        }
    }
    if let Some(verdict) = build.verdict(now) {
        let took = took(build);
        all.push(News::Over { verdict, took });
    }
    all
}

/// How long the scripts of a build took, if any ran and it is over.
fn took(build: &BuildStatus) -> Option<Duration> {
    let ending = build.ending.as_ref()?;
    Some(ending.issued.since(build.started()?))
}

/// Of how many builds the median is taken.
const OF_BUILDS: usize = 11;

/// How long a build of `builder` should take, its waiting apart: the median of its newest builds that say something about
/// the code. None if there is none.
#[must_use]
pub fn expected(board: &Board, builder: &BuilderName) -> Option<Duration> {
    let about_the_code = |build: &&BuildStatus| match build.state {
        BuildState::Done { verdict, .. } => verdict.is_about_the_code() && !build.is_disputed(),
        BuildState::Ordered | BuildState::Accepted | BuildState::Running { .. } => false,
    };
    let mut spans: Vec<Duration> = board
        .builds_of(builder)
        .rev()
        .filter(about_the_code)
        .filter_map(took)
        .take(OF_BUILDS)
        .collect();
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ReportBody, Text};
    use crate::status::sample::{Sample, finished, started};

    fn board_of(sample: &Sample, runs: &[(u64, Verdict)]) -> Board {
        let mut board = sample.board();
        for (number, (seconds, verdict)) in (1..).zip(runs) {
            let order = sample.order("foo-maple", number, 'a');
            board.apply(sample.ordered(number, &order));
            let place = number * 10;
            let began = order.issued;
            let bodies = [(0, started(0, began)), (*seconds, finished(*verdict))];
            for (at, (after, body)) in (place..).zip(bodies) {
                board.apply(sample.reported(&order, at, after, body));
            }
        }
        board
    }

    #[test]
    fn a_build_should_take_as_long_as_the_middle_of_the_newest_that_told_of_the_code() {
        use Verdict::{Errored, Failed, Passed};
        let sample = Sample::new();
        let builder = "foo-maple".parse().unwrap();
        let of = |runs: &[(u64, Verdict)]| {
            let board = board_of(&sample, runs);
            expected(&board, &builder).map(|span| span.as_secs())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(5, Errored)]), None);
        assert_eq!(
            of(&[(5, Passed), (40, Failed), (1, Errored), (9, Passed)]),
            Some(9)
        );
        // Older ones do not count, however long they took.
        let runs: Vec<_> = [(70, Passed); 20]
            .into_iter()
            .chain([(3, Passed); 11])
            .collect();
        assert_eq!(of(&runs), Some(3));
    }

    #[test]
    fn each_thing_is_told_once_and_in_its_order() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 1, 'a');
        let mut board = sample.board();
        board.apply(sample.ordered(1, &order));
        let mut told = Vec::new();
        let mut look = |board: &Board, now| {
            let build = board.build(&order.id()).unwrap();
            let mut new = news(build, now);
            new.retain(|news| !told.contains(news));
            told.extend(new.clone());
            new
        };
        let soon = order.issued;
        assert_eq!(look(&board, soon), [News::Ordered]);
        let accepted = ReportBody::Accepted {
            received: order.issued,
        };
        let reports = [(2, accepted), (3, started(0, order.issued))];
        for (place, body) in reports {
            board.apply(sample.reported(&order, place, 1, body));
        }
        assert_eq!(
            look(&board, soon),
            [News::Accepted, News::StepStarted { step: 0 }]
        );
        assert_eq!(look(&board, soon), []);
        let lost = ReportBody::Lost {
            detail: Text::default(),
        };
        board.apply(sample.reported(&order, 4, 7, lost));
        let over = News::Over {
            verdict: Verdict::Lost,
            took: Some(Duration::from_secs(7)),
        };
        assert_eq!(look(&board, soon), [over]);
    }

    #[test]
    fn a_silent_build_is_over_when_its_time_is() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 1, 'a');
        let mut board = sample.board();
        board.apply(sample.ordered(1, &order));
        let build = board.build(&order.id()).unwrap();
        let late = order.finish_by.after(Duration::from_secs(3600));
        let over = News::Over {
            verdict: Verdict::Lost,
            took: None,
        };
        assert_eq!(news(build, late), [News::Ordered, over]);
    }
}
