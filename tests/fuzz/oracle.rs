//! What must hold of any bytes whatever, shared by the fuzzer and by the replay of its corpus.
//!
//! Bytes are taken for a payload and for a message. What the product reads, a second CBOR implementation (ciborium, by way
//! of coset) must find to be plain, sorted and in its one spelling; and what is written again must be the same bytes.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library may add to its kinds of value, and none of those is ours"
)]

use std::fmt::Debug;
use std::str::FromStr;
use std::sync::LazyLock;

use allocation_counter::measure;
use coset::cbor::{Value, de, ser};
use ed25519_dalek::{Signer as _, SigningKey};
use pybots::model::{
    Answer, Change, Command, FarmId, Head, KeyId, Keyring, Lead, Lease, LogChunk, Presence,
    Release, Report, Request, RequesterName, Roster,
};
use pybots::trust::{Purpose, Reader, SecretKey, sha256};
use pybots::wire::{
    Bundle, Envelope, KeyringEnvelopes, Kind, Payload, PayloadError, Role, decode, encode,
};

/// Memory that reading takes besides a multiple of what there is to read: reasons for a refusal, and a header as coset
/// keeps it.
const MEMORY_FOR_ANYTHING: usize = 64 * 1024;
/// A list of names of one letter takes two bytes each on the wire, and a `String` in a `Vec` that doubles as it grows.
const MEMORY_FOR_A_PAYLOAD: usize = 128;
/// An envelope and a bundle are read, held and written again.
const MEMORY_FOR_AN_ENVELOPE: usize = 16;

/// What is fuzzed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    /// One kind of message. Keyrings come as an array of envelopes.
    Message(Kind),
    /// What `pybots build verify` reads.
    Bundle,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        match (kind, name) {
            (Some(kind), _) => Ok(Self::Message(kind)),
            (None, "bundle") => Ok(Self::Bundle),
            (None, _) => Err(format!("{name:?} is neither a kind of message nor bundle")),
        }
    }
}

impl Target {
    /// Ends the process unless all is well with `bytes`.
    pub(crate) fn check(self, bytes: &[u8]) {
        match self {
            Self::Message(Kind::Keyring) => {
                check_payload::<Keyring>(bytes);
                check_keyring(bytes);
            }
            Self::Message(Kind::Roster) => {
                check_message::<Roster>(bytes);
                check_roster(bytes);
            }
            Self::Message(Kind::Head) => check_message::<Head>(bytes),
            Self::Message(Kind::Lead) => check_message::<Lead>(bytes),
            Self::Message(Kind::Change) => check_message::<Change>(bytes),
            Self::Message(Kind::Command) => check_message::<Command>(bytes),
            Self::Message(Kind::Report) => check_message::<Report>(bytes),
            Self::Message(Kind::Log) => check_message::<LogChunk>(bytes),
            Self::Message(Kind::Presence) => check_message::<Presence>(bytes),
            Self::Message(Kind::Release) => check_message::<Release>(bytes),
            Self::Message(Kind::Request) => check_message::<Request>(bytes),
            Self::Message(Kind::Answer) => check_message::<Answer>(bytes),
            Self::Message(Kind::Lease) => check_message::<Lease>(bytes),
            Self::Bundle => check_bundle(bytes),
        }
    }
}

/// What `read` makes of `len` bytes, and that it takes memory by what is there, not by what a length claims.
fn measured<T>(len: usize, times: usize, read: impl FnOnce() -> T) -> T {
    let mut result = None;
    let taken = measure(|| result = Some(read())).bytes_max;
    let allowed = (times * len + MEMORY_FOR_ANYTHING) as u64;
    assert!(taken <= allowed, "{taken} bytes of memory for {len}");
    result.expect("it was called")
}

/// A reader of the golden farm, which has learnt its roster.
static GOLDEN: LazyLock<Reader> = LazyLock::new(golden);

fn golden() -> Reader {
    let keyring = include_bytes!("../golden/good/keyring.cbor");
    let envelopes = KeyringEnvelopes::parse(keyring).expect("the golden keyring is one");
    let farm = FarmId(sha256(envelopes.payload()));
    let mut reader = Reader::new(farm, keyring).expect("the golden keyring opens");
    reader
        .learn_roster(include_bytes!("../golden/good/roster.cbor"))
        .expect("the golden roster opens");
    let ada: RequesterName = "ada".parse().expect("a name");
    let key = SecretKey::from_seed(&[0x51; 32]).public();
    reader.let_ask([(&ada, key)]).expect("a sound key");
    reader
}

