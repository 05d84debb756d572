//! The bundle: all that is needed to check one build far from any bus, with nothing but the farm's id.
//!
//! One CBOR map in deterministic encoding (RFC 8949, section 4.2.1), definite lengths throughout:
//!
//! | key | type | holds |
//! |---|---|---|
//! | 0 | text | `pybots bundle 1` |
//! | 1 | array of byte strings | keyrings, as they build on each other: the first of each generation from 0.0 on, then the newest unless it is that; each as it travels, an array of 1 to 16 envelopes |
//! | 2 | array of byte strings | rosters, that which gives the report key to the slave |
//! | 3 | byte string | the command |
//! | 4 | byte string, if there is one | the command that cancels it |
//! | 5 | array of byte strings | the slave's reports of this command, by the slave's own count |
//! | 6 | array of byte strings, unless left out | the log's pieces, by step and offset |
//!
//! Each byte string is one message as the bus carried it, an envelope (but for keyrings). The bundle itself is not signed:
//! every part of it is. What the parts must say of each other is checked where they are opened, in `status::verify`.

use bytes::Bytes;
use minicbor::encode::{self, Write};
use minicbor::{Decoder, Encoder};

use super::codec::sure;

const MAGIC: &str = "pybots bundle 1";
/// What stands before the version's number, after the map's head: key 0, and a text of 15 bytes.
const BEGINNING: &[u8] = b"\x00\x6fpybots bundle ";
/// Every part holds a signature; so the number of parts is bounded by the size of the file.
const MIN_PART: usize = 64;

/// The messages of one build. Nothing of them is believed yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bundle {
    /// Keyrings, from 0.0 on.
    pub keyrings: Vec<Bytes>,
    /// Rosters.
    pub rosters: Vec<Bytes>,
    /// The command.
    pub command: Bytes,
    /// The command that cancels it.
    pub cancel: Option<Bytes>,
    /// The reports, by the slave's own count.
    pub reports: Vec<Bytes>,
    /// The log's pieces, by step and offset; none if the log was left out.
    pub log: Option<Vec<Bytes>>,
}

/// Why bytes were not read as a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Longer than a bundle may be.
    #[error("bundle has {len} bytes, at most {max} are allowed", max = Bundle::MAX_LEN)]
    TooLong {
        /// Bytes found.
        len: usize,
    },
    /// Something else.
    #[error("this is no bundle")]
    Other,
    /// A bundle of another version.
    #[error("this bundle is of a version that is not known here")]
    Version,
    /// It ends too early.
    #[error("the bundle ends in the middle: it was cut off after {len} bytes")]
    Truncated {
        /// Bytes found.
        len: usize,
    },
    /// Not CBOR, or another type than must stand there.
    #[error("the bundle is damaged")]
    Cbor(#[source] minicbor::decode::Error),
    /// A part is too short to be signed.
    #[error("the bundle has a part of {0} bytes, too few for a signature")]
    Part(usize),
    /// A field that this version does not have.
    #[error("the bundle has the unknown field {0}")]
    UnknownField(u64),
    /// A field that must be there is not.
    #[error("the bundle has no {0}")]
    Missing(&'static str),
    /// Well-formed, but not the one spelling that is allowed.
    #[error("the bundle is not in deterministic encoding")]
    NotDeterministic,
}

impl BundleError {
    /// Stable code, for searching.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "E-SIZE",
            Self::Truncated { .. } => "E-TRUNCATED",
            Self::Missing(_) => "E-MISSING",
            Self::Other
            | Self::Version
            | Self::Cbor(_)
            | Self::Part(_)
            | Self::UnknownField(_)
            | Self::NotDeterministic => "E-BUNDLE",
        }
    }
}

impl Bundle {
    /// Longest bundle, in bytes.
    pub const MAX_LEN: usize = 256 << 20;

    /// Reads a bundle in its one spelling. The parts share the file's memory.
    ///
    /// # Errors
    ///
    /// [`BundleError`], the first that applies.
    pub fn parse(file: &Bytes) -> Result<Self, BundleError> {
        let len = file.len();
        if len > Self::MAX_LEN {
            return Err(BundleError::TooLong { len });
        }
        check_beginning(file)?;
        let bundle = Self::read(file).map_err(|error| {
            if matches!(&error, BundleError::Cbor(cause) if cause.is_end_of_input()) {
                BundleError::Truncated { len }
            } else {
                error
            }
        })?;
        let mut again = Encoder::new(Expected(file));
        if bundle.write(&mut again).is_ok() && again.into_writer().0.is_empty() {
            Ok(bundle)
        } else {
            Err(BundleError::NotDeterministic)
        }
    }

