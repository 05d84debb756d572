//! What alarms, and what does not.

use super::*;
use crate::model::{Cancel, FarmId, InstanceId, Position, ReportBody, Text, Timestamp};

const SIGNING: KeyId = KeyId([1; 32]);
const MAPLE: KeyId = KeyId([2; 32]);

fn id(byte: u8) -> PayloadId {
    PayloadId([byte; 32])
}

fn command() -> Command {
    Command::Cancel(Cancel {
        farm: FarmId([0; 32]),
        slave: "maple".parse().unwrap(),
        builder: "foo".parse().unwrap(),
        target: id(99),
        issued: Timestamp(0),
        reason: Text::default(),
        requester: None,
        request: None,
    })
}

/// Maple's report of number `sequence` behind `previous`, about a command, by start `instance` of its process.
fn report(sequence: u64, previous: u8, command: u8, instance: u8) -> Report {
    Report {
        farm: FarmId([0; 32]),
        slave: "maple".parse().unwrap(),
        instance: InstanceId([instance; 16]),
        builder: "foo".parse().unwrap(),
        command: id(command),
        number: u64::from(command),
        sequence,
        previous: (previous > 0).then(|| id(previous)),
        keyring: Position::default(),
        issued: Timestamp(0),
        experiment: None,
        body: ReportBody::Accepted {
            received: Timestamp(0),
        },
    }
}

fn word(alarm: &Alarm) -> &'static str {
    match alarm {
        Alarm::NotOurs { .. } => "not ours",
        Alarm::NoSuchCommand { .. } => "no such command",
        Alarm::Cloned { .. } => "cloned",
        Alarm::Forked { .. } => "forked",
        Alarm::Broken { .. } => "broken",
        Alarm::Disputed { .. } => "disputed",
    }
}

#[test]
fn a_slave_that_makes_up_ends_without_end_fills_no_memory() {
    let mut audit = Audit::default();
    for number in 0..=MAX_ENDS as u64 {
        let mut command = [0; 32];
        command[..8].copy_from_slice(&number.to_be_bytes());
        let said = Report {
            command: PayloadId(command),
            body: ReportBody::Lost {
                detail: Text::default(),
            },
            ..report(1, 0, 1, 1)
        };
        audit.dispute(id(1), &said);
    }
    assert_eq!(audit.ends.len(), MAX_ENDS);
}

#[test]
fn a129_a_command_that_the_leader_did_not_order_alarms_once_and_its_own_or_earlier_ones_do_not() {
    let mut audit = Audit::default();
    let seen = |audit: &mut Audit, byte| {
        let alarm = audit.command(id(byte), SIGNING, &command());
        alarm.as_ref().map(word)
    };
    assert_eq!(seen(&mut audit, 1), None, "before it leads");
    audit.lead();
    audit.order(id(2));
    assert_eq!(seen(&mut audit, 2), None);
    assert_eq!(seen(&mut audit, 3), Some("not ours"));
    assert_eq!(seen(&mut audit, 3), None);
    // Whoever took the lead keeps it: what it has ordered stays its own.
    audit.lead();
    assert_eq!(seen(&mut audit, 2), None);
}

#[test]
fn a96_a_report_on_a_command_that_is_not_there_alarms_once_all_commands_are_read() {
    let mut audit = Audit::default();
    let settled = |audit: &mut Audit| -> Vec<&str> {
        audit.begin_to_settle();
        audit.settle().iter().map(word).collect()
    };
    audit.report(id(1), MAPLE, &report(1, 0, 50, 7));
    assert!(audit.is_waiting());
    // The stream of commands was only slower.
    audit.command(id(50), SIGNING, &command());
    assert!(!audit.is_waiting());
    assert_eq!(settled(&mut audit), [""; 0]);
    for (byte, sequence) in [(2, 2), (3, 3)] {
        audit.report(id(byte), MAPLE, &report(sequence, byte - 1, 51, 7));
    }
    assert_eq!(settled(&mut audit), ["no such command"]);
    audit.report(id(4), MAPLE, &report(4, 3, 51, 7));
    assert_eq!(settled(&mut audit), [""; 0], "told once");
}

#[test]
fn a96_a_report_on_a_command_that_the_stream_has_retired_is_no_alarm() {
    let mut audit = Audit::default();
    audit.lowest.insert("foo".parse().unwrap(), 60);
    audit.report(id(1), MAPLE, &report(1, 0, 59, 7));
    audit.report(id(2), MAPLE, &report(2, 1, 61, 7));
    audit.begin_to_settle();
    let alarms = audit.settle();
    let [Alarm::NoSuchCommand { command, .. }] = &alarms[..] else {
        panic!("{alarms:?}")
    };
    assert_eq!(*command, id(61));
}

