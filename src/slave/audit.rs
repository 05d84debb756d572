//! The owner's own record: what was ordered here, what came of it, and what the owner did. Lines are added and never
//! rewritten, and each names the SHA-256 of the one before, so that a change shows.
//!
//! It proves nothing to others: whoever may write the file may write another. It tells its owner what this machine has
//! done and said, also where somebody else speaks in its name; [`compare`] finds that.

mod compare;
mod event;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{Digest, Timestamp};
use crate::trust::sha256;

pub use compare::{Comparison, Public, compare};
pub use event::{Event, Said};

/// The record cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the record {path} cannot be {what}")]
pub struct AuditError {
    path: PathBuf,
    what: &'static str,
    #[source]
    source: io::Error,
}

/// One line.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Line {
    /// Counts whole lines, from 1.
    pub n: u64,
    /// When.
    pub time: Timestamp,
    /// SHA-256 of the whole line before; the first has none.
    pub previous: Option<Digest>,
    /// SHA-256 of what stands between that line and this one: a line that was cut off, as by a power cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torn: Option<Digest>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What stands in the record, as far as it can be relied on.
#[derive(Debug, Default)]
pub struct Record {
    /// Every whole line before the fault, if there is one.
    pub lines: Vec<Line>,
    /// Where the chain breaks.
    pub fault: Option<Fault>,
}

/// Where a record was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A line is not the one that the next line names.
    #[error("line {0} was changed")]
    Changed(usize),
    /// Lines are missing, or were added, before this one.
    #[error("lines before line {0} are missing, or were put there")]
    Missing(usize),
}

/// The record in a state folder.
#[derive(Clone, Debug)]
pub struct Audit {
    path: PathBuf,
}

/// No line is longer.
const LONGEST: u64 = 16 * 1024;

impl Audit {
    /// The record in that state folder; it need not be there yet.
    #[must_use]
    pub fn of(state: &Path) -> Self {
        Self {
            path: state.join("audit.log"),
        }
    }

    /// Adds a line. The slave and its owner's commands may do so at one time.
    ///
    /// # Errors
    ///
    /// [`AuditError`]; then nothing was added, or a line that was cut off, which the next one marks.
    pub fn note(&self, now: Timestamp, event: &Event) -> Result<(), AuditError> {
        self.add(now, event).map_err(|source| AuditError {
            path: self.path.clone(),
            what: "written",
            source,
        })
    }

    fn add(&self, now: Timestamp, event: &Event) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        file.lock()?;
        let end = end_of(&mut file)?;
        let line = Line {
            n: end.last.as_ref().map_or(1, |(n, _)| n + 1),
            time: now,
            previous: end.last.map(|(_, digest)| digest),
            torn: end.torn,
            event: event.clone(),
        };
        let mut bytes = Vec::new();
        if end.is_open {
            bytes.push(b'\n');
        }
        serde_json::to_writer(&mut bytes, &line)?;
        bytes.push(b'\n');
        // At once, so that what a power cut leaves is one line that was cut off.
        file.write_all(&bytes)
    }

    /// Reads the record and follows its chain.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if it cannot be read. That it was changed is no error but a finding.
    pub fn read(&self) -> Result<Record, AuditError> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(follow(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
            Err(source) => Err(AuditError {
                path: self.path.clone(),
                what: "read",
                source,
            }),
        }
    }
}

/// How a record ends.
struct End {
    /// Number and digest of the last whole line.
    last: Option<(u64, Digest)>,
    /// What follows it, if something was cut off there.
    torn: Option<Digest>,
    /// Whether the last line has no end.
    is_open: bool,
}

fn end_of(file: &mut File) -> io::Result<End> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(2 * LONGEST)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let is_open = tail.last().is_some_and(|byte| *byte != b'\n');
    let mut torn = None;
    let lines = tail
        .strip_suffix(b"\n")
        .unwrap_or(&tail)
        .rsplit(|byte| *byte == b'\n');
    for line in lines.filter(|_| length > 0) {
        if let Ok(whole) = serde_json::from_slice::<Line>(line) {
            let last = Some((whole.n, digest(line)));
            return Ok(End {
                last,
                torn,
                is_open,
            });
        }
        torn = Some(digest(line));
    }
    Ok(End {
        last: None,
        torn,
        is_open,
    })
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(sha256(bytes))
}

/// Takes in line after line, up to the first that does not fit.
fn follow(bytes: &[u8]) -> Record {
    let mut record = Record::default();
    let mut previous: Option<(usize, Digest)> = None;
    let mut torn: Option<(usize, Digest)> = None;
    let ended = bytes.ends_with(b"\n");
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let count = text.split(|byte| *byte == b'\n').count();
    for (number, raw) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if bytes.is_empty() {
            break;
        }
        let Ok(line) = serde_json::from_slice::<Line>(raw) else {
            // The last one may be what a power cut has left; another has to be marked by the line after it.
            if torn.is_some() || (number == count && ended) {
                record.fault = Some(Fault::Changed(number));
                break;
            }
            torn = Some((number, digest(raw)));
            continue;
        };
        let expected = record.lines.last().map_or(1, |last| last.n + 1);
        let fault = if line.torn != torn.map(|(_, digest)| digest) {
            Some(Fault::Changed(torn.map_or(number, |(number, _)| number)))
        } else if line.n != expected {
            Some(Fault::Missing(number))
        } else if line.previous != previous.map(|(_, digest)| digest) {
            Some(Fault::Changed(
                previous.map_or(number, |(number, _)| number),
            ))
        } else {
            None
        };
        if fault.is_some() {
            record.fault = fault;
            break;
        }
        previous = Some((number, digest(raw)));
        torn = None;
        record.lines.push(line);
    }
    record
}

#[cfg(test)]
mod tests;
