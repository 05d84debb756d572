//! Golden files: every kind of message byte for byte, good and bad, and what must be said of each.
//!
//! `good` and `bad` hold the files, `manifest.json` what is said of them, and `reader.py` reads them without this code.
//! The tests make every file anew from fixed seeds and values and compare. Where they differ, nothing is accepted on its
//! own: the new files stand below `target/`, and whoever means the change copies them by hand.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "this whole crate is a test, and a table is as long as what it lists"
)]

mod attacks;
mod bad;
mod bad_envelope;
mod bad_keyring;
mod bad_payload;
mod bad_roster;
mod bad_signature;
mod bad_signer;
mod bad_value;
mod explained;
mod ext;
mod farm;
mod good;
mod keys;
mod manifest;
mod raw;
mod values;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pybots::model::{
    Answer, Change, Command, FarmId, Head, Lead, Lease, LogChunk, Presence, Release, Report,
    Request,
};
use pybots::trust::{Purpose, Reader, payload_id};
use pybots::wire::{Kind, Payload, encode};

use farm::Key;
use good::ADMIT;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A file of `tests/golden`.
fn on_disk(name: &str) -> Vec<u8> {
    let path = Path::new(ROOT).join("tests/golden").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file that this code makes, by its path from the repository's root, with the bytes that it must have.
fn made() -> Vec<(String, Vec<u8>)> {
    let good = good::all()
        .into_iter()
        .map(|it| (it.name, "good", it.bytes));
    let bad = bad::all().into_iter().map(|it| (it.name, "bad", it.bytes));
    let keyring = farm::golden().1;
    good.chain(bad)
        .map(|(name, folder, bytes)| (format!("tests/golden/{folder}/{name}.cbor"), bytes))
        .chain([
            (
                "tests/golden/manifest.json".to_owned(),
                manifest::text().into_bytes(),
            ),
            ("keys/golden.keyring".to_owned(), keyring),
        ])
        .collect()
}

#[test]
fn every_file_is_byte_for_byte_what_this_code_makes() {
    let differing: Vec<(String, Vec<u8>)> = made()
        .into_iter()
        .filter(|(name, bytes)| fs::read(Path::new(ROOT).join(name)).ok().as_ref() != Some(bytes))
        .collect();
    if differing.is_empty() {
        return;
    }
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden");
    // Nothing of an earlier run may be copied by mistake.
    if made.exists() {
        fs::remove_dir_all(&made).expect("the folder is this test's own");
    }
    let mut names = Vec::new();
    for (name, bytes) in differing {
        let path = made.join(&name);
        fs::create_dir_all(path.parent().expect("a folder"))
            .and_then(|()| fs::write(&path, bytes))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        names.push(name);
    }
    panic!(
        "these files differ from what the code makes, or are missing:\n  {}\n\
         A released message never changes its bytes. If the change is meant, look at each new file below\n  {}\n\
         and copy it to the same place below\n  {ROOT}",
        names.join("\n  "),
        made.display()
    );
}

#[test]
fn manifest_and_folders_list_exactly_the_same_files() {
    let listed: Vec<String> = manifest::files();
    let distinct: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), distinct.len(), "a file is listed twice");
    let mut there = BTreeSet::new();
    for part in ["good", "bad"] {
        for entry in fs::read_dir(Path::new(ROOT).join("tests/golden").join(part))
            .expect("the folder is there")
        {
            let name = entry.expect("an entry").file_name();
            there.insert(format!("{part}/{}", name.to_string_lossy()));
        }
    }
    assert_eq!(distinct, there);
}

#[test]
fn every_good_file_opens_as_the_manifest_says() {
    for good in good::all() {
        (good.check)(&on_disk(&format!("good/{}.cbor", good.name)));
    }
}

#[test]
fn good_files_hold_every_kind_of_message() {
    let kinds = good::all();
    for kind in Kind::ALL {
        assert!(kinds.iter().any(|good| good.kind == kind), "{kind}");
    }
}

/// A refusal: its code, and how its `Debug` form begins.
struct Refusal {
    code: &'static str,
    error: String,
}

