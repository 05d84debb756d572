//! Rosters truly signed, whose lines give a key to whom it must not be given.

use pybots::model::{PublicKey, Roster, SlaveState};
use pybots::wire::{Kind, encode};

use crate::bad::Bad;
use crate::bad_signer::next_roster;
use crate::farm::{Key, line};
use crate::raw::hex;

pub(crate) fn all() -> Vec<Bad> {
    let row = |name, change: fn(&mut Roster), code, error, why| {
        let mut roster = next_roster();
        change(&mut roster);
        Bad::payload(name, Kind::Roster, Key::Signing, &encode(&roster)).refused(code, error, why)
    };
    vec![
        row(
            "roster-one-key-for-two",
            |roster| roster.lines[0].bus_key = Key::OakReport.public(),
            "E-ONE-KEY",
            "OneKeyForTwo(",
            "a slave logs in with its report key, so that the broker could have it sign a report",
        ),
        row(
            "roster-login-with-the-report-key-of-another",
            |roster| roster.lines[0].bus_key = Key::ElmReport.public(),
            "E-ONE-KEY",
            "OneKeyForTwo(",
            "a slave logs in with another slave's report key",
        ),
        row(
            "roster-login-with-a-signing-key",
            |roster| roster.lines[0].bus_key = Key::Future.public(),
            "E-ONE-KEY",
            "OneKeyForTwo(",
            "a slave logs in with a signing key, so that the broker could have it sign a command",
        ),
        row(
            "roster-login-with-a-master-key",
            |roster| roster.lines[0].bus_key = Key::ThirdMaster.public(),
            "E-ONE-KEY",
            "OneKeyForTwo(",
            "a slave logs in with a master key, so that the broker could have it sign a keyring",
        ),
        row(
            "roster-weak-report-key",
            |roster| roster.lines[0].report_key = weak(),
            "E-UNSOUND",
            "Unsound(",
            "a report key is a point of small order, whose signatures anybody can make",
        ),
        row(
            "roster-weak-bus-key",
            |roster| roster.lines[0].bus_key = weak(),
            "E-UNSOUND",
            "Unsound(",
            "a bus key is a point of small order, whose signatures anybody can make",
        ),
        row(
            "roster-second-spelling-of-a-key",
            |roster| roster.lines[0].report_key = second_spelling(),
            "E-UNSOUND",
            "Unsound(",
            "a report key is spelled in a second way, which would be a second identity",
        ),
        row(
            "roster-two-slaves-with-one-key",
            |roster| roster.lines[1].report_key = Key::OakReport.public(),
            "E-ROSTER",
            "Contradiction(",
            "two slaves have one report key",
        ),
        row(
            "roster-one-slave-with-two-keys",
            |roster| {
                let second = line("oak", Key::Stranger, Key::YewBus, SlaveState::Active);
                roster.lines.push(second);
            },
            "E-ROSTER",
            "Contradiction(",
            "a slave has two open lines with two report keys",
        ),
    ]
}

/// The neutral element: with it and a signature of zeros, a lax verifier accepts every message.
pub(crate) fn weak() -> PublicKey {
    let mut key = [0; 32];
    key[0] = 1;
    PublicKey(key)
}

/// A point of large order, with p added to its coordinate.
pub(crate) fn second_spelling() -> PublicKey {
    let mut key = hex(&"ff".repeat(32));
    key[0] = 0xf0;
    key[31] = 0x7f;
    PublicKey(key.try_into().expect("32 bytes"))
}
