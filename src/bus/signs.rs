//! Hearing every slave's signs of life, as they come.
//!
//! Their stream keeps one of each slave for a minute, so that a reader who only looks now and then misses some. The
//! master's login may make a consumer, which misses none. It lives in the server's memory while somebody listens.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, push};
use futures_util::StreamExt as _;
use tokio::sync::watch;

use super::connection::{Bus, BusError};
use super::read::Delivery;
use super::stream::Stream;
use crate::model::Timestamp;

/// How often the server says that it is there though nobody spoke. Twice that without a word, and nothing is heard.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long to wait before the consumer is made again.
const RETRY: Duration = Duration::from_secs(1);

/// What is heard next.
#[derive(Debug)]
pub enum Sign {
    /// From now on whatever is said is heard; first what the stream holds.
    Listening,
    /// A message.
    Message(Delivery),
    /// Nothing is heard any more, until [`Sign::Listening`] comes again.
    Deaf,
}

/// The signs of life of all slaves.
pub struct Signs {
    bus: Bus,
    messages: Option<push::Messages>,
    connections: watch::Receiver<u64>,
}

impl Bus {
    /// Listens to the signs of life of all slaves, what the stream holds first.
    #[must_use]
    pub fn signs(&self) -> Signs {
        Signs {
            bus: self.clone(),
            messages: None,
            connections: self.connections.clone(),
        }
    }
}

impl Signs {
    /// Waits for what is heard next. Does not fail: while the bus is away it waits. Cancel-safe.
    pub async fn next(&mut self) -> Sign {
        loop {
            let Some(messages) = &mut self.messages else {
                self.connections.mark_unchanged();
                match self.open().await {
                    Ok(messages) => {
                        self.messages = Some(messages);
                        return Sign::Listening;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "signs of life not heard now");
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                }
            };
            tokio::select! {
                message = messages.next() => {
                    let Some(Ok(message)) = message else {
                        self.messages = None;
                        return Sign::Deaf;
                    };
                    if let Some(delivery) = delivery(&message) {
                        return Sign::Message(delivery);
                    }
                }
                // A server that was started anew has forgotten the consumer.
                _ = self.connections.changed() => {
                    self.messages = None;
                    return Sign::Deaf;
                }
            }
        }
    }

    async fn open(&self) -> Result<push::Messages, BusError> {
        let what = || "let somebody hear signs of life".to_owned();
        let config = push::Config {
            deliver_subject: self.bus.client.new_inbox(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            idle_heartbeat: HEARTBEAT,
            memory_storage: true,
            ..push::Config::default()
        };
        let consumer: jetstream::consumer::PushConsumer = self
            .bus
            .jetstream
            .create_consumer_on_stream(config, Stream::Presence.name())
            .await
            .map_err(BusError::request(what()))?;
        consumer.messages().await.map_err(BusError::request(what()))
    }
}

fn delivery(message: &jetstream::Message) -> Option<Delivery> {
    let info = message.info().ok()?;
    let stored = info.published.unix_timestamp_nanos() / 1000;
    Some(Delivery {
        sequence: info.stream_sequence,
        subject: message.subject.to_string(),
        stored: Timestamp(u64::try_from(stored).unwrap_or(0)),
        bytes: message.payload.clone(),
    })
}
