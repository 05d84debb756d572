//! A script's process tree: standing apart from whoever started us, measuring all of it, and ending all of it.
//!
//! Only Linux hands orphans to the process that asks for them and says who descends from whom. Elsewhere a tree is its
//! process group, and what leaves that is neither measured nor ended.

use std::time::Duration;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, setsid};

/// What Linux gives a process for its stack unless somebody says otherwise.
const STACK: u64 = 8 << 20;

/// Leaves the caller's session and terminal, sets what a script would otherwise inherit from whoever started the slave,
/// and takes in whatever process a script leaves behind.
pub(in crate::slave) fn stand_apart() -> nix::Result<()> {
    umask(Mode::from_bits_truncate(0o022));
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    for (resource, most) in [
        (Resource::RLIMIT_AS, RLIM_INFINITY),
        (Resource::RLIMIT_CPU, RLIM_INFINITY),
        (Resource::RLIMIT_DATA, RLIM_INFINITY),
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        (Resource::RLIMIT_NPROC, RLIM_INFINITY),
        // Without a limit the kernel lays memory out in another way.
        (Resource::RLIMIT_STACK, STACK),
    ] {
        // What its owner holds the slave itself to is the hard limit, and stays.
        let (_, hard) = getrlimit(resource)?;
        setrlimit(resource, hard.min(most), hard)?;
    }
    setsid()?;
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

/// What a tree uses at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::slave) struct Usage {
    /// Memory of its own, in bytes, files that are mapped left out. What processes share after a fork counts for each.
    pub(in crate::slave) memory: u64,
    /// Processes and their threads.
    pub(in crate::slave) processes: u32,
    /// CPU time of those that live, and of those that they have waited for.
    pub(in crate::slave) cpu: Duration,
}

/// What all descendants of this process use; none where that cannot be known.
pub(in crate::slave) fn usage() -> Option<Usage> {
    #[cfg(target_os = "linux")]
    return linux::usage();
    #[cfg(not(target_os = "linux"))]
    None
}

/// The memory of all descendants of this process with each shared page divided among those that share it, in bytes. Slow.
pub(in crate::slave) fn fair_memory() -> Option<u64> {
    #[cfg(target_os = "linux")]
    return linux::fair_memory();
    #[cfg(not(target_os = "linux"))]
    None
}

