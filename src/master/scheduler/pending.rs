//! What is new to a builder: the moves of its sources since its newest build.

use super::lane::Lane;
use super::track::{Moved, Track, TrackId};
use super::waiting::Reason;
use crate::master::config::{Builder, Collapse};
use crate::model::{Revision, Timestamp};

/// One source of a builder, and which of its moves are new to it.
pub(super) struct Pending<'a> {
    pub(super) track_id: TrackId,
    pub(super) track: &'a Track,
    /// The last move that a build covers.
    pub(super) reached: Option<u64>,
    /// Moves after that, oldest first, up to the one that may be built; for a builder without a build, just the newest.
    pub(super) moves: Vec<(u64, &'a Moved)>,
    /// Whether some of them matter to the builder.
    pub(super) matters: bool,
    /// What stands there if nothing of `moves` is built.
    pub(super) base: &'a Moved,
}

/// How many changes may wait for a builder that builds each; of more the oldest are built as one. Well below what the stream
/// keeps, so that a restarted master misses none.
const MAX_BACKLOG: usize = 500;

/// How much longer than the quiet period a branch that never rests may hold up a build.
const QUIET_PERIODS: u32 = 10;

impl<'a> Pending<'a> {
    /// Where it stands if what moved is built.
    pub(super) fn newest(&self) -> &'a Moved {
        self.moves.last().map_or(self.base, |(_, moved)| moved)
    }
}

/// What is new of one source; none if nothing was ever seen there.
pub(super) fn pending<'a>(
    lane: Option<&Lane>,
    track_id: TrackId,
    track: &'a Track,
    collapse: Collapse,
    matters: impl Fn(&Moved) -> bool,
) -> Option<Pending<'a>> {
    let (newest_sequence, newest) = track.newest()?;
    let reached = lane.and_then(|lane| lane.reached(track_id));
    let built = reached.and_then(|sequence| track.moves.get(&sequence));
    let moves: Vec<(u64, &Moved)> = match (reached, built) {
        // It moved and came back.
        (_, Some(built)) if built.to == newest.to && collapse == Collapse::Newest => Vec::new(),
        // Changes older than the newest one built are never gone back to.
        (Some(sequence), _) => {
            let moves = track.moves.range(sequence.saturating_add(1)..);
            moves.map(|(sequence, moved)| (*sequence, moved)).collect()
        }
        // A new builder starts at the newest change.
        (None, _) => vec![(newest_sequence, newest)],
    };
    let matters = match reached {
        Some(_) => moves.iter().any(|(_, moved)| matters(moved)),
        None => true,
    };
    Some(Pending {
        track_id,
        track,
        reached,
        base: built.unwrap_or(newest),
        moves,
        matters,
    })
}

/// Leaves of what moved on branches only what has passed: those revisions. Releases, which stand last, are no matter of who
/// has passed what.
pub(super) fn keep_to(pending: &mut [Pending<'_>], passed: &[Revision]) {
    for (source, revision) in pending.iter_mut().zip(passed) {
        let last = source.track.last_at(revision);
        if source.reached.is_some() {
            let passed = |sequence| last.is_some_and(|last| sequence <= last);
            source.moves.retain(|(sequence, _)| passed(*sequence));
        } else {
            // A new builder starts at what has passed.
            let at = last.and_then(|last| source.track.moves.get_key_value(&last));
            source.moves = at
                .map(|(sequence, moved)| (*sequence, moved))
                .into_iter()
                .collect();
            source.base = source.newest();
        }
        source.matters = source.matters && !source.moves.is_empty();
    }
}

/// Leaves of what moved the oldest move that matters, and what stood elsewhere then.
pub(super) fn keep_to_oldest(pending: &mut [Pending<'_>]) {
    let backlog: usize = pending.iter().map(|source| source.moves.len()).sum();
    let mut order: Vec<(Timestamp, u64, TrackId)> = pending
        .iter()
        .filter(|source| source.matters)
        .flat_map(|source| {
            let moves = source.moves.iter();
            moves.map(|(sequence, moved)| (moved.seen, *sequence, source.track_id))
        })
        .collect();
    order.sort_unstable();
    let oldest = backlog
        .saturating_sub(MAX_BACKLOG)
        .min(order.len().saturating_sub(1));
    let Some(&(seen, sequence, track)) = order.get(oldest) else {
        return;
    };
    for source in pending {
        if source.reached.is_none() {
            continue;
        }
        if source.track_id == track {
            source.moves.retain(|(other, _)| *other <= sequence);
        } else {
            // Two masters' clocks may tell another order than the stream, and what is passed over is never gone back to.
            let moves = source.moves.iter();
            let last = moves
                .filter(|(other, moved)| (moved.seen, *other) <= (seen, sequence))
                .map(|(other, _)| *other)
                .max();
            source
                .moves
                .retain(|(other, _)| last.is_some_and(|last| *other <= last));
        }
        source.matters = source.matters && !source.moves.is_empty();
    }
}

/// Why it is too early for what moved last, if it is.
pub(super) fn quiet(
    builder: &Builder,
    pending: &[Pending<'_>],
    since: Timestamp,
    now: Timestamp,
) -> Option<Reason> {
    if builder.quiet.is_zero() || builder.collapse == Collapse::Every {
        return None;
    }
    let newest = pending
        .iter()
        .filter(|source| source.matters)
        .map(|source| source.newest().seen)
        .max()?;
    let longest = since.after(builder.quiet.saturating_mul(QUIET_PERIODS));
    let until = newest.after(builder.quiet).min(longest);
    (now < until).then_some(Reason::Quiet { until })
}
