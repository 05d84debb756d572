//! `pybots slave drain`: let the slave finish what it has accepted, and end.

use std::time::Duration;

use super::place::Chosen;
use crate::cli::exit::{Exit, Failure, say};
use crate::slave::{Occupant, Owner};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Wait until it has ended.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    which: Chosen,
}

/// How often it is looked whether the slave has ended.
const PERIOD: Duration = Duration::from_millis(200);

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let place = arguments.which.place()?;
    if place.occupant()? == Occupant::Nobody {
        say!("No slave runs here, so there is nothing to drain. Nothing was changed.");
        return Ok(Exit::Ok);
    }
    let owner = Owner {
        draining: Some(place.now),
        ..place.owner()
    };
    place.tell(&owner, "drain", "")?;
    place.say_occupant(
        "takes nothing new, finishes what it has accepted, and ends",
        "it has ended",
    )?;
    if arguments.wait {
        say!("Waiting for that; Ctrl-C ends the waiting, not the slave.");
        while place.occupant()? != Occupant::Nobody {
            tokio::time::sleep(PERIOD).await;
        }
        say!("It has ended.");
    } else {
        say!("Let it go on after all: pybots slave resume");
    }
    Ok(Exit::Ok)
}
