//! What is left of the machine at this moment. What it does not tell is not known, and keeps nothing from being started.

use std::fs;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// What is left of the machine at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Host {
    /// Free disk where the slave keeps its folders, in bytes.
    pub free_disk: Option<u64>,
    /// One-minute load average.
    pub load: Option<f64>,
    /// Whether it runs on its battery.
    pub on_battery: Option<bool>,
}

impl Host {
    /// Looks, with the slave's state in that folder.
    #[must_use]
    pub fn look(state: &Path) -> Self {
        Self {
            free_disk: free_disk(state),
            load: load(),
            on_battery: on_battery(Path::new("/sys/class/power_supply")),
        }
    }
}

fn free_disk(state: &Path) -> Option<u64> {
    let system = statvfs(state).ok()?;
    Some(wide(system.blocks_available()).saturating_mul(wide(system.fragment_size())))
}

/// Some systems count in 32 bits.
fn wide(count: impl Into<u64>) -> u64 {
    count.into()
}

fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// A machine whose battery is drained while no other supply is there. One without a battery says nothing.
fn on_battery(supplies: &Path) -> Option<bool> {
    let (mut drained, mut plugged) = (None, false);
    for supply in fs::read_dir(supplies).ok()?.flatten() {
        let read = |name: &str| {
            let text = fs::read_to_string(supply.path().join(name)).unwrap_or_default();
            text.trim().to_owned()
        };
        // A mouse has a battery, too, and says so.
        if read("type") == "Battery" && read("scope") != "Device" {
            drained = Some(drained == Some(true) || read("status") == "Discharging");
        } else {
            plugged |= read("online") == "1";
        }
    }
    drained.map(|drained| drained && !plugged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_runs_on_its_battery_when_that_is_drained_and_nothing_else_supplies_it() {
        type Supply = &'static [(&'static str, &'static str)];
        let drained: Supply = &[("type", "Battery\n"), ("status", "Discharging\n")];
        let charging: Supply = &[("type", "Battery\n"), ("status", "Charging\n")];
        let plugged: Supply = &[("type", "Mains\n"), ("online", "1\n")];
        let unplugged: Supply = &[("type", "Mains\n"), ("online", "0\n")];
        let mouse: Supply = &[
            ("type", "Battery\n"),
            ("scope", "Device\n"),
            ("status", "Discharging\n"),
        ];
        let cases: &[(&[Supply], Option<bool>)] = &[
            (&[], None),
            (&[plugged, mouse], None),
            (&[drained, unplugged], Some(true)),
            (&[charging, drained], Some(true)),
            (&[drained, plugged], Some(false)),
            (&[charging, plugged, mouse], Some(false)),
        ];
        for (supplies, expected) in cases {
            let folder = tempfile::tempdir().unwrap();
            for (number, supply) in supplies.iter().enumerate() {
                let place = folder.path().join(number.to_string());
                fs::create_dir(&place).unwrap();
                for (name, text) in *supply {
                    fs::write(place.join(name), text).unwrap();
                }
            }
            assert_eq!(on_battery(folder.path()), *expected, "{supplies:?}");
        }
        assert_eq!(on_battery(Path::new("/no/such/folder")), None);
    }
}
