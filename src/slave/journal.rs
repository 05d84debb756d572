//! What the slave remembers across crashes: which commands it has decided, what runs, what is still to be said.
//!
//! Every change is one transaction. What "at most once" rests on, a command's id, is on disk before its script is
//! started.

mod entry;

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

pub(super) use entry::{Decided, Entry};

use entry::{remember, write};

use crate::model::{BuilderName, KeyId, PayloadId, Timestamp};

/// The journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the journal {path} could not be {what}")]
pub struct JournalError {
    path: PathBuf,
    what: &'static str,
    #[source]
    source: rusqlite::Error,
}

/// A report that waits for the bus.
pub(super) struct Waiting {
    pub(super) sequence: u64,
    pub(super) report: PayloadId,
    pub(super) subject: String,
    pub(super) envelope: Vec<u8>,
}

/// A build that was accepted and has not ended.
pub(super) struct OpenBuild {
    pub(super) id: PayloadId,
    pub(super) signer: KeyId,
    pub(super) payload: Vec<u8>,
}

/// How far a step has come, as far as it is on record.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Whether its folder was handed to a keeper.
    pub(super) begun: bool,
    /// How much of its output the stream has.
    pub(super) sent: u64,
    /// Whether it was said that it was started.
    pub(super) said: bool,
    /// What came of it.
    pub(super) ran: Option<String>,
}

