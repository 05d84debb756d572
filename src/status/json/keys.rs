//! The document of the keys in force.

use std::io;

use serde::Serialize;

use super::{FarmDocument, write_pretty};
use crate::model::{
    Coverage, Digest, KeyId, Keyring, PublicKey, RevocationReason, SigningKeyWindow, SlaveName,
    Timestamp,
};
use crate::status::board::Board;
use crate::status::keyrings::{code_of_fault, of_fault};
use crate::status::view::Farm;
use crate::trust::{Chain, KeysFault, key_id};

/// The keys in force, as a keyring lists them. Compare the farm's id with one from another place: whoever hands out this
/// document could hand out another farm's.
#[derive(Debug, Serialize)]
pub struct KeysDocument<'a> {
    /// `pybots.keys.v1`.
    pub schema: &'static str,
    /// The farm.
    pub farm: FarmDocument<'a>,
    /// The keyring's place in the farm's history, such as `0.3`.
    pub keyring: String,
    /// When it was signed.
    pub issued: Timestamp,
    /// When it ceases to count as the newest.
    pub expires: Timestamp,
    /// How many master keys must sign a keyring.
    pub threshold: u8,
    /// The master keys.
    pub master_keys: Vec<KeyDocument>,
    /// What the next generation's master keys are committed to as.
    pub commitment: Digest,
    /// The keys that may sign commands, roster, heads and changes.
    pub signing_keys: Vec<WindowDocument>,
    /// The signing keys that no longer count.
    pub revoked: Vec<RevokedDocument>,
    /// The first keyring of each generation that this one follows from, the oldest first.
    pub generations: Vec<GenerationDocument>,
    /// Why nothing in the farm is to be believed, if that is so.
    pub fault: Option<KeysFaultDocument>,
    /// Which slaves say that they hold this keyring; `null` if there is no roster.
    pub held: Option<HeldDocument>,
}

/// What a generation's first keyring fixed for all that follow.
#[derive(Debug, Serialize)]
pub struct GenerationDocument {
    /// That keyring's place, such as `1.0`.
    pub keyring: String,
    /// When it was signed.
    pub issued: Timestamp,
    /// How many master keys must sign a keyring.
    pub threshold: u8,
    /// The master keys.
    pub master_keys: Vec<KeyDocument>,
    /// What the next generation's master keys are committed to as.
    pub commitment: Digest,
}

/// Why nothing in the farm is to be believed.
#[derive(Debug, Serialize)]
pub struct KeysFaultDocument {
    /// `E-FORK` or `E-KEYRING-EXPIRED`.
    pub code: &'static str,
    /// For people.
    pub sentence: String,
}

impl From<&KeysFault> for KeysFaultDocument {
    fn from(fault: &KeysFault) -> Self {
        Self {
            code: code_of_fault(fault),
            sentence: of_fault(fault),
        }
    }
}

/// Which slaves say that they hold a keyring, or a newer one.
#[derive(Debug, Serialize)]
pub struct HeldDocument {
    /// For people.
    pub sentence: String,
    /// Those that do.
    pub holding: Vec<SlaveName>,
    /// Those that do not.
    pub waiting: Vec<WaitingDocument>,
}

/// A slave that does not say that it holds the keyring.
#[derive(Debug, Serialize)]
pub struct WaitingDocument {
    /// The slave.
    pub slave: SlaveName,
    /// The keyring that it said last that it holds; `null` if it said nothing.
    pub keyring: Option<String>,
}

/// A key.
#[derive(Debug, Serialize)]
pub struct KeyDocument {
    /// Its public half.
    pub key: PublicKey,
    /// What signatures name it by.
    pub id: KeyId,
}

/// A signing key and when it may sign.
#[derive(Debug, Serialize)]
pub struct WindowDocument {
    /// The key.
    #[serde(flatten)]
    pub key: KeyDocument,
    /// From this moment,
    pub not_before: Timestamp,
    /// and before this one.
    pub not_after: Timestamp,
    /// `in-force`, `not-yet`, `over`, or `revoked`.
    pub state: &'static str,
}

/// A signing key that no longer counts.
#[derive(Debug, Serialize)]
pub struct RevokedDocument {
    /// The key and the window that it had.
    #[serde(flatten)]
    pub window: WindowDocument,
    /// `retired` or `compromised`.
    pub reason: &'static str,
    /// Since when.
    pub revoked: Timestamp,
}

/// Writes the keys that the newest keyring of `chain` lists, and where it comes from, as one document.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_keys(
    farm: &Farm,
    chain: &Chain,
    board: &Board,
    now: Timestamp,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let keyring = chain.newest();
    let coverage = board.coverage(keyring.position);
    let document = KeysDocument {
        schema: "pybots.keys.v1",
        farm: farm.into(),
        keyring: keyring.position.to_string(),
        issued: keyring.issued,
        expires: keyring.expires,
        threshold: keyring.threshold,
        master_keys: keyring.master_keys.iter().copied().map(key).collect(),
        commitment: keyring.commitment,
        signing_keys: keyring
            .signing_keys
            .iter()
            .map(|key| window(key, state(key, now)))
            .collect(),
        revoked: keyring
            .revoked
            .iter()
            .map(|revoked| RevokedDocument {
                window: window(&revoked.window, "revoked"),
                reason: match revoked.reason {
                    RevocationReason::Retired => "retired",
                    RevocationReason::Compromised => "compromised",
                },
                revoked: revoked.revoked,
            })
            .collect(),
        generations: chain.generations().map(generation).collect(),
        fault: chain.fault(now).as_ref().map(Into::into),
        held: coverage.map(held),
    };
    write_pretty(&document, out)
}

fn key(key: PublicKey) -> KeyDocument {
    KeyDocument {
        id: key_id(&key),
        key,
    }
}

fn generation(first: &Keyring) -> GenerationDocument {
    GenerationDocument {
        keyring: first.position.to_string(),
        issued: first.issued,
        threshold: first.threshold,
        master_keys: first.master_keys.iter().copied().map(key).collect(),
        commitment: first.commitment,
    }
}

fn held(coverage: Coverage) -> HeldDocument {
    let sentence = coverage.to_string();
    let waiting = coverage.waiting.into_iter();
    HeldDocument {
        sentence,
        holding: coverage.holding,
        waiting: waiting
            .map(|(slave, held)| WaitingDocument {
                slave,
                keyring: held.map(|held| held.to_string()),
            })
            .collect(),
    }
}

fn state(window: &SigningKeyWindow, now: Timestamp) -> &'static str {
    if window.contains(now) {
        "in-force"
    } else if now < window.not_before {
        "not-yet"
    } else {
        "over"
    }
}

fn window(window: &SigningKeyWindow, state: &'static str) -> WindowDocument {
    WindowDocument {
        key: key(window.key),
        not_before: window.not_before,
        not_after: window.not_after,
        state,
    }
}
