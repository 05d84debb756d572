//! How scripts are to be kept apart from the rest of the machine.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::SlaveConfigError;
use crate::model::Isolation;

/// The table `isolation`, word for word.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct IsolationFile {
    level: LevelRule,
    minimum: Minimum,
    network: Option<NetworkRule>,
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
}

/// Which level scripts run at.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum LevelRule {
    /// The strongest that this machine can do.
    #[default]
    Best,
    /// Plain.
    Plain,
    /// Landlock.
    Landlock,
    /// Namespaces.
    Namespaces,
}

impl LevelRule {
    /// The one level that is allowed; none for the best.
    #[must_use]
    pub fn only(self) -> Option<Isolation> {
        match self {
            Self::Best => None,
            Self::Plain => Some(Isolation::Plain),
            Self::Landlock => Some(Isolation::Landlock),
            Self::Namespaces => Some(Isolation::Namespaces),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Minimum {
    #[default]
    Plain,
    Landlock,
    Namespaces,
}

/// Whether a script may reach the network.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkRule {
    /// It may not, and is not run where that cannot be had.
    Off,
    /// It may.
    On,
}

/// How scripts are to be kept apart from the rest of the machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IsolationSettings {
    /// Which level.
    pub level: LevelRule,
    /// Below this level nothing is run.
    pub minimum: Isolation,
    /// Where a command says nothing of the network: this; if this says nothing either, it is off where that can be had.
    pub network: Option<NetworkRule>,
    /// What scripts may read besides the system and their own folders.
    pub readable: Vec<PathBuf>,
    /// What they may write besides their own folders.
    pub writable: Vec<PathBuf>,
}

impl IsolationFile {
    pub(super) fn parse(self, folder: &Path) -> Result<IsolationSettings, SlaveConfigError> {
        let minimum = match self.minimum {
            Minimum::Plain => Isolation::Plain,
            Minimum::Landlock => Isolation::Landlock,
            Minimum::Namespaces => Isolation::Namespaces,
        };
        if self.level.only().is_some_and(|level| level < minimum) {
            return Err(SlaveConfigError::BelowMinimum);
        }
        let absolute = |paths: Vec<PathBuf>| paths.into_iter().map(|path| folder.join(path));
        Ok(IsolationSettings {
            level: self.level,
            minimum,
            network: self.network,
            readable: absolute(self.readable).collect(),
            writable: absolute(self.writable).collect(),
        })
    }
}
