//! The signed list of slaves, their keys and builders.

use super::{BuilderName, FarmId, Position, PublicKey, SlaveName, Text, Timestamp};

/// Who may report, as whom, for which builders. Lines are closed, never removed, so that old results stay verifiable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Roster {
    /// The farm.
    pub farm: FarmId,
    /// Counts up by one.
    pub version: u64,
    /// The keyring in force when it was signed.
    pub keyring: Position,
    /// When it was signed.
    pub issued: Timestamp,
    /// The slaves, open and closed.
    pub lines: Vec<RosterLine>,
}

/// One slave with one pair of keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RosterLine {
    /// The slave.
    pub slave: SlaveName,
    /// The key that signs what it reports.
    pub report_key: PublicKey,
    /// The key of its NATS login; never the same as the report key.
    pub bus_key: PublicKey,
    /// The owner, as they wish to be named.
    pub owner: Text,
    /// The machine, as its owner describes it.
    pub platform: Text,
    /// The builders it serves.
    pub builders: Vec<BuilderName>,
    /// Its standing.
    pub state: SlaveState,
    /// When the operator approved it.
    pub approved: Timestamp,
    /// When the line was closed; an open line has none.
    pub closed: Option<Timestamp>,
}

/// A slave's standing in the farm.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlaveState {
    /// New: its results are shown and marked, and count nowhere.
    Probation,
    /// In full standing.
    Active,
    /// Set aside by the operator.
    Paused,
    /// Cut off.
    Revoked,
}

impl Roster {
    /// The open line of `slave`.
    #[must_use]
    pub fn line(&self, slave: &SlaveName) -> Option<&RosterLine> {
        self.lines
            .iter()
            .find(|line| line.slave == *slave && line.closed.is_none())
    }

    /// Whether `builder` is one of those that `slave` serves.
    #[must_use]
    pub fn serves(&self, slave: &SlaveName, builder: &BuilderName) -> bool {
        let line = self.line(slave);
        line.is_some_and(|line| line.builders.contains(builder))
    }
}

impl RosterLine {
    /// Whether commands may be sent to it.
    #[must_use]
    pub fn takes_commands(&self) -> bool {
        self.closed.is_none() && matches!(self.state, SlaveState::Probation | SlaveState::Active)
    }
}
