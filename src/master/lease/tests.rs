use proptest::prelude::*;

use super::*;
use crate::model::FarmId;

const LASTS: Duration = Duration::from_secs(3);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn me() -> InstanceId {
    InstanceId([1; 16])
}

fn other() -> InstanceId {
    InstanceId([2; 16])
}

fn lease(lease: u64, issued: u64) -> Lease {
    Lease {
        farm: FarmId([7; 32]),
        lease,
        instance: other(),
        issued: Timestamp(issued),
        lasts: LASTS,
    }
}

fn listening() -> Vigil {
    let mut vigil = Vigil::new(me(), secs(0));
    vigil.listen(secs(0));
    vigil
}

/// Looks as often as a master does, from one moment to another; gives the first moment at which nobody leads.
fn first(vigil: &mut Vigil, from: Duration, to: Duration) -> Option<Duration> {
    let period = Vigil::period(LASTS);
    let mut at = from;
    while at <= to {
        if vigil.nobody_leads(at) {
            return Some(at);
        }
        at += period;
    }
    None
}

#[test]
fn a_fresh_farm_is_led_at_once_but_not_before_it_is_known_what_was_said() {
    let mut vigil = Vigil::new(me(), secs(0));
    assert!(!vigil.nobody_leads(millis(100)));
    vigil.listen(millis(200));
    assert!(vigil.nobody_leads(millis(200)));
}

#[test]
fn whoever_is_heard_leads_until_its_lease_is_over() {
    let mut vigil = listening();
    vigil.hear(&lease(1, 1), 1, secs(1));
    assert_eq!(first(&mut vigil, secs(1), millis(3_999)), None);
    let led = first(&mut vigil, secs(4), secs(5)).unwrap();
    assert!(led <= secs(4) + Vigil::period(LASTS), "{led:?}");
}

#[test]
fn a_repeated_or_older_lease_is_no_sign_of_life() {
    for stale in [lease(2, 10), lease(2, 9), lease(1, 99)] {
        let mut vigil = listening();
        vigil.hear(&lease(2, 10), 2, secs(1));
        first(&mut vigil, secs(1), secs(2));
        vigil.hear(&stale, 2, secs(3));
        assert!(first(&mut vigil, secs(3), secs(5)).is_some(), "{stale:?}");
    }
}

#[test]
fn a_lease_far_above_all_others_was_made_up() {
    let mut vigil = listening();
    vigil.hear(&lease(u64::MAX, 1), 1, secs(1));
    assert!(vigil.nobody_leads(secs(1)));
    vigil.hear(&lease(2, 1), 1, secs(1));
    assert!(!vigil.nobody_leads(secs(1)));
}

#[test]
fn the_lead_is_taken_above_every_sign_that_was_heard_so_that_a_thiefs_does_not_deafen_masters_to_each_other()
 {
    let mut vigil = listening();
    assert_eq!(vigil.next_lease(7), 8);
    vigil.hear(&lease(1_000, u64::MAX), 7, secs(1));
    assert!(first(&mut vigil, secs(1), secs(5)).is_some());
    let next = vigil.next_lease(7);
    assert_eq!(next, 1_001);
    vigil.taken(next, InstanceId([3; 16]), LASTS, secs(5));
    assert!(!vigil.nobody_leads(secs(5)));
    // Never so high that nobody believes it.
    vigil.hear(&lease(Build::MAX_JUMP + 1_001, 1), 1_001, secs(6));
    assert_eq!(vigil.next_lease(1_001), Build::MAX_JUMP + 1_001);
}

#[test]
fn a_leader_that_stops_is_followed_at_once() {
    let mut vigil = listening();
    vigil.hear(&lease(1, 1), 1, secs(1));
    assert!(!vigil.nobody_leads(secs(1)));
    let end = Lease {
        lasts: Duration::ZERO,
        ..lease(1, 2)
    };
    vigil.hear(&end, 1, millis(1_200));
    assert!(vigil.nobody_leads(millis(1_201)));
}

#[test]
fn a_lease_that_would_last_for_ever_lasts_a_minute() {
    let mut vigil = listening();
    let long = Lease {
        lasts: Duration::MAX,
        ..lease(1, 1)
    };
    vigil.hear(&long, 1, secs(1));
    assert!(first(&mut vigil, secs(1), secs(60)).is_none());
    assert!(first(&mut vigil, secs(61), secs(62)).is_some());
}

#[test]
fn after_a_return_or_a_sleep_the_patience_begins_anew() {
    let mut vigil = listening();
    vigil.hear(&lease(1, 1), 1, secs(1));
    assert!(!vigil.nobody_leads(secs(1)));
    // Frozen for an hour.
    assert!(!vigil.nobody_leads(secs(3_600)));
    let led = first(&mut vigil, secs(3_600), secs(3_610)).unwrap();
    assert!(led >= secs(3_603), "{led:?}");

    let mut vigil = listening();
    vigil.hear(&lease(1, 1), 1, secs(1));
    vigil.stop_listening();
    assert_eq!(first(&mut vigil, secs(1), secs(100)), None);
    vigil.listen(secs(100));
    let led = first(&mut vigil, secs(100), secs(110)).unwrap();
    assert!(led >= secs(103), "{led:?}");
}

#[test]
fn whoever_took_the_lead_has_time_for_its_first_sign_of_life() {
    let mut vigil = listening();
    vigil.taken(2, other(), LASTS, secs(1));
    assert!(!vigil.nobody_leads(millis(1_100)));
    vigil.hear(&lease(2, 1), 2, millis(1_200));
    assert_eq!(first(&mut vigil, millis(1_200), secs(4)), None);
}

#[test]
fn signs_of_life_are_newer_each_time_though_the_clock_is_set_back() {
    let mut signs = SignsOfLife::new();
    let hour = 3_600_000_000;
    let issued = [2 * hour, hour, hour + 1, 3 * hour].map(|now| signs.issue(Timestamp(now)));
    assert!(issued.is_sorted_by(|a, b| a < b), "{issued:?}");
}

proptest! {
    /// However often the leader speaks, at least once in each third of its lease: nobody else leads.
    #[test]
    fn a_leader_that_speaks_keeps_the_lead(gaps in prop::collection::vec(1..=1_000u64, 1..60)) {
        let mut vigil = listening();
        let mut at = secs(1);
        for (issued, gap) in (1..).zip(gaps) {
            vigil.hear(&lease(1, issued), 1, at);
            prop_assert_eq!(first(&mut vigil, at, at + millis(gap)), None);
            at += millis(gap);
        }
    }

    /// Whatever is replayed, a dead leader is followed within its lease and two looks.
    #[test]
    fn a_dead_leader_is_followed_whatever_is_replayed(replays in prop::collection::vec((0..=50u64, 0..=3_000u64), 0..40)) {
        let mut vigil = listening();
        vigil.hear(&lease(3, 50), 3, secs(1));
        let mut replays = replays;
        replays.sort_by_key(|(_, after)| *after);
        let mut from = secs(1);
        let mut led = None;
        for (issued, after) in replays {
            let at = secs(1) + millis(after);
            led = led.or(first(&mut vigil, from, at));
            from = at;
            vigil.hear(&lease(3, issued), 3, at);
        }
        let led = led.or(first(&mut vigil, from, secs(5)));
        prop_assert!(led.is_some_and(|led| led <= secs(4) + Vigil::period(LASTS) * 2), "{led:?}");
    }
}
