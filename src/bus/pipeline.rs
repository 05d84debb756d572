//! Publishing message after message without waiting for the server's word on each.
//!
//! What is under way is bounded, over all of a connection's pipelines: it stays in memory until the server has it.

use std::collections::VecDeque;
use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Bus, BusError, Returns};
use super::publish::{Stored, source_of};

/// Most messages that one connection's pipelines have under way.
pub(super) const WINDOW: usize = 16;

/// How long a message may take to leave this process before the next one is sent all the same.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Publishes to one subject, in order.
pub struct Pipeline {
    bus: Bus,
    subject: String,
    returns: Returns,
    /// The connection that all under way was sent over.
    connection: u64,
    under_way: VecDeque<UnderWay>,
    pause: Duration,
}

/// The right to have one more message under way.
pub struct Room {
    _permit: OwnedSemaphorePermit,
}

/// The server's word on the oldest message.
#[derive(Debug)]
pub enum Word {
    /// It is stored, and under way no more.
    Stored(Stored),
    /// It may be lost, and what was sent after it too: [`Pipeline::send_again`].
    Lost,
}

struct UnderWay {
    id: String,
    bytes: Bytes,
    /// How often it was sent under this id.
    tries: u32,
    word: BoxFuture<'static, Result<Stored, BusError>>,
    /// Given back when it is stored.
    _room: Room,
}

impl Bus {
    /// A pipeline to `subject`.
    #[must_use]
    pub fn pipeline(&self, subject: String) -> Pipeline {
        Pipeline {
            bus: self.clone(),
            subject,
            returns: self.returns(),
            connection: self.connection(),
            under_way: VecDeque::new(),
            pause: FIRST_PAUSE,
        }
    }

    /// Waits until a pipeline may send one more message: there is room, and the bus is there. Cancel-safe.
    pub async fn room(&self) -> Room {
        let window = Arc::clone(&self.window);
        // Nobody closes it.
        let Ok(permit) = window.acquire_owned().await else {
            return pending().await;
        };
        // Sent while it is away, it would wait in the client, and be ahead of what was lost before it.
        self.until_connected().await;
        Room { _permit: permit }
    }

    pub(super) fn window() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(WINDOW))
    }
}

impl Pipeline {
    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Sends the next message. `id` lets the server drop a repeat.
    pub async fn send(&mut self, room: Room, id: String, bytes: Vec<u8>) {
        if self.connection != self.bus.connection() {
            // What went over the one before may be lost, and comes first.
            self.send_all().await;
        }
        let mut message = UnderWay {
            id,
            bytes: bytes.into(),
            tries: 0,
            word: pending().boxed(),
            _room: room,
        };
        message.send(&self.bus, &self.subject).await;
        self.under_way.push_back(message);
    }

    /// Waits for the word on the oldest message; for ever if there is none. Cancel-safe.
    pub async fn word(&mut self) -> Word {
        let Some(oldest) = self.under_way.front_mut() else {
            return pending().await;
        };
        let word = tokio::select! {
            biased;
            word = &mut oldest.word => word,
            // Whatever has no answer by now went to the connection before.
            () = self.returns.next() => return Word::Lost,
        };
        match word {
            Ok(stored) if stored.repeat && oldest.tries == 1 => {
                // Stored under this id is something else, then.
                tracing::warn!(subject = %self.subject, "message id used by another message");
                oldest.id.push('+');
                oldest.tries = 0;
                Word::Lost
            }
            Ok(stored) => {
                self.under_way.pop_front();
                self.pause = FIRST_PAUSE;
                Word::Stored(stored)
            }
            Err(error) => {
                tracing::warn!(subject = %self.subject, error = %source_of(&error), "publish repeated");
                Word::Lost
            }
        }
    }

    /// Sends all that is under way again, in order, when the bus is there. May take as long as the bus is away.
    pub async fn send_again(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        self.bus.until_connected().await;
        self.send_all().await;
    }

    async fn send_all(&mut self) {
        // What happens to this connection from here on is news.
        self.returns = self.bus.returns();
        self.connection = self.bus.connection();
        for message in &mut self.under_way {
            message.send(&self.bus, &self.subject).await;
        }
    }
}

impl UnderWay {
    async fn send(&mut self, bus: &Bus, subject: &str) {
        let message = PublishMessage::build()
            .payload(self.bytes.clone())
            .message_id(&self.id);
        self.tries = self.tries.saturating_add(1);
        self.word = match bus.begin(subject.to_owned(), message).await {
            Ok(word) => word.fuse().boxed(),
            Err(error) => ready(Err(error)).fuse().boxed(),
        };
        // It leaves before the next one comes, so that a connection that breaks loses what was sent last and no other.
        let _ = tokio::time::timeout(PATIENCE, bus.flush()).await;
    }
}
