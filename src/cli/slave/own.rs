//! `slave.toml`, to be changed by its owner's command.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};

use crate::cli::exit::{Exit, Failure};
use crate::cli::files;
use crate::model::CommandId;
use crate::slave::{EditError, Mapping, SlaveConfig, check_place};

pub(super) const NOT_DONE: &str = "Nothing was changed.";

/// A `slave.toml` of the user's own, and its folder locked: two commands at once would undo each other's change.
pub(super) struct OwnConfig {
    /// Where it really lies.
    pub(super) path: PathBuf,
    pub(super) config: SlaveConfig,
    text: String,
    _lock: Flock<File>,
}

impl OwnConfig {
    /// Reads it. A file behind a link is the one that is changed, if nobody else could turn the link elsewhere.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: anyhow::Error| Failure::configuration(error).advice(NOT_DONE);
        let real = check_place(path).map_err(|fault| failed(fault.into()))?;
        let owner = fs::metadata(&real)?.uid();
        if owner != nix::unistd::geteuid().as_raw() {
            let message = format!(
                "{} belongs to user {owner}, and would be yours after a change",
                real.display()
            );
            return Err(Failure::message(Exit::Configuration, message)
                .advice(format!("{NOT_DONE} Give the command as that user.")));
        }
        let folder = real.parent().unwrap_or(Path::new("/"));
        let folder = File::open(folder).with_context(|| folder.display().to_string());
        let lock = Flock::lock(folder.map_err(failed)?, FlockArg::LockExclusive)
            .map_err(|(_, error)| std::io::Error::from(error))?;
        let (config, text) = files::configuration(&real, SlaveConfig::parse)
            .map_err(|failure| failure.advice(NOT_DONE))?;
        Ok(Self {
            path: real,
            config,
            text,
            _lock: lock,
        })
    }

    /// The mapping of a command that has one.
    pub(super) fn mapping(&self, id: &CommandId) -> Result<&Mapping, Failure> {
        self.config.commands.get(id).ok_or_else(|| {
            let known: Vec<String> = self
                .config
                .commands
                .keys()
                .map(ToString::to_string)
                .collect();
            let known = if known.is_empty() {
                "No command is mapped.".to_owned()
            } else {
                format!("Mapped are: {}.", known.join(", "))
            };
            Failure::message(
                Exit::Usage,
                format!("{id} is mapped to no script in {}", self.path.display()),
            )
            .advice(format!("{NOT_DONE} {known}"))
        })
    }

    /// Puts a changed text in its place, if a slave can act on it. What `edit` gives besides is returned, with what the new
    /// text means.
    pub(super) fn change<T>(
        self,
        edit: impl FnOnce(&str) -> Result<(String, T), EditError>,
    ) -> Result<(SlaveConfig, T), Failure> {
        let failed = |error: anyhow::Error| Failure::configuration(error).advice(NOT_DONE);
        let (text, more) = edit(&self.text).map_err(|error| failed(error.into()))?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let config = SlaveConfig::parse(&text, folder)
            .with_context(|| format!("{} would not do any more", self.path.display()))
            .map_err(failed)?;
        let draft = files::draft(&self.path, &text)?;
        // An editor does not know our lock.
        if fs::read(&self.path)? != self.text.as_bytes() {
            let message = format!("{} was changed at this moment", self.path.display());
            return Err(Failure::message(Exit::Error, message)
                .advice(format!("{NOT_DONE} Give the command again.")));
        }
        files::put(draft, &self.path)?;
        Ok((config, more))
    }
}
