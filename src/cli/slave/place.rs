//! Where a slave keeps what its owner says to it, and whether one runs there.
//!
//! The owner's word must get through whatever is wrong with slave.toml: only the line that names the state folder is
//! needed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::exit::{Exit, Failure, say};
use crate::cli::{clock, files};
use crate::model::Timestamp;
use crate::slave::{Audit, Event, Occupant, Owner, Schedule, SlaveConfig};

/// Which slave an owner's command is about.
#[derive(Debug, clap::Args)]
pub(super) struct Chosen {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "slave.toml")]
    config: PathBuf,
}

/// A slave's state folder.
pub(super) struct Place {
    pub(super) state: PathBuf,
    /// Its quiet hours and local time; the machine's if slave.toml cannot be acted on.
    pub(super) schedule: Schedule,
    pub(super) now: Timestamp,
}

impl Chosen {
    /// Finds the state folder, also by a slave.toml that cannot be acted on.
    pub(super) fn place(&self) -> Result<Place, Failure> {
        let now = clock::now();
        let failure = match files::configuration(&self.config, SlaveConfig::parse) {
            Ok((config, _)) => {
                return Ok(Place {
                    state: config.state,
                    schedule: config.schedule,
                    now,
                });
            }
            Err(failure) => failure,
        };
        let state = state_folder(&self.config).ok_or(failure)?;
        say!(
            "{} cannot be acted on as it stands; its state folder is {}.",
            self.config.display(),
            state.display()
        );
        Ok(Place {
            state,
            schedule: Schedule::default(),
            now,
        })
    }

    /// Reads the configuration, which must be in order.
    pub(super) fn config(&self) -> Result<SlaveConfig, Failure> {
        files::configuration(&self.config, SlaveConfig::parse).map(|(config, _)| config)
    }

    pub(super) fn path(&self) -> &Path {
        &self.config
    }
}

/// The folder that the line `state = "…"` names, whatever else the file holds.
fn state_folder(path: &Path) -> Option<PathBuf> {
    let text = files::read(path).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let path = fs::canonicalize(path).ok()?;
    let state = text.lines().find_map(|line| {
        let table: toml::Table = toml::from_str(line).ok()?;
        Some(table.get("state")?.as_str()?.to_owned())
    })?;
    let state = path.parent()?.join(state);
    state.is_dir().then_some(state)
}

impl Place {
    /// What the owner said before; where that cannot be read, nothing of it is kept.
    pub(super) fn owner(&self) -> Owner {
        Owner::read(&self.state).unwrap_or_else(|error| {
            say!("{error}; it is written anew.");
            Owner::default()
        })
    }

    /// Says what the owner says to the slave, and puts on record what was done, in a word and with more of it.
    pub(super) fn tell(&self, owner: &Owner, act: &str, detail: &str) -> Result<(), Failure> {
        owner.write(&self.state).map_err(|error| {
            Failure::error(error)
                .advice("Nothing was changed. To end everything at once: pybots slave panic.")
        })?;
        self.record(act, detail);
        Ok(())
    }

    /// Puts on record what the owner did.
    pub(super) fn record(&self, act: &str, detail: &str) {
        let audit = Audit::of(&self.state);
        if let Err(error) = audit.note(self.now, &Event::owner(act, detail)) {
            say!("{error}, so this does not stand there.");
        }
    }

    /// Which process of the slave runs here.
    pub(super) fn occupant(&self) -> Result<Occupant, Failure> {
        Occupant::of(&self.state).map_err(|error| {
            Failure::error(anyhow::Error::from(error).context(format!(
                "cannot tell whether a slave runs on {}",
                self.state.display()
            )))
        })
    }

    /// Says whether a slave runs here, and what that means for it.
    pub(super) fn say_occupant(&self, if_it_runs: &str, if_none: &str) -> Result<(), Failure> {
        match self.occupant()? {
            Occupant::Nobody => say!("No slave runs here now; {if_none}."),
            Occupant::Process(pid) => {
                say!("The slave that runs here (process {pid}) {if_it_runs}.");
            }
            Occupant::Unknown => say!("The slave that runs here {if_it_runs}."),
        }
        Ok(())
    }

    /// A moment in local time, with the zone.
    pub(super) fn local(&self, time: Timestamp) -> String {
        let zone = self.schedule.zone_name(self.now);
        format!("{} ({zone})", self.schedule.local(time))
    }
}

/// Writes a document as indented JSON on a line of its own.
pub(super) fn write_json(document: &impl serde::Serialize) -> Result<Exit, Failure> {
    let mut out = anstream::stdout();
    serde_json::to_writer_pretty(&mut out, document).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owners_word_finds_its_way_by_a_slave_toml_that_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("kept here");
        fs::create_dir(&state).unwrap();
        let path = folder.path().join("slave.toml");
        fs::write(&path, "name = \"\nstate = \"kept here\" # all\n[[[\n").unwrap();
        let which = Chosen { config: path };
        let state = fs::canonicalize(state).unwrap();
        assert_eq!(which.place().unwrap().state, state);
        fs::write(which.path(), "name = \"\n").unwrap();
        assert!(which.place().is_err());
    }
}
