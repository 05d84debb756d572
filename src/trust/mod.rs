//! Who said it: keys, signing, and the one way from received bytes to something believed.
//!
//! [`Reader::open`] alone makes a [`Verified`] value. It checks the signature over the bytes that were received, before
//! anything in the payload is looked at, with a key that the farm's keyring or roster gives to that kind of message.

mod ceremony;
mod chain;
mod digest;
mod fingerprint;
mod key;
mod keyring;
mod open;
mod seal;

pub use ceremony::{
    Difference, DraftError, MasterSet, Terms, differences, first, revocation, rotation, succession,
};
pub use chain::{Chain, Fork, Learnt};
pub use digest::{Sha256, payload_id, sha256};
pub use fingerprint::words;
pub use key::{KeyFile, KeyFileError, Passphrase, SecretKey, SoundKey, UnsoundKey, key_id};
pub use keyring::{KeyringError, commitment, open_first};
#[cfg(test)]
pub(crate) use open::Spoken;
pub use open::{KeysFault, OpenError, Purpose, Rank, Reader, RosterError, Standing, Verified};
pub use seal::{Sealed, countersign, seal};
