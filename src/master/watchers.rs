//! All that a leading master watches: one task for each repository, and one for each project whose releases are followed.
//!
//! None of them waits for another, and none of them is waited for: a remote that hangs, or a bus that is away, holds up
//! nothing but its own task.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify};
use tokio::task::{AbortHandle, JoinSet};

use super::config::{MasterConfig, Repository};
use super::herald::{Herald, Memory, Watcher};
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

    fn release(&self, _project: &ProjectName) -> Option<Version> {
        None
    }
}

/// The watching tasks of a leading master. With this value they end.
pub(super) struct Watchers {
    herald: Arc<Herald>,
    git: Git,
    state: PathBuf,
    repositories: BTreeMap<RepositoryName, Running<RepositoryTask, Memory>>,
    tasks: JoinSet<()>,
}

/// What a task for a repository works by; if any of it changes, the task is started anew.
#[derive(Clone, Debug, Eq, PartialEq)]
struct RepositoryTask {
    repository: Repository,
    depth: Depth,
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
        for (name, repository) in &config.repositories {
            self.follow_repository(name, repository, config, known);
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
        let task = RepositoryTask {
            repository: repository.clone(),
            depth: if paths_matter {
                Depth::Trees
            } else {
                Depth::Commits
            },
        };
        let running = self.repositories.entry(name.clone()).or_default();
        if running.runs(&task) {
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
            .with_depth(task.depth),
            hints: Arc::clone(&running.hints),
        };
        let announced = repository
            .branches
            .iter()
            .filter_map(|branch| Some((branch.clone(), known.tip(name, branch)?)))
            .collect();
        let (memory, period) = (Arc::clone(&running.memory), repository.poll_period);
        let handle = self.tasks.spawn(async move {
            let mut memory = memory.lock().await;
            memory.learn(announced);
            watcher.watch(&mut memory, period).await;
        });
        running.task = Some((task, handle));
    }

    /// Looks at a repository at once, if it is watched: but not more than once in two seconds, however many hints come.
    pub(super) fn hint(&self, repository: &RepositoryName) {
        if let Some(running) = self.repositories.get(repository) {
            running.hints.notify_one();
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
