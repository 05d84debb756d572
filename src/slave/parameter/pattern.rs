//! A regular expression of the owner's.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// A regular expression that a whole value must fit.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern {
    source: String,
    whole: Regex,
}

/// A regular expression that is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a regular expression that can be used here: {0}")]
pub struct PatternError(String);

/// Whether a value may begin with `-`. What a script does with such a value is easily to take it for an option.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeadingHyphen {
    /// It may not, whatever the expression says.
    #[default]
    Refuse,
    /// It may, where the expression lets it.
    Allow,
}

impl Pattern {
    /// Most memory of a compiled expression, in bytes: some kilobytes are usual.
    const MAX_SIZE: usize = 1 << 20;

    /// Whether it fits all of `value`, from the first to the last byte.
    pub(super) fn fits(&self, value: &str) -> bool {
        self.whole.is_match(value.as_bytes())
    }

    /// The expression as its owner wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

/// Letters and digits are those of ASCII: an owner who writes `\w` or `\d` hardly means those of all scripts.
fn compile(expression: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(expression)
        .unicode(false)
        .size_limit(Pattern::MAX_SIZE)
        .dfa_size_limit(Pattern::MAX_SIZE)
        .build()
        .map_err(|error| {
            // The lines before the last one draw the place.
            let said = error.to_string();
            let last = said.lines().next_back().unwrap_or_default();
            PatternError(last.trim_start_matches("error: ").to_owned())
        })
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(source: String) -> Result<Self, PatternError> {
        // Alone first: brackets that close ours, as in `a)|(b`, are no expression, and would let half a value do.
        compile(&source)?;
        let whole = compile(&format!(r"\A(?:{source})\z"))?;
        Ok(Self { source, whole })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(source: &str) -> Result<Pattern, PatternError> {
        source.to_owned().try_into()
    }

    #[test]
    fn a_pattern_must_fit_the_whole_value() {
        for source in ["a|ab", "^(a|ab)$", "a(?:b)?", "(?m)^(a|ab)$", "(?x: a b? )"] {
            let pattern = pattern(source).unwrap();
            for good in ["a", "ab"] {
                assert!(pattern.fits(good), "{source} {good}");
            }
            for bad in ["", "xa", "ax", "abx", "a\nb", "a\n", "\na", "aab"] {
                assert!(!pattern.fits(bad), "{source} {bad:?}");
            }
        }
    }

    #[test]
    fn a_pattern_that_would_leave_its_bounds_or_the_memory_is_none() {
        let cases = [
            ("a)|(?:b", "unopened group"),
            ("a(b", "unclosed group"),
            ("(?x)a #", "unclosed group"),
            ("((a{1000}){1000}){1000}", "size limit"),
            (r"\p{Greek}", "Unicode"),
        ];
        for (source, expected) in cases {
            let error = pattern(source).unwrap_err().to_string();
            assert!(error.contains(expected), "{source}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(!pattern(r"\w+").unwrap().fits("\u{e4}"));
    }
}
