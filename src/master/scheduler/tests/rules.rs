//! One rule each.

use super::*;
use crate::master::config::{Collapse, SlaveRules};

/// A world in which both repositories stand at revision 1 and the first build of it has ended.
fn settled() -> World {
    let mut world = World::new();
    world.moved("foo", 1);
    world.moved("python", 1);
    world.decide(at(1));
    world.end(Verdict::Passed, at(2));
    assert!(world.decide(at(3)).is_empty());
    world
}

fn sent_since(world: &World, before: usize) -> Vec<(u64, u32, Option<u64>)> {
    let sent = world.sent[before..].iter();
    sent.map(|(_, build)| (build.number, build.attempt, build.retry_of))
        .collect()
}

#[test]
fn a_quiet_period_waits_for_the_last_change_and_never_for_ever() {
    let mut world = settled();
    world.builder("foo-linux").quiet = Duration::from_secs(100);
    for second in 10..1_000 {
        world.moved_at("python", second, at(second), None);
        world.decide(at(second));
        assert_eq!(world.sent.len(), 1, "{second}");
        let waiting = world.queue(at(second));
        assert!(matches!(waiting[0].reason, Reason::Quiet { .. }));
    }
    // A branch that never rests is built all the same, ten periods after the first change.
    world.decide(at(1_010));
    assert_eq!(world.sent.len(), 2);
}

#[test]
fn of_a_builder_that_builds_every_change_none_is_left_out() {
    let mut world = settled();
    world.builder("foo-linux").collapse = Collapse::Every;
    for (second, repository) in [(10, "python"), (11, "foo"), (12, "python")] {
        world.moved_at(repository, second, at(second), None);
    }
    for second in 20..30 {
        world.decide(at(second));
        world.end(Verdict::Passed, at(second));
    }
    let built: Vec<(usize, Vec<&str>)> = world.sent[1..]
        .iter()
        .map(|(_, build)| {
            let sources = build.sources.iter();
            let ends = sources.map(|source| &source.revision.as_str()[38..]);
            (build.covers.len(), ends.collect())
        })
        .collect();
    // foo comes before python in the alphabet.
    let expected = [
        (1, vec!["01", "0a"]),
        (1, vec!["0b", "0a"]),
        (1, vec!["0b", "0c"]),
    ];
    assert_eq!(built, expected);
}

#[test]
fn too_many_waiting_changes_of_a_builder_that_builds_each_are_built_as_one() {
    let mut world = settled();
    world.builder("foo-linux").collapse = Collapse::Every;
    for second in 1..=900 {
        world.moved_at("python", second + 1, at(second), None);
    }
    world.decide(at(1_000));
    let (_, build) = world.sent.last().unwrap();
    assert_eq!(build.covers.len(), MAX_COVERS);
    assert_eq!(build.reason.as_str(), "401 changes");
    world.end(Verdict::Passed, at(1_001));
    world.decide(at(1_002));
    assert_eq!(world.sent.last().unwrap().1.reason.as_str(), "1 change");
}

#[test]
fn a_slave_is_given_as_many_builds_as_it_takes_and_the_rest_waits() {
    for capacity in 1..=3u32 {
        let mut world = World::new();
        world.add("foo-b", "maple");
        world.add("foo-c", "maple");
        world.add("foo-d", "oak");
        let rules = SlaveRules { capacity };
        world.config.slaves.insert("maple".parse().unwrap(), rules);
        world.moved("foo", 1);
        world.moved("python", 1);
        world.decide(at(1));
        let on = |slave: &str| {
            let sent = world.sent.iter();
            sent.filter(|(_, build)| build.slave.as_str() == slave)
                .count()
        };
        assert_eq!(on("maple"), capacity as usize);
        assert_eq!(on("oak"), 1);
        let waiting = world.queue(at(1));
        let busy = waiting
            .iter()
            .filter(|waiting| waiting.reason == Reason::SlaveBusy { capacity });
        assert_eq!(busy.count(), 3 - capacity as usize);
    }
}