/// What tells this start of the machine from any other; none where that cannot be known.
pub(in crate::slave) fn boot() -> Option<String> {
    #[cfg(target_os = "linux")]
    {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Lets the kernel end the script, and what it starts, before anything else of the machine's when memory runs out.
/// Returns what undoes that for this process, once the script is started.
pub(in crate::slave) fn offer_to_the_oom_killer() -> impl FnOnce() {
    #[cfg(target_os = "linux")]
    let before = {
        let path = "/proc/self/oom_score_adj";
        let before = std::fs::read_to_string(path).unwrap_or_default();
        // The machine's owner comes first, but a kernel without this knob runs scripts too.
        let _ = std::fs::write(path, "800");
        (path, before)
    };
    move || {
        #[cfg(target_os = "linux")]
        let _ = std::fs::write(before.0, before.1);
    }
}

/// Asks a script and everything that it started to end. `group` is the process group that it was started in.
pub(in crate::slave) fn ask_to_end(group: Pid) {
    #[cfg(target_os = "linux")]
    linux::signal_all(Signal::SIGTERM, group);
    #[cfg(not(target_os = "linux"))]
    let _ = killpg(group, Signal::SIGTERM);
}

/// Ends a script's process group and, on Linux, everything that has left it. Waits until nothing is left.
pub(in crate::slave) fn end_tree(group: Pid) {
    // The group may be gone already.
    let _ = killpg(group, Signal::SIGKILL);
    #[cfg(target_os = "linux")]
    linux::end_descendants();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::thread;
    use std::time::Duration;

    use nix::errno::Errno;
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::{Pid, SysconfVar, sysconf};

    use super::Usage;

    /// How often, and with what pause, descendants that will not end are looked at again.
    const TRIES: u32 = 500;
    const PAUSE: Duration = Duration::from_millis(10);
    /// Most descendants that are looked at at once: a fork bomb shall not fill our memory.
    const MOST: usize = 100_000;

    /// Kills and reaps until we have no children. A process that left its session and lost its parent has become our child,
    /// because we are its subreaper. All are stopped before any is killed, so that none forks while the others die.
    ///
    /// Bounded, because there are processes that cannot be ended: another user's, or one that waits for a dead disk.
    pub(super) fn end_descendants() {
        let mut tries = 0;
        while tries < TRIES {
            let descendants = descendants();
            for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
                for process in &descendants {
                    let _ = kill(*process, signal);
                }
            }
            loop {
                match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                    Err(Errno::ECHILD) => return,
                    Ok(WaitStatus::StillAlive) => {
                        tries += 1;
                        thread::sleep(PAUSE);
                        break;
                    }
                    Err(Errno::EINTR) | Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
    }

    /// Sends `signal` to all descendants but the process that keeps a script in its namespaces, which would take it as a
    /// request to end them at once.
    pub(super) fn signal_all(signal: Signal, first: Pid) {
        for process in descendants() {
            let keeps_others = process == first
                && fs::read_to_string(format!("/proc/{process}/comm"))
                    .is_ok_and(|name| name.trim() == "bwrap");
            if !keeps_others {
                let _ = kill(process, signal);
            }
        }
    }

    pub(super) fn usage() -> Option<Usage> {
        let tick = ticks_per_second()?;
        let mut total = Usage::default();
        let mut ticks = 0;
        for process in descendants() {
            // It may have ended meanwhile.
            let Some(seen) = stat(process) else { continue };
            ticks += seen.ticks;
            total.processes = total.processes.saturating_add(seen.threads);
            total.memory += own_memory(process).unwrap_or(0);
        }
        total.cpu = Duration::from_millis(ticks.saturating_mul(1000) / tick);
        Some(total)
    }

    pub(super) fn fair_memory() -> Option<u64> {
        let mut kibibytes = 0;
        for process in descendants() {
            let Ok(rollup) = fs::read_to_string(format!("/proc/{process}/smaps_rollup")) else {
                continue;
            };
            let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            let number = pss.split_whitespace().next()?;
            kibibytes += number.parse::<u64>().ok()?;
        }
        Some(kibibytes * 1024)
    }

    fn ticks_per_second() -> Option<u64> {
        u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()
    }

    struct Stat {
        ticks: u64,
        threads: u32,
    }

    /// Fields of `/proc/PID/stat`, see proc(5): CPU times are fields 14 to 17, threads 20.
    fn stat(process: Pid) -> Option<Stat> {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name, in parentheses, may hold anything; what is behind the last one begins with field 3.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Stat {
            ticks: number(14)? + number(15)? + number(16)? + number(17)?,
            threads: u32::try_from(number(20)?).ok()?,
        })
    }

    /// What a process holds that is not of files, in bytes: memory of its own, and memory that it shares.
    fn own_memory(process: Pid) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let kibibytes = |field: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Some((kibibytes("RssAnon:")? + kibibytes("RssShmem:")?) * 1024)
    }

    /// Everything that descends from this process, parents before their children.
    fn descendants() -> Vec<Pid> {
        let mut found = children("self");
        let mut next = 0;
        while next < found.len() && found.len() < MOST {
            found.extend(children(&found[next].to_string()));
            next += 1;
        }
        found
    }

    fn children(process: &str) -> Vec<Pid> {
        let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
            return Vec::new();
        };
        threads
            .flatten()
            .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
            .flat_map(|children| {
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse().ok())
                    .collect::<Vec<_>>()
            })
            .map(Pid::from_raw)
            .collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::process::{Command, Stdio};

        #[test]
        fn a_tree_is_measured_with_its_grandchildren() {
            let mut child = Command::new("sh")
                .args(["-c", "sleep 1000 & sleep 1000 & read line"])
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            let child_pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
            let grandchildren = || children(&child.id().to_string());
            while grandchildren().len() < 2 {
                thread::yield_now();
            }
            let all = descendants();
            assert!(all.contains(&child_pid));
            assert!(grandchildren().iter().all(|pid| all.contains(pid)));
            let usage = usage().unwrap();
            assert!(usage.processes >= 3, "{usage:?}");
            assert!(usage.memory > 0, "{usage:?}");
            assert!(fair_memory().unwrap() > 0);
            for pid in grandchildren() {
                kill(pid, Signal::SIGKILL).unwrap();
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
