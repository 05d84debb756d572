//! What its owner has against starting anything at this moment. The farm learns only until when; why is for the owner.

use std::fmt;
use std::time::Duration;

use super::config::{HostLimits, OnBattery, SlaveConfig};
use super::host::Host;
use super::owner::{Hold, Pause};
use crate::model::Timestamp;

/// Why a command is put off.
#[derive(Clone, Debug, PartialEq)]
pub enum Deferral {
    /// The owner said so.
    Held(Hold),
    /// slave.toml was changed, and cannot be acted on.
    Configuration,
    /// It is quiet hours.
    Quiet,
    /// The disk is too full.
    FreeDisk {
        /// Bytes free.
        free: u64,
        /// Bytes that must be.
        floor: u64,
    },
    /// The machine has too much to do.
    Load {
        /// The one-minute load average.
        load: f64,
        /// The greatest allowed.
        limit: f64,
    },
    /// The machine runs on its battery.
    Battery,
}

/// What may be known only later is asked again after this.
const LATER: Duration = Duration::from_secs(600);

/// Until when nothing is started by an owner's settings, and why: of several reasons, the one that lasts longest.
///
/// `held` is what the owner said; `misread`, whether slave.toml has been changed to what cannot be acted on.
pub(super) fn deferral(
    config: &SlaveConfig,
    held: Option<(Timestamp, Hold)>,
    misread: bool,
    host: Host,
    now: Timestamp,
) -> Option<(Timestamp, Deferral)> {
    let later = |deferral| (now.after(LATER), deferral);
    let quiet = config.schedule.quiet_until(now);
    [
        held.map(|(until, hold)| (until, Deferral::Held(hold))),
        misread.then(|| later(Deferral::Configuration)),
        quiet.map(|until| (until, Deferral::Quiet)),
    ]
    .into_iter()
    .flatten()
    .chain(Deferral::of_host(&config.host, host).into_iter().map(later))
    // The last of equals is what `max_by_key` would take; the first says more.
    .rev()
    .max_by_key(|(until, _)| *until)
}

impl Deferral {
    /// All that the machine itself has against it, with an owner's limits.
    #[must_use]
    pub fn of_host(limits: &HostLimits, host: Host) -> Vec<Self> {
        let floor = limits.free_disk;
        let disk = host.free_disk.filter(|free| *free < floor);
        let load = host
            .load
            .zip(limits.load)
            .filter(|(load, limit)| load > limit);
        let battery = limits.on_battery == OnBattery::Defer && host.on_battery == Some(true);
        [
            disk.map(|free| Self::FreeDisk { free, floor }),
            load.map(|(load, limit)| Self::Load { load, limit }),
            battery.then_some(Self::Battery),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Stable code, for searching and counting.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Held(Hold::Paused(_)) => "D-PAUSED",
            Self::Held(Hold::Draining) => "D-DRAINING",
            Self::Held(Hold::Panic) => "D-PANIC",
            Self::Held(Hold::Unreadable) => "D-OWNER-FILE",
            Self::Configuration => "D-CONFIG",
            Self::Quiet => "D-QUIET",
            Self::FreeDisk { .. } => "D-DISK",
            Self::Load { .. } => "D-LOAD",
            Self::Battery => "D-BATTERY",
        }
    }
}

impl fmt::Display for Deferral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MEBIBYTE: u64 = 1 << 20;
        match self {
            Self::Held(hold) => write!(f, "{hold}"),
            Self::Configuration => f.write_str("slave.toml cannot be acted on as it stands"),
            Self::Quiet => f.write_str("it is quiet hours"),
            Self::FreeDisk { free, floor } => write!(
                f,
                "{} MiB are free on the disk of the state folder, and {} MiB must be",
                free / MEBIBYTE,
                floor / MEBIBYTE
            ),
            Self::Load { load, limit } => {
                write!(
                    f,
                    "the load average is {load:.2}, and {limit:.2} is the limit"
                )
            }
            Self::Battery => f.write_str("the machine runs on its battery"),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused(Pause { note: None, .. }) => f.write_str("the slave is paused"),
            Self::Paused(Pause {
                note: Some(note), ..
            }) => write!(f, "the slave is paused: {note}"),
            Self::Draining => f.write_str("the slave is draining, and takes nothing new"),
            Self::Panic => f.write_str("everything was ended by pybots slave panic"),
            Self::Unreadable => {
                f.write_str("owner.json cannot be read, so what the owner said is not known")
            }
        }
    }
}
