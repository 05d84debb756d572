//! What waits, and why.

use std::fmt;

use crate::model::{
    BuildId, BuilderName, LockName, PayloadId, RequesterName, SlaveName, Text, Timestamp,
};

/// Something that is wanted of a builder, and not ordered yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// Of which builder.
    pub builder: BuilderName,
    /// On which slave.
    pub slave: SlaveName,
    /// Since when it is wanted.
    pub since: Timestamp,
    /// What: `3 changes`, or what was asked for.
    pub what: Text,
    /// The request that asks for it, where one does.
    pub request: Option<PayloadId>,
    /// Why it waits.
    pub reason: Reason,
}

/// Why something waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The builder builds.
    Building {
        /// Which build.
        build: BuildId,
    },
    /// As many builds are in flight on the slave as it takes.
    SlaveBusy {
        /// How many that are.
        capacity: u32,
    },
    /// Other builds hold a lock.
    Locked {
        /// Which lock.
        lock: LockName,
    },
    /// Something moved a moment ago; more may come.
    Quiet {
        /// Until when.
        until: Timestamp,
    },
    /// It builds at certain times.
    Scheduled {
        /// The next one.
        until: Timestamp,
    },
    /// It builds what another builder passed.
    After {
        /// Which builder.
        builder: BuilderName,
    },
    /// Somebody paused it.
    Paused {
        /// Until when.
        until: Timestamp,
        /// Who.
        by: RequesterName,
        /// Why.
        why: Text,
    },
    /// Build after build said nothing of the code.
    SetAside {
        /// How many in a row.
        streak: u32,
        /// Until when.
        until: Timestamp,
    },
    /// The build before it said nothing of the code, and is tried again.
    Retry {
        /// When.
        until: Timestamp,
        /// Which try it will be.
        attempt: u32,
    },
    /// The slave's owner put it off.
    Deferred {
        /// Until when.
        until: Timestamp,
    },
    /// One of its sources was never seen: there is nothing to build yet.
    Unseen,
    /// No slave on the roster serves the builder.
    NotServed,
    /// The slave is not heard of.
    Silent {
        /// Since when.
        since: Timestamp,
    },
}

impl Reason {
    /// When it ends by itself, if time alone ends it.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Quiet { until }
            | Self::Scheduled { until }
            | Self::Paused { until, .. }
            | Self::SetAside { until, .. }
            | Self::Retry { until, .. }
            | Self::Deferred { until } => Some(*until),
            Self::Building { .. }
            | Self::SlaveBusy { .. }
            | Self::Locked { .. }
            | Self::After { .. }
            | Self::Unseen
            | Self::NotServed
            | Self::Silent { .. } => None,
        }
    }

    /// Stable word, for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Building { .. } => "building",
            Self::SlaveBusy { .. } => "slave-busy",
            Self::Locked { .. } => "locked",
            Self::Quiet { .. } => "quiet",
            Self::Scheduled { .. } => "scheduled",
            Self::After { .. } => "after",
            Self::Paused { .. } => "paused",
            Self::SetAside { .. } => "set-aside",
            Self::Retry { .. } => "retry",
            Self::Deferred { .. } => "deferred",
            Self::Unseen => "unseen",
            Self::NotServed => "not-served",
            Self::Silent { .. } => "silent",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Building { build } => write!(f, "{build} is not over"),
            Self::SlaveBusy { capacity: 1 } => f.write_str("its slave has a build in flight"),
            Self::SlaveBusy { capacity } => write!(f, "its slave has {capacity} builds in flight"),
            Self::Locked { lock } => write!(f, "lock {lock} is held"),
            Self::Quiet { until } => write!(f, "something moved a moment ago; until {until}"),
            Self::Scheduled { until } => write!(f, "scheduled for {until}"),
            Self::After { builder } => write!(f, "{builder} has not passed it"),
            Self::Paused { until, by, why } => write!(f, "paused by {by} until {until}: {why}"),
            Self::SetAside { streak, until } => write!(
                f,
                "set aside until {until}: {streak} builds in a row said nothing of the code"
            ),
            Self::Retry { until, attempt } => write!(f, "attempt {attempt} at {until}"),
            Self::Deferred { until } => write!(f, "put off by the slave's owner until {until}"),
            Self::Unseen => f.write_str("one of its sources was never seen; the log says why"),
            Self::NotServed => f.write_str("no slave on the roster serves it"),
            Self::Silent { since } => write!(f, "its slave is silent since {since}"),
        }
    }
}
