//! CBOR for people: diagnostic notation (RFC 8949, section 8), of anything, as far as it goes.
//!
//! Unlike the readers of payloads this is lenient: it shows what it is given, other spellings among them (by the encoding
//! indicators `_`, `_0` to `_3` of section 8.1). No recursion goes deeper, and no text gets longer, than is said here; and
//! every character that could steer a terminal is written as an escape.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;

/// How deep values may nest.
const MAX_DEPTH: usize = 32;
/// Longest notation, in bytes; what follows is left out.
const MAX_NOTATION: usize = 16 * 1024;
/// Most bytes of one string that are shown.
const MAX_STRING: usize = 256;

/// One value in diagnostic notation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Notation {
    /// The text.
    pub(super) text: String,
    /// Where the value ends, or where reading ended.
    pub(super) end: usize,
    /// Why reading ended before the value did.
    pub(super) fault: Option<&'static str>,
}

/// Writes the value that `bytes` begin with.
pub(super) fn notation(bytes: &[u8]) -> Notation {
    let mut walk = Walk {
        bytes,
        at: 0,
        text: String::new(),
    };
    let fault = walk.value(0).err();
    if let Some(fault) = fault {
        walk.put(&format!(" / {fault} /"));
    }
    if walk.text.len() > MAX_NOTATION {
        walk.text.push_str(" … / and more /");
    }
    Notation {
        text: walk.text,
        end: walk.at,
        fault,
    }
}

/// Where the value that `bytes` begin with ends.
pub(super) fn end(bytes: &[u8]) -> Result<usize, &'static str> {
    let notation = notation(bytes);
    notation.fault.map_or(Ok(notation.end), Err)
}

type Step = Result<(), &'static str>;

const CUT_OFF: &str = "ends here, in the middle";
const NESTED: &str = "nested too deep";
const RESERVED: &str = "not CBOR";

struct Head {
    major: u8,
    information: u8,
    argument: u64,
    /// `_0` to `_3` for a number that takes more bytes than it needs.
    indicator: &'static str,
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    text: String,
}

impl Walk<'_> {
    fn put(&mut self, text: &str) {
        if self.text.len() <= MAX_NOTATION {
            self.text.push_str(text);
        }
    }

    fn take(&mut self, count: u64) -> Result<&[u8], &'static str> {
        let taken = usize::try_from(count)
            .ok()
            .and_then(|count| self.at.checked_add(count))
            .and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(CUT_OFF)?;
        self.at += taken.len();
        Ok(taken)
    }

    fn head(&mut self) -> Result<Head, &'static str> {
        let first = self.take(1)?[0];
        let information = first & 0x1f;
        let (argument, least) = match information {
            24..=27 => {
                let width = 1 << (information - 24);
                let argument = self
                    .take(width)?
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                // The least number that needs that many bytes.
                let least = [24, 1 << 8, 1 << 16, 1 << 32][usize::from(information) - 24];
                (argument, least)
            }
            28..=30 => return Err(RESERVED),
            _ => (u64::from(information), 0),
        };
        let indicator = if argument < least {
            ["_0", "_1", "_2", "_3"][usize::from(information) - 24]
        } else {
            ""
        };
        Ok(Head {
            major: first >> 5,
            information,
            argument,
            indicator,
        })
    }

    fn at_break(&mut self) -> bool {
        let is_break = self.bytes.get(self.at) == Some(&0xff);
        self.at += usize::from(is_break);
        is_break
    }

    fn value(&mut self, depth: usize) -> Step {
        if depth > MAX_DEPTH {
            return Err(NESTED);
        }
        let head = self.head()?;
        let indefinite = head.information == 31;
        match head.major {
            0 | 1 | 6 if indefinite => Err(RESERVED),
            0 => {
                self.put(&format!("{}{}", head.argument, head.indicator));
                Ok(())
            }
            1 => {
                let number = -1 - i128::from(head.argument);
                self.put(&format!("{number}{}", head.indicator));
                Ok(())
            }
            2 | 3 if indefinite => self.chunks(head.major),
            2 | 3 => self.string(&head),
            4 | 5 => self.items(&head, indefinite, depth),
            6 => {
                self.put(&format!("{}{}(", head.argument, head.indicator));
                self.value(depth + 1)?;
                self.put(")");
                Ok(())
            }
            _ => self.simple(&head),
        }
    }

    fn string(&mut self, head: &Head) -> Step {
        let bytes = self.take(head.argument)?.to_vec();
        let shown = match str::from_utf8(&bytes) {
            Ok(text) if head.major == 3 => quoted(text),
            _ if head.major == 3 => format!("/ not UTF-8 / {}", in_hex(&bytes)),
            _ => in_hex(&bytes),
        };
        self.put(&shown);
        self.put(head.indicator);
        Ok(())
    }

    /// A string that comes in chunks, each of which has a length.
    fn chunks(&mut self, major: u8) -> Step {
        self.put("(_ ");
        let mut first = true;
        while !self.at_break() {
            if !std::mem::take(&mut first) {
                self.put(", ");
            }
            let head = self.head()?;
            if head.major != major || head.information == 31 {
                return Err(RESERVED);
            }
            self.string(&head)?;
        }
        self.put(")");
        Ok(())
    }

    fn items(&mut self, head: &Head, indefinite: bool, depth: usize) -> Step {
        let map = head.major == 5;
        let (open, close) = if map { ("{", "}") } else { ("[", "]") };
        self.put(open);
        if indefinite {
            self.put("_ ");
        } else if !head.indicator.is_empty() {
            self.put(&format!("{} ", head.indicator));
        }
        let mut left = head.argument;
        let mut first = true;
        // A declared length of 2^62 ends where the bytes do.
        while if indefinite {
            !self.at_break()
        } else {
            left > 0
        } {
            left = left.saturating_sub(1);
            if !std::mem::take(&mut first) {
                self.put(", ");
            }
            self.value(depth + 1)?;
            if map {
                self.put(": ");
                self.value(depth + 1)?;
            }
        }
        self.put(close);
        Ok(())
    }

    fn simple(&mut self, head: &Head) -> Step {
        let text = match (head.information, head.argument) {
            (20, _) => "false".to_owned(),
            (21, _) => "true".to_owned(),
            (22, _) => "null".to_owned(),
            (23, _) => "undefined".to_owned(),
            (0..20, number) | (24, number @ 32..) => format!("simple({number})"),
            (24 | 31, _) => return Err(RESERVED),
            (25, bits) => format!("/ half float / h'{bits:04x}'"),
            (26, bits) => {
                let bits = u32::try_from(bits).unwrap_or_default();
                format!("{:?}_2", f32::from_bits(bits))
            }
            (_, bits) => format!("{:?}_3", f64::from_bits(bits)),
        };
        self.put(&text);
        Ok(())
    }
}

