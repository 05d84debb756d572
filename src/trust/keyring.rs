//! From a pinned farm id to the keyring in force.

use std::collections::BTreeSet;

use super::digest::{payload_id, sha256};
use super::key::{SoundKey, UnsoundKey};
use crate::model::{Digest, FarmId, KeyId, Keyring, Position, PublicKey};
use crate::wire::{EnvelopeError, KeyringEnvelopes, PayloadError, decode};

/// Why a keyring was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Not the envelopes of a keyring.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Another farm's, or a forged one.
    #[error("this keyring is that of farm {found}, not of the pinned farm {pinned}")]
    OtherFarm {
        /// What was pinned.
        pinned: FarmId,
        /// What came.
        found: FarmId,
    },
    /// The payload is none.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Not the first one.
    #[error("this is keyring {0}, and the chain begins with 0.0")]
    NotTheFirst(Position),
    /// A key in it cannot be relied on.
    #[error(transparent)]
    Unsound(#[from] UnsoundKey),
    /// A signature does not match, or its key is not a master key of this keyring.
    #[error("the signature by key {0} is not that of a master key over this keyring")]
    BadSignature(KeyId),
    /// Too few master keys signed.
    #[error("{found} master keys signed, {threshold} must")]
    Threshold {
        /// How many did.
        found: usize,
        /// How many must.
        threshold: u8,
    },
    /// It contradicts itself.
    #[error("keyring is not acceptable: {0}")]
    Rule(&'static str),
    /// The keyrings between it and what is held are missing.
    #[error("keyring {position} builds on one that is not held here, where {held} is the newest")]
    Unlinked {
        /// Where it stands.
        position: Position,
        /// The newest one here.
        held: Position,
    },
    /// It names another predecessor than the one in that place.
    #[error("keyring {0} does not build on the first keyring of its chain that is held here")]
    OtherPredecessor(Position),
    /// A succession by keys that nobody announced.
    #[error("keyring {0} names other master keys than the generation before committed to")]
    NotCommitted(Position),
    /// A rotation may not touch what the first keyring of its generation fixed.
    #[error(
        "keyring {0} changes master keys, threshold or commitment, which only a succession may do"
    )]
    MastersChanged(Position),
}

impl KeyringError {
    /// Stable code, for counters and searching.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Envelope(error) => error.code(),
            Self::OtherFarm { .. } => "E-FARM",
            Self::Payload(_) => "E-PAYLOAD",
            Self::NotTheFirst(_) => "E-POSITION",
            Self::Unsound(_) => "E-UNSOUND",
            Self::BadSignature(_) => "E-SIGNATURE",
            Self::Threshold { .. } => "E-THRESHOLD",
            Self::Rule(_) => "E-KEYRING",
            Self::Unlinked { .. } => "E-UNLINKED",
            Self::OtherPredecessor(_) => "E-PREDECESSOR",
            Self::NotCommitted(_) => "E-COMMITMENT",
            Self::MastersChanged(_) => "E-MASTERS",
        }
    }
}

/// Opens keyring 0.0, whose payload's SHA-256 is the pinned farm id.
///
/// # Errors
///
/// [`KeyringError`], the first that applies.
pub fn open_first(farm: &FarmId, bytes: &[u8]) -> Result<Keyring, KeyringError> {
    let envelopes = KeyringEnvelopes::parse(bytes)?;
    let found = FarmId(payload_id(envelopes.payload()).0);
    // The hash fixes every byte, master keys and commitment included, before any of them is looked at.
    if found != *farm {
        return Err(KeyringError::OtherFarm {
            pinned: *farm,
            found,
        });
    }
    let keyring: Keyring = decode(envelopes.payload())?;
    if keyring.position != Position::default() {
        return Err(KeyringError::NotTheFirst(keyring.position));
    }
    check(&keyring, &envelopes)?;
    Ok(keyring)
}

