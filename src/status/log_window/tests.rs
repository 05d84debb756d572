//! What a window shows.

use super::*;
use crate::model::LogChunk;
use crate::status::log_index::LogIndex;
use crate::status::sample::chunk;
use proptest::prelude::*;

/// What a stream holds of step 0.
struct Log {
    index: LogIndex,
    chunks: Vec<LogChunk>,
}

impl Log {
    fn new(chunks: &[(u64, &[u8])]) -> Self {
        let chunks: Vec<LogChunk> = chunks
            .iter()
            .map(|(offset, bytes)| chunk(0, *offset, bytes))
            .collect();
        let mut index = LogIndex::default();
        for (sequence, chunk) in (0..).zip(&chunks) {
            index.take(sequence, chunk);
        }
        Self { index, chunks }
    }

    fn whole(log: &[u8], size: usize) -> Self {
        let offsets = (0..).step_by(size);
        Self::new(&offsets.zip(log.chunks(size)).collect::<Vec<_>>())
    }

    fn window(&self, place: Place) -> LogWindow {
        let plan = Plan::new(self.index.step(0).unwrap(), place);
        let mut runs: Vec<Run> = Vec::new();
        for span in &plan.spans {
            for sequence in span.messages() {
                let chunk = &self.chunks[usize::try_from(sequence).unwrap()];
                runs.push(Run {
                    offset: chunk.offset,
                    bytes: chunk.bytes.clone(),
                });
            }
        }
        window(0, place, &plan, &runs)
    }
}

fn shown(window: &LogWindow) -> Vec<(u64, String)> {
    let text = |text: &LineText| match text {
        LineText::Output(text) => text.clone(),
        LineText::Note(text) => format!("[{text}]"),
    };
    let lines = window.lines.iter();
    lines.map(|line| (line.number, text(&line.text))).collect()
}

fn line(number: u64, text: &str) -> (u64, String) {
    (number, text.to_owned())
}

#[test]
fn a_window_begins_where_it_was_asked_to() {
    let log = Log::new(&[(0, b"one\ntwo\nth"), (10, b"ree\nfour")]);
    let all = [
        line(1, "one"),
        line(2, "two"),
        line(3, "three"),
        line(4, "four"),
    ];
    for (place, from, lines) in [
        (Place::End, 0, &all[..]),
        (Place::Offset(0), 0, &all),
        (Place::Line(1), 0, &all),
        (Place::Line(3), 8, &all[2..]),
        (Place::Offset(9), 9, &[line(3, "hree"), line(4, "four")]),
        (Place::Offset(18), 18, &[]),
        (Place::Offset(99), 18, &[]),
    ] {
        let window = log.window(place);
        assert_eq!(shown(&window), lines, "{place:?}");
        assert_eq!((window.from, window.to), (from, 18), "{place:?}");
        assert_eq!(window.next_line, 4, "{place:?}");
        assert!(!window.later, "{place:?}");
    }
}

#[test]
fn what_is_missing_is_said_and_ends_a_line() {
    let log = Log::new(&[(0, b"one\ntw"), (16, b"end\nlast\n")]);
    let lines = [
        line(1, "one"),
        line(2, "tw"),
        line(2, "[10 bytes are missing here]"),
        line(3, "end"),
        line(4, "last"),
    ];
    assert_eq!(shown(&log.window(Place::Offset(0))), lines);
    assert_eq!(shown(&log.window(Place::Line(3))), lines[3..]);
    assert_eq!(shown(&log.window(Place::Offset(16))), lines[3..]);
}

#[test]
fn an_endless_line_is_shown_in_parts() {
    let log = Log::whole(&vec![b'x'; 1_000_000], 60_000);
    let window = log.window(Place::End);
    assert_eq!(window.lines.len(), 1);
    assert_eq!(
        (window.from, window.to),
        (1_000_000 - WINDOW_BYTES, 1_000_000)
    );
    assert_eq!(window.earlier, Some(1_000_000 - 2 * WINDOW_BYTES));
    let window = log.window(Place::Offset(0));
    assert_eq!((window.to, window.next_line), (WINDOW_BYTES, 1));
    assert!(window.later);
    // Whatever is asked for, no more is read than a window and its neighbours.
    for place in [Place::End, Place::Offset(0), Place::Line(1), Place::Line(9)] {
        let plan = Plan::new(log.index.step(0).unwrap(), place);
        assert!(plan.spans.len() <= 4, "{place:?}: {}", plan.spans.len());
    }
}

#[test]
fn a87_the_lines_of_a_window_hold_no_control_character_but_colours() {
    let log = Log::new(&[
        (0, b"a\x1b]0;x\x07\rb\n\x1b[31mred\n"),
        (19, b"\x1b[0m\xff\n"),
    ]);
    let lines = [
        line(1, "a\\x1b]0;x\\x07\\x0db"),
        line(2, "\x1b[31mred"),
        line(3, "\x1b[0m\u{fffd}"),
    ];
    assert_eq!(shown(&log.window(Place::Offset(0))), lines);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn windows_one_after_the_other_are_the_log(
        letters in prop::collection::vec(prop_oneof![4 => Just("\n"), 4 => Just("x"), 1 => Just("L")], 1..2_500),
        size in 1usize..70_000,
    ) {
        let log = letters.concat().replace('L', &"l".repeat(5_000));
        let expected: Vec<(u64, String)> = (1..).zip(log.lines().map(str::to_owned)).collect();
        let held = Log::whole(log.as_bytes(), size);
        let mut lines: Vec<LogLine> = Vec::new();
        let mut next = 0;
        loop {
            let window = held.window(Place::Offset(next));
            prop_assert!(window.lines.len() <= WINDOW_LINES);
            prop_assert!(window.to - window.from <= WINDOW_BYTES);
            prop_assert!(window.to > next || !window.later);
            next = window.to;
            join(&mut lines, window.lines);
            if !window.later {
                break;
            }
        }
        let lines: Vec<(u64, String)> = lines
            .into_iter()
            .map(|line| match line.text {
                LineText::Output(text) | LineText::Note(text) => (line.number, text),
            })
            .collect();
        prop_assert_eq!(&lines, &expected);

        let end = held.window(Place::End);
        prop_assert!(!end.later);
        if end.from == 0 || log.as_bytes()[usize::try_from(end.from).unwrap() - 1] == b'\n' {
            let tail = shown(&end);
            prop_assert_eq!(&expected[expected.len() - tail.len()..], &tail);
        }
        let wanted = expected.len() as u64 / 2 + 1;
        let window = held.window(Place::Line(wanted));
        if let Some(first) = window.lines.first() {
            prop_assert_eq!(first.number, wanted);
        }
    }
}
