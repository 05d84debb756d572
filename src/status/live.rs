//! What pages are rendered from: the farm as it is known at this moment. A [`Feed`](super::Feed) keeps it up to date.

use std::sync::{PoisonError, RwLock};

use tokio::sync::{broadcast, watch};

use super::board::{Board, Event};
use super::view::Farm;
use crate::bus::Bus;
use crate::model::{BuildId, Timestamp};
use crate::trust::{Chain, Reader, RosterError, words};

/// Whether what is shown is what the bus says now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BusState {
    /// All that the streams held was read, and what comes is taken in as it comes.
    Following,
    /// What the streams hold is being read.
    CatchingUp,
    /// The bus cannot be reached.
    Away {
        /// Since when.
        since: Timestamp,
    },
}

/// How many builds that have ended wait for who wants to know.
const ENDED: usize = 64;

/// The farm as it is known at this moment, for any number of readers.
pub struct Live {
    farm: Farm,
    bus: Bus,
    state: RwLock<State>,
    changes: watch::Sender<u64>,
    ended: broadcast::Sender<BuildId>,
}

struct State {
    reader: Reader,
    board: Board,
    bus: BusState,
}

impl Live {
    pub(super) fn new(bus: Bus, reader: Reader) -> Self {
        let farm = Farm {
            name: reader.keyring().name.clone(),
            id: *reader.farm(),
            words: words(reader.farm()),
        };
        let mut board = Board::default();
        board.set_chain(reader.chain().clone());
        let state = State {
            reader,
            board,
            bus: BusState::CatchingUp,
        };
        Self {
            farm,
            bus,
            state: RwLock::new(state),
            changes: watch::channel(0).0,
            ended: broadcast::channel(ENDED).0,
        }
    }

    /// How the farm is named to people.
    #[must_use]
    pub fn farm(&self) -> &Farm {
        &self.farm
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Looks at the board. Whoever looks holds up what comes, so nothing is waited for meanwhile.
    pub fn board<T>(&self, look: impl FnOnce(&Board, BusState) -> T) -> T {
        self.look(|state| look(&state.board, state.bus))
    }

    /// The keyrings.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.look(|state| state.reader.chain().clone())
    }

    /// Counts what was learnt.
    #[must_use]
    pub fn version(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Tells of each change from now on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tells of each build that ends from now on. Whoever is too slow to listen misses some.
    #[must_use]
    pub fn ended(&self) -> broadcast::Receiver<BuildId> {
        self.ended.subscribe()
    }

    /// Verifies something.
    pub(super) fn verify<T>(&self, open: impl FnOnce(&Reader) -> T) -> T {
        self.look(|state| open(&state.reader))
    }

    pub(super) fn apply(&self, event: Event) {
        let ended = ended(&event);
        let follows = self.change(|state| {
            state.board.apply(event);
            state.bus == BusState::Following
        });
        if let Some(build) = ended.filter(|_| follows) {
            // Without a listener there is nobody to tell.
            let _ = self.ended.send(build);
        }
    }

    /// Replaces everything at once: other keys count now.
    pub(super) fn replace(&self, reader: Reader, mut board: Board) {
        self.change(|state| {
            board.keep_standing(&state.board, &reader);
            state.reader = reader;
            state.board = board;
        });
    }

    pub(super) fn learn_roster(&self, bytes: &[u8]) -> Result<(), RosterError> {
        self.change(|state| {
            state.reader.learn_roster(bytes)?;
            if let Some(roster) = state.reader.roster() {
                state.board.set_roster(roster.clone());
            }
            Ok(())
        })
    }

    pub(super) fn set_bus(&self, bus: BusState) {
        if self.look(|state| state.bus) != bus {
            self.change(|state| state.bus = bus);
        }
    }

    // A reader that panicked has changed nothing, and a writer's state is whole between two events.
    fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
        self.changes.send_modify(|count| *count += 1);
        changed
    }
}

/// The build that a report says has ended.
fn ended(event: &Event) -> Option<BuildId> {
    let Event::Reported(reported) = event else {
        return None;
    };
    let report = reported.report.body();
    report.body.verdict().map(|_| BuildId {
        builder: report.builder.clone(),
        number: report.number,
    })
}
