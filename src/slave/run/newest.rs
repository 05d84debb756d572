//! What the farm says is newest: its keyring, and the head without which nothing is started.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{RunError, Running};
use crate::bus::{Bus, Stream};
use crate::model::{Build, Head, Position, Timestamp};
use crate::slave::config::SlaveConfig;
use crate::slave::journal::Journal;
use crate::trust::{Purpose, Reader};

/// Gets keyring 0.0, from the journal or from the bus, and checks it against the pinned farm id.
pub(super) async fn learn_keyring(
    config: &SlaveConfig,
    bus: &Bus,
    journal: &Mutex<Journal>,
) -> Result<Reader, RunError> {
    let lock = || journal.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = lock().memory("keyring")? {
        return Reader::new(config.farm, &bytes).map_err(|source| RunError::OtherFarm {
            folder: config.state.clone(),
            source,
        });
    }
    let subject = bus.subjects().keyring(Position::default());
    let mut told = false;
    loop {
        match bus.read_all(Stream::Keyring, &subject, 1).await {
            // Whoever can make the broker store junk beside the keyring does not hide it: the first that verifies counts.
            Ok(deliveries) => {
                for delivery in deliveries {
                    match Reader::new(config.farm, &delivery.bytes) {
                        Ok(reader) => {
                            lock().set_memory("keyring", &delivery.bytes)?;
                            return Ok(reader);
                        }
                        Err(error) => tracing::warn!(%error, "keyring rejected"),
                    }
                }
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        farm = %config.farm,
                        "no keyring of the pinned farm on the bus: the master has not run yet, or the farm id is another's"
                    );
                }
            }
            Err(error) => tracing::info!(%error, "keyring not readable yet"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

impl Running {
    /// Whether the newest head is older than the owner allows, or there is none.
    pub(super) fn head_is_stale(&self, now: Timestamp) -> bool {
        let max_age = self.executor.config.max_head_age;
        self.head
            .as_ref()
            .is_none_or(|head| now.since(head.body().time) > max_age)
    }

    /// Reads the head and takes it in if it is newer.
    pub(super) async fn look_at_head(&mut self) -> Result<(), RunError> {
        let subject = self.executor.bus.subjects().head();
        let newest = match self.executor.bus.read_newest(Stream::Head, &subject).await {
            Ok(newest) => newest,
            Err(error) => {
                tracing::debug!(%error, "head not readable now");
                return Ok(());
            }
        };
        let now = self.voice.now()?;
        let Some(delivery) = newest else {
            return Ok(());
        };
        match self
            .reader
            .open::<Head>(&delivery.bytes, Purpose::Admit { now })
        {
            // From beyond the clock skew it would keep a slave content for too long.
            Ok(head) if head.body().time > now.after(Build::CLOCK_SKEW) => {
                tracing::warn!(code = "E-CLOCK", time = %head.body().time, "head rejected");
            }
            Ok(head) => {
                if self
                    .head
                    .as_ref()
                    .is_none_or(|held| held.body().time < head.body().time)
                {
                    self.head = Some(head);
                }
            }
            Err(error) => tracing::warn!(code = error.code(), %error, "head rejected"),
        }
        Ok(())
    }
}
