//! The reports: whether each answers the command, and whether they fit together.

use std::collections::BTreeSet;

use super::{Part, Verification};
use crate::model::{PayloadId, Report, ReportBody, Step, Timestamp};
use crate::status::board::Reported;
use crate::status::build::{BuildStatus, Ending};
use crate::trust::{Reader, Sha256, Verified};
use crate::wire::Bundle;

/// Opens the reports and folds them into `build`.
pub(super) fn check(
    found: &mut Verification,
    reader: &Reader,
    build: &mut BuildStatus,
    bundle: &Bundle,
) {
    let mut before: Option<(u64, PayloadId)> = None;
    for (place, bytes) in (1..).zip(&bundle.reports) {
        let part = Part::Report(place);
        let Some(report) = found.open::<Report>(reader, part, bytes) else {
            continue;
        };
        let said = report.body();
        if said.command != build.command || !build.is_answered_by(&report) {
            let (slave, builder, number) = (&said.slave, &said.builder, said.number);
            let why = format!(
                "it is slave {slave}'s word on {builder}/{number}, and no answer to this command"
            );
            found.fault("E-ANSWER", part, why);
            continue;
        }
        follows(found, part, before, &report);
        before = Some((said.sequence, report.id()));
        fits_step(found, part, build, said);
        build.take(&Reported {
            sequence: said.sequence,
            stored: said.issued,
            report: report.clone(),
        });
        found.reports.push(report);
    }
    gaps(found);
    contradictions(found, build);
    ending(found, build);
    clocks(found, build.order.issued);
}

/// The slave numbers its reports and links each to the one before.
fn follows(
    found: &mut Verification,
    part: Part,
    before: Option<(u64, PayloadId)>,
    report: &Verified<Report>,
) {
    let (own, said) = (report.id(), report.body());
    let sequence = said.sequence;
    if (sequence == 1) != said.previous.is_none() {
        let why = format!("it is the slave's report {sequence}, and only report 1 follows none");
        found.fault("E-CHAIN", part, why);
    }
    let Some((earlier, id)) = before else { return };
    if sequence == earlier && id != own {
        let why = format!("the slave signed two different reports {sequence}");
        found.fault("E-CHAIN", part, why);
        return;
    }
    if sequence <= earlier {
        let why = format!("the slave's report {sequence} stands behind its report {earlier}");
        found.fault("E-ORDER", part, why);
        return;
    }
    let adjacent = sequence - earlier == 1;
    if (said.previous == Some(id)) != adjacent {
        let why = format!(
            "the slave's report {sequence} is not linked to its report {earlier} as its number says"
        );
        found.fault("E-CHAIN", part, why);
    }
}

/// The slave counts its reports of all builds, so a gap is ordinary; only the slave's other reports could tell.
fn gaps(found: &mut Verification) {
    let sequences = found.reports.iter().map(|report| report.body().sequence);
    let (Some(from), Some(to)) = (sequences.clone().min(), sequences.max()) else {
        return;
    };
    let absent = (to - from).saturating_sub(found.reports.len().saturating_sub(1) as u64);
    if absent > 0 {
        found.note(format!(
            "{absent} of the slave's reports from {from} to {to} are not here: they are about other builds, or were held back"
        ));
    }
}

/// A report of a step is about a step that was ordered, with the script that was ordered.
fn fits_step(found: &mut Verification, part: Part, build: &BuildStatus, said: &Report) {
    let ordered = |step: u16| build.order.steps.get(usize::from(step));
    let fits = match &said.body {
        ReportBody::StepStarted {
            step, name, script, ..
        } => ordered(*step).is_some_and(
            |Step {
                 command,
                 script: expected,
                 ..
             }| {
                command == name && expected.is_none_or(|expected| expected == *script)
            },
        ),
        ReportBody::StepFinished { step, .. } => ordered(*step).is_some(),
        ReportBody::Accepted { .. }
        | ReportBody::Refused { .. }
        | ReportBody::Deferred { .. }
        | ReportBody::Finished { .. }
        | ReportBody::Lost { .. } => true,
    };
    if !fits {
        found.fault(
            "E-STEP",
            part,
            "it is about a step that the command does not order",
        );
    }
}

/// One end for each step, and one for the build; `lost` alone may give way to a real one.
fn contradictions(found: &mut Verification, build: &BuildStatus) {
    let mut ended = BTreeSet::new();
    let mut twice = Vec::new();
    for (place, report) in (1..).zip(&found.reports) {
        let this = |other: &Ending| other.report == report.id();
        if let ReportBody::StepFinished { step, .. } = report.body().body
            && !ended.insert(step)
        {
            twice.push((format!("step {}", u32::from(step) + 1), place));
        } else if build.contradictions.iter().any(this) {
            twice.push(("the build".to_owned(), place));
        }
    }
    for (what, place) in twice {
        let why = format!("the slave signed two different ends of {what}");
        found.fault("E-DISPUTED", Part::Report(place), why);
    }
}

/// The last report names the log: the SHA-256 over the SHA-256 of each step's output.
fn ending(found: &mut Verification, build: &BuildStatus) {
    let Some(ReportBody::Finished { log, .. }) = build.ending.as_ref().map(|ending| &ending.body)
    else {
        return;
    };
    let mut digests = Sha256::default();
    for outcome in build.steps.iter().filter_map(|step| step.outcome.as_ref()) {
        digests.update(&outcome.log.0);
    }
    if digests.finish() != *log {
        found.fault(
            "E-DIGEST",
            Part::Bundle,
            "the digest in the slave's last report is not that of the steps' digests: a report of a step is missing or another",
        );
    }
}

/// Clocks differ, so the order of times is told and not judged.
fn clocks(found: &mut Verification, ordered: Timestamp) {
    let mut latest = ordered;
    let mut earlier = None;
    for said in found.reports.iter().map(Verified::body) {
        if said.issued < latest && earlier.is_none() {
            earlier = Some((said.sequence, said.issued));
        }
        latest = latest.max(said.issued);
    }
    if let Some((sequence, issued)) = earlier {
        found.note(format!(
            "report {sequence} is dated {issued}, earlier than what it follows: the clocks differ"
        ));
    }
}
