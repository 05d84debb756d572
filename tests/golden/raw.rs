//! Envelopes by their parts, as encoded bytes and without the product's code, so that any part can be wrong.

use data_encoding::HEXLOWER;
use minicbor::Encoder;
use pybots::model::FarmId;
use pybots::wire::Kind;

use crate::farm::Key;

/// The five parts of an envelope, each as it is encoded.
#[derive(Clone)]
pub(crate) struct Parts {
    /// Tag and array.
    pub(crate) head: Vec<u8>,
    pub(crate) protected: Vec<u8>,
    pub(crate) unprotected: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl Parts {
    pub(crate) fn join(&self) -> Vec<u8> {
        [
            &self.head[..],
            &self.protected,
            &self.unprotected,
            &self.payload,
            &self.signature,
        ]
        .concat()
    }
}

/// `payload` in the envelope that the design asks for.
pub(crate) fn message(kind: Kind, key: Key, farm: &FarmId, payload: &[u8]) -> Parts {
    signed(
        &header(kind, key),
        payload,
        key,
        &context(kind.name(), &farm.0),
    )
}

/// `payload` under any protected header, signed by any key in any context.
pub(crate) fn signed(protected: &[u8], payload: &[u8], key: Key, context: &[u8]) -> Parts {
    Parts {
        head: hex("d2 84"),
        protected: bstr(protected),
        unprotected: hex("a0"),
        payload: bstr(payload),
        signature: bstr(&key.sign(&to_be_signed(protected, payload, context))),
    }
}

/// The `Sig_structure` of RFC 9052, section 4.4.
pub(crate) fn to_be_signed(protected: &[u8], payload: &[u8], context: &[u8]) -> Vec<u8> {
    [
        hex("84"),
        tstr("Signature1"),
        bstr(protected),
        bstr(context),
        bstr(payload),
    ]
    .concat()
}

/// `{1: -19, 3: content type, 4: kid}`.
pub(crate) fn header(kind: Kind, key: Key) -> Vec<u8> {
    [hex("a3"), labels(kind, key).concat()].concat()
}

/// The three labels of the protected header with their values.
pub(crate) fn labels(kind: Kind, key: Key) -> [Vec<u8>; 3] {
    let content_type = format!("application/vnd.pybots.{}.v1+cbor", kind.name());
    [
        hex("01 32"),
        [hex("03"), tstr(&content_type)].concat(),
        [hex("04"), bstr(&key.id().0)].concat(),
    ]
}

/// `["pybots/1", kind, farm id]`.
pub(crate) fn context(kind: &str, farm: &[u8]) -> Vec<u8> {
    [hex("83"), tstr("pybots/1"), tstr(kind), bstr(farm)].concat()
}

pub(crate) fn bstr(bytes: &[u8]) -> Vec<u8> {
    let mut to = Encoder::new(Vec::new());
    to.bytes(bytes).expect("writing to memory does not fail");
    to.into_writer()
}

pub(crate) fn tstr(text: &str) -> Vec<u8> {
    let mut to = Encoder::new(Vec::new());
    to.str(text).expect("writing to memory does not fail");
    to.into_writer()
}

/// The bytes of hexadecimal digits, which may stand apart.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    HEXLOWER
        .decode(digits.replace(' ', "").as_bytes())
        .expect("pairs of hexadecimal digits")
}

/// `bytes` with the one place that reads `from` replaced by `to`.
pub(crate) fn splice(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut places = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(from));
    let at = places.next().expect("the bytes to replace are there");
    assert_eq!(places.next(), None, "the bytes to replace are there once");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}
