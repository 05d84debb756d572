//! Keyrings that are not the first of the pinned farm, that too few or the wrong keys signed, or that contradict
//! themselves. One that contradicts itself is read by whoever pinned its very hash: that alone does not make it sound.

use pybots::model::{FarmId, KeyId, Keyring, PayloadId, Position, PublicKey};
use pybots::trust::payload_id;
use pybots::wire::{Kind, encode};

use crate::bad::Bad;
use crate::bad_roster::{second_spelling, weak};
use crate::farm::{self, Key, NOW, signed_keyring};
use crate::good::ADMIT;
use crate::raw::{Parts, context, header, hex, signed};

pub(crate) fn all() -> Vec<Bad> {
    [envelopes(), signatures(), positions(), rules()]
        .into_iter()
        .flatten()
        .collect()
}

const MASTERS: [Key; 2] = [Key::FirstMaster, Key::SecondMaster];
const THRESHOLD: &str = "Rule(\"the threshold";
const TWICE: &str = "Rule(\"a signing key is listed twice";

fn bad(name: &'static str, farm: FarmId, payload: &[u8], signers: &[Key], bytes: Vec<u8>) -> Bad {
    let mut signers: Vec<KeyId> = signers.iter().map(|key| key.id()).collect();
    signers.sort_unstable();
    Bad {
        name,
        kind: Kind::Keyring,
        farm,
        id: Some(payload_id(payload)),
        signers,
        purpose: ADMIT,
        bytes,
        code: "",
        error: "",
        why: "",
    }
}

/// One signature over the golden keyring, in the context that keyrings are signed in.
fn envelope(key: Key, payload: &[u8]) -> Parts {
    signed(
        &header(Kind::Keyring, key),
        payload,
        key,
        &context("keyring", &[]),
    )
}

/// Signatures of `keys` over `payload`, sorted by key id.
pub(crate) fn sorted(keys: &[Key], payload: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = keys.to_vec();
    keys.sort_unstable_by_key(|key| key.id());
    keys.iter()
        .map(|key| envelope(*key, payload).join())
        .collect()
}

/// The golden keyring, packed otherwise.
fn envelopes() -> Vec<Bad> {
    let farm = farm::golden().0;
    let payload = encode(&farm::keyring());
    let both = sorted(&MASTERS, &payload);
    let good = both.concat();
    let other = encode(&farm::other_keyring());
    let mut long_tag = hex("82 d8 12");
    long_tag.extend_from_slice(&good[1..]);
    let row = |name, bytes: Vec<u8>, error, why| {
        bad(name, farm, &payload, &MASTERS, bytes).refused("E-ENVELOPE", error, why)
    };
    vec![
        row(
            "keyring-unsorted",
            [&hex("82")[..], &both[1], &both[0]].concat(),
            "Envelope(NotDeterministic)",
            "the signatures are not sorted by key id",
        ),
        row(
            "keyring-trailing-byte",
            [&hex("82")[..], &good, &[0]].concat(),
            "Envelope(NotDeterministic)",
            "one byte follows the end",
        ),
        row(
            "keyring-long-array",
            [&hex("98 02")[..], &good].concat(),
            "Envelope(NotDeterministic)",
            "the array's length takes two bytes where one is enough",
        ),
        row(
            "keyring-indefinite-array",
            [&hex("9f")[..], &good, &hex("ff")].concat(),
            "Envelope(NotDeterministic)",
            "the array does not say its length in advance",
        ),
        row(
            "keyring-long-tag",
            long_tag,
            "Envelope(NotDeterministic)",
            "the first signature's tag takes two bytes where one is enough",
        ),
        row(
            "keyring-two-payloads",
            [
                &hex("82")[..],
                &envelope(Key::SecondMaster, &payload).join(),
                &envelope(Key::FirstMaster, &other).join(),
            ]
            .concat(),
            "Envelope(Header(",
            "the two signatures are over two keyrings",
        ),
        row(
            "keyring-nesting-bomb",
            [&hex("82")[..], &[0x81; 10_000], &[0]].concat(),
            "Envelope(NotCose(",
            "arrays nest 10,000 deep",
        ),
        bad(
            "keyring-same-key-twice",
            farm,
            &payload,
            &[Key::FirstMaster; 2],
            [&hex("82")[..], &both[0], &both[0]].concat(),
        )
        .refused(
            "E-ENVELOPE",
            "Envelope(Header(",
            "two must sign, and one signed twice",
        ),
        Bad {
            id: None,
            ..bad("keyring-of-none", farm, &payload, &[], hex("80"))
        }
        .refused(
            "E-ENVELOPE",
            "Envelope(Header(",
            "there is no signature, and so no keyring",
        ),
        bad(
            "keyring-seventeen-signatures",
            farm,
            &payload,
            &[Key::FirstMaster; 17],
            [hex("91"), both[0].repeat(17)].concat(),
        )
        .refused(
            "E-ENVELOPE",
            "Envelope(Header(\"a keyring is 1 to 16 envelopes\"",
            "at most sixteen may sign",
        ),
        bad(
            "keyring-bare",
            farm,
            &payload,
            &[Key::FirstMaster],
            both[0].clone(),
        )
        .refused(
            "E-ENVELOPE",
            "Envelope(NotCose(",
            "the signature does not stand in an array",
        ),
    ]
}

