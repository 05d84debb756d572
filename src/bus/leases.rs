//! Hearing the leading master's signs of life, as they come.
//!
//! Their stream lives in the server's memory and counts from 1 again after a restart, so it is not followed by sequence:
//! the newest one is read, and then whatever is published again is heard.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::Subscriber;
use async_nats::jetstream::message::StreamMessage;
use futures_util::StreamExt as _;
use tokio::sync::watch;

use super::connection::{Bus, BusError};
use super::read::Delivery;
use super::signs::Sign;
use super::stream::Stream;

/// How long to wait before trying to hear them again.
const RETRY: Duration = Duration::from_millis(250);

/// The signs of life of masters that lead.
pub struct Leases {
    bus: Bus,
    live: Option<Subscriber>,
    waiting: VecDeque<Sign>,
    connections: watch::Receiver<u64>,
}

impl Bus {
    /// Listens to the signs of life of masters that lead. What the stream holds comes before [`Sign::Listening`].
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases {
            bus: self.clone(),
            live: None,
            waiting: VecDeque::new(),
            connections: self.connections.clone(),
        }
    }
}

impl Leases {
    /// Waits for what is heard next. Does not fail: while the bus is away it waits. Cancel-safe.
    pub async fn next(&mut self) -> Sign {
        loop {
            if let Some(sign) = self.waiting.pop_front() {
                return sign;
            }
            let Some(live) = &mut self.live else {
                self.connections.mark_unchanged();
                match self.open().await {
                    Ok((live, held)) => {
                        self.live = Some(live);
                        self.waiting.extend(held.map(Sign::Message));
                        self.waiting.push_back(Sign::Listening);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "leases not heard now");
                        tokio::time::sleep(RETRY).await;
                    }
                }
                continue;
            };
            tokio::select! {
                message = live.next() => {
                    let Some(message) = message else {
                        self.live = None;
                        return Sign::Deaf;
                    };
                    if let Ok(message) = StreamMessage::try_from(message) {
                        return Sign::Message(Delivery::new(message));
                    }
                }
                _ = self.connections.changed() => {
                    self.live = None;
                    return Sign::Deaf;
                }
            }
        }
    }

    async fn open(&self) -> Result<(Subscriber, Option<Delivery>), BusError> {
        let subject = self.bus.subjects.lease();
        let live = self
            .bus
            .client
            .subscribe(self.bus.subjects.live(&subject))
            .await
            .map_err(BusError::request("let a master hear of others"))?;
        self.bus.flush().await?;
        let held = self.bus.read_newest(Stream::Lease, &subject).await?;
        Ok((live, held))
    }
}
