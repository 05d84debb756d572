//! The keeper's life: one script, from its start to the end of all that it started.
//!
//! One thread and a few buffers, because there is one of these for each running step.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, UsageWho, getrusage, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::time::TimeValLike as _;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::spool::{Logged, Look, Spool};
use super::watch::{DiskCount, Sighting};
use super::{Ending, ExitRecord, Haste, Job, abandoned, open_lock, started, stop_requested};
use crate::model::{Clock, Counted, Limit, Timestamp, Uptime};
use crate::slave::isolation::{self, JobGroup, Program, Started, Usage};

/// How long a script that was asked to end has for it.
const GRACE: Duration = Duration::from_secs(5);
/// How often the keeper looks whether it shall stop, and what the script uses.
const TICK: Duration = Duration::from_millis(50);
/// The pause between looks while there is no pipe to wait for.
const PAUSE: Duration = Duration::from_millis(2);

/// Why the keeper could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The folder is not one that a slave has prepared, or the disk is full.
    #[error("cannot work in the job folder {folder}")]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another keeper is at work there, or the slave has given the job up.
    #[error("the job in {0} is not to be run")]
    NotToRun(PathBuf),
}

/// Does one job, prepared in `folder`, to its end. The keeper process's whole life.
///
/// # Errors
///
/// [`KeeperError`]: the script was not started, or how it ended could not be written down.
pub fn keep(folder: &Path, clock: Clock, uptime: Uptime) -> Result<(), KeeperError> {
    let failed = |source| KeeperError::Folder {
        folder: folder.to_owned(),
        source,
    };
    let mut lock = open_lock(folder).map_err(failed)?;
    if !taken(&lock) || abandoned(folder).exists() || started(folder).exists() {
        return Err(KeeperError::NotToRun(folder.to_owned()));
    }
    // Whoever has to end this process by force finds it by this.
    write!(lock, "{}", std::process::id()).map_err(failed)?;
    let job = super::read_job(folder).map_err(failed)?;
    let spool = Spool::create(
        &super::spool(folder),
        job.allowance.log,
        job.allowance.log_rate,
    )
    .map_err(failed)?;
    let began = clock();
    fs::write(started(folder), began.0.to_string()).map_err(failed)?;
    isolation::stand_apart().map_err(|errno| failed(errno.into()))?;

    // The slave reads this; when it is gone nobody does, which must not disturb the script.
    let _ = writeln!(io::stdout(), "{}", began.0);
    let ended = match run(folder, &job, spool, began, uptime) {
        Ok(ended) => ended,
        Err(error) => Ended::not_started(&error),
    };
    let record = ended.record(began, clock());
    write_record(folder, &record).map_err(failed)
}

/// Takes the lock on the job. Whoever only looks at how far it has come holds it for a moment; another keeper for longer.
fn taken(lock: &fs::File) -> bool {
    const TRIES: u32 = 50;
    (0..TRIES).any(|tried| {
        if tried > 0 {
            thread::sleep(PAUSE);
        }
        lock.try_lock().is_ok()
    })
}

fn write_record(folder: &Path, record: &ExitRecord) -> io::Result<()> {
    let draft = folder.join("exit.json.new");
    let mut file = fs::File::create(&draft)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.sync_all()?;
    fs::rename(draft, folder.join("exit.json"))
}

struct Ended {
    ending: Ending,
    log: Logged,
    /// The most of each at any look; none where nothing could be seen.
    peak: Option<Usage>,
    /// The most of each by the kernel's own count, where it counts.
    exact: Option<Usage>,
}

impl Ended {
    fn not_started(error: &io::Error) -> Self {
        Self {
            ending: Ending::NotStarted(error.to_string()),
            log: Logged::nothing(),
            peak: None,
            exact: None,
        }
    }

    fn record(self, started: Timestamp, finished: Timestamp) -> ExitRecord {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
        // Linux counts kibibytes here.
        let largest = usage.map_or(0, |usage| usage.max_rss().saturating_mul(1024));
        let largest = u64::try_from(largest).unwrap_or(0);
        ExitRecord {
            ending: self.ending,
            started: started.0,
            finished: finished.0,
            cpu_ms: u64::try_from(waited_cpu().as_millis()).unwrap_or(u64::MAX),
            peak_memory: match self.exact {
                Some(exact) => exact.memory,
                // A script may be over before anybody looked.
                None => self.peak.map_or(largest, |peak| peak.memory.max(largest)),
            },
            peak_processes: self.exact.or(self.peak).map(|peak| peak.processes),
            counted: match (self.exact, self.peak) {
                (Some(_), _) => Counted::Cgroup,
                (None, Some(_)) => Counted::Sampled,
                (None, None) => Counted::Waited,
            },
            log: self.log.digest,
            log_bytes: self.log.kept,
            log_cut: self.log.cut,
        }
    }
}

