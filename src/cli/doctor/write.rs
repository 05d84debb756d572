//! The findings, for people and for programs.
//!
//! `--json` writes one document, `pybots.doctor.v1`, by the rules of [`crate::status::json`]: a field is added without a
//! new number, and none is renamed or removed without one.
//!
//! | field | holds |
//! |---|---|
//! | `schema` | `pybots.doctor.v1` |
//! | `version`, `platform` | of this program |
//! | `now` | when it looked |
//! | `findings` | in the order of the checks: `id` (stable), `about` (`slave`, `master`, `viewer`; empty: the machine as such), `state` (`ok`, `warn`, `fail`, `skip`), `found`; `effect` and `fix` with `warn` and `fail`, else `null` |
//! | `failures`, `warnings` | how many of them |

use std::collections::BTreeSet;
use std::io;

use serde::Serialize;

use super::finding::{Check, Examination, Finding, Part, State};
use crate::model::Timestamp;
use crate::status::text::Style;

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: &'static str,
    platform: String,
    now: Timestamp,
    findings: Vec<FindingDocument<'a>>,
    failures: usize,
    warnings: usize,
}

#[derive(Serialize)]
struct FindingDocument<'a> {
    id: Check,
    about: &'a BTreeSet<Part>,
    state: State,
    found: String,
    effect: Option<String>,
    fix: Option<String>,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Paths and programs' words are one line, and steer no terminal.
fn line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Writes the findings as one document.
pub(super) fn json(
    examination: &Examination,
    now: Timestamp,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let document = Document {
        schema: "pybots.doctor.v1",
        version: VERSION,
        platform: platform(),
        now,
        findings: examination
            .findings()
            .iter()
            .map(|finding| FindingDocument {
                id: finding.check,
                about: &finding.about,
                state: finding.judgement.state(),
                found: line(finding.judgement.found()),
                effect: finding.judgement.trouble().map(|t| line(&t.effect)),
                fix: finding.judgement.trouble().map(|t| line(&t.fix)),
            })
            .collect(),
        failures: examination.count(State::Fail),
        warnings: examination.count(State::Warn),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

/// Writes the findings as aligned lines, and what to do below each that needs something.
pub(super) fn text(
    examination: &Examination,
    style: Style,
    out: &mut impl io::Write,
) -> io::Result<()> {
    writeln!(out, "pybots {VERSION} on {}", platform())?;
    let width = examination
        .findings()
        .iter()
        .map(|finding| finding.check.id().len())
        .max()
        .unwrap_or(0);
    for finding in examination.findings() {
        finding_lines(finding, width, style, out)?;
    }
    let plural = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    writeln!(
        out,
        "{}, {}.",
        plural(examination.count(State::Fail), "failure"),
        plural(examination.count(State::Warn), "warning"),
    )
}

fn finding_lines(
    finding: &Finding,
    width: usize,
    style: Style,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let (word, colour) = match finding.judgement.state() {
        State::Ok => ("ok  ", "32"),
        State::Warn => ("WARN", "33"),
        State::Fail => ("FAIL", "1;31"),
        State::Skip => ("--  ", "2"),
    };
    let word = match style {
        Style::Plain => word.to_owned(),
        Style::Colour => format!("\x1b[{colour}m{word}\x1b[0m"),
    };
    let about: Vec<&str> = finding.about.iter().map(|part| part.word()).collect();
    let about = if about.is_empty() {
        String::new()
    } else {
        format!("{}: ", about.join(", "))
    };
    let id = finding.check.id();
    let found = line(finding.judgement.found());
    writeln!(out, " {id:<width$}  {word}  {about}{found}")?;
    if let Some(trouble) = finding.judgement.trouble() {
        let indent = width + 9;
        writeln!(out, "{:indent$}so:  {}", "", line(&trouble.effect))?;
        writeln!(out, "{:indent$}fix: {}", "", line(&trouble.fix))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::finding::Judgement;
    use super::*;

    fn examination() -> Examination {
        Examination::new(vec![
            Judgement::ok("reached").of(Check::Bus, Part::Slave),
            Judgement::ok("reached").of(Check::Bus, Part::Viewer),
            Judgement::fail(
                "bar.sh is\x1b[2J shared",
                "others run code",
                "chmod go-w bar.sh",
            )
            .of(Check::Scripts, Part::Slave),
            Judgement::skip("not asked").of_machine(Check::Clock),
            Judgement::warn("missing", "no tests", "install it").of_machine(Check::Git),
        ])
    }

    #[test]
    fn people_get_one_aligned_line_each_and_what_to_do_below_it() {
        let mut out = Vec::new();
        text(&examination(), Style::Plain, &mut out).unwrap();
        let written = String::from_utf8(out).unwrap();
        let (_, written) = written.split_once('\n').unwrap();
        insta::assert_snapshot!(written, @r"
         scripts  FAIL  slave: bar.sh is [2J shared
                        so:  others run code
                        fix: chmod go-w bar.sh
         bus      ok    slave, viewer: reached
         clock    --    not asked
         git      WARN  missing
                        so:  no tests
                        fix: install it
        1 failure, 1 warning.
        ");
    }

    #[test]
    fn colour_is_only_ever_beside_a_word() {
        let mut out = Vec::new();
        text(&examination(), Style::Colour, &mut out).unwrap();
        let written = String::from_utf8(out).unwrap();
        for word in ["[32mok  ", "[33mWARN", "[1;31mFAIL", "[2m--  "] {
            assert!(written.contains(&format!("\x1b{word}\x1b[0m")), "{word}");
        }
    }

    #[test]
    fn programs_get_one_document_with_an_effect_and_a_fix_for_all_that_is_wrong() {
        let mut out = Vec::new();
        json(&examination(), Timestamp(0), &mut out).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(document["schema"], "pybots.doctor.v1");
        assert_eq!(document["failures"], 1);
        let findings = document["findings"].as_array().unwrap();
        assert_eq!(findings[0]["id"], "scripts");
        assert_eq!(findings[0]["found"], "bar.sh is [2J shared");
        assert_eq!(findings[0]["fix"], "chmod go-w bar.sh");
        assert_eq!(findings[1]["about"], serde_json::json!(["slave", "viewer"]));
        assert_eq!(findings[1]["fix"], serde_json::Value::Null);
        assert_eq!(findings[2]["state"], "skip");
    }
}
