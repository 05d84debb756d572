//! SHA-256 (FIPS 180-4).

use std::io;

use sha2::Digest as _;

use crate::model::{Digest, PayloadId};

/// A hash over bytes that come in pieces.
#[derive(Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Takes in the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all pieces.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl io::Write for Sha256 {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The hash of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// What a payload is identified by. Never taken over an envelope: one payload may travel in several.
#[must_use]
pub fn payload_id(payload: &[u8]) -> PayloadId {
    PayloadId(sha256(payload))
}
