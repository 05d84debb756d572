//! Commands, reports, logs and changes truly signed by the right key, with one value outside its grammar.

use pybots::model::ReportBody;
use pybots::wire::{Kind, encode};

use crate::bad::Bad;
use crate::bad_payload::{CBOR, NOT_DETERMINISTIC, Row, UNKNOWN_FIELD, VALUE};
use crate::farm::{Key, NOW};
use crate::raw::{bstr, hex, splice, tstr};
use crate::values;

const UNKNOWN_VARIANT: &str = "Payload(UnknownVariant {";

pub(crate) fn all() -> Vec<Bad> {
    parameters()
        .into_iter()
        .chain(grammar())
        .map(|row| (Kind::Command, Key::Signing, row))
        .chain(other_kinds())
        .map(|(kind, key, (name, payload, error, why))| {
            Bad::payload(name, kind, key, &payload).refused("E-PAYLOAD", error, why)
        })
        .collect()
}

/// The map of a step's parameters, sorted by encoded keys: "b" before "aa".
fn parameters() -> Vec<Row> {
    let good = encode(&values::command_to_build());
    let (b, aa) = (hex("61 62 61 31"), hex("62 6161 61 32"));
    let sorted = [&b[..], &aa].concat();
    let change = |to: &[&[u8]]| splice(&good, &sorted, &to.concat());
    vec![
        (
            "parameters-in-alphabetical-order",
            change(&[&aa, &b]),
            NOT_DETERMINISTIC,
            "the parameters are in the order of the alphabet, \"aa\" before \"b\"",
        ),
        (
            "parameters-duplicate",
            change(&[&b, &b]),
            NOT_DETERMINISTIC,
            "the parameter \"b\" stands there twice",
        ),
        (
            "parameters-contradicting",
            change(&[&b, &hex("61 62 61 32")]),
            NOT_DETERMINISTIC,
            "the parameter \"b\" stands there twice, with two values",
        ),
        (
            "parameters-upper-case",
            change(&[&hex("61 42 61 31"), &aa]),
            VALUE,
            "a parameter's name has an upper-case letter",
        ),
        (
            "parameters-number",
            change(&[&hex("61 62 01"), &aa]),
            CBOR,
            "a parameter's value is a number",
        ),
    ]
}

