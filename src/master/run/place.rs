//! The folder of this process: two masters on one machine may share a configuration, never a mirror or a socket.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Most masters of one state folder.
const MOST: u32 = 16;
const LOCK: &str = "lock";

/// A folder that belongs to this process until it ends.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes the first free place below `state`: the folder itself, or else `standby-2` in it, and so on. A process that
    /// only sleeps keeps its own, and one that was killed leaves it to the next.
    pub(super) fn take(state: &Path) -> io::Result<Self> {
        for number in 1..=MOST {
            let folder = folder(state, number);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)?;
            // It may have been made before, for all to see.
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
            let lock = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(folder.join(LOCK))?;
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        folder,
                        _lock: lock,
                    });
                }
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other(format!(
            "{MOST} masters run in it already"
        )))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn folder(state: &Path, number: u32) -> PathBuf {
    if number == 1 {
        state.to_owned()
    } else {
        state.join(format!("standby-{number}"))
    }
}

/// Every folder below `state` in which a master may run.
pub(in crate::master) fn places(state: &Path) -> impl Iterator<Item = PathBuf> {
    (1..=MOST).map(move |number| folder(state, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_masters_never_have_one_place_and_the_next_one_finds_what_was_left() {
        let state = tempfile::tempdir().unwrap();
        let state = state.path().join("state");
        let first = Place::take(&state).unwrap();
        let second = Place::take(&state).unwrap();
        assert_eq!(first.folder(), state);
        assert_eq!(second.folder(), state.join("standby-2"));
        drop(first);
        assert_eq!(Place::take(&state).unwrap().folder(), state);
        let mode = fs::metadata(&state).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