/// Signs any payload with the golden farm's key for that kind. Its keys are made of fixed seeds.
fn sign(kind: Kind, payload: &[u8], farm: Option<&FarmId>) -> Envelope {
    let seed = match kind.signer() {
        Role::Master => [0x01; 32],
        Role::Signing => [0x11; 32],
        Role::Report => [0x21; 32],
        Role::Requester => [0x51; 32],
    };
    let mut envelope = Envelope {
        kind,
        signer: SecretKey::from_seed(&seed).id(),
        payload: payload.to_vec(),
        signature: [0; 64],
    };
    envelope.signature = SigningKey::from_bytes(&seed)
        .sign(&envelope.signed_bytes(farm))
        .to_bytes();
    envelope
}

fn check_message<T: Payload + PartialEq + Debug>(bytes: &[u8]) {
    if let Some(value) = check_payload::<T>(bytes) {
        let message = sign(T::KIND, bytes, Some(GOLDEN.farm())).to_bytes();
        // Its envelope may make it too long. What the payload says may not fit the farm or the key.
        match GOLDEN.open::<T>(&message, Purpose::History) {
            Ok(open) => assert_eq!(*open.body(), value),
            Err(error) => assert!(!matches!(
                error.code(),
                "E-ENVELOPE" | "E-KIND" | "E-KEY" | "E-SIGNATURE" | "E-PAYLOAD"
            )),
        }
    }
    if let Some(envelope) = check_envelope(bytes, T::KIND.max_len()) {
        let opened = GOLDEN.open::<T>(bytes, Purpose::History).ok();
        let value = check_payload::<T>(&envelope.payload);
        assert!(opened.is_none_or(|opened| Some(opened.body()) == value.as_ref()));
    }
}

/// The value, if `bytes` are a payload, after everything that must then hold of it.
fn check_payload<T: Payload + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value = match measured(bytes.len(), MEMORY_FOR_A_PAYLOAD, || decode::<T>(bytes)) {
        Ok(value) => value,
        Err(PayloadError::TooLong { .. }) => {
            assert!(bytes.len() > T::KIND.max_len());
            return None;
        }
        Err(_) => return None,
    };
    let mut plain = second_opinion(bytes);
    let record = match &mut plain {
        Value::Array(variant) if variant.len() == 2 => variant.remove(1),
        Value::Map(_) => plain.clone(),
        other => panic!("a payload is a map or a variant: {other:?}"),
    };
    let Value::Map(mut fields) = record else {
        panic!("a record is a map: {record:?}");
    };
    if fields.last().is_some_and(|(key, _)| *key == 99.into()) {
        let (_, ext) = fields.pop().expect("there is a last one");
        assert!(matches!(&ext, Value::Map(ext) if !ext.is_empty()));
        assert!(depth(&ext) <= 8);
    }
    let without_ext = match plain {
        Value::Array(mut variant) => {
            variant.push(Value::Map(fields));
            Value::Array(variant)
        }
        _ => Value::Map(fields),
    };
    assert_eq!(encode(&value), written(&without_ext));
    assert_eq!(
        decode::<T>(&encode(&value)).expect("what is written is read"),
        value
    );
    Some(value)
}

fn check_envelope(bytes: &[u8], max: usize) -> Option<Envelope> {
    let envelope = measured(bytes.len(), MEMORY_FOR_AN_ENVELOPE, || {
        Envelope::parse(bytes, max)
    })
    .ok()?;
    assert!(bytes.len() <= max);
    assert_eq!(envelope.to_bytes(), bytes);
    is_plain_envelope(&read(bytes), &envelope);
    Some(envelope)
}

/// Whether a library's reading of a `COSE_Sign1` says the same as ours.
fn is_plain_envelope(item: &Value, envelope: &Envelope) {
    let Value::Tag(18, inner) = item else {
        panic!("{item:?}");
    };
    let protected = Value::Map(vec![
        (1.into(), (-19).into()),
        (3.into(), envelope.kind.content_type().into()),
        (4.into(), envelope.signer.0.to_vec().into()),
    ]);
    let expected = Value::Array(vec![
        written(&protected).into(),
        Value::Map(vec![]),
        envelope.payload.clone().into(),
        envelope.signature.to_vec().into(),
    ]);
    assert_eq!(**inner, expected);
}

