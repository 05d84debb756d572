//! Files of one kind that lie beside each other: the first by its own name, the later ones with a position in theirs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::Position;

/// A first file, such as `signing.key`, and the later ones beside it, such as `signing.0.1.key`.
#[derive(Clone, Debug)]
pub(super) struct Series {
    first: PathBuf,
    stem: String,
    extension: String,
}

impl Series {
    /// What begins with `first`.
    pub(super) fn of(first: &Path) -> Self {
        let part = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        Self {
            first: first.to_owned(),
            stem: part(first.file_stem()),
            extension: part(first.extension()),
        }
    }

    /// The series of keyrings that a keyring, a draft of one or one that lacks signatures belongs to, by its name; and
    /// the position there. A name without a position is that of the first keyring.
    pub(super) fn of_keyring(path: &Path) -> (Self, Option<Position>) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let found = [".keyring.partial", ".keyring", ".draft"]
            .iter()
            .find_map(|extension| split(name.strip_suffix(extension)?));
        match found {
            Some((stem, position)) => {
                let first = path.with_file_name(format!("{stem}.keyring"));
                (Self::of(&first), Some(position))
            }
            None => (Self::of(path), None),
        }
    }

    /// Where the first file lies.
    pub(super) fn first(&self) -> &Path {
        &self.first
    }

    /// Where the file of a position lies.
    pub(super) fn at(&self, position: Position) -> PathBuf {
        self.at_as(position, &self.extension)
    }

    /// Where something else of that position lies.
    pub(super) fn at_as(&self, position: Position, extension: &str) -> PathBuf {
        let name = format!("{}.{position}.{extension}", self.stem);
        self.first.with_file_name(name)
    }

    /// The later files that are there, in the order of their positions.
    pub(super) fn later(&self) -> io::Result<Vec<(Position, PathBuf)>> {
        let folder = match self.first.parent() {
            Some(folder) if folder != Path::new("") => folder,
            Some(_) | None => Path::new("."),
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let position = name
                .to_str()
                .and_then(|name| name.strip_suffix(&self.extension)?.strip_suffix('.'))
                .and_then(split)
                .filter(|(stem, _)| *stem == self.stem);
            if let Some((_, position)) = position {
                found.push((position, self.at(position)));
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Splits a position off the end of a name.
fn split(name: &str) -> Option<(&str, Position)> {
    // Only the one spelling: 0.01 would be a second file for 0.1.
    let number = |text: &str| -> Option<u32> {
        let number: u32 = text.parse().ok()?;
        (number.to_string() == text).then_some(number)
    };
    let (name, serial) = name.rsplit_once('.')?;
    let (stem, generation) = name.rsplit_once('.')?;
    let position = Position {
        generation: number(generation)?,
        serial: number(serial)?,
    };
    (!stem.is_empty()).then_some((stem, position))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(generation: u32, serial: u32) -> Position {
        Position { generation, serial }
    }

    #[test]
    fn a_keyrings_name_says_its_farm_and_its_position() {
        let cases = [
            ("k/farm.keyring", "k/farm.keyring", None),
            ("k/farm.0.1.keyring", "k/farm.keyring", Some(at(0, 1))),
            ("farm.12.0.draft", "farm.keyring", Some(at(12, 0))),
            ("farm.0.2.keyring.partial", "farm.keyring", Some(at(0, 2))),
            ("farm.0.01.keyring", "farm.0.01.keyring", None),
            ("farm.0.keyring", "farm.0.keyring", None),
            ("farm.0.+1.keyring", "farm.0.+1.keyring", None),
        ];
        for (path, first, position) in cases {
            let (series, found) = Series::of_keyring(Path::new(path));
            assert_eq!((series.first(), found), (Path::new(first), position));
        }
    }

    #[test]
    fn later_files_come_in_the_order_of_their_positions_and_strangers_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "signing.key",
            "signing.0.10.key",
            "signing.0.2.key",
            "signing.1.0.key",
            "signing.0.2.key.signed",
            "other.0.3.key",
            "signing.0.3.keyring",
            "signing.0.03.key",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let series = Series::of(&folder.path().join("signing.key"));
        let later = series.later().unwrap();
        let positions: Vec<Position> = later.iter().map(|(position, _)| *position).collect();
        assert_eq!(positions, [at(0, 2), at(0, 10), at(1, 0)]);
        assert!(later.iter().all(|(_, path)| path.exists()));
    }
}
