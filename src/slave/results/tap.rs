//! The Test Anything Protocol, versions 12 to 14.
//!
//! Of subtests, which are indented, the line counts that sums them up. Whatever is no line of the protocol is output
//! that came in between.

use std::io::{self, BufRead};

use super::Fault;
use super::bounded::{Bounded, MAX_LINE};

/// Reads one file.
pub(super) fn read(mut input: impl BufRead, found: &mut Bounded) -> Result<(), Fault> {
    let mut document = Document::default();
    let mut line = Vec::new();
    let ending = loop {
        match next_line(&mut input, &mut line) {
            Ok(true) => document.take(&String::from_utf8_lossy(&line), found),
            Ok(false) => break document.ends(),
            Err(error) => break Err(error.into()),
        }
    };
    document.settle(found);
    ending
}

/// Reads the next line, as much of it as is looked at. False at the end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = memchr::memchr(b'\n', available);
        let piece = &available[..end.unwrap_or(available.len())];
        line.extend_from_slice(&piece[..piece.len().min(MAX_LINE - line.len())]);
        let used = end.map_or(available.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[derive(Default)]
struct Document {
    /// How many tests were announced, as written: it may be any number.
    plan: Option<String>,
    tests: u64,
    skipped_whole: bool,
    bailed_out: Option<String>,
    /// The newest failure, whose message may follow.
    failure: Option<(String, Option<String>)>,
    in_block: bool,
}

impl Document {
    fn take(&mut self, line: &str, found: &mut Bounded) {
        let line = line.trim_end();
        if line.starts_with([' ', '\t']) {
            // What is indented further belongs to a subtest.
            if let Some(own) = line.strip_prefix("  ") {
                self.explain_in_block(own);
            }
        } else if let Some(comment) = line.strip_prefix('#') {
            let comment = comment.trim_start();
            // Perl first says the name once more.
            if comment.starts_with("Subtest") {
                self.settle(found);
            } else if !comment.starts_with("Failed test") {
                self.explain(comment);
            }
        } else if let Some(rest) = word(line, "not ok") {
            self.settle(found);
            self.tests += 1;
            let test = Test::of(rest, self.tests);
            match test.directive {
                // Not to be counted on yet, so it says nothing.
                Directive::Skip | Directive::Todo => found.skipped(),
                Directive::None => self.failure = Some((test.name, None)),
            }
        } else if let Some(rest) = word(line, "ok") {
            self.settle(found);
            self.tests += 1;
            match Test::of(rest, self.tests).directive {
                Directive::Skip => found.skipped(),
                Directive::Todo | Directive::None => found.passed(),
            }
        } else if let Some(reason) = line.strip_prefix("Bail out!") {
            self.bailed_out
                .get_or_insert_with(|| reason.trim().to_owned());
        } else if let Some(rest) = line.strip_prefix("1..") {
            self.settle(found);
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            let planned = rest[..digits].trim_start_matches('0');
            if digits > 0 && self.plan.is_none() {
                self.plan = Some(if planned.is_empty() { "0" } else { planned }.to_owned());
                if planned.is_empty() && !std::mem::replace(&mut self.skipped_whole, true) {
                    found.skipped();
                }
            }
        }
    }

    /// A line below the newest result: of its YAML block the error counts.
    fn explain_in_block(&mut self, line: &str) {
        match line {
            "---" => self.in_block = true,
            "..." => self.in_block = false,
            line if self.in_block => {
                let mut keys = ["message:", "error:"].into_iter();
                if let Some(message) = keys.find_map(|key| line.strip_prefix(key)) {
                    self.explain(message.trim().trim_matches(['"', '\'']));
                }
            }
            _ => {}
        }
    }

    /// Gives the newest failure its message, if it has none yet.
    fn explain(&mut self, message: &str) {
        if let Some((_, said @ None)) = &mut self.failure
            && !message.is_empty()
        {
            *said = Some(message.to_owned());
        }
    }

    /// Counts the newest failure: nothing more can be said of it.
    fn settle(&mut self, found: &mut Bounded) {
        self.in_block = false;
        if let Some((name, message)) = self.failure.take() {
            found.failed(&name, message.as_deref());
        }
    }

    fn ends(&mut self) -> Result<(), Fault> {
        if let Some(reason) = self.bailed_out.take() {
            return Err(Fault::BailedOut(reason));
        }
        match self.plan.take() {
            Some(planned) if planned != self.tests.to_string() => Err(Fault::Plan {
                planned,
                found: self.tests,
            }),
            None if self.tests == 0 => Err(Fault::Empty),
            Some(_) | None => Ok(()),
        }
    }
}

/// What follows `word` and the space after it.
fn word<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(word)?;
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then(|| rest.trim_start())
}

enum Directive {
    None,
    Skip,
    Todo,
}

struct Test {
    name: String,
    directive: Directive,
}

impl Test {
    /// Of what stands after `ok`: a number, a description and a directive, all of which may be missing.
    fn of(rest: &str, count: u64) -> Self {
        let rest = rest
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .trim_start();
        let rest = rest.strip_prefix('-').unwrap_or(rest).trim_start();
        let (name, directive) = directive(rest);
        let name = name.trim().replace("\\#", "#").replace("\\\\", "\\");
        Self {
            name: if name.is_empty() {
                format!("test {count}")
            } else {
                name
            },
            directive,
        }
    }
}

/// Splits a directive off, which begins at a `#` that is not escaped.
fn directive(rest: &str) -> (&str, Directive) {
    for (at, _) in rest.match_indices('#') {
        let backslashes = rest[..at].bytes().rev().take_while(|byte| *byte == b'\\');
        let escaped = backslashes.count() % 2 == 1;
        let after = rest[at + 1..].trim_start();
        let begins = |word: &str| {
            after
                .get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        match () {
            () if escaped => {}
            () if begins("skip") => return (&rest[..at], Directive::Skip),
            () if begins("todo") => return (&rest[..at], Directive::Todo),
            () => {}
        }
    }
    (rest, Directive::None)
}
