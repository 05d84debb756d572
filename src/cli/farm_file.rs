//! `farm.toml`: the public file that is all a viewer needs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::exit::{Exit, Failure};
use super::files;
use crate::bus::{Bus, BusAddress, Login, Patience};
use crate::model::{FarmId, FileFault};
use crate::wire::Subjects;

/// A farm, as its viewers know it. Nothing in it is a secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct FarmFile {
    /// What a viewer pins.
    pub(super) farm: FarmId,
    /// Where the bus is.
    pub(super) bus: BusAddress,
    /// The read-only login.
    pub(super) viewer: Viewer,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Viewer {
    pub(super) user: String,
    pub(super) password: String,
}

impl Default for Viewer {
    fn default() -> Self {
        Self {
            user: "viewer".to_owned(),
            password: "public".to_owned(),
        }
    }
}

/// Which farm a viewer's command looks at.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The farm's public file [default: `$PYBOTS_FARM`, or that of the farm that `pybots up` runs].
    #[arg(long, value_name = "FARM.TOML")]
    farm: Option<PathBuf>,
}

impl Which {
    /// Where it lies.
    pub(super) fn path(&self) -> Result<PathBuf, Failure> {
        self.farm
            .clone()
            .or_else(|| files::variable("PYBOTS_FARM").map(PathBuf::from))
            .or_else(|| files::state_folder().map(|folder| folder.join("farm/farm.toml")))
            .ok_or_else(|| {
                Failure::message(Exit::Configuration, "which farm? Give --farm FARM.TOML")
            })
    }

    /// Whether it was named on the command line.
    pub(super) fn is_given(&self) -> bool {
        self.farm.is_some()
    }

    /// Reads the file.
    pub(super) fn read(&self) -> Result<FarmFile, Failure> {
        files::configuration(&self.path()?, FarmFile::parse).map(|(file, _)| file)
    }
}

impl FarmFile {
    fn parse(text: &str, _folder: &Path) -> Result<Self, FileFault> {
        toml::from_str(text).map_err(|error| FileFault::toml(text, &error))
    }

    /// The file's text.
    pub(super) fn to_text(&self) -> Result<String, Failure> {
        let body = toml::to_string(self).map_err(Failure::error)?;
        Ok(format!(
            "# Public: all that `pybots status --farm` needs. The farm id is what a viewer pins.\n{body}"
        ))
    }

    /// Connects as a viewer.
    pub(super) async fn connect(&self) -> Result<Bus, Failure> {
        let Viewer { user, password } = self.viewer.clone();
        let login = Login::Public { user, password };
        Ok(Bus::connect(&self.bus, login, Subjects::new(&self.farm), Patience::Brief).await?)
    }
}