#[test]
fn a13_a98_a_chain_that_is_broken_or_forked_alarms_and_a_copied_slave_is_named_as_that() {
    // Sequence, id, what it names, instance.
    type Said = (u64, u8, u8, u8);
    let cases: &[(&[Said], &[&str])] = &[
        (&[(1, 1, 0, 7), (2, 2, 1, 7), (3, 3, 2, 8)], &[]),
        // A gap is the viewers' to show: it may be closed yet.
        (&[(1, 1, 0, 7), (5, 5, 4, 7)], &[]),
        (&[(1, 1, 0, 7), (2, 2, 9, 7)], &["broken"]),
        (&[(2, 2, 9, 7), (1, 1, 0, 7)], &["broken"]),
        (
            &[(1, 1, 0, 7), (2, 2, 1, 7), (2, 3, 1, 7), (3, 4, 3, 7)],
            &["forked"],
        ),
        (
            &[
                (1, 1, 0, 7),
                (2, 2, 1, 7),
                (2, 3, 1, 8),
                (3, 4, 2, 7),
                (3, 5, 3, 8),
            ],
            &["cloned"],
        ),
    ];
    for (said, expected) in cases {
        let mut audit = Audit::default();
        let mut alarms = Vec::new();
        for (sequence, byte, previous, instance) in said.iter().chain(*said) {
            let report = report(*sequence, *previous, 50, *instance);
            alarms.extend(audit.report(id(*byte), MAPLE, &report));
        }
        let words: Vec<&str> = alarms.iter().map(word).collect();
        assert_eq!(words, *expected, "{said:?}");
    }
}

#[test]
fn two_different_ends_of_one_build_are_disputed_once_and_a_rescue_is_none() {
    let lost = || ReportBody::Lost {
        detail: Text::default(),
    };
    let refused = || ReportBody::Refused {
        code: Text::tidy("E-EXPIRED"),
        detail: Text::default(),
    };
    let cases: [(&[ReportBody], &[&str]); 3] = [
        (&[lost(), refused()], &[]),
        (&[refused(), lost(), lost()], &["disputed"]),
        (&[lost(), refused(), lost()], &["disputed"]),
    ];
    for (bodies, expected) in cases {
        let mut audit = Audit::default();
        let mut alarms = Vec::new();
        for (sequence, body) in (1..).zip(bodies) {
            let byte = u8::try_from(sequence).unwrap();
            let said = Report {
                body: body.clone(),
                ..report(sequence, byte - 1, 50, 7)
            };
            // What comes again is no second end.
            alarms.extend(audit.report(id(byte), MAPLE, &said));
            alarms.extend(audit.report(id(byte), MAPLE, &said));
        }
        let words: Vec<&str> = alarms.iter().map(word).collect();
        assert_eq!(words, *expected, "{bodies:?}");
    }
}

#[test]
fn while_commands_are_read_a_later_report_still_waits_for_the_next_reading() {
    let mut audit = Audit::default();
    audit.report(id(1), MAPLE, &report(1, 0, 50, 7));
    audit.begin_to_settle();
    audit.report(id(2), MAPLE, &report(2, 1, 51, 7));
    audit.command(id(50), SIGNING, &command());
    assert!(audit.settle().is_empty());
    assert!(audit.is_waiting());
    audit.begin_to_settle();
    let alarms = audit.settle();
    assert_eq!(
        alarms.iter().map(word).collect::<Vec<_>>(),
        ["no such command"]
    );
}

#[test]
fn whoever_floods_the_bus_fills_neither_log_nor_memory() {
    let mut audit = Audit::default();
    let mut told = 0;
    for sequence in 1..3_000_u64 {
        let mut one = [0; 32];
        one[..8].copy_from_slice(&sequence.to_be_bytes());
        let report = Report {
            command: PayloadId(one),
            ..report(sequence, 0, 0, 7)
        };
        told += audit.report(PayloadId(one), MAPLE, &report).len();
        audit.begin_to_settle();
        told += audit.settle().len();
    }
    assert_eq!((told, audit.given.len()), (MAX_ALARMS, MAX_ALARMS));
    assert!(audit.waiting.is_empty());
}
