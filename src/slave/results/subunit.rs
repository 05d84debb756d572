//! Subunit, version 2: a stream of binary packets, as stestr and testtools write it. Version 1 is text, and not read.
//!
//! Written from the description in subunit's README. The crate for it brings a calendar along, and more.

use std::collections::BTreeMap;
use std::io::{BufRead, Read as _};

use super::Fault;
use super::bounded::{Bounded, MAX_LINE, Said, cut};

/// The first byte of each packet. It begins no character in UTF-8.
pub(super) const SIGNATURE: u8 = 0xb3;

/// Longest packet that the format knows, in bytes.
const MAX_PACKET: usize = 4 << 20;

/// So many tests are followed at one time from their beginning to their end.
const MAX_UNDER_WAY: usize = 1024;

const VERSION: u16 = 0x2000;
const TEST_ID: u16 = 0x0800;
const ROUTING_CODE: u16 = 0x0400;
const TIMESTAMP: u16 = 0x0200;
const TAGS: u16 = 0x0080;
const FILE_CONTENT: u16 = 0x0040;
const MIME_TYPE: u16 = 0x0020;

/// Reads one file.
pub(super) fn read(mut input: impl BufRead, found: &mut Bounded) -> Result<(), Fault> {
    let mut tests = Tests::default();
    let mut packet = Vec::new();
    let ending = loop {
        match next_packet(&mut input, &mut packet) {
            Ok(true) => match Packet::of(&packet) {
                Some(packet) => tests.take(&packet, found),
                None => break Err(Fault::Packet("a packet makes no sense")),
            },
            Ok(false) if tests.packets == 0 => break Err(Fault::Empty),
            Ok(false) => break Ok(()),
            Err(fault) => break Err(fault),
        }
    };
    tests.end(found);
    ending
}

/// Reads the next packet, without its signature and checksum. False at the end. What stands between packets is output.
fn next_packet(input: &mut impl BufRead, packet: &mut Vec<u8>) -> Result<bool, Fault> {
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(false);
        }
        let skipped = memchr::memchr(SIGNATURE, available);
        let used = skipped.map_or(available.len(), |at| at + 1);
        input.consume(used);
        if skipped.is_some() {
            break;
        }
    }
    packet.clear();
    // The flags, and the first byte of the length, which says how many more it has.
    fill(input, packet, 3)?;
    fill(input, packet, 3 + usize::from(packet[2] >> 6))?;
    let mut rest = &packet[2..];
    let length = number(&mut rest).unwrap_or_default() as usize;
    if length > MAX_PACKET || length < packet.len() + 1 + CHECKSUM {
        return Err(Fault::Packet("a packet has an impossible length"));
    }
    fill(input, packet, length - 1)?;
    let (body, checksum) = packet.split_at(packet.len() - CHECKSUM);
    if crc32(SIGNATURE, body).to_be_bytes() != *checksum {
        return Err(Fault::Packet("a packet has a wrong checksum"));
    }
    packet.truncate(packet.len() - CHECKSUM);
    Ok(true)
}

/// Bytes of a packet's checksum, which ends it.
const CHECKSUM: usize = 4;

/// Reads on until `buffer` has `length` bytes. What a packet claims is set aside only as it comes.
fn fill(input: &mut impl BufRead, buffer: &mut Vec<u8>, length: usize) -> Result<(), Fault> {
    let missing = length.saturating_sub(buffer.len());
    let read = input.by_ref().take(missing as u64).read_to_end(buffer);
    match read {
        Ok(read) if read == missing => Ok(()),
        Ok(_) => Err(Fault::Cut),
        Err(error) => Err(error.into()),
    }
}

/// What a packet says of a test.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Status {
    /// Nothing: it only carries a file, or says that the test exists.
    None,
    InProgress,
    Success,
    UnexpectedSuccess,
    Skip,
    Fail,
    ExpectedFailure,
}

#[derive(Debug)]
struct Packet<'a> {
    status: Status,
    test: Option<&'a str>,
    /// A file that came along: its name and a piece of it.
    file: Option<(&'a str, &'a [u8])>,
}

