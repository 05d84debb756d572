//! Following a stream: what it holds, then what comes, without a gap and without a consumer.
//!
//! First subscribe to what the stream publishes again, then read what it holds, then close every gap by sequence. The live
//! messages only tell *that* there is something; a lost one costs a short delay, never a message.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use async_nats::Subscriber;
use async_nats::jetstream::message::StreamMessage;
use futures_util::StreamExt as _;
use futures_util::stream::{SelectAll, select_all};
use tokio::sync::watch;
use tokio::time::Sleep;

use super::connection::{Bus, BusError};
use super::read::{Delivery, LAST};
use super::stream::Stream;

/// How long after the last sign of life the stream is asked whether something was missed.
const IDLE: Duration = Duration::from_secs(2);

/// What a follower has next.
#[derive(Debug)]
pub enum Next {
    /// A message, in the order of the stream.
    Message(Delivery),
    /// All that the stream held has been given out. Said once.
    CaughtUp,
}

/// Follows the messages of one filter of one stream.
pub struct Follower {
    bus: Bus,
    stream: Stream,
    filter: String,
    whole: bool,
    live: SelectAll<Subscriber>,
    connections: watch::Receiver<u64>,
    waiting: VecDeque<Delivery>,
    last: u64,
    behind: bool,
    caught_up: bool,
    /// Kept from call to call: who waits for something else, too, may often drop a call before it is over.
    idle: Option<Pin<Box<Sleep>>>,
}

impl Bus {
    /// Follows everything in a stream, from sequence `from` on.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the server does not let this login subscribe.
    pub async fn follow(&self, stream: Stream, from: u64) -> Result<Follower, BusError> {
        self.follower(stream, ">".to_owned(), from).await
    }

    /// Follows one subject of a stream, from sequence `from` on.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the server does not let this login subscribe.
    pub async fn follow_subject(
        &self,
        stream: Stream,
        subject: String,
        from: u64,
    ) -> Result<Follower, BusError> {
        self.follower(stream, subject, from).await
    }

    async fn follower(
        &self,
        stream: Stream,
        filter: String,
        from: u64,
    ) -> Result<Follower, BusError> {
        let whole = filter == ">";
        let subjects = if whole {
            stream.subjects(&self.subjects)
        } else {
            vec![filter.clone()]
        };
        let what = || format!("follow the stream {}", stream.name());
        let mut live = Vec::new();
        for subject in subjects {
            let live_subject = self.subjects.live(&subject);
            live.push(
                self.client
                    .subscribe(live_subject)
                    .await
                    .map_err(BusError::request(what()))?,
            );
        }
        self.flush().await?;
        Ok(Follower {
            bus: self.clone(),
            stream,
            filter,
            whole,
            live: select_all(live),
            connections: self.connections.clone(),
            waiting: VecDeque::new(),
            last: from.saturating_sub(1),
            behind: true,
            caught_up: false,
            idle: None,
        })
    }
}

impl Follower {
    /// Waits for the next message. Does not fail: while the bus is away it waits, and then goes on where it was.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Next {
        loop {
            if let Some(delivery) = self.waiting.pop_front() {
                self.last = delivery.sequence;
                return Next::Message(delivery);
            }
            if self.behind {
                match self
                    .bus
                    .read(self.stream, &self.filter, self.last + 1)
                    .await
                {
                    Ok(batch) if batch.is_empty() => {
                        self.behind = false;
                        self.idle = None;
                        if !self.caught_up {
                            self.caught_up = true;
                            return Next::CaughtUp;
                        }
                    }
                    Ok(batch) => self.waiting.extend(batch),
                    Err(error) => {
                        tracing::debug!(stream = self.stream.name(), %error, "stream not readable now");
                        tokio::time::sleep(Duration::from_millis(250)).await;
                    }
                }
                continue;
            }
            let idle = self
                .idle
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(IDLE)));
            tokio::select! {
                message = self.live.next() => match message.and_then(|message| StreamMessage::try_from(message).ok()) {
                    Some(message) => self.take_live(&message),
                    None => self.behind = true,
                },
                _ = self.connections.changed() => self.behind = true,
                () = idle.as_mut() => self.behind = true,
            }
        }
    }

    /// Takes a live message only if it is the very next one; else the stream is read from where we are.
    fn take_live(&mut self, message: &StreamMessage) {
        if message.sequence <= self.last
            || message.sequence > LAST
            || message
                .headers
                .get(async_nats::header::NATS_STREAM)
                .map(async_nats::HeaderValue::as_str)
                != Some(self.stream.name())
        {
            return;
        }
        let follows = if self.whole {
            message.sequence == self.last + 1
        } else {
            // "Nats-Last-Sequence" of a republished message is that of the message before it on its own subject.
            let before = message.headers.get(async_nats::header::NATS_LAST_SEQUENCE);
            before.is_some_and(|before| before.as_str() == self.last.to_string()) && self.last > 0
        };
        self.idle = None;
        if follows {
            self.waiting.push_back(Delivery::new(message.clone()));
        } else {
            self.behind = true;
        }
    }
}
