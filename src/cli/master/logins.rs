//! `pybots master logins`: who may log in at the bus, as a file that nats-server.conf includes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Checked;
use crate::bus::{Access, Patience, User, bus_public_key, nkey, users_list};
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::farm_file::Viewer;
use crate::cli::files;
use crate::master::{Requester, learn_rosters};
use crate::model::{RequesterName, Roster, SlaveName, SlaveState};
use crate::wire::Subjects;

/// What the inboxes of other logins bear as their names.
const TAKEN: [&str; 3] = ["master", "viewer", "hooks"];

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
                "  --  the bus does not answer the master yet, so only those log in who need no roster"
            );
            Vec::new()
        }
    };
    let config = &checked.setup.config;
    let Viewer { user, password } = Viewer::default();
    let mut users = vec![
        User::Key {
            nkey: checked.setup.nkey.clone(),
            access: Access::Master,
        },
        User::Viewer { user, password },
    ];
    users.extend(slaves.into_iter().map(|(slave, nkey)| User::Key {
        nkey,
        access: Access::Slave(slave),
    }));
    let hooks = config.hooks.clone().map(|nkey| User::Key {
        nkey,
        access: Access::Hooks,
    });
    users.extend(hooks);
    users.extend(requesters(&config.requesters, &users)?);
    let names: Vec<String> = users.iter().map(who).collect();
    let list = users_list(&Subjects::new(&config.farm), &users);
    let text = format!(
        "# Written by `pybots master logins` from the roster and master.toml, for the farm's account to include. No secret is in it.\n{list}"
    );
    files::write(path, &text).map_err(|failure| failure.advice(NOT_WRITTEN))?;
    say!("  ok  {} lets in: {}", path.display(), names.join(", "));
    Ok(Exit::Ok)
}

/// The requesters that have a login of their own, by name. What another login has already, a name or a key, is not given
/// to a requester: it would hear what the other one is told, or the server would take none of the list.
fn requesters(
    requesters: &BTreeMap<RequesterName, Requester>,
    others: &[User],
) -> Result<Vec<User>, Failure> {
    let mut keys: BTreeSet<&str> = BTreeSet::new();
    let mut names: BTreeSet<&str> = TAKEN.into();
    for user in others {
        if let User::Key { nkey, access } = user {
            keys.insert(nkey);
            if let Access::Slave(slave) = access {
                names.insert(slave.as_str());
            }
        }
    }
    let mut found = Vec::new();
    for (name, requester) in requesters {
        let Some(nkey) = &requester.login else {
            continue;
        };
        let wrong = |message: String| {
            Err(Failure::message(Exit::Configuration, message).advice(NOT_WRITTEN))
        };
        if names.contains(name.as_str()) {
            return wrong(format!(
                "the name {name} is that of another login; a requester needs one of its own"
            ));
        }
        if bus_public_key(nkey).is_none() {
            return wrong(format!(
                "the login of requester {name} is no user's nkey (U…)"
            ));
        }
        if !keys.insert(nkey) {
            return wrong(format!(
                "the login of requester {name} is that of somebody else, too; each needs one of its own"
            ));
        }
        found.push(User::Key {
            nkey: nkey.clone(),
            access: Access::Requester(name.clone()),
        });
    }
    Ok(found)
}

/// Whom a login lets in, in words.
fn who(user: &User) -> String {
    match user {
        User::Viewer { .. } => "viewers".to_owned(),
        User::Key { access, .. } => match access {
            Access::Master => "master".to_owned(),
            Access::Slave(slave) => slave.to_string(),
            Access::Requester(requester) => format!("{requester} (requester)"),
            Access::Hooks => "the listener for webhooks".to_owned(),
            Access::Viewer => "a viewer".to_owned(),
        },
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Login;
    use crate::master::Everything;
    use crate::model::PublicKey;

    fn nkey() -> String {
        Login::nkey_of_seed(&Login::generate_seed().unwrap()).unwrap()
    }

    fn asking(name: &str, login: Option<&str>) -> BTreeMap<RequesterName, Requester> {
        let requester = Requester {
            key: PublicKey([1; 32]),
            login: login.map(str::to_owned),
            may: BTreeSet::new(),
            builders: BTreeSet::new(),
            every_builder: Everything::Yes,
        };
        BTreeMap::from([(name.parse().unwrap(), requester)])
    }

    #[test]
    fn a_requester_logs_in_by_a_name_and_a_key_of_its_own() {
        let (maple, alice) = (nkey(), nkey());
        let others = [User::Key {
            nkey: maple.clone(),
            access: Access::Slave("maple".parse().unwrap()),
        }];
        let of = |name: &str, login: Option<&str>| {
            let found = requesters(&asking(name, login), &others);
            found
                .map(|users| users.iter().map(who).collect::<Vec<_>>())
                .map_err(|failure| failure.sentence())
        };
        assert_eq!(of("alice", Some(&alice)).unwrap(), ["alice (requester)"]);
        assert_eq!(of("alice", None).unwrap(), [""; 0]);
        for (name, login, sentence) in [
            ("maple", &alice, "the name maple is that of another login"),
            ("master", &alice, "the name master is that of another login"),
            (
                "alice",
                &maple,
                "the login of requester alice is that of somebody else, too",
            ),
            (
                "alice",
                &"U, permissions: {}".to_owned(),
                "the login of requester alice is no user's nkey",
            ),
        ] {
            let said = of(name, Some(login)).unwrap_err();
            assert!(said.starts_with(sentence), "{said}");
        }
    }
}
