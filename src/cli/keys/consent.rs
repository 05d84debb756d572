//! Asking before a ceremony: a word has to be typed, and not just any key pressed.

use std::io::{IsTerminal as _, Write as _};

use crate::cli::exit::{Exit, Failure, say};
use crate::model::Position;

/// How a ceremony is gone through with.
#[derive(Debug, clap::Args)]
pub(super) struct Answers {
    /// Show what would change and for whom; make, sign and send nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// The answer, given beforehand: the position of the new keyring, such as 1.0. For scripts that know what they do.
    #[arg(long, value_name = "POSITION")]
    pub(super) confirm: Option<String>,
}

/// Waits for somebody to type `wanted`. Without a terminal the answer is a line of standard input.
pub(super) fn ask(
    wanted: &str,
    given: Option<&str>,
    not_done: &'static str,
) -> Result<(), Failure> {
    let answer = match given {
        Some(given) => given.to_owned(),
        None => read_line(wanted)?,
    };
    if answer.trim() == wanted {
        return Ok(());
    }
    let message = if answer.is_empty() {
        format!("no answer came, where {wanted} was wanted")
    } else {
        format!("the answer was not {wanted}")
    };
    Err(Failure::message(Exit::Error, message).advice(not_done))
}

/// The same for what takes the new position as its answer.
pub(super) fn ask_position(
    wanted: Position,
    answers: &Answers,
    not_done: &'static str,
) -> Result<(), Failure> {
    ask(&wanted.to_string(), answers.confirm.as_deref(), not_done)
}

fn read_line(wanted: &str) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let mut stderr = anstream::stderr();
        write!(stderr, "Type {wanted} to go on: ")?;
        stderr.flush()?;
    } else {
        say!("Waiting for {wanted} on standard input.");
    }
    let mut line = String::new();
    stdin.read_line(&mut line)?;
    Ok(line)
}
