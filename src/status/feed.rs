//! Keeps a [`Live`] up to date: what the store holds, then what the streams hold, then what comes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::board::{Board, Event};
use super::keyrings::{self, first_reader};
use super::live::{BusState, Live};
use super::store::{Belief, Cursor, Store, StoreError};
use super::tail::{open, open_report};
use super::view::{Reloads, ViewError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::bus::{
    Bus, BusError, Delivery, Follower, KeyringCursor, Next, Progress, Returns, Stream, Taken,
};
use crate::model::{Change, Clock, Command, Digest, FarmId, Presence, Timestamp};
use crate::trust::{Reader, Verified, sha256};
use crate::wire::Payload;

/// How often the connection is looked at.
const PULSE: Duration = Duration::from_secs(1);
/// How many messages may wait to be taken in.
const WAITING: usize = 64;
/// How long to wait before streams that could not be read are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How many parts of the keyrings are read before the other streams have their turn.
const KEYRING_PARTS: usize = 64;

/// What is followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Source {
    Keyrings,
    Rosters,
    Results,
    Commands,
    Changes,
    Presences,
    Heads,
}

const SOURCES: [Source; 7] = [
    Source::Keyrings,
    Source::Rosters,
    Source::Results,
    Source::Commands,
    Source::Changes,
    Source::Presences,
    Source::Heads,
];

impl Source {
    fn stream(self) -> Stream {
        match self {
            Self::Keyrings => Stream::Keyring,
            Self::Rosters => Stream::Roster,
            Self::Results => Stream::Results,
            Self::Commands => Stream::Commands,
            Self::Changes => Stream::Changes,
            Self::Presences => Stream::Presence,
            Self::Heads => Stream::Head,
        }
    }

    /// Whether the store keeps it as it comes. Keyrings are kept in the order in which they are learnt; of the others only
    /// the newest counts, and their streams forget the rest.
    fn is_kept(self) -> bool {
        match self {
            Self::Rosters | Self::Results | Self::Commands | Self::Changes => true,
            Self::Keyrings | Self::Presences | Self::Heads => false,
        }
    }

    /// Verifies a message, and says what the board is to be told.
    fn event(self, reader: &Reader, delivery: &Delivery) -> Option<Event> {
        let sequence = delivery.sequence;
        Some(match self {
            Self::Keyrings | Self::Rosters => return None,
            Self::Results => open_report(reader, delivery).into(),
            Self::Commands => self.opened(reader, delivery, |command: Verified<Command>| {
                Event::Ordered { sequence, command }
            }),
            Self::Changes => self.opened(reader, delivery, |change: Verified<Change>| {
                Event::Changed { sequence, change }
            }),
            Self::Presences => self.opened(reader, delivery, |presence: Verified<Presence>| {
                let stored = delivery.stored;
                Event::Present { stored, presence }
            }),
            Self::Heads => self.opened(reader, delivery, Event::Headed),
        })
    }

    fn opened<T: Payload>(
        self,
        reader: &Reader,
        delivery: &Delivery,
        event: impl FnOnce(Verified<T>) -> Event,
    ) -> Event {
        open(reader, self.stream(), delivery).map_or_else(Event::Unproven, event)
    }
}

/// Why there is nothing to keep up to date.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The history on disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bus, or the keyring that it holds.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// Takes in what the streams say.
pub struct Feed {
    live: Arc<Live>,
    store: Store,
    clock: Clock,
    keyrings: KeyringCursor,
    /// Whether there may be keyrings that were not read.
    keyrings_due: bool,
    reloads: Reloads,
    seen_at: Timestamp,
}

impl Feed {
    /// Begins with what `store` holds; asks the bus only if that is not even the farm's keyring.
    ///
    /// # Errors
    ///
    /// [`FeedError`].
    pub async fn new(
        bus: Bus,
        farm: FarmId,
        mut store: Store,
        clock: Clock,
    ) -> Result<Self, FeedError> {
        let mut reader: Option<Reader> = None;
        store.read(Stream::Keyring, |delivery| match &mut reader {
            Some(reader) => {
                keyrings::learn(reader, &delivery);
            }
            None => reader = Reader::new(farm, &delivery.bytes).ok(),
        })?;
        let reader = if let Some(reader) = reader {
            reader
        } else {
            let (reader, delivery) = first_reader(&bus, farm).await?;
            store.keep_last(Stream::Keyring, delivery)?;
            reader
        };
        let feed = Self {
            live: Arc::new(Live::new(bus, reader.clone())),
            store,
            clock,
            keyrings: keyrings::cursor(&reader),
            keyrings_due: true,
            reloads: Reloads::default(),
            seen_at: clock(),
        };
        feed.fold(reader)?;
        Ok(feed)
    }

