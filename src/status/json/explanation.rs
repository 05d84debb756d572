//! The document of one message, layer by layer.

use std::io;

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::Value;

use super::write_pretty;
use crate::model::{KeyId, PayloadId, Text};
use crate::status::explain::{BundlePart, Explained, Explanation, Signature};
use crate::wire::{Layer, Named, Shape};

/// A message, explained. Nothing in it is believed.
#[derive(Debug, Serialize)]
pub struct ExplanationDocument<'a> {
    /// `pybots.explanation.v1`.
    pub schema: &'static str,
    /// Bytes in all.
    pub bytes: usize,
    /// `envelope`, `keyring` or `bundle`, by how it begins.
    pub shape: &'static str,
    /// Its envelope; each of a keyring's.
    pub envelopes: Vec<EnvelopeDocument<'a>>,
    /// The parts of a bundle.
    pub parts: Vec<PartDocument>,
    /// `matches`, `does-not-match` or `not-checked`; `null` for a bundle.
    pub signature: Option<&'static str>,
    /// Why it was not checked.
    pub not_checked: Option<&'static str>,
    /// What is worth knowing and is no fault.
    pub notes: &'a [Text],
    /// Stable code of the first rule that is broken.
    pub code: Option<&'static str>,
    /// A sentence on it.
    pub why: Option<&'a Text>,
}

/// One envelope.
#[derive(Debug, Serialize)]
pub struct EnvelopeDocument<'a> {
    /// Bytes.
    pub bytes: usize,
    /// The tag.
    pub tag: Option<u64>,
    /// How many parts its array says it has.
    pub parts: Option<u64>,
    /// The protected header in diagnostic notation (RFC 8949, section 8).
    pub protected: Option<&'a str>,
    /// The algorithm's number.
    pub algorithm: Option<i64>,
    /// The content type.
    pub content_type: Option<Text>,
    /// The kind that it names.
    pub kind: Option<&'static str>,
    /// The key's id, in hexadecimal.
    pub key_id: Option<String>,
    /// The unprotected header in diagnostic notation.
    pub unprotected: Option<&'a str>,
    /// The payload's length.
    pub payload_bytes: Option<usize>,
    /// The payload in diagnostic notation; cut where it is long.
    pub payload: Option<&'a str>,
    /// The payload's fields by name, if it is one of its kind.
    pub fields: Option<Value>,
    /// Its id.
    pub id: Option<PayloadId>,
    /// The signature in diagnostic notation.
    pub signature: Option<&'a str>,
    /// How many bytes follow the end.
    pub trailing: usize,
    /// All of it in diagnostic notation, if it is not made of these parts.
    pub other: Option<&'a str>,
}

/// One part of a bundle.
#[derive(Debug, Serialize)]
pub struct PartDocument {
    /// Which.
    pub part: String,
    /// Bytes.
    pub bytes: usize,
    /// Its id.
    pub id: Option<PayloadId>,
    /// The key that it claims to be signed with.
    pub signer: Option<KeyId>,
}

/// Writes an explanation as one document.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_explanation(found: &Explanation, out: &mut impl io::Write) -> io::Result<()> {
    write_pretty(&ExplanationDocument::from(found), out)
}

impl<'a> From<&'a Explanation> for ExplanationDocument<'a> {
    fn from(found: &'a Explanation) -> Self {
        let (signature, not_checked) = match &found.signature {
            Some(Signature::Matches) => (Some("matches"), None),
            Some(Signature::DoesNotMatch) => (Some("does-not-match"), None),
            Some(Signature::NotChecked(why)) => (Some("not-checked"), Some(*why)),
            None => (None, None),
        };
        let broken = found.broken.as_ref();
        Self {
            schema: "pybots.explanation.v1",
            bytes: found.len,
            shape: match found.shape {
                Shape::Envelope => "envelope",
                Shape::Keyring => "keyring",
                Shape::Bundle => "bundle",
            },
            envelopes: found.envelopes.iter().map(Into::into).collect(),
            parts: found.parts.iter().map(Into::into).collect(),
            signature,
            not_checked,
            notes: &found.notes,
            code: broken.map(|broken| broken.code),
            why: broken.map(|broken| &broken.why),
        }
    }
}

impl<'a> From<&'a Explained> for EnvelopeDocument<'a> {
    fn from(envelope: &'a Explained) -> Self {
        let notation =
            |layer: &'a Option<Layer>| layer.as_ref().map(|layer| layer.notation.as_str());
        let anatomy = &envelope.anatomy;
        let content = anatomy
            .payload
            .as_ref()
            .and_then(|layer| layer.content.as_ref());
        Self {
            bytes: anatomy.len,
            tag: anatomy.tag,
            parts: anatomy.parts,
            protected: anatomy.header.as_deref().or(notation(&anatomy.protected)),
            algorithm: anatomy.algorithm,
            content_type: anatomy.content_type.as_deref().map(Text::tidy),
            kind: anatomy.kind().map(crate::wire::Kind::name),
            key_id: anatomy.key_id.as_ref().map(|id| HEXLOWER.encode(id)),
            unprotected: notation(&anatomy.unprotected),
            payload_bytes: content.map(Vec::len),
            payload: anatomy.content.as_deref().or(notation(&anatomy.payload)),
            fields: envelope.fields.as_ref().map(value),
            id: envelope.id,
            signature: notation(&anatomy.signature),
            trailing: anatomy.trailing,
            other: anatomy.other.as_deref(),
        }
    }
}

impl From<&BundlePart> for PartDocument {
    fn from(part: &BundlePart) -> Self {
        Self {
            part: part.part.to_string(),
            bytes: part.len,
            id: part.id,
            signer: part.signer,
        }
    }
}

fn value(named: &Named) -> Value {
    match named {
        Named::Value(text) => Value::String(text.clone()),
        Named::List(items) => Value::Array(items.iter().map(value).collect()),
        Named::Record(fields) => {
            let fields = fields.iter();
            Value::Object(
                fields
                    .map(|(name, field)| (name.clone(), value(field)))
                    .collect(),
            )
        }
    }
}