impl<'a> Packet<'a> {
    /// None if it is not as the format says.
    fn of(packet: &'a [u8]) -> Option<Self> {
        let (flags, mut rest) = packet.split_first_chunk::<2>()?;
        let flags = u16::from_be_bytes(*flags);
        if flags & 0xf000 != VERSION {
            return None;
        }
        let has = |flag: u16| flags & flag != 0;
        let rest = &mut rest;
        number(rest)?;
        if has(TIMESTAMP) {
            *rest = rest.get(4..)?;
            number(rest)?;
        }
        let test = if has(TEST_ID) {
            Some(text(rest)?)
        } else {
            None
        };
        if has(TAGS) {
            for _ in 0..number(rest)? {
                text(rest)?;
            }
        }
        if has(MIME_TYPE) {
            text(rest)?;
        }
        let file = if has(FILE_CONTENT) {
            Some((text(rest)?, bytes(rest)?))
        } else {
            None
        };
        if has(ROUTING_CODE) {
            text(rest)?;
        }
        let status = match flags & 0x7 {
            0 | 1 => Status::None,
            2 => Status::InProgress,
            3 => Status::Success,
            4 => Status::UnexpectedSuccess,
            5 => Status::Skip,
            6 => Status::Fail,
            _ => Status::ExpectedFailure,
        };
        rest.is_empty().then_some(Self { status, test, file })
    }
}

/// A number of one to four bytes; the two highest bits say how many more than one.
fn number(rest: &mut &[u8]) -> Option<u32> {
    let more = usize::from(rest.first()? >> 6);
    let (number, after) = rest.split_at_checked(1 + more)?;
    *rest = after;
    let value = number
        .iter()
        .fold(0, |value, byte| value << 8 | u32::from(*byte));
    // Without the two bits.
    Some(value & (u32::MAX >> (32 - 8 * number.len() + 2)))
}

fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(bytes(rest)?).ok()
}

/// The tests of a stream that have begun and not ended.
#[derive(Default)]
struct Tests {
    packets: u64,
    under_way: BTreeMap<String, UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    /// Whether it has begun; if not, only a file came.
    begun: bool,
    said: Said,
}

impl Tests {
    fn take(&mut self, packet: &Packet<'_>, found: &mut Bounded) {
        self.packets += 1;
        let Some(test) = packet.test.map(|test| cut(test, MAX_LINE)) else {
            return;
        };
        if self.under_way.len() < MAX_UNDER_WAY || self.under_way.contains_key(test) {
            let known = self.under_way.entry(test.to_owned()).or_default();
            known.begun |= packet.status == Status::InProgress;
            // `traceback`, `traceback (i=0)` of a subtest, `reason`; not what was printed or logged.
            if let Some((name, content)) = packet.file
                && (name.starts_with("traceback") || name == "reason")
            {
                known.said.more(&String::from_utf8_lossy(content));
            }
        }
        match packet.status {
            Status::None | Status::InProgress => return,
            Status::Success => found.passed(),
            Status::Skip | Status::ExpectedFailure => found.skipped(),
            Status::UnexpectedSuccess => found.failed(test, Some("unexpected success")),
            Status::Fail => {
                let said = self
                    .under_way
                    .remove(test)
                    .and_then(|known| known.said.line());
                found.failed(test, said.as_deref());
            }
        }
        self.under_way.remove(test);
    }

    /// The stream is over: what has begun will not end.
    fn end(self, found: &mut Bounded) {
        for (test, known) in self.under_way {
            if known.begun {
                let said = known.said.line();
                found.failed(
                    &test,
                    Some(said.as_deref().unwrap_or("it began and never ended")),
                );
            }
        }
    }
}

/// The checksum of zlib and of Ethernet, over a first byte and the rest.
fn crc32(first: u8, rest: &[u8]) -> u32 {
    let bytes = std::iter::once(&first).chain(rest);
    !bytes.fold(u32::MAX, |sum, byte| {
        (sum >> 8) ^ CRC_TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)]
    })
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut sum = byte;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 {
                (sum >> 1) ^ 0xedb8_8320
            } else {
                sum >> 1
            };
            bit += 1;
        }
        table[byte as usize] = sum;
        byte += 1;
    }
    table
};

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A packet with these flags, whole and with its checksum.
    pub(crate) fn packet(flags: u16, body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let length = u16::try_from(1 + 2 + 2 + body.len() + CHECKSUM).unwrap() | 0x4000;
        let mut packet = vec![SIGNATURE];
        packet.extend(flags.to_be_bytes());
        packet.extend(length.to_be_bytes());
        packet.extend(body);
        packet.extend(crc32(SIGNATURE, &packet[1..]).to_be_bytes());
        packet
    }

    #[test]
    fn numbers_have_one_to_four_bytes() {
        let cases: &[(&[u8], Option<u32>)] = &[
            (b"\x00", Some(0)),
            (b"\x3f", Some(63)),
            (b"\x40\x40", Some(64)),
            (b"\xbf\xff\xff", Some((1 << 22) - 1)),
            (b"\xff\xff\xff\xff", Some((1 << 30) - 1)),
            (b"", None),
            (b"\x40", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(number(&mut &bytes[..]), *expected, "{bytes:x?}");
        }
    }

    #[test]
    fn the_checksum_is_that_of_its_description() {
        assert_eq!(crc32(b'1', b"23456789"), 0xcbf4_3926);
    }
}
