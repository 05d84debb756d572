//! The broker's configuration: logins and what each may do.
//!
//! A second wall only. Within one account a reply subject is not checked against the asker's rights, so whoever can read
//! can also make the server store bytes elsewhere; signatures answer that.

use std::fmt::Write as _;
use std::path::Path;

use super::stream::Stream;
use crate::model::{RequesterName, SlaveName};
use crate::wire::Subjects;

/// What a login is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Access {
    /// The master, and the operator's commands.
    Master,
    /// One slave.
    Slave(SlaveName),
    /// Somebody who may ask the master, and see what a viewer sees.
    Requester(RequesterName),
    /// The listener for webhooks, which may only hint.
    Hooks,
    /// Anybody who only looks.
    Viewer,
}

/// One login.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum User {
    /// By nkey (`U…`).
    Key {
        /// The nkey.
        nkey: String,
        /// What it may do.
        access: Access,
    },
    /// By the published password.
    Viewer {
        /// The user.
        user: String,
        /// The password, which is no secret.
        password: String,
    },
}

/// A server of one node.
#[derive(Clone, Debug)]
pub struct ServerConfig<'a> {
    /// The port, on the loopback address.
    pub port: u16,
    /// Where JetStream keeps its files.
    pub store: &'a Path,
    /// Who may log in.
    pub users: &'a [User],
}

/// The name in the inbox of the master's login.
pub(super) const MASTER_INBOX: &str = "master";

/// The configuration file of a one-node farm.
#[must_use]
pub fn server_config(subjects: &Subjects, config: &ServerConfig<'_>) -> String {
    format!(
        r#"# Written by pybots. One node; a report or command is on disk before it is acknowledged.
listen: "127.0.0.1:{port}"
max_payload: 1MB
jetstream {{
  store_dir: {store}
  sync_interval: always
  max_memory_store: 256MB
  max_file_store: 64GB
}}
accounts {{
  FARM {{
    jetstream: enabled
{users}  }}
  SYS {{}}
}}
system_account: SYS
"#,
        port = config.port,
        store = quoted(&config.store.to_string_lossy()),
        users = users_list(subjects, config.users),
    )
}

/// The configuration's list of users; a file of it can be included in an account.
#[must_use]
pub fn users_list(subjects: &Subjects, users: &[User]) -> String {
    let entries: String = users
        .iter()
        .map(|user| user_entry(subjects, user) + "\n")
        .collect();
    format!("    users: [\n{entries}    ]\n")
}

fn user_entry(subjects: &Subjects, user: &User) -> String {
    let (identity, access) = match user {
        User::Key { nkey, access } => (format!("nkey: {nkey}"), access.clone()),
        User::Viewer { user, password } => (
            format!("user: {}, password: {}", quoted(user), quoted(password)),
            Access::Viewer,
        ),
    };
    let (publish, subscribe) = rights(subjects, &access, user);
    format!(
        "      {{ {identity}, permissions: {{\n          publish: {{ allow: [{}] }},\n          subscribe: {{ allow: [{}] }} }} }}",
        list(&publish),
        list(&subscribe),
    )
}

fn rights(subjects: &Subjects, access: &Access, user: &User) -> (Vec<String>, Vec<String>) {
    let direct_get = |streams: &[Stream]| -> Vec<String> {
        streams
            .iter()
            .flat_map(|stream| {
                let get = format!("$JS.API.DIRECT.GET.{}", stream.name());
                [format!("{get}.>"), get]
            })
            .collect()
    };
    match access {
        Access::Master => (
            vec![
                subjects.keyrings(),
                subjects.rosters(),
                subjects.head(),
                subjects.changes(),
                subjects.commands(),
                subjects.lead(),
                subjects.releases(),
                subjects.answers(),
                subjects.lease(),
                "$JS.API.>".to_owned(),
            ],
            vec![
                format!("_INBOX.{MASTER_INBOX}.>"),
                subjects.live(">"),
                subjects.hints(),
            ],
        ),
        Access::Slave(slave) => {
            let mut publish = vec![
                subjects.reports_of(slave),
                subjects.logs_of(slave),
                subjects.presence(slave),
                format!("$JS.API.CONSUMER.INFO.COMMANDS.{slave}"),
                format!("$JS.API.CONSUMER.MSG.NEXT.COMMANDS.{slave}"),
                format!("$JS.ACK.COMMANDS.{slave}.>"),
                // The longer form that nats-server uses by default from 2.16 on. `_` stands for no JetStream domain; a `*`
                // there would let a slave whose name is a number acknowledge for others in the shorter form.
                format!("$JS.ACK._.*.COMMANDS.{slave}.>"),
            ];
            // Results, because a slave whose disk is an older copy finds its own newer reports there.
            publish.extend(direct_get(&[
                Stream::Keyring,
                Stream::Roster,
                Stream::Head,
                Stream::Results,
            ]));
            let subscribe = vec![
                format!("_INBOX.{slave}.>"),
                subjects.live(&subjects.keyrings()),
                subjects.live(&subjects.head()),
            ];
            (publish, subscribe)
        }
        Access::Requester(requester) => {
            let mut publish = vec![subjects.request(requester)];
            publish.extend(direct_get(&Stream::ALL));
            let subscribe = vec![format!("_INBOX.{requester}.>"), subjects.live(">")];
            (publish, subscribe)
        }
        Access::Hooks => (vec![subjects.hints()], vec!["_INBOX.hooks.>".to_owned()]),
        Access::Viewer => {
            let name = match user {
                User::Viewer { user, .. } => user.as_str(),
                User::Key { .. } => "viewer",
            };
            (
                direct_get(&Stream::ALL),
                vec![format!("_INBOX.{name}.>"), subjects.live(">")],
            )
        }
    }
}

fn list(subjects: &[String]) -> String {
    let mut list = String::new();
    for subject in subjects {
        let separator = if list.is_empty() { "" } else { ", " };
        let _ = write!(list, "{separator}{}", quoted(subject));
    }
    list
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FarmId;

    #[test]
    fn a106_a108_a_slave_may_write_only_under_its_own_name_and_never_make_a_consumer() {
        let subjects = Subjects::new(&FarmId([1; 32]));
        let user = User::Key {
            nkey: "UMAPLE".to_owned(),
            access: Access::Slave("maple".parse().unwrap()),
        };
        let entry = user_entry(&subjects, &user);
        let farm = FarmId([1; 32]).token();
        for right in [
            format!("pybots.{farm}.result.maple.*"),
            format!("pybots.{farm}.log.maple.*.*"),
        ] {
            assert!(entry.contains(&right), "{entry}");
        }
        let (publish, subscribe) = entry.split_once("subscribe").unwrap();
        for right in ["CREATE", "command.", "STREAM", "result.*", "head"] {
            assert!(!publish.contains(right), "{right} in {publish}");
        }
        for right in ["command", "result", "\"_INBOX.>\""] {
            assert!(!subscribe.contains(right), "{right} in {subscribe}");
        }
    }

    #[test]
    fn a_viewer_may_only_read() {
        let subjects = Subjects::new(&FarmId([1; 32]));
        let user = User::Viewer {
            user: "viewer".to_owned(),
            password: "public".to_owned(),
        };
        let entry = user_entry(&subjects, &user);
        let publish = entry.split("subscribe").next().unwrap();
        assert!(
            publish.matches("$JS.API.").count() == publish.matches("$JS.API.DIRECT.GET.").count(),
            "{publish}"
        );
        assert!(!publish.contains("pybots."), "{publish}");
    }
}
