//! A builder, as the scheduler knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{PathFilter, Schedule};
use crate::model::{Branch, BuilderName, LockName, ProjectName, RepositoryName, SlaveName, Step};

/// A recipe on one slave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Builder {
    /// The slave.
    pub slave: SlaveName,
    /// Whose tests.
    pub project: ProjectName,
    /// What is checked out; a move of any of them wants a build.
    pub sources: BTreeMap<RepositoryName, Branch>,
    /// How long a command stays acceptable.
    pub accept_window: Duration,
    /// What is run. `{release}` in a parameter stands for the version of the followed release.
    pub steps: Vec<Step>,
    /// Which paths of a repository matter; of one that is not here, all do.
    pub paths: BTreeMap<RepositoryName, PathFilter>,
    /// The project whose releases want a build.
    pub release: Option<ProjectName>,
    /// How long an accepted build may wait for its first step.
    pub start_window: Duration,
    /// How long nothing may have moved before it builds.
    pub quiet: Duration,
    /// What becomes of changes that come while it is busy.
    pub collapse: Collapse,
    /// 0 to 100: the higher, the sooner.
    pub priority: u8,
    /// What it holds while it builds.
    pub locks: BTreeSet<LockName>,
    /// Builders that must have passed what it builds.
    pub after: BTreeSet<BuilderName>,
    /// When it builds, if not at every change.
    pub schedule: Option<Schedule>,
    /// Whether a schedule's moment wants a build though nothing changed.
    pub unchanged: Unchanged,
    /// What becomes of builds that say nothing of the code.
    pub retry: Retry,
}

impl Builder {
    /// A builder of which nothing is said but what must be. It builds from nothing.
    #[must_use]
    pub fn new(slave: SlaveName, project: ProjectName, steps: Vec<Step>) -> Self {
        Self {
            slave,
            project,
            sources: BTreeMap::new(),
            accept_window: Duration::from_secs(3600),
            steps,
            paths: BTreeMap::new(),
            release: None,
            start_window: Duration::from_secs(3600),
            quiet: Duration::ZERO,
            collapse: Collapse::Newest,
            priority: 50,
            locks: BTreeSet::new(),
            after: BTreeSet::new(),
            schedule: None,
            unchanged: Unchanged::Skip,
            retry: Retry::default(),
        }
    }
}

/// What becomes of changes that come while a builder is busy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Collapse {
    /// One build at the newest of them.
    Newest,
    /// One build each, in their order.
    Every,
}

/// Whether a schedule's moment wants a build though nothing changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unchanged {
    /// It does.
    Build,
    /// It does not.
    Skip,
}

/// What becomes of builds that end lost, errored or deferred.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    /// How often such a build is tried again at most.
    pub most: u32,
    /// How long to wait before the first retry; before each further one twice as long, up to an hour.
    pub wait: Duration,
    /// After so many builds in a row that say nothing of the code, the builder is set aside.
    pub set_aside_after: u32,
    /// For how long, the first time; then twice as long each time, up to a day.
    pub set_aside_for: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            most: 2,
            wait: Duration::from_secs(60),
            set_aside_after: 5,
            set_aside_for: Duration::from_secs(3600),
        }
    }
}
