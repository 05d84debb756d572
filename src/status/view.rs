//! A viewer at the bus: reads the streams, verifies for itself, and hands on.

use crate::bus::{Bus, BusError, Delivery, KeyringCursor, Stream, Taken};
use crate::model::{Change, Command, FarmId, FarmName, Head, LogChunk, Presence};
use crate::trust::{KeyringError, Reader, Verified, words};
use crate::wire::Payload;

use super::board::{Board, Event};
use super::build::BuildStatus;
use super::follow::{LogFollower, Tail};
use super::keyrings::{self, first_reader};
use super::log::{LogAssembly, LogPiece};
use super::tail::{Entry, Unproven, open, open_report};

/// How a farm is named to people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Farm {
    /// Its name, as its first keyring says.
    pub name: FarmName,
    /// Its id.
    pub id: FarmId,
    /// The id as words.
    pub words: String,
}

/// Why there is nothing to view.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The bus did not do its part.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The bus does not hold the keyring that the farm's id names.
    #[error("the bus holds no keyring of farm {0}")]
    NoKeyring(FarmId),
    /// It holds something else in its place.
    #[error("what the bus holds as the first keyring is not that of the farm")]
    Keyring(#[from] KeyringError),
}

/// Reads a farm's streams with nothing but the farm's id.
pub struct Viewer {
    bus: Bus,
    reader: Reader,
    keyrings: KeyringCursor,
    next_roster: u64,
    reloads: Reloads,
}

/// Of the keyrings, so many parts are read at once: enough for any that are meant, and an end for who floods them.
const KEYRING_PARTS: usize = 4096;
/// How often a board is begun again because other keys count than when it was begun.
const BEGINNINGS: usize = 3;
/// Junk by unknown keys may make a viewer read keyrings and rosters again this often at once,
const MAX_RELOADS: u32 = 8;
/// and once more for every so many entries.
const ENTRIES_PER_RELOAD: u32 = 32;

/// How often keyrings and rosters may yet be read again because of a key that is not known: junk must not turn every viewer
/// against the bus.
pub(super) struct Reloads {
    left: u32,
    /// Entries since the last time that `left` grew.
    entries: u32,
}

impl Default for Reloads {
    fn default() -> Self {
        Self {
            left: MAX_RELOADS,
            entries: 0,
        }
    }
}

impl Reloads {
    /// Counts a message; returns whether they may be read again for it, if it does not verify because its key is not
    /// known.
    pub(super) fn allow(&mut self, unproven: Option<&Unproven>) -> bool {
        self.entries += 1;
        if self.entries >= ENTRIES_PER_RELOAD {
            self.entries = 0;
            self.left = (self.left + 1).min(MAX_RELOADS);
        }
        if !unproven.is_some_and(Unproven::is_by_an_unknown_key) || self.left == 0 {
            return false;
        }
        self.left -= 1;
        true
    }
}

impl Viewer {
    /// Reads the first keyring, which the farm's id vouches for, those that follow from it, and every version of the roster.
    ///
    /// # Errors
    ///
    /// [`ViewError`].
    pub async fn new(bus: Bus, farm: FarmId) -> Result<Self, ViewError> {
        let (reader, _) = first_reader(&bus, farm).await?;
        let mut viewer = Self {
            bus,
            keyrings: keyrings::cursor(&reader),
            reader,
            next_roster: 0,
            reloads: Reloads::default(),
        };
        viewer.refresh().await?;
        Ok(viewer)
    }

    /// How the farm is named to people.
    #[must_use]
    pub fn farm(&self) -> Farm {
        Farm {
            name: self.reader.keyring().name.clone(),
            id: *self.reader.farm(),
            words: words(self.reader.farm()),
        }
    }

    /// What it has verified so far.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Takes in the keyrings and the versions of the roster that are new; returns whether there were any.
    pub(super) async fn refresh(&mut self) -> Result<bool, BusError> {
        let (reader, cursor) = (&mut self.reader, &mut self.keyrings);
        let mut learnt = false;
        let read = keyrings::read(&self.bus, cursor, KEYRING_PARTS, |delivery| {
            let taken = keyrings::learn(reader, delivery);
            learnt |= taken != Taken::Nothing;
            taken
        });
        let read = read.await;
        if learnt {
            // What a stolen key said of slaves is forgotten: whoever else has said it says it again.
            self.next_roster = 0;
        }
        read?;
        Ok(self.load_rosters().await? || learnt)
    }

    /// Takes in the versions of the roster that are new; returns whether there were any.
    async fn load_rosters(&mut self) -> Result<bool, BusError> {
        let filter = self.bus.subjects().rosters();
        let deliveries = self.bus.read_all(Stream::Roster, &filter, self.next_roster);
        let mut learnt = false;
        for delivery in deliveries.await? {
            self.next_roster = delivery.sequence + 1;
            match self.reader.learn_roster(&delivery.bytes) {
                Ok(()) => learnt = true,
                Err(error) => {
                    tracing::warn!(sequence = delivery.sequence, %error, "roster rejected");
                }
            }
        }
        Ok(learnt)
    }

