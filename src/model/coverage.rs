//! Which slaves have come as far as a keyring.

use std::collections::BTreeMap;
use std::fmt;

use super::{Position, Presence, Report, Roster, SlaveName, SlaveState, Timestamp};

/// The newest word of each slave on which keyring it holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeyringsHeld(BTreeMap<SlaveName, (Timestamp, Position)>);

/// Which slaves hold a keyring, or a newer one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Coverage {
    /// The keyring.
    pub position: Position,
    /// The slaves that hold it, by name.
    pub holding: Vec<SlaveName>,
    /// Those that do not, and what they said last that they hold, if they said anything.
    pub waiting: Vec<(SlaveName, Option<Position>)>,
}

impl KeyringsHeld {
    /// Takes in a sign of life.
    pub fn take_presence(&mut self, presence: &Presence) {
        self.take(&presence.slave, presence.issued, presence.keyring);
    }

    /// Takes in a report.
    pub fn take_report(&mut self, report: &Report) {
        self.take(&report.slave, report.issued, report.keyring);
    }

    fn take(&mut self, slave: &SlaveName, issued: Timestamp, position: Position) {
        let said = (issued, position);
        match self.0.get_mut(slave) {
            Some(held) => *held = said.max(*held),
            None => {
                self.0.insert(slave.clone(), said);
            }
        }
    }

    /// What a slave said last that it holds, if it said anything.
    #[must_use]
    pub fn of(&self, slave: &SlaveName) -> Option<Position> {
        self.0.get(slave).map(|(_, position)| *position)
    }

    /// Which of the slaves that `roster` lists hold the keyring at `position`. Those that have left or were cut off are
    /// not waited for.
    #[must_use]
    pub fn coverage(&self, roster: &Roster, position: Position) -> Coverage {
        let lines = roster.lines.iter();
        let mut slaves: Vec<&SlaveName> = lines
            .filter(|line| line.closed.is_none() && line.state != SlaveState::Revoked)
            .map(|line| &line.slave)
            .collect();
        slaves.sort_unstable();
        let mut coverage = Coverage {
            position,
            holding: Vec::new(),
            waiting: Vec::new(),
        };
        for slave in slaves {
            let held = self.of(slave);
            if held.is_some_and(|held| position <= held) {
                coverage.holding.push(slave.clone());
            } else {
                coverage.waiting.push((slave.clone(), held));
            }
        }
        coverage
    }
}

/// Of those that are waited for, so many are named in a sentence.
const NAMED: usize = 10;

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            position,
            holding,
            waiting,
        } = self;
        let (holding, all) = (holding.len(), holding.len() + waiting.len());
        let (slaves, hold) = match all {
            1 => ("slave", "holds"),
            _ => ("slaves", "hold"),
        };
        write!(f, "{holding} of {all} {slaves} {hold} {position}")?;
        let names: Vec<&str> = waiting
            .iter()
            .take(NAMED)
            .map(|(slave, _)| slave.as_str())
            .collect();
        if !names.is_empty() {
            write!(f, "; waiting for {}", names.join(", "))?;
        }
        match waiting.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FarmId, PublicKey, RosterLine, Text};

    fn position(serial: u32) -> Position {
        Position {
            generation: 0,
            serial,
        }
    }

    fn roster(slaves: &[&str]) -> Roster {
        let line = |slave: &&str| RosterLine {
            slave: slave.parse().unwrap(),
            report_key: PublicKey([1; 32]),
            bus_key: PublicKey([2; 32]),
            owner: Text::default(),
            platform: Text::default(),
            builders: vec![],
            state: SlaveState::Active,
            approved: Timestamp(0),
            closed: None,
        };
        Roster {
            farm: FarmId([0; 32]),
            version: 1,
            keyring: position(0),
            issued: Timestamp(0),
            lines: slaves.iter().map(line).collect(),
        }
    }

    fn held(said: &[(&str, u64, u32)]) -> KeyringsHeld {
        let mut held = KeyringsHeld::default();
        for (slave, issued, serial) in said {
            let slave = slave.parse().unwrap();
            held.take(&slave, Timestamp(*issued), position(*serial));
        }
        held
    }

    #[test]
    fn the_newest_word_of_a_slave_counts_whatever_the_order() {
        for said in [
            [("oak", 1, 2), ("oak", 2, 1)],
            [("oak", 2, 1), ("oak", 1, 2)],
        ] {
            let held = held(&said);
            assert_eq!(held.of(&"oak".parse().unwrap()), Some(position(1)));
        }
    }

    #[test]
    fn coverage_says_in_a_sentence_who_is_waited_for() {
        let mut roster = roster(&["oak", "elm", "yew", "ash", "fir"]);
        roster.lines[3].closed = Some(Timestamp(1));
        roster.lines[4].state = SlaveState::Revoked;
        let held = held(&[("oak", 1, 3), ("elm", 1, 2), ("ash", 1, 0)]);
        for (serial, expected) in [
            (4, "0 of 3 slaves hold 0.4; waiting for elm, oak, yew"),
            (3, "1 of 3 slaves hold 0.3; waiting for elm, yew"),
            (1, "2 of 3 slaves hold 0.1; waiting for yew"),
        ] {
            let coverage = held.coverage(&roster, position(serial));
            assert_eq!(coverage.to_string(), expected);
        }
        let coverage = held.coverage(&roster, position(3));
        let waiting = [("elm", Some(position(2))), ("yew", None)];
        let waiting = waiting.map(|(slave, held)| (slave.parse().unwrap(), held));
        assert_eq!(coverage.waiting, waiting);
    }

    #[test]
    fn one_slave_is_spoken_of_in_the_singular_and_many_are_not_all_named() {
        let one = held(&[("oak", 1, 3)]).coverage(&roster(&["oak"]), position(3));
        assert_eq!(one.to_string(), "1 of 1 slave holds 0.3");
        let names: Vec<String> = (10..22).map(|n| format!("s{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let many = held(&[]).coverage(&roster(&names), position(3)).to_string();
        assert!(many.ends_with("s18, s19 and 2 more"), "{many}");
    }
}
