//! A control group (cgroup v2) for each job, where the machine has handed us a part of the tree.
//!
//! It has when our own group is called `slave` and we may make others beside it, as systemd does for a unit with
//! `DelegateSubgroup=slave`. What is in a group can be counted exactly and ended at once, also if its keeper is gone. A script
//! at the level `plain` could leave its group, because its user owns it; at the others it does not reach the tree.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::Usage;
use crate::model::Counted;

/// How often, and with what pause, it is looked whether a group is empty.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// The control group of one job.
pub(in crate::slave) struct JobGroup {
    folder: PathBuf,
    /// The slave's group, in which the keeper is, too.
    home: PathBuf,
}

impl JobGroup {
    /// Makes the group of the job that lies in `job`, with what all of it may use; none where that cannot be had.
    pub(in crate::slave) fn make(job: &Path, memory: u64, processes: u32) -> Option<Self> {
        let group = Self::of(job)?;
        let base = group.home.parent()?;
        // Each by itself: a machine may have the one and not the other.
        for controller in ["+memory", "+pids"] {
            let _ = fs::write(base.join("cgroup.subtree_control"), controller);
        }
        fs::create_dir(&group.folder).ok()?;
        // Without these controllers it is sampled what the job uses.
        for (file, value) in [
            ("memory.max", memory.to_string()),
            ("memory.swap.max", "0".to_owned()),
            ("memory.oom.group", "1".to_owned()),
            ("pids.max", processes.to_string()),
        ] {
            let _ = group.set(file, &value);
        }
        Some(group)
    }

    /// Ends what is left in the group of the job in `job` whose keeper is gone.
    pub(in crate::slave) fn end_left(job: &Path) {
        if let Some(group) = Self::of(job).filter(|group| group.folder.exists()) {
            group.kill();
            group.remove();
        }
    }

    fn of(job: &Path) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let home = own(&mounts, &groups)?;
        let name = job.file_name()?.to_str()?;
        let folder = home.parent()?.join(format!("job-{name}"));
        Some(Self { folder, home })
    }

    /// Puts this process there, so that what it starts is there from its beginning. Returns what takes it back.
    pub(in crate::slave) fn enter(&self) -> io::Result<impl FnOnce() -> io::Result<()> + use<>> {
        let home = self.home.join("cgroup.procs");
        // 0 is whoever writes.
        self.set("cgroup.procs", "0")?;
        Ok(move || fs::write(home, "0"))
    }

    /// Whether a process could not be started because there were as many as there may be.
    pub(in crate::slave) fn is_full(&self) -> bool {
        self.event("pids.events", "max").unwrap_or(0) > 0
    }

    /// Whether the kernel has ended something because memory was at its limit.
    pub(in crate::slave) fn ran_out_of_memory(&self) -> bool {
        self.event("memory.events", "oom_kill").unwrap_or(0) > 0
    }

    /// The most that was used at a time; none where the kernel does not count that. CPU time is not told.
    pub(in crate::slave) fn peak(&self) -> Option<Usage> {
        let number = |file| self.get(file)?.trim().parse::<u64>().ok();
        Some(Usage {
            memory: number("memory.peak")?,
            processes: u32::try_from(number("pids.peak")?).ok()?,
            cpu: Duration::ZERO,
        })
    }

    /// Ends everything in it, at once.
    pub(in crate::slave) fn kill(&self) {
        // Kernels before 5.14 cannot; then what descends from the keeper is ended one by one.
        let _ = self.set("cgroup.kill", "1");
    }

    /// Waits until nothing is left in it, and removes it. For a while: a process may wait for a dead disk.
    pub(in crate::slave) fn remove(self) {
        for _ in 0..TRIES {
            if self.event("cgroup.events", "populated") == Some(0) {
                break;
            }
            thread::sleep(PAUSE);
        }
        if let Err(error) = fs::remove_dir(&self.folder) {
            tracing::warn!(group = %self.folder.display(), %error, "control group not removed");
        }
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        // Never made: what is not there, the kernel does not have.
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).open(self.folder.join(file))?;
        io::Write::write_all(&mut file, value.as_bytes())
    }

    fn get(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(file)).ok()
    }

    fn event(&self, file: &str, key: &str) -> Option<u64> {
        event(&self.get(file)?, key)
    }
}

/// How memory and processes are counted of the jobs of the slave with this process id; none where that is not known.
#[must_use]
pub fn counted_below(slave: u32) -> Option<Counted> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let groups = fs::read_to_string(format!("/proc/{slave}/cgroup")).ok()?;
    let base = own(&mounts, &groups).and_then(|home| Some(home.parent()?.to_owned()));
    let has_all = |base: PathBuf| {
        let controllers = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
        let has = |wanted| controllers.split_whitespace().any(|word| word == wanted);
        has("memory") && has("pids")
    };
    Some(if base.is_some_and(has_all) {
        Counted::Cgroup
    } else {
        Counted::Sampled
    })
}

/// The folder of a process's own group, if it is one that was handed to us: `mounts` and `groups` are what the kernel
/// says of that process in `/proc`.
fn own(mounts: &str, groups: &str) -> Option<PathBuf> {
    // See cgroups(7): the line of version 2 begins so.
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mount = mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut fields = place.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup2 ").then_some((root, point))
    });
    let (root, point) = mount?;
    let below = Path::new(path).strip_prefix(root).ok()?;
    let delegated = below.ends_with("slave") && below.components().count() > 1;
    delegated.then(|| Path::new(point).join(below))
}

fn event(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(found, _)| *found == key)?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "24 30 0:22 / /sys rw - sysfs sysfs rw\n\
                          30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";

    #[test]
    fn only_a_group_that_was_handed_to_us_is_used() {
        let at = |groups: &str| own(MOUNTS, groups);
        let service = "/system.slice/pybots-slave.service";
        assert_eq!(
            at(&format!("1:name=x:/\n0::{service}/slave\n")),
            Some(PathBuf::from(format!("/sys/fs/cgroup{service}/slave")))
        );
        for other in [
            "0::/\n",
            "0::/slave\n",
            "0::/a.service\n",
            "4:memory:/a/slave\n",
        ] {
            assert_eq!(at(other), None, "{other}");
        }
        assert_eq!(own("", "0::/a/slave\n"), None);
    }

    #[test]
    fn the_kernels_counts_are_read_by_their_names() {
        let text = "low 0\noom 2\noom_kill 1\noom_group_kill 1\n";
        assert_eq!(event(text, "oom_kill"), Some(1));
        assert_eq!(event(text, "populated"), None);
    }
}
