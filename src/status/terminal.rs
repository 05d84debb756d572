//! Output of strangers' scripts, made safe for a terminal.
//!
//! Nothing is swallowed: an escape sequence that is not let through is shown letter for letter, its control bytes as
//! `\x1b`. So an unterminated one hides nothing of what follows, and none is left that could move the cursor, rename the
//! window, fill the clipboard or make the terminal answer.

use std::io;

/// Makes a stream of bytes safe, piece by piece; a sequence may be split over any number of pieces.
///
/// Let through: printable text, newline, tab, and the colours and weights of SGR if they are asked for (else those are
/// dropped). A carriage return before a newline is dropped. Shown as `\xNN` or `\u{NNNN}`: every other control
/// character, C1 among them, and those that change the direction of text. Bytes that are not UTF-8 become U+FFFD.
#[derive(Clone, Debug, Default)]
pub struct Sanitizer {
    colours: bool,
    /// Bytes of a character that is not complete yet.
    partial: Vec<u8>,
    /// An escape sequence that may yet turn out to be SGR, from its ESC on; or a carriage return that may yet turn out to
    /// end a line.
    held: String,
    /// Whether the terminal is in other colours than before.
    coloured: bool,
    /// Whether something is already shown in this line.
    in_line: bool,
}

/// What a line of ours begins with when it stands among lines of a script. A script's own line that begins so is shown
/// with an escape instead.
pub const MARK: char = '▌';

/// Longest SGR sequence, in bytes; longer ones are shown.
const MAX_SGR: usize = 32;
/// Gives the terminal its own colours again.
pub(super) const RESET: &str = "\x1b[0m";

impl Sanitizer {
    /// Lets SGR colours through if `colours`.
    #[must_use]
    pub fn new(colours: bool) -> Self {
        Self {
            colours,
            ..Self::default()
        }
    }

    /// The safe form of the next piece. What the next piece may yet decide is held back, a few bytes at most.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(bytes);
        let mut safe = String::with_capacity(joined.len());
        let mut rest = joined.as_slice();
        while !rest.is_empty() {
            let (valid, invalid) = match std::str::from_utf8(rest) {
                Ok(_) => (rest.len(), Some(0)),
                Err(error) => (error.valid_up_to(), error.error_len()),
            };
            let (text, after) = rest.split_at(valid);
            // Valid up to here, so nothing is replaced.
            for c in String::from_utf8_lossy(text).chars() {
                self.take(c, &mut safe);
            }
            let Some(invalid) = invalid else {
                self.partial = after.to_vec();
                break;
            };
            if invalid > 0 {
                self.take(char::REPLACEMENT_CHARACTER, &mut safe);
            }
            rest = &after[invalid..];
        }
        safe
    }

    /// The safe form of what was held back, and the terminal's own colours again. Then it is as new.
    pub fn finish(&mut self) -> String {
        let mut safe = String::new();
        if !std::mem::take(&mut self.partial).is_empty() {
            self.take(char::REPLACEMENT_CHARACTER, &mut safe);
        }
        self.release(&mut safe);
        if std::mem::take(&mut self.coloured) {
            safe.push_str(RESET);
        }
        self.in_line = false;
        safe
    }

    fn take(&mut self, c: char, safe: &mut String) {
        if self.held.starts_with('\x1b') {
            let opened = self.held.len() > 1;
            if c == 'm' && opened {
                self.held.push(c);
                self.select_graphics(safe);
                return;
            }
            let fits = self.held.len() < MAX_SGR;
            if (!opened && c == '[') || (opened && fits && (c.is_ascii_digit() || c == ';')) {
                self.held.push(c);
                return;
            }
        }
        if c == '\n' && self.held == "\r" {
            self.held.clear();
        }
        self.release(safe);
        match c {
            '\n' => {
                safe.push(c);
                self.in_line = false;
            }
            '\r' | '\x1b' => self.held.push(c),
            c => self.show(c, safe),
        }
    }

    /// Lets go of what was held back: it was not what it might have been.
    fn release(&mut self, safe: &mut String) {
        for c in std::mem::take(&mut self.held).chars() {
            self.show(c, safe);
        }
    }

    fn show(&mut self, c: char, safe: &mut String) {
        let begins = !std::mem::replace(&mut self.in_line, true);
        let escaped = match c {
            '\t' => None,
            '\0'..='\x1f' | '\x7f' => Some(format!("\\x{:02x}", u32::from(c))),
            '\u{80}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => Some(format!("\\u{{{:x}}}", u32::from(c))),
            MARK if begins => Some(format!("\\u{{{:x}}}", u32::from(c))),
            _ => None,
        };
        match escaped {
            Some(escaped) => safe.push_str(&escaped),
            None => safe.push(c),
        }
    }

    fn select_graphics(&mut self, safe: &mut String) {
        let sequence = std::mem::take(&mut self.held);
        let parameters = sequence.trim_start_matches("\x1b[").trim_end_matches('m');
        match graphics(parameters) {
            Some(coloured) if self.colours => {
                self.coloured = coloured;
                safe.push_str(&sequence);
            }
            Some(_) => {}
            None => {
                self.held = sequence;
                self.release(safe);
            }
        }
    }
}

