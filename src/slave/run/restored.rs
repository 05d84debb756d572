//! Noticing that the disk is an older copy of what it was: then the journal knows less than the stream.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{RunError, Running};
use crate::bus::Stream;
use crate::model::{PayloadId, Report};
use crate::slave::journal::Entry;
use crate::trust::{Purpose, Verified};

/// No slave comes so far in its reports.
const MOST: u64 = 1 << 53;

impl Running {
    /// Looks in the results stream for reports of this slave's own that the journal does not know. If there are, the chain
    /// goes on behind the newest of them, and what was issued before now is not run: it may have been run before.
    ///
    /// Waits for the bus: until this is known, nothing can be said and nothing may be started.
    pub(super) async fn notice_restoration(&mut self) -> Result<(), RunError> {
        let reports = self.own_reports().await?;
        let (sequence, id) = self.voice.journal().newest_report()?;
        let unknown = |report: &Verified<Report>| {
            let said = report.body().sequence;
            // Nobody says so much; a thief of the report key would have the count run over.
            said < MOST && (said > sequence || (said == sequence && Some(report.id()) != id))
        };
        let Some(newest) = reports
            .iter()
            .filter(|report| unknown(report))
            .max_by_key(|report| report.body().sequence)
        else {
            return Ok(());
        };
        let now = self.voice.now()?;
        tracing::error!(
            known = sequence,
            found = newest.body().sequence,
            "this slave has said more than it remembers: its disk is an older copy; commands issued before now are not run"
        );
        let ended: BTreeSet<PayloadId> = reports
            .iter()
            .map(Verified::body)
            .filter(|said| said.body.verdict().is_some())
            .map(|said| said.command)
            .collect();
        let mut entries = vec![Entry::Restored {
            sequence: newest.body().sequence,
            report: newest.id(),
        }];
        entries.extend(ended.into_iter().map(Entry::Ended));
        self.voice.journal().commit(now, &entries)?;
        Ok(())
    }

    /// What the stream holds of this slave's own reports behind the last one that it acknowledged.
    async fn own_reports(&mut self) -> Result<Vec<Verified<Report>>, RunError> {
        let place = self.voice.journal().sent_place()?;
        let bus = self.executor.bus.clone();
        let filter = bus.subjects().reports_of(&self.voice.slave);
        let mut told = false;
        loop {
            match bus.read_all(Stream::Results, &filter, place).await {
                Ok(deliveries) => {
                    let open = |delivery: crate::bus::Delivery| {
                        self.reader.open(&delivery.bytes, Purpose::History).ok()
                    };
                    return Ok(deliveries.into_iter().filter_map(open).collect());
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!(%error, "own reports not readable yet; nothing is started before");
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }
}
