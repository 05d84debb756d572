//! Whether a script is its owner's alone, and the copy of it that runs.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::model::Digest;
use crate::trust::sha256;

/// Why a script is not run.
#[derive(Debug, thiserror::Error)]
pub enum ScriptFault {
    /// It, or a folder above it, cannot be looked at.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder, a device, a pipe.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// The owner may not execute it.
    #[error("{0} is not executable; fix: chmod u+x {0}")]
    NotExecutable(PathBuf),
    /// It would run with other rights.
    #[error("{0} is setuid or setgid")]
    SetUid(PathBuf),
    /// Somebody else owns it, or a folder above it.
    #[error("{path} belongs to user {owner}, who could change what runs here")]
    Owner {
        /// What.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Somebody else may write it, or a folder above it.
    #[error(
        "{path} is writable by others (mode {mode:04o}), who could change what runs here; fix: chmod go-w {path}"
    )]
    Writable {
        /// What.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Checks that nobody but the slave's user and root can change the script at `path` or put another in its place.
/// Returns where it really lies.
///
/// # Errors
///
/// [`ScriptFault`], the first found on the way from the file up to the root.
pub fn check_script(path: &Path) -> Result<PathBuf, ScriptFault> {
    let real = fs::canonicalize(path).map_err(unreadable(path))?;
    let user = nix::unistd::geteuid().as_raw();
    let file = fs::symlink_metadata(&real).map_err(unreadable(&real))?;
    if !file.is_file() {
        return Err(ScriptFault::NotAFile(real));
    }
    if file.mode() & 0o6000 != 0 {
        return Err(ScriptFault::SetUid(real));
    }
    if file.mode() & 0o100 == 0 {
        return Err(ScriptFault::NotExecutable(real));
    }
    for place in real.ancestors() {
        let metadata = fs::symlink_metadata(place).map_err(unreadable(place))?;
        if metadata.uid() != 0 && metadata.uid() != user {
            return Err(ScriptFault::Owner {
                path: place.to_owned(),
                owner: metadata.uid(),
            });
        }
        // In a sticky folder of root's, such as /tmp, others cannot rename what is the user's or root's; and that the
        // next component is, the check above has already said.
        let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0 && metadata.uid() == 0;
        if metadata.mode() & 0o022 != 0 && !sticky {
            return Err(ScriptFault::Writable {
                path: place.to_owned(),
                mode: metadata.mode() & 0o7777,
            });
        }
    }
    Ok(real)
}

/// The digest of a checked script as it stands now.
///
/// # Errors
///
/// [`ScriptFault`].
pub(super) fn digest_script(path: &Path) -> Result<Digest, ScriptFault> {
    let real = check_script(path)?;
    let bytes = fs::read(&real).map_err(unreadable(&real))?;
    Ok(Digest(sha256(&bytes)))
}

/// A private copy of a script: opened once, hashed on the way, and that very file is what runs.
pub(super) struct ScriptCopy {
    /// Where the script really lies, so that it can find its siblings.
    pub(super) original: PathBuf,
    /// What was copied.
    pub(super) digest: Digest,
}

/// Checks the script at `path` and copies it to `copy`.
///
/// # Errors
///
/// [`ScriptFault`], also if the copy cannot be made.
pub(super) fn copy_script(path: &Path, copy_to: &Path) -> Result<ScriptCopy, ScriptFault> {
    let original = check_script(path)?;
    let bytes = fs::read(&original).map_err(unreadable(&original))?;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o500)
        .open(copy_to)
        .and_then(|mut copy| copy.write_all(&bytes))
        .map_err(unreadable(copy_to))?;
    Ok(ScriptCopy {
        original,
        digest: Digest(sha256(&bytes)),
    })
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> ScriptFault + use<> {
    let path = path.to_owned();
    move |source| ScriptFault::Unreadable { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn script(folder: &Path, mode: u32) -> PathBuf {
        let path = folder.join("test.sh");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a65_a_script_that_others_could_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            check_script(&script(folder.path(), 0o755)).is_ok(),
            "sticky /tmp is fine"
        );
        assert!(matches!(
            check_script(&script(folder.path(), 0o775)),
            Err(ScriptFault::Writable { mode: 0o775, .. })
        ));
        assert!(matches!(
            check_script(&script(folder.path(), 0o757)),
            Err(ScriptFault::Writable { .. })
        ));
        assert!(matches!(
            check_script(&script(folder.path(), 0o644)),
            Err(ScriptFault::NotExecutable(_))
        ));
        assert!(matches!(
            check_script(&script(folder.path(), 0o4755)),
            Err(ScriptFault::SetUid(_))
        ));
        assert!(matches!(
            check_script(&folder.path().join("none")),
            Err(ScriptFault::Unreadable { .. })
        ));
        assert!(matches!(
            check_script(folder.path()),
            Err(ScriptFault::NotAFile(_))
        ));
    }

    #[test]
    fn a65_a_script_under_a_folder_that_others_can_write_is_refused_also_by_a_symlink() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let path = script(&open, 0o755);
        assert!(
            matches!(check_script(&path), Err(ScriptFault::Writable { path, .. }) if path.ends_with("open"))
        );
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(
            check_script(&link),
            Err(ScriptFault::Writable { .. })
        ));
    }

    #[test]
    fn a66_the_copy_that_runs_is_the_one_that_was_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let path = script(folder.path(), 0o755);
        let copy_to = folder.path().join("copy");
        let copied = copy_script(&path, &copy_to).unwrap();
        fs::write(&path, "#!/bin/sh\nevil\n").unwrap();
        assert_eq!(fs::read_to_string(&copy_to).unwrap(), "#!/bin/sh\n");
        assert_eq!(copied.digest, Digest(sha256(b"#!/bin/sh\n")));
        assert_ne!(copied.digest, digest_script(&path).unwrap());
    }
}
