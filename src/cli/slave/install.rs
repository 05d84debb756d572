//! `pybots slave install`: a service of systemd that runs the slave, shown before it is written.

mod diff;
mod unit;

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User, geteuid};

use self::diff::diff;
use self::unit::{Runner, Wanted};
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::files;
use crate::slave::SlaveConfig;

pub(in crate::cli) use self::unit::Scope;

/// The service's name.
pub(in crate::cli) const UNIT: &str = "pybots-slave.service";
const NOT_DONE: &str = "Nothing was written.";

const EXAMPLES: &str = "\
Examples:
  pybots slave install --user
  pybots slave install --system --print --config /etc/pybots/slave.toml
  sudo pybots slave install --system --config /etc/pybots/slave.toml";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    scope: Chosen,
    /// Write the unit and start the service without asking.
    #[arg(long)]
    yes: bool,
    /// Only print the unit.
    #[arg(long, conflicts_with = "yes")]
    print: bool,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "slave.toml")]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Chosen {
    /// A service of your own user [default, but not for root].
    #[arg(long, conflicts_with = "system")]
    user: bool,
    /// A service of the machine, which is kept apart from more of it. It runs as the owner of slave.toml.
    #[arg(long)]
    system: bool,
}

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (config, _) = files::configuration(&arguments.config, SlaveConfig::parse)?;
    files::check_unshared(&arguments.config)?;
    let file = fs::canonicalize(&arguments.config)?;
    let Chosen { user, system } = arguments.scope;
    let scope = if system || (!user && geteuid().is_root()) {
        Scope::System
    } else {
        Scope::User
    };
    let text = text(scope, &config, &file)?;
    if arguments.print {
        write!(anstream::stdout(), "{text}")?;
        return Ok(Exit::Ok);
    }
    let place = place(scope)?;
    if scope == Scope::System && !geteuid().is_root() {
        let message = "a service of the system is written by root alone";
        return Err(Failure::message(Exit::Usage, message).advice(format!(
            "{NOT_DONE} Give the same command with sudo; or, for a service of your own: pybots slave install --user."
        )));
    }
    let found = match fs::read_to_string(&place) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let error =
                anyhow::Error::new(error).context(format!("cannot read {}", place.display()));
            return Err(Failure::configuration(error).advice(NOT_DONE));
        }
    };
    show(&place, found.as_deref(), &text);
    let steps = steps(scope, found.is_some());
    say!("These commands then start it{}:", lingers(scope));
    for step in &steps {
        say!("  {}", step.join(" "));
    }
    if !arguments.yes {
        ask(&place)?;
    }
    if found.as_deref() != Some(text.as_str()) {
        write(&place, &text)?;
        say!("  ok  {}", place.display());
    }
    start(scope, &steps)
}

/// The unit that would be written for the slave of `file`.
pub(in crate::cli) fn text(
    scope: Scope,
    config: &SlaveConfig,
    file: &Path,
) -> Result<String, Failure> {
    let owner = fs::metadata(file)?.uid();
    let name = User::from_uid(Uid::from_raw(owner))
        .ok()
        .flatten()
        .map_or_else(|| owner.to_string(), |user| user.name);
    let wanted = Wanted {
        scope,
        runner: if owner == 0 {
            Runner::Root
        } else {
            Runner::User(&name)
        },
        program: &files::program()?,
        file,
        config,
    };
    unit::unit(&wanted).map_err(|error| Failure::configuration(error).advice(NOT_DONE))
}

/// Where a unit is written.
pub(in crate::cli) fn place(scope: Scope) -> Result<PathBuf, Failure> {
    let folder = match scope {
        Scope::System => PathBuf::from("/etc/systemd/system"),
        Scope::User => {
            let set = files::variable("XDG_CONFIG_HOME").map(PathBuf::from);
            let home = || files::variable("HOME").map(|home| Path::new(&home).join(".config"));
            let folder = set.filter(|path| path.is_absolute()).or_else(home);
            let folder = folder.ok_or_else(|| {
                let message = "neither XDG_CONFIG_HOME nor HOME says where your services are";
                Failure::message(Exit::Configuration, message).advice(NOT_DONE)
            })?;
            folder.join("systemd/user")
        }
    };
    Ok(folder.join(UNIT))
}

