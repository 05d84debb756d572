//! A farm in one thread and in no time: three masters with their folds, fifty gates, and a bus that does its worst.
//!
//! One seed is one run. Schedulers and gates are the real ones, and so is every rule on keys; signatures alone are an
//! oracle's. Journals, keepers, the streams, the lease and the loops are small models of what DESIGN says of them. The
//! promises are checked all the time, and again after a time of calm.
//!
//! `tests/run simulation 10000` runs so many seeds, `tests/run simulation --seed N` tells one seed's whole story.

mod bus;
mod chance;
mod farm;
mod ledger;
mod master;
mod people;
mod promises;
mod run;
mod sabotage;
mod slave;

use run::{Story, run};
use sabotage::Sabotage;

/// How many seeds are run if nobody says otherwise.
const SEEDS: u64 = 300;
/// So much of a story is shown.
const LAST: usize = 40;

fn number(variable: &str) -> Option<u64> {
    let raw = std::env::var(variable).ok()?;
    Some(raw.parse().expect("a number"))
}

#[expect(
    clippy::print_stderr,
    reason = "for whoever runs the tests with --nocapture"
)]
fn show(text: &str) {
    eprintln!("{text}");
}

/// Runs a seed, and tells of it if a promise broke.
fn broken(seed: u64, sabotage: Option<Sabotage>) -> Option<String> {
    run(seed, sabotage, Story::Untold).err()?;
    let broken = run(seed, sabotage, Story::Told).err()?;
    let from = broken.story.len().saturating_sub(LAST);
    let last = broken.story[from..].join("\n");
    Some(format!(
        "seed {seed}: {}\nwhat led to it (all of it: tests/run simulation --seed {seed}):\n{last}",
        broken.what
    ))
}

#[test]
fn the_promises_hold_whatever_the_bus_the_machines_and_thieves_do() {
    if let Some(seed) = number("PYBOTS_SIMULATION_SEED") {
        let (story, what) = match run(seed, None, Story::Told) {
            Ok(world) => (world.into_story(), None),
            Err(broken) => (broken.story, Some(broken.what)),
        };
        show(&story.join("\n"));
        assert!(what.is_none(), "seed {seed}: {}", what.unwrap_or_default());
        return;
    }
    let seeds = number("PYBOTS_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let half = |first| {
            scope.spawn(move || {
                (first..seeds)
                    .step_by(2)
                    .find_map(|seed| broken(seed, None))
            })
        };
        let halves = [half(0), half(1)];
        halves
            .into_iter()
            .filter_map(|half| half.join().expect("no panic"))
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// What breaks first among some seeds.
fn breaks(sabotage: Sabotage) -> String {
    let found =
        (0..200).find_map(|seed| Some((seed, run(seed, Some(sabotage), Story::Untold).err()?)));
    let (seed, broken) = found.unwrap_or_else(|| panic!("{sabotage:?} breaks nothing"));
    show(&format!("{sabotage:?}: seed {seed}: {}", broken.what));
    broken.what
}

#[test]
fn a_fence_by_subject_alone_doubles_builds() {
    let what = breaks(Sabotage::FenceBySubject);
    assert!(what.starts_with('7'), "{what}");
}

#[test]
fn predicted_sequences_alone_let_a_batch_in_behind_another_masters() {
    let what = breaks(Sabotage::BatchUnchained);
    assert!(what.starts_with('7'), "{what}");
}

#[test]
fn a_slave_without_its_journal_runs_a_command_twice() {
    for sabotage in [Sabotage::JournalLost, Sabotage::ReplaysPass] {
        let what = breaks(sabotage);
        assert!(what.starts_with('4'), "{what}");
    }
}

#[test]
fn each_wall_that_is_taken_away_is_missed() {
    for (sabotage, promise) in [
        (Sabotage::OwnerIgnored, '6'),
        (Sabotage::CapacityIgnored, '7'),
        (Sabotage::LateReportsDropped, '7'),
        (Sabotage::RequestsForgotten, '7'),
    ] {
        let what = breaks(sabotage);
        assert!(what.starts_with(promise), "{sabotage:?}: {what}");
    }
}
