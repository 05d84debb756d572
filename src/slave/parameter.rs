//! The owner's grammar of parameters: what a command may fill in.

mod pattern;

use std::fmt;

pub use pattern::{LeadingHyphen, Pattern, PatternError};

use crate::model::{Revision, Text};

/// What a parameter's value may be. The value reaches the script as the variable `PYBOTS_P_<NAME>`, and on its command line
/// where its owner says so; never through a shell.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(
    tag = "type",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Grammar {
    /// A full git revision.
    Revision,
    /// 1 to 100 of `A-Z a-z 0-9 . _ + -`, beginning with a letter or digit: a version, a name, never an option or a path.
    Word,
    /// A decimal number within bounds.
    Integer {
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
    /// One of the listed.
    Choice {
        /// The list.
        values: Vec<Text>,
    },
    /// Text that a regular expression fits from its first to its last character.
    Pattern {
        /// The regular expression.
        pattern: Pattern,
        /// Longest value, in bytes.
        #[serde(default = "longest")]
        max_length: usize,
        /// Whether a value may begin with `-`, where the expression would let it.
        #[serde(default)]
        leading_hyphen: LeadingHyphen,
    },
}

fn longest() -> usize {
    Grammar::LONGEST
}

/// A grammar that cannot be meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum GrammarError {
    /// `min` above `max`.
    #[error("min is greater than max")]
    EmptyRange,
    /// No value to choose.
    #[error("choice lists no values")]
    NoChoice,
    /// A length that no value has.
    #[error("max-length must be 1 to {max}", max = Text::MAX_LEN)]
    Length,
}

/// A value outside the grammar.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParameterFault {
    /// The owner's table has no parameter of that name.
    #[error("the owner allows no parameter of that name")]
    Unknown,
    /// The owner's table has it, the command does not.
    #[error("the command gives it no value")]
    Missing,
    /// Not a revision.
    #[error("not a full revision")]
    Revision,
    /// Not a word.
    #[error("not a word of letters, digits and . _ + -")]
    Word,
    /// Not a number, or out of bounds.
    #[error("not a whole number within the owner's bounds")]
    Integer,
    /// Not on the list.
    #[error("not one of the owner's choices")]
    Choice,
    /// Not what the pattern says.
    #[error("not what the owner's pattern describes")]
    Pattern,
    /// Too long.
    #[error("longer than the owner allows")]
    Length,
    /// It could be taken for an option.
    #[error("it begins with -, and could be taken for an option")]
    LeadingHyphen,
}

impl Grammar {
    /// Longest word, and longest value of a pattern where its owner says nothing, in bytes.
    pub const LONGEST: usize = 100;

    /// Checks the grammar itself.
    ///
    /// # Errors
    ///
    /// [`GrammarError`] if no value could ever fit.
    pub fn check(&self) -> Result<(), GrammarError> {
        match self {
            Self::Integer { min, max } if min > max => Err(GrammarError::EmptyRange),
            Self::Choice { values } if values.is_empty() => Err(GrammarError::NoChoice),
            Self::Pattern { max_length, .. } if !(1..=Text::MAX_LEN).contains(max_length) => {
                Err(GrammarError::Length)
            }
            Self::Revision
            | Self::Word
            | Self::Integer { .. }
            | Self::Choice { .. }
            | Self::Pattern { .. } => Ok(()),
        }
    }

    /// Checks a value.
    ///
    /// # Errors
    ///
    /// The [`ParameterFault`] of this grammar.
    pub fn accept(&self, value: &Text) -> Result<(), ParameterFault> {
        let raw = value.as_str();
        let fits = |fits: bool, fault| if fits { Ok(()) } else { Err(fault) };
        match self {
            Self::Revision => fits(raw.parse::<Revision>().is_ok(), ParameterFault::Revision),
            Self::Word => fits(is_word(raw), ParameterFault::Word),
            Self::Integer { min, max } => {
                // One spelling: what the number would be written as.
                let number = raw
                    .parse::<i64>()
                    .ok()
                    .filter(|number| number.to_string() == raw);
                fits(
                    number.is_some_and(|number| (*min..=*max).contains(&number)),
                    ParameterFault::Integer,
                )
            }
            Self::Choice { values } => fits(values.contains(value), ParameterFault::Choice),
            Self::Pattern {
                pattern,
                max_length,
                leading_hyphen,
            } => {
                fits(raw.len() <= *max_length, ParameterFault::Length)?;
                let option = raw.starts_with('-') && *leading_hyphen == LeadingHyphen::Refuse;
                fits(!option, ParameterFault::LeadingHyphen)?;
                fits(pattern.fits(raw), ParameterFault::Pattern)
            }
        }
    }
}

impl fmt::Display for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision => f.write_str("a full git revision, 40 or 64 hex digits"),
            Self::Word => write!(
                f,
                "1 to {} letters, digits and . _ + -, beginning with a letter or digit",
                Self::LONGEST
            ),
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Choice { values } => {
                let values: Vec<&str> = values.iter().map(Text::as_str).collect();
                write!(f, "one of: {}", values.join(", "))
            }
            Self::Pattern {
                pattern,
                max_length,
                leading_hyphen,
            } => {
                write!(f, "{pattern}, at most {max_length} bytes")?;
                match leading_hyphen {
                    LeadingHyphen::Refuse => Ok(()),
                    LeadingHyphen::Allow => f.write_str(", also with a leading -"),
                }
            }
        }
    }
}

