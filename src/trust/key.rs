//! Keys: sound public ones, and private ones that live in files nobody else can read.

mod encrypted;
mod file;

use std::fmt;
use std::io;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::digest::sha256;
use crate::model::{KeyId, PublicKey};

pub use encrypted::Passphrase;
pub use file::{KeyFile, KeyFileError};

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
    fn debug_output_of_a_secret_key_shows_only_the_public_half() {
        let key = SecretKey::from_seed(&[1; 32]);
        assert_eq!(
            format!("{key:?}"),
            format!("SecretKey(of {})", key.public())
        );
    }
}
