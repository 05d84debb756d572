//! Ending everything at once: keepers, their scripts, whatever those started, and the slave.
//!
//! Asks no slave and trusts no keeper to do it: what is alive is looked for in the list of processes, and looked for again
//! until nothing is found.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::run::Occupant;

/// How long the keepers have to end everything by themselves, and how often that is looked at.
const KEEPERS_PAUSES: u32 = 50;
/// How long the slave has.
const SLAVE_PAUSES: u32 = 25;
/// How long whatever was killed may take to be gone.
const KILLED_PAUSES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// One process of a slave's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Victim {
    /// Its id.
    pub process: u32,
    /// What it is.
    pub what: String,
    /// When it started, in the system's own count: ids are given again.
    started: u64,
}

/// What was alive, and what still is.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// What was ended.
    pub ended: Vec<Victim>,
    /// What could not be.
    pub alive: Vec<Victim>,
    /// Job folders in which something is at work that is not seen here.
    pub held: Vec<PathBuf>,
}

/// Ends whatever works for the slave with that state folder.
///
/// # Errors
///
/// Whatever the system says of the state folder. What could not be ended is told, and is no error.
pub fn end_everything(state: &Path) -> io::Result<Aftermath> {
    let state = fs::canonicalize(state)?;
    let jobs = state.join("jobs");
    let mut seen = of_state(&state);
    ask_keepers(&jobs)?;
    wait_until(KEEPERS_PAUSES, || {
        held(&jobs).is_empty() && of_state(&state).is_empty()
    });
    merge(&mut seen, of_state(&state));
    kill_scripts(&state);
    if let Some(slave) = slave_of(&state)? {
        signal(slave.process, Signal::SIGTERM);
        let gone = || !is_alive(&slave);
        if !wait_until(SLAVE_PAUSES, gone) {
            signal(slave.process, Signal::SIGKILL);
            wait_until(KILLED_PAUSES, gone);
        }
        merge(&mut seen, vec![slave]);
    }
    // What the slave may have started before it ended.
    ask_keepers(&jobs)?;
    merge(&mut seen, of_state(&state));
    kill_scripts(&state);
    let (alive, ended) = seen.into_iter().partition(is_alive);
    Ok(Aftermath {
        ended,
        alive,
        held: held(&jobs),
    })
}

fn merge(seen: &mut Vec<Victim>, more: Vec<Victim>) {
    for victim in more {
        if !seen.contains(&victim) {
            seen.push(victim);
        }
    }
}

/// Whether it came true before the time was over.
fn wait_until(pauses: u32, is_so: impl Fn() -> bool) -> bool {
    for _ in 0..pauses {
        if is_so() {
            return true;
        }
        thread::sleep(PAUSE);
    }
    is_so()
}

