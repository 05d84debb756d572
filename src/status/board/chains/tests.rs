//! What the board says of reports that were kept back, exchanged, or signed twice.

use super::*;
use crate::model::{PayloadId, Report, ReportBody, Text, Verdict};
use crate::status::board::{Event, Reported};
use crate::status::overview::Overview;
use crate::status::sample::{Sample, at, ended, finished, started};

fn lost() -> ReportBody {
    ReportBody::Lost {
        detail: Text::default(),
    }
}

fn board_of(sample: &Sample, events: impl IntoIterator<Item = Event>) -> Board {
    let mut board = sample.board();
    for event in events {
        board.apply(event);
    }
    board
}

#[test]
fn a98_a_second_end_that_is_no_rescue_is_a_dispute_and_both_are_kept() {
    use Verdict::{Failed, Lost, Passed, Refused, Skipped, Warned};
    // What the slave signed as the end, in the order of the stream; which stands, and what contradicts it.
    type Case = (&'static [Verdict], Option<Verdict>, &'static [Verdict]);
    let cases: &[Case] = &[
        (&[], None, &[]),
        (&[Passed], Some(Passed), &[]),
        (&[Failed, Passed], Some(Failed), &[Passed]),
        // The same verdict in another report: of one of them something else is not true.
        (&[Passed, Passed], Some(Passed), &[Passed]),
        (&[Refused, Passed], Some(Refused), &[Passed]),
        (&[Skipped, Failed], Some(Skipped), &[Failed]),
        // It did not know, and now it does.
        (&[Lost, Passed], Some(Passed), &[]),
        // It knew, and now it does not: that is no longer the slave that it was.
        (&[Passed, Lost], Some(Passed), &[Lost]),
        (&[Lost, Lost], Some(Lost), &[Lost]),
        (&[Lost, Failed, Passed], Some(Failed), &[Passed]),
        (
            &[Passed, Failed, Warned, Lost, Failed, Failed, Failed],
            Some(Passed),
            &[Failed, Warned, Lost, Failed],
        ),
    ];
    let sample = Sample::new();
    let order = sample.order("foo-maple", 1, 'a');
    for (signed, stands, against) in cases {
        let ends = (2..).zip(*signed).map(|(sequence, verdict)| {
            let body = if *verdict == Lost {
                lost()
            } else {
                finished(*verdict)
            };
            sample.reported(&order, sequence, sequence, body)
        });
        let ends: Vec<Event> = ends.collect();
        let twice = ends.iter().chain(&ends).cloned();
        let board = board_of(
            &sample,
            [sample.ordered(1, &order)].into_iter().chain(twice),
        );
        let build = board.build(&order.id()).unwrap();
        let contradictions: Vec<Verdict> = build
            .contradictions
            .iter()
            .filter_map(|ending| ending.body.verdict())
            .collect();
        assert_eq!(build.verdict(at(150)), *stands, "{signed:?}");
        assert_eq!(contradictions, *against, "{signed:?}");
        assert_eq!(build.is_disputed(), !against.is_empty(), "{signed:?}");
        let ending = build
            .ending
            .as_ref()
            .and_then(|ending| ending.body.verdict());
        assert_eq!(ending, *stands, "{signed:?}");
    }
}

#[test]
fn a97_a_build_says_which_of_the_slaves_reports_may_be_missing_from_it() {
    let sample = Sample::new();
    let orders = [1, 2, 3].map(|number| sample.order("foo-maple", number, 'a'));
    // Reports 1 to 6, 7 to 12 and 13 to 18.
    let runs: Vec<Event> = (0..)
        .zip(&orders)
        .flat_map(|(n, order)| sample.run(order, 1 + 6 * n, Verdict::Passed))
        .collect();
    // Which are kept back; how many are missing of each build, and of the slave.
    let cases: &[(&[u64], [u64; 3], u64)] = &[
        (&[], [0, 0, 0], 0),
        (&[9, 10], [0, 2, 0], 2),
        // The end of the second: whatever comes later may be about it.
        (&[12], [0, 1, 0], 1),
        (&[12, 16], [0, 2, 1], 2),
        // Its beginning; and where the first ended, nobody can have kept anything back.
        (&[7], [0, 1, 0], 1),
        (&[7, 8, 9, 10, 11, 12], [0, 0, 0], 6),
        (&[1, 2], [0, 0, 0], 0),
    ];
    let maple = "maple".parse().unwrap();
    for (dropped, of_builds, of_slave) in cases {
        let ordered = (1..).zip(&orders);
        let ordered = ordered.map(|(sequence, order)| sample.ordered(sequence, order));
        let kept = runs.iter().zip(1..);
        let kept = kept.filter(|(_, place)| !dropped.contains(place));
        let kept = kept.map(|(event, _)| event.clone());
        let board = board_of(&sample, ordered.chain(kept));
        let missing = orders.each_ref().map(|order| {
            let build = board.build(&order.id()).unwrap();
            board.chain_faults_of(build).missing
        });
        assert_eq!(missing, *of_builds, "{dropped:?}");
        let faults = board.chain_faults(&maple, at(400));
        assert_eq!(faults.missing, *of_slave, "{dropped:?}");
    }
}