/// The golden keyring, not signed as it demands.
fn signatures() -> Vec<Bad> {
    let farm = farm::golden().0;
    let payload = encode(&farm::keyring());
    let signed_by = |name, keys: &[Key]| {
        let all = sorted(keys, &payload);
        let count = u8::try_from(all.len()).expect("a few");
        bad(
            name,
            farm,
            &payload,
            keys,
            [vec![0x80 | count], all.concat()].concat(),
        )
    };
    let replaced = |name, second: Parts, why| {
        let mut two = [
            (Key::FirstMaster, envelope(Key::FirstMaster, &payload)),
            (Key::SecondMaster, second),
        ];
        two.sort_unstable_by_key(|(key, _)| key.id());
        let [(_, one), (_, other)] = two;
        let bytes = [hex("82"), one.join(), other.join()].concat();
        bad(name, farm, &payload, &MASTERS, bytes).refused("E-SIGNATURE", "BadSignature(", why)
    };
    vec![
        signed_by("keyring-threshold-not-met", &[Key::FirstMaster]).refused(
            "E-THRESHOLD",
            "Threshold {",
            "two master keys must sign, and one did",
        ),
        signed_by(
            "keyring-by-a-signing-key",
            &[Key::FirstMaster, Key::Signing],
        )
        .refused(
            "E-SIGNATURE",
            "BadSignature(",
            "one of the two that signed is a signing key",
        ),
        signed_by(
            "keyring-by-a-successor",
            &[Key::FirstMaster, Key::SecondMaster, Key::FirstSuccessor],
        )
        .refused(
            "E-SIGNATURE",
            "BadSignature(",
            "beside the two that must sign, one signed whose time has not come",
        ),
        replaced(
            "keyring-signature-by-another-key",
            signed(
                &header(Kind::Keyring, Key::SecondMaster),
                &payload,
                Key::FirstMaster,
                &context("keyring", &[]),
            ),
            "the second signature names the second master key, and the first one made it",
        ),
        replaced(
            "keyring-signed-for-its-farm",
            signed(
                &header(Kind::Keyring, Key::SecondMaster),
                &payload,
                Key::SecondMaster,
                &context("keyring", &farm.0),
            ),
            "a keyring is signed for no farm in particular, and the second signature is for this one",
        ),
        replaced(
            "keyring-signed-as-roster",
            signed(
                &header(Kind::Keyring, Key::SecondMaster),
                &payload,
                Key::SecondMaster,
                &context("roster", &[]),
            ),
            "the second signature was made for a roster",
        ),
    ]
}

/// Not the keyring that the farm's id is the hash of, or not the first.
fn positions() -> Vec<Bad> {
    let other = farm::other_keyring();
    let (_, other_bytes) = signed_keyring(&other, &[Key::OtherMaster]);
    let forged = Keyring {
        commitment: other.commitment,
        ..farm::keyring()
    };
    let (_, forged_bytes) = signed_keyring(&forged, &MASTERS);
    let farm = farm::golden().0;
    let why = "a farm is the hash of its first keyring, and this one has another";
    vec![
        bad(
            "keyring-of-another-farm",
            farm,
            &encode(&other),
            &[Key::OtherMaster],
            other_bytes,
        )
        .refused("E-FARM", "OtherFarm {", why),
        bad(
            "keyring-with-another-commitment",
            farm,
            &encode(&forged),
            &MASTERS,
            forged_bytes,
        )
        .refused(
            "E-FARM",
            "OtherFarm {",
            "the right master keys signed it, and it commits to others than the farm's id does",
        ),
        pinned("keyring-not-the-first", |keyring| {
            keyring.position.serial = 1;
            keyring.previous = Some(PayloadId([0x63; 32]));
        })
        .refused(
            "E-POSITION",
            "NotTheFirst(",
            "the chain begins with keyring 0.0, and this is 0.1",
        ),
        pinned("keyring-not-the-first-generation", |keyring| {
            keyring.position = Position {
                generation: 1,
                serial: 0,
            };
            keyring.previous = Some(PayloadId([0x63; 32]));
        })
        .refused(
            "E-POSITION",
            "NotTheFirst(",
            "the chain begins with keyring 0.0, and this is 1.0",
        ),
    ]
}

