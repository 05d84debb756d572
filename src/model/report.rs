//! What a slave says.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{
    BuilderName, CommandId, Digest, Experiment, FarmId, InstanceId, PayloadId, Position, SlaveName,
    Text, Timestamp, Verdict,
};

/// What a slave says of a build.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The farm.
    pub farm: FarmId,
    /// Who says it.
    pub slave: SlaveName,
    /// Which start of the slave's process.
    pub instance: InstanceId,
    /// Of which builder.
    pub builder: BuilderName,
    /// Of which command.
    pub command: PayloadId,
    /// That command's build number.
    pub number: u64,
    /// Counts this slave's reports, from 1, across instances.
    pub sequence: u64,
    /// This slave's report before this one; the first has none.
    pub previous: Option<PayloadId>,
    /// The keyring that the slave holds.
    pub keyring: Position,
    /// When the slave said it, by its own clock.
    pub issued: Timestamp,
    /// The question that the build answers, as in its command.
    pub experiment: Option<Experiment>,
    /// What it says.
    pub body: ReportBody,
}

/// What a report says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReportBody {
    /// The command passed every check, is on record, and will run.
    Accepted {
        /// When the command reached the slave.
        received: Timestamp,
    },
    /// The command will not run. Final.
    Refused {
        /// Stable code of the rule that failed, such as `E-EXPIRED`.
        code: Text,
        /// A sentence.
        detail: Text,
    },
    /// The owner's rules forbid it now. Final; the master may ask again.
    Deferred {
        /// Until when.
        until: Timestamp,
    },
    /// A script is about to run.
    StepStarted {
        /// Which step, from 0.
        step: u16,
        /// Which script.
        name: CommandId,
        /// Just before the script was executed.
        started: Timestamp,
        /// The digest of the script that runs.
        script: Digest,
        /// The digest that its owner recorded when mapping it, if one was recorded. Another than `script`: it was edited
        /// since, and its owner accepts that.
        mapped: Option<Digest>,
        /// How it is kept apart from the rest of the machine.
        isolation: Isolation,
        /// What it can reach of the network.
        network: Network,
    },
    /// A script has ended, and its whole process tree with it.
    StepFinished {
        /// Which step, from 0.
        step: u16,
        /// How it ended.
        outcome: Outcome,
    },
    /// The build has ended.
    Finished {
        /// The verdict.
        verdict: Verdict,
        /// SHA-256 over the SHA-256 of each step's log, in the order of the steps.
        log: Digest,
        /// How the scripts were kept apart from the rest of the machine: the weakest level of any step.
        isolation: Isolation,
        /// A sentence, where the verdict needs one.
        detail: Option<Text>,
        /// What the scripts could reach of the network: the most that any step could.
        network: Network,
    },
    /// The slave crashed or was stopped while the build ran. Final.
    Lost {
        /// A sentence.
        detail: Text,
    },
}

impl ReportBody {
    /// The verdict, if this ends the build.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Refused { .. } => Some(Verdict::Refused),
            Self::Finished { verdict, .. } => Some(*verdict),
            Self::Lost { .. } => Some(Verdict::Lost),
            // Deferred ends this command too: the master may ask again with a new build.
            Self::Deferred { .. } => Some(Verdict::Skipped),
            Self::Accepted { .. } | Self::StepStarted { .. } | Self::StepFinished { .. } => None,
        }
    }
}

/// How a script ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// What the step alone amounts to.
    pub verdict: Verdict,
    /// Its exit status, if it exited.
    pub exit: Option<u8>,
    /// The signal that ended it, if one did.
    pub signal: Option<u8>,
    /// Wall time.
    pub duration: Duration,
    /// CPU time of the script and everything that it started.
    pub cpu: Option<Duration>,
    /// Most memory that the script and everything that it started held at one time, in bytes; [`Counted`] says how exactly.
    pub peak_memory: Option<u64>,
    /// SHA-256 over the bytes of output kept.
    pub log: Digest,
    /// Bytes of output kept.
    pub log_bytes: u64,
    /// Bytes of output cut off at the owner's cap.
    pub log_cut: u64,
    /// What the tests said, where the script left result files.
    pub tests: Option<TestResults>,
    /// The limit for which it was ended, if it was.
    pub limit: Option<Limit>,
    /// Most processes that it had at one time.
    pub peak_processes: Option<u32>,
    /// How memory and processes were counted.
    pub counted: Option<Counted>,
}

/// What a step may only use so much of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Time.
    WallTime,
    /// Time without a byte of output.
    SilentTime,
    /// CPU time of all its processes.
    CpuTime,
    /// Memory of all its processes.
    Memory,
    /// Processes and threads at one time.
    Processes,
    /// Disk of the workspace, and of the other folders that are its to write.
    Disk,
    /// Output, far beyond what is kept of it.
    Log,
}

