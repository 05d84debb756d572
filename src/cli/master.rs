//! `pybots master`: run a farm.

mod logins;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

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
    /// Check master.toml and the keys, without starting anything.
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "master.toml")]
        config: PathBuf,
    },
    /// Write the file of logins that nats-server.conf includes: the master's, the viewers', each slave's on the roster.
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
}

pub(super) async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run { config } => Box::pin(lead(&config)).await,
        Command::Check { config } => {
            let checked = Checked::load(&config)?;
            let MasterConfig {
                farm,
                repositories,
                builders,
                ..
            } = &checked.setup.config;
            let mut out = anstream::stdout();
            writeln!(out, "ok  farm {farm}")?;
            writeln!(out, "ok  the signing key is in force")?;
            writeln!(
                out,
                "ok  repositories: {}, builders: {}",
                repositories.len(),
                builders.len()
            )?;
            Ok(Exit::Ok)
        }
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
            error @ (RunError::Dispatch(_)
            | RunError::TaskEnded
            | RunError::StoreLost
            | RunError::NewKeyring),
        ) => Err(Failure::error(error)),
    }
}
