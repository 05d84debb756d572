//! How a build gets on, in lines.

use std::io;
use std::time::Duration;

use super::{Style, age, detail, span};
use crate::model::{BuildState, Timestamp};
use crate::status::build::BuildStatus;
use crate::status::progress::News;

/// Writes what happened to a build as one line.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_news(
    build: &BuildStatus,
    news: &News,
    expected: Option<Duration>,
    style: Style,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let what = match news {
        News::Ordered => format!(
            "ordered from {}{}",
            build.order.slave,
            should_take(expected)
        ),
        News::Accepted => "accepted".to_owned(),
        News::StepStarted { step } => step_words(build, *step),
        News::StepFinished {
            step,
            verdict,
            took,
        } => format!("{} {verdict} in {}", step_words(build, *step), span(*took)),
        News::Over { verdict, took } => {
            let ending = build.ending.as_ref();
            let detail = ending.map_or_else(
                || ": no word from its slave in time".to_owned(),
                |ending| detail(&ending.body),
            );
            let took = took.map_or_else(String::new, |took| format!(", took {}", span(took)));
            format!("{}{detail}{took}", style.verdict(*verdict))
        }
    };
    writeln!(out, "{}  {what}", build.id())
}

/// One line that says how far the build has come that was asked for at `asked`; none was ordered yet if there is none.
#[must_use]
pub fn progress_line(
    build: Option<&BuildStatus>,
    asked: Timestamp,
    expected: Option<Duration>,
    now: Timestamp,
) -> String {
    let in_all = clock(now.since(asked));
    let Some(build) = build else {
        return format!("queued {in_all}{}", should_take(expected));
    };
    let stage = match build.state {
        BuildState::Ordered => "ordered".to_owned(),
        BuildState::Accepted => "accepted".to_owned(),
        BuildState::Running { step, since } => {
            let step = usize::from(step);
            let words = step_words(build, step);
            match build.steps.get(step).and_then(|step| step.outcome.as_ref()) {
                Some(outcome) => format!("{words} {}", outcome.verdict),
                None => format!("{words} {}", clock(now.since(since))),
            }
        }
        BuildState::Done { verdict, .. } => verdict.to_string(),
    };
    let expected = should_take(expected);
    format!("{}  {stage}, {in_all} in all{expected}", build.id())
}

fn should_take(expected: Option<Duration>) -> String {
    expected.map_or_else(String::new, |span| {
        format!(", expected about {}", age(span.max(Duration::from_secs(1))))
    })
}

fn step_words(build: &BuildStatus, step: usize) -> String {
    let of = build.steps.len();
    let name = build.steps.get(step).map_or("", |step| step.name.as_str());
    format!("step {} of {of} {name}", step + 1)
}

/// As a stopwatch shows it: `0:07`, `12:30`, `1:02:03`.
fn clock(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ReportBody, Verdict};
    use crate::status::progress::news;
    use crate::status::sample::{Sample, started};
    use crate::status::{Board, Event};

    const THREE_MINUTES: Option<Duration> = Some(Duration::from_secs(184));

    #[test]
    fn a_build_is_told_of_line_by_line() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 7, 'a');
        let mut board = sample.board();
        board.apply(sample.ordered(1, &order));
        for event in sample.run(&order, 1, Verdict::Failed) {
            board.apply(event);
        }
        let build = board.build(&order.id()).unwrap();
        let mut text = Vec::new();
        for news in news(build, order.issued) {
            write_news(build, &news, THREE_MINUTES, Style::Plain, &mut text).unwrap();
        }
        insta::assert_snapshot!(String::from_utf8(text).unwrap(), @"
        foo-maple/7  ordered from maple, expected about 3 min
        foo-maple/7  accepted
        foo-maple/7  step 1 of 2 build-python
        foo-maple/7  step 1 of 2 build-python passed in 9.4 s
        foo-maple/7  step 2 of 2 test-project
        foo-maple/7  step 2 of 2 test-project failed in 9.4 s
        foo-maple/7  ✗ FAILED, took 19.9 s
        ");
    }

    #[test]
    fn the_line_says_where_it_is_how_long_it_was_and_how_long_it_should_take() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 7, 'a');
        let asked = order.issued;
        let mut board = sample.board();
        let line = |board: &Board, after: u64, expected| {
            let now = asked.after(Duration::from_secs(after));
            progress_line(board.build(&order.id()), asked, expected, now)
        };
        assert_eq!(line(&board, 5, None), "queued 0:05");
        assert_eq!(
            line(&board, 65, THREE_MINUTES),
            "queued 1:05, expected about 3 min"
        );
        let received = order.issued;
        let steps: [(Event, &str); 3] = [
            (sample.ordered(1, &order), "ordered"),
            (
                sample.reported(&order, 1, 1, ReportBody::Accepted { received }),
                "accepted",
            ),
            (
                sample.reported(
                    &order,
                    2,
                    30,
                    started(1, asked.after(Duration::from_secs(30))),
                ),
                "step 2 of 2 test-project 1:12",
            ),
        ];
        for (event, stage) in steps {
            board.apply(event);
            let expected = format!("foo-maple/7  {stage}, 1:42 in all, expected about 3 min");
            assert_eq!(line(&board, 102, THREE_MINUTES), expected);
        }
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
    }
}