    /// What it keeps up to date.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// Verifies and folds what the store holds, by the keyrings of `reader`.
    fn fold(&self, mut reader: Reader) -> Result<(), StoreError> {
        let mut board = Board::default();
        board.set_chain(reader.chain().clone());
        self.store.read(Stream::Roster, |delivery| {
            // What is wrong with it was said when it came.
            let _ = reader.learn_roster(&delivery.bytes);
        })?;
        if let Some(roster) = reader.roster() {
            board.set_roster(roster.clone());
        }
        for source in [Source::Results, Source::Commands, Source::Changes] {
            self.store.read(source.stream(), |delivery| {
                if let Some(event) = source.event(&reader, &delivery) {
                    board.apply(event);
                }
            })?;
        }
        self.live.replace(reader, board);
        Ok(())
    }

    /// Shows what a message says; returns whether it was believed.
    fn show(&self, event: Option<Event>, delivery: &Delivery) -> Belief {
        let Some(event) = event else {
            return match self.live.learn_roster(&delivery.bytes) {
                Ok(()) => Belief::Believed,
                Err(error) => {
                    tracing::warn!(sequence = delivery.sequence, %error, "roster rejected");
                    Belief::Unproven
                }
            };
        };
        let belief = match event.unproven() {
            Some(_) => Belief::Unproven,
            None => Belief::Believed,
        };
        self.live.apply(event);
        belief
    }

    fn open(&self, source: Source, delivery: &Delivery) -> Option<Event> {
        self.live.verify(|reader| source.event(reader, delivery))
    }

