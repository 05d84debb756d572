//! `pybots keys init`: the keys of a new farm.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::record::Record;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::passphrase::PassphraseSource;
use crate::cli::{clock, files};
use crate::model::{FarmId, FarmName, PublicKey};
use crate::trust::{
    MasterSet, Passphrase, SecretKey, Terms, countersign, first, payload_id, words,
};
use crate::wire::encode;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The farm's name, such as community-pybots.
    name: FarmName,
    /// Where to put the files.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    /// For how many days the signing key is good.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// How many master keys to make, and as many successors.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    masters: u8,
    /// How many of them must sign a keyring.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    threshold: u8,
    /// Encrypt the master and the successor keys with a passphrase. The signing key stays as it is: it serves a master that
    /// starts without anybody to ask.
    #[arg(long)]
    passphrase: bool,
    #[command(flatten)]
    source: PassphraseSource,
}

/// How many master keys a farm has, how many must sign, and what they are encrypted with.
pub(in crate::cli) struct Masters {
    number: u8,
    threshold: u8,
    passphrase: Option<Passphrase>,
}

impl Masters {
    /// One key in a plain file.
    pub(in crate::cli) const ONE: Self = Self {
        number: 1,
        threshold: 1,
        passphrase: None,
    };
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        name,
        dir,
        days,
        masters: number,
        threshold,
        passphrase,
        source,
    } = arguments;
    if threshold > number {
        let message = format!("of {number} master keys {threshold} cannot sign");
        return Err(Failure::message(Exit::Usage, message).advice("No key was made."));
    }
    let passphrase = (passphrase || source.is_given())
        .then(|| source.of_new_files())
        .transpose()?;
    let masters = Masters {
        number,
        threshold,
        passphrase,
    };
    let bus_key = dir.join("bus.nk");
    check_free(&bus_key)?;
    let made = make(&name, &dir, days, &masters)?;
    for master in &made.masters {
        say!(
            "  ok  master key      {}   keep this offline: a USB stick, not this machine",
            master.display()
        );
    }
    for successor in &made.successors {
        say!(
            "  ok  successor key   {}   keep this somewhere else; make two copies",
            successor.display()
        );
    }
    say!(
        "  ok  signing key     {}   stays with the master, good for {days} days",
        made.signing.display()
    );
    say!(
        "  ok  keyring 0.0     {}   public, publish it",
        made.keyring.display()
    );
    let nkey = files::make_bus_seed(&bus_key)?;
    say!(
        "  ok  bus key         {}   the master's login {nkey}",
        bus_key.display()
    );
    say!(
        "  Each master key takes its record of what it signed (NAME.key.signed) with it to its stick."
    );
    if number > 1 {
        say!(
            "  Each goes to a stick of its own: {threshold} of {number} sign together. A successor key takes its NAME.key.set along."
        );
    }
    say!("  words   {}", words(&made.farm));
    say!("  Publish the farm id and its words in at least two places:");
    writeln!(anstream::stdout(), "{}", made.farm)?;
    Ok(Exit::Ok)
}

/// The files of a new farm.
pub(in crate::cli) struct Made {
    pub(in crate::cli) farm: FarmId,
    masters: Vec<PathBuf>,
    successors: Vec<PathBuf>,
    signing: PathBuf,
    keyring: PathBuf,
}

