//! Keeping a script apart from the rest of the machine. The one place that may differ between operating systems.
//!
//! What a machine can do is found out once ([`Abilities::probe`]); the gate chooses among that by its owner's settings; the
//! keeper starts the script so ([`Confinement::spawn`]) and ends whatever it started ([`tree`]).

mod tree;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(super) use tree::{
    Usage, ask_to_end, boot, end_tree, fair_memory, offer_to_the_oom_killer, stand_apart, usage,
};

use super::config::{IsolationSettings, NetworkRule};
use crate::model::{Isolation, Network};

/// What this machine can do to keep a script apart, and why not more.
#[derive(Clone, Debug)]
pub struct Abilities {
    /// Namespaces by bubblewrap; or why they cannot be had.
    pub namespaces: Result<(), String>,
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
    /// Finds out what can be had here, by trying it.
    #[must_use]
    pub fn probe() -> Self {
        Self::none()
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
            (Ok(()), _) => Isolation::Namespaces,
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

/// How one script is kept apart. The slave writes it down; the keeper does it.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Confinement {
    pub(super) level: Isolation,
    pub(super) network: Network,
    /// What the script may read besides the system: its own folder, secrets, what its owner lists.
    pub(super) readable: Vec<PathBuf>,
    /// What it may write: workspace, cache, reports, what its owner lists.
    pub(super) writable: Vec<PathBuf>,
    /// What it must not see, whatever folder above it is readable or writable: the slave's state. What is in `writable` and
    /// lies below it is seen all the same.
    pub(super) hidden: Vec<PathBuf>,
    /// Those that are its own, whose disk counts.
    pub(super) own: Vec<PathBuf>,
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

impl Confinement {
    /// Starts a script in a process group of its own, with its output going to `output`.
    ///
    /// # Errors
    ///
    /// Whatever the system says; then nothing was started.
    pub(super) fn spawn(&self, program: &Program<'_>, output: io::PipeWriter) -> io::Result<Child> {
        if self.level > Isolation::Plain {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // No shell, nothing of the slave's environment.
        Command::new(program.script)
            .args(program.arguments)
            .env_clear()
            .envs(program.environment)
            .current_dir(program.folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
    }
}
