//! What changed since the last pass.

use super::frame::{When, href};
use crate::model::{Change, Timestamp};
use crate::status::board::Board;
use crate::status::build::{BuildStatus, Ending};
use crate::status::since::{LastPass, Move, SinceLastPass, Way};
use crate::status::text::since::{INCOMPLETE, NEVER, NOT_ON_RECORD, NOTHING_CHANGED};

/// What changed since the last pass, or else what the build answers.
pub(super) struct Changes {
    pub(super) heading: &'static str,
    /// The build that passed, and its page.
    pub(super) passed: Option<(String, String)>,
    pub(super) when: Option<When>,
    /// A sentence in place of a pass.
    pub(super) none: &'static str,
    pub(super) moves: Vec<MoveLine>,
    pub(super) list: Vec<ChangeLine>,
    pub(super) more_commits: u64,
    pub(super) remark: &'static str,
}

pub(super) struct MoveLine {
    pub(super) place: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) remark: &'static str,
}

pub(super) struct ChangeLine {
    pub(super) place: String,
    pub(super) revision: String,
    pub(super) seen: Option<When>,
    pub(super) commits: Vec<CommitLine>,
    pub(super) more: u32,
}

pub(super) struct CommitLine {
    pub(super) revision: String,
    pub(super) subject: String,
    pub(super) author: String,
}

impl Changes {
    pub(super) fn new(board: &Board, build: &BuildStatus, now: Timestamp) -> Self {
        let mut covered = Self {
            heading: "What it answers",
            passed: None,
            when: None,
            none: "",
            moves: Vec::new(),
            list: build
                .order
                .covers
                .iter()
                .map(|id| match board.change(id) {
                    Some(change) => change_line(change, now),
                    None => ChangeLine {
                        place: format!("change {}", id.short()),
                        revision: "no longer on record".to_owned(),
                        seen: None,
                        commits: Vec::new(),
                        more: 0,
                    },
                })
                .collect(),
            more_commits: 0,
            remark: "",
        };
        match board.since_last_pass(build) {
            LastPass::NotAsked => covered,
            LastPass::Never => {
                covered.none = NEVER;
                covered
            }
            LastPass::NotOnRecord => {
                covered.none = NOT_ON_RECORD;
                covered
            }
            LastPass::Known(since) => known(&since, now),
        }
    }
}

fn known(since: &SinceLastPass<'_>, now: Timestamp) -> Changes {
    let passed = since.passed.id();
    let ended = since.passed.ending.as_ref().map(Ending::at);
    Changes {
        heading: "What changed since it last passed",
        passed: Some((passed.to_string(), href(&passed))),
        when: ended.map(|at| When::new(at, now)),
        none: "",
        moves: since.moves.iter().map(move_line).collect(),
        list: since
            .changes
            .iter()
            .map(|change| ChangeLine {
                // What they left out is counted for all of them together.
                more: 0,
                ..change_line(change.body(), now)
            })
            .collect(),
        more_commits: since.more_commits,
        remark: match (since.incomplete, since.changes.is_empty()) {
            (true, _) => INCOMPLETE,
            (false, true) => NOTHING_CHANGED,
            (false, false) => "",
        },
    }
}

fn move_line(moved: &Move<'_>) -> MoveLine {
    MoveLine {
        place: format!("{} {}", moved.repository, moved.branch),
        from: moved.from.short().to_owned(),
        to: moved.to.short().to_owned(),
        remark: match moved.way {
            Way::Same => "the same",
            Way::Onward => "",
            Way::Back => "older code",
            Way::Unknown => "not all of it on record",
        },
    }
}

fn change_line(change: &Change, now: Timestamp) -> ChangeLine {
    ChangeLine {
        place: format!("{} {}", change.repository, change.branch),
        revision: change.revision.short().to_owned(),
        seen: Some(When::new(change.seen, now)),
        commits: change
            .commits
            .iter()
            .map(|commit| CommitLine {
                revision: commit.revision.short().to_owned(),
                subject: commit.subject.to_string(),
                author: commit.author.to_string(),
            })
            .collect(),
        more: change.more,
    }
}
