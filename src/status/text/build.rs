//! One build, in full.

use std::io;

use crate::model::{Build, Isolation, Outcome, ReportBody, Source, Timestamp};

use super::odd::warnings;
use super::since::{commits, since_last_pass};
use super::{NOT_RUN, Paint, RUNNING, Style, age, badge, span, state_badge};
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

fn headline(build: &BuildStatus, now: Timestamp, style: Style) -> String {
    let Some(verdict) = build.verdict(now) else {
        let (text, paint) = state_badge(build.state);
        return style.paint(paint, text);
    };
    let verdict = style.verdict(verdict);
    let Some(ending) = &build.ending else {
        let overdue = age(now.since(build.order.finish_by));
        return format!("{verdict}: no word from the slave, and it was to be over {overdue} ago");
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
            .map(|bytes| format!("memory {} MiB", bytes >> 20)),
    );
    format!("{place}  {}", parts.join(", "))
}

/// Glyph and word of a step.
pub(in crate::status) fn step_badge(
    build: &BuildStatus,
    step: &StepStatus,
    now: Timestamp,
) -> (&'static str, Paint) {
    let over = build.verdict(now).is_some();
    match (&step.outcome, step.started, over) {
        (Some(outcome), _, _) => badge(outcome.verdict),
        (None, Some(_), false) => RUNNING,
        (None, Some(_), true) => ("? unknown", Paint::Machine),
        (None, None, true) => NOT_RUN,
        (None, None, false) => ("… waiting", Paint::Faint),
    }
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
    if let ReportBody::Finished { log, isolation, .. } = body {
        page.field("isolation", isolation_word(*isolation))?;
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

/// The word for an isolation level.
pub(in crate::status) fn isolation_word(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Plain => "plain",
        Isolation::Landlock => "landlock",
        Isolation::Namespaces => "namespaces",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BuildId, Verdict};
    use crate::status::sample::{Sample, at, ended, finished, started, text};

    fn written(board: &Board, number: u64, now: Timestamp) -> String {
        let id = BuildId {
            builder: "foo-maple".parse().unwrap(),
            number,
        };
        let mut out = Vec::new();
        write_build(
            board,
            board.build(&id).unwrap(),
            now,
            Style::Plain,
            &mut out,
        )
        .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_build_that_is_over_is_shown_in_full() {
        let sample = Sample::new();
        let mut board = sample.board();
        board.apply(sample.changed(1, 'a'));
        let order = sample.order("foo-maple", 1, 'a');
        board.apply(sample.ordered(1, &order));
        for event in sample.run(&order, 1, Verdict::Failed) {
            board.apply(event);
        }
        insta::assert_snapshot!(written(&board, 1, at(300)), @"
        foo-maple/1  ✗ FAILED, 3 min ago, took 19.9 s
          project    foo
          slave      maple
          reason     check-in on cpython main
          source     cpython main aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
          covers     cpython main moved to aaaaaaaaaa
                     aaaaaaaaaa Remove frobnicate (Eve)
          last pass  none: it never passed before, so there is nothing to compare with
          step       1/2 build-python  ✓ passed, 9.4 s, exit 0, CPU 7.2 s, memory 90 MiB
                     log 6 bytes, SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM
                     script SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw
          step       2/2 test-project  ✗ FAILED, 9.4 s, exit 1, 41 tests passed, 1 failed, 2 skipped, CPU 7.2 s, memory 90 MiB
                     log 6 bytes, SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM
                     script SHA256:dchNIKCqkMWen0O760wOS9QuTFGES7y+zE80em6wToo
          ordered    2026-11-22T18:01:40.000Z
          received   2026-11-22T18:01:40.002Z, 2.3 ms later
          started    2026-11-22T18:01:40.006Z, 4.1 ms later
          ended      2026-11-22T18:02:00.000Z, stored 1.0 ms later
          isolation  plain
          logs       SHA256:mPOPEtsiGoz4ynqt/c11mwHVLrTrs+7bstl+koBcaWA
          command    SHA256:qL88SwJjjM+TfFmr1GtEn4O/StTymp71sgrP9sBxx/c signed by SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw
          report     SHA256:VjdAn2NONFPo3llSTsAIqBhEpIXPT5MrmMUW0/wZb2Q signed by SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk
        ");
    }

    #[test]
    fn a_build_that_runs_shows_how_far_it_is() {
        let sample = Sample::new();
        let mut board = sample.board();
        let order = sample.order("foo-maple", 1, 'a');
        board.apply(sample.ordered(1, &order));
        board.apply(sample.reported(&order, 1, 1, started(0, at(101))));
        board.apply(sample.reported(&order, 2, 2, ended(0, 0)));
        insta::assert_snapshot!(written(&board, 1, at(110)), @"
        foo-maple/1  … running
          project    foo
          slave      maple
          reason     check-in on cpython main
          source     cpython main aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
          covers     change 224ee6efdf25, no longer on record
          last pass  none: it never passed before, so there is nothing to compare with
          step       1/2 build-python  ✓ passed, 9.4 s, exit 0, CPU 7.2 s, memory 90 MiB
                     log 6 bytes, SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM
                     script SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw
          step       2/2 test-project  … waiting
          ordered    2026-11-22T18:01:40.000Z
          command    SHA256:qL88SwJjjM+TfFmr1GtEn4O/StTymp71sgrP9sBxx/c signed by SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw
        ");
    }

    #[test]
    fn what_is_odd_about_a_build_is_said() {
        let sample = Sample::new();
        let mut board = sample.board();
        let order = sample.order("foo-maple", 1, 'a');
        let received = ReportBody::Accepted { received: at(99) };
        let lost = ReportBody::Lost {
            detail: text("the slave was restarted"),
        };
        board.apply(sample.ordered(1, &order));
        board.apply(sample.ordered(2, &sample.order("foo-maple", 1, 'b')));
        board.apply(sample.cancelled(3, &order));
        board.apply(sample.reported(&order, 1, 1, received));
        board.apply(sample.reported(&order, 2, 1, started(0, at(101))));
        board.apply(sample.reported(&order, 3, 2, lost));
        insta::assert_snapshot!(written(&board, 1, at(110)), @"
        foo-maple/1  ! lost: the slave was restarted, 8 s ago, took 1.0 s
          project    foo
          slave      maple
          reason     check-in on cpython main
          source     cpython main aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
          covers     change 224ee6efdf25, no longer on record
          last pass  none: it never passed before, so there is nothing to compare with
          step       1/2 build-python  ? unknown
                     script SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw
          step       2/2 test-project  - not run
          ordered    2026-11-22T18:01:40.000Z
          received   2026-11-22T18:01:39.000Z, 1.0 s before that, so the clocks differ
          started    2026-11-22T18:01:41.000Z, 2.0 s later
          ended      2026-11-22T18:01:42.000Z, stored 1.0 ms later
          command    SHA256:qL88SwJjjM+TfFmr1GtEn4O/StTymp71sgrP9sBxx/c signed by SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw
          report     SHA256:m87fk5aNql/IMrmryh+xYfLh8DdSseWw2PoBJ7YJx9c signed by SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk
          ! the master cancelled it: not needed any more
          ! 2 commands bear this name; the first of them is shown
        ");
        board.apply(sample.reported(&order, 4, 3, finished(Verdict::Passed)));
        let shown = written(&board, 1, at(110));
        assert!(
            shown.starts_with("foo-maple/1  ✓ passed, 7 s ago, took 2.0 s\n"),
            "{shown}"
        );
    }

    #[test]
    fn what_changed_since_the_last_pass_is_shown() {
        let sample = Sample::new();
        let mut board = sample.board();
        for (number, digit, verdict) in [(1, 'a', Verdict::Passed), (2, 'b', Verdict::Failed)] {
            let order = sample.order("foo-maple", number, digit);
            board.apply(sample.changed(number, digit));
            board.apply(sample.ordered(number, &order));
            for event in sample.run(&order, number * 10, verdict) {
                board.apply(event);
            }
        }
        let shown = written(&board, 2, at(300));
        let part = "
  last pass  foo-maple/1, 3 min ago
             cpython main aaaaaaaaaa → bbbbbbbbbb
             bbbbbbbbbb Remove frobnicate (Eve)
             more changes may lie in between: they are no longer on record
";
        assert!(shown.contains(part), "{shown}");
        assert!(!written(&board, 1, at(300)).contains("last pass"));
    }

    #[test]
    fn a_build_gone_silent_is_lost() {
        let sample = Sample::new();
        let mut board = sample.board();
        board.apply(sample.ordered(1, &sample.order("foo-maple", 1, 'a')));
        let shown = written(&board, 1, at(420));
        let headline =
            "foo-maple/1  ! lost: no word from the slave, and it was to be over 4 min ago\n";
        assert!(shown.starts_with(headline), "{shown}");
    }
}
