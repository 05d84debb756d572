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
use crate::model::Text;

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

/// Really runs bubblewrap.
pub(super) async fn sandbox() -> Judgement {
    let mut command = Command::new("bwrap");
    command.args([
        "--ro-bind",
        "/",
        "/",
        "--unshare-all",
        "--die-with-parent",
        "true",
    ]);
    judge_sandbox(&run(command).await)
}

fn judge_sandbox(ended: &Ended) -> Judgement {
    let effect = "today nothing changes: scripts run as the slave's own user (isolation plain) anyway. When pybots can keep \
                  them apart, it will need this";
    let broken = |found: String| {
        Judgement::warn(
            found,
            effect,
            "see what it says: bwrap --ro-bind / / --unshare-all true (often user namespaces are forbidden here)",
        )
    };
    match ended {
        // A green line would say that scripts are kept apart.
        Ended::Well(_) => Judgement::skip(
            "bubblewrap works, but is not used yet: scripts run as the slave's own user (isolation plain)",
        ),
        Ended::Badly(why) => broken(format!("bubblewrap does not work: {why}")),
        Ended::Missing => Judgement::warn(
            "bubblewrap (bwrap) was not found",
            effect,
            "install bubblewrap",
        ),
        Ended::Hung => broken(format!(
            "bubblewrap does not end within {} s",
            LIMIT.as_secs()
        )),
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
    fn a_sandbox_that_works_and_one_that_does_not_both_say_that_none_is_used() {
        let cases = [
            (Ended::Well(String::new()), State::Skip),
            (Ended::Badly("no namespaces".to_owned()), State::Warn),
            (Ended::Missing, State::Warn),
            (Ended::Hung, State::Warn),
        ];
        for (ended, expected) in cases {
            let judgement = judge_sandbox(&ended);
            assert_eq!(judgement.state(), expected, "{judgement:?}");
            assert!(format!("{judgement:?}").contains("isolation plain"));
        }
    }
}
