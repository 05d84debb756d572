//! The board over reports in any order, repeated, forged and late.

use super::*;
use crate::model::{FarmId, Report, ReportBody, Text};
use crate::status::row::Row;
use crate::status::sample::{Sample, at, finished, id};
use crate::status::tail::Entry;
use crate::trust::{SecretKey, seal};
use proptest::prelude::*;
use std::sync::LazyLock;

fn fold(sample: &Sample, events: impl IntoIterator<Item = Event>) -> Board {
    let mut board = sample.board();
    for event in events {
        board.apply(event);
    }
    board
}

fn lost() -> ReportBody {
    ReportBody::Lost {
        detail: Text::default(),
    }
}

/// Two slaves, and everything that may go wrong: a rescue, contradicting verdicts, a copy of a slave, a report kept back, a
/// cancel, a command stored twice, two commands of one name, reports without a command, junk.
fn story(sample: &Sample) -> Vec<Event> {
    let maple: Vec<_> = (1..)
        .zip(['a', 'b', 'c', 'd'])
        .map(|(number, digit)| sample.order("foo-maple", number, digit))
        .collect();
    let elm = sample.order("foo-elm", 1, 'a');
    let namesake = sample.order("foo-maple", 4, 'e');
    let unknown = sample.order("foo-maple", 9, 'f');
    let mut events = vec![
        sample.changed(1, 'a'),
        sample.changed(2, 'b'),
        sample.changed(7, 'a'),
        sample.present("maple", at(300)),
        sample.present("maple", at(310)),
        sample.ordered(6, &elm),
        sample.cancelled(7, &elm),
        sample.cancelled(5, &elm),
        sample.ordered(8, &namesake),
        sample.ordered(9, &maple[0]),
        sample.reported(&maple[1], 30, 40, lost()),
        sample.reported(&maple[1], 31, 50, finished(Verdict::Failed)),
        sample.reported(&maple[2], 40, 20, finished(Verdict::Passed)),
        sample.reported(&maple[2], 41, 21, finished(Verdict::Failed)),
        sample.reported(&unknown, 50, 5, finished(Verdict::Passed)),
        sample.delivered(60, b"junk".to_vec()).into(),
        sample.reported_by_a_copy(&maple[2], 40, 30, finished(Verdict::Warned)),
        sample.naming("maple", at(250), 52),
    ];
    events.extend(
        (1..)
            .zip(&maple)
            .map(|(sequence, build)| sample.ordered(sequence, build)),
    );
    events.extend(sample.run(&maple[0], 10, Verdict::Passed));
    events.extend(sample.run(&elm, 100, Verdict::Cancelled));
    events
}

/// Made once, for all the cases of a property.
static STORY: LazyLock<(Sample, Vec<Event>)> = LazyLock::new(|| {
    let sample = Sample::new();
    let story = story(&sample);
    (sample, story)
});