fn is_word(raw: &str) -> bool {
    raw.len() <= Grammar::LONGEST
        && raw.starts_with(|c: char| c.is_ascii_alphanumeric())
        && raw
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a60_a61_no_grammar_lets_an_option_a_path_or_a_shell_character_through() {
        let hostile = [
            "",
            "-o",
            "--flag",
            "@file",
            "a b",
            "a\tb",
            "$(id)",
            "`id`",
            "a;b",
            "a|b",
            "a&b",
            "../x",
            "/etc/passwd",
            "a/b",
            "x=y",
            "'",
            "\"",
            "a\u{e4}",
            "main",
            "0x10",
            "+1",
            "01",
            "99999999999999999999",
        ];
        let choice = Grammar::Choice {
            values: vec![Text::tidy("debug"), Text::tidy("release")],
        };
        for value in hostile {
            let value = Text::tidy(value);
            assert!(Grammar::Revision.accept(&value).is_err(), "{value:?}");
            assert!(
                Grammar::Integer { min: 0, max: 9 }.accept(&value).is_err(),
                "{value:?}"
            );
            assert!(choice.accept(&value).is_err(), "{value:?}");
        }
        for value in hostile.iter().take(18) {
            assert!(
                Grammar::Word.accept(&Text::tidy(value)).is_err(),
                "{value:?}"
            );
        }
        assert!(Grammar::Word.accept(&Text::tidy("3.15.0a2+local")).is_ok());
        assert!(
            Grammar::Integer { min: -1, max: 9 }
                .accept(&Text::tidy("-1"))
                .is_ok()
        );
        assert!(choice.accept(&Text::tidy("debug")).is_ok());
        assert!(
            Grammar::Revision
                .accept(&Text::tidy(&"a".repeat(40)))
                .is_ok()
        );
    }

    fn grammar(text: &str) -> Grammar {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a60_a61_a69_a70_a_pattern_lets_through_what_its_owner_wrote_and_no_option() {
        let refs = grammar("type = 'pattern'\npattern = '[A-Za-z0-9._/-]{1,60}'");
        for good in ["main", "refs/heads/3.15", "a"] {
            assert_eq!(refs.accept(&Text::tidy(good)), Ok(()), "{good}");
        }
        let cases = [
            ("--upload-pack=x", ParameterFault::LeadingHyphen),
            ("-oProxyCommand", ParameterFault::LeadingHyphen),
            ("-", ParameterFault::LeadingHyphen),
            ("ext::sh -c id", ParameterFault::Pattern),
            ("file:///etc", ParameterFault::Pattern),
            ("$(id)", ParameterFault::Pattern),
            ("main;id", ParameterFault::Pattern),
            ("@file", ParameterFault::Pattern),
            ("", ParameterFault::Pattern),
        ];
        for (bad, fault) in cases {
            assert_eq!(refs.accept(&Text::tidy(bad)), Err(fault), "{bad}");
        }
        let long = Text::tidy(&"a".repeat(61));
        assert_eq!(refs.accept(&long), Err(ParameterFault::Pattern));
        let any = grammar("type = 'pattern'\npattern = '.*'");
        let long = |len| Text::tidy(&"a".repeat(len));
        assert_eq!(any.accept(&long(100)), Ok(()));
        assert_eq!(any.accept(&long(101)), Err(ParameterFault::Length));
        let short = grammar("type = 'pattern'\npattern = '.*'\nmax-length = 3");
        assert_eq!(short.accept(&long(4)), Err(ParameterFault::Length));
    }

    #[test]
    fn a60_only_an_owner_who_says_so_lets_a_value_begin_with_a_hyphen() {
        let text = "type = 'pattern'\npattern = '-?[a-z]+'\nleading-hyphen = ";
        let level = Text::tidy("-x");
        let refused = grammar(&format!("{text}'refuse'"));
        assert_eq!(refused.accept(&level), Err(ParameterFault::LeadingHyphen));
        let allowed = grammar(&format!("{text}'allow'"));
        assert_eq!(allowed.accept(&level), Ok(()));
        assert!(allowed.accept(&Text::tidy("--x")).is_err());
    }

    #[test]
    fn a61_no_control_character_is_in_any_value_whatever_a_pattern_says() {
        let any = grammar("type = 'pattern'\npattern = '(?s).*'");
        for raw in ["a\nb", "a\0b", "a\x1b[2J", "a\r", "\u{202e}"] {
            assert!(Text::try_from(raw.to_owned()).is_err(), "{raw:?}");
            assert_eq!(any.accept(&Text::tidy(raw)), Ok(()));
        }
    }

    #[test]
    fn a_grammar_that_no_value_fits_is_none() {
        let length = |max_length| Grammar::Pattern {
            pattern: ".*".to_owned().try_into().unwrap(),
            max_length,
            leading_hyphen: LeadingHyphen::Refuse,
        };
        assert_eq!(length(0).check(), Err(GrammarError::Length));
        assert_eq!(length(513).check(), Err(GrammarError::Length));
        assert_eq!(length(512).check(), Ok(()));
    }
}