    /// Folds all that the streams hold now.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the bus does not answer, or not to the end.
    pub async fn snapshot(&mut self) -> Result<Board, BusError> {
        // The bus may have lost what it held, and count anew.
        self.keyrings = keyrings::cursor(&self.reader);
        self.next_roster = 0;
        self.refresh().await?;
        let mut board = self.fold().await?;
        for _ in 1..BEGINNINGS {
            if board.is_read_by(&self.reader) {
                break;
            }
            board = self.fold().await?;
        }
        Ok(board)
    }

    async fn fold(&mut self) -> Result<Board, BusError> {
        let mut board = Board::default();
        board.set_chain(self.reader.chain().clone());
        // Reports before commands and changes: whatever a report answers was stored before it.
        for entry in self.entries(0).await? {
            board.apply(entry.into());
        }
        let subjects = self.bus.subjects().clone();
        // The filter leaves out who leads, which is no command.
        let commands = (Stream::Commands, subjects.commands());
        let ordered = |delivery: &Delivery, command: Verified<Command>| Event::Ordered {
            sequence: delivery.sequence,
            command,
        };
        self.read_into(&mut board, commands, ordered).await?;
        let changes = (Stream::Changes, subjects.changes());
        let moved = |delivery: &Delivery, change: Verified<Change>| Event::Changed {
            sequence: delivery.sequence,
            change,
        };
        self.read_into(&mut board, changes, moved).await?;
        let presences = (Stream::Presence, subjects.presences());
        let present = |delivery: &Delivery, presence: Verified<Presence>| Event::Present {
            stored: delivery.stored,
            presence,
        };
        // Kept in memory only, and so gone for a moment after the server was started anew; the rest is no less true.
        if let Err(error) = self.read_into(&mut board, presences, present).await {
            tracing::warn!(%error, "presence not readable now");
        }
        let heads = (Stream::Head, subjects.head());
        let headed = |_: &Delivery, head: Verified<Head>| Event::Headed(head);
        self.read_into(&mut board, heads, headed).await?;
        if let Some(roster) = self.reader.roster() {
            board.set_roster(roster.clone());
        }
        Ok(board)
    }

    async fn read_into<T: Payload>(
        &mut self,
        board: &mut Board,
        (stream, filter): (Stream, String),
        event: impl Fn(&Delivery, Verified<T>) -> Event,
    ) -> Result<(), BusError> {
        for delivery in self.bus.read_all(stream, &filter, 0).await? {
            board.apply(match self.open_as::<T>(stream, &delivery).await {
                Ok(verified) => event(&delivery, verified),
                Err(unproven) => Event::Unproven(unproven),
            });
        }
        Ok(())
    }

    /// What the results stream holds now from sequence `from` on.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the bus does not answer, or not to the end.
    pub async fn entries(&mut self, from: u64) -> Result<Vec<Entry>, BusError> {
        let filter = self.bus.subjects().reports();
        let mut entries = Vec::new();
        for delivery in self.bus.read_all(Stream::Results, &filter, from).await? {
            entries.push(self.open(&delivery).await);
        }
        Ok(entries)
    }

