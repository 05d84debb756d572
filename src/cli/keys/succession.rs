//! `pybots keys rotate --master`: the successor key takes the master key's place, planned or after a theft.

use std::path::{Path, PathBuf};

use super::consent;
use super::desk::Desk;
use super::holdings::Holdings;
use super::init::{key_files, set_file, store_sets};
use super::making::{self, Making, NewKey, look, no_draft};
use super::naming;
use super::rotate::Arguments;
use super::signing::{self, MasterKey};
use super::vouch::Vouch;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::files;
use crate::cli::keyrings::Keyrings;
use crate::cli::series::Series;
use crate::model::{Keyring, PublicKey};
use crate::trust::{Difference, MasterSet, Passphrase, SecretKey, differences, succession};
use crate::wire::{KeyringEnvelopes, decode};

/// What only a succession needs.
#[derive(Debug, clap::Args)]
pub(super) struct Succession {
    /// Let the successor key take the master key's place. The old master key is not needed.
    #[arg(long, requires = "successor_keys", conflicts_with_all = ["draft", "master_keys", "serial"])]
    pub(super) master: bool,
    /// The successor key, from its stick; several where several must sign.
    #[arg(long = "successor-key", value_name = "FILE", requires = "master")]
    successor_keys: Vec<PathBuf>,
    /// Where to put the next successor key [default: beside the keyrings].
    #[arg(long, value_name = "FOLDER", requires = "master")]
    new_successor_dir: Option<PathBuf>,
    /// Encrypt the next successor key with a passphrase.
    #[arg(long, requires = "master")]
    passphrase: bool,
    /// A signing key that was stolen too; can be given more than once.
    #[arg(long, value_name = "KEY", requires = "master")]
    compromised: Vec<String>,
    /// Take the signing keys from this keyring of yours [default: the newest one among the files].
    #[arg(long, value_name = "FILE", requires = "master")]
    from: Option<PathBuf>,
}

const NOT_DONE: &str = "Nothing was made, signed or sent.";

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let mut desk = Desk::open(&arguments.place)?;
    let Arguments {
        succession: wanted,
        signers,
        answers,
        publishing,
        ..
    } = &arguments;
    let mut holdings = look(&desk, publishing.reach(signers, answers)).await?;
    let from = chosen(&desk.keyrings, wanted.from.as_deref())?;
    if let Some(holdings) = &holdings {
        check_generation(holdings, &desk.keyrings)?;
        tell_what_is_left_out(holdings, &from);
    }
    let keys = MasterKey::load(&wanted.successor_keys, &signers.passphrases)?;
    let masters = announced(&wanted.successor_keys, &keys, desk.keyrings.newest())?;
    let stolen = wanted
        .compromised
        .iter()
        .map(|key| naming::find(&from, key))
        .collect::<Result<Vec<PublicKey>, _>>()?;

    let fresh = SecretKey::generate()?;
    let next = masters
        .keys
        .iter()
        .map(|_| SecretKey::generate())
        .collect::<std::io::Result<Vec<_>>>()?;
    let successors = MasterSet {
        keys: next.iter().map(SecretKey::public).collect(),
        threshold: masters.threshold,
    };
    let chain = desk.keyrings.reader.chain();
    let terms = arguments.periods.terms();
    let sets = (&masters, &successors);
    let draft =
        succession(chain, &from, sets, fresh.public(), &stolen, &terms).map_err(no_draft)?;
    let position = draft.position;
    signing::check(&keys, &draft)?;

    let folder = match &wanted.new_successor_dir {
        Some(folder) => folder.clone(),
        None => desk.keyrings.series.first().with_file_name(""),
    };
    let number = u8::try_from(next.len()).unwrap_or(u8::MAX);
    let purpose = format!("successor.{}", position.generation);
    let paths = key_files(&folder, &purpose, number);
    let mut making = Making {
        draft,
        keys: vec![NewKey::signing(desk.signing_keys.at(position), fresh)],
    };
    for (path, key) in paths.iter().zip(next) {
        making.keys.push(NewKey::successor(path.clone(), key));
    }
    making.check_free(&desk)?;
    for path in paths.iter().map(|path| set_file(path)) {
        making::check_absent(&path)?;
    }
    making.tell(&desk, holdings.as_ref());
    let version = arguments.roster_version;
    let vouch = Vouch::plan_and_tell(holdings.as_ref(), &making.draft, version).await?;
    if answers.dry_run {
        say!(
            "Only shown: {} The new keys are other ones each time.",
            NOT_DONE.to_lowercase()
        );
        return Ok(Exit::Ok);
    }
    consent::ask_position(position, answers, NOT_DONE)?;
    making.encrypt_successors(passphrase(wanted, signers)?.as_ref());
    files::make_folder(&folder)?;
    store_sets(&paths, &successors)?;
    if !making.carry_out(&mut desk, keys)? {
        return Ok(Exit::Ok);
    }
    tell_where_keys_go(&wanted.successor_keys, &paths);
    making::send_unless_told_not_to(&desk, holdings.as_mut(), vouch, publishing).await
}

