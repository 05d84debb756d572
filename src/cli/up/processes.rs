//! The farm's processes, each under a supervisor that ends it when we are gone.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, ChildStdin, Command};

use super::farm::Farm;
use crate::bus::{Bus, Patience};
use crate::cli::exit::{Exit, Failure};
use crate::cli::files;
use crate::cli::master::Checked;
use crate::status::{ViewError, Viewer};

/// A process of the farm.
struct Process {
    name: &'static str,
    log: PathBuf,
    supervisor: Child,
    /// Open for as long as the process shall live. Held apart from the child, whose `wait` would close it.
    life: Option<ChildStdin>,
}

impl Process {
    /// Starts `program` and writes what it says to `<logs>/<name>.log`.
    fn start(
        name: &'static str,
        program: &Path,
        arguments: &[&str],
        logs: &Path,
    ) -> Result<Self, Failure> {
        let log = logs.join(format!("{name}.log"));
        let start = || -> anyhow::Result<Child> {
            let output = File::options().create(true).append(true).open(&log)?;
            let child = Command::new(
                files::program().map_err(|_| anyhow::anyhow!("own program not found"))?,
            )
            .arg("supervise")
            .arg("--")
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A Ctrl-C at the terminal is for us; we then end the processes in order.
            .process_group(0)
            .spawn()?;
            Ok(child)
        };
        let mut supervisor = start()
            .with_context(|| format!("cannot start {name}"))
            .map_err(Failure::error)?;
        let life = supervisor.stdin.take();
        Ok(Self {
            name,
            log,
            supervisor,
            life,
        })
    }

    /// Waits until the process ends by itself, which it should not.
    async fn died(&mut self) -> Failure {
        let status = self.supervisor.wait().await;
        let exit = status
            .ok()
            .and_then(|status| status.code())
            .map_or(Exit::Error, Exit::of_code);
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        // An error that a process ends with may be followed by lines of advice.
        let lines = || said.lines().rev().filter(|line| !line.trim().is_empty());
        let last = lines()
            .find(|line| line.starts_with("error: "))
            .or_else(|| lines().next())
            .unwrap_or("nothing");
        let message = format!(
            "{} ended by itself; its last words: {}",
            self.name,
            last.trim_start_matches("error: ")
        );
        let exit = if exit == Exit::Ok { Exit::Error } else { exit };
        Failure::message(exit, message)
            .advice(format!("All of them are in {}.", self.log.display()))
    }

    /// Asks the process to end and waits until it has.
    async fn stop(mut self) {
        drop(self.life.take());
        let _ = self.supervisor.wait().await;
    }
}

/// The farm's processes.
pub(super) struct Running {
    bus: Process,
    master: Process,
    slave: Process,
    page: Process,
    /// Where the status page is.
    pub(super) page_address: SocketAddr,
}

impl Running {
    pub(super) async fn start(farm: &Farm, server: &Path) -> Result<Self, Failure> {
        let place = |name: &str| farm.folder.join(name).to_string_lossy().into_owned();
        let logs = farm.folder.join("logs");
        let own = files::program()?;
        let mut bus = Process::start(
            "bus",
            server,
            &["-c", &place("bus/nats-server.conf")],
            &logs,
        )?;
        let config = farm.folder.join("master/master.toml");
        let approval = async {
            first_sight(farm).await?;
            Checked::load(&config)?
                .approve(&farm.application, "you")
                .await
        };
        tokio::select! {
            approved = approval => approved?,
            failure = bus.died() => return Err(failure),
        };
        let mut master = Process::start(
            "master",
            &own,
            &["master", "run", "--config", &place("master/master.toml")],
            &logs,
        )?;
        let slave = Process::start(
            "slave",
            &own,
            &["slave", "run", "--config", &place("slave/slave.toml")],
            &logs,
        )?;
        // There is nothing to show before the master has published the farm's keyring.
        tokio::select! {
            looked = first_look(farm) => looked?,
            failure = bus.died() => return Err(failure),
            failure = master.died() => return Err(failure),
        };
        let page_address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let page = Process::start(
            "page",
            &own,
            &[
                "status",
                "serve",
                "--farm",
                &place("farm.toml"),
                "--store",
                &place("page/history.sqlite"),
                "--listen",
                &page_address.to_string(),
            ],
            &logs,
        )?;
        Ok(Self {
            bus,
            master,
            slave,
            page,
            page_address,
        })
    }

    pub(super) async fn any_died(&mut self) -> Failure {
        tokio::select! {
            failure = self.bus.died() => failure,
            failure = self.master.died() => failure,
            failure = self.slave.died() => failure,
            failure = self.page.died() => failure,
        }
    }

    /// The slave before master and bus, so that it can still say what becomes of its builds.
    pub(super) async fn stop(self) {
        self.page.stop().await;
        self.slave.stop().await;
        self.master.stop().await;
        self.bus.stop().await;
    }
}

/// Connects as a viewer as soon as the server answers.
async fn first_sight(farm: &Farm) -> Result<Bus, Failure> {
    let mut last = None;
    for _ in 0..200 {
        match farm.file.connect(Patience::Brief).await {
            Ok(bus) => return Ok(bus),
            Err(failure) => last = Some(failure),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(last.unwrap_or_else(|| Failure::message(Exit::Unreachable, "the bus does not answer")))
}

/// Begins to view as soon as the master has published the keyring.
pub(super) async fn first_look(farm: &Farm) -> Result<Viewer, Failure> {
    let bus = first_sight(farm).await?;
    loop {
        match Viewer::new(bus.clone(), farm.file.farm).await {
            Ok(viewer) => return Ok(viewer),
            Err(ViewError::NoKeyring(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(Failure::error(error)),
        }
    }
}