/// Makes the keys and keyring 0.0. Overwrites nothing.
pub(in crate::cli) fn make(
    name: &FarmName,
    folder: &Path,
    days: u32,
    of: &Masters,
) -> Result<Made, Failure> {
    let Masters {
        number,
        threshold,
        passphrase,
    } = of;
    let masters = key_files(folder, "master", *number);
    let successors = key_files(folder, "successor", *number);
    let signing = folder.join("signing.key");
    let keyring = folder.join(format!("{name}.keyring"));
    let records = masters.iter().map(|key| Record::path_of(key));
    let others = records.chain([signing.clone(), keyring.clone()]);
    for path in masters.iter().chain(&successors).cloned().chain(others) {
        check_free(&path)?;
    }
    files::make_folder(folder)?;
    let make_keys = |paths: &[PathBuf]| -> std::io::Result<Vec<SecretKey>> {
        paths.iter().map(|_| SecretKey::generate()).collect()
    };
    let (master_keys, successor_keys) = (make_keys(&masters)?, make_keys(&successors)?);
    let signing_key = SecretKey::generate()?;
    let set = |keys: &[SecretKey]| MasterSet {
        keys: keys.iter().map(SecretKey::public).collect(),
        threshold: *threshold,
    };
    let terms = Terms {
        now: clock::now(),
        good_for: days_long(days),
        overlap: Duration::ZERO,
    };
    let announced = set(&successor_keys);
    let draft = first(
        name.clone(),
        &set(&master_keys),
        &announced,
        signing_key.public(),
        &terms,
    );
    let signers: Vec<&SecretKey> = master_keys.iter().collect();
    let envelopes = countersign(&signers, &draft).map_err(Failure::error)?;
    let id = payload_id(&encode(&draft));
    let keys = master_keys.iter().chain(&successor_keys);
    for (key, path) in keys.zip(masters.iter().chain(&successors)) {
        store(key, path, passphrase.as_ref())?;
    }
    signing_key
        .store(&signing)
        .map_err(Failure::configuration)?;
    store_sets(&successors, &announced)?;
    for master in &masters {
        Record::of(master)?.note(draft.position, id)?;
    }
    files::write_new(&keyring, &envelopes.to_bytes()).map_err(Failure::configuration)?;
    Ok(Made {
        farm: FarmId(id.0),
        masters,
        successors,
        signing,
        keyring,
    })
}

/// A key that is there may be another farm's.
fn check_free(path: &Path) -> Result<(), Failure> {
    if !path.exists() {
        return Ok(());
    }
    let message = format!("{} is there already; no key was made", path.display());
    Err(Failure::message(Exit::Configuration, message)
        .advice("Keys are never overwritten. Choose another folder with --dir."))
}

/// Stores a key that is kept offline.
pub(super) fn store(
    key: &SecretKey,
    path: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<(), Failure> {
    match passphrase {
        Some(passphrase) => key.store_encrypted(path, passphrase),
        None => key.store(path),
    }
    .map_err(Failure::configuration)
}

pub(super) fn days_long(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 3600)
}

/// One key is called by its purpose, several are numbered.
pub(super) fn key_files(folder: &Path, purpose: &str, number: u8) -> Vec<PathBuf> {
    if number == 1 {
        return vec![folder.join(format!("{purpose}.key"))];
    }
    (1..=number)
        .map(|n| folder.join(format!("{purpose}-{n}.key")))
        .collect()
}

/// Where the set that a successor key belongs to is written down.
pub(super) fn set_file(key: &Path) -> PathBuf {
    let mut name = key.file_name().unwrap_or_default().to_owned();
    name.push(".set");
    key.with_file_name(name)
}

/// Writes beside each of several successor keys what only all of them together say: a succession names every one.
pub(super) fn store_sets(keys: &[PathBuf], set: &MasterSet) -> Result<(), Failure> {
    if keys.len() < 2 {
        return Ok(());
    }
    let names: Vec<String> = set.keys.iter().map(PublicKey::to_string).collect();
    let text = format!("{}\n{}\n", set.threshold, names.join("\n"));
    for key in keys {
        files::write_new(&set_file(key), text.as_bytes()).map_err(Failure::configuration)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a05_a_new_farm_gets_new_keys_and_takes_none_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let make_in = |name: &str, farm: &str| {
            let folder = folder.path().join(name);
            make(&farm.parse().unwrap(), &folder, 90, &Masters::ONE)
        };
        let (first, second) = (make_in("a", "farm").unwrap(), make_in("b", "farm").unwrap());
        assert_ne!(first.farm, second.farm);
        let key = |path: &Path| SecretKey::load(path).unwrap().public();
        let keys = |made: &Made| {
            let offline = made.masters.iter().chain(&made.successors);
            let paths = offline.chain([&made.signing]);
            paths.map(|path| key(path)).collect::<Vec<_>>()
        };
        assert!(keys(&first).iter().all(|key| !keys(&second).contains(key)));
        // One key that is there is enough, whatever its name is good for.
        for name in ["master.key", "successor.key", "signing.key"] {
            let place = folder.path().join(name.replace('.', "-"));
            std::fs::create_dir(&place).unwrap();
            std::fs::copy(folder.path().join("a").join(name), place.join(name)).unwrap();
            let failure = make(&"other".parse().unwrap(), &place, 90, &Masters::ONE);
            let sentence = failure.err().unwrap().sentence();
            assert!(
                sentence.ends_with(&format!("{name} is there already; no key was made")),
                "{sentence}"
            );
            assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1, "{name}");
        }
    }
}
