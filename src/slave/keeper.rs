//! The keeper: the first process of each step, our own binary executed again.
//!
//! It owns the script's pipe, writes what comes out of it to a spool on disk, ends the whole process tree, and leaves an
//! exit record. It has no runtime, no network and no keys. Slave and keeper decide under one exclusive lock on the job's
//! folder: a folder marked as abandoned is never run.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::unistd::Pid;

use super::isolation::{self, Confinement, Program, Started};
use crate::model::{Clock, Digest, Timestamp};
use crate::trust::Sha256;

/// How long a script that was asked to end has for it.
const GRACE: Duration = Duration::from_secs(5);
/// How often the keeper looks whether it shall stop.
const PERIOD: Duration = Duration::from_millis(50);

/// What the keeper is to do, as the slave wrote it.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Job {
    /// The script's whole environment.
    pub(super) environment: BTreeMap<String, String>,
    /// How it is kept apart.
    pub(super) confinement: Confinement,
    /// What stands on its command line.
    pub(super) arguments: Vec<String>,
    /// The script's working folder.
    pub(super) workspace: PathBuf,
    /// Longest that it may run, in milliseconds.
    pub(super) timeout_ms: u64,
    /// Most bytes kept of its output.
    pub(super) log_cap: u64,
}

/// How the script ended, as the keeper wrote it.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct ExitRecord {
    pub(super) ending: Ending,
    /// Microseconds since the Unix epoch.
    pub(super) started: u64,
    pub(super) finished: u64,
    pub(super) cpu_ms: u64,
    pub(super) peak_memory: u64,
    pub(super) log: Digest,
    pub(super) log_bytes: u64,
    pub(super) log_cut: u64,
}

/// Why a script is over.
#[derive(Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ending {
    Exited(u8),
    Signalled(u8),
    TimedOut,
    Stopped,
    NotStarted(String),
}

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

pub(super) fn spool(folder: &Path) -> PathBuf {
    folder.join("spool")
}

pub(super) fn script(folder: &Path) -> PathBuf {
    folder.join("script")
}

/// Writes down what a keeper is to do in `folder`.
pub(super) fn prepare(folder: &Path, job: &Job) -> io::Result<()> {
    let json = serde_json::to_vec(job)?;
    fs::write(folder.join("job.json"), json)
}

/// The exit record that a keeper left; none if it did not come to its end.
pub(super) fn exit_record(folder: &Path) -> Option<ExitRecord> {
    let json = fs::read(folder.join("exit.json")).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Asks the keeper in `folder` to end its script.
pub(super) fn request_stop(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("stop"), "")
}

/// Marks the job in `folder` as abandoned once no keeper holds it, so that none ever runs it again. False while one does.
pub(super) fn try_abandon(folder: &Path) -> io::Result<bool> {
    let lock = open_lock(folder)?;
    if lock.try_lock().is_err() {
        return Ok(false);
    }
    fs::write(folder.join("abandoned"), "")?;
    Ok(true)
}

fn open_lock(folder: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("lock"))
}

/// Does one job, prepared in `folder`, to its end. The keeper process's whole life.
///
/// # Errors
///
/// [`KeeperError`]; then the script was not started.
pub fn keep(folder: &Path, clock: Clock) -> Result<(), KeeperError> {
    let failed = |source| KeeperError::Folder {
        folder: folder.to_owned(),
        source,
    };
    let lock = open_lock(folder).map_err(failed)?;
    if lock.try_lock().is_err()
        || folder.join("abandoned").exists()
        || folder.join("started").exists()
    {
        return Err(KeeperError::NotToRun(folder.to_owned()));
    }
    let job: Job = serde_json::from_slice(&fs::read(folder.join("job.json")).map_err(failed)?)
        .map_err(|error| failed(error.into()))?;
    let spool = File::create(spool(folder)).map_err(failed)?;
    File::create(folder.join("started")).map_err(failed)?;
    isolation::stand_apart().map_err(|errno| failed(errno.into()))?;

    let started = clock();
    // The slave reads this; when it is gone nobody does, which must not disturb the script.
    let _ = writeln!(io::stdout(), "{}", started.0);
    let record = match run(folder, &job, spool) {
        Ok(ended) => ended.record(started, clock()),
        Err(error) => Ended::not_started(&error).record(started, clock()),
    };
    write_record(folder, &record).map_err(failed)
}

