//! What a key's word is worth, and how rosters are learnt.

mod theft;

use super::*;
use crate::model::{
    Cancel, Command, Digest, Head, InstanceId, Keyring, Position, Report, ReportBody, RevokedKey,
    SlaveState, Text,
};
use crate::trust::{SecretKey, countersign, seal};

const MASTER: u8 = 1;
const CURRENT: u8 = 2;
const EXPIRED: u8 = 3;
const RETIRED: u8 = 4;
const COMPROMISED: u8 = 5;
const NOW: Timestamp = Timestamp(1_000);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn window(seed: u8, not_before: u64, not_after: u64) -> SigningKeyWindow {
    SigningKeyWindow {
        key: key(seed).public(),
        not_before: Timestamp(not_before),
        not_after: Timestamp(not_after),
    }
}

fn first_keyring() -> (FarmId, Vec<u8>) {
    let revoked = |seed, reason| RevokedKey {
        window: window(seed, 100, 2_000),
        reason,
        revoked: Timestamp(500),
    };
    let keyring = Keyring {
        name: "test".parse().unwrap(),
        position: Position::default(),
        previous: None,
        issued: Timestamp(0),
        expires: Timestamp(9_000),
        master_keys: vec![key(MASTER).public()],
        threshold: 1,
        commitment: Digest([0; 32]),
        signing_keys: vec![window(CURRENT, 900, 1_100), window(EXPIRED, 100, 200)],
        revoked: vec![
            revoked(RETIRED, RevocationReason::Retired),
            revoked(COMPROMISED, RevocationReason::Compromised),
        ],
    };
    let envelopes = countersign(&[&key(MASTER)], &keyring).unwrap();
    (
        FarmId(payload_id(envelopes.payload()).0),
        envelopes.to_bytes(),
    )
}

fn reader() -> Reader {
    let (farm, keyring) = first_keyring();
    Reader::new(farm, &keyring).unwrap()
}

fn sealed<T: Payload>(seed: u8, body: &T) -> Vec<u8> {
    seal(&key(seed), &first_keyring().0, body).bytes
}

fn line(slave: &str, report: u8, bus: u8) -> RosterLine {
    RosterLine {
        slave: slave.parse().unwrap(),
        report_key: key(report).public(),
        bus_key: key(bus).public(),
        owner: Text::default(),
        platform: Text::default(),
        builders: vec![],
        state: SlaveState::Active,
        approved: Timestamp(0),
        closed: None,
    }
}

fn closed(line: RosterLine) -> RosterLine {
    RosterLine {
        closed: Some(NOW),
        ..line
    }
}

fn roster(version: u64, lines: &[RosterLine]) -> Vec<u8> {
    roster_by(CURRENT, version, lines)
}

fn roster_by(seed: u8, version: u64, lines: &[RosterLine]) -> Vec<u8> {
    let roster = Roster {
        farm: first_keyring().0,
        version,
        keyring: Position::default(),
        issued: NOW,
        lines: lines.to_vec(),
    };
    sealed(seed, &roster)
}

fn report(seed: u8, slave: &str) -> Vec<u8> {
    let report = Report {
        farm: first_keyring().0,
        slave: slave.parse().unwrap(),
        instance: InstanceId([0; 16]),
        builder: "foo".parse().unwrap(),
        command: PayloadId([0; 32]),
        number: 1,
        sequence: 1,
        previous: None,
        keyring: Position::default(),
        issued: NOW,
        experiment: None,
        body: ReportBody::Deferred { until: NOW },
    };
    sealed(seed, &report)
}

/// Whom a reader believes that `seed` reports for.
fn speaks_for(reader: &Reader, seed: u8, slave: &str) -> bool {
    reader
        .open::<Report>(&report(seed, slave), Purpose::History)
        .is_ok()
}

#[test]
fn a_reader_begins_only_with_the_pinned_farms_keyring() {
    let (_, keyring) = first_keyring();
    let error = Reader::new(FarmId([7; 32]), &keyring).err().unwrap();
    assert_eq!(error.code(), "E-FARM");
}

