//! Which keyrings lead on, which are refused, and what stops a reader.

use super::*;
use crate::model::{KeyId, PublicKey, RevokedKey, SigningKeyWindow, Timestamp};
use crate::trust::{SecretKey, countersign};

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

fn at(generation: u32, serial: u32) -> Position {
    Position { generation, serial }
}

/// Master key of each generation; the next one's is the successor.
const MASTER: [u8; 4] = [1, 2, 3, 4];

fn window(seed: u8) -> SigningKeyWindow {
    SigningKeyWindow {
        key: public(seed),
        not_before: Timestamp(u64::from(seed)),
        not_after: Timestamp(1_000),
    }
}

/// The keyring at a position, on `previous`, with one signing key.
fn draft(position: Position, previous: Option<PayloadId>, signing: u8) -> Keyring {
    let generation = position.generation as usize;
    Keyring {
        name: "test".parse().unwrap(),
        position,
        previous,
        issued: Timestamp(0),
        expires: Timestamp(1_000),
        master_keys: vec![public(MASTER[generation])],
        threshold: 1,
        commitment: commitment(1, &[public(MASTER[generation + 1])]),
        signing_keys: vec![window(signing)],
        revoked: vec![],
    }
}

fn signed(keyring: &Keyring, masters: &[u8]) -> (PayloadId, Vec<u8>) {
    let keys: Vec<SecretKey> = masters.iter().copied().map(key).collect();
    let envelopes = countersign(&keys.iter().collect::<Vec<_>>(), keyring).unwrap();
    (payload_id(envelopes.payload()), envelopes.to_bytes())
}

/// The honest keyring at a position, signed as it must be.
fn honest(generation: u32, serial: u32) -> (PayloadId, Vec<u8>) {
    let previous = match (generation, serial) {
        (0, 0) => None,
        (_, 0) => Some(honest(generation - 1, 0).0),
        (_, _) => Some(honest(generation, 0).0),
    };
    let signing = u8::try_from(100 + 10 * generation + serial).unwrap();
    let keyring = draft(at(generation, serial), previous, signing);
    signed(&keyring, &[MASTER[generation as usize]])
}

/// Another keyring at that position by the same master key: a thief's.
fn stolen(generation: u32, serial: u32) -> Vec<u8> {
    let mut keyring = draft(at(generation, serial), Some(honest(generation, 0).0), 200);
    if serial == 0 {
        keyring.previous = Some(honest(generation - 1, 0).0);
        keyring.commitment = commitment(1, &[public(250)]);
    }
    signed(&keyring, &[MASTER[generation as usize]]).1
}

fn payload_of(message: &[u8]) -> PayloadId {
    payload_id(KeyringEnvelopes::parse(message).unwrap().payload())
}

fn chain() -> Chain {
    let (id, bytes) = honest(0, 0);
    Chain::new(FarmId(id.0), &bytes).unwrap()
}

/// Learns and says the code of a refusal.
fn learn(chain: &mut Chain, bytes: &[u8]) -> Result<Learnt, &'static str> {
    chain.learn(bytes).map_err(|error| error.code())
}

fn position(chain: &Chain) -> Position {
    chain.newest().position
}

#[test]
fn a_reader_jumps_to_the_newest_serial_and_walks_the_first_of_each_generation() {
    let mut chain = chain();
    for (generation, serial) in [(0, 40), (1, 0), (2, 0), (2, 40)] {
        assert_eq!(
            learn(&mut chain, &honest(generation, serial).1),
            Ok(Learnt::Newer)
        );
        assert_eq!(position(&chain), at(generation, serial));
    }
    assert_eq!(chain.first_id(), honest(2, 0).0);
    assert_eq!(chain.newest_id(), honest(2, 40).0);
}

#[test]
fn a20_an_older_or_repeated_keyring_changes_nothing() {
    let mut chain = chain();
    for bytes in [honest(0, 2).1, honest(1, 0).1, honest(1, 3).1] {
        learn(&mut chain, &bytes).unwrap();
    }
    for (generation, serial) in [
        (0, 0),
        (0, 1),
        (0, 2),
        (0, 9),
        (1, 0),
        (1, 1),
        (1, 2),
        (1, 3),
    ] {
        assert_eq!(
            learn(&mut chain, &honest(generation, serial).1),
            Ok(Learnt::Nothing)
        );
    }
    assert_eq!(position(&chain), at(1, 3));
    assert_eq!(chain.fork(), None);
}

