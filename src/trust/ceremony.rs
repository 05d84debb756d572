//! What a ceremony would sign: drafts of keyrings, and what each changes.
//!
//! Pure: the keyrings held, new public halves and the time in, a draft out. A draft is handed out only if the chain that
//! it was made for would take it, so that nobody signs what every reader would refuse.

use std::time::Duration;

use super::chain::{Chain, Learnt};
use super::keyring::{KeyringError, commitment};
use crate::model::{
    Digest, FarmName, Keyring, Position, PublicKey, RevocationReason, RevokedKey, SigningKeyWindow,
    Timestamp,
};
use crate::wire::{Kind, encode};

/// When a draft is made, and how long what it lists is good for.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Now.
    pub now: Timestamp,
    /// How long a new signing key is good for.
    pub good_for: Duration,
    /// For how long the signing keys before it go on.
    pub overlap: Duration,
}

impl Terms {
    /// A clock that runs a little behind ours must not see a key that is not good yet.
    const EARLY: Duration = Duration::from_secs(600);

    fn window(&self, key: PublicKey) -> SigningKeyWindow {
        SigningKeyWindow {
            key,
            not_before: self.now.before(Self::EARLY),
            not_after: self.now.after(self.good_for),
        }
    }
}

/// Ends a window at `end`, if it does not end before and that leaves any of it.
fn cut(window: &mut SigningKeyWindow, end: Timestamp) {
    if window.not_before < end {
        window.not_after = window.not_after.min(end);
    }
}

/// The master keys of one generation: how many of them must sign.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MasterSet {
    /// Their public halves.
    pub keys: Vec<PublicKey>,
    /// How many must sign.
    pub threshold: u8,
}

impl MasterSet {
    /// What the generation before announces them by.
    #[must_use]
    pub fn commitment(&self) -> Digest {
        commitment(self.threshold, &self.keys)
    }
}

/// Why there is no draft.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// Only a succession leads on from a fork.
    #[error("two different keyrings claim the place {0}, and both are signed as they must be")]
    Forked(Position),
    /// The clock is wrong, or was when the newest keyring was made.
    #[error(
        "keyring {position} was issued at {issued}, and by the clock of this machine it is only {now}"
    )]
    ClockBehind {
        /// The newest keyring.
        position: Position,
        /// When it was made.
        issued: Timestamp,
        /// What the clock here says.
        now: Timestamp,
    },
    /// There is no number after the last one.
    #[error("no position comes after {0}")]
    NoNext(Position),
    /// A serial that leads nowhere.
    #[error("keyring {wanted} would change nothing: {held} is the newest")]
    NotNewer {
        /// The position asked for.
        wanted: Position,
        /// The newest one held.
        held: Position,
    },
    /// No such signing key.
    #[error("keyring {position} lists no signing key {key}")]
    UnknownKey {
        /// The newest keyring.
        position: Position,
        /// Which key.
        key: PublicKey,
    },
    /// It was revoked before, for the same reason or for a graver one.
    #[error("signing key {0} is revoked already")]
    AlreadyRevoked(PublicKey),
    /// Nobody could sign commands.
    #[error("no signing key would be in force")]
    NoneInForce,
    /// With so many signatures it would not fit into a message.
    #[error(
        "keyring {position} would have {len} bytes with its {threshold} signatures, at most {max} are allowed"
    )]
    TooLong {
        /// Which one.
        position: Position,
        /// Bytes needed.
        len: usize,
        /// Signatures needed.
        threshold: u8,
        /// Bytes allowed.
        max: usize,
    },
    /// Every reader would refuse it.
    #[error(transparent)]
    Refused(#[from] KeyringError),
}

impl DraftError {
    /// Stable code, for searching.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Forked(_) => "E-FORK",
            Self::ClockBehind { .. } => "E-CLOCK",
            Self::NoNext(_) | Self::NotNewer { .. } => "E-POSITION",
            Self::UnknownKey { .. } => "E-KEY",
            Self::AlreadyRevoked(_) => "E-REVOKED",
            Self::NoneInForce => "E-NO-KEY",
            Self::TooLong { .. } => "E-SIZE",
            Self::Refused(error) => error.code(),
        }
    }
}

