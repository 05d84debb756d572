//! Who could put another file in a file's place.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;

/// Why a path is not to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum PlaceFault {
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
    /// Somebody else owns it, or a folder or link on the way to it.
    #[error("{path} belongs to user {owner}, who could change what runs here")]
    Owner {
        /// What.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Somebody else may write it, or a folder on the way to it.
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

impl PlaceFault {
    /// What is wrong, without the place.
    pub(super) fn tersely(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "it cannot be read",
            Self::NotAFile(_) => "it is not a regular file",
            Self::Owner { .. } => "it, or a folder above it, belongs to another user",
            Self::Writable { .. } => "it, or a folder above it, is writable by others",
        }
    }
}

/// A file that nobody but the slave's user and root can change or put another in the place of, with the file held open.
#[derive(Debug)]
pub(super) struct Guarded {
    /// Where it really lies.
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// What the open file itself says of it.
    pub(super) metadata: Metadata,
}

/// Opens the file at `path` after a look at every folder and link on the way to it, from the root.
///
/// Whatever is asked of the file later is asked of the one that is open, so that nothing can change between a look and a
/// use.
///
/// # Errors
///
/// [`PlaceFault`], the first found on the way.
pub(super) fn open(path: &Path) -> Result<Guarded, PlaceFault> {
    let found = walk(path)?;
    // Asked before it is opened, too: that alone does something to many a device.
    if !found.metadata.is_file() {
        return Err(PlaceFault::NotAFile(found.path));
    }
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(&found.path)
        .map_err(unreadable(&found.path))?;
    let metadata = file.metadata().map_err(unreadable(&found.path))?;
    if (metadata.dev(), metadata.ino()) != (found.metadata.dev(), found.metadata.ino()) {
        let source = io::Error::other("another file was put there at this moment");
        return Err(unreadable(&found.path)(source));
    }
    if !metadata.is_file() {
        return Err(PlaceFault::NotAFile(found.path));
    }
    check(&found.path, &metadata)?;
    Ok(Guarded {
        path: found.path,
        file,
        metadata,
    })
}

/// Where the file or folder at `path` really lies, after the same look at all that leads there.
///
/// # Errors
///
/// [`PlaceFault`], the first found on the way.
pub fn check_place(path: &Path) -> Result<PathBuf, PlaceFault> {
    walk(path).map(|found| found.path)
}

struct Found {
    path: PathBuf,
    metadata: Metadata,
}

/// Goes from the root to `path`, step by step and through each link, as the system would.
fn walk(path: &Path) -> Result<Found, PlaceFault> {
    /// As many links as Linux follows.
    const MAX_LINKS: u32 = 40;
    let whole = std::path::absolute(path).map_err(unreadable(path))?;
    let mut ahead = steps(&whole);
    let mut here = root()?;
    let mut links = 0;
    while let Some(step) = ahead.pop_front() {
        let Step::Into(name) = step else {
            let parent = here.path.parent().unwrap_or(Path::new("/")).to_owned();
            here = look(parent)?;
            continue;
        };
        let next = look(here.path.join(name))?;
        check(&next.path, &next.metadata)?;
        if !next.metadata.is_symlink() {
            here = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            let source = io::Error::other("too many symbolic links");
            return Err(unreadable(path)(source));
        }
        let target = fs::read_link(&next.path).map_err(unreadable(&next.path))?;
        if target.is_absolute() {
            here = root()?;
        }
        let mut through = steps(&target);
        through.append(&mut ahead);
        ahead = through;
    }
    Ok(here)
}

enum Step {
    Into(OsString),
    Up,
}

fn steps(path: &Path) -> VecDeque<Step> {
    let steps = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(Step::Into(name.to_owned())),
        Component::ParentDir => Some(Step::Up),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    steps.collect()
}

fn root() -> Result<Found, PlaceFault> {
    let root = look(PathBuf::from("/"))?;
    check(&root.path, &root.metadata)?;
    Ok(root)
}

fn look(path: PathBuf) -> Result<Found, PlaceFault> {
    let metadata = fs::symlink_metadata(&path).map_err(unreadable(&path))?;
    Ok(Found { path, metadata })
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), PlaceFault> {
    let user = nix::unistd::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != user {
        return Err(PlaceFault::Owner {
            path: path.to_owned(),
            owner: metadata.uid(),
        });
    }
    // The mode of a link says nothing. In a sticky folder of root's, such as /tmp, others cannot rename what is the user's
    // or root's; and that the next step is, its own check says.
    let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0 && metadata.uid() == 0;
    if metadata.is_symlink() || sticky || metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(PlaceFault::Writable {
        path: path.to_owned(),
        mode: metadata.mode() & 0o7777,
    })
}

pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> PlaceFault + use<> {
    let path = path.to_owned();
    move |source| PlaceFault::Unreadable { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn folder(path: &Path, mode: u32) {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a65_a_link_that_others_could_turn_elsewhere_is_seen_though_both_ends_are_safe() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        folder(&path("own"), 0o755);
        fs::write(path("own/script"), "").unwrap();
        folder(&path("open"), 0o777);
        symlink(path("own"), path("open/turned")).unwrap();
        // The way leads through the open folder and out of it again.
        symlink("open/turned/script", path("link")).unwrap();
        symlink(path("own/script"), path("good")).unwrap();
        for bad in ["link", "open/turned/script", "open/../own/script"] {
            let fault = check_place(&path(bad)).unwrap_err();
            assert!(
                matches!(&fault, PlaceFault::Writable { path, .. } if path.ends_with("open")),
                "{bad}: {fault}"
            );
            assert!(open(&path(bad)).is_err(), "{bad}");
        }
        let real = fs::canonicalize(path("own/script")).unwrap();
        for good in ["good", "own/script", "own/../good", "./own/./script"] {
            assert_eq!(check_place(&path(good)).unwrap(), real, "{good}");
        }
    }

    #[test]
    fn what_leads_nowhere_or_round_and_round_has_no_place() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        symlink("round", path("round")).unwrap();
        symlink("none", path("dangling")).unwrap();
        for bad in ["round", "dangling", "none", "dangling/x"] {
            let fault = check_place(&path(bad)).unwrap_err();
            assert!(matches!(fault, PlaceFault::Unreadable { .. }), "{bad}");
        }
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for bad in [&path("pipe"), place.path()] {
            assert!(matches!(open(bad), Err(PlaceFault::NotAFile(_))));
        }
    }
}
