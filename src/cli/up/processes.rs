//! The farm's processes, each under a supervisor that ends it when we are gone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use tokio::process::{Child, ChildStdin, Command};

use crate::cli::exit::{Exit, Failure};
use crate::cli::files;

/// A process of the farm.
pub(super) struct Process {
    name: &'static str,
    log: PathBuf,
    supervisor: Child,
    /// Open for as long as the process shall live. Held apart from the child, whose `wait` would close it.
    life: Option<ChildStdin>,
}

impl Process {
    /// Starts `program` and writes what it says to `<logs>/<name>.log`.
    pub(super) fn start(
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
    pub(super) async fn died(&mut self) -> Failure {
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
    pub(super) async fn stop(mut self) {
        drop(self.life.take());
        let _ = self.supervisor.wait().await;
    }
}
