//! What a script sees of the file system: one ordered list of mounts.
//!
//! Everything is kept by its real path, and what is named through symbolic links gets those links. Whatever lies deeper is
//! mounted later, so a folder inside another decides for itself. What hostile code of an earlier step may have left in a
//! folder that it could write is never followed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What of a machine every script may read, where it is there.
pub(super) const SYSTEM: [&str; 13] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix",
    "/gnu",
    "/run/current-system",
    "/sys/devices/system/cpu",
];
/// More links than this on the way to a file are a circle.
const LINKS: u32 = 40;

/// What stands at one place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Mount {
    /// What is there anyway, for reading.
    Read,
    /// What is there anyway, for writing.
    Write,
    /// The same, so that nobody can move it away: something inside it is not to be written, or not to be seen.
    Pin,
    /// Another folder, for writing.
    Instead(PathBuf),
    /// An empty folder, and nothing can be put there.
    Hidden,
    /// A file that cannot be read.
    Covered,
    /// A symbolic link.
    Link(PathBuf),
}

/// Whose rights a script has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum User {
    /// Root's, though no capability: it may read what is root's.
    Root,
    /// Anybody else's.
    Other,
}

/// What a script is to see.
pub(super) struct Wanted<'a> {
    pub(super) readable: &'a [PathBuf],
    pub(super) writable: &'a [PathBuf],
    pub(super) hidden: &'a [PathBuf],
    /// What stands in for `/tmp` and `/var/tmp`.
    pub(super) temporary: &'a Path,
    /// Where the script looks for its home, and what stands in for it.
    pub(super) home: Option<(&'a Path, &'a Path)>,
    /// Who is to be kept from the secrets of the system.
    pub(super) user: User,
}

/// The mounts, outer ones first.
///
/// # Errors
///
/// A sentence for the public if something listed is not there, or a link was put where hostile code could have put it.
pub(super) fn plan(wanted: &Wanted<'_>) -> io::Result<BTreeMap<PathBuf, Mount>> {
    let mut walk = Walk::default();
    let mut places = BTreeMap::new();
    for system in SYSTEM.map(Path::new) {
        // What cannot be found is not on this machine, or is a link into nowhere.
        if let Ok(real) = walk.real(system) {
            places.insert(real, Mount::Read);
        }
    }
    if wanted.user == User::Root {
        cover_secrets(&mut places);
    }
    let hidden = wanted
        .hidden
        .iter()
        .map(|path| walk.real(path))
        .collect::<io::Result<Vec<_>>>()?;
    let below_hidden = |path: &Path| hidden.iter().any(|hidden| path.starts_with(hidden));
    for path in wanted.readable {
        let real = walk.real(path)?;
        if !below_hidden(&real) {
            places.insert(real, Mount::Read);
        }
    }
    let temporary = walk.real(wanted.temporary)?;
    for place in ["/tmp", "/var/tmp"].map(PathBuf::from) {
        places.insert(place, Mount::Instead(temporary.clone()));
    }
    for path in wanted.writable {
        let real = walk.real(path)?;
        if real.parent().is_none() || hidden.contains(&real) {
            return Err(refuse(
                path,
                "may not be writable: it holds the slave itself",
            ));
        }
        places.insert(real, Mount::Write);
    }
    let writable: Vec<PathBuf> = paths(&places, |mount| *mount == Mount::Write);
    if let Some(link) = walk.links.keys().find(|link| {
        writable
            .iter()
            .any(|writable| *link != writable && link.starts_with(writable))
    }) {
        return Err(refuse(
            link,
            "is a symbolic link in a folder that scripts can write, so it is not followed",
        ));
    }
    if let Some((place, home)) = wanted.home
        && let Some(place) = walk.place_of_home(place)
        && !taken(&places, &place)
    {
        places.insert(place, Mount::Instead(walk.real(home)?));
    }
    for path in hidden {
        places.insert(path, Mount::Hidden);
    }
    for (link, target) in walk.links {
        places.entry(link).or_insert(Mount::Link(target));
    }
    drop_repeated(&mut places);
    pin(&mut places);
    check_stand_ins(&mut places)?;
    Ok(places)
}

