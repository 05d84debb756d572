//! The private keys: there, private, distinct; and those that should not be here at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::finding::{Check, Finding, Judgement, Part, quoted};
use crate::bus::bus_public_key;
use crate::cli::files;
use crate::master::MasterConfig;
use crate::model::{Position, PublicKey};
use crate::slave::SlaveConfig;
use crate::trust::{KeyFile, KeyFileError};

/// What a part signs with (only the public half is needed here), and how it logs in.
pub(super) struct Keys {
    pub(super) public: PublicKey,
    pub(super) seed: Zeroizing<String>,
    pub(super) nkey: String,
    /// The newest keyring in its files, if it has any there.
    pub(super) keyring: Option<Position>,
}

/// A private key's use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Use {
    /// Signs a slave's reports.
    Report,
    /// Signs commands.
    Signing,
    /// Logs in at the bus.
    Bus,
}

/// Looks at the keys of a slave.
pub(super) fn of_slave(config: &SlaveConfig) -> (Vec<Finding>, Option<Keys>) {
    pair(
        Part::Slave,
        (Use::Report, &config.report_key()),
        &config.bus_key(),
    )
}

/// Looks at the keys of a master, and for keys that should lie elsewhere.
pub(super) fn of_master(config: &MasterConfig) -> (Vec<Finding>, Option<Keys>) {
    let (mut findings, keys) = pair(
        Part::Master,
        (Use::Signing, &config.signing_key),
        &config.bus_key,
    );
    let folder = fs::canonicalize(&config.keyring);
    if let Some(folder) = folder.as_deref().ok().and_then(Path::parent) {
        let offline = offline_keys(folder, DEPTH);
        findings.extend(
            offline
                .iter()
                .map(|path| judge_offline(path).of(Check::Keys, Part::Master)),
        );
    }
    (findings, keys)
}

fn pair(part: Part, signs: (Use, &Path), login: &Path) -> (Vec<Finding>, Option<Keys>) {
    let (what, path) = signs;
    let key = key_file(path).and_then(|file| {
        let key = file.secret_key();
        key.map_err(|error| judge_file(&error, what, part))
    });
    let login = bus_key(login, part);
    match (key, login) {
        (Ok(key), Ok((seed, nkey))) => {
            let judgement = judge_pair(part, key.public(), &nkey);
            let sound = matches!(judgement, Judgement::Ok(_));
            let keys = Keys {
                public: key.public(),
                seed,
                nkey,
                keyring: None,
            };
            // A key that also signs must not answer a server's challenge, not even here.
            (vec![judgement.of(Check::Keys, part)], sound.then_some(keys))
        }
        (key, login) => {
            let wrong = [key.err(), login.err()].into_iter().flatten();
            let findings = wrong.map(|judgement| judgement.of(Check::Keys, part));
            (findings.collect(), None)
        }
    }
}

/// Where a key lies. Those that systemd keeps are seen by the service alone.
fn key_file(path: &Path) -> Result<KeyFile, Judgement> {
    files::key_file(path).map_err(|failure| Judgement::skip(failure.sentence()))
}

fn bus_key(path: &Path, part: Part) -> Result<(Zeroizing<String>, String), Judgement> {
    let file = key_file(path)?;
    file.check()
        .map_err(|error| judge_file(&error, Use::Bus, part))?;
    files::bus_seed(path).map_err(|failure| {
        Judgement::fail(
            failure.sentence(),
            effect_without(part),
            "put the right file there; it holds one line that begins with SU",
        )
    })
}

fn effect_without(part: Part) -> &'static str {
    match part {
        Part::Slave => "the slave does not start",
        Part::Master => "the master does not start",
        Part::Viewer => "nobody can look at the farm",
    }
}

/// A key file that was not read.
fn judge_file(error: &KeyFileError, what: Use, part: Part) -> Judgement {
    let stolen = match (what, part) {
        (Use::Report, _) => "report in this slave's name",
        (Use::Signing, _) => "command every slave of the farm",
        (Use::Bus, Part::Slave | Part::Viewer) => "log in at the bus as this slave",
        (Use::Bus, Part::Master) => "log in at the bus as the master",
    };
    let effect = effect_without(part);
    match error {
        KeyFileError::Mode { path, mode } => Judgement::fail(
            format!(
                "{} has mode {mode:04o}, so others can read it",
                path.display()
            ),
            format!("whoever reads it can {stolen}; {effect} until it is private"),
            format!("chmod 600 {}", quoted(path)),
        ),
        KeyFileError::Owner { path, owner, user } => Judgement::fail(
            format!(
                "{} belongs to user {owner}, and user {user} runs this",
                path.display()
            ),
            format!("that user can {stolen}; {effect}"),
            format!(
                "run this as user {owner}, or: sudo chown {user} {}",
                quoted(path)
            ),
        ),
        KeyFileError::Read { path, source } if source.kind() == io::ErrorKind::NotFound => {
            let fix = match part {
                Part::Slave => {
                    "put it back from a backup; or make a new slave with pybots slave init --dir"
                }
                Part::Master | Part::Viewer => {
                    "put it back from a backup, or correct its path in master.toml"
                }
            };
            Judgement::fail(format!("{} is missing", path.display()), effect, fix)
        }
        KeyFileError::Read { path, source } | KeyFileError::Write { path, source } => {
            Judgement::fail(
                format!("{} cannot be read: {source}", path.display()),
                effect,
                format!(
                    "run this as the user who owns it, or look: ls -l {}",
                    quoted(path)
                ),
            )
        }
        KeyFileError::Credential { .. } => Judgement::fail(
            error.to_string(),
            format!("others may be able to read it and {stolen}; {effect}"),
            "let systemd make it: LoadCredential= in the unit",
        ),
        KeyFileError::Encrypted { path }
        | KeyFileError::Passphrase { path }
        | KeyFileError::Cost { path } => Judgement::fail(
            format!("{} is encrypted with a passphrase", path.display()),
            format!("a service has nobody to ask for it: {effect}"),
            format!("openssl pkey -in {} -out NEW-FILE", quoted(path)),
        ),
        KeyFileError::Form { path } => Judgement::fail(
            format!("{} holds no key as pybots writes it", path.display()),
            effect,
            "put it back from a backup",
        ),
    }
}

