//! The keyrings of a farm as files: 0.0 in a file of its own name, the later ones beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};
use super::files;
use super::series::Series;
use crate::model::{FarmId, Keyring, Position};
use crate::trust::{KeyringError, Learnt, Reader, payload_id};
use crate::wire::KeyringEnvelopes;

/// Why the keyrings of a folder are not relied on.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyringsError {
    /// A file or the folder cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// A file holds something else, or a keyring that does not verify.
    #[error("{path} is not a keyring that verifies")]
    Unverified {
        path: PathBuf,
        #[source]
        source: KeyringError,
    },
    /// A keyring under another one's name.
    #[error("{path} holds keyring {found}, which its name does not say")]
    OtherPosition { path: PathBuf, found: Position },
}

impl KeyringsError {
    /// Stable code, for searching.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "E-READ",
            Self::Unverified { source, .. } => source.code(),
            Self::OtherPosition { .. } => "E-POSITION",
        }
    }
}

impl From<KeyringsError> for Failure {
    fn from(error: KeyringsError) -> Self {
        match error {
            KeyringsError::Unreadable(_) => Self::configuration(error),
            KeyringsError::Unverified { .. } | KeyringsError::OtherPosition { .. } => {
                Self::new(Exit::Unverified, error).advice("Do not rely on this file.")
            }
        }
    }
}

/// The keyrings of one farm that lie in one folder, all verified.
pub(super) struct Keyrings {
    pub(super) series: Series,
    pub(super) reader: Reader,
    /// Each as it travels.
    messages: BTreeMap<Position, Vec<u8>>,
}

impl Keyrings {
    /// Takes in keyring 0.0 and those beside it that stand before `end`, in the order of their positions. Without a pinned
    /// farm the first keyring says which farm it is; somebody has to compare that.
    pub(super) fn load(
        series: Series,
        farm: Option<&FarmId>,
        end: Option<Position>,
    ) -> Result<Self, KeyringsError> {
        let first = read(series.first())?;
        let unverified = |path: &Path| {
            let path = path.to_owned();
            move |source: KeyringError| KeyringsError::Unverified { path, source }
        };
        let farm = match farm {
            Some(farm) => *farm,
            None => KeyringEnvelopes::parse(&first)
                .map(|envelopes| FarmId(payload_id(envelopes.payload()).0))
                .map_err(|error| unverified(series.first())(error.into()))?,
        };
        let reader = Reader::new(farm, &first).map_err(unverified(series.first()))?;
        let mut keyrings = Self {
            messages: BTreeMap::from([(Position::default(), first)]),
            reader,
            series,
        };
        let later = keyrings.series.later().map_err(|error| {
            let first = keyrings.series.first().display();
            KeyringsError::Unreadable(format!("cannot read the folder of {first}: {error}"))
        })?;
        for (position, path) in later {
            if end.is_some_and(|end| position >= end) {
                continue;
            }
            keyrings.learn(&path, Some(position))?;
        }
        Ok(keyrings)
    }

    /// Takes in one more file, whose name may say which position to expect. Returns the position that it has.
    pub(super) fn learn(
        &mut self,
        path: &Path,
        expected: Option<Position>,
    ) -> Result<(Position, Learnt), KeyringsError> {
        let bytes = read(path)?;
        let learnt =
            self.reader
                .learn_keyring(&bytes)
                .map_err(|source| KeyringsError::Unverified {
                    path: path.to_owned(),
                    source,
                })?;
        let position = position_of(&bytes).unwrap_or_default();
        if expected.is_some_and(|expected| expected != position) {
            return Err(KeyringsError::OtherPosition {
                path: path.to_owned(),
                found: position,
            });
        }
        self.messages.entry(position).or_insert(bytes);
        Ok((position, learnt))
    }

    /// The newest of them.
    pub(super) fn newest(&self) -> &Keyring {
        self.reader.keyring()
    }

    /// Each as it travels, in the order of their positions.
    pub(super) fn messages(&self) -> &BTreeMap<Position, Vec<u8>> {
        &self.messages
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeyringsError> {
    files::read(path).map_err(|failure| KeyringsError::Unreadable(failure.sentence()))
}

/// Which keyring a message claims to hold; for one that has been verified, does hold.
pub(super) fn position_of(message: &[u8]) -> Option<Position> {
    let envelopes = KeyringEnvelopes::parse(message).ok()?;
    let keyring: Keyring = crate::wire::decode(envelopes.payload()).ok()?;
    Some(keyring.position)
}
