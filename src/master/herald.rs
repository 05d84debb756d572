//! Announcing what a repository's mirror sees: one signed change for each move of a watched branch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::watch::{Mirror, WatchError};
use crate::bus::{Bus, Stream};
use crate::model::{Branch, Change, Clock, FarmId, RepositoryName, Revision};
use crate::trust::{SecretKey, seal, sha256};

/// The shortest time between a look and one that a hint brings about: anybody may hint.
const HINT_PAUSE: Duration = Duration::from_secs(2);

/// What every watcher shares.
pub(super) struct Herald {
    pub(super) farm: FarmId,
    pub(super) key: SecretKey,
    pub(super) bus: Bus,
    pub(super) clock: Clock,
}

/// Watches one repository.
pub(super) struct Watcher {
    pub(super) herald: Arc<Herald>,
    pub(super) name: RepositoryName,
    pub(super) mirror: Mirror,
}

/// What a watcher of a repository knows and has said.
#[derive(Debug, Default)]
pub(super) struct Memory {
    announced: BTreeMap<Branch, Revision>,
    absent: BTreeSet<Branch>,
    failing: bool,
}

impl Memory {
    /// Takes in what was announced before; what it announced itself is newer.
    pub(super) fn learn(&mut self, announced: BTreeMap<Branch, Revision>) {
        for (branch, tip) in announced {
            self.announced.entry(branch).or_insert(tip);
        }
    }
}

/// When a watcher looks: once a period, and when somebody hints.
pub(super) struct Looks {
    ticks: Interval,
    hints: Arc<Notify>,
}

impl Looks {
    /// The first look is at once.
    pub(super) fn new(period: Duration, hints: Arc<Notify>) -> Self {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, hints }
    }

    /// Waits for the next look. To be called when one is over.
    pub(super) async fn next(&mut self) {
        let pause = sleep(HINT_PAUSE);
        let hinted = async {
            self.hints.notified().await;
            pause.await;
        };
        tokio::select! {
            _ = self.ticks.tick() => {}
            () = hinted => {}
        }
    }
}

impl Watcher {
    /// Looks, announces, waits, for ever.
    pub(super) async fn watch(self, memory: &mut Memory, mut looks: Looks) {
        loop {
            looks.next().await;
            match self.look(memory).await {
                Ok(()) => {
                    if std::mem::take(&mut memory.failing) {
                        tracing::info!(repository = %self.name, "repository answers again");
                    }
                }
                Err(error) => {
                    // Said once, not at every look.
                    if !std::mem::replace(&mut memory.failing, true) {
                        tracing::warn!(repository = %self.name, %error, "repository not readable; the others go on");
                    }
                }
            }
        }
    }

    async fn look(&self, memory: &mut Memory) -> Result<(), WatchError> {
        let seen = self.mirror.poll().await?;
        for branch in seen.absent.difference(&memory.absent) {
            tracing::warn!(repository = %self.name, %branch, "branch not there; the others go on");
        }
        for branch in seen.found.keys() {
            if memory.absent.contains(branch) {
                tracing::info!(repository = %self.name, %branch, "branch is there again");
            }
        }
        memory.absent = seen.absent;
        for (branch, tip) in seen.found {
            let previous = memory.announced.get(&branch);
            if previous != Some(&tip) {
                self.announce(&branch, &tip, previous.cloned()).await?;
                memory.announced.insert(branch, tip);
            }
        }
        Ok(())
    }

    async fn announce(
        &self,
        branch: &Branch,
        tip: &Revision,
        previous: Option<Revision>,
    ) -> Result<(), WatchError> {
        let history = self.mirror.commits(previous.as_ref(), tip).await?;
        if history.rewritten {
            tracing::warn!(
                repository = %self.name, %branch,
                "branch was rewritten: what it held before does not lead to what it holds now"
            );
        }
        let paths = match &previous {
            Some(previous) => self.mirror.paths(previous, tip).await?,
            None => None,
        };
        let change = Change {
            farm: self.herald.farm,
            repository: self.name.clone(),
            branch: branch.clone(),
            revision: tip.clone(),
            previous,
            seen: (self.herald.clock)(),
            commits: history.commits,
            more: history.more,
            rewritten: history.rewritten,
            paths,
        };
        let sealed = seal(&self.herald.key, &self.herald.farm, &change);
        let bus = &self.herald.bus;
        let subject = bus
            .subjects()
            .change(&self.name, &sha256(branch.as_str().as_bytes()));
        bus.publish_until_held(Stream::Changes, subject, &sealed.id.to_hex(), sealed.bytes)
            .await;
        tracing::info!(repository = %self.name, %branch, revision = %tip, "branch moved");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_hint_right_after_a_look_waits_and_brings_the_next_one_all_the_same() {
        let hints = Arc::new(Notify::new());
        let mut looks = Looks::new(Duration::from_secs(3600), Arc::clone(&hints));
        looks.next().await;
        hints.notify_one();
        assert!(looks.next().now_or_never().is_none());
        hints.notify_one();
        looks.next().await;
    }
}
