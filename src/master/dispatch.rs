//! Publishing commands as the one who leads.
//!
//! Every message to COMMANDS names the sequence that the whole stream must stand at. A master that lost the lead without
//! noticing is stopped by that, whichever builder it speaks to.

use std::time::Duration;

use tracing::field::display;

use crate::bus::{Bus, BusError, Expected, Stream};
use crate::model::{Command, Lead, PayloadId};
use crate::trust::{Purpose, Reader, Sealed, SecretKey, Standing, seal};

/// A master leads no longer.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Another one does.
    #[error("another master took the lead with lease {lease}; this one stops")]
    SteppedDown {
        /// Its lease.
        lease: u64,
    },
}

/// Why it is not known what stands in the stream, or no longer of interest.
enum CatchUpError {
    SteppedDown { lease: u64 },
    Bus(BusError),
}

/// Publishes commands in the name of one lease.
pub struct Dispatcher {
    bus: Bus,
    /// What we took the lead with. A copy of it, wherever it comes from, is no other master.
    lead: Lead,
    last: u64,
}

impl Dispatcher {
    /// Takes the lead: publishes `lead`, whose lease is greater than any before, behind sequence `last` of COMMANDS.
    ///
    /// # Errors
    ///
    /// [`DispatchError`] if another master was faster.
    pub async fn take_lead(
        bus: &Bus,
        reader: &Reader,
        key: &SecretKey,
        lead: &Lead,
        last: u64,
    ) -> Result<Self, DispatchError> {
        let mut dispatcher = Self {
            bus: bus.clone(),
            lead: lead.clone(),
            last,
        };
        let sealed = seal(key, reader.farm(), lead);
        dispatcher
            .publish(reader, bus.subjects().lead(), &sealed)
            .await?;
        Ok(dispatcher)
    }

    /// Publishes a command once, waiting for the bus for as long as that takes. Returns what it is identified by.
    ///
    /// # Errors
    ///
    /// [`DispatchError`] if another master leads.
    pub async fn send(
        &mut self,
        reader: &Reader,
        key: &SecretKey,
        command: &Command,
    ) -> Result<PayloadId, DispatchError> {
        let sealed = seal(key, reader.farm(), command);
        let subject = self
            .bus
            .subjects()
            .command(command.slave(), command.builder());
        self.publish(reader, subject, &sealed).await?;
        Ok(sealed.id)
    }

    async fn publish(
        &mut self,
        reader: &Reader,
        subject: String,
        sealed: &Sealed,
    ) -> Result<(), DispatchError> {
        loop {
            let expected = Expected::Stream(self.last);
            let bytes = sealed.bytes.clone();
            match self
                .bus
                .publish_expecting(Stream::Commands, subject.clone(), bytes, expected)
                .await
            {
                Ok(stored) => {
                    self.last = stored.sequence;
                    return Ok(());
                }
                Err(BusError::Overtaken) => match self.catch_up(reader, &sealed.bytes).await {
                    Ok(true) => return Ok(()),
                    // What overtook us is read; or the server contradicts itself, and must not be asked without a pause.
                    Ok(false) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(CatchUpError::SteppedDown { lease }) => {
                        return Err(DispatchError::SteppedDown { lease });
                    }
                    Err(CatchUpError::Bus(error)) => {
                        tracing::warn!(%error, "command stream not readable now");
                        tokio::time::sleep(Duration::from_millis(250)).await;
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "command publish repeated");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
        }
    }

    /// Reads what was stored since our last word. True if our own bytes are there after all: an earlier try whose
    /// answer was lost.
    async fn catch_up(&mut self, reader: &Reader, own: &[u8]) -> Result<bool, CatchUpError> {
        let mut stored = false;
        let held = self
            .bus
            .read_all(Stream::Commands, ">", self.last + 1)
            .await;
        for delivery in held.map_err(CatchUpError::Bus)? {
            self.last = delivery.sequence;
            if delivery.bytes == own {
                stored = true;
            } else if let Ok(lead) = reader.open::<Lead>(&delivery.bytes, Purpose::History) {
                if lead.standing() == Standing::Unproven {
                    tracing::warn!(signer = %lead.signer(), "a stolen key claims the lead");
                    continue;
                }
                let (lease, other) = (
                    lead.body().lease,
                    lead.body().instance != self.lead.instance,
                );
                if other && lease >= self.lead.lease {
                    return Err(CatchUpError::SteppedDown { lease });
                }
            } else if let Ok(command) = reader.open::<Command>(&delivery.bytes, Purpose::History) {
                // Validly signed, and not by us: either an old leader's last word or a stolen signing key.
                let build = match command.body() {
                    Command::Build(build) => Some(display(build.id())),
                    Command::Cancel(_) => None,
                };
                tracing::error!(build, command = %command.id().short(), signer = %command.signer(), "unknown command on the bus");
            } else {
                tracing::warn!(
                    sequence = delivery.sequence,
                    "unsigned message on the command stream"
                );
            }
        }
        Ok(stored)
    }
}