/// The passphrase for the next successor keys. A descriptor that is named is for the keys that are read, too.
fn passphrase(
    wanted: &Succession,
    signers: &making::Signers,
) -> Result<Option<Passphrase>, Failure> {
    (wanted.passphrase || signers.passphrases.is_given())
        .then(|| signers.passphrases.of_new_files())
        .transpose()
}

/// The keyring whose lists go on: one of our own, never one that only the bus holds, for that can be a thief's.
fn chosen(own: &Keyrings, from: Option<&Path>) -> Result<Keyring, Failure> {
    let Some(path) = from else {
        return Ok(own.newest().clone());
    };
    let position = Series::of_keyring(path).1.unwrap_or_default();
    let bytes = files::read(path)?;
    let known = own.messages().get(&position);
    let keyring = known
        .filter(|known| **known == bytes)
        .and_then(|known| KeyringEnvelopes::parse(known).ok())
        .and_then(|envelopes| decode(envelopes.payload()).ok());
    keyring.ok_or_else(|| {
        let message = format!(
            "{} is none of the keyrings beside {}",
            path.display(),
            own.series.first().display()
        );
        Failure::message(Exit::Configuration, message).advice(NOT_DONE)
    })
}

/// Says no if the successor key has been used already: a second succession would contradict the first.
fn check_generation(holdings: &Holdings, own: &Keyrings) -> Result<(), Failure> {
    let (there, here) = (holdings.reader.keyring().position, own.newest().position);
    if there.generation <= here.generation {
        return Ok(());
    }
    let message = format!(
        "the bus holds keyring {there} already, by the key that is announced as successor here"
    );
    Err(Failure::message(Exit::Unverified, message).advice(
        "Nothing was made or sent. If you or another operator made it, put its file beside the others. If nobody did, the \
         successor key was stolen too, and the farm is its thief's: begin a new farm, and tell everybody.",
    ))
}

/// What the bus holds and the files do not: after a theft it is the thief's, and ends here.
fn tell_what_is_left_out(holdings: &Holdings, from: &Keyring) {
    let there = holdings.reader.keyring();
    if let Some(fork) = holdings.fork() {
        say!(
            "  --  two different keyrings claim the place {} on the bus: somebody else has the master key",
            fork.position
        );
    }
    if there.position > from.position {
        say!(
            "  --  the bus holds keyring {}, which is left out: the lists are those of your keyring {}",
            there.position,
            from.position
        );
    }
    for difference in differences(from, there) {
        if let Difference::Added(window) = difference {
            say!(
                "  --  signing key {} stands only there, and does not count any more",
                window.key
            );
        }
    }
}

/// The set of master keys that the newest generation has announced, which the keys at hand must belong to.
fn announced(
    paths: &[PathBuf],
    keys: &[MasterKey],
    newest: &Keyring,
) -> Result<MasterSet, Failure> {
    let mut candidates: Vec<MasterSet> = Vec::new();
    for path in paths.iter().map(|path| set_file(path)) {
        if path.exists() {
            candidates.extend(read_set(&path)?);
        }
    }
    let at_hand: Vec<PublicKey> = keys.iter().map(|key| key.key.public()).collect();
    for threshold in 1..=u8::try_from(at_hand.len()).unwrap_or(u8::MAX) {
        candidates.push(MasterSet {
            keys: at_hand.clone(),
            threshold,
        });
    }
    let fits = |set: &MasterSet| set.commitment() == newest.commitment;
    candidates.into_iter().find(fits).ok_or_else(|| {
        let names: Vec<String> = at_hand.iter().map(ToString::to_string).collect();
        let message = format!(
            "keyring {} announces other successor keys than {}",
            newest.position,
            names.join(", ")
        );
        Failure::message(Exit::Configuration, message).advice(
            "Nothing was made or signed. Is it the right stick? Of several successor keys each needs its NAME.key.set beside it.",
        )
    })
}

fn read_set(path: &Path) -> Result<Option<MasterSet>, Failure> {
    let bytes = files::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let threshold = lines.next().and_then(|line| line.parse().ok());
    let keys: Result<Vec<PublicKey>, _> = lines.map(str::parse).collect();
    Ok(match (threshold, keys) {
        (Some(threshold), Ok(keys)) => Some(MasterSet { keys, threshold }),
        (_, Ok(_) | Err(_)) => None,
    })
}

fn tell_where_keys_go(masters: &[PathBuf], successors: &[PathBuf]) {
    for path in masters {
        say!(
            "  {} is a master key from now on; it goes where the old one was, with its .signed. The old one is worth nothing.",
            path.display()
        );
    }
    for path in successors {
        say!(
            "  {} is the next successor: keep it somewhere else, and make two copies.",
            path.display()
        );
    }
}
