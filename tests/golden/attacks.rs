//! The attack catalogue's section on encoding: which bad files answer which number, and what no file can show. No file that is
//! refused for how it is written is without a number. A58 has no test here: programs get JSON from `status::json`, which is
//! given what was opened and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use pybots::model::{Command, Position, Timestamp};
use pybots::wire::{Envelope, KeyringEnvelopes, Kind, decode, encode};

use crate::{bad, good, on_disk, refusal, values};

/// A number, what is tried, and the files; `*` stands for any characters.
const ENCODING: &[(&str, &str, &[&str])] = &[
    (
        "A45",
        "a key of a map twice",
        &["*-duplicate*", "parameters-contradicting", "ext-twice"],
    ),
    (
        "A46",
        "keys out of order, numbers and lengths longer than they need be",
        &[
            "*-unsorted*",
            "*-long-*",
            "parameters-in-alphabetical-order",
            "ext-first",
        ],
    ),
    ("A47", "indefinite lengths", &["*-indefinite*"]),
    (
        "A48",
        "bytes after the end, or too few",
        &["*-trailing-byte", "command-of-three", "*-cut-off"],
    ),
    (
        "A49",
        "floats, tags, undefined, big numbers, other types than must stand there",
        &[
            "*-float",
            "*-double",
            "*-tag",
            "*-tagged*",
            "*-undefined*",
            "*-bignum",
            "*-simple-value",
            "*-break",
            "*-null*",
            "*-array",
            "payload-*-for-*",
            "payload-negative*",
            "*-of-three",
            "parameters-number",
            "ext-*-key*",
        ],
    ),
    (
        "A50",
        "nesting bombs",
        &["*-nesting-bomb*", "ext-*too-deep"],
    ),
    (
        "A51",
        "lengths that are not true, and messages too long",
        &["*-length-bomb*", "command-too-long"],
    ),
    (
        "A52",
        "no payload, or an empty one",
        &["envelope-payload-nil", "payload-empty"],
    ),
    (
        "A53",
        "headers in the wrong place, empty, or without what must be there",
        &[
            "envelope-unprotected-*",
            "header-empty",
            "header-*-only-unprotected",
            "header-without-*",
            "header-short-kid",
            "header-old-algorithm",
            "envelope-*-signature",
        ],
    ),
    (
        "A54",
        "headers and fields that this version does not know, or lacks",
        &[
            "header-critical*",
            "header-extra-label",
            "header-version-2",
            "*-unknown*",
            "report-field-of-another-body",
            "payload-named-field",
            "payload-missing-field",
            "ext-without-a-field",
        ],
    ),
    (
        "A55",
        "an ext that is not as strict as the rest, or stands elsewhere",
        &["ext-*"],
    ),
    (
        "A56",
        "text outside the grammar of what it stands for",
        &[
            "name-*",
            "text-*",
            "revision-*",
            "branch-*",
            "command-id-*",
            "parameters-upper-case",
            "*-not-utf-8",
        ],
    ),
    (
        "A57",
        "numbers greater than their field",
        &["payload-number-too-great", "payload-short-farm"],
    ),
    (
        "A131",
        "the same signed bytes, framed otherwise",
        &[
            "envelope-long-*",
            "envelope-indefinite-*",
            "envelope-no-tag",
            "envelope-other-tag",
            "keyring-long-*",
            "keyring-indefinite-*",
            "keyring-bare",
            "keyring-of-none",
            "keyring-seventeen-signatures",
            "keyring-same-key-twice",
            "keyring-two-payloads",
        ],
    ),
];

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches(after, &rest[at..]))
        }),
    }
}

