//! The signed list of keys in force, and the signed word on how new everything is.

use std::fmt;
use std::time::Duration;

use super::{Digest, FarmId, FarmName, PayloadId, PublicKey, Timestamp};

/// Where a keyring stands in the farm's history; ordered, generation first.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Serialize)]
pub struct Position {
    /// Counts master keys: 0 for the first, one more at each succession.
    pub generation: u32,
    /// Counts keyrings of one generation.
    pub serial: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.serial)
    }
}

/// The list of keys in force, signed by master keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keyring {
    /// The farm's name, for people.
    pub name: FarmName,
    /// Where it stands in the farm's history.
    pub position: Position,
    /// The serial 0 that this one builds on: of its own generation, or, for a serial 0, of the generation before. Only
    /// keyring 0.0 has none.
    pub previous: Option<PayloadId>,
    /// When it was signed.
    pub issued: Timestamp,
    /// When it ceases to count as the newest.
    pub expires: Timestamp,
    /// The keys that may sign keyrings of this generation.
    pub master_keys: Vec<PublicKey>,
    /// How many distinct master keys must sign.
    pub threshold: u8,
    /// Commitment to the next generation's master keys: SHA-256 over its threshold and sorted public halves.
    pub commitment: Digest,
    /// The keys that may sign commands, roster, heads and changes.
    pub signing_keys: Vec<SigningKeyWindow>,
    /// Keys that no longer count, and why.
    pub revoked: Vec<RevokedKey>,
}

/// A signing key and when it may sign.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SigningKeyWindow {
    /// The key.
    pub key: PublicKey,
    /// From this moment,
    pub not_before: Timestamp,
    /// and before this one.
    pub not_after: Timestamp,
}

impl SigningKeyWindow {
    /// Whether a thing signed at `time` was signed inside the window.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.not_before <= time && time < self.not_after
    }
}

/// A signing key that no longer counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RevokedKey {
    /// The key and the window that it had.
    pub window: SigningKeyWindow,
    /// Why.
    pub reason: RevocationReason,
    /// Since when.
    pub revoked: Timestamp,
}

/// Why a key no longer counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RevocationReason {
    /// Its time was over; what it signed inside its window stays believed.
    Retired,
    /// Somebody else may hold it; what it signed proves nothing by itself.
    Compromised,
}

/// The master's regular word on what is newest, so that nobody can hold back a revocation for long.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// The farm.
    pub farm: FarmId,
    /// The newest keyring.
    pub keyring: Position,
    /// The newest roster's version.
    pub roster: u64,
    /// When the master said so.
    pub time: Timestamp,
}

impl Head {
    /// How often the master signs one, unless its configuration says otherwise.
    pub const PERIOD: Duration = Duration::from_secs(600);
    /// How old a slave's newest head may be before it starts nothing, unless its owner says otherwise.
    pub const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
}