/// Covers what is not for everybody in `/etc`: passwords, host keys. Anybody but root could not read it anyway.
fn cover_secrets(places: &mut BTreeMap<PathBuf, Mount>) {
    const DEPTH: u32 = 3;
    let mut folders = vec![(PathBuf::from("/etc"), DEPTH)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else {
                continue;
            };
            let open = found.mode() & 0o004 != 0;
            if found.is_dir() && !open {
                places.insert(entry.path(), Mount::Hidden);
            } else if found.is_file() && !open {
                places.insert(entry.path(), Mount::Covered);
            } else if found.is_dir() && depth > 1 {
                folders.push((entry.path(), depth - 1));
            }
        }
    }
}

fn paths(places: &BTreeMap<PathBuf, Mount>, want: impl Fn(&Mount) -> bool) -> Vec<PathBuf> {
    let found = places.iter().filter(|(_, mount)| want(mount));
    found.map(|(path, _)| path.clone()).collect()
}

/// What stands at the nearest place above `path`.
fn above<'a>(
    places: &'a BTreeMap<PathBuf, Mount>,
    path: &Path,
) -> Option<(&'a PathBuf, &'a Mount)> {
    path.ancestors()
        .skip(1)
        .find_map(|ancestor| places.get_key_value(ancestor))
}

/// Whether a home cannot be put at `place`: what is there is its owner's choice, or the system's.
fn taken(places: &BTreeMap<PathBuf, Mount>, place: &Path) -> bool {
    const OURS: [&str; 4] = ["/proc", "/dev", "/run", "/sys"];
    let around = |mount: &Mount| matches!(mount, Mount::Read | Mount::Write);
    place.parent().is_none()
        || OURS.iter().any(|ours| place.starts_with(ours))
        || places.contains_key(place)
        || above(places, place).is_some_and(|(_, mount)| around(mount))
}

/// Holds in place the folders between one that can be written and one inside it that cannot.
fn pin(places: &mut BTreeMap<PathBuf, Mount>) {
    let guarded = paths(places, |mount| {
        matches!(mount, Mount::Read | Mount::Hidden | Mount::Link(_))
    });
    for path in guarded {
        let Some((outer, Mount::Write | Mount::Pin)) = above(places, &path) else {
            continue;
        };
        let outer = outer.clone();
        let between = path.ancestors().skip(1);
        for folder in between.take_while(|folder| **folder != outer) {
            places.insert(folder.to_owned(), Mount::Pin);
        }
    }
}

/// Leaves out what is there already by what stands above it.
fn drop_repeated(places: &mut BTreeMap<PathBuf, Mount>) {
    let repeated: Vec<PathBuf> = places
        .iter()
        .filter(|(path, mount)| {
            let outer = above(places, path).map(|(_, outer)| outer);
            match mount {
                Mount::Read => outer == Some(&Mount::Read),
                Mount::Write => matches!(outer, Some(Mount::Write | Mount::Pin)),
                Mount::Link(_) => matches!(outer, Some(Mount::Read | Mount::Write | Mount::Pin)),
                Mount::Hidden => outer.is_none(),
                Mount::Pin | Mount::Instead(_) | Mount::Covered => false,
            }
        })
        .map(|(path, _)| path.clone())
        .collect();
    for path in repeated {
        places.remove(&path);
    }
}