/// Whether SGR parameters leave the terminal in other colours than its own; none if one of them is not a colour or a
/// weight. Not let through are those that hide text or make it blink.
fn graphics(parameters: &str) -> Option<bool> {
    let mut numbers = parameters.split(';').map(|number| match number {
        "" => Some(0),
        number => number.parse::<u16>().ok(),
    });
    let mut coloured = true;
    while let Some(number) = numbers.next() {
        coloured = true;
        match number? {
            0 => coloured = false,
            1..=4
            | 7
            | 9
            | 21..=24
            | 27
            | 29
            | 30..=37
            | 39
            | 40..=47
            | 49
            | 90..=97
            | 100..=107 => {}
            38 | 48 => {
                let values = match numbers.next()?? {
                    5 => 1,
                    2 => 3,
                    _ => return None,
                };
                for _ in 0..values {
                    numbers.next()?.filter(|value| *value < 256)?;
                }
            }
            _ => return None,
        }
    }
    Some(coloured)
}

/// Writes a whole log, safely for a terminal, with its SGR colours or without.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_log_safely(log: &[u8], colours: bool, out: &mut impl io::Write) -> io::Result<()> {
    let mut sanitizer = Sanitizer::new(colours);
    out.write_all(sanitizer.push(log).as_bytes())?;
    out.write_all(sanitizer.finish().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn safe(log: &[u8], colours: bool) -> String {
        let mut out = Vec::new();
        write_log_safely(log, colours, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a87_no_escape_reaches_the_terminal_but_colours_that_were_asked_for() {
        let cases: &[(&[u8], &str, &str)] = &[
            // What came, what is shown plainly, what is shown with colours.
            (b"plain\ttext\n", "plain\ttext\n", "plain\ttext\n"),
            (b"\x1b[31mred\x1b[0m", "red", "\x1b[31mred\x1b[0m"),
            (b"\x1b[mend", "end", "\x1b[mend"),
            (
                b"\x1b[1;38;5;9mbright",
                "bright",
                "\x1b[1;38;5;9mbright\x1b[0m",
            ),
            (b"\x1b[38;2;1;2;3mx\x1b[0m", "x", "\x1b[38;2;1;2;3mx\x1b[0m"),
            // Concealed, blinking, out of range, cut short: not colours.
            (b"\x1b[8mhidden", r"\x1b[8mhidden", r"\x1b[8mhidden"),
            (b"\x1b[31;5mx", r"\x1b[31;5mx", r"\x1b[31;5mx"),
            (b"\x1b[38;5;256mx", r"\x1b[38;5;256mx", r"\x1b[38;5;256mx"),
            (b"\x1b[38;5m", r"\x1b[38;5m", r"\x1b[38;5m"),
            (b"\x1b[>4;2m", r"\x1b[>4;2m", r"\x1b[>4;2m"),
            // Clipboard (OSC 52), link (OSC 8), title, DCS and its question DECRQSS, cursor, screen, bracketed paste.
            (
                b"\x1b]52;c;cHduZWQ=\x07",
                r"\x1b]52;c;cHduZWQ=\x07",
                r"\x1b]52;c;cHduZWQ=\x07",
            ),
            (
                b"\x1b]8;;http://x/\x1b\\y",
                r"\x1b]8;;http://x/\x1b\y",
                r"\x1b]8;;http://x/\x1b\y",
            ),
            (
                b"\x1b]0;title\x9c",
                "\\x1b]0;title\u{fffd}",
                "\\x1b]0;title\u{fffd}",
            ),
            (b"\x1bP$qm\x1b\\", r"\x1bP$qm\x1b\", r"\x1bP$qm\x1b\"),
            (
                b"\x1b[2J\x1b[1;1H\x1b[A",
                r"\x1b[2J\x1b[1;1H\x1b[A",
                r"\x1b[2J\x1b[1;1H\x1b[A",
            ),
            (
                b"\x1b[201~rm -rf /",
                r"\x1b[201~rm -rf /",
                r"\x1b[201~rm -rf /",
            ),
            (
                b"\x1bc\x1b[6n\x1b[c",
                r"\x1bc\x1b[6n\x1b[c",
                r"\x1bc\x1b[6n\x1b[c",
            ),
            // C1 controls as bytes and as characters.
            (b"\x9b31m", "\u{fffd}31m", "\u{fffd}31m"),
            (
                "\u{9b}31m\u{9d}".as_bytes(),
                r"\u{9b}31m\u{9d}",
                r"\u{9b}31m\u{9d}",
            ),
            // Carriage returns that would overwrite, backspaces, bells, text that runs backwards.
            (b"FAILED\rpassed", r"FAILED\x0dpassed", r"FAILED\x0dpassed"),
            (b"line\r\nnext\r", "line\nnext\\x0d", "line\nnext\\x0d"),
            (
                b"a\x08\x07\x00\x7f",
                r"a\x08\x07\x00\x7f",
                r"a\x08\x07\x00\x7f",
            ),
            (
                "\u{202e}x\u{2066}".as_bytes(),
                r"\u{202e}x\u{2066}",
                r"\u{202e}x\u{2066}",
            ),
            // A line that pretends to be ours.
            (
                "▌ a▌\n▌".as_bytes(),
                "\\u{258c} a▌\n\\u{258c}",
                "\\u{258c} a▌\n\\u{258c}",
            ),
            ("\x1b[0m▌".as_bytes(), "\\u{258c}", "\x1b[0m\\u{258c}"),
            // Broken and unfinished.
            (b"a\xffb\xc3", "a\u{fffd}b\u{fffd}", "a\u{fffd}b\u{fffd}"),
            (b"\x1b", r"\x1b", r"\x1b"),
            (b"\x1b[", r"\x1b[", r"\x1b["),
            (b"\x1b\x1b[31", r"\x1b\x1b[31", r"\x1b\x1b[31"),
            (
                "gr\u{fc}n \u{2713} \u{1f40d}".as_bytes(),
                "grün ✓ 🐍",
                "grün ✓ 🐍",
            ),
        ];
        for (log, plain, coloured) in cases {
            let shown = String::from_utf8_lossy(log);
            assert_eq!(safe(log, false), *plain, "{shown:?}");
            assert_eq!(safe(log, true), *coloured, "{shown:?}");
        }
    }

    #[test]
    fn an_endless_parameter_list_is_not_held_back_for_ever() {
        let mut sanitizer = Sanitizer::new(true);
        let shown = sanitizer.push(&[b"\x1b[".as_slice(), &[b'1'; 100]].concat());
        assert_eq!(shown, format!("\\x1b[{}", "1".repeat(100)));
    }

    proptest! {
        #[test]
        fn where_a_log_is_cut_into_chunks_does_not_matter(
            log in prop::collection::vec(prop_oneof![
                any::<u8>(),
                prop::sample::select(b"\x1b[];0318m\r\n\x9b\xc2\xe2\x80".to_vec()),
            ], 0..64),
            size in 1usize..8,
            colours: bool,
        ) {
            let mut sanitizer = Sanitizer::new(colours);
            let mut shown = String::new();
            for chunk in log.chunks(size) {
                shown += &sanitizer.push(chunk);
            }
            shown += &sanitizer.finish();
            prop_assert_eq!(shown, safe(&log, colours));
        }

        #[test]
        fn what_is_shown_holds_no_control_character_but_newline_tab_and_colours(
            log in prop::collection::vec(prop_oneof![
                any::<u8>(),
                prop::sample::select(b"\x1b[];0318m\r\n\x9b\xc2\xe2\x80".to_vec()),
            ], 0..64),
        ) {
            let control = |shown: &str| shown.chars().find(|&c| c.is_control() && c != '\n' && c != '\t');
            prop_assert_eq!(control(&safe(&log, false)), None);
            let coloured = safe(&log, true);
            for after in coloured.split('\x1b').skip(1) {
                let end = after.find('m').unwrap();
                prop_assert!(graphics(&after[1..end]).is_some(), "{:?}", after);
            }
            prop_assert_eq!(control(&coloured.replace('\x1b', "")), None);
        }
    }
}
