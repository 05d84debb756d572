//! What a person with a requester key asks of the master, and what the master answers.

use super::{
    BuildId, BuilderName, FarmId, InstanceId, PayloadId, ProjectName, RequesterName, Source, Text,
    Timestamp, Version,
};
use std::time::Duration;

/// A signed wish. The master decides by its own configuration whether it is granted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The farm.
    pub farm: FarmId,
    /// Who asks.
    pub requester: RequesterName,
    /// Random, so that the same wish can be made twice.
    pub nonce: InstanceId,
    /// When, by the requester's clock.
    pub issued: Timestamp,
    /// Why. It goes into the command.
    pub reason: Text,
    /// What is asked for.
    pub wish: Wish,
}

impl Request {
    /// A request is acted on for so long; later it was forgotten, or is a replay.
    pub const VALIDITY: Duration = Duration::from_secs(3600);
    /// Requests and their answers are kept for so long; later nothing is done about them.
    pub const MEMORY: Duration = Duration::from_secs(7 * 24 * 3600);
    /// Longest pause: requests are kept for a week. Who wants to stop a builder for longer changes the configuration.
    pub const MAX_PAUSE: Duration = Duration::from_secs(7 * 24 * 3600);
}

/// What a request asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wish {
    /// A build, whether or not anything changed.
    Force {
        /// Of which builder.
        builder: BuilderName,
        /// Revisions to build; what is not named here is built at its newest one.
        sources: Vec<Source>,
    },
    /// The end of a build.
    Cancel {
        /// Of which builder.
        builder: BuilderName,
        /// Its number.
        number: u64,
    },
    /// The same build again.
    Retry {
        /// Of which builder.
        builder: BuilderName,
        /// Its number.
        number: u64,
    },
    /// No new builds for a while. Those that run go on.
    Pause {
        /// Of which builder.
        builder: BuilderName,
        /// Until when, at most [`Request::MAX_PAUSE`] after the request.
        until: Timestamp,
    },
    /// The end of a pause, or of being set aside.
    Resume {
        /// Of which builder.
        builder: BuilderName,
    },
    /// A project has released a version: builders that follow its releases build it.
    Release {
        /// Which project.
        project: ProjectName,
        /// Which version.
        version: Version,
    },
}

impl Wish {
    /// The builder that it is about, where it is about one.
    #[must_use]
    pub fn builder(&self) -> Option<&BuilderName> {
        match self {
            Self::Force { builder, .. }
            | Self::Cancel { builder, .. }
            | Self::Retry { builder, .. }
            | Self::Pause { builder, .. }
            | Self::Resume { builder } => Some(builder),
            Self::Release { .. } => None,
        }
    }

    /// The build that it is about, where it is about one.
    #[must_use]
    pub fn build(&self) -> Option<BuildId> {
        match self {
            Self::Cancel { builder, number } | Self::Retry { builder, number } => Some(BuildId {
                builder: builder.clone(),
                number: *number,
            }),
            Self::Force { .. }
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Release { .. } => None,
        }
    }

    /// The word for it, as a configuration names what a requester may do.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Self::Force { .. } => Verb::Force,
            Self::Cancel { .. } => Verb::Cancel,
            Self::Retry { .. } => Verb::Retry,
            Self::Pause { .. } | Self::Resume { .. } => Verb::Pause,
            Self::Release { .. } => Verb::Release,
        }
    }
}

/// What a requester may be allowed to do.
#[derive(
    Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Ask for builds.
    Force,
    /// Stop builds.
    Cancel,
    /// Repeat builds.
    Retry,
    /// Pause builders, and resume them.
    Pause,
    /// Announce releases.
    Release,
}

impl Verb {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Force => "force",
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::Pause => "pause",
            Self::Release => "release",
        }
    }
}

/// What the master says to a request: once, and for good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The farm.
    pub farm: FarmId,
    /// To which request.
    pub request: PayloadId,
    /// Whose request.
    pub requester: RequesterName,
    /// When.
    pub issued: Timestamp,
    /// Why nothing is done; none if it was granted.
    pub denial: Option<Denial>,
}

/// Why a request is not granted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denial {
    /// Stable code, such as `E-NOT-ALLOWED`.
    pub code: Text,
    /// A sentence.
    pub detail: Text,
}
