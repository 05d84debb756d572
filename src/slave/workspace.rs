//! The folders and variables that a script finds.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::config::{SlaveConfig, WorkspaceRule};
use crate::model::{Build, BuilderName, Step};

/// The folders of one build.
pub(super) struct Workspace {
    /// One per builder, shared by all steps.
    pub(super) folder: PathBuf,
    cache: PathBuf,
    reports: PathBuf,
}

impl Workspace {
    /// Makes the folders of `build`, and empties the workspace if its owner wants that.
    pub(super) fn prepare(config: &SlaveConfig, builder: &BuilderName) -> io::Result<Self> {
        let own = config.state.join("builders").join(builder.as_str());
        let workspace = Self {
            folder: own.join("workspace"),
            cache: config.state.join("cache"),
            reports: own.join("reports"),
        };
        let rule = config
            .builders
            .get(builder)
            .map(|settings| settings.workspace)
            .unwrap_or_default();
        if rule == WorkspaceRule::Fresh {
            remove(&workspace.folder)?;
        }
        remove(&workspace.reports)?;
        for folder in [&workspace.folder, &workspace.cache, &workspace.reports] {
            fs::create_dir_all(folder)?;
        }
        Ok(workspace)
    }

    /// The whole environment of a step's script: what the owner listed and `PYBOTS_*`, nothing else.
    pub(super) fn environment(
        &self,
        config: &SlaveConfig,
        build: &Build,
        step: &Step,
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
        environment
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    // Does not follow symbolic links (the standard library's promise on Unix).
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn variable(name: &str) -> String {
    name.replace('-', "_").to_ascii_uppercase()
}
