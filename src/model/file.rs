//! What is wrong in a file that a person wrote, and where.

use std::fmt;

/// A fault in a configuration file, with its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileFault {
    /// Line, from 1; none if the fault has no one place.
    line: Option<usize>,
    /// Column, from 1, in characters.
    column: Option<usize>,
    message: String,
}

impl FileFault {
    /// A fault in TOML text, as its reader says.
    #[must_use]
    pub fn toml(text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().trim().replace('\n', ", ");
        match error.span() {
            Some(span) => Self::at(text, span.start, message),
            None => Self {
                line: None,
                column: None,
                message,
            },
        }
    }

    /// A fault at a byte of the text.
    #[must_use]
    pub fn at(text: &str, offset: usize, message: String) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let last = before.rsplit('\n').next().unwrap_or_default();
        Self {
            line: Some(before.matches('\n').count() + 1),
            column: Some(last.chars().count() + 1),
            message,
        }
    }

    /// Line and column, from 1, the column in characters; none if the fault has no one place.
    #[must_use]
    pub fn place(&self) -> Option<(usize, usize)> {
        self.line.zip(self.column)
    }

    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for FileFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only whether it parses matters")]
        name: String,
    }

    #[test]
    fn a_toml_fault_says_line_column_and_field() {
        let text = "name = \"x\"\nnome = 1\n";
        let error = toml::from_str::<Sample>(text).unwrap_err();
        let fault = FileFault::toml(text, &error).to_string();
        assert!(
            fault.starts_with("line 2, column 1: unknown field `nome`"),
            "{fault}"
        );
    }
}
