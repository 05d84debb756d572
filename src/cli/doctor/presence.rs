//! Which slaves give no sign of life, or an old one.

use super::LIMIT;
use crate::bus::{Bus, BusError, Stream};
use crate::model::{Position, Presence, SlaveName, Timestamp};
use crate::status::{Board, Event, Overview};
use crate::trust::{Purpose, Reader};

/// What the slaves' signs of life say; nothing if they cannot be read now, which is no fault of theirs.
#[derive(Default)]
pub(super) struct Signs {
    /// The slaves that a viewer would call silent.
    pub(super) silent: Vec<SlaveName>,
    /// Those that are alive and hold an older keyring than the newest.
    pub(super) behind: Vec<(SlaveName, Position)>,
}

pub(super) async fn signs(bus: &Bus, reader: &Reader, now: Timestamp) -> Signs {
    let Ok(Ok(board)) = tokio::time::timeout(LIMIT, board(bus, reader)).await else {
        return Signs::default();
    };
    let silent = Overview::of(&board, now).silent.into_iter();
    let coverage = board.coverage(reader.keyring().position);
    let behind = coverage.into_iter().flat_map(|coverage| coverage.waiting);
    Signs {
        silent: silent.map(|silence| silence.slave).collect(),
        behind: behind
            .filter_map(|(slave, held)| Some((slave, held?)))
            .collect(),
    }
}

/// A board that knows of nothing but signs of life.
async fn board(bus: &Bus, reader: &Reader) -> Result<Board, BusError> {
    let mut board = Board::default();
    let Some(roster) = reader.roster() else {
        return Ok(board);
    };
    for line in roster.lines.iter().filter(|line| line.closed.is_none()) {
        let subject = bus.subjects().presence(&line.slave);
        let Some(delivery) = bus.read_newest(Stream::Presence, &subject).await? else {
            continue;
        };
        if let Ok(presence) = reader.open::<Presence>(&delivery.bytes, Purpose::History) {
            let stored = delivery.stored;
            board.apply(Event::Present { stored, presence });
        }
    }
    board.set_roster(roster.clone());
    Ok(board)
}