impl Limit {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::WallTime => "wall-time",
            Self::SilentTime => "silent-time",
            Self::CpuTime => "cpu-time",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Disk => "disk",
            Self::Log => "log",
        }
    }

    /// What a step amounts to that went over it. A limit is the owner's, so going over it says nothing sure about the code.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::WallTime | Self::SilentTime | Self::CpuTime => Verdict::TimedOut,
            Self::Memory | Self::Processes | Self::Disk | Self::Log => Verdict::Errored,
        }
    }
}

/// How the memory and the processes of a step were counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// Exactly, by the kernel, in a control group of its own.
    Cgroup,
    /// By looking a few times a second; what came and went in between was missed.
    Sampled,
    /// From what the kernel says of ended processes: the largest single one, and no number of processes.
    Waited,
}

/// What the result files say that a script's tests left.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct TestResults {
    /// Passed.
    pub passed: u32,
    /// Failed, or could not be run.
    pub failed: u32,
    /// Skipped.
    pub skipped: u32,
    /// The first of those that failed.
    pub failing: Vec<FailedTest>,
    /// How many failed besides those.
    pub unlisted: u32,
    /// What was wrong with the files themselves.
    pub warnings: Vec<Text>,
}

/// A test that failed.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct FailedTest {
    /// Its name, as its runner gives it.
    pub name: Text,
    /// The first line of what its runner says of it.
    pub message: Option<Text>,
}

/// How scripts are kept apart from the rest of the machine, weakest first.
#[derive(
    Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// A process group and a session of its own.
    Plain,
    /// Landlock rules.
    Landlock,
    /// Namespaces of its own.
    Namespaces,
}

impl Isolation {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Landlock => "landlock",
            Self::Namespaces => "namespaces",
        }
    }
}

/// What scripts can reach of the network, least first.
#[derive(
    Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Nothing.
    Off,
    /// Whatever needs no TCP.
    NoTcp,
    /// All.
    On,
}

impl Network {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::NoTcp => "no-tcp",
            Self::On => "on",
        }
    }
}

/// A piece of a log, addressed by its place; overlapping pieces agree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogChunk {
    /// The farm.
    pub farm: FarmId,
    /// Whose log.
    pub slave: SlaveName,
    /// Of which builder.
    pub builder: BuilderName,
    /// Of which command.
    pub command: PayloadId,
    /// Of which step, from 0.
    pub step: u16,
    /// Where in that step's output.
    pub offset: u64,
    /// When the slave read it.
    pub issued: Timestamp,
    /// The output, as the script wrote it.
    pub bytes: bytes::Bytes,
}

impl LogChunk {
    /// Most bytes that one chunk carries; with the envelope it stays below the 64 KiB that the wire allows.
    pub const MAX_BYTES: usize = 63 * 1024;
}

/// A slave's regular sign of life.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Presence {
    /// The farm.
    pub farm: FarmId,
    /// Who.
    pub slave: SlaveName,
    /// Which start of its process.
    pub instance: InstanceId,
    /// When, by its own clock.
    pub issued: Timestamp,
    /// Its newest report's sequence; 0 before the first.
    pub sequence: u64,
    /// Its newest report.
    pub newest: Option<PayloadId>,
    /// The highest build number that it has seen, per builder.
    pub builders: BTreeMap<BuilderName, u64>,
    /// The keyring that it holds.
    pub keyring: Position,
    /// One-minute load average, in hundredths.
    pub load: u32,
    /// Until when its owner has paused it.
    pub paused_until: Option<Timestamp>,
    /// Messages since the start of the process that were not believed, and so not answered.
    pub rejected: u64,
    /// Its clock against the master's, as the newest head that came live told.
    pub clock: Option<ClockOffset>,
}

/// How far one clock is from another, in microseconds; positive if it is ahead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClockOffset(pub i64);

impl ClockOffset {
    /// How far a clock that shows `here` is from one that shows `there`.
    #[must_use]
    pub fn between(here: Timestamp, there: Timestamp) -> Self {
        Self(here.0.cast_signed().saturating_sub(there.0.cast_signed()))
    }

    /// How far, whichever is ahead.
    #[must_use]
    pub fn size(self) -> Duration {
        Duration::from_micros(self.0.unsigned_abs())
    }
}

impl fmt::Display for ClockOffset {
    /// Such as `38.0 s behind`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.0 < 0 { "behind" } else { "ahead" };
        write!(f, "{:.1} s {word}", self.size().as_secs_f64())
    }
}

impl serde::Serialize for ClockOffset {
    /// Seconds.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a clock is not off by 285 years"
        )]
        serializer.serialize_f64(self.0 as f64 / 1e6)
    }
}
