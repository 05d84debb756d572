//! Which slaves give no sign of life.

use super::LIMIT;
use crate::bus::{Bus, BusError, Stream};
use crate::model::{Presence, SlaveName, Timestamp};
use crate::status::{Board, Event, Overview};
use crate::trust::{Purpose, Reader};

/// The slaves that a viewer would call silent; none if that cannot be read now, which is no fault of theirs.
pub(super) async fn silent(bus: &Bus, reader: &Reader, now: Timestamp) -> Vec<SlaveName> {
    match tokio::time::timeout(LIMIT, board(bus, reader)).await {
        Ok(Ok(board)) => Overview::of(&board, now)
            .silent
            .into_iter()
            .map(|silence| silence.slave)
            .collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
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
            board.apply(Event::Present(presence));
        }
    }
    board.set_roster(roster.clone());
    Ok(board)
}
