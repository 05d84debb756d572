//! Where the lines of a log lie in the stream: enough to show any part of it without holding the rest.
//!
//! The size of the index follows the number of spans, of up to 64 KiB each, not the log: some 100 KiB for 100 MiB.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::model::LogChunk;

/// Neighbouring chunks are one span up to this many bytes, and this many chunks. A script that prints a byte now and then
/// makes many of them.
const SPAN: u64 = 64 * 1024;
const SPAN_CHUNKS: u32 = 256;
/// Most spans of one log: what comes after is not shown. No honest slave's cap allows so much.
const MAX_SPANS: usize = 1 << 18;

/// Some of a step's output, and which messages of the log's subject hold it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Span {
    /// Where it begins in the step's output.
    pub(super) offset: u64,
    /// Where it ends.
    pub(super) end: u64,
    /// How many lines end before it. A part that is missing ends a line.
    pub(super) line: u64,
    /// The sequence of the first message that holds some of it.
    first: u64,
    /// And of the last.
    last: u64,
    /// How many of them there are.
    pub(super) chunks: u32,
}

impl Span {
    /// The messages that hold it, and maybe some of other steps.
    pub(super) fn messages(&self) -> RangeInclusive<u64> {
        self.first..=self.last
    }
}

/// An index of one build's log.
#[derive(Debug, Default)]
pub(super) struct LogIndex {
    next: u64,
    spans: usize,
    steps: BTreeMap<u16, StepIndex>,
}

/// An index of one step's output.
#[derive(Debug, Default)]
pub(super) struct StepIndex {
    spans: Vec<Span>,
    end: u64,
    lines: u64,
}

impl LogIndex {
    /// The sequence from which on nothing has been taken in.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Passes over a message that is no part of the log.
    pub(super) fn pass(&mut self, sequence: u64) {
        self.next = self.next.max(sequence.saturating_add(1));
    }

    /// Takes in a chunk, in the order of the stream. Each byte counts once, where it comes first.
    pub(super) fn take(&mut self, sequence: u64, chunk: &LogChunk) {
        if sequence < self.next {
            return;
        }
        self.pass(sequence);
        let step = self.steps.entry(chunk.step).or_default();
        let Some(end) = chunk.offset.checked_add(chunk.bytes.len() as u64) else {
            return;
        };
        if end <= step.end || self.spans >= MAX_SPANS {
            return;
        }
        if chunk.offset > step.end {
            step.lines += 1;
        }
        let offset = chunk.offset.max(step.end);
        let fresh = usize::try_from(offset - chunk.offset).unwrap_or(usize::MAX);
        let fresh = chunk.bytes.get(fresh..).unwrap_or_default();
        match step.spans.last_mut() {
            Some(span)
                if span.end == offset && end - span.offset <= SPAN && span.chunks < SPAN_CHUNKS =>
            {
                span.end = end;
                span.last = sequence;
                span.chunks += 1;
            }
            Some(_) | None => {
                self.spans += 1;
                step.spans.push(Span {
                    offset,
                    end,
                    line: step.lines,
                    first: sequence,
                    last: sequence,
                    chunks: 1,
                });
            }
        }
        step.end = end;
        step.lines += newlines(fresh);
    }

    /// The index of a step; none if nothing of it has come.
    pub(super) fn step(&self, step: u16) -> Option<&StepIndex> {
        self.steps.get(&step)
    }
}

impl StepIndex {
    /// Where the output ends, so far.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// How many lines have ended.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// The fewest spans at the end that hold so many bytes, or so many chunks.
    pub(super) fn last(&self, bytes: u64, chunks: u32) -> &[Span] {
        let (mut at, mut held) = (self.spans.len(), 0);
        while let Some(span) = at.checked_sub(1).and_then(|before| self.spans.get(before))
            && held < chunks
            && self.end - span.end < bytes
        {
            held += span.chunks;
            at -= 1;
        }
        &self.spans[at..]
    }

