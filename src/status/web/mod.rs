//! The status page: HTML that is complete without a script, and a small script that keeps it current.
//!
//! GET only, and no key in the process: nothing that a reader sends can change anything.
//!
//! Rendering is pure: a [`Scene`] in, text out. Everything from outside is escaped by the templates; the one exception is
//! what [`Colours`] makes of a log line, which escapes for itself. No inline style, script or handler, so that a strict
//! policy can forbid them all.

mod answer;
mod colours;
mod events;
mod page;
mod server;

pub use colours::Colours;
pub use page::{build, keys, line_html, not_found, overview};
pub use server::serve;

use super::board::Board;
use super::live::BusState;
use super::view::Farm;
use crate::model::Timestamp;

/// What a page is rendered from.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The farm.
    pub farm: &'a Farm,
    /// What is known of it.
    pub board: &'a Board,
    /// Whether more is being learnt; unless it is, what is shown may be old, and every page says so.
    pub bus: BusState,
    /// The moment for which ages, `lost` and `stale` are computed.
    pub now: Timestamp,
    /// Counts what was learnt, so that a page can say how much it has seen.
    pub version: u64,
}

/// The one style sheet, served as `/style.css`.
pub const STYLE: &str = include_str!("style.css");
/// The one script, served as `/script.js`.
pub const SCRIPT: &str = include_str!("script.js");
/// The icon, served as `/favicon.svg`.
pub const ICON: &str = include_str!("favicon.svg");