/// Checks that no step before has left a link in its home or its `/tmp` where something is to be mounted. A link that is
/// to be there, and is, is left out.
fn check_stand_ins(places: &mut BTreeMap<PathBuf, Mount>) -> io::Result<()> {
    let mut there = Vec::new();
    for (path, mount) in &*places {
        let Some((outer, Mount::Instead(folder))) = above(places, path) else {
            continue;
        };
        let Ok(rest) = path.strip_prefix(outer) else {
            continue;
        };
        let mut place = folder.clone();
        for name in rest.components() {
            place.push(name);
            let Ok(target) = fs::read_link(&place) else {
                continue;
            };
            if place == folder.join(rest) && *mount == Mount::Link(target) {
                there.push(path.clone());
            } else {
                return Err(refuse(
                    &place,
                    "is a symbolic link that a script left where a folder is needed",
                ));
            }
        }
    }
    for path in there {
        places.remove(&path);
    }
    Ok(())
}

fn refuse(path: &Path, why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{} {why}", public_name(path)),
    )
}

/// The error that something listed is not there.
pub(super) fn missing(path: &Path, error: &io::Error) -> io::Error {
    let why = format!(
        "{}, which a script is to see, cannot be found: {}",
        public_name(path),
        error.kind()
    );
    io::Error::new(error.kind(), why)
}

/// What strangers may read of a path: its last name.
fn public_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    format!("`{}`", name.to_string_lossy())
}

/// Finds real paths, and remembers the links on the way.
#[derive(Default)]
struct Walk {
    links: BTreeMap<PathBuf, PathBuf>,
}

impl Walk {
    /// The real path of what is at `path`.
    fn real(&mut self, path: &Path) -> io::Result<PathBuf> {
        let real = self.follow(path)?;
        match fs::symlink_metadata(&real) {
            Ok(_) => Ok(real),
            Err(error) => Err(missing(path, &error)),
        }
    }

    /// The real place of a home, whether or not something is there.
    fn place_of_home(&mut self, path: &Path) -> Option<PathBuf> {
        path.is_absolute().then(|| self.follow(path).ok()).flatten()
    }

