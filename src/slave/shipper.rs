//! What scripts print goes from the spool on disk to the stream, while it grows.
//!
//! A bounded part of it is under way at any time, and that is all of it that is ever in memory: while the bus is away,
//! the spool grows and the slave does not.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::journal::{Entry, JournalError};
use super::keeper;
use super::outbox::Voice;
use crate::bus::{Bus, Word};
use crate::model::{BuildId, LogChunk, PayloadId};
use crate::trust::{Sealed, seal};

/// How often a running script's output is looked for. A line is on the bus about this long after it was printed.
const SPOOL_PERIOD: Duration = Duration::from_millis(20);

/// How many bytes may be sent again after a crash, beside those that were under way.
const PROGRESS_STEP: u64 = 1 << 20;

/// Where a step's output is kept, and how much of it the stream has.
pub(super) struct LogPlace {
    pub(super) id: PayloadId,
    pub(super) build: BuildId,
    pub(super) step: u16,
    pub(super) folder: PathBuf,
    pub(super) sent: u64,
}

/// Why a log could not be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShipError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot read what a script printed")]
    Spool(#[from] io::Error),
}

impl Voice {
    /// Sends a step's output to the stream while it grows, until `ended` says that it grows no more; then forgets it.
    pub(super) async fn ship_log(
        self: Arc<Self>,
        bus: Bus,
        mut log: LogPlace,
        mut ended: oneshot::Receiver<()>,
    ) -> Result<(), ShipError> {
        let mut spool = Spool::new(&log);
        let mut pipeline = bus.pipeline(self.subjects.log(&self.slave, &log.build));
        // How long each chunk under way is.
        let mut lengths = VecDeque::new();
        let mut recorded = log.sent;
        let mut look = interval(SPOOL_PERIOD);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A chunk that is not full waits for the next look: a script that prints byte by byte makes few chunks of many.
        let (mut due, mut over) = (false, false);
        loop {
            let unread = spool.unread()?;
            let ready = unread >= if due || over { 1 } else { FULL };
            due &= ready;
            if over && unread == 0 && pipeline.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                word = pipeline.word(), if !pipeline.is_empty() => match word {
                    Word::Stored(_) => {
                        log.sent += lengths.pop_front().unwrap_or(0);
                        if log.sent - recorded >= PROGRESS_STEP {
                            recorded = log.sent;
                            self.note_sent(&log)?;
                        }
                    }
                    // Not a branch of its own: nothing that comes meanwhile may cut it short.
                    Word::Lost => pipeline.send_again().await,
                },
                room = bus.room(), if ready => {
                    let offset = spool.next;
                    let bytes = spool.read()?;
                    let length = bytes.len() as u64;
                    due &= length == FULL;
                    if length > 0 {
                        // On threads of their own, two processors seal no faster, and their memory stays taken.
                        let sealed = self.seal_chunk(&log, offset, bytes);
                        lengths.push_back(length);
                        pipeline.send(room, sealed.id.to_hex(), sealed.bytes).await;
                    }
                }
                _ = look.tick(), if !ready && !over => due = true,
                // A sender that was dropped without a word has ended too.
                _ = &mut ended, if !over => over = true,
            }
        }
        let done = Entry::LogDone {
            id: log.id,
            step: log.step,
        };
        let now = self.now()?;
        self.journal().note(now, &[done])?;
        if let Err(error) = std::fs::remove_dir_all(&log.folder) {
            tracing::warn!(folder = %log.folder.display(), %error, "job folder left behind");
        }
        Ok(())
    }

    fn note_sent(&self, log: &LogPlace) -> Result<(), JournalError> {
        let entry = Entry::LogSent {
            id: log.id,
            step: log.step,
            sent: log.sent,
        };
        let now = self.now()?;
        self.journal().note(now, &[entry])
    }

    fn seal_chunk(&self, log: &LogPlace, offset: u64, bytes: Vec<u8>) -> Sealed {
        let chunk = LogChunk {
            farm: self.farm,
            slave: self.slave.clone(),
            builder: log.build.builder.clone(),
            command: log.id,
            step: log.step,
            offset,
            issued: (self.clock)(),
            bytes: bytes.into(),
        };
        seal(&self.key, &self.farm, &chunk)
    }
}

/// Bytes of a full chunk.
const FULL: u64 = LogChunk::MAX_BYTES as u64;

/// A step's output, as its keeper writes it.
struct Spool {
    path: PathBuf,
    /// None until the keeper has made it.
    file: Option<File>,
    /// What lies before has been read.
    next: u64,
}

impl Spool {
    fn new(log: &LogPlace) -> Self {
        Self {
            path: keeper::spool(&log.folder),
            file: None,
            next: log.sent,
        }
    }

    /// How many bytes are there that have not been read.
    fn unread(&mut self) -> io::Result<u64> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
        let Some(file) = &self.file else { return Ok(0) };
        Ok(file.metadata()?.len().saturating_sub(self.next))
    }

    /// The next bytes, at most a full chunk; empty if there are none.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.unread()?.min(FULL)).unwrap_or(0);
        let mut bytes = vec![0; length];
        if let Some(file) = &self.file {
            let read = file.read_at(&mut bytes, self.next)?;
            bytes.truncate(read);
        }
        self.next += bytes.len() as u64;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Write as _;

    #[test]
    fn a_spool_is_read_as_it_grows_in_full_chunks_and_never_past_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = Spool {
            path: path.clone(),
            file: None,
            next: 2,
        };
        assert_eq!(spool.unread().unwrap(), 0, "not made yet");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        file.write_all(b"x").unwrap();
        assert_eq!(spool.unread().unwrap(), 0, "shorter than what was sent");
        assert_eq!(spool.read().unwrap(), b"");
        file.write_all(b"yz").unwrap();
        assert_eq!(spool.unread().unwrap(), 1);
        assert_eq!(spool.read().unwrap(), b"z");
        file.write_all(&vec![b'.'; LogChunk::MAX_BYTES + 1])
            .unwrap();
        assert_eq!(spool.read().unwrap().len(), LogChunk::MAX_BYTES);
        assert_eq!(spool.read().unwrap(), b".");
        assert_eq!(spool.read().unwrap(), b"");
    }
}
