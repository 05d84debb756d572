//! A clock that jumps: noticed by what has gone by meanwhile, and judged by the server's time.
//!
//! Pure. By a clock that is an hour ahead every build would look lost, and be ordered again.

use std::time::Duration;

use crate::model::{Build, Timestamp};

/// Microseconds, of either sign.
type Span = i128;

/// Watches the clock.
#[derive(Debug)]
pub(super) struct ClockWatch {
    /// What the clock was ahead of what had gone by since the process began.
    offset: Span,
    /// What it was ahead of the server's time when it was trusted.
    ahead: Option<Span>,
    /// Whether it jumped, and was not found right since then.
    doubted: bool,
}

/// What the server's time says of the clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Judgement {
    /// It was not in doubt.
    AsBefore,
    /// It is right again.
    Right,
    /// It is not.
    Wrong,
}

impl ClockWatch {
    /// More than a clock is corrected by in the ordinary course.
    const JUMP: Span = 60_000_000;

    pub(super) fn new(now: Timestamp, uptime: Duration) -> Self {
        Self {
            offset: offset(now, uptime),
            ahead: None,
            doubted: false,
        }
    }

    /// Whether nothing should be decided by the clock.
    pub(super) fn is_doubted(&self) -> bool {
        self.doubted
    }

    /// Looks at the clock. Gives by how many seconds it has jumped since the last time, if it has.
    pub(super) fn look(&mut self, now: Timestamp, uptime: Duration) -> Option<i64> {
        let offset = offset(now, uptime);
        let jump = offset - std::mem::replace(&mut self.offset, offset);
        if jump.abs() < Self::JUMP {
            return None;
        }
        self.doubted = true;
        i64::try_from(jump / 1_000_000).ok()
    }

    /// Judges by the server's time. A server may be wrong, too: if the clock is ahead of it by as much as before, the
    /// machine has slept, and nothing was set.
    pub(super) fn judge(&mut self, now: Timestamp, server: Timestamp) -> Judgement {
        let ahead = Span::from(now.0) - Span::from(server.0);
        let skew = Span::try_from(Build::CLOCK_SKEW.as_micros()).unwrap_or(Span::MAX);
        let as_before = self
            .ahead
            .is_some_and(|before| (ahead - before).abs() <= skew);
        if self.doubted && ahead.abs() > skew && !as_before {
            return Judgement::Wrong;
        }
        self.ahead = Some(ahead);
        if std::mem::take(&mut self.doubted) {
            Judgement::Right
        } else {
            Judgement::AsBefore
        }
    }
}

fn offset(now: Timestamp, uptime: Duration) -> Span {
    Span::from(now.0) - Span::try_from(uptime.as_micros()).unwrap_or(Span::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    fn at(second: u64) -> Timestamp {
        Timestamp(second * 1_000_000)
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_that_goes_and_is_corrected_a_little_is_not_doubted() {
        let mut watch = ClockWatch::new(at(10_000), secs(0));
        for second in 1..1_000 {
            assert_eq!(watch.look(at(10_000 + 2 * second), secs(second)), None);
        }
        assert!(!watch.is_doubted());
    }

    #[test]
    fn a_clock_set_an_hour_either_way_is_doubted_until_it_agrees_with_the_bus() {
        for (set, jump) in [(at(10_001 + HOUR), 3_600), (at(10_001 - HOUR), -3_600)] {
            let mut watch = ClockWatch::new(at(10_000), secs(0));
            assert_eq!(watch.judge(at(10_000), at(10_000)), Judgement::AsBefore);
            assert_eq!(watch.look(set, secs(1)), Some(jump));
            assert!(watch.is_doubted());
            assert_eq!(watch.judge(set, at(10_001)), Judgement::Wrong);
            assert!(watch.is_doubted());
            assert_eq!(watch.look(at(10_100), secs(100)), Some(-jump));
            assert_eq!(watch.judge(at(10_100), at(10_100)), Judgement::Right);
            assert!(!watch.is_doubted());
        }
    }

    #[test]
    fn a_machine_that_slept_goes_on_though_the_clock_of_the_bus_was_never_right() {
        let mut watch = ClockWatch::new(at(10_000), secs(0));
        assert_eq!(watch.judge(at(10_000), at(5_000)), Judgement::AsBefore);
        assert!(watch.look(at(10_000 + HOUR), secs(1)).is_some());
        let server = at(5_000 + HOUR);
        assert_eq!(watch.judge(at(10_000 + HOUR), server), Judgement::Right);
    }
}