/// CPU time of what has ended and was waited for.
fn waited_cpu() -> Duration {
    let milliseconds = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| {
        (usage.user_time() + usage.system_time()).num_milliseconds()
    });
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

/// Runs the script to its end. Fails only if it was not started: once it was, there is always something to record.
fn run(
    folder: &Path,
    job: &Job,
    mut spool: Spool,
    began: Timestamp,
    uptime: Uptime,
) -> io::Result<Ended> {
    limit_processes(job)?;
    let (mut output, input) = io::pipe()?;
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // The last look before there is something to stop.
    if stop_requested(folder).is_some() {
        return Ok(Ended {
            ending: Ending::Stopped,
            log: spool.end(),
            peak: None,
            exact: None,
        });
    }
    let script = super::script(folder);
    let program = Program {
        script: &script,
        arguments: &job.arguments,
        environment: &job.environment,
        folder: &job.workspace,
    };
    let group = JobGroup::make(folder, job.allowance.memory, job.allowance.processes);
    let (started, group) = in_group(group, || {
        let take_back = isolation::offer_to_the_oom_killer();
        let started = job.confinement.spawn(&program, input);
        take_back();
        started
    });
    let Started { child, mut around } = started?;
    let first = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let mut watch = Watch {
        folder,
        job,
        first,
        uptime,
        started: uptime(),
        printed: uptime(),
        looked: Duration::ZERO,
        disk: DiskCount::new(job.confinement.own.clone()),
        cache: DiskCount::since(began, vec![job.confinement.cache.clone()]),
        group,
        peak: None,
    };
    let mut ending = watch.until_over(&mut output, &mut spool);
    if let Some(group) = &watch.group {
        group.kill();
    }
    isolation::end_tree(first);
    let exact = watch.group.take().and_then(|group| {
        if ending == Ending::Signalled(Signal::SIGKILL as u8) && group.ran_out_of_memory() {
            ending = Ending::Over(Limit::Memory);
        }
        let exact = group.peak();
        group.remove();
        exact
    });
    // With the tree gone the pipe has no writer left; unless a process outside the tree was handed it, and that one is
    // not waited for.
    while !spool.is_flooded() && spool.take(&mut output) == Look::Some {}
    if matches!(ending, Ending::Exited(_)) && around.never_began() {
        // Nothing else had a chance to say anything.
        let said = fs::read(super::spool(folder))?;
        return Err(io::Error::other(isolation::reason(&said)));
    }
    Ok(Ended {
        ending,
        log: spool.end(),
        peak: watch.peak,
        exact,
    })
}

/// Starts a script while this process is in `group`, so that the script is there from its first moment. Where that cannot be,
/// it does without; the group is given back if there is something in it.
fn in_group(
    group: Option<JobGroup>,
    start: impl FnOnce() -> io::Result<Started>,
) -> (io::Result<Started>, Option<JobGroup>) {
    let Some(group) = group else {
        return (start(), None);
    };
    let Ok(go_back) = group.enter() else {
        group.remove();
        return (start(), None);
    };
    let started = start();
    match (go_back(), &started) {
        (Ok(()), Ok(_)) => (started, Some(group)),
        (Ok(()), Err(_)) => {
            group.remove();
            (started, None)
        }
        // The keeper itself is in it, so it cannot be used to end what is there.
        (Err(_), _) => (started, None),
    }
}

