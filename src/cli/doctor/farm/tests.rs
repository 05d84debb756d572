//! The judgements of what the bus holds, by tables.

use super::*;
use crate::cli::doctor::finding::State;
use crate::model::{Position, RosterLine, Text};

const DAY: u64 = 24 * 3600;

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

fn check(judgement: &Judgement, state: State, found: &str) {
    assert_eq!(judgement.state(), state, "{judgement:?}");
    assert!(judgement.found().contains(found), "{judgement:?}");
}

#[test]
fn a_signing_key_warns_fourteen_days_before_its_end() {
    let window = SigningKeyWindow {
        key: PublicKey([1; 32]),
        not_before: at(100 * DAY),
        not_after: at(190 * DAY),
    };
    let cases = [
        (99 * DAY, State::Fail, "yet to come"),
        (100 * DAY, State::Ok, "90 d from now"),
        (176 * DAY, State::Ok, "14 d from now"),
        (176 * DAY + 1, State::Warn, "13 d from now"),
        (190 * DAY, State::Fail, "ended at"),
    ];
    for (now, state, found) in cases {
        check(&judge_signing_key(Some(&window), at(now)), state, found);
    }
    check(
        &judge_signing_key(None, at(0)),
        State::Fail,
        "not in the farm's keyring",
    );
}

#[test]
fn a_silent_master_warns_before_slaves_stop_and_fails_after() {
    let silence = Silence {
        odd: Duration::from_secs(1800),
        deadly: Duration::from_secs(DAY),
    };
    let cases = [
        (None, State::Fail, "never spoken"),
        (Some(0), State::Ok, "0 s ago"),
        (Some(1800), State::Ok, "30 min ago"),
        (Some(1801), State::Warn, "30 min ago"),
        (Some(DAY), State::Warn, "24 h ago"),
        (Some(DAY + 3600), State::Fail, "25 h ago, more than 24 h"),
    ];
    for (age, state, found) in cases {
        let head = age.map(|age| at(10 * DAY - age));
        check(&judge_head(head, silence, at(10 * DAY)), state, found);
    }
}

#[test]
fn streams_are_in_order_if_all_are_there_and_none_differs() {
    let described = |messages, differences| {
        Seen::Described(StreamState {
            messages,
            differences,
        })
    };
    let cases = [
        (described(3, vec![]), State::Ok, "with 5 messages"),
        (Seen::There, State::Ok, "with 2 messages"),
        (Seen::Missing, State::Fail, "missing: LOGS"),
        (
            described(3, vec!["max_age", "storage"]),
            State::Warn,
            "LOGS (max_age, storage)",
        ),
        (described(3, vec!["subjects"]), State::Fail, "another farm"),
    ];
    for (seen, state, found) in cases {
        let streams = [(Stream::Head, described(2, vec![])), (Stream::Logs, seen)];
        check(&judge_streams(&streams), state, found);
    }
    check(
        &judge_streams(&[(Stream::Head, Seen::There)]),
        State::Ok,
        "all 1 that this login may read",
    );
}

fn roster(state: SlaveState, closed: Option<Timestamp>) -> Roster {
    Roster {
        farm: FarmId([1; 32]),
        version: 1,
        keyring: Position::default(),
        issued: at(0),
        lines: vec![RosterLine {
            slave: "maple".parse().unwrap(),
            report_key: PublicKey([1; 32]),
            bus_key: PublicKey([2; 32]),
            owner: Text::tidy("Bob"),
            platform: Text::tidy("linux"),
            builders: vec!["foo-linux".parse().unwrap()],
            state,
            approved: at(0),
            closed,
        }],
    }
}

#[test]
fn a_slave_is_told_where_it_stands_on_the_roster() {
    use SlaveState::{Active, Paused, Probation, Revoked};
    let cases = [
        (None, 1, "foo-linux", State::Warn, "not approved yet"),
        (
            Some(roster(Active, Some(at(1)))),
            1,
            "foo-linux",
            State::Warn,
            "not approved yet",
        ),
        (
            Some(roster(Active, None)),
            1,
            "foo-linux",
            State::Ok,
            "maple is active",
        ),
        (
            Some(roster(Probation, None)),
            1,
            "foo-linux",
            State::Ok,
            "on probation",
        ),
        (
            Some(roster(Active, None)),
            9,
            "foo-linux",
            State::Fail,
            "another report key",
        ),
        (
            Some(roster(Paused, None)),
            1,
            "foo-linux",
            State::Warn,
            "paused by the operator",
        ),
        (
            Some(roster(Revoked, None)),
            1,
            "foo-linux",
            State::Warn,
            "revoked by the operator",
        ),
        (
            Some(roster(Active, None)),
            1,
            "bar-linux",
            State::Warn,
            "foo-linux, bar-linux",
        ),
    ];
    for (roster, key, builder, state, found) in cases {
        let (name, builder) = ("maple".parse().unwrap(), builder.parse().unwrap());
        let own = Own {
            name: &name,
            key: PublicKey([key; 32]),
            builders: &[&builder],
            application: "maple KEY",
        };
        check(&judge_line(roster.as_ref(), own), state, found);
    }
}

#[test]
fn a_master_is_told_of_builders_that_nobody_serves() {
    let builder =
        |slave: &str| Builder::new(slave.parse().unwrap(), "foo".parse().unwrap(), Vec::new());
    let builders = |name: &str, slave| BTreeMap::from([(name.parse().unwrap(), builder(slave))]);
    let roster = roster(SlaveState::Active, None);
    let cases = [
        (
            None,
            builders("foo-linux", "maple"),
            State::Warn,
            "no slave is approved",
        ),
        (
            Some(&roster),
            builders("foo-linux", "maple"),
            State::Ok,
            "1 slave: maple (active)",
        ),
        (
            Some(&roster),
            BTreeMap::new(),
            State::Ok,
            "1 slave: maple (active)",
        ),
        (
            Some(&roster),
            builders("foo-linux", "oak"),
            State::Warn,
            "foo-linux (slave oak)",
        ),
        (
            Some(&roster),
            builders("bar-linux", "maple"),
            State::Warn,
            "bar-linux (slave maple)",
        ),
    ];
    for (roster, builders, state, found) in cases {
        check(&judge_roster(roster, &builders, &[]), state, found);
    }
}

#[test]
fn a_slave_without_a_sign_of_life_is_named() {
    let roster = roster(SlaveState::Active, None);
    let silent = ["maple".parse().unwrap()];
    let judgement = judge_roster(Some(&roster), &BTreeMap::new(), &silent);
    check(&judgement, State::Warn, "no recent sign of life of maple");
}
