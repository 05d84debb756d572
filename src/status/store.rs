//! The history on disk: every envelope that was believed, byte for byte, for longer than the streams keep them.
//!
//! Nothing is shown from here that is not verified again: what is loaded goes the same way as what the bus delivers.
//! The file may be deleted at any time; what the streams still hold is then read again.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::bus::{Delivery, Stream};
use crate::model::{Digest, FarmId, Timestamp};
use crate::trust::sha256;
use crate::wire::Kind;

use super::board::MAX_UNPROVEN;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite, or the disk.
    #[error("the history {path} could not be {what}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
    /// Its folder could not be made.
    #[error("the folder of the history {path} could not be made")]
    Folder {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is a database of another program.
    #[error("{path} is a database of another program")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is about another farm.
    #[error("{path} is the history of farm {found}, not of {wanted}")]
    OtherFarm {
        /// The file.
        path: PathBuf,
        /// Whose history it is.
        found: String,
        /// Whose was asked for.
        wanted: FarmId,
    },
}

/// How far a stream has been read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cursor {
    /// What is added to the bus's sequences: a bus that lost its store counts from 1 again, and what it holds then comes
    /// after what is held here.
    pub(super) offset: u64,
    /// The bus's sequence of the last message taken in; 0 before the first.
    pub(super) last: u64,
    /// When the bus stored that message.
    pub(super) stored: Timestamp,
    /// The SHA-256 of that message.
    pub(super) digest: Digest,
}

impl Default for Cursor {
    fn default() -> Self {
        Self {
            offset: 0,
            last: 0,
            stored: Timestamp(0),
            digest: Digest([0; 32]),
        }
    }
}

/// Whether what is kept was verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Belief {
    /// It was.
    Believed,
    /// It does not verify. The newest few are kept, to be shown as that.
    Unproven,
}

