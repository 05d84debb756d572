//! What changed, as far as the record tells.

use super::*;
use crate::model::{Build, Experiment, ExperimentRole};
use crate::status::board::Event;
use crate::status::sample::{Sample, id, revision};

/// A move of trunk from one revision to another, `-` for none before.
fn change(sample: &Sample, from: char, to: char) -> Verified<Change> {
    let mut change = sample.change(to).into_body();
    change.previous = (from != '-').then(|| revision(from));
    change.more = 1;
    sample.verify(&sample.signing, &change)
}

fn moved(sample: &Sample, sequence: u64, from: char, to: char) -> Event {
    let change = change(sample, from, to);
    Event::Changed { sequence, change }
}

/// The letter before; nothing comes before the first.
fn before(digit: char) -> char {
    match digit {
        'a' => '-',
        _ => (digit as u8 - 1) as char,
    }
}

/// Builds of foo-maple from a number on, each with the revision that it tested and what it came to.
fn board(sample: &Sample, first: u64, builds: &[(char, Verdict)]) -> Board {
    let mut board = sample.board();
    for (number, (digit, verdict)) in (first..).zip(builds) {
        let mut order = sample.order("foo-maple", number, *digit);
        order.covers = vec![change(sample, before(*digit), *digit).id()];
        add(sample, &mut board, &order, *verdict);
    }
    board
}

fn add(sample: &Sample, board: &mut Board, order: &Build, verdict: Verdict) {
    board.apply(sample.ordered(order.number, order));
    for event in sample.run(order, order.number * 10, verdict) {
        board.apply(event);
    }
}

/// The build that passed, the way, the revisions of the changes, how many more commits, and whether it is all.
fn told(board: &Board, build: &str) -> String {
    match board.since_last_pass(board.build(&build.parse().unwrap()).unwrap()) {
        LastPass::NotAsked => "not asked".to_owned(),
        LastPass::Never => "never".to_owned(),
        LastPass::NotOnRecord => "not on record".to_owned(),
        LastPass::Known(since) => {
            let digit = |revision: &Revision| revision.as_str()[..1].to_owned();
            let changes = since
                .changes
                .iter()
                .map(|change| digit(&change.body().revision));
            let moved = &since.moves[0];
            format!(
                "{} {}→{} {:?} [{}] +{}{}",
                since.passed.order.number,
                digit(moved.from),
                digit(moved.to),
                moved.way,
                changes.collect::<String>(),
                since.more_commits,
                if since.incomplete { " incomplete" } else { "" },
            )
        }
    }
}

type Case<'a> = (u64, &'a [(char, Verdict)], &'a [(u64, char, char)], &'a str);

#[test]
fn what_changed_since_the_last_pass_is_named_as_far_as_it_is_on_record() {
    use Verdict::{Errored, Failed, Passed, Warned};
    let sample = Sample::new();
    let chain = [(1, '-', 'a'), (2, 'a', 'b'), (3, 'b', 'c'), (4, 'c', 'd')];
    // The first number, the builds, the changes on record, what is told of the newest build.
    let cases: &[Case<'_>] = &[
        (1, &[('a', Passed)], &chain, "not asked"),
        (1, &[('a', Failed)], &chain, "never"),
        (1, &[('a', Errored), ('b', Failed)], &chain, "never"),
        (7, &[('a', Failed), ('b', Failed)], &chain, "not on record"),
        (
            1,
            &[('a', Passed), ('b', Failed)],
            &chain,
            "1 a→b Onward [b] +1",
        ),
        (
            7,
            &[('a', Passed), ('d', Failed)],
            &chain,
            "7 a→d Onward [dcb] +3",
        ),
        // What did not pass in between is no pass, and what it brought may be why.
        (
            1,
            &[('a', Passed), ('b', Warned), ('c', Errored), ('d', Failed)],
            &chain,
            "1 a→d Onward [dcb] +3",
        ),
        (
            1,
            &[('a', Passed), ('a', Failed)],
            &chain,
            "1 a→a Same [] +0",
        ),
        (
            1,
            &[('c', Passed), ('b', Failed)],
            &chain,
            "1 c→b Back [] +0",
        ),
        // The chain has a gap, or is gone: the builds name what they cover, where that is still held.
        (
            1,
            &[('a', Passed), ('b', Failed), ('d', Failed)],
            &[chain[1], chain[3]],
            "1 a→d Unknown [db] +2 incomplete",
        ),
        (
            1,
            &[('a', Passed), ('d', Failed)],
            &[],
            "1 a→d Unknown [] +0 incomplete",
        ),
    ];
    for (first, builds, changes, expected) in cases {
        let mut board = board(&sample, *first, builds);
        for (sequence, from, to) in *changes {
            board.apply(moved(&sample, *sequence, *from, *to));
        }
        let newest = format!("foo-maple/{}", *first + builds.len() as u64 - 1);
        assert_eq!(told(&board, &newest), *expected, "{builds:?} {changes:?}");
    }
}

#[test]
fn only_a_sound_pass_on_the_same_branches_counts() {
    let sample = Sample::new();
    let mut board = board(&sample, 1, &[('a', Verdict::Passed)]);
    let mut other_branch = sample.order("foo-maple", 2, 'b');
    other_branch.sources[0].branch = "3.14".parse().unwrap();
    add(&sample, &mut board, &other_branch, Verdict::Passed);
    let mut question = sample.order("foo-maple", 3, 'b');
    question.experiment = Some(Experiment {
        id: id(&question),
        role: ExperimentRole::Bisect,
        baseline: Vec::new(),
    });
    add(&sample, &mut board, &question, Verdict::Passed);
    let contradicted = sample.order("foo-maple", 4, 'b');
    add(&sample, &mut board, &contradicted, Verdict::Passed);
    let failed = crate::status::sample::finished(Verdict::Failed);
    board.apply(sample.reported(&contradicted, 99, 30, failed));
    add(
        &sample,
        &mut board,
        &sample.order("foo-maple", 5, 'b'),
        Verdict::Failed,
    );
    board.apply(moved(&sample, 1, 'a', 'b'));
    assert_eq!(told(&board, "foo-maple/5"), "1 a→b Onward [b] +1");
    assert_eq!(told(&board, "foo-maple/3"), "not asked");
}

#[test]
fn a_long_list_of_changes_is_cut_and_what_is_left_out_is_counted() {
    let sample = Sample::new();
    let nth = |n: u64| -> Revision { format!("{n:040x}").parse().unwrap() };
    let mut board = sample.board();
    for (number, n, verdict) in [(1, 0, Verdict::Passed), (2, 30, Verdict::Failed)] {
        let mut order = sample.order("foo-maple", number, 'a');
        order.sources[0].revision = nth(n);
        add(&sample, &mut board, &order, verdict);
    }
    for n in 1..=30 {
        let mut change = sample.change('a').into_body();
        (change.previous, change.revision) = (Some(nth(n - 1)), nth(n));
        let change = sample.verify(&sample.signing, &change);
        board.apply(Event::Changed {
            sequence: n,
            change,
        });
    }
    let build = board.build(&"foo-maple/2".parse().unwrap()).unwrap();
    let LastPass::Known(since) = board.since_last_pass(build) else {
        panic!("it passed before");
    };
    assert_eq!(since.changes.len(), 20);
    assert_eq!(since.changes[0].body().revision, nth(30));
    assert_eq!((since.more_commits, since.incomplete), (10, false));
}
