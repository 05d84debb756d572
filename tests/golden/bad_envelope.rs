//! Envelopes in another spelling, or of another shape, around a good command. Whoever could re-frame signed bytes could
//! replay whatever is told apart by its bytes (A131).

use pybots::wire::{Kind, encode};

use crate::bad::Bad;
use crate::farm::{self, Key};
use crate::raw::{Parts, bstr, context, hex, labels, message, signed};
use crate::values;

const NOT_COSE: &str = "Envelope(NotCose(";
const NOT_DETERMINISTIC: &str = "Envelope(NotDeterministic)";
const ALGORITHM: &str = "Envelope(Header(\"the algorithm";
const CONTENT_TYPE: &str = "Envelope(Header(\"the content type";
const KEY_ID: &str = "Envelope(Header(\"the key id";

pub(crate) fn all() -> Vec<Bad> {
    let farm = farm::golden().0;
    let payload = encode(&values::command_to_cancel());
    let good = message(Kind::Command, Key::Signing, &farm, &payload);
    let mut all: Vec<Bad> = spellings(&good, &payload)
        .into_iter()
        .chain(shapes(&good))
        .chain(headers(&payload))
        .map(|(name, envelope, error, why)| {
            Bad::envelope(name, Kind::Command, Key::Signing, &payload, &envelope).refused(
                "E-ENVELOPE",
                error,
                why,
            )
        })
        .collect();
    for bad in &mut all {
        match bad.name {
            "envelope-payload-nil" => bad.id = None,
            "header-empty" | "header-without-kid" | "header-short-kid" => bad.signers.clear(),
            _ => {}
        }
    }
    all.push(too_long());
    all
}

