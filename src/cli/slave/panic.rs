//! `pybots slave panic`: end everything at once.

use std::io::Write as _;

use super::place::Chosen;
use crate::cli::exit::{Exit, Failure, say};
use crate::slave::{Owner, end_everything};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    which: Chosen,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let place = arguments.which.place()?;
    let owner = Owner {
        panic: Some(place.now),
        ..place.owner()
    };
    // Whatever becomes of the record, what runs is ended.
    let recorded = owner.write(&place.state);
    let aftermath = end_everything(&place.state)?;
    let ended = format!("{} processes were ended", aftermath.ended.len());
    place.record("panic", &ended);
    let mut out = anstream::stdout();
    for victim in &aftermath.ended {
        writeln!(out, "ended  {}  {}", victim.process, victim.what)?;
    }
    if aftermath.ended.is_empty() {
        say!("Nothing of this slave's was running.");
    }
    for victim in &aftermath.alive {
        writeln!(out, "ALIVE  {}  {}", victim.process, victim.what)?;
    }
    for folder in &aftermath.held {
        writeln!(out, "ALIVE  whatever works in {}", folder.display())?;
    }
    let alive = aftermath.alive.len() + aftermath.held.len();
    if alive > 0 {
        let message = format!("{alive} of them could not be ended");
        return Err(Failure::message(Exit::Error, message)
            .advice("Try it as the user that they belong to, or as root; a process that waits for a dead disk ends when the disk answers."));
    }
    recorded.map_err(|error| {
        Failure::error(error).advice(
            "Nothing is alive, but that was not put on record: a slave that is started would take commands.",
        )
    })?;
    say!(
        "Nothing of this slave is alive, and none starts here before you say: pybots slave resume"
    );
    say!("Builds that were cut off are reported as lost at the next start.");
    Ok(Exit::Ok)
}