/// Marks a database as a history of pybots ("pybh").
const APPLICATION: i32 = 0x7079_6268;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS farm (id TEXT PRIMARY KEY) STRICT;
    CREATE TABLE IF NOT EXISTS envelopes (
        stream TEXT NOT NULL, sequence INTEGER NOT NULL, subject TEXT NOT NULL, stored INTEGER NOT NULL,
        bytes BLOB NOT NULL, believed INTEGER NOT NULL, PRIMARY KEY (stream, sequence)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS unproven ON envelopes (stream, sequence) WHERE NOT believed;
    CREATE TABLE IF NOT EXISTS cursors (
        stream TEXT PRIMARY KEY, start INTEGER NOT NULL, last INTEGER NOT NULL, stored INTEGER NOT NULL,
        digest BLOB NOT NULL
    ) STRICT;
";

/// A farm's history on disk.
pub struct Store {
    db: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens the history of `farm`, or begins one.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn open(path: &Path, farm: &FarmId) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
                path: path.to_owned(),
                source,
            })?;
        }
        let open = || -> rusqlite::Result<Option<(Connection, String)>> {
            let db = Connection::open(path)?;
            let application: i32 =
                db.pragma_query_value(None, "application_id", |row| row.get(0))?;
            let tables: i64 =
                db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables > 0 && application != APPLICATION {
                return Ok(None);
            }
            db.pragma_update(None, "application_id", APPLICATION)?;
            db.pragma_update(None, "journal_mode", "WAL")?;
            // After a power cut the last few may be missing, and their cursor with them: they are read again.
            db.pragma_update(None, "synchronous", "NORMAL")?;
            db.execute_batch(SCHEMA)?;
            db.execute(
                "INSERT INTO farm SELECT ?1 WHERE NOT EXISTS (SELECT * FROM farm)",
                [farm.to_string()],
            )?;
            let found = db.query_row("SELECT id FROM farm", [], |row| row.get(0))?;
            Ok(Some((db, found)))
        };
        let opened = open().map_err(|source| StoreError::Database {
            path: path.to_owned(),
            what: "opened",
            source,
        })?;
        let path = path.to_owned();
        let Some((db, found)) = opened else {
            return Err(StoreError::Foreign { path });
        };
        if found != farm.to_string() {
            return Err(StoreError::OtherFarm {
                path,
                found,
                wanted: *farm,
            });
        }
        Ok(Self { db, path })
    }

    /// Whether it holds nothing to begin with.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.cursor(Stream::Keyring)? == Cursor::default())
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Database { path, what, source }
    }

    /// How far a stream has been read.
    pub(super) fn cursor(&self, stream: Stream) -> Result<Cursor, StoreError> {
        self.db
            .query_row(
                "SELECT start, last, stored, digest FROM cursors WHERE stream = ?1",
                [stream.name()],
                |row| {
                    Ok(Cursor {
                        offset: row.get::<_, i64>(0)?.cast_unsigned(),
                        last: row.get::<_, i64>(1)?.cast_unsigned(),
                        stored: Timestamp(row.get::<_, i64>(2)?.cast_unsigned()),
                        digest: Digest(row.get(3)?),
                    })
                },
            )
            .optional()
            .map_err(self.failed("read"))
            .map(Option::unwrap_or_default)
    }

    /// The place here of what the bus holds under a sequence.
    pub(super) fn place(&self, stream: Stream, sequence: u64) -> Result<u64, StoreError> {
        Ok(self.cursor(stream)?.offset.saturating_add(sequence))
    }

    /// Keeps a message in its place, and remembers that the stream has been read so far.
    pub(super) fn keep(
        &mut self,
        stream: Stream,
        delivery: &Delivery,
        belief: Belief,
    ) -> Result<(), StoreError> {
        let offset = self.cursor(stream)?.offset;
        // One byte more than any kind may have is as wrong as a million more.
        let kept = delivery.bytes.len().min(Kind::Report.max_len() + 1);
        let write = |db: &mut Connection| -> rusqlite::Result<()> {
            let transaction = db.transaction()?;
            transaction.execute(
                "INSERT OR REPLACE INTO envelopes VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    stream.name(),
                    delivery.sequence.cast_signed(),
                    delivery.subject,
                    delivery.stored.0.cast_signed(),
                    &delivery.bytes[..kept],
                    belief == Belief::Believed,
                ],
            )?;
            move_cursor(&transaction, stream, offset, delivery)?;
            if belief == Belief::Unproven {
                transaction.execute(
                    "DELETE FROM envelopes WHERE stream = ?1 AND NOT believed AND sequence <= (
                        SELECT sequence FROM envelopes WHERE stream = ?1 AND NOT believed
                        ORDER BY sequence DESC LIMIT 1 OFFSET ?2)",
                    params![stream.name(), MAX_UNPROVEN],
                )?;
            }
            transaction.commit()
        };
        write(&mut self.db).map_err(self.failed("written"))
    }

    /// Keeps a message behind all others of its stream, whatever its place on the bus.
    pub(super) fn keep_last(
        &mut self,
        stream: Stream,
        delivery: Delivery,
    ) -> Result<(), StoreError> {
        let last = self.cursor(stream)?.last;
        let sequence = self.place(stream, last.saturating_add(1))?;
        let delivery = Delivery {
            sequence,
            ..delivery
        };
        self.keep(stream, &delivery, Belief::Believed)
    }

    /// Remembers that the stream has been read so far, and keeps nothing.
    pub(super) fn pass(&mut self, stream: Stream, delivery: &Delivery) -> Result<(), StoreError> {
        let offset = self.cursor(stream)?.offset;
        move_cursor(&self.db, stream, offset, delivery).map_err(self.failed("written"))
    }

    /// Begins a stream anew: the bus has lost what it held, and counts from 1 again.
    pub(super) fn begin_anew(&mut self, stream: Stream) -> Result<(), StoreError> {
        self.db
            .execute(
                "UPDATE cursors SET start = start + last, last = 0 WHERE stream = ?1",
                [stream.name()],
            )
            .map_err(self.failed("written"))?;
        Ok(())
    }

    /// Hands out what is kept of a stream, in its order, one message at a time.
    pub(super) fn read(
        &self,
        stream: Stream,
        mut take: impl FnMut(Delivery),
    ) -> Result<(), StoreError> {
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.db.prepare(
                "SELECT sequence, subject, stored, bytes FROM envelopes WHERE stream = ?1 ORDER BY sequence",
            )?;
            let mut rows = statement.query([stream.name()])?;
            while let Some(row) = rows.next()? {
                take(delivery(row)?);
            }
            Ok(())
        };
        read().map_err(self.failed("read"))
    }
}

