//! The owner's grammar of parameters: what a command may fill in.

use crate::model::{Revision, Text};

/// What a parameter's value may be. The value reaches the script only as the variable `PYBOTS_P_<NAME>`, never through a
/// shell and never on a command line.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
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
}

impl Grammar {
    /// Checks the grammar itself.
    ///
    /// # Errors
    ///
    /// [`GrammarError`] if no value could ever fit.
    pub fn check(&self) -> Result<(), GrammarError> {
        match self {
            Self::Integer { min, max } if min > max => Err(GrammarError::EmptyRange),
            Self::Choice { values } if values.is_empty() => Err(GrammarError::NoChoice),
            Self::Revision | Self::Word | Self::Integer { .. } | Self::Choice { .. } => Ok(()),
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
        }
    }
}

fn is_word(raw: &str) -> bool {
    raw.len() <= 100
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
}