fn show(place: &Path, found: Option<&str>, text: &str) {
    match found {
        None => {
            say!("To be written to {}:", place.display());
            say!("{text}");
        }
        Some(found) if found == text => {
            say!(
                "{} is there already, and is as it would be now.",
                place.display()
            );
        }
        Some(found) => {
            say!(
                "{} is there already, and would be changed:",
                place.display()
            );
            for line in diff(found, text) {
                say!("  {line}");
            }
        }
    }
}

/// What has to be done once the unit is there.
fn steps(scope: Scope, was_there: bool) -> Vec<Vec<&'static str>> {
    let systemctl = |arguments: &[&'static str]| {
        let mut step = vec!["systemctl"];
        if scope == Scope::User {
            step.push("--user");
        }
        step.extend(arguments);
        step
    };
    // Without a wait: a slave is ready when it has heard its bus, and that may be away for days.
    let mut steps = vec![
        systemctl(&["daemon-reload"]),
        systemctl(&["enable", "--now", "--no-block", UNIT]),
    ];
    if was_there {
        // Builds outlive it.
        steps.push(systemctl(&["restart", "--no-block", UNIT]));
    }
    if scope == Scope::User {
        steps.push(vec!["loginctl", "enable-linger"]);
    }
    steps
}

fn lingers(scope: Scope) -> &'static str {
    match scope {
        Scope::User => ", the last one also while you are not logged in",
        Scope::System => "",
    }
}

fn ask(place: &Path) -> Result<(), Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let message = format!(
            "nobody is here to be asked whether to write {}",
            place.display()
        );
        return Err(Failure::message(Exit::Usage, message)
            .advice(format!("{NOT_DONE} Read what is above, and give --yes.")));
    }
    let mut stderr = anstream::stderr();
    write!(stderr, "Write it, and give these commands? [Y/n] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    let length = stdin.read_line(&mut answer)?;
    // An end of the input is no consent.
    if length > 0 && matches!(answer.trim(), "" | "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::message(Exit::Error, "it was not agreed to").advice(NOT_DONE))
}

fn write(place: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = place.parent() {
        files::make_folder(folder)?;
    }
    files::write(place, text)
}

/// Gives the commands, if there is a systemd to give them to.
fn start(scope: Scope, steps: &[Vec<&'static str>]) -> Result<Exit, Failure> {
    if state(scope).is_none() {
        say!(
            "  --  systemd does not answer here, so nothing was started. Where it runs, give the commands above."
        );
        return Ok(Exit::Ok);
    }
    for step in steps {
        let line = step.join(" ");
        let [program, arguments @ ..] = step.as_slice() else {
            continue;
        };
        let done = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .status();
        match done {
            Ok(status) if status.success() => say!("  ok  {line}"),
            Ok(_) | Err(_) => {
                let why = done.map_or_else(|error| error.to_string(), |status| status.to_string());
                let message = format!("{line} failed ({why})");
                return Err(Failure::message(Exit::Error, message).advice(
                    "The unit is written. Mend what systemd says, and give the remaining commands yourself.",
                ));
            }
        }
    }
    Ok(Exit::Ok)
}

/// What systemd says of the service, such as `active`; none where there is no systemd to ask.
pub(in crate::cli) fn state(scope: Scope) -> Option<String> {
    let mut command = Command::new("systemctl");
    if scope == Scope::User {
        command.arg("--user");
    }
    let asked = command
        .args(["show", "--property=ActiveState", "--value", UNIT])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let said = asked.ok().filter(|output| output.status.success())?;
    let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    (!said.is_empty()).then_some(said)
}
