//! The board as an aligned table.

use std::io;
use std::time::Duration;

use crate::model::{Branch, Build, BuildState, RepositoryName, Timestamp, Verdict};

use super::table::write_table;
use super::{Paint, RUNNING, Style, age, badge, shown_badge};
use crate::status::board::Board;
use crate::status::keyrings::of_fault;
use crate::status::overview::{notes, of_silent_master};
use crate::status::row::{LastWord, Row, Running, Shown, SlaveStanding};
use crate::status::view::Farm;

const TITLES: [&str; 8] = [
    "VERDICT", "PROJECT", "BUILDER", "TESTED", "SINCE", "AGE", "SLAVE", "NOW",
];

/// Writes the board at `now` as aligned text, one builder (and the branches it tests) a line.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_board(
    farm: &Farm,
    board: &Board,
    now: Timestamp,
    style: Style,
    out: &mut impl io::Write,
) -> io::Result<()> {
    writeln!(
        out,
        "{}  {}",
        style.paint(Paint::Strong, farm.name.as_str()),
        farm.id
    )?;
    writeln!(out, "{}", style.paint(Paint::Faint, &farm.words))?;
    if let Some(fault) = board.keys_fault(now) {
        let fault = of_fault(&fault);
        writeln!(out, "{}", style.paint(Paint::Bad, &format!("! {fault}")))?;
    }
    writeln!(out)?;
    let rows = board.rows(now);
    if rows.is_empty() {
        writeln!(
            out,
            "No builder yet: the roster names none, and none was given a command."
        )?;
    } else {
        let mut table = vec![TITLES.map(|title| (title.to_owned(), Paint::Faint))];
        table.extend(rows.iter().map(|row| cells(row, now)));
        write_table(&table, style, out)?;
        writeln!(out)?;
        writeln!(out, "{}", summary(&rows))?;
    }
    if let Some(silent) = board.master_silent(now) {
        let silent = of_silent_master(silent);
        writeln!(
            out,
            "{}",
            style.paint(Paint::Machine, &format!("! {silent}"))
        )?;
    }
    for note in notes(board, &rows) {
        writeln!(out, "{}", style.paint(Paint::Machine, &format!("! {note}")))?;
    }
    Ok(())
}

fn cells(row: &Row, now: Timestamp) -> [(String, Paint); 8] {
    let (verdict, paint) = shown_badge(row.shown());
    let plain = |text: String| (text, Paint::Plain);
    let last = row.last_word.as_ref();
    [
        (verdict, paint),
        plain(
            row.project
                .as_ref()
                .map_or("?".to_owned(), ToString::to_string),
        ),
        plain(row.builder.to_string()),
        plain(tested(row)),
        plain(last.map_or_else(String::new, |last| since(last, now))),
        plain(last.map_or_else(String::new, |last| age(now.since(last.at)))),
        slave(row, now),
        activity(row, now),
    ]
}

fn tested(row: &Row) -> String {
    let Some(last) = &row.last_word else {
        let branch =
            |(repository, branch): &(RepositoryName, Branch)| format!("{repository} {branch}");
        return row
            .branches
            .iter()
            .map(branch)
            .collect::<Vec<_>>()
            .join(", ");
    };
    let mut text = last
        .sources
        .iter()
        .map(|source| {
            format!(
                "{} {} {}",
                source.repository,
                source.branch,
                source.revision.short()
            )
        })
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(behind @ 1..) = row.behind {
        text = format!("{text} ({behind} behind)");
    }
    text
}

fn since(last: &LastWord, now: Timestamp) -> String {
    let or_longer = if last.or_longer { " or more" } else { "" };
    format!("{}{or_longer}", age(now.since(last.since)))
}

fn slave(row: &Row, now: Timestamp) -> (String, Paint) {
    let Some(slave) = &row.slave else {
        return ("?".to_owned(), Paint::Faint);
    };
    match slave_mark(row, now) {
        Some((mark, paint)) => (format!("{slave}, {mark}"), paint),
        None => (slave.to_string(), Paint::Plain),
    }
}

/// How far off a clock is said to be wrong: half of what the gate puts up with.
const WRONG_CLOCK: Duration = Duration::from_secs(Build::CLOCK_SKEW.as_secs() / 2);

