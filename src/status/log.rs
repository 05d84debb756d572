//! A log, put together from its chunks.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::{LogChunk, Outcome};
use crate::trust::Sha256;

use super::tail::Unproven;

/// A piece of a build's log, in the order in which it is to be shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LogPiece {
    /// What a script printed.
    Bytes {
        /// Which step, from 0.
        step: u16,
        /// Where in that step's output.
        offset: u64,
        /// The output, not yet safe for a terminal.
        bytes: Bytes,
    },
    /// The stream does not hold this part.
    Missing {
        /// Which step, from 0.
        step: u16,
        /// Where in that step's output.
        offset: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// The slave has signed two texts for one place; the first is shown.
    Conflict {
        /// Which step, from 0.
        step: u16,
        /// Where in that step's output.
        offset: u64,
    },
    /// The slave cut the output off at its owner's cap.
    Cut {
        /// Which step, from 0.
        step: u16,
        /// How many bytes.
        bytes: u64,
    },
    /// All is there, but it is not what the slave's own digest names.
    OtherDigest {
        /// Which step, from 0.
        step: u16,
    },
    /// A message in this log's place that does not verify, or is about another command; nothing of it is shown.
    Unproven(Unproven),
}

impl LogPiece {
    /// Which step it belongs to, from 0.
    #[must_use]
    pub fn step(&self) -> Option<u16> {
        match self {
            Self::Bytes { step, .. }
            | Self::Missing { step, .. }
            | Self::Conflict { step, .. }
            | Self::Cut { step, .. }
            | Self::OtherDigest { step } => Some(*step),
            Self::Unproven(_) => None,
        }
    }
}

/// What is said where the slave cut a log off.
pub(super) fn cut_off(bytes: u64) -> String {
    format!("{bytes} bytes more were printed and cut off at the owner's limit")
}

/// Puts one build's chunks together. Chunks may overlap; each byte is given out once, in order within its step, and what
/// is passed over is named as missing.
#[derive(Default)]
pub struct LogAssembly {
    steps: BTreeMap<u16, StepLog>,
}

#[derive(Default)]
struct StepLog {
    /// How far it has been given out.
    next: u64,
    /// What was given out; runs that do not overlap.
    held: BTreeMap<u64, Bytes>,
    hash: Sha256,
    /// Whether a gap or a contradiction makes the hash meaningless.
    broken: bool,
}

impl LogAssembly {
    /// Takes in a chunk; returns what can be shown now.
    pub fn take(&mut self, chunk: &LogChunk) -> Vec<LogPiece> {
        let step = chunk.step;
        let log = self.steps.entry(step).or_default();
        let mut pieces = Vec::new();
        // Past what 64 bits can count is no honest offset; nothing of it is shown.
        let Some(end) = chunk.offset.checked_add(chunk.bytes.len() as u64) else {
            return vec![LogPiece::Conflict {
                step,
                offset: chunk.offset,
            }];
        };
        if let Some(offset) = log.contradiction(chunk.offset, &chunk.bytes) {
            log.broken = true;
            pieces.push(LogPiece::Conflict { step, offset });
        }
        if chunk.offset > log.next {
            log.broken = true;
            pieces.push(LogPiece::Missing {
                step,
                offset: log.next,
                bytes: chunk.offset - log.next,
            });
            log.next = chunk.offset;
        }
        let known = usize::try_from(log.next.saturating_sub(chunk.offset)).unwrap_or(usize::MAX);
        if known < chunk.bytes.len() {
            let bytes = chunk.bytes.slice(known..);
            log.hash.update(&bytes);
            log.held.insert(log.next, bytes.clone());
            pieces.push(LogPiece::Bytes {
                step,
                offset: log.next,
                bytes,
            });
            log.next = end;
        }
        pieces
    }

    /// Whether all of a step's output that the slave kept has been taken in.
    #[must_use]
    pub fn has_all(&self, step: u16, outcome: &Outcome) -> bool {
        let next = self.steps.get(&step).map_or(0, |log| log.next);
        next >= outcome.log_bytes
    }

    /// What is to be said at the end of a step: what never came, what was cut off, and whether all of it is what the
    /// slave's digest names.
    #[must_use]
    pub fn end(&self, step: u16, outcome: &Outcome) -> Vec<LogPiece> {
        let mut pieces = Vec::new();
        let unseen = StepLog::default();
        let log = self.steps.get(&step).unwrap_or(&unseen);
        if log.next < outcome.log_bytes {
            pieces.push(LogPiece::Missing {
                step,
                offset: log.next,
                bytes: outcome.log_bytes - log.next,
            });
        } else if !log.broken && log.hash.clone().finish() != outcome.log {
            pieces.push(LogPiece::OtherDigest { step });
        }
        if outcome.log_cut > 0 {
            pieces.push(LogPiece::Cut {
                step,
                bytes: outcome.log_cut,
            });
        }
        pieces
    }
}