fn write_record(folder: &Path, record: &ExitRecord) -> io::Result<()> {
    let draft = folder.join("exit.json.new");
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.sync_all()?;
    fs::rename(draft, folder.join("exit.json"))
}

struct Ended {
    ending: Ending,
    log: Logged,
}

impl Ended {
    fn not_started(error: &io::Error) -> Self {
        let log = Logged {
            digest: Sha256::default().finish(),
            kept: 0,
            cut: 0,
        };
        Self {
            ending: Ending::NotStarted(error.to_string()),
            log,
        }
    }

    fn record(self, started: Timestamp, finished: Timestamp) -> ExitRecord {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
        let cpu = usage.map_or(0, |usage| {
            (usage.user_time() + usage.system_time()).num_milliseconds()
        });
        // Linux counts kibibytes here.
        let peak = usage.map_or(0, |usage| usage.max_rss().saturating_mul(1024));
        ExitRecord {
            ending: self.ending,
            started: started.0,
            finished: finished.0,
            cpu_ms: u64::try_from(cpu).unwrap_or(0),
            peak_memory: u64::try_from(peak).unwrap_or(0),
            log: self.log.digest,
            log_bytes: self.log.kept,
            log_cut: self.log.cut,
        }
    }
}

/// Runs the script to its end. Fails only if it was not started: once it was, there is always something to record.
fn run(folder: &Path, job: &Job, spool: File) -> io::Result<Ended> {
    let (output, input) = io::pipe()?;
    let program = Program {
        script: &script(folder),
        arguments: &job.arguments,
        environment: &job.environment,
        folder: &job.workspace,
    };
    let Started {
        mut child,
        mut around,
    } = job.confinement.spawn(&program, input)?;
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let cap = job.log_cap;
    let (copied, copy_result) = mpsc::channel();
    thread::spawn(move || copied.send(copy(output, spool, cap)));
    let (exited, exit) = mpsc::channel();
    thread::spawn(move || exited.send(child.wait()));

    let waited = wait(folder, &exit, Duration::from_millis(job.timeout_ms));
    let never_began = matches!(&waited, Waited::Exited(Ok(status)) if around.never_began(*status));
    let ending = match waited {
        Waited::Exited(status) => status.map_or(Ending::Signalled(0), status_of),
        Waited::Overtime => end_politely(around.group(), &exit, Ending::TimedOut),
        Waited::Stop => end_politely(around.group(), &exit, Ending::Stopped),
    };
    isolation::end_tree(group);
    // With the tree gone the pipe has no writer left, so the copy comes to its end; unless a process outside the tree was
    // handed the pipe, and that one is not waited for.
    let log = match copy_result.recv_timeout(GRACE) {
        Ok(log) => log,
        Err(_) => so_far(folder),
    };
    let ending = if never_began {
        // Nothing else had a chance to say anything.
        Ending::NotStarted(isolation::reason(&fs::read(self::spool(folder))?))
    } else {
        ending
    };
    Ok(Ended { ending, log })
}

enum Waited {
    Exited(io::Result<ExitStatus>),
    Overtime,
    Stop,
}

fn wait(folder: &Path, exit: &mpsc::Receiver<io::Result<ExitStatus>>, timeout: Duration) -> Waited {
    let stop = folder.join("stop");
    let mut left = timeout;
    loop {
        // The sum of the periods is a lower bound of the time that has passed: no script is cut short by a clock.
        match exit.recv_timeout(PERIOD.min(left)) {
            Ok(status) => return Waited::Exited(status),
            Err(_) if stop.exists() => return Waited::Stop,
            Err(_) => left = left.saturating_sub(PERIOD),
        }
        if left.is_zero() {
            return Waited::Overtime;
        }
    }
}

fn end_politely(
    group: Option<Pid>,
    exit: &mpsc::Receiver<io::Result<ExitStatus>>,
    ending: Ending,
) -> Ending {
    if let Some(group) = group {
        isolation::ask_to_end(group);
    }
    // Whatever it does with the time, it is over after it.
    let _ = exit.recv_timeout(GRACE);
    ending
}

fn status_of(status: ExitStatus) -> Ending {
    let small = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exited(small(code)),
        (None, signal) => Ending::Signalled(small(signal.unwrap_or(0))),
    }
}