#[test]
fn a05_a_key_that_serves_two_farms_commands_each_only_by_what_it_signed_for_it() {
    let (farm, keyring) = first_keyring();
    let reader = Reader::new(farm, &keyring).unwrap();
    // The same signing key, under another farm's id.
    let staging = FarmId([7; 32]);
    let opened = |signed_for: &FarmId, named: FarmId| {
        let cancel = Command::Cancel(Cancel {
            farm: named,
            slave: "maple".parse().unwrap(),
            builder: "foo".parse().unwrap(),
            target: PayloadId([0; 32]),
            issued: NOW,
            reason: Text::default(),
            requester: None,
            request: None,
        });
        let bytes = seal(&key(CURRENT), signed_for, &cancel).bytes;
        let opened = reader.open::<Command>(&bytes, Purpose::Admit { now: NOW });
        opened.map(drop).map_err(|error| error.code())
    };
    assert_eq!(opened(&farm, farm), Ok(()));
    assert_eq!(opened(&staging, staging), Err("E-SIGNATURE"));
    assert_eq!(opened(&staging, farm), Err("E-SIGNATURE"));
    assert_eq!(opened(&farm, staging), Err("E-FARM"));
}

#[test]
fn a26_a27_what_a_key_signed_counts_by_its_window_its_end_and_the_purpose() {
    let admit = |now| Purpose::Admit {
        now: Timestamp(now),
    };
    let history = Purpose::History;
    let good = Ok(Standing::Good);
    let unproven = Ok(Standing::Unproven);
    let outside = Err("E-KEY-WINDOW");
    let revoked = Err("E-REVOKED");
    let cases = [
        // Whoever acts goes by the clock; the date in the message, here the second number, changes nothing.
        (CURRENT, 1_000, admit(899), outside),
        (CURRENT, 1_000, admit(900), good),
        (CURRENT, 1_000, admit(1_099), good),
        (CURRENT, 1_000, admit(1_100), outside),
        (CURRENT, 1, admit(1_000), good),
        (EXPIRED, 1_000, admit(1_000), outside),
        (EXPIRED, 150, admit(1_000), outside),
        (RETIRED, 150, admit(1_000), revoked),
        (COMPROMISED, 150, admit(1_000), revoked),
        // A fold of the past goes by the date in the message.
        (CURRENT, 899, history, outside),
        (CURRENT, 900, history, good),
        (CURRENT, 1_099, history, good),
        (CURRENT, 1_100, history, outside),
        (EXPIRED, 150, history, good),
        (EXPIRED, 200, history, outside),
        (RETIRED, 99, history, outside),
        (RETIRED, 150, history, good),
        (RETIRED, 2_000, history, outside),
        (COMPROMISED, 99, history, unproven),
        (COMPROMISED, 150, history, unproven),
        (COMPROMISED, 2_000, history, unproven),
    ];
    for (seed, time, purpose, expected) in cases {
        let head = Head {
            farm: first_keyring().0,
            keyring: Position::default(),
            roster: 1,
            time: Timestamp(time),
        };
        let got = reader()
            .open::<Head>(&sealed(seed, &head), purpose)
            .map(|head| head.standing())
            .map_err(|error| error.code());
        assert_eq!(got, expected, "key {seed}, dated {time}, {purpose:?}");
    }
}

#[test]
fn only_a_key_in_force_may_sign() {
    let cases = [
        (CURRENT, NOW, true),
        (CURRENT, Timestamp(1_100), false),
        (EXPIRED, NOW, false),
        (RETIRED, NOW, false),
        (COMPROMISED, NOW, false),
        (MASTER, NOW, false),
    ];
    for (seed, now, expected) in cases {
        let got = reader().may_sign(&key(seed).public(), now);
        assert_eq!(got, expected, "key {seed} at {now}");
    }
}

#[test]
fn a_keyring_is_never_opened_like_a_message() {
    let (_, keyring) = first_keyring();
    let bare = &keyring[1..];
    let error = reader().open::<Keyring>(bare, Purpose::History).err();
    assert_eq!(error.unwrap().code(), "E-KEY");
}

