//! Saying things: reports and logs are on disk first, and go to the bus when it is there.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::audit::{Audit, Event};
use super::journal::{Entry, Journal, JournalError};
use super::keeper;
use crate::bus::Bus;
use crate::model::{
    Build, BuildId, Clock, FarmId, InstanceId, LogChunk, PayloadId, Position, Report, ReportBody,
    SlaveName, Timestamp,
};
use crate::trust::{SecretKey, seal};
use crate::wire::Subjects;

/// How often a running script's output is looked for. A line is on the bus about this long after it was printed.
const SPOOL_PERIOD: Duration = Duration::from_millis(20);

/// How many bytes may be sent again after a crash.
const PROGRESS_STEP: u64 = 1 << 20;

/// The slave's voice: it alone signs.
pub(super) struct Voice {
    pub(super) key: SecretKey,
    pub(super) farm: FarmId,
    pub(super) slave: SlaveName,
    pub(super) instance: InstanceId,
    /// The newest keyring held, as told to the farm.
    pub(super) keyring: Mutex<Position>,
    pub(super) subjects: Subjects,
    pub(super) clock: Clock,
    pub(super) journal: Arc<Mutex<Journal>>,
    /// The owner's own record.
    pub(super) audit: Audit,
    pub(super) news: Notify,
}

impl Voice {
    /// Now, never behind the latest time that is on record.
    pub(super) fn now(&self) -> Result<Timestamp, JournalError> {
        Ok((self.clock)().max(self.journal().high_water()?))
    }

    pub(super) fn keyring(&self) -> Position {
        *self.keyring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_keyring(&self, position: Position) {
        *self.keyring.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        // A panic elsewhere cannot leave the journal half-written: each change is one transaction.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a report of `build` on record, together with what else has to be remembered at that moment.
    pub(super) fn say(
        &self,
        command: PayloadId,
        build: &Build,
        body: ReportBody,
        mut entries: Vec<Entry>,
    ) -> Result<(), JournalError> {
        let now = self.now()?;
        let mut journal = self.journal();
        let (sequence, previous) = journal.newest_report()?;
        let report = Report {
            farm: self.farm,
            slave: self.slave.clone(),
            instance: self.instance,
            builder: build.builder.clone(),
            command,
            number: build.number,
            sequence: sequence + 1,
            previous,
            keyring: self.keyring(),
            issued: now,
            experiment: build.experiment.clone(),
            body,
        };
        let sealed = seal(&self.key, &self.farm, &report);
        // Before anybody can hear it: what is in the slave's name and not in its record is somebody else's.
        self.record(now, &Event::said(sealed.id, &report));
        entries.push(Entry::Said {
            sequence: report.sequence,
            report: sealed.id,
            subject: self.subjects.report(&self.slave, &build.builder),
            envelope: sealed.bytes,
        });
        journal.commit(now, &entries)?;
        self.news.notify_one();
        Ok(())
    }

    /// Adds to the owner's own record. A disk that does not take that will hardly take the journal, which is what counts.
    pub(super) fn record(&self, now: Timestamp, event: &Event) {
        if let Err(error) = self.audit.note(now, event) {
            tracing::error!(%error, "not put on the owner's record");
        }
    }

    /// Sends what waits, oldest first, for ever.
    pub(super) async fn send_reports(self: Arc<Self>, bus: Bus) -> Result<(), JournalError> {
        loop {
            let waiting = self.journal().waiting()?;
            let Some(waiting) = waiting else {
                self.news.notified().await;
                continue;
            };
            let stored = bus
                .publish_until_stored(waiting.subject, &waiting.report.to_hex(), waiting.envelope)
                .await;
            let now = self.now()?;
            let sent = Entry::Sent {
                sequence: waiting.sequence,
                place: stored.sequence,
            };
            self.journal().note(now, &[sent])?;
        }
    }

    /// Whether every report has reached the stream.
    pub(super) fn all_sent(&self) -> Result<bool, JournalError> {
        Ok(self.journal().waiting()?.is_none())
    }
}

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
        let subject = self.subjects.log(&self.slave, &log.build);
        let spool = keeper::spool(&log.folder);
        let mut over = false;
        let mut recorded = log.sent;
        loop {
            let bytes = read_piece(&spool, log.sent)?;
            if bytes.is_empty() {
                if over {
                    break;
                }
                // A sender that was dropped without a word has ended too.
                over = !matches!(
                    tokio::time::timeout(SPOOL_PERIOD, &mut ended).await,
                    Err(_elapsed)
                );
                continue;
            }
            let length = bytes.len() as u64;
            let chunk = LogChunk {
                farm: self.farm,
                slave: self.slave.clone(),
                builder: log.build.builder.clone(),
                command: log.id,
                step: log.step,
                offset: log.sent,
                issued: (self.clock)(),
                bytes: bytes.into(),
            };
            let sealed = seal(&self.key, &self.farm, &chunk);
            bus.publish_until_stored(subject.clone(), &sealed.id.to_hex(), sealed.bytes)
                .await;
            log.sent += length;
            if log.sent - recorded >= PROGRESS_STEP {
                recorded = log.sent;
                let now = self.now()?;
                let entry = Entry::LogSent {
                    id: log.id,
                    step: log.step,
                    sent: recorded,
                };
                self.journal().note(now, &[entry])?;
            }
        }
        let now = self.now()?;
        self.journal().note(
            now,
            &[Entry::LogDone {
                id: log.id,
                step: log.step,
            }],
        )?;
        if let Err(error) = std::fs::remove_dir_all(&log.folder) {
            tracing::warn!(folder = %log.folder.display(), %error, "job folder left behind");
        }
        Ok(())
    }
}

fn read_piece(spool: &Path, from: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(spool) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(LogChunk::MAX_BYTES as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