/// A step's output that the stream does not have all of.
pub(super) struct OpenLog {
    pub(super) id: PayloadId,
    pub(super) step: u16,
    pub(super) folder: PathBuf,
    pub(super) sent: u64,
    pub(super) payload: Vec<u8>,
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS decided (id BLOB PRIMARY KEY, what TEXT NOT NULL, forget_after INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS builds (id BLOB PRIMARY KEY, payload BLOB NOT NULL, ended INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS signers (id BLOB PRIMARY KEY, signer BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS steps (
        id BLOB NOT NULL, step INTEGER NOT NULL, ran TEXT, PRIMARY KEY (id, step)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS numbers (builder TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS logs (
        id BLOB NOT NULL, step INTEGER NOT NULL, folder TEXT NOT NULL, sent INTEGER NOT NULL, PRIMARY KEY (id, step)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS outbox (
        sequence INTEGER PRIMARY KEY, report BLOB NOT NULL, subject TEXT NOT NULL, envelope BLOB NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS memory (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS keyrings (place INTEGER PRIMARY KEY, message BLOB NOT NULL) STRICT;
";

/// The slave's journal.
pub struct Journal {
    db: Connection,
    path: PathBuf,
}

impl Journal {
    /// Opens or makes the journal.
    ///
    /// # Errors
    ///
    /// [`JournalError`].
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError {
            path: path.to_owned(),
            what: "opened",
            source,
        };
        let db = Connection::open(path).map_err(failed)?;
        db.pragma_update(None, "journal_mode", "WAL")
            .map_err(failed)?;
        db.execute_batch(SCHEMA).map_err(failed)?;
        Ok(Self {
            db,
            path: path.to_owned(),
        })
    }

    /// Opens the journal for a look from beside the slave, if there is one. What it holds is not changed.
    pub(super) fn look(path: &Path) -> Result<Option<Self>, JournalError> {
        if !path.exists() {
            return Ok(None);
        }
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let mut uri = format!("file:{}", escaped(path));
        if !Path::new(&log).exists() {
            // Nobody has it open. Else a file for the log would be made by looking.
            uri.push_str("?immutable=1");
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let db = Connection::open_with_flags(uri, flags).map_err(|source| JournalError {
            path: path.to_owned(),
            what: "opened",
            source,
        })?;
        Ok(Some(Self {
            db,
            path: path.to_owned(),
        }))
    }

    /// Remembers all of `entries`, or none. They are on disk when this returns.
    pub(super) fn commit(&mut self, now: Timestamp, entries: &[Entry]) -> Result<(), JournalError> {
        // In WAL mode FULL syncs at each commit, NORMAL only now and then.
        self.write("FULL", now, entries)
    }

    /// Remembers all of `entries`, or none. They survive the end of this process, and a power cut only a little later:
    /// for what does no harm if it is done or said again.
    pub(super) fn note(&mut self, now: Timestamp, entries: &[Entry]) -> Result<(), JournalError> {
        self.write("NORMAL", now, entries)
    }

    fn write(
        &mut self,
        synchronous: &str,
        now: Timestamp,
        entries: &[Entry],
    ) -> Result<(), JournalError> {
        let write = |db: &mut Connection| -> rusqlite::Result<()> {
            db.pragma_update(None, "synchronous", synchronous)?;
            let transaction = db.transaction()?;
            for entry in entries {
                write(&transaction, now, entry)?;
            }
            remember(&transaction, "clock", &now.0.to_be_bytes())?;
            transaction.execute(
                "DELETE FROM decided WHERE forget_after < ?1 AND id NOT IN (SELECT id FROM builds WHERE NOT ended)",
                [signed(now.0)],
            )?;
            transaction.execute(
                "DELETE FROM builds WHERE ended AND id NOT IN (SELECT id FROM logs) AND id NOT IN (SELECT id FROM decided)",
                [],
            )?;
            for table in ["signers", "steps"] {
                let sweep = format!("DELETE FROM {table} WHERE id NOT IN (SELECT id FROM builds)");
                transaction.execute(&sweep, [])?;
            }
            transaction.commit()
        };
        write(&mut self.db).map_err(|source| JournalError {
            path: self.path.clone(),
            what: "written",
            source,
        })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        read(&self.db).map_err(|source| JournalError {
            path: self.path.clone(),
            what: "read",
            source,
        })
    }

    /// What was decided of a command, if it is known.
    pub(super) fn decided(&self, id: &PayloadId) -> Result<Option<Decided>, JournalError> {
        let word: Option<String> = self.read(|db| {
            db.query_row("SELECT what FROM decided WHERE id = ?1", [id.0], |row| {
                row.get(0)
            })
            .optional()
        })?;
        Ok(word.map(|word| match word.as_str() {
            "refused" => Decided::Refused,
            "cancelled" => Decided::Cancelled,
            "stopped" => Decided::Stopped,
            _ => Decided::Accepted,
        }))
    }

    /// The latest time that was ever written here: the slave's clock never counts from before it.
    pub(super) fn high_water(&self) -> Result<Timestamp, JournalError> {
        Ok(Timestamp(self.number("clock")?.unwrap_or(0)))
    }

    /// When it was found out that the disk is an older copy of what it was, if it ever was.
    pub(super) fn restored(&self) -> Result<Option<Timestamp>, JournalError> {
        Ok(self.number("restored")?.map(Timestamp))
    }

    /// Where the stream has the newest report that it acknowledged; 0 before the first.
    pub(super) fn sent_place(&self) -> Result<u64, JournalError> {
        Ok(self.number("sent")?.unwrap_or(0))
    }

    /// Sequence and id of the newest report; 0 and none before the first.
    pub(super) fn newest_report(&self) -> Result<(u64, Option<PayloadId>), JournalError> {
        let Some(bytes) = self.memory("report")? else {
            return Ok((0, None));
        };
        let (Some(sequence), Some(id)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<32>())
        else {
            return Ok((0, None));
        };
        Ok((u64::from_be_bytes(*sequence), Some(PayloadId(*id))))
    }

    /// The report that has waited longest.
    pub(super) fn waiting(&self) -> Result<Option<Waiting>, JournalError> {
        self.read(|db| {
            db.query_row(
                "SELECT sequence, report, subject, envelope FROM outbox ORDER BY sequence LIMIT 1",
                [],
                |row| {
                    Ok(Waiting {
                        sequence: unsigned(row.get(0)?),
                        report: PayloadId(row.get(1)?),
                        subject: row.get(2)?,
                        envelope: row.get(3)?,
                    })
                },
            )
            .optional()
        })
    }

    /// How many reports wait for the bus.
    pub(super) fn reports_waiting(&self) -> Result<u64, JournalError> {
        self.read(|db| {
            db.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))
                .map(unsigned)
        })
    }

    /// Builds that were accepted and have not ended, in the order in which they were accepted.
    pub(super) fn open_builds(&self) -> Result<Vec<OpenBuild>, JournalError> {
        self.read(|db| {
            db.prepare("SELECT id, signer, payload FROM builds JOIN signers USING (id) WHERE NOT ended ORDER BY builds.rowid")?
                .query_map([], |row| {
                    Ok(OpenBuild {
                        id: PayloadId(row.get(0)?),
                        signer: KeyId(row.get(1)?),
                        payload: row.get(2)?,
                    })
                })?
                .collect()
        })
    }

    /// Whether any step of a build was handed to a keeper.
    pub(super) fn has_begun(&self, id: &PayloadId) -> Result<bool, JournalError> {
        self.read(|db| {
            let any = "SELECT EXISTS (SELECT 1 FROM logs WHERE id = ?1) OR EXISTS (SELECT 1 FROM steps WHERE id = ?1)";
            db.query_row(any, [id.0], |row| row.get(0))
        })
    }

    /// How far a step has come.
    pub(super) fn progress(&self, id: &PayloadId, step: u16) -> Result<Progress, JournalError> {
        let log: Option<i64> = self.read(|db| {
            let sent = "SELECT sent FROM logs WHERE id = ?1 AND step = ?2";
            db.query_row(sent, params![id.0, step], |row| row.get(0))
                .optional()
        })?;
        let said: Option<Option<String>> = self.read(|db| {
            let ran = "SELECT ran FROM steps WHERE id = ?1 AND step = ?2";
            db.query_row(ran, params![id.0, step], |row| row.get(0))
                .optional()
        })?;
        Ok(Progress {
            begun: log.is_some() || said.is_some(),
            sent: log.map_or(0, unsigned),
            said: said.is_some(),
            ran: said.flatten(),
        })
    }

    /// Which start of the machine the journal was written in last.
    pub(super) fn boot(&self) -> Result<Option<String>, JournalError> {
        let bytes = self.memory("boot")?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Logs that the stream does not have all of.
    pub(super) fn open_logs(&self) -> Result<Vec<OpenLog>, JournalError> {
        self.read(|db| {
            db.prepare("SELECT id, step, folder, sent, payload FROM logs JOIN builds USING (id) ORDER BY id, step")?
                .query_map([], |row| {
                    Ok(OpenLog {
                        id: PayloadId(row.get(0)?),
                        step: row.get(1)?,
                        folder: PathBuf::from(row.get::<_, String>(2)?),
                        sent: unsigned(row.get(3)?),
                        payload: row.get(4)?,
                    })
                })?
                .collect()
        })
    }

    /// The highest build number accepted of one builder; 0 before the first.
    pub(super) fn highest(&self, builder: &BuilderName) -> Result<u64, JournalError> {
        let number: Option<i64> = self.read(|db| {
            let name = [builder.as_str()];
            db.query_row(
                "SELECT number FROM numbers WHERE builder = ?1",
                name,
                |row| row.get(0),
            )
            .optional()
        })?;
        Ok(number.map_or(0, unsigned))
    }

    /// The highest build number accepted, per builder.
    pub(super) fn numbers(&self) -> Result<Vec<(String, u64)>, JournalError> {
        self.read(|db| {
            db.prepare("SELECT builder, number FROM numbers")?
                .query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))?
                .collect()
        })
    }

    /// The keyrings held, in the order in which they have to be learnt.
    pub(super) fn keyrings(&self) -> Result<Vec<Vec<u8>>, JournalError> {
        self.read(|db| {
            db.prepare("SELECT message FROM keyrings ORDER BY place")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
    }

    /// Holds these keyrings and no others, from one moment to the next.
    pub(super) fn set_keyrings(&mut self, messages: &[Bytes]) -> Result<(), JournalError> {
        let write = |db: &mut Connection| -> rusqlite::Result<()> {
            db.pragma_update(None, "synchronous", "FULL")?;
            let transaction = db.transaction()?;
            transaction.execute("DELETE FROM keyrings", [])?;
            for message in messages {
                transaction
                    .execute("INSERT INTO keyrings (message) VALUES (?1)", [&message[..]])?;
            }
            transaction.commit()
        };
        write(&mut self.db).map_err(|source| JournalError {
            path: self.path.clone(),
            what: "written",
            source,
        })
    }

    fn number(&self, name: &str) -> Result<Option<u64>, JournalError> {
        let bytes = self.memory(name)?;
        Ok(bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_be_bytes))
    }

    fn memory(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        self.read(|db| {
            db.query_row("SELECT value FROM memory WHERE name = ?1", [name], |row| {
                row.get(0)
            })
            .optional()
        })
    }
}

/// A path as a part of a URI.
fn escaped(path: &Path) -> String {
    let escape = |byte: &u8| match *byte {
        plain if plain.is_ascii_alphanumeric() || b"/-._".contains(&plain) => {
            char::from(plain).to_string()
        }
        other => format!("%{other:02X}"),
    };
    path.as_os_str().as_bytes().iter().map(escape).collect()
}

/// SQLite counts in signed 64-bit numbers; none of ours comes near their end honestly.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
