//! What whoever stole a key gets out of it.

use super::*;
use crate::model::{Cancel, Command};
use crate::trust::Learnt;
use crate::wire::{Envelope, Kind};

/// The signing key that a later keyring adds.
const NEXT: u8 = 6;
/// A key that no keyring lists.
const THIEF: u8 = 7;
const REPORT: u8 = 10;

fn command(seed: u8) -> Vec<u8> {
    let cancel = Cancel {
        farm: first_keyring().0,
        slave: "oak".parse().unwrap(),
        builder: "foo".parse().unwrap(),
        target: PayloadId([0; 32]),
        issued: Timestamp(950),
        reason: Text::default(),
        requester: None,
        request: None,
    };
    sealed(seed, &Command::Cancel(cancel))
}

type Change<'a> = &'a dyn Fn(&mut Keyring);

/// Keyring 0.1: with one more key, and the one before it as `change` has it.
fn second_keyring(change: impl FnOnce(&mut Keyring)) -> Keyring {
    let mut keyring = reader().keyring().clone();
    keyring.position.serial = 1;
    keyring.previous = Some(PayloadId(first_keyring().0.0));
    keyring.signing_keys.push(window(NEXT, 950, 3_000));
    change(&mut keyring);
    keyring
}

fn revoked(keyring: &mut Keyring, reason: RevocationReason) {
    let window = keyring.signing_keys.remove(0);
    keyring.revoked.push(RevokedKey {
        window,
        reason,
        revoked: NOW,
    });
}

fn learn(reader: &mut Reader, seed: u8, keyring: &Keyring) -> Result<Learnt, &'static str> {
    let bytes = countersign(&[&key(seed)], keyring).unwrap().to_bytes();
    reader.learn_keyring(&bytes).map_err(|error| error.code())
}

/// What opening a command says at a time: its standing, or why not.
fn opened(reader: &Reader, bytes: &[u8], purpose: Purpose) -> Result<Standing, &'static str> {
    let opened = reader.open::<Command>(bytes, purpose);
    opened
        .map(|command| command.standing())
        .map_err(|error| error.code())
}

#[test]
fn a26_a27_a_key_stops_counting_with_the_keyring_that_says_so_and_its_word_by_the_reason() {
    let compromised = |keyring: &mut Keyring| revoked(keyring, RevocationReason::Compromised);
    let retired = |keyring: &mut Keyring| revoked(keyring, RevocationReason::Retired);
    let cut = |keyring: &mut Keyring| keyring.signing_keys[0].not_after = Timestamp(1_010);
    let dropped = |keyring: &mut Keyring| {
        keyring.signing_keys.remove(0);
    };
    let unproven = Ok(Standing::Unproven);
    let good = Ok(Standing::Good);
    // (what becomes of the key, now, to act on it, as history, whether what was opened before is stood by)
    let cases: [(Change<'_>, u64, _, _, bool); 5] = [
        (&compromised, 1_000, Err("E-REVOKED"), unproven, false),
        (&retired, 1_000, Err("E-REVOKED"), good, true),
        (&cut, 1_000, good, good, true),
        (&cut, 1_010, Err("E-KEY-WINDOW"), good, true),
        (&dropped, 1_000, Err("E-KEY"), Err("E-KEY"), false),
    ];
    for (case, (change, now, acted, folded, stands)) in (1..).zip(cases) {
        let admit = Purpose::Admit {
            now: Timestamp(now),
        };
        let command = command(CURRENT);
        let mut reader = reader();
        assert_eq!(opened(&reader, &command, admit), good, "case {case}");
        let before = reader.open::<Command>(&command, admit).unwrap();
        assert!(reader.stands_by(&before), "case {case}");
        let keyring = second_keyring(|keyring| change(keyring));
        assert_eq!(learn(&mut reader, MASTER, &keyring), Ok(Learnt::Newer));
        assert_eq!(opened(&reader, &command, admit), acted, "case {case}");
        assert_eq!(
            opened(&reader, &command, Purpose::History),
            folded,
            "case {case}"
        );
        assert_eq!(reader.stands_by(&before), stands, "case {case}");
    }
}

#[test]
fn a28_a29_nobody_but_the_master_key_says_which_keys_count_and_for_how_long() {
    let widened = second_keyring(|keyring| keyring.signing_keys[0].not_after = Timestamp(9_000));
    let added = second_keyring(|keyring| keyring.signing_keys[0] = window(THIEF, 0, 9_000));
    let masters = second_keyring(|keyring| keyring.master_keys = vec![key(THIEF).public()]);
    let cases = [
        (&widened, CURRENT, "E-SIGNATURE"),
        (&widened, RETIRED, "E-SIGNATURE"),
        (&widened, REPORT, "E-SIGNATURE"),
        (&added, THIEF, "E-SIGNATURE"),
        (&added, CURRENT, "E-SIGNATURE"),
        (&masters, THIEF, "E-MASTERS"),
    ];
    let late = Purpose::Admit {
        now: Timestamp(1_100),
    };
    for (keyring, seed, code) in cases {
        let mut reader = reader();
        reader
            .learn_roster(&roster(1, &[line("oak", REPORT, 20)]))
            .unwrap();
        assert_eq!(learn(&mut reader, seed, keyring), Err(code), "key {seed}");
        assert_eq!(
            opened(&reader, &command(CURRENT), late),
            Err("E-KEY-WINDOW")
        );
        assert_eq!(opened(&reader, &command(THIEF), late), Err("E-KEY"));
        assert_eq!(reader.keyring().position, Position::default());
    }
}

#[test]
fn a29_a_key_says_what_its_role_says_and_nothing_else() {
    let mut reader = reader();
    reader
        .learn_roster(&roster(1, &[line("oak", REPORT, 20)]))
        .unwrap();
    let now = Purpose::Admit { now: NOW };
    let head = |seed| {
        let head = Head {
            farm: first_keyring().0,
            keyring: Position::default(),
            roster: 1,
            time: NOW,
        };
        sealed(seed, &head)
    };
    for (seed, signs, reports) in [
        (MASTER, false, false),
        (CURRENT, true, false),
        (REPORT, false, true),
        // The key of oak's login.
        (20, false, false),
        (THIEF, false, false),
    ] {
        let roster = roster_by(seed, 2, &[]);
        let got = [
            reader.open::<Command>(&command(seed), now).is_ok(),
            reader.open::<Head>(&head(seed), now).is_ok(),
            reader.open::<Roster>(&roster, Purpose::History).is_ok(),
        ];
        assert_eq!(got, [signs; 3], "key {seed}");
        assert_eq!(speaks_for(&reader, seed, "oak"), reports, "key {seed}");
    }
    // The same bytes under another label.
    for (bytes, kind) in [
        (head(CURRENT), Kind::Command),
        (report(REPORT, "oak"), Kind::Command),
    ] {
        let mut envelope = Envelope::parse(&bytes, bytes.len()).unwrap();
        envelope.kind = kind;
        assert!(opened(&reader, &envelope.to_bytes(), now).is_err());
    }
}

/// The order of the group, as signatures write it.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn a33_a_signature_has_one_spelling() {
    let now = Purpose::Admit { now: NOW };
    let bytes = command(CURRENT);
    let reader = reader();
    assert_eq!(opened(&reader, &bytes, now), Ok(Standing::Good));
    let mut envelope = Envelope::parse(&bytes, bytes.len()).unwrap();
    // S and S + L are the same number to a careless verifier.
    let mut carry = 0;
    for (byte, order) in envelope.signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert_eq!(
        opened(&reader, &envelope.to_bytes(), now),
        Err("E-SIGNATURE")
    );
    let begin = bytes.len() - 64;
    for len in [0, 63, 65] {
        let mut other = bytes[..begin - 2].to_vec();
        other.extend([0x58, u8::try_from(len).unwrap()]);
        other.extend(bytes[begin..].iter().chain(&[0]).take(len));
        assert_eq!(
            opened(&reader, &other, now),
            Err("E-ENVELOPE"),
            "{len} bytes"
        );
    }
}