/// Tells every keeper to kill its script without grace.
fn ask_keepers(jobs: &Path) -> io::Result<()> {
    for folder in folders(jobs) {
        // In one step: a keeper that finds the file finds the word in it.
        let mut draft = match tempfile::NamedTempFile::new_in(&folder) {
            Ok(draft) => draft,
            // The slave has removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        draft.write_all(b"now")?;
        // On a disk that is full or gone, too, the rest is killed.
        let _ = draft.persist(folder.join("stop"));
    }
    Ok(())
}

/// The job folders that a keeper holds.
fn held(jobs: &Path) -> Vec<PathBuf> {
    let is_held = |folder: &PathBuf| {
        File::open(folder.join("lock"))
            .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    };
    folders(jobs).into_iter().filter(is_held).collect()
}

fn folders(jobs: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(jobs).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Kills keepers and whatever they started. A keeper takes in what its script leaves behind, so it is frozen until nothing
/// else is left: killed first, it would let go of that.
fn kill_scripts(state: &Path) {
    for keeper in of_state(state).iter().filter(|victim| is_keeper(victim)) {
        signal(keeper.process, Signal::SIGSTOP);
    }
    for last in [false, true] {
        wait_until(KILLED_PAUSES, || {
            let mut victims = of_state(state);
            victims.retain(|victim| last || !is_keeper(victim));
            for victim in &victims {
                signal(victim.process, Signal::SIGKILL);
            }
            victims.is_empty()
        });
    }
}

const KEEPER: &str = "keeper";

fn is_keeper(victim: &Victim) -> bool {
    victim.what == KEEPER
}

fn signal(process: u32, signal: Signal) {
    if let Ok(process) = i32::try_from(process) {
        // It may be gone already.
        let _ = kill(Pid::from_raw(process), signal);
    }
}

/// The slave's own process, if it is one that takes commands.
fn slave_of(state: &Path) -> io::Result<Option<Victim>> {
    let Occupant::Process(process) = Occupant::of(state)? else {
        return Ok(None);
    };
    let arguments = arguments(process);
    let has = |word: &[u8]| arguments.iter().any(|argument| argument == word);
    if !has(b"slave") || !has(b"run") {
        return Ok(None);
    }
    Ok(Stat::of(process).map(|stat| Victim {
        process,
        what: "slave".to_owned(),
        started: stat.started,
    }))
}

/// The keepers of a slave with that state folder, what descends from them, and what has their environment.
fn of_state(state: &Path) -> Vec<Victim> {
    let jobs = state.join("jobs");
    let processes: Vec<(u32, Stat)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|process| Some((process, Stat::of(process)?)))
        .filter(|(_, stat)| !stat.is_dead)
        .collect();
    let mut found: Vec<Victim> = Vec::new();
    for (process, stat) in &processes {
        let what = if keeps_below(*process, &jobs) {
            KEEPER.to_owned()
        } else if works_below(*process, state) {
            stat.name.clone()
        } else {
            continue;
        };
        found.push(stat.victim(*process, what));
    }
    let mut at = 0;
    while let Some(parent) = found.get(at).map(|victim| victim.process) {
        for (process, stat) in &processes {
            if stat.parent == parent && !found.iter().any(|victim| victim.process == *process) {
                found.push(stat.victim(*process, stat.name.clone()));
            }
        }
        at += 1;
    }
    // An owner who looks at a workspace in a shell of that environment is not to lose it over that.
    let own = ancestors(&processes);
    found.retain(|victim| !own.contains(&victim.process));
    found
}

fn ancestors(processes: &[(u32, Stat)]) -> Vec<u32> {
    let mut own = vec![std::process::id()];
    while let Some(parent) = own
        .last()
        .and_then(|last| processes.iter().find(|(process, _)| process == last))
        .map(|(_, stat)| stat.parent)
        .filter(|parent| !own.contains(parent))
    {
        own.push(parent);
    }
    own
}

/// Whether a process is our own program as the keeper of a job in that folder.
fn keeps_below(process: u32, jobs: &Path) -> bool {
    let arguments = arguments(process);
    let mut after = arguments
        .iter()
        .skip_while(|word| *word != KEEPER.as_bytes());
    after.next().is_some() && after.any(|word| is_below(word, jobs))
}

/// Whether a process has the environment of a script whose workspace lies in that state folder.
fn works_below(process: u32, state: &Path) -> bool {
    let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .filter_map(|variable| variable.strip_prefix(b"PYBOTS_WORKSPACE="))
        .any(|workspace| is_below(workspace, state))
}

fn is_below(path: &[u8], folder: &Path) -> bool {
    Path::new(std::ffi::OsStr::from_bytes(path)).starts_with(folder)
}

fn arguments(process: u32) -> Vec<Vec<u8>> {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

fn is_alive(victim: &Victim) -> bool {
    Stat::of(victim.process).is_some_and(|stat| !stat.is_dead && stat.started == victim.started)
}

/// What the system tells of a process.
struct Stat {
    name: String,
    parent: u32,
    started: u64,
    /// Only its parent has not taken note yet.
    is_dead: bool,
}

impl Stat {
    fn of(process: u32) -> Option<Self> {
        let text = fs::read(format!("/proc/{process}/stat")).ok()?;
        let text = String::from_utf8_lossy(&text);
        // The name may hold anything, brackets too.
        let (before, after) = text.rsplit_once(')')?;
        let name = before.split_once('(')?.1;
        let fields: Vec<&str> = after.split_whitespace().collect();
        Some(Self {
            name: name.chars().filter(|c| !c.is_control()).collect(),
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            is_dead: matches!(*fields.first()?, "Z" | "X"),
        })
    }

    fn victim(&self, process: u32, what: String) -> Victim {
        Victim {
            process,
            what,
            started: self.started,
        }
    }
}
