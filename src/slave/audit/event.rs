//! What the record holds.

use serde::{Deserialize, Serialize};

use crate::model::{Digest, PayloadId, Report, ReportBody, Text, Timestamp, Verdict};

/// Something that happened here.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A slave began its work.
    Started {
        /// Its newest report by its own memory: what it said before this record began, or lost a line of, leads there.
        newest: Option<PayloadId>,
        /// How many reports that makes.
        sequence: u64,
    },
    /// A command was accepted.
    Accepted {
        /// The command.
        command: PayloadId,
        /// Its build.
        build: Text,
        /// The key that signed it.
        signer: String,
    },
    /// A command was put off.
    Deferred {
        /// The command.
        command: PayloadId,
        /// Its build.
        build: Text,
        /// Until when, as the farm was told.
        until: Timestamp,
        /// Stable code of the reason.
        code: Text,
        /// The reason, which the farm was not told.
        why: Text,
    },
    /// A command was refused.
    Refused {
        /// The command.
        command: PayloadId,
        /// Its build.
        build: Text,
        /// Stable code of the rule.
        code: Text,
        /// A sentence.
        why: Text,
    },
    /// The slave signed a report.
    Said(Said),
    /// The owner did something.
    Owner {
        /// What, in one word, such as `pause`.
        act: Text,
        /// More of it.
        detail: Text,
    },
}

/// A report that the slave signed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Said {
    /// The report.
    pub report: PayloadId,
    /// Its place in the slave's own count.
    pub sequence: u64,
    /// Of which command.
    pub command: PayloadId,
    /// Of which build.
    pub build: Text,
    /// What it says, in one word.
    pub what: Text,
    /// Of which step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u16>,
    /// The digest of the script that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Digest>,
    /// The verdict of the step or of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Text>,
    /// CPU time of the step in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Bytes of its output that were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// The limit that it was ended for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Text>,
}

impl Event {
    /// The owner did something.
    #[must_use]
    pub fn owner(act: &str, detail: &str) -> Self {
        Self::Owner {
            act: Text::tidy(act),
            detail: Text::tidy(detail),
        }
    }

    /// The slave signed that report.
    #[must_use]
    pub fn said(id: PayloadId, report: &Report) -> Self {
        let mut said = Said {
            report: id,
            sequence: report.sequence,
            command: report.command,
            build: Text::tidy(&format!("{}/{}", report.builder, report.number)),
            what: Text::default(),
            step: None,
            script: None,
            verdict: report.body.verdict().map(word),
            cpu_ms: None,
            log_bytes: None,
            limit: None,
        };
        said.what = Text::tidy(match &report.body {
            ReportBody::Accepted { .. } => "accepted",
            ReportBody::Refused { .. } => "refused",
            ReportBody::Deferred { .. } => "deferred",
            ReportBody::StepStarted { step, script, .. } => {
                said.step = Some(*step);
                said.script = Some(*script);
                "step-started"
            }
            ReportBody::StepFinished { step, outcome } => {
                said.step = Some(*step);
                said.verdict = Some(word(outcome.verdict));
                let cpu = outcome.cpu.map(|cpu| cpu.as_millis());
                said.cpu_ms = cpu.and_then(|cpu| u64::try_from(cpu).ok());
                said.log_bytes = Some(outcome.log_bytes);
                said.limit = outcome.limit.map(|limit| Text::tidy(limit.word()));
                "step-finished"
            }
            ReportBody::Finished { .. } => "finished",
            ReportBody::Lost { .. } => "lost",
        });
        Self::Said(said)
    }

    /// The command that it is about, and its build.
    #[must_use]
    pub fn command(&self) -> Option<(&PayloadId, &Text)> {
        match self {
            Self::Accepted { command, build, .. }
            | Self::Deferred { command, build, .. }
            | Self::Refused { command, build, .. } => Some((command, build)),
            Self::Said(said) => Some((&said.command, &said.build)),
            Self::Started { .. } | Self::Owner { .. } => None,
        }
    }
}

fn word(verdict: Verdict) -> Text {
    Text::tidy(verdict.word())
}
