//! What the owner said to the slave: pause, drain, panic. A small file in the state folder, so that it works without the
//! bus, without a running slave, and across restarts.
//!
//! Whoever cannot read it does not know what its owner said, and starts nothing.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Text, Timestamp};

/// How far ahead a pause without an end is told to the farm. It rolls on for as long as the pause lasts.
const ROLLING: Duration = Duration::from_secs(24 * 3600);

/// What the owner said.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Owner {
    /// Nothing new is started.
    pub paused: Option<Pause>,
    /// Since when the slave only finishes what it has accepted; then it ends.
    pub draining: Option<Timestamp>,
    /// When everything was ended at once. No slave starts here before its owner resumes.
    pub panic: Option<Timestamp>,
}

/// A pause.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Until when; none until its owner resumes.
    pub until: Option<Timestamp>,
    /// The owner's own words, for the owner alone.
    pub note: Option<Text>,
}

/// Why nothing new is started, by what the owner said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Hold {
    /// A pause.
    Paused(Pause),
    /// The slave finishes what it has and ends.
    Draining,
    /// Everything was ended at once.
    Panic,
    /// What the owner said cannot be read.
    Unreadable,
}

/// What the owner said cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be {what}")]
pub struct OwnerError {
    /// The file.
    pub path: PathBuf,
    what: &'static str,
    #[source]
    source: io::Error,
}

impl Owner {
    /// Where it stands in a state folder.
    #[must_use]
    pub fn path(state: &Path) -> PathBuf {
        state.join("owner.json")
    }

    /// Reads it; without the file, the owner said nothing.
    ///
    /// # Errors
    ///
    /// [`OwnerError`]; then nothing may be started.
    pub fn read(state: &Path) -> Result<Self, OwnerError> {
        let path = Self::path(state);
        let read = match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        };
        read.map_err(|source| OwnerError {
            path,
            what: "read",
            source,
        })
    }

    /// Writes it in one step, for its owner's eyes alone. It is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`OwnerError`]; then what was said before stands.
    pub fn write(&self, state: &Path) -> Result<(), OwnerError> {
        let path = Self::path(state);
        let write = || -> io::Result<()> {
            // Made with mode 0600.
            let mut draft = tempfile::Builder::new()
                .prefix(".owner-")
                .tempfile_in(state)?;
            draft.write_all(&serde_json::to_vec_pretty(self)?)?;
            draft.write_all(b"\n")?;
            draft.as_file().sync_all()?;
            draft.persist(&path).map_err(|error| error.error)?;
            fs::File::open(state)?.sync_all()
        };
        write().map_err(|source| OwnerError {
            path: path.clone(),
            what: "written",
            source,
        })
    }

    /// Until when nothing new is started, as the farm is told, and why; none if the owner has nothing against it.
    #[must_use]
    pub fn defers(&self, now: Timestamp) -> Option<(Timestamp, Hold)> {
        let rolling = now.after(ROLLING);
        if self.panic.is_some() {
            return Some((rolling, Hold::Panic));
        }
        if self.draining.is_some() {
            return Some((rolling, Hold::Draining));
        }
        let pause = self.paused.as_ref()?;
        let until = pause.until.unwrap_or(rolling);
        (now < until).then(|| (until, Hold::Paused(pause.clone())))
    }

    /// The same where what the owner said may not be readable: that counts as a pause.
    #[must_use]
    pub fn defers_or_unreadable(
        owner: &Result<Self, OwnerError>,
        now: Timestamp,
    ) -> Option<(Timestamp, Hold)> {
        match owner {
            Ok(owner) => owner.defers(now),
            Err(_) => Some((now.after(ROLLING), Hold::Unreadable)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const NOW: Timestamp = Timestamp(1_795_370_400_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn paused(until: Option<Timestamp>) -> Owner {
        Owner {
            paused: Some(Pause {
                since: NOW,
                until,
                note: Some(Text::tidy("holiday")),
            }),
            ..Owner::default()
        }
    }

    #[test]
    fn the_owner_defers_until_the_end_of_a_pause_and_without_one_for_a_day_that_rolls_on() {
        let until = |owner: &Owner, now| owner.defers(now).map(|(until, _)| until);
        assert_eq!(until(&Owner::default(), NOW), None);

        let end = NOW.after(HOUR);
        let owner = paused(Some(end));
        assert_eq!(until(&owner, NOW), Some(end));
        assert_eq!(
            until(&owner, end.before(Duration::from_micros(1))),
            Some(end)
        );
        assert_eq!(until(&owner, end), None);

        let draining = Owner {
            draining: Some(NOW),
            ..Owner::default()
        };
        let panic = Owner {
            panic: Some(NOW),
            ..paused(Some(end))
        };
        for owner in [paused(None), draining, panic] {
            for now in [NOW, NOW.after(1000 * HOUR)] {
                assert_eq!(until(&owner, now), Some(now.after(24 * HOUR)), "{owner:?}");
            }
        }
    }

    #[test]
    fn what_the_owner_said_is_read_as_it_was_written_and_is_for_the_owner_alone() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(Owner::read(state.path()).unwrap(), Owner::default());
        for owner in [
            paused(Some(NOW.after(HOUR))),
            paused(None),
            Owner::default(),
        ] {
            owner.write(state.path()).unwrap();
            assert_eq!(Owner::read(state.path()).unwrap(), owner);
        }
        let mode = fs::metadata(Owner::path(state.path()))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1, "no draft");
    }

    #[test]
    fn a_file_that_cannot_be_read_counts_as_a_pause() {
        let state = tempfile::tempdir().unwrap();
        for broken in ["", "{", "{\"paussed\": null}", "{\"panic\": \"soon\"}"] {
            fs::write(Owner::path(state.path()), broken).unwrap();
            let owner = Owner::read(state.path());
            let held = Owner::defers_or_unreadable(&owner, NOW);
            assert_eq!(
                held,
                Some((NOW.after(24 * HOUR), Hold::Unreadable)),
                "{broken:?}"
            );
        }
    }
}