#[test]
fn a_lock_is_held_by_as_many_builds_as_it_has_slots() {
    let mut world = World::new();
    world
        .builder("foo-linux")
        .locks
        .insert("gpu".parse().unwrap());
    world.add("foo-b", "oak");
    world.add("foo-c", "elm");
    world.moved("foo", 1);
    world.moved("python", 1);
    world.decide(at(1));
    assert_eq!(world.sent.len(), 1);
    let lock = || "gpu".parse().unwrap();
    let waiting = world.queue(at(1));
    assert_eq!(waiting[0].reason, Reason::Locked { lock: lock() });
    world.config.locks.insert(lock(), 2);
    world.decide(at(2));
    assert_eq!(world.sent.len(), 2);
}

#[test]
fn what_is_urgent_goes_first_and_what_has_waited_becomes_urgent() {
    let mut world = settled();
    world.builder("foo-linux").priority = 10;
    world.add("foo-b", "maple").priority = 60;
    world.decide(at(4));
    world.end(Verdict::Passed, at(5));
    world.moved_at("python", 2, at(6), None);
    world.decide(at(6));
    assert_eq!(world.order(), ["foo-linux", "foo-b", "foo-b"]);
    // The more urgent one always has something new; the other one's change is an hour old by and by.
    let mut second = 10;
    while world.sent.last().unwrap().1.builder.as_str() == "foo-b" {
        second += 60;
        assert!(second < 4_000, "it waits for ever");
        world.moved_at("python", second, at(second), None);
        world.end(Verdict::Passed, at(second));
        world.decide(at(second));
    }
    assert!(second > 2_900, "{second}");
}

#[test]
fn of_equally_urgent_builders_the_fast_one_that_often_fails_goes_first() {
    let mut world = World::new();
    world.add("foo-b", "maple");
    // Seconds that a build takes, and what comes of it.
    let cases = [
        ("foo-linux", 500, Verdict::Passed),
        ("foo-b", 5, Verdict::Failed),
    ];
    let mut second = 1;
    for revision in 1..4 {
        world.moved_at("foo", revision, at(second), None);
        world.moved_at("python", revision, at(second), None);
        for _ in 0..2 {
            world.decide(at(second));
            let (id, build) = world.sent.last().unwrap().clone();
            let (_, takes, verdict) = cases
                .iter()
                .find(|(name, _, _)| *name == build.builder.as_str())
                .unwrap();
            let begun = started(at(second));
            world.say(build.slave, build.builder, id, begun, at(second));
            second += takes;
            world.end(*verdict, at(second));
        }
    }
    // Nothing is known of the two at first, so that they go by their names.
    assert_eq!(world.order()[..2], ["foo-b", "foo-linux"]);
    assert_eq!(world.order()[4..], ["foo-b", "foo-linux"]);
    world.add("foo-a", "maple");
    world.moved_at("python", 9, at(second), None);
    world.decide(at(second));
    assert_eq!(world.order()[6..], ["foo-a"], "it never built");
}

#[test]
fn a_builder_after_another_builds_only_what_that_one_passed() {
    let mut world = World::new();
    let after = world.add("foo-z", "oak");
    after.after.insert(builder());
    world.moved("foo", 1);
    world.moved("python", 1);
    world.decide(at(1));
    assert_eq!(world.order(), ["foo-linux"]);
    let reason = Reason::After { builder: builder() };
    let waiting = world.queue(at(1));
    assert!(waiting.iter().any(|waiting| waiting.reason == reason));
    world.end(Verdict::Failed, at(2));
    world.decide(at(3));
    assert_eq!(world.order(), ["foo-linux"]);
    world.moved("python", 2);
    world.decide(at(4));
    world.end(Verdict::Passed, at(5));
    // A newer one that has not passed yet is not built.
    world.moved("python", 3);
    world.decide(at(6));
    let after: Vec<&Build> = world
        .sent
        .iter()
        .filter(|(_, build)| build.builder.as_str() == "foo-z")
        .map(|(_, build)| build)
        .collect();
    assert_eq!(after.len(), 1);
    let python = &after[0].sources[1];
    assert_eq!(python.revision.as_str(), format!("{:040x}", 2));
}

