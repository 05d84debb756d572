//! `pybots hooks`: hear from forges that somebody pushed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use tokio::net::TcpListener;

use super::exit::{Exit, Failure, say};
use super::{clock, files, stop_signal};
use crate::bus::{Bus, BusAddress, Login, Patience};
use crate::master::{Forge, HookSecret, Hooks, HooksConfig};
use crate::model::{FarmId, RepositoryName};
use crate::wire::Subjects;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make the listener's login and a hooks.toml, and print what belongs into master.toml.
    Init(Init),
    /// Listen for webhooks until Ctrl-C, and hint to the master which repositories to look at.
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "hooks.toml")]
        config: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The farm's id.
    #[arg(long, value_name = "FARM-ID")]
    farm: FarmId,
    /// Where the farm's bus is.
    #[arg(long, value_name = "ADDRESS")]
    bus: BusAddress,
    /// A repository as master.toml names it; its secret is made, too.
    #[arg(long, value_name = "NAME", default_value = "python")]
    repository: RepositoryName,
    /// Where to put hooks.toml, the login's key and the secret.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
}

pub(super) async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(init) => init.run(),
        Command::Run { config } => serve(&config).await,
    }
}

impl Init {
    fn run(&self) -> Result<Exit, Failure> {
        let not_done = "Nothing was made.";
        let path = self.dir.join("hooks.toml");
        if path.exists() {
            let message = format!("{} is there already", path.display());
            return Err(
                Failure::message(Exit::Configuration, message).advice(format!(
                    "{not_done} Edit it, or choose another folder with --dir."
                )),
            );
        }
        files::make_folder(&self.dir).map_err(|failure| failure.advice(not_done))?;
        let nkey = files::make_bus_seed(&self.dir.join("hooks.nk"))?;
        let secret = self.dir.join(format!("{}.secret", self.repository));
        make_secret(&secret)?;
        files::write_new(&path, self.text().as_bytes()).map_err(Failure::configuration)?;
        say!("  ok  {}: say there which forge it is", path.display());
        say!(
            "  ok  {}: give this secret to the forge, and nobody else (mode 0600)",
            secret.display()
        );
        say!("  Put this into master.toml, then write the bus's logins anew:");
        writeln!(anstream::stdout(), "[webhooks]\nlogin = \"{nkey}\"")?;
        Ok(Exit::Ok)
    }

    fn text(&self) -> String {
        let Self {
            farm,
            bus,
            repository,
            ..
        } = self;
        format!(
            r#"# What listens for webhooks. It holds no key but these, and can only hint to the master to look.
listen = "127.0.0.1:8010"           # behind a web server that speaks TLS
farm = "{farm}"
bus = "{bus}"
bus-key = "hooks.nk"

# The forge posts to https://…/hooks/{repository}. The name is the one in master.toml, which has the URL.
[repositories.{repository}]
forge = "github"                    # or "forgejo", "gitea", "gitlab"
secret = "{repository}.secret"      # a file with mode 0600

# The defaults:
# [limits]
# body-kib = 1024
# header-seconds = 10
# body-seconds = 20
# connections = 128
# per-minute = 600
# per-minute-and-address = 120
"#
        )
    }
}

/// Makes a secret, mode 0600, unless it is there.
fn make_secret(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(|error| Failure::error(std::io::Error::from(error)))?;
    let text = zeroize::Zeroizing::new(HEXLOWER.encode(&*bytes));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))
        .map_err(Failure::configuration)?;
    writeln!(file, "{}", *text)?;
    file.sync_all()?;
    Ok(())
}

async fn serve(path: &Path) -> Result<Exit, Failure> {
    let not_done = "Nothing was started.";
    let (config, _) = files::configuration(path, HooksConfig::parse)?;
    let secrets = secrets(&config)?;
    let (seed, _) = files::bus_seed(&config.bus_key)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))
        .map_err(|error| {
            Failure::error(error)
                .advice(format!("{not_done} Choose another address with `listen`."))
        })?;
    let address = listener.local_addr()?;
    let login = Login::Key {
        name: "hooks".to_owned(),
        seed,
    };
    let subjects = Subjects::new(&config.farm);
    let bus = Bus::connect(&config.bus, login, subjects, Patience::Endless).await?;
    for name in secrets.keys() {
        say!("http://{address}/hooks/{name}  takes webhooks");
    }
    let hooks = Hooks::new(secrets, config.limits, bus.clone(), clock::now);
    tokio::select! {
        ended = hooks.serve(listener) => match ended? {},
        () = bus.ended() => Err(crate::bus::BusError::Ended.into()),
        () = stop_signal() => Ok(Exit::Ok),
    }
}

fn secrets(config: &HooksConfig) -> Result<BTreeMap<RepositoryName, (Forge, HookSecret)>, Failure> {
    let mut secrets = BTreeMap::new();
    for (name, hooked) in &config.repositories {
        let failed = |error: anyhow::Error| {
            Failure::configuration(error.context(format!("repositories.{name}.secret")))
                .advice("Nothing was started.")
        };
        let text = files::key_file(&hooked.secret)?
            .read()
            .map_err(|error| failed(error.into()))?;
        let secret = HookSecret::new(&text)
            .with_context(|| hooked.secret.display().to_string())
            .map_err(failed)?;
        secrets.insert(name.clone(), (hooked.forge, secret));
    }
    Ok(secrets)
}
