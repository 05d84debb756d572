//! The newest builds of a row, each with what it came to.

use crate::model::{BuildState, Timestamp, Verdict};

use super::build::BuildStatus;

/// One of a row's newest builds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recent {
    /// Its number.
    pub number: u64,
    /// What it came to; none while it may still go on.
    pub verdict: Option<Verdict>,
    /// How far it has come.
    pub state: BuildState,
}

impl Recent {
    pub(super) fn of(build: &BuildStatus, now: Timestamp) -> Self {
        Self {
            number: build.order.number,
            verdict: build.verdict(now),
            state: build.state,
        }
    }
}

/// How many of a row's newest builds are told of.
pub(super) const MAX_RECENT: usize = 20;

/// The newest of `builds`, oldest first. Those that answer a question about older code are left out.
pub(super) fn recent(builds: &[&BuildStatus], now: Timestamp) -> Vec<Recent> {
    let mut newest: Vec<_> = builds
        .iter()
        .rev()
        .filter(|build| build.order.experiment.is_none())
        .take(MAX_RECENT)
        .map(|build| Recent::of(build, now))
        .collect();
    newest.reverse();
    newest
}
