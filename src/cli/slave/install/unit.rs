//! The text of the service, made from what `slave.toml` says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::slave::SlaveConfig;

const SERVICE: &str = include_str!("pybots-slave.service");
const SYSTEM: &str = include_str!("system.conf");
const USER: &str = include_str!("user.conf");

/// What `ProtectHome=` covers.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// Whose service manager runs the slave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::cli) enum Scope {
    /// The user's own.
    User,
    /// The machine's.
    System,
}

/// Whom a service of the system runs as: the owner of `slave.toml`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Runner<'a> {
    /// Somebody.
    User(&'a str),
    /// Root, whose are the files.
    Root,
}

/// A path that no line of a unit can name.
#[derive(Debug, thiserror::Error)]
#[error(
    "systemd cannot be told of the path {0:?}: it has a colon or a character that cannot be printed, or is not UTF-8"
)]
pub(in crate::cli) struct Unnameable(PathBuf);

/// What a unit is made from.
pub(super) struct Wanted<'a> {
    pub(super) scope: Scope,
    pub(super) runner: Runner<'a>,
    /// Our own binary.
    pub(super) program: &'a Path,
    /// The path of `slave.toml`.
    pub(super) file: &'a Path,
    pub(super) config: &'a SlaveConfig,
}

/// Writes the unit.
pub(super) fn unit(wanted: &Wanted<'_>) -> Result<String, Unnameable> {
    let command = |path: &Path| word(path).map(|word| word.replace('$', "$$"));
    let user = match (wanted.scope, wanted.runner) {
        (Scope::User, _) => String::new(),
        (Scope::System, Runner::User(name)) => format!("User={name}\n"),
        (Scope::System, Runner::Root) => {
            "# slave.toml is root's, so scripts run as root. Better: a user of the slave's own.\n\
             User=root\n"
                .to_owned()
        }
    };
    let capabilities = match (wanted.scope, wanted.runner) {
        (Scope::System, Runner::Root) => {
            "# Bubblewrap cannot make a user namespace for root without this one.\n\
             CapabilityBoundingSet=CAP_SETFCAP"
        }
        _ => "CapabilityBoundingSet=\nAmbientCapabilities=",
    };
    let (scope, after, target, walls) = match wanted.scope {
        Scope::User => ("--user ", "", "default.target", USER.to_owned()),
        Scope::System => (
            "",
            "Wants=network-online.target\nAfter=network-online.target\n",
            "multi-user.target",
            walls(wanted)?,
        ),
    };
    Ok(SERVICE
        .replace("{scope}", scope)
        .replace("{name}", wanted.config.name.as_str())
        .replace("{after}", after)
        .replace("{user}", &user)
        .replace("{capabilities}", capabilities)
        .replace("{target}", target)
        .replace("{walls}", &walls)
        // Last, because only these may hold anything.
        .replace("{program}", &command(wanted.program)?)
        .replace("{config}", &command(wanted.file)?))
}

/// The lines that keep the slave from the machine's files.
fn walls(wanted: &Wanted<'_>) -> Result<String, Unnameable> {
    let needed = Needed::of(wanted);
    let (home, homes) = match needed.find(is_home) {
        None => (
            "# Homes are empty but for what slave.toml names.\nProtectHome=tmpfs".to_owned(),
            &HOMES[..],
        ),
        Some(folder) => (
            format!(
                "# Left open: ProtectHome=tmpfs, because slave.toml, a script or what it reads stands in {} itself. In a folder\n\
                 # of their own they would leave the rest of the home unseen.\nProtectHome=read-only",
                word(folder)?
            ),
            &[][..],
        ),
    };
    let (temporary, temporaries) = match needed.find(|path| is_above(path, &TEMPORARY)) {
        None => (
            "# Not PrivateTmp=, which is emptied at a stop, while scripts run on.\n\
             TemporaryFileSystem=/tmp:mode=1777 /var/tmp:mode=1777"
                .to_owned(),
            &TEMPORARY[..],
        ),
        Some(folder) => (
            format!(
                "# Left open: /tmp, because slave.toml, a script or what it reads stands in {} itself.\n\
                 ReadWritePaths=/tmp /var/tmp",
                word(folder)?
            ),
            &[][..],
        ),
    };
    let is_hidden = |path: &Path| {
        [homes, temporaries]
            .concat()
            .iter()
            .any(|root| path.starts_with(root))
    };
    let mut folders = Vec::new();
    for path in &needed.written {
        let setting = if is_hidden(path) {
            "BindPaths"
        } else {
            "ReadWritePaths"
        };
        folders.push(format!("{setting}={}", word(path)?));
    }
    for path in needed.read.iter().filter(|path| is_hidden(path)) {
        // What is gone one day shall not keep the slave from starting.
        folders.push(format!("BindReadOnlyPaths={}", optional(path)?));
    }
    Ok(SYSTEM
        .replace("{home}", &home)
        .replace("{temporary}", &temporary)
        .replace("{folders}", &folders.join("\n")))
}