#[test]
fn a_roster_that_contradicts_itself_or_an_earlier_one_leaves_no_trace() {
    let weak = PublicKey([0; 32]);
    let oak = line("oak", 10, 20);
    let cases = [
        (
            "two slaves, one key",
            vec![oak.clone(), line("elm", 10, 21)],
            "E-ROSTER",
        ),
        (
            "one slave, two keys at once",
            vec![oak.clone(), line("oak", 12, 22)],
            "E-ROSTER",
        ),
        (
            "one key in two lines of one slave",
            vec![oak.clone(), closed(oak.clone())],
            "E-ROSTER",
        ),
        (
            "a departed slave's key",
            vec![closed(oak.clone()), line("elm", 10, 21)],
            "E-ROSTER",
        ),
        (
            "a key that an earlier version gave to yew",
            vec![oak.clone(), line("elm", 90, 21)],
            "E-ROSTER",
        ),
        (
            "one key to report and to log in",
            vec![line("elm", 13, 13)],
            "E-ONE-KEY",
        ),
        (
            "a login key that an earlier version gave to yew to report with",
            vec![line("elm", 13, 90)],
            "E-ONE-KEY",
        ),
        (
            "a report key that an earlier version gave to yew to log in with",
            vec![line("elm", 91, 23)],
            "E-ONE-KEY",
        ),
        (
            "a weak report key",
            vec![RosterLine {
                report_key: weak,
                ..oak.clone()
            }],
            "E-UNSOUND",
        ),
        (
            "a weak login key",
            vec![RosterLine {
                bus_key: weak,
                ..oak.clone()
            }],
            "E-UNSOUND",
        ),
    ];
    for (what, lines, code) in cases {
        let mut reader = reader();
        let yew = line("yew", 90, 91);
        reader
            .learn_roster(&roster(1, std::slice::from_ref(&yew)))
            .unwrap();
        // A sound line first: what stands before the fault is not taken in either.
        let lines = [vec![line("ash", 14, 24)], lines].concat();
        let error = reader.learn_roster(&roster(2, &lines)).err();
        assert_eq!(error.map(|error| error.code()), Some(code), "{what}");
        assert_eq!(reader.roster().map(|held| held.version), Some(1), "{what}");
        assert!(!speaks_for(&reader, 14, "ash"), "{what}");
        assert_eq!(reader.reporter(&key(90).id()), Some(&yew), "{what}");
    }
}

#[test]
fn a139_an_older_roster_adds_departed_slaves_and_takes_nothing_back() {
    let oak = line("oak", 10, 20);
    let elm = line("elm", 11, 21);
    let newest = [closed(oak.clone()), line("oak", 12, 22)];
    let mut reader = reader();
    reader.learn_roster(&roster(5, &newest)).unwrap();
    assert!(!speaks_for(&reader, 11, "elm"));
    reader.learn_roster(&roster(4, &[oak, elm])).unwrap();

    assert_eq!(reader.roster().map(|held| held.version), Some(5));
    assert_eq!(reader.reporter(&key(10).id()), Some(&newest[0]));
    assert_eq!(
        reader.roster().unwrap().line(&newest[1].slave),
        Some(&newest[1])
    );
    for (seed, slave, expected) in [
        (10, "oak", true),
        (12, "oak", true),
        (11, "elm", true),
        (11, "oak", false),
        (12, "elm", false),
    ] {
        assert_eq!(
            speaks_for(&reader, seed, slave),
            expected,
            "{seed} as {slave}"
        );
    }
}

#[test]
fn a_newer_roster_closes_a_line_and_what_it_said_still_opens() {
    let oak = line("oak", 10, 20);
    let mut reader = reader();
    reader
        .learn_roster(&roster(1, std::slice::from_ref(&oak)))
        .unwrap();
    let departed = closed(oak);
    reader
        .learn_roster(&roster(2, std::slice::from_ref(&departed)))
        .unwrap();
    assert_eq!(reader.reporter(&key(10).id()), Some(&departed));
    assert!(speaks_for(&reader, 10, "oak"));
}

#[test]
fn a_roster_counts_by_the_key_that_signed_it() {
    for (seed, expected) in [
        (CURRENT, None),
        (RETIRED, None),
        (COMPROMISED, Some("E-REVOKED")),
        (EXPIRED, Some("E-KEY-WINDOW")),
        (MASTER, Some("E-KEY")),
    ] {
        let mut reader = reader();
        let learnt = reader.learn_roster(&roster_by(seed, 1, &[line("oak", 10, 20)]));
        let code = learnt.err().map(|error| error.code());
        assert_eq!(code, expected, "key {seed}");
        assert_eq!(
            speaks_for(&reader, 10, "oak"),
            expected.is_none(),
            "key {seed}"
        );
    }
}
