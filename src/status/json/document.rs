//! The documents of a board and of a build.

use serde::Serialize;

use super::keys::KeysFaultDocument;
use super::report::{OutcomeDocument, ReportDocument};
use crate::model::{
    Branch, BuilderName, ChainFaults, ClockOffset, CommandId, Digest, FarmId, FarmName, Isolation,
    KeyId, Network, PayloadId, ProjectName, RepositoryName, Revision, SlaveName, Text, Timestamp,
    Verdict,
};
use crate::status::board::Answer;
use crate::status::row::SlaveStanding;
use crate::status::since::Way;
use crate::status::tail::Unproven;

/// A whole board.
#[derive(Debug, Serialize)]
pub struct BoardDocument<'a> {
    /// `pybots.board.v1`.
    pub schema: &'static str,
    /// The farm.
    pub farm: FarmDocument<'a>,
    /// The moment for which ages, `lost` and `stale` were computed.
    pub now: Timestamp,
    /// `following`, or `catching-up` or `away`: then what stands here may be old.
    pub bus: &'static str,
    /// Since when the bus has been away.
    pub bus_away_since: Option<Timestamp>,
    /// Why nothing here is to be believed, if that is so.
    pub keys_fault: Option<KeysFaultDocument>,
    /// Whether trunk is safe, as far as is known, for people.
    pub sentence: String,
    /// By project, builder and branches.
    pub rows: Vec<RowDocument>,
    /// Genuine reports that answer no command given to their sender. No results.
    pub strays: Vec<StrayDocument<'a>>,
    /// Messages that do not verify. No results either.
    pub unproven: Vec<&'a Unproven>,
}

/// A farm.
#[derive(Debug, Serialize)]
pub struct FarmDocument<'a> {
    /// Its name, for people.
    pub name: &'a FarmName,
    /// What it is.
    pub id: FarmId,
    /// The id as words.
    pub words: &'a str,
}

/// One builder and the branches that it tests together.
#[derive(Debug, Serialize)]
pub struct RowDocument {
    /// The builder.
    pub builder: BuilderName,
    /// Whose tests.
    pub project: Option<ProjectName>,
    /// The branches.
    pub branches: Vec<BranchDocument>,
    /// The one word to show: `passed`, `warned`, `failed`, `stale` or `unknown`.
    pub status: &'static str,
    /// The last verdict about the code: `passed`, `warned` or `failed`. Show `status` instead: this may be stale.
    pub verdict: Option<Verdict>,
    /// The build that says so.
    pub build: Option<u64>,
    /// What that build tested.
    pub sources: Vec<SourceDocument>,
    /// When that build ended.
    pub ended: Option<Timestamp>,
    /// How long ago that was.
    pub age_s: Option<u64>,
    /// When the first build of the present run of equal verdicts ended.
    pub since: Option<Timestamp>,
    /// That build.
    pub since_build: Option<u64>,
    /// Whether the run may be older, because what came before is no longer on record.
    pub since_or_longer: bool,
    /// Whether the slave signed two different ends of `build`.
    pub disputed: bool,
    /// How many changes came after what `build` tested.
    pub behind: Option<usize>,
    /// The newest build, if it is over and is not `build`: a machine's or the farm's trouble, never the code's.
    pub newest: Option<NewestDocument>,
    /// What runs, or is about to.
    pub running: Option<RunningDocument>,
    /// How many more builds are ordered and not over.
    pub waiting: usize,
    /// The newest builds, oldest first.
    pub recent: Vec<RecentDocument>,
    /// The slave.
    pub slave: Option<SlaveName>,
    /// `active`, `probation`, `paused`, `revoked`, `closed` or `unlisted`.
    pub slave_state: SlaveStanding,
    /// When the slave last said that it is alive.
    pub last_seen: Option<Timestamp>,
    /// Whether there is no recent sign of it.
    pub silent: bool,
    /// Until when its owner has paused it.
    pub paused_until: Option<Timestamp>,
    /// How far its clock is from the master's, in seconds; negative if it is behind.
    pub clock_offset: Option<ClockOffset>,
    /// How many of its reports are known to be missing.
    pub missing_reports: u64,
    /// What is wrong with the chain of its reports.
    pub chain: ChainFaults,
}

