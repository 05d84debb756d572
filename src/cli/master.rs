//! `pybots master`: run a farm.

mod builders;
mod check;
mod init;
mod logins;
mod pause;
mod queue;
mod reload;
mod running;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::exit::{Exit, Failure, say};
use super::farm_file::{FarmFile, Viewer};
use super::keyrings::Keyrings;
use super::notify::Notifier;
use super::series::Series;
use super::telemetry::{self, Role, Watched};
use super::{clock, files, slave, stop_signal};
use crate::bus::{Bus, Login, Patience};
use crate::master::{Application, Git, Master, MasterConfig, RunError, Telemetry, approve};
use crate::model::{Digest, Text};
use crate::trust::{Reader, SecretKey, sha256};
use crate::wire::Subjects;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Watch repositories and order builds until Ctrl-C.
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "master.toml")]
        config: PathBuf,
    },
    /// Write a first master.toml for a farm whose keys are made.
    Init(init::Arguments),
    /// Check master.toml and the keys, without starting anything: every mistake at once, or what is built where.
    Check(check::Arguments),
    /// Let the running master read its configuration again: all of it counts then, or nothing.
    Reload(running::Running),
    /// Show what waits to be built, and why.
    Queue(running::Running),
    /// Show how every builder stands.
    Builders(running::Running),
    /// Write the file of logins that nats-server.conf includes: the master's, the viewers', each slave's on the
    /// roster, and those of the requesters and of the listener for webhooks that master.toml names.
    Logins {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "master.toml")]
        config: PathBuf,
        /// The file, such as users.conf. As long as it is missing, no bus is needed.
        #[arg(value_name = "USERS.CONF")]
        users: PathBuf,
    },
    /// Put a slave on the roster, and give it its commands.
    Approve {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "master.toml")]
        config: PathBuf,
        /// The owner, as they wish to be named.
        #[arg(long, default_value = "a volunteer")]
        owner: String,
        /// The line that `pybots slave init` printed.
        #[arg(required = true, value_name = "LINE")]
        line: Vec<String>,
    },
    /// Ask the master to give a builder nothing new for a while; what runs goes on.
    Pause(pause::Pause),
    /// Ask the master to end a builder's pause, or its being set aside.
    Resume(pause::Resume),
}

impl Command {
    /// Whether it goes on until it is stopped, and logs.
    pub(super) fn is_service(&self) -> bool {
        matches!(self, Self::Run { .. })
    }
}

pub(super) async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Pause(arguments) => Box::pin(pause::pause(arguments)).await,
        Command::Resume(arguments) => Box::pin(pause::resume(arguments)).await,
        Command::Run { config } => Box::pin(lead(&config)).await,
        Command::Init(arguments) => init::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Reload(running) => reload::run(&running).await,
        Command::Queue(running) => queue::run(&running).await,
        Command::Builders(running) => builders::run(&running).await,
        Command::Logins { config, users } => {
            let checked = Checked::load(&config)?;
            logins::write(checked, &users).await
        }
        Command::Approve {
            config,
            owner,
            line,
        } => {
            let application: Application = line.join(" ").parse().map_err(|error| {
                Failure::new(Exit::Usage, anyhow::Error::new(error)).advice("Nobody was approved.")
            })?;
            let checked = Checked::load(&config)?;
            let slave = application.slave.clone();
            let version = checked.approve(&application, &owner).await?;
            say!("  ok  {slave} is on the roster, version {version}");
            say!(
                "  Let the bus know its login: pybots master logins USERS.CONF, then reload the server."
            );
            Ok(Exit::Ok)
        }
    }
}

/// A master's configuration and login: what needs no signing key in force.
pub(super) struct Setup {
    pub(super) config: MasterConfig,
    text: String,
    seed: zeroize::Zeroizing<String>,
    nkey: String,
}

impl Setup {
    /// Loads it, and the keyrings that it names.
    pub(super) fn load(path: &Path) -> Result<(Self, Keyrings), Failure> {
        let (config, text) = files::configuration(path, MasterConfig::parse)?;
        let (seed, nkey) = files::bus_seed(&config.bus_key)?;
        let keyrings = Keyrings::load(Series::of(&config.keyring), Some(&config.farm), None)
            .with_context(|| format!("{}: farm and keyring", path.display()))
            .map_err(|error| Failure::configuration(error).advice("Nothing was started."))?;
        let setup = Self {
            config,
            text,
            seed,
            nkey,
        };
        Ok((setup, keyrings))
    }

    pub(super) async fn connect(&self, patience: Patience) -> Result<Bus, Failure> {
        let login = Login::Key {
            name: "master".to_owned(),
            seed: self.seed.clone(),
        };
        Ok(Bus::connect(
            &self.config.bus,
            login,
            Subjects::new(&self.config.farm),
            patience,
        )
        .await?)
    }
}