    fn follow(&mut self, path: &Path) -> io::Result<PathBuf> {
        let backwards = |path: &Path| {
            let names = path.components().rev();
            names
                .map(|name| name.as_os_str().to_owned())
                .collect::<Vec<OsString>>()
        };
        let mut left = LINKS;
        let mut rest = backwards(path);
        let mut real = PathBuf::from("/");
        while let Some(name) = rest.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            // A root begins anew.
            let next = real.join(name);
            let Ok(target) = fs::read_link(&next) else {
                real = next;
                continue;
            };
            left = left
                .checked_sub(1)
                .ok_or_else(|| refuse(path, "leads through a circle of links"))?;
            rest.extend(backwards(&target));
            self.links.insert(next, target);
        }
        Ok(real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder with `names` in it as folders, by its real path.
    fn tree(names: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(folder.path()).unwrap();
        for name in [&["temporary", "home"], names].concat() {
            fs::create_dir_all(real.join(name)).unwrap();
        }
        (folder, real)
    }

    struct Case<'a> {
        readable: &'a [&'a str],
        writable: &'a [&'a str],
        hidden: &'a [&'a str],
        home: Option<&'a str>,
    }

    fn places(root: &Path, case: &Case<'_>) -> io::Result<BTreeMap<PathBuf, Mount>> {
        let all = |names: &[&str]| names.iter().map(|name| root.join(name)).collect::<Vec<_>>();
        let stand_in = root.join("home");
        let place = case.home.map(|home| root.join(home));
        plan(&Wanted {
            readable: &all(case.readable),
            writable: &all(case.writable),
            hidden: &all(case.hidden),
            temporary: &root.join("temporary"),
            home: place
                .as_ref()
                .map(|place| (place.as_path(), stand_in.as_path())),
            user: User::Other,
        })
    }

    /// The same, of which only what lies below `root` is kept, as words.
    fn words(root: &Path, case: &Case<'_>) -> Vec<String> {
        let word = |mount: &Mount| match mount {
            Mount::Read => "read",
            Mount::Write => "write",
            Mount::Pin => "pin",
            Mount::Instead(_) => "instead",
            Mount::Hidden => "hidden",
            Mount::Covered => "covered",
            Mount::Link(_) => "link",
        };
        let places = places(root, case).unwrap();
        let below = places.iter().filter_map(|(path, mount)| {
            let rest = path.strip_prefix(root).ok()?;
            Some(format!("{} {}", rest.display(), word(mount)))
        });
        below.collect()
    }

    #[test]
    fn whatever_lies_deeper_decides_for_itself_and_the_state_is_hidden_under_everything() {
        let (_folder, root) = tree(&[
            "bob/pybots/scripts",
            "bob/pybots/state/builders/foo/workspace",
        ]);
        let case = Case {
            readable: &["bob", "bob/pybots/scripts", "bob/pybots/state/builders"],
            writable: &["bob/pybots/state/builders/foo/workspace"],
            hidden: &["bob/pybots/state"],
            home: None,
        };
        assert_eq!(
            words(&root, &case),
            [
                "bob read",
                "bob/pybots/state hidden",
                "bob/pybots/state/builders/foo/workspace write",
            ]
        );
    }

    #[test]
    fn what_holds_the_state_cannot_be_moved_away_from_under_it() {
        let (_folder, root) = tree(&["bob/a/b/state", "bob/a/scripts"]);
        let case = Case {
            readable: &["bob/a/scripts"],
            writable: &["bob", "bob/a"],
            hidden: &["bob/a/b/state"],
            home: None,
        };
        assert_eq!(
            words(&root, &case),
            [
                "bob write",
                "bob/a pin",
                "bob/a/b pin",
                "bob/a/b/state hidden",
                "bob/a/scripts read",
            ]
        );
    }

    #[test]
    fn the_state_and_the_root_cannot_be_made_writable() {
        let (_folder, root) = tree(&["state"]);
        for writable in ["/", "state"] {
            let case = Case {
                readable: &[],
                writable: &[writable],
                hidden: &["state"],
                home: None,
            };
            let error = places(&root, &case).unwrap_err().to_string();
            assert!(error.contains("holds the slave itself"), "{error}");
        }
    }

    #[test]
    fn a_link_is_followed_to_its_real_place_unless_hostile_code_could_have_made_it() {
        let (_folder, root) = tree(&["real/ws", "open"]);
        symlink("real", root.join("link")).unwrap();
        symlink(root.join("real"), root.join("open/link")).unwrap();
        let mut case = Case {
            readable: &[],
            writable: &["link/ws"],
            hidden: &[],
            home: None,
        };
        assert_eq!(words(&root, &case), ["link link", "real/ws write"]);
        case.writable = &["open", "open/link"];
        let error = places(&root, &case).unwrap_err().to_string();
        assert!(error.contains("so it is not followed"), "{error}");
        case.writable = &["gone"];
        let error = places(&root, &case).unwrap_err().to_string();
        assert!(
            error.contains("`gone`, which a script is to see"),
            "{error}"
        );
        assert!(!error.contains('/'), "{error}");
    }

    #[test]
    fn the_home_is_empty_unless_its_owner_shows_the_real_one() {
        let (_folder, root) = tree(&["bob/scripts"]);
        let mut case = Case {
            readable: &["bob/scripts"],
            writable: &[],
            hidden: &[],
            home: Some("bob"),
        };
        assert_eq!(words(&root, &case), ["bob instead", "bob/scripts read"]);
        // What an earlier step left where the scripts are to be shown.
        symlink("/oldroot", root.join("home/scripts")).unwrap();
        let error = places(&root, &case).unwrap_err().to_string();
        assert!(error.contains("left where a folder is needed"), "{error}");
        case.readable = &["bob"];
        assert_eq!(words(&root, &case), ["bob read"]);
        case.home = Some("/usr/home");
        assert_eq!(words(&root, &case), ["bob read"]);
    }
}
