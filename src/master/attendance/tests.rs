//! Who is called silent, back, or cloned, and when.

use super::*;
use crate::model::{FarmId, PayloadId, Position, ReportBody};

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_000_000_000).after(Duration::from_secs(seconds))
}

fn maple() -> SlaveName {
    "maple".parse().unwrap()
}

fn id(instance: u8) -> InstanceId {
    InstanceId([instance; 16])
}

fn presence(instance: u8, issued: Timestamp) -> Presence {
    Presence {
        farm: FarmId([0; 32]),
        slave: maple(),
        instance: id(instance),
        issued,
        sequence: 0,
        newest: None,
        builders: BTreeMap::new(),
        keyring: Position::default(),
        load: 0,
        paused_until: None,
        rejected: 0,
        clock: None,
    }
}

fn report(issued: Timestamp) -> Report {
    Report {
        farm: FarmId([0; 32]),
        slave: maple(),
        instance: id(1),
        builder: "foo".parse().unwrap(),
        command: PayloadId([0; 32]),
        number: 1,
        sequence: 1,
        previous: None,
        keyring: Position::default(),
        issued,
        experiment: None,
        body: ReportBody::Accepted { received: issued },
    }
}

/// What happens at some second.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// The slave's process of that start shows that it is alive.
    Shows(u8),
    /// The same by a clock that is so many seconds ahead.
    ShowsAhead(u8, u64),
    /// A message of that second comes once more, by whoever holds the bus.
    Repeated(u64),
    Reports,
    /// The bus goes away, or comes back.
    Deaf,
    Listens,
    /// The master itself stands still until that second.
    Sleeps(u64),
}

use Happens::{Deaf, Listens, Repeated, Reports, Shows, ShowsAhead, Sleeps};

/// All that is said until second 400, by when.
fn told(happens: &[(u64, Happens)]) -> Vec<(u64, Event)> {
    let mut attendance = Attendance::new(Duration::from_secs(45), at(0));
    attendance.listen(at(0));
    let mut told = Vec::new();
    let mut asleep = 0;
    for second in 0..400 {
        let now = at(second);
        for (_, happens) in happens.iter().filter(|(when, _)| *when == second) {
            let events = match happens {
                Shows(instance) => attendance.presence(&presence(*instance, now), now),
                ShowsAhead(instance, seconds) => {
                    let issued = now.after(Duration::from_secs(*seconds));
                    attendance.presence(&presence(*instance, issued), now)
                }
                Repeated(issued) => attendance.presence(&presence(1, at(*issued)), now),
                Reports => attendance.report(&report(now), now).into_iter().collect(),
                Deaf => {
                    attendance.stop_listening();
                    Vec::new()
                }
                Listens => {
                    attendance.listen(now);
                    Vec::new()
                }
                Sleeps(until) => {
                    asleep = *until;
                    Vec::new()
                }
            };
            told.extend(events.into_iter().map(|event| (second, event)));
        }
        if second % attendance.period().as_secs() == 0 && second >= asleep {
            let events = attendance.look([&maple()].into_iter(), now);
            told.extend(events.into_iter().map(|event| (second, event)));
        }
    }
    told
}

fn silent(heard: Option<u64>) -> Event {
    Event::Silent {
        slave: maple(),
        heard: heard.map(at),
    }
}

fn back(away: u64) -> Event {
    Event::Back {
        slave: maple(),
        away: Duration::from_secs(away),
    }
}

fn cloned(instance: u8, other: u8) -> Event {
    Event::Cloned {
        slave: maple(),
        instances: [id(instance), id(other)],
    }
}

/// Regular signs of one start, every 15 s.
fn regular(instance: u8, from: u64, to: u64) -> impl Iterator<Item = (u64, Happens)> {
    let seconds = (from..to).step_by(15);
    seconds.map(move |second| (second, Shows(instance)))
}

#[test]
fn a_frozen_slave_is_called_silent_once_within_60_s_and_back_once() {
    // It speaks for the last time at 100 s, and freezes at once, or just before it would have spoken again.
    let signs = regular(1, 10, 101).chain(regular(1, 250, 400));
    let told = told(&signs.collect::<Vec<_>>());
    assert_eq!(told, [(145, silent(Some(100))), (250, back(150))]);
    let (noticed, frozen) = (told[0].0, 100);
    assert!(noticed - frozen < 60);
}

#[test]
fn who_is_there_is_not_called_silent_and_who_never_came_is() {
    type Case = (&'static str, Vec<(u64, Happens)>, Vec<(u64, Event)>);
    let cases: Vec<Case> = vec![
        ("one that lives on", regular(1, 3, 400).collect(), vec![]),
        ("nobody ever", vec![], vec![(45, silent(None))]),
        (
            "one that comes late",
            regular(1, 60, 400).collect(),
            vec![(45, silent(None)), (60, back(60))],
        ),
        // Reports are signs of life, too.
        (
            "one that only reports",
            (0..400)
                .step_by(40)
                .map(|second| (second, Reports))
                .collect(),
            vec![],
        ),
        // Whoever holds the bus makes nobody live on.
        (
            "repeated",
            regular(1, 0, 20)
                .chain((20..400).step_by(10).map(|second| (second, Repeated(15))))
                .collect(),
            vec![(60, silent(Some(15)))],
        ),
        // Who hears nothing calls nobody silent, and gives everybody time to speak again.
        (
            "the bus goes away",
            regular(1, 0, 90)
                .chain([(91, Deaf), (300, Listens)])
                .chain(regular(1, 340, 400))
                .collect(),
            vec![],
        ),
        (
            "the bus goes away, and the slave with it",
            regular(1, 0, 90)
                .chain([(91, Deaf), (300, Listens)])
                .collect(),
            vec![(345, silent(Some(75)))],
        ),
        (
            "the master stands still",
            regular(1, 0, 90)
                .chain([(91, Sleeps(300))])
                .chain(regular(1, 340, 400))
                .collect(),
            vec![],
        ),
        // A clock far ahead, and then set right.
        (
            "the clock ahead",
            [(0, ShowsAhead(1, 9_000))]
                .into_iter()
                .chain(regular(1, 15, 400))
                .collect(),
            vec![],
        ),
    ];
    for (what, happens, expected) in cases {
        assert_eq!(told(&happens), expected, "{what}");
    }
}

#[test]
fn a13_a_clone_is_told_once_and_a_restart_is_none() {
    let restart: Vec<_> = regular(1, 0, 100).chain(regular(2, 103, 400)).collect();
    assert_eq!(told(&restart), []);
    let clone: Vec<_> = regular(1, 0, 400).chain(regular(2, 100, 400)).collect();
    assert_eq!(told(&clone), [(105, cloned(1, 2))]);
    // What an earlier start left to be reported is sent by the next.
    let left: Vec<_> = restart
        .iter()
        .copied()
        .chain([(110, Reports), (200, Reports)])
        .collect();
    assert_eq!(told(&left), []);
}

#[test]
fn a13_a_clone_that_is_there_again_after_an_hour_is_told_again() {
    let mut attendance = Attendance::new(Duration::from_secs(45), at(0));
    let mut hear = |instance, seconds| {
        let events = attendance.presence(&presence(instance, at(seconds)), at(seconds));
        events.len()
    };
    let heard = [
        (1, 0),
        (2, 5),
        (1, 15),
        (2, 20),
        (1, 3_000),
        (2, 5_000),
        (2, 10_000),
        (1, 10_005),
    ];
    let told = heard.map(|(instance, seconds)| hear(instance, seconds));
    assert_eq!(told, [0, 0, 1, 0, 0, 0, 0, 1]);
}
