//! What a bundle proves: who signed what when, and at last whether it all fits together.

use std::io;

use super::{Paint, Style, badge};
use crate::model::{Build, Command, Keyring, ReportBody, Roster, Source, Text, Verdict};
use crate::status::build::BuildStatus;
use crate::status::verify::{Digested, StepLog, Verification};
use crate::trust::{Verified, words};

/// Writes what came of checking a bundle; the last line begins with `verified` or `NOT verified`.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_verification(
    found: &Verification,
    style: Style,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let mut page = Page { style, out };
    if let Some(keyring) = &found.keyring {
        page.line("keyring", &describe_keyring(found, keyring))?;
    }
    if let Some(roster) = &found.roster {
        page.line("roster", &describe_roster(found, roster))?;
    }
    if let Some(build) = &found.build {
        page.line("command", &describe_command(build))?;
    }
    if let Some(cancel) = &found.cancel {
        let (at, key) = (cancel.body().issued(), cancel.signer());
        let why = match cancel.body() {
            Command::Cancel(cancel) => &cancel.reason,
            Command::Build(build) => &build.reason,
        };
        page.line(
            "cancel",
            &format!("signed by signing key {key} at {at}: {why}"),
        )?;
    }
    for report in &found.reports {
        let said = report.body();
        let what = describe_report(&said.body);
        let label = format!("report {}", said.sequence);
        page.line(
            &label,
            &format!("{}, at {}: {what}", said.slave, said.issued),
        )?;
    }
    write_logs(found, &mut page)?;
    for note in &found.notes {
        page.line("note", note.as_str())?;
    }
    write_result(found, style, page.out)
}

/// Labelled lines.
struct Page<'a, W> {
    style: Style,
    out: &'a mut W,
}

impl<W: io::Write> Page<'_, W> {
    fn line(&mut self, label: &str, value: &str) -> io::Result<()> {
        let label = self.style.paint(Paint::Faint, &format!("{label:<11}"));
        writeln!(self.out, "{label}{value}")
    }
}

fn describe_keyring(found: &Verification, keyring: &Keyring) -> String {
    let (farm, name) = (found.farm, &keyring.name);
    let words = words(&farm);
    format!("{} of farm {name}, {farm} ({words})", keyring.position)
}

fn describe_roster(found: &Verification, roster: &Verified<Roster>) -> String {
    let key = roster.signer();
    let Roster {
        version, issued, ..
    } = roster.body();
    let signed = format!("{version}, signed by signing key {key} at {issued}");
    match (found.slave(), &found.build) {
        (Some(line), Some(build)) => {
            let key = build.order.report_key;
            format!("{signed}: slave {} has report key {key}", line.slave)
        }
        (None, _) | (_, None) => signed,
    }
}

fn describe_command(build: &BuildStatus) -> String {
    let Build {
        project,
        sources,
        issued,
        reason,
        ..
    } = &build.order;
    let sources: Vec<String> = sources.iter().map(describe_source).collect();
    format!(
        "{}, signed by signing key {} at {issued}: test {project} at {} ({reason})",
        build.id(),
        build.signer,
        sources.join(", ")
    )
}

fn describe_source(source: &Source) -> String {
    let Source {
        repository,
        branch,
        revision,
    } = source;
    format!("{repository} {branch} {revision}")
}

fn describe_report(body: &ReportBody) -> String {
    let because = |detail: Option<&Text>| detail.map_or_else(String::new, |why| format!(": {why}"));
    match body {
        ReportBody::Accepted { .. } => "accepted the command".to_owned(),
        ReportBody::Refused { code, detail } => format!("refused it, {code}: {detail}"),
        ReportBody::Deferred { until } => format!("put it off until {until}"),
        ReportBody::StepStarted {
            step, name, script, ..
        } => format!(
            "started step {} {name}, script {script}",
            u32::from(*step) + 1
        ),
        ReportBody::StepFinished { step, outcome } => {
            let exit = match (outcome.exit, outcome.signal) {
                (Some(exit), _) => format!(", exit {exit}"),
                (None, Some(signal)) => format!(", signal {signal}"),
                (None, None) => String::new(),
            };
            let step = u32::from(*step) + 1;
            format!("step {step} ended: {}{exit}", outcome.verdict)
        }
        ReportBody::Finished {
            verdict, detail, ..
        } => format!("finished: {verdict}{}", because(detail.as_ref())),
        ReportBody::Lost { detail } => format!("{}{}", Verdict::Lost, because(Some(detail))),
    }
}

fn write_logs<W: io::Write>(found: &Verification, page: &mut Page<'_, W>) -> io::Result<()> {
    let Some(build) = &found.build else {
        return Ok(());
    };
    let Some(logs) = &found.logs else {
        if found.slave().is_some() {
            page.line("log", "left out of the bundle")?;
        }
        return Ok(());
    };
    for log in logs {
        let name = build
            .steps
            .get(usize::from(log.step))
            .map_or("", |step| step.name.as_str());
        let step = u32::from(log.step) + 1;
        page.line("log", &format!("step {step} {name}: {}", describe_log(log)))?;
    }
    Ok(())
}

fn describe_log(log: &StepLog) -> String {
    let mut text = format!("{} bytes", log.held);
    if log.missing > 0 {
        text += &format!(", {} more are missing", log.missing);
    }
    if log.cut > 0 {
        text += &format!(", {} more were cut off at the owner's cap", log.cut);
    }
    let digest = match log.digest {
        Digested::Fits => "digest fits",
        Digested::Differs => "digest does NOT fit",
        Digested::Incomplete => "so the digest cannot be compared",
        Digested::Unnamed => "no report here names their digest",
    };
    format!("{text}, {digest}")
}

fn write_result(found: &Verification, style: Style, out: &mut impl io::Write) -> io::Result<()> {
    let name = found.build.as_ref().map(|build| build.id().to_string());
    if found.is_verified() {
        let name = name.unwrap_or_default();
        let (word, paint) = found.verdict().map_or(
            ("is not over: no report here ends it", Paint::Plain),
            |verdict| (verdict.word(), badge(verdict).1),
        );
        let but = match found.missing_log() {
            0 => String::new(),
            bytes => format!(", but {bytes} bytes of its log are missing"),
        };
        let result = style.paint(Paint::Strong, &format!("verified: {name}"));
        return writeln!(out, "{result} {}{but}", style.paint(paint, word));
    }
    for finding in &found.findings {
        let text = format!(
            "NOT verified: {}, {}: {}",
            finding.code, finding.part, finding.why
        );
        writeln!(out, "{}", style.paint(Paint::Bad, &text))?;
    }
    Ok(())
}