/// A branch.
#[derive(Debug, Serialize)]
pub struct BranchDocument {
    /// The repository.
    pub repository: RepositoryName,
    /// The branch.
    pub branch: Branch,
}

/// What was checked out.
#[derive(Debug, Serialize)]
pub struct SourceDocument {
    /// The repository.
    pub repository: RepositoryName,
    /// The branch.
    pub branch: Branch,
    /// The revision, in full.
    pub revision: Revision,
}

/// A newest build that says nothing about the code.
#[derive(Debug, Serialize)]
pub struct NewestDocument {
    /// Its number.
    pub build: u64,
    /// Its verdict.
    pub verdict: Verdict,
    /// The stable code, if it was refused.
    pub code: Option<Text>,
}

/// One of a row's newest builds.
#[derive(Debug, Serialize)]
pub struct RecentDocument {
    /// Its number.
    pub build: u64,
    /// `ordered`, `accepted`, `running`, or the verdict.
    pub state: &'static str,
    /// None while it may still go on.
    pub verdict: Option<Verdict>,
}

/// A build that is not over.
#[derive(Debug, Serialize)]
pub struct RunningDocument {
    /// Its number.
    pub build: u64,
    /// `ordered`, `accepted` or `running`.
    pub state: &'static str,
    /// The step that runs, from 1.
    pub step: Option<u32>,
    /// How many steps there are.
    pub steps: usize,
    /// The script's name.
    pub name: Option<CommandId>,
    /// Since when: ordered, received, or the step started.
    pub since: Timestamp,
}

/// A genuine report that is no result.
#[derive(Debug, Serialize)]
pub struct StrayDocument<'a> {
    /// `no-such-command` or `not-meant`.
    pub why: Answer,
    /// The report.
    #[serde(flatten)]
    pub report: ReportDocument<'a>,
}

/// One build in full.
#[derive(Debug, Serialize)]
pub struct BuildDocument<'a> {
    /// `pybots.build.v1`.
    pub schema: &'static str,
    /// `<builder>/<number>`.
    pub build: String,
    /// The command's id.
    pub command: PayloadId,
    /// The key that signed the command.
    pub signer: KeyId,
    /// False only if that key was stolen and the slave has not answered.
    pub proven: bool,
    /// Whose tests.
    pub project: &'a ProjectName,
    /// The slave.
    pub slave: &'a SlaveName,
    /// `ordered`, `accepted`, `running`, or the verdict.
    pub state: &'static str,
    /// None while it may still go on.
    pub verdict: Option<Verdict>,
    /// A sentence, where the verdict has one.
    pub detail: Option<&'a Text>,
    /// The stable code, if it was refused.
    pub code: Option<&'a Text>,
    /// Whether the slave signed two different ends. The first stands in this document.
    pub disputed: bool,
    /// What else it signed as the end.
    pub contradictions: Vec<EndingDocument<'a>>,
    /// What is wrong with the chain of the slave's reports where those of this build stand in it.
    pub chain: ChainFaults,
    /// Why the master called it off, if it did.
    pub cancelled: Option<&'a Text>,
    /// Why it was ordered.
    pub reason: &'a Text,
    /// Who asked, where a person did.
    pub requester: Option<&'a Text>,
    /// The build that it repeats.
    pub retry_of: Option<u64>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// What was to be checked out.
    pub sources: Vec<SourceDocument>,
    /// The changes that it answers.
    pub covers: Vec<CoveredDocument<'a>>,
    /// What changed since the builder last passed on these branches; none if this build passed, or no earlier pass is on
    /// record.
    pub since_last_pass: Option<SinceLastPassDocument<'a>>,
    /// The steps, in order.
    pub steps: Vec<StepDocument<'a>>,
    /// When the master ordered it, by the master's clock.
    pub ordered: Timestamp,
    /// Silent after this moment means lost.
    pub finish_by: Timestamp,
    /// When the command reached the slave, by the slave's clock.
    pub received: Option<Timestamp>,
    /// From ordered to received; negative if the clocks differ that much.
    pub ordered_to_received_us: Option<i64>,
    /// From received to the first script's execution.
    pub received_to_started_us: Option<i64>,
    /// When it ended, by the slave's clock.
    pub ended: Option<Timestamp>,
    /// When the bus stored the report that ended it.
    pub stored: Option<Timestamp>,
    /// That report's id.
    pub report: Option<PayloadId>,
    /// The key that signed that report.
    pub report_signer: Option<KeyId>,
    /// SHA-256 over the SHA-256 of each step's log.
    pub log: Option<Digest>,
    /// `plain`, `landlock` or `namespaces`: the weakest of any step.
    pub isolation: Option<Isolation>,
    /// `off`, `no-tcp` or `on`: the most that any step could reach.
    pub network: Option<Network>,
}

