//! Free text from strangers: bounded, one line, nothing in it that could steer a terminal or a page.

use std::fmt;

/// One line of free text, at most [`Text::MAX_LEN`] bytes, without control or text-direction characters.
#[derive(
    Clone,
    Debug,
    Default,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd,
    serde::Deserialize,
    serde::Serialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Text(String);

/// Why text was not accepted as it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TextError {
    /// Too long.
    #[error("text has {0} bytes, at most {max} are allowed", max = Text::MAX_LEN)]
    Length(usize),
    /// A control character, or one that changes the direction of text.
    #[error("text holds the control character {0:?}")]
    Control(char),
}

impl Text {
    /// Longest text, in bytes.
    pub const MAX_LEN: usize = 512;

    /// The nearest acceptable text: controls become spaces, and what is too long is cut and ends in `…`.
    #[must_use]
    pub fn tidy(raw: &str) -> Self {
        let mut clean: String = raw
            .chars()
            .map(|c| if steers(c) { ' ' } else { c })
            .collect();
        if clean.len() > Self::MAX_LEN {
            let room = Self::MAX_LEN - '…'.len_utf8();
            clean.truncate(
                (0..=room)
                    .rev()
                    .find(|&i| clean.is_char_boundary(i))
                    .unwrap_or(0),
            );
            clean.push('…');
        }
        Self(clean)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl TryFrom<String> for Text {
    type Error = TextError;

    fn try_from(raw: String) -> Result<Self, TextError> {
        if raw.len() > Self::MAX_LEN {
            return Err(TextError::Length(raw.len()));
        }
        match raw.chars().find(|&c| steers(c)) {
            Some(found) => Err(TextError::Control(found)),
            None => Ok(Self(raw)),
        }
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tidy_text_cannot_steer_a_terminal() {
        assert_eq!(
            Text::tidy("a\x1b[2Jb\u{202e}c\u{61c}d\r\n").as_str(),
            "a [2Jb c d  "
        );
    }

    proptest! {
        #[test]
        fn tidied_text_is_accepted_as_it_stands(raw in "\\PC{0,700}|.{0,700}") {
            let tidy = Text::tidy(&raw);
            prop_assert_eq!(Text::try_from(tidy.as_str().to_owned()), Ok(tidy));
        }
    }
}
