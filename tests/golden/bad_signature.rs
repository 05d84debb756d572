//! Commands in flawless envelopes, whose signature is not the signing key's over this very command for this farm.

use pybots::wire::{Kind, encode};

use crate::bad::Bad;
use crate::farm::{self, Key};
use crate::raw::{Parts, bstr, context, header, hex, message, signed, to_be_signed};
use crate::values;

const WRONG: &str = "BadSignature(";

pub(crate) fn all() -> Vec<Bad> {
    let farm = farm::golden().0;
    let payload = encode(&values::command_to_cancel());
    let header = header(Kind::Command, Key::Signing);
    let good = message(Kind::Command, Key::Signing, &farm, &payload);
    let by = |key| signed(&header, &payload, key, &context("command", &farm.0));
    let under = |context: &[u8]| signed(&header, &payload, Key::Signing, context);
    let signature = |signature: &[u8]| Parts {
        signature: bstr(signature),
        ..good.clone()
    };
    let right = &good.signature[2..];
    let mut flipped = right.to_vec();
    flipped[0] ^= 1;
    let neutral = Key::Signing.sign_with_neutral_point(&to_be_signed(
        &header,
        &payload,
        &context("command", &farm.0),
    ));
    let other_payload = encode(&values::command_to_build());
    let other_farm = context("command", &farm::other_farm().0);
    [
        (
            "signature-bit-flipped",
            signature(&flipped),
            "one bit of the signature is flipped",
        ),
        (
            "signature-malleated",
            signature(&plus_group_order(right)),
            "the group's order was added to the signature's second half, which a lax reader takes for the same signature",
        ),
        (
            "signature-neutral-point",
            signature(&neutral),
            "the signature's first half is a point of small order, which a lax reader takes for a true signature",
        ),
        (
            "signature-zero",
            signature(&[0; 64]),
            "the signature is 64 zero bytes",
        ),
        (
            "signature-of-another-message",
            Parts {
                payload: bstr(&payload),
                ..message(Kind::Command, Key::Signing, &farm, &other_payload)
            },
            "the signature is that of another command",
        ),
        (
            "signature-by-another-key",
            by(Key::Stranger),
            "the header names the signing key, and a stranger's key signed",
        ),
        (
            "signature-for-another-kind",
            under(&context("head", &farm.0)),
            "it was signed as a head",
        ),
        (
            "signature-for-another-farm",
            under(&other_farm),
            "it was signed for another farm",
        ),
        (
            "signature-for-no-farm",
            under(&context("command", &[])),
            "it was signed for no farm in particular",
        ),
        (
            "signature-for-another-protocol",
            under(&[&hex("83 68")[..], b"pybots/2", &context("command", &farm.0)[10..]].concat()),
            "it was signed for another version of the protocol",
        ),
        (
            "signature-without-context",
            under(&[]),
            "it was signed without any context",
        ),
    ]
    .into_iter()
    .map(|(name, envelope, why)| {
        Bad::envelope(name, Kind::Command, Key::Signing, &payload, &envelope)
            .refused("E-SIGNATURE", WRONG, why)
    })
    .collect()
}

/// Adds L, the order of the group, to the half of a signature that is a number modulo L.
fn plus_group_order(signature: &[u8]) -> Vec<u8> {
    let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0;
    let sum = signature[32..].iter().zip(order).map(|(a, b)| {
        carry += u16::from(*a) + u16::from(b);
        let [low, high] = carry.to_le_bytes();
        carry = u16::from(high);
        low
    });
    [&signature[..32], &sum.collect::<Vec<u8>>()].concat()
}
