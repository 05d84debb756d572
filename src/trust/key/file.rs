//! The files that private keys live in: nobody else can read them, or they are not used.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use pkcs8::LineEnding;
use zeroize::Zeroizing;

use super::SecretKey;
use super::encrypted::{self, Passphrase, Unread};

/// Longest key file, in bytes.
const MAX_LEN: u64 = 16 * 1024;

/// Why a key file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file could not be read.
    #[error("cannot read the key file {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file could not be made.
    #[error("cannot write the key file {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others can read it.
    #[error(
        "the key file {path} has mode {mode:04o}, so others can read it; fix: chmod 600 {path}"
    )]
    Mode {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("the key file {path} belongs to user {owner}, not to the user {user} who runs this")]
    Owner {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who runs this.
        user: u32,
    },
    /// A file among systemd's credentials that is not as systemd makes them.
    #[error(
        "the credential {path} belongs to user {owner} and has mode {mode:04o}; systemd makes it the service's own with \
         mode 0400, or root's with mode 0440"
    )]
    Credential {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold an Ed25519 private key.
    #[error("the key file {path} does not hold an Ed25519 private key in PKCS #8 PEM form")]
    Form {
        /// Which file.
        path: PathBuf,
    },
    /// It is encrypted, and no passphrase was given.
    #[error("the key file {path} is encrypted with a passphrase")]
    Encrypted {
        /// Which file.
        path: PathBuf,
    },
    /// The passphrase does not fit.
    #[error("the passphrase does not fit the key file {path}, or the file is damaged")]
    Passphrase {
        /// Which file.
        path: PathBuf,
    },
    /// It says of itself that trying a passphrase takes more than is given to it.
    #[error(
        "the key file {path} says that to try a passphrase takes more than 256 MiB, or minutes; nobody tried"
    )]
    Cost {
        /// Which file.
        path: PathBuf,
    },
}

/// Who keeps a file, and so who else may be able to read it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Custody {
    Own,
    Systemd,
}

/// A private file: a key's, or that of a login's seed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyFile {
    path: PathBuf,
    custody: Custody,
}

impl KeyFile {
    /// A file of the user who runs this; nobody else may be able to read it.
    #[must_use]
    pub fn own(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            custody: Custody::Own,
        }
    }

    /// A file in the folder that systemd made for the credentials of this service. systemd gives it to the service's user
    /// with mode 0400, or leaves it to root with mode 0440, where the group's bit stands for an access list that names
    /// that user alone. Exactly these two are accepted.
    #[must_use]
    pub fn credential(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            custody: Custody::Systemd,
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that nobody reads it who should not.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`]: cannot be read; mode; owner; not as systemd makes credentials.
    pub fn check(&self) -> Result<(), KeyFileError> {
        self.metadata().map(drop)
    }

    fn metadata(&self) -> Result<fs::Metadata, KeyFileError> {
        let path = self.path.clone();
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(source) => return Err(KeyFileError::Read { path, source }),
        };
        let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
        let user = nix::unistd::geteuid().as_raw();
        match self.custody {
            Custody::Own if mode & 0o077 != 0 => Err(KeyFileError::Mode { path, mode }),
            Custody::Own if owner != user => Err(KeyFileError::Owner { path, owner, user }),
            Custody::Systemd if !is_as_systemd_makes_it(mode, owner, metadata.gid(), user) => {
                Err(KeyFileError::Credential { path, owner, mode })
            }
            Custody::Own | Custody::Systemd => Ok(metadata),
        }
    }

    /// Reads it, after the [check](Self::check).
    ///
    /// # Errors
    ///
    /// [`KeyFileError`]: as for the check; or it is too long for a key, or no text.
    pub fn read(&self) -> Result<Zeroizing<String>, KeyFileError> {
        let metadata = self.metadata()?;
        if !metadata.is_file() || metadata.len() > MAX_LEN {
            return Err(self.form());
        }
        fs::read_to_string(&self.path)
            .map(Zeroizing::new)
            .map_err(|source| KeyFileError::Read {
                path: self.path.clone(),
                source,
            })
    }

    /// Reads a key in PKCS #8 PEM form that is not encrypted.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`]: as for [reading](Self::read); encrypted; holds something else.
    pub fn secret_key(&self) -> Result<SecretKey, KeyFileError> {
        let pem = self.read()?;
        if is_encrypted(&pem) {
            return Err(KeyFileError::Encrypted {
                path: self.path.clone(),
            });
        }
        SigningKey::from_pkcs8_pem(&pem)
            .map(SecretKey)
            .map_err(|_| self.form())
    }

    /// Reads an encrypted key with its passphrase. A key that is not encrypted needs none and is read too.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`]: as for [reading](Self::read); the passphrase does not fit; it takes too much to try; holds
    /// something else.
    pub fn decrypt(&self, passphrase: &Passphrase) -> Result<SecretKey, KeyFileError> {
        let pem = self.read()?;
        if !is_encrypted(&pem) {
            return self.secret_key();
        }
        let path = self.path.clone();
        let der = encrypted::decrypt(&pem, passphrase).map_err(|unread| match unread {
            Unread::Form => KeyFileError::Form { path },
            Unread::Cost => KeyFileError::Cost { path },
            Unread::Passphrase => KeyFileError::Passphrase { path },
        })?;
        SigningKey::from_pkcs8_der(der.as_bytes())
            .map(SecretKey)
            .map_err(|_| self.form())
    }

    fn form(&self) -> KeyFileError {
        KeyFileError::Form {
            path: self.path.clone(),
        }
    }
}

