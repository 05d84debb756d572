//! XML with its long texts cut, so that what a test printed never stands in memory as a whole.

use std::io::{self, BufRead, Read};

/// So much of one text is let through, and no tag may be longer, in bytes.
const MAX_TOKEN: usize = 256 << 10;

/// A tag that is longer has what is left of its values cut.
const MAX_VALUES: usize = MAX_TOKEN / 2;

/// Lets XML through up to the limit for each text, comment and CDATA section; what is left of it stays well-formed.
///
/// It needs to understand no more than where these begin and end.
pub(super) struct Shortened<R> {
    inner: R,
    ready: Vec<u8>,
    at: usize,
    state: State,
    /// Bytes of the present token.
    length: usize,
    /// Those of them that were not let through.
    dropped: usize,
    /// The newest bytes of it: enough to tell its beginning and its end.
    newest: [u8; 9],
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Text,
    /// Whatever begins with `<`, until it shows to be something else; within quotes, those.
    Tag(Option<u8>),
    Comment,
    CData,
}

impl<R: BufRead> Shortened<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            ready: Vec::new(),
            at: 0,
            state: State::Text,
            length: 0,
            dropped: 0,
            newest: [0; 9],
        }
    }

    /// Takes in one byte, and keeps what is to be let through.
    fn take(&mut self, byte: u8) -> io::Result<()> {
        self.newest.rotate_left(1);
        self.newest[8] = byte;
        self.length += 1;
        let in_value = matches!(self.state, State::Tag(Some(quote)) if quote != byte);
        let limit = if in_value { MAX_VALUES } else { MAX_TOKEN };
        let over = self.length.saturating_sub(limit);
        // Not within a character, of at most four bytes.
        let cut = over > 3 || over > 0 && (self.dropped > 0 || byte & 0xc0 != 0x80);
        let next = match self.state {
            State::Text if byte == b'<' => {
                (self.length, self.dropped) = (1, 0);
                self.ready.push(byte);
                self.state = State::Tag(None);
                return Ok(());
            }
            State::Tag(_) if in_value => {
                // What is cut does not count, so that the tag can still end.
                if cut {
                    self.length -= 1;
                    self.dropped += 1;
                } else {
                    self.ready.push(byte);
                }
                return Ok(());
            }
            State::Tag(_) if cut => return Err(io::ErrorKind::FileTooLarge.into()),
            State::Tag(_) if self.length == 4 && self.newest.ends_with(b"<!--") => State::Comment,
            State::Tag(_) if self.length == 9 && self.newest == *b"<![CDATA[" => State::CData,
            State::Tag(None) if byte == b'>' => State::Text,
            State::Tag(None) if matches!(byte, b'"' | b'\'') => State::Tag(Some(byte)),
            State::Tag(Some(quote)) if byte == quote => State::Tag(None),
            State::Comment if self.newest.ends_with(b"-->") => State::Text,
            State::CData if self.newest.ends_with(b"]]>") => State::Text,
            same @ (State::Text | State::Tag(_) | State::Comment | State::CData) => same,
        };
        let ends = next == State::Text && self.state != State::Text;
        if !cut {
            self.ready.push(byte);
        } else if ends {
            // Of its end, what came before the limit was let through already.
            let missing = (self.dropped + 1).min(3);
            self.ready.extend_from_slice(&self.newest[9 - missing..]);
        } else {
            self.dropped += 1;
        }
        if ends {
            (self.length, self.dropped) = (0, 0);
        }
        self.state = next;
        Ok(())
    }
}

impl<R: BufRead> BufRead for Shortened<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.ready.len() {
            self.ready.clear();
            self.at = 0;
            let available = self.inner.fill_buf()?.to_vec();
            if available.is_empty() {
                break;
            }
            self.inner.consume(available.len());
            for byte in available {
                self.take(byte)?;
            }
        }
        Ok(&self.ready[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = self.ready.len().min(self.at + count);
    }
}

impl<R: BufRead> Read for Shortened<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(xml: &str) -> io::Result<String> {
        let mut all = String::new();
        let inner = io::BufReader::with_capacity(7, xml.as_bytes());
        Shortened::new(inner).read_to_string(&mut all)?;
        Ok(all)
    }

    #[test]
    fn what_is_short_comes_through_as_it_is() {
        let xml = "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b \"c\">]><!-- > --><a b='>' c=\">'\">\
                   text ]]&gt;<![CDATA[ ] ]] ]]]><!----></a>";
        assert_eq!(through(xml).unwrap(), xml);
    }

    #[test]
    fn long_texts_are_cut_wherever_their_limit_falls_and_end_as_they_did() {
        for (begin, end) in [("<a>", "</a>"), ("<![CDATA[", "]]>"), ("<!--", "-->")] {
            for room in (MAX_TOKEN - 12..MAX_TOKEN + 4).chain([3 * MAX_TOKEN]) {
                // The limit falls into a character.
                let text = if room % 2 == 0 {
                    "é".repeat(room / 2)
                } else {
                    "x".repeat(room)
                };
                let long = format!("{begin}{text}{end}");
                let short = through(&format!("{long}<b/>")).unwrap();
                assert!(short.starts_with(begin), "{room}");
                let whole = short.strip_suffix(&format!("{end}<b/>"));
                assert!(
                    whole.is_some_and(|text| text.ends_with(['x', 'é'])),
                    "{room}"
                );
                assert!(short.len() <= MAX_TOKEN + 16);
                // A limit that is met is not a limit that is passed.
                assert!(long.len() > MAX_TOKEN || short.len() == long.len() + 4);
            }
        }
    }

    #[test]
    fn a_long_value_is_cut_and_a_tag_that_is_too_long_all_the_same_ends_it() {
        for value in ["é", "x>"] {
            let long = value.repeat(MAX_TOKEN);
            let short = through(&format!("<a b='{long}' c=\"{long}\" d='1'/><e/>")).unwrap();
            assert!(short.starts_with(&format!("<a b='{value}{value}")));
            assert!(
                short.ends_with("' c=\"\" d=''/><e/>"),
                "{}",
                &short[short.len() - 40..]
            );
            assert!(short.len() < MAX_TOKEN);
        }
        let error = through(&format!("<a {}/>", "x='' ".repeat(MAX_TOKEN))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
