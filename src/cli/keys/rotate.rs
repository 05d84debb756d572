//! `pybots keys rotate`: a new signing key, by the master key or, in a succession, by its successor.

use super::consent::{self, Answers};
use super::desk::{Desk, Where};
use super::init::days_long;
use super::making::{self, Making, NewKey, Publishing, Signers, look, no_draft};
use super::signing;
use super::succession::{self, Succession};
use crate::cli::clock;
use crate::cli::exit::{Exit, Failure, say};
use crate::trust::{SecretKey, Terms, rotation};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    pub(super) place: Where,
    #[command(flatten)]
    pub(super) succession: Succession,
    #[command(flatten)]
    pub(super) signers: Signers,
    #[command(flatten)]
    pub(super) periods: Periods,
    /// Sign this version of the roster anew, if the newest one's signer does not count any more.
    #[arg(long, value_name = "VERSION", requires = "master")]
    pub(super) roster_version: Option<u64>,
    /// Do not ask.
    #[arg(long, conflicts_with = "master")]
    yes: bool,
    #[command(flatten)]
    pub(super) answers: Answers,
    #[command(flatten)]
    pub(super) publishing: Publishing,
}

/// How long keys are good.
#[derive(Debug, clap::Args)]
pub(super) struct Periods {
    /// For how many days the new signing key is good.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// For how many days the signing keys before it go on.
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(0..=3650))]
    overlap_days: u32,
}

impl Periods {
    pub(super) fn terms(&self) -> Terms {
        Terms {
            now: clock::now(),
            good_for: days_long(self.days),
            overlap: days_long(self.overlap_days),
        }
    }
}

const NOT_DONE: &str = "Nothing was made, signed or sent.";

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    if arguments.succession.master {
        return succession::run(arguments).await;
    }
    let mut desk = Desk::open(&arguments.place)?;
    let Arguments {
        signers,
        answers,
        publishing,
        ..
    } = &arguments;
    let mut holdings = look(&desk, publishing.reach(signers, answers)).await?;
    if let Some(holdings) = &holdings {
        holdings.check_agreement(&desk.keyrings)?;
    }
    let fresh = SecretKey::generate()?;
    let chain = desk.keyrings.reader.chain();
    let terms = arguments.periods.terms();
    let draft = rotation(chain, signers.serial, fresh.public(), &terms).map_err(no_draft)?;
    let path = desk.signing_keys.at(draft.position);
    let making = Making {
        draft,
        keys: vec![NewKey::signing(path, fresh)],
    };
    let keys = signers.load()?;
    signing::check(&keys, &making.draft)?;
    making.check_free(&desk)?;
    making.tell(&desk, holdings.as_ref());
    if answers.dry_run {
        say!(
            "Only shown: {} The new key is another one each time.",
            NOT_DONE.to_lowercase()
        );
        return Ok(Exit::Ok);
    }
    signers.check_given(&keys)?;
    if answers.confirm.is_some() {
        consent::ask_position(making.draft.position, answers, NOT_DONE)?;
    } else if !arguments.yes {
        consent::ask("yes", None, NOT_DONE)?;
    }
    if !making.carry_out(&mut desk, keys)? {
        return Ok(Exit::Ok);
    }
    making::send_unless_told_not_to(&desk, holdings.as_mut(), None, publishing).await
}
