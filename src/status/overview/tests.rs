//! What the sentence says, and what it never says.

use super::*;
use crate::model::{BuildState, Head, Keyring, PayloadId, Position, SlaveState};
use crate::status::board::Event;
use crate::status::sample::{Sample, at, started};
use crate::trust::{Chain, SecretKey, countersign};

/// Builds of a builder, numbered from 1, each with the revision and what it came to.
fn built(sample: &Sample, board: &mut Board, builder: &str, builds: &[(char, Verdict)]) {
    // Reports of builds at the same slave must not meet in one place of the stream.
    let place = if builder.starts_with("foo") { 0 } else { 1_000 };
    for (number, (digit, verdict)) in (1..).zip(builds) {
        let order = sample.order(builder, number, *digit);
        board.apply(sample.ordered(place + number, &order));
        for event in sample.run(&order, place + number * 10, *verdict) {
            board.apply(event);
        }
    }
}

/// Trunk is at `b`; maple and elm were seen at so many seconds.
fn farm(sample: &Sample, seen: &[(&str, u64)]) -> Board {
    let mut board = sample.board();
    board.apply(sample.changed(1, 'a'));
    board.apply(sample.changed(2, 'b'));
    for (slave, seconds) in seen {
        board.apply(sample.present(slave, at(*seconds)));
    }
    board
}

fn told(board: &Board, seconds: u64) -> (Tone, String) {
    let overview = Overview::of(board, at(seconds));
    (overview.tone, overview.sentence())
}

