//! The documents of a report and of what does not verify.

use std::time::Duration;

use serde::Serialize;

use crate::model::{
    CommandId, Counted, Digest, Isolation, KeyId, Limit, Network, Outcome, PayloadId, ReportBody,
    SlaveName, TestResults, Text, Timestamp, Verdict,
};
use crate::status::board::Reported;
use crate::status::tail::{Entry, Unproven};

/// A line of the results stream.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EntryKind<'a> {
    /// A report that its slave has signed.
    Report(Box<ReportDocument<'a>>),
    /// Something that does not verify. Never a result.
    Unproven(&'a Unproven),
}

/// A line of the results stream, with its schema.
#[derive(Debug, Serialize)]
pub struct EntryDocument<'a> {
    /// `pybots.entry.v1`.
    pub schema: &'static str,
    /// `kind` says which: `report` or `unproven`.
    #[serde(flatten)]
    pub entry: EntryKind<'a>,
}

/// A report.
#[derive(Debug, Serialize)]
pub struct ReportDocument<'a> {
    /// Its place in the results stream.
    pub sequence: u64,
    /// When the bus stored it.
    pub stored: Timestamp,
    /// When the slave said it, by its own clock.
    pub issued: Timestamp,
    /// The report's id.
    pub report: PayloadId,
    /// The key that signed it.
    pub signer: KeyId,
    /// `<builder>/<number>`, as the slave says.
    pub build: String,
    /// The slave.
    pub slave: &'a SlaveName,
    /// The command's id.
    pub command: PayloadId,
    /// The slave's own count.
    pub slave_sequence: u64,
    /// The keyring that the slave holds, `<generation>.<serial>`.
    pub keyring: String,
    /// What it says.
    #[serde(flatten)]
    pub body: BodyDocument<'a>,
}

/// What a report says; `event` says which.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum BodyDocument<'a> {
    /// It will run.
    Accepted {
        /// When the command reached the slave.
        received: Timestamp,
    },
    /// It will not run.
    Refused {
        /// Stable code.
        code: &'a Text,
        /// A sentence.
        detail: &'a Text,
    },
    /// It will not run now.
    Deferred {
        /// Until when.
        until: Timestamp,
    },
    /// A script is about to run.
    StepStarted {
        /// Which step, from 1.
        step: u32,
        /// Which script.
        name: &'a CommandId,
        /// Just before it was executed.
        started: Timestamp,
        /// Its digest.
        script: Digest,
        /// The digest that its owner recorded when mapping it.
        mapped: Option<Digest>,
        /// How it is kept apart: `plain`, `landlock` or `namespaces`.
        isolation: Isolation,
        /// What it can reach of the network: `off`, `no-tcp` or `on`.
        network: Network,
    },
    /// A script has ended.
    StepFinished {
        /// Which step, from 1.
        step: u32,
        /// How.
        outcome: OutcomeDocument<'a>,
    },
    /// The build has ended.
    Finished {
        /// The verdict.
        verdict: Verdict,
        /// SHA-256 over the SHA-256 of each step's log.
        log: Digest,
        /// How the scripts were kept apart: the weakest level of any step.
        isolation: Isolation,
        /// What the scripts could reach of the network: the most of any step.
        network: Network,
        /// A sentence, where the verdict needs one.
        detail: Option<&'a Text>,
    },
    /// The slave crashed or was stopped.
    Lost {
        /// A sentence.
        detail: &'a Text,
    },
}

/// How a script ended.
#[derive(Debug, Serialize)]
pub struct OutcomeDocument<'a> {
    /// What the step alone amounts to.
    pub verdict: Verdict,
    /// Its exit status, if it exited.
    pub exit: Option<u8>,
    /// The signal that ended it, if one did.
    pub signal: Option<u8>,
    /// Wall time.
    pub duration_ms: u64,
    /// CPU time.
    pub cpu_ms: Option<u64>,
    /// Most memory at one time, in bytes.
    pub peak_memory: Option<u64>,
    /// SHA-256 over the output kept.
    pub log: Digest,
    /// Bytes of output kept.
    pub log_bytes: u64,
    /// Bytes of output cut off.
    pub log_cut: u64,
    /// `{passed, failed, skipped, failing, unlisted, warnings}`, where the script left result files.
    pub tests: Option<&'a TestResults>,
    /// The limit for which it was ended.
    pub limit: Option<Limit>,
    /// Most processes at one time.
    pub peak_processes: Option<u32>,
    /// How memory and processes were counted: `cgroup`, `sampled` or `waited`.
    pub counted: Option<Counted>,
}

impl<'a> From<&'a Entry> for EntryDocument<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            schema: "pybots.entry.v1",
            entry: match entry {
                Entry::Report(reported) => EntryKind::Report(Box::new((&**reported).into())),
                Entry::Unproven(unproven) => EntryKind::Unproven(unproven),
            },
        }
    }
}

impl<'a> From<&'a Reported> for ReportDocument<'a> {
    fn from(reported: &'a Reported) -> Self {
        let report = reported.report.body();
        Self {
            sequence: reported.sequence,
            stored: reported.stored,
            issued: report.issued,
            report: reported.report.id(),
            signer: reported.report.signer(),
            build: format!("{}/{}", report.builder, report.number),
            slave: &report.slave,
            command: report.command,
            slave_sequence: report.sequence,
            keyring: report.keyring.to_string(),
            body: (&report.body).into(),
        }
    }
}

impl<'a> From<&'a ReportBody> for BodyDocument<'a> {
    fn from(body: &'a ReportBody) -> Self {
        match body {
            ReportBody::Accepted { received } => Self::Accepted {
                received: *received,
            },
            ReportBody::Refused { code, detail } => Self::Refused { code, detail },
            ReportBody::Deferred { until } => Self::Deferred { until: *until },
            ReportBody::StepStarted {
                step,
                name,
                started,
                script,
                mapped,
                isolation,
                network,
            } => Self::StepStarted {
                step: u32::from(*step) + 1,
                name,
                started: *started,
                script: *script,
                mapped: *mapped,
                isolation: *isolation,
                network: *network,
            },
            ReportBody::StepFinished { step, outcome } => Self::StepFinished {
                step: u32::from(*step) + 1,
                outcome: outcome.into(),
            },
            ReportBody::Finished {
                verdict,
                log,
                isolation,
                detail,
                network,
            } => Self::Finished {
                verdict: *verdict,
                log: *log,
                isolation: *isolation,
                network: *network,
                detail: detail.as_ref(),
            },
            ReportBody::Lost { detail } => Self::Lost { detail },
        }
    }
}

impl<'a> From<&'a Outcome> for OutcomeDocument<'a> {
    fn from(outcome: &'a Outcome) -> Self {
        Self {
            verdict: outcome.verdict,
            exit: outcome.exit,
            signal: outcome.signal,
            duration_ms: milliseconds(outcome.duration),
            cpu_ms: outcome.cpu.map(milliseconds),
            peak_memory: outcome.peak_memory,
            log: outcome.log,
            log_bytes: outcome.log_bytes,
            log_cut: outcome.log_cut,
            tests: outcome.tests.as_ref(),
            limit: outcome.limit,
            peak_processes: outcome.peak_processes,
            counted: outcome.counted,
        }
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
