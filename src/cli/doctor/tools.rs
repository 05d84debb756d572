//! Programs that pybots or its owner's scripts run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::LIMIT;
use super::finding::{Check, Finding, Judgement, Part};
use super::patient::Patient;
use crate::cli::files;
use crate::cli::up::server;
use crate::model::{Isolation, Text};
use crate::slave::{Abilities, SlaveConfig, Weaker};

/// How a program ended.
enum Ended {
    Well(String),
    Badly(String),
    Missing,
    Hung,
}

/// Runs a program to its end, for at most [`LIMIT`].
async fn run(mut command: Command) -> Ended {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(LIMIT, output).await {
        Err(_) => Ended::Hung,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ended::Missing,
        Ok(Err(error)) => Ended::Badly(error.to_string()),
        Ok(Ok(output)) => {
            let said = if output.status.success() {
                &output.stdout
            } else {
                &output.stderr
            };
            let said = String::from_utf8_lossy(said);
            let first = Text::tidy(said.lines().next().unwrap_or_default());
            if output.status.success() {
                Ended::Well(first.as_str().to_owned())
            } else if first.as_str().is_empty() {
                Ended::Badly(output.status.to_string())
            } else {
                Ended::Badly(first.as_str().to_owned())
            }
        }
    }
}

const PROGRAMS: [(Check, &str); 3] = [
    (Check::Git, "check out what is to be tested"),
    (
        Check::Python3,
        "run the sample's tests and fetch a nats-server",
    ),
    (Check::Cc, "build Python"),
];

/// Looks for the programs that scripts need, as the scripts will find them, and for the master's git.
pub(super) async fn examine(patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(slave) = &patient.slave {
        for (check, purpose) in PROGRAMS {
            let judgement = look(check, Some(&slave.config.environment)).await;
            let judgement = judgement.unwrap_or_else(|wrong| {
                Judgement::warn(
                    format!("{wrong}, on the PATH of [environment] in slave.toml"),
                    format!("scripts cannot {purpose}"),
                    format!("install {}, or put its folder on that PATH", package(check)),
                )
            });
            findings.push(judgement.of(check, Part::Slave));
        }
    }
    if patient.master.is_some() {
        let judgement = look(Check::Git, None).await.unwrap_or_else(|wrong| {
            Judgement::fail(wrong, "the master sees no change", "install git")
        });
        findings.push(judgement.of(Check::Git, Part::Master));
    }
    if patient.slave.is_none() && patient.master.is_none() {
        for (check, purpose) in PROGRAMS {
            let judgement = look(check, None).await.unwrap_or_else(|wrong| {
                Judgement::warn(
                    wrong,
                    format!("a slave here could not {purpose}"),
                    format!("install {}", package(check)),
                )
            });
            findings.push(judgement.of_machine(check));
        }
    }
    findings
}

fn package(check: Check) -> &'static str {
    if check == Check::Cc {
        "a C compiler such as gcc"
    } else {
        check.id()
    }
}

/// Asks a program for its version, in a script's environment or in ours.
async fn look(
    check: Check,
    environment: Option<&BTreeMap<String, String>>,
) -> Result<Judgement, String> {
    let name = check.id();
    let path = match environment {
        Some(environment) => environment.get("PATH").cloned(),
        None => files::variable("PATH"),
    };
    let path = path.unwrap_or_else(|| "/usr/bin:/bin".to_owned());
    let program = find(name, path.as_ref()).ok_or_else(|| format!("{name} was not found"))?;
    let mut command = Command::new(&program);
    command.arg("--version");
    if let Some(environment) = environment {
        command.env_clear().envs(environment);
    }
    match run(command).await {
        Ended::Well(version) => Ok(Judgement::ok(format!("{version}, {}", program.display()))),
        Ended::Badly(why) => Err(format!("{} does not work: {why}", program.display())),
        Ended::Missing => Err(format!(
            "{} does not work: its interpreter is missing",
            program.display()
        )),
        Ended::Hung => Err(format!(
            "{} does not answer within {} s",
            program.display(),
            LIMIT.as_secs()
        )),
    }
}

fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|program| {
            nix::unistd::access(program, nix::unistd::AccessFlags::X_OK).is_ok()
                && program.is_file()
        })
}

/// What this machine is to the bus.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Host {
    /// A master is here and its bus too.
    Runs,
    /// Somebody else runs the bus.
    RunsNot,
}

/// Looks for a server to run.
pub(super) fn nats_server(host: Host) -> Judgement {
    judge_server(
        server::installed().map(|found| (found.version, found.path)),
        host,
    )
}

fn judge_server(found: Result<(String, PathBuf), Vec<String>>, host: Host) -> Judgement {
    let tried = match found {
        Ok((version, path)) => return judge_found(&version, &path),
        Err(tried) => format!("none to run; {}", tried.join("; ")),
    };
    let fix = "install nats-server 2.12 or newer and put it on PATH; or let pybots up, or deploy/get-nats-server, fetch \
               one";
    match host {
        Host::Runs => Judgement::fail(
            tried,
            "this machine runs the farm's bus; after the next start there is none",
            fix,
        ),
        Host::RunsNot => Judgement::warn(
            tried,
            "pybots up would first have to fetch one; a slave, or a master whose bus is elsewhere, needs none",
            fix,
        ),
    }
}

