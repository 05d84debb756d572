//! The document of the keys in force.

use std::io;

use serde::Serialize;

use super::{FarmDocument, write_pretty};
use crate::model::{
    Digest, KeyId, Keyring, PublicKey, RevocationReason, SigningKeyWindow, Timestamp,
};
use crate::status::view::Farm;
use crate::trust::key_id;

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

/// Writes the keys that `keyring` lists as one document.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_keys(farm: &Farm, keyring: &Keyring, out: &mut impl io::Write) -> io::Result<()> {
    let document = KeysDocument {
        schema: "pybots.keys.v1",
        farm: farm.into(),
        keyring: keyring.position.to_string(),
        issued: keyring.issued,
        expires: keyring.expires,
        threshold: keyring.threshold,
        master_keys: keyring.master_keys.iter().copied().map(key).collect(),
        commitment: keyring.commitment,
        signing_keys: keyring.signing_keys.iter().map(window).collect(),
        revoked: keyring
            .revoked
            .iter()
            .map(|revoked| RevokedDocument {
                window: window(&revoked.window),
                reason: match revoked.reason {
                    RevocationReason::Retired => "retired",
                    RevocationReason::Compromised => "compromised",
                },
                revoked: revoked.revoked,
            })
            .collect(),
    };
    write_pretty(&document, out)
}

fn key(key: PublicKey) -> KeyDocument {
    KeyDocument {
        id: key_id(&key),
        key,
    }
}

fn window(window: &SigningKeyWindow) -> WindowDocument {
    WindowDocument {
        key: key(window.key),
        not_before: window.not_before,
        not_after: window.not_after,
    }
}
