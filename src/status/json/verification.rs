//! The document of what a bundle proves.

use serde::Serialize;

use super::report::BodyDocument;
use crate::model::{FarmId, FarmName, KeyId, PayloadId, SlaveName, Text, Timestamp, Verdict};
use crate::status::verify::{Digested, Finding, StepLog, Verification};
use crate::trust::words;

/// What came of checking a bundle. What is in it beside `findings` was signed by whom it names.
#[derive(Debug, Serialize)]
pub struct VerificationDocument<'a> {
    /// `pybots.verification.v1`.
    pub schema: &'static str,
    /// Whether everything is what it claims to be, and fits together: whether `findings` is empty.
    pub verified: bool,
    /// The farm that was pinned.
    pub farm: FarmId,
    /// Its id as words.
    pub farm_words: String,
    /// Its name, as its keyring says.
    pub farm_name: Option<&'a FarmName>,
    /// The keyring that everything was judged by, such as `0.3`.
    pub keyring: Option<String>,
    /// `<builder>/<number>`.
    pub build: Option<String>,
    /// The verdict that the slave signed; `null` if no report here ends the build.
    pub verdict: Option<Verdict>,
    /// The slave.
    pub slave: Option<&'a SlaveName>,
    /// The command's id.
    pub command: Option<PayloadId>,
    /// Who signed what, in the order of the bundle: roster, command, cancel, reports.
    pub signed: Vec<SignedDocument<'a>>,
    /// The log of each step; `null` if the log was left out.
    pub logs: Option<Vec<LogDocument>>,
    /// What is worth knowing and is no fault.
    pub notes: &'a [Text],
    /// Why it does not verify.
    pub findings: Vec<FindingDocument<'a>>,
}

/// Something that was signed.
#[derive(Debug, Serialize)]
pub struct SignedDocument<'a> {
    /// `roster`, `command`, `cancel` or `report`.
    pub kind: &'static str,
    /// Its id.
    pub id: PayloadId,
    /// The key that signed it.
    pub signer: KeyId,
    /// When, by the signer's own clock.
    pub issued: Timestamp,
    /// The roster's version, or the slave's own count of its reports.
    pub sequence: Option<u64>,
    /// What a report says; `event` says which.
    #[serde(flatten)]
    pub body: Option<BodyDocument<'a>>,
}

/// The log of a step.
#[derive(Debug, Serialize)]
pub struct LogDocument {
    /// Which step, from 1.
    pub step: u32,
    /// Bytes of output here.
    pub bytes: u64,
    /// Bytes of output that the slave kept and that are not here.
    pub missing: u64,
    /// Bytes that the slave cut off.
    pub cut: u64,
    /// `fits`, `differs`, `incomplete` or `unnamed`.
    pub digest: Digested,
}

/// A reason why a bundle does not verify.
#[derive(Debug, Serialize)]
pub struct FindingDocument<'a> {
    /// Stable code of the rule that failed.
    pub code: &'static str,
    /// Where.
    pub part: String,
    /// A sentence.
    pub why: &'a Text,
}

impl<'a> From<&'a Verification> for VerificationDocument<'a> {
    fn from(found: &'a Verification) -> Self {
        let build = found.build.as_ref();
        let log = |log: &StepLog| LogDocument {
            step: u32::from(log.step) + 1,
            bytes: log.held,
            missing: log.missing,
            cut: log.cut,
            digest: log.digest,
        };
        Self {
            schema: "pybots.verification.v1",
            verified: found.is_verified(),
            farm: found.farm,
            farm_words: words(&found.farm),
            farm_name: found.keyring.as_ref().map(|keyring| &keyring.name),
            keyring: found
                .keyring
                .as_ref()
                .map(|keyring| keyring.position.to_string()),
            build: build.map(|build| build.id().to_string()),
            verdict: found.verdict(),
            slave: build.map(|build| &build.order.slave),
            command: build.map(|build| build.command),
            signed: signed(found),
            logs: found
                .logs
                .as_ref()
                .map(|logs| logs.iter().map(log).collect()),
            notes: &found.notes,
            findings: found.findings.iter().map(Into::into).collect(),
        }
    }
}

fn signed(found: &Verification) -> Vec<SignedDocument<'_>> {
    let roster = found.roster.iter().map(|roster| SignedDocument {
        kind: "roster",
        id: roster.id(),
        signer: roster.signer(),
        issued: roster.body().issued,
        sequence: Some(roster.body().version),
        body: None,
    });
    let command = found.build.iter().map(|build| SignedDocument {
        kind: "command",
        id: build.command,
        signer: build.signer,
        issued: build.order.issued,
        sequence: None,
        body: None,
    });
    let cancel = found.cancel.iter().map(|cancel| SignedDocument {
        kind: "cancel",
        id: cancel.id(),
        signer: cancel.signer(),
        issued: cancel.body().issued(),
        sequence: None,
        body: None,
    });
    let reports = found.reports.iter().map(|report| SignedDocument {
        kind: "report",
        id: report.id(),
        signer: report.signer(),
        issued: report.body().issued,
        sequence: Some(report.body().sequence),
        body: Some((&report.body().body).into()),
    });
    roster.chain(command).chain(cancel).chain(reports).collect()
}

impl<'a> From<&'a Finding> for FindingDocument<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            code: finding.code,
            part: finding.part.to_string(),
            why: &finding.why,
        }
    }
}
