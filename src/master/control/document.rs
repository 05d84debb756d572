//! What a running master answers, as data: for `--json`, and for the words on a terminal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a master does itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct StatusDocument {
    /// `starting`, `leads` or `stands-by`.
    pub role: String,
    /// The lease with which it leads, or the highest of any.
    pub lease: u64,
    /// Which process.
    pub instance: String,
    /// Since when it does what it does.
    pub since: String,
    /// The keyring in force.
    pub keyring: String,
    /// SHA-256 of its configuration.
    pub config: String,
    /// How far it has taken in each stream.
    pub streams: BTreeMap<String, u64>,
}

/// What waits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct QueueDocument {
    /// Which master says so.
    pub master: StatusDocument,
    /// The longest wait first.
    pub queue: Vec<QueueRow>,
}

/// Something that waits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct QueueRow {
    /// Of which builder.
    pub builder: String,
    /// On which slave.
    pub slave: String,
    /// Since when.
    pub since: String,
    /// What is wanted.
    pub what: String,
    /// The request that asks for it.
    pub request: Option<String>,
    /// A stable word for why it waits.
    pub reason: String,
    /// A sentence for the same.
    pub why: String,
    /// When that ends by itself.
    pub until: Option<String>,
}

/// How builders stand.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BuildersDocument {
    /// Which master says so.
    pub master: StatusDocument,
    /// By their names.
    pub builders: Vec<BuilderRow>,
}

/// How a builder stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BuilderRow {
    /// Which builder.
    pub builder: String,
    /// On which slave.
    pub slave: String,
    /// What it does.
    pub state: BuilderState,
    /// A sentence for why it waits, where it does.
    pub why: Option<String>,
    /// Until when, where that is known.
    pub until: Option<String>,
    /// The build in flight.
    pub building: Option<u64>,
    /// The newest build that is over.
    pub last: Option<LastBuild>,
    /// What it builds at: branches of repositories, and releases of a project.
    pub follows: Vec<String>,
}

/// What a builder does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuilderState {
    /// Nothing is wanted of it.
    Idle,
    /// A build is in flight.
    Building,
    /// Something is wanted, and waits.
    Waiting,
    /// Somebody paused it.
    Paused,
    /// It failed to say anything of the code again and again.
    SetAside,
}

impl BuilderState {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Building => "building",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::SetAside => "set aside",
        }
    }
}

/// A build that is over.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LastBuild {
    /// Its number.
    pub number: u64,
    /// Its verdict.
    pub verdict: String,
}

/// What came of reading the configuration again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReloadDocument {
    /// Whether it counts now.
    pub applied: bool,
    /// What is different, in a sentence.
    pub differences: String,
    /// Why it does not count: every mistake.
    pub mistakes: Vec<String>,
}
