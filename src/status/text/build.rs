//! One build, in full.

use std::io;

use crate::model::{Build, BuildState, Outcome, ReportBody, Source, Timestamp};

use super::odd::warnings;
use super::since::{commits, since_last_pass};
use super::step::{Failing, confined, confined_otherwise, edited, inexact, over_limit, step_badge};
use super::{Paint, Style, age, span, state_badge};
use crate::status::board::Board;
use crate::status::build::{BuildStatus, Ending, StepStatus};

/// Writes one build in full: verdict, steps, what was tested and why, what it covers, times, digests, and who signed.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_build(
    board: &Board,
    build: &BuildStatus,
    now: Timestamp,
    style: Style,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let order = &build.order;
    writeln!(
        out,
        "{}  {}",
        style.paint(Paint::Strong, &build.id().to_string()),
        headline(build, now, style)
    )?;
    let mut page = Page { style, out };
    failing(build, &mut page)?;
    page.field("project", &order.project.to_string())?;
    page.field("slave", &order.slave.to_string())?;
    page.field("reason", order.reason.as_str())?;
    if let Some(requester) = &order.requester {
        page.field("requester", requester.as_str())?;
    }
    if let Some(number) = order.retry_of {
        page.field(
            "retry of",
            &format!("{}/{number}, attempt {}", order.builder, order.attempt),
        )?;
    }
    for source in &order.sources {
        page.field("source", &describe(source))?;
    }
    covers(board, order, &mut page)?;
    for (label, text) in since_last_pass(board, build, now) {
        page.field(label, &text)?;
    }
    for (number, step) in (1..).zip(&build.steps) {
        page.field("step", &describe_step(number, build, step, now, style))?;
        if let Some(outcome) = &step.outcome {
            page.field("", &describe_log(outcome))?;
        }
        if let Some(script) = &step.script {
            page.field("", &format!("script {script}"))?;
        }
        for remark in confined_otherwise(build, step)
            .into_iter()
            .chain(edited(step))
        {
            page.field("", &remark)?;
        }
    }
    times(build, &mut page)?;
    page.field(
        "command",
        &format!("{} signed by {}", build.command, build.signer),
    )?;
    if let Some(ending) = &build.ending {
        page.field(
            "report",
            &format!("{} signed by {}", ending.report, ending.signer),
        )?;
    }
    for warning in warnings(board, build) {
        page.warning(&warning)?;
    }
    Ok(())
}

/// Labelled lines.
struct Page<'a, W> {
    style: Style,
    out: &'a mut W,
}

impl<W: io::Write> Page<'_, W> {
    fn field(&mut self, label: &str, value: &str) -> io::Result<()> {
        let label = self.style.paint(Paint::Faint, &format!("{label:<11}"));
        let line = format!("  {label}{value}");
        writeln!(self.out, "{}", line.trim_end())
    }

    fn warning(&mut self, text: &str) -> io::Result<()> {
        let text = self.style.paint(Paint::Machine, &format!("! {text}"));
        writeln!(self.out, "  {text}")
    }
}

/// What is said of a build that is lost because its deadline has passed.
pub(in crate::status) fn silence(build: &BuildStatus, now: Timestamp) -> String {
    let overdue = age(now.since(build.order.deadline(build.state)));
    let what = match build.state {
        BuildState::Ordered => "accepted",
        BuildState::Accepted | BuildState::Running { .. } | BuildState::Done { .. } => "over",
    };
    format!("no word from the slave, and it was to be {what} {overdue} ago")
}

fn headline(build: &BuildStatus, now: Timestamp, style: Style) -> String {
    let Some(verdict) = build.verdict(now) else {
        let (text, paint) = state_badge(build.state);
        return style.paint(paint, text);
    };
    let verdict = style.verdict(verdict);
    let Some(ending) = &build.ending else {
        return format!("{verdict}: {}", silence(build, now));
    };
    let detail = detail(&ending.body);
    let ago = age(now.since(ending.at()));
    let took = build.started().map_or_else(String::new, |started| {
        format!(", took {}", span(ending.issued.since(started)))
    });
    format!("{verdict}{detail}, {ago} ago{took}")
}

/// What the report that ended a build adds to the verdict.
pub(in crate::status) fn detail(body: &ReportBody) -> String {
    match body {
        ReportBody::Refused { code, detail } => format!(" {code}: {detail}"),
        ReportBody::Deferred { until } => format!(": put off until {until}"),
        ReportBody::Finished {
            detail: Some(detail),
            ..
        }
        | ReportBody::Lost { detail } => format!(": {detail}"),
        ReportBody::Finished { detail: None, .. }
        | ReportBody::Accepted { .. }
        | ReportBody::StepStarted { .. }
        | ReportBody::StepFinished { .. } => String::new(),
    }
}