#[test]
fn a45_to_a57_and_a131_no_second_spelling_and_nothing_unknown_is_believed() {
    let all = bad::all();
    let mut left: BTreeSet<&str> = all
        .iter()
        .filter(|bad| matches!(bad.code, "E-ENVELOPE" | "E-PAYLOAD" | "E-SIZE"))
        .map(|bad| bad.name)
        .collect();
    let mut wrong = Vec::new();
    for (number, tried, patterns) in ENCODING {
        for pattern in *patterns {
            let mut tested = false;
            for bad in all.iter().filter(|bad| matches(pattern, bad.name)) {
                // Other files of such a name break another rule.
                if !matches!(bad.code, "E-ENVELOPE" | "E-PAYLOAD" | "E-SIZE") {
                    continue;
                }
                tested = true;
                left.remove(bad.name);
                let bytes = on_disk(&format!("bad/{}.cbor", bad.name));
                let code = refusal(bad.kind, bad.farm, bad.purpose, &bytes).map(|it| it.code);
                if code != Some(bad.code) {
                    wrong.push(format!("{number}, {tried}: {}: {code:?}", bad.name));
                }
            }
            if !tested {
                wrong.push(format!("{number}, {tried}: no file is a {pattern}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(left.is_empty(), "of no number: {left:?}");
}

/// What is tried at a signature, and the files.
const SIGNATURES: &[(&str, &str, &[&str])] = &[
    (
        "A29",
        "a key of another role, or a signature over another kind",
        &["signer-*", "signature-for-another-kind"],
    ),
    (
        "A33",
        "a signature that is not in its one spelling, or that fits anything",
        &[
            "signature-malleated",
            "signature-neutral-point",
            "signature-zero",
            "envelope-short-signature",
            "envelope-long-signature",
        ],
    ),
    (
        "A39",
        "another algorithm, or one where nobody signed it",
        &[
            "header-old-algorithm",
            "header-algorithm-only-unprotected",
            "envelope-unprotected-algorithm",
        ],
    ),
];

#[test]
fn a29_a33_a39_a_signature_is_by_the_right_key_in_the_one_algorithm_and_spelling() {
    let all = bad::all();
    for (number, tried, patterns) in SIGNATURES {
        for pattern in *patterns {
            let mut files = all
                .iter()
                .filter(|bad| matches(pattern, bad.name))
                .peekable();
            assert!(files.peek().is_some(), "{number}: no file is a {pattern}");
            for bad in files {
                let bytes = on_disk(&format!("bad/{}.cbor", bad.name));
                let code = refusal(bad.kind, bad.farm, bad.purpose, &bytes).map(|it| it.code);
                assert_eq!(code, Some(bad.code), "{number}, {tried}: {}", bad.name);
            }
        }
    }
}

#[test]
fn a55_an_ext_is_read_over_and_yet_makes_another_message() {
    let all = good::all();
    let extended: Vec<_> = all
        .iter()
        .filter(|good| good.name.starts_with("ext-of-"))
        .collect();
    for kind in Kind::ALL {
        assert!(extended.iter().any(|good| good.kind == kind), "{kind}");
    }
    for good in extended {
        let bytes = on_disk(&format!("good/{}.cbor", good.name));
        // What comes out is the very value of the message without an ext.
        (good.check)(&bytes);
        let payload = if good.kind == Kind::Keyring {
            let envelopes = KeyringEnvelopes::parse(&bytes).expect("it opened");
            envelopes.payload().to_vec()
        } else {
            let envelope = Envelope::parse(&bytes, good.kind.max_len());
            envelope.expect("it opened").payload
        };
        assert_eq!(good.id.0, pybots::trust::sha256(&payload), "{}", good.name);
        let ids = all.iter().filter(|other| other.id == good.id);
        assert_eq!(ids.count(), 1, "{}: its id is its own", good.name);
    }
}

#[test]
fn a57_the_greatest_numbers_are_read_as_they_are_and_time_stops_there() {
    let Command::Build(mut build) = values::command_to_build() else {
        unreachable!("it is a build");
    };
    let last = Timestamp(u64::MAX);
    build.number = u64::MAX;
    (build.issued, build.accept_by, build.finish_by) = (last, last, last);
    build.keyring = Position {
        generation: u32::MAX,
        serial: u32::MAX,
    };
    build.steps[0].timeout = Duration::from_millis(u64::MAX);
    build.retry_of = Some(u64::MAX);
    build.attempt = u32::MAX;
    let command = Command::Build(build);
    assert_eq!(
        decode::<Command>(&encode(&command)).expect("its own spelling"),
        command
    );

    assert_eq!(last.after(Duration::MAX), last);
    assert_eq!(Timestamp(0).before(Duration::MAX), Timestamp(0));
    // A span longer than the wire can say is written as the longest that it can.
    let Command::Build(mut endless) = command.clone() else {
        unreachable!("it is a build");
    };
    endless.steps[0].timeout = Duration::MAX;
    assert_eq!(encode(&Command::Build(endless)), encode(&command));
}
