//! Whether a running script is over a limit.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::{Limit, Timestamp};
use crate::slave::config::StepLimits;
use crate::slave::isolation::Usage;

/// What a script may use, as the slave wrote it down.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
pub(in crate::slave) struct Allowance {
    pub(in crate::slave) wall: Duration,
    pub(in crate::slave) silent: Duration,
    pub(in crate::slave) cpu: Option<Duration>,
    pub(in crate::slave) memory: u64,
    pub(in crate::slave) processes: u32,
    pub(in crate::slave) open_files: u64,
    pub(in crate::slave) disk: u64,
    /// What must be free on that disk before a script is started; while it runs, half of that.
    pub(in crate::slave) free_disk: u64,
    pub(in crate::slave) log: u64,
    pub(in crate::slave) log_rate: u64,
}

impl Allowance {
    /// The owner's limits, with the command's own time where that is shorter.
    pub(in crate::slave) fn new(limits: &StepLimits, timeout: Duration, free_disk: u64) -> Self {
        Self {
            wall: limits.wall.min(timeout),
            silent: limits.silent,
            cpu: limits.cpu,
            memory: limits.memory,
            processes: limits.processes,
            open_files: limits.open_files,
            disk: limits.disk,
            free_disk,
            log: limits.log,
            log_rate: limits.log_rate,
        }
    }
}

/// What is known of a running script at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sighting {
    /// Since its start.
    pub(super) running: Duration,
    /// Since it last printed something, or its start.
    pub(super) silent: Duration,
    /// What its processes use, where that is known.
    pub(super) usage: Usage,
    /// Disk of its folders, as counted last.
    pub(super) disk: u64,
    /// Free on that disk, where that is known.
    pub(super) free_disk: Option<u64>,
    /// Whether it has printed far more than is kept.
    pub(super) flooded: bool,
}

impl Allowance {
    /// The limit that a script is over, if it is over one.
    pub(super) fn exceeded(&self, seen: &Sighting) -> Option<Limit> {
        let over = [
            (seen.usage.memory > self.memory, Limit::Memory),
            (seen.usage.processes > self.processes, Limit::Processes),
            (
                seen.disk > self.disk
                    || seen.free_disk.is_some_and(|free| free < self.free_disk / 2),
                Limit::Disk,
            ),
            (seen.flooded, Limit::Log),
            (
                self.cpu.is_some_and(|cpu| seen.usage.cpu > cpu),
                Limit::CpuTime,
            ),
            (seen.running >= self.wall, Limit::WallTime),
            (seen.silent >= self.silent, Limit::SilentTime),
        ];
        over.into_iter()
            .find_map(|(over, limit)| over.then_some(limit))
    }
}

/// A count of the disk that some folders take, a piece at a time, so that nothing else waits for it. Links are not followed,
/// holes in files do not count, and what lies too deep to be named is left out.
pub(super) struct DiskCount {
    folders: Vec<PathBuf>,
    left: Vec<PathBuf>,
    bytes: u64,
    /// The last full count.
    counted: u64,
    /// What changed before that moment, in seconds since the Unix epoch, does not count.
    since: i64,
}

impl DiskCount {
    /// Folders that are looked into at a time.
    const PIECE: usize = 64;
    /// The unit of `st_blocks`, see stat(2).
    const BLOCK: u64 = 512;
    /// What a file counts for at least: an empty one takes an inode too, of which a file system has only so many.
    const INODE: u64 = 4096;

    pub(super) fn new(folders: Vec<PathBuf>) -> Self {
        Self {
            left: folders.clone(),
            folders,
            bytes: 0,
            counted: 0,
            since: i64::MIN,
        }
    }

    /// The same of what was changed since then, for a folder that others have filled before. Nobody but root can set back
    /// when a file was changed.
    pub(super) fn since(moment: Timestamp, folders: Vec<PathBuf>) -> Self {
        Self {
            since: i64::try_from(moment.0 / 1_000_000).unwrap_or(i64::MAX),
            ..Self::new(folders)
        }
    }

    /// Counts on. The most that is known: the last full count, or what this one has come to.
    pub(super) fn go_on(&mut self) -> u64 {
        for _ in 0..Self::PIECE {
            let Some(folder) = self.left.pop() else {
                self.counted = self.bytes;
                self.bytes = 0;
                self.left.clone_from(&self.folders);
                break;
            };
            self.look_into(&folder);
        }
        self.counted.max(self.bytes)
    }

    fn look_into(&mut self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.ctime() >= self.since {
                self.bytes += (metadata.blocks() * Self::BLOCK).max(Self::INODE);
            }
            if metadata.is_dir() {
                self.left.push(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance() -> Allowance {
        Allowance {
            wall: Duration::from_secs(100),
            silent: Duration::from_secs(10),
            cpu: Some(Duration::from_secs(50)),
            memory: 1000,
            processes: 10,
            open_files: 10,
            disk: 5000,
            free_disk: 800,
            log: 1,
            log_rate: 1,
        }
    }

    fn fine() -> Sighting {
        Sighting {
            running: Duration::from_secs(99),
            silent: Duration::from_secs(9),
            usage: Usage {
                memory: 1000,
                processes: 10,
                cpu: Duration::from_secs(50),
            },
            disk: 5000,
            free_disk: Some(400),
            flooded: false,
        }
    }

    type Change = fn(&mut Sighting, Duration);

    #[test]
    fn each_limit_is_named_as_soon_as_it_is_passed_and_not_before() {
        let allowance = allowance();
        assert_eq!(allowance.exceeded(&fine()), None);
        let second = Duration::from_secs(1);
        let cases: Vec<(Change, Limit)> = vec![
            (|seen, second| seen.running += second, Limit::WallTime),
            (|seen, second| seen.silent += second, Limit::SilentTime),
            (|seen, second| seen.usage.cpu += second, Limit::CpuTime),
            (|seen, _| seen.usage.memory += 1, Limit::Memory),
            (|seen, _| seen.usage.processes += 1, Limit::Processes),
            (|seen, _| seen.disk += 1, Limit::Disk),
            (|seen, _| seen.free_disk = Some(399), Limit::Disk),
            (|seen, _| seen.flooded = true, Limit::Log),
        ];
        for (number, (change, limit)) in cases.into_iter().enumerate() {
            let mut seen = fine();
            change(&mut seen, second);
            assert_eq!(allowance.exceeded(&seen), Some(limit), "case {number}");
        }
        let unknown = Sighting {
            free_disk: None,
            ..fine()
        };
        assert_eq!(allowance.exceeded(&unknown), None);
    }

    #[test]
    fn a74_disk_is_counted_without_holes_and_without_following_links() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("file"), vec![1; 100_000]).unwrap();
        let sparse = fs::File::create(folder.path().join("sparse")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("link")).unwrap();
        let mut count = DiskCount::new(vec![folder.path().to_owned()]);
        let bytes = count.go_on();
        assert!((100_000..300_000).contains(&bytes), "{bytes}");
        fs::remove_dir_all(&inner).unwrap();
        count.go_on();
        assert!(count.go_on() < 100_000, "what is gone is not counted");
    }

    #[test]
    fn of_a_folder_that_others_have_filled_only_what_is_changed_since_counts() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), vec![1; 100_000]).unwrap();
        let count = |seconds: i64| {
            let changed = fs::metadata(folder.path().join("file")).unwrap().ctime();
            let moment = Timestamp(u64::try_from(changed + seconds).unwrap() * 1_000_000);
            DiskCount::since(moment, vec![folder.path().to_owned()]).go_on()
        };
        assert!(count(0) >= 100_000);
        assert_eq!(count(1), 0);
    }
}