/// What is to be said of the slave of a row, if anything.
pub(in crate::status) fn slave_mark(row: &Row, now: Timestamp) -> Option<(String, Paint)> {
    let machine = |mark: &str| Some((mark.to_owned(), Paint::Machine));
    match row.standing {
        SlaveStanding::Revoked => Some(("revoked".to_owned(), Paint::Bad)),
        SlaveStanding::Closed => machine("has left"),
        SlaveStanding::Unlisted => machine("not in the roster"),
        SlaveStanding::Paused => machine("paused by the operator"),
        SlaveStanding::Active | SlaveStanding::Probation => match (row.paused_until, row.silent) {
            (Some(until), _) => {
                let mark = format!("paused by its owner for {}", age(until.since(now)));
                machine(&mark)
            }
            (None, true) => machine("silent"),
            (None, false) => match row.clock.filter(|clock| clock.size() > WRONG_CLOCK) {
                Some(clock) => machine(&format!("clock {clock}")),
                None if row.standing == SlaveStanding::Probation => {
                    Some(("on probation".to_owned(), Paint::Faint))
                }
                None => None,
            },
        },
    }
}

/// What runs; else what came of the newest build, if that says nothing about the code.
fn activity(row: &Row, now: Timestamp) -> (String, Paint) {
    if let Some(running) = &row.running {
        let waiting = match row.waiting {
            0 => String::new(),
            more => format!(", {more} more waiting"),
        };
        return (format!("{}{waiting}", progress(running, now)), RUNNING.1);
    }
    let Some(newest) = &row.newest else {
        return (String::new(), Paint::Plain);
    };
    let (text, paint) = badge(newest.verdict);
    let code = newest
        .code
        .as_ref()
        .map_or_else(String::new, |code| format!(" {code}"));
    (format!("{text}{code}, build {}", newest.number), paint)
}

fn progress(running: &Running, now: Timestamp) -> String {
    let number = running.number;
    let since = age(now.since(running.since));
    match (running.state, &running.step_name) {
        (BuildState::Running { step, .. }, name) => {
            let name = name
                .as_ref()
                .map_or_else(String::new, |name| format!(" {name}"));
            let (step, steps) = (u32::from(step) + 1, running.steps);
            format!(
                "{}, build {number}, step {step}/{steps}{name}, for {since}",
                RUNNING.0
            )
        }
        (BuildState::Accepted, _) => format!("… accepted, build {number}, {since} ago"),
        (BuildState::Ordered | BuildState::Done { .. }, _) => {
            format!("… ordered, build {number}, {since} ago")
        }
    }
}