    /// The bundle's one spelling.
    ///
    /// # Errors
    ///
    /// [`BundleError::TooLong`].
    pub fn to_bytes(&self) -> Result<Bytes, BundleError> {
        let mut to = Encoder::new(Vec::new());
        sure(self.write(&mut to));
        let bytes = to.into_writer();
        let len = bytes.len();
        if len > Self::MAX_LEN {
            return Err(BundleError::TooLong { len });
        }
        Ok(bytes.into())
    }

    fn read(file: &Bytes) -> Result<Self, BundleError> {
        let mut from = Decoder::new(file);
        let fields = from.map()?.ok_or(BundleError::NotDeterministic)?;
        let (mut keyrings, mut rosters, mut command) = (None, None, None);
        let (mut cancel, mut reports, mut log) = (None, None, None);
        // Twice or out of order is found when it is written again.
        for _ in 0..fields {
            match from.u64()? {
                0 => drop(from.str()?),
                1 => keyrings = Some(parts(file, &mut from)?),
                2 => rosters = Some(parts(file, &mut from)?),
                3 => command = Some(part(file, &mut from)?),
                4 => cancel = Some(part(file, &mut from)?),
                5 => reports = Some(parts(file, &mut from)?),
                6 => log = Some(parts(file, &mut from)?),
                number => return Err(BundleError::UnknownField(number)),
            }
        }
        Ok(Self {
            keyrings: keyrings.ok_or(BundleError::Missing("keyring"))?,
            rosters: rosters.ok_or(BundleError::Missing("roster"))?,
            command: command.ok_or(BundleError::Missing("command"))?,
            cancel,
            reports: reports.ok_or(BundleError::Missing("list of reports"))?,
            log,
        })
    }

    fn write<W: Write>(&self, to: &mut Encoder<W>) -> Result<(), encode::Error<W::Error>> {
        let present = 5 + u64::from(self.cancel.is_some()) + u64::from(self.log.is_some());
        to.map(present)?.u8(0)?.str(MAGIC)?;
        write_parts(1, &self.keyrings, to)?;
        write_parts(2, &self.rosters, to)?;
        to.u8(3)?.bytes(&self.command)?;
        if let Some(cancel) = &self.cancel {
            to.u8(4)?.bytes(cancel)?;
        }
        write_parts(5, &self.reports, to)?;
        self.log
            .iter()
            .try_for_each(|log| write_parts(6, log, &mut *to))
    }
}

impl From<minicbor::decode::Error> for BundleError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Cbor(error)
    }
}

/// Tells a text file or a picture from a bundle that is damaged.
fn check_beginning(file: &[u8]) -> Result<(), BundleError> {
    let len = file.len();
    let after_head = file.get(1..).ok_or(BundleError::Other)?;
    let Some(version) = after_head.strip_prefix(BEGINNING) else {
        return Err(if len > 1 && BEGINNING.starts_with(after_head) {
            BundleError::Truncated { len }
        } else {
            BundleError::Other
        });
    };
    match version.first() {
        Some(b'1') => Ok(()),
        Some(_) => Err(BundleError::Version),
        None => Err(BundleError::Truncated { len }),
    }
}

fn part(file: &Bytes, from: &mut Decoder<'_>) -> Result<Bytes, BundleError> {
    let bytes = from.bytes()?;
    if bytes.len() < MIN_PART {
        return Err(BundleError::Part(bytes.len()));
    }
    let end = from.position();
    Ok(file.slice(end - bytes.len()..end))
}

fn parts(file: &Bytes, from: &mut Decoder<'_>) -> Result<Vec<Bytes>, BundleError> {
    let declared = from.array()?.ok_or(BundleError::NotDeterministic)?;
    // Grows as parts really come.
    (0..declared).map(|_| part(file, from)).collect()
}

