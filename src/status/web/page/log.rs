//! A part of a log as HTML.

use std::time::Duration;

use super::super::colours::{Colours, escape};
use crate::model::Timestamp;
use crate::status::build::BuildStatus;
use crate::status::log_window::{Chosen, LineText, LogLine, LogView, LogWindow};
use crate::status::terminal::MARK;

/// The log's section.
pub(super) struct LogPart {
    /// The step's number from 1, and its name.
    pub(super) step: Option<(u32, String)>,
    pub(super) lines: Vec<HtmlLine>,
    /// A sentence in place of the lines.
    pub(super) instead: String,
    /// Which lines these are.
    pub(super) extent: String,
    pub(super) first: bool,
    pub(super) earlier: Option<u64>,
    pub(super) later: Option<u64>,
    pub(super) chosen: &'static str,
}

/// A line, already made safe.
pub(super) struct HtmlLine {
    pub(super) number: u64,
    pub(super) html: String,
}

/// The inner HTML of one log line.
#[must_use]
pub fn line_html(colours: &mut Colours, line: &LogLine) -> String {
    match &line.text {
        LineText::Output(safe) => colours.line(safe),
        LineText::Note(note) => {
            let mut html = String::from("<em>");
            html.push(MARK);
            html.push(' ');
            escape(note, &mut html);
            html.push_str("</em>");
            html
        }
    }
}

impl LogPart {
    pub(super) fn new(build: &BuildStatus, log: &LogView, now: Timestamp) -> Self {
        let instead = match log {
            LogView::Window(window) => return Self::of(build, window),
            LogView::Nothing if build.verdict(now).is_some() => "Nothing was printed.".to_owned(),
            LogView::Nothing => "Nothing was printed yet.".to_owned(),
            LogView::Unreadable(why) => format!("The log cannot be shown: {why}."),
        };
        Self {
            step: None,
            lines: Vec::new(),
            instead,
            extent: String::new(),
            first: false,
            earlier: None,
            later: None,
            chosen: "default",
        }
    }

    fn of(build: &BuildStatus, window: &LogWindow) -> Self {
        let mut colours = Colours::default();
        let mut lines: Vec<HtmlLine> = Vec::new();
        for line in &window.lines {
            let html = line_html(&mut colours, line);
            match lines.last_mut() {
                // It goes on where the one before left off, as the script does with lines that come live.
                Some(last) if last.number == line.number => last.html.push_str(&html),
                Some(_) | None => lines.push(HtmlLine {
                    number: line.number,
                    html,
                }),
            }
        }
        let step = build.steps.get(usize::from(window.step));
        let name = step.map_or_else(String::new, |step| step.name.to_string());
        let extent = match (lines.first(), lines.last()) {
            (Some(first), Some(last)) => {
                let end = if window.later { "" } else { ", the end" };
                format!("lines {} to {}{end}", first.number, last.number)
            }
            _ => String::new(),
        };
        Self {
            step: Some((u32::from(window.step) + 1, name)),
            instead: if lines.is_empty() {
                "Nothing was printed here.".to_owned()
            } else {
                String::new()
            },
            lines,
            extent,
            first: window.from > 0,
            earlier: window.earlier,
            later: window.later.then_some(window.to),
            chosen: match window.chosen {
                Chosen::ByDefault => "default",
                Chosen::ByReader => "reader",
            },
        }
    }
}

/// How long after a build has ended the rest of its log is waited for.
const STRAGGLERS: Duration = Duration::from_secs(600);

/// Whether there may be more of a window's step than is held now.
pub(super) fn may_grow(build: &BuildStatus, window: &LogWindow, now: Timestamp) -> bool {
    let ending = build.ending.as_ref();
    if ending.is_some_and(|ending| now > ending.stored.after(STRAGGLERS)) {
        return false;
    }
    let outcome = build
        .steps
        .get(usize::from(window.step))
        .and_then(|step| step.outcome.as_ref());
    !window.later && outcome.is_none_or(|outcome| window.bytes < outcome.log_bytes)
}