#[test]
fn what_says_nothing_of_the_code_is_tried_again_later_each_time_and_not_for_ever() {
    for verdict in [Verdict::Lost, Verdict::Errored] {
        let mut world = settled();
        world.moved("python", 2);
        world.decide(at(10));
        world.end(verdict, at(20));
        world.decide(at(79));
        assert_eq!(world.sent.len(), 2);
        let waiting = world.queue(at(79));
        assert!(matches!(
            waiting[0].reason,
            Reason::Retry { attempt: 2, .. }
        ));
        world.decide(at(80));
        assert_eq!(sent_since(&world, 2), [(3, 2, Some(2))]);
        assert_eq!(world.sent[1].1.covers, world.sent[2].1.covers);
        world.end(verdict, at(100));
        world.decide(at(219));
        assert_eq!(world.sent.len(), 3);
        world.decide(at(220));
        assert_eq!(sent_since(&world, 3), [(4, 3, Some(3))]);
        world.end(verdict, at(300));
        assert!(world.decide(at(100_000)).is_empty());
    }
    for verdict in [Verdict::Failed, Verdict::Refused, Verdict::TimedOut] {
        let mut world = settled();
        world.moved("python", 2);
        world.decide(at(10));
        world.end(verdict, at(20));
        assert!(world.decide(at(100_000)).is_empty(), "{verdict}");
    }
}

#[test]
fn a_newer_change_takes_the_place_of_a_retry_and_answers_what_was_left_open() {
    let mut world = settled();
    let first = world.moved("python", 2);
    world.decide(at(10));
    world.end(Verdict::Errored, at(20));
    let second = world.moved("python", 3);
    world.decide(at(21));
    let (_, build) = world.sent.last().unwrap();
    assert_eq!(build.covers, [first, second]);
    assert_eq!((build.attempt, build.retry_of), (1, None));
}

#[test]
fn what_an_owner_put_off_is_asked_for_again_when_the_owner_said() {
    let mut world = settled();
    world.moved("python", 2);
    world.decide(at(10));
    for round in 1..6usize {
        let second = round as u64 * 1_000;
        let (id, build) = world.sent.last().unwrap().clone();
        let until = at(second);
        let body = ReportBody::Deferred { until };
        world.say(build.slave, build.builder, id, body, at(11));
        world.decide(at(second - 1));
        assert_eq!(world.sent.len(), 1 + round);
        let waiting = world.queue(at(second - 1));
        assert_eq!(waiting[0].reason, Reason::Deferred { until });
        world.decide(until);
        assert_eq!(world.sent.len(), 2 + round);
    }
}

#[test]
fn a_builder_that_errs_again_and_again_is_set_aside_and_tried_once_in_a_while() {
    let mut world = settled();
    let mut second = 10;
    for revision in 2..7 {
        world.moved_at("python", revision, at(second), None);
        world.decide(at(second));
        second += 1;
        world.end(Verdict::Errored, at(second));
    }
    let before = world.sent.len();
    world.moved_at("python", 100, at(second), None);
    world.decide(at(second + 3_599));
    assert_eq!(world.sent.len(), before);
    let waiting = world.queue(at(second + 1));
    assert!(matches!(
        waiting[0].reason,
        Reason::SetAside { streak: 5, .. }
    ));
    world.decide(at(second + 3_600));
    assert_eq!(world.sent.len(), before + 1);
    // Twice as long after the next one; a verdict ends it.
    world.end(Verdict::Errored, at(10_000));
    world.moved_at("python", 101, at(10_001), None);
    world.decide(at(10_000 + 7_199));
    assert_eq!(world.sent.len(), before + 1);
    world.decide(at(10_000 + 7_200));
    assert_eq!(world.sent.len(), before + 2);
    world.end(Verdict::Failed, at(20_000));
    world.moved_at("python", 102, at(20_001), None);
    world.decide(at(20_002));
    assert_eq!(world.sent.len(), before + 3);
}

#[test]
fn a_silent_slave_is_sent_nothing_until_it_is_heard() {
    let mut world = settled();
    world.moved("python", 2);
    world.silent.insert("maple".parse().unwrap(), at(5));
    world.decide(at(10));
    assert_eq!(world.sent.len(), 1);
    let waiting = world.queue(at(10));
    assert_eq!(waiting[0].reason, Reason::Silent { since: at(5) });
    world.silent.clear();
    world.decide(at(11));
    assert_eq!(world.sent.len(), 2);
}

