//! Messages with an `ext`: read as if they had none, but told apart by it; and each way to write one that is refused.
//! What is shown of a bad one in the smallest message holds for all: they are read by the same code.

use std::fmt::Debug;

use pybots::model::{Command, FarmId, ReportBody};
use pybots::trust::{Sealed, Standing, payload_id, sha256};
use pybots::wire::{Kind, Payload, encode};

use crate::bad::Bad;
use crate::bad_keyring::sorted;
use crate::bad_payload::{CBOR, MISSING_FIELD, NOT_DETERMINISTIC, Row, UNKNOWN_FIELD, good_head};
use crate::farm::{self, Key, NOW};
use crate::good::{ADMIT, Good, keyring_file, roster_file, sealed_message};
use crate::raw::{hex, message, splice, tstr};
use crate::values;

const UNACCEPTABLE: &str = "Payload(Value { what: \"ext\"";

/// One of every type that may stand in an `ext`, the greatest numbers, and maps and arrays as deep as they may stand.
const EVERYTHING: &str = "a8 \
    00 07 \
    01 3b ffffffffffffffff \
    02 43 00ff18 \
    03 63 61cc88 \
    04 83 f4 f5 f6 \
    18 18 81 81 81 81 81 81 80 \
    19 03e8 a2 00 a0 1a 00010000 1b ffffffffffffffff \
    1b ffffffffffffffff 60";

/// `payload` with one field more: number 99, and `ext` as its value.
fn extended(payload: &[u8], ext: &str) -> Vec<u8> {
    let mut payload = payload.to_vec();
    // A command is `[variant, map]`. Each map has less than 23 fields, so that its first byte says how many.
    let map = if payload[0] == 0x82 { 2 } else { 0 };
    assert!((0xa0..0xb7).contains(&payload[map]), "a small map");
    payload[map] += 1;
    payload.extend(hex("18 63"));
    payload.extend(hex(ext));
    payload
}

pub(crate) fn good() -> Vec<Good> {
    let keyring = extended(&encode(&farm::keyring()), EVERYTHING);
    let keys = [Key::FirstMaster, Key::SecondMaster];
    let signed = [vec![0x82], sorted(&keys, &keyring).concat()].concat();
    vec![
        keyring_file(
            "ext-of-keyring",
            FarmId(sha256(&keyring)),
            signed,
            &farm::keyring(),
            keys.map(Key::id).to_vec(),
        ),
        roster_file(
            "ext-of-roster",
            sealed(Key::Signing, &farm::roster(farm::golden().0)),
        ),
        read_as("ext-of-head", Key::Signing, values::head()),
        read_as("ext-of-lead", Key::Signing, values::lead()),
        read_as("ext-of-change", Key::Signing, values::change()),
        read_as(
            "ext-of-build",
            Key::Signing,
            Command::Build(values::build()),
        ),
        read_as(
            "ext-of-cancel",
            Key::Signing,
            Command::Cancel(values::cancel()),
        ),
        read_as(
            "ext-of-report",
            Key::OakReport,
            values::report(ReportBody::Accepted { received: NOW }),
        ),
        read_as("ext-of-log", Key::OakReport, values::log()),
        read_as("ext-of-presence", Key::OakReport, values::presence()),
        read_as("ext-of-release", Key::Signing, values::release()),
        read_as(
            "ext-of-request",
            Key::AdaRequester,
            values::request(values::wishes().remove(0).1),
        ),
        read_as("ext-of-answer", Key::Signing, values::answer()),
        read_as("ext-of-lease", Key::Signing, values::lease()),
    ]
}

fn sealed<T: Payload>(key: Key, body: &T) -> Sealed {
    let payload = extended(&encode(body), EVERYTHING);
    Sealed {
        id: payload_id(&payload),
        bytes: message(T::KIND, key, &farm::golden().0, &payload).join(),
    }
}