fn is_encrypted(pem: &str) -> bool {
    let beginning = format!("-----BEGIN {}-----", encrypted::LABEL);
    pem.lines().any(|line| line.trim_end() == beginning)
}

fn is_as_systemd_makes_it(mode: u32, owner: u32, group: u32, user: u32) -> bool {
    (owner == user && mode == 0o400) || (owner == 0 && group == 0 && mode == 0o440)
}

impl SecretKey {
    /// Reads a PKCS #8 PEM file that only its owner can read and that is not encrypted.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`]: cannot be read; others can read it or own it; encrypted; holds something else.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        KeyFile::own(path).secret_key()
    }

    /// Writes a new PKCS #8 PEM file, mode 0600. Never overwrites one.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Write`], also when the file is there already.
    pub fn store(&self, path: &Path) -> Result<(), KeyFileError> {
        let pem = self.pair().to_pkcs8_pem(LineEnding::LF);
        write_new(path, pem)
    }

    /// Writes a new file that is encrypted with a passphrase, mode 0600. Never overwrites one.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Write`], also when the file is there already.
    pub fn store_encrypted(
        &self,
        path: &Path,
        passphrase: &Passphrase,
    ) -> Result<(), KeyFileError> {
        let der = self.pair().to_pkcs8_der();
        let pem = der.and_then(|der| encrypted::encrypt(&der, passphrase));
        write_new(path, pem)
    }

    /// Version 1, without the public half: what every other program reads.
    fn pair(&self) -> KeypairBytes {
        KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        }
    }
}