/// Feeds the bytes to the opener of that kind of message.
fn refusal(kind: Kind, farm: FarmId, purpose: Purpose, bytes: &[u8]) -> Option<Refusal> {
    fn opened<T: Payload>(purpose: Purpose, bytes: &[u8]) -> Option<Refusal> {
        let error = farm::reader().open::<T>(bytes, purpose).err()?;
        Some(Refusal {
            code: error.code(),
            error: format!("{error:?}"),
        })
    }
    match kind {
        Kind::Keyring => Reader::new(farm, bytes).err().map(|error| Refusal {
            code: error.code(),
            error: format!("{error:?}"),
        }),
        Kind::Roster => {
            let mut reader = farm::reader();
            let before = reader.roster().cloned();
            let error = reader.learn_roster(bytes).err()?;
            assert_eq!(reader.roster().cloned(), before, "{error}");
            assert!(reader.reporter(&Key::Stranger.id()).is_none(), "{error}");
            Some(Refusal {
                code: error.code(),
                error: format!("{error:?}"),
            })
        }
        Kind::Head => opened::<Head>(purpose, bytes),
        Kind::Lead => opened::<Lead>(purpose, bytes),
        Kind::Change => opened::<Change>(purpose, bytes),
        Kind::Command => opened::<Command>(purpose, bytes),
        Kind::Report => opened::<Report>(purpose, bytes),
        Kind::Log => opened::<LogChunk>(purpose, bytes),
        Kind::Presence => opened::<Presence>(purpose, bytes),
        Kind::Release => opened::<Release>(purpose, bytes),
        Kind::Request => opened::<Request>(purpose, bytes),
        Kind::Answer => opened::<Answer>(purpose, bytes),
        Kind::Lease => opened::<Lease>(purpose, bytes),
    }
}

#[test]
fn every_bad_file_is_refused_by_the_rule_that_it_breaks_and_leaves_nothing_behind() {
    let mut wrong = Vec::new();
    for bad in bad::all() {
        let bytes = on_disk(&format!("bad/{}.cbor", bad.name));
        match refusal(bad.kind, bad.farm, bad.purpose, &bytes) {
            None => wrong.push(format!("{} is believed, although {}", bad.name, bad.why)),
            Some(Refusal { code, error }) => {
                if code != bad.code || !error.starts_with(bad.error) {
                    wrong.push(format!("{} is refused with {code}, {error}", bad.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a51_a_message_longer_than_its_kind_may_be_is_refused_unread() {
    let farm = farm::golden().0;
    for (kind, longest) in [
        (Kind::Keyring, 64 * 1024),
        (Kind::Roster, 768 * 1024),
        (Kind::Head, 1024),
        (Kind::Lead, 1024),
        (Kind::Change, 64 * 1024),
        (Kind::Command, 16 * 1024),
        (Kind::Report, 64 * 1024),
        (Kind::Log, 64 * 1024),
        (Kind::Presence, 64 * 1024),
        (Kind::Release, 1024),
        (Kind::Request, 16 * 1024),
        (Kind::Answer, 4 * 1024),
        (Kind::Lease, 1024),
    ] {
        let code = |len| refusal(kind, farm, ADMIT, &vec![0; len]).map(|refusal| refusal.code);
        assert_eq!(code(longest), Some("E-ENVELOPE"), "{kind}");
        assert_eq!(code(longest + 1), Some("E-SIZE"), "{kind}");
    }
}

#[test]
fn envelopes_made_by_hand_are_those_that_the_code_makes() {
    let farm = farm::golden().0;
    let command = values::command_to_cancel();
    let by_hand = raw::message(Kind::Command, Key::Signing, &farm, &encode(&command)).join();
    assert_eq!(by_hand, on_disk("good/command-cancel.cbor"));
    assert_eq!(bad_payload::good_head(), encode(&values::head()));
}

#[test]
fn no_single_flipped_bit_of_a_report_or_a_command_opens() {
    fn assert_no_flip_opens<T: Payload>(name: &str) {
        let good = on_disk(name);
        let reader = farm::reader();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            for purpose in [ADMIT, Purpose::History] {
                assert!(
                    reader.open::<T>(&bytes, purpose).is_err(),
                    "{name}, bit {bit}"
                );
            }
        }
    }
    assert_no_flip_opens::<Report>("good/report-finished.cbor");
    assert_no_flip_opens::<Command>("good/command-build.cbor");
}

#[test]
fn the_farm_is_the_hash_of_its_first_keyring() {
    let (farm, keyring) = farm::golden();
    assert_eq!(farm.0, payload_id(&encode(&farm::keyring())).0);
    assert_eq!(keyring, on_disk("../../keys/golden.keyring"));
}