fn write_parts<W: Write>(
    number: u8,
    parts: &[Bytes],
    to: &mut Encoder<W>,
) -> Result<(), encode::Error<W::Error>> {
    to.u8(number)?.array(parts.len() as u64)?;
    for part in parts {
        to.bytes(part)?;
    }
    Ok(())
}

/// Compares what is written with what is expected, so that a long bundle is not held twice.
struct Expected<'a>(&'a [u8]);

struct Differs;

impl Write for Expected<'_> {
    type Error = Differs;

    fn write_all(&mut self, written: &[u8]) -> Result<(), Differs> {
        self.0 = self.0.strip_prefix(written).ok_or(Differs)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Bundle {
        let part = |byte: u8| Bytes::from(vec![byte; 70]);
        Bundle {
            keyrings: vec![part(1)],
            rosters: vec![part(2)],
            command: part(3),
            cancel: Some(part(4)),
            reports: (10..40).map(part).collect(),
            log: Some(vec![part(6), part(7)]),
        }
    }

    fn code(file: &[u8]) -> Option<&'static str> {
        Bundle::parse(&Bytes::copy_from_slice(file))
            .err()
            .map(|error| error.code())
    }

    #[test]
    fn a_bundle_survives_being_written_and_read_with_or_without_its_optional_parts() {
        let whole = bundle();
        let without_log = Bundle {
            log: None,
            ..bundle()
        };
        let without_cancel = Bundle {
            cancel: None,
            ..bundle()
        };
        let silent = Bundle {
            reports: vec![],
            log: Some(vec![]),
            ..bundle()
        };
        for bundle in [whole, without_log, without_cancel, silent] {
            let file = bundle.to_bytes().unwrap();
            assert_eq!(Bundle::parse(&file).unwrap(), bundle);
        }
    }

    #[test]
    fn a_bundle_cut_off_anywhere_is_named_as_that() {
        let file = bundle().to_bytes().unwrap();
        for len in 2..file.len() {
            assert_eq!(code(&file[..len]), Some("E-TRUNCATED"), "{len}");
        }
    }

    #[test]
    fn what_is_no_bundle_or_spelt_otherwise_is_refused() {
        let file = bundle().to_bytes().unwrap();
        let trailing = [&file[..], b"\x00"].concat();
        // The head of the list of 30 reports, in more bytes than it needs.
        let at = file.windows(2).position(|head| head == [0x98, 30]).unwrap();
        let mut long_head = file.to_vec();
        long_head.splice(at..at + 2, [0x99, 0, 30]);
        let mut later = file.to_vec();
        later[BEGINNING.len() + 1] = b'2';
        let without_command = {
            let command = [&[3, 0x58, 70][..], &[3; 70]].concat();
            let at = file
                .windows(command.len())
                .position(|found| found == command)
                .unwrap();
            let mut file = file.to_vec();
            file.drain(at..at + command.len());
            file[0] -= 1;
            file
        };
        let mut short = Encoder::new(Vec::new());
        sure(
            short
                .map(2)
                .and_then(|to| to.u8(0))
                .and_then(|to| to.str(MAGIC)),
        );
        sure(short.u8(3).and_then(|to| to.bytes(&[0; 63])));
        let mut unknown = Encoder::new(Vec::new());
        sure(
            unknown
                .map(2)
                .and_then(|to| to.u8(0))
                .and_then(|to| to.str(MAGIC)),
        );
        sure(unknown.u8(7).and_then(|to| to.u8(0)));
        let cases: &[(&str, &[u8], &str)] = &[
            ("empty", b"", "E-BUNDLE"),
            ("text", b"hello, world\n", "E-BUNDLE"),
            ("a later version", &later, "E-BUNDLE"),
            ("trailing", &trailing, "E-BUNDLE"),
            ("a long head", &long_head, "E-BUNDLE"),
            ("no command", &without_command, "E-MISSING"),
            ("too short to be signed", &short.into_writer(), "E-BUNDLE"),
            ("an unknown field", &unknown.into_writer(), "E-BUNDLE"),
        ];
        for (case, file, expected) in cases {
            assert_eq!(code(file), Some(*expected), "{case}");
        }
    }

    #[test]
    fn a_declared_length_allocates_nothing() {
        let mut file = b"\xa2\x00\x6fpybots bundle 1\x05\x9b".to_vec();
        file.extend([0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(code(&file), Some("E-TRUNCATED"));
    }
}
