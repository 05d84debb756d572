//! Which starts of one slave's process are alive.
//!
//! A restart is one start and then another, for ever. Where an earlier one speaks again, two are alive: the slave was
//! copied, or set back to an earlier state. Pure; signs of life are taken in as they come.

use std::collections::BTreeMap;

use super::{InstanceId, Timestamp};

/// When a start of the process spoke first and last, by the slave's clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Span {
    first: Timestamp,
    last: Timestamp,
}

/// The starts of one slave's process, as its signs of life tell.
#[derive(Clone, Debug, Default)]
pub struct Instances {
    /// The one that took over last.
    newest: Option<InstanceId>,
    heard: BTreeMap<InstanceId, Span>,
}

impl Instances {
    /// So many are held. Only those that live on matter, and there are few.
    const MAX_HELD: usize = 8;

    /// Takes in a sign of life. Gives the other one if it proves that two are alive: a start that was over speaks
    /// again, and what it says is newer than the other's first word. What is only late, or repeated by whoever holds
    /// the bus, proves nothing.
    pub fn hear(&mut self, instance: InstanceId, issued: Timestamp) -> Option<InstanceId> {
        let known = self.heard.get_mut(&instance);
        let returns = known.is_some();
        if let Some(span) = known {
            if issued <= span.last {
                return None;
            }
            span.last = issued;
        }
        let other = self.newest.filter(|newest| *newest != instance);
        if let Some(span) = other.and_then(|other| self.heard.get(&other))
            && issued <= span.first
        {
            return None;
        }
        self.newest = Some(instance);
        if !returns {
            self.hold(instance, issued);
        }
        other.filter(|_| returns)
    }

    fn hold(&mut self, instance: InstanceId, issued: Timestamp) {
        let span = Span {
            first: issued,
            last: issued,
        };
        self.heard.insert(instance, span);
        if self.heard.len() > Self::MAX_HELD {
            let others = self.heard.iter().filter(|(held, _)| **held != instance);
            let quietest = others.min_by_key(|(_, span)| span.last).map(|(id, _)| *id);
            quietest.and_then(|quietest| self.heard.remove(&quietest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which start speaks, and when by its own clock, in the order in which it is heard; where two are proven.
    type Case = (&'static str, &'static [(u8, u64)], &'static [usize]);

    const CASES: &[Case] = &[
        ("nobody", &[], &[]),
        ("one that lives on", &[(1, 10), (1, 25), (1, 40)], &[]),
        (
            "a plain restart",
            &[(1, 10), (1, 25), (2, 30), (2, 45)],
            &[],
        ),
        (
            "restarts without end",
            &[
                (1, 1),
                (2, 2),
                (3, 3),
                (4, 4),
                (5, 5),
                (6, 6),
                (7, 7),
                (8, 8),
                (9, 9),
                (10, 10),
            ],
            &[],
        ),
        ("a clone", &[(1, 10), (2, 12), (1, 25), (2, 27)], &[2, 3]),
        ("a clone long after", &[(1, 10), (2, 12), (1, 90_000)], &[2]),
        (
            "a clone that came second and goes",
            &[(1, 10), (2, 12), (1, 25), (1, 40)],
            &[2],
        ),
        // Each speaks by a clock of its own.
        (
            "a clone whose clock is behind",
            &[(1, 100), (2, 92), (1, 115), (2, 107), (1, 130)],
            &[4],
        ),
        (
            "a clone whose clock is ahead",
            &[(1, 100), (2, 110), (1, 108), (2, 125), (1, 123)],
            &[4],
        ),
        // Whoever holds the bus can repeat and hold up.
        (
            "repeated after a restart",
            &[(1, 10), (1, 25), (2, 30), (1, 10), (1, 25)],
            &[],
        ),
        (
            "held up until after a restart",
            &[(1, 10), (2, 30), (1, 25), (2, 45)],
            &[],
        ),
        (
            "a restart with the clock set back",
            &[(1, 95), (1, 110), (2, 55), (2, 70), (2, 96)],
            &[],
        ),
        (
            "the clock set back far",
            &[(1, 10), (1, 110), (2, 55), (2, 70), (2, 130)],
            &[],
        ),
    ];

    #[test]
    fn a13_one_that_was_over_and_speaks_again_is_a_clone_and_a_restart_is_none() {
        for (what, heard, expected) in CASES {
            let mut instances = Instances::default();
            let proven: Vec<usize> = (0..)
                .zip(*heard)
                .filter(|(_, (instance, issued))| {
                    let instance = InstanceId([*instance; 16]);
                    instances.hear(instance, Timestamp(*issued)).is_some()
                })
                .map(|(place, _)| place)
                .collect();
            assert_eq!(proven, *expected, "{what}");
        }
    }

    #[test]
    fn a_slave_that_makes_up_instances_fills_no_memory_and_a_clone_among_them_shows() {
        let mut instances = Instances::default();
        let id = |number: u64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            InstanceId(id)
        };
        for number in 1..=1_000 {
            assert_eq!(instances.hear(id(number), Timestamp(number)), None);
        }
        assert_eq!(instances.heard.len(), Instances::MAX_HELD);
        let other = instances.hear(id(999), Timestamp(1_001));
        assert_eq!(other, Some(id(1_000)));
    }
}