/// What holds for a keyring whatever its position and whoever signs it: sound keys, a sensible threshold. Returns its
/// master keys.
pub(super) fn check_rules(keyring: &Keyring) -> Result<Vec<SoundKey>, KeyringError> {
    if keyring.previous.is_some() != (keyring.position != Position::default()) {
        return Err(KeyringError::Rule(
            "only keyring 0.0 builds on none before it",
        ));
    }
    let masters = keyring
        .master_keys
        .iter()
        .map(|key| SoundKey::new(*key))
        .collect::<Result<Vec<_>, _>>()?;
    let mut ids: Vec<KeyId> = masters.iter().map(SoundKey::id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() != masters.len() || !(1..=ids.len()).contains(&usize::from(keyring.threshold)) {
        return Err(KeyringError::Rule(
            "the threshold must lie between 1 and the number of distinct master keys",
        ));
    }
    let revoked = keyring.revoked.iter().map(|key| &key.window);
    let mut listed = BTreeSet::new();
    for window in keyring.signing_keys.iter().chain(revoked) {
        SoundKey::new(window.key)?;
        if !listed.insert(window.key) {
            return Err(KeyringError::Rule("a signing key is listed twice"));
        }
        if window.not_before >= window.not_after {
            return Err(KeyringError::Rule("a signing key's window is empty"));
        }
        if keyring.master_keys.contains(&window.key) {
            return Err(KeyringError::Rule("a master key is also a signing key"));
        }
    }
    Ok(masters)
}

/// The same, and enough distinct signatures.
pub(super) fn check(keyring: &Keyring, envelopes: &KeyringEnvelopes) -> Result<(), KeyringError> {
    let masters = check_rules(keyring)?;
    for envelope in envelopes.envelopes() {
        let master = masters.iter().find(|key| key.id() == envelope.signer);
        if !master
            .is_some_and(|key| key.verifies(&envelope.signed_bytes(None), &envelope.signature))
        {
            return Err(KeyringError::BadSignature(envelope.signer));
        }
    }
    // The envelopes' signers are distinct by construction, so their number counts keys, not signatures.
    let found = envelopes.envelopes().len();
    if found < usize::from(keyring.threshold) {
        return Err(KeyringError::Threshold {
            found,
            threshold: keyring.threshold,
        });
    }
    Ok(())
}

/// The commitment to a set of master keys: SHA-256 over the threshold and the sorted public halves.
#[must_use]
pub fn commitment(threshold: u8, keys: &[PublicKey]) -> Digest {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    let mut bytes = vec![threshold];
    bytes.extend(sorted.iter().flat_map(|key| key.0));
    Digest(sha256(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::trust::{SecretKey, countersign};

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    /// A first keyring with the master keys 1 to `masters`, `threshold` of which must sign; those in `signers` do.
    fn signed(masters: u8, threshold: u8, signers: &[u8]) -> (FarmId, Vec<u8>) {
        let keyring = Keyring {
            name: "test".parse().unwrap(),
            position: Position::default(),
            previous: None,
            issued: Timestamp(0),
            expires: Timestamp(1),
            master_keys: (1..=masters).map(|seed| key(seed).public()).collect(),
            threshold,
            commitment: commitment(1, &[key(99).public()]),
            signing_keys: vec![],
            revoked: vec![],
        };
        let keys: Vec<SecretKey> = signers.iter().copied().map(key).collect();
        let envelopes = countersign(&keys.iter().collect::<Vec<_>>(), &keyring).unwrap();
        let farm = FarmId(payload_id(envelopes.payload()).0);
        (farm, envelopes.to_bytes())
    }

    #[test]
    fn a23_a_keyring_counts_when_its_threshold_of_distinct_master_keys_signed() {
        let all: Vec<u8> = (1..=16).collect();
        let cases: &[(u8, u8, &[u8], Option<&str>)] = &[
            (1, 1, &[1], None),
            (3, 2, &[3, 1], None),
            (3, 2, &[1, 2, 3], None),
            (16, 16, &all, None),
            (17, 16, &all, None),
            (3, 2, &[2], Some("E-THRESHOLD")),
            (16, 16, &all[..15], Some("E-THRESHOLD")),
            (1, 1, &[2], Some("E-SIGNATURE")),
            (3, 2, &[1, 2, 4], Some("E-SIGNATURE")),
            (1, 0, &[1], Some("E-KEYRING")),
            (1, 2, &[1], Some("E-KEYRING")),
            (0, 0, &[1], Some("E-KEYRING")),
        ];
        for (masters, threshold, signers, expected) in cases {
            let (farm, bytes) = signed(*masters, *threshold, signers);
            let code = open_first(&farm, &bytes).err().map(|error| error.code());
            let case = format!("{threshold} of {masters}, signed by {signers:?}");
            assert_eq!(code, *expected, "{case}");
        }
    }

    #[test]
    fn a04_a_keyring_is_that_of_the_farm_that_is_its_hash_and_of_no_other() {
        let (farm, bytes) = signed(1, 1, &[1]);
        assert!(open_first(&farm, &bytes).is_ok());
        for bit in 0..256 {
            let mut other = farm;
            other.0[bit / 8] ^= 1 << (bit % 8);
            let error = open_first(&other, &bytes).err().unwrap();
            assert_eq!(error.code(), "E-FARM", "bit {bit}");
        }
    }

    #[test]
    fn a_commitment_is_to_a_threshold_and_a_set_of_keys_in_no_order() {
        let [a, b, c] = [1, 2, 3].map(|seed| key(seed).public());
        let committed = commitment(2, &[a, b]);
        assert_eq!(committed, commitment(2, &[b, a]));
        for other in [
            commitment(1, &[a, b]),
            commitment(2, &[a, c]),
            commitment(2, &[a]),
            commitment(2, &[a, b, c]),
        ] {
            assert_ne!(committed, other);
        }
        // SHA-256 over the byte 2 and the two public keys, computed by another program.
        let digest = "SHA256:f9+aaCjJVS0W4OFGYkYYxLDEIWrgxBdTDRWhSqm7lH0".parse();
        assert_eq!(Ok(committed), digest);
    }
}
