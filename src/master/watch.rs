//! Watching a git remote by polling, through a bare mirror.
//!
//! Only says where branches stand and which commits brought them there; what follows from that is the scheduler's. The
//! mirror is a cache of commits: it has no work tree and no files' content, runs no hook, and can be deleted whenever no
//! process uses it.

mod git;
mod listing;
mod remote;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::fs;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::model::{Branch, Change, Commit, RepositoryName, Revision, Text};

use git::Finished;
pub use git::Git;
pub use remote::{RemoteUrl, RemoteUrlError};

/// How much of a repository its mirror holds, where the remote can leave out the rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// Commits alone.
    Commits,
    /// Which paths there are, too.
    Trees,
}

impl Depth {
    /// The mirror, inside the folder that is given to it. Each depth has its own, as git would not fetch what is missing
    /// below commits that it has.
    fn mirror(self) -> &'static str {
        match self {
            Self::Commits => "mirror.git",
            Self::Trees => "trees.git",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Commits => Self::Trees,
            Self::Trees => Self::Commits,
        }
    }

    fn filter(self) -> &'static str {
        match self {
            Self::Commits => "--filter=tree:0",
            Self::Trees => "--filter=blob:none",
        }
    }
}

/// A bare mirror of one watched repository.
#[derive(Debug)]
pub struct Mirror {
    git: Git,
    name: RepositoryName,
    url: RemoteUrl,
    folder: PathBuf,
    branches: BTreeSet<Branch>,
    depth: Depth,
    patience: Duration,
    polling: Mutex<()>,
}

/// Where the watched branches stand.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tips {
    /// Each branch that the remote has; its revision is in the mirror.
    pub found: BTreeMap<Branch, Revision>,
    /// Each branch that the remote does not have, or has no more.
    pub absent: BTreeSet<Branch>,
}

/// How a branch came to its tip.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct History {
    /// First-parent commits, newest first, at most [`Change::MAX_COMMITS`].
    pub commits: Vec<Commit>,
    /// How many more there are than `commits` lists.
    pub more: u32,
    /// The previous tip does not lead to this one, or nobody knows it any more; then only the tip itself is listed.
    pub rewritten: bool,
}

