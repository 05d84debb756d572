//! Saying things: reports are on disk first, and go to the bus when it is there. Logs go their own [way](super::shipper).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::audit::{Audit, Event};
use super::journal::{Entry, Journal, JournalError};
pub(super) use super::shipper::LogPlace;
use super::telemetry::Telemetry;
use crate::bus::Bus;
use crate::model::{
    Build, Clock, FarmId, InstanceId, PayloadId, Position, Report, ReportBody, SlaveName, Timestamp,
};
use crate::trust::{SecretKey, seal};
use crate::wire::Subjects;

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
    pub(super) telemetry: Arc<Telemetry>,
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
        self.telemetry.said(&report.body);
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