fn read_as<T>(name: &'static str, key: Key, body: T) -> Good
where
    T: Payload + PartialEq + Debug + 'static,
{
    let sealed = sealed(key, &body);
    sealed_message(name, key, body, sealed, ADMIT, Standing::Good)
}

pub(crate) fn bad() -> Vec<Bad> {
    let head = |(name, payload, error, why): Row| {
        Bad::payload(name, Kind::Head, Key::Signing, &payload).refused("E-PAYLOAD", error, why)
    };
    let command = |(name, payload, error, why): Row| {
        Bad::payload(name, Kind::Command, Key::Signing, &payload).refused("E-PAYLOAD", error, why)
    };
    let written = written()
        .into_iter()
        .map(|(name, ext, error, why)| head((name, extended(&good_head(), ext), error, why)));
    written
        .chain(beside_others().into_iter().map(head))
        .chain(elsewhere().into_iter().map(command))
        .collect()
}

/// Each way to write an `ext` itself that is refused.
fn written() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    vec![
        (
            "ext-empty",
            "a0",
            UNACCEPTABLE,
            "an ext without anything in it would be a second spelling of none",
        ),
        ("ext-array", "81 00", UNACCEPTABLE, "an ext is an array"),
        ("ext-null", "f6", UNACCEPTABLE, "an ext is null"),
        (
            "ext-tagged",
            "d9 d9f7 a1 00 00",
            UNACCEPTABLE,
            "a tag stands before an ext",
        ),
        (
            "ext-indefinite-map",
            "bf 00 00 ff",
            UNACCEPTABLE,
            "an ext does not say its length in advance",
        ),
        (
            "ext-long-map",
            "b8 01 00 00",
            NOT_DETERMINISTIC,
            "an ext's length takes two bytes where one is enough",
        ),
        (
            "ext-long-key",
            "a1 18 01 00",
            NOT_DETERMINISTIC,
            "a key in an ext takes two bytes where one is enough",
        ),
        (
            "ext-long-integer",
            "a1 00 19 0007",
            NOT_DETERMINISTIC,
            "a number in an ext takes three bytes where one is enough",
        ),
        (
            "ext-long-negative",
            "a1 00 38 00",
            NOT_DETERMINISTIC,
            "a negative number in an ext takes two bytes where one is enough",
        ),
        (
            "ext-long-text-length",
            "a1 00 78 01 61",
            NOT_DETERMINISTIC,
            "the length of a text in an ext takes two bytes where one is enough",
        ),
        (
            "ext-indefinite-array",
            "a1 00 9f ff",
            NOT_DETERMINISTIC,
            "an array in an ext does not say its length in advance",
        ),
        (
            "ext-indefinite-map-inside",
            "a1 00 bf ff",
            NOT_DETERMINISTIC,
            "a map in an ext does not say its length in advance",
        ),
        (
            "ext-indefinite-bytes",
            "a1 00 5f 41 00 ff",
            NOT_DETERMINISTIC,
            "a byte string in an ext comes in chunks",
        ),
        (
            "ext-indefinite-text",
            "a1 00 7f 61 61 ff",
            NOT_DETERMINISTIC,
            "a text in an ext comes in chunks",
        ),
        (
            "ext-duplicate-key",
            "a2 00 01 00 02",
            UNACCEPTABLE,
            "an ext has the key 0 twice",
        ),
        (
            "ext-unsorted",
            "a2 18 18 00 00 00",
            UNACCEPTABLE,
            "an ext's keys are not in order",
        ),
        (
            "ext-unsorted-inside",
            "a1 00 81 a2 01 00 00 00",
            UNACCEPTABLE,
            "the keys of a map in an ext are not in order",
        ),
        (
            "ext-text-key",
            "a1 61 61 00",
            CBOR,
            "a key in an ext is text",
        ),
        (
            "ext-negative-key",
            "a1 20 00",
            CBOR,
            "a key in an ext is -1",
        ),
        (
            "ext-text-key-inside",
            "a1 00 a1 61 61 00",
            CBOR,
            "a key of a map in an ext is text",
        ),
        (
            "ext-float",
            "a1 00 f9 4700",
            UNACCEPTABLE,
            "an ext holds 7.0",
        ),
        (
            "ext-double",
            "a1 00 fb 3ff199999999999a",
            UNACCEPTABLE,
            "an ext holds 1.1",
        ),
        (
            "ext-bignum",
            "a1 00 c2 49 010000000000000000",
            UNACCEPTABLE,
            "an ext holds 2^64, which is spelled as a big number",
        ),
        (
            "ext-tag",
            "a1 00 c1 00",
            UNACCEPTABLE,
            "an ext holds a time with a tag",
        ),
        (
            "ext-undefined",
            "a1 00 f7",
            UNACCEPTABLE,
            "an ext holds something undefined",
        ),
        (
            "ext-simple-value",
            "a1 00 e0",
            UNACCEPTABLE,
            "an ext holds a simple value that has no meaning",
        ),
        (
            "ext-long-simple-value",
            "a1 00 f8 ff",
            UNACCEPTABLE,
            "an ext holds a simple value of two bytes",
        ),
        (
            "ext-break",
            "a1 00 ff",
            UNACCEPTABLE,
            "the end of something without a length stands where a value must",
        ),
        (
            "ext-too-deep",
            "a1 00 81 81 81 81 81 81 81 80",
            UNACCEPTABLE,
            "maps and arrays stand nine deep in an ext",
        ),
        (
            "ext-maps-too-deep",
            "a1 00 a1 00 a1 00 a1 00 a1 00 a1 00 a1 00 a1 00 a0",
            UNACCEPTABLE,
            "maps stand nine deep in an ext",
        ),
        (
            "ext-length-bomb-array",
            "a1 00 9b 4000000000000000",
            CBOR,
            "an array in an ext claims to have 2^62 items",
        ),
        (
            "ext-length-bomb-map",
            "bb ffffffffffffffff",
            CBOR,
            "an ext claims to have 2^64-1 keys",
        ),
        (
            "ext-length-bomb-text",
            "a1 00 7b 7fffffffffffffff",
            CBOR,
            "a text in an ext claims to have 2^63-1 bytes",
        ),
        (
            "ext-not-utf-8",
            "a1 00 62 c328",
            CBOR,
            "a text in an ext is not UTF-8",
        ),
        (
            "ext-cut-off",
            "a2 00 00 01",
            CBOR,
            "an ext ends in the middle",
        ),
        (
            "ext-trailing-byte",
            "a1 00 00 00",
            NOT_DETERMINISTIC,
            "one byte follows the ext",
        ),
    ]
}

