//! All that a leading master watches: one task for each repository, and one for each project whose releases are followed.
//!
//! None of them waits for another, and none of them is waited for: a remote that hangs, or a bus that is away, holds up
//! nothing but its own task.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify};
use tokio::task::{AbortHandle, JoinSet};

use super::config::{MasterConfig, ReleasePlace, ReleaseSource, Repository};
use super::herald::{Herald, Looks, Memory, Watcher};
use super::releases::{Place, ReleaseMemory, ReleaseWatcher};
use super::scheduler::Scheduler;
use super::watch::{Depth, Git, Mirror};
use crate::model::{Branch, ProjectName, RepositoryName, Revision, Version};

/// What was announced before, so that it is not announced again.
pub trait Known {
    /// The newest announced tip of a branch.
    fn tip(&self, repository: &RepositoryName, branch: &Branch) -> Option<Revision>;

    /// The greatest announced version of a project.
    fn release(&self, project: &ProjectName) -> Option<Version>;
}

impl Known for Scheduler {
    fn tip(&self, repository: &RepositoryName, branch: &Branch) -> Option<Revision> {
        Self::tip(self, repository, branch).cloned()
    }

    fn release(&self, project: &ProjectName) -> Option<Version> {
        self.greatest_release(project).cloned()
    }
}

/// The watching tasks of a leading master. With this value they end.
pub(super) struct Watchers {
    herald: Arc<Herald>,
    git: Git,
    state: PathBuf,
    repositories: BTreeMap<RepositoryName, Running<RepositoryTask, Memory>>,
    releases: BTreeMap<ProjectName, Running<ReleaseTask, ReleaseMemory>>,
    tasks: JoinSet<()>,
}

/// What a task for a repository works by; if any of it changes, the task is started anew.
#[derive(Clone, Debug, Eq, PartialEq)]
struct RepositoryTask {
    repository: Repository,
    depth: Depth,
}

/// What a task for releases works by; the repository is the one whose tags are followed.
#[derive(Clone, Debug, Eq, PartialEq)]
struct ReleaseTask {
    source: ReleaseSource,
    repository: Option<Repository>,
}

impl ReleaseTask {
    fn follows_tags_of(&self, wanted: &RepositoryName) -> bool {
        match &self.source.place {
            ReleasePlace::Tags { repository, .. } => repository == wanted,
            ReleasePlace::Index(_) | ReleasePlace::Requests => false,
        }
    }
}

/// A task, and what outlives it.
struct Running<Task, Kept> {
    /// What it was started with; none if it was stopped.
    task: Option<(Task, AbortHandle)>,
    hints: Arc<Notify>,
    /// Locked by the task for as long as it lives: the next one begins when this one has really ended.
    memory: Arc<Mutex<Kept>>,
}

impl<Task, Kept: Default> Default for Running<Task, Kept> {
    fn default() -> Self {
        Self {
            task: None,
            hints: Arc::default(),
            memory: Arc::default(),
        }
    }
}

impl<Task: PartialEq, Kept> Running<Task, Kept> {
    fn runs(&self, wanted: &Task) -> bool {
        self.task.as_ref().is_some_and(|(task, _)| task == wanted)
    }

    fn stop(&mut self) {
        if let Some((_, handle)) = self.task.take() {
            handle.abort();
        }
    }
}

