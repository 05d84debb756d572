//! A slave's commands: a durable pull consumer that the master made for it, and that it cannot widen.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::connection::{Bus, BusError};
use super::stream::Stream;
use crate::model::SlaveName;

/// One fetched message. Nothing of it is believed yet.
pub struct Parcel {
    message: jetstream::Message,
}

impl Parcel {
    /// The message.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.message.payload
    }

    /// Tells the server that it need not come again. If that word is lost the message comes again, and is known.
    pub async fn acknowledge(&self) {
        if let Err(error) = self.message.ack().await {
            tracing::debug!(%error, "acknowledgement not sent");
        }
    }
}

/// The commands for one slave, as the broker hands them out.
pub struct Commands {
    bus: Bus,
    slave: SlaveName,
    stream: Option<pull::Stream>,
    /// Whether it was said that they cannot be read; said once, until they can.
    announced: bool,
}

impl Bus {
    /// Makes the durable consumer of one slave; does nothing if it is there.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the server refuses.
    pub async fn ensure_consumer(&self, slave: &SlaveName) -> Result<(), BusError> {
        let config = pull::Config {
            durable_name: Some(slave.to_string()),
            filter_subject: self.subjects.commands_of(slave),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(30),
            max_ack_pending: 100,
            max_deliver: -1,
            ..pull::Config::default()
        };
        self.jetstream
            .create_consumer_on_stream(config, Stream::Commands.name())
            .await
            .map_err(BusError::request(format!(
                "make the consumer of slave {slave}"
            )))?;
        Ok(())
    }

    /// The commands for `slave`.
    #[must_use]
    pub fn commands(&self, slave: &SlaveName) -> Commands {
        Commands {
            bus: self.clone(),
            slave: slave.clone(),
            stream: None,
            announced: false,
        }
    }
}

impl Commands {
    /// Waits for the next command, also while the bus is away or the slave has not been approved yet. Cancel-safe.
    pub async fn next(&mut self) -> Parcel {
        loop {
            if let Some(stream) = &mut self.stream {
                match stream.next().await {
                    Some(Ok(message)) => return Parcel { message },
                    Some(Err(error)) => {
                        tracing::debug!(%error, "fetch failed; the consumer is opened again");
                        self.stream = None;
                        tokio::time::sleep(Duration::from_millis(250)).await;
                    }
                    None => self.stream = None,
                }
                continue;
            }
            match self.open().await {
                Ok(stream) => {
                    self.stream = Some(stream);
                    self.announced = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.announced, true) {
                        let cause = std::error::Error::source(&error)
                            .map_or_else(String::new, ToString::to_string);
                        tracing::warn!(
                            cause,
                            "commands not readable yet: not approved, or the bus is away"
                        );
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn open(&self) -> Result<pull::Stream, BusError> {
        let what = || format!("open the consumer of slave {}", self.slave);
        let consumer: jetstream::consumer::PullConsumer = self
            .bus
            .jetstream
            .get_consumer_from_stream(self.slave.as_str(), Stream::Commands.name())
            .await
            .map_err(BusError::request(what()))?;
        consumer
            .stream()
            .max_messages_per_batch(64)
            .expires(Duration::from_secs(30))
            .heartbeat(Duration::from_secs(5))
            .messages()
            .await
            .map_err(BusError::request(what()))
    }
}
