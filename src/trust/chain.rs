//! The keyring chain: from a pinned farm id to the newest keyring, however many were missed between.
//!
//! A keyring is self-contained, so a reader jumps to the newest serial of a generation; only the first keyring of each
//! generation has to be walked, because it is vouched for by the commitment of the one before. Pure: bytes in, and either
//! all of it is taken in or nothing. The parents are TUF's root rules and KERI's pre-rotation.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::digest::payload_id;
use super::keyring::{KeyringError, check, check_rules, commitment, open_first};
use crate::model::{FarmId, Keyring, PayloadId, Position, PublicKey, RevocationReason};
use crate::wire::{KeyringEnvelopes, decode, encode};

/// What a keyring changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Learnt {
    /// It is the newest now.
    Newer,
    /// Nothing: it is known, or older than the newest.
    Nothing,
    /// It contradicts one that is held. Nothing is to be believed of this generation any more.
    Forked,
}

/// Two keyrings that contradict each other, both signed as they must be, so that somebody else holds master keys: they
/// stand at one position, or one calls a key stolen and a later one does not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fork {
    /// The position of that which came later.
    pub position: Position,
    /// What each is identified by: first the one that was held, then the one that contradicts it.
    pub ids: [PayloadId; 2],
}

/// A keyring that verified, as it travelled.
#[derive(Clone, Debug)]
struct Link {
    keyring: Keyring,
    id: PayloadId,
    bytes: Bytes,
}

/// The same without its meaning, to be held against another one in the same place.
#[derive(Clone, Debug)]
struct Seen {
    id: PayloadId,
    bytes: Bytes,
}

impl From<&Link> for Seen {
    fn from(link: &Link) -> Self {
        Self {
            id: link.id,
            bytes: link.bytes.clone(),
        }
    }
}

#[derive(Clone, Debug)]
struct Evidence {
    held: Seen,
    other: Link,
}

/// The keyrings of one farm that a reader holds.
#[derive(Clone, Debug)]
pub struct Chain {
    farm: FarmId,
    /// The first keyring of each generation, up to the newest one's.
    firsts: Vec<Link>,
    newest: Link,
    /// What stands at each position of the newest one's generation, as far as it was seen.
    seen: BTreeMap<u32, Seen>,
    fork: Option<Evidence>,
}

impl Chain {
    /// How many bytes of one generation's keyrings are remembered, to notice another one in the same place. Should
    /// somebody sign more, the oldest are forgotten: the newest are what is believed.
    const MAX_SEEN: usize = 1 << 20;

    /// Begins with keyring 0.0, which the pinned farm id vouches for.
    ///
    /// # Errors
    ///
    /// [`KeyringError`].
    pub fn new(farm: FarmId, first_keyring: &[u8]) -> Result<Self, KeyringError> {
        let keyring = open_first(&farm, first_keyring)?;
        let first = Link {
            keyring,
            id: PayloadId(farm.0),
            bytes: Bytes::copy_from_slice(first_keyring),
        };
        Ok(Self {
            farm,
            firsts: vec![first.clone()],
            newest: first.clone(),
            seen: BTreeMap::from([(0, Seen::from(&first))]),
            fork: None,
        })
    }

    /// The pinned farm.
    #[must_use]
    pub fn farm(&self) -> &FarmId {
        &self.farm
    }

    /// The newest keyring: the one in force.
    #[must_use]
    pub fn newest(&self) -> &Keyring {
        &self.newest.keyring
    }

    /// What the newest keyring is identified by.
    #[must_use]
    pub fn newest_id(&self) -> PayloadId {
        self.newest.id
    }

    /// What the first keyring of the newest one's generation is identified by.
    #[must_use]
    pub fn first_id(&self) -> PayloadId {
        self.first().id
    }

    /// The first keyring of each generation, the oldest first.
    pub fn generations(&self) -> impl DoubleEndedIterator<Item = &Keyring> {
        self.firsts.iter().map(|first| &first.keyring)
    }

    /// Two keyrings at one position of the newest one's generation, if there are.
    #[must_use]
    pub fn fork(&self) -> Option<Fork> {
        self.fork.as_ref().map(|Evidence { held, other }| Fork {
            position: other.keyring.position,
            ids: [held.id, other.id],
        })
    }

    /// The messages that lead another reader of this farm to the same state: the first keyring of each generation, the
    /// newest one, and both sides of a fork.
    #[must_use]
    pub fn messages(&self) -> Vec<Bytes> {
        let keyrings = self.firsts.iter().chain([&self.newest]);
        let mut messages: Vec<Bytes> = keyrings.map(|link| link.bytes.clone()).collect();
        if let Some(Evidence { held, other }) = &self.fork {
            messages.extend([held.bytes.clone(), other.bytes.clone()]);
        }
        let mut known = BTreeSet::new();
        messages.retain(|message| known.insert(message.clone()));
        messages
    }

    /// Takes in a keyring. After an error everything is as it was.
    ///
    /// # Errors
    ///
    /// [`KeyringError`], the first that applies. [`KeyringError::Unlinked`] alone may be answered by learning another
    /// keyring first.
    pub fn learn(&mut self, bytes: &[u8]) -> Result<Learnt, KeyringError> {
        let envelopes = KeyringEnvelopes::parse(bytes)?;
        let id = payload_id(envelopes.payload());
        if self.knows(id) {
            return Ok(Learnt::Nothing);
        }
        // Unlike elsewhere the payload is read before its signatures: it says itself which master keys must have made
        // them, and the chain says whether it may.
        let keyring: Keyring = decode(envelopes.payload())?;
        let link = Link {
            keyring,
            id,
            bytes: Bytes::copy_from_slice(bytes),
        };
        self.take(link, |keyring| check(keyring, &envelopes))
    }

