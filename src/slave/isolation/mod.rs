//! Keeping a script apart from the rest of the machine. The one place that may differ between operating systems.
//!
//! What a machine can do is found out once ([`Abilities::probe`]); the gate chooses among that by its owner's settings; the
//! keeper starts the script so ([`Confinement::spawn`]) and ends whatever it started ([`tree`]).

mod cgroup;
mod descriptors;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod namespaces;
#[cfg(target_os = "linux")]
mod plan;
mod tree;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::{User, geteuid};

pub(super) use cgroup::JobGroup;
pub use cgroup::counted_below;
pub use descriptors::close_inherited;
pub(super) use tree::{
    Usage, ask_to_end, boot, end_tree, fair_memory, offer_to_the_oom_killer, stand_apart, usage,
};

use super::config::{IsolationSettings, NetworkRule};
use crate::model::{Isolation, Network};

/// What this machine can do to keep a script apart, and why not more.
#[derive(Clone, Debug)]
pub struct Abilities {
    /// The bubblewrap that makes namespaces; or why they cannot be had.
    pub namespaces: Result<PathBuf, String>,
    /// The version of Landlock's interface; or why it cannot be had.
    pub landlock: Result<u32, String>,
}

/// Why a script is not run here: the machine cannot keep it apart as its owner demands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Weaker {
    /// The level.
    #[error("this machine reaches the isolation level {reached}, and its owner demands {demanded}", reached = reached.word(), demanded = demanded.word())]
    Level {
        /// What can be had.
        reached: Isolation,
        /// What is demanded.
        demanded: Isolation,
    },
    /// The network.
    #[error("its owner wants it kept off the network, which the isolation level {reached} cannot do", reached = reached.word())]
    Network {
        /// What can be had.
        reached: Isolation,
    },
}

impl Abilities {
    /// Finds out what can be had here, by trying it; bubblewrap is looked for on `path`, the variable's value.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn probe(path: &OsStr) -> Self {
        Self {
            namespaces: namespaces::find(path).and_then(namespaces::probe),
            landlock: landlock::probe(),
        }
    }

    /// Finds out what can be had here.
    #[cfg(not(target_os = "linux"))]
    #[must_use]
    pub fn probe(_: &OsStr) -> Self {
        let why = || Err("there is no such thing on this system".to_owned());
        Self {
            namespaces: why(),
            landlock: why(),
        }
    }

    /// A machine that can do nothing.
    #[must_use]
    pub fn none() -> Self {
        Self {
            namespaces: Err("not looked for".to_owned()),
            landlock: Err("not looked for".to_owned()),
        }
    }

    /// The strongest level that can be had.
    #[must_use]
    pub fn best(&self) -> Isolation {
        match (&self.namespaces, &self.landlock) {
            (Ok(_), _) => Isolation::Namespaces,
            (Err(_), Ok(_)) => Isolation::Landlock,
            (Err(_), Err(_)) => Isolation::Plain,
        }
    }

    fn has(&self, level: Isolation) -> bool {
        match level {
            Isolation::Plain => true,
            Isolation::Landlock => self.landlock.is_ok(),
            Isolation::Namespaces => self.namespaces.is_ok(),
        }
    }

    /// How a script is kept apart whose owner has these settings, and says this of its network.
    ///
    /// # Errors
    ///
    /// [`Weaker`] if that cannot be had; then it is not to be run.
    pub fn reach(
        &self,
        settings: &IsolationSettings,
        network: Option<NetworkRule>,
    ) -> Result<(Isolation, Network), Weaker> {
        let best = self.best();
        let level = match settings.level.only() {
            Some(only) if self.has(only) => only,
            Some(only) => {
                return Err(Weaker::Level {
                    reached: best,
                    demanded: only,
                });
            }
            None => best,
        };
        if level < settings.minimum {
            return Err(Weaker::Level {
                reached: level,
                demanded: settings.minimum,
            });
        }
        let without = self.least_network(level);
        match network {
            Some(NetworkRule::On) => Ok((level, Network::On)),
            Some(NetworkRule::Off) if without > Network::Off => {
                Err(Weaker::Network { reached: level })
            }
            Some(NetworkRule::Off) | None => Ok((level, without)),
        }
    }

    /// The least of the network that a script can be left with.
    fn least_network(&self, level: Isolation) -> Network {
        /// The first version of Landlock's interface that knows of TCP.
        const TCP: u32 = 4;
        match level {
            Isolation::Plain => Network::On,
            Isolation::Landlock if self.landlock.as_ref().is_ok_and(|version| *version >= TCP) => {
                Network::NoTcp
            }
            Isolation::Landlock => Network::On,
            Isolation::Namespaces => Network::Off,
        }
    }
}