fn judge_pair(part: Part, signs: PublicKey, nkey: &str) -> Judgement {
    if bus_public_key(nkey) != Some(signs) {
        return Judgement::ok("private, and each for one purpose");
    }
    let (signing, fix) = match part {
        Part::Slave | Part::Viewer => (
            "the report key and the bus key are one key",
            "make a new slave with pybots slave init --dir",
        ),
        Part::Master => (
            "the signing key and the bus key are one key",
            "delete the file of the bus key and make another nkey for it",
        ),
    };
    Judgement::fail(
        signing,
        "the server of the bus chooses what a login signs, so it could make this key sign anything",
        fix,
    )
}

/// How many folders down, and at how many entries, is looked for keys.
const DEPTH: u32 = 3;
const MOST_ENTRIES: usize = 1000;

/// Keys that open everything, in or below a folder. Links are not followed.
fn offline_keys(folder: &Path, depth: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.take(MOST_ENTRIES).flatten() {
        let name = entry.file_name();
        if is_offline(&name.to_string_lossy()) {
            found.push(entry.path());
        } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(offline_keys(&entry.path(), depth - 1));
        }
    }
    found.sort();
    found
}

/// Such as master.key, master-2.key, successor.key or successor.1.key.
fn is_offline(name: &str) -> bool {
    let kept_apart = name.starts_with("master") || name.starts_with("successor");
    kept_apart
        && Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "key")
}

fn judge_offline(path: &Path) -> Judgement {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let drawer = if name.starts_with("successor") {
        "to another stick, kept elsewhere, and make a copy of that"
    } else {
        "to a stick in a drawer"
    };
    Judgement::warn(
        format!("{} lies on the master's machine", path.display()),
        "whoever breaks into this machine can take over the farm for good",
        format!("move it {drawer}: mv {} /media/STICK/", quoted(path)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_a_key_file_says_what_follows_and_how_to_mend_it() {
        let path = PathBuf::from("/k/report.key");
        let io = |kind| io::Error::from(kind);
        let cases = [
            (
                KeyFileError::Mode {
                    path: path.clone(),
                    mode: 0o644,
                },
                "has mode 0644",
                "can report in this slave's name",
                "chmod 600 /k/report.key",
            ),
            (
                KeyFileError::Owner {
                    path: path.clone(),
                    owner: 7,
                    user: 8,
                },
                "belongs to user 7",
                "can report in this slave's name",
                "sudo chown 8 /k/report.key",
            ),
            (
                KeyFileError::Read {
                    path: path.clone(),
                    source: io(io::ErrorKind::NotFound),
                },
                "is missing",
                "does not start",
                "pybots slave init",
            ),
            (
                KeyFileError::Read {
                    path: path.clone(),
                    source: io(io::ErrorKind::PermissionDenied),
                },
                "cannot be read: permission denied",
                "does not start",
                "ls -l /k/report.key",
            ),
            (
                KeyFileError::Encrypted { path: path.clone() },
                "is encrypted",
                "nobody to ask",
                "openssl pkey -in /k/report.key",
            ),
            (
                KeyFileError::Form { path },
                "holds no key",
                "does not start",
                "backup",
            ),
        ];
        for (error, found, effect, fix) in cases {
            let Judgement::Fail(trouble) = judge_file(&error, Use::Report, Part::Slave) else {
                panic!("{error} is a failure");
            };
            assert!(trouble.found.contains(found), "{trouble:?}");
            assert!(trouble.effect.contains(effect), "{trouble:?}");
            assert!(trouble.fix.contains(fix), "{trouble:?}");
        }
    }

    #[test]
    fn a_master_key_below_the_keyring_is_found_and_one_beside_its_folder_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::create_dir_all(place("keys/old")).unwrap();
        for name in [
            "master.key",
            "keys/signing.key",
            "keys/old/master.key",
            "keys/successor.1.key",
            "keys/master.key.signed",
        ] {
            fs::write(place(name), "").unwrap();
        }
        assert_eq!(
            offline_keys(&place("keys"), DEPTH),
            [place("keys/old/master.key"), place("keys/successor.1.key")]
        );
        assert!(offline_keys(&place("nowhere"), DEPTH).is_empty());
    }
}
