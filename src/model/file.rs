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
        let before = error
            .span()
            .map(|span| text.get(..span.start).unwrap_or(text));
        let line = before.map(|before| before.matches('\n').count() + 1);
        let column = before.map(|before| {
            before
                .rsplit('\n')
                .next()
                .map_or(0, |last| last.chars().count())
                + 1
        });
        Self {
            line,
            column,
            message: error.message().trim().replace('\n', ", "),
        }
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
