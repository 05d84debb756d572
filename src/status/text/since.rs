//! What changed since a builder last passed, as labelled lines.

use crate::model::{Change, Timestamp};

use super::age;
use crate::status::board::Board;
use crate::status::build::{BuildStatus, Ending};
use crate::status::since::{LastPass, Move, SinceLastPass, Way};

/// Label and text of each line; none if nobody asks.
pub(super) fn since_last_pass(
    board: &Board,
    build: &BuildStatus,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let say = |text: &str| vec![("last pass", text.to_owned())];
    match board.since_last_pass(build) {
        LastPass::NotAsked => Vec::new(),
        LastPass::Never => say(NEVER),
        LastPass::NotOnRecord => say(NOT_ON_RECORD),
        LastPass::Known(since) => known(&since, now),
    }
}

/// Said if a builder has never passed.
pub(in crate::status) const NEVER: &str =
    "none: it never passed before, so there is nothing to compare with";
/// Said if the record does not reach back to a pass.
pub(in crate::status) const NOT_ON_RECORD: &str =
    "none on record; whether older builds passed is no longer known";
/// Said if the changes listed are not all.
pub(in crate::status) const INCOMPLETE: &str =
    "more changes may lie in between: they are no longer on record";
/// Said if no change is listed and none is missing.
pub(in crate::status) const NOTHING_CHANGED: &str = "nothing changed in the code that is tested";

fn known(since: &SinceLastPass<'_>, now: Timestamp) -> Vec<(&'static str, String)> {
    let passed = since.passed;
    let ago = passed.ending.as_ref().map(Ending::at);
    let ago = ago.map_or_else(String::new, |at| format!(", {} ago", age(now.since(at))));
    let mut lines = vec![("last pass", format!("{}{ago}", passed.id()))];
    lines.extend(since.moves.iter().map(|moved| ("", describe(moved))));
    if since.changes.is_empty() && !since.incomplete {
        lines.push(("", NOTHING_CHANGED.to_owned()));
    }
    for change in &since.changes {
        lines.extend(commits(change.body()).map(|line| ("", line)));
    }
    if since.more_commits > 0 {
        lines.push(("", format!("and {} more commits", since.more_commits)));
    }
    if since.incomplete {
        lines.push(("", INCOMPLETE.to_owned()));
    }
    lines
}

fn describe(moved: &Move<'_>) -> String {
    let place = format!("{} {}", moved.repository, moved.branch);
    let (from, to) = (moved.from.short(), moved.to.short());
    match moved.way {
        Way::Same => format!("{place} {to}, the same"),
        Way::Onward | Way::Unknown => format!("{place} {from} → {to}"),
        Way::Back => format!("{place} {from} → {to}, which is older"),
    }
}

/// A line for each commit that a change lists; the change's own revision if it lists none.
pub(super) fn commits(change: &Change) -> impl Iterator<Item = String> {
    let bare = change.commits.is_empty();
    let bare = bare.then(|| format!("{} (its commits are not listed)", change.revision.short()));
    let commits = change.commits.iter().map(|commit| {
        let (revision, subject) = (commit.revision.short(), &commit.subject);
        format!("{revision} {subject} ({})", commit.author)
    });
    commits.chain(bare)
}