#[test]
fn a20_a_generation_cannot_be_skipped() {
    let mut chain = chain();
    for (generation, serial) in [(2, 0), (2, 1), (1, 1)] {
        let bytes = honest(generation, serial).1;
        assert_eq!(learn(&mut chain, &bytes), Err("E-UNLINKED"));
    }
    assert_eq!(position(&chain), at(0, 0));
}

#[test]
fn a22_a_succession_counts_only_by_the_committed_keys_over_the_keyring_that_committed() {
    let previous = Some(honest(0, 0).0);
    let good = draft(at(1, 0), previous, 110);
    let by = |keyring: &Keyring, masters: &[u8]| signed(keyring, masters).1;
    let other_master = Keyring {
        master_keys: vec![public(1)],
        ..good.clone()
    };
    let one_more = Keyring {
        master_keys: vec![public(2), public(9)],
        ..good.clone()
    };
    let elsewhere = Keyring {
        previous: Some(honest(0, 1).0),
        ..good.clone()
    };
    let from_nowhere = Keyring {
        previous: None,
        ..good.clone()
    };
    let cases = [
        ("signed by the old key", by(&good, &[1]), "E-SIGNATURE"),
        ("signed by both", by(&good, &[1, 2]), "E-SIGNATURE"),
        ("names the old key", by(&other_master, &[1]), "E-COMMITMENT"),
        ("names one key more", by(&one_more, &[2, 9]), "E-COMMITMENT"),
        (
            "builds on a later serial",
            by(&elsewhere, &[2]),
            "E-PREDECESSOR",
        ),
        (
            "builds on nothing",
            by(&from_nowhere, &[2]),
            "E-PREDECESSOR",
        ),
    ];
    let mut chain = chain();
    for (case, bytes, code) in cases {
        assert_eq!(learn(&mut chain, &bytes), Err(code), "{case}");
        assert_eq!(position(&chain), at(0, 0), "{case}");
    }
    assert_eq!(learn(&mut chain, &by(&good, &[2])), Ok(Learnt::Newer));
}

#[test]
fn a22_a_rotation_touches_neither_master_keys_nor_threshold_nor_commitment() {
    let good = draft(at(0, 1), Some(honest(0, 0).0), 101);
    let cases = [
        (
            "another master key",
            "E-MASTERS",
            Keyring {
                master_keys: vec![public(9)],
                ..good.clone()
            },
        ),
        (
            "a master key more",
            "E-MASTERS",
            Keyring {
                master_keys: vec![public(1), public(9)],
                ..good.clone()
            },
        ),
        (
            "another commitment",
            "E-MASTERS",
            Keyring {
                commitment: commitment(1, &[public(9)]),
                ..good.clone()
            },
        ),
        (
            "another predecessor",
            "E-PREDECESSOR",
            Keyring {
                previous: Some(honest(1, 0).0),
                ..good.clone()
            },
        ),
        (
            "no predecessor",
            "E-PREDECESSOR",
            Keyring {
                previous: None,
                ..good.clone()
            },
        ),
        (
            "a weak signing key",
            "E-UNSOUND",
            Keyring {
                signing_keys: vec![SigningKeyWindow {
                    key: PublicKey([0; 32]),
                    ..window(1)
                }],
                ..good.clone()
            },
        ),
    ];
    let mut chain = chain();
    for (case, code, keyring) in cases {
        let masters: &[u8] = if keyring.master_keys[0] == public(9) {
            &[9]
        } else {
            &[1]
        };
        assert_eq!(
            learn(&mut chain, &signed(&keyring, masters).1),
            Err(code),
            "{case}"
        );
    }
    for masters in [&[2][..], &[9], &[100]] {
        assert_eq!(
            learn(&mut chain, &signed(&good, masters).1),
            Err("E-SIGNATURE")
        );
    }
    assert_eq!(learn(&mut chain, &signed(&good, &[1]).1), Ok(Learnt::Newer));
}

#[test]
fn a24_a_rejected_keyring_leaves_no_trace() {
    let mut chain = chain();
    learn(&mut chain, &honest(0, 1).1).unwrap();
    let before = format!("{chain:?}");
    let mut flipped = honest(0, 2).1;
    *flipped.last_mut().unwrap() ^= 1;
    for bad in [flipped, honest(2, 0).1, Vec::new(), vec![0x81]] {
        assert!(chain.learn(&bad).is_err());
        assert_eq!(format!("{chain:?}"), before);
    }
}