/// What the slave and its scripts need of the file system, besides the system.
struct Needed {
    written: BTreeSet<PathBuf>,
    read: BTreeSet<PathBuf>,
}

impl Needed {
    fn of(wanted: &Wanted<'_>) -> Self {
        let config = wanted.config;
        let isolation = &config.isolation;
        let written = [&config.state].into_iter().chain(&isolation.writable);
        let files = [wanted.program, wanted.file].into_iter();
        let scripts = config.commands.values().map(|mapping| &*mapping.script);
        // By its folder: an editor puts another file in a file's place.
        let folders = files.chain(scripts).flat_map(|file| {
            let real = fs::canonicalize(file).ok();
            let places = [Some(file.to_owned()), real];
            let folder = |place: PathBuf| place.parent().map(Path::to_owned);
            places.into_iter().flatten().filter_map(folder)
        });
        let secrets = config
            .commands
            .values()
            .flat_map(|mapping| mapping.secrets.values());
        let others = isolation.readable.iter().chain(secrets).cloned();
        let read: BTreeSet<PathBuf> = folders.chain(others).collect();
        let covered = |path: &PathBuf| path.ancestors().skip(1).any(|above| read.contains(above));
        Self {
            written: written.cloned().collect(),
            read: read.iter().filter(|path| !covered(path)).cloned().collect(),
        }
    }

    fn find(&self, is: impl Fn(&Path) -> bool) -> Option<&Path> {
        let mut all = self.written.iter().chain(&self.read);
        all.find(|path| is(path)).map(PathBuf::as_path)
    }
}

fn is_above(path: &Path, roots: &[&str]) -> bool {
    roots.iter().any(|root| Path::new(root).starts_with(path))
}

/// Whether `path` is all of somebody's home, or of several.
fn is_home(path: &Path) -> bool {
    let parent = path.parent().and_then(Path::to_str);
    is_above(path, &HOMES) || matches!(parent, Some("/home" | "/run/user"))
}

/// A path as a unit takes it.
fn word(path: &Path) -> Result<String, Unnameable> {
    let unnameable = || Unnameable(path.to_owned());
    let text = path.to_str().ok_or_else(unnameable)?;
    // A colon parts a folder from where it is shown.
    if text.contains(|c: char| c.is_control() || c == ':') {
        return Err(unnameable());
    }
    let text = text.replace('%', "%%");
    let plain = |c: char| c.is_alphanumeric() || "/._-+,@%=$".contains(c);
    Ok(if text.chars().all(plain) {
        text
    } else {
        format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
    })
}

