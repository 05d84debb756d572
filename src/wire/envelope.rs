//! The envelope: `COSE_Sign1` (RFC 9052), tag 18, in one exact shape.
//!
//! Protected header: `1 (alg) = -19 (Ed25519)`, `3 (content type)`, `4 (kid)`, and nothing else. Unprotected header:
//! empty. Payload: present. A library may read other spellings of the same signed bytes; here an envelope is rebuilt
//! from what was read and compared with what came.

use std::fmt;

use coset::{
    ContentType, CoseSign1, CoseSign1Builder, HeaderBuilder, RegisteredLabelWithPrivate,
    TaggedCborSerializable, iana,
};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use super::codec::sure;
use super::kind::Kind;
use crate::model::{FarmId, KeyId};

/// Signed bytes, not yet believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// What it claims to be.
    pub kind: Kind,
    /// The key that it claims to be signed with.
    pub signer: KeyId,
    /// What was signed.
    pub payload: Vec<u8>,
    /// The signature over [`signed_bytes`](Self::signed_bytes).
    pub signature: [u8; 64],
}

/// Why bytes were not read as an envelope.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EnvelopeError {
    /// More bytes than any message of that kind may have.
    #[error("message has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not a tagged `COSE_Sign1`.
    #[error("message is not a signed envelope: {0}")]
    NotCose(String),
    /// A header that is not exactly the three labels.
    #[error("envelope's header is not acceptable: {0}")]
    Header(&'static str),
    /// No payload inside.
    #[error("envelope has no payload")]
    NoPayload,
    /// A signature that is not 64 bytes.
    #[error("envelope's signature does not have 64 bytes")]
    SignatureLength,
    /// The same content in another spelling.
    #[error("envelope is not in deterministic encoding")]
    NotDeterministic,
}

impl EnvelopeError {
    /// Stable code, for counters and searching.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "E-SIZE",
            Self::NotCose(_)
            | Self::Header(_)
            | Self::NoPayload
            | Self::SignatureLength
            | Self::NotDeterministic => "E-ENVELOPE",
        }
    }
}

fn not_cose(error: impl fmt::Display) -> EnvelopeError {
    EnvelopeError::NotCose(error.to_string())
}

impl Envelope {
    /// Reads an envelope of at most `max` bytes, in its one spelling.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`], the first that applies, in the order declared.
    pub fn parse(bytes: &[u8], max: usize) -> Result<Self, EnvelopeError> {
        if bytes.len() > max {
            return Err(EnvelopeError::TooLong {
                len: bytes.len(),
                max,
            });
        }
        let (payload, _) = lengths(bytes).map_err(not_cose)?;
        if bytes.len() - payload > MAX_BESIDE_PAYLOAD {
            return Err(not_cose("too much stands beside its payload"));
        }
        let sign1 = CoseSign1::from_tagged_slice(bytes).map_err(not_cose)?;
        let header = &sign1.protected.header;
        if header.alg
            != Some(RegisteredLabelWithPrivate::Assigned(
                iana::Algorithm::Ed25519,
            ))
        {
            return Err(EnvelopeError::Header("the algorithm is not -19 (Ed25519)"));
        }
        let kind = match &header.content_type {
            Some(ContentType::Text(text)) => Kind::of_content_type(text),
            Some(ContentType::Assigned(_)) | None => None,
        }
        .ok_or(EnvelopeError::Header("the content type is none of ours"))?;
        let signer = KeyId(
            header
                .key_id
                .as_slice()
                .try_into()
                .map_err(|_| EnvelopeError::Header("the key id does not have 32 bytes"))?,
        );
        let payload = sign1.payload.ok_or(EnvelopeError::NoPayload)?;
        let signature = sign1
            .signature
            .as_slice()
            .try_into()
            .map_err(|_| EnvelopeError::SignatureLength)?;
        let envelope = Self {
            kind,
            signer,
            payload,
            signature,
        };
        // Further labels, anything unprotected, other spellings of arrays, tags and numbers, trailing bytes: none of
        // them survives being built anew.
        if envelope.to_bytes() == bytes {
            Ok(envelope)
        } else {
            Err(EnvelopeError::NotDeterministic)
        }
    }