fn in_hex(bytes: &[u8]) -> String {
    let shown = HEXLOWER.encode(&bytes[..bytes.len().min(MAX_STRING)]);
    if bytes.len() > MAX_STRING {
        format!("h'{shown}…' / {} bytes /", bytes.len())
    } else {
        format!("h'{shown}'")
    }
}

/// Text in quotes, with an escape for whatever could steer a terminal or be taken for something else.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for (at, c) in text.char_indices() {
        if at > MAX_STRING {
            let _ = write!(quoted, "…\" / {} bytes /", text.len());
            return quoted;
        }
        // Rust's own notation escapes controls, format characters (directions of text among them) and quotes.
        let _ = write!(quoted, "{}", c.escape_debug());
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(hex: &str) -> String {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE
            .decode(hex.replace(' ', "").as_bytes())
            .unwrap();
        notation(&bytes).text
    }

    #[test]
    fn values_read_as_the_standard_writes_them() {
        for (hex, expected) in [
            ("00", "0"),
            ("1864", "100"),
            ("1bffffffffffffffff", "18446744073709551615"),
            ("3bffffffffffffffff", "-18446744073709551616"),
            ("20", "-1"),
            ("44 01020304", "h'01020304'"),
            ("64 49455446", "\"IETF\""),
            ("62 225c", "\"\\\"\\\\\""),
            ("83 01 82 02 03 a0", "[1, [2, 3], {}]"),
            ("a2 01 02 03 04", "{1: 2, 3: 4}"),
            ("d2 80", "18([])"),
            ("f4", "false"),
            ("f6", "null"),
            ("f8ff", "simple(255)"),
            ("fb 3ff199999999999a", "1.1_3"),
            // Other spellings.
            ("18 01", "1_0"),
            ("98 01 01", "[_0 1]"),
            ("d8 12 80", "18_0([])"),
            ("59 0001 aa", "h'aa'_1"),
            ("9f 01 ff", "[_ 1]"),
            ("bf 01 02 ff", "{_ 1: 2}"),
            ("5f 41 aa 41 bb ff", "(_ h'aa', h'bb')"),
        ] {
            assert_eq!(shown(hex), expected, "{hex}");
        }
    }

    #[test]
    fn what_is_broken_is_shown_as_far_as_it_goes() {
        for (hex, expected) in [
            ("", " / ends here, in the middle /"),
            ("83 01 02", "[1, 2,  / ends here, in the middle /"),
            ("5b 4000000000000000", " / ends here, in the middle /"),
            (
                "9b 4000000000000000 01",
                "[1,  / ends here, in the middle /",
            ),
            ("82 01 1c", "[1,  / not CBOR /"),
            ("ff", " / not CBOR /"),
            ("62 ff00", "/ not UTF-8 / h'ff00'"),
        ] {
            assert_eq!(shown(hex), expected, "{hex}");
        }
        let bomb = notation(&vec![0x81; 100_000]);
        assert_eq!(bomb.fault, Some(NESTED));
    }

    #[test]
    fn text_cannot_steer_a_terminal() {
        let mut bytes = vec![0x6b];
        bytes.extend("a\x1b[2J\u{202e}b\u{9b}".as_bytes());
        let shown = notation(&bytes).text;
        assert_eq!(shown, "\"a\\u{1b}[2J\\u{202e}b\\u{9b}\"");
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_notation_of_bounded_length(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let notation = notation(&bytes);
            prop_assert!(notation.end <= bytes.len());
            prop_assert!(notation.text.len() < MAX_NOTATION + 8 * MAX_STRING);
            prop_assert!(!notation.text.chars().any(char::is_control));
        }
    }
}