/// Keyring 0.0 of a new farm.
#[must_use]
pub fn first(
    name: FarmName,
    masters: &MasterSet,
    successors: &MasterSet,
    fresh: PublicKey,
    terms: &Terms,
) -> Keyring {
    let window = terms.window(fresh);
    Keyring {
        name,
        position: Position::default(),
        previous: None,
        issued: terms.now,
        expires: window.not_after,
        master_keys: masters.keys.clone(),
        threshold: masters.threshold,
        commitment: successors.commitment(),
        signing_keys: vec![window],
        revoked: Vec::new(),
    }
}

/// The next keyring of the same generation with one more signing key; those before it end with the overlap.
///
/// `serial` passes over numbers that are not to be used.
///
/// # Errors
///
/// [`DraftError`].
pub fn rotation(
    chain: &Chain,
    serial: Option<u32>,
    fresh: PublicKey,
    terms: &Terms,
) -> Result<Keyring, DraftError> {
    let mut draft = next(chain, serial, terms.now)?;
    add(&mut draft, fresh, terms);
    finish(chain, draft)
}

/// The next keyring of the same generation, by which `key` no longer counts. `fresh` is needed if no other key would be in
/// force.
///
/// # Errors
///
/// [`DraftError`]; [`DraftError::NoneInForce`] asks for a fresh key.
pub fn revocation(
    chain: &Chain,
    serial: Option<u32>,
    (key, reason): (PublicKey, RevocationReason),
    fresh: Option<PublicKey>,
    terms: &Terms,
) -> Result<Keyring, DraftError> {
    let mut draft = next(chain, serial, terms.now)?;
    revoke(&mut draft, key, reason, terms.now)?;
    if let Some(fresh) = fresh {
        draft.signing_keys.push(terms.window(fresh));
    }
    draft.expires = end(&draft);
    let in_force = |window: &SigningKeyWindow| window.contains(terms.now);
    if !draft.signing_keys.iter().any(in_force) {
        return Err(DraftError::NoneInForce);
    }
    finish(chain, draft)
}

/// The first keyring of the next generation: by the master keys that were announced, with the lists of `from`, without the
/// keys that were stolen.
///
/// # Errors
///
/// [`DraftError`].
pub fn succession(
    chain: &Chain,
    from: &Keyring,
    (masters, successors): (&MasterSet, &MasterSet),
    fresh: PublicKey,
    stolen: &[PublicKey],
    terms: &Terms,
) -> Result<Keyring, DraftError> {
    let held = chain.newest().position;
    check_clock(from, terms.now)?;
    let generation = held
        .generation
        .checked_add(1)
        .ok_or(DraftError::NoNext(held))?;
    let mut draft = Keyring {
        position: Position {
            generation,
            serial: 0,
        },
        previous: Some(chain.first_id()),
        issued: terms.now,
        master_keys: masters.keys.clone(),
        threshold: masters.threshold,
        commitment: successors.commitment(),
        ..from.clone()
    };
    for key in stolen {
        revoke(&mut draft, *key, RevocationReason::Compromised, terms.now)?;
    }
    add(&mut draft, fresh, terms);
    finish(chain, draft)
}

/// The newest keyring, one position later.
fn next(chain: &Chain, serial: Option<u32>, now: Timestamp) -> Result<Keyring, DraftError> {
    if let Some(fork) = chain.fork() {
        return Err(DraftError::Forked(fork.position));
    }
    let newest = chain.newest();
    check_clock(newest, now)?;
    let held = newest.position;
    let serial = serial
        .or_else(|| held.serial.checked_add(1))
        .ok_or(DraftError::NoNext(held))?;
    let position = Position { serial, ..held };
    if position <= held {
        return Err(DraftError::NotNewer {
            wanted: position,
            held,
        });
    }
    Ok(Keyring {
        position,
        previous: Some(chain.first_id()),
        issued: now,
        ..newest.clone()
    })
}

/// A clock far behind would make windows that have ended before anybody reads of them.
fn check_clock(held: &Keyring, now: Timestamp) -> Result<(), DraftError> {
    if now < held.issued {
        return Err(DraftError::ClockBehind {
            position: held.position,
            issued: held.issued,
            now,
        });
    }
    Ok(())
}

fn add(draft: &mut Keyring, fresh: PublicKey, terms: &Terms) {
    let end_of_overlap = terms.now.after(terms.overlap);
    for window in &mut draft.signing_keys {
        cut(window, end_of_overlap);
    }
    draft.signing_keys.push(terms.window(fresh));
    draft.expires = end(draft);
}

fn end(draft: &Keyring) -> Timestamp {
    let ends = draft.signing_keys.iter().map(|window| window.not_after);
    ends.max().unwrap_or(draft.issued)
}

