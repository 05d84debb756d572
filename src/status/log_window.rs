//! A part of one step's output, as lines that are safe to show.

use bytes::Bytes;

use super::log_index::{Span, StepIndex, newlines};
use super::terminal::{RESET, Sanitizer};

/// Most lines of a window.
pub(super) const WINDOW_LINES: usize = 1_000;
/// Most bytes of a window: a script may print one endless line.
pub(super) const WINDOW_BYTES: u64 = 64 * 1024;

/// Most chunks that are read for one.
const WINDOW_CHUNKS: u32 = 1_024;

/// What can be shown of a log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LogView {
    /// A part of one step's output.
    Window(LogWindow),
    /// No step has printed anything yet.
    Nothing,
    /// It cannot be read now, or is no longer held, and why: the rest of a sentence.
    Unreadable(String),
}

/// A part of one step's output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogWindow {
    /// Which step, from 0.
    pub step: u16,
    /// Where the window begins in that step's output, in bytes.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
    /// How many bytes of that step's output there are now.
    pub bytes: u64,
    /// The number of its first line, from 1.
    pub first_line: u64,
    /// The number of the line that goes on at `to`.
    pub next_line: u64,
    /// Its lines.
    pub lines: Vec<LogLine>,
    /// Where the window before this one may begin.
    pub earlier: Option<u64>,
    /// Whether there is more after it.
    pub later: bool,
    /// Who chose it.
    pub chosen: Chosen,
}

/// Who chose what part is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chosen {
    /// Nobody: it is what most readers look for.
    ByDefault,
    /// The reader.
    ByReader,
}

/// A line, or a piece of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogLine {
    /// Its number in the step's output, from 1.
    pub number: u64,
    /// What it says.
    pub text: LineText,
}

impl LogLine {
    /// A word of ours.
    #[must_use]
    pub fn note(number: u64, text: String) -> Self {
        let text = LineText::Note(text);
        Self { number, text }
    }
}

/// What a line says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LineText {
    /// Output, made safe by a [`Sanitizer`]: the only control sequences left are SGR colours.
    Output(String),
    /// Our own word on what is not there.
    Note(String),
}

/// Which part is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// The end, where errors usually are.
    End,
    /// From this byte on.
    Offset(u64),
    /// From this line on, counted from 1.
    Line(u64),
}

/// Some of a step's output as it was read, and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
}

/// What is to be read for a window.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Plan {
    pub(super) spans: Vec<Span>,
    /// The number of the line that goes on where the first of them begins.
    first_line: u64,
    /// Where the output ends.
    end: u64,
}

impl Plan {
    /// What holds the window at `place`, and no more than a few spans of it.
    pub(super) fn new(index: &StepIndex, place: Place) -> Self {
        let end = index.end();
        let spans = match place {
            Place::End => index.last(WINDOW_BYTES, WINDOW_CHUNKS),
            Place::Offset(offset) => index.at_offset(offset),
            Place::Line(number) => index.at_line(number),
        };
        // The line, or the offset, may lie anywhere in the first span.
        let first_end = spans.first().map_or(0, |span| span.end);
        let enough = first_end.saturating_add(WINDOW_BYTES);
        let mut chunks = 0;
        let enough = spans
            .iter()
            .position(|span| {
                let before = chunks;
                chunks += span.chunks;
                place != Place::End && (span.offset >= enough || before >= WINDOW_CHUNKS)
            })
            .unwrap_or(spans.len());
        Self {
            spans: spans[..enough].to_vec(),
            first_line: spans.first().map_or(index.lines(), |span| span.line) + 1,
            end,
        }
    }
}

/// The window at `place`, from what was read for its plan.
pub(super) fn window(step: u16, place: Place, plan: &Plan, runs: &[Run]) -> LogWindow {
    let (from, number) = begin(place, plan.end, plan.first_line, runs);
    let mut writer = LineWriter::new(from, number);
    let mut lines = Vec::new();
    let mut left = WINDOW_BYTES;
    for run in runs {
        let skip = usize::try_from(from.saturating_sub(run.offset)).unwrap_or(usize::MAX);
        let bytes = run.bytes.get(skip..).unwrap_or_default();
        if bytes.is_empty() {
            continue;
        }
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let fits = end_of_line(&bytes[..room], WINDOW_LINES.saturating_sub(lines.len()));
        if fits == 0 {
            break;
        }
        join(
            &mut lines,
            writer.push(run.offset.max(from), &bytes[..fits]),
        );
        left -= fits as u64;
        if fits < bytes.len() {
            break;
        }
    }
    let (to, next_line) = (writer.offset, writer.number);
    join(&mut lines, writer.finish());
    LogWindow {
        step,
        from,
        to,
        bytes: plan.end,
        first_line: number,
        next_line,
        lines,
        earlier: (from > 0).then(|| from.saturating_sub(WINDOW_BYTES)),
        later: to < plan.end,
        chosen: Chosen::ByDefault,
    }
}

/// How much of `bytes` is at most so many lines.
fn end_of_line(bytes: &[u8], lines: usize) -> usize {
    let Some(last) = lines.checked_sub(1) else {
        return 0;
    };
    let mut ends = (1..).zip(bytes).filter(|(_, byte)| **byte == b'\n');
    ends.nth(last).map_or(bytes.len(), |(end, _)| end)
}

