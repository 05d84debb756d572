//! Looks, never asks: what the streams say, folded and shown.
//!
//! Nothing here trusts the bus: what does not verify is shown as that, and is never a result. Nothing here reads a clock:
//! whoever asks says what time it is, and the feed and the page are handed one.
//!
//! | what | where |
//! |---|---|
//! | from the bus to verified events | `tail`, `follow`, and the [`Viewer`] for one look; the [`Feed`] for a page that stays up |
//! | what was once verified, on disk | [`Store`] |
//! | the fold, pure | [`Board`]; from it `rows`, `overview`, `recent`, `since` |
//! | what comes of a request | `asked` hears the answer and follows the build, `progress` says what there is to tell of it |
//! | logs | `log` puts a whole one together; `log_index`, `log_window` and [`Logs`] show a part of a large one |
//! | to be read | [`text`], [`json`], [`web`] |
//! | one build, provable offline | `export` and [`verify()`] |
//! | any one message, layer by layer | [`explain()`] |

mod asked;
mod board;
mod build;
mod explain;
mod export;
mod feed;
mod follow;
pub mod json;
mod keyrings;
mod live;
mod log;
mod log_index;
mod log_window;
mod logs;
mod overview;
mod progress;
mod recent;
mod row;
mod rows;
#[cfg(test)]
mod sample;
mod since;
mod store;
mod tail;
mod terminal;
pub mod text;
mod verify;
mod view;
pub mod web;

pub use asked::{Answers, Awaited};
pub use board::{Answer, Board, Event, Reported, Stray};
pub use build::{BuildStatus, Ending, StepStatus};
pub use explain::{Broken, BundlePart, Explained, Explanation, Known, Signature, explain};
pub use export::{ExportError, LogPart};
pub use feed::{Feed, FeedError};
pub use follow::{LogFollower, Tail, TailNext};
pub use live::{BusState, Live};
pub use log::{LogAssembly, LogPiece};
pub use log_window::{Chosen, LineText, LogLine, LogView, LogWindow, Place};
pub use logs::{LiveLog, Logs, telling_step};
pub use overview::{Overview, Silence, Strip, Tone};
pub use progress::{News, expected, news};
pub use recent::Recent;
pub use row::{LastWord, Newest, Row, Running, Shown, SlaveStanding};
pub use since::{LastPass, Move, SinceLastPass, Way};
pub use store::{Store, StoreError};
pub use tail::{Entry, Unproven, open_report};
pub use terminal::{MARK, Sanitizer, write_log_safely};
pub use verify::{Digested, Finding, Part, StepLog, Verification, verify, verify_file};
pub use view::{Farm, ViewError, Viewer};
