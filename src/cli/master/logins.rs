//! `pybots master logins`: who may log in at the bus, as a file that nats-server.conf includes.

use std::path::Path;

use super::Checked;
use crate::bus::{Access, Patience, User, nkey, users_list};
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::farm_file::Viewer;
use crate::cli::files;
use crate::master::learn_rosters;
use crate::model::{Roster, SlaveName, SlaveState};
use crate::wire::Subjects;

const NOT_WRITTEN: &str = "Nothing was written.";

/// Writes the file anew from the roster. A bus needs the file before it can be asked for the roster; so the first time,
/// when there is no file to lose, the master's and the viewers' logins are enough.
pub(super) async fn write(mut checked: Checked, path: &Path) -> Result<Exit, Failure> {
    check_is_file(path)?;
    let slaves = match learn(&mut checked).await {
        Ok(()) => checked
            .keyrings
            .reader
            .roster()
            .map_or_else(Vec::new, slaves),
        Err(failure) if path.exists() => {
            return Err(failure.advice(format!(
                "{path} was left as it is. If it is what keeps the master out, move it away and try again.",
                path = path.display()
            )));
        }
        Err(_) => {
            say!(
                "  --  the bus does not answer the master yet, so only those two log in who need no roster"
            );
            Vec::new()
        }
    };
    let Viewer { user, password } = Viewer::default();
    let mut users = vec![
        User::Key {
            nkey: checked.setup.nkey,
            access: Access::Master,
        },
        User::Viewer { user, password },
    ];
    let mut names = vec!["master".to_owned(), "viewers".to_owned()];
    for (slave, nkey) in slaves {
        names.push(slave.to_string());
        users.push(User::Key {
            nkey,
            access: Access::Slave(slave),
        });
    }
    let list = users_list(&Subjects::new(&checked.setup.config.farm), &users);
    let text = format!(
        "# Written by `pybots master logins` from the roster, for the farm's account to include. No secret is in it.\n{list}"
    );
    files::write(path, &text).map_err(|failure| failure.advice(NOT_WRITTEN))?;
    say!("  ok  {} lets in: {}", path.display(), names.join(", "));
    Ok(Exit::Ok)
}

/// Nothing else is put in the file's place: neither a folder nor a pipe is a list that a server includes.
fn check_is_file(path: &Path) -> Result<(), Failure> {
    match std::fs::metadata(path) {
        Ok(there) if !there.is_file() => {
            let message = format!("{} is not a file; nothing was written", path.display());
            Err(Failure::message(Exit::Configuration, message)
                .advice("Name the file that nats-server.conf includes, such as users.conf."))
        }
        // What cannot be looked at is told when it is written.
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn learn(checked: &mut Checked) -> Result<(), Failure> {
    let bus = checked.setup.connect(Patience::Brief).await?;
    bus.ensure_streams().await?;
    learn_rosters(&bus, &mut checked.keyrings.reader).await?;
    Ok(())
}

fn slaves(roster: &Roster) -> Vec<(SlaveName, String)> {
    roster
        .lines
        .iter()
        .filter(|line| match line.state {
            SlaveState::Probation | SlaveState::Active | SlaveState::Paused => {
                line.closed.is_none()
            }
            SlaveState::Revoked => false,
        })
        .map(|line| (line.slave.clone(), nkey(&line.bus_key)))
        .collect()
}