/// The same with the keyrings and the signing key in force.
pub(super) struct Checked {
    setup: Setup,
    keyrings: Keyrings,
    key: SecretKey,
}

impl Checked {
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
        let (setup, keyrings) = Setup::load(path)?;
        let signing_key = &setup.config.signing_key;
        let key = files::signing_key(signing_key, &keyrings.reader, clock::now())?;
        Ok(Self {
            setup,
            keyrings,
            key,
        })
    }

    /// Approves a slave; returns the roster's new version.
    pub(super) async fn approve(
        mut self,
        application: &Application,
        owner: &str,
    ) -> Result<u64, Failure> {
        let bus = self.setup.connect(Patience::Brief).await?;
        let owner = Text::tidy(owner);
        approve(
            &bus,
            &mut self.keyrings.reader,
            &self.key,
            application,
            owner,
            clock::now(),
        )
        .await
        .map_err(|error| Failure::error(error).advice("Nobody was approved."))
    }
}

/// Reads the configuration again, with all that it names.
fn reread(path: &Path) -> Result<(MasterConfig, Digest), Vec<String>> {
    let checked = Checked::load(path).map_err(|failure| {
        let sentence = failure.sentence();
        let lines = sentence.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect::<Vec<String>>()
    })?;
    let Setup { config, text, .. } = checked.setup;
    Ok((config, Digest(sha256(text.as_bytes()))))
}

/// Each time that somebody sends SIGHUP; several that come together are one.
fn hangups() -> Result<mpsc::Receiver<()>, Failure> {
    let mut signals = signal(SignalKind::hangup())?;
    let (sender, hangups) = mpsc::channel(1);
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            // Full means that it is going to be read again anyway.
            let _ = sender.try_send(());
        }
    });
    Ok(hangups)
}

async fn lead(path: &Path) -> Result<Exit, Failure> {
    let checked = Checked::load(path)?;
    let bus = checked.setup.connect(Patience::Brief).await?;
    let Checked {
        setup, keyrings, ..
    } = checked;
    let Setup { config, text, .. } = setup;
    let signing_key = config.signing_key.clone();
    let find_key = move |reader: &Reader, now| files::signing_key(&signing_key, reader, now).ok();
    let farm_file = FarmFile {
        farm: config.farm,
        bus: config.bus.clone(),
        viewer: Viewer::default(),
    };
    files::write(&path.with_file_name("farm.toml"), &farm_file.to_text()?)?;
    let git = Git {
        program: "git".into(),
        path: files::variable("PATH")
            .unwrap_or_else(|| "/usr/bin:/bin".to_owned())
            .into(),
    };
    let digest = Digest(sha256(text.as_bytes()));
    // Wherever it is read again from.
    let path = std::fs::canonicalize(path)?;
    let telemetry = Arc::new(Telemetry::new(clock::uptime));
    let role = Role::Master(Arc::clone(&telemetry));
    let watched = Watched::new(role.clone(), bus.clone());
    if let Some(listen) = config.telemetry
        && !listen.ip().is_loopback()
    {
        let message = format!("telemetry.listen: others than this machine reach {listen}");
        return Err(Failure::message(Exit::Configuration, message).advice(
            "Nothing was started. Name an address of this machine alone, such as 127.0.0.1:9464.",
        ));
    }
    telemetry::start(config.telemetry, watched).await?;
    let notifier = Notifier::find();
    notifier.watch(role, bus.clone());
    let master = Master {
        config,
        keyrings: keyrings.messages().values().cloned().collect(),
        find_key: Box::new(find_key),
        bus,
        instance: slave::instance()?,
        digest,
        git,
        clock: clock::now,
        uptime: clock::uptime,
        reread: Box::new(move || reread(&path)),
        hangups: hangups()?,
        telemetry,
    };
    let stop = async {
        stop_signal().await;
        notifier.stopping();
    };
    match master.run(stop).await {
        Ok(()) => {
            tracing::info!("master stopping");
            Ok(Exit::Ok)
        }
        Err(RunError::Bus(error)) => Err(error.into()),
        Err(error @ RunError::Keyring(_)) => Err(Failure::new(Exit::Unverified, error)),
        Err(error @ RunError::NotInForce(_)) => Err(Failure::configuration(error)),
        Err(
            error @ (RunError::State { .. }
            | RunError::Requester(_)
            | RunError::TaskEnded
            | RunError::StoreLost
            | RunError::NewKeyring),
        ) => Err(Failure::error(error)),
    }
}
