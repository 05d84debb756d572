//! A version of a project that can be fetched.

use std::fmt;
use std::str::FromStr;

use super::{FarmId, PayloadId, ProjectName, Timestamp};

/// A project has released a version. Only the version travels; the owner's script fetches it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Release {
    /// The farm.
    pub farm: FarmId,
    /// Which project.
    pub project: ProjectName,
    /// Which version.
    pub version: Version,
    /// The version that the master knew before; none the first time.
    pub previous: Option<Version>,
    /// When the master saw it.
    pub seen: Timestamp,
    /// How it was found.
    pub origin: ReleaseOrigin,
    /// The request that announced it, where one did.
    pub request: Option<PayloadId>,
}

/// How a release was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseOrigin {
    /// A tag of a watched repository.
    Tag,
    /// A package index.
    Index,
    /// A signed request.
    Request,
}

/// A version: what a package index, a tag or a person calls it, and safe as a parameter.
#[derive(
    Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

/// Text that is no version.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a version has 1 to {max} characters of A-Z a-z 0-9 . ! + _ -, and begins with a letter or a digit",
    max = Version::MAX_LEN
)]
pub struct VersionError;

impl Version {
    /// Longest version, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The version as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(raw: String) -> Result<Self, VersionError> {
        let begins_well = raw.starts_with(|c: char| c.is_ascii_alphanumeric());
        let is_plain = raw
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".!+_-".contains(c));
        if begins_well && is_plain && raw.len() <= Self::MAX_LEN {
            Ok(Self(raw))
        } else {
            Err(VersionError)
        }
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(raw: &str) -> Result<Self, VersionError> {
        raw.to_owned().try_into()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_one_plain_word() {
        for good in ["1.0", "v2", "2026.1", "1!2.0+local", "3.15.0a1", "a"] {
            assert_eq!(good.parse::<Version>().unwrap().as_str(), good);
        }
        let long = "1".repeat(65);
        for bad in [
            "", "-1", ".1", "1 0", "1/0", "1;rm", "$(x)", "1\n", "é1", &long,
        ] {
            assert_eq!(bad.parse::<Version>(), Err(VersionError), "{bad:?}");
        }
    }
}
