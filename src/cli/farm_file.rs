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
#[derive(Debug, Default, clap::Args)]
pub(super) struct Which {
    /// The farm's public file [default: `$PYBOTS_FARM`, or that of the farm that `pybots up` runs].
    #[arg(long, value_name = "FARM.TOML")]
    farm: Option<PathBuf>,
}

impl Which {
    /// The farm of that file.
    pub(super) fn of(file: PathBuf) -> Self {
        Self { farm: Some(file) }
    }

    /// Where it lies.
    pub(super) fn path(&self) -> Result<PathBuf, Failure> {
        self.farm
            .clone()
            .or_else(|| files::variable("PYBOTS_FARM").map(PathBuf::from))
            .or_else(FarmFile::of_up)
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
    /// Where `pybots up` keeps the file of its farm, unless told otherwise.
    pub(super) fn of_up() -> Option<PathBuf> {
        files::state_folder().map(|folder| folder.join("farm/farm.toml"))
    }

    /// Whether a file belongs to that farm.
    pub(super) fn is_of_up(file: &Path) -> bool {
        let of_up = Self::of_up();
        let folder = of_up.as_deref().and_then(Path::parent);
        folder.is_some_and(|folder| file.starts_with(folder))
    }

    pub(super) fn parse(text: &str, _folder: &Path) -> Result<Self, FileFault> {
        toml::from_str(text).map_err(|error| FileFault::toml(text, &error))
    }

    /// The file's text.
    pub(super) fn to_text(&self) -> Result<String, Failure> {
        let body = toml::to_string(self).map_err(Failure::error)?;
        Ok(format!(
            "# Public: all that `pybots status --farm` needs. The farm id is what a viewer pins.\n{body}"
        ))
    }

    /// How a viewer logs in.
    pub(super) fn login(&self) -> Login {
        let Viewer { user, password } = self.viewer.clone();
        Login::Public { user, password }
    }

    /// Connects as a viewer.
    pub(super) async fn connect(&self, patience: Patience) -> Result<Bus, Failure> {
        let subjects = Subjects::new(&self.farm);
        Ok(Bus::connect(&self.bus, self.login(), subjects, patience).await?)
    }
}