    /// What taking in a keyring would change, were it signed as it must be: whoever signs judges it by these rules first.
    ///
    /// # Errors
    ///
    /// [`KeyringError`], as by [`Chain::learn`], but none about signatures.
    pub fn consider(&self, draft: &Keyring) -> Result<Learnt, KeyringError> {
        let id = payload_id(&encode(draft));
        if self.knows(id) {
            return Ok(Learnt::Nothing);
        }
        let link = Link {
            keyring: draft.clone(),
            id,
            bytes: Bytes::new(),
        };
        self.clone()
            .take(link, |keyring| check_rules(keyring).map(drop))
    }

    fn take(
        &mut self,
        link: Link,
        check: impl FnOnce(&Keyring) -> Result<(), KeyringError>,
    ) -> Result<Learnt, KeyringError> {
        let held = self.newest.keyring.position;
        let position = link.keyring.position;
        if position.generation < held.generation {
            return Ok(Learnt::Nothing);
        }
        if position == Position::default() {
            return Err(KeyringError::OtherFarm {
                pinned: self.farm,
                found: FarmId(link.id.0),
            });
        }
        if position.serial == 0 {
            self.succeeds(&link)?;
            check(&link.keyring)?;
            if position.generation == held.generation {
                return Ok(self.forked(Seen::from(self.first()), link));
            }
            self.succeed(link);
            return Ok(Learnt::Newer);
        }
        self.follows(&link)?;
        check(&link.keyring)?;
        if let Some(held) = self.seen.get(&position.serial) {
            return Ok(self.forked(held.clone(), link));
        }
        let [earlier, later] = if position < held {
            [&link.keyring, &self.newest.keyring]
        } else {
            [&self.newest.keyring, &link.keyring]
        };
        if takes_back(earlier, later) {
            return Ok(self.forked(Seen::from(&self.newest), link));
        }
        self.remember(&link);
        // Of two that contradict each other, neither leads on.
        if position < held || self.fork.is_some() {
            return Ok(Learnt::Nothing);
        }
        self.newest = link;
        Ok(Learnt::Newer)
    }

    fn knows(&self, id: PayloadId) -> bool {
        let other = self.fork.as_ref().map(|fork| fork.other.id);
        let seen = self.seen.values().map(|seen| seen.id);
        seen.chain(other)
            .chain([self.first().id])
            .any(|known| known == id)
    }

    fn first(&self) -> &Link {
        // There is one for each generation, keyring 0.0 at the least.
        self.firsts.last().unwrap_or(&self.newest)
    }

    /// Whether `link`, a serial 0, builds on the first keyring of the generation before, which committed to its master keys.
    ///
    /// Of two in that place the one that came first leads on: the other may be a thief's, who can make what follows it, too.
    fn succeeds(&self, link: &Link) -> Result<(), KeyringError> {
        let position = link.keyring.position;
        let unlinked = KeyringError::Unlinked {
            position,
            held: self.newest.keyring.position,
        };
        let before = usize::try_from(position.generation)
            .ok()
            .and_then(|generation| self.firsts.get(generation.checked_sub(1)?))
            .ok_or(unlinked)?;
        if link.keyring.previous != Some(before.id) {
            return Err(KeyringError::OtherPredecessor(position));
        }
        let committed = commitment(link.keyring.threshold, &link.keyring.master_keys);
        if before.keyring.commitment != committed {
            return Err(KeyringError::NotCommitted(position));
        }
        Ok(())
    }

    /// Whether `link`, a later serial, keeps what the first keyring of its generation fixed.
    fn follows(&self, link: &Link) -> Result<(), KeyringError> {
        let Keyring {
            position,
            previous,
            master_keys,
            threshold,
            commitment,
            ..
        } = &link.keyring;
        let first = self.first();
        if position.generation != first.keyring.position.generation {
            return Err(KeyringError::Unlinked {
                position: *position,
                held: self.newest.keyring.position,
            });
        }
        if *previous != Some(first.id) {
            return Err(KeyringError::OtherPredecessor(*position));
        }
        let same = *master_keys == first.keyring.master_keys
            && *threshold == first.keyring.threshold
            && *commitment == first.keyring.commitment;
        if same {
            Ok(())
        } else {
            Err(KeyringError::MastersChanged(*position))
        }
    }

    fn succeed(&mut self, link: Link) {
        self.firsts.push(link.clone());
        self.seen = BTreeMap::from([(0, Seen::from(&link))]);
        self.newest = link;
        self.fork = None;
    }

    fn forked(&mut self, held: Seen, other: Link) -> Learnt {
        // The first contradiction is evidence enough; a thief cannot fill the memory with more.
        if self.fork.is_some() {
            return Learnt::Nothing;
        }
        self.fork = Some(Evidence { held, other });
        Learnt::Forked
    }

    fn remember(&mut self, link: &Link) {
        self.seen
            .insert(link.keyring.position.serial, Seen::from(link));
        let bytes = |seen: &BTreeMap<u32, Seen>| -> usize {
            seen.values().map(|seen| seen.bytes.len()).sum()
        };
        while bytes(&self.seen) > Self::MAX_SEEN {
            self.seen.pop_first();
        }
    }
}

/// Whether a key that `earlier` calls stolen is none to `later`. Within a generation nobody who is honest forgets that. A
/// succession may: what it overrides can have been a thief's.
fn takes_back(earlier: &Keyring, later: &Keyring) -> bool {
    let stolen = |keyring: &Keyring| -> BTreeSet<PublicKey> {
        let revoked = keyring.revoked.iter();
        revoked
            .filter(|key| key.reason == RevocationReason::Compromised)
            .map(|key| key.window.key)
            .collect()
    };
    !stolen(earlier).is_subset(&stolen(later))
}

#[cfg(test)]
mod tests;
