//! Ending everything at once: keepers, their scripts, whatever those started, and the slave.
//!
//! Asks no slave and trusts no keeper to do it: what is alive is looked for in the list of processes, and looked for again
//! until nothing is found.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::keeper;
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
    let state = Named::of(state)?;
    let state = &state;
    let mut seen = of_state(state);
    ask_keepers(state)?;
    wait_until(KEEPERS_PAUSES, || {
        held(state).is_empty() && of_state(state).is_empty()
    });
    merge(&mut seen, of_state(state));
    kill_scripts(state);
    if let Some(slave) = slave_of(&state.real)? {
        signal(slave.process, Signal::SIGTERM);
        let gone = || !is_alive(&slave);
        if !wait_until(SLAVE_PAUSES, gone) {
            signal(slave.process, Signal::SIGKILL);
            wait_until(KILLED_PAUSES, gone);
        }
        merge(&mut seen, vec![slave]);
    }
    // What the slave may have started before it ended.
    ask_keepers(state)?;
    merge(&mut seen, of_state(state));
    kill_scripts(state);
    let (alive, ended) = seen.into_iter().partition(is_alive);
    Ok(Aftermath {
        ended,
        alive,
        held: held(state),
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
fn ask_keepers(state: &Named) -> io::Result<()> {
    for folder in state.job_folders() {
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
fn held(state: &Named) -> Vec<PathBuf> {
    let mut folders = state.job_folders();
    folders.retain(|folder| keeper::is_held(folder));
    folders
}

/// A state folder by the name that its owner gives it, which is what its processes know, and by its real one.
struct Named {
    given: PathBuf,
    real: PathBuf,
}

impl Named {
    fn of(state: &Path) -> io::Result<Self> {
        Ok(Self {
            given: std::path::absolute(state)?,
            real: fs::canonicalize(state)?,
        })
    }

    fn holds(&self, path: &[u8]) -> bool {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        path.starts_with(&self.given) || path.starts_with(&self.real)
    }

    /// Of builds, and of a rehearsal.
    fn job_folders(&self) -> Vec<PathBuf> {
        ["jobs", "rehearsal/jobs"]
            .iter()
            .flat_map(|jobs| fs::read_dir(self.real.join(jobs)).into_iter().flatten())
            .flatten()
            .map(|entry| entry.path())
            .collect()
    }
}

/// Kills keepers and whatever they started. A keeper takes in what its script leaves behind, so it is frozen until nothing
/// else is left: killed first, it would let go of that.
fn kill_scripts(state: &Named) {
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
fn of_state(state: &Named) -> Vec<Victim> {
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
        let what = if keeps_below(*process, state) {
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

/// Whether a process is our own program as the keeper of a job below that folder.
fn keeps_below(process: u32, state: &Named) -> bool {
    let arguments = arguments(process);
    let mut after = arguments
        .iter()
        .skip_while(|word| *word != KEEPER.as_bytes());
    after.next().is_some() && after.any(|word| state.holds(word))
}

/// Whether a process has the environment of a script whose workspace lies in that state folder.
fn works_below(process: u32, state: &Named) -> bool {
    let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .filter_map(|variable| variable.strip_prefix(b"PYBOTS_WORKSPACE="))
        .any(|workspace| state.holds(workspace))
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
