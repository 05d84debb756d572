//! Reads logs from the stream, a part at a time: what is held in memory does not follow a log's size.

mod text;

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, Stream as Pieces};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex as Turn, Semaphore};
use tokio::time::timeout;

use self::text::Text;
use super::build::BuildStatus;
use super::live::{BusState, Live};
use super::log::cut_off;
use super::log_index::LogIndex;
use super::log_window::{
    Chosen, LineWriter, LogLine, LogView, LogWindow, Place, Plan, Run, WINDOW_BYTES, window,
};
use super::tail::Unproven;
use super::view::open_chunk;
use crate::bus::{BusError, Delivery, Follower, Next, Stream};
use crate::model::{LogChunk, PayloadId, Verdict};

/// How many logs' indexes are kept; whoever asks for another one waits a little longer.
const INDEXES: usize = 64;
/// How many logs are read at once.
const READERS: usize = 4;

/// How long a reader waits for a part of a log. What was read meanwhile need not be read again.
const PATIENCE: Duration = Duration::from_secs(6);
/// A log of so many bytes takes a moment to read.
const LARGE: u64 = 4 << 20;

type Shared = Arc<Turn<LogIndex>>;

/// The logs of a farm's builds.
pub struct Logs {
    live: Arc<Live>,
    indexes: Mutex<VecDeque<(PayloadId, Shared)>>,
    readers: Semaphore,
}

impl Logs {
    /// The logs of the farm that `live` is about.
    #[must_use]
    pub fn new(live: Arc<Live>) -> Self {
        Self {
            live,
            indexes: Mutex::default(),
            readers: Semaphore::new(READERS),
        }
    }

