//! The board, builds and reports as JSON, for programs. All of it is written from what was verified, whenever it is asked
//! for; no copy of it is kept beside the signed bytes that could come to differ from them.
//!
//! Every document names its `schema`; a field is added without a new number, and none is renamed or removed without one.
//! Names are in `snake_case`. Times are RFC 3339 in UTC with milliseconds (one beyond
//! the calendar is the text `after the year 9999`); spans are numbers whose names end in `_s`, `_ms`
//! or `_us`. Hashes are written `SHA256:` and base64. What is not known is `null`. Verdicts are `passed`, `warned`, `failed`,
//! `skipped`, `refused`, `cancelled`, `timed-out`, `errored` and `lost`. Free text is one line without control characters.
//!
//! | schema | written by | fields |
//! |---|---|---|
//! | `pybots.board.v1` | [`write_board`] | [`BoardDocument`] |
//! | `pybots.build.v1` | [`write_build`] | [`BuildDocument`] |
//! | `pybots.builds.v1` | [`write_builds`] | [`BuildsDocument`] |
//! | `pybots.keys.v1` | [`write_keys`] | [`KeysDocument`] |
//! | `pybots.request.v1` | [`write_asked`], one a line | [`AskedDocument`] |
//! | `pybots.entry.v1` | [`write_entry`], one a line | [`EntryDocument`] |
//! | `pybots.verification.v1` | [`write_verification`] | [`VerificationDocument`] |
//! | `pybots.explanation.v1` | [`write_explanation`] | [`ExplanationDocument`] |

mod asked;
mod document;
mod explanation;
mod keys;
mod list;
mod report;
mod verification;

use std::io;

use serde::Serialize;

pub use asked::{Asked, AskedDocument, write_asked};
pub use document::{
    BoardDocument, BranchDocument, BuildDocument, CommitDocument, CoveredDocument, EndingDocument,
    FarmDocument, MoveDocument, NewestDocument, RecentDocument, RowDocument, RunningDocument,
    SinceLastPassDocument, SourceDocument, StepDocument, StrayDocument,
};
pub use explanation::{EnvelopeDocument, ExplanationDocument, PartDocument, write_explanation};
pub use keys::{
    GenerationDocument, HeldDocument, KeyDocument, KeysDocument, KeysFaultDocument,
    RevokedDocument, WaitingDocument, WindowDocument, write_keys,
};
pub use list::BuildsDocument;
pub use report::{BodyDocument, EntryDocument, EntryKind, OutcomeDocument, ReportDocument};
pub use verification::{FindingDocument, LogDocument, SignedDocument, VerificationDocument};

use super::board::Board;
use super::build::{BuildStatus, Ending, StepStatus};
use super::live::BusState;
use super::overview::Overview;
use super::recent::Recent;
use super::row::{Row, Running, Shown};
use super::since::LastPass;
use super::tail::Entry;
use super::verify::Verification;
use super::view::Farm;
use crate::model::{BuildState, Change, PayloadId, ReportBody, Source, Text, Timestamp, Verdict};

/// Writes the board at `now` as one document.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_board(
    farm: &Farm,
    board: &Board,
    bus: BusState,
    now: Timestamp,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let document = BoardDocument {
        schema: "pybots.board.v1",
        farm: farm.into(),
        now,
        bus: match bus {
            BusState::Following => "following",
            BusState::CatchingUp => "catching-up",
            BusState::Away { .. } => "away",
        },
        bus_away_since: match bus {
            BusState::Away { since } => Some(since),
            BusState::Following | BusState::CatchingUp => None,
        },
        keys_fault: board.keys_fault(now).as_ref().map(Into::into),
        sentence: Overview::of(board, now).sentence(),
        rows: board
            .rows(now)
            .into_iter()
            .map(|row| row_document(row, now))
            .collect(),
        strays: board
            .strays()
            .map(|stray| StrayDocument {
                why: stray.why,
                report: stray.reported.into(),
            })
            .collect(),
        unproven: board.unproven().collect(),
    };
    write_pretty(&document, out)
}

/// Writes one build as one document.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_build(
    board: &Board,
    build: &BuildStatus,
    now: Timestamp,
    out: &mut impl io::Write,
) -> io::Result<()> {
    write_pretty(&build_document(board, build, now), out)
}