#[test]
fn a_build_that_nobody_accepted_in_time_is_lost_then_and_a_late_word_rescues_it() {
    let mut world = settled();
    world.moved("python", 2);
    world.decide(at(10));
    let (id, build) = world.sent[1].clone();
    let lost_at = build.accept_by.after(Build::CLOCK_SKEW);
    world.decide(lost_at);
    assert_eq!(world.sent.len(), 2);
    // Lost after that; tried again a minute later.
    world.decide(lost_at.after(Duration::from_secs(60)));
    assert_eq!(world.sent.len(), 3);
    world.say(
        build.slave,
        build.builder,
        id,
        ended(Verdict::Passed),
        at(2_000),
    );
    world.end(Verdict::Errored, at(3_000));
    let (streak, _) = world.scheduler.lanes[&builder()].streak(at(0), at(3_001));
    assert_eq!(streak, 1, "the lost one is no failure any more");
}

#[test]
fn a_build_that_was_accepted_and_does_not_begin_is_called_off_and_tried_again() {
    let mut world = settled();
    world.moved("python", 2);
    world.decide(at(10));
    let (id, build) = world.sent[1].clone();
    // So that it is not lost before.
    world.builder("foo-linux").start_window = Duration::from_secs(60);
    let accepted = ReportBody::Accepted { received: at(11) };
    world.say(
        build.slave.clone(),
        build.builder.clone(),
        id,
        accepted,
        at(11),
    );
    let start_by = build.accept_by.after(Duration::from_secs(60));
    assert!(matches!(world.decide(start_by)[..], [Effect::WakeAt(_)]));
    let late = start_by.after(Duration::from_secs(1));
    let effects = world.decide(late);
    let [Effect::Cancel(cancel), _] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((cancel.target, cancel.request), (id, None));
    assert!(
        matches!(world.decide(late)[..], [Effect::WakeAt(_)]),
        "said once"
    );
    world.end(Verdict::Cancelled, late);
    world.decide(late.after(Duration::from_secs(60)));
    assert_eq!(sent_since(&world, 2), [(3, 2, Some(2))]);
}

#[test]
fn a_disputed_build_is_not_tried_again() {
    let mut world = settled();
    world.moved("python", 2);
    world.decide(at(10));
    world.end(Verdict::Errored, at(20));
    world.end(Verdict::Passed, at(21));
    assert!(world.decide(at(1_000)).is_empty());
}

#[test]
fn only_a_change_of_paths_that_matter_wants_a_build() {
    let mut world = settled();
    let filter = crate::master::config::PathFilter::new(vec![
        Text::tidy("Lib/**"),
        Text::tidy("!Lib/test/**"),
    ])
    .unwrap();
    let paths = &mut world.builder("foo-linux").paths;
    paths.insert("python".parse().unwrap(), filter);
    world.moved_at("python", 2, at(10), Some(&["Doc/x.rst"]));
    world.moved_at("python", 3, at(11), Some(&["Lib/test/a.py"]));
    assert!(world.decide(at(12)).is_empty());
    world.moved_at("python", 4, at(13), Some(&["Doc/y.rst", "Lib/ast.py"]));
    world.moved_at("python", 5, at(14), Some(&["Doc/z.rst"]));
    world.decide(at(15));
    let (_, build) = world.sent.last().unwrap();
    assert_eq!(build.covers.len(), 4, "the blame list holds them all");
    world.end(Verdict::Passed, at(16));
    // Of which the paths are not known, it may matter.
    world.moved_at("python", 6, at(17), None);
    world.decide(at(18));
    assert_eq!(world.sent.len(), 3);
}

#[test]
fn builders_that_a_slave_made_up_are_forgotten_and_those_that_were_given_builds_are_not() {
    let mut world = World::new();
    world.moved("foo", 1);
    world.moved("python", 1);
    world.decide(at(1));
    let maple: SlaveName = "maple".parse().unwrap();
    for number in 0..2_000 {
        let made_up: BuilderName = format!("made-up-{number}").parse().unwrap();
        let received = at(2);
        world.say(
            maple.clone(),
            made_up,
            id(9, number),
            ReportBody::Accepted { received },
            at(2),
        );
    }
    world.scheduler.forget_strangers(Some(&world.roster));
    let known: Vec<&BuilderName> = world.scheduler.lanes.keys().collect();
    assert_eq!(known, [&builder()]);
    assert!(world.scheduler.was_given(&maple, &builder()));
    assert!(
        !world
            .scheduler
            .was_given(&"oak".parse().unwrap(), &builder())
    );
    assert!(
        !world
            .scheduler
            .was_given(&maple, &"made-up-1".parse().unwrap())
    );
}
