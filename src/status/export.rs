//! Gathers from the streams what a bundle holds.

use bytes::Bytes;

use crate::bus::{BusError, Stream};
use crate::model::{Command, KeyId, LogChunk, Report, SlaveName};
use crate::trust::{Purpose, Verified};
use crate::wire::Bundle;

use super::build::BuildStatus;
use super::log::{LogAssembly, LogPiece};
use super::verify::{cancels, gives_key};
use super::view::Viewer;

/// Whether a bundle holds the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogPart {
    /// As far as the stream holds it.
    Included,
    /// It stays small.
    LeftOut,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The bus did not do its part.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The command has gone from the stream since the board was read.
    #[error("the bus no longer holds the command")]
    NoCommand,
    /// Without such a roster, nothing that the slave signed can be verified.
    #[error("no roster on the bus that verifies gives report key {key} to slave {slave}")]
    NoRoster {
        /// The key that the command names.
        key: KeyId,
        /// The slave that it names.
        slave: SlaveName,
    },
}

impl Viewer {
    /// Everything that is needed to check `build` with nothing but the farm's id.
    ///
    /// # Errors
    ///
    /// [`ExportError`].
    pub async fn bundle(&self, build: &BuildStatus, log: LogPart) -> Result<Bundle, ExportError> {
        let (command, cancel) = self.commands_of(build).await?;
        Ok(Bundle {
            keyrings: self.keyrings(),
            rosters: vec![self.roster_of(build).await?],
            command: command.ok_or(ExportError::NoCommand)?,
            cancel,
            reports: self.reports_of(build).await?,
            log: match log {
                LogPart::Included => Some(self.pieces_of(build).await?),
                LogPart::LeftOut => None,
            },
        })
    }

    /// The first keyring of each generation and the newest one. Should two contradict each other, that is shown where they
    /// are; a bundle is judged by those that were held first.
    fn keyrings(&self) -> Vec<Bytes> {
        let chain = self.reader().chain();
        let later = chain.newest().position.serial > 0;
        let needed = chain.generations().count() + usize::from(later);
        chain.messages().into_iter().take(needed).collect()
    }

    async fn commands_of(
        &self,
        build: &BuildStatus,
    ) -> Result<(Option<Bytes>, Option<Bytes>), BusError> {
        let (slave, builder) = (&build.order.slave, &build.order.builder);
        let subject = self.bus().subjects().command(slave, builder);
        let (mut command, mut cancel) = (None, None);
        for delivery in self.bus().read_all(Stream::Commands, &subject, 0).await? {
            let opened = self
                .reader()
                .open::<Command>(&delivery.bytes, Purpose::History);
            let Ok(opened) = opened else { continue };
            match opened.body() {
                Command::Build(_) if opened.id() == build.command => {
                    command.get_or_insert(delivery.bytes);
                }
                Command::Cancel(said) if cancels(said, build) => {
                    cancel.get_or_insert(delivery.bytes);
                }
                Command::Build(_) | Command::Cancel(_) => {}
            }
        }
        Ok((command, cancel))
    }

    /// The newest roster that, with the keyrings alone, gives the report key to the slave.
    async fn roster_of(&self, build: &BuildStatus) -> Result<Bytes, ExportError> {
        let subject = self.bus().subjects().rosters();
        let mut newest = None;
        let by_keyrings = self.reader().without_rosters();
        for delivery in self.bus().read_all(Stream::Roster, &subject, 0).await? {
            let mut reader = by_keyrings.clone();
            if reader.learn_roster(&delivery.bytes).is_err() {
                continue;
            }
            let Some(roster) = reader.verified_roster() else {
                continue;
            };
            let newness = (reader.rank(&roster.signer()), roster.body().version);
            if gives_key(roster.body(), build)
                && newest.as_ref().is_none_or(|(held, _)| *held < newness)
            {
                newest = Some((newness, delivery.bytes));
            }
        }
        newest
            .map(|(_, bytes)| bytes)
            .ok_or_else(|| ExportError::NoRoster {
                key: build.order.report_key,
                slave: build.order.slave.clone(),
            })
    }

    async fn reports_of(&self, build: &BuildStatus) -> Result<Vec<Bytes>, BusError> {
        let (slave, builder) = (&build.order.slave, &build.order.builder);
        let subject = self.bus().subjects().report(slave, builder);
        let mut reports = Vec::new();
        for delivery in self.bus().read_all(Stream::Results, &subject, 0).await? {
            let opened = self
                .reader()
                .open::<Report>(&delivery.bytes, Purpose::History);
            let own = |report: &Verified<Report>| {
                report.body().command == build.command && build.is_answered_by(report)
            };
            if let Some(report) = opened.ok().filter(own) {
                reports.push((report.body().sequence, report.id(), delivery.bytes));
            }
        }
        // The streams deliver at least once: one of each. Stable, so that the board's order breaks a tie.
        reports.sort_by_key(|(sequence, _, _)| *sequence);
        reports.dedup_by_key(|(_, id, _)| *id);
        Ok(reports.into_iter().map(|(_, _, bytes)| bytes).collect())
    }

    /// The pieces that say something new, by step and offset. A slave that was restarted sends some of its output again.
    async fn pieces_of(&self, build: &BuildStatus) -> Result<Vec<Bytes>, BusError> {
        let subject = self.bus().subjects().log(&build.order.slave, &build.id());
        let mut pieces = Vec::new();
        for delivery in self.bus().read_all(Stream::Logs, &subject, 0).await? {
            let opened = self
                .reader()
                .open::<LogChunk>(&delivery.bytes, Purpose::History);
            if let Some(chunk) = opened.ok().filter(|chunk| build.has_printed(chunk)) {
                pieces.push((chunk.into_body(), delivery.bytes));
            }
        }
        pieces.sort_by_key(|(chunk, _)| (chunk.step, chunk.offset));
        let mut assembly = LogAssembly::default();
        pieces.retain(|(chunk, _)| {
            let said = assembly.take(chunk);
            said.iter()
                .any(|piece| matches!(piece, LogPiece::Bytes { .. } | LogPiece::Conflict { .. }))
        });
        Ok(pieces.into_iter().map(|(_, bytes)| bytes).collect())
    }
}