fn summary(rows: &[Row]) -> String {
    let count = |test: &dyn Fn(Shown) -> bool| rows.iter().filter(|row| test(row.shown())).count();
    let parts = [
        (
            count(&|shown| shown == Shown::Verdict(Verdict::Failed)),
            "FAILED",
        ),
        (
            count(&|shown| shown == Shown::Verdict(Verdict::Warned)),
            "warned",
        ),
        (
            count(&|shown| shown == Shown::Verdict(Verdict::Passed)),
            "passed",
        ),
        (count(&|shown| matches!(shown, Shown::Stale(_))), "stale"),
        (count(&|shown| shown == Shown::Unknown), "unknown"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    format!("{} of {} rows", parts.join(", "), rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClockOffset, ReportBody, SlaveState};
    use crate::status::sample::{Sample, at, finished, started, text};

    fn board(sample: &Sample) -> Board {
        let mut board = sample.board();
        let (first, second) = (
            sample.order("foo-maple", 1, 'a'),
            sample.order("foo-maple", 2, 'b'),
        );
        let (bar, elm) = (
            sample.order("bar-maple", 1, 'b'),
            sample.order("foo-elm", 2, 'a'),
        );
        let retry = sample.order("foo-elm", 3, 'b');
        for (sequence, digit) in [(1, 'a'), (2, 'b')] {
            board.apply(sample.changed(sequence, digit));
        }
        for (sequence, order) in (1..).zip([&first, &second, &bar, &elm, &retry]) {
            board.apply(sample.ordered(sequence, order));
        }
        let next = sample.order("foo-maple", 3, 'c');
        board.apply(sample.ordered(6, &next));
        board.apply(sample.present("maple", at(290)));
        let runs = [
            sample.run(&first, 1, Verdict::Passed),
            sample.run(&second, 7, Verdict::Failed),
            sample.run(&bar, 13, Verdict::Passed),
            sample.run(&elm, 1, Verdict::Passed),
        ];
        for event in runs.into_iter().flatten() {
            board.apply(event);
        }
        board.apply(sample.reported(&next, 19, 1, started(1, at(304))));
        let refused = ReportBody::Refused {
            code: text("E-UNMAPPED"),
            detail: text("no script is mapped"),
        };
        board.apply(sample.reported(&retry, 7, 1, refused));
        board
    }

    fn written(sample: &Sample, board: &Board, now: Timestamp, style: Style) -> String {
        let mut out = Vec::new();
        write_board(&sample.farm(), board, now, style, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_board_is_an_aligned_table() {
        let sample = Sample::new();
        insta::assert_snapshot!(written(&sample, &board(&sample), at(317), Style::Plain), @"
        sample  SHA256:bdPKORQHvICH01ndg4gqODqcPcbri0zEHVLi3BsanyA
        horse oxygen mixture chimney knock doctor butter hen

        VERDICT              PROJECT  BUILDER    TESTED                              SINCE          AGE    SLAVE        NOW
        ✓ passed             bar      bar-maple  cpython main bbbbbbbbbb             3 min          3 min  maple
        ? stale, was passed  foo      foo-elm    cpython main aaaaaaaaaa (1 behind)  1 min or more  1 min  elm, silent  / refused E-UNMAPPED, build 3
        ✗ FAILED             foo      foo-maple  cpython main bbbbbbbbbb             1 min          1 min  maple        … running, build 3, step 2/2 test-project, for 13 s

        1 FAILED, 1 passed, 1 stale of 3 rows
        ");
    }

    #[test]
    fn a08_a_clock_that_is_far_off_is_told() {
        let sample = Sample::new();
        let said = |microseconds| {
            let mut board = board(&sample);
            board.apply(sample.off("maple", at(316), ClockOffset(microseconds)));
            written(&sample, &board, at(317), Style::Plain)
        };
        assert!(said(-75_000_000).contains("maple, clock 75.0 s behind"));
        assert!(said(75_500_000).contains("maple, clock 75.5 s ahead"));
        assert!(!said(60_000_000).contains("clock"));
    }

    #[test]
    fn trouble_is_marked_beside_the_table() {
        let sample = Sample::new();
        let mut board = board(&sample);
        let mut roster = sample.roster(2);
        roster.lines[0].state = SlaveState::Revoked;
        roster.lines[1].state = SlaveState::Probation;
        roster.lines[1].builders.push("baz-elm".parse().unwrap());
        board.set_roster(roster);
        let unknown = sample.order("foo-elm", 9, 'a');
        board.apply(sample.reported(&unknown, 10, 1, started(0, at(1))));
        board.apply(sample.delivered(99, b"junk".to_vec()).into());
        let elm = sample.order("foo-elm", 2, 'a');
        board.apply(sample.reported_by_a_copy(&elm, 6, 30, finished(Verdict::Failed)));
        insta::assert_snapshot!(written(&sample, &board, at(9_000), Style::Plain), @"
        sample  SHA256:bdPKORQHvICH01ndg4gqODqcPcbri0zEHVLi3BsanyA
        horse oxygen mixture chimney knock doctor butter hen

        VERDICT              PROJECT  BUILDER    TESTED                              SINCE        AGE  SLAVE           NOW
        ? unknown            ?        baz-elm                                                          elm, silent
        ? stale, was passed  bar      bar-maple  cpython main bbbbbbbbbb             2 h          2 h  maple, revoked
        ? stale, was passed  foo      foo-elm    cpython main aaaaaaaaaa (1 behind)  2 h or more  2 h  elm, silent     / refused E-UNMAPPED, build 3
        ? stale, was FAILED  foo      foo-maple  cpython main bbbbbbbbbb             2 h          2 h  maple, revoked  ! lost, build 3

        3 stale, 1 unknown of 4 rows
        ! two instances of elm report since its report 6, as if it had been copied or set back; reports that it signed twice: 1
        ! reports of elm that are missing: 2
        ! foo-elm/2: the slave signed two different ends of it; the first is shown
        ! reports that answer no command given to their sender, and are no results: 1
        ! messages that do not verify, and count for nothing: 1
        ");
    }

    #[test]
    fn an_empty_board_says_so() {
        let sample = Sample::new();
        let board = Board::default();
        insta::assert_snapshot!(written(&sample, &board, at(0), Style::Plain), @"
        sample  SHA256:bdPKORQHvICH01ndg4gqODqcPcbri0zEHVLi3BsanyA
        horse oxygen mixture chimney knock doctor butter hen

        No builder yet: the roster names none, and none was given a command.
        ");
    }

    #[test]
    fn colours_change_no_letter() {
        let sample = Sample::new();
        let board = board(&sample);
        let coloured = written(&sample, &board, at(317), Style::Colour);
        assert!(coloured.contains("\x1b[1;31m✗ FAILED\x1b[0m"));
        let mut plain = Vec::new();
        crate::status::write_log_safely(coloured.as_bytes(), false, &mut plain).unwrap();
        assert_eq!(
            String::from_utf8(plain).unwrap(),
            written(&sample, &board, at(317), Style::Plain)
        );
    }
}
