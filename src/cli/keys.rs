//! `pybots keys`: the farm's keys.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::exit::{Exit, Failure, say};
use super::passphrase::PassphraseSource;
use super::{clock, files};
use crate::model::{FarmId, FarmName, Keyring, Position, SigningKeyWindow};
use crate::trust::{
    self, Passphrase, SecretKey, commitment, countersign, key_id, payload_id, words,
};
use crate::wire::{KeyringEnvelopes, encode};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make the keys and the first keyring of a new farm.
    Init {
        /// The farm's name, such as community-pybots.
        name: FarmName,
        /// Where to put the files.
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        dir: PathBuf,
        /// For how many days the signing key is good.
        #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        /// Encrypt the master key and the successor key with a passphrase. The signing key stays as it is: it serves a
        /// master that starts without anybody to ask.
        #[arg(long)]
        passphrase: bool,
        #[command(flatten)]
        source: PassphraseSource,
    },
    /// Show what a first keyring says, after checking it.
    Show {
        /// The keyring's file.
        keyring: PathBuf,
        /// The farm id that you expect; nothing else is shown as good.
        #[arg(long, value_name = "FARM-ID")]
        farm: Option<FarmId>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Init {
            name,
            dir,
            days,
            passphrase,
            source,
        } => {
            let passphrase = (passphrase || source.is_given())
                .then(|| source.of_new_files())
                .transpose()?;
            let made = init(&name, &dir, days, passphrase.as_ref())?;
            say!(
                "  ok  master key      {}   keep this offline: a USB stick, not this machine",
                made.master.display()
            );
            say!(
                "  ok  successor key   {}   keep this somewhere else; make two copies",
                made.successor.display()
            );
            say!(
                "  ok  signing key     {}   stays with the master, good for {days} days",
                made.signing.display()
            );
            say!(
                "  ok  keyring 0.0     {}   public, publish it",
                made.keyring.display()
            );
            let bus_key = dir.join("bus.nk");
            let nkey = files::make_bus_seed(&bus_key)?;
            say!(
                "  ok  bus key         {}   the master's login {nkey}",
                bus_key.display()
            );
            say!("  words   {}", words(&made.farm));
            say!("  Publish the farm id and its words in at least two places:");
            writeln!(anstream::stdout(), "{}", made.farm)?;
            Ok(Exit::Ok)
        }
        Command::Show {
            keyring,
            farm,
            json,
        } => show(&keyring, farm, json),
    }
}

/// The files of a new farm.
pub(super) struct Made {
    pub(super) farm: FarmId,
    master: PathBuf,
    successor: PathBuf,
    pub(super) signing: PathBuf,
    pub(super) keyring: PathBuf,
}

/// Makes three keys and keyring 0.0. Overwrites nothing. With a passphrase the two offline keys are encrypted.
pub(super) fn init(
    name: &FarmName,
    folder: &Path,
    days: u32,
    passphrase: Option<&Passphrase>,
) -> Result<Made, Failure> {
    let file = |name: &str| folder.join(name);
    let (master, successor, signing) = (
        file("master.key"),
        file("successor.key"),
        file("signing.key"),
    );
    let keyring = file(&format!("{name}.keyring"));
    for path in [&master, &successor, &signing, &keyring] {
        if path.exists() {
            let message = format!("{} is there already; no key was made", path.display());
            return Err(Failure::message(Exit::Configuration, message)
                .advice("Keys are never overwritten. Choose another folder with --dir."));
        }
    }
    files::make_folder(folder)?;
    let (master_key, successor_key, signing_key) = (
        SecretKey::generate()?,
        SecretKey::generate()?,
        SecretKey::generate()?,
    );
    let now = clock::now();
    let not_after = now.after(Duration::from_secs(u64::from(days) * 24 * 3600));
    let first = Keyring {
        name: name.clone(),
        position: Position::default(),
        previous: None,
        issued: now,
        expires: not_after,
        master_keys: vec![master_key.public()],
        threshold: 1,
        commitment: commitment(1, &[successor_key.public()]),
        // A clock that runs a little behind ours must not see a key that is not good yet.
        signing_keys: vec![SigningKeyWindow {
            key: signing_key.public(),
            not_before: now.before(Duration::from_secs(600)),
            not_after,
        }],
        revoked: Vec::new(),
    };
    let envelopes = countersign(&[&master_key], &first).map_err(Failure::error)?;
    let farm = FarmId(payload_id(&encode(&first)).0);
    for (key, path, passphrase) in [
        (&master_key, &master, passphrase),
        (&successor_key, &successor, passphrase),
        (&signing_key, &signing, None),
    ] {
        match passphrase {
            Some(passphrase) => key.store_encrypted(path, passphrase),
            None => key.store(path),
        }
        .map_err(Failure::configuration)?;
    }
    fs::write(&keyring, envelopes.to_bytes())
        .with_context(|| format!("cannot write {}", keyring.display()))
        .map_err(Failure::configuration)?;
    Ok(Made {
        farm,
        master,
        successor,
        signing,
        keyring,
    })
}

fn show(path: &Path, expected: Option<FarmId>, as_json: bool) -> Result<Exit, Failure> {
    let bytes = files::read(path)?;
    let unverified = |error: anyhow::Error| {
        Failure::new(Exit::Unverified, error).advice("Do not rely on this file.")
    };
    let place = || format!("{} is not a keyring that verifies", path.display());
    let envelopes = KeyringEnvelopes::parse(&bytes)
        .with_context(place)
        .map_err(unverified)?;
    let farm = expected.unwrap_or(FarmId(payload_id(envelopes.payload()).0));
    let keyring = trust::open_first(&farm, &bytes)
        .with_context(place)
        .map_err(unverified)?;
    let mut out = anstream::stdout();
    if as_json {
        writeln!(out, "{:#}", in_json(&farm, &keyring))?;
        return Ok(Exit::Ok);
    }
    writeln!(out, "farm        {}", keyring.name)?;
    writeln!(out, "farm id     {farm}")?;
    writeln!(out, "words       {}", words(&farm))?;
    writeln!(out, "subjects    pybots.{}.>", farm.token())?;
    writeln!(
        out,
        "keyring     {}, issued {}, expires {}",
        keyring.position, keyring.issued, keyring.expires
    )?;
    for key in &keyring.master_keys {
        writeln!(out, "master key  {key}")?;
    }
    for window in &keyring.signing_keys {
        let in_force = if window.contains(clock::now()) {
            "in force"
        } else {
            "NOT in force now"
        };
        writeln!(
            out,
            "signing key {}, {} until {}, {in_force}",
            window.key, window.not_before, window.not_after
        )?;
    }
    if expected.is_none() {
        say!("Compare the farm id, or its words, with a second source before you rely on it.");
    }
    Ok(Exit::Ok)
}

fn in_json(farm: &FarmId, keyring: &Keyring) -> serde_json::Value {
    let signing_keys: Vec<_> = keyring
        .signing_keys
        .iter()
        .map(|window| {
            json!({
                "key": window.key,
                "id": key_id(&window.key),
                "not_before": window.not_before,
                "not_after": window.not_after,
            })
        })
        .collect();
    json!({
        "schema": "pybots.keyring.v1",
        "name": keyring.name,
        "farm": farm,
        "words": words(farm),
        "subjects": format!("pybots.{}.>", farm.token()),
        "position": keyring.position.to_string(),
        "issued": keyring.issued,
        "expires": keyring.expires,
        "master_keys": keyring.master_keys,
        "threshold": keyring.threshold,
        "signing_keys": signing_keys,
    })
}
