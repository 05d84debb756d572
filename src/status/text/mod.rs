//! The board, builds, reports and logs as text for people. A glyph never stands without its word, nor a colour without both.

mod board;
mod build;
mod entry;
mod explanation;
mod list;
mod log;
mod odd;
mod progress;
pub(super) mod since;
mod span;
mod step;
mod table;
mod verification;

pub use board::write_board;
pub(super) use build::silence;
pub use build::write_build;
pub use entry::write_entry;
pub use explanation::write_explanation;
pub use list::write_builds;
pub use log::{LogPrinter, write_raw_log};
pub use progress::{progress_line, write_news};
pub use span::{age, span};
pub use verification::write_verification;

pub(super) use board::slave_mark;
pub(super) use build::{detail, later};
pub(super) use odd::warnings;
pub(super) use step::{
    Failing, confined, confined_otherwise, edited, inexact, over_limit, step_badge,
};

use crate::model::{BuildState, Verdict};
use crate::status::row::Shown;

/// How text may look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Style {
    /// Without any escape sequence.
    #[default]
    Plain,
    /// With ANSI colours.
    Colour,
}

/// What a colour says; the word beside it says the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Paint {
    Plain,
    Good,
    Warning,
    Bad,
    Busy,
    Machine,
    Faint,
    Strong,
}

impl Style {
    fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Plain => "",
            Paint::Good => "32",
            Paint::Warning => "33",
            Paint::Bad => "1;31",
            Paint::Busy => "36",
            Paint::Machine => "35",
            Paint::Faint => "2",
            Paint::Strong => "1",
        };
        match self {
            Self::Colour if !code.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain | Self::Colour => text.to_owned(),
        }
    }

    /// Glyph and word of a verdict.
    fn verdict(self, verdict: Verdict) -> String {
        let (text, paint) = badge(verdict);
        self.paint(paint, text)
    }
}

pub(super) const RUNNING: (&str, Paint) = ("… running", Paint::Busy);
const NOT_RUN: (&str, Paint) = ("- not run", Paint::Faint);

/// How far a build is that is not over.
pub(super) fn state_badge(state: BuildState) -> (&'static str, Paint) {
    let text = match state {
        BuildState::Running { .. } => RUNNING.0,
        BuildState::Accepted => "… accepted",
        BuildState::Ordered | BuildState::Done { .. } => "… ordered",
    };
    (text, RUNNING.1)
}

/// Only `passed` is green, and only what is wrong with the code is red; what went wrong with the machine or the farm has a
/// mark of its own.
pub(super) fn badge(verdict: Verdict) -> (&'static str, Paint) {
    match verdict {
        Verdict::Passed => ("✓ passed", Paint::Good),
        Verdict::Warned => ("~ warned", Paint::Warning),
        Verdict::Failed => ("✗ FAILED", Paint::Bad),
        Verdict::Skipped => ("- skipped", Paint::Faint),
        Verdict::Refused => ("/ refused", Paint::Machine),
        Verdict::Cancelled => ("/ cancelled", Paint::Faint),
        Verdict::TimedOut => ("! timed-out", Paint::Machine),
        Verdict::Errored => ("! errored", Paint::Machine),
        Verdict::Lost => ("! lost", Paint::Machine),
    }
}

/// Glyph and words of a row. What is not known is never green.
pub(super) fn shown_badge(shown: Shown) -> (String, Paint) {
    match shown {
        Shown::Verdict(verdict) => {
            let (text, paint) = badge(verdict);
            (text.to_owned(), paint)
        }
        Shown::Stale(verdict) => {
            // Glyph and word are parted by the first space.
            let (text, _) = badge(verdict);
            let word = text.split_once(' ').map_or(text, |(_, word)| word);
            (format!("? stale, was {word}"), Paint::Machine)
        }
        Shown::Unknown => ("? unknown".to_owned(), Paint::Faint),
    }
}
