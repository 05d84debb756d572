//! Looks, never asks: what the streams say, folded and shown.
//!
//! [`open_report`] and the [`Viewer`] turn what the bus delivers into verified events; [`Board`] is the pure fold of those;
//! [`text`] and [`json`] render it. Nothing here trusts the bus: what does not verify is shown as that, and is never a
//! result. Nothing here reads a clock: whoever asks says what time it is.

mod board;
mod build;
mod export;
mod follow;
pub mod json;
mod log;
mod row;
mod rows;
#[cfg(test)]
mod sample;
mod tail;
mod terminal;
pub mod text;
mod verify;
mod view;

pub use board::{Answer, Board, Event, Reported, Stray};
pub use build::{BuildStatus, Ending, StepStatus};
pub use export::{ExportError, LogPart};
pub use follow::{LogFollower, Tail, TailNext};
pub use log::{LogAssembly, LogPiece};
pub use row::{LastWord, Newest, Row, Running, Shown, SlaveStanding};
pub use tail::{Entry, Unproven, open_report};
pub use terminal::{MARK, Sanitizer, write_log_safely};
pub use verify::{Digested, Finding, Part, StepLog, Verification, verify, verify_file};
pub use view::{Farm, ViewError, Viewer};