/// Why a repository could not be watched this time.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Not done in time; whatever was running was killed.
    #[error("the remote of repository {repository} did not answer within {patience:?}")]
    Slow {
        /// Which repository.
        repository: RepositoryName,
        /// How long it was given.
        patience: Duration,
    },
    /// The `git` program gave up.
    #[error("git failed for repository {repository}: {said}")]
    Failed {
        /// Which repository.
        repository: RepositoryName,
        /// The end of its complaint.
        said: Text,
    },
    /// The `git` program is not there, or cannot be run.
    #[error("the git program could not be run for repository {repository}")]
    NoGit {
        /// Which repository.
        repository: RepositoryName,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The mirror's folder cannot be used.
    #[error("the folder of the mirror of repository {repository} could not be used")]
    Folder {
        /// Which repository.
        repository: RepositoryName,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The `git` program succeeded, and what it wrote makes no sense.
    #[error("what git says of repository {repository} was not understood")]
    Garbled {
        /// Which repository.
        repository: RepositoryName,
    },
}

impl Mirror {
    /// A mirror in `folder`, which is made when first needed and belongs to this process alone.
    ///
    /// `patience` bounds each call of `git`, and so must suffice for the first fetch, of every commit of `branches`.
    #[must_use]
    pub fn new(
        git: Git,
        name: RepositoryName,
        url: RemoteUrl,
        folder: PathBuf,
        branches: Vec<Branch>,
        patience: Duration,
    ) -> Self {
        Self {
            git,
            name,
            url,
            folder,
            branches: branches.into_iter().collect(),
            depth: Depth::Commits,
            patience,
            polling: Mutex::new(()),
        }
    }

    /// The same with another depth than [`Depth::Commits`]. The mirror is made anew if it has another one.
    #[must_use]
    pub fn with_depth(self, depth: Depth) -> Self {
        Self { depth, ..self }
    }

    /// Brings the mirror up to date, and says where each watched branch stands now.
    ///
    /// A branch that the remote does not have does not disturb the others. If nothing moved, nothing is fetched.
    ///
    /// # Errors
    ///
    /// [`WatchError`]; the mirror is then as it was, or further, and the next poll goes on from there.
    pub async fn poll(&self) -> Result<Tips, WatchError> {
        let _alone = self.polling.lock().await;
        let remote = self.remote().await?;
        if let Some(tip) = remote.values().next() {
            self.prepare(tip).await?;
        } else {
            return Ok(self.tips(BTreeMap::new()));
        }
        let mirrored = self.mirrored().await?;
        if mirrored == remote {
            return Ok(self.tips(remote));
        }

        self.sweep().await.map_err(|source| self.folder(source))?;
        // First, as a vanished `a` stands in the way of a new `a/b`.
        for gone in mirrored.keys().filter(|b| !remote.contains_key(b)) {
            self.succeed(&["update-ref", "-d", &format!("refs/heads/{gone}")])
                .await?;
        }
        let moved: Vec<&Branch> = remote
            .iter()
            .filter(|&(branch, tip)| mirrored.get(branch) != Some(tip))
            .map(|(branch, _)| branch)
            .collect();
        if !moved.is_empty() {
            self.fetch(&moved).await?;
        }
        // Asked again, as a branch may have moved between the remote's answer and the fetch.
        let mirrored = self.mirrored().await?;
        if mirrored.keys().eq(remote.keys()) {
            Ok(self.tips(mirrored))
        } else {
            Err(self.garbled())
        }
    }

    /// What brought a branch from `previous` (exclusive) to `tip`; without a `previous`, just the tip.
    ///
    /// Works on the mirror alone, so `tip` must come from [`Mirror::poll`].
    ///
    /// # Errors
    ///
    /// [`WatchError`], for instance if `tip` is not in the mirror.
    pub async fn commits(
        &self,
        previous: Option<&Revision>,
        tip: &Revision,
    ) -> Result<History, WatchError> {
        let rewritten = match previous {
            Some(previous) => !self.leads_to(previous, tip).await?,
            None => false,
        };
        let (range, most, total) = match previous {
            Some(previous) if !rewritten => {
                let range = format!("{previous}..{tip}");
                let count = self
                    .succeed(&["rev-list", "--count", "--first-parent", &range, "--"])
                    .await?;
                let total = listing::count(&count).ok_or_else(|| self.garbled())?;
                (range, Change::MAX_COMMITS, total)
            }
            Some(_) | None => (tip.to_string(), 1, 1),
        };
        let log = self
            .git(
                self.depth.mirror(),
                &[
                    "log",
                    "-z",
                    "--first-parent",
                    "--encoding=UTF-8",
                    "--format=%H%x00%ct%x00%an%x00%s",
                    &format!("--max-count={most}"),
                    &range,
                    "--",
                ],
            )
            .await?;
        // Somebody's endless subject must not stop the watch: of what was cut, the readable part is used.
        if !log.status.success() && !log.cut {
            return Err(self.failed(&log));
        }
        let commits = listing::commits(&log.stdout).ok_or_else(|| self.garbled())?;
        let listed = u32::try_from(commits.len()).unwrap_or(u32::MAX);
        Ok(History {
            more: total.saturating_sub(listed),
            commits,
            rewritten,
        })
    }

    /// Every path in which two revisions differ; none where that is not known: the mirror has no trees, or not those, or
    /// they are too many for one change, or one of them is no plain text.
    ///
    /// # Errors
    ///
    /// [`WatchError`] if git cannot be run, or does not end.
    pub async fn paths(
        &self,
        previous: &Revision,
        tip: &Revision,
    ) -> Result<Option<Vec<Text>>, WatchError> {
        if self.depth == Depth::Commits {
            return Ok(None);
        }
        let listed = self
            .git(
                self.depth.mirror(),
                &[
                    "diff-tree",
                    "-r",
                    "-z",
                    "--name-only",
                    "--no-renames",
                    previous.as_str(),
                    tip.as_str(),
                    "--",
                ],
            )
            .await?;
        if !listed.status.success() || listed.cut {
            return Ok(None);
        }
        Ok(listing::paths(&listed.stdout))
    }

    /// What comes after `prefix` in the names of the remote's tags that begin with it. Needs no mirror, and makes none.
    ///
    /// # Errors
    ///
    /// [`WatchError`]
    pub async fn tags(&self, prefix: &Text) -> Result<Vec<String>, WatchError> {
        let prefix = prefix.as_str();
        let is_plain = prefix
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte));
        // What git could read as a pattern is compared here only.
        let pattern = format!("refs/tags/{}*", if is_plain { prefix } else { "" });
        let said = self
            .succeed(&[
                "ls-remote",
                "--quiet",
                "--refs",
                "--tags",
                "--",
                self.url.as_str(),
                &pattern,
            ])
            .await?;
        listing::tags(&said, prefix).ok_or_else(|| self.garbled())
    }

    /// The watched branches as the remote has them.
    async fn remote(&self) -> Result<BTreeMap<Branch, Revision>, WatchError> {
        let names: Vec<String> = self
            .branches
            .iter()
            .map(|branch| format!("refs/heads/{branch}"))
            .collect();
        let mut args = vec!["ls-remote", "--quiet", "--heads", "--", self.url.as_str()];
        args.extend(names.iter().map(String::as_str));
        let said = self.succeed(&args).await?;
        let mut tips = listing::tips(&said).ok_or_else(|| self.garbled())?;
        // `refs/heads/main` also matches the branch `x/refs/heads/main`.
        tips.retain(|branch, _| self.branches.contains(branch));
        Ok(tips)
    }

    /// The branches that the mirror has.
    async fn mirrored(&self) -> Result<BTreeMap<Branch, Revision>, WatchError> {
        let said = self
            .succeed(&[
                "for-each-ref",
                "--format=%(objectname)%09%(refname)",
                "refs/heads/",
            ])
            .await?;
        listing::tips(&said).ok_or_else(|| self.garbled())
    }

    /// Fetches `moved`: commits only, where the remote can leave out the rest.
    async fn fetch(&self, moved: &[&Branch]) -> Result<(), WatchError> {
        // Named, as git cannot remember of a remote without a name that it leaves things out; and only for this call, so
        // that no other can fetch what was left out.
        let remote = format!("remote.watched.url={}", self.url);
        let refspecs: Vec<String> = moved
            .iter()
            .map(|branch| format!("+refs/heads/{branch}:refs/heads/{branch}"))
            .collect();
        let mut args = vec![
            "-c",
            remote.as_str(),
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
            self.depth.filter(),
            "--",
            "watched",
        ];
        args.extend(refspecs.iter().map(String::as_str));
        self.succeed(&args).await.map(drop)
    }

    /// Whether `previous` is known, and an ancestor of `tip` or the same.
    async fn leads_to(&self, previous: &Revision, tip: &Revision) -> Result<bool, WatchError> {
        let args = [
            "merge-base",
            "--is-ancestor",
            previous.as_str(),
            tip.as_str(),
        ];
        let asked = self.git(self.depth.mirror(), &args).await?;
        match asked.status.code() {
            Some(0) => Ok(true),
            Some(1 | 128) => Ok(false),
            Some(_) | None => Err(self.failed(&asked)),
        }
    }

    /// Runs `git` on the mirror, and takes nothing but a complete success.
    async fn succeed(&self, args: &[&str]) -> Result<Vec<u8>, WatchError> {
        let finished = self.git(self.depth.mirror(), args).await?;
        if finished.cut {
            Err(self.garbled())
        } else if finished.status.success() {
            Ok(finished.stdout)
        } else {
            Err(self.failed(&finished))
        }
    }

    /// Runs `git` on one of the folders inside `folder`, to its end or the end of patience.
    async fn git(&self, repository: &str, args: &[&str]) -> Result<Finished, WatchError> {
        fs::create_dir_all(&self.folder)
            .await
            .map_err(|source| self.folder(source))?;
        timeout(self.patience, self.git.run(&self.folder, repository, args))
            .await
            .map_err(|_| WatchError::Slow {
                repository: self.name.clone(),
                patience: self.patience,
            })?
            .map_err(|source| WatchError::NoGit {
                repository: self.name.clone(),
                source,
            })
    }

    fn tips(&self, found: BTreeMap<Branch, Revision>) -> Tips {
        let absent = self
            .branches
            .iter()
            .filter(|branch| !found.contains_key(branch))
            .cloned()
            .collect();
        Tips { found, absent }
    }

    fn failed(&self, finished: &Finished) -> WatchError {
        WatchError::Failed {
            repository: self.name.clone(),
            said: finished.complaint(),
        }
    }

    fn folder(&self, source: io::Error) -> WatchError {
        WatchError::Folder {
            repository: self.name.clone(),
            source,
        }
    }

    fn garbled(&self) -> WatchError {
        WatchError::Garbled {
            repository: self.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