/// A report that ends a build.
#[derive(Debug, Serialize)]
pub struct EndingDocument<'a> {
    /// The report's id.
    pub report: PayloadId,
    /// The key that signed it.
    pub report_signer: KeyId,
    /// What it says.
    pub verdict: Option<Verdict>,
    /// A sentence, where the verdict has one.
    pub detail: Option<&'a Text>,
    /// When the slave said it, by its own clock.
    pub ended: Timestamp,
    /// When the bus stored it.
    pub stored: Timestamp,
}

/// What changed between an earlier build that passed and a later one.
#[derive(Debug, Serialize)]
pub struct SinceLastPassDocument<'a> {
    /// The number of the newest earlier build that passed.
    pub build: u64,
    /// When that build ended.
    pub ended: Option<Timestamp>,
    /// Each source on both sides.
    pub sources: Vec<MoveDocument<'a>>,
    /// The changes in between, newest first.
    pub changes: Vec<CoveredDocument<'a>>,
    /// How many more commits there are than are listed.
    pub more_commits: u64,
    /// Whether there were changes that are no longer on record.
    pub incomplete: bool,
}

/// One repository on both sides.
#[derive(Debug, Serialize)]
pub struct MoveDocument<'a> {
    /// The repository.
    pub repository: &'a RepositoryName,
    /// The branch.
    pub branch: &'a Branch,
    /// The revision that passed.
    pub from: &'a Revision,
    /// The revision of this build.
    pub to: &'a Revision,
    /// `same`, `onward`, `back` (this build tested older code) or `unknown` (no longer on record).
    pub way: Way,
}

/// A change that a build answers.
#[derive(Debug, Serialize)]
pub struct CoveredDocument<'a> {
    /// The change's id. The rest is `null` if it is no longer on record.
    pub change: PayloadId,
    /// The repository.
    pub repository: Option<&'a RepositoryName>,
    /// The branch.
    pub branch: Option<&'a Branch>,
    /// What the branch moved to.
    pub revision: Option<&'a Revision>,
    /// The commits, newest first.
    pub commits: Vec<CommitDocument<'a>>,
    /// How many more there are.
    pub more_commits: u32,
}

/// A commit.
#[derive(Debug, Serialize)]
pub struct CommitDocument<'a> {
    /// Its full name.
    pub revision: &'a Revision,
    /// Who wrote it.
    pub author: &'a Text,
    /// First line of its message.
    pub subject: &'a Text,
}

/// A step of a build.
#[derive(Debug, Serialize)]
pub struct StepDocument<'a> {
    /// The script's name.
    pub name: &'a CommandId,
    /// When it was executed, by the slave's clock.
    pub started: Option<Timestamp>,
    /// The digest of the script.
    pub script: Option<Digest>,
    /// The digest that its owner recorded when mapping it, if one was recorded. Another than `script`: it was edited since.
    pub mapped: Option<Digest>,
    /// How it was kept apart: `plain`, `landlock` or `namespaces`.
    pub isolation: Option<Isolation>,
    /// What it could reach of the network: `off`, `no-tcp` or `on`.
    pub network: Option<Network>,
    /// How it ended.
    pub outcome: Option<OutcomeDocument<'a>>,
}
