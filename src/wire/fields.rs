//! The fields of a payload by name, for people and programs that look at one. Nothing is decided from these.

use super::codec::PayloadError;
use super::kind::Kind;
use super::message::Message as _;
use super::payload::decode;
use crate::model::{
    Answer, Change, Command, Head, Keyring, Lead, Lease, LogChunk, Presence, Release, Report,
    Request, Roster,
};

/// A value of a payload, with the names that this program has for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Named {
    /// One value, as it is written elsewhere.
    Value(String),
    /// Several in order.
    List(Vec<Self>),
    /// Fields, by name; those that were left out are not here.
    Record(Vec<(String, Self)>),
}

impl Named {
    /// The variant of a choice, with its fields.
    pub(super) fn variant(name: &str, fields: Self) -> Self {
        Self::Record(vec![(name.to_owned(), fields)])
    }
}

/// Decodes a payload of that kind, and names its fields. Who signed it is not looked at.
///
/// # Errors
///
/// [`PayloadError`].
pub fn name_fields(kind: Kind, payload: &[u8]) -> Result<Named, PayloadError> {
    Ok(match kind {
        Kind::Keyring => decode::<Keyring>(payload)?.named(),
        Kind::Roster => decode::<Roster>(payload)?.named(),
        Kind::Head => decode::<Head>(payload)?.named(),
        Kind::Lead => decode::<Lead>(payload)?.named(),
        Kind::Change => decode::<Change>(payload)?.named(),
        Kind::Command => decode::<Command>(payload)?.named(),
        Kind::Report => decode::<Report>(payload)?.named(),
        Kind::Log => decode::<LogChunk>(payload)?.named(),
        Kind::Presence => decode::<Presence>(payload)?.named(),
        Kind::Release => decode::<Release>(payload)?.named(),
        Kind::Request => decode::<Request>(payload)?.named(),
        Kind::Answer => decode::<Answer>(payload)?.named(),
        Kind::Lease => decode::<Lease>(payload)?.named(),
    })
}