/// Whether what lies beside a script in `folder` is shown to it. Not where that would show its owner's whole home, or what
/// strangers put into `/tmp`.
#[must_use]
pub fn shows_siblings(folder: &Path) -> bool {
    const SHARED: [&str; 3] = ["/", "/tmp", "/var/tmp"];
    let home = User::from_uid(geteuid()).ok().flatten();
    let home = home.map(|user| user.dir);
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = real(folder);
    !SHARED
        .iter()
        .any(|shared| folder == real(Path::new(shared)))
        && !home.is_some_and(|home| real(&home).starts_with(&folder))
}

/// How one script is kept apart. The slave writes it down; the keeper does it.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Confinement {
    pub(super) level: Isolation,
    pub(super) network: Network,
    /// Where bubblewrap is, if namespaces can be had.
    pub(super) bubblewrap: Option<PathBuf>,
    /// What the script may read besides the system: its own folder, secrets, what its owner lists.
    pub(super) readable: Vec<PathBuf>,
    /// What it may write: workspace, cache, reports, what its owner lists.
    pub(super) writable: Vec<PathBuf>,
    /// What it must not see, whatever folder above it is readable or writable: the slave's state. What is in `writable` and
    /// lies below it is seen all the same.
    pub(super) hidden: Vec<PathBuf>,
    /// Those that are its own, whose disk counts.
    pub(super) own: Vec<PathBuf>,
    /// The one that other builds have filled too; only what it grows by counts.
    pub(super) cache: PathBuf,
    /// An empty folder on disk for what it puts into `/tmp` and `/var/tmp`.
    pub(super) temporary: PathBuf,
    /// An empty folder on disk that is its home, where its owner's environment has a `HOME`.
    pub(super) home: PathBuf,
}

/// A script to be started.
pub(super) struct Program<'a> {
    pub(super) script: &'a Path,
    pub(super) arguments: &'a [String],
    /// Its whole environment.
    pub(super) environment: &'a BTreeMap<String, String>,
    /// Its working folder.
    pub(super) folder: &'a Path,
}

/// A script that was started.
pub(super) struct Started {
    /// The process to wait for. Once it has ended the script has too; what the script left may not have.
    pub(super) child: Child,
    pub(super) around: Around,
}

/// What stands around a script that was started, and may fail before the script is there.
#[derive(Default)]
pub(super) struct Around {
    #[cfg(target_os = "linux")]
    setup: Option<namespaces::Setup>,
}

impl Around {
    /// Whether the child, which has exited and was not killed, did so before the script began: what stands around it could
    /// not be set up.
    pub(super) fn never_began(&mut self) -> bool {
        #[cfg(target_os = "linux")]
        if let Some(setup) = &mut self.setup {
            return setup.failed();
        }
        false
    }
}

/// Why a script never began, from `said`, all that came out in its place.
pub(super) fn reason(said: &[u8]) -> String {
    #[cfg(target_os = "linux")]
    return namespaces::reason(said);
    #[cfg(not(target_os = "linux"))]
    String::from_utf8_lossy(said).into_owned()
}

impl Confinement {
    /// Starts a script in a process group of its own, with its output going to `output`. To be called while the process has
    /// only one thread.
    ///
    /// # Errors
    ///
    /// Whatever the system says; then nothing was started.
    pub(super) fn spawn(
        &self,
        program: &Program<'_>,
        output: io::PipeWriter,
    ) -> io::Result<Started> {
        match self.level {
            Isolation::Plain => start(program, program.environment, output),
            #[cfg(target_os = "linux")]
            Isolation::Landlock => self.spawn_under_landlock(program, output),
            #[cfg(target_os = "linux")]
            Isolation::Namespaces => self.spawn_in_namespaces(program, output),
            #[cfg(not(target_os = "linux"))]
            Isolation::Landlock | Isolation::Namespaces => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Starts it with nothing around it. No shell, nothing of the slave's environment.
fn start(
    program: &Program<'_>,
    environment: &BTreeMap<String, String>,
    output: io::PipeWriter,
) -> io::Result<Started> {
    let child = Command::new(program.script)
        .args(program.arguments)
        .env_clear()
        .envs(environment)
        .current_dir(program.folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()?;
    Ok(Started {
        child,
        around: Around::default(),
    })
}
