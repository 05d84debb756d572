//! Files that must be refused: one rule broken in each, and everything else about it right.

use pybots::model::{FarmId, KeyId, PayloadId};
use pybots::trust::{Purpose, payload_id};
use pybots::wire::Kind;

use crate::farm::{self, Key};
use crate::good::ADMIT;
use crate::raw::{self, Parts};
use crate::{
    bad_envelope, bad_keyring, bad_payload, bad_roster, bad_signature, bad_signer, bad_value, ext,
};

/// A file that does not open, and why.
pub(crate) struct Bad {
    pub(crate) name: &'static str,
    /// What the reader takes it for.
    pub(crate) kind: Kind,
    /// The farm that the reader has pinned.
    pub(crate) farm: FarmId,
    pub(crate) id: Option<PayloadId>,
    /// The keys that it claims to be signed with.
    pub(crate) signers: Vec<KeyId>,
    pub(crate) purpose: Purpose,
    pub(crate) bytes: Vec<u8>,
    pub(crate) code: &'static str,
    /// How the error's `Debug` form begins: that this rule refused it, and no other with the same code.
    pub(crate) error: &'static str,
    pub(crate) why: &'static str,
}

pub(crate) fn all() -> Vec<Bad> {
    [
        bad_envelope::all(),
        bad_signature::all(),
        bad_signer::all(),
        bad_payload::all(),
        bad_value::all(),
        bad_keyring::all(),
        bad_roster::all(),
        ext::bad(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Bad {
    /// `payload` in a flawless envelope.
    pub(crate) fn payload(name: &'static str, kind: Kind, key: Key, payload: &[u8]) -> Self {
        let farm = farm::golden().0;
        Self::envelope(
            name,
            kind,
            key,
            payload,
            &raw::message(kind, key, &farm, payload),
        )
    }

    /// An envelope that claims to carry `payload`, signed by `key`.
    pub(crate) fn envelope(
        name: &'static str,
        kind: Kind,
        key: Key,
        payload: &[u8],
        envelope: &Parts,
    ) -> Self {
        Self {
            name,
            kind,
            farm: farm::golden().0,
            id: Some(payload_id(payload)),
            signers: vec![key.id()],
            purpose: ADMIT,
            bytes: envelope.join(),
            code: "",
            error: "",
            why: "",
        }
    }

    pub(crate) fn in_the_past(self) -> Self {
        Self {
            purpose: Purpose::History,
            ..self
        }
    }

    pub(crate) fn refused(
        self,
        code: &'static str,
        error: &'static str,
        why: &'static str,
    ) -> Self {
        Self {
            code,
            error,
            why,
            ..self
        }
    }
}
