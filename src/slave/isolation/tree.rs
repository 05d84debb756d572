//! A script's process tree: standing apart from whoever started us, and ending all of it.

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, setsid};

/// Leaves the caller's session and terminal, sets what a script would otherwise inherit from whoever started the slave,
/// and takes in whatever process a script leaves behind.
pub(in crate::slave) fn stand_apart() -> nix::Result<()> {
    umask(Mode::from_bits_truncate(0o022));
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setsid()?;
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

/// Asks a script's process group to end.
pub(in crate::slave) fn ask_to_end(group: Pid) {
    // The group may be gone already.
    let _ = killpg(group, Signal::SIGTERM);
}

/// Ends a script's process group and, on Linux, everything that has left it. Waits until nothing is left.
pub(in crate::slave) fn end_tree(group: Pid) {
    let _ = killpg(group, Signal::SIGKILL);
    #[cfg(target_os = "linux")]
    linux::end_orphans();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::thread;
    use std::time::Duration;

    use nix::errno::Errno;
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;

    /// How often, and with what pause, children that will not end are looked at again.
    const TRIES: u32 = 500;
    const PAUSE: Duration = Duration::from_millis(10);

    /// Kills and reaps our children until there are none. A process that left its session and lost its parent has
    /// become our child, because we are its subreaper; killing it hands us its own children in turn.
    ///
    /// Bounded, because there are processes that cannot be ended: another user's, or one that waits for a dead disk.
    pub(super) fn end_orphans() {
        let mut tries = 0;
        while tries < TRIES {
            for child in children() {
                let _ = kill(child, Signal::SIGKILL);
            }
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::ECHILD) => return,
                Ok(WaitStatus::StillAlive) => {
                    tries += 1;
                    thread::sleep(PAUSE);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn children() -> Vec<Pid> {
        let Ok(threads) = fs::read_dir("/proc/self/task") else {
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
}
