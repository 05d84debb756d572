//! Following: reports and logs as they come.

use std::collections::VecDeque;
use std::time::Duration;

use crate::bus::{Delivery, Follower, Next};

use super::build::BuildStatus;
use super::log::{LogAssembly, LogPiece};
use super::tail::Entry;
use super::view::Viewer;

/// Follows the results stream.
pub struct Tail<'a> {
    viewer: &'a mut Viewer,
    follower: Follower,
    keyrings: Follower,
    /// Whether a keyring may have come that is not taken in yet: other keys may count then.
    stale: bool,
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
    pub(super) fn new(viewer: &'a mut Viewer, follower: Follower, keyrings: Follower) -> Self {
        Self {
            viewer,
            follower,
            keyrings,
            stale: false,
            opening: None,
        }
    }

    /// Waits for the next entry. Does not fail: while the bus is away it waits, and then goes on where it was.
    /// Cancel-safe.
    pub async fn next(&mut self) -> TailNext {
        loop {
            if let Some(delivery) = &self.opening {
                if self.stale {
                    if let Err(error) = self.viewer.refresh().await {
                        tracing::warn!(%error, "keyrings and rosters not readable now");
                    }
                    self.stale = false;
                }
                let entry = self.viewer.open(delivery).await;
                self.opening = None;
                return TailNext::Entry(entry);
            }
            tokio::select! {
                biased;
                next = self.keyrings.next() => if let Next::Message(_) = next {
                    self.stale = true;
                },
                next = self.follower.next() => match next {
                    Next::Message(delivery) => self.opening = Some(delivery),
                    Next::CaughtUp => return TailNext::CaughtUp,
                },
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
    viewer: &'a mut Viewer,
    build: BuildStatus,
    chunks: Follower,
    reports: Follower,
    /// Kept here while it is opened, so that a cancelled call loses nothing.
    opening: Option<Opening>,
    assembly: LogAssembly,
    ready: VecDeque<LogPiece>,
    over: bool,
}

enum Opening {
    Chunk(Delivery),
    Report(Delivery),
}

impl<'a> LogFollower<'a> {
    pub(super) fn new(
        viewer: &'a mut Viewer,
        build: &BuildStatus,
        chunks: Follower,
        reports: Follower,
    ) -> Self {
        let mut build = build.clone();
        // Its reports are told again from the beginning.
        build.fold(std::iter::empty());
        Self {
            viewer,
            build,
            chunks,
            reports,
            opening: None,
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
            match &self.opening {
                Some(Opening::Chunk(delivery)) => {
                    match self.viewer.open_chunk(&self.build, delivery).await {
                        Ok(chunk) => self.ready.extend(self.assembly.take(&chunk)),
                        Err(unproven) => self.ready.push_back(LogPiece::Unproven(unproven)),
                    }
                }
                Some(Opening::Report(delivery)) => {
                    if let Entry::Report(reported) = self.viewer.open(delivery).await {
                        self.build.take(&reported);
                    }
                }
                None => {}
            }
            if self.opening.take().is_some() {
                continue;
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
                    self.opening = Some(Opening::Chunk(delivery));
                },
                next = self.reports.next(), if !ended => if let Next::Message(delivery) = next {
                    self.opening = Some(Opening::Report(delivery));
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
