//! `pybots slave`: lend this machine to a farm.

mod audit;
mod drain;
pub(super) mod install;
mod leave;
mod limits;
mod map;
mod own;
mod panic;
mod pause;
mod place;
mod rehearse;
mod repin;
mod schedule;
mod scripts;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use scripts::Look;

use super::exit::{Exit, Failure, say};
use super::notify::Notifier;
use super::telemetry::{self, Role, Watched};
use super::{clock, files};
use crate::bus::{Bus, BusAddress, Login, Patience, bus_public_key};
use crate::master::Application;
use crate::model::{BuilderName, FarmId, InstanceId, PublicKey, SlaveName, Text};
use crate::slave::{
    Abilities, ConfigFile, Leaving, RunError, Slave, SlaveConfig, Telemetry, check_script,
};
use crate::trust::SecretKey;
use crate::wire::Subjects;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make this slave's two keys and a slave.toml to fill in; print the line for the operator.
    Init(Init),
    /// Map an id to a script of yours, so that commands may run it; or record that you changed the script.
    #[command(after_help = map::EXAMPLES)]
    Map(map::Map),
    /// Take an id's script away: commands that name it are refused.
    Unmap(map::Unmap),
    /// Run mapped scripts as a command would, publish nothing, and show what would be published.
    Rehearse(rehearse::Rehearse),
    /// List what may run here, and whether it is what you mapped.
    Scripts(scripts::Arguments),
    /// Check slave.toml, the keys and every mapped script, without starting anything.
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "slave.toml")]
        config: PathBuf,
    },
    /// Take commands and run the mapped scripts until Ctrl-C.
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "slave.toml")]
        config: PathBuf,
    },
    /// Write a service of systemd that runs the slave, and start it. Shows it first.
    Install(install::Arguments),
    /// Start nothing new, for a while or until you resume. Works without the bus.
    Pause(pause::Arguments),
    /// Let commands run again after a pause, a drain or a panic.
    Resume(pause::Resume),
    /// Finish what was accepted, take nothing new, and end.
    Drain(drain::Arguments),
    /// End everything of this slave's at once: scripts, keepers, the slave. None starts before you resume.
    Panic(panic::Arguments),
    /// Show the owner's own record of what was ordered and done here, and whether anybody changed it.
    #[command(after_help = audit::EXAMPLES)]
    Audit(audit::Arguments),
    /// Leave the farm: take nothing any more, and learn what to tell the operator and what to delete.
    Leave(leave::Arguments),
    /// Show what scripts may use, and what must be left of the machine.
    Limits(limits::Arguments),
    /// Show the quiet hours, and whether it is quiet now.
    Schedule(schedule::Arguments),
    /// Pin another farm, for the day when both master keys of the old one are lost. Asks for the new farm's words.
    Repin(repin::Arguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The slave's name.
    #[arg(long)]
    name: SlaveName,
    /// The id of the farm to join. Compare it with a second source: it is all that this slave will trust.
    #[arg(long, value_name = "FARM-ID")]
    farm: FarmId,
    /// Where the farm's bus is.
    #[arg(long, value_name = "ADDRESS")]
    bus: BusAddress,
    /// A builder that this slave serves; may be given several times.
    #[arg(long = "builder", value_name = "NAME", required = true)]
    builders: Vec<BuilderName>,
    /// Where to put slave.toml and the keys.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
}

pub(super) async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(init) => {
            let application = init.run()?;
            say!(
                "  ok  two keys in {}: the private halves stay here (mode 0600)",
                init.dir.join("state").display()
            );
            say!(
                "  ok  {}: map your scripts there; until then nothing can run",
                init.dir.join("slave.toml").display()
            );
            say!("  Send this line to the operator. It is public:");
            writeln!(anstream::stdout(), "{application}")?;
            Ok(Exit::Ok)
        }
        Command::Map(arguments) => map::map(arguments),
        Command::Unmap(arguments) => map::unmap(&arguments),
        Command::Rehearse(arguments) => rehearse::run(arguments).await,
        Command::Scripts(arguments) => scripts::run(&arguments),
        Command::Check { config } => check(&config),
        Command::Run { config } => serve(&config).await,
        Command::Install(arguments) => install::run(&arguments),
        Command::Pause(arguments) => pause::run(arguments),
        Command::Resume(arguments) => pause::resume(&arguments),
        Command::Drain(arguments) => drain::run(arguments).await,
        Command::Panic(arguments) => panic::run(&arguments),
        Command::Audit(arguments) => audit::run(arguments).await,
        Command::Leave(arguments) => leave::run(&arguments),
        Command::Limits(arguments) => limits::run(&arguments),
        Command::Schedule(arguments) => schedule::run(&arguments),
        Command::Repin(arguments) => repin::run(arguments).await,
    }
}