/// The golden keyring with one thing changed, signed by its master keys and pinned by its hash.
fn pinned(name: &'static str, change: impl Fn(&mut Keyring)) -> Bad {
    let mut keyring = farm::keyring();
    change(&mut keyring);
    let (farm, bytes) = signed_keyring(&keyring, &MASTERS);
    bad(name, farm, &encode(&keyring), &MASTERS, bytes)
}

/// What a keyring must not say, whoever signed it.
fn rules() -> Vec<Bad> {
    let unsound = |name, change: fn(&mut Keyring, PublicKey), key, why| {
        pinned(name, |keyring| change(keyring, key)).refused("E-UNSOUND", "Unsound(", why)
    };
    let rule = |name, change: fn(&mut Keyring), error, why| {
        pinned(name, change).refused("E-KEYRING", error, why)
    };
    let weak_why = "a point of small order, whose signatures anybody can make";
    vec![
        unsound(
            "keyring-weak-master-key",
            |keyring, key| keyring.master_keys[2] = key,
            weak(),
            weak_why,
        ),
        unsound(
            "keyring-weak-signing-key",
            |keyring, key| keyring.signing_keys[0].key = key,
            weak(),
            weak_why,
        ),
        unsound(
            "keyring-weak-revoked-key",
            |keyring, key| keyring.revoked[0].window.key = key,
            weak(),
            weak_why,
        ),
        unsound(
            "keyring-second-spelling-of-a-key",
            |keyring, key| keyring.signing_keys[0].key = key,
            second_spelling(),
            "a signing key is spelled in a second way, which would be a second identity",
        ),
        rule(
            "keyring-threshold-zero",
            |keyring| keyring.threshold = 0,
            THRESHOLD,
            "no master key would have to sign",
        ),
        rule(
            "keyring-threshold-too-high",
            |keyring| keyring.threshold = 4,
            THRESHOLD,
            "four of three master keys would have to sign",
        ),
        rule(
            "keyring-master-key-twice",
            |keyring| keyring.master_keys[2] = Key::FirstMaster.public(),
            THRESHOLD,
            "one master key is listed twice, and would count twice",
        ),
        rule(
            "keyring-empty-window",
            |keyring| keyring.signing_keys[0].not_after = keyring.signing_keys[0].not_before,
            "Rule(\"a signing key's window is empty",
            "a signing key's window ends where it begins",
        ),
        rule(
            "keyring-master-key-signs",
            |keyring| keyring.signing_keys[0].key = Key::ThirdMaster.public(),
            "Rule(\"a master key is also a signing key",
            "a master key, which is to be offline, is listed as a signing key",
        ),
        rule(
            "keyring-first-with-one-before",
            |keyring| keyring.previous = Some(PayloadId([0x63; 32])),
            "Rule(\"only keyring 0.0",
            "the first keyring builds on one before it",
        ),
        rule(
            "keyring-signing-key-twice",
            |keyring| {
                keyring.signing_keys[1] = keyring.signing_keys[0].clone();
                keyring.signing_keys[1].not_after = NOW;
            },
            TWICE,
            "one signing key has two windows",
        ),
        rule(
            "keyring-signing-key-revoked-too",
            |keyring| keyring.revoked[0].window.key = Key::Signing.public(),
            TWICE,
            "one key is in force and revoked",
        ),
        rule(
            "keyring-two-reasons",
            |keyring| keyring.revoked[0].window.key = Key::Compromised.public(),
            TWICE,
            "one key was retired and is in the hands of others",
        ),
    ]
}
