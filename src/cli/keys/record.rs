//! What a master key has signed, in a file beside it: so that it never signs two keyrings for one place.
//!
//! One line for each position: `<generation>.<serial> <id of the payload>`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::exit::{Exit, Failure};
use crate::cli::files;
use crate::model::{PayloadId, Position};

const NOT_SIGNED: &str = "Nothing was signed.";

/// The record of one key.
pub(super) struct Record {
    path: PathBuf,
    signed: BTreeMap<Position, PayloadId>,
}

impl Record {
    /// Where the record of the key in `key` lies.
    pub(super) fn path_of(key: &Path) -> PathBuf {
        let mut name = key.file_name().unwrap_or_default().to_owned();
        name.push(".signed");
        key.with_file_name(name)
    }

    /// Reads the record of the key in `key`; a key without one has signed nothing yet, as far as anybody knows.
    pub(super) fn of(key: &Path) -> Result<Self, Failure> {
        let path = Self::path_of(key);
        if !path.exists() {
            let signed = BTreeMap::new();
            return Ok(Self { path, signed });
        }
        let text = files::read(&path).map_err(|failure| failure.advice(NOT_SIGNED))?;
        let text = String::from_utf8_lossy(&text);
        let mut signed = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let Some((position, id)) = parse(line) else {
                let message = format!(
                    "{}: line {number} does not say a position and what was signed for it",
                    path.display()
                );
                return Err(Failure::message(Exit::Configuration, message).advice(
                    "Nothing was signed. It is the record of what the key has signed; put it back from a backup.",
                ));
            };
            signed.insert(position, id);
        }
        Ok(Self { path, signed })
    }

    /// Whether the key may sign `id` for `position`.
    pub(super) fn check(&self, position: Position, id: PayloadId) -> Result<(), Failure> {
        match self.signed.get(&position) {
            Some(signed) if *signed != id => {
                let message = format!(
                    "this key has signed another keyring {position}, {signed} (says {}); this one is {id}",
                    self.path.display()
                );
                let next = position.serial.saturating_add(1);
                Err(Failure::message(Exit::Unverified, message).advice(format!(
                    "Nothing was signed: two keyrings at one place stop every slave. Find the other one and use that; \
                     or, if it is lost for good, make one for the place after it: --serial {next}."
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Writes down, for good, that the key signs `id` for `position`; only after that may the signature leave.
    pub(super) fn note(&mut self, position: Position, id: PayloadId) -> Result<(), Failure> {
        self.check(position, id)?;
        if self.signed.contains_key(&position) {
            return Ok(());
        }
        let note = || -> std::io::Result<()> {
            let mut file = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&self.path)?;
            file.write_all(format!("{position} {id}\n").as_bytes())?;
            file.sync_all()?;
            match self.path.parent() {
                Some(folder) if folder != Path::new("") => fs::File::open(folder)?.sync_all(),
                Some(_) | None => fs::File::open(".")?.sync_all(),
            }
        };
        note()
            .with_context(|| format!("cannot write {}", self.path.display()))
            .map_err(|error| {
                Failure::configuration(error).advice(
                    "Nothing was signed: a key signs only where it can write down beside it what it has signed.",
                )
            })?;
        self.signed.insert(position, id);
        Ok(())
    }
}

fn parse(line: &str) -> Option<(Position, PayloadId)> {
    let (position, id) = line.split_once(' ')?;
    let (generation, serial) = position.split_once('.')?;
    let position = Position {
        generation: generation.parse().ok()?,
        serial: serial.parse().ok()?,
    };
    Some((position, id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_one_payload_for_one_place_whatever_was_forgotten_since() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("master.key");
        let at = |serial| Position {
            generation: 0,
            serial,
        };
        let (one, other) = (PayloadId([1; 32]), PayloadId([2; 32]));
        Record::of(&key).unwrap().note(at(1), one).unwrap();
        let mut record = Record::of(&key).unwrap();
        record.note(at(1), one).unwrap();
        let refused = record.note(at(1), other).unwrap_err();
        assert!(refused.sentence().contains("another keyring 0.1"));
        record.note(at(2), other).unwrap();
        let text = fs::read_to_string(folder.path().join("master.key.signed")).unwrap();
        assert_eq!(text, format!("0.1 {one}\n0.2 {other}\n"));
    }

    #[test]
    fn a_record_that_cannot_be_read_stops_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("master.key");
        for bad in ["0.1\n", "0.1 SHA256:\n", "x\n", "\n", "1 SHA256:AQEB\n"] {
            fs::write(Record::path_of(&key), bad).unwrap();
            assert!(Record::of(&key).is_err(), "{bad:?}");
        }
    }
}
