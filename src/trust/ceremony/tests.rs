//! Every draft is one that a reader who holds the files takes, and says what it changes.

use proptest::prelude::*;

use super::*;
use crate::model::{FarmId, PayloadId};
use crate::trust::{SecretKey, countersign, payload_id};

const DAY: Duration = Duration::from_secs(24 * 3600);
const BEGIN: Timestamp = Timestamp(1_000_000_000_000_000);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

fn set(seeds: &[u8], threshold: u8) -> MasterSet {
    MasterSet {
        keys: seeds.iter().copied().map(public).collect(),
        threshold,
    }
}

fn terms(now: Timestamp) -> Terms {
    Terms {
        now,
        good_for: 90 * DAY,
        overlap: 7 * DAY,
    }
}

/// A farm in the hands of its operator: the master keys of each generation have the seeds 1 to 3, 4 to 6, …
struct Operator {
    chain: Chain,
    generation: u8,
    masters: u8,
    threshold: u8,
    now: Timestamp,
    next_key: u8,
}

impl Operator {
    fn new(masters: u8, threshold: u8) -> Self {
        let seeds = |generation: u8| {
            (1..=masters)
                .map(|n| 3 * generation + n)
                .collect::<Vec<_>>()
        };
        let draft = first(
            "test".parse().unwrap(),
            &set(&seeds(0), threshold),
            &set(&seeds(1), threshold),
            public(100),
            &terms(BEGIN),
        );
        let (id, bytes) = signed(&draft, &seeds(0)[..usize::from(threshold)]);
        Self {
            chain: Chain::new(FarmId(id.0), &bytes).unwrap(),
            generation: 0,
            masters,
            threshold,
            now: BEGIN,
            next_key: 101,
        }
    }

    fn seeds(&self, generation: u8) -> Vec<u8> {
        (1..=self.masters).map(|n| 3 * generation + n).collect()
    }

    fn fresh(&mut self) -> PublicKey {
        self.next_key += 1;
        public(self.next_key - 1)
    }

    fn rotation(&mut self) -> Result<Keyring, DraftError> {
        let fresh = self.fresh();
        rotation(&self.chain, None, fresh, &terms(self.now))
    }

    fn revocation(
        &mut self,
        key: PublicKey,
        reason: RevocationReason,
    ) -> Result<Keyring, DraftError> {
        let terms = terms(self.now);
        match revocation(&self.chain, None, (key, reason), None, &terms) {
            Err(DraftError::NoneInForce) => {
                let fresh = self.fresh();
                revocation(&self.chain, None, (key, reason), Some(fresh), &terms)
            }
            made => made,
        }
    }

    fn succession(&mut self, stolen: &[PublicKey]) -> Result<Keyring, DraftError> {
        let masters = set(&self.seeds(self.generation + 1), self.threshold);
        let successors = set(&self.seeds(self.generation + 2), self.threshold);
        let fresh = self.fresh();
        let from = self.chain.newest();
        let sets = (&masters, &successors);
        succession(&self.chain, from, sets, fresh, stolen, &terms(self.now))
    }

    /// Signs a draft with as many keys as must, and takes it in as every reader does.
    fn carry_out(&mut self, draft: &Keyring) -> Result<Learnt, KeyringError> {
        let generation = u8::try_from(draft.position.generation).unwrap();
        let seeds = self.seeds(generation);
        let (_, bytes) = signed(draft, &seeds[..usize::from(self.threshold)]);
        let learnt = self.chain.learn(&bytes)?;
        self.generation = generation;
        Ok(learnt)
    }

    fn signing_keys(&self) -> Vec<PublicKey> {
        let windows = self.chain.newest().signing_keys.iter();
        windows.map(|window| window.key).collect()
    }
}

fn signed(draft: &Keyring, seeds: &[u8]) -> (PayloadId, Vec<u8>) {
    let keys: Vec<SecretKey> = seeds.iter().copied().map(key).collect();
    let envelopes = countersign(&keys.iter().collect::<Vec<_>>(), draft).unwrap();
    (payload_id(envelopes.payload()), envelopes.to_bytes())
}

#[derive(Clone, Debug)]
enum Act {
    Rotate,
    Revoke(usize, RevocationReason),
    Succeed(usize),
    Wait(u32),
}

fn act() -> impl Strategy<Value = Act> {
    let reason = prop_oneof![
        Just(RevocationReason::Retired),
        Just(RevocationReason::Compromised)
    ];
    prop_oneof![
        3 => Just(Act::Rotate),
        2 => (0..8_usize, reason).prop_map(|(at, reason)| Act::Revoke(at, reason)),
        1 => (0..8_usize).prop_map(Act::Succeed),
        3 => (0..200_u32).prop_map(Act::Wait),
    ]
}