impl StepLog {
    /// The first place where `bytes` at `offset` differ from what was given out.
    fn contradiction(&self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let end = offset.saturating_add(bytes.len() as u64);
        // The run that begins before `offset` may reach into it.
        let first = self.held.range(..=offset).next_back().map(|(at, _)| *at);
        for (at, held) in self.held.range(first.unwrap_or(offset)..end) {
            let from = offset.max(*at);
            let to = end.min(at + held.len() as u64);
            let part = |base: u64, of: &[u8]| {
                let range = usize::try_from(from - base).ok()?..usize::try_from(to - base).ok()?;
                of.get(range).map(<[u8]>::to_vec)
            };
            if from < to {
                let (ours, theirs) = (part(*at, held)?, part(offset, bytes)?);
                if let Some(differs) = ours.iter().zip(&theirs).position(|(a, b)| a != b) {
                    return Some(from + differs as u64);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, ReportBody};
    use crate::status::sample::{chunk, ended, log_digest};
    use proptest::prelude::*;

    fn outcome(log_bytes: u64, log_cut: u64, log: Digest) -> Outcome {
        let ReportBody::StepFinished { outcome, .. } = ended(0, 0) else {
            panic!("another report")
        };
        Outcome {
            log,
            log_bytes,
            log_cut,
            ..outcome
        }
    }

    /// What is shown of chunks of step 0, as text: bytes as they are, and in brackets what is said of them.
    fn shown(chunks: &[(u64, &str)], outcome: Option<&Outcome>) -> String {
        let mut assembly = LogAssembly::default();
        let mut pieces = Vec::new();
        for (offset, text) in chunks {
            pieces.extend(assembly.take(&chunk(0, *offset, text.as_bytes())));
        }
        pieces.extend(outcome.iter().flat_map(|outcome| assembly.end(0, outcome)));
        let text = pieces.into_iter().map(|piece| match piece {
            LogPiece::Bytes { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
            LogPiece::Missing { offset, bytes, .. } => format!("[missing {bytes} at {offset}]"),
            LogPiece::Conflict { offset, .. } => format!("[conflict at {offset}]"),
            LogPiece::Cut { bytes, .. } => format!("[cut {bytes}]"),
            LogPiece::OtherDigest { .. } => "[other digest]".to_owned(),
            LogPiece::Unproven(_) => "[unproven]".to_owned(),
        });
        text.collect()
    }

    #[test]
    fn each_byte_is_shown_once_and_what_is_missing_is_named() {
        let cases: &[(&[(u64, &str)], &str)] = &[
            (&[], ""),
            (&[(0, "abc"), (3, "def")], "abcdef"),
            (&[(0, "abc"), (0, "abc"), (3, "d")], "abcd"),
            (&[(0, "abc"), (1, "bcde")], "abcde"),
            (&[(0, "abc"), (1, "b")], "abc"),
            (&[(0, "abc"), (5, "f")], "abc[missing 2 at 3]f"),
            (&[(2, "c"), (3, "d")], "[missing 2 at 0]cd"),
            (&[(0, "abc"), (1, "xcd")], "abc[conflict at 1]d"),
            (&[(0, "abc"), (3, "de"), (2, "cdX")], "abcde[conflict at 4]"),
            (&[(0, "abc"), (0, "aXcd")], "abc[conflict at 1]d"),
            (&[(0, ""), (0, "a")], "a"),
            (&[(u64::MAX, "ab")], "[conflict at 18446744073709551615]"),
        ];
        for (chunks, expected) in cases {
            assert_eq!(shown(chunks, None), *expected, "{chunks:?}");
        }
    }

    #[test]
    fn the_end_of_a_step_says_what_never_came_and_whether_the_digest_is_right() {
        let (abc, other) = (log_digest(b"abc"), log_digest(b"abd"));
        let cases = [
            (vec![(0, "abc")], outcome(3, 0, abc), "abc"),
            (vec![(0, "abc")], outcome(3, 9, abc), "abc[cut 9]"),
            (vec![(0, "abc")], outcome(3, 0, other), "abc[other digest]"),
            (vec![(0, "ab")], outcome(3, 0, abc), "ab[missing 1 at 2]"),
            (vec![], outcome(3, 0, abc), "[missing 3 at 0]"),
            (vec![], outcome(0, 0, log_digest(b"")), ""),
            // What is not whole has no digest to compare.
            (vec![(1, "bc")], outcome(3, 0, abc), "[missing 1 at 0]bc"),
        ];
        for (chunks, outcome, expected) in cases {
            assert_eq!(shown(&chunks, Some(&outcome)), expected, "{outcome:?}");
        }
    }

    proptest! {
        #[test]
        fn a_log_sent_in_overlapping_chunks_is_the_log(
            log in "[a-z]{0,40}",
            back in prop::collection::vec((1usize..8, 0usize..8), 0..40),
        ) {
            let mut chunks = Vec::new();
            let mut end = 0;
            for (length, overlap) in back {
                let from = end - overlap.min(end);
                let to = log.len().min(from + length);
                chunks.push((from as u64, &log[from..to]));
                end = end.max(to);
            }
            prop_assert_eq!(shown(&chunks, None), &log[..end]);
        }
    }
}