    /// Follows the streams, for as long as the store can be written.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn run(mut self) -> Result<Infallible, StoreError> {
        let mut returns = self.live.bus().returns();
        loop {
            match self.follow(&mut returns).await {
                Ok(()) => {}
                Err(FollowError::Store(error)) => return Err(error),
                Err(FollowError::Bus(error)) => {
                    tracing::debug!(%error, "streams not readable now");
                    self.look_at_the_bus(BusState::CatchingUp);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Follows the streams until the connection has been away and is back: the bus may have lost what it held.
    async fn follow(&mut self, returns: &mut Returns) -> Result<(), FollowError> {
        self.look_at_the_bus(BusState::CatchingUp);
        // Whose word counts before what was said. The bus may have lost what it held, and count anew.
        self.keyrings = self.live.verify(keyrings::cursor);
        self.read_keyrings().await?;
        // Who reports before what is reported.
        self.read_rosters().await?;
        let (news, mut coming) = mpsc::channel(WAITING);
        // Each in a task of its own: what takes long for one is not given up because another has something.
        let mut tasks = JoinSet::new();
        for source in SOURCES {
            let mut follower = self.follower(source).await?;
            let news = news.clone();
            tasks.spawn(async move {
                while news.send((source, follower.next().await)).await.is_ok() {}
            });
        }
        let mut state = BusState::CatchingUp;
        let mut behind = SOURCES.iter().filter(|source| source.is_kept()).count();
        let mut pulse = tokio::time::interval(PULSE);
        loop {
            tokio::select! {
                biased;
                () = returns.next() => return Ok(()),
                _ = pulse.tick() => {
                    self.look_at_the_bus(state);
                    if self.keyrings_due {
                        self.try_to_read_keyrings().await?;
                    }
                }
                Some((source, next)) = coming.recv() => match next {
                    // Looked for by the pulse: whoever floods them makes nobody read them more often.
                    Next::Message(_) if source == Source::Keyrings => self.keyrings_due = true,
                    Next::Message(delivery) => self.take(source, delivery).await?,
                    // The others may be gone with a server that was started anew; the rest is no less true.
                    Next::CaughtUp if source.is_kept() => {
                        behind -= 1;
                        if behind == 0 {
                            state = BusState::Following;
                            self.look_at_the_bus(state);
                        }
                    }
                    Next::CaughtUp => {}
                },
            }
        }
    }

    fn look_at_the_bus(&mut self, state: BusState) {
        if self.live.bus().is_connected() {
            self.seen_at = (self.clock)();
            self.live.set_bus(state);
        } else {
            let since = self.seen_at;
            self.live.set_bus(BusState::Away { since });
        }
    }

    /// Follows a stream from where the store ends, or from its beginning if the bus has lost what it held.
    async fn follower(&mut self, source: Source) -> Result<Follower, FollowError> {
        let bus = self.live.bus().clone();
        let stream = source.stream();
        if source == Source::Keyrings {
            return Ok(bus.follow(stream, 1).await?);
        }
        let cursor = self.store.cursor(stream)?;
        let mut from = cursor.last.saturating_add(1);
        if cursor.last > 0 && !continues(&bus, stream, &cursor).await? {
            tracing::warn!(
                stream = stream.name(),
                "the bus has lost what the stream held; it is read anew"
            );
            self.store.begin_anew(stream)?;
            from = 1;
        }
        Ok(bus.follow(stream, from).await?)
    }

    async fn take(&mut self, source: Source, mut delivery: Delivery) -> Result<(), StoreError> {
        // Who leads is no command.
        if source == Source::Commands && delivery.subject == self.live.bus().subjects().lead() {
            return Ok(());
        }
        let stream = source.stream();
        let kept = source.is_kept();
        if kept {
            delivery.sequence = self.store.place(stream, delivery.sequence)?;
        }
        let mut event = self.open(source, &delivery);
        // It may have overtaken the keyring or the roster that names its key.
        if self.reloads.allow(event.as_ref().and_then(Event::unproven)) {
            self.try_to_read_keyrings().await?;
            match self.read_rosters().await {
                Ok(()) => event = self.open(source, &delivery),
                Err(error) => tracing::warn!(%error, "roster not readable now"),
            }
        }
        let known = event
            .as_ref()
            .is_some_and(|event| self.live.board(|board, _| board.knows(event)));
        if known {
            // Whoever repeats what was said fills neither memory nor disk.
            return self.store.pass(stream, &delivery);
        }
        let belief = self.show(event, &delivery);
        if kept {
            self.store.keep(stream, &delivery, belief)?;
        }
        Ok(())
    }

    async fn try_to_read_keyrings(&mut self) -> Result<(), StoreError> {
        match self.read_keyrings().await {
            Ok(()) => Ok(()),
            Err(FollowError::Store(error)) => Err(error),
            Err(FollowError::Bus(error)) => {
                tracing::warn!(%error, "keyrings not readable now");
                Ok(())
            }
        }
    }

    /// Takes in keyrings that are new. If there are, whatever was believed before is verified again.
    async fn read_keyrings(&mut self) -> Result<(), FollowError> {
        let bus = self.live.bus().clone();
        let mut reader = self.live.verify(Reader::clone);
        let mut learnt = Vec::new();
        let read = keyrings::read(&bus, &mut self.keyrings, KEYRING_PARTS, |delivery| {
            let taken = keyrings::learn(&mut reader, delivery);
            if taken != Taken::Nothing {
                learnt.push(delivery.clone());
            }
            taken
        });
        let read = read.await;
        self.keyrings_due = !matches!(read, Ok(Progress::Done));
        if !learnt.is_empty() {
            for delivery in learnt {
                self.store.keep_last(Stream::Keyring, delivery)?;
            }
            // What a stolen key said of slaves is forgotten; the bus may hold more than the store of who else said it.
            let filter = bus.subjects().rosters();
            let rosters = bus.read_all(Stream::Roster, &filter, 0).await;
            for roster in rosters.iter().flatten() {
                let _ = reader.learn_roster(&roster.bytes);
            }
            self.fold(reader)?;
            rosters?;
        }
        read?;
        Ok(())
    }

    async fn read_rosters(&self) -> Result<(), BusError> {
        let bus = self.live.bus();
        let filter = bus.subjects().rosters();
        for roster in bus.read_all(Stream::Roster, &filter, 0).await? {
            // What is wrong with it is said when it is followed.
            let _ = self.live.learn_roster(&roster.bytes);
        }
        Ok(())
    }
}

/// Why following ended.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Whether a stream still is the one that was read so far, rather than one that was begun anew or restored from a backup.
async fn continues(bus: &Bus, stream: Stream, cursor: &Cursor) -> Result<bool, BusError> {
    let next = bus.read(stream, ">", cursor.last).await?;
    let Some(next) = next.first() else {
        return Ok(false);
    };
    if next.sequence == cursor.last {
        return Ok(Digest(sha256(&next.bytes)) == cursor.digest);
    }
    // The message may have been retired since. Then whatever is older was stored earlier; else the count began anew.
    let oldest = bus.read(stream, ">", 1).await?;
    Ok(oldest
        .first()
        .is_none_or(|oldest| oldest.sequence > cursor.last || oldest.stored <= cursor.stored))
}
