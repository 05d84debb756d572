//! A build: its name, its verdict, and the states that the scheduler and the board both fold from the reports.

use std::fmt;
use std::str::FromStr;

use super::{BuilderName, NameError, PayloadId, ReportBody, Timestamp};

/// One attempt, named `<builder>/<number>`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BuildId {
    /// The builder.
    pub builder: BuilderName,
    /// Counts up per builder.
    pub number: u64,
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.builder, self.number))
    }
}

/// Text that does not name a build.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BuildIdError {
    /// No `/` or no number after it.
    #[error("a build is named <builder>/<number>, such as foo-linux/42")]
    Form,
    /// The builder's part is no builder's name.
    #[error(transparent)]
    Builder(NameError),
}

impl FromStr for BuildId {
    type Err = BuildIdError;

    fn from_str(raw: &str) -> Result<Self, BuildIdError> {
        let (builder, number) = raw.split_once('/').ok_or(BuildIdError::Form)?;
        Ok(Self {
            builder: builder.parse().map_err(BuildIdError::Builder)?,
            number: number.parse().map_err(|_| BuildIdError::Form)?,
        })
    }
}

/// What a build, or a step of one, amounts to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything was well.
    Passed,
    /// Only steps that may fail did.
    Warned,
    /// The tests, or what leads up to them, failed.
    Failed,
    /// There was nothing to do, or the owner put it off.
    Skipped,
    /// The slave would not run it.
    Refused,
    /// It was called off.
    Cancelled,
    /// A step ran longer than it may.
    TimedOut,
    /// The machine, not the code, was at fault.
    Errored,
    /// Nobody knows.
    Lost,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 9] = [
        Self::Passed,
        Self::Warned,
        Self::Failed,
        Self::Skipped,
        Self::Refused,
        Self::Cancelled,
        Self::TimedOut,
        Self::Errored,
        Self::Lost,
    ];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed-out",
            Self::Errored => "errored",
            Self::Lost => "lost",
        }
    }

    /// What a script's exit status says: 0 passed, 75 (`EX_TEMPFAIL` of sysexits) errored, 77 (Automake's) skipped,
    /// any other failed.
    #[must_use]
    pub fn of_exit(status: u8) -> Self {
        match status {
            0 => Self::Passed,
            75 => Self::Errored,
            77 => Self::Skipped,
            _ => Self::Failed,
        }
    }

    /// The verdict over two steps of one build: the graver. Skipped outranks passed, because nothing that was left out
    /// may look green.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self.gravity() >= other.gravity() {
            self
        } else {
            other
        }
    }

    fn gravity(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Skipped => 1,
            Self::Warned => 2,
            Self::Failed => 3,
            Self::Errored => 4,
            Self::TimedOut => 5,
            Self::Cancelled => 6,
            Self::Refused => 7,
            Self::Lost => 8,
        }
    }

    /// Whether there is nothing to look into: passed, warned or skipped.
    #[must_use]
    pub fn is_well(self) -> bool {
        matches!(self, Self::Passed | Self::Warned | Self::Skipped)
    }

    /// Whether it says something about the code, rather than about the machine or the farm.
    #[must_use]
    pub fn is_about_the_code(self) -> bool {
        matches!(self, Self::Passed | Self::Warned | Self::Failed)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How far a build has come, as its slave's reports say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BuildState {
    /// Commanded; no word from the slave.
    #[default]
    Ordered,
    /// On the slave's record, and will run.
    Accepted,
    /// A step runs, or the next one is about to.
    Running {
        /// Which, from 0.
        step: u16,
        /// Since when, where that is known.
        since: Timestamp,
    },
    /// Over.
    Done {
        /// With what.
        verdict: Verdict,
        /// When, by the slave's clock.
        at: Timestamp,
    },
}

impl BuildState {
    /// The state after a report issued at `issued` that says `body`.
    ///
    /// Total, because the bus delivers at least once and in any order: repeats and late news of something already past
    /// are ordinary and change nothing. The first terminal report stands; `lost` alone gives way to a real verdict.
    #[must_use]
    pub fn after(self, body: &ReportBody, issued: Timestamp) -> Self {
        if let Self::Done { verdict, .. } = self
            && verdict != Verdict::Lost
        {
            return self;
        }
        if let Some(verdict) = body.verdict() {
            return match self {
                Self::Done { .. } if verdict == Verdict::Lost => self,
                Self::Ordered | Self::Accepted | Self::Running { .. } | Self::Done { .. } => {
                    Self::Done {
                        verdict,
                        at: issued,
                    }
                }
            };
        }
        match (self, body) {
            (Self::Ordered, ReportBody::Accepted { .. }) => Self::Accepted,
            (Self::Ordered | Self::Accepted, ReportBody::StepStarted { step, started, .. }) => {
                Self::Running {
                    step: *step,
                    since: *started,
                }
            }
            (
                Self::Running { step: reached, .. },
                ReportBody::StepStarted { step, started, .. },
            ) if *step > reached => Self::Running {
                step: *step,
                since: *started,
            },
            (Self::Ordered | Self::Accepted, ReportBody::StepFinished { step, .. }) => {
                Self::Running {
                    step: *step,
                    since: issued,
                }
            }
            (state, _) => state,
        }
    }

