//! `pybots keys publish`: what was signed elsewhere goes to the bus.

use std::path::PathBuf;

use super::consent;
use super::desk::{Desk, Where};
use super::holdings;
use super::making::{self, Patience, Reach, look};
use super::vouch::Vouch;
use crate::cli::exit::{Exit, Failure, say};
use crate::trust::Learnt;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Keyrings that do not lie beside the first one yet; those that do are published in any case.
    files: Vec<PathBuf>,
    #[command(flatten)]
    place: Where,
    /// Where the roster has to be signed anew: the version to sign, in place of the newest.
    #[arg(long, value_name = "VERSION")]
    roster_version: Option<u64>,
    /// The answer where that is asked, given beforehand: the position of the newest keyring.
    #[arg(long, value_name = "POSITION")]
    confirm: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let mut desk = Desk::open(&arguments.place)?;
    for path in &arguments.files {
        let (position, learnt) = desk
            .keyrings
            .learn(path, None)
            .map_err(|error| Failure::from(error).advice("Nothing was published."))?;
        if learnt == Learnt::Forked {
            let fork = desk.keyrings.reader.chain().fork();
            return Err(fork.map_or_else(
                || Failure::message(Exit::Unverified, "two keyrings claim one place"),
                |fork| holdings::forked(&fork),
            ));
        }
        let home = desk.keyrings.series.at(position);
        if position.serial > 0 && !home.exists() {
            say!(
                "  --  {} does not lie beside the first keyring: copy it to {}, or the master will not start with it",
                path.display(),
                home.display()
            );
        }
    }
    let Some(mut holdings) = look(&desk, Reach::Needed).await? else {
        return Err(Failure::message(
            Exit::Usage,
            "which bus? Give --config MASTER.TOML in place of --keyring",
        ));
    };
    holdings.check_agreement(&desk.keyrings)?;
    let newest = desk.keyrings.newest();
    let vouch = if holdings.holds(&desk.keyrings).await? {
        None
    } else {
        Vouch::plan_and_tell(Some(&holdings), newest, arguments.roster_version).await?
    };
    if vouch.is_some() {
        consent::ask(
            &newest.position.to_string(),
            arguments.confirm.as_deref(),
            "Nothing was signed or published.",
        )?;
    }
    making::send(&desk, &mut holdings, vouch, &arguments.patience).await
}
