//! What changed since a builder last passed.
//!
//! It names changes and blames nobody: any of them, or none, may be why a build did not pass. Where the record does not
//! reach back that far, it says so.

use super::board::Board;
use super::build::BuildStatus;
use super::rows::branches;
use crate::model::{Branch, BuildState, Change, RepositoryName, Revision, Source, Verdict};
use crate::trust::{Standing, Verified};

/// When the builder last passed on the branches of a build, and what changed since then.
#[derive(Clone, Debug)]
pub enum LastPass<'a> {
    /// Nobody asks: the build itself passed, or answers a question about older code, or nobody knows who ordered it.
    NotAsked,
    /// It has never passed, and every build before is on record. Nobody is to blame for a first result.
    Never,
    /// No earlier build on record passed, but there were builds that are no longer on record.
    NotOnRecord,
    /// It has passed.
    Known(SinceLastPass<'a>),
}

/// What changed between an earlier build that passed and a later one.
#[derive(Clone, Debug)]
pub struct SinceLastPass<'a> {
    /// The newest earlier build that passed.
    pub passed: &'a BuildStatus,
    /// The later build's sources, each with where it was then.
    pub moves: Vec<Move<'a>>,
    /// The changes in between, newest first, those that the later build covers among them; at most
    /// [`SinceLastPass::MAX_CHANGES`].
    pub changes: Vec<&'a Verified<Change>>,
    /// How many more commits there are than `changes` lists, as far as they were counted.
    pub more_commits: u64,
    /// Whether there were changes that are no longer on record, and so not among `changes`.
    pub incomplete: bool,
}

/// One repository on both sides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Move<'a> {
    /// Which repository.
    pub repository: &'a RepositoryName,
    /// Which branch.
    pub branch: &'a Branch,
    /// The revision that passed.
    pub from: &'a Revision,
    /// The revision of the later build.
    pub to: &'a Revision,
    /// How the one leads to the other.
    pub way: Way,
}

/// How one revision of a branch leads to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// They are the same.
    Same,
    /// By changes that are on record.
    Onward,
    /// The later build tested older code.
    Back,
    /// That is no longer on record.
    Unknown,
}

impl SinceLastPass<'_> {
    /// The most changes that are listed.
    pub const MAX_CHANGES: usize = 20;
}

/// A verified change and its place in the stream.
type Placed = (u64, Verified<Change>);

impl Board {
    /// What changed between the newest earlier build of the same builder and branches that passed, and `build`.
    #[must_use]
    pub fn since_last_pass<'a>(&'a self, build: &'a BuildStatus) -> LastPass<'a> {
        if has_passed(build) || build.order.experiment.is_some() || !build.proven {
            return LastPass::NotAsked;
        }
        let place = |build: &BuildStatus| (build.order.number, build.sequence);
        let earlier: Vec<_> = self
            .builds_of(&build.order.builder)
            .take_while(|earlier| place(earlier) < place(build))
            .collect();
        let ours = branches(&build.order);
        let passed = earlier.iter().rposition(|earlier| {
            // A pass that its own slave contradicts is no firm ground.
            let sound =
                earlier.proven && !earlier.is_disputed() && earlier.order.experiment.is_none();
            sound && has_passed(earlier) && branches(&earlier.order) == ours
        });
        let Some(passed) = passed else {
            let oldest = earlier.first().unwrap_or(&build).order.number;
            return if oldest > 1 {
                LastPass::NotOnRecord
            } else {
                LastPass::Never
            };
        };
        let between = earlier[passed + 1..].iter().copied().chain([build]);
        let covered = between
            .filter(|between| branches(&between.order) == ours)
            .flat_map(|between| &between.order.covers)
            .filter_map(|id| self.placed_change(id));
        let covered: Vec<_> = covered.collect();
        LastPass::Known(self.between(earlier[passed], build, &covered))
    }

    fn between<'a>(
        &'a self,
        passed: &'a BuildStatus,
        build: &'a BuildStatus,
        covered: &[&'a Placed],
    ) -> SinceLastPass<'a> {
        let mut found: Vec<&Placed> = Vec::new();
        let mut moves = Vec::new();
        for source in &build.order.sources {
            let then = passed.order.sources.iter().find(|then| {
                (&then.repository, &then.branch) == (&source.repository, &source.branch)
            });
            let Some(then) = then else { continue };
            let (way, path) = self.way(then, source);
            found.extend(path);
            if way == Way::Unknown {
                // The builds since then name what they cover, whatever became of the chain of changes.
                found.extend(covered.iter().filter(|(_, change)| {
                    let body = change.body();
                    change.standing() == Standing::Good
                        && (&body.repository, &body.branch) == (&source.repository, &source.branch)
                        && body.revision != then.revision
                }));
            }
            moves.push(Move {
                repository: &source.repository,
                branch: &source.branch,
                from: &then.revision,
                to: &source.revision,
                way,
            });
        }
        found.sort_unstable_by_key(|(sequence, _)| std::cmp::Reverse(*sequence));
        found.dedup_by_key(|(sequence, _)| *sequence);
        let cut = found.iter().skip(SinceLastPass::MAX_CHANGES);
        let cut = cut.map(|(_, change)| change.body().commits.len() as u64);
        let more = found
            .iter()
            .map(|(_, change)| u64::from(change.body().more));
        SinceLastPass {
            passed,
            incomplete: moves.iter().any(|moved| moved.way == Way::Unknown),
            moves,
            more_commits: cut.chain(more).sum(),
            changes: found
                .into_iter()
                .take(SinceLastPass::MAX_CHANGES)
                .map(|(_, change)| change)
                .collect(),
        }
    }

    /// How a branch came from one revision to another, and by which changes.
    fn way(&self, from: &Source, to: &Source) -> (Way, Vec<&Placed>) {
        if from.revision == to.revision {
            return (Way::Same, Vec::new());
        }
        let mut moves: Vec<&Placed> = self
            .changes()
            .filter(|(_, change)| change.standing() == Standing::Good)
            .filter(|(_, change)| {
                let change = change.body();
                (&change.repository, &change.branch) == (&to.repository, &to.branch)
            })
            .collect();
        moves.sort_unstable_by_key(|(sequence, _)| *sequence);
        let (met, path) = walk_back(&moves, &to.revision, &from.revision);
        if met {
            return (Way::Onward, path);
        }
        if walk_back(&moves, &from.revision, &to.revision).0 {
            return (Way::Back, Vec::new());
        }
        (Way::Unknown, path)
    }
}

/// The moves that led to revision `to`, back to the one that left `from`; and whether they lead back that far. Each change
/// says what came before it, so that one that is missing shows.
fn walk_back<'a>(moves: &[&'a Placed], to: &Revision, from: &Revision) -> (bool, Vec<&'a Placed>) {
    let mut path = Vec::new();
    let mut wanted = to;
    let mut before = moves.len();
    while let Some(at) = moves[..before]
        .iter()
        .rposition(|(_, change)| change.body().revision == *wanted)
    {
        path.push(moves[at]);
        match &moves[at].1.body().previous {
            Some(previous) if previous == from => return (true, path),
            Some(previous) => (wanted, before) = (previous, at),
            None => break,
        }
    }
    (false, path)
}

fn has_passed(build: &BuildStatus) -> bool {
    let passed = Verdict::Passed;
    matches!(build.state, BuildState::Done { verdict, .. } if verdict == passed)
}

#[cfg(test)]
mod tests;
