//! Signing. The signer builds the bytes itself, from a typed value, so it cannot be made to sign something else.

use super::digest::payload_id;
use super::key::SecretKey;
use crate::model::{FarmId, Keyring, PayloadId};
use crate::wire::{Envelope, EnvelopeError, KeyringEnvelopes, Kind, Payload, encode};

/// A signed message, ready to travel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sealed {
    /// What it is identified by.
    pub id: PayloadId,
    /// The envelope.
    pub bytes: Vec<u8>,
}

/// Signs `body` for `farm`. A keyring is signed with [`countersign`] instead: several keys may have to.
#[must_use]
pub fn seal<T: Payload>(key: &SecretKey, farm: &FarmId, body: &T) -> Sealed {
    let payload = encode(body);
    let id = payload_id(&payload);
    Sealed {
        id,
        bytes: sign(key, T::KIND, Some(farm), payload).to_bytes(),
    }
}

/// Signs a keyring with each of `keys`.
///
/// # Errors
///
/// [`EnvelopeError::Header`] if the keys are none, more than 16, or not distinct.
pub fn countersign(
    keys: &[&SecretKey],
    keyring: &Keyring,
) -> Result<KeyringEnvelopes, EnvelopeError> {
    let payload = encode(keyring);
    KeyringEnvelopes::new(
        keys.iter()
            .map(|key| sign(key, Kind::Keyring, None, payload.clone()))
            .collect(),
    )
}

fn sign(key: &SecretKey, kind: Kind, farm: Option<&FarmId>, payload: Vec<u8>) -> Envelope {
    let mut envelope = Envelope {
        kind,
        signer: key.id(),
        payload,
        signature: [0; 64],
    };
    envelope.signature = key.sign(&envelope.signed_bytes(farm));
    envelope
}
