//! What is tested: a branch of a repository, at a full revision.

use std::fmt;
use std::str::FromStr;

/// A full git object name: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits. Never a branch, tag or short form.
#[derive(
    Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(String);

/// Text that is not a full revision.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a revision is 40 or 64 lower-case hexadecimal digits")]
pub struct RevisionError;

impl Revision {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first ten digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl FromStr for Revision {
    type Err = RevisionError;

    fn from_str(raw: &str) -> Result<Self, RevisionError> {
        let hexadecimal = raw.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hexadecimal && matches!(raw.len(), 40 | 64) {
            Ok(Self(raw.to_owned()))
        } else {
            Err(RevisionError)
        }
    }
}

/// A branch's name without `refs/heads/`: 1 to 100 of `A-Z a-z 0-9 . _ / -`, and nothing that git or an option parser
/// could read as something else.
#[derive(
    Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Branch(String);

/// Text that is not a branch's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a branch has 1 to 100 characters of A-Z a-z 0-9 . _ / -, begins with a letter or digit, and has no `..`, `//`, `/.` \
     or final `/`, `.` or `.lock`"
)]
pub struct BranchError;

impl Branch {
    /// The name, without `refs/heads/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Branch {
    type Err = BranchError;

    fn from_str(raw: &str) -> Result<Self, BranchError> {
        let characters = raw
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b));
        let begins = raw
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        let tricks = ["..", "//", "/.", ".lock/"]
            .iter()
            .any(|trick| raw.contains(trick));
        let ends = raw.ends_with(['/', '.']) || raw.strip_suffix(".lock").is_some();
        if characters && begins && !tricks && !ends && raw.len() <= 100 {
            Ok(Self(raw.to_owned()))
        } else {
            Err(BranchError)
        }
    }
}

macro_rules! text_form {
    ($name:ident, $error:ident) => {
        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(raw: String) -> Result<Self, $error> {
                raw.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_form!(Revision, RevisionError);
text_form!(Branch, BranchError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revision_is_never_a_ref_or_an_option() {
        for bad in [
            "",
            "main",
            "--output=x",
            "1f3c",
            &"A".repeat(40),
            &"a".repeat(41),
            "refs/heads/main",
        ] {
            assert!(bad.parse::<Revision>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(40).parse::<Revision>().is_ok());
        assert!("0".repeat(64).parse::<Revision>().is_ok());
    }

    #[test]
    fn branch_is_never_an_option_or_a_ref_trick() {
        for bad in [
            "", "-x", "a..b", "a//b", "a/", "a.lock", "a.lock/b", "/a", "a b", "a~1", "a:b",
            "@{u}", "a/.b", ".",
        ] {
            assert!(bad.parse::<Branch>().is_err(), "{bad:?}");
        }
        for good in ["main", "3.15", "feature/x_y-z"] {
            assert!(good.parse::<Branch>().is_ok(), "{good:?}");
        }
    }
}
