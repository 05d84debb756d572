//! `pybots master queue`: what waits, and why.

use super::running::{Running, write_json, write_lines};
use crate::cli::exit::{Exit, Failure, say};
use crate::master::{Question, QueueDocument};

pub(super) async fn run(running: &Running) -> Result<Exit, Failure> {
    let answer = running
        .ask_leader(Question::Queue {}, |answer: &QueueDocument| &answer.master)
        .await?;
    if running.json {
        write_json(&answer)?;
        return Ok(Exit::Ok);
    }
    if answer.queue.is_empty() {
        say!("  Nothing waits.");
        return Ok(Exit::Ok);
    }
    let rows = answer.queue.into_iter();
    let lines: Vec<[String; 5]> = rows
        .map(|row| {
            [
                row.builder,
                row.slave,
                row.what,
                format!("since {}", row.since),
                row.why,
            ]
        })
        .collect();
    write_lines(&lines)?;
    Ok(Exit::Ok)
}
