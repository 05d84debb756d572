//! The folders and variables that a script finds.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::config::{IsolationSettings, Mapping, SlaveConfig, WorkspaceRule};
use super::gate::Recipe;
use super::isolation::{Confinement, shows_siblings};
use crate::model::{Build, BuilderName, Step};

/// How the names of folders begin that only wait for being removed.
const DISCARDED: &str = "discarded-";

/// Removes folders in the background, without following symbolic links.
///
/// By `rm`, a process of its own: what foreign code has left may be nested so deeply that removing it in this process
/// would exhaust its stack or its descriptors.
pub(super) fn remove_soon(folders: Vec<PathBuf>) {
    tokio::spawn(async move {
        for folder in folders {
            // A folder that its owner may not write to keeps its entries until that is changed.
            let gone = run(&["rm", "-rf"], &folder).await
                || (run(&["chmod", "-R", "u+rwX"], &folder).await
                    && run(&["rm", "-rf"], &folder).await);
            if !gone {
                tracing::warn!(folder = %folder.display(), "old workspace not removed");
            }
        }
    });
}

async fn run(command: &[&str], folder: &Path) -> bool {
    let [program, arguments @ ..] = command else {
        return false;
    };
    let mut process = Command::new(program);
    process
        .args(arguments)
        .arg("--")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    process.status().await.is_ok_and(|status| status.success())
}

/// The folders of one build.
pub(super) struct Workspace {
    /// One per builder, shared by all steps.
    pub(super) folder: PathBuf,
    cache: PathBuf,
    /// What a step's tests leave behind for people, and nothing of the step before.
    pub(super) reports: PathBuf,
    temporary: PathBuf,
    home: PathBuf,
    discarded: Vec<PathBuf>,
}

impl Workspace {
    /// Makes the folders of a build on `builder`, with an empty workspace if its owner wants that. What was there before
    /// is only put out of the way, under names that begin with `mark`: what a whole build of Python left takes seconds
    /// to remove, and nobody shall wait.
    pub(super) fn prepare(
        config: &SlaveConfig,
        builder: &BuilderName,
        mark: &str,
    ) -> io::Result<Self> {
        let own = config.state.join("builders").join(builder.as_str());
        let rule = config
            .builders
            .get(builder)
            .map(|settings| settings.workspace)
            .unwrap_or_default();
        Self::prepare_at(config, &own, rule, mark)
    }

    /// The same in a folder of its own, whatever builds are under way.
    pub(super) fn prepare_at(
        config: &SlaveConfig,
        own: &Path,
        rule: WorkspaceRule,
        mark: &str,
    ) -> io::Result<Self> {
        let mut workspace = Self::at(config, own);
        let old = match rule {
            WorkspaceRule::Fresh => vec!["workspace", "reports", "tmp", "home"],
            WorkspaceRule::Kept => vec!["reports", "tmp", "home"],
        };
        for name in old {
            let discarded = own.join(format!("{DISCARDED}{mark}-{name}"));
            match fs::rename(own.join(name), &discarded) {
                Ok(()) => workspace.discarded.push(discarded),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        workspace.make()?;
        Ok(workspace)
    }

    /// The folders of a build on `builder` that has begun, as they are.
    pub(super) fn find(config: &SlaveConfig, builder: &BuilderName) -> io::Result<Self> {
        let own = config.state.join("builders").join(builder.as_str());
        let workspace = Self::at(config, &own);
        workspace.make()?;
        Ok(workspace)
    }

    fn at(config: &SlaveConfig, own: &Path) -> Self {
        Self {
            folder: own.join("workspace"),
            cache: config.state.join("cache"),
            reports: own.join("reports"),
            temporary: own.join("tmp"),
            home: own.join("home"),
            discarded: Vec::new(),
        }
    }

    fn make(&self) -> io::Result<()> {
        let own = [&self.folder, &self.cache, &self.reports];
        own.into_iter()
            .chain([&self.temporary, &self.home])
            .try_for_each(fs::create_dir_all)
    }

    /// Empties the folder of test reports before a step, so that what is there afterwards is that step's own. What the step
    /// before left is put out of the way, under a name that has `mark` in it.
    pub(super) fn empty_reports(&self, mark: &str) -> io::Result<()> {
        // Mostly it is empty, and then this is all.
        if let Err(error) = fs::remove_dir(&self.reports)
            && error.kind() != io::ErrorKind::NotFound
        {
            let discarded = self
                .reports
                .with_file_name(format!("{DISCARDED}{mark}-reports"));
            fs::rename(&self.reports, &discarded)?;
            remove_soon(vec![discarded]);
        }
        fs::create_dir(&self.reports)
    }

    /// What was put out of the way.
    pub(super) fn take_discarded(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.discarded)
    }

    /// What was put out of the way by a slave that was killed before it had removed it.
    pub(super) fn left_behind(config: &SlaveConfig) -> Vec<PathBuf> {
        let own = config
            .builders
            .keys()
            .map(|builder| config.state.join("builders").join(builder.as_str()));
        own.filter_map(|own| fs::read_dir(own).ok())
            .flat_map(Iterator::flatten)
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(DISCARDED))
            .map(|entry| entry.path())
            .collect()
    }

