//! The keeper: the first process of each step, our own binary executed again.
//!
//! It owns the script's pipe, writes what comes out of it to a spool on disk, ends the whole process tree, and leaves an
//! exit record. It has no runtime, no network and no keys, and it outlives the slave. This page is the folder that the two
//! share: slave and keeper decide under one exclusive lock on it, and a folder that is marked as abandoned, or in which a
//! script was started before, is never run.

mod keep;
mod spool;
mod watch;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;

use tokio::sync::oneshot;

pub use keep::{KeeperError, keep};
pub(super) use watch::Allowance;

use super::isolation::Confinement;
use crate::model::{Counted, Digest, Limit, Timestamp};

/// What the keeper is to do, as the slave wrote it.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Job {
    /// The script's digest, and the one that its owner recorded.
    pub(super) script: Digest,
    pub(super) mapped: Option<Digest>,
    /// How the script is kept apart.
    pub(super) confinement: Confinement,
    /// What stands on its command line.
    pub(super) arguments: Vec<String>,
    /// Its whole environment.
    pub(super) environment: BTreeMap<String, String>,
    /// Its working folder.
    pub(super) workspace: PathBuf,
    /// What it may use.
    pub(super) allowance: Allowance,
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
    pub(super) peak_processes: Option<u32>,
    pub(super) counted: Counted,
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
    Over(Limit),
    Stopped,
    NotStarted(String),
}

/// How far a job has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// No keeper holds it and none ever started its script.
    Waiting,
    /// A keeper holds it.
    Running,
    /// Its script has ended.
    Ended(ExitRecord),
    /// Its script was started, and its keeper is gone without a record: killed, or out of disk.
    Broken,
}

/// How soon a script is to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Haste {
    /// After it was asked to, and had time for it.
    Polite,
    /// At once.
    Now,
}

impl Haste {
    fn word(self) -> &'static str {
        match self {
            Self::Polite => "",
            Self::Now => "now",
        }
    }
}

pub(super) fn spool(folder: &Path) -> PathBuf {
    folder.join("spool")
}

pub(super) fn script(folder: &Path) -> PathBuf {
    folder.join("script")
}

fn started(folder: &Path) -> PathBuf {
    folder.join("started")
}

fn abandoned(folder: &Path) -> PathBuf {
    folder.join("abandoned")
}

/// Writes down what a keeper is to do in `folder`.
pub(super) fn prepare(folder: &Path, job: &Job) -> io::Result<()> {
    write_whole(folder, "job.json", &serde_json::to_vec(job)?)
}

/// What was written down there.
pub(super) fn read_job(folder: &Path) -> io::Result<Job> {
    Ok(serde_json::from_slice(&fs::read(folder.join("job.json"))?)?)
}

/// When the script in `folder` was started, if it was.
pub(super) fn started_at(folder: &Path) -> Option<Timestamp> {
    let text = fs::read_to_string(started(folder)).ok()?;
    text.trim().parse().ok().map(Timestamp)
}

/// How far the job in `folder` has come.
pub(super) fn stage(folder: &Path) -> io::Result<Stage> {
    let lock = open_lock(folder)?;
    if lock.try_lock().is_err() {
        return Ok(Stage::Running);
    }
    if let Ok(json) = fs::read(folder.join("exit.json")) {
        return Ok(Stage::Ended(serde_json::from_slice(&json)?));
    }
    Ok(if started(folder).exists() {
        Stage::Broken
    } else {
        Stage::Waiting
    })
}

/// Completes when no keeper holds the job in `folder` any more, however it ended, and whoever started it.
pub(super) fn ended(folder: &Path) -> io::Result<oneshot::Receiver<()>> {
    let lock = open_lock(folder)?;
    let (sender, ended) = oneshot::channel();
    // A thread of its own, because nothing but a blocking call hears at once of a lock that is free.
    thread::Builder::new()
        .name("keeper".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || {
            // A child's end, which is signalled, may interrupt it.
            while lock
                .lock()
                .is_err_and(|error| error.kind() == io::ErrorKind::Interrupted)
            {}
            drop(lock);
            // Nobody may be waiting any more.
            let _ = sender.send(());
        })?;
    Ok(ended)
}

/// Asks the keeper in `folder` to end its script. Whoever wanted it sooner gets his way.
pub(super) fn request_stop(folder: &Path, haste: Haste) -> io::Result<()> {
    if stop_requested(folder) == Some(Haste::Now) {
        return Ok(());
    }
    write_whole(folder, "stop", haste.word().as_bytes())
}

/// Whether the keeper in `folder` is to end its script.
fn stop_requested(folder: &Path) -> Option<Haste> {
    let text = fs::read_to_string(folder.join("stop")).ok()?;
    Some(if text == Haste::Now.word() {
        Haste::Now
    } else {
        Haste::Polite
    })
}

/// Marks the job in `folder` as abandoned once no keeper holds it, so that none ever runs it again. False while one does.
pub(super) fn try_abandon(folder: &Path) -> io::Result<bool> {
    let lock = open_lock(folder)?;
    if lock.try_lock().is_err() {
        return Ok(false);
    }
    fs::write(abandoned(folder), "")?;
    Ok(true)
}

/// Whether a keeper holds the job in `folder`. Holds its lock for a moment at most, and writes nothing.
pub(super) fn is_held(folder: &Path) -> bool {
    File::open(folder.join("lock"))
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn open_lock(folder: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("lock"))
}

/// Writes a file so that whoever reads it sees all of it or nothing.
fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{name}.new"));
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    fs::rename(draft, folder.join(name))
}
