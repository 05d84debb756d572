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
    /// Whether `previous` does not lead to `revision`: the branch was rewritten, or nobody knows its history any more.
    pub rewritten: bool,
    /// Every path in which the two revisions differ; none where that is not known, which counts as all of them.
    pub paths: Option<Vec<Text>>,
}

impl Change {
    /// How many commits one change lists at most.
    pub const MAX_COMMITS: usize = 50;
    /// How many paths one change lists at most, and how many bytes they have together at most; of a larger one they are
    /// not known.
    pub const MAX_PATHS: usize = 500;
    /// See [`Change::MAX_PATHS`].
    pub const MAX_PATH_BYTES: usize = 16 * 1024;
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
