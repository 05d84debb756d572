//! A row of the board: what one builder last said of the code, and what it does now.

use crate::model::{
    Branch, BuildState, BuilderName, ChainFaults, ClockOffset, CommandId, ProjectName,
    RepositoryName, RosterLine, SlaveName, SlaveState, Source, Text, Timestamp, Verdict,
};

use super::recent::Recent;

/// One builder and the branches that it tests together. A builder that also tests another branch has another row for that,
/// so that what passed on one branch never hides what failed on the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// The builder.
    pub builder: BuilderName,
    /// Whose tests; unknown before the first command.
    pub project: Option<ProjectName>,
    /// The branches; none before the first command.
    pub branches: Vec<(RepositoryName, Branch)>,
    /// The slave that serves the builder.
    pub slave: Option<SlaveName>,
    /// That slave's standing.
    pub standing: SlaveStanding,
    /// When it last said that it is alive, by its own clock.
    pub last_seen: Option<Timestamp>,
    /// Whether there is no recent sign of it.
    pub silent: bool,
    /// Until when its owner has paused it.
    pub paused_until: Option<Timestamp>,
    /// Its clock against the master's, as it says itself.
    pub clock: Option<ClockOffset>,
    /// What is wrong with the chain of its reports.
    pub chain: ChainFaults,
    /// The last word on the code.
    pub last_word: Option<LastWord>,
    /// How many changes of these branches came after what the last word is about; unknown if the streams do not tell.
    pub behind: Option<usize>,
    /// The newest build, if it is over and not the last word: what came in between the machine and the code.
    pub newest: Option<Newest>,
    /// What runs, or is about to.
    pub running: Option<Running>,
    /// How many more builds are ordered and not over.
    pub waiting: usize,
    /// The newest builds, oldest first.
    pub recent: Vec<Recent>,
}

/// The newest verdict about the code, and since when it has been that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LastWord {
    /// The verdict: passed, warned or failed.
    pub verdict: Verdict,
    /// The number of the build that says so.
    pub number: u64,
    /// What that build tested.
    pub sources: Vec<Source>,
    /// When it ended.
    pub at: Timestamp,
    /// When the first build of the present run of equal verdicts ended.
    pub since: Timestamp,
    /// That build's number.
    pub since_number: u64,
    /// Whether the run may be older than that: what came before is no longer on record.
    pub or_longer: bool,
    /// Whether the slave has contradicted itself about that build.
    pub disputed: bool,
}

/// A newest build that is over and says nothing about the code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Newest {
    /// Its number.
    pub number: u64,
    /// What it came to.
    pub verdict: Verdict,
    /// The stable code, if it was refused.
    pub code: Option<Text>,
}

/// A build that is not over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Running {
    /// Its number.
    pub number: u64,
    /// How far it is; never done.
    pub state: BuildState,
    /// How many steps it has.
    pub steps: usize,
    /// The name of the step that runs.
    pub step_name: Option<CommandId>,
    /// Since when it is in that state: ordered, received, or the step started.
    pub since: Timestamp,
}

/// What a slave is to the farm.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlaveStanding {
    /// In full standing.
    Active,
    /// New: its results are shown and marked, and count nowhere.
    Probation,
    /// Set aside by the operator.
    Paused,
    /// Cut off by the operator.
    Revoked,
    /// It has left.
    Closed,
    /// The roster does not name it.
    Unlisted,
}

/// The one word for a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown {
    /// What the newest code that the streams know of came to, as far as it was built.
    Verdict(Verdict),
    /// That was so once, but there is newer code and nobody at work on it, or the slave no longer counts.
    Stale(Verdict),
    /// Nothing was ever said about the code.
    Unknown,
}

impl Row {
    /// The one word for the row. Green is never shown for what is not known.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let Some(word) = &self.last_word else {
            return Shown::Unknown;
        };
        let counts = match self.standing {
            SlaveStanding::Active | SlaveStanding::Probation | SlaveStanding::Paused => true,
            SlaveStanding::Closed | SlaveStanding::Unlisted => self.behind == Some(0),
            SlaveStanding::Revoked => false,
        };
        if counts && (self.behind == Some(0) || !self.silent) {
            Shown::Verdict(word.verdict)
        } else {
            Shown::Stale(word.verdict)
        }
    }
}

impl SlaveStanding {
    pub(super) fn of(line: &RosterLine) -> Self {
        match (line.state, line.closed) {
            (SlaveState::Revoked, _) => Self::Revoked,
            (_, Some(_)) => Self::Closed,
            (SlaveState::Paused, None) => Self::Paused,
            (SlaveState::Probation, None) => Self::Probation,
            (SlaveState::Active, None) => Self::Active,
        }
    }
}
