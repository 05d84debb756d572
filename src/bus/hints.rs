//! Hearing that a repository may have changed. A hint to look at once, never more: nobody signs it, and anybody who may
//! publish hints may have sent it.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Sleep;

use super::connection::Bus;
use crate::model::RepositoryName;

/// The shortest time between two answers: whoever can publish hints must not keep the listener busy.
const PAUSE: Duration = Duration::from_millis(200);
/// Most repositories in one answer. What is hinted at beyond that is looked at in its own time.
const MAX_REPOSITORIES: usize = 1000;
/// How long to wait before listening is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The repositories that somebody says have changed.
pub struct Hints {
    bus: Bus,
    live: Option<Subscriber>,
    heard: BTreeSet<RepositoryName>,
    /// Kept from call to call: who waits for something else, too, may often drop a call before it is over.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Bus {
    /// Listens for hints.
    #[must_use]
    pub fn hints(&self) -> Hints {
        Hints {
            bus: self.clone(),
            live: None,
            heard: BTreeSet::new(),
            pause: None,
        }
    }
}

impl Hints {
    /// Waits for hints, and gives the repositories that are hinted at. Does not fail: while the bus is away, nobody hints.
    /// Cancel-safe.
    pub async fn next(&mut self) -> BTreeSet<RepositoryName> {
        loop {
            let Some(live) = &mut self.live else {
                match self.bus.client.subscribe(self.bus.subjects.hints()).await {
                    Ok(live) => self.live = Some(live),
                    Err(error) => {
                        tracing::debug!(%error, "hints not heard now");
                        tokio::time::sleep(RETRY).await;
                    }
                }
                continue;
            };
            if self.heard.is_empty() {
                match live.next().await {
                    Some(hint) => hear(&mut self.heard, &hint.subject),
                    None => self.live = None,
                }
                continue;
            }
            if let Some(pause) = &mut self.pause {
                pause.await;
            }
            while let Some(Some(hint)) = live.next().now_or_never() {
                hear(&mut self.heard, &hint.subject);
            }
            self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
            return std::mem::take(&mut self.heard);
        }
    }
}

fn hear(heard: &mut BTreeSet<RepositoryName>, subject: &str) {
    let name = subject.rsplit('.').next().unwrap_or_default();
    if heard.len() < MAX_REPOSITORIES
        && let Ok(name) = name.parse()
    {
        heard.insert(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_that_are_no_names_or_too_many_are_passed_over() {
        let mut heard = BTreeSet::new();
        for subject in [
            "pybots.farm.hint.python",
            "pybots.farm.hint.-",
            "",
            "pybots.farm.hint.python",
        ] {
            hear(&mut heard, subject);
        }
        assert_eq!(heard, ["python".parse().unwrap()].into());
        for number in 0..2 * MAX_REPOSITORIES {
            hear(&mut heard, &format!("pybots.farm.hint.r{number}"));
        }
        assert_eq!(heard.len(), MAX_REPOSITORIES);
    }
}