impl Init {
    fn run(&self) -> Result<Application, Failure> {
        let path = self.dir.join("slave.toml");
        if path.exists() {
            let message = format!("{} is there already; nothing was changed", path.display());
            return Err(Failure::message(Exit::Configuration, message)
                .advice("Edit it, or choose another folder with --dir."));
        }
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = self.builders.iter().find(|name| !names.insert(*name)) {
            let message = format!("builder {twice} was given twice; no slave was made");
            return Err(Failure::message(Exit::Usage, message));
        }
        let environment = files::variable("PATH").unwrap_or_else(|| "/usr/bin:/bin".to_owned());
        let text = template(
            &self.name,
            &self.farm,
            &self.bus,
            &self.builders,
            &environment,
        );
        initialise(&self.dir, &text)
    }
}

/// Makes a slave's folder with its two keys and `text` as its slave.toml.
pub(super) fn initialise(folder: &Path, text: &str) -> Result<Application, Failure> {
    // Read before it is written: a text that cannot be acted on leaves nothing behind.
    let config = SlaveConfig::parse(text, folder)
        .context("no slave was made")
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    files::make_folder(folder)?;
    files::write(&folder.join("slave.toml"), text)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.state)?;
    let key = files::make_secret_key(&config.report_key())?;
    let nkey = files::make_bus_seed(&config.bus_key())?;
    Ok(application(&config, key.public(), nkey))
}

/// What the operator needs to know of a slave.
pub(super) fn application(config: &SlaveConfig, key: PublicKey, nkey: String) -> Application {
    Application {
        slave: config.name.clone(),
        report_key: key,
        nkey,
        builders: config.builders.keys().cloned().collect(),
        platform: Text::tidy(&format!(
            "{}-{}",
            std::env::consts::OS,
            std::env::consts::ARCH
        )),
    }
}

fn template(
    name: &SlaveName,
    farm: &FarmId,
    bus: &BusAddress,
    builders: &[BuilderName],
    path: &str,
) -> String {
    let builders: Vec<String> = builders
        .iter()
        .map(|builder| {
            format!(
                "[builders.{builder}]
workspace = \"fresh\"
"
            )
        })
        .collect();
    let builders = builders.join(
        "
",
    );
    let path = toml::Value::String(path.to_owned());
    format!(
        r#"name = "{name}"
farm = "{farm}"
bus = "{bus}"
state = "state"

{builders}
# The whole environment of your scripts, besides PYBOTS_*.
[environment]
PATH = {path}

# Nothing can run until you map a command id to a script of yours, which writes its table here:
#   pybots slave map test-foo scripts/test-foo.sh --parameter version=word --network off
# Then:  pybots slave rehearse test-foo --parameter version=1.0
# What scripts may reach and use, quiet hours and all other keys, with their defaults: deploy/slave.toml
"#
    )
}

/// A slave's configuration and keys, all checked.
struct Checked {
    config: SlaveConfig,
    key: SecretKey,
    seed: zeroize::Zeroizing<String>,
}

fn load(path: &Path) -> Result<Checked, Failure> {
    let (config, _) = files::configuration(path, SlaveConfig::parse)?;
    files::check_unshared(path)?;
    files::check_unshared(&config.state)?;
    let key = files::secret_key(&config.report_key())?;
    let (seed, nkey) = files::bus_seed(&config.bus_key())?;
    // The broker chooses what the bus key signs at login, so it must never be the key that signs reports.
    if bus_public_key(&nkey) == Some(key.public()) {
        let message = "the report key and the bus key are one key; nothing was started";
        return Err(Failure::message(Exit::Configuration, message)
            .advice("Make the slave's keys again with pybots slave init."));
    }
    for (id, mapping) in &config.commands {
        check_script(&mapping.script)
            .with_context(|| format!("{}: commands.{id}.script", path.display()))
            .map_err(|error| Failure::configuration(error).advice("Nothing was started."))?;
        mapping.check_secrets().map_err(|(name, fault)| {
            let error = anyhow::Error::new(fault)
                .context(format!("{}: commands.{id}.secrets.{name}", path.display()));
            Failure::configuration(error).advice("Nothing was started.")
        })?;
    }
    Ok(Checked { config, key, seed })
}

