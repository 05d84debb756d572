//! `pybots master builders`: how every builder stands.

use super::running::{Running, write_json, write_lines};
use crate::cli::exit::{Exit, Failure, say};
use crate::master::{BuilderRow, BuilderState, BuildersDocument, Question};

pub(super) async fn run(running: &Running) -> Result<Exit, Failure> {
    let answer = running
        .ask_leader(Question::Builders {}, |answer: &BuildersDocument| {
            &answer.master
        })
        .await?;
    if running.json {
        write_json(&answer)?;
        return Ok(Exit::Ok);
    }
    if answer.builders.is_empty() {
        say!("  The configuration names no builder.");
        return Ok(Exit::Ok);
    }
    let lines: Vec<[String; 5]> = answer.builders.into_iter().map(line).collect();
    write_lines(&lines)?;
    Ok(Exit::Ok)
}

fn line(row: BuilderRow) -> [String; 5] {
    let word = row.state.word();
    let state = match (row.state, row.building, row.why) {
        (BuilderState::Building, Some(number), _) => format!("{word} {number}"),
        (BuilderState::Waiting, _, Some(why)) => format!("{word}: {why}"),
        (BuilderState::Paused | BuilderState::SetAside, _, Some(why)) => why,
        (_, _, _) => word.to_owned(),
    };
    let last = row.last.map_or_else(
        || "no build yet".to_owned(),
        |last| format!("{} {}", last.number, last.verdict),
    );
    [row.builder, row.slave, last, row.follows.join(", "), state]
}