    /// Follows the results stream from sequence `from` on: what it holds, then what comes.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the bus does not let this login subscribe.
    pub async fn tail(&mut self, from: u64) -> Result<Tail<'_>, BusError> {
        let follower = self.bus.follow(Stream::Results, from).await?;
        let keyrings = self.bus.follow(Stream::Keyring, 1).await?;
        Ok(Tail::new(self, follower, keyrings))
    }

    /// Opens a report. One by a key that is not known makes it look for newer keyrings and rosters first, but not for
    /// every such message.
    pub(super) async fn open(&mut self, delivery: &Delivery) -> Entry {
        let entry = open_report(&self.reader, delivery);
        if self.reads_again(entry.unproven()).await {
            open_report(&self.reader, delivery)
        } else {
            entry
        }
    }

    /// The same for a message of any other kind.
    pub(super) async fn open_as<T: Payload>(
        &mut self,
        stream: Stream,
        delivery: &Delivery,
    ) -> Result<Verified<T>, Unproven> {
        let opened = open::<T>(&self.reader, stream, delivery);
        if self.reads_again(opened.as_ref().err()).await {
            open::<T>(&self.reader, stream, delivery)
        } else {
            opened
        }
    }

    /// The same for a chunk of the log of `build`.
    pub(super) async fn open_chunk(
        &mut self,
        build: &BuildStatus,
        delivery: &Delivery,
    ) -> Result<LogChunk, Unproven> {
        let opened = open_chunk(&self.reader, build, delivery);
        if self.reads_again(opened.as_ref().err()).await {
            open_chunk(&self.reader, build, delivery)
        } else {
            opened
        }
    }

    /// Counts a message, and reads keyrings and rosters again if that may make it verify; returns whether there were new
    /// ones.
    async fn reads_again(&mut self, unproven: Option<&Unproven>) -> bool {
        if !self.reloads.allow(unproven) {
            return false;
        }
        self.refresh().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "keyrings and rosters not readable now");
            false
        })
    }

    /// The log of a build, as far as the stream holds it now, by step and offset.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the bus does not answer, or not to the end.
    pub async fn log(&self, build: &BuildStatus) -> Result<Vec<LogPiece>, BusError> {
        let subject = self.bus.subjects().log(&build.order.slave, &build.id());
        let mut pieces = Vec::new();
        let mut chunks = Vec::new();
        for delivery in self.bus.read_all(Stream::Logs, &subject, 0).await? {
            match open_chunk(&self.reader, build, &delivery) {
                Ok(chunk) => chunks.push(chunk),
                Err(unproven) => pieces.push(LogPiece::Unproven(unproven)),
            }
        }
        // Steps overlap in the stream: what one has printed may still be sent while the next runs. Stable, so that of two
        // chunks for one place the first stands.
        chunks.sort_by_key(|chunk| (chunk.step, chunk.offset));
        let mut assembly = LogAssembly::default();
        let mut chunks = chunks.into_iter().peekable();
        for (step, status) in (0..).zip(&build.steps) {
            while let Some(chunk) = chunks.next_if(|chunk| chunk.step == step) {
                pieces.extend(assembly.take(&chunk));
            }
            if let Some(outcome) = &status.outcome {
                pieces.extend(assembly.end(step, outcome));
            }
        }
        Ok(pieces)
    }

    /// Follows the log of a build until the report that ends the build, and until all of the log is there that the slave
    /// says it kept, or no more comes.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the bus does not let this login subscribe.
    pub async fn follow_log(&mut self, build: &BuildStatus) -> Result<LogFollower<'_>, BusError> {
        let subjects = self.bus.subjects();
        let log = subjects.log(&build.order.slave, &build.id());
        let reports = subjects.report(&build.order.slave, &build.order.builder);
        let chunks = self.bus.follow_subject(Stream::Logs, log, 0).await?;
        let reports = self.bus.follow_subject(Stream::Results, reports, 0).await?;
        Ok(LogFollower::new(self, build, chunks, reports))
    }
}

pub(super) fn open_chunk(
    reader: &Reader,
    build: &BuildStatus,
    delivery: &Delivery,
) -> Result<LogChunk, Unproven> {
    let chunk = open::<LogChunk>(reader, Stream::Logs, delivery)?;
    if build.has_printed(&chunk) {
        Ok(chunk.into_body())
    } else {
        let error = &AnotherBuildsLog;
        Err(Unproven::new(Stream::Logs, delivery, "E-LOG", error))
    }
}

/// A genuine chunk in another log's place.
#[derive(Debug, thiserror::Error)]
#[error("this is no part of the log of this command")]
struct AnotherBuildsLog;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SlaveName, Timestamp};
    use crate::status::sample::{Sample, at, id};
    use crate::trust::{SecretKey, seal};

    #[test]
    fn a15_a_chunk_counts_only_in_the_log_of_its_own_command() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 1, 'a');
        let mut board = sample.board();
        board.apply(sample.ordered(1, &order));
        let build = board.build(&order.id()).unwrap();
        let own = LogChunk {
            farm: sample.farm,
            slave: order.slave.clone(),
            builder: order.builder.clone(),
            command: id(&order),
            step: 1,
            offset: 0,
            issued: at(101),
            bytes: "x".into(),
        };
        let opened = |key: &SecretKey, chunk: &LogChunk| {
            let delivery = Delivery {
                sequence: 1,
                subject: String::new(),
                stored: Timestamp(0),
                bytes: seal(key, &sample.farm, chunk).bytes.into(),
            };
            open_chunk(&sample.reader, build, &delivery).map_err(|unproven| unproven.code)
        };
        assert_eq!(opened(&sample.maple, &own), Ok(own.clone()));
        assert_eq!(opened(&sample.elm, &own), Err("E-REPORTER"));
        assert_eq!(opened(&sample.signing, &own), Err("E-KEY"));
        assert_eq!(opened(&sample.former_maple, &own), Err("E-LOG"));
        let elm: SlaveName = "elm".parse().unwrap();
        let others = [
            LogChunk {
                command: id(&sample.order("foo-maple", 2, 'a')),
                ..own.clone()
            },
            LogChunk {
                builder: "bar-maple".parse().unwrap(),
                ..own.clone()
            },
            LogChunk {
                step: 2,
                ..own.clone()
            },
        ];
        for other in others {
            assert_eq!(opened(&sample.maple, &other), Err("E-LOG"));
        }
        let by_elm = LogChunk { slave: elm, ..own };
        assert_eq!(opened(&sample.elm, &by_elm), Err("E-LOG"));
    }
}