fn write_new(
    path: &Path,
    pem: Result<Zeroizing<String>, pkcs8::Error>,
) -> Result<(), KeyFileError> {
    let write = || -> io::Result<()> {
        let pem = pem.map_err(io::Error::other)?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| KeyFileError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_stored_key_is_private_and_loads_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        let key = SecretKey::from_seed(&[1; 32]);
        key.store(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(SecretKey::load(&path).unwrap().public(), key.public());
        assert!(
            matches!(key.store(&path), Err(KeyFileError::Write { .. })),
            "a key is never overwritten"
        );
    }

    #[test]
    fn an_encrypted_key_is_private_and_loads_with_its_passphrase_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let key = SecretKey::from_seed(&[1; 32]);
        let passphrase = |text: &str| Passphrase::new(Zeroizing::new(text.to_owned()));
        let right = passphrase("correct horse");
        key.store_encrypted(&path, &right).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert!(matches!(
            SecretKey::load(&path),
            Err(KeyFileError::Encrypted { .. })
        ));
        let file = KeyFile::own(&path);
        assert_eq!(file.decrypt(&right).unwrap().public(), key.public());
        assert!(matches!(
            file.decrypt(&passphrase("wrong horse")),
            Err(KeyFileError::Passphrase { .. })
        ));
        let again = key.store_encrypted(&path, &right);
        assert!(matches!(again, Err(KeyFileError::Write { .. })));
    }

    #[test]
    fn keys_that_openssl_encrypted_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let key = SecretKey::from_seed(&[1; 32]);
        // openssl pkcs8 -topk8 [-scrypt] -in signing.key -passout "pass:correct horse"
        for (name, body) in [
            (
                "pbkdf2",
                "MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhkp6eXSorfGAICCAAwDAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoE\
             EPuSAmTW72Xym+H1lK6kzzUEQJmciYmLLpVfkYD3mL44BCjt0p+Y9+0CA8FXNpD8QvFTEXNzx700DvZvWf4eHXL1kgS5NtpTQ/f5\
             gqmUOqg+SCc=",
            ),
            (
                "scrypt",
                "MIGTME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAh15dcU4HSO5AICQAACAQgCAQEwHQYJYIZIAWUDBAEqBBB1T5KblblK\
             qwAE8c9GKIvTBEBstwzOr8EoFbc3KLvqnzpq5XpQjwS01/U8B8zLbQ02AH+2OC+chc8tayW/qJhMnYzzQt/RUgul0xqG1HVDxU6U",
            ),
        ] {
            let label = encrypted::LABEL;
            let lines: Vec<&str> = (0..body.len())
                .step_by(64)
                .map(|at| &body[at..body.len().min(at + 64)])
                .collect();
            let body = lines.join("\n");
            let pem = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
            let path = folder.path().join(name);
            fs::write(&path, pem).unwrap();
            set_mode(&path, 0o600);
            let passphrase = Passphrase::new(Zeroizing::new("correct horse".to_owned()));
            let read = KeyFile::own(&path).decrypt(&passphrase).unwrap();
            assert_eq!(read.public(), key.public(), "{name}");
        }
    }

    #[test]
    fn a38_a_key_that_others_can_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        SecretKey::from_seed(&[1; 32]).store(&path).unwrap();
        for mode in [0o640, 0o440, 0o604, 0o601, 0o620] {
            set_mode(&path, mode);
            assert!(
                matches!(SecretKey::load(&path), Err(KeyFileError::Mode { mode: found, .. }) if found == mode),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn a38_a_credential_is_used_only_as_systemd_makes_it() {
        const SERVICE: u32 = 998;
        for (mode, owner, group, accepted) in [
            (0o400, SERVICE, SERVICE, true),
            (0o440, 0, 0, true),
            (0o600, SERVICE, SERVICE, false),
            (0o440, SERVICE, SERVICE, false),
            (0o444, 0, 0, false),
            (0o400, 0, 0, false),
            (0o440, 0, 100, false),
            (0o640, 0, 0, false),
            (0o400, 1000, 1000, false),
        ] {
            let case = format!("{mode:o} {owner}:{group}");
            let is = is_as_systemd_makes_it(mode, owner, group, SERVICE);
            assert_eq!(is, accepted, "{case}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing-key");
        SecretKey::from_seed(&[1; 32]).store(&path).unwrap();
        let credential = KeyFile::credential(&path);
        set_mode(&path, 0o400);
        assert!(credential.secret_key().is_ok());
        set_mode(&path, 0o644);
        assert!(matches!(
            credential.secret_key(),
            Err(KeyFileError::Credential { mode: 0o644, .. })
        ));
    }

    #[test]
    fn what_is_no_key_file_is_refused_without_being_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        for (name, content) in [
            ("empty", Vec::new()),
            ("text", b"hello\n".to_vec()),
            ("too long", vec![b'-'; 16 * 1024 + 1]),
            (
                "no PEM",
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n".to_vec(),
            ),
        ] {
            fs::write(&path, content).unwrap();
            set_mode(&path, 0o600);
            let passphrase = Passphrase::new(Zeroizing::new("x".to_owned()));
            let read = KeyFile::own(&path).decrypt(&passphrase);
            assert!(matches!(read, Err(KeyFileError::Form { .. })), "{name}");
        }
    }
}
