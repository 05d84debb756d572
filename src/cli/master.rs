//! `pybots master`: run a farm.

mod logins;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::exit::{Exit, Failure, say};
use super::farm_file::{FarmFile, Viewer};
use super::{clock, files, slave, stop_signal};
use crate::bus::{Bus, Login, Patience};
use crate::master::{Application, Git, Master, MasterConfig, RunError, approve};
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
        Command::Run { config } => lead(&config).await,
        Command::Check { config } => {
            let checked = Checked::load(&config)?;
            let MasterConfig {
                farm,
                repositories,
                builders,
                ..
            } = &checked.config;
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

/// A master's configuration and keys, all checked.
pub(super) struct Checked {
    config: MasterConfig,
    text: String,
    keyring: Vec<u8>,
    key: SecretKey,
    reader: Reader,
    seed: zeroize::Zeroizing<String>,
    nkey: String,
}

impl Checked {
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
        let (config, text) = files::configuration(path, MasterConfig::parse)?;
        let key = files::secret_key(&config.signing_key)?;
        let (seed, nkey) = files::bus_seed(&config.bus_key)?;
        let not_done = "Nothing was started.";
        let keyring = files::read(&config.keyring).map_err(|failure| failure.advice(not_done))?;
        let reader = Reader::new(config.farm, &keyring)
            .with_context(|| {
                format!(
                    "{}: farm, with the keyring {}",
                    path.display(),
                    config.keyring.display()
                )
            })
            .map_err(|error| Failure::configuration(error).advice(not_done))?;
        if !reader.may_sign(&key.public(), clock::now()) {
            let position = reader.keyring().position;
            return Err(Failure::configuration(RunError::NotInForce(position)).advice(not_done));
        }
        Ok(Self {
            config,
            text,
            keyring,
            key,
            reader,
            seed,
            nkey,
        })
    }

    async fn connect(&self, patience: Patience) -> Result<Bus, Failure> {
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

    /// Approves a slave; returns the roster's new version.
    pub(super) async fn approve(
        mut self,
        application: &Application,
        owner: &str,
    ) -> Result<u64, Failure> {
        let bus = self.connect(Patience::Brief).await?;
        let owner = Text::tidy(owner);
        approve(
            &bus,
            &mut self.reader,
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
    let bus = checked.connect(Patience::Brief).await?;
    let Checked {
        config,
        text,
        keyring,
        ..
    } = checked;
    let signing_key = config.signing_key.clone();
    let find_key = move |reader: &Reader, now| {
        let key = SecretKey::load(&signing_key).ok()?;
        reader.may_sign(&key.public(), now).then_some(key)
    };
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
    let master = Master {
        config,
        keyrings: vec![keyring],
        find_key: Box::new(find_key),
        bus,
        instance: slave::instance()?,
        digest,
        git,
        clock: clock::now,
    };
    match master.run(stop_signal()).await {
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