type Row = (&'static str, Parts, &'static str, &'static str);

/// The same signed bytes, written otherwise. A lenient reader finds each of these valid.
fn spellings(good: &Parts, payload: &[u8]) -> Vec<Row> {
    let with = |change: fn(&mut Parts)| {
        let mut parts = good.clone();
        change(&mut parts);
        parts
    };
    let length = u8::try_from(payload.len()).expect("a payload of 24 to 255 bytes");
    let long_length = [&[0x59, 0, length], payload].concat();
    let chunked = [&hex("5f")[..], &good.payload, &hex("ff")].concat();
    vec![
        (
            "envelope-trailing-byte",
            with(|parts| parts.signature.push(0)),
            NOT_COSE,
            "one byte follows the end",
        ),
        (
            "envelope-long-tag",
            with(|parts| parts.head = hex("d8 12 84")),
            NOT_DETERMINISTIC,
            "tag 18 takes two bytes where one is enough",
        ),
        (
            "envelope-long-array",
            with(|parts| parts.head = hex("d2 98 04")),
            NOT_DETERMINISTIC,
            "the array's length takes two bytes where one is enough",
        ),
        (
            "envelope-indefinite-array",
            with(|parts| {
                parts.head = hex("d2 9f");
                parts.signature.push(0xff);
            }),
            NOT_DETERMINISTIC,
            "the array does not say its length in advance",
        ),
        (
            "envelope-long-payload-length",
            Parts {
                payload: long_length,
                ..good.clone()
            },
            NOT_DETERMINISTIC,
            "the payload's length takes three bytes where two are enough",
        ),
        (
            "envelope-indefinite-payload",
            Parts {
                payload: chunked,
                ..good.clone()
            },
            NOT_DETERMINISTIC,
            "the payload comes in chunks of a byte string without a length",
        ),
        (
            "envelope-long-signature-length",
            Parts {
                signature: [&hex("59 0040")[..], &good.signature[2..]].concat(),
                ..good.clone()
            },
            NOT_DETERMINISTIC,
            "the signature's length takes three bytes where two are enough",
        ),
        (
            "envelope-unprotected-label",
            with(|parts| parts.unprotected = hex("a1 18 63 00")),
            NOT_DETERMINISTIC,
            "the unprotected header, which nobody signed, is not empty",
        ),
        (
            "envelope-unprotected-algorithm",
            with(|parts| parts.unprotected = hex("a1 01 32")),
            NOT_DETERMINISTIC,
            "the algorithm stands in both headers",
        ),
    ]
}

/// Not a `COSE_Sign1` with a payload and a signature of 64 bytes.
fn shapes(good: &Parts) -> Vec<Row> {
    let with = |change: fn(&mut Parts)| {
        let mut parts = good.clone();
        change(&mut parts);
        parts
    };
    let nil = Parts {
        payload: hex("f6"),
        ..signed(
            &crate::raw::header(Kind::Command, Key::Signing),
            &[],
            Key::Signing,
            &context("command", &farm::golden().0.0),
        )
    };
    vec![
        (
            "envelope-no-tag",
            with(|parts| parts.head = hex("84")),
            NOT_COSE,
            "the tag is missing",
        ),
        (
            "envelope-other-tag",
            with(|parts| parts.head = hex("d1 84")),
            NOT_COSE,
            "tag 17 says that this is a MAC",
        ),
        (
            "envelope-nesting-bomb",
            with(|parts| {
                parts.unprotected = [hex("a1 18 63"), vec![0x81; 10_000], hex("00")].concat();
            }),
            NOT_COSE,
            "arrays nest 10,000 deep in the unprotected header",
        ),
        (
            "envelope-length-bomb",
            with(|parts| parts.payload = hex("5b 4000000000000000")),
            NOT_COSE,
            "the payload claims to have 2^62 bytes",
        ),
        (
            "envelope-payload-nil",
            nil,
            "Envelope(NoPayload)",
            "no payload is inside; the signature is over an empty one",
        ),
        (
            "envelope-short-signature",
            with(|parts| parts.signature = bstr(&parts.signature[2..65])),
            "Envelope(SignatureLength)",
            "the signature has 63 bytes",
        ),
        (
            "envelope-long-signature",
            with(|parts| {
                parts.signature = [&hex("58 41")[..], &parts.signature[2..], &[0]].concat();
            }),
            "Envelope(SignatureLength)",
            "the signature has 65 bytes",
        ),
    ]
}

/// Other protected headers, each truly signed.
fn headers(payload: &[u8]) -> Vec<Row> {
    let [algorithm, content_type, kid] = labels(Kind::Command, Key::Signing);
    let short_kid = [hex("04"), bstr(&Key::Signing.id().0[..31])].concat();
    let version_2 = [
        hex("03"),
        crate::raw::tstr("application/vnd.pybots.command.v2+cbor"),
    ]
    .concat();
    let header = |parts: &[&[u8]]| {
        signed(
            &parts.concat(),
            payload,
            Key::Signing,
            &context("command", &farm::golden().0.0),
        )
    };
    vec![
        (
            "header-old-algorithm",
            header(&[&hex("a3 01 27"), &content_type, &kid]),
            ALGORITHM,
            "the algorithm is -8 (EdDSA), which does not say which curve",
        ),
        (
            "header-algorithm-only-unprotected",
            Parts {
                unprotected: hex("a1 01 32"),
                ..header(&[&hex("a2"), &content_type, &kid])
            },
            ALGORITHM,
            "the algorithm stands only in the header that nobody signed",
        ),
        (
            "header-empty",
            header(&[]),
            ALGORITHM,
            "the protected header is empty",
        ),
        (
            "header-extra-label",
            header(&[
                &hex("a4"),
                &algorithm,
                &content_type,
                &kid,
                &hex("18 63 00"),
            ]),
            NOT_DETERMINISTIC,
            "the protected header has a fourth label, 99",
        ),
        (
            "header-critical",
            header(&[
                &hex("a5"),
                &algorithm,
                &hex("02 81 18 63"),
                &content_type,
                &kid,
                &hex("18 63 00"),
            ]),
            NOT_COSE,
            "the protected header calls critical a label that nobody knows",
        ),
        (
            "header-critical-known",
            header(&[
                &hex("a4"),
                &algorithm,
                &hex("02 81 04"),
                &content_type,
                &kid,
            ]),
            NOT_DETERMINISTIC,
            "the protected header calls critical a label that every reader knows",
        ),
        (
            "header-duplicate-label",
            header(&[&hex("a4"), &algorithm, &content_type, &kid, &kid]),
            NOT_COSE,
            "the protected header has the key id twice",
        ),
        (
            "header-unsorted",
            header(&[&hex("a3"), &content_type, &algorithm, &kid]),
            NOT_DETERMINISTIC,
            "the protected header's labels are not in order",
        ),
        (
            "header-long-algorithm",
            header(&[&hex("a3 01 38 12"), &content_type, &kid]),
            NOT_DETERMINISTIC,
            "the algorithm's number takes two bytes where one is enough",
        ),
        (
            "header-indefinite",
            header(&[&hex("bf"), &algorithm, &content_type, &kid, &hex("ff")]),
            NOT_DETERMINISTIC,
            "the protected header does not say its length in advance",
        ),
        (
            "header-version-2",
            header(&[&hex("a3"), &algorithm, &version_2, &kid]),
            CONTENT_TYPE,
            "the content type is of a version that this reader does not know",
        ),
        (
            "header-without-content-type",
            header(&[&hex("a2"), &algorithm, &kid]),
            CONTENT_TYPE,
            "the content type is missing",
        ),
        (
            "header-without-kid",
            header(&[&hex("a2"), &algorithm, &content_type]),
            KEY_ID,
            "the key id is missing",
        ),
        (
            "header-short-kid",
            header(&[&hex("a3"), &algorithm, &content_type, &short_kid]),
            KEY_ID,
            "the key id has 31 bytes",
        ),
    ]
}

/// A build that would be believed if it were shorter: what it covers takes 17 KiB.
fn too_long() -> Bad {
    let payload = encode(&values::command_covering(512));
    Bad::payload("command-too-long", Kind::Command, Key::Signing, &payload).refused(
        "E-SIZE",
        "Envelope(TooLong {",
        "it has more than 17 KiB, and a command may have 16 KiB",
    )
}
