//! `requester.toml`: who asks, of which farm, and with which keys.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::exit::{Exit, Failure};
use super::farm_file::{FarmFile, Which};
use super::files;
use crate::model::{FileFault, RequesterName};

/// What it is called by default, beside `farm.toml`.
pub(super) const NAME: &str = "requester.toml";

const NOT_ASKED: &str = "Nothing was asked.";

/// Somebody who may ask a farm's master. Relative paths start from the file's own folder.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RequesterFile {
    /// By the name that `master.toml` gives them.
    pub(super) name: RequesterName,
    /// The farm's public file.
    pub(super) farm_file: PathBuf,
    /// Signs requests.
    pub(super) key: PathBuf,
    /// The seed of the bus login.
    pub(super) bus_key: PathBuf,
}

/// Who asks.
#[derive(Debug, clap::Args)]
pub(super) struct As {
    /// Who asks: the file that `pybots keys requester` made [default: requester.toml beside the farm's file].
    #[arg(long = "as", value_name = "REQUESTER.TOML")]
    file: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

impl As {
    /// Reads the requester's file and the farm's.
    pub(super) fn read(&self) -> Result<(RequesterFile, FarmFile), Failure> {
        let path = match &self.file {
            Some(file) => file.clone(),
            None => self.beside_the_farms()?,
        };
        let read = files::configuration(&path, RequesterFile::parse);
        let (requester, _) = read.map_err(|failure| failure.advice(NOT_ASKED))?;
        let farm = if self.which.is_given() {
            self.which.read()
        } else {
            Which::of(requester.farm_file.clone()).read()
        };
        Ok((
            requester,
            farm.map_err(|failure| failure.advice(NOT_ASKED))?,
        ))
    }

    fn beside_the_farms(&self) -> Result<PathBuf, Failure> {
        let no_farm = |failure: Failure| {
            failure.advice("Nothing was asked. --as REQUESTER.TOML says who asks, and with that of which farm.")
        };
        let farm = self.which.path().map_err(no_farm)?;
        let path = farm.with_file_name(NAME);
        if path.exists() {
            return Ok(path);
        }
        let message = format!("who asks? There is no {NAME} beside {}", farm.display());
        Err(Failure::message(Exit::Configuration, message).advice(
            "Nothing was asked. --as REQUESTER.TOML names another file; pybots keys requester NAME makes one.",
        ))
    }
}

impl RequesterFile {
    pub(super) fn parse(text: &str, folder: &Path) -> Result<Self, FileFault> {
        let file: Self = toml::from_str(text).map_err(|error| FileFault::toml(text, &error))?;
        let place = |path: PathBuf| {
            if files::is_credential(&path) {
                path
            } else {
                folder.join(path)
            }
        };
        Ok(Self {
            name: file.name,
            farm_file: folder.join(file.farm_file),
            key: place(file.key),
            bus_key: place(file.bus_key),
        })
    }

    /// The file's text.
    pub(super) fn to_text(&self) -> Result<String, Failure> {
        let body = toml::to_string(self).map_err(Failure::error)?;
        Ok(format!(
            "# Who asks the farm's master, as in `pybots build force --as {NAME}`. The two keys that it names are secret.\n{body}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requesters_file_reads_what_it_writes_from_its_own_folder() {
        let file = RequesterFile {
            name: "alice".parse().unwrap(),
            farm_file: "farm.toml".into(),
            key: "alice.key".into(),
            bus_key: "credential:alice-bus".into(),
        };
        let read = RequesterFile::parse(&file.to_text().unwrap(), Path::new("/home/alice/farm"));
        let expected = RequesterFile {
            farm_file: "/home/alice/farm/farm.toml".into(),
            key: "/home/alice/farm/alice.key".into(),
            ..file.clone()
        };
        assert_eq!(read.unwrap(), expected);
        let more = format!("{}token = \"x\"\n", file.to_text().unwrap());
        assert!(RequesterFile::parse(&more, Path::new("/")).is_err());
    }
}