/// Writes builds, in the order given, as one document.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_builds(
    board: &Board,
    builds: &[&BuildStatus],
    now: Timestamp,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let document = BuildsDocument {
        schema: "pybots.builds.v1",
        now,
        builds: builds
            .iter()
            .map(|build| build_document(board, build, now))
            .collect(),
    };
    write_pretty(&document, out)
}

/// Writes what came of checking a bundle as one document.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_verification(found: &Verification, out: &mut impl io::Write) -> io::Result<()> {
    write_pretty(&VerificationDocument::from(found), out)
}

/// Writes one entry of the results stream as one line.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_entry(entry: &Entry, out: &mut impl io::Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &EntryDocument::from(entry))?;
    writeln!(out)
}

fn write_pretty(document: &impl Serialize, out: &mut impl io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)
}

impl<'a> From<&'a Farm> for FarmDocument<'a> {
    fn from(farm: &'a Farm) -> Self {
        Self {
            name: &farm.name,
            id: farm.id,
            words: &farm.words,
        }
    }
}

fn row_document(row: Row, now: Timestamp) -> RowDocument {
    let status = match row.shown() {
        Shown::Verdict(verdict) => verdict.word(),
        Shown::Stale(_) => "stale",
        Shown::Unknown => "unknown",
    };
    let last = row.last_word;
    let branch = |(repository, branch)| BranchDocument { repository, branch };
    RowDocument {
        builder: row.builder,
        project: row.project,
        branches: row.branches.into_iter().map(branch).collect(),
        status,
        verdict: last.as_ref().map(|last| last.verdict),
        build: last.as_ref().map(|last| last.number),
        ended: last.as_ref().map(|last| last.at),
        age_s: last.as_ref().map(|last| now.since(last.at).as_secs()),
        since: last.as_ref().map(|last| last.since),
        since_build: last.as_ref().map(|last| last.since_number),
        since_or_longer: last.as_ref().is_some_and(|last| last.or_longer),
        disputed: last.as_ref().is_some_and(|last| last.disputed),
        sources: last.map_or_else(Vec::new, |last| sources(&last.sources)),
        behind: row.behind,
        newest: row.newest.map(|newest| NewestDocument {
            build: newest.number,
            verdict: newest.verdict,
            code: newest.code,
        }),
        running: row.running.map(running_document),
        waiting: row.waiting,
        recent: row.recent.into_iter().map(recent_document).collect(),
        slave: row.slave,
        slave_state: row.standing,
        last_seen: row.last_seen,
        silent: row.silent,
        paused_until: row.paused_until,
        clock_offset: row.clock,
        missing_reports: row.chain.missing,
        chain: row.chain,
    }
}

fn recent_document(recent: Recent) -> RecentDocument {
    RecentDocument {
        build: recent.number,
        state: recent
            .verdict
            .map_or_else(|| state_word(recent.state), Verdict::word),
        verdict: recent.verdict,
    }
}

fn running_document(running: Running) -> RunningDocument {
    let step = match running.state {
        BuildState::Running { step, .. } => Some(u32::from(step) + 1),
        BuildState::Ordered | BuildState::Accepted | BuildState::Done { .. } => None,
    };
    RunningDocument {
        build: running.number,
        state: state_word(running.state),
        step,
        steps: running.steps,
        name: running.step_name,
        since: running.since,
    }
}

fn sources(sources: &[Source]) -> Vec<SourceDocument> {
    let document = |source: &Source| SourceDocument {
        repository: source.repository.clone(),
        branch: source.branch.clone(),
        revision: source.revision.clone(),
    };
    sources.iter().map(document).collect()
}