    /// The spans from the one that holds `offset`, or begins next after it.
    pub(super) fn at_offset(&self, offset: u64) -> &[Span] {
        let at = self.spans.partition_point(|span| span.end <= offset);
        &self.spans[at..]
    }

    /// The spans from the one in which line `number` (from 1) begins.
    pub(super) fn at_line(&self, number: u64) -> &[Span] {
        // A line begins right after the end of the one before it.
        let ends_before = number.saturating_sub(1);
        let at = self
            .spans
            .partition_point(|span| span.line < ends_before)
            .saturating_sub(1);
        &self.spans[at..]
    }
}

/// How many lines end in `bytes`.
pub(super) fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample::chunk;
    use proptest::prelude::*;

    fn index(chunks: &[(u16, u64, &[u8])]) -> LogIndex {
        let mut index = LogIndex::default();
        for (sequence, (step, offset, bytes)) in (1..).zip(chunks) {
            index.take(sequence, &chunk(*step, *offset, bytes));
        }
        index
    }

    #[test]
    fn small_neighbours_are_one_span_and_large_ones_are_not() {
        let large = vec![b'x'; 40_000];
        let index = index(&[
            (0, 0, b"a\n"),
            (1, 0, b"other step\n"),
            (0, 2, b"b\nc"),
            (0, 5, &large),
            (0, 40_005, &large),
        ]);
        let spans: Vec<_> = index.step(0).unwrap().at_offset(0).to_vec();
        assert_eq!(spans.len(), 2);
        assert_eq!(
            (spans[0].offset, spans[0].end, spans[0].line),
            (0, 40_005, 0)
        );
        assert_eq!(spans[0].messages(), 1..=4);
        assert_eq!(
            (spans[1].offset, spans[1].end, spans[1].line),
            (40_005, 80_005, 2)
        );
        assert_eq!(index.step(1).unwrap().lines(), 1);
        assert!(index.step(2).is_none());
        assert_eq!(index.next(), 6);
    }

    #[test]
    fn each_byte_counts_once_and_a_missing_part_ends_a_line() {
        let index = index(&[
            (0, 0, b"one\ntw"),
            (0, 0, b"one\ntw"),
            (0, 4, b"two\n"),
            (0, 10, b"x\n"),
            (0, 3, b"late\n"),
            (0, u64::MAX, b"beyond"),
        ]);
        let step = index.step(0).unwrap();
        assert_eq!((step.end(), step.lines()), (12, 4));
        let after_the_gap = step.at_offset(9)[0];
        assert_eq!((after_the_gap.offset, after_the_gap.line), (10, 3));
    }

    #[test]
    fn what_was_taken_in_is_not_taken_in_again() {
        let mut index = index(&[(0, 0, b"one\n")]);
        index.take(1, &chunk(0, 4, b"again\n"));
        index.pass(7);
        index.take(7, &chunk(0, 4, b"passed over\n"));
        assert_eq!(index.step(0).unwrap().end(), 4);
        assert_eq!(index.next(), 8);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn a_line_begins_in_the_span_that_is_named(
            letters in prop::collection::vec(prop_oneof![Just("\n"), Just("x")], 1..120),
            size in 1usize..90_000,
        ) {
            // Each x is long enough for a log to have many spans.
            let log = letters.concat().replace('x', &"x".repeat(2_000));
            let mut index = LogIndex::default();
            for (at, bytes) in log.as_bytes().chunks(size).enumerate() {
                index.take(at as u64 + 1, &chunk(0, (at * size) as u64, bytes));
            }
            let step = index.step(0).unwrap();
            let mut begin = 0;
            for (number, line) in (1..).zip(log.split_inclusive('\n')) {
                let span = step.at_line(number)[0];
                let next = step.at_line(number).get(1).copied();
                prop_assert!(span.offset <= begin, "line {} begins at {}: {:?}", number, begin, span);
                // No further back than needed: it begins in that span, or where the next one does.
                prop_assert!(next.is_none_or(|next| begin <= next.offset), "line {} begins at {}: {:?}", number, begin, span);
                begin += line.len() as u64;
            }
        }
    }
}
