//! The documents of a report and of what does not verify.

use std::time::Duration;

use serde::Serialize;

use crate::model::{
    CommandId, Digest, Isolation, KeyId, Outcome, PayloadId, ReportBody, SlaveName, TestCounts,
    Text, Timestamp, Verdict,
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
    },
    /// A script has ended.
    StepFinished {
        /// Which step, from 1.
        step: u32,
        /// How.
        outcome: OutcomeDocument,
    },
    /// The build has ended.
    Finished {
        /// The verdict.
        verdict: Verdict,
        /// SHA-256 over the SHA-256 of each step's log.
        log: Digest,
        /// How the scripts were kept apart.
        isolation: Isolation,
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
pub struct OutcomeDocument {
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
    /// Largest resident set, in bytes.
    pub peak_memory: Option<u64>,
    /// SHA-256 over the output kept.
    pub log: Digest,
    /// Bytes of output kept.
    pub log_bytes: u64,
    /// Bytes of output cut off.
    pub log_cut: u64,
    /// `{passed, failed, skipped}`, where the script left results.
    pub tests: Option<TestCounts>,
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
            } => Self::StepStarted {
                step: u32::from(*step) + 1,
                name,
                started: *started,
                script: *script,
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
            } => Self::Finished {
                verdict: *verdict,
                log: *log,
                isolation: *isolation,
                detail: detail.as_ref(),
            },
            ReportBody::Lost { detail } => Self::Lost { detail },
        }
    }
}

impl From<&Outcome> for OutcomeDocument {
    fn from(outcome: &Outcome) -> Self {
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
            tests: outcome.tests,
        }
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