    /// How a step's script is kept apart, with `script` being where its owner keeps it, by `bubblewrap` if that is used.
    pub(super) fn confinement(
        &self,
        config: &SlaveConfig,
        recipe: &Recipe,
        script: &Path,
        bubblewrap: Option<&Path>,
    ) -> Confinement {
        let own = [&self.folder, &self.cache, &self.reports];
        let IsolationSettings {
            readable, writable, ..
        } = &config.isolation;
        Confinement {
            level: recipe.isolation,
            network: recipe.network,
            bubblewrap: bubblewrap.map(Path::to_owned),
            readable: script
                .parent()
                .filter(|folder| shows_siblings(folder))
                .map(Path::to_owned)
                .into_iter()
                .chain(readable.iter().cloned())
                .chain(recipe.mapping.secrets.values().cloned())
                .collect(),
            writable: own.into_iter().chain(writable).cloned().collect(),
            own: own
                .into_iter()
                .chain([&self.temporary, &self.home])
                .cloned()
                .collect(),
            hidden: vec![config.state.clone()],
            temporary: self.temporary.clone(),
            home: self.home.clone(),
        }
    }

    /// The whole environment of a step's script: what the owner listed and `PYBOTS_*`, nothing else.
    pub(super) fn environment(
        &self,
        config: &SlaveConfig,
        build: &Build,
        step: &Step,
        mapping: &Mapping,
        script: &Path,
    ) -> BTreeMap<String, String> {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut environment = config.environment.clone();
        let mut set =
            |name: &str, value: String| environment.insert(format!("PYBOTS_{name}"), value);
        set("BUILD", build.id().to_string());
        set("BUILDER", build.builder.to_string());
        set("PROJECT", build.project.to_string());
        set("WORKSPACE", path(&self.folder));
        set("CACHE", path(&self.cache));
        set("REPORTS", path(&self.reports));
        set("SCRIPT_DIR", script.parent().map(path).unwrap_or_default());
        for source in &build.sources {
            let repository = variable(source.repository.as_str());
            set(&format!("REV_{repository}"), source.revision.to_string());
            set(&format!("BRANCH_{repository}"), source.branch.to_string());
        }
        for (name, value) in &step.parameters {
            set(&format!("P_{}", variable(name.as_str())), value.to_string());
        }
        for (name, file) in &mapping.secrets {
            set(&format!("SECRET_{name}"), path(file));
        }
        environment
    }
}

fn variable(name: &str) -> String {
    name.replace('-', "_").to_ascii_uppercase()
}