fn judge_found(version: &str, path: &Path) -> Judgement {
    Judgement::ok(format!(
        "{}, {}",
        Text::tidy(version).as_str(),
        path.display()
    ))
}

/// Really runs bubblewrap and applies Landlock.
pub(super) fn sandbox(patient: &Patient) -> Judgement {
    let abilities = Abilities::probe(&files::search_path());
    match &patient.slave {
        Some(slave) => judge_slave(&abilities, &slave.config),
        None => judge_machine(&abilities),
    }
}

const UNUSED: &str = "take `level` out of [isolation] in slave.toml";

fn judge_slave(abilities: &Abilities, config: &SlaveConfig) -> Judgement {
    let settings = &config.isolation;
    let networks = config.commands.values().map(|mapping| mapping.network);
    let reached: Result<Vec<_>, Weaker> = networks
        .chain([settings.network])
        .map(|network| abilities.reach(settings, network))
        .collect();
    let why_not = why_not_namespaces(abilities);
    let level = match reached.as_deref() {
        Ok([.., (level, _)]) => *level,
        Ok([]) => abilities.best(),
        Err(weaker) => {
            let (why, fix) = why_not.unwrap_or((String::new(), UNUSED.to_owned()));
            return Judgement::fail(
                format!("{weaker}{why}"),
                "commands that need it are refused, and nothing of them runs",
                fix,
            );
        }
    };
    if level == Isolation::Namespaces {
        return Judgement::ok("scripts run at the isolation level namespaces");
    }
    let (why, fix) = match why_not {
        Some((why, fix)) if settings.level.only().is_none() => (why, fix),
        Some(_) | None => (", as slave.toml says".to_owned(), UNUSED.to_owned()),
    };
    let found = format!("scripts run at the isolation level {}{why}", level.word());
    Judgement::warn(found, what_it_means(level), fix)
}

fn judge_machine(abilities: &Abilities) -> Judgement {
    let best = abilities.best();
    let found = format!(
        "a slave's scripts would run at the isolation level {}",
        best.word()
    );
    match why_not_namespaces(abilities) {
        None => Judgement::ok(found),
        Some((why, fix)) => Judgement::warn(format!("{found}{why}"), what_it_means(best), fix),
    }
}

/// Why scripts cannot be kept apart as well as they might be, and what to do about it.
fn why_not_namespaces(abilities: &Abilities) -> Option<(String, String)> {
    let why = abilities.namespaces.as_ref().err()?;
    let (why, fix) = why.split_once("; fix: ").unwrap_or((
        why,
        "see what it says: bwrap --unshare-all --ro-bind / / --proc /proc true",
    ));
    Some((format!(": {why}"), fix.to_owned()))
}

fn what_it_means(level: Isolation) -> &'static str {
    match level {
        Isolation::Plain => {
            "code under test can do whatever the slave's user can: read its files and keys, write them, reach the network"
        }
        Isolation::Landlock => {
            "code under test cannot reach the slave's user's files, but sees its processes, and reaches its sockets and \
             the network but for TCP"
        }
        Isolation::Namespaces => "code under test is kept to its own folders",
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn a_server_is_missed_only_where_the_bus_runs() {
        let tried = || vec!["PATH: there is no nats-server on it".to_owned()];
        let cases = [
            (
                Ok(("2.15.1".to_owned(), PathBuf::from("/b"))),
                Host::Runs,
                State::Ok,
            ),
            (Err(tried()), Host::Runs, State::Fail),
            (Err(tried()), Host::RunsNot, State::Warn),
        ];
        for (found, host, expected) in cases {
            let judgement = judge_server(found, host);
            assert_eq!(judgement.state(), expected, "{judgement:?}");
        }
    }

    #[test]
    fn the_level_that_scripts_run_at_is_said_and_why_it_is_no_better() {
        let works = || Abilities {
            namespaces: Ok(PathBuf::from("/usr/bin/bwrap")),
            landlock: Ok(7),
        };
        let missing = || Abilities {
            namespaces: Err("it is not here; fix: install it".to_owned()),
            ..works()
        };
        let config = |isolation: &str| {
            let text = format!(
                "name = \"maple\"\nfarm = \"SHA256:{}\"\nbus = \"nats://127.0.0.1:1\"\nstate = \"state\"\n\
                 [builders.foo]\n[isolation]\n{isolation}\n",
                "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
            );
            SlaveConfig::parse(&text, Path::new("/")).unwrap()
        };
        let cases = [
            (works(), "", State::Ok, "level namespaces"),
            (missing(), "", State::Warn, "level landlock: it is not here"),
            (
                works(),
                "level = \"plain\"",
                State::Warn,
                "level plain, as slave.toml says",
            ),
            (
                missing(),
                "minimum = \"namespaces\"",
                State::Fail,
                "demands namespaces: it is not",
            ),
            (
                Abilities::none(),
                "network = \"off\"",
                State::Fail,
                "off the network",
            ),
        ];
        for (abilities, isolation, state, found) in cases {
            let judgement = judge_slave(&abilities, &config(isolation));
            assert_eq!(judgement.state(), state, "{judgement:?}");
            assert!(format!("{judgement:?}").contains(found), "{judgement:?}");
        }
        assert_eq!(judge_machine(&works()).state(), State::Ok);
        let judgement = judge_machine(&missing());
        assert!(
            format!("{judgement:?}").contains("install it"),
            "{judgement:?}"
        );
    }
}