proptest! {
    #[test]
    fn the_same_events_in_any_order_and_any_number_of_times_give_the_same_board(
        order in Just((0..2 * 34).collect::<Vec<usize>>()).prop_shuffle(),
        repeated in 0usize..34,
    ) {
        let (sample, story) = &*STORY;
        prop_assert_eq!(story.len(), 34);
        let shuffled = order
            .into_iter()
            .filter(|i| i % 34 >= repeated || *i < 34)
            .map(|i| story[i % 34].clone());
        let (shuffled, board) = (fold(sample, shuffled), fold(sample, story.clone()));
        prop_assert_eq!(format!("{shuffled:?}"), format!("{board:?}"));
        prop_assert_eq!(shuffled.rows(at(400)), board.rows(at(400)));
    }

    #[test]
    fn a_report_that_was_not_asked_for_changes_nothing_that_is_shown(
        by_elm: bool,
        by_former_key: bool,
        other_builder: bool,
        other_number: bool,
        other_command: bool,
        verdict in prop::sample::select(vec![Verdict::Passed, Verdict::Failed, Verdict::Lost]),
        first: bool,
    ) {
        prop_assume!(by_elm || by_former_key || other_builder || other_number || other_command);
        let (sample, _) = &*STORY;
        let order = sample.order("foo-maple", 1, 'a');
        let mut forged: Report = sample.said(&order, 900, 1, finished(verdict));
        if by_elm {
            forged.slave = "elm".parse().unwrap();
        }
        if other_builder {
            forged.builder = "bar-maple".parse().unwrap();
        }
        if other_number {
            forged.number = 2;
        }
        if other_command {
            forged.command = id(&sample.order("foo-maple", 1, 'b'));
        }
        let mut reported = sample.stored(&forged);
        if by_former_key && !by_elm {
            reported.report = sample.verify(&sample.former_maple, &forged);
        }
        reported.sequence = if first { 1 } else { 900 };
        let why = if other_command { Answer::NoSuchCommand } else { Answer::NotMeant };
        let mut honest = vec![sample.ordered(1, &order)];
        honest.extend(sample.run(&order, 10, Verdict::Failed).into_iter().take(5));
        let mut board = fold(sample, honest);
        prop_assert_eq!(board.answer(&reported.report), why);
        let before = (format!("{:?}", board.build(&order.id())), board.rows(at(150)));
        board.apply(Event::Reported(reported));
        let rows = board.rows(at(150));
        for (row, before) in rows.iter().zip(before.1) {
            // That something is wrong with the sender's own chain now is true, and shown.
            prop_assert_eq!(row, &Row { chain: row.chain, ..before });
        }
        prop_assert_eq!(format!("{:?}", board.build(&order.id())), before.0);
        prop_assert_eq!(board.strays().map(|stray| stray.why).collect::<Vec<_>>(), [why]);
    }
}

#[test]
fn a_forged_report_never_becomes_a_result() {
    let sample = Sample::new();
    let order = sample.order("foo-maple", 1, 'a');
    let report = sample.said(&order, 1, 1, finished(Verdict::Passed));
    let genuine = seal(&sample.maple, &sample.farm, &report).bytes;
    let stranger = SecretKey::from_seed(&[9; 32]);
    let mut flipped = genuine.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut other_place = report.clone();
    other_place.builder = "bar-maple".parse().unwrap();
    let other_farm = FarmId([0; 32]);
    let cases = [
        (b"junk".to_vec(), "E-ENVELOPE"),
        (flipped, "E-SIGNATURE"),
        (seal(&stranger, &sample.farm, &report).bytes, "E-KEY"),
        (seal(&sample.elm, &sample.farm, &report).bytes, "E-REPORTER"),
        (seal(&sample.signing, &sample.farm, &report).bytes, "E-KEY"),
        (
            seal(&sample.maple, &other_farm, &report).bytes,
            "E-SIGNATURE",
        ),
        (
            seal(&sample.maple, &sample.farm, &other_place).bytes,
            "E-SUBJECT",
        ),
        (vec![0; 65 * 1024], "E-SIZE"),
    ];
    let mut board = fold(&sample, [sample.ordered(1, &order)]);
    let before = board.rows(at(150));
    for (sequence, (bytes, code)) in (1..).zip(cases) {
        let entry = sample.delivered(sequence, bytes);
        let Entry::Unproven(unproven) = &entry else {
            panic!("{code}: believed");
        };
        assert_eq!(unproven.code, code);
        board.apply(entry.into());
    }
    assert_eq!(board.rows(at(150)), before);
    assert_eq!(board.unproven().count(), 8);
    board.apply(sample.delivered(20, genuine).into());
    assert_eq!(
        board.verdict_of(&order.id(), at(150)),
        Some(Verdict::Passed)
    );
}