proptest! {
    #[test]
    fn every_draft_is_taken_by_whoever_holds_what_it_was_made_from(
        (masters, threshold) in prop_oneof![Just((1, 1)), Just((3, 2)), Just((3, 3))],
        acts in prop::collection::vec(act(), 1..12),
    ) {
        let mut operator = Operator::new(masters, threshold);
        for act in acts {
            let keys = operator.signing_keys();
            let draft = match act {
                Act::Wait(days) => {
                    operator.now = operator.now.after(days * DAY);
                    continue;
                }
                Act::Rotate => operator.rotation().unwrap(),
                Act::Revoke(at, reason) => {
                    let Some(key) = keys.get(at) else { continue };
                    operator.revocation(*key, reason).unwrap()
                }
                Act::Succeed(stolen) => {
                    let stolen: Vec<PublicKey> = keys.get(stolen).copied().into_iter().collect();
                    operator.succession(&stolen).unwrap()
                }
            };
            let before = operator.chain.newest().clone();
            prop_assert!(!differences(&before, &draft).is_empty());
            prop_assert_eq!(operator.carry_out(&draft).unwrap(), Learnt::Newer);
            let newest = operator.chain.newest();
            prop_assert_eq!(newest, &draft);
            // Somebody can sign, nobody's key is forgotten, and the keyring is good as long as its keys.
            let in_force = newest.signing_keys.iter().filter(|window| window.contains(operator.now));
            prop_assert!(in_force.count() > 0);
            let ends = newest.signing_keys.iter().map(|window| window.not_after);
            prop_assert_eq!(Some(newest.expires), ends.max());
            let dropped = differences(&before, newest)
                .into_iter()
                .any(|found| matches!(found, Difference::Dropped(_) | Difference::Restored(_)));
            prop_assert!(!dropped);
        }
    }
}

#[test]
fn a_rotation_ends_the_windows_before_it_with_the_overlap_and_never_lengthens_one() {
    let at = |days: u32| BEGIN.after(days * DAY);
    // When the keyring is rotated, and when the first key, good for 90 days, ends then.
    for (rotated, ends) in [(0, 7), (10, 17), (83, 90), (84, 90), (90, 90), (400, 90)] {
        let mut operator = Operator::new(1, 1);
        operator.now = at(rotated);
        let draft = operator.rotation().unwrap();
        let [old, new] = &draft.signing_keys[..] else {
            panic!("{draft:?}")
        };
        assert_eq!(old.not_after, at(ends), "rotated on day {rotated}");
        assert_eq!(new.not_before, operator.now.before(Terms::EARLY));
        assert_eq!(new.not_after, at(rotated + 90));
        assert_eq!(draft.expires, new.not_after);
        assert_eq!(draft.issued, operator.now);
    }
    // Without an overlap the old key ends at once; a longer overlap than the new key's time leaves the keyring as long.
    let operator = Operator::new(1, 1);
    for (good_for, overlap, expires) in [(5, 0, 5), (5, 30, 30), (5, 400, 90)] {
        let terms = Terms {
            now: BEGIN,
            good_for: good_for * DAY,
            overlap: overlap * DAY,
        };
        let draft = rotation(&operator.chain, None, public(101), &terms).unwrap();
        assert_eq!(draft.expires, at(expires), "{terms:?}");
    }
}

#[test]
fn a_window_that_has_not_begun_when_the_overlap_ends_is_not_made_empty() {
    let mut window = SigningKeyWindow {
        key: public(1),
        not_before: Timestamp(10),
        not_after: Timestamp(20),
    };
    for (end, left) in [(10, 20), (5, 20), (11, 11), (20, 11), (99, 11)] {
        cut(&mut window, Timestamp(end));
        assert_eq!(window.not_after, Timestamp(left), "cut at {end}");
    }
}

#[test]
fn a26_a_compromised_key_keeps_its_window_and_a_retired_one_ends_now() {
    for (reason, ends) in [
        (RevocationReason::Compromised, BEGIN.after(90 * DAY)),
        (RevocationReason::Retired, BEGIN.after(DAY)),
    ] {
        let mut operator = Operator::new(1, 1);
        operator.now = BEGIN.after(DAY);
        let draft = operator.revocation(public(100), reason).unwrap();
        let [revoked] = &draft.revoked[..] else {
            panic!("{draft:?}")
        };
        assert_eq!((revoked.reason, revoked.revoked), (reason, operator.now));
        assert_eq!(revoked.window.not_after, ends);
        assert_eq!(
            draft.signing_keys.len(),
            1,
            "a fresh one, for nobody else could sign"
        );
        operator.carry_out(&draft).unwrap();
    }
}

#[test]
fn a_revocation_is_made_graver_and_never_taken_back() {
    use RevocationReason::{Compromised, Retired};
    let key = public(100);
    for (first, second, code) in [
        (Retired, Compromised, None),
        (Retired, Retired, Some("E-REVOKED")),
        (Compromised, Compromised, Some("E-REVOKED")),
        (Compromised, Retired, Some("E-REVOKED")),
    ] {
        let mut operator = Operator::new(1, 1);
        let draft = operator.revocation(key, first).unwrap();
        operator.carry_out(&draft).unwrap();
        let again = operator.revocation(key, second);
        assert_eq!(again.as_ref().err().map(DraftError::code), code);
        if let Ok(draft) = again {
            operator.carry_out(&draft).unwrap();
        }
    }
}

