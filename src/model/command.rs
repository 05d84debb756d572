//! What the master may ask: named scripts in an order, or to stop.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    Branch, BuildId, BuildState, BuilderName, CommandId, Digest, FarmId, InstanceId, KeyId,
    ParameterName, PayloadId, Position, ProjectName, RepositoryName, Revision, SlaveName, Text,
    Timestamp,
};

/// A signed request to one builder.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every command is a build; a box would cost each of them an allocation"
)]
pub enum Command {
    /// Run these steps.
    Build(Build),
    /// Stop that build, or never start it.
    Cancel(Cancel),
}

/// An ordered list of command ids to run, and all that decides whether they may be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Build {
    /// The farm.
    pub farm: FarmId,
    /// The slave that is to run it.
    pub slave: SlaveName,
    /// That slave's report key, so that a namesake is never meant.
    pub report_key: KeyId,
    /// The builder.
    pub builder: BuilderName,
    /// Counts up per builder.
    pub number: u64,
    /// When the master asked.
    pub issued: Timestamp,
    /// Accepted before this moment or never.
    pub accept_by: Timestamp,
    /// Silent after this moment means lost.
    pub finish_by: Timestamp,
    /// The keyring in force.
    pub keyring: Position,
    /// Whose tests.
    pub project: ProjectName,
    /// What to check out.
    pub sources: Vec<Source>,
    /// The changes that this build answers.
    pub covers: Vec<PayloadId>,
    /// What to run, in order.
    pub steps: Vec<Step>,
    /// Why.
    pub reason: Text,
    /// Who asked, where a person did.
    pub requester: Option<Text>,
    /// The request that asked, where one did.
    pub request: Option<PayloadId>,
    /// The build that this one repeats.
    pub retry_of: Option<u64>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The question that this build answers, where there is one.
    pub experiment: Option<Experiment>,
}

impl Build {
    /// Latest moment that `accept_by` may lie after `issued`.
    pub const MAX_ACCEPT_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);
    /// How far a build's number may lie above all that were heard of, so that nobody who stole a key uses up the numbers.
    pub const MAX_JUMP: u64 = 1 << 32;
    /// How far clocks may disagree.
    pub const CLOCK_SKEW: Duration = Duration::from_secs(120);

    /// For so long after it could be accepted its slave remembers having answered it. Later it is not answered any more: a
    /// second answer would contradict the first, and the build would be disputed.
    pub const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

    /// Whether its slave may have answered it at a time that it does not remember at `now`.
    #[must_use]
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        now > self.accept_by.after(Self::REMEMBERED)
    }

    /// When a build in `state` should have been accepted, or be over, whichever it waits for.
    #[must_use]
    pub fn deadline(&self, state: BuildState) -> Timestamp {
        match state {
            BuildState::Ordered => self.accept_by,
            BuildState::Accepted | BuildState::Running { .. } | BuildState::Done { .. } => {
                self.finish_by
            }
        }
    }

    /// The last moment at which a build in `state` may still go on. Later it is lost, until its slave says otherwise.
    #[must_use]
    pub fn lost_after(&self, state: BuildState) -> Timestamp {
        self.deadline(state).after(Self::CLOCK_SKEW)
    }

    /// `<builder>/<number>`.
    #[must_use]
    pub fn id(&self) -> BuildId {
        BuildId {
            builder: self.builder.clone(),
            number: self.number,
        }
    }
}

/// A branch of a repository at a revision. The owner knows where the repository lies; the command does not say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// Which repository.
    pub repository: RepositoryName,
    /// Which branch.
    pub branch: Branch,
    /// Which revision.
    pub revision: Revision,
}

/// One script to run, by the name that the owner gave it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// The name.
    pub command: CommandId,
    /// Values for the parameters that the owner's grammar allows.
    pub parameters: BTreeMap<ParameterName, Text>,
    /// Longest it may run; the owner may allow less.
    pub timeout: Duration,
    /// Whether a failure ends the build (but for steps that always run).
    pub halt_on_failure: bool,
    /// Whether a failure only warns.
    pub warn_only: bool,
    /// Whether it runs even after a failure that ended the build.
    pub always_run: bool,
    /// The script that the master expects to be mapped.
    pub script: Option<Digest>,
}

/// A build that is part of an answer to a question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Experiment {
    /// The question.
    pub id: PayloadId,
    /// What this build contributes.
    pub role: ExperimentRole,
    /// The revisions that it is held against.
    pub baseline: Vec<Source>,
}

/// What a build contributes to an experiment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExperimentRole {
    /// Does it fail again?
    Confirm,
    /// Whose change is it?
    Blame,
    /// Which commit is it?
    Bisect,
}

/// Stop a build, or never start it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cancel {
    /// The farm.
    pub farm: FarmId,
    /// The slave.
    pub slave: SlaveName,
    /// The builder.
    pub builder: BuilderName,
    /// The command to cancel.
    pub target: PayloadId,
    /// When the master asked.
    pub issued: Timestamp,
    /// Why.
    pub reason: Text,
    /// Who asked, where a person did.
    pub requester: Option<Text>,
    /// The request that asked, where one did.
    pub request: Option<PayloadId>,
}

/// A leading master's regular sign of life to those who stand by. What counts as its word is fenced by [`Lead`] alone; this
/// only says that nobody else needs to take the lead.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    /// The farm.
    pub farm: FarmId,
    /// The lease of its [`Lead`].
    pub lease: u64,
    /// Which process.
    pub instance: InstanceId,
    /// When, by its own clock.
    pub issued: Timestamp,
    /// For how long nobody else should take the lead; zero, if it gives up the lead.
    pub lasts: Duration,
}

/// The first thing that a leading master publishes: from here on it commands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lead {
    /// The farm.
    pub farm: FarmId,
    /// Greater than that of every leader before.
    pub lease: u64,
    /// Which process.
    pub instance: InstanceId,
    /// SHA-256 of the configuration it leads by.
    pub config: Digest,
    /// When it took the lead.
    pub issued: Timestamp,
}

impl Command {
    /// The farm it is for.
    #[must_use]
    pub fn farm(&self) -> &FarmId {
        match self {
            Self::Build(build) => &build.farm,
            Self::Cancel(cancel) => &cancel.farm,
        }
    }

    /// The slave it is for.
    #[must_use]
    pub fn slave(&self) -> &SlaveName {
        match self {
            Self::Build(build) => &build.slave,
            Self::Cancel(cancel) => &cancel.slave,
        }
    }

    /// The builder it is for.
    #[must_use]
    pub fn builder(&self) -> &BuilderName {
        match self {
            Self::Build(build) => &build.builder,
            Self::Cancel(cancel) => &cancel.builder,
        }
    }

    /// When the master asked.
    #[must_use]
    pub fn issued(&self) -> Timestamp {
        match self {
            Self::Build(build) => build.issued,
            Self::Cancel(cancel) => cancel.issued,
        }
    }
}
