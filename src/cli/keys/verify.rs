//! `pybots keys verify`: whether a keyring belongs to the farm's chain.

use std::io::Write as _;
use std::path::PathBuf;

use super::holdings;
use crate::cli::exit::{Exit, Failure};
use crate::cli::keyrings::{Keyrings, KeyringsError};
use crate::cli::series::Series;
use crate::model::{FarmId, Position};
use crate::trust::Learnt;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The keyring, beside the farm's first one.
    keyring: PathBuf,
    /// The farm id that you expect.
    #[arg(long, value_name = "FARM-ID")]
    farm: Option<FarmId>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let path = &arguments.keyring;
    let (series, named) = Series::of_keyring(path);
    let mut keyrings = Keyrings::load(
        series,
        arguments.farm.as_ref(),
        named.or(Some(Position::default())),
    )
    .map_err(failure)?;
    if named.is_some() {
        let (_, learnt) = keyrings.learn(path, named).map_err(failure)?;
        if learnt == Learnt::Forked
            && let Some(fork) = keyrings.reader.chain().fork()
        {
            return Err(holdings::forked(&fork));
        }
    }
    let keyring = keyrings.newest();
    writeln!(
        anstream::stdout(),
        "ok  keyring {} of farm {}, {}",
        keyring.position,
        keyring.name,
        keyrings.reader.farm()
    )?;
    Ok(Exit::Ok)
}

/// The first rule that was broken, with its code.
fn failure(error: KeyringsError) -> Failure {
    let code = error.code();
    match error {
        KeyringsError::Unreadable(_) => error.into(),
        KeyringsError::Unverified { .. } | KeyringsError::OtherPosition { .. } => {
            let error = anyhow::Error::new(error).context(code);
            Failure::new(Exit::Unverified, error).advice("Do not rely on this file.")
        }
    }
}
