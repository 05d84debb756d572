//! The state folder: one slave at a time, and none while its farm changes.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process;
use std::thread;
use std::time::Duration;

use super::RunError;
use crate::slave::repin::unfinished;

/// How often, and with what pause, a folder that is taken is looked at again: whoever only looks whether it is lets it go at
/// once, and a slave that was killed while it started a keeper is gone once that is a program of its own.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Makes the folder ready for a slave, and takes it for as long as the file stays open.
pub(super) fn enter(state: &Path) -> Result<File, RunError> {
    // What is in there, such as a job's environment, is the owner's alone.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state.join("jobs"))
        .map_err(|source| RunError::State {
            folder: state.to_owned(),
            source,
        })?;
    let lock = lock(state)?;
    if unfinished(state)?.is_some() {
        return Err(RunError::HalfRepinned(state.to_owned()));
    }
    Ok(lock)
}

/// Takes the folder for as long as the file stays open, and leaves our process id there.
pub(in crate::slave) fn lock(state: &Path) -> Result<File, RunError> {
    let failed = |source| RunError::State {
        folder: state.to_owned(),
        source,
    };
    let mut lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(state.join("lock"))
        .map_err(failed)?;
    let mut tries = 0;
    while lock.try_lock().is_err() {
        tries += 1;
        if tries == TRIES {
            return Err(RunError::AlreadyRunning(state.to_owned()));
        }
        thread::sleep(PAUSE);
    }
    lock.set_len(0).map_err(failed)?;
    write!(lock, "{}", process::id()).map_err(failed)?;
    Ok(lock)
}

/// Who works in a state folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Occupant {
    /// Nobody.
    Nobody,
    /// The process of this id.
    Process(u32),
    /// Somebody, who has not said their process id.
    Unknown,
}

impl Occupant {
    /// Looks who works in a state folder.
    ///
    /// # Errors
    ///
    /// Whatever the system says of the lock there.
    pub fn of(state: &Path) -> io::Result<Self> {
        let mut lock = match File::open(state.join("lock")) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Nobody),
            Err(error) => return Err(error),
        };
        match lock.try_lock_shared() {
            Ok(()) => return Ok(Self::Nobody),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut text = String::new();
        lock.read_to_string(&mut text)?;
        Ok(text.parse().map_or(Self::Unknown, Self::Process))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_holds_a_state_folder_is_known_by_their_process_and_nobody_else_can() {
        let state = tempfile::tempdir().unwrap();
        let occupant = || Occupant::of(state.path()).unwrap();
        assert_eq!(occupant(), Occupant::Nobody);
        let held = lock(state.path()).unwrap();
        assert_eq!(occupant(), Occupant::Process(process::id()));
        assert!(matches!(
            lock(state.path()),
            Err(RunError::AlreadyRunning(_))
        ));
        drop(held);
        assert_eq!(occupant(), Occupant::Nobody);
    }
}
