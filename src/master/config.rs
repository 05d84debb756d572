//! `master.toml`: what is watched, and which builder builds what.

mod builder;
mod faults;
mod file;
mod matrix;
mod order;
mod paths;
mod recipe;
mod reload;
mod requester;
mod schedule;
mod section;
mod stanza;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use builder::{Builder, Collapse, Retry, Unchanged};
pub use faults::MasterConfigError;
pub use paths::PathFilter;
pub use reload::{Changed, Differences};
pub use requester::{Everything, Requester};
pub use schedule::{Schedule, ScheduleError};

use super::watch::RemoteUrl;
use crate::bus::BusAddress;
use crate::model::{
    Branch, BuilderName, FarmId, LockName, ProjectName, RepositoryName, RequesterName, SlaveName,
    Text,
};

/// What a master leads, ready to act on.
#[derive(Clone, Debug)]
pub struct MasterConfig {
    /// The farm.
    pub farm: FarmId,
    /// Where the bus is.
    pub bus: BusAddress,
    /// The file of the keyring in force.
    pub keyring: PathBuf,
    /// The file of the signing key, or `credential:NAME`.
    pub signing_key: PathBuf,
    /// The file of the bus login's seed, or `credential:NAME`.
    pub bus_key: PathBuf,
    /// Folder of the mirrors; may be deleted at any time.
    pub state: PathBuf,
    /// Time between two heads.
    pub head_period: Duration,
    /// How long nothing may come from a slave before it counts as silent.
    pub silence: Duration,
    /// What is watched.
    pub repositories: BTreeMap<RepositoryName, Repository>,
    /// Who builds what.
    pub builders: BTreeMap<BuilderName, Builder>,
    /// How long a leading master that is not heard of may still be alive.
    pub lease: Duration,
    /// Who may ask for what.
    pub requesters: BTreeMap<RequesterName, Requester>,
    /// Where releases of projects are looked for.
    pub releases: BTreeMap<ProjectName, ReleaseSource>,
    /// What is known of slaves; of others the defaults hold.
    pub slaves: BTreeMap<SlaveName, SlaveRules>,
    /// How many builds may hold each lock at one time; of others it is one.
    pub locks: BTreeMap<LockName, u32>,
    /// Where metrics and health are served, if they are.
    pub telemetry: Option<SocketAddr>,
    /// The public nkey of the listener for webhooks, if there is one.
    pub hooks: Option<String>,
}

/// What holds for one slave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SlaveRules {
    /// Most builds that are in flight on it at one time.
    pub capacity: u32,
}

impl Default for SlaveRules {
    /// One, as many as a slave runs at once by default.
    fn default() -> Self {
        Self { capacity: 1 }
    }
}

/// Where releases of a project are looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReleaseSource {
    /// Where.
    pub place: ReleasePlace,
    /// Whether versions such as `2.0rc1` count.
    pub pre_releases: PreReleases,
    /// Time between two looks.
    pub poll_period: Duration,
    /// Longest that one look may take.
    pub patience: Duration,
}

/// Where releases are found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReleasePlace {
    /// Tags of a watched repository.
    Tags {
        /// Which repository.
        repository: RepositoryName,
        /// What stands before the version in a tag, such as `v`.
        prefix: Text,
    },
    /// The page of the project in a package index (PEP 691), `https://…/simple/<project>/`.
    Index(Text),
    /// Only requests announce them.
    Requests,
}

/// Whether versions such as `2.0rc1` count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PreReleases {
    /// They do.
    Count,
    /// They do not.
    Skip,
}

/// A watched repository.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Repository {
    /// Where it is.
    pub url: RemoteUrl,
    /// Which branches are watched.
    pub branches: Vec<Branch>,
    /// Time between two looks.
    pub poll_period: Duration,
    /// Longest that one look may take.
    pub patience: Duration,
}
