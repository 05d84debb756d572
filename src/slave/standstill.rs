//! Noticing that the slave itself stood still.

use std::time::Duration;

use crate::model::Timestamp;

/// For that long a slave stood still, by its regular signs of life: one of them came too late.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Standstill {
    lasted: Duration,
    what: What,
}

/// What stood still.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    /// The slave's process, and nothing else.
    Process,
    /// Time itself, as a process counts it.
    Machine,
}

impl Standstill {
    /// As long as the master waits before it calls a slave silent.
    const ALLOWED: Duration = Duration::from_secs(45);

    /// Whether a sign of life at `now` comes too late after the one before, at `last`. `overdue` is how late it is by a
    /// timer, which does not count while the machine sleeps.
    pub(super) fn between(
        last: Timestamp,
        now: Timestamp,
        period: Duration,
        overdue: Duration,
    ) -> Option<Self> {
        let lasted = now.since(last).saturating_sub(period);
        let what = if overdue > lasted / 2 {
            What::Process
        } else {
            What::Machine
        };
        (lasted > Self::ALLOWED).then_some(Self { lasted, what })
    }

    /// Tells the owner; so many `builds` are under way.
    pub(super) fn tell(self, builds: usize) {
        let seconds = self.lasted.as_secs();
        match self.what {
            What::Process => tracing::warn!(
                code = "E-STANDSTILL",
                seconds,
                builds,
                "this slave was stopped, or got no turn, and the master may have called it silent; builds went on \
                 without it"
            ),
            What::Machine => tracing::warn!(
                code = "E-STANDSTILL",
                seconds,
                builds,
                "this machine slept, or its clock was set, and the master may have called this slave silent; if it \
                 slept, builds stood still too, and their time went on"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_that_is_more_than_45_s_late_tells_of_a_standstill_and_of_what() {
        let seconds = Duration::from_secs;
        // The sign before, this one, how late the timer is; what is told.
        let cases = [
            (100, 115, 0, None),
            (100, 160, 45, None),
            (100, 161, 46, Some((46, What::Process))),
            (100, 265, 150, Some((150, What::Process))),
            (100, 265, 2, Some((150, What::Machine))),
            // The clock was set back.
            (100, 20, 0, None),
        ];
        for (last, now, overdue, expected) in cases {
            let at = |second| Timestamp(0).after(seconds(second));
            let told = Standstill::between(at(last), at(now), seconds(15), seconds(overdue));
            let expected = expected.map(|(lasted, what)| Standstill {
                lasted: seconds(lasted),
                what,
            });
            assert_eq!(told, expected, "{last} {now} {overdue}");
        }
    }
}
