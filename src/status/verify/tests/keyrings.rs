//! By which keyrings a bundle is judged.

use super::*;
use crate::model::{Position, RevocationReason, RevokedKey};
use crate::trust::{SecretKey, commitment, countersign};

/// The sample's first keyring under another position, changed, and signed by the key of its generation.
fn keyring(case: &Case, (generation, serial): (u32, u32), change: fn(&mut Keyring)) -> Bytes {
    let [master, next, after] = [1, 2, 8].map(|seed| SecretKey::from_seed(&[seed; 32]));
    let mut keyring = Keyring {
        position: Position { generation, serial },
        previous: Some(PayloadId(case.sample.farm.0)),
        ..case.sample.reader.keyring().clone()
    };
    let mut signer = &master;
    if generation == 1 {
        signer = &next;
        keyring.master_keys = vec![next.public()];
        keyring.commitment = commitment(1, &[after.public()]);
    }
    change(&mut keyring);
    countersign(&[signer], &keyring).unwrap().to_bytes().into()
}

/// What signed the command and the roster was stolen.
fn steal(keyring: &mut Keyring) {
    let window = keyring.signing_keys.remove(0);
    keyring.revoked.push(RevokedKey {
        window,
        reason: RevocationReason::Compromised,
        revoked: at(1000),
    });
}

fn same(_: &mut Keyring) {}

fn longer(keyring: &mut Keyring) {
    keyring.expires = at(2_000_000);
}

fn with(case: &Case, keyrings: &[Bytes]) -> Bundle {
    let mut bundle = case.bundle();
    bundle.keyrings.extend_from_slice(keyrings);
    bundle
}

#[test]
fn a_bundle_holds_the_first_keyring_of_each_generation_and_the_newest_and_no_other() {
    let case = Case::new();
    let key = |position| keyring(&case, position, same);
    let all: &[(&[Bytes], &[&str])] = &[
        (&[], &[]),
        (&[key((0, 3))], &[]),
        (&[key((1, 0))], &[]),
        (
            &[key((0, 1)), key((0, 3))],
            &["E-UNNECESSARY keyring no. 2"],
        ),
        (
            &[key((0, 3)), key((1, 0))],
            &["E-UNNECESSARY keyring no. 2"],
        ),
        (
            &[key((0, 3)), key((0, 1))],
            &["E-UNNECESSARY keyring no. 3"],
        ),
        (
            &[key((0, 3)), key((0, 3))],
            &["E-UNNECESSARY keyring no. 3"],
        ),
        (
            &[key((0, 3)), keyring(&case, (0, 3), longer)],
            &["E-FORK the bundle"],
        ),
        (&[key((2, 0))], &["E-UNLINKED keyring no. 2"]),
        (
            &[keyring(&case, (0, 1), |keyring| keyring.threshold = 2)],
            &["E-MASTERS keyring no. 2"],
        ),
    ];
    for (number, (keyrings, expected)) in all.iter().enumerate() {
        assert_eq!(codes(&case, &with(&case, keyrings)), *expected, "{number}");
    }
}

#[test]
fn every_bit_of_a_later_keyring_matters() {
    let case = Case::small();
    let bundle = with(&case, &[keyring(&case, (1, 0), same)]);
    let file = bundle.to_bytes().unwrap();
    assert!(verify_file(case.sample.farm, &file, &[]).is_verified());
    let later = &bundle.keyrings[1];
    let start = file.windows(later.len()).position(|part| part == later);
    let bits = start.unwrap() * 8..(start.unwrap() + later.len()) * 8;
    let accepted: Vec<usize> = bits
        .filter(|bit| {
            let mut flipped = file.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            verify_file(case.sample.farm, &flipped.into(), &[]).is_verified()
        })
        .collect();
    assert_eq!(accepted, [0; 0], "bits that do not matter");
}

#[test]
fn a26_a_newer_keyring_given_beside_a_bundle_may_take_its_word_away() {
    let case = Case::new();
    let newer = [keyring(&case, (1, 0), steal), keyring(&case, (0, 1), same)];
    let judged = |newer: &[Bytes]| verify(case.sample.farm, &case.bundle(), newer);
    assert!(judged(&newer[1..]).is_verified());
    let robbed = judged(&newer);
    let expected = ["E-REVOKED roster no. 1", "E-UNPROVEN the command"];
    assert_eq!(findings(&robbed), expected);
    let said: Vec<&str> = robbed.notes.iter().map(Text::as_str).collect();
    assert!(said[0].contains("a key that was stolen"), "{said:?}");
    assert_eq!(
        said[1],
        "judged by keyring 1.0, which was given; the bundle's own is 0.0"
    );
    let others = [case.roster(3)];
    assert_eq!(
        findings(&judged(&others)),
        ["E-ENVELOPE given keyring no. 1"]
    );
    let two = [keyring(&case, (0, 1), same), keyring(&case, (0, 1), longer)];
    assert_eq!(findings(&judged(&two)), ["E-FORK the bundle"]);
}
