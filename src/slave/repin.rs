//! Another farm for a slave whose own is dead: both of its master keys are lost, and nothing signed can lead to the next.
//!
//! What the slave remembers of the old farm is put away before slave.toml names the new one. From the first move to the
//! last step the archive's name says that it is not finished, and no slave starts on that folder: a slave that forgot
//! which commands it has run, but still believes their farm, could run them again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::run::{RunError, abandon, lock};
use crate::model::{FarmId, SlaveName, Timestamp};
use crate::trust::words;

/// What a slave makes in its state folder, besides its keys and the lock. Whatever else lies there is its owner's.
const MEMORY: [&str; 8] = [
    "journal.db",
    "journal.db-wal",
    "journal.db-shm",
    "journal.db-journal",
    "audit.log",
    "jobs",
    "builders",
    "cache",
];
const KEYS: [&str; 2] = ["report.key", "bus.nk"];
const PREFIX: &str = "archive-";
const UNFINISHED: &str = ".unfinished";

/// What becomes of a slave's two keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OldKeys {
    /// They go on: the operator of the new farm approves the same line.
    Stay,
    /// They are put away with the rest.
    PutAway,
}

/// A slave, and the farms that it goes from and to.
#[derive(Clone, Debug)]
pub struct Move {
    /// Whose state folder it is.
    pub slave: SlaveName,
    /// The farm that was pinned.
    pub from: FarmId,
    /// The farm that will be.
    pub to: FarmId,
    /// When.
    pub now: Timestamp,
}

impl Move {
    /// How the archive is called in the end: the old farm's token and the time, to the second.
    fn name(&self) -> String {
        let time = self.now.to_string();
        let time: String = time
            .split('.')
            .take(1)
            .flat_map(str::chars)
            .filter(char::is_ascii_alphanumeric)
            .collect();
        format!("{PREFIX}{}-{time}Z", self.from.token())
    }

    fn note(&self) -> String {
        let Self {
            slave,
            from,
            to,
            now,
        } = self;
        format!(
            "{now}: slave {slave} left its farm for another, by pybots slave repin.\n\
             old farm  {from}\n          {}\n\
             new farm  {to}\n          {}\n\
             No slave uses what is in this folder. It may be deleted.\n",
            words(from),
            words(to)
        )
    }
}

/// A state folder whose slave is kept from starting while its farm changes.
pub struct Repin {
    state: PathBuf,
    /// What was begun and not finished, by this process or by one that was cut off.
    archive: Option<PathBuf>,
    _lock: File,
}

impl Repin {
    /// Takes the state folder, as a slave would that starts.
    ///
    /// # Errors
    ///
    /// [`RunError::AlreadyRunning`] if a slave works there, [`RunError::State`] if it cannot be used.
    pub fn begin(state: &Path) -> Result<Self, RunError> {
        let lock = lock(state)?;
        Ok(Self {
            state: state.to_owned(),
            archive: unfinished(state)?,
            _lock: lock,
        })
    }

    /// Whether an earlier one was cut off here.
    #[must_use]
    pub fn was_cut_off(&self) -> bool {
        self.archive.is_some()
    }

    /// Puts away what the slave remembers; no script of the old farm runs any more. Goes on where an earlier one was cut
    /// off.
    ///
    /// # Errors
    ///
    /// [`RunError::State`]. Whatever was moved by then stays moved, and no slave starts.
    pub async fn put_away(&mut self, what: &Move, keys: OldKeys) -> Result<(), RunError> {
        let failed = |source| RunError::State {
            folder: self.state.clone(),
            source,
        };
        // A keeper outlives its slave, and knows its folder by name.
        end_keepers(&self.state.join("jobs"))
            .await
            .map_err(failed)?;
        let archive = match &self.archive {
            Some(archive) => archive.clone(),
            None => self.state.join(format!("{}{UNFINISHED}", what.name())),
        };
        put_away(&self.state, &archive, what, keys).map_err(failed)?;
        self.archive = Some(archive);
        Ok(())
    }

    /// The last step, after slave.toml: the archive gets its name, and a slave may start. Returns where it is.
    ///
    /// # Errors
    ///
    /// [`RunError::State`].
    pub fn finish(self) -> Result<Option<PathBuf>, RunError> {
        let Some(archive) = self.archive else {
            return Ok(None);
        };
        let finished = archive.with_extension("");
        fs::rename(&archive, &finished)
            .and_then(|()| sync(&self.state))
            .map_err(|source| RunError::State {
                folder: self.state,
                source,
            })?;
        Ok(Some(finished))
    }
}

/// The archive in a state folder that was begun and not finished.
pub(super) fn unfinished(state: &Path) -> Result<Option<PathBuf>, RunError> {
    let look = || -> io::Result<Option<PathBuf>> {
        for entry in fs::read_dir(state)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(PREFIX) && name.ends_with(UNFINISHED) {
                return Ok(Some(entry.path()));
            }
        }
        Ok(None)
    };
    look().map_err(|source| RunError::State {
        folder: state.to_owned(),
        source,
    })
}

async fn end_keepers(jobs: &Path) -> io::Result<()> {
    if !jobs.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(jobs)? {
        let folder = entry?.path();
        if !abandon(&folder).await? {
            let message = format!("the script in {} cannot be ended", folder.display());
            return Err(io::Error::other(message));
        }
    }
    Ok(())
}

fn put_away(state: &Path, archive: &Path, what: &Move, keys: OldKeys) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(archive)?;
    let mut note = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(archive.join("repin.txt"))?;
    note.write_all(what.note().as_bytes())?;
    note.sync_all()?;
    // On disk before anything is missed.
    sync(state)?;
    let keys = match keys {
        OldKeys::Stay => &[][..],
        OldKeys::PutAway => &KEYS[..],
    };
    for name in MEMORY.iter().chain(keys) {
        match fs::rename(state.join(name), free_place(archive, name)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io::Error::other(format!("{name} cannot be moved: {error}"))),
        }
    }
    sync(archive)?;
    sync(state)
}

/// What is in an archive is never overwritten, however often it was begun.
fn free_place(archive: &Path, name: &str) -> PathBuf {
    let numbered = (2_u32..).map(|n| archive.join(format!("{name}.{n}")));
    std::iter::once(archive.join(name))
        .chain(numbered)
        .find(|place| !place.exists())
        .unwrap_or_else(|| archive.join(name))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The text of a slave.toml with `to` in the place of `from` as its farm, and not a byte changed besides. None if the
/// id does not stand there in so many letters.
#[must_use]
pub fn with_farm(text: &str, from: &FarmId, to: &FarmId) -> Option<String> {
    let (from, to) = (from.to_string(), to.to_string());
    let mut wanted: toml::Table = toml::from_str(text).ok()?;
    wanted.insert("farm".to_owned(), toml::Value::String(to.clone()));
    // The old id may stand in a comment, too: what counts is what the new text means.
    text.match_indices(&from)
        .map(|(start, _)| {
            let (before, rest) = text.split_at(start);
            format!("{before}{to}{}", &rest[from.len()..])
        })
        .find(|text| toml::from_str::<toml::Table>(text).is_ok_and(|table| table == wanted))
}

#[cfg(test)]
mod tests;
