//! Keys: sound public ones, and private ones that live in files nobody else can read.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::digest::sha256;
use crate::model::{KeyId, PublicKey};

/// A public key that is weak or not in its one encoding.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("public key {0} is weak or not in canonical encoding")]
pub struct UnsoundKey(pub PublicKey);

/// A public key that can be relied on: a point of large order, in its one encoding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SoundKey(VerifyingKey);

impl SoundKey {
    /// Checks a public key.
    ///
    /// # Errors
    ///
    /// [`UnsoundKey`] for points of small order, for which anybody can make "signatures", and for second spellings of a
    /// point, which would be a second identity.
    pub fn new(key: PublicKey) -> Result<Self, UnsoundKey> {
        let sound = VerifyingKey::from_bytes(&key.0).map_err(|_| UnsoundKey(key))?;
        let canonical = sound.to_edwards().compress().to_bytes() == key.0;
        if canonical && !sound.is_weak() {
            Ok(Self(sound))
        } else {
            Err(UnsoundKey(key))
        }
    }

    /// Whether `signature` over `message` is this key's, by the strict rules (no small-order points, one encoding).
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0
            .verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    }

    /// The key's thumbprint.
    #[must_use]
    pub fn id(&self) -> KeyId {
        key_id(&PublicKey(self.0.to_bytes()))
    }
}

/// SHA-256 COSE key thumbprint (RFC 9679, section 3) of an Ed25519 key: over the deterministic map
/// `{1 (kty): 1 (OKP), -1 (crv): 6 (Ed25519), -2 (x): key}`.
#[must_use]
pub fn key_id(key: &PublicKey) -> KeyId {
    let mut map = vec![0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20];
    map.extend_from_slice(&key.0);
    KeyId(sha256(&map))
}

/// A private key. It has no `Display`, and its `Debug` shows the public half.
pub struct SecretKey(SigningKey);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

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
    /// It does not hold an Ed25519 private key.
    #[error("the key file {path} does not hold an Ed25519 private key in PKCS #8 PEM form")]
    Form {
        /// Which file.
        path: PathBuf,
    },
}

impl SecretKey {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    ///
    /// The system's, if it has no randomness to give.
    pub fn generate() -> io::Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(io::Error::other)?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of a seed (RFC 8032, section 5.1.5).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The public half's thumbprint.
    #[must_use]
    pub fn id(&self) -> KeyId {
        key_id(&self.public())
    }

    /// Signs. Only [`seal`](super::seal) calls this, with bytes that it has built itself.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// Reads a PKCS #8 PEM file that only its owner can read.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`]: cannot be read; others can read it or own it; holds something else.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        check_private_mode(path)?;
        let pem = fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|source| KeyFileError::Read {
                path: path.to_owned(),
                source,
            })?;
        SigningKey::from_pkcs8_pem(&pem)
            .map(Self)
            .map_err(|_| KeyFileError::Form {
                path: path.to_owned(),
            })
    }

    /// Writes a new PKCS #8 PEM file, mode 0600. Never overwrites one.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Write`], also when the file is there already.
    pub fn store(&self, path: &Path) -> Result<(), KeyFileError> {
        let failed = |source| KeyFileError::Write {
            path: path.to_owned(),
            source,
        };
        // Version 1, without the public half: what every other program reads.
        let pair = KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        };
        let pem = pair
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| failed(io::Error::other(error)))?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        file.write_all(pem.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed)
    }
}

/// Checks that only its owner, who runs this program, can read the file.
///
/// # Errors
///
/// [`KeyFileError`]: cannot be read; mode; owner.
pub fn check_private_mode(path: &Path) -> Result<(), KeyFileError> {
    let metadata = fs::metadata(path).map_err(|source| KeyFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    let (owner, user) = (metadata.uid(), nix::unistd::geteuid().as_raw());
    if owner != user {
        return Err(KeyFileError::Owner {
            path: path.to_owned(),
            owner,
            user,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a32_weak_and_non_canonical_public_keys_are_refused_when_loaded() {
        let mut identity = [0; 32];
        identity[0] = 1;
        // y = p + 1, a second spelling of the identity.
        let mut second_spelling = [0xff; 32];
        second_spelling[0] = 0xee;
        second_spelling[31] = 0x7f;
        for bad in [[0; 32], identity, second_spelling] {
            assert_eq!(
                SoundKey::new(PublicKey(bad)),
                Err(UnsoundKey(PublicKey(bad)))
            );
        }
        assert!(SoundKey::new(SecretKey::from_seed(&[1; 32]).public()).is_ok());
    }

    #[test]
    fn a_stored_key_is_private_and_loads_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        let key = SecretKey::from_seed(&[1; 32]);
        key.store(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        assert_eq!(SecretKey::load(&path).unwrap().public(), key.public());
        assert!(
            matches!(key.store(&path), Err(KeyFileError::Write { .. })),
            "a key is never overwritten"
        );
    }

    #[test]
    fn a38_a_key_that_others_can_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        SecretKey::from_seed(&[1; 32]).store(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            SecretKey::load(&path),
            Err(KeyFileError::Mode { mode: 0o640, .. })
        ));
    }

    #[test]
    fn debug_output_of_a_secret_key_shows_only_the_public_half() {
        let key = SecretKey::from_seed(&[1; 32]);
        assert_eq!(
            format!("{key:?}"),
            format!("SecretKey(of {})", key.public())
        );
    }
}
