//! The state folder: one slave at a time, and none while its farm changes.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::RunError;
use crate::slave::repin::unfinished;

/// How often, and with what pause, a folder that is taken is looked at again.
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

/// Takes the folder for as long as the file stays open.
pub(in crate::slave) fn lock(state: &Path) -> Result<File, RunError> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(state.join("lock"))
        .map_err(|source| RunError::State {
            folder: state.to_owned(),
            source,
        })?;
    // A slave that was killed while it started a keeper is gone only once that has become a program of its own.
    for _ in 0..TRIES {
        if lock.try_lock().is_ok() {
            return Ok(lock);
        }
        thread::sleep(PAUSE);
    }
    Err(RunError::AlreadyRunning(state.to_owned()))
}
