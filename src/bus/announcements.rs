//! Hearing at once that there is a new keyring or head. A hint to read, never more: what counts is what is read.

use std::pin::Pin;
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::stream::{SelectAll, select_all};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Sleep;

use super::connection::Bus;

/// The shortest time between two hints: whoever can publish must not turn every reader against the bus.
const PAUSE: Duration = Duration::from_millis(200);

/// Tells when a keyring or a head was stored.
pub struct Announcements {
    live: SelectAll<Subscriber>,
    connections: watch::Receiver<u64>,
    /// Something was announced that has not been told yet.
    pending: bool,
    /// Kept from call to call: who waits for something else, too, may often drop a call before it is over.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Bus {
    /// Listens for keyrings and heads. A login that may not subscribe hears nothing, and has to read now and then.
    pub async fn announcements(&self) -> Announcements {
        let mut live = Vec::new();
        for subject in [self.subjects.keyrings(), self.subjects.head()] {
            match self.client.subscribe(self.subjects.live(&subject)).await {
                Ok(subscriber) => live.push(subscriber),
                Err(error) => tracing::debug!(%error, "announcements not heard"),
            }
        }
        Announcements {
            live: select_all(live),
            connections: self.connections.clone(),
            pending: false,
            pause: None,
        }
    }
}

impl Announcements {
    /// Waits for the next hint; several that come together are one. A connection that has been away is a hint, too.
    /// Cancel-safe.
    pub async fn next(&mut self) {
        while !self.pending {
            tokio::select! {
                Some(_) = self.live.next() => self.pending = true,
                Ok(()) = self.connections.changed() => self.pending = true,
                else => std::future::pending().await,
            }
        }
        if let Some(pause) = &mut self.pause {
            pause.await;
        }
        while let Some(Some(_)) = self.live.next().now_or_never() {}
        self.pending = false;
        self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
    }
}