fn failing<W: io::Write>(build: &BuildStatus, page: &mut Page<'_, W>) -> io::Result<()> {
    let Failing { tests, more } = Failing::of(build);
    let lines = tests.iter().map(|(name, message)| match message {
        Some(message) => format!("{name}: {message}"),
        None => name.to_string(),
    });
    let rest = (more > 0).then(|| format!("and {more} more"));
    for (number, line) in lines.chain(rest).enumerate() {
        page.field(if number == 0 { "failing" } else { "" }, &line)?;
    }
    Ok(())
}

fn describe(source: &Source) -> String {
    format!(
        "{} {} {}",
        source.repository, source.branch, source.revision
    )
}

fn covers<W: io::Write>(board: &Board, order: &Build, page: &mut Page<'_, W>) -> io::Result<()> {
    for id in &order.covers {
        let Some(change) = board.change(id) else {
            page.field(
                "covers",
                &format!("change {}, no longer on record", id.short()),
            )?;
            continue;
        };
        page.field(
            "covers",
            &format!(
                "{} {} moved to {}",
                change.repository,
                change.branch,
                change.revision.short()
            ),
        )?;
        for commit in commits(change) {
            page.field("", &commit)?;
        }
        if change.more > 0 {
            page.field("", &format!("and {} more commits", change.more))?;
        }
    }
    Ok(())
}

fn describe_step(
    number: usize,
    build: &BuildStatus,
    step: &StepStatus,
    now: Timestamp,
    style: Style,
) -> String {
    let place = format!("{number}/{} {}", build.steps.len(), step.name);
    let (text, paint) = step_badge(build, step, now);
    let Some(outcome) = &step.outcome else {
        return format!("{place}  {}", style.paint(paint, text));
    };
    let mut parts = vec![style.paint(paint, text), span(outcome.duration)];
    parts.extend(outcome.exit.map(|exit| format!("exit {exit}")));
    parts.extend(outcome.signal.map(|signal| format!("signal {signal}")));
    parts.extend(over_limit(outcome));
    parts.extend(outcome.tests.as_ref().map(|tests| {
        format!(
            "{} tests passed, {} failed, {} skipped",
            tests.passed, tests.failed, tests.skipped
        )
    }));
    parts.extend(outcome.cpu.map(|cpu| format!("CPU {}", span(cpu))));
    parts.extend(
        outcome
            .peak_memory
            .map(|bytes| format!("memory {} MiB{}", bytes >> 20, inexact(outcome))),
    );
    parts.extend(
        outcome
            .peak_processes
            .map(|count| format!("{count} processes")),
    );
    format!("{place}  {}", parts.join(", "))
}

fn describe_log(outcome: &Outcome) -> String {
    let cut = match outcome.log_cut {
        0 => String::new(),
        cut => format!(" ({cut} more cut off)"),
    };
    format!("log {} bytes{cut}, {}", outcome.log_bytes, outcome.log)
}

fn times<W: io::Write>(build: &BuildStatus, page: &mut Page<'_, W>) -> io::Result<()> {
    let issued = build.order.issued;
    page.field("ordered", &issued.to_string())?;
    if let Some(received) = build.received {
        page.field(
            "received",
            &format!("{received}, {}", later(issued, received)),
        )?;
        if let Some(started) = build.started() {
            page.field(
                "started",
                &format!("{started}, {}", later(received, started)),
            )?;
        }
    }
    let Some(Ending {
        issued,
        stored,
        body,
        ..
    }) = &build.ending
    else {
        return Ok(());
    };
    page.field(
        "ended",
        &format!("{issued}, stored {}", later(*issued, *stored)),
    )?;
    if let ReportBody::Finished {
        log,
        isolation,
        network,
        ..
    } = body
    {
        page.field("isolation", &confined(*isolation, *network))?;
        page.field("logs", &log.to_string())?;
    }
    Ok(())
}

/// How much later `to` is. Two machines' clocks may say that it is earlier.
pub(in crate::status) fn later(from: Timestamp, to: Timestamp) -> String {
    if to < from {
        format!("{} before that, so the clocks differ", span(from.since(to)))
    } else {
        format!("{} later", span(to.since(from)))
    }
}

#[cfg(test)]
mod tests;
