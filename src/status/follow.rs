//! Following: reports and logs as they come.

use std::collections::VecDeque;
use std::time::Duration;

use crate::bus::{Delivery, Follower, Next};
use crate::trust::Reader;

use super::build::BuildStatus;
use super::log::{LogAssembly, LogPiece};
use super::tail::{Entry, open_report};
use super::view::{Viewer, open_chunk};

/// Follows the results stream.
pub struct Tail<'a> {
    viewer: &'a mut Viewer,
    follower: Follower,
    /// Kept here while it is opened, so that a cancelled call loses nothing.
    opening: Option<Delivery>,
}

/// What a tail has next.
#[derive(Clone, Debug)]
pub enum TailNext {
    /// An entry, in the order of the stream.
    Entry(Entry),
    /// All that the stream held has been given out. Said once.
    CaughtUp,
}

impl<'a> Tail<'a> {
    pub(super) fn new(viewer: &'a mut Viewer, follower: Follower) -> Self {
        Self {
            viewer,
            follower,
            opening: None,
        }
    }

    /// Waits for the next entry. Does not fail: while the bus is away it waits, and then goes on where it was.
    /// Cancel-safe.
    pub async fn next(&mut self) -> TailNext {
        loop {
            if let Some(delivery) = &self.opening {
                let entry = self.viewer.open(delivery).await;
                self.opening = None;
                return TailNext::Entry(entry);
            }
            match self.follower.next().await {
                Next::Message(delivery) => self.opening = Some(delivery),
                Next::CaughtUp => return TailNext::CaughtUp,
            }
        }
    }

    /// The viewer, for looking at something else between two entries.
    pub fn viewer(&mut self) -> &mut Viewer {
        self.viewer
    }
}

/// How long after a build's last report its log may be silent and still be on its way.
const LOG_PATIENCE: Duration = Duration::from_secs(3);

/// Follows the log of one build. The end of one step's output may come after the beginning of the next step's: each piece
/// names its step.
pub struct LogFollower<'a> {
    reader: &'a Reader,
    build: BuildStatus,
    chunks: Follower,
    reports: Follower,
    assembly: LogAssembly,
    ready: VecDeque<LogPiece>,
    over: bool,
}

impl<'a> LogFollower<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        build: &BuildStatus,
        chunks: Follower,
        reports: Follower,
    ) -> Self {
        let mut build = build.clone();
        // Its reports are told again from the beginning.
        build.fold(std::iter::empty());
        Self {
            reader,
            build,
            chunks,
            reports,
            assembly: LogAssembly::default(),
            ready: VecDeque::new(),
            over: false,
        }
    }

    /// Waits for the next piece; none when the build has ended and its log is complete, or no more of it comes.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<LogPiece> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            if self.over {
                return None;
            }
            let ended = self.build.ending.is_some();
            if ended && self.has_all() {
                self.close();
                continue;
            }
            tokio::select! {
                next = self.chunks.next() => if let Next::Message(delivery) = next {
                    match open_chunk(self.reader, &self.build, &delivery) {
                        Ok(chunk) => self.ready.extend(self.assembly.take(&chunk)),
                        Err(unproven) => self.ready.push_back(LogPiece::Unproven(unproven)),
                    }
                },
                next = self.reports.next(), if !ended => if let Next::Message(delivery) = next
                    && let Entry::Report(reported) = open_report(self.reader, &delivery)
                {
                    self.build.take(&reported);
                },
                () = tokio::time::sleep(LOG_PATIENCE), if ended => self.close(),
            }
        }
    }

    /// The build, as far as its reports have come.
    #[must_use]
    pub fn build(&self) -> &BuildStatus {
        &self.build
    }

    /// Whether every script that was started has ended, and all its output is here.
    fn has_all(&self) -> bool {
        (0..)
            .zip(&self.build.steps)
            .all(|(step, status)| match &status.outcome {
                Some(outcome) => self.assembly.has_all(step, outcome),
                None => status.started.is_none(),
            })
    }

    fn close(&mut self) {
        for (step, status) in (0..).zip(&self.build.steps) {
            if let Some(outcome) = &status.outcome {
                self.ready.extend(self.assembly.end(step, outcome));
            }
        }
        self.over = true;
    }
}
