//! Names. Each is parsed once, at the edge, and is safe wherever it is then put: in a subject, a path, a table.

use std::fmt;
use std::str::FromStr;

/// Why a name was not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// Empty or too long.
    #[error("{what} must have 1 to {max} characters, this one has {len}")]
    Length {
        /// What kind of name it was to be.
        what: &'static str,
        /// Bytes found.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The first character is a letter or digit, always.
    #[error("{what} must begin with a lower-case letter or a digit, not with {found:?}")]
    First {
        /// What kind of name it was to be.
        what: &'static str,
        /// The offending character.
        found: char,
    },
    /// A character outside the grammar.
    #[error("{what} may have only a-z, 0-9 and {extra}, not {found:?}")]
    Character {
        /// What kind of name it was to be.
        what: &'static str,
        /// The offending character.
        found: char,
        /// The punctuation that would be allowed.
        extra: &'static str,
    },
}

/// Longest name that becomes one token of a NATS subject, in bytes.
const MAX_TOKEN_LEN: usize = 48;

fn check(what: &'static str, raw: &str, max: usize, extra: &'static str) -> Result<(), NameError> {
    let Some(first) = raw.chars().next() else {
        return Err(NameError::Length { what, len: 0, max });
    };
    if raw.len() > max {
        return Err(NameError::Length {
            what,
            len: raw.len(),
            max,
        });
    }
    if !matches!(first, 'a'..='z' | '0'..='9') {
        return Err(NameError::First { what, found: first });
    }
    match raw
        .chars()
        .find(|&c| !matches!(c, 'a'..='z' | '0'..='9') && !extra.contains(c))
    {
        Some(found) => Err(NameError::Character { what, found, extra }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $extra:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(raw: &str) -> Result<Self, NameError> {
                check($what, raw, $max, $extra)?;
                Ok(Self(raw.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(raw: String) -> Result<Self, NameError> {
                raw.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// Name of a farm, for people; a farm *is* its [`FarmId`](super::FarmId).
    FarmName, "a farm's name", MAX_TOKEN_LEN, "-"
);
name!(
    /// Name of one volunteer's machine; one token of a NATS subject.
    SlaveName, "a slave's name", MAX_TOKEN_LEN, "-"
);
name!(
    /// Name of a builder, unique in the farm; one token of a NATS subject.
    BuilderName, "a builder's name", MAX_TOKEN_LEN, "-"
);
name!(
    /// Name of a watched repository; one token of a NATS subject. The owner maps it to a URL.
    RepositoryName, "a repository's name", MAX_TOKEN_LEN, "-"
);
name!(
    /// Name of a project whose tests are run.
    ProjectName, "a project's name", MAX_TOKEN_LEN, "-"
);
name!(
    /// Name of somebody who may ask the master for something; one token of a NATS subject.
    RequesterName, "a requester's name", MAX_TOKEN_LEN, "-"
);
name!(
    /// Name of something that only so many builds may hold at one time.
    LockName, "a lock's name", MAX_TOKEN_LEN, "-"
);
name!(
    /// The name that a slave's owner maps to a script.
    CommandId, "a command id", 64, "._-"
);
name!(
    /// Name of a parameter; a script sees it as `PYBOTS_P_<NAME>`.
    ParameterName, "a parameter's name", 32, "-"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a105_builder_name_accepts_exactly_one_subject_token() {
        let long = "a".repeat(49);
        for good in ["debian-amd64", "0", &"a".repeat(48)] {
            assert!(good.parse::<BuilderName>().is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "*",
            ">",
            "a.b",
            "$JS",
            "Debian",
            "-x",
            "a b",
            "ä",
            "a\0",
            "a\n",
            "{{name()}}",
            &long,
        ] {
            assert!(bad.parse::<BuilderName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a63_command_id_is_never_a_path() {
        for bad in ["../x", "/bin/sh", ".hidden", "a/b", "test foo", "TEST"] {
            assert!(bad.parse::<CommandId>().is_err(), "{bad:?}");
        }
        assert!("test-foo_3.15".parse::<CommandId>().is_ok());
    }

    proptest! {
        #[test]
        fn a105_no_name_holds_a_wildcard_a_dot_or_a_template(raw in ".*") {
            if let Ok(name) = raw.parse::<SlaveName>() {
                let dangerous = name.as_str().contains(['*', '>', '.', '$', '{', ' ']);
                prop_assert!(!dangerous, "{}", name);
            }
        }
    }
}