/// What each process of the script's inherits from this one. Neither stands in the keeper's own way: it opens few files, and
/// writes none that is larger than the log may be.
fn limit_processes(job: &Job) -> io::Result<()> {
    let files = job.allowance.open_files;
    let size = job
        .allowance
        .disk
        .max(job.allowance.log)
        .saturating_add(1 << 20);
    for (resource, limit) in [
        (Resource::RLIMIT_NOFILE, files),
        (Resource::RLIMIT_FSIZE, size),
    ] {
        match setrlimit(resource, limit, limit) {
            // Somebody has set it lower already.
            Ok(()) | Err(Errno::EPERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// A script at work.
struct Watch<'a> {
    folder: &'a Path,
    job: &'a Job,
    first: Pid,
    uptime: Uptime,
    started: Duration,
    /// When it last printed something.
    printed: Duration,
    looked: Duration,
    disk: DiskCount,
    cache: DiskCount,
    group: Option<JobGroup>,
    peak: Option<Usage>,
}

impl Watch<'_> {
    /// Takes in what the script prints until it has ended, is over a limit, or is to be stopped.
    fn until_over(&mut self, output: &mut io::PipeReader, spool: &mut Spool) -> Ending {
        let mut pipe = Look::Nothing;
        // Why it was asked to end, and how long it has for it.
        let mut asked: Option<(Ending, Duration)> = None;
        loop {
            let now = (self.uptime)();
            let ahead = spool.is_ahead(now.saturating_sub(self.started));
            if pipe != Look::End && !ahead {
                pipe = spool.take(output);
                if pipe == Look::Some {
                    self.printed = now;
                }
            }
            if let Some(status) = self.reap() {
                return asked.map_or(status, |(why, _)| why);
            }
            if now.saturating_sub(self.looked) >= TICK {
                self.looked = now;
                match self.look(now, spool) {
                    Some((ending, Haste::Now)) => return ending,
                    Some((ending, Haste::Polite)) if asked.is_none() => {
                        isolation::ask_to_end(self.first);
                        asked = Some((ending, now + GRACE));
                    }
                    Some((_, Haste::Polite)) | None => {}
                }
            }
            match asked.take() {
                Some((ending, until)) if now >= until => return ending,
                other => asked = other,
            }
            match pipe {
                // The pipe is left full, so there is nothing to wait for but time.
                Look::Some | Look::Nothing if ahead => thread::sleep(PAUSE),
                Look::Some => {}
                Look::Nothing => wait_for(output),
                // It closed its output and lives on, or it has this moment ended.
                Look::End => thread::sleep(PAUSE),
            }
        }
    }

    /// Why the script is to end, if it is.
    fn look(&mut self, now: Duration, spool: &Spool) -> Option<(Ending, Haste)> {
        let stop = stop_requested(self.folder);
        if stop == Some(Haste::Now) {
            return Some((Ending::Stopped, Haste::Now));
        }
        let mut usage = isolation::usage();
        if let Some(usage) = &mut usage {
            // Shared pages count for each process at first; before anything is ended for that, they are counted fairly.
            if usage.memory > self.job.allowance.memory {
                usage.memory = isolation::fair_memory().unwrap_or(usage.memory);
            }
            usage.cpu += waited_cpu();
            // Its limit is the same, so it is never seen to be passed.
            if self.group.as_ref().is_some_and(JobGroup::is_full) {
                usage.processes = self.job.allowance.processes.saturating_add(1);
            }
            let peak = self.peak.get_or_insert_default();
            peak.memory = peak.memory.max(usage.memory);
            peak.processes = peak.processes.max(usage.processes);
        }
        let seen = Sighting {
            running: now.saturating_sub(self.started),
            silent: now.saturating_sub(self.printed),
            usage: usage.unwrap_or_default(),
            disk: self.disk.go_on() + self.cache.go_on(),
            free_disk: free_disk(&self.job.workspace),
            flooded: spool.is_flooded(),
        };
        let polite = stop.map(|haste| (Ending::Stopped, haste));
        let Some(limit) = self.job.allowance.exceeded(&seen) else {
            return polite;
        };
        let haste = match limit {
            // A test runner that is asked to end says what it was at.
            Limit::WallTime | Limit::SilentTime => Haste::Polite,
            Limit::CpuTime | Limit::Memory | Limit::Processes | Limit::Disk | Limit::Log => {
                Haste::Now
            }
        };
        // Who is asked to end has time for it, but not for taking more than is allowed.
        match (haste, polite) {
            (Haste::Polite, Some(polite)) => Some(polite),
            (haste, _) => Some((Ending::Over(limit), haste)),
        }
    }

    /// Reaps what has ended, also what lost its parent; how the script itself ended, once it has.
    fn reap(&self) -> Option<Ending> {
        let small = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.first => {
                    return Some(Ending::Exited(small(code)));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.first => {
                    return Some(Ending::Signalled(small(signal as i32)));
                }
                Ok(WaitStatus::StillAlive) => return None,
                // Without children there is nothing left to wait for.
                Err(Errno::ECHILD) => return Some(Ending::Signalled(0)),
                Err(errno) if errno != Errno::EINTR => return None,
                Err(_) | Ok(_) => {}
            }
        }
    }
}

/// Waits until there is output, or until it is time for the next look.
fn wait_for(output: &io::PipeReader) {
    let mut wanted = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO);
    // Whatever it says, the next look at the pipe tells.
    let _ = poll(&mut wanted, timeout);
}

/// What an ordinary user may still write there.
fn free_disk(folder: &Path) -> Option<u64> {
    let disk = nix::sys::statvfs::statvfs(folder).ok()?;
    // Systems differ in the size of these.
    let bytes = u128::from(disk.blocks_available()) * u128::from(disk.fragment_size());
    Some(u64::try_from(bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
