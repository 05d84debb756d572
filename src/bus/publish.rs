//! Publishing, with and without an opinion on what stands before.

use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;

use super::connection::{Bus, BusError};
use super::stream::Stream;

/// Where a message was stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stored {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Whether nothing was stored now, because the server knows a message of that id already: an earlier try of the same
    /// one, or somebody else's.
    pub repeat: bool,
}

/// What a publisher takes to be the newest message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// The last sequence of the whole stream.
    Stream(u64),
    /// The last sequence of the message's own subject; 0 for none.
    Subject(u64),
}

impl Bus {
    /// Publishes and waits until the server has it, for as long as that takes. `id` lets the server drop a repeat.
    ///
    /// Never await this on a task that must stay live.
    pub async fn publish_until_stored(&self, subject: String, id: &str, bytes: Vec<u8>) -> Stored {
        let mut delay = Duration::from_millis(100);
        // Each try shares it: while the bus is away, tries wait in the client.
        let bytes = Bytes::from(bytes);
        let mut told = false;
        loop {
            match self.publish_once(subject.clone(), id, bytes.clone()).await {
                Ok(stored) => {
                    if told {
                        tracing::info!(%subject, "published after all");
                    }
                    return stored;
                }
                Err(error) => {
                    // Said once, not at every try.
                    if !std::mem::replace(&mut told, true) {
                        error.tell_of_publish(&subject);
                    }
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(Duration::from_secs(2));
                }
            }
        }
    }

    /// The same for somebody who may read the stream, and so need not believe that what has the id is the message.
    ///
    /// Never await this on a task that must stay live.
    pub async fn publish_until_held(
        &self,
        stream: Stream,
        subject: String,
        id: &str,
        bytes: Vec<u8>,
    ) -> Stored {
        let mut id = id.to_owned();
        loop {
            let stored = self
                .publish_until_stored(subject.clone(), &id, bytes.clone())
                .await;
            if !stored.repeat {
                return stored;
            }
            match self.read(stream, ">", stored.sequence).await {
                Ok(held) if held.first().is_some_and(|held| held.bytes == bytes) => return stored,
                Ok(_) => {
                    tracing::warn!(%subject, "message id used by another message");
                    id.push('+');
                }
                Err(error) => {
                    tracing::warn!(%subject, error = %source_of(&error), "message not found again");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
        }
    }

    async fn publish_once(
        &self,
        subject: String,
        id: &str,
        bytes: Bytes,
    ) -> Result<Stored, BusError> {
        let message = PublishMessage::build().payload(bytes).message_id(id);
        self.store(subject, message).await
    }

    /// Publishes if the newest message is the expected one. That alone keeps a repeat out, so no id goes along that
    /// somebody else could have used up.
    ///
    /// # Errors
    ///
    /// [`BusError::Overtaken`] if it is not (or if an earlier try of the same message was stored after all);
    /// [`BusError::Request`] if no answer came.
    pub async fn publish_expecting(
        &self,
        stream: Stream,
        subject: String,
        bytes: Vec<u8>,
        expected: Expected,
    ) -> Result<Stored, BusError> {
        let message = PublishMessage::build()
            .payload(bytes.into())
            .expected_stream(stream.name());
        let message = match expected {
            Expected::Stream(sequence) => message.expected_last_sequence(sequence),
            Expected::Subject(sequence) => message.expected_last_subject_sequence(sequence),
        };
        self.store(subject, message).await
    }

    /// Publishes without waiting for the server's word. For what is said again soon anyway.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the client cannot take it.
    pub async fn publish_unconfirmed(
        &self,
        subject: String,
        bytes: Vec<u8>,
    ) -> Result<(), BusError> {
        self.client
            .publish(subject, bytes.into())
            .await
            .map_err(BusError::request("take a message"))
    }

    async fn store(&self, subject: String, message: PublishMessage) -> Result<Stored, BusError> {
        self.begin(subject, message).await?.await
    }

    /// Sends a message; what is returned waits for the server's word on it.
    pub(super) async fn begin(
        &self,
        subject: String,
        message: PublishMessage,
    ) -> Result<impl Future<Output = Result<Stored, BusError>> + Send + use<>, BusError> {
        let what = format!("store a message on {subject}");
        let classify = move |error: async_nats::jetstream::context::PublishError| {
            if error.kind() == PublishErrorKind::WrongLastSequence {
                BusError::Overtaken
            } else {
                BusError::Request {
                    what: what.clone(),
                    source: error.into(),
                }
            }
        };
        let ack = self
            .jetstream
            .send_publish(subject, message)
            .await
            .map_err(&classify)?;
        Ok(async move {
            let ack = ack.await.map_err(classify)?;
            Ok(Stored {
                sequence: ack.sequence,
                repeat: ack.duplicate,
            })
        })
    }
}

impl BusError {
    /// Tells that something could not be published yet, and will be tried again.
    pub fn tell_of_publish(&self, what: &str) {
        let error = source_of(self);
        if self.is_full() {
            tracing::error!(
                code = "E-BUS-FULL",
                what,
                error,
                "the bus has no room; it is tried again and nothing is lost: give the server of the bus more space"
            );
        } else {
            tracing::warn!(
                code = "E-BUS",
                what,
                error,
                "not published yet; it is tried again"
            );
        }
    }
}

pub(super) fn source_of(error: &BusError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
