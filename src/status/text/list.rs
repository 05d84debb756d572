//! Builds, one a line.

use std::io;

use super::table::{widths, write_table};
use super::{Paint, Style, age, badge, span, state_badge};
use crate::model::Timestamp;
use crate::status::board::Board;
use crate::status::build::BuildStatus;

const TITLES: [&str; 7] = [
    "BUILD", "VERDICT", "ORDERED", "TOOK", "PROJECT", "REVISION", "CHANGE",
];

/// Below this many columns a subject says nothing any more.
const MIN_SUBJECT: usize = 8;

/// Writes builds as aligned text, one a line, in the order given. The last column, why a build was ordered, is cut so that
/// a line fits `width` columns, if there is a width.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_builds(
    board: &Board,
    builds: &[&BuildStatus],
    now: Timestamp,
    width: Option<usize>,
    style: Style,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let mut table = vec![TITLES.map(|title| (title.to_owned(), Paint::Faint))];
    table.extend(builds.iter().map(|build| cells(board, build, now)));
    if let Some(width) = width {
        let [before @ .., _] = widths(&table);
        let room = width.saturating_sub(before.iter().map(|width| width + 2).sum());
        for [.., (subject, _)] in &mut table {
            *subject = cut(subject, room);
        }
    }
    write_table(&table, style, out)
}

fn cells(board: &Board, build: &BuildStatus, now: Timestamp) -> [(String, Paint); 7] {
    let (verdict, paint) = build
        .verdict(now)
        .map_or_else(|| state_badge(build.state), badge);
    let took = build
        .ending
        .as_ref()
        .zip(build.started())
        .map_or_else(String::new, |(ending, started)| {
            span(ending.issued.since(started))
        });
    let revisions = build
        .order
        .sources
        .iter()
        .map(|source| source.revision.short());
    let plain = |text: String| (text, Paint::Plain);
    [
        (build.id().to_string(), Paint::Strong),
        (verdict.to_owned(), paint),
        plain(format!("{} ago", age(now.since(build.order.issued)))),
        plain(took),
        plain(build.order.project.to_string()),
        plain(revisions.collect::<Vec<_>>().join(",")),
        plain(subject(board, build)),
    ]
}

/// What the newest of the changes that it answers says; else why it was ordered.
fn subject(board: &Board, build: &BuildStatus) -> String {
    let changes = build.order.covers.iter().filter_map(|id| board.change(id));
    let newest = changes.max_by_key(|change| change.seen);
    newest
        .and_then(|change| change.commits.first())
        .map_or(&build.order.reason, |commit| &commit.subject)
        .to_string()
}

/// The beginning of `text` that fits `room` columns; nothing if that is too little to read.
fn cut(text: &str, room: usize) -> String {
    // Counted generously: what is not surely one column wide may be two.
    let columns = |c: char| if c < '\u{300}' { 1 } else { 2 };
    let wide: usize = text.chars().map(columns).sum();
    if wide <= room {
        return text.to_owned();
    }
    if room < MIN_SUBJECT {
        return String::new();
    }
    let mut left = room - 1;
    let kept: String = text
        .chars()
        .take_while(|&c| {
            let fits = columns(c) <= left;
            left = left.saturating_sub(columns(c));
            fits
        })
        .collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Change, Verdict};
    use crate::status::board::Event;
    use crate::status::sample::{Sample, at, started, text};

    fn board() -> Board {
        let sample = Sample::new();
        let mut board = sample.board();
        board.apply(sample.changed(1, 'a'));
        let mut change: Change = sample.change('b').into_body();
        change.commits[0].subject =
            text("Überholt: die längste Zeile, die jemals jemand geschrieben hat");
        let mut second = sample.order("foo-maple", 2, 'b');
        let change = sample.verify(&sample.signing, &change);
        second.covers = vec![change.id()];
        board.apply(Event::Changed {
            sequence: 2,
            change,
        });
        let first = sample.order("foo-maple", 1, 'a');
        let third = sample.order("bar-maple", 3, 'c');
        for (sequence, order) in [(1, &first), (2, &second), (3, &third)] {
            board.apply(sample.ordered(sequence, order));
        }
        for event in sample.run(&first, 1, Verdict::Failed) {
            board.apply(event);
        }
        board.apply(sample.reported(&second, 7, 1, started(0, at(201))));
        board
    }

    fn written(width: Option<usize>) -> String {
        let board = board();
        let builds: Vec<&BuildStatus> = board.builds().collect();
        let mut out = Vec::new();
        write_builds(&board, &builds, at(310), width, Style::Plain, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_list_has_one_line_for_each_build_and_keeps_whole_fields_in_a_pipe() {
        insta::assert_snapshot!(written(None), @"
        BUILD        VERDICT    ORDERED    TOOK    PROJECT  REVISION    CHANGE
        bar-maple/3  … ordered  10 s ago           bar      cccccccccc  check-in on cpython main
        foo-maple/1  ✗ FAILED   3 min ago  19.9 s  foo      aaaaaaaaaa  Remove frobnicate
        foo-maple/2  … running  1 min ago          foo      bbbbbbbbbb  Überholt: die längste Zeile, die jemals jemand geschrieben hat
        ");
    }

    #[test]
    fn a_line_fits_the_terminal_and_a_subject_too_short_to_read_is_left_out() {
        let fits = |width| {
            written(Some(width))
                .lines()
                .all(|line| line.chars().count() <= width)
        };
        assert!(fits(100) && fits(80));
        insta::assert_snapshot!(written(Some(80)), @"
        BUILD        VERDICT    ORDERED    TOOK    PROJECT  REVISION    CHANGE
        bar-maple/3  … ordered  10 s ago           bar      cccccccccc  check-in on cpy…
        foo-maple/1  ✗ FAILED   3 min ago  19.9 s  foo      aaaaaaaaaa  Remove frobnica…
        foo-maple/2  … running  1 min ago          foo      bbbbbbbbbb  Überholt: die l…
        ");
        assert!(!written(Some(60)).lines().any(|line| line.ends_with('…')));
    }

    #[test]
    fn what_is_cut_fits_and_says_that_it_was_cut() {
        let cases = [
            ("Remove frobnicate", 17, "Remove frobnicate"),
            ("Remove frobnicate", 16, "Remove frobnica…"),
            ("Remove frobnicate", 8, "Remove…"),
            ("Remove frobnicate", 7, ""),
            ("日本語日本語", 12, "日本語日本語"),
            ("日本語日本語", 11, "日本語日本…"),
            ("日本語日本語", 10, "日本語日…"),
        ];
        for (text, room, expected) in cases {
            assert_eq!(cut(text, room), expected, "{text} {room}");
        }
    }
}
