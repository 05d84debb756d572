//! What a ceremony is held over: the keyrings in their folder, where signing keys lie, and perhaps a bus.

use std::path::PathBuf;

use crate::bus::{Bus, Patience};
use crate::cli::exit::{Exit, Failure};
use crate::cli::files;
use crate::cli::keyrings::Keyrings;
use crate::cli::master::Setup;
use crate::cli::series::Series;
use crate::master::MasterConfig;
use crate::model::FarmId;

/// Which farm's keys.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// The master's configuration: it names the keyring, the signing key and the bus.
    #[arg(long, value_name = "FILE", default_value = "master.toml")]
    config: PathBuf,
    /// The farm's first keyring, in place of a configuration: the files beside it are all there is, and no bus.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    keyring: Option<PathBuf>,
    /// With --keyring: the farm id that you expect.
    #[arg(long, value_name = "FARM-ID", requires = "keyring")]
    farm: Option<FarmId>,
}

impl Where {
    /// What a master's configuration names.
    pub(super) fn of_master(config: PathBuf) -> Self {
        Self {
            config,
            keyring: None,
            farm: None,
        }
    }
}

/// A farm's keys, laid out.
pub(super) struct Desk {
    pub(super) keyrings: Keyrings,
    /// Where the first signing key lies.
    pub(super) signing_keys: Series,
    setup: Option<Setup>,
}

impl Desk {
    pub(super) fn open(place: &Where) -> Result<Self, Failure> {
        if let Some(first) = &place.keyring {
            let keyrings = Keyrings::load(Series::of(first), place.farm.as_ref(), None)?;
            return Ok(Self {
                keyrings,
                signing_keys: Series::of(&first.with_file_name("signing.key")),
                setup: None,
            });
        }
        let (setup, keyrings) = Setup::load(&place.config)?;
        Ok(Self {
            keyrings,
            signing_keys: Series::of(&first_signing_key(&setup.config)),
            setup: Some(setup),
        })
    }

    /// Whether there is a bus to ask.
    pub(super) fn knows_a_bus(&self) -> bool {
        self.setup.is_some()
    }

    /// Logs in as the master.
    pub(super) async fn connect(&self) -> Result<Bus, Failure> {
        match &self.setup {
            Some(setup) => setup.connect(Patience::Brief).await,
            None => Err(Failure::message(
                Exit::Configuration,
                "which bus? Give --config MASTER.TOML",
            )),
        }
    }
}

/// Where the first signing key lies, and later ones go. Where systemd keeps it, new ones go beside the keyring first.
fn first_signing_key(config: &MasterConfig) -> PathBuf {
    if files::is_credential(&config.signing_key) {
        return config.keyring.with_file_name("signing.key");
    }
    config.signing_key.clone()
}