type Built<'a> = &'a [(char, Verdict)];
type Case<'a> = (&'a [(&'a str, u64)], [Built<'a>; 3], Tone, &'a str);

#[test]
fn the_sentence_is_true_to_what_is_known() {
    use Verdict::{Errored, Failed, Passed, Refused, Warned};
    let sample = Sample::new();
    let alive: &[(&str, u64)] = &[("maple", 290), ("elm", 290)];
    // Who was seen when; what foo-maple, foo-elm and bar-maple built; what is said.
    let cases: &[Case<'_>] = &[
        (
            &[],
            [&[], &[], &[]],
            Tone::Unknown,
            "Nothing is known yet. 2 of 2 slaves are silent.",
        ),
        (
            alive,
            [&[], &[], &[]],
            Tone::Unknown,
            "Nothing is known yet.",
        ),
        (
            alive,
            [&[('b', Passed)], &[('b', Passed)], &[('b', Passed)]],
            Tone::Good,
            "bar and foo pass on cpython main bbbbbbbbbb.",
        ),
        // What went wrong with a machine counts neither way.
        (
            alive,
            [
                &[('b', Passed), ('b', Errored)],
                &[('b', Passed)],
                &[('b', Passed), ('b', Refused)],
            ],
            Tone::Good,
            "bar and foo pass on cpython main bbbbbbbbbb.",
        ),
        (
            alive,
            [&[('b', Passed)], &[('a', Passed)], &[('b', Passed)]],
            Tone::Partly,
            "bar and foo pass on cpython main. 1 of 3 builders has yet to test the newest check-in.",
        ),
        (
            alive,
            [&[('b', Failed)], &[('b', Passed)], &[('b', Passed)]],
            Tone::Bad,
            "foo has been failing for 3 min on 1 of 2 builders; bar passes.",
        ),
        (
            alive,
            [
                &[('b', Failed), ('b', Errored)],
                &[('b', Failed)],
                &[('b', Warned)],
            ],
            Tone::Bad,
            "foo has been failing for 3 min on all 2 builders; bar passes with warnings on its only builder.",
        ),
        // Silent, and there is newer code: it passed once, and that is all.
        (
            &[("maple", 290)],
            [&[('b', Passed)], &[('a', Passed)], &[('b', Passed)]],
            Tone::Partly,
            "bar and foo pass on cpython main bbbbbbbbbb. 1 of 3 builders can say nothing of it now. 1 of 2 slaves is silent.",
        ),
        (
            &[("elm", 290)],
            [&[('a', Passed)], &[('b', Passed)], &[('a', Failed)]],
            Tone::Partly,
            "foo passes; nothing new is known of bar, which last failed 3 min ago. 2 of 3 builders can say nothing of it now. 1 of 2 slaves is silent.",
        ),
        (
            &[],
            [&[('a', Passed)], &[], &[('a', Failed)]],
            Tone::Unknown,
            "Nothing new is known: bar last failed 3 min ago, foo last passed 3 min ago. 2 of 2 slaves are silent.",
        ),
        (
            alive,
            [&[('b', Errored)], &[], &[('b', Passed)]],
            Tone::Partly,
            "bar passes; nothing is known yet of foo. 1 of 2 builders can say nothing of it now.",
        ),
    ];
    for (seen, [foo_maple, foo_elm, bar], tone, expected) in cases {
        let mut board = farm(&sample, seen);
        built(&sample, &mut board, "foo-maple", foo_maple);
        built(&sample, &mut board, "foo-elm", foo_elm);
        built(&sample, &mut board, "bar-maple", bar);
        assert_eq!(told(&board, 301), (*tone, (*expected).to_owned()));
    }
}

#[test]
fn a_slave_on_probation_or_gone_counts_neither_way() {
    let sample = Sample::new();
    let mut board = farm(&sample, &[("maple", 290), ("elm", 290)]);
    built(&sample, &mut board, "foo-maple", &[('b', Verdict::Passed)]);
    built(&sample, &mut board, "foo-elm", &[('b', Verdict::Failed)]);
    for (version, state) in [(2, SlaveState::Probation), (3, SlaveState::Revoked)] {
        let mut roster = sample.roster(version);
        roster.lines[1].state = state;
        board.set_roster(roster);
        let (tone, sentence) = told(&board, 300);
        assert_eq!(sentence, "foo passes on cpython main bbbbbbbbbb.");
        assert_eq!(tone, Tone::Good);
    }
    // Nothing green from one alone that counts nowhere.
    let mut roster = sample.roster(4);
    roster.lines[0].state = SlaveState::Probation;
    roster.lines[1].state = SlaveState::Probation;
    board.set_roster(roster);
    assert_eq!(
        told(&board, 300),
        (Tone::Unknown, "Nothing is known yet.".to_owned())
    );
}

#[test]
fn a_slave_that_contradicts_itself_makes_nothing_green() {
    let sample = Sample::new();
    let mut board = farm(&sample, &[("maple", 290)]);
    built(&sample, &mut board, "foo-maple", &[('b', Verdict::Passed)]);
    let failed = crate::status::sample::finished(Verdict::Failed);
    board.apply(sample.reported(&sample.order("foo-maple", 1, 'b'), 99, 30, failed));
    let overview = Overview::of(&board, at(300));
    assert_eq!(overview.tone, Tone::Unknown);
    assert!(
        overview
            .notes
            .iter()
            .any(|note| note.contains("two different ends"))
    );
}

#[test]
fn the_newest_builds_are_told_oldest_first_with_what_runs() {
    let sample = Sample::new();
    let mut board = farm(&sample, &[("maple", 290)]);
    let verdicts: Vec<_> = std::iter::repeat_n(('b', Verdict::Passed), 25).collect();
    built(&sample, &mut board, "foo-maple", &verdicts);
    let order = sample.order("foo-maple", 26, 'b');
    board.apply(sample.ordered(900, &order));
    board.apply(sample.reported(&order, 901, 1, started(1, at(2_601))));
    let overview = Overview::of(&board, at(2_610));
    let recent = &overview.strips[0].rows[0].recent;
    assert_eq!(recent.len(), 20);
    assert_eq!((recent[0].number, recent[19].number), (7, 26));
    assert_eq!(recent[0].verdict, Some(Verdict::Passed));
    assert_eq!(recent[19].verdict, None);
    assert!(matches!(
        recent[19].state,
        BuildState::Running { step: 1, .. }
    ));
    assert_eq!((overview.running, overview.waiting), (1, 0));
}

#[test]
fn silent_slaves_are_named_once_with_their_last_sign() {
    let sample = Sample::new();
    let board = farm(&sample, &[("maple", 10)]);
    let overview = Overview::of(&board, at(1_000));
    let silent: Vec<_> = overview
        .silent
        .iter()
        .map(|silence| (silence.slave.as_str(), silence.last_seen, silence.builders))
        .collect();
    assert_eq!(silent, [("elm", None, 1), ("maple", Some(at(10)), 2)]);
    assert_eq!(overview.slaves, 2);
}

/// A board of one build, which passed.
fn passed(sample: &Sample) -> Board {
    let order = sample.order("foo-maple", 1, 'a');
    let mut board = sample.board();
    board.apply(sample.changed(1, 'a'));
    board.apply(sample.ordered(1, &order));
    for event in sample.run(&order, 1, Verdict::Passed) {
        board.apply(event);
    }
    board
}

#[test]
fn what_passed_is_not_green_when_the_master_has_been_silent_for_long() {
    let sample = Sample::new();
    let mut board = passed(&sample);
    let heard = at(200);
    board.apply(Event::Headed(sample.verify(
        &sample.signing,
        &Head {
            farm: sample.farm,
            keyring: Position::default(),
            roster: 1,
            time: heard,
        },
    )));
    let overview = |now| {
        let mut board = board.clone();
        board.apply(sample.present("maple", now));
        board.apply(sample.present("elm", now));
        Overview::of(&board, now)
    };
    let soon = overview(heard.after(3 * Head::PERIOD));
    assert_eq!(soon.tone, Tone::Good, "{}", soon.sentence());
    let late = overview(heard.after(4 * Head::PERIOD));
    assert_eq!(late.tone, Tone::Partly);
    let said = "The master has not spoken for 40 min: newer check-ins may not be known.";
    assert!(late.sentence().ends_with(said), "{}", late.sentence());
}

#[test]
fn nothing_is_green_while_two_keyrings_claim_one_place_or_the_newest_has_expired() {
    let sample = Sample::new();
    let master = SecretKey::from_seed(&[1; 32]);
    let mut board = passed(&sample);
    board.apply(sample.present("maple", at(200)));
    board.apply(sample.present("elm", at(200)));
    let mut chain = sample.reader.chain().clone();
    let learn = |chain: &mut Chain, expires| {
        let keyring = Keyring {
            position: Position {
                generation: 0,
                serial: 1,
            },
            previous: Some(PayloadId(sample.farm.0)),
            expires: at(expires),
            ..sample.reader.keyring().clone()
        };
        let signed = countersign(&[&master], &keyring).unwrap();
        chain.learn(&signed.to_bytes()).unwrap();
    };
    let mut overview = |chain: &Chain, now| {
        board.set_chain(chain.clone());
        board.apply(sample.present("maple", now));
        board.apply(sample.present("elm", now));
        let overview = Overview::of(&board, now);
        (overview.tone, overview.remarks.first().cloned())
    };
    learn(&mut chain, 300);
    assert_eq!(overview(&chain, at(250)).0, Tone::Good);
    let (tone, said) = overview(&chain, at(360));
    let expired = "The newest keyring, 0.1, expired 1 min ago: slaves start nothing until the operator publishes a newer one.";
    assert_eq!((tone, said.as_deref()), (Tone::Partly, Some(expired)));
    learn(&mut chain, 400);
    let (tone, said) = overview(&chain, at(370));
    let forked = "Two keyrings at 0.1: somebody else holds a master key. Nothing of this generation is to be believed until the operator publishes a succession.";
    assert_eq!((tone, said.as_deref()), (Tone::Partly, Some(forked)));
}