struct Logged {
    digest: Digest,
    kept: u64,
    cut: u64,
}

/// What the spool holds at this moment, as far as it can be read.
fn so_far(folder: &Path) -> Logged {
    let mut hash = Sha256::default();
    let kept = File::open(spool(folder))
        .and_then(|mut spool| io::copy(&mut spool, &mut hash))
        .unwrap_or(0);
    Logged {
        digest: hash.finish(),
        kept,
        cut: 0,
    }
}

/// Copies the script's output to the spool up to `cap` bytes and counts the rest, so that a script is never held up.
/// A disk that takes no more is a cap reached early.
fn copy(mut output: impl io::Read, mut spool: File, cap: u64) -> Logged {
    let mut hash = Sha256::default();
    let (mut kept, mut cut, mut cap) = (0, 0, cap);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = match output.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let room = usize::try_from(cap - kept)
            .unwrap_or(usize::MAX)
            .min(length);
        if spool.write_all(&buffer[..room]).is_ok() {
            hash.update(&buffer[..room]);
            kept += room as u64;
            cut += (length - room) as u64;
        } else {
            // What was written of this piece is not counted, so it must not be read either.
            let _ = spool.set_len(kept);
            cap = kept;
            cut += length as u64;
        }
    }
    // A power cut may cost the last lines; the verdict does not rest on them.
    let _ = spool.sync_data();
    Logged {
        digest: hash.finish(),
        kept,
        cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Isolation, Network};
    use std::os::unix::fs::PermissionsExt as _;

    fn job(text: &str, timeout_ms: u64, log_cap: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(script(folder.path()), text).unwrap();
        fs::set_permissions(script(folder.path()), fs::Permissions::from_mode(0o500)).unwrap();
        let environment = BTreeMap::from([("PYBOTS_X".to_owned(), "y".to_owned())]);
        let job = Job {
            environment,
            confinement: Confinement {
                level: Isolation::Plain,
                network: Network::On,
                bubblewrap: None,
                readable: Vec::new(),
                writable: Vec::new(),
                hidden: Vec::new(),
                temporary: PathBuf::new(),
                home: PathBuf::new(),
            },
            arguments: Vec::new(),
            workspace: folder.path().to_owned(),
            timeout_ms,
            log_cap,
        };
        prepare(folder.path(), &job).unwrap();
        folder
    }

    #[test]
    fn a_disk_that_is_full_cuts_the_log_and_not_the_script() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let logged = copy(&[b'x'; 25][..], full, 1000);
        assert_eq!((logged.kept, logged.cut), (0, 25));
    }

    #[test]
    fn an_abandoned_or_begun_job_is_never_run() {
        let folder = job("#!/bin/sh\ntouch ran\n", 1000, 1000);
        assert!(try_abandon(folder.path()).unwrap());
        assert!(matches!(
            keep(folder.path(), || Timestamp(1)),
            Err(KeeperError::NotToRun(_))
        ));
        fs::remove_file(folder.path().join("abandoned")).unwrap();
        fs::write(folder.path().join("started"), "").unwrap();
        assert!(matches!(
            keep(folder.path(), || Timestamp(1)),
            Err(KeeperError::NotToRun(_))
        ));
        assert!(!folder.path().join("ran").exists());
    }

    #[test]
    fn a_job_that_a_keeper_holds_cannot_be_abandoned() {
        let folder = job("#!/bin/sh\n", 1000, 1000);
        let lock = open_lock(folder.path()).unwrap();
        lock.lock().unwrap();
        assert!(!try_abandon(folder.path()).unwrap());
    }

    #[test]
    fn output_beyond_the_cap_is_counted_and_not_kept() {
        let (output, mut input) = io::pipe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let spool = File::create(folder.path().join("spool")).unwrap();
        let copying = thread::spawn(move || copy(output, spool, 10));
        input.write_all(&[b'x'; 25]).unwrap();
        drop(input);
        let logged = copying.join().unwrap();
        assert_eq!((logged.kept, logged.cut), (10, 15));
        assert_eq!(fs::read(folder.path().join("spool")).unwrap(), [b'x'; 10]);
        assert_eq!(logged.digest, Digest(crate::trust::sha256(&[b'x'; 10])));
    }
}
