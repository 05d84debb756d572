//! The streams, and what each keeps.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Compression, Config, DiscardPolicy, Republish, RetentionPolicy, StorageType,
};

use super::connection::{Bus, BusError};
use crate::wire::Subjects;

/// A stream of the farm.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stream {
    /// Every keyring, for ever.
    Keyring,
    /// Every version of the roster, for ever.
    Roster,
    /// The newest head.
    Head,
    /// What the master saw move.
    Changes,
    /// What was ordered, and who led.
    Commands,
    /// What slaves reported: the results stream.
    Results,
    /// What scripts printed.
    Logs,
    /// Which slaves are alive.
    Presence,
    /// What people asked of the master, and what it answered.
    Requests,
    /// Which master is alive.
    Lease,
}

impl Stream {
    /// Every stream.
    pub const ALL: [Self; 10] = [
        Self::Keyring,
        Self::Roster,
        Self::Head,
        Self::Changes,
        Self::Commands,
        Self::Results,
        Self::Logs,
        Self::Presence,
        Self::Requests,
        Self::Lease,
    ];

    /// Its name at the server.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyring => "KEYRING",
            Self::Roster => "ROSTER",
            Self::Head => "HEAD",
            Self::Changes => "CHANGES",
            Self::Commands => "COMMANDS",
            Self::Results => "RESULTS",
            Self::Logs => "LOGS",
            Self::Presence => "PRESENCE",
            Self::Requests => "REQUESTS",
            Self::Lease => "LEASE",
        }
    }

    pub(super) fn subjects(self, subjects: &Subjects) -> Vec<String> {
        match self {
            Self::Keyring => vec![subjects.keyrings()],
            Self::Roster => vec![subjects.rosters()],
            Self::Head => vec![subjects.head()],
            Self::Changes => vec![subjects.changes(), subjects.releases()],
            Self::Commands => vec![subjects.commands(), subjects.lead()],
            Self::Results => vec![subjects.reports()],
            Self::Logs => vec![subjects.logs()],
            Self::Presence => vec![subjects.presences()],
            Self::Requests => vec![subjects.requests(), subjects.answers()],
            Self::Lease => vec![subjects.lease()],
        }
    }

    /// No age or size limit on changes, commands and reports: a quiet builder's last command must not expire, or
    /// numbering would begin again.
    pub(super) fn config(self, subjects: &Subjects) -> Config {
        let base = Config {
            name: self.name().to_owned(),
            subjects: self.subjects(subjects),
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: -1,
            max_message_size: 1024 * 1024,
            allow_direct: true,
            deny_delete: true,
            deny_purge: true,
            duplicate_window: Duration::from_secs(600),
            ..Config::default()
        };
        let live = Some(Republish {
            source: ">".to_owned(),
            destination: subjects.live(">"),
            headers_only: false,
        });
        match self {
            Self::Keyring | Self::Roster => Config {
                republish: live,
                ..base
            },
            Self::Head => Config {
                max_messages_per_subject: 1,
                republish: live,
                ..base
            },
            Self::Changes | Self::Results => Config {
                max_messages_per_subject: 1000,
                republish: live,
                ..base
            },
            // The server's own default is 1,000 consumers; one slave has one.
            Self::Commands => Config {
                max_messages_per_subject: 1000,
                max_consumers: 10_000,
                republish: live,
                ..base
            },
            Self::Logs => Config {
                max_bytes: 8 << 30,
                max_age: Duration::from_secs(30 * 24 * 3600),
                compression: Some(Compression::S2),
                deny_purge: false,
                republish: live,
                ..base
            },
            Self::Presence => Config {
                storage: StorageType::Memory,
                max_messages_per_subject: 1,
                max_age: Duration::from_secs(60),
                duplicate_window: Duration::from_secs(60),
                ..base
            },
            // Somebody with a login could ask without end; who asks so much is not heard.
            Self::Requests => Config {
                max_messages_per_subject: 10_000,
                max_age: Duration::from_secs(7 * 24 * 3600),
                republish: live,
                ..base
            },
            Self::Lease => Config {
                storage: StorageType::Memory,
                max_messages_per_subject: 1,
                max_age: Duration::from_secs(60),
                duplicate_window: Duration::from_secs(60),
                republish: live,
                ..base
            },
        }
    }
}

impl Bus {
    /// Makes the streams that are missing.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the server refuses one, or has one of that name with other settings that do not agree.
    pub async fn ensure_streams(&self) -> Result<(), BusError> {
        for stream in Stream::ALL {
            self.jetstream
                .create_or_update_stream(stream.config(&self.subjects))
                .await
                .map_err(BusError::request(format!(
                    "make the stream {}",
                    stream.name()
                )))?;
        }
        Ok(())
    }
}
