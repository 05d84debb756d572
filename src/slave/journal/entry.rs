//! One thing to remember, and how it is written down.

use std::path::PathBuf;

use rusqlite::{Transaction, params};

use super::signed;
use crate::model::{BuilderName, KeyId, PayloadId, Timestamp};

/// What was decided of a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::slave) enum Decided {
    /// It runs or has run.
    Accepted,
    /// It was refused.
    Refused,
    /// A cancel came before it.
    Cancelled,
    /// It was accepted, and a cancel came after it.
    Stopped,
}

impl Decided {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Stopped => "stopped",
        }
    }
}

/// One thing to remember.
#[derive(Debug)]
pub(in crate::slave) enum Entry {
    /// A command was decided; may be forgotten after that moment, when it is expired anyway.
    Decided {
        id: PayloadId,
        what: Decided,
        forget_after: Timestamp,
    },
    /// A command was accepted: its payload, to go on with it after a crash.
    Build {
        id: PayloadId,
        signer: KeyId,
        builder: BuilderName,
        number: u64,
        payload: Vec<u8>,
    },
    /// Its build is over.
    Ended(PayloadId),
    /// A step's output begins to be kept in a folder.
    Log {
        id: PayloadId,
        step: u16,
        folder: PathBuf,
    },
    /// The stream has a step's output up to this offset.
    LogSent { id: PayloadId, step: u16, sent: u64 },
    /// The stream has all of it.
    LogDone { id: PayloadId, step: u16 },
    /// It was said that a step was started.
    StepStarted { id: PayloadId, step: u16 },
    /// A step is over: what came of it, in the executor's words.
    StepEnded {
        id: PayloadId,
        step: u16,
        ran: String,
    },
    /// A report is to be sent.
    Said {
        sequence: u64,
        report: PayloadId,
        subject: String,
        envelope: Vec<u8>,
    },
    /// The stream has that report, in that place.
    Sent { sequence: u64, place: u64 },
    /// The disk is an older copy: this is the newest report that the stream has from us. What was issued before now may
    /// have been run before.
    Restored { sequence: u64, report: PayloadId },
    /// Which start of the machine this is.
    Booted(String),
}

pub(super) fn remember(
    transaction: &Transaction<'_>,
    name: &str,
    value: &[u8],
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT OR REPLACE INTO memory VALUES (?1, ?2)",
        params![name, value],
    )?;
    Ok(())
}

pub(super) fn write(
    transaction: &Transaction<'_>,
    now: Timestamp,
    entry: &Entry,
) -> rusqlite::Result<()> {
    match entry {
        Entry::Decided {
            id,
            what,
            forget_after,
        } => transaction.execute(
            "INSERT OR REPLACE INTO decided VALUES (?1, ?2, ?3)",
            params![id.0, what.word(), signed(forget_after.0)],
        )?,
        Entry::Build {
            id,
            signer,
            builder,
            number,
            payload,
        } => {
            transaction.execute(
                "INSERT INTO builds VALUES (?1, ?2, 0)",
                params![id.0, payload],
            )?;
            transaction.execute(
                "INSERT INTO signers VALUES (?1, ?2)",
                params![id.0, signer.0],
            )?;
            transaction.execute(
                "INSERT INTO numbers VALUES (?1, ?2) ON CONFLICT DO UPDATE SET number = max(number, excluded.number)",
                params![builder.as_str(), signed(*number)],
            )?
        }
        Entry::Ended(id) => {
            transaction.execute("UPDATE builds SET ended = 1 WHERE id = ?1", [id.0])?
        }
        Entry::Log { id, step, folder } => transaction.execute(
            "INSERT INTO logs VALUES (?1, ?2, ?3, 0)",
            params![id.0, step, folder.to_string_lossy()],
        )?,
        Entry::LogSent { id, step, sent } => transaction.execute(
            "UPDATE logs SET sent = ?3 WHERE id = ?1 AND step = ?2",
            params![id.0, step, signed(*sent)],
        )?,
        Entry::StepStarted { id, step } => transaction.execute(
            "INSERT OR IGNORE INTO steps VALUES (?1, ?2, NULL)",
            params![id.0, step],
        )?,
        Entry::StepEnded { id, step, ran } => transaction.execute(
            "INSERT OR REPLACE INTO steps VALUES (?1, ?2, ?3)",
            params![id.0, step, ran],
        )?,
        Entry::Booted(boot) => {
            remember(transaction, "boot", boot.as_bytes())?;
            0
        }
        Entry::LogDone { id, step } => transaction.execute(
            "DELETE FROM logs WHERE id = ?1 AND step = ?2",
            params![id.0, step],
        )?,
        Entry::Said {
            sequence,
            report,
            subject,
            envelope,
        } => {
            let newest = [sequence.to_be_bytes().as_slice(), &report.0].concat();
            remember(transaction, "report", &newest)?;
            transaction.execute(
                "INSERT INTO outbox VALUES (?1, ?2, ?3, ?4)",
                params![signed(*sequence), report.0, subject, envelope],
            )?
        }
        Entry::Sent { sequence, place } => {
            remember(transaction, "sent", &place.to_be_bytes())?;
            transaction.execute(
                "DELETE FROM outbox WHERE sequence = ?1",
                [signed(*sequence)],
            )?
        }
        Entry::Restored { sequence, report } => {
            let newest = [sequence.to_be_bytes().as_slice(), &report.0].concat();
            remember(transaction, "report", &newest)?;
            remember(transaction, "restored", &now.0.to_be_bytes())?;
            // The chain goes on behind what the stream has; what waits here was never a part of it.
            transaction.execute("DELETE FROM outbox", [])?
        }
    };
    Ok(())
}