#[test]
fn a_draft_that_nobody_should_sign_is_none() {
    let mut operator = Operator::new(1, 1);
    let code = |made: Result<Keyring, DraftError>| made.err().map(|error| error.code());
    // A clock that went back to its beginning, as after a dead battery.
    operator.now = BEGIN.before(Duration::from_secs(1));
    assert_eq!(code(operator.rotation()), Some("E-CLOCK"));
    assert_eq!(code(operator.succession(&[])), Some("E-CLOCK"));
    operator.now = BEGIN;
    // A key that is a signing key already, and the master key as a signing key.
    let terms = terms(BEGIN);
    let rotated = |fresh| rotation(&operator.chain, None, fresh, &terms);
    assert_eq!(code(rotated(public(100))), Some("E-KEYRING"));
    assert_eq!(code(rotated(public(1))), Some("E-KEYRING"));
    // Serials that are used, and one far ahead.
    let numbered = |serial| rotation(&operator.chain, Some(serial), public(101), &terms);
    assert_eq!(code(numbered(0)), Some("E-POSITION"));
    assert_eq!(numbered(7).unwrap().position.serial, 7);
    // Nobody's key.
    let reason = RevocationReason::Compromised;
    assert_eq!(code(operator.revocation(public(77), reason)), Some("E-KEY"));
    // A succession by keys that were not announced, or with another threshold.
    let from = operator.chain.newest();
    for masters in [set(&[5], 1), set(&[4, 5], 1), set(&[1], 1)] {
        let sets = (&masters, &set(&[9], 1));
        let made = succession(&operator.chain, from, sets, public(101), &[], &terms);
        assert_eq!(code(made), Some("E-COMMITMENT"), "{masters:?}");
    }
}

#[test]
fn a21_after_a_fork_only_a_succession_is_drafted() {
    let mut operator = Operator::new(1, 1);
    let (mine, thiefs) = (operator.rotation().unwrap(), operator.rotation().unwrap());
    operator.carry_out(&mine).unwrap();
    assert_eq!(operator.carry_out(&thiefs).unwrap(), Learnt::Forked);
    assert_eq!(
        operator.rotation().err().map(|error| error.code()),
        Some("E-FORK")
    );
    let draft = operator.succession(&[]).unwrap();
    assert_eq!(operator.carry_out(&draft).unwrap(), Learnt::Newer);
    assert_eq!(operator.chain.fork(), None);
}

#[test]
fn a_keyring_that_would_not_fit_into_a_message_is_not_drafted() {
    let masters: Vec<u8> = (1..=16).collect();
    let draft = first(
        "test".parse().unwrap(),
        &set(&masters, 16),
        &set(&[50], 1),
        public(100),
        &terms(BEGIN),
    );
    let (id, bytes) = signed(&draft, &masters);
    let mut chain = Chain::new(FarmId(id.0), &bytes).unwrap();
    let mut rotations = 0;
    let error = loop {
        let seed = 101 + u8::try_from(rotations).unwrap();
        match rotation(&chain, None, public(seed), &terms(BEGIN)) {
            Ok(draft) => {
                let (_, bytes) = signed(&draft, &masters);
                assert_eq!(chain.learn(&bytes).unwrap(), Learnt::Newer);
                rotations += 1;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "E-SIZE");
    assert!(rotations > 20, "{rotations}");
}

#[test]
fn what_a_draft_changes_is_named() {
    let mut operator = Operator::new(1, 1);
    operator.now = BEGIN.after(DAY);
    let before = operator.chain.newest().clone();
    let draft = operator.rotation().unwrap();
    let [old, new] = &draft.signing_keys[..] else {
        panic!("{draft:?}")
    };
    assert_eq!(
        differences(&before, &draft),
        [
            Difference::Moved {
                from: before.signing_keys[0].clone(),
                to: old.clone()
            },
            Difference::Added(new.clone()),
            Difference::Expires(draft.expires),
        ]
    );
    let draft = operator.succession(&[public(100)]).unwrap();
    let found = differences(&before, &draft);
    assert!(found.contains(&Difference::Revoked(draft.revoked[0].clone())));
    assert!(found.contains(&Difference::Masters(set(&[4], 1))));
    assert!(found.contains(&Difference::Announced(set(&[7], 1).commitment())));
    // What a thief's keyring would do.
    let mut thiefs = before.clone();
    thiefs.signing_keys = vec![];
    assert_eq!(
        differences(&before, &thiefs),
        [Difference::Dropped(public(100))]
    );
    assert_eq!(
        differences(&draft, &before)[0],
        Difference::Restored(public(100))
    );
}
