//! From received bytes to something believed.

mod keys;
#[cfg(test)]
mod oracle;
mod roster;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::collections::BTreeMap;

use super::chain::Chain;
use super::digest::payload_id;
use super::key::{SoundKey, UnsoundKey};
use super::keyring::KeyringError;
use crate::model::{
    FarmId, KeyId, PayloadId, PublicKey, RequesterName, RevocationReason, Roster, RosterLine,
    SigningKeyWindow, SlaveName, Timestamp,
};
use crate::wire::{Envelope, EnvelopeError, Kind, Payload, PayloadError, Role, decode};

pub use keys::{KeysFault, Rank};
#[cfg(test)]
pub(crate) use oracle::Spoken;
pub use roster::RosterError;

/// A `T` that was signed by a key entitled to say it.
///
/// Only [`Reader::open`] makes one: the fields are private, and nothing here can be deserialized or hands out `&mut`.
///
/// ```compile_fail
/// use pybots::model::{Head, KeyId, PayloadId};
/// fn forge(body: Head, signer: KeyId, id: PayloadId) -> pybots::trust::Verified<Head> {
///     pybots::trust::Verified { body, signer, id, standing: pybots::trust::Standing::Good }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Verified<T> {
    body: T,
    signer: KeyId,
    id: PayloadId,
    standing: Standing,
}

impl<T> Verified<T> {
    /// What was said.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// What was said, given away.
    pub fn into_body(self) -> T {
        self.body
    }

    /// By which key.
    pub fn signer(&self) -> KeyId {
        self.signer
    }

    /// What it is identified by.
    pub fn id(&self) -> PayloadId {
        self.id
    }

    /// How much the signature still proves.
    pub fn standing(&self) -> Standing {
        self.standing
    }
}

/// How much a signature still proves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// The key was in force.
    Good,
    /// The key was stolen at some time. What it signed still counts for numbering; that its owner said it is unproven
    /// unless a verified report names it.
    Unproven,
}

/// What something is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// To act on it, at this moment: every rule holds.
    Admit {
        /// Now.
        now: Timestamp,
    },
    /// To fold the past: what a key said inside its window counts, also after the key's end.
    History,
}

/// Why a message is not believed. Nothing of it was used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not an envelope in its one spelling.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Another kind than was asked for.
    #[error("message is a {found}, where a {expected} must stand")]
    OtherKind {
        /// What must stand here.
        expected: Kind,
        /// What came.
        found: Kind,
    },
    /// Nobody entitled to sign this kind has that key.
    #[error("key {0} is not one that may sign this")]
    UnknownKey(KeyId),
    /// The signature does not match the bytes, for this kind and farm.
    #[error("the signature by key {0} does not match")]
    BadSignature(KeyId),
    /// Signed by a known key, yet not the fields of its kind.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Signed for another farm. (The signature's context holds the farm too; this is the second wall.)
    #[error("message is for another farm, {0}")]
    OtherFarm(FarmId),
    /// A slave's key, but in another slave's name.
    #[error("key {key} is not the report key of slave {slave}")]
    NotTheReporter {
        /// Who signed.
        key: KeyId,
        /// In whose name.
        slave: SlaveName,
    },
    /// A requester's key, but in another one's name.
    #[error("key {key} is not that of requester {requester}")]
    NotTheRequester {
        /// Who signed.
        key: KeyId,
        /// In whose name.
        requester: RequesterName,
    },
    /// The signing key was revoked.
    #[error("key {0} is revoked")]
    Revoked(KeyId),
    /// The signing key was not in force.
    #[error("key {0} was not in force then")]
    OutsideWindow(KeyId),
}

impl OpenError {
    /// Stable code, for counters and searching.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Envelope(error) => error.code(),
            Self::OtherKind { .. } => "E-KIND",
            Self::UnknownKey(_) => "E-KEY",
            Self::BadSignature(_) => "E-SIGNATURE",
            Self::Payload(_) => "E-PAYLOAD",
            Self::OtherFarm(_) => "E-FARM",
            Self::NotTheReporter { .. } => "E-REPORTER",
            Self::NotTheRequester { .. } => "E-REQUESTER",
            Self::Revoked(_) => "E-REVOKED",
            Self::OutsideWindow(_) => "E-KEY-WINDOW",
        }
    }
}

#[derive(Clone)]
struct Signer {
    key: SoundKey,
    window: SigningKeyWindow,
    revoked: Option<RevocationReason>,
}

#[derive(Clone)]
struct Reporter {
    key: SoundKey,
    line: RosterLine,
    /// The key that signed the roster with that line; none if the line is this party's own.
    introduced_by: Option<KeyId>,
}

/// What one party has verified so far of a farm, and its means to verify more.
#[derive(Clone)]
pub struct Reader {
    chain: Chain,
    signers: BTreeMap<KeyId, Signer>,
    reporters: BTreeMap<KeyId, Reporter>,
    roster: Option<Verified<Roster>>,
    requesters: BTreeMap<KeyId, (SoundKey, RequesterName)>,
}

impl Reader {
    /// Begins with the farm's first keyring, which the pinned farm id vouches for.
    ///
    /// # Errors
    ///
    /// [`KeyringError`].
    pub fn new(farm: FarmId, first_keyring: &[u8]) -> Result<Self, KeyringError> {
        let chain = Chain::new(farm, first_keyring)?;
        Ok(Self {
            signers: keys::signers(chain.newest())?,
            chain,
            reporters: BTreeMap::new(),
            roster: None,
            requesters: BTreeMap::new(),
        })
    }