impl Watchers {
    /// Watches nothing yet. The mirrors lie below `state`, and belong to this value alone.
    pub(super) fn new(herald: Arc<Herald>, git: Git, state: PathBuf) -> Self {
        Self {
            herald,
            git,
            state,
            repositories: BTreeMap::new(),
            releases: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Watches exactly what `config` names from now on. What is watched already, in the same way, is not disturbed.
    pub(super) fn follow(&mut self, config: &MasterConfig, known: &dyn Known) {
        for (name, running) in &mut self.repositories {
            if !config.repositories.contains_key(name) {
                running.stop();
            }
        }
        for (project, running) in &mut self.releases {
            if !config.releases.contains_key(project) {
                running.stop();
            }
        }
        for (name, repository) in &config.repositories {
            self.follow_repository(name, repository, config, known);
        }
        for (project, source) in &config.releases {
            self.follow_releases(project, source, config, known);
        }
    }

    fn follow_repository(
        &mut self,
        name: &RepositoryName,
        repository: &Repository,
        config: &MasterConfig,
        known: &dyn Known,
    ) {
        let paths_matter = config
            .builders
            .values()
            .any(|builder| builder.paths.contains_key(name));
        let wanted = RepositoryTask {
            repository: repository.clone(),
            depth: if paths_matter {
                Depth::Trees
            } else {
                Depth::Commits
            },
        };
        let running = self.repositories.entry(name.clone()).or_default();
        if running.runs(&wanted) {
            return;
        }
        running.stop();
        let watcher = Watcher {
            herald: Arc::clone(&self.herald),
            name: name.clone(),
            mirror: Mirror::new(
                self.git.clone(),
                name.clone(),
                repository.url.clone(),
                self.state.join("mirrors").join(name.as_str()),
                repository.branches.clone(),
                repository.patience,
            )
            .with_depth(wanted.depth),
        };
        let announced = repository
            .branches
            .iter()
            .filter_map(|branch| Some((branch.clone(), known.tip(name, branch)?)))
            .collect();
        let (memory, hints) = (Arc::clone(&running.memory), Arc::clone(&running.hints));
        let period = repository.poll_period;
        let handle = self.tasks.spawn(async move {
            let mut memory = memory.lock().await;
            memory.learn(announced);
            let looks = Looks::new(period, hints);
            watcher.watch(&mut memory, looks).await;
        });
        running.task = Some((wanted, handle));
    }

    fn follow_releases(
        &mut self,
        project: &ProjectName,
        source: &ReleaseSource,
        config: &MasterConfig,
        known: &dyn Known,
    ) {
        let running = self.releases.entry(project.clone()).or_default();
        let repository = match &source.place {
            ReleasePlace::Tags { repository, .. } => config.repositories.get(repository),
            ReleasePlace::Index(_) | ReleasePlace::Requests => None,
        };
        let wanted = ReleaseTask {
            source: source.clone(),
            repository: repository.cloned(),
        };
        if running.runs(&wanted) {
            return;
        }
        running.stop();
        let place = match (&source.place, repository) {
            (
                ReleasePlace::Tags {
                    repository: name,
                    prefix,
                },
                Some(repository),
            ) => Place::Tags {
                mirror: Box::new(Mirror::new(
                    self.git.clone(),
                    name.clone(),
                    repository.url.clone(),
                    self.state.join("releases").join(project.as_str()),
                    Vec::new(),
                    source.patience,
                )),
                prefix: prefix.clone(),
            },
            (ReleasePlace::Index(url), _) => Place::Index(url.clone()),
            (ReleasePlace::Tags { .. }, None) | (ReleasePlace::Requests, _) => return,
        };
        let watcher = ReleaseWatcher {
            herald: Arc::clone(&self.herald),
            project: project.clone(),
            place,
            pre_releases: source.pre_releases,
            patience: source.patience,
        };
        let (announced, period) = (known.release(project), source.poll_period);
        let (memory, hints) = (Arc::clone(&running.memory), Arc::clone(&running.hints));
        let handle = self.tasks.spawn(async move {
            let mut memory = memory.lock().await;
            memory.learn(announced);
            watcher.watch(&mut memory, Looks::new(period, hints)).await;
        });
        running.task = Some((wanted, handle));
    }

    /// Looks at a repository at once, if it is watched: but not more than once in two seconds, however many hints come.
    pub(super) fn hint(&self, repository: &RepositoryName) {
        if let Some(running) = self.repositories.get(repository) {
            running.hints.notify_one();
        }
        for running in self.releases.values() {
            if running
                .task
                .as_ref()
                .is_some_and(|(task, _)| task.follows_tags_of(repository))
            {
                running.hints.notify_one();
            }
        }
    }

    /// Waits until a task has ended that nobody stopped, which is a fault. Cancel-safe.
    pub(super) async fn ended(&mut self) {
        loop {
            match self.tasks.join_next().await {
                Some(Err(error)) if error.is_cancelled() => {}
                Some(_) => return,
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