#[test]
fn a_late_verdict_rescues_a_lost_build() {
    let sample = Sample::new();
    let order = sample.order("foo-maple", 1, 'a');
    let mut board = fold(&sample, [sample.ordered(1, &order)]);
    assert_eq!(
        board.verdict_of(&order.id(), at(1_000)),
        Some(Verdict::Lost)
    );
    board.apply(sample.reported(&order, 1, 40, lost()));
    assert_eq!(board.verdict_of(&order.id(), at(150)), Some(Verdict::Lost));
    board.apply(sample.reported(&order, 2, 950, finished(Verdict::Passed)));
    assert_eq!(
        board.verdict_of(&order.id(), at(1_000)),
        Some(Verdict::Passed)
    );
}

#[test]
fn a26_what_a_stolen_key_ordered_counts_only_once_the_slave_has_answered() {
    let sample = Sample::new();
    let order = sample.order("foo-maple", 1, 'a');
    let command = sample.verify(&sample.stolen, &Command::Build(order.clone()));
    let mut board = fold(
        &sample,
        [Event::Ordered {
            sequence: 1,
            command,
        }],
    );
    assert!(!board.build(&order.id()).unwrap().proven);
    let empty = sample.board().rows(at(150));
    assert_eq!(board.rows(at(150)), empty);
    for event in sample.run(&order, 1, Verdict::Passed) {
        board.apply(event);
    }
    assert!(board.build(&order.id()).unwrap().proven);
    assert_ne!(board.rows(at(150)), empty);
}

#[test]
fn a_report_that_is_repeated_counts_once_in_its_first_place() {
    let sample = Sample::new();
    let order = sample.order("foo-maple", 1, 'a');
    let mut board = sample.board();
    board.apply(sample.ordered(1, &order));
    let report = sample.said(&order, 7, 0, finished(Verdict::Passed));
    let stored = sample.stored(&report);
    for sequence in [9, 7, 8, 10] {
        let reported = Reported {
            sequence,
            ..stored.clone()
        };
        board.apply(Event::Reported(reported));
    }
    assert!(board.knows(&Event::Reported(stored)));
    let held: Vec<u64> = board
        .reports
        .values()
        .flat_map(|held| held.keys().copied())
        .collect();
    assert_eq!(held, [7]);
    assert_eq!(
        board.verdict_of(&order.id(), at(200)),
        Some(Verdict::Passed)
    );
}

#[test]
fn a_slave_that_never_ends_a_build_does_not_fill_a_viewers_memory() {
    let sample = Sample::new();
    let order = sample.order("foo-maple", 1, 'a');
    let mut board = sample.board();
    board.apply(sample.ordered(1, &order));
    let most = MAX_REPORTS as u64;
    for sequence in (1..=most + 20).rev() {
        let received = at(100);
        board.apply(sample.reported(&order, sequence, 0, ReportBody::Accepted { received }));
    }
    let held: Vec<u64> = board
        .reports
        .values()
        .flat_map(|held| held.keys().copied())
        .collect();
    assert_eq!(held, (1..=most).collect::<Vec<_>>());
    assert_eq!(board.places.len(), MAX_REPORTS);
}

#[test]
fn of_an_earlier_board_only_what_is_still_believed_is_kept() {
    let sample = Sample::new();
    let head = Head {
        farm: sample.farm,
        keyring: Position::default(),
        roster: 1,
        time: at(200),
    };
    let head = sample.verify(&sample.signing, &head);
    let events = [Event::Headed(head), sample.present("maple", at(200))];
    let earlier = fold(&sample, events);
    let kept = |reader: &Reader| {
        let mut board = Board::default();
        board.keep_standing(&earlier, reader);
        let time = board.head.map(|head| head.body().time);
        (time, board.presences.len())
    };
    assert_eq!(kept(&sample.reader), (Some(at(200)), 1));
    let mut robbed = sample.reader.clone();
    let keyring = sample.after_theft();
    robbed.learn_keyring(&keyring).unwrap();
    assert_eq!(kept(&robbed), (None, 0));
}