fn build_document<'a>(
    board: &'a Board,
    build: &'a BuildStatus,
    now: Timestamp,
) -> BuildDocument<'a> {
    let order = &build.order;
    let verdict = build.verdict(now);
    let ending = build.ending.as_ref();
    let (log, isolation, network) = match ending.map(|ending| &ending.body) {
        Some(ReportBody::Finished {
            log,
            isolation,
            network,
            ..
        }) => (Some(*log), Some(*isolation), Some(*network)),
        _ => (None, None, None),
    };
    BuildDocument {
        schema: "pybots.build.v1",
        build: build.id().to_string(),
        command: build.command,
        signer: build.signer,
        proven: build.proven,
        project: &order.project,
        slave: &order.slave,
        state: verdict.map_or_else(|| state_word(build.state), Verdict::word),
        verdict,
        detail: ending.and_then(|ending| detail(&ending.body)),
        code: build.refusal_code(),
        disputed: build.is_disputed(),
        contradictions: build.contradictions.iter().map(ending_document).collect(),
        chain: board.chain_faults_of(build),
        cancelled: board.cancel_of(build).map(|cancel| &cancel.reason),
        reason: &order.reason,
        requester: order.requester.as_ref(),
        retry_of: order.retry_of,
        attempt: order.attempt,
        sources: sources(&order.sources),
        covers: order
            .covers
            .iter()
            .map(|id| covered_document(board, *id))
            .collect(),
        since_last_pass: since_last_pass_document(board, build),
        steps: build.steps.iter().map(step_document).collect(),
        ordered: order.issued,
        finish_by: order.finish_by,
        received: build.received,
        ordered_to_received_us: build
            .received
            .map(|received| micros(order.issued, received)),
        received_to_started_us: build
            .received
            .zip(build.started())
            .map(|(received, started)| micros(received, started)),
        ended: ending.map(|ending| ending.issued),
        stored: ending.map(|ending| ending.stored),
        report: ending.map(|ending| ending.report),
        report_signer: ending.map(|ending| ending.signer),
        log,
        isolation,
        network,
    }
}

fn ending_document(ending: &Ending) -> EndingDocument<'_> {
    EndingDocument {
        report: ending.report,
        report_signer: ending.signer,
        verdict: ending.body.verdict(),
        detail: detail(&ending.body),
        ended: ending.issued,
        stored: ending.stored,
    }
}

fn since_last_pass_document<'a>(
    board: &'a Board,
    build: &'a BuildStatus,
) -> Option<SinceLastPassDocument<'a>> {
    let LastPass::Known(since) = board.since_last_pass(build) else {
        return None;
    };
    Some(SinceLastPassDocument {
        build: since.passed.order.number,
        ended: since.passed.ending.as_ref().map(Ending::at),
        sources: since
            .moves
            .iter()
            .map(|moved| MoveDocument {
                repository: moved.repository,
                branch: moved.branch,
                from: moved.from,
                to: moved.to,
                way: moved.way,
            })
            .collect(),
        changes: since
            .changes
            .iter()
            .map(|change| change_document(change.id(), Some(change.body())))
            .collect(),
        more_commits: since.more_commits,
        incomplete: since.incomplete,
    })
}

fn covered_document(board: &Board, id: PayloadId) -> CoveredDocument<'_> {
    change_document(id, board.change(&id))
}

fn change_document(id: PayloadId, change: Option<&Change>) -> CoveredDocument<'_> {
    let commits = change.map_or(&[][..], |change| &change.commits);
    CoveredDocument {
        change: id,
        repository: change.map(|change| &change.repository),
        branch: change.map(|change| &change.branch),
        revision: change.map(|change| &change.revision),
        commits: commits
            .iter()
            .map(|commit| CommitDocument {
                revision: &commit.revision,
                author: &commit.author,
                subject: &commit.subject,
            })
            .collect(),
        more_commits: change.map_or(0, |change| change.more),
    }
}

fn step_document(step: &StepStatus) -> StepDocument<'_> {
    StepDocument {
        name: &step.name,
        started: step.started,
        script: step.script,
        mapped: step.mapped,
        isolation: step.confined.map(|(isolation, _)| isolation),
        network: step.confined.map(|(_, network)| network),
        outcome: step.outcome.as_ref().map(Into::into),
    }
}

fn state_word(state: BuildState) -> &'static str {
    match state {
        BuildState::Ordered => "ordered",
        BuildState::Accepted => "accepted",
        BuildState::Running { .. } => "running",
        BuildState::Done { verdict, .. } => verdict.word(),
    }
}

fn detail(body: &ReportBody) -> Option<&Text> {
    match body {
        ReportBody::Refused { detail, .. } | ReportBody::Lost { detail } => Some(detail),
        ReportBody::Finished { detail, .. } => detail.as_ref(),
        ReportBody::Accepted { .. }
        | ReportBody::Deferred { .. }
        | ReportBody::StepStarted { .. }
        | ReportBody::StepFinished { .. } => None,
    }
}

/// From one moment to another, in microseconds; negative if the other is earlier.
fn micros(from: Timestamp, to: Timestamp) -> i64 {
    let span = to.0.abs_diff(from.0);
    let span = i64::try_from(span).unwrap_or(i64::MAX);
    if to < from { -span } else { span }
}

#[cfg(test)]
mod tests;