fn check(path: &Path) -> Result<Exit, Failure> {
    let Checked { config, .. } = load(path)?;
    let mut out = anstream::stdout();
    writeln!(out, "ok  slave {} of farm {}", config.name, config.farm)?;
    writeln!(out, "ok  keys are private and distinct")?;
    for (id, mapping) in &config.commands {
        writeln!(out, "ok  {id} runs {}", mapping.script.display())?;
        let look = Look::at(mapping, config.script_change);
        if let Some(interpreter) = look.interpreter() {
            say!("    {}, run by {interpreter}", look.word());
        }
        if !mapping.secrets.is_empty() {
            let names: Vec<&str> = mapping.secrets.keys().map(String::as_str).collect();
            say!("    secrets that you alone can read: {}", names.join(", "));
        }
        if let Some(remark) = look.remark(id) {
            writeln!(out, "--  {id}: {remark}")?;
        }
    }
    if config.commands.is_empty() {
        writeln!(out, "--  no command is mapped, so nothing can run here")?;
    }
    Ok(Exit::Ok)
}

async fn serve(path: &Path) -> Result<Exit, Failure> {
    let Checked { config, key, seed } = load(path)?;
    let login = Login::Key {
        name: config.name.to_string(),
        seed,
    };
    let bus = Bus::connect(
        &config.bus,
        login,
        Subjects::new(&config.farm),
        Patience::Endless,
    )
    .await?;
    let telemetry = Arc::new(Telemetry::new(clock::uptime));
    let role = Role::Slave(Arc::clone(&telemetry), config.state.clone());
    let watched = Watched::new(role.clone(), bus.clone());
    telemetry::start(config.telemetry, watched).await?;
    let notifier = Notifier::find();
    notifier.watch(role, bus.clone());
    let slave = Slave {
        config,
        file: ConfigFile {
            path: fs::canonicalize(path)?,
            read: reread,
        },
        key,
        bus,
        instance: instance()?,
        program: files::program()?,
        abilities: Abilities::probe(&files::search_path()),
        clock: clock::now,
        telemetry,
    };
    let leave = async {
        let leaving = leave_signal().await;
        notifier.stopping();
        leaving
    };
    match slave.run(leave).await {
        Ok(()) => Ok(Exit::Ok),
        Err(error @ RunError::OtherFarm { .. }) => Err(Failure::configuration(error)
            .advice("Give slave.toml its old farm id, or another state folder. If the old farm is dead: its id first, then pybots slave repin NEW-FARM-ID.")),
        Err(error @ RunError::Panic(_)) => Err(Failure::configuration(error)
            .advice("If you want that: pybots slave resume.")),
        Err(error @ RunError::HalfRepinned(_)) => Err(Failure::configuration(error)
            .advice("Finish it: pybots slave repin NEW-FARM-ID.")),
        Err(error) => {
            Err(Failure::error(error).advice("Nothing was started, or the slave has stopped."))
        }
    }
}

/// Reads slave.toml while a slave runs by it.
fn reread(path: &Path) -> Result<SlaveConfig, String> {
    let read = || -> Result<SlaveConfig, Failure> {
        let (config, _) = files::configuration(path, SlaveConfig::parse)?;
        files::check_unshared(path)?;
        Ok(config)
    };
    read().map_err(|failure| failure.sentence())
}

/// A random name for this start of the process.
pub(super) fn instance() -> Result<InstanceId, Failure> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(std::io::Error::other)?;
    Ok(InstanceId(id))
}

/// Completes when somebody wants the slave to stop. Ctrl-C means that its owner is here and wants the machine back; SIGTERM is
/// what a service manager sends, also for an upgrade.
async fn leave_signal() -> Leaving {
    let Ok(mut terminate) =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
    else {
        return Leaving::BuildsGoOn;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Leaving::BuildsEnd,
        _ = terminate.recv() => Leaving::BuildsGoOn,
    }
}
