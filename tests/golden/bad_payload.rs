//! Heads truly signed by the right key, with one rule of spelling or one field broken. What is shown of the smallest
//! payload holds for all: they are read by the same code.

use pybots::wire::Kind;

use crate::bad::Bad;
use crate::farm::{self, Key, NOW};
use crate::raw::{bstr, hex, tstr};

pub(crate) const NOT_DETERMINISTIC: &str = "Payload(NotDeterministic)";
pub(crate) const CBOR: &str = "Payload(Cbor(";
pub(crate) const UNKNOWN_FIELD: &str = "Payload(UnknownField {";
pub(crate) const MISSING_FIELD: &str = "Payload(MissingField {";
pub(crate) const VALUE: &str = "Payload(Value {";

pub(crate) type Row = (&'static str, Vec<u8>, &'static str, &'static str);

pub(crate) fn all() -> Vec<Bad> {
    spellings()
        .into_iter()
        .chain(fields())
        .map(|(name, payload, error, why)| {
            Bad::payload(name, Kind::Head, Key::Signing, &payload).refused("E-PAYLOAD", error, why)
        })
        .collect()
}

/// The four fields of the good head, each with its number: `{0: farm, 1: [0, 0], 2: 7, 3: time}`.
fn head() -> [Vec<u8>; 4] {
    [
        [hex("00"), bstr(&farm::golden().0.0)].concat(),
        hex("01 82 00 00"),
        hex("02 07"),
        [&hex("03 1b")[..], &NOW.0.to_be_bytes()].concat(),
    ]
}

/// The good head with its first byte, which says that four fields follow.
pub(crate) fn good_head() -> Vec<u8> {
    [hex("a4"), head().concat()].concat()
}

/// One content, two spellings.
fn spellings() -> Vec<Row> {
    let [farm, keyring, roster, time] = head();
    let good = good_head();
    vec![
        (
            "payload-trailing-byte",
            [&good[..], &[0]].concat(),
            NOT_DETERMINISTIC,
            "one byte follows the end",
        ),
        (
            "payload-indefinite-map",
            [&hex("bf")[..], &good[1..], &hex("ff")].concat(),
            NOT_DETERMINISTIC,
            "the map does not say its length in advance",
        ),
        (
            "payload-long-map",
            [&hex("b8 04")[..], &good[1..]].concat(),
            NOT_DETERMINISTIC,
            "the map's length takes two bytes where one is enough",
        ),
        (
            "payload-long-integer",
            [
                hex("a4"),
                farm.clone(),
                keyring.clone(),
                hex("02 18 07"),
                time.clone(),
            ]
            .concat(),
            NOT_DETERMINISTIC,
            "a number takes two bytes where one is enough",
        ),
        (
            "payload-long-field-number",
            [
                hex("a4"),
                farm.clone(),
                keyring.clone(),
                hex("18 02 07"),
                time.clone(),
            ]
            .concat(),
            NOT_DETERMINISTIC,
            "a field's number takes two bytes where one is enough",
        ),
        (
            "payload-indefinite-array",
            [
                hex("a4"),
                farm.clone(),
                hex("01 9f 00 00 ff"),
                roster.clone(),
                time.clone(),
            ]
            .concat(),
            NOT_DETERMINISTIC,
            "an array does not say its length in advance",
        ),
        (
            "payload-indefinite-bytes",
            [
                &hex("a4 00 5f")[..],
                &farm[1..],
                &hex("ff"),
                &keyring,
                &roster,
                &time,
            ]
            .concat(),
            CBOR,
            "a byte string comes in chunks",
        ),
        (
            "payload-tagged",
            [&hex("d9 d9f7")[..], &good].concat(),
            NOT_DETERMINISTIC,
            "the tag that says \"this is CBOR\" stands before it",
        ),
        (
            "payload-tagged-field",
            [
                &hex("a4")[..],
                &farm,
                &keyring,
                &roster,
                &hex("03 c1"),
                &time[1..],
            ]
            .concat(),
            CBOR,
            "a tag says of the time that it is a time",
        ),
        (
            "payload-bignum",
            [
                hex("a4"),
                farm.clone(),
                keyring.clone(),
                hex("02 c2 41 07"),
                time.clone(),
            ]
            .concat(),
            CBOR,
            "a number is spelled as a big one",
        ),
        (
            "payload-float",
            [hex("a4"), farm, keyring, hex("02 f9 4700"), time].concat(),
            CBOR,
            "a number is spelled 7.0",
        ),
    ]
}

/// Fields that are not those of a head.
fn fields() -> Vec<Row> {
    let [farm, keyring, roster, time] = head();
    let good = good_head();
    vec![
        (
            "payload-duplicate-field",
            [&hex("a5")[..], &good[1..], &time].concat(),
            UNKNOWN_FIELD,
            "the last field stands there twice",
        ),
        (
            "payload-unsorted-fields",
            [&hex("a4")[..], &farm, &keyring, &time, &roster].concat(),
            MISSING_FIELD,
            "the fields are not in order",
        ),
        (
            "payload-unknown-field",
            [&hex("a5")[..], &good[1..], &hex("04 00")].concat(),
            UNKNOWN_FIELD,
            "it has a field 4, and a head has none",
        ),
        (
            "payload-named-field",
            [&hex("a5")[..], &good[1..], &tstr("x"), &[0]].concat(),
            CBOR,
            "it has a field with a name instead of a number",
        ),
        (
            "payload-negative-field",
            [&hex("a5")[..], &good[1..], &hex("20 00")].concat(),
            CBOR,
            "it has a field -1",
        ),
        (
            "payload-missing-field",
            [&hex("a3")[..], &farm, &keyring, &roster].concat(),
            MISSING_FIELD,
            "the time is missing",
        ),
        (
            "payload-null-field",
            [&hex("a4")[..], &farm, &keyring, &roster, &hex("03 f6")].concat(),
            CBOR,
            "the time is null",
        ),
        (
            "payload-undefined-field",
            [&hex("a4")[..], &farm, &keyring, &hex("02 f7"), &time].concat(),
            CBOR,
            "the roster's version is undefined",
        ),
        (
            "payload-boolean-for-number",
            [&hex("a4")[..], &farm, &keyring, &hex("02 f5"), &time].concat(),
            CBOR,
            "the roster's version is true",
        ),
        (
            "payload-negative",
            [&hex("a4")[..], &farm, &keyring, &hex("02 20"), &time].concat(),
            CBOR,
            "the roster's version is -1",
        ),
        (
            "payload-number-too-great",
            [
                &hex("a4")[..],
                &farm,
                &hex("01 82 00 1b 0000000100000000"),
                &roster,
                &time,
            ]
            .concat(),
            CBOR,
            "a keyring's serial is 2^32",
        ),
        (
            "payload-short-farm",
            [
                &hex("a4 00 58 1f")[..],
                &farm[3..34],
                &keyring,
                &roster,
                &time,
            ]
            .concat(),
            VALUE,
            "the farm's id has 31 bytes",
        ),
        (
            "payload-text-for-bytes",
            [
                &hex("a4 00 78 20")[..],
                &[b'a'; 32],
                &keyring,
                &roster,
                &time,
            ]
            .concat(),
            CBOR,
            "the farm's id is text",
        ),
        (
            "payload-position-of-three",
            [
                &hex("a4")[..],
                &farm,
                &hex("01 83 00 00 00"),
                &roster,
                &time,
            ]
            .concat(),
            NOT_DETERMINISTIC,
            "a keyring's position has three numbers",
        ),
        (
            "payload-array-for-map",
            [
                &hex("84")[..],
                &farm[1..],
                &keyring[1..],
                &roster[1..],
                &time[1..],
            ]
            .concat(),
            CBOR,
            "the fields stand in an array, without numbers",
        ),
        ("payload-empty", vec![], CBOR, "the payload has no bytes"),
        (
            "payload-cut-off",
            good[..good.len() - 1].to_vec(),
            CBOR,
            "the last byte is missing",
        ),
    ]
}
