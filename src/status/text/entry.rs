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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample::{Sample, at, ended, finished, started, text};
    use crate::trust::seal;

    #[test]
    fn an_entry_is_one_line_whatever_it_is() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 42, 'a');
        let bodies = [
            ReportBody::Accepted { received: at(0) },
            ReportBody::Refused {
                code: text("E-EXPIRED"),
                detail: text("it had to be accepted 41 s ago; nothing ran"),
            },
            ReportBody::Deferred { until: at(9_000) },
            started(0, at(1)),
            ended(1, 3),
            finished(Verdict::Passed),
            finished(Verdict::Failed),
            ReportBody::Lost {
                detail: text("the slave was restarted"),
            },
        ];
        let mut out = Vec::new();
        for (sequence, body) in (1..).zip(bodies) {
            let report = sample.said(&order, sequence, sequence, body);
            let bytes = seal(&sample.maple, &sample.farm, &report).bytes;
            write_entry(&sample.delivered(sequence, bytes), Style::Plain, &mut out).unwrap();
        }
        let junk = sample.delivered(9, b"\x1b]0;passed\x07".to_vec());
        write_entry(&junk, Style::Plain, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @"
        2026-11-22T19:10:01.000Z  foo-maple/42  accepted by maple
        2026-11-22T19:10:02.000Z  foo-maple/42  / refused E-EXPIRED: it had to be accepted 41 s ago; nothing ran
        2026-11-22T19:10:03.000Z  foo-maple/42  - skipped: put off until 2026-11-22T20:30:00.000Z
        2026-11-22T19:10:04.000Z  foo-maple/42  … running step 1 build-python
        2026-11-22T19:10:05.000Z  foo-maple/42  step 2 failed after 9.4 s, exit 3
        2026-11-22T19:10:06.000Z  foo-maple/42  ✓ passed
        2026-11-22T19:10:07.000Z  foo-maple/42  ✗ FAILED
        2026-11-22T19:10:08.000Z  foo-maple/42  ! lost: the slave was restarted
        2026-11-22T18:08:20.000Z  ? UNPROVEN E-ENVELOPE RESULTS 9 on pybots.nxj4uoiua6.result.maple.foo-maple: message is not a signed envelope: unexpected type u64 at position 0: expected tag
        ");
    }
}