fn move_cursor(
    db: &Connection,
    stream: Stream,
    offset: u64,
    delivery: &Delivery,
) -> rusqlite::Result<()> {
    db.execute(
        "INSERT OR REPLACE INTO cursors VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            stream.name(),
            offset.cast_signed(),
            delivery.sequence.saturating_sub(offset).cast_signed(),
            delivery.stored.0.cast_signed(),
            sha256(&delivery.bytes),
        ],
    )?;
    Ok(())
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        sequence: row.get::<_, i64>(0)?.cast_unsigned(),
        subject: row.get(1)?,
        stored: Timestamp(row.get::<_, i64>(2)?.cast_unsigned()),
        bytes: row.get::<_, Vec<u8>>(3)?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FARM: FarmId = FarmId([1; 32]);

    fn message(sequence: u64, bytes: &'static [u8]) -> Delivery {
        Delivery {
            sequence,
            subject: "pybots.x.result.maple.foo".to_owned(),
            stored: Timestamp(1_000 + sequence),
            bytes: bytes.into(),
        }
    }

    fn held(store: &Store) -> Vec<(u64, Vec<u8>)> {
        let mut held = Vec::new();
        store
            .read(Stream::Results, |delivery| {
                held.push((delivery.sequence, delivery.bytes.to_vec()));
            })
            .unwrap();
        held
    }

    #[test]
    fn what_is_kept_is_there_after_the_file_was_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/history.sqlite");
        let mut store = Store::open(&path, &FARM).unwrap();
        assert_eq!(store.cursor(Stream::Results).unwrap(), Cursor::default());
        for (sequence, bytes) in [(4, b"four".as_slice()), (9, b"nine")] {
            let message = message(sequence, bytes);
            store
                .keep(Stream::Results, &message, Belief::Believed)
                .unwrap();
        }
        drop(store);
        let store = Store::open(&path, &FARM).unwrap();
        assert_eq!(held(&store), [(4, b"four".to_vec()), (9, b"nine".to_vec())]);
        let cursor = store.cursor(Stream::Results).unwrap();
        assert_eq!((cursor.last, cursor.stored), (9, Timestamp(1_009)));
        assert_eq!(cursor.digest, Digest(sha256(b"nine")));
        assert_eq!(store.cursor(Stream::Commands).unwrap(), Cursor::default());
    }

    #[test]
    fn what_a_bus_holds_that_lost_its_store_comes_after_what_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("history.sqlite"), &FARM).unwrap();
        let keep = |store: &mut Store, sequence, bytes| {
            let place = store.place(Stream::Results, sequence).unwrap();
            let message = message(place, bytes);
            store
                .keep(Stream::Results, &message, Belief::Believed)
                .unwrap();
            place
        };
        keep(&mut store, 7, b"old");
        store.begin_anew(Stream::Results).unwrap();
        assert_eq!(keep(&mut store, 1, b"new"), 8);
        assert_eq!(keep(&mut store, 2, b"newer"), 9);
        store.begin_anew(Stream::Results).unwrap();
        assert_eq!(keep(&mut store, 1, b"newest"), 10);
        let order: Vec<u64> = held(&store)
            .into_iter()
            .map(|(sequence, _)| sequence)
            .collect();
        assert_eq!(order, [7, 8, 9, 10]);
    }

    #[test]
    fn junk_does_not_fill_the_disk() {
        static JUNK: [u8; 200_000] = [0; 200_000];
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("history.sqlite"), &FARM).unwrap();
        let junk = u64::from(MAX_UNPROVEN) + 50;
        store
            .keep(Stream::Results, &message(1, b"good"), Belief::Believed)
            .unwrap();
        for sequence in 2..=junk {
            let kept = store.keep(Stream::Results, &message(sequence, &JUNK), Belief::Unproven);
            kept.unwrap();
        }
        let held = held(&store);
        assert_eq!(held.len(), usize::from(MAX_UNPROVEN) + 1);
        assert_eq!(held[0], (1, b"good".to_vec()));
        assert_eq!(held.last().unwrap().0, junk);
        assert_eq!(held.last().unwrap().1.len(), 64 * 1024 + 1);
    }

    #[test]
    fn the_history_of_another_farm_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.sqlite");
        drop(Store::open(&path, &FARM).unwrap());
        let other = Store::open(&path, &FarmId([2; 32]));
        assert!(matches!(other, Err(StoreError::OtherFarm { .. })));
        assert!(Store::open(&path, &FARM).is_ok());
    }

    #[test]
    fn a_database_of_another_program_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(other);
        let before = fs::read(&path).unwrap();
        let opened = Store::open(&path, &FARM);
        assert!(matches!(opened, Err(StoreError::Foreign { .. })));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn what_is_passed_over_is_not_kept_but_not_read_again_either() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("history.sqlite"), &FARM).unwrap();
        store.pass(Stream::Results, &message(3, b"again")).unwrap();
        assert!(held(&store).is_empty());
        assert_eq!(store.cursor(Stream::Results).unwrap().last, 3);
    }
}
