//! Files that commands read and write: configurations, keys, and where they lie by default.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::exit::{Exit, Failure};
use super::passphrase::PassphraseSource;
use super::series::Series;
use crate::bus::Login;
use crate::model::Timestamp;
use crate::trust::{KeyFile, KeyFileError, Reader, SecretKey};

/// Reads a configuration and makes sense of it; relative paths in it start from its own folder.
pub(super) fn configuration<T, E>(
    path: &Path,
    parse: impl FnOnce(&str, &Path) -> Result<T, E>,
) -> Result<(T, String), Failure>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let not_done = "Nothing was started.";
    let bytes = read(path).map_err(|failure| failure.advice(not_done))?;
    let text = String::from_utf8(bytes)
        .with_context(|| format!("{} is not text in UTF-8", path.display()))
        .map_err(|error| Failure::configuration(error).advice(not_done))?;
    let path = fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let config = parse(&text, folder)
        .with_context(|| path.display().to_string())
        .map_err(|error| Failure::configuration(error).advice(not_done))?;
    Ok((config, text))
}

/// Reads a regular file of at most 1 MiB: no configuration or keyring is longer.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    read_at_most(path, 1).map_err(Failure::configuration)
}

/// Reads a regular file of at most so many mebibytes.
pub(super) fn read_at_most(path: &Path, mebibytes: u64) -> anyhow::Result<Vec<u8>> {
    let read = || -> anyhow::Result<Vec<u8>> {
        // Asked before opening: a pipe that nobody writes to would never open.
        let metadata = fs::metadata(path)?;
        anyhow::ensure!(metadata.is_file(), "not a regular file");
        anyhow::ensure!(
            metadata.len() <= mebibytes << 20,
            "longer than {mebibytes} MiB"
        );
        Ok(fs::read(path)?)
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file that must not be there yet, in one step: it is there whole or not at all.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    let write = || -> anyhow::Result<()> {
        anyhow::ensure!(folder.is_dir(), "there is no such folder");
        let mut draft = tempfile::Builder::new()
            .prefix(".pybots-")
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(|error| std::io::Error::from(error.kind()))?;
        draft.write_all(bytes)?;
        draft.as_file().sync_all()?;
        draft.persist_noclobber(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Checks that nobody but its owner and root can write to `path`: whoever can decides what runs here.
pub(super) fn check_unshared(path: &Path) -> Result<(), Failure> {
    let mode = fs::metadata(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(Failure::configuration)?
        .mode();
    if mode & 0o022 == 0 {
        return Ok(());
    }
    let message = format!(
        "{path} is writable by others (mode {:04o}), who could change what runs here; fix: chmod go-w {path}",
        mode & 0o7777,
        path = path.display(),
    );
    Err(Failure::message(Exit::Configuration, message).advice("Nothing was started."))
}

/// What a path to a private file begins with that stands for one of systemd's credentials.
const CREDENTIAL: &str = "credential:";

/// Whether a path stands for one of systemd's credentials.
pub(super) fn is_credential(path: &Path) -> bool {
    path.to_string_lossy().starts_with(CREDENTIAL)
}

/// The private file that a path in a configuration or on the command line stands for. `credential:NAME` is what systemd
/// put into the service's own folder under that name (`LoadCredential=`).
pub(super) fn key_file(path: &Path) -> Result<KeyFile, Failure> {
    let folder = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    key_file_in(folder.as_deref(), path)
}

fn key_file_in(credentials: Option<&Path>, path: &Path) -> Result<KeyFile, Failure> {
    let Some(name) = path.to_str().and_then(|path| path.strip_prefix(CREDENTIAL)) else {
        return Ok(KeyFile::own(path));
    };
    if name.is_empty() || name.contains('/') || name == ".." || name == "." {
        let message = format!("{CREDENTIAL}{name} names no credential");
        return Err(Failure::message(Exit::Configuration, message)
            .advice("Nothing was started. A name follows, without any slash."));
    }
    if let Some(folder) = credentials.filter(|folder| folder.is_absolute()) {
        return Ok(KeyFile::credential(&folder.join(name)));
    }
    let message = format!(
        "{CREDENTIAL}{name} is a credential of systemd, and systemd did not start this: $CREDENTIALS_DIRECTORY is not set"
    );
    Err(
        Failure::message(Exit::Configuration, message).advice(format!(
            "Nothing was started. In the unit: LoadCredential={name}:/PATH/OF/THE/FILE"
        )),
    )
}

/// Reads a private key that is not encrypted: what a service signs with.
pub(super) fn secret_key(path: &Path) -> Result<SecretKey, Failure> {
    let key = key_file(path)?.secret_key();
    key.map_err(|error| {
        let mut advice = "Nothing was started.".to_owned();
        if let KeyFileError::Encrypted { path } = &error {
            let path = path.display();
            advice = format!(
                "Nothing was started: a service has nobody to ask. Without a passphrase: openssl pkey -in {path} -out NEW-FILE"
            );
        }
        Failure::configuration(error).advice(advice)
    })
}

/// Reads a private key, and the passphrase first if it is encrypted.
pub(super) fn secret_key_asking(
    path: &Path,
    source: &PassphraseSource,
) -> Result<SecretKey, Failure> {
    let failed = |error: KeyFileError| {
        Failure::configuration(error).advice("Nothing was signed or written.")
    };
    let file = key_file(path)?;
    match file.secret_key() {
        Err(KeyFileError::Encrypted { .. }) => {
            let passphrase = source.of_file(file.path())?;
            file.decrypt(&passphrase).map_err(failed)
        }
        read => read.map_err(failed),
    }
}

/// Reads the signing key in force, of those in the file and beside it: the one that was introduced last.
pub(super) fn signing_key(
    first: &Path,
    reader: &Reader,
    now: Timestamp,
) -> Result<SecretKey, Failure> {
    // A credential of systemd has nothing beside it.
    let later = if is_credential(first) {
        Vec::new()
    } else {
        Series::of(first).later().unwrap_or_default()
    };
    let mut found: Option<SecretKey> = None;
    let mut unread = None;
    for path in later
        .iter()
        .rev()
        .map(|(_, path)| path.as_path())
        .chain([first])
    {
        // One that cannot be read counts only if there is no other: it may be one whose time is over.
        let key = match secret_key(path) {
            Ok(key) => key,
            Err(failure) => {
                unread.get_or_insert(failure);
                continue;
            }
        };
        let rank = |key: &SecretKey| reader.rank(&key.id());
        if reader.may_sign(&key.public(), now)
            && found.as_ref().is_none_or(|found| rank(found) < rank(&key))
        {
            found = Some(key);
        }
    }
    found.ok_or_else(|| {
        unread.unwrap_or_else(|| {
            let message = format!(
                "no signing key in {} or beside it is in force by keyring {}",
                first.display(),
                reader.keyring().position
            );
            Failure::message(Exit::Configuration, message).advice(
                "Nothing was started. Make a new one with the master key: pybots keys rotate.",
            )
        })
    })
}

/// Reads the seed of a bus login, and its nkey.
pub(super) fn bus_seed(path: &Path) -> Result<(Zeroizing<String>, String), Failure> {
    let failed =
        |error: anyhow::Error| Failure::configuration(error).advice("Nothing was started.");
    let seed = key_file(path)?.read();
    let seed = seed.map_err(|error| failed(error.into()))?;
    let nkey = Login::nkey_of_seed(&seed)
        .with_context(|| {
            format!(
                "{} does not hold the seed of a user's nkey (SU…)",
                path.display()
            )
        })
        .map_err(failed)?;
    Ok((seed, nkey))
}

/// Makes the seed of a bus login, mode 0600, unless it is there; returns its nkey.
pub(super) fn make_bus_seed(path: &Path) -> Result<String, Failure> {
    if !path.exists() {
        let seed = Login::generate_seed()?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot make {}", path.display()))
            .map_err(Failure::configuration)?;
        file.write_all(seed.as_bytes())?;
        file.sync_all()?;
    }
    bus_seed(path).map(|(_, nkey)| nkey)
}

/// Makes a signing or report key unless it is there.
pub(super) fn make_secret_key(path: &Path) -> Result<SecretKey, Failure> {
    if path.exists() {
        return secret_key(path);
    }
    let key = SecretKey::generate()?;
    key.store(path)
        .map_err(|error: KeyFileError| Failure::configuration(error))?;
    Ok(key)
}

/// Writes a file in one step: whoever reads it finds the old text or the new one.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let draft = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        fs::write(&draft, text)?;
        // Whatever the umask says: a configuration that others can write is not used.
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o644))?;
        fs::rename(&draft, path)
    };
    write()
        .with_context(|| format!("cannot write {}", path.display()))
        .map_err(Failure::configuration)
}

/// Writes `text` beside the file that it is to replace, with that file's mode, whole and on disk.
pub(super) fn draft(path: &Path, text: &str) -> Result<NamedTempFile, Failure> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let write = || -> std::io::Result<NamedTempFile> {
        let permissions = fs::metadata(path)?.permissions();
        let mut draft = tempfile::Builder::new()
            .prefix(".pybots-")
            .tempfile_in(folder)
            .map_err(|error| std::io::Error::from(error.kind()))?;
        draft.write_all(text.as_bytes())?;
        draft.as_file().set_permissions(permissions)?;
        draft.as_file().sync_all()?;
        Ok(draft)
    };
    write()
        .with_context(|| {
            format!(
                "cannot write beside {}; nothing was changed",
                path.display()
            )
        })
        .map_err(Failure::configuration)
}

