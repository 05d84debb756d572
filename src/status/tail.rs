//! From a delivery to a verified report, or to the plain word that it is none.

use std::error::Error;

use crate::bus::{Delivery, Stream};
use crate::model::{Report, Text, Timestamp};
use crate::trust::{Purpose, Reader, Verified};
use crate::wire::{Payload, Subjects};

use super::board::{Event, Reported};

/// One line of the results stream.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A report that its slave has signed.
    Report(Box<Reported>),
    /// Something that nobody can be shown to have said. Never a result.
    Unproven(Unproven),
}

/// A message that does not verify: where it lies, and why nothing of it is believed.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Unproven {
    /// The stream that holds it.
    pub stream: &'static str,
    /// Its place in that stream.
    pub sequence: u64,
    /// When the bus stored it, by the bus's clock.
    pub stored: Timestamp,
    /// The subject that it was published to, as the bus says.
    pub subject: Text,
    /// Stable code of the rule that failed, such as `E-SIGNATURE`.
    pub code: &'static str,
    /// A sentence.
    pub why: Text,
}

impl Unproven {
    /// Whether a newer roster might make it a report: its key is not known here.
    pub(super) fn is_by_an_unknown_key(&self) -> bool {
        self.code == "E-KEY"
    }

    pub(super) fn new(
        stream: Stream,
        delivery: &Delivery,
        code: &'static str,
        error: &dyn Error,
    ) -> Self {
        let mut why = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            why = format!("{why}: {error}");
            cause = error.source();
        }
        Self {
            stream: stream.name(),
            sequence: delivery.sequence,
            stored: delivery.stored,
            subject: Text::tidy(&delivery.subject),
            code,
            why: Text::tidy(&why),
        }
    }
}

impl Entry {
    /// Its place in the results stream.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Report(reported) => reported.sequence,
            Self::Unproven(unproven) => unproven.sequence,
        }
    }

    /// When the bus stored it, by the bus's clock.
    #[must_use]
    pub fn stored(&self) -> Timestamp {
        match self {
            Self::Report(reported) => reported.stored,
            Self::Unproven(unproven) => unproven.stored,
        }
    }
}

impl Entry {
    /// Why it is no report, if it is none.
    pub(super) fn unproven(&self) -> Option<&Unproven> {
        match self {
            Self::Report(_) => None,
            Self::Unproven(unproven) => Some(unproven),
        }
    }
}

impl From<Entry> for Event {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Report(reported) => Self::Reported(*reported),
            Entry::Unproven(unproven) => Self::Unproven(unproven),
        }
    }
}

/// A genuine report, on a subject that is not its own.
#[derive(Debug, thiserror::Error)]
#[error("a report of {expected} lies on another subject")]
struct OtherSubject {
    expected: String,
}

/// Opens what the results stream delivers.
#[must_use]
pub fn open_report(reader: &Reader, delivery: &Delivery) -> Entry {
    match open::<Report>(reader, Stream::Results, delivery) {
        Ok(report) => {
            let said = report.body();
            let expected = Subjects::new(reader.farm()).report(&said.slave, &said.builder);
            if delivery.subject != expected {
                let error = OtherSubject { expected };
                let unproven = Unproven::new(Stream::Results, delivery, "E-SUBJECT", &error);
                return Entry::Unproven(unproven);
            }
            Entry::Report(Box::new(Reported {
                sequence: delivery.sequence,
                stored: delivery.stored,
                report,
            }))
        }
        Err(unproven) => Entry::Unproven(unproven),
    }
}

/// Opens a message of the past, whatever its kind.
pub(super) fn open<T: Payload>(
    reader: &Reader,
    stream: Stream,
    delivery: &Delivery,
) -> Result<Verified<T>, Unproven> {
    reader
        .open(&delivery.bytes, Purpose::History)
        .map_err(|error| Unproven::new(stream, delivery, error.code(), &error))
}
