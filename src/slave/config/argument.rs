//! A word of a script's command line, as its owner writes it.

use std::collections::BTreeMap;

use crate::model::{NameError, ParameterName, Text};

/// One word of a script's command line. Where the word begins and ends is its owner's to say: a value that stands in it
/// never makes two of it.
///
/// `{name}` stands for the value of that parameter, `{{` and `}}` for a brace.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Argument(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Literal(String),
    Value(ParameterName),
}

/// Why a word cannot be meant.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ArgumentError {
    /// `{` without its end.
    #[error("a {{ without a }} after it; for a brace itself, write {{{{")]
    Unclosed,
    /// `}` without its beginning.
    #[error("a }} without a {{ before it; for a brace itself, write }}}}")]
    Unopened,
    /// No parameter has such a name.
    #[error("{{{name}}} stands for no parameter")]
    Name {
        /// What stands between the braces.
        name: String,
        /// Why it is no name.
        source: NameError,
    },
    /// No program can be given that.
    #[error("a NUL character")]
    Nul,
}

impl Argument {
    /// The parameters whose values stand in it.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &ParameterName> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Value(name) => Some(name),
        })
    }

    /// The word itself. A parameter without a value leaves nothing in its place; the gate admits no command with one.
    pub(super) fn word(&self, values: &BTreeMap<ParameterName, Text>) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Literal(text) => text.as_str(),
            Piece::Value(name) => values.get(name).map_or("", Text::as_str),
        });
        pieces.collect()
    }
}

impl TryFrom<String> for Argument {
    type Error = ArgumentError;

    fn try_from(raw: String) -> Result<Self, ArgumentError> {
        let (mut pieces, mut literal) = (Vec::new(), String::new());
        let mut rest = raw.as_str();
        while let Some(at) = rest.find(['{', '}', '\0']) {
            literal.push_str(&rest[..at]);
            let found = &rest[at..];
            rest = if let Some(after) = found.strip_prefix("{{") {
                literal.push('{');
                after
            } else if let Some(after) = found.strip_prefix("}}") {
                literal.push('}');
                after
            } else if let Some(after) = found.strip_prefix('{') {
                let (name, after) = after.split_once('}').ok_or(ArgumentError::Unclosed)?;
                let name = name.parse().map_err(|source| ArgumentError::Name {
                    name: name.to_owned(),
                    source,
                })?;
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Value(name));
                after
            } else if found.starts_with('}') {
                return Err(ArgumentError::Unopened);
            } else {
                return Err(ArgumentError::Nul);
            };
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(raw: &str, values: &[(&str, &str)]) -> Result<String, ArgumentError> {
        let values = values
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), Text::tidy(value)))
            .collect();
        Argument::try_from(raw.to_owned()).map(|argument| argument.word(&values))
    }

    #[test]
    fn a60_a_value_stays_in_the_word_that_its_owner_put_it_into() {
        let values = [("version", "3.0 --evil; id"), ("mode", "{version}")];
        let cases = [
            ("--version", "--version"),
            ("--version={version}", "--version=3.0 --evil; id"),
            ("{version}", "3.0 --evil; id"),
            ("{mode}-{version}", "{version}-3.0 --evil; id"),
            ("{{version}}", "{version}"),
            ("{{{mode}}}", "{{version}}"),
            ("", ""),
        ];
        for (raw, expected) in cases {
            assert_eq!(word(raw, &values).unwrap(), expected, "{raw}");
        }
    }

    #[test]
    fn a_word_that_cannot_be_meant_is_an_error() {
        let cases = [
            ("{version", "without a }"),
            ("{", "without a }"),
            ("version}", "without a {"),
            ("{}", "{} stands for no parameter"),
            ("{ version }", "{ version } stands for no parameter"),
            ("{Version}", "stands for no parameter"),
            ("a\0b", "NUL"),
        ];
        for (raw, expected) in cases {
            let error = word(raw, &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{raw}: {error}");
        }
    }
}