/// Text outside the grammar of what it stands for.
fn grammar() -> Vec<Row> {
    let cancel = encode(&values::command_to_cancel());
    let build = encode(&values::command_to_build());
    let cancelled = |from: &str, to: &str| splice(&cancel, &tstr(from), &tstr(to));
    let revision = tstr(&"c".repeat(40));
    let revised = |to: &str| splice(&build, &revision, &tstr(to));
    let renamed = |from: &str, to: &str| splice(&build, &tstr(from), &tstr(to));
    vec![
        (
            "name-upper-case",
            cancelled("oak", "Oak"),
            VALUE,
            "a slave's name has an upper-case letter",
        ),
        (
            "name-dot",
            cancelled("foo-oak", "foo.oak"),
            VALUE,
            "a builder's name has a dot: two tokens of a subject",
        ),
        (
            "name-wildcard",
            cancelled("foo-oak", "*"),
            VALUE,
            "a builder's name is *, which stands for every builder",
        ),
        (
            "name-tail-wildcard",
            cancelled("oak", ">"),
            VALUE,
            "a slave's name is >, which stands for every subject",
        ),
        (
            "name-empty",
            cancelled("oak", ""),
            VALUE,
            "a slave's name is empty",
        ),
        (
            "name-too-long",
            cancelled("oak", &"o".repeat(49)),
            VALUE,
            "a slave's name has 49 characters",
        ),
        (
            "name-homoglyph",
            cancelled("oak", "o\u{430}k"),
            VALUE,
            "a slave's name has a Cyrillic letter",
        ),
        (
            "text-escape",
            cancelled("superseded", "\u{1b}]52;c;bHM=\u{7}"),
            VALUE,
            "a reason holds the escape character, which would set the reader's clipboard",
        ),
        (
            "text-new-line",
            cancelled("superseded", "a\nb"),
            VALUE,
            "a reason has two lines",
        ),
        (
            "text-direction",
            cancelled("superseded", "a\u{202e}b"),
            VALUE,
            "a reason turns the direction of the text after it",
        ),
        (
            "text-arabic-letter-mark",
            cancelled("superseded", "a\u{61c}b"),
            VALUE,
            "a reason holds the mark that makes what is beside it run from right to left",
        ),
        (
            "text-too-long",
            cancelled("superseded", &"x".repeat(513)),
            VALUE,
            "a reason has 513 bytes",
        ),
        (
            "text-not-utf-8",
            splice(&cancel, b"superseded", b"supers\xffded"),
            CBOR,
            "a reason is not UTF-8",
        ),
        (
            "revision-branch",
            revised("main"),
            VALUE,
            "a revision is the name of a branch",
        ),
        (
            "revision-short",
            revised("ccccccc"),
            VALUE,
            "a revision is an abbreviated one",
        ),
        (
            "revision-upper-case",
            revised(&"C".repeat(40)),
            VALUE,
            "a revision has upper-case digits",
        ),
        (
            "revision-option",
            revised("--upload-pack=touch /tmp/x;"),
            VALUE,
            "a revision is an option",
        ),
        (
            "branch-option",
            renamed("release/2.0", "--output=x"),
            VALUE,
            "a branch is an option",
        ),
        (
            "branch-range",
            renamed("release/2.0", "main..x"),
            VALUE,
            "a branch is a range of revisions",
        ),
        (
            "command-id-path",
            renamed("clean.up_all", "../../bin/sh"),
            VALUE,
            "a command id is a path",
        ),
        (
            "command-id-hidden",
            renamed("clean.up_all", ".profile"),
            VALUE,
            "a command id begins with a dot",
        ),
        (
            "command-unknown",
            [&hex("82 02")[..], &cancel[2..]].concat(),
            UNKNOWN_VARIANT,
            "it is neither a build nor a cancel",
        ),
        (
            "command-of-three",
            [&hex("83")[..], &cancel[1..], &[0]].concat(),
            NOT_DETERMINISTIC,
            "a third thing follows what is asked for",
        ),
        (
            "command-nesting-bomb",
            [vec![0x81; 10_000], hex("00")].concat(),
            NOT_DETERMINISTIC,
            "arrays nest 10,000 deep",
        ),
        (
            "command-nesting-bomb-in-a-field",
            [
                &hex("82 01 a7")[..],
                &cancel[3..],
                &hex("08"),
                &[0x81; 10_000],
                &[0],
            ]
            .concat(),
            UNKNOWN_FIELD,
            "arrays nest 10,000 deep in a field that no reader knows",
        ),
    ]
}

/// What only other kinds have.
fn other_kinds() -> Vec<(Kind, Key, Row)> {
    let accepted = encode(&values::report(ReportBody::Accepted { received: NOW }));
    let body = [&hex("82 00 a1 00 1b")[..], &NOW.0.to_be_bytes()].concat();
    let report = |to: &str| splice(&accepted, &body, &hex(to));
    let log = encode(&values::log());
    let output = bstr(&values::log().bytes);
    let change = encode(&values::change());
    // What follows the number of the field `commits`.
    let commits = change
        .windows(2)
        .position(|pair| pair == [0x06, 0x82])
        .expect("two commits");
    vec![
        (
            Kind::Report,
            Key::OakReport,
            (
                "report-unknown-body",
                report("82 07 a0"),
                UNKNOWN_VARIANT,
                "a report says something that no reader knows",
            ),
        ),
        (
            Kind::Report,
            Key::OakReport,
            (
                "report-unknown-verdict",
                report(
                    "82 05 a3 00 09 01 58 20 6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b 02 00",
                ),
                UNKNOWN_VARIANT,
                "a report's verdict is none of the nine",
            ),
        ),
        (
            Kind::Report,
            Key::OakReport,
            (
                "report-field-of-another-body",
                report("82 06 a2 00 60 01 60"),
                UNKNOWN_FIELD,
                "a report of a lost build has a field that only a refusal has",
            ),
        ),
        (
            Kind::Log,
            Key::OakReport,
            (
                "log-length-bomb",
                splice(&log, &output, &hex("5b 4000000000000000")),
                CBOR,
                "a log's output claims to have 2^62 bytes",
            ),
        ),
        (
            Kind::Change,
            Key::Signing,
            (
                "change-length-bomb",
                [&change[..=commits], &hex("9b 4000000000000000")].concat(),
                CBOR,
                "a change claims to list 2^62 commits",
            ),
        ),
    ]
}
