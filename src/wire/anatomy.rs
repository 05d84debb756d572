//! What bytes look like that should be an envelope: each layer as far as it can be made out, whether or not it is right.
//!
//! For looking only. Whatever is to be believed goes through [`Envelope::parse`](super::Envelope::parse), which is strict.

use minicbor::Decoder;
use minicbor::data::Type;

use super::diagnostic::{end, notation};
use super::kind::Kind;

/// What bytes seem to be, by how they begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// One envelope, or something else.
    Envelope,
    /// An array of envelopes: a keyring.
    Keyring,
    /// A bundle.
    Bundle,
}

impl Shape {
    /// Tells by how `bytes` begin.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut from = Decoder::new(bytes);
        if bytes
            .get(1..)
            .is_some_and(|rest| rest.starts_with(b"\x00\x6fpybots bundle"))
        {
            return Self::Bundle;
        }
        match from.array() {
            // The four parts of an envelope that lacks its tag begin with the protected header, a byte string.
            Ok(_) if matches!(from.datatype(), Ok(Type::Bytes | Type::BytesIndef)) => {
                Self::Envelope
            }
            Ok(_) => Self::Keyring,
            Err(_) => Self::Envelope,
        }
    }
}

/// The protected header, the unprotected one, the payload or the signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layer {
    /// In diagnostic notation.
    pub notation: String,
    /// The content, if it is a byte string.
    pub content: Option<Vec<u8>>,
}

/// One envelope, taken apart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Anatomy {
    /// Bytes in all.
    pub len: usize,
    /// The tag in front, if there is one.
    pub tag: Option<u64>,
    /// How many parts the array has; none if there is no array, or it does not say.
    pub parts: Option<u64>,
    /// The protected header, as it was signed.
    pub protected: Option<Layer>,
    /// The protected header's values, in diagnostic notation.
    pub header: Option<String>,
    /// The algorithm's number.
    pub algorithm: Option<i64>,
    /// The content type.
    pub content_type: Option<String>,
    /// The key's id.
    pub key_id: Option<Vec<u8>>,
    /// The unprotected header.
    pub unprotected: Option<Layer>,
    /// The payload.
    pub payload: Option<Layer>,
    /// The payload's content in diagnostic notation.
    pub content: Option<String>,
    /// The signature.
    pub signature: Option<Layer>,
    /// How many bytes follow the end.
    pub trailing: usize,
    /// All of it in diagnostic notation, if it is not made of these parts.
    pub other: Option<String>,
}

impl Anatomy {
    /// Takes `bytes` apart.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut from = Decoder::new(bytes);
        let mut found = Self {
            len: bytes.len(),
            ..Self::default()
        };
        if from.datatype().is_ok_and(|kind| kind == Type::Tag) {
            found.tag = from.tag().ok().map(u64::from);
        }
        let Ok(parts) = from.array() else {
            found.other = Some(notation(bytes).text);
            return found;
        };
        found.parts = parts;
        let mut at = from.position();
        for place in 0..4 {
            let rest = bytes.get(at..).unwrap_or_default();
            let ends = parts.map_or(rest.first() == Some(&0xff), |parts| place >= parts);
            if rest.is_empty() || ends {
                break;
            }
            let shown = notation(rest);
            let layer = Layer {
                notation: shown.text,
                content: content(rest),
            };
            match place {
                0 => found.look_into_header(layer),
                1 => found.unprotected = Some(layer),
                2 => {
                    found.content = layer.content.as_deref().map(whole_notation);
                    found.payload = Some(layer);
                }
                _ => found.signature = Some(layer),
            }
            at += shown.end;
            if shown.fault.is_some() {
                break;
            }
        }
        found.trailing = end(bytes).map_or(0, |end| bytes.len() - end);
        found
    }

    /// Takes each envelope of an array apart, `most` at most.
    #[must_use]
    pub fn of_array(bytes: &[u8], most: usize) -> Vec<Self> {
        let mut from = Decoder::new(bytes);
        let declared = from.array().ok().flatten().unwrap_or(u64::MAX);
        let mut at = from.position();
        let mut envelopes = Vec::new();
        while envelopes.len() < most && (envelopes.len() as u64) < declared {
            let rest = bytes.get(at..).unwrap_or_default();
            if matches!(rest.first(), None | Some(0xff)) {
                break;
            }
            let Ok(end) = end(rest) else {
                envelopes.push(Self::of(rest));
                break;
            };
            envelopes.push(Self::of(&rest[..end]));
            at += end;
        }
        envelopes
    }

    /// The kind that the content type names.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::of_content_type(self.content_type.as_deref()?)
    }

    fn look_into_header(&mut self, layer: Layer) {
        if let Some(header) = &layer.content {
            self.header = Some(whole_notation(header));
            // Whatever is not as it should be ends the look; the notation shows it anyway.
            let _ = self.read_labels(header);
        }
        self.protected = Some(layer);
    }

    fn read_labels(&mut self, header: &[u8]) -> Result<(), minicbor::decode::Error> {
        let mut from = Decoder::new(header);
        let labels = from.map()?.unwrap_or(u64::MAX);
        for _ in 0..labels {
            match from.i64()? {
                1 => self.algorithm = Some(from.i64()?),
                3 => self.content_type = Some(from.str()?.to_owned()),
                4 => self.key_id = Some(from.bytes()?.to_vec()),
                _ => from.skip()?,
            }
        }
        Ok(())
    }
}

/// The value, and how many bytes follow it.
fn whole_notation(bytes: &[u8]) -> String {
    let shown = notation(bytes);
    match bytes.len() - shown.end {
        following if following > 0 && shown.fault.is_none() => {
            format!("{} / {following} more bytes follow /", shown.text)
        }
        _ => shown.text,
    }
}

/// The content of a byte string, in one piece or in chunks.
fn content(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut from = Decoder::new(bytes);
    let chunks: Result<Vec<&[u8]>, _> = from.bytes_iter().ok()?.collect();
    Some(chunks.ok()?.concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_layer_is_found_also_in_other_spellings() {
        // Tag and array in long form, an indefinite payload, something unprotected, a byte after the end.
        let bytes = b"\xd8\x12\x98\x04\x45\xa2\x01\x32\x05\x06\xa1\x01\x02\x5f\x41\x01\x41\x02\xff\x41\xaa\x00";
        let found = Anatomy::of(bytes);
        assert_eq!((found.tag, found.parts), (Some(18), Some(4)));
        assert_eq!(found.header.as_deref(), Some("{1: -19, 5: 6}"));
        assert_eq!(found.algorithm, Some(-19));
        assert_eq!(found.unprotected.unwrap().notation, "{1: 2}");
        assert_eq!(found.payload.unwrap().content, Some(vec![1, 2]));
        assert_eq!(found.content.as_deref(), Some("1 / 1 more bytes follow /"));
        assert_eq!(found.signature.unwrap().content, Some(vec![0xaa]));
        assert_eq!(found.trailing, 1);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_taken_apart(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let envelope = [&b"\xd2\x84"[..], &bytes].concat();
            for bytes in [bytes, envelope] {
                let (found, _) = (Anatomy::of(&bytes), Shape::of(&bytes));
                prop_assert!(found.trailing <= bytes.len());
                prop_assert!(Anatomy::of_array(&bytes, 17).len() <= 17);
            }
        }
    }
}
