//! Runs a program for as long as standard input stays open.
//!
//! `up` starts everything this way: the system closes the pipe when `up` ends, however it ends, so nothing is left behind.

use std::io::{self, Read as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::exit::{Exit, Failure};

/// How long the program has to end after it was asked to.
const GRACE: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
    program: Vec<String>,
}

enum Event {
    InputClosed,
    Ended(io::Result<std::process::ExitStatus>),
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (name, rest) = arguments
        .program
        .split_first()
        .ok_or_else(|| Failure::message(Exit::Usage, "no program"))?;
    let mut child = Command::new(name).args(rest).stdin(Stdio::null()).spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(Failure::error)?);
    let (events, happened) = mpsc::channel();
    let closed = events.clone();
    thread::spawn(move || {
        // Nothing is ever written to it; reading ends when it is closed.
        let _ = io::copy(&mut io::stdin().take(u64::MAX), &mut io::sink());
        closed.send(Event::InputClosed)
    });
    thread::spawn(move || events.send(Event::Ended(child.wait())));
    loop {
        match happened.recv() {
            Ok(Event::Ended(status)) => {
                // It has said itself what was wrong; its exit code says the rest.
                return Ok(status?.code().map_or(Exit::Error, Exit::of_code));
            }
            Ok(Event::InputClosed) => {
                // The program may be gone already; its end is then the next event. Like Ctrl-C: a slave stops its builds then.
                let _ = kill(pid, Signal::SIGINT);
                thread::spawn(move || {
                    thread::sleep(GRACE);
                    let _ = kill(pid, Signal::SIGKILL);
                });
            }
            Err(_) => return Ok(Exit::Ok),
        }
    }
}
