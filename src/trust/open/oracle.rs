//! Signatures without arithmetic, for tests that look at hundreds of thousands of messages.
//!
//! An oracle knows who really signed, so nothing is computed; every other rule is that of [`Reader::open`]. This is no way
//! around it: the module is compiled for this crate's own unit tests alone, which no feature, binary or other crate can
//! switch on, and it makes a [`Verified`] value only through the same judgement of keys, windows, revocations and names.

use super::{OpenError, Purpose, Reader, Verified};
use crate::model::{KeyId, PayloadId};
use crate::trust::payload_id;
use crate::wire::{Payload, encode};

/// A message, and the oracle's word on who signed it.
#[derive(Clone, Debug)]
pub(crate) struct Spoken<T> {
    body: T,
    /// Whose signature it claims to bear.
    signer: KeyId,
    /// Whether that key really signed it.
    genuine: bool,
    id: PayloadId,
}

impl<T: Payload> Spoken<T> {
    /// A message that `signer` signs.
    pub(crate) fn signed(body: T, signer: KeyId) -> Self {
        let id = payload_id(&encode(&body));
        Self {
            body,
            signer,
            genuine: true,
            id,
        }
    }

    /// A message that somebody without that key makes up in its name.
    pub(crate) fn forged(body: T, signer: KeyId) -> Self {
        Self {
            genuine: false,
            ..Self::signed(body, signer)
        }
    }

    pub(crate) fn body(&self) -> &T {
        &self.body
    }

    pub(crate) fn signer(&self) -> KeyId {
        self.signer
    }

    pub(crate) fn is_genuine(&self) -> bool {
        self.genuine
    }

    pub(crate) fn id(&self) -> PayloadId {
        self.id
    }
}

impl Reader {
    /// What [`Reader::open`] would say of the message.
    pub(crate) fn open_by_oracle<T: Payload + Clone>(
        &self,
        spoken: &Spoken<T>,
        purpose: Purpose,
    ) -> Result<Verified<T>, OpenError> {
        let signer = spoken.signer;
        if self.key(T::KIND, &signer).is_none() {
            return Err(OpenError::UnknownKey(signer));
        }
        if !spoken.genuine {
            return Err(OpenError::BadSignature(signer));
        }
        self.believe(spoken.body.clone(), signer, spoken.id, purpose)
    }
}
