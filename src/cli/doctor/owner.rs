//! What the owner said to the slave, and its quiet hours.

use super::finding::{Check, Finding, Judgement, Part};
use super::patient::Read;
use crate::model::Timestamp;
use crate::slave::{Hold, Owner, SlaveConfig};

/// Looks whether anything keeps the slave from starting what is new.
pub(super) fn examine(slave: &Read<SlaveConfig>, now: Timestamp) -> Vec<Finding> {
    let config = &slave.config;
    let owner = Owner::read(&config.state);
    let judgement = match Owner::defers_or_unreadable(&owner, now) {
        Some((_, Hold::Unreadable)) => Judgement::fail(
            format!("{} cannot be read", Owner::path(&config.state).display()),
            "what you said is not known, so nothing new is started",
            "say it again: pybots slave pause, or pybots slave resume",
        ),
        Some((_, hold)) => Judgement::warn(
            hold.to_string(),
            "nothing new is started here",
            "if you want builds again: pybots slave resume",
        ),
        None => {
            let schedule = &config.schedule;
            let local = |time| format!("{} ({})", schedule.local(time), schedule.zone_name(now));
            let quiet = schedule
                .quiet_until(now)
                .map(|until| format!("quiet hours until {}", local(until)))
                .or_else(|| {
                    let next = schedule.next_quiet(now)?;
                    Some(format!("next quiet hours {}", local(next)))
                });
            Judgement::ok(quiet.unwrap_or_else(|| "not paused, no quiet hours".to_owned()))
        }
    };
    vec![judgement.of(Check::Owner, Part::Slave)]
}