fn revoke(
    draft: &mut Keyring,
    key: PublicKey,
    reason: RevocationReason,
    now: Timestamp,
) -> Result<(), DraftError> {
    if let Some(before) = draft
        .revoked
        .iter_mut()
        .find(|revoked| revoked.window.key == key)
    {
        // That a retired key was stolen can come out later; the other way round it is never taken back.
        if before.reason == RevocationReason::Compromised || before.reason == reason {
            return Err(DraftError::AlreadyRevoked(key));
        }
        before.reason = reason;
        before.revoked = now;
        return Ok(());
    }
    let at = draft
        .signing_keys
        .iter()
        .position(|window| window.key == key)
        .ok_or(DraftError::UnknownKey {
            position: draft.position,
            key,
        })?;
    let mut window = draft.signing_keys.remove(at);
    if reason == RevocationReason::Retired {
        // What it signs from now on is outside its window.
        cut(&mut window, now);
    }
    draft.revoked.push(RevokedKey {
        window,
        reason,
        revoked: now,
    });
    Ok(())
}

/// What an envelope has besides its payload, and a little more.
const ENVELOPE: usize = 192;

fn finish(chain: &Chain, draft: Keyring) -> Result<Keyring, DraftError> {
    let signatures = usize::from(draft.threshold);
    let len = (encode(&draft).len() + ENVELOPE) * signatures;
    let max = Kind::Keyring.max_len();
    if len > max {
        return Err(DraftError::TooLong {
            position: draft.position,
            len,
            threshold: draft.threshold,
            max,
        });
    }
    match chain.consider(&draft)? {
        Learnt::Newer => Ok(draft),
        Learnt::Nothing => Err(DraftError::NotNewer {
            wanted: draft.position,
            held: chain.newest().position,
        }),
        Learnt::Forked => Err(DraftError::Forked(draft.position)),
    }
}

/// One thing that a keyring changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Difference {
    /// A signing key is new.
    Added(SigningKeyWindow),
    /// A signing key ends at another time.
    Moved {
        /// Its window as it was.
        from: SigningKeyWindow,
        /// As it would be.
        to: SigningKeyWindow,
    },
    /// A key no longer counts.
    Revoked(RevokedKey),
    /// A key that did not count would count again.
    Restored(PublicKey),
    /// A key is not listed any more, and what it signed is not believed.
    Dropped(PublicKey),
    /// Other master keys.
    Masters(MasterSet),
    /// Other master keys are announced for the generation after it.
    Announced(Digest),
    /// The keyring ends at another time.
    Expires(Timestamp),
}

/// What `after` changes in comparison with `before`; those keys first that begin to count.
#[must_use]
pub fn differences(before: &Keyring, after: &Keyring) -> Vec<Difference> {
    fn signing(keyring: &Keyring, key: PublicKey) -> Option<&SigningKeyWindow> {
        keyring.signing_keys.iter().find(|window| window.key == key)
    }
    fn revoked(keyring: &Keyring, key: PublicKey) -> Option<&RevokedKey> {
        keyring
            .revoked
            .iter()
            .find(|revoked| revoked.window.key == key)
    }
    let mut found = Vec::new();
    for to in &after.signing_keys {
        match signing(before, to.key) {
            Some(from) if from == to => {}
            Some(from) => found.push(Difference::Moved {
                from: from.clone(),
                to: to.clone(),
            }),
            None if revoked(before, to.key).is_some() => {
                found.push(Difference::Restored(to.key));
            }
            None => found.push(Difference::Added(to.clone())),
        }
    }
    for to in &after.revoked {
        if revoked(before, to.window.key) != Some(to) {
            found.push(Difference::Revoked(to.clone()));
        }
    }
    let windows = before.signing_keys.iter();
    let before_keys = windows.chain(before.revoked.iter().map(|revoked| &revoked.window));
    for window in before_keys {
        if signing(after, window.key).is_none() && revoked(after, window.key).is_none() {
            found.push(Difference::Dropped(window.key));
        }
    }
    if before.threshold != after.threshold || before.master_keys != after.master_keys {
        found.push(Difference::Masters(MasterSet {
            keys: after.master_keys.clone(),
            threshold: after.threshold,
        }));
    }
    if before.commitment != after.commitment {
        found.push(Difference::Announced(after.commitment));
    }
    if before.expires != after.expires {
        found.push(Difference::Expires(after.expires));
    }
    found
}

#[cfg(test)]
mod tests;
