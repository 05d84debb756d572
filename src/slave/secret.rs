//! Files of the owner's that a script may read and nobody else.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::config::Mapping;
use super::place::{self, PlaceFault};

/// Why a script is not given a secret, and so is not run.
#[derive(Debug, thiserror::Error)]
pub enum SecretFault {
    /// It cannot be read, or somebody else could put another in its place.
    #[error(transparent)]
    Place(#[from] PlaceFault),
    /// It belongs to another user, be it root.
    #[error("{path} belongs to user {owner}; a secret is a file of the slave's own user")]
    Owner {
        /// What.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others may read it.
    #[error("{path} is a secret that others can read (mode {mode:04o}); fix: chmod 600 {path}")]
    Shared {
        /// What.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl SecretFault {
    /// What is wrong, for the farm: not where, for paths are the owner's business.
    pub(super) fn tersely(&self) -> &'static str {
        match self {
            Self::Place(PlaceFault::Unreadable { .. }) => "a secret of it cannot be read",
            Self::Place(PlaceFault::NotAFile(_)) => "a secret of it is not a regular file",
            Self::Place(PlaceFault::Owner { .. }) | Self::Owner { .. } => {
                "a secret of it belongs to another user"
            }
            Self::Place(PlaceFault::Writable { .. }) | Self::Shared { .. } => {
                "a secret of it is open to others"
            }
        }
    }
}

impl Mapping {
    /// Checks that each secret is there, and can be read by the slave's user alone. Nothing of it is read.
    ///
    /// # Errors
    ///
    /// The name and the [`SecretFault`] of the first that is not.
    pub fn check_secrets(&self) -> Result<(), (String, SecretFault)> {
        for (name, path) in &self.secrets {
            check(path).map_err(|fault| (name.clone(), fault))?;
        }
        Ok(())
    }
}

fn check(path: &Path) -> Result<(), SecretFault> {
    let place::Guarded { path, metadata, .. } = place::open(path)?;
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        let owner = metadata.uid();
        return Err(SecretFault::Owner { path, owner });
    }
    // Reading and, at most, writing; by its owner alone.
    if metadata.mode() & 0o7177 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(SecretFault::Shared { path, mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a90_a_secret_is_a_file_that_its_owner_alone_can_read_and_put_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let with = |mode| {
            let _ = fs::remove_file(&path);
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            check(&path)
        };
        for good in [0o400, 0o600] {
            assert!(with(good).is_ok(), "{good:o}");
        }
        for bad in [0o440, 0o404, 0o640, 0o644, 0o700, 0o4600] {
            let fault = with(bad).unwrap_err();
            assert!(matches!(fault, SecretFault::Shared { .. }), "{fault}");
        }
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        with(0o600).unwrap();
        symlink(&path, open.join("link")).unwrap();
        let fault = check(&open.join("link")).unwrap_err();
        assert_eq!(fault.tersely(), "a secret of it is open to others");
        assert!(matches!(
            check(folder.path()),
            Err(SecretFault::Place(PlaceFault::NotAFile(_)))
        ));
        assert_eq!(
            check(&folder.path().join("none")).unwrap_err().tersely(),
            "a secret of it cannot be read"
        );
    }
}