fn check_keyring(bytes: &[u8]) {
    if decode::<Keyring>(bytes).is_ok() {
        // Whoever pins the very hash of a keyring reads it; whether it is sound is another question.
        let envelope = sign(Kind::Keyring, bytes, None);
        let message = KeyringEnvelopes::new(vec![envelope]).expect("one is enough");
        let code = Reader::new(FarmId(sha256(bytes)), &message.to_bytes())
            .err()
            .map(|error| error.code());
        assert!(!matches!(code, Some("E-ENVELOPE" | "E-FARM" | "E-PAYLOAD")));
    }
    let Ok(keyring) = measured(bytes.len(), MEMORY_FOR_AN_ENVELOPE, || {
        KeyringEnvelopes::parse(bytes)
    }) else {
        return;
    };
    assert!(bytes.len() <= Kind::Keyring.max_len());
    assert_eq!(keyring.to_bytes(), bytes);
    check_payload::<Keyring>(keyring.payload());
    let envelopes = keyring.envelopes();
    let Value::Array(items) = read(bytes) else {
        panic!("a keyring is an array");
    };
    assert!((1..=16).contains(&items.len()) && items.len() == envelopes.len());
    for (item, envelope) in items.iter().zip(envelopes) {
        is_plain_envelope(item, envelope);
        assert_eq!(envelope.payload, keyring.payload());
    }
    let signers: Vec<KeyId> = envelopes.iter().map(|envelope| envelope.signer).collect();
    assert!(signers.is_sorted_by(|a, b| a < b), "sorted and distinct");
    for farm in [*GOLDEN.farm(), FarmId(sha256(keyring.payload()))] {
        if Reader::new(farm, bytes).is_ok() {
            assert_eq!(farm.0, sha256(keyring.payload()));
        }
    }
}

fn check_roster(bytes: &[u8]) {
    let message = if decode::<Roster>(bytes).is_ok() {
        sign(Kind::Roster, bytes, Some(GOLDEN.farm())).to_bytes()
    } else {
        bytes.to_vec()
    };
    if Envelope::parse(&message, Kind::Roster.max_len()).is_ok() {
        let mut reader = golden();
        let before = reader.roster().cloned();
        if reader.learn_roster(&message).is_err() {
            assert_eq!(reader.roster().cloned(), before);
        }
    }
}

fn check_bundle(bytes: &[u8]) {
    let file = bytes.to_vec().into();
    let Ok(bundle) = measured(bytes.len(), MEMORY_FOR_AN_ENVELOPE, || Bundle::parse(&file)) else {
        return;
    };
    assert_eq!(bundle.to_bytes().expect("it is not too long"), bytes);
    second_opinion(bytes);
}

/// What a library reads in all of `bytes`.
fn read(bytes: &[u8]) -> Value {
    let value: Value = de::from_reader(bytes).expect("what we read is CBOR");
    assert_eq!(written(&value), bytes, "{value:?}");
    value
}

fn written(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ser::into_writer(value, &mut bytes).expect("writing to memory does not fail");
    bytes
}

/// What a library reads in all of `bytes`, which must hold nothing but what our format is made of.
fn second_opinion(bytes: &[u8]) -> Value {
    let value = read(bytes);
    assert_plain(&value);
    value
}

fn assert_plain(value: &Value) {
    match value {
        Value::Integer(_) | Value::Bytes(_) | Value::Text(_) | Value::Bool(_) | Value::Null => {}
        Value::Array(items) => items.iter().for_each(assert_plain),
        Value::Map(entries) => {
            let keys: Vec<Vec<u8>> = entries.iter().map(|(key, _)| written(key)).collect();
            assert!(keys.is_sorted_by(|a, b| a < b), "{value:?}");
            for (key, value) in entries {
                assert!(matches!(key, Value::Integer(_) | Value::Text(_)), "{key:?}");
                assert_plain(value);
            }
        }
        other => panic!("{other:?} has no place in our format"),
    }
}

/// How deep arrays and maps stand in each other.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => {
            let values = entries.iter().map(|(_, value)| depth(value));
            1 + values.max().unwrap_or(0)
        }
        _ => 0,
    }
}