#[test]
fn a21_two_keyrings_at_one_position_stop_a_reader_until_a_higher_generation() {
    // (what is held, what contradicts it)
    let cases = [
        (vec![honest(0, 1).1], stolen(0, 1)),
        (vec![honest(0, 1).1, honest(0, 2).1], stolen(0, 1)),
        (vec![stolen(0, 2)], honest(0, 2).1),
        (vec![stolen(0, 2), honest(0, 1).1], stolen(0, 1)),
    ];
    for (held, other) in cases {
        let mut chain = chain();
        for bytes in held {
            learn(&mut chain, &bytes).unwrap();
        }
        let before = position(&chain);
        assert_eq!(learn(&mut chain, &other), Ok(Learnt::Forked));
        assert_eq!(chain.fork().unwrap().position.generation, 0);
        for later in [honest(0, 3).1, honest(0, 3).1, other.clone()] {
            assert_eq!(learn(&mut chain, &later), Ok(Learnt::Nothing));
        }
        assert_eq!(position(&chain), before);
        assert!(chain.fork().is_some());
        // What is written down leads to the same stop.
        let again = restored(&chain);
        assert_eq!(again.fork(), chain.fork());
        assert_eq!(position(&again), before);
        assert_eq!(learn(&mut chain, &honest(1, 0).1), Ok(Learnt::Newer));
        assert_eq!(chain.fork(), None);
    }
}

#[test]
fn a34_of_two_first_keyrings_of_a_generation_only_the_one_that_came_first_leads_on() {
    let real = |serial| honest(2, serial).1;
    let mut keyring = draft(at(2, 0), Some(payload_of(&stolen(1, 0))), 201);
    keyring.master_keys = vec![public(250)];
    let thiefs = signed(&keyring, &[250]).1;
    // Whoever stole a master key can sign another first keyring of its generation, and announce keys of his own in it.
    let mut chain = chain();
    assert_eq!(learn(&mut chain, &honest(1, 0).1), Ok(Learnt::Newer));
    assert_eq!(learn(&mut chain, &stolen(1, 0)), Ok(Learnt::Forked));
    for mut chain in [restored(&chain), chain] {
        assert_eq!(learn(&mut chain, &thiefs), Err("E-PREDECESSOR"));
        assert!(chain.fork().is_some());
        assert_eq!(learn(&mut chain, &real(0)), Ok(Learnt::Newer));
        assert_eq!(learn(&mut chain, &thiefs), Err("E-PREDECESSOR"));
        assert_eq!(learn(&mut chain, &real(1)), Ok(Learnt::Newer));
        assert_eq!(position(&restored(&chain)), at(2, 1));
    }
}

#[test]
fn a21_whoever_was_handed_a_thiefs_first_keyring_first_stops_at_the_real_one_and_stays_stopped() {
    let mut chain = chain();
    assert_eq!(learn(&mut chain, &stolen(1, 0)), Ok(Learnt::Newer));
    assert_eq!(learn(&mut chain, &honest(1, 0).1), Ok(Learnt::Forked));
    assert_eq!(learn(&mut chain, &honest(2, 0).1), Err("E-PREDECESSOR"));
    assert!(restored(&chain).fork().is_some());
}

#[test]
fn a34_a_succession_overrides_every_serial_that_a_thief_has_signed() {
    let mut chain = chain();
    let far = draft(at(0, u32::MAX), Some(honest(0, 0).0), 200);
    assert_eq!(learn(&mut chain, &signed(&far, &[1]).1), Ok(Learnt::Newer));
    assert_eq!(learn(&mut chain, &honest(1, 0).1), Ok(Learnt::Newer));
    assert_eq!(position(&chain), at(1, 0));
    assert_eq!(
        learn(&mut chain, &signed(&far, &[1]).1),
        Ok(Learnt::Nothing)
    );
}

