//! Announcing what a repository's mirror sees: one signed change for each move of a watched branch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::watch::{Mirror, WatchError};
use crate::bus::{Bus, Stream};
use crate::model::{Branch, Change, Clock, FarmId, RepositoryName, Revision};
use crate::trust::{SecretKey, seal, sha256};

/// What every watcher shares.
pub(super) struct Herald {
    pub(super) farm: FarmId,
    pub(super) key: SecretKey,
    pub(super) bus: Bus,
    pub(super) clock: Clock,
}

/// Watches one repository. Each has a task of its own, so a slow remote holds up nobody else.
pub(super) struct Watcher {
    pub(super) herald: Arc<Herald>,
    pub(super) name: RepositoryName,
    pub(super) mirror: Mirror,
    pub(super) known: BTreeMap<Branch, Revision>,
    pub(super) absent: BTreeSet<Branch>,
    pub(super) failing: bool,
}

impl Watcher {
    /// Looks, announces, waits, for ever.
    pub(super) async fn watch(mut self, period: Duration) {
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match self.look().await {
                Ok(()) => {
                    if std::mem::take(&mut self.failing) {
                        tracing::info!(repository = %self.name, "repository answers again");
                    }
                }
                Err(error) => {
                    // Said once, not at every look.
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(repository = %self.name, %error, "repository not readable; the others go on");
                    }
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), WatchError> {
        let tips = self.mirror.poll().await?;
        for branch in tips.absent.difference(&self.absent) {
            tracing::warn!(repository = %self.name, %branch, "branch not there; the others go on");
        }
        self.absent.clone_from(&tips.absent);
        for (branch, tip) in tips.found {
            let previous = self.known.get(&branch).cloned();
            if previous.as_ref() == Some(&tip) {
                continue;
            }
            let history = self.mirror.commits(previous.as_ref(), &tip).await?;
            if history.rewritten {
                tracing::warn!(repository = %self.name, %branch, "branch was rewritten");
            }
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
                paths: None,
            };
            let sealed = seal(&self.herald.key, &self.herald.farm, &change);
            let subject = self
                .herald
                .bus
                .subjects()
                .change(&self.name, &sha256(branch.as_str().as_bytes()));
            self.herald
                .bus
                .publish_until_held(Stream::Changes, subject, &sealed.id.to_hex(), sealed.bytes)
                .await;
            tracing::info!(repository = %self.name, %branch, revision = %tip, "branch moved");
            self.known.insert(branch, tip);
        }
        Ok(())
    }
}