    /// The envelope's one spelling.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Ok(bytes) = self.cose().to_tagged_vec() else {
            unreachable!("writing CBOR to memory does not fail")
        };
        bytes
    }

    /// What the signature is over: the `Sig_structure` of RFC 9052, section 4.4, with the external data
    /// `["pybots/1", kind, farm id]` that each reader makes from its own configuration.
    #[must_use]
    pub fn signed_bytes(&self, farm: Option<&FarmId>) -> Vec<u8> {
        let mut context = Encoder::new(Vec::new());
        sure(context.array(3));
        sure(context.str("pybots/1"));
        sure(context.str(self.kind.name()));
        sure(context.bytes(farm.map_or(&[], |farm| &farm.0)));
        self.cose().tbs_data(&context.into_writer())
    }

    fn cose(&self) -> CoseSign1 {
        let header = HeaderBuilder::new()
            .algorithm(iana::Algorithm::Ed25519)
            .content_type(self.kind.content_type())
            .key_id(self.signer.0.to_vec())
            .build();
        CoseSign1Builder::new()
            .protected(header)
            .payload(self.payload.clone())
            .signature(self.signature.to_vec())
            .build()
    }
}

/// Most bytes of an envelope beside its payload; a good one has less than 200.
const MAX_BESIDE_PAYLOAD: usize = 512;

/// The length of the payload, as it is encoded, and of the whole envelope at the beginning of `bytes`.
///
/// A library turns all that it reads into values, thirty times as large, before anything is said of them; so nothing may be
/// large but the payload, which is one value.
fn lengths(bytes: &[u8]) -> Result<(usize, usize), minicbor::decode::Error> {
    let few = |from: usize| {
        let after = &bytes[from..];
        Decoder::new(&after[..after.len().min(MAX_BESIDE_PAYLOAD)])
    };
    let mut headers = few(0);
    headers.tag()?;
    headers.array()?;
    headers.skip()?;
    headers.skip()?;
    let begin = headers.position();
    let mut payload = if few(begin).datatype()? == Type::Bytes {
        Decoder::new(&bytes[begin..])
    } else {
        few(begin)
    };
    payload.skip()?;
    let end = begin + payload.position();
    let mut signature = few(end);
    signature.skip()?;
    Ok((end - begin, end + signature.position()))
}

/// A keyring as it travels: 1 to 16 envelopes over one payload, sorted by key id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyringEnvelopes(Vec<Envelope>);

impl KeyringEnvelopes {
    /// Most signatures on one keyring.
    pub const MAX: usize = 16;

    /// Puts envelopes in order.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::Header`] unless they are 1 to 16 keyring envelopes over one payload by distinct keys.
    pub fn new(mut envelopes: Vec<Envelope>) -> Result<Self, EnvelopeError> {
        envelopes.sort_unstable_by_key(|envelope| envelope.signer);
        let one_payload = envelopes
            .windows(2)
            .all(|pair| pair[0].payload == pair[1].payload);
        let distinct = envelopes
            .windows(2)
            .all(|pair| pair[0].signer != pair[1].signer);
        let keyrings = envelopes
            .iter()
            .all(|envelope| envelope.kind == Kind::Keyring);
        if one_payload && distinct && keyrings && (1..=Self::MAX).contains(&envelopes.len()) {
            Ok(Self(envelopes))
        } else {
            Err(EnvelopeError::Header(
                "a keyring is 1 to 16 envelopes over one payload by distinct keys",
            ))
        }
    }

    /// Reads a keyring's envelopes in their one spelling.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`], the first that applies.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let max = Kind::Keyring.max_len();
        if bytes.len() > max {
            return Err(EnvelopeError::TooLong {
                len: bytes.len(),
                max,
            });
        }
        let mut from = Decoder::new(bytes);
        let count = from
            .array()
            .map_err(not_cose)?
            .ok_or(EnvelopeError::NotDeterministic)?;
        if !(1..=Self::MAX as u64).contains(&count) {
            return Err(EnvelopeError::Header("a keyring is 1 to 16 envelopes"));
        }
        let mut envelopes = Vec::new();
        for _ in 0..count {
            let begin = from.position();
            let (_, length) = lengths(&bytes[begin..]).map_err(not_cose)?;
            from.set_position(begin + length);
            envelopes.push(Envelope::parse(&bytes[begin..begin + length], max)?);
        }
        let keyring = Self::new(envelopes)?;
        if keyring.to_bytes() == bytes {
            Ok(keyring)
        } else {
            Err(EnvelopeError::NotDeterministic)
        }
    }

    /// The keyring's one spelling.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Encoder::new(Vec::new());
        sure(to.array(self.0.len() as u64));
        let mut bytes = to.into_writer();
        for envelope in &self.0 {
            bytes.extend_from_slice(&envelope.to_bytes());
        }
        bytes
    }

    /// The envelopes, sorted by key id.
    #[must_use]
    pub fn envelopes(&self) -> &[Envelope] {
        &self.0
    }

    /// The one payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.0[0].payload
    }
}
