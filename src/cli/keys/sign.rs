//! `pybots keys sign`: the master key's part, on a machine without network.

use std::path::PathBuf;

use anyhow::Context as _;

use super::changes;
use super::consent::{self, Answers};
use super::signing::{self, MasterKey, Signed};
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::files;
use crate::cli::keyrings::Keyrings;
use crate::cli::passphrase::PassphraseSource;
use crate::cli::series::Series;
use crate::model::{FarmId, Keyring};
use crate::trust::Learnt;
use crate::wire::decode;

const NOT_SIGNED: &str = "Nothing was signed.";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The draft, beside the farm's keyrings.
    draft: PathBuf,
    /// A master key; several where several must sign. They can also sign one after the other, each on its machine.
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// The farm id that you expect.
    #[arg(long, value_name = "FARM-ID")]
    farm: Option<FarmId>,
    #[command(flatten)]
    passphrases: PassphraseSource,
    #[command(flatten)]
    answers: Answers,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let path = &arguments.draft;
    let bytes = files::read(path).map_err(|failure| failure.advice(NOT_SIGNED))?;
    let draft: Keyring = decode(&bytes)
        .with_context(|| format!("{} is not the draft of a keyring", path.display()))
        .map_err(|error| Failure::new(Exit::Unverified, error).advice(NOT_SIGNED))?;
    let (series, named) = Series::of_keyring(path);
    if named != Some(draft.position) {
        let message = format!(
            "{} holds a draft of keyring {}, which its name does not say",
            path.display(),
            draft.position
        );
        return Err(Failure::message(Exit::Unverified, message).advice(NOT_SIGNED));
    }
    let mut keyrings = Keyrings::load(series, arguments.farm.as_ref(), Some(draft.position))
        .map_err(|error| Failure::from(error).advice(NOT_SIGNED))?;
    check_draft(&keyrings, &draft)?;
    let mut keys = MasterKey::load(&arguments.keys, &arguments.passphrases)?;
    signing::check(&keys, &draft)?;
    changes::tell_farm(&keyrings.reader);
    changes::tell(keyrings.newest(), &draft);
    if arguments.answers.dry_run {
        say!("Only shown: nothing was signed.");
        return Ok(Exit::Ok);
    }
    consent::ask_position(draft.position, &arguments.answers, NOT_SIGNED)?;
    let signed = signing::sign(&mut keyrings, &draft, &mut keys)?;
    let (whole, partial) = signing::paths(&keyrings, draft.position);
    match signed {
        Signed::Whole => {
            say!("  ok  {}   signed, public", whole.display());
            say!("  Bring it beside the farm's other keyrings, then: pybots keys publish");
        }
        Signed::Partly { have, need } => {
            say!("  ok  {}   signed by {have} of {need}", partial.display());
            say!("  Carry it, with the draft, to the next master key and do the same there.");
        }
    }
    Ok(Exit::Ok)
}

/// Whether every reader that holds these keyrings would take the draft.
fn check_draft(keyrings: &Keyrings, draft: &Keyring) -> Result<(), Failure> {
    let refused = |why: String| {
        Failure::message(Exit::Unverified, why).advice(
            "Nothing was signed. Are the farm's own keyrings beside the draft, and all of them?",
        )
    };
    match keyrings.reader.chain().consider(draft) {
        Ok(Learnt::Newer) => Ok(()),
        Ok(Learnt::Nothing | Learnt::Forked) => Err(refused(format!(
            "keyring {} would change nothing: {} is the newest here",
            draft.position,
            keyrings.newest().position
        ))),
        Err(error) => Err(refused(format!(
            "every slave would refuse keyring {} ({}): {error}",
            draft.position,
            error.code()
        ))),
    }
}