#[test]
fn whoever_takes_back_that_a_key_was_stolen_stops_a_reader_in_whatever_order_it_comes() {
    let revoked = |reason| RevokedKey {
        window: window(100),
        reason,
        revoked: Timestamp(5),
    };
    let mut first = draft(at(0, 1), Some(honest(0, 0).0), 101);
    first.revoked = vec![revoked(RevocationReason::Compromised)];
    let forgets = draft(at(0, 2), Some(honest(0, 0).0), 102);
    let weakens = Keyring {
        revoked: vec![revoked(RevocationReason::Retired)],
        ..forgets.clone()
    };
    let trusts_again = Keyring {
        signing_keys: vec![window(100)],
        ..forgets.clone()
    };
    let by_master = |keyring: &Keyring| signed(keyring, &[1]).1;
    for keyring in [&forgets, &weakens, &trusts_again] {
        for order in [[&first, keyring], [keyring, &first]] {
            let mut chain = chain();
            assert_eq!(learn(&mut chain, &by_master(order[0])), Ok(Learnt::Newer));
            assert_eq!(learn(&mut chain, &by_master(order[1])), Ok(Learnt::Forked));
            assert_eq!(restored(&chain).fork(), chain.fork());
            // What a succession overrides can have been a thief's word.
            assert_eq!(learn(&mut chain, &honest(1, 0).1), Ok(Learnt::Newer));
        }
    }
    let remembers = Keyring {
        revoked: first.revoked.clone(),
        ..forgets
    };
    let mut chain = chain();
    assert_eq!(learn(&mut chain, &by_master(&first)), Ok(Learnt::Newer));
    assert_eq!(learn(&mut chain, &by_master(&remembers)), Ok(Learnt::Newer));
}

#[test]
fn a31_endless_serials_by_a_thief_fill_no_memory() {
    let mut chain = chain();
    let mut keyring = draft(at(0, 1), Some(honest(0, 0).0), 100);
    keyring.signing_keys = (0..=255)
        .map(window)
        .filter(|window| window.key != public(1))
        .collect();
    let large = signed(&keyring, &[1]).1.len();
    for serial in 1..=u32::try_from(3 * Chain::MAX_SEEN / large).unwrap() {
        keyring.position = at(0, serial);
        assert_eq!(
            learn(&mut chain, &signed(&keyring, &[1]).1),
            Ok(Learnt::Newer)
        );
    }
    let held: usize = chain.seen.values().map(|seen| seen.bytes.len()).sum();
    assert!(held <= Chain::MAX_SEEN);
    assert!(chain.messages().len() <= 2);
    assert_eq!(learn(&mut chain, &honest(1, 0).1), Ok(Learnt::Newer));
}

#[test]
fn more_signatures_over_the_same_keyring_are_the_same_keyring() {
    let three = |previous, position| Keyring {
        master_keys: vec![public(1), public(5), public(6)],
        threshold: 2,
        ..draft(position, previous, 100)
    };
    let first = signed(&three(None, at(0, 0)), &[1, 5]);
    let mut chain = Chain::new(FarmId(first.0.0), &first.1).unwrap();
    let second = three(Some(first.0), at(0, 1));
    assert_eq!(
        learn(&mut chain, &signed(&second, &[1]).1),
        Err("E-THRESHOLD")
    );
    assert_eq!(
        learn(&mut chain, &signed(&second, &[5, 6]).1),
        Ok(Learnt::Newer)
    );
    assert_eq!(
        learn(&mut chain, &signed(&second, &[1, 5, 6]).1),
        Ok(Learnt::Nothing)
    );
    assert_eq!(chain.fork(), None);
}

/// What another reader makes of the messages that this one would write down.
fn restored(chain: &Chain) -> Chain {
    let messages = chain.messages();
    let mut again = Chain::new(*chain.farm(), &messages[0]).unwrap();
    for message in &messages[1..] {
        again.learn(message).unwrap();
    }
    again
}

#[test]
fn what_is_written_down_leads_another_reader_to_the_same_state() {
    let mut chain = chain();
    for (generation, serial) in [(0, 2), (1, 0), (1, 1), (2, 0), (2, 3)] {
        learn(&mut chain, &honest(generation, serial).1).unwrap();
        let again = restored(&chain);
        assert_eq!(position(&again), position(&chain));
        assert_eq!(again.messages(), chain.messages());
    }
    let ids: Vec<KeyId> = chain
        .newest()
        .signing_keys
        .iter()
        .map(|w| crate::trust::key_id(&w.key))
        .collect();
    assert_eq!(ids, [key(123).id()]);
}
