//! Asking the masters that run on this machine.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::exit::{Exit, Failure, say};
use crate::cli::files;
use crate::master::{Answers, AskError, Question, StatusDocument, ask};

/// Which masters to ask, and how to show what they say.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Running {
    /// The configuration that the master runs with.
    #[arg(long, value_name = "FILE", default_value = "master.toml")]
    config: PathBuf,
    /// As JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

impl Running {
    /// The answers of all of them; of those that do not answer it is said.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        question: Question,
    ) -> Result<Answers<T>, Failure> {
        let state = state_folder(&self.config)?;
        let answers = ask(&state, question).await.map_err(|error| {
            let advice = match &error {
                AskError::Nobody(_) => "Nothing was done. Start one: pybots master run",
                AskError::Silent(_) | AskError::Garbled { .. } => {
                    "Look into its log, and try again."
                }
            };
            Failure::new(Exit::Unreachable, error).advice(advice)
        })?;
        for fault in &answers.faults {
            say!("  --  {fault}; look into its log");
        }
        Ok(answers)
    }

    /// The answer of the one that leads, or else of one that stands by and knows the same.
    pub(super) async fn ask_leader<T: DeserializeOwned>(
        &self,
        question: Question,
        status: fn(&T) -> &StatusDocument,
    ) -> Result<T, Failure> {
        let mut answers: Vec<T> = self.ask(question).await?.given;
        let leader = answers
            .iter()
            .position(|answer| status(answer).role == "leads");
        Ok(answers.swap_remove(leader.unwrap_or(0)))
    }
}

/// Where the masters of a configuration are found. Nothing else of it needs to be right: it may be asked about just then.
fn state_folder(path: &Path) -> Result<PathBuf, Failure> {
    let (state, _) = files::configuration(path, |text, folder| {
        let file: State = toml::from_str(text)?;
        Ok::<_, toml::de::Error>(folder.join(file.state))
    })
    .map_err(|failure| {
        failure.advice("No master was asked anything; one that runs goes on by the old one.")
    })?;
    Ok(state)
}

#[derive(serde::Deserialize)]
struct State {
    state: PathBuf,
}

/// Writes a document.
pub(super) fn write_json(document: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document).map_err(Failure::error)?;
    writeln!(anstream::stdout(), "{text}")?;
    Ok(())
}

/// Writes lines of cells in columns, two spaces apart; the last cell of a line takes what it needs.
pub(super) fn write_lines<const COLUMNS: usize>(
    lines: &[[String; COLUMNS]],
) -> Result<(), Failure> {
    let mut widths = [0; COLUMNS];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = anstream::stdout();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