    /// The pinned farm.
    #[must_use]
    pub fn farm(&self) -> &FarmId {
        self.chain.farm()
    }

    /// From now on these may ask, and nobody else. That is this party's own word: no roster names requesters.
    ///
    /// # Errors
    ///
    /// [`UnsoundKey`]; those who might ask before still may.
    pub fn let_ask<'a>(
        &mut self,
        requesters: impl IntoIterator<Item = (&'a RequesterName, PublicKey)>,
    ) -> Result<(), UnsoundKey> {
        self.requesters = requesters
            .into_iter()
            .map(|(name, key)| {
                let key = SoundKey::new(key)?;
                Ok((key.id(), (key, name.clone())))
            })
            .collect::<Result<_, UnsoundKey>>()?;
        Ok(())
    }

    /// Whether there is anybody who may ask.
    #[must_use]
    pub fn lets_anybody_ask(&self) -> bool {
        !self.requesters.is_empty()
    }

    /// Opens a message: the one way to a [`Verified`] value.
    ///
    /// # Errors
    ///
    /// [`OpenError`], the first that applies, in the order declared.
    pub fn open<T: Payload>(
        &self,
        bytes: &[u8],
        purpose: Purpose,
    ) -> Result<Verified<T>, OpenError> {
        let envelope = Envelope::parse(bytes, T::KIND.max_len())?;
        if envelope.kind != T::KIND {
            return Err(OpenError::OtherKind {
                expected: T::KIND,
                found: envelope.kind,
            });
        }
        let signer = envelope.signer;
        let key = self
            .key(T::KIND, &signer)
            .ok_or(OpenError::UnknownKey(signer))?;
        if !key.verifies(
            &envelope.signed_bytes(Some(self.farm())),
            &envelope.signature,
        ) {
            return Err(OpenError::BadSignature(signer));
        }
        // Only now is anything that a stranger wrote looked at.
        let body: T = decode(&envelope.payload)?;
        self.believe(body, signer, payload_id(&envelope.payload), purpose)
    }

    /// Judges what a known key has certainly signed.
    fn believe<T: Payload>(
        &self,
        body: T,
        signer: KeyId,
        id: PayloadId,
        purpose: Purpose,
    ) -> Result<Verified<T>, OpenError> {
        if let Some(farm) = body.farm()
            && farm != self.farm()
        {
            return Err(OpenError::OtherFarm(*farm));
        }
        let standing = match (body.reporter(), body.requester()) {
            (Some(slave), _) => self.report_standing(signer, slave)?,
            (None, Some(requester)) => self.request_standing(signer, requester)?,
            (None, None) => self.signing_standing(signer, body.issued(), purpose)?,
        };
        Ok(Verified {
            body,
            signer,
            id,
            standing,
        })
    }

    fn key(&self, kind: Kind, signer: &KeyId) -> Option<&SoundKey> {
        match kind.signer() {
            // A keyring is never opened here: it comes by the chain from the pinned farm id.
            Role::Master => None,
            Role::Signing => self.signers.get(signer).map(|signer| &signer.key),
            Role::Report => self.reporters.get(signer).map(|reporter| &reporter.key),
            Role::Requester => self.requesters.get(signer).map(|(key, _)| key),
        }
    }

    fn request_standing(
        &self,
        signer: KeyId,
        requester: &RequesterName,
    ) -> Result<Standing, OpenError> {
        match self.requesters.get(&signer) {
            Some((_, name)) if name == requester => Ok(Standing::Good),
            Some(_) | None => Err(OpenError::NotTheRequester {
                key: signer,
                requester: requester.clone(),
            }),
        }
    }

    fn report_standing(&self, signer: KeyId, slave: &SlaveName) -> Result<Standing, OpenError> {
        match self.reporters.get(&signer) {
            Some(reporter) if reporter.line.slave == *slave => Ok(Standing::Good),
            Some(_) | None => Err(OpenError::NotTheReporter {
                key: signer,
                slave: slave.clone(),
            }),
        }
    }

    fn signing_standing(
        &self,
        id: KeyId,
        issued: Timestamp,
        purpose: Purpose,
    ) -> Result<Standing, OpenError> {
        let signer = self.signers.get(&id).ok_or(OpenError::UnknownKey(id))?;
        match (purpose, signer.revoked) {
            (Purpose::Admit { .. }, Some(_)) => Err(OpenError::Revoked(id)),
            // The date that a message claims proves nothing to someone about to act on it; the clock decides.
            (Purpose::Admit { now }, None) if signer.window.contains(now) => Ok(Standing::Good),
            (Purpose::History, Some(RevocationReason::Compromised)) => Ok(Standing::Unproven),
            (Purpose::History, Some(RevocationReason::Retired) | None)
                if signer.window.contains(issued) =>
            {
                Ok(Standing::Good)
            }
            (Purpose::Admit { .. } | Purpose::History, None)
            | (Purpose::History, Some(RevocationReason::Retired)) => {
                Err(OpenError::OutsideWindow(id))
            }
        }
    }

    /// Whether `key` is a signing key in force at `now`.
    #[must_use]
    pub fn may_sign(&self, key: &PublicKey, now: Timestamp) -> bool {
        self.signers.values().any(|signer| {
            signer.window.key == *key && signer.revoked.is_none() && signer.window.contains(now)
        })
    }
}