    /// The verdict at `now` of a build in this state that is lost after `lost_after`; none while it may still go on.
    ///
    /// A build gone silent is lost by computation, in every fold alike, signed by nobody.
    #[must_use]
    pub fn verdict(self, lost_after: Timestamp, now: Timestamp) -> Option<Verdict> {
        match self {
            Self::Done { verdict, .. } => Some(verdict),
            Self::Ordered | Self::Accepted | Self::Running { .. } if now > lost_after => {
                Some(Verdict::Lost)
            }
            Self::Ordered | Self::Accepted | Self::Running { .. } => None,
        }
    }
}

/// What a terminal report is beside one that a build has ended with already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecondEnd {
    /// It came again.
    Repeat,
    /// The slave had said that it does not know; now it does.
    Rescue,
    /// Two ends of one build: it is disputed, and counts for nothing.
    Contradiction,
}

impl SecondEnd {
    /// Judges `new` beside `held`, each a terminal report and its verdict.
    ///
    /// `lost` after a real end contradicts it: the slave's journal, which forgets no end, is not the one that it was.
    #[must_use]
    pub fn of(held: (PayloadId, Verdict), new: (PayloadId, Verdict)) -> Self {
        if held.0 == new.0 {
            Self::Repeat
        } else if held.1 == Verdict::Lost && new.1 != Verdict::Lost {
            Self::Rescue
        } else {
            Self::Contradiction
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Isolation, Network, Text};
    use proptest::prelude::*;

    fn finished(verdict: Verdict) -> ReportBody {
        ReportBody::Finished {
            verdict,
            log: Digest([0; 32]),
            isolation: Isolation::Plain,
            detail: None,
            network: Network::On,
        }
    }

    fn started(step: u16) -> ReportBody {
        ReportBody::StepStarted {
            step,
            name: "x".parse().unwrap(),
            started: Timestamp(u64::from(step)),
            script: Digest([0; 32]),
            mapped: None,
            isolation: Isolation::Plain,
            network: Network::On,
        }
    }

    fn lost() -> ReportBody {
        ReportBody::Lost {
            detail: Text::default(),
        }
    }

    #[test]
    fn a_late_verdict_rescues_a_lost_build_and_nothing_undoes_a_real_one() {
        let at = Timestamp(5);
        let state = BuildState::default()
            .after(&lost(), at)
            .after(&finished(Verdict::Passed), at);
        assert_eq!(
            state,
            BuildState::Done {
                verdict: Verdict::Passed,
                at
            }
        );
        assert_eq!(state.after(&lost(), at), state);
        assert_eq!(state.after(&finished(Verdict::Failed), at), state);
    }

    #[test]
    fn a_silent_build_is_lost_after_its_deadline_and_not_before() {
        let finish_by = Timestamp(100);
        assert_eq!(
            BuildState::Accepted.verdict(finish_by, Timestamp(100)),
            None
        );
        assert_eq!(
            BuildState::Accepted.verdict(finish_by, Timestamp(101)),
            Some(Verdict::Lost)
        );
    }

    #[test]
    fn only_a_real_end_after_lost_is_a_rescue() {
        let id = |n| PayloadId([n; 32]);
        let (lost, passed) = ((id(1), Verdict::Lost), (id(2), Verdict::Passed));
        assert_eq!(SecondEnd::of(passed, passed), SecondEnd::Repeat);
        assert_eq!(SecondEnd::of(lost, passed), SecondEnd::Rescue);
        for (held, new) in [
            (passed, lost),
            (passed, (id(3), Verdict::Passed)),
            (lost, (id(3), Verdict::Lost)),
        ] {
            assert_eq!(SecondEnd::of(held, new), SecondEnd::Contradiction);
        }
    }

    #[test]
    fn build_id_reads_what_it_writes() {
        let id: BuildId = "foo-linux/42".parse().unwrap();
        assert_eq!(id.to_string(), "foo-linux/42");
        for bad in ["foo", "foo/", "foo/x", "/1", "Foo/1", "foo/1/2", "foo/-1"] {
            assert!(bad.parse::<BuildId>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn reports_of_one_build_lead_to_one_state_in_any_order(order in Just((0..5).collect::<Vec<usize>>()).prop_shuffle()) {
            let news = [
                ReportBody::Accepted { received: Timestamp(0) },
                started(0),
                started(1),
                finished(Verdict::Failed),
                lost(),
            ];
            let state = order.iter().fold(BuildState::default(), |state, &i| state.after(&news[i], Timestamp(9)));
            prop_assert_eq!(state, BuildState::Done { verdict: Verdict::Failed, at: Timestamp(9) });
        }
    }
}
