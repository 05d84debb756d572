//! What moves: the branches of repositories, and the releases of projects.

use std::collections::{BTreeMap, HashMap};

use crate::model::{
    Branch, Change, PayloadId, ProjectName, Release, RepositoryName, Revision, Text, Timestamp,
    Version,
};

/// A branch, or the releases of a project, by a number that only this process knows.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct TrackId(usize);

/// Where a branch or a project stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum At {
    Revision(Revision),
    Version(Version),
}

/// One move: a change or a release, as far as it matters here.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    pub(super) id: PayloadId,
    pub(super) to: At,
    pub(super) seen: Timestamp,
    pub(super) paths: Option<Vec<Text>>,
}

/// The moves of one branch or project, by their place in the stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    pub(super) moves: BTreeMap<u64, Moved>,
}

impl Track {
    pub(super) fn newest(&self) -> Option<(u64, &Moved)> {
        self.moves
            .last_key_value()
            .map(|(sequence, moved)| (*sequence, moved))
    }

    /// The last move to `revision`.
    pub(super) fn last_at(&self, revision: &Revision) -> Option<u64> {
        let is_there = |moved: &Moved| matches!(&moved.to, At::Revision(to) if to == revision);
        let found = self.moves.iter().rev().find(|(_, moved)| is_there(moved));
        found.map(|(sequence, _)| *sequence)
    }
}

/// All that moves.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    all: Vec<Track>,
    branches: HashMap<RepositoryName, HashMap<Branch, TrackId>>,
    releases: HashMap<ProjectName, TrackId>,
    /// Where each move that is held lies.
    places: HashMap<PayloadId, (TrackId, u64)>,
}

impl Tracks {
    /// The newest so many moves are held of each track, as many as the stream keeps: who lived through it and who replays
    /// it then hold the same.
    const MAX_MOVES: usize = 1_000;

    pub(super) fn change(&mut self, sequence: u64, id: PayloadId, change: Change) -> TrackId {
        let branches = self.branches.entry(change.repository).or_default();
        let next = TrackId(self.all.len());
        let track = *branches.entry(change.branch).or_insert(next);
        let moved = Moved {
            id,
            to: At::Revision(change.revision),
            seen: change.seen,
            paths: change.paths,
        };
        if let Some(first) = self.noted_before(track, sequence, &moved, change.previous.as_ref()) {
            self.places.entry(id).or_insert((track, first));
            return track;
        }
        self.insert(track, sequence, moved)
    }

    /// Where the move lies of which this is a second note, if it is one: another master had seen it before. Such a note says
    /// nothing of where the branch stands now. One that leads on from where the branch stood is none: the branch went back.
    fn noted_before(
        &self,
        track: TrackId,
        sequence: u64,
        moved: &Moved,
        previous: Option<&Revision>,
    ) -> Option<u64> {
        let earlier = self.all.get(track.0)?.moves.range(..sequence);
        let before = earlier.clone().next_back();
        let leads_on = before.is_some_and(
            |(_, before)| matches!(&before.to, At::Revision(to) if Some(to) == previous),
        );
        let mut same = earlier.rev().filter(|(_, other)| other.to == moved.to);
        let (first, _) = same.find(|(_, other)| other.id != moved.id)?;
        (!leads_on).then_some(*first)
    }

    pub(super) fn release(&mut self, sequence: u64, id: PayloadId, release: Release) -> TrackId {
        let next = TrackId(self.all.len());
        let track = *self.releases.entry(release.project).or_insert(next);
        let moved = Moved {
            id,
            to: At::Version(release.version),
            seen: release.seen,
            paths: None,
        };
        self.insert(track, sequence, moved)
    }

    fn insert(&mut self, id: TrackId, sequence: u64, moved: Moved) -> TrackId {
        if id.0 == self.all.len() {
            self.all.push(Track::default());
        }
        if let Some(track) = self.all.get_mut(id.0) {
            // The first note of a move is where it lies. A stream that brings one message twice says nothing new.
            match self.places.get(&moved.id) {
                Some((_, held)) if *held <= sequence => return id,
                Some((_, held)) => drop(track.moves.remove(held)),
                None => {}
            }
            self.places.insert(moved.id, (id, sequence));
            track.moves.insert(sequence, moved);
            if track.moves.len() > Self::MAX_MOVES
                && let Some((_, oldest)) = track.moves.pop_first()
            {
                self.places.remove(&oldest.id);
            }
        }
        id
    }

    pub(super) fn branch(
        &self,
        repository: &RepositoryName,
        branch: &Branch,
    ) -> Option<(TrackId, &Track)> {
        self.get(*self.branches.get(repository)?.get(branch)?)
    }

    pub(super) fn releases(&self, project: &ProjectName) -> Option<(TrackId, &Track)> {
        self.get(*self.releases.get(project)?)
    }

    fn get(&self, id: TrackId) -> Option<(TrackId, &Track)> {
        self.all.get(id.0).map(|track| (id, track))
    }

    /// All that is held of a project's releases.
    pub(super) fn versions(&self, project: &ProjectName) -> impl Iterator<Item = &Version> {
        let track = self.releases(project).map(|(_, track)| track);
        let moves = track.into_iter().flat_map(|track| track.moves.values());
        moves.filter_map(|moved| match &moved.to {
            At::Version(version) => Some(version),
            At::Revision(_) => None,
        })
    }

    /// Where a move lies, if it is held.
    pub(super) fn place(&self, id: &PayloadId) -> Option<(TrackId, u64)> {
        self.places.get(id).copied()
    }

    /// The version that a release names.
    pub(super) fn version(&self, id: &PayloadId) -> Option<&Version> {
        let (track, sequence) = self.place(id)?;
        match &self.all.get(track.0)?.moves.get(&sequence)?.to {
            At::Version(version) => Some(version),
            At::Revision(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FarmId;

    fn change(revision: u8) -> Change {
        Change {
            farm: FarmId([7; 32]),
            repository: "foo".parse().unwrap(),
            branch: "main".parse().unwrap(),
            revision: format!("{revision:040x}").parse().unwrap(),
            previous: None,
            seen: Timestamp(0),
            commits: Vec::new(),
            more: 0,
            rewritten: false,
            paths: None,
        }
    }

    #[test]
    fn a_message_that_the_stream_holds_twice_is_one_move_where_it_came_first() {
        let id = |n| PayloadId([n; 32]);
        for order in [[5, 6, 7], [7, 6, 5]] {
            let mut tracks = Tracks::default();
            for sequence in order {
                // The publisher's first try was stored, and its second one so late that the server took it for news.
                let revision = if sequence == 6 { 2 } else { 1 };
                tracks.change(sequence, id(revision), change(revision));
            }
            let (_, track) = tracks
                .branch(&"foo".parse().unwrap(), &"main".parse().unwrap())
                .unwrap();
            let moves: Vec<u64> = track.moves.keys().copied().collect();
            assert_eq!(moves, [5, 6]);
            assert_eq!(tracks.place(&id(1)).map(|(_, sequence)| sequence), Some(5));
        }
    }
}
