//! A watched branch moved.

use super::{Branch, FarmId, RepositoryName, Revision, Text, Timestamp};

/// A watched branch moved to a revision, as the master saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The farm.
    pub farm: FarmId,
    /// Where.
    pub repository: RepositoryName,
    /// Which branch.
    pub branch: Branch,
    /// The new tip.
    pub revision: Revision,
    /// The tip that the master saw before; none the first time.
    pub previous: Option<Revision>,
    /// When the master saw it.
    pub seen: Timestamp,
    /// The first-parent commits since `previous`, newest first, at most [`Change::MAX_COMMITS`].
    pub commits: Vec<Commit>,
    /// How many more there are than `commits` lists.
    pub more: u32,
}

impl Change {
    /// How many commits one change lists at most.
    pub const MAX_COMMITS: usize = 50;
}

/// One commit of a change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Commit {
    /// Its full name.
    pub revision: Revision,
    /// Who wrote it, as git says.
    pub author: Text,
    /// First line of its message.
    pub subject: Text,
    /// When it was committed.
    pub committed: Timestamp,
}
