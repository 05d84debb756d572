//! Assembles the parts into a program: the only reader of arguments, environment and clock, and the only one that prints.

mod build;
mod clock;
mod doctor;
mod exit;
mod explain;
mod farm_file;
mod files;
mod hooks;
mod keyrings;
mod keys;
mod logging;
mod master;
mod notify;
mod passphrase;
mod requester_file;
mod series;
mod slave;
mod status;
mod supervise;
mod telemetry;
mod up;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::Exit;
use exit::Failure;

/// A community build farm: volunteers' machines test projects against every check-in to Python trunk.
#[derive(Debug, Parser)]
#[command(name = "pybots", version, max_term_width = 100, after_help = exit::HELP)]
struct Arguments {
    /// How to write what a long-running process logs (on standard error).
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    log_format: logging::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole farm on this machine: bus, master, slave, a sample trunk and two projects.
    Up(up::Arguments),
    /// See how things stand: the board, the reports as they come, or the status page.
    Status(status::Arguments),
    /// Look for what is wrong on this machine, and say what to do about it. Changes nothing.
    ///
    /// Without options it looks at the slave.toml, master.toml and farm.toml in this folder; if there is none, at the
    /// farm of `$PYBOTS_FARM`, or the one that `pybots up` runs. With any of --slave, --master and --farm it looks at those
    /// files alone. Either way it looks at this machine too.
    Doctor(doctor::Arguments),
    /// List builds; look at one, its steps and its log; check who said what of it; ask for one.
    #[command(subcommand)]
    Build(build::Command),
    /// Lend this machine to a farm, within limits that are yours.
    #[command(subcommand)]
    Slave(slave::Command),
    /// Run a farm.
    #[command(subcommand)]
    Master(master::Command),
    /// Hear from GitHub, Forgejo, Gitea or GitLab that somebody pushed. A process of its own, with no key of the farm.
    #[command(subcommand)]
    Hooks(hooks::Command),
    /// Make and look at the farm's keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Take any message apart, layer by layer, and say the first rule that it breaks.
    #[command(after_help = explain::AFTER_HELP)]
    Explain(explain::Arguments),
    /// Do one prepared job; what a slave starts for each step.
    #[command(hide = true)]
    Keeper {
        /// The job's folder.
        folder: PathBuf,
    },
    /// Run a program for as long as standard input stays open; what `up` starts its processes with.
    #[command(hide = true)]
    Supervise(supervise::Arguments),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let done = match job_to_keep() {
        // Before all else: a script waits for it.
        Some(folder) => keep(&folder),
        None => run(Arguments::parse()),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

/// The folder of the job that this process is to do, if a slave has started it for that.
fn job_to_keep() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    let is_keeper = arguments.next()? == "keeper";
    let folder = PathBuf::from(arguments.next()?);
    (is_keeper && folder.is_absolute() && arguments.next().is_none()).then_some(folder)
}

fn keep(folder: &Path) -> Result<Exit, Failure> {
    crate::slave::close_inherited();
    crate::slave::keep(folder, clock::now, clock::uptime)
        .map(|()| Exit::Ok)
        .map_err(Failure::error)
}

fn run(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.command {
        // No runtime for these two: they are as small as they can be, and there is one of them per running step.
        Command::Keeper { folder } => keep(&folder),
        Command::Supervise(arguments) => supervise::run(&arguments),
        Command::Keys(command) => on_runtime(keys::run(command)),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Up(command) => on_runtime(up::run(command)),
        Command::Status(command) => {
            if command.is_service() {
                logging::start(arguments.log_format);
            }
            on_runtime(status::run(command))
        }
        Command::Build(command) => on_runtime(build::run(command)),
        Command::Slave(command) => {
            logging::start(arguments.log_format);
            on_runtime(slave::run(command))
        }
        Command::Master(command) => {
            if command.is_service() {
                logging::start(arguments.log_format);
            }
            on_runtime(master::run(command))
        }
        Command::Hooks(command) => {
            logging::start(arguments.log_format);
            on_runtime(hooks::run(command))
        }
    }
}

/// One thread: a slave shall weigh little, and nothing here computes for long.
fn on_runtime(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::error)?
        .block_on(work)
}

/// Completes when somebody wants the process to stop: Ctrl-C or SIGTERM.
async fn stop_signal() {
    let Ok(mut terminate) =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
    else {
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
