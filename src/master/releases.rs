//! Announcing releases of a project: one signed message for each version that is greater than all before.
//!
//! Only the version travels. A version that is found later and is less than one that was announced, such as a repair of an
//! old series, is not announced: who wants it asks for it.

mod index;
mod order;

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::config::PreReleases;
use super::herald::{Herald, Looks};
use super::watch::{Mirror, WatchError};
use crate::bus::Stream;
use crate::model::{ProjectName, Release, ReleaseOrigin, Text, Version};
use crate::trust::seal;

use index::Index;
pub use index::{IndexError, IndexUrl, IndexUrlError};
pub use order::{Rank, by_release};

/// Most versions that one look announces, the greatest ones.
const MAX_AT_ONCE: usize = 20;
/// Most versions of which it is remembered that they were passed over.
const MAX_PASSED_OVER: usize = 1000;

/// Where a project's versions are listed.
pub(super) enum Place {
    Tags { mirror: Box<Mirror>, prefix: Text },
    Index(Text),
}

/// Watches the releases of one project.
pub(super) struct ReleaseWatcher {
    pub(super) herald: Arc<Herald>,
    pub(super) project: ProjectName,
    pub(super) place: Place,
    pub(super) pre_releases: PreReleases,
    pub(super) patience: Duration,
}

/// What a watcher of releases knows and has said.
#[derive(Default)]
pub(super) struct ReleaseMemory {
    announced: Option<Version>,
    passed_over: BTreeSet<Text>,
    index: Option<Index>,
    failing: bool,
}

impl ReleaseMemory {
    /// Takes in what was announced before; what it announced itself is newer.
    pub(super) fn learn(&mut self, announced: Option<Version>) {
        // Where it looked before may not be where it looks now.
        self.index = None;
        if self.announced.is_none() {
            self.announced = announced;
        }
    }
}

/// Why releases could not be looked for this time.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Tags(#[from] WatchError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("the index did not answer within {0:?}")]
    Slow(Duration),
}

/// What a listing of versions brings.
#[derive(Debug, Default, Eq, PartialEq)]
struct News {
    /// What is to be announced, in this order.
    fresh: Vec<Version>,
    /// How many more there would be.
    more: usize,
    /// What has no place in the order of versions.
    passed_over: BTreeSet<Text>,
}

/// Compares what is listed with the greatest version that was announced. The first time only the greatest is news.
fn news(listed: &[String], announced: Option<&Version>, pre_releases: PreReleases) -> News {
    let mut news = News::default();
    let newest = announced.and_then(Rank::of);
    let mut ranked: Vec<(Rank, Version)> = Vec::new();
    for raw in listed {
        let version: Option<Version> = raw.parse().ok();
        let rank = version.as_ref().and_then(Rank::of);
        let (Some(version), Some(rank)) = (version, rank) else {
            if news.passed_over.len() < MAX_PASSED_OVER {
                news.passed_over.insert(Text::tidy(raw));
            }
            continue;
        };
        let counts = pre_releases == PreReleases::Count || !rank.is_pre_release();
        if counts && newest.as_ref().is_none_or(|newest| rank > *newest) {
            ranked.push((rank, version));
        }
    }
    ranked.sort();
    ranked.dedup_by(|one, other| one.0 == other.0);
    let most = if newest.is_none() { 1 } else { MAX_AT_ONCE };
    let left_out = ranked.len().saturating_sub(most);
    news.fresh = ranked
        .into_iter()
        .skip(left_out)
        .map(|(_, version)| version)
        .collect();
    if newest.is_some() {
        news.more = left_out;
    }
    news
}

impl ReleaseWatcher {
    /// Looks, announces, waits, for ever.
    pub(super) async fn watch(self, memory: &mut ReleaseMemory, mut looks: Looks) {
        let project = &self.project;
        loop {
            looks.next().await;
            match self.look(memory).await {
                Ok(()) => {
                    if std::mem::take(&mut memory.failing) {
                        tracing::info!(%project, "releases can be looked for again");
                    }
                }
                Err(error) => {
                    // Said once, not at every look.
                    if !std::mem::replace(&mut memory.failing, true) {
                        let cause = error.source().map(ToString::to_string);
                        tracing::warn!(%project, %error, cause, "releases cannot be looked for; the others go on");
                    }
                }
            }
        }
    }

    async fn look(&self, memory: &mut ReleaseMemory) -> Result<(), LookError> {
        let (listed, origin) = match &self.place {
            Place::Tags { mirror, prefix } => (mirror.tags(prefix).await?, ReleaseOrigin::Tag),
            Place::Index(url) => {
                let index = match &mut memory.index {
                    Some(index) => index,
                    none => none.insert(Index::new(url)?),
                };
                let versions = timeout(self.patience, index.versions())
                    .await
                    .map_err(|_| LookError::Slow(self.patience))??;
                (versions, ReleaseOrigin::Index)
            }
        };
        let news = news(&listed, memory.announced.as_ref(), self.pre_releases);
        self.tell(&news, memory);
        for version in news.fresh {
            self.announce(&version, memory.announced.clone(), origin)
                .await;
            memory.announced = Some(version);
        }
        Ok(())
    }

    /// Says what is not announced, each once.
    fn tell(&self, news: &News, memory: &mut ReleaseMemory) {
        let project = &self.project;
        let mut unsaid = news.passed_over.difference(&memory.passed_over);
        if let Some(version) = unsaid.next() {
            tracing::warn!(
                %project, %version, more = unsaid.count(),
                "version passed over: it is none by PEP 440, or no plain word"
            );
        }
        memory.passed_over.clone_from(&news.passed_over);
        if news.more > 0 {
            tracing::warn!(%project, more = news.more, "too many new versions at once: only the newest are announced");
        }
    }

    async fn announce(&self, version: &Version, previous: Option<Version>, origin: ReleaseOrigin) {
        let release = Release {
            farm: self.herald.farm,
            project: self.project.clone(),
            version: version.clone(),
            previous,
            seen: (self.herald.clock)(),
            origin,
            request: None,
        };
        let sealed = seal(&self.herald.key, &self.herald.farm, &release);
        let bus = &self.herald.bus;
        let subject = bus.subjects().release(&self.project);
        bus.publish_until_held(Stream::Changes, subject, &sealed.id.to_hex(), sealed.bytes)
            .await;
        tracing::info!(project = %self.project, %version, "version released");
    }
}

#[cfg(test)]
mod tests;