/// The same for what need not be there.
fn optional(path: &Path) -> Result<String, Unnameable> {
    let word = word(path)?;
    // The sign stands within the quotes.
    Ok(word
        .strip_prefix('"')
        .map_or_else(|| format!("-{word}"), |rest| format!("\"-{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
name = "maple"
farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
bus = "nats://127.0.0.1:4222"
state = "state"
[builders.foo-linux]
[isolation]
writable = ["/srv/ccache"]
[commands.test-foo]
script = "scripts/test-foo.sh"
"#;

    fn made(scope: Scope, runner: Runner<'_>, folder: &str, text: &str) -> String {
        let config = SlaveConfig::parse(text, Path::new(folder)).unwrap();
        let file = Path::new(folder).join("slave.toml");
        let wanted = Wanted {
            scope,
            runner,
            program: Path::new("/usr/bin/pybots"),
            file: &file,
            config: &config,
        };
        unit(&wanted).unwrap()
    }

    fn lines(text: &str) -> Vec<&str> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.collect()
    }

    #[test]
    fn a_service_of_the_system_sees_of_homes_only_what_slave_toml_names() {
        let text = made(Scope::System, Runner::User("bob"), "/home/bob/slave", TEXT);
        let lines = lines(&text);
        for line in [
            "User=bob",
            "ExecStart=/usr/bin/pybots slave run --config /home/bob/slave/slave.toml",
            "ProtectHome=tmpfs",
            "BindPaths=/home/bob/slave/state",
            "ReadWritePaths=/srv/ccache",
            "BindReadOnlyPaths=-/home/bob/slave",
            "CapabilityBoundingSet=",
            "KillMode=process",
        ] {
            assert!(lines.contains(&line), "{line}\n{text}");
        }
        assert!(!text.contains(['{', '}']), "{text}");
    }

    #[test]
    fn the_unit_for_those_who_install_by_hand_is_the_one_that_would_be_written() {
        const BY_HAND: &str = include_str!("../../../../deploy/systemd/pybots-slave.service");
        let folder = "/var/lib/pybots-slave";
        let text = TEXT.replace("writable = [\"/srv/ccache\"]", "");
        let made = made(Scope::System, Runner::User("pybots-slave"), folder, &text);
        assert_eq!(
            made.replace("/usr/bin/pybots", "/usr/local/bin/pybots"),
            BY_HAND
        );
    }

    #[test]
    fn a_script_in_the_home_itself_leaves_homes_readable_and_says_so() {
        for folder in ["/home/bob", "/root"] {
            let text = made(Scope::System, Runner::User("bob"), folder, TEXT);
            let lines = lines(&text);
            assert!(lines.contains(&"ProtectHome=read-only"), "{text}");
            let state = format!("ReadWritePaths={folder}/state");
            assert!(lines.contains(&&*state), "{text}");
            assert!(text.contains(&format!("stands in {folder} itself")));
        }
        let text = made(Scope::System, Runner::User("bob"), "/tmp", TEXT);
        assert!(text.contains("\nReadWritePaths=/tmp /var/tmp\n"), "{text}");
    }

    #[test]
    fn root_keeps_the_one_capability_that_namespaces_need() {
        let text = made(Scope::System, Runner::Root, "/etc/pybots", TEXT);
        let lines = lines(&text);
        assert!(lines.contains(&"User=root"));
        assert!(lines.contains(&"CapabilityBoundingSet=CAP_SETFCAP"));
    }

    #[test]
    fn a_service_of_the_user_has_no_line_that_needs_a_file_system_of_its_own() {
        let text = made(Scope::User, Runner::User("bob"), "/home/bob/slave", TEXT);
        for line in lines(&text) {
            let name = line.split('=').next().unwrap();
            let needs = [
                "Protect",
                "Private",
                "ReadWrite",
                "Bind",
                "User",
                "Inaccessible",
            ];
            assert!(!needs.iter().any(|start| name.starts_with(start)), "{line}");
        }
        assert!(text.contains("WantedBy=default.target"));
        assert!(!text.contains(['{', '}']), "{text}");
    }

    #[test]
    fn a_path_cannot_say_more_than_a_path() {
        let folder = "/srv/a \"b\" %h $HOME";
        let text = made(Scope::System, Runner::User("bob"), folder, TEXT);
        let expected = r#"--config "/srv/a \"b\" %%h $$HOME/slave.toml""#;
        assert!(text.contains(expected), "{text}");
        assert!(
            text.contains(r#"ReadWritePaths="/srv/a \"b\" %%h $HOME/state""#),
            "{text}"
        );
        assert_eq!(optional(Path::new("/a b")).unwrap(), "\"-/a b\"");
        for path in ["/srv/a\nUser=root", "/srv/a:/b"] {
            assert!(word(Path::new(path)).is_err(), "{path:?}");
        }
    }
}
