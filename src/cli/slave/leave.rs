//! `pybots slave leave`: the way out of a farm.

use std::fs;
use std::io::{BufRead as _, Read as _};

use super::place::Chosen;
use crate::cli::clock;
use crate::cli::exit::{Exit, Failure, say};
use crate::slave::{Occupant, Owner, Pause, SlaveConfig};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Delete the state folder with the slave's keys, journal, record, workspaces and caches. Asks for the slave's name.
    #[arg(long)]
    delete_state: bool,
    #[command(flatten)]
    which: Chosen,
}

const NOT_DELETED: &str = "Nothing was deleted.";

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let config = arguments.which.config()?;
    let place = arguments.which.place()?;
    let owner = Owner {
        paused: Some(Pause {
            since: place.now,
            until: None,
            note: None,
        }),
        ..place.owner()
    };
    place.tell(&owner, "leave", "")?;
    say!("Slave {} takes nothing any more.", config.name);
    place.say_occupant(
        "finishes what it has accepted; then end it: pybots slave drain --wait",
        "there is nothing to end",
    )?;
    if arguments.delete_state {
        return delete(&config, place.occupant()?);
    }
    say!("Tell the operator:");
    say!("  Slave {} leaves farm {}.", config.name, config.farm);
    say!(
        "  Please close its line on the roster, and take its key out of the server's list of users."
    );
    say!("What you may delete then; without it nothing of the farm is left here:");
    let state = config.state.display();
    say!("  {state}   keys, journal, record, workspaces, caches");
    say!("  {}   what you allowed", arguments.which.path().display());
    say!(
        "The results stay readable for everybody, and stay signed by a key that nobody has any more."
    );
    say!(
        "Delete the state folder now: pybots slave leave --delete-state     Stay after all: pybots slave resume"
    );
    Ok(Exit::Ok)
}

fn delete(config: &SlaveConfig, occupant: Occupant) -> Result<Exit, Failure> {
    if occupant != Occupant::Nobody {
        let message = format!("a slave is running on {}", config.state.display());
        return Err(Failure::message(Exit::Error, message).advice(format!(
            "{NOT_DELETED} End it first: pybots slave drain --wait, or pybots slave panic."
        )));
    }
    say!(
        "This deletes {} with both keys of slave {}: nobody can speak in its name again, and what was not sent is lost.",
        config.state.display(),
        config.name
    );
    say!("To do it, type the slave's name:");
    let mut line = Vec::new();
    std::io::stdin()
        .lock()
        .take(1024)
        .read_until(b'\n', &mut line)?;
    if String::from_utf8_lossy(&line).trim() != config.name.as_str() {
        let message = format!("that is not the name of slave {}", config.name);
        return Err(Failure::message(Exit::Usage, message).advice(NOT_DELETED));
    }
    fs::remove_dir_all(&config.state).map_err(|error| {
        let error = anyhow::Error::from(error).context("not everything could be deleted");
        Failure::error(error).advice(format!("What is left is in {}.", config.state.display()))
    })?;
    say!("{}: {} is gone.", clock::now(), config.state.display());
    Ok(Exit::Ok)
}
