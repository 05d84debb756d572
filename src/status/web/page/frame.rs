//! What all pages share: names, times, badges.

use std::fmt;

use super::super::Scene;
use crate::model::{BuildId, Timestamp};
use crate::status::keyrings::of_fault;
use crate::status::live::BusState;
use crate::status::text::{Paint, age};
use crate::status::view::Farm;

/// What stands around every page.
pub(super) struct Frame<'a> {
    pub(super) farm: &'a Farm,
    pub(super) title: String,
    /// The same as JSON.
    pub(super) twin: String,
    pub(super) now: When,
    /// Why nothing that is shown is to be believed, if that is so.
    pub(super) fault: Option<String>,
    /// Why what is shown may be old, if it may.
    pub(super) old: Option<String>,
}

impl<'a> Frame<'a> {
    pub(super) fn new(scene: &Scene<'a>, title: &str, twin: &str) -> Self {
        let old = match scene.bus {
            BusState::Following => None,
            BusState::CatchingUp => Some(
                "This server is still reading what the bus holds. What is shown is not complete yet."
                    .to_owned(),
            ),
            BusState::Away { since } => Some(format!(
                "The bus has not answered for {}. What is shown may be old.",
                age(scene.now.since(since))
            )),
        };
        Self {
            farm: scene.farm,
            title: title.to_owned(),
            twin: twin.to_owned(),
            now: When::new(scene.now, scene.now),
            fault: scene.board.keys_fault(scene.now).as_ref().map(of_fault),
            old,
        }
    }
}

/// A moment: for programs, in full, and as seen from now.
pub(super) struct When {
    pub(super) datetime: String,
    pub(super) utc: String,
    /// Such as `3 min ago` or `in 3 h`.
    pub(super) relative: String,
    /// Such as `3 min`.
    pub(super) span: String,
}

impl When {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        let full = at.to_string();
        let seconds = full.split('.').next().unwrap_or_default();
        let (utc, datetime) = match seconds.split_once('T') {
            Some((day, time)) => (format!("{day} {time} UTC"), format!("{seconds}Z")),
            None => (full.clone(), String::new()),
        };
        let (span, relative) = if at > now {
            let span = age(at.since(now));
            (span.clone(), format!("in {span}"))
        } else {
            let span = age(now.since(at));
            (span.clone(), format!("{span} ago"))
        };
        Self {
            datetime,
            utc,
            relative,
            span,
        }
    }
}

/// Glyph, word and class. The glyph and the word say what the class shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Badge {
    pub(super) class: &'static str,
    pub(super) glyph: String,
    pub(super) word: String,
}

impl Badge {
    /// From a glyph and words, parted by the first space.
    pub(super) fn new(text: &str, paint: Paint) -> Self {
        let (glyph, word) = text.split_once(' ').unwrap_or(("", text));
        Self {
            class: class(paint),
            glyph: glyph.to_owned(),
            word: word.to_owned(),
        }
    }
}

impl From<(&str, Paint)> for Badge {
    fn from((text, paint): (&str, Paint)) -> Self {
        Self::new(text, paint)
    }
}

/// `p` is the only class that is green.
pub(super) fn class(paint: Paint) -> &'static str {
    match paint {
        Paint::Plain | Paint::Strong => "",
        Paint::Good => "p",
        Paint::Warning => "w",
        Paint::Bad => "f",
        Paint::Busy => "r",
        Paint::Machine => "m",
        Paint::Faint => "n",
    }
}

/// The address of a build's page, without a query.
pub(super) fn href(build: &BuildId) -> String {
    // Names of builders are letters, digits and dashes.
    format!("/build/{}/{}", build.builder, build.number)
}

/// So many bytes, for people.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 byte"),
            bytes @ 0..1_024 => write!(f, "{bytes} bytes"),
            bytes @ 1_024..1_048_576 => write!(f, "{} KiB", bytes / 1_024),
            bytes => write!(f, "{} MiB", bytes / 1_048_576),
        }
    }
}
