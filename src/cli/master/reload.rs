//! `pybots master reload`: the running master reads its configuration again.

use std::io::Write as _;

use super::running::{Running, write_json};
use crate::cli::exit::{Exit, Failure, say};
use crate::master::{Answers, Question, ReloadDocument};

/// Asks every master of the configuration on this machine, whether it leads or stands by.
pub(super) async fn run(running: &Running) -> Result<Exit, Failure> {
    let Answers { given, faults } = running.ask(Question::Reload {}).await?;
    let answers: Vec<ReloadDocument> = given;
    let refused = answers.iter().find(|answer| !answer.applied);
    if running.json {
        write_json(&answers)?;
    } else if let Some(refused) = refused {
        let mut err = anstream::stderr();
        writeln!(
            err,
            "error: the configuration was not taken over; the master goes on by the old one"
        )?;
        for mistake in &refused.mistakes {
            writeln!(err, "       {mistake}")?;
        }
    } else {
        for answer in &answers {
            say!("  ok  the configuration counts now: {}", answer.differences);
        }
    }
    Ok(if refused.is_some() {
        Exit::Configuration
    } else if !faults.is_empty() {
        Exit::Unreachable
    } else {
        Exit::Ok
    })
}
