//! Which keys count: keyrings taken in, and what follows from them for all that was learnt before.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Reader, Signer, Standing, Verified};
use crate::model::{KeyId, Keyring, Position, RevocationReason, Timestamp};
use crate::trust::chain::{Chain, Fork, Learnt};
use crate::trust::key::{SoundKey, UnsoundKey};
use crate::trust::keyring::KeyringError;

/// Why nothing may be started on the word of any key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeysFault {
    /// Two keyrings contradict each other, so somebody else holds master keys.
    Forked(Fork),
    /// The newest keyring has expired.
    Expired {
        /// Where it stands.
        position: Position,
        /// For how long it has been.
        ago: Duration,
    },
}

impl fmt::Display for KeysFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forked(fork) => write!(
                f,
                "two keyrings contradict each other at {}, so nothing is started",
                fork.position
            ),
            Self::Expired { position, ago } => write!(
                f,
                "keyring {position} expired {} hours ago and there is no newer one, so nothing is started",
                ago.as_secs() / 3600
            ),
        }
    }
}

/// How much a key outranks another: the later a key was introduced, the more. Versions and times are compared only within
/// one rank, so that a thief's last word is not the last.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rank(Timestamp, KeyId);

/// The signing keys that a keyring names, in force and revoked.
pub(super) fn signers(keyring: &Keyring) -> Result<BTreeMap<KeyId, Signer>, UnsoundKey> {
    let current = keyring.signing_keys.iter().map(|window| (window, None));
    let revoked = keyring
        .revoked
        .iter()
        .map(|revoked| (&revoked.window, Some(revoked.reason)));
    current
        .chain(revoked)
        .map(|(window, revoked)| {
            let key = SoundKey::new(window.key)?;
            let window = window.clone();
            let signer = Signer {
                key,
                window,
                revoked,
            };
            Ok((key.id(), signer))
        })
        .collect()
}

impl Reader {
    /// The keyrings held.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The keyring in force.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        self.chain.newest()
    }

    /// Takes in a keyring, and forgets what a key that it calls stolen has said of slaves: the rosters have to be learnt
    /// again then.
    ///
    /// # Errors
    ///
    /// [`KeyringError`]; then everything is as it was.
    pub fn learn_keyring(&mut self, bytes: &[u8]) -> Result<Learnt, KeyringError> {
        let mut chain = self.chain.clone();
        let learnt = chain.learn(bytes)?;
        if learnt == Learnt::Newer {
            self.signers = signers(chain.newest())?;
        }
        self.chain = chain;
        let signers = &self.signers;
        let counts = |signer: &KeyId| counts(signers, signer);
        self.reporters
            .retain(|_, reporter| reporter.introduced_by.is_none_or(|signer| counts(&signer)));
        if self
            .roster
            .as_ref()
            .is_some_and(|roster| !counts(&roster.signer))
        {
            self.roster = None;
        }
        Ok(learnt)
    }

    /// Whether what was verified before is still to be acted on: its signer is listed, and not as stolen.
    #[must_use]
    pub fn stands_by<T>(&self, said: &Verified<T>) -> bool {
        said.standing == Standing::Good && self.counts(&said.signer)
    }

    /// Whether a signing key is listed, and not as stolen.
    #[must_use]
    pub fn counts(&self, signer: &KeyId) -> bool {
        counts(&self.signers, signer)
    }

    /// How much a signing key outranks others; none if it is not listed.
    #[must_use]
    pub fn rank(&self, signer: &KeyId) -> Option<Rank> {
        let window = &self.signers.get(signer)?.window;
        Some(Rank(window.not_before, *signer))
    }

    /// Why nothing may be started on the word of any key at `now`, if that is so.
    #[must_use]
    pub fn keys_fault(&self, now: Timestamp) -> Option<KeysFault> {
        self.chain.fault(now)
    }
}

impl Chain {
    /// Why nothing may be started on the word of any key at `now`, if that is so.
    #[must_use]
    pub fn fault(&self, now: Timestamp) -> Option<KeysFault> {
        if let Some(fork) = self.fork() {
            return Some(KeysFault::Forked(fork));
        }
        let Keyring {
            position, expires, ..
        } = self.newest();
        (now >= *expires).then(|| KeysFault::Expired {
            position: *position,
            ago: now.since(*expires),
        })
    }
}

fn counts(signers: &BTreeMap<KeyId, Signer>, signer: &KeyId) -> bool {
    let listed = signers.get(signer);
    listed.is_some_and(|signer| signer.revoked != Some(RevocationReason::Compromised))
}