#[test]
fn a39_no_other_algorithm_is_ever_tried() {
    let bytes = command(CURRENT);
    let label = [1, 0x32];
    let at = bytes.windows(2).position(|two| two == label).unwrap() + 1;
    // EdDSA of the old number, ES256, another one, HMAC 256/256, HMAC 256/64, none.
    for algorithm in [0x27, 0x26, 0x2e, 0x05, 0x04, 0x00] {
        let mut other = bytes.clone();
        other[at] = algorithm;
        let opened = opened(&reader(), &other, Purpose::Admit { now: NOW });
        assert_eq!(opened, Err("E-ENVELOPE"), "{algorithm:#x}");
    }
}

#[test]
fn a134_a_thiefs_last_word_is_not_the_last() {
    let (oak, elm) = (line("oak", REPORT, 20), line("elm", 11, 21));
    let evil = line("evil", 12, 22);
    let honest = roster(3, std::slice::from_ref(&oak));
    // The thief of a newer key says again what was true, adds his own, and takes the highest number.
    let thiefs = roster_by(NEXT, u64::MAX, &[oak.clone(), elm, evil]);
    let listed = second_keyring(|_| {});
    let mut stolen = listed.clone();
    stolen.position.serial = 2;
    let window_of_next = stolen.signing_keys.pop().unwrap();
    stolen.revoked.push(RevokedKey {
        window: window_of_next,
        reason: RevocationReason::Compromised,
        revoked: NOW,
    });
    stolen.signing_keys.push(window(8, 960, 3_000));

    let mut reader = reader();
    assert_eq!(learn(&mut reader, MASTER, &listed), Ok(Learnt::Newer));
    assert!(reader.rank(&key(CURRENT).id()) < reader.rank(&key(NEXT).id()));
    reader.learn_roster(&honest).unwrap();
    reader.learn_roster(&thiefs).unwrap();
    assert_eq!(reader.roster().map(|roster| roster.version), Some(u64::MAX));
    assert!(speaks_for(&reader, 12, "evil"));

    assert_eq!(learn(&mut reader, MASTER, &stolen), Ok(Learnt::Newer));
    assert!(reader.roster().is_none());
    for (seed, slave) in [(REPORT, "oak"), (11, "elm"), (12, "evil")] {
        assert!(!speaks_for(&reader, seed, slave), "{slave}");
    }
    // Whatever the bus still holds is learnt again, in whatever order.
    let code = reader.learn_roster(&thiefs).unwrap_err().code();
    assert_eq!(code, "E-REVOKED");
    reader.learn_roster(&honest).unwrap();
    assert!(speaks_for(&reader, REPORT, "oak"));
    // A lower number by a key that was introduced later is newer.
    let ash = line("ash", 13, 23);
    reader
        .learn_roster(&roster_by(8, 1, &[oak.clone(), ash]))
        .unwrap();
    reader.learn_roster(&honest).unwrap();
    assert_eq!(reader.roster().map(|roster| roster.version), Some(1));
    let spoken = [(REPORT, "oak"), (13, "ash"), (11, "elm"), (12, "evil")];
    assert_eq!(
        spoken.map(|(seed, slave)| speaks_for(&reader, seed, slave)),
        [true, true, false, false]
    );
}
