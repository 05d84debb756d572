//! Test results so far, within limits whatever the files say.

use anstream::adapter::strip_str;

use crate::model::{FailedTest, TestResults, Text};

/// Of the tests that failed, so many are listed.
const MAX_FAILING: usize = 60;

/// So many warnings are kept, a last one included that counts the others.
const MAX_WARNINGS: usize = 8;

/// Longest name, message or warning, in bytes. With the limits above, a report takes half of what a message may.
const MAX_TEXT: usize = 200;

/// So much of a line is looked at, in bytes: it may be full of escape sequences, which are taken out.
pub(super) const MAX_LINE: usize = 1024;

/// Test results so far.
#[derive(Debug, Default)]
pub(super) struct Bounded {
    results: TestResults,
    files: usize,
    unsaid: usize,
}

impl Bounded {
    /// A result file was there.
    pub(super) fn file(&mut self) {
        self.files += 1;
    }

    pub(super) fn passed(&mut self) {
        self.results.passed = self.results.passed.saturating_add(1);
    }

    pub(super) fn skipped(&mut self) {
        self.results.skipped = self.results.skipped.saturating_add(1);
    }

    pub(super) fn failed(&mut self, name: &str, message: Option<&str>) {
        self.results.failed = self.results.failed.saturating_add(1);
        if self.results.failing.len() < MAX_FAILING {
            self.results.failing.push(FailedTest {
                name: short(name),
                message: message.map(short).filter(|text| !text.as_str().is_empty()),
            });
        } else {
            self.results.unlisted = self.results.unlisted.saturating_add(1);
        }
    }

    pub(super) fn warn(&mut self, warning: &str) {
        if self.results.warnings.len() + 1 < MAX_WARNINGS {
            self.results.warnings.push(short(warning));
        } else {
            self.unsaid += 1;
        }
    }

    /// All of it; none if nothing was there.
    pub(super) fn finish(mut self) -> Option<TestResults> {
        if self.unsaid > 0 {
            let unsaid = format!("and {} more warnings", self.unsaid);
            self.results.warnings.push(short(&unsaid));
        }
        (self.files > 0 || !self.results.warnings.is_empty()).then_some(self.results)
    }
}

/// The first line that says something, without escape sequences and not too long.
fn short(raw: &str) -> Text {
    let start = cut(raw, MAX_LINE);
    let mut lines = start.lines().map(|line| strip_str(line).to_string());
    let line = lines.find(|line| !line.trim().is_empty());
    let tidy = Text::tidy(line.unwrap_or_default().trim());
    if tidy.as_str().len() <= MAX_TEXT {
        return tidy;
    }
    Text::tidy(&format!(
        "{}…",
        cut(tidy.as_str(), MAX_TEXT - '…'.len_utf8())
    ))
}

/// The longest beginning of whole characters that has at most `room` bytes.
pub(super) fn cut(text: &str, room: usize) -> &str {
    let mut end = text.len().min(room);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What a runner says of a failure, as it comes in pieces: its first line, but of a Python traceback the line with the
/// exception.
#[derive(Debug, Default)]
pub(super) struct Said {
    first: String,
    raised: String,
    line: String,
    /// Whether the line before was indented, as those of a traceback are up to the exception.
    indented: bool,
}

impl Said {
    /// Takes in more text.
    pub(super) fn more(&mut self, text: &str) {
        let mut pieces = text.split('\n');
        self.line
            .push_str(cut(pieces.next().unwrap_or_default(), self.room()));
        for piece in pieces {
            self.line_ends();
            self.line.push_str(cut(piece, self.room()));
        }
    }

    fn room(&self) -> usize {
        MAX_LINE - self.line.len()
    }

    fn line_ends(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.trim().is_empty() {
            return;
        }
        let indented = line.starts_with([' ', '\t']);
        if self.first.is_empty() {
            self.first = line;
        } else if self.indented && !indented {
            self.raised = line;
        }
        self.indented = indented;
    }

    /// The line to show, if anything was said.
    pub(super) fn line(mut self) -> Option<String> {
        self.line_ends();
        let traceback = self.first.starts_with("Traceback (most recent call last)");
        let line = if traceback && !self.raised.is_empty() {
            self.raised
        } else {
            self.first
        };
        (!line.is_empty()).then_some(line)
    }
}