/// Puts a draft in the place of the file at `path`, in one step.
pub(super) fn put(draft: NamedTempFile, path: &Path) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let put = || -> std::io::Result<()> {
        draft.persist(path).map_err(|error| error.error)?;
        fs::File::open(folder)?.sync_all()
    };
    put()
        .with_context(|| format!("cannot write {}", path.display()))
        .map_err(Failure::configuration)
}

/// Makes a folder, and those above it, that nobody but its owner can write to, whatever the umask says.
pub(super) fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
        .map_err(Failure::configuration)
}

fn user_folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(below_home));
    Some(set.or_else(home)?.join("pybots"))
}

/// The user's folder for what a program keeps (XDG base directories).
pub(super) fn state_folder() -> Option<PathBuf> {
    user_folder("XDG_STATE_HOME", ".local/state")
}

/// The user's folder for what a program can get again.
pub(super) fn cache_folder() -> Option<PathBuf> {
    user_folder("XDG_CACHE_HOME", ".cache")
}

/// A variable of the environment, for values that are no secret.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Where programs are looked for.
pub(super) fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into())
}

/// Our own program, to be executed again.
pub(super) fn program() -> Result<PathBuf, Failure> {
    env::current_exe()
        .context("cannot find our own program")
        .map_err(Failure::error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Passphrase;

    #[test]
    fn a_credential_is_a_file_of_that_name_in_the_folder_of_the_service() {
        let folder = Path::new("/run/credentials/pybots-master.service");
        let place = |path: &str| key_file_in(Some(folder), Path::new(path)).ok();
        assert_eq!(
            place("credential:signing-key"),
            Some(KeyFile::credential(&folder.join("signing-key")))
        );
        for own in ["/etc/pybots/credential:x", "./credential:x", "signing.key"] {
            assert_eq!(place(own), Some(KeyFile::own(Path::new(own))), "{own}");
        }
        for none in [
            "credential:",
            "credential:..",
            "credential:../x",
            "credential:/etc/x",
        ] {
            assert_eq!(place(none), None, "{none}");
        }
    }

    #[test]
    fn an_encrypted_key_serves_whoever_has_the_passphrase_and_no_service() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let key = SecretKey::from_seed(&[1; 32]);
        let passphrase = Passphrase::new(Zeroizing::new("correct horse".to_owned()));
        key.store_encrypted(&path, &passphrase).unwrap();
        let source = |line: &str| {
            let (reader, mut writer) = std::io::pipe().unwrap();
            writeln!(writer, "{line}").unwrap();
            (PassphraseSource::from_file(&reader), reader)
        };
        let (right, _open) = source("correct horse");
        let read = secret_key_asking(&path, &right).unwrap();
        assert_eq!(read.public(), key.public());
        let (wrong, _open) = source("wrong horse");
        let failure = secret_key_asking(&path, &wrong).unwrap_err();
        assert_eq!(
            failure.sentence(),
            format!(
                "the passphrase does not fit the key file {}, or the file is damaged",
                path.display()
            )
        );
        let failure = secret_key(&path).unwrap_err();
        assert_eq!(
            failure.sentence(),
            format!(
                "the key file {} is encrypted with a passphrase",
                path.display()
            )
        );
        // A key that is not encrypted needs no passphrase, and none is asked for.
        let plain = folder.path().join("plain.key");
        key.store(&plain).unwrap();
        assert!(secret_key_asking(&plain, &PassphraseSource::default()).is_ok());
    }

    #[test]
    fn a_credential_without_systemd_is_said_in_one_sentence() {
        for folder in [None, Some(Path::new("")), Some(Path::new("relative"))] {
            let failure = key_file_in(folder, Path::new("credential:signing-key")).unwrap_err();
            assert_eq!(
                failure.sentence(),
                "credential:signing-key is a credential of systemd, and systemd did not start this: \
                 $CREDENTIALS_DIRECTORY is not set"
            );
        }
    }
}