    /// Reads the large logs of the newest builds, and then that of each build that ends, so that nobody has to wait for
    /// that later. For ever.
    pub async fn keep_ready(self: Arc<Self>) {
        let mut ended = self.live.ended();
        let mut changes = self.live.changes();
        while self.live.board(|_, bus| bus != BusState::Following) {
            if changes.changed().await.is_err() {
                return;
            }
        }
        let mut large: Vec<BuildStatus> = self.live.board(|board, _| {
            let large = board.builds().filter(|build| is_large(build));
            large.cloned().collect()
        });
        large.sort_by_key(|build| build.order.issued);
        for build in large.iter().rev().take(INDEXES / 2) {
            self.make_ready(build).await;
        }
        loop {
            let build = match ended.recv().await {
                Ok(build) => self.live.board(|board, _| board.build(&build).cloned()),
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            if let Some(build) = build.filter(is_large) {
                self.make_ready(&build).await;
            }
        }
    }

    async fn make_ready(self: &Arc<Self>, build: &BuildStatus) {
        let index = self.index(build);
        let mut index = index.lock().await;
        if let Err(error) = self.catch_up(build, &mut index).await {
            tracing::debug!(%error, build = %build.id(), "log not read ahead");
        }
    }

    /// The part of a step's output at `place`.
    pub async fn view(
        self: &Arc<Self>,
        build: &BuildStatus,
        step: u16,
        place: Place,
        chosen: Chosen,
    ) -> LogView {
        let Ok(window) = timeout(PATIENCE, self.window(build, step, place)).await else {
            return LogView::Unreadable("it is still being read, ask again in a moment".to_owned());
        };
        match window {
            Ok(Some(window)) => LogView::Window(with_end(LogWindow { chosen, ..window }, build)),
            Ok(None) => match lacking(build, step) {
                Some(lacking) => LogView::Unreadable(lacking),
                None => LogView::Nothing,
            },
            Err(error) => {
                tracing::warn!(%error, build = %build.id(), "log not readable now");
                LogView::Unreadable("the bus does not answer now".to_owned())
            }
        }
    }

    async fn window(
        self: &Arc<Self>,
        build: &BuildStatus,
        step: u16,
        place: Place,
    ) -> Result<Option<LogWindow>, BusError> {
        let index = self.index(build);
        let mut index = index.lock().await;
        self.catch_up(build, &mut index).await?;
        let Some(held) = index.step(step) else {
            return Ok(None);
        };
        let plan = Plan::new(held, place);
        let runs = self.read(build, step, &plan).await?;
        if runs.is_empty() && !plan.spans.is_empty() {
            // The stream has dropped it, or was begun anew: so will the index be.
            *index = LogIndex::default();
            return Ok(None);
        }
        Ok(Some(window(step, place, &plan, &runs)))
    }

    fn index(&self, build: &BuildStatus) -> Shared {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = indexes.iter().position(|(id, _)| *id == build.command);
        let entry = known
            .and_then(|at| indexes.remove(at))
            .unwrap_or_else(|| (build.command, Shared::default()));
        let index = entry.1.clone();
        indexes.push_front(entry);
        indexes.truncate(INDEXES);
        index
    }

    /// Takes in what the stream holds and the index does not have.
    async fn catch_up(
        self: &Arc<Self>,
        build: &BuildStatus,
        index: &mut LogIndex,
    ) -> Result<(), BusError> {
        let bus = self.live.bus();
        let subject = bus.subjects().log(&build.order.slave, &build.id());
        let _turn = self.readers.acquire().await;
        let build = Arc::new(build.clone());
        let mut batch = bus.read(Stream::Logs, &subject, index.next()).await?;
        while let Some(last) = batch.last() {
            // The bus sends the next ones meanwhile.
            let next = bus.read(Stream::Logs, &subject, last.sequence.saturating_add(1));
            let (next, opened) = tokio::join!(next, self.open_all(&build, &batch));
            for (delivery, opened) in batch.iter().zip(opened) {
                match opened {
                    Ok(chunk) => index.take(delivery.sequence, &chunk),
                    Err(unproven) => {
                        let (code, build) = (unproven.code, build.id());
                        tracing::debug!(code, %build, "log chunk rejected");
                        index.pass(delivery.sequence);
                    }
                }
            }
            batch = next?;
        }
        Ok(())
    }

    /// Each is a signature over up to 64 KiB to check. That is work for two processors, and nobody else has to wait.
    async fn open_all(
        self: &Arc<Self>,
        build: &Arc<BuildStatus>,
        batch: &[Delivery],
    ) -> Vec<Result<LogChunk, Unproven>> {
        let halves = batch.chunks(batch.len().div_ceil(2).max(1)).map(|half| {
            let (logs, build, half) = (self.clone(), build.clone(), half.to_vec());
            tokio::task::spawn_blocking(move || -> Vec<_> {
                half.iter()
                    .map(|delivery| logs.open(&build, delivery))
                    .collect()
            })
        });
        let mut opened = Vec::new();
        for half in join_all(halves).await {
            match half {
                Ok(half) => opened.extend(half),
                // What fails there fails here.
                Err(error) => {
                    if let Ok(panic) = error.try_into_panic() {
                        resume_unwind(panic);
                    }
                }
            }
        }
        opened
    }

    fn open(&self, build: &BuildStatus, delivery: &Delivery) -> Result<LogChunk, Unproven> {
        self.live
            .verify(|reader| open_chunk(reader, build, delivery))
    }

    /// Reads what a window needs, and verifies it again.
    async fn read(
        &self,
        build: &BuildStatus,
        step: u16,
        plan: &Plan,
    ) -> Result<Vec<Run>, BusError> {
        let bus = self.live.bus();
        let subject = bus.subjects().log(&build.order.slave, &build.id());
        let mut runs = Vec::new();
        for span in &plan.spans {
            let messages = span.messages();
            let mut next = *messages.start();
            while messages.contains(&next) {
                let batch = bus.read(Stream::Logs, &subject, next).await?;
                let Some(last) = batch.last() else { break };
                next = last.sequence.saturating_add(1);
                let batch = batch.into_iter();
                let held = batch.take_while(|delivery| messages.contains(&delivery.sequence));
                for delivery in held {
                    if let Ok(chunk) = self.open(build, &delivery)
                        && chunk.step == step
                    {
                        runs.push(Run {
                            offset: chunk.offset,
                            bytes: chunk.bytes,
                        });
                    }
                }
            }
        }
        Ok(runs)
    }

    /// All that a step has printed so far, safe and without colours, piece by piece.
    pub fn text(
        self: Arc<Self>,
        build: BuildStatus,
        step: u16,
    ) -> impl Pieces<Item = Result<Bytes, BusError>> {
        let text = Text::new(self, build, step);
        stream::unfold(Some(text), async |text| {
            let mut text = text?;
            match text.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(text))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Follows a step's output from `offset` on, where line `number` goes on.
    ///
    /// # Errors
    ///
    /// [`BusError`] if the stream cannot be read.
    pub async fn follow(
        self: Arc<Self>,
        build: BuildStatus,
        step: u16,
        offset: u64,
        number: u64,
    ) -> Result<LiveLog, BusError> {
        let index = self.index(&build);
        let mut held = index.lock().await;
        self.catch_up(&build, &mut held).await?;
        let mut writer = LineWriter::new(offset, number);
        let mut ready = Vec::new();
        if let Some(step_index) = held.step(step) {
            if step_index.end().saturating_sub(offset) > WINDOW_BYTES {
                let plan = Plan::new(step_index, Place::End);
                let runs = self.read(&build, step, &plan).await?;
                let end = window(step, Place::End, &plan, &runs);
                ready.push(LogLine::note(
                    number,
                    passed_over(end.from.saturating_sub(offset)),
                ));
                writer = LineWriter::new(end.from, end.first_line);
                for run in runs {
                    ready.extend(writer.push(run.offset, &run.bytes));
                }
            } else {
                let plan = Plan::new(step_index, Place::Offset(offset));
                for run in self.read(&build, step, &plan).await? {
                    ready.extend(writer.push(run.offset, &run.bytes));
                }
            }
        }
        let bus = self.live.bus();
        let subject = bus.subjects().log(&build.order.slave, &build.id());
        let chunks = bus
            .follow_subject(Stream::Logs, subject, held.next())
            .await?;
        drop(held);
        Ok(LiveLog {
            logs: self,
            build,
            step,
            chunks,
            writer,
            ready,
        })
    }
}

/// What is said of output that is left out of a live log.
pub(super) fn passed_over(bytes: u64) -> String {
    format!("{bytes} bytes were printed faster than they can be shown here; the whole log has them")
}

fn is_large(build: &BuildStatus) -> bool {
    let outcomes = build.steps.iter().filter_map(|step| step.outcome.as_ref());
    outcomes.map(|outcome| outcome.log_bytes).max() >= Some(LARGE)
}

/// Says at the window's end what never came, and what the slave did not keep.
fn with_end(mut window: LogWindow, build: &BuildStatus) -> LogWindow {
    if !window.later {
        for note in ending_notes(build, window.step, window.bytes) {
            window.lines.push(LogLine::note(window.next_line, note));
        }
    }
    window
}

/// What is said behind the last byte of a step's output, if `held` bytes of it are there.
fn ending_notes(build: &BuildStatus, step: u16, held: u64) -> Vec<String> {
    let step = build.steps.get(usize::from(step));
    let Some(outcome) = step.and_then(|step| step.outcome.as_ref()) else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    let missing = outcome.log_bytes.saturating_sub(held);
    if missing > 0 {
        notes.push(format!("the stream does not hold the last {missing} bytes"));
    }
    if outcome.log_cut > 0 {
        notes.push(cut_off(outcome.log_cut));
    }
    notes
}

/// What is said of a step whose output the stream does not hold, though the slave has sent some.
fn lacking(build: &BuildStatus, step: u16) -> Option<String> {
    let step = build.steps.get(usize::from(step))?;
    let bytes = step.outcome.as_ref()?.log_bytes;
    (bytes > 0).then(|| format!("the bus no longer holds what this step printed, {bytes} bytes"))
}

/// The step whose output most readers look for: the one that runs; of a build that is over, the first that went wrong,
/// else the last.
#[must_use]
pub fn telling_step(build: &BuildStatus) -> Option<u16> {
    let steps = || {
        (0..)
            .zip(&build.steps)
            .filter(|(_, step)| step.started.is_some())
    };
    let wrong = |verdict| {
        !matches!(
            verdict,
            Verdict::Passed | Verdict::Warned | Verdict::Skipped
        )
    };
    let failed = steps().find(|(_, step)| {
        let outcome = step.outcome.as_ref();
        build.ending.is_some() && outcome.is_none_or(|outcome| wrong(outcome.verdict))
    });
    failed.or_else(|| steps().last()).map(|(step, _)| step)
}

/// A step's output as it comes.
pub struct LiveLog {
    logs: Arc<Logs>,
    build: BuildStatus,
    step: u16,
    chunks: Follower,
    writer: LineWriter,
    ready: Vec<LogLine>,
}

impl LiveLog {
    /// Waits for the next lines. The last of them may go on with the first of the next ones, which then has the same
    /// number. Cancel-safe.
    pub async fn next(&mut self) -> Vec<LogLine> {
        loop {
            if !self.ready.is_empty() {
                return std::mem::take(&mut self.ready);
            }
            let Next::Message(delivery) = self.chunks.next().await else {
                continue;
            };
            let chunk = self.logs.open(&self.build, &delivery).ok();
            if let Some(chunk) = chunk.filter(|chunk| chunk.step == self.step) {
                self.ready = self.writer.push(chunk.offset, &chunk.bytes);
            }
        }
    }

    /// Where the output goes on, and the number of the line that goes on there.
    #[must_use]
    pub fn position(&self) -> (u64, u64) {
        (self.writer.offset(), self.writer.number())
    }
}
