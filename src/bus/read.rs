//! Reading what streams hold, by batched direct get (NATS ADR-31): no consumer, so a reader leaves nothing at the server.

use std::time::Duration;

use async_nats::StatusCode;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::connection::{Bus, BusError};
use super::stream::Stream;
use crate::model::Timestamp;

/// A message as the stream holds it. Nothing of it is believed yet.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its place in the stream.
    pub sequence: u64,
    /// The subject that it was published to.
    pub subject: String,
    /// When the server says that it stored it.
    pub stored: Timestamp,
    /// The message.
    pub bytes: Bytes,
}

impl Delivery {
    pub(super) fn new(message: StreamMessage) -> Self {
        let nanoseconds = message.time.unix_timestamp_nanos();
        Self {
            sequence: message.sequence,
            subject: message.subject.to_string(),
            stored: Timestamp(u64::try_from(nanoseconds / 1000).unwrap_or(0)),
            bytes: message.payload,
        }
    }
}

/// No stream comes so far; a broker that says so would only make those who count from there run over.
pub(super) const LAST: u64 = 1 << 53;

/// How long the next message of a batch may take.
const BATCH_PATIENCE: Duration = Duration::from_secs(5);

/// Most messages of one batch, which is held in memory. Chunks of a log are large; junk among the keyrings may be.
fn most_of_a_batch(stream: Stream) -> usize {
    match stream {
        Stream::Logs => 32,
        Stream::Keyring => 64,
        Stream::Roster
        | Stream::Head
        | Stream::Changes
        | Stream::Commands
        | Stream::Results
        | Stream::Presence
        | Stream::Requests
        | Stream::Lease => 256,
    }
}

impl Bus {
    /// The next messages of `filter` from sequence `from` on, oldest first; empty when there are none.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the server does not answer, or not to the end.
    pub async fn read(
        &self,
        stream: Stream,
        filter: &str,
        from: u64,
    ) -> Result<Vec<Delivery>, BusError> {
        let what = || format!("read the stream {}", stream.name());
        let most = most_of_a_batch(stream);
        let request =
            serde_json::json!({ "seq": from.max(1), "next_by_subj": filter, "batch": most });
        let inbox = self.client.new_inbox();
        let mut replies = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(BusError::request(what()))?;
        let subject = format!("$JS.API.DIRECT.GET.{}", stream.name());
        self.client
            .publish_with_reply(subject, inbox, request.to_string().into())
            .await
            .map_err(BusError::request(what()))?;
        let mut batch = Vec::new();
        loop {
            let reply = tokio::time::timeout(BATCH_PATIENCE, replies.next())
                .await
                .map_err(BusError::request(what()))?
                .ok_or_else(|| BusError::request(what())("the connection was closed"))?;
            match reply.status {
                // End of batch (204) or nothing there (404).
                Some(status) if status.as_u16() == 204 || status == StatusCode::NOT_FOUND => {
                    return Ok(batch);
                }
                Some(status) if status.is_server_error() || status.is_client_error() => {
                    let why = reply.description.unwrap_or_else(|| status.to_string());
                    return Err(BusError::request(what())(why));
                }
                Some(_) | None => {
                    let message =
                        StreamMessage::try_from(reply).map_err(BusError::request(what()))?;
                    // The server decides what it says, not how much of it is kept, nor for how long it is listened to.
                    let last = batch
                        .last()
                        .map_or(from.saturating_sub(1), |last: &Delivery| last.sequence);
                    if batch.len() >= most || message.sequence <= last || message.sequence > LAST {
                        return Err(BusError::request(what())(
                            "the answer is not what was asked for",
                        ));
                    }
                    batch.push(Delivery::new(message));
                }
            }
        }
    }

    /// Every message of `filter` from sequence `from` on that the stream holds now, oldest first.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the server does not answer, or not to the end.
    pub async fn read_all(
        &self,
        stream: Stream,
        filter: &str,
        from: u64,
    ) -> Result<Vec<Delivery>, BusError> {
        let mut all = Vec::new();
        let mut next = from;
        loop {
            let batch = self.read(stream, filter, next).await?;
            let Some(last) = batch.last() else {
                return Ok(all);
            };
            next = last.sequence.saturating_add(1);
            all.extend(batch);
        }
    }

    /// The newest message of one subject, if there is one.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the server does not answer.
    pub async fn read_newest(
        &self,
        stream: Stream,
        subject: &str,
    ) -> Result<Option<Delivery>, BusError> {
        let what = || format!("read the stream {}", stream.name());
        let request = format!("$JS.API.DIRECT.GET.{}.{subject}", stream.name());
        let reply = self
            .client
            .request(request, Bytes::new())
            .await
            .map_err(BusError::request(what()))?;
        match reply.status {
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(status) if status.is_server_error() || status.is_client_error() => Err(
                BusError::request(what())(reply.description.unwrap_or_else(|| status.to_string())),
            ),
            Some(_) | None => {
                let message = StreamMessage::try_from(reply).map_err(BusError::request(what()))?;
                Ok(Some(Delivery::new(message)))
            }
        }
    }
}