/// An `ext` that is well written, beside what must not be there.
fn beside_others() -> Vec<Row> {
    let good = good_head();
    let fields = &good[1..];
    let ext = hex("18 63 a1 00 00");
    vec![
        (
            "ext-twice",
            [&hex("a6")[..], fields, &ext, &ext].concat(),
            UNKNOWN_FIELD,
            "a head has two ext",
        ),
        (
            "ext-first",
            [&hex("a5")[..], &ext, fields].concat(),
            MISSING_FIELD,
            "an ext stands before the other fields",
        ),
        (
            "ext-before-unknown-field",
            [&hex("a6")[..], fields, &ext, &hex("18 64 00")].concat(),
            UNKNOWN_FIELD,
            "a head has a field 100 after its ext",
        ),
        (
            "ext-after-unknown-field",
            [&hex("a6")[..], fields, &hex("18 62 a1 00 00"), &ext].concat(),
            UNKNOWN_FIELD,
            "a head has a field 98 before its ext",
        ),
        (
            "ext-without-a-field",
            [&hex("a4")[..], &fields[..fields.len() - 10], &ext].concat(),
            MISSING_FIELD,
            "an ext stands where the time must",
        ),
    ]
}

/// An `ext` that is well written, where none may be.
fn elsewhere() -> Vec<Row> {
    let cancel = encode(&values::command_to_cancel());
    let build = encode(&values::command_to_build());
    let ext = hex("18 63 a1 00 00");
    let source = [hex("a3 00"), tstr("foo")].concat();
    let revision = [hex("02"), tstr(&"c".repeat(40))].concat();
    let in_source = splice(&build, &source, &[hex("a4 00"), tstr("foo")].concat());
    vec![
        (
            "ext-outside-the-record",
            [&hex("83")[..], &cancel[1..], &hex("a1 00 00")].concat(),
            NOT_DETERMINISTIC,
            "an ext follows what is asked for as a third thing",
        ),
        (
            "ext-in-a-source",
            splice(&in_source, &revision, &[revision.clone(), ext].concat()),
            UNKNOWN_FIELD,
            "a record inside a build has an ext of its own",
        ),
    ]
}
