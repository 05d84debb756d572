//! One line for each entry of the results stream.

use std::io;

use crate::model::{Report, ReportBody, Verdict};

use super::{Paint, RUNNING, Style, badge, span};
use crate::status::tail::{Entry, Unproven};

/// Writes an entry as one line: when, which build, what. What does not verify is said to be that, and nothing of it is
/// shown but where it lies.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_entry(entry: &Entry, style: Style, out: &mut impl io::Write) -> io::Result<()> {
    match entry {
        Entry::Report(reported) => {
            let report = reported.report.body();
            writeln!(
                out,
                "{}  {}/{}  {}",
                report.issued,
                report.builder,
                report.number,
                describe(report, style)
            )
        }
        Entry::Unproven(unproven) => {
            writeln!(
                out,
                "{}  {}",
                unproven.stored,
                describe_unproven(unproven, style)
            )
        }
    }
}

pub(super) fn describe_unproven(unproven: &Unproven, style: Style) -> String {
    let Unproven {
        stream,
        sequence,
        subject,
        code,
        why,
        ..
    } = unproven;
    let mark = style.paint(Paint::Bad, &format!("? UNPROVEN {code}"));
    format!("{mark} {stream} {sequence} on {subject}: {why}")
}

fn describe(report: &Report, style: Style) -> String {
    let mark = |verdict| {
        let (text, paint) = badge(verdict);
        style.paint(paint, text)
    };
    match &report.body {
        ReportBody::Accepted { .. } => format!("accepted by {}", report.slave),
        ReportBody::Refused { code, detail } => {
            format!("{} {code}: {detail}", mark(Verdict::Refused))
        }
        ReportBody::Deferred { until } => {
            format!("{}: put off until {until}", mark(Verdict::Skipped))
        }
        ReportBody::StepStarted { step, name, .. } => {
            let (text, paint) = RUNNING;
            format!(
                "{} step {} {name}",
                style.paint(paint, text),
                u32::from(*step) + 1
            )
        }
        ReportBody::StepFinished { step, outcome } => {
            let exit = match (outcome.exit, outcome.signal) {
                (Some(exit), _) => format!(", exit {exit}"),
                (None, Some(signal)) => format!(", signal {signal}"),
                (None, None) => String::new(),
            };
            let step = u32::from(*step) + 1;
            let took = span(outcome.duration);
            // The step's own verdict goes without a glyph: that stands for whole builds.
            format!("step {step} {} after {took}{exit}", outcome.verdict)
        }
        ReportBody::Finished {
            verdict, detail, ..
        } => {
            let detail = detail
                .as_ref()
                .map_or_else(String::new, |detail| format!(": {detail}"));
            format!("{}{detail}", mark(*verdict))
        }
        ReportBody::Lost { detail } => {
            format!("{}: {detail}", mark(Verdict::Lost))
        }
    }
}
