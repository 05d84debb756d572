//! Signing a draft: by one master key, or one machine after another until enough have signed.

use std::fs;
use std::path::{Path, PathBuf};

use super::record::Record;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::files;
use crate::cli::keyrings::Keyrings;
use crate::cli::passphrase::PassphraseSource;
use crate::model::{Keyring, PayloadId, Position};
use crate::trust::{SecretKey, countersign, payload_id};
use crate::wire::{Envelope, KeyringEnvelopes, encode};

/// A master key at hand, and what it has signed so far.
pub(super) struct MasterKey {
    path: PathBuf,
    pub(super) key: SecretKey,
    record: Record,
}

impl MasterKey {
    /// Reads the keys in `paths`, each once.
    pub(super) fn load(
        paths: &[PathBuf],
        passphrases: &PassphraseSource,
    ) -> Result<Vec<Self>, Failure> {
        let mut keys: Vec<Self> = Vec::new();
        for path in paths {
            let key = files::secret_key_asking(path, passphrases)?;
            if keys.iter().any(|known| known.key.id() == key.id()) {
                continue;
            }
            keys.push(Self {
                path: path.clone(),
                key,
                record: Record::of(path)?,
            });
        }
        Ok(keys)
    }
}

/// Where a draft has got to.
pub(super) enum Signed {
    /// It is a keyring.
    Whole,
    /// Others have to sign too.
    Partly {
        /// How many have signed,
        have: usize,
        /// of how many that must.
        need: u8,
    },
}

/// Whether each of `keys` may sign `draft`; asked before anything is written.
pub(super) fn check(keys: &[MasterKey], draft: &Keyring) -> Result<(), Failure> {
    let (position, id) = (draft.position, payload_id(&encode(draft)));
    for MasterKey { path, key, record } in keys {
        if !draft.master_keys.contains(&key.public()) {
            let names: Vec<String> = draft.master_keys.iter().map(ToString::to_string).collect();
            let message = format!(
                "the key in {} is {}, which is no master key of keyring {position}",
                path.display(),
                key.public(),
            );
            return Err(
                Failure::message(Exit::Configuration, message).advice(format!(
                    "Nothing was signed. Its master keys: {}.",
                    names.join(", ")
                )),
            );
        }
        record.check(position, id)?;
        if record_is_missing(path, position) {
            say!(
                "  --  {} is not there, so a new record of what this key signs is begun; keep the two together",
                Record::path_of(path).display()
            );
        }
    }
    Ok(())
}

/// Only a successor's first signature begins a record.
fn record_is_missing(key: &Path, position: Position) -> bool {
    position.serial > 0 && !Record::path_of(key).exists()
}

/// Signs `draft` with each of `keys`, on top of the signatures that lie beside it, and writes the result there. The
/// keyrings held decide whether it may be, and for the whole keyring whether it is one.
pub(super) fn sign(
    keyrings: &mut Keyrings,
    draft: &Keyring,
    keys: &mut [MasterKey],
) -> Result<Signed, Failure> {
    let (position, id) = (draft.position, payload_id(&encode(draft)));
    let (whole, partial) = paths(keyrings, position);
    let held = [&whole, &partial].map(|path| earlier(path, id));
    let [held_whole, held_partly] = held;
    let (held_whole, held_partly) = (held_whole?, held_partly?);
    let mut envelopes: Vec<Envelope> = held_whole
        .iter()
        .chain(&held_partly)
        .flat_map(|held| held.envelopes().to_vec())
        .collect();
    for key in keys.iter_mut() {
        key.record.note(position, id)?;
    }
    let secrets: Vec<&SecretKey> = keys.iter().map(|key| &key.key).collect();
    let fresh = countersign(&secrets, draft).map_err(Failure::error)?;
    envelopes.extend(fresh.envelopes().iter().cloned());
    envelopes.sort_by_key(|envelope| envelope.signer);
    envelopes.dedup_by_key(|envelope| envelope.signer);
    let have = envelopes.len();
    let signed = KeyringEnvelopes::new(envelopes)
        .map_err(Failure::error)?
        .to_bytes();
    if have < usize::from(draft.threshold) {
        replace(&partial, &signed)?;
        return Ok(Signed::Partly {
            have,
            need: draft.threshold,
        });
    }
    // Judged as every reader will judge it, before it is anywhere to be read.
    keyrings
        .reader
        .clone()
        .learn_keyring(&signed)
        .map_err(|error| {
            let message = format!("keyring {position} would not be taken: {error}");
            Failure::message(Exit::Unverified, message).advice(format!(
                "It was not written. The signatures in {} may be damaged.",
                partial.display()
            ))
        })?;
    if held_whole.is_some() {
        replace(&whole, &signed)?;
    } else {
        files::write_new(&whole, &signed).map_err(Failure::configuration)?;
    }
    if held_partly.is_some() {
        fs::remove_file(&partial)?;
    }
    keyrings.learn(&whole, Some(position))?;
    Ok(Signed::Whole)
}

/// Where a keyring lies, and where as long as it lacks signatures.
pub(super) fn paths(keyrings: &Keyrings, position: Position) -> (PathBuf, PathBuf) {
    let series = &keyrings.series;
    let whole = series.at(position);
    let partial = series.at_as(position, "keyring.partial");
    (whole, partial)
}

/// The signatures in a file, if it is there. They must be over the same payload.
fn earlier(path: &Path, id: PayloadId) -> Result<Option<KeyringEnvelopes>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read(path)?;
    match KeyringEnvelopes::parse(&bytes) {
        Ok(envelopes) if payload_id(envelopes.payload()) == id => Ok(Some(envelopes)),
        Ok(_) | Err(_) => {
            let message = format!(
                "{} is there already and is not of this draft",
                path.display()
            );
            Err(Failure::message(Exit::Unverified, message)
                .advice("Nothing was signed. No keyring is ever overwritten; move it away if it is not wanted."))
        }
    }
}

/// Puts a file with more signatures in the place of the one with fewer, in one step.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    // What an earlier try that was cut off has left.
    let _ = fs::remove_file(&draft);
    files::write_new(&draft, bytes).map_err(Failure::configuration)?;
    fs::rename(&draft, path)?;
    Ok(())
}