#[test]
fn a97_the_newest_report_kept_back_is_missed_once_signs_of_life_have_named_it_for_a_minute() {
    let sample = Sample::new();
    let order = sample.order("foo-maple", 1, 'a');
    let mut run = sample.run(&order, 1, Verdict::Passed);
    let end = run.pop().unwrap();
    let maple = "maple".parse().unwrap();
    let mut board = board_of(&sample, run);
    let missing = |board: &Board, now| board.chain_faults(&maple, at(now)).missing;
    for (issued, expected) in [(130, 0), (145, 0), (190, 1)] {
        board.apply(sample.naming("maple", at(issued), 6));
        assert_eq!(missing(&board, issued), expected);
    }
    board.apply(end);
    assert_eq!(missing(&board, 1_000), 0);
}

#[test]
fn a13_a_copied_slave_is_named_as_that_and_an_honest_restart_is_not() {
    let sample = Sample::new();
    let order = sample.order("foo-maple", 1, 'a');
    let run = sample.run(&order, 1, Verdict::Passed);
    let restarted = sample.said(&order, 7, 30, lost());
    let restarted = sample.stored(&Report {
        instance: crate::model::InstanceId([8; 16]),
        ..restarted
    });
    let maple = "maple".parse().unwrap();
    let mut board = board_of(&sample, [sample.ordered(1, &order)].into_iter().chain(run));
    board.apply(Event::Reported(restarted));
    assert!(board.chain_faults(&maple, at(400)).is_none());
    board.apply(sample.reported_by_a_copy(&order, 4, 10, ended(0, 1)));
    board.apply(sample.reported_by_a_copy(&order, 5, 11, started(1, at(111))));
    let faults = board.chain_faults(&maple, at(400));
    let told = (faults.forked, faults.forked_from, faults.cloned);
    assert_eq!(told, (2, Some(4), true));
    let build = board.build(&order.id()).unwrap();
    assert_eq!(board.chain_faults_of(build).forked, 2);
}

#[test]
fn a97_a_report_that_was_exchanged_breaks_the_link_of_the_next() {
    let sample = Sample::new();
    let order = sample.order("foo-maple", 1, 'a');
    let mut run = sample.run(&order, 1, Verdict::Passed);
    let other = Report {
        previous: Some(PayloadId([1; 32])),
        ..sample.said(&order, 4, 12, started(1, at(112)))
    };
    run[3] = Event::Reported(sample.stored(&other));
    let board = board_of(&sample, [sample.ordered(1, &order)].into_iter().chain(run));
    let maple = "maple".parse().unwrap();
    let faults = board.chain_faults(&maple, at(400));
    // Neither does it name the third, nor does the fifth name it.
    assert_eq!((faults.broken, faults.missing, faults.forked), (2, 0, 0));
    let build = board.build(&order.id()).unwrap();
    assert_eq!(board.chain_faults_of(build).broken, 2);
}

#[test]
fn a_report_beyond_what_is_held_of_a_build_is_not_taken_for_missing() {
    let sample = Sample::new();
    let order = sample.order("foo-maple", 1, 'a');
    let most = crate::status::board::MAX_REPORTS as u64;
    let mut board = sample.board();
    for sequence in 1..=most + 2 {
        let body = ReportBody::Accepted { received: at(100) };
        let Event::Reported(reported) = sample.reported(&order, sequence, 0, body) else {
            panic!("another event")
        };
        // In the stream the last comes first.
        let sequence = 2 * most - sequence;
        board.apply(Event::Reported(Reported {
            sequence,
            ..reported
        }));
    }
    assert!(
        board
            .chain_faults(&"maple".parse().unwrap(), at(400))
            .is_none()
    );
}

#[test]
fn a13_a_copied_slave_that_was_never_given_a_build_is_named_in_any_order_and_a_restart_is_not() {
    let sample = Sample::new();
    let maple = "maple".parse().unwrap();
    let seen = |signs: &[(u8, u64)]| -> Vec<Event> {
        let signs = signs.iter();
        let seen =
            signs.map(|(instance, issued)| sample.present_by(*instance, "maple", at(*issued)));
        seen.collect()
    };
    let faults = |events: Vec<Event>| board_of(&sample, events).chain_faults(&maple, at(400));
    let restart = [(1, 100), (1, 115), (2, 120), (2, 135)];
    assert!(faults(seen(&restart)).is_none());
    let clone = [(1, 100), (2, 105), (1, 115)];
    for turn in 0..clone.len() {
        let mut signs = clone;
        signs.rotate_left(turn);
        let twice = [seen(&signs), seen(&signs)].concat();
        let faults = faults(twice);
        assert!(faults.cloned && faults.forked == 0, "{signs:?}");
    }
    let board = board_of(&sample, seen(&clone));
    let notes = Overview::of(&board, at(120)).notes;
    assert_eq!(
        notes,
        ["two instances of maple are alive, as if it had been copied or set back"]
    );
    // The copy is gone for a while.
    let alone: Vec<(u8, u64)> = (0..40).map(|n| (1, 200 + 15 * n)).collect();
    assert!(faults([seen(&clone), seen(&alone)].concat()).is_none());
}
