//! What scripts may use of the machine, and what must be left of it.

use std::time::Duration;

use serde::Deserialize;

use super::SlaveConfigError;

/// The table `limits`, word for word.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct LimitsFile {
    parallel_builds: usize,
    timeout_minutes: u64,
    silent_minutes: u64,
    cpu_minutes: Option<u64>,
    memory_mebibytes: u64,
    processes: u32,
    open_files: u64,
    disk_mebibytes: u64,
    log_mebibytes: u64,
    log_mebibytes_per_second: u64,
    free_disk_mebibytes: u64,
    load: Option<f64>,
    on_battery: OnBattery,
}

impl Default for LimitsFile {
    fn default() -> Self {
        Self {
            parallel_builds: 1,
            timeout_minutes: 120,
            silent_minutes: 30,
            cpu_minutes: None,
            memory_mebibytes: 4096,
            processes: 1024,
            open_files: 4096,
            disk_mebibytes: 20_480,
            log_mebibytes: 64,
            log_mebibytes_per_second: 256,
            free_disk_mebibytes: 1024,
            load: None,
            on_battery: OnBattery::Defer,
        }
    }
}

/// The same for one command; what is not said is as for all of them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Narrower {
    pub(super) timeout_minutes: Option<u64>,
    pub(super) silent_minutes: Option<u64>,
    pub(super) cpu_minutes: Option<u64>,
    pub(super) memory_mebibytes: Option<u64>,
    pub(super) processes: Option<u32>,
    pub(super) disk_mebibytes: Option<u64>,
    pub(super) log_mebibytes: Option<u64>,
}

/// Whether builds are started while the machine runs on its battery.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum OnBattery {
    /// They wait.
    #[default]
    Defer,
    /// They are.
    Run,
}

/// Most that one script may use, with everything that it starts. Over a limit, all of it is ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StepLimits {
    /// Time.
    pub wall: Duration,
    /// Time without a byte of output.
    pub silent: Duration,
    /// CPU time; none is no limit.
    pub cpu: Option<Duration>,
    /// Memory, in bytes.
    pub memory: u64,
    /// Processes and threads at one time.
    pub processes: u32,
    /// Open files of each process; more cannot be opened, and nothing is ended for it.
    pub open_files: u64,
    /// Disk of the folders that are its to write, in bytes.
    pub disk: u64,
    /// Bytes kept of its output; what is beyond is cut off and counted.
    pub log: u64,
    /// Bytes of output a second; a script that prints faster is held up.
    pub log_rate: u64,
}

/// What must be left of the machine before a build is started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostLimits {
    /// How many builds may run at once.
    pub parallel_builds: usize,
    /// Free disk where the slave keeps its folders, in bytes.
    pub free_disk: u64,
    /// Greatest one-minute load average; none is no limit.
    pub load: Option<f64>,
    /// What to do on battery.
    pub on_battery: OnBattery,
}

const MEBIBYTE: u64 = 1 << 20;

impl LimitsFile {
    pub(super) fn parse(&self) -> Result<(StepLimits, HostLimits), SlaveConfigError> {
        let positive = |value: u64, key| {
            if value == 0 {
                Err(SlaveConfigError::Zero(key))
            } else {
                Ok(value)
            }
        };
        positive(self.parallel_builds as u64, "limits.parallel-builds")?;
        positive(u64::from(self.processes), "limits.processes")?;
        let step = StepLimits {
            wall: minutes(positive(self.timeout_minutes, "limits.timeout-minutes")?),
            silent: minutes(positive(self.silent_minutes, "limits.silent-minutes")?),
            cpu: match self.cpu_minutes {
                Some(cpu) => Some(minutes(positive(cpu, "limits.cpu-minutes")?)),
                None => None,
            },
            memory: mebibytes(positive(self.memory_mebibytes, "limits.memory-mebibytes")?),
            processes: self.processes,
            open_files: positive(self.open_files, "limits.open-files")?,
            disk: mebibytes(positive(self.disk_mebibytes, "limits.disk-mebibytes")?),
            log: mebibytes(self.log_mebibytes),
            log_rate: mebibytes(positive(
                self.log_mebibytes_per_second,
                "limits.log-mebibytes-per-second",
            )?),
        };
        if self.load.is_some_and(|load| load.is_nan() || load <= 0.0) {
            return Err(SlaveConfigError::Load);
        }
        let host = HostLimits {
            parallel_builds: self.parallel_builds,
            free_disk: mebibytes(self.free_disk_mebibytes),
            load: self.load,
            on_battery: self.on_battery,
        };
        Ok((step, host))
    }
}

impl StepLimits {
    /// These, narrowed by what is said of one command: the smaller of each. The key of a limit that is zero, if one is.
    pub(super) fn narrowed(mut self, by: &Narrower) -> Result<Self, &'static str> {
        let lower = |limit: &mut Duration, by: Option<u64>, key| match by {
            Some(0) => Err(key),
            Some(by) => {
                *limit = minutes(by).min(*limit);
                Ok(())
            }
            None => Ok(()),
        };
        lower(&mut self.wall, by.timeout_minutes, "timeout-minutes")?;
        lower(&mut self.silent, by.silent_minutes, "silent-minutes")?;
        let mut cpu = self.cpu.unwrap_or(Duration::MAX);
        lower(&mut cpu, by.cpu_minutes, "cpu-minutes")?;
        self.cpu = Some(cpu).filter(|cpu| *cpu < Duration::MAX);
        let lower = |limit: &mut u64, by: Option<u64>, key| match by {
            Some(0) => Err(key),
            Some(by) => {
                *limit = by.min(*limit);
                Ok(())
            }
            None => Ok(()),
        };
        let bytes = |by: Option<u64>| by.map(mebibytes);
        lower(
            &mut self.memory,
            bytes(by.memory_mebibytes),
            "memory-mebibytes",
        )?;
        lower(&mut self.disk, bytes(by.disk_mebibytes), "disk-mebibytes")?;
        let mut processes = u64::from(self.processes);
        lower(&mut processes, by.processes.map(u64::from), "processes")?;
        self.processes = u32::try_from(processes).unwrap_or(self.processes);
        if let Some(log) = bytes(by.log_mebibytes) {
            self.log = self.log.min(log);
        }
        Ok(self)
    }
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes.saturating_mul(60))
}

fn mebibytes(number: u64) -> u64 {
    number.saturating_mul(MEBIBYTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a57_the_smaller_limit_wins_whoever_says_it() {
        let (step, _) = LimitsFile::default().parse().unwrap();
        let by = Narrower {
            timeout_minutes: Some(u64::MAX),
            memory_mebibytes: Some(1),
            processes: Some(u32::MAX),
            cpu_minutes: Some(3),
            ..Narrower::default()
        };
        let narrowed = step.narrowed(&by).unwrap();
        assert_eq!(narrowed.wall, step.wall);
        assert_eq!(narrowed.memory, 1 << 20);
        assert_eq!(narrowed.processes, step.processes);
        assert_eq!(narrowed.cpu, Some(Duration::from_secs(180)));
        assert_eq!(step.narrowed(&Narrower::default()), Ok(step));
        let zero = Narrower {
            disk_mebibytes: Some(0),
            ..Narrower::default()
        };
        assert_eq!(step.narrowed(&zero), Err("disk-mebibytes"));
    }
}
