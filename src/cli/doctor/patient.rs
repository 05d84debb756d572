//! Which files are looked at, and what they make of this machine.

use std::path::{Path, PathBuf};

use super::finding::{Check, Finding, Judgement, Part};
use crate::cli::exit::Failure;
use crate::cli::farm_file::FarmFile;
use crate::cli::files;
use crate::master::MasterConfig;
use crate::model::BuilderName;
use crate::slave::SlaveConfig;

/// Which files to look at.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Named {
    /// A slave's configuration [default: the one in this folder].
    #[arg(long, value_name = "SLAVE.TOML")]
    slave: Option<PathBuf>,
    /// A master's configuration [default: the one in this folder].
    #[arg(long, value_name = "MASTER.TOML")]
    master: Option<PathBuf>,
    /// A farm's public file [default: the one in this folder].
    #[arg(long, value_name = "FARM.TOML")]
    farm: Option<PathBuf>,
}

/// A file and what it says.
#[derive(Debug)]
pub(super) struct Read<T> {
    pub(super) path: PathBuf,
    pub(super) config: T,
}

/// What this machine is to a farm, as far as its files can be read.
#[derive(Debug, Default)]
pub(super) struct Patient {
    pub(super) slave: Option<Read<SlaveConfig>>,
    pub(super) master: Option<Read<MasterConfig>>,
    pub(super) farm: Option<Read<FarmFile>>,
}

impl Named {
    /// The files that were named; if none was, those that lie where they usually do.
    fn or_usual(self) -> Self {
        if self.slave.is_some() || self.master.is_some() || self.farm.is_some() {
            return self;
        }
        let here = |part: Part| {
            let path = PathBuf::from(part.file());
            path.symlink_metadata().is_ok().then_some(path)
        };
        let found = Self {
            slave: here(Part::Slave),
            master: here(Part::Master),
            farm: here(Part::Viewer),
        };
        if found.slave.is_some() || found.master.is_some() || found.farm.is_some() {
            return found;
        }
        let of_up = || FarmFile::of_up().filter(|path| path.symlink_metadata().is_ok());
        Self {
            farm: files::variable("PYBOTS_FARM")
                .map(PathBuf::from)
                .or_else(of_up),
            ..found
        }
    }

    /// Reads the files.
    pub(super) fn read(self) -> (Patient, Vec<Finding>) {
        let named = self.or_usual();
        let mut findings = Vec::new();
        let slave = named.slave.and_then(|path| {
            let config = files::configuration(&path, SlaveConfig::parse);
            keep(Part::Slave, path, config, &mut findings, |config| {
                let builders: Vec<&str> = config.builders.keys().map(BuilderName::as_str).collect();
                format!("slave {} for builders {}", config.name, builders.join(", "))
            })
        });
        let master = named.master.and_then(|path| {
            let config = files::configuration(&path, MasterConfig::parse);
            keep(Part::Master, path, config, &mut findings, |config| {
                format!(
                    "repositories: {}, builders: {}",
                    config.repositories.len(),
                    config.builders.len()
                )
            })
        });
        let farm = named.farm.and_then(|path| {
            let config = files::configuration(&path, FarmFile::parse);
            keep(Part::Viewer, path, config, &mut findings, |config| {
                format!("the bus is {}", config.bus)
            })
        });
        if findings.is_empty() {
            let why = "found no slave.toml, master.toml or farm.toml here and no farm of `pybots up`, so only this \
                       machine's programs were looked at; name one with --slave, --master or --farm";
            findings.push(Judgement::skip(why).of_machine(Check::Config));
        }
        let patient = Patient {
            slave,
            master,
            farm,
        };
        (patient, findings)
    }
}

fn keep<T>(
    part: Part,
    path: PathBuf,
    read: Result<(T, String), Failure>,
    findings: &mut Vec<Finding>,
    describe: impl FnOnce(&T) -> String,
) -> Option<Read<T>> {
    let path = std::path::absolute(&path).unwrap_or(path);
    match read {
        Ok((config, _)) => {
            let found = format!("{}, {}", path.display(), describe(&config));
            findings.push(Judgement::ok(found).of(Check::Config, part));
            Some(Read { path, config })
        }
        Err(failure) => {
            let judgement = judge_unusable(&failure.sentence(), part, &path);
            findings.push(judgement.of(Check::Config, part));
            None
        }
    }
}

/// A file that cannot be acted on.
fn judge_unusable(sentence: &str, part: Part, path: &Path) -> Judgement {
    let effect = match part {
        Part::Slave => "the slave does not start, and nothing else of it was looked at",
        Part::Master => "the master does not start, and nothing else of it was looked at",
        Part::Viewer => "nobody can look at the farm with it",
    };
    let fix = if path.is_file() {
        "correct that place in the file; README.md shows every key".to_owned()
    } else {
        let made_by = match part {
            Part::Slave => "pybots slave init makes one",
            Part::Master => "README.md shows one",
            Part::Viewer => "pybots master run writes one beside master.toml",
        };
        format!("give the right path; {made_by}")
    };
    Judgement::fail(sentence, effect, fix)
}
