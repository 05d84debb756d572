//! This machine's clock against the bus's.

use std::time::Duration;

use super::finding::Judgement;
use crate::model::{Build, Timestamp};
use crate::status::text::span;

/// Something that says how the two clocks stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sample {
    /// The server said its time between these two moments of ours.
    Asked {
        sent: Timestamp,
        server: Timestamp,
        received: Timestamp,
    },
    /// The server stored something at its time, and it was here at ours: ours cannot be earlier.
    Stored {
        server: Timestamp,
        received: Timestamp,
    },
}

/// The best sample decides: one that was asked for, with the shortest way.
pub(super) fn judge(samples: &[Sample]) -> Judgement {
    let best = samples.iter().min_by_key(|sample| match sample {
        Sample::Asked { sent, received, .. } => (0, received.since(*sent)),
        Sample::Stored { .. } => (1, Duration::ZERO),
    });
    match best {
        None => Judgement::skip("not compared: no bus told its time"),
        Some(Sample::Asked {
            sent,
            server,
            received,
        }) => {
            let half = received.since(*sent) / 2;
            let ours = sent.after(half);
            judge_offset(*server, ours, half)
        }
        Some(Sample::Stored { server, received }) if server <= received => Judgement::ok(
            "not behind the newest message; this login cannot ask the bus for its time",
        ),
        Some(Sample::Stored { server, received }) => {
            judge_offset(*server, *received, Duration::ZERO)
        }
    }
}

fn judge_offset(server: Timestamp, ours: Timestamp, uncertain: Duration) -> Judgement {
    let (off, direction) = if ours < server {
        (server.since(ours), "behind")
    } else {
        (ours.since(server), "ahead of")
    };
    let limit = Build::CLOCK_SKEW;
    let found = format!(
        "{} {direction} the bus, give or take {}; {} s are allowed",
        span(off),
        span(uncertain),
        limit.as_secs()
    );
    let sure = off.saturating_sub(uncertain);
    let fix = "timedatectl set-ntp true (if this clock is right, it is the bus's that is wrong: tell the operator)";
    if sure > limit {
        Judgement::fail(
            found,
            "commands and heads count as stale or as from the future, so they are refused",
            fix,
        )
    } else if sure > limit / 2 {
        Judgement::warn(found, "a little more, and commands are refused", fix)
    } else {
        Judgement::ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    #[test]
    fn half_of_what_is_allowed_warns_and_more_than_all_of_it_fails() {
        let cases = [
            (1000, State::Ok),
            (1060, State::Ok),
            (940, State::Ok),
            (1062, State::Warn),
            (938, State::Warn),
            (1122, State::Fail),
            (878, State::Fail),
        ];
        for (ours, expected) in cases {
            let sample = Sample::Asked {
                sent: at(ours - 1),
                server: at(1000),
                received: at(ours + 1),
            };
            assert_eq!(judge(&[sample]).state(), expected, "{ours}");
        }
    }

    #[test]
    fn a_slow_answer_is_no_reason_to_doubt_the_clock() {
        let sample = Sample::Asked {
            sent: at(1000),
            server: at(1000),
            received: at(1200),
        };
        assert_eq!(judge(&[sample]).state(), State::Ok);
    }

    #[test]
    fn a_stored_message_only_tells_of_a_clock_that_is_behind() {
        for (ours, expected) in [
            (1000, State::Ok),
            (9000, State::Ok),
            (930, State::Warn),
            (800, State::Fail),
        ] {
            let sample = Sample::Stored {
                server: at(1000),
                received: at(ours),
            };
            assert_eq!(judge(&[sample]).state(), expected, "{ours}");
        }
    }

    #[test]
    fn an_answer_counts_more_than_a_stored_message() {
        let asked = Sample::Asked {
            sent: at(2000),
            server: at(1000),
            received: at(2000),
        };
        let stored = Sample::Stored {
            server: at(1000),
            received: at(2000),
        };
        assert_eq!(judge(&[stored, asked]).state(), State::Fail);
        assert_eq!(judge(&[]).state(), State::Skip);
    }
}