/// Where the window begins, and the number of the line that is there.
fn begin(place: Place, end: u64, first: u64, runs: &[Run]) -> (u64, u64) {
    let start = runs.first().map_or(0, |run| run.offset);
    match place {
        Place::Offset(offset) => {
            let mut number = first;
            let mut next = start;
            for run in runs {
                number += u64::from(run.offset > next && next < offset);
                next = run.offset + run.bytes.len() as u64;
                let before =
                    usize::try_from(offset.saturating_sub(run.offset)).unwrap_or(usize::MAX);
                number += newlines(&run.bytes[..before.min(run.bytes.len())]);
            }
            (offset.max(start).min(end.max(start)), number)
        }
        Place::Line(wanted) => {
            line_begins(runs, first, |number, _| number >= wanted).unwrap_or((start, first))
        }
        Place::End => {
            // The last so many bytes, from the beginning of a line if one begins there, and of those the last so many lines.
            let earliest = end.saturating_sub(WINDOW_BYTES).max(start);
            let mut begins = Vec::new();
            line_begins(runs, first, |number, offset| {
                if offset >= earliest && offset < end {
                    begins.push((offset, number));
                }
                false
            });
            let surplus = begins.len().saturating_sub(WINDOW_LINES);
            match begins.get(surplus) {
                Some((offset, number)) => (*offset, *number),
                // One endless line.
                None => begin(Place::Offset(earliest), end, first, runs),
            }
        }
    }
}

/// Tells `found` of every place where a line begins, until it says that this is the one. What was read begins in the
/// middle of a line unless it is the beginning of all.
fn line_begins(
    runs: &[Run],
    first: u64,
    mut found: impl FnMut(u64, u64) -> bool,
) -> Option<(u64, u64)> {
    let mut number = first;
    let mut next = runs.first()?.offset;
    if next == 0 && found(number, 0) {
        return Some((0, number));
    }
    for run in runs {
        if run.offset > next {
            number += 1;
            if found(number, run.offset) {
                return Some((run.offset, number));
            }
        }
        next = run.offset;
        for byte in &run.bytes {
            next += 1;
            if *byte == b'\n' {
                number += 1;
                if found(number, next) {
                    return Some((next, number));
                }
            }
        }
    }
    None
}

/// Puts pieces of one line together.
fn join(lines: &mut Vec<LogLine>, pieces: Vec<LogLine>) {
    for piece in pieces {
        match (lines.last_mut(), piece) {
            (
                Some(LogLine {
                    number,
                    text: LineText::Output(text),
                }),
                LogLine {
                    number: same,
                    text: LineText::Output(more),
                },
            ) if *number == same => text.push_str(&more),
            (_, piece) => lines.push(piece),
        }
    }
}

/// Turns output into safe, numbered lines, piece by piece.
pub(super) struct LineWriter {
    sanitizer: Sanitizer,
    /// Where the output goes on.
    offset: u64,
    /// The number of the line that goes on there.
    number: u64,
}

impl LineWriter {
    /// Begins at `offset`, in line `number`.
    pub(super) fn new(offset: u64, number: u64) -> Self {
        Self {
            sanitizer: Sanitizer::new(true),
            offset,
            number,
        }
    }

    /// Where the output goes on.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The number of the line that goes on there.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The lines of the next piece of output, which lies at `offset`. What of it came before is passed over, and what is
    /// missing before it is said. The last line may go on with the first line of the next piece, which then has the same
    /// number.
    pub(super) fn push(&mut self, offset: u64, bytes: &[u8]) -> Vec<LogLine> {
        let mut lines = Vec::new();
        if offset > self.offset {
            lines.extend(self.finish());
            let missing = format!("{} bytes are missing here", offset - self.offset);
            lines.push(LogLine::note(self.number, missing));
            self.number = self.number.saturating_add(1);
            self.offset = offset;
        }
        let known = usize::try_from(self.offset - offset).unwrap_or(usize::MAX);
        let Some(fresh) = bytes.get(known..) else {
            return lines;
        };
        self.offset = self.offset.saturating_add(fresh.len() as u64);
        for piece in fresh.split_inclusive(|byte| *byte == b'\n') {
            let safe = self.sanitizer.push(piece);
            let ended = piece.ends_with(b"\n");
            let text = safe.strip_suffix('\n').unwrap_or(&safe);
            if ended || !text.is_empty() {
                lines.push(self.output(text.to_owned()));
            }
            self.number = self.number.saturating_add(u64::from(ended));
        }
        lines
    }

    /// What was held back of an unfinished line.
    pub(super) fn finish(&mut self) -> Vec<LogLine> {
        let rest = self.sanitizer.finish();
        if rest.is_empty() || rest == RESET {
            Vec::new()
        } else {
            vec![self.output(rest)]
        }
    }

    fn output(&self, text: String) -> LogLine {
        LogLine {
            number: self.number,
            text: LineText::Output(text),
        }
    }
}

#[cfg(test)]
mod tests;
