//! `pybots keys revoke`: a signing key that no longer counts.

use super::consent::{self, Answers};
use super::desk::{Desk, Where};
use super::init::days_long;
use super::making::{self, Making, NewKey, Publishing, Signers, look, no_draft};
use super::naming;
use super::signing;
use super::vouch::Vouch;
use crate::cli::clock;
use crate::cli::exit::{Exit, Failure, say};
use crate::model::RevocationReason;
use crate::trust::{DraftError, SecretKey, Terms, revocation};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The key: its id or its public half, or the beginning of either, as `pybots keys show` names it.
    key: String,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    signers: Signers,
    /// For how many days a new signing key is good, if one is needed.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Sign this version of the roster anew, in place of the newest.
    #[arg(long, value_name = "VERSION")]
    roster_version: Option<u64>,
    #[command(flatten)]
    answers: Answers,
    #[command(flatten)]
    publishing: Publishing,
}

/// Why it no longer counts.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Why {
    /// Somebody else may hold it: nothing that it signed is acted on, whatever date it bears.
    #[arg(long)]
    compromised: bool,
    /// It is not needed any more: what it signed before stays believed.
    #[arg(long)]
    retired: bool,
}

const NOT_DONE: &str = "Nothing was made, signed or sent.";

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let mut desk = Desk::open(&arguments.place)?;
    let Arguments {
        signers,
        answers,
        publishing,
        ..
    } = &arguments;
    let reach = publishing.reach(signers, answers);
    let mut holdings = look(&desk, reach).await?;
    if let Some(holdings) = &holdings {
        holdings.check_agreement(&desk.keyrings)?;
    }
    let key = naming::find(desk.keyrings.newest(), &arguments.key)?;
    let reason = if arguments.why.compromised {
        RevocationReason::Compromised
    } else {
        RevocationReason::Retired
    };
    let terms = Terms {
        now: clock::now(),
        good_for: days_long(arguments.days),
        overlap: days_long(0),
    };
    let draft = |fresh: Option<&SecretKey>| {
        let chain = desk.keyrings.reader.chain();
        let fresh = fresh.map(SecretKey::public);
        revocation(chain, signers.serial, (key, reason), fresh, &terms)
    };
    let (draft, fresh) = match draft(None) {
        Err(DraftError::NoneInForce) => {
            let fresh = SecretKey::generate()?;
            (draft(Some(&fresh)).map_err(no_draft)?, Some(fresh))
        }
        made => (made.map_err(no_draft)?, None),
    };
    let path = desk.signing_keys.at(draft.position);
    let making = Making {
        draft,
        keys: fresh
            .map(|key| NewKey::signing(path, key))
            .into_iter()
            .collect(),
    };
    let keys = signers.load()?;
    signing::check(&keys, &making.draft)?;
    making.check_free(&desk)?;
    making.tell(&desk, holdings.as_ref());
    let version = arguments.roster_version;
    let vouch = Vouch::plan_and_tell(holdings.as_ref(), &making.draft, version).await?;
    if answers.dry_run {
        say!("Only shown: {}", NOT_DONE.to_lowercase());
        return Ok(Exit::Ok);
    }
    signers.check_given(&keys)?;
    consent::ask_position(making.draft.position, answers, NOT_DONE)?;
    if !making.carry_out(&mut desk, keys)? {
        return Ok(Exit::Ok);
    }
    making::send_unless_told_not_to(&desk, holdings.as_mut(), vouch, publishing).await
}
