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
    let mut parts = vec![format!("{} bytes", log.held)];
    if log.missing > 0 {
        parts.push(format!("{} more are missing", log.missing));
    }
    if log.cut > 0 {
        parts.push(format!("{} more were cut off at the owner's cap", log.cut));
    }
    parts.push(
        match log.digest {
            Digested::Fits => "digest fits",
            Digested::Differs => "digest does NOT fit",
            Digested::Incomplete => "so the digest cannot be compared",
            Digested::Unnamed => "no report here names their digest",
        }
        .to_owned(),
    );
    parts.join(", ")
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
        let verified = match found.verdict() {
            Some(_) => "verified",
            None => "verified so far",
        };
        let result = style.paint(Paint::Strong, &format!("{verified}: {name}"));
        return writeln!(out, "{result} {}{but}", style.paint(paint, word));
    }
    for finding in &found.findings {
        let text = format!("NOT verified: {finding}");
        writeln!(out, "{}", style.paint(Paint::Bad, &text))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FarmId;
    use crate::status::verify::sample::Case;
    use crate::status::{verify, verify_file};
    use crate::wire::Bundle;

    fn written(found: &Verification) -> String {
        let mut out = Vec::new();
        write_verification(found, Style::Plain, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn who_signed_what_when_is_said_in_plain_words() {
        let case = Case::new();
        let bundle = Bundle {
            cancel: Some(case.cancel(case.command_id())),
            log: Some(vec![
                case.chunk(0, 0, b"hello\n"),
                case.chunk(1, 2, b"llo\n"),
            ]),
            ..case.bundle()
        };
        insta::assert_snapshot!(written(&verify(case.sample.farm, &bundle, &[])), @"
        keyring    0.0 of farm sample, SHA256:bdPKORQHvICH01ndg4gqODqcPcbri0zEHVLi3BsanyA (horse oxygen mixture chimney knock doctor butter hen)
        roster     3, signed by signing key SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw at 2026-11-22T18:00:00.000Z: slave maple has report key SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk
        command    foo-maple/2, signed by signing key SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw at 2026-11-22T18:03:20.000Z: test foo at cpython main aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (check-in on cpython main)
        cancel     signed by signing key SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw at 2026-11-22T18:03:24.000Z: not needed any more
        report 17  maple, at 2026-11-22T18:03:20.000Z: accepted the command
        report 18  maple, at 2026-11-22T18:03:21.000Z: started step 1 build-python, script SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw
        report 19  maple, at 2026-11-22T18:03:22.000Z: step 1 ended: passed, exit 0
        report 20  maple, at 2026-11-22T18:03:23.000Z: started step 2 test-project, script SHA256:dchNIKCqkMWen0O760wOS9QuTFGES7y+zE80em6wToo
        report 21  maple, at 2026-11-22T18:03:24.000Z: step 2 ended: failed, exit 1
        report 22  maple, at 2026-11-22T18:03:25.000Z: finished: failed
        log        step 1 build-python: 6 bytes, digest fits
        log        step 2 test-project: 4 bytes, 2 more are missing, so the digest cannot be compared
        note       judged by keyring 0.0; a newer one, if there is one, may say otherwise
        verified: foo-maple/2 failed, but 2 bytes of its log are missing
        ");
    }

    #[test]
    fn every_reason_has_a_line_of_its_own_at_the_end() {
        let case = Case::new();
        let mut bundle = case.bundle();
        bundle.reports.truncate(2);
        bundle.reports.swap(0, 1);
        bundle.log = Some(vec![bundle.command.clone()]);
        let shown = written(&verify(case.sample.farm, &bundle, &[]));
        let reasons: Vec<&str> = shown
            .lines()
            .filter(|line| line.starts_with("NOT"))
            .collect();
        insta::assert_snapshot!(reasons.join("\n"), @"
        NOT verified: report no. 2: the slave's report 17 stands behind its report 18 (E-ORDER)
        NOT verified: piece no. 1 of the log: message is a command, where a log must stand (E-KIND)
        ");
        assert!(shown.ends_with(&format!("{}\n", reasons.last().unwrap())));
        assert!(!shown.contains("\nverified"));
    }

    #[test]
    fn what_cannot_be_opened_shows_nothing_but_the_reason() {
        let case = Case::new();
        let file = case.bundle().to_bytes().unwrap();
        let shown = [
            written(&verify_file(case.sample.farm, &file.slice(..1000), &[])),
            written(&verify_file(case.sample.farm, &file.slice(1..), &[])),
            written(&verify_file(FarmId([9; 32]), &file, &[])),
        ];
        insta::assert_snapshot!(shown.concat(), @"
        NOT verified: the bundle ends in the middle: it was cut off after 1000 bytes (E-TRUNCATED)
        NOT verified: this is no bundle (E-BUNDLE)
        NOT verified: keyring no. 1: this keyring is that of farm SHA256:bdPKORQHvICH01ndg4gqODqcPcbri0zEHVLi3BsanyA, not of the pinned farm SHA256:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk (E-FARM)
        ");
    }
}
