//! The board, builds and reports as JSON, for programs.
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
//! | `pybots.entry.v1` | [`write_entry`], one a line | [`EntryDocument`] |

mod document;
mod report;

use std::io;

use serde::Serialize;

pub use document::{
    BoardDocument, BranchDocument, BuildDocument, CommitDocument, CoveredDocument, FarmDocument,
    NewestDocument, RowDocument, RunningDocument, SourceDocument, StepDocument, StrayDocument,
};
pub use report::{BodyDocument, EntryDocument, EntryKind, OutcomeDocument, ReportDocument};

use super::board::Board;
use super::build::{BuildStatus, StepStatus};
use super::row::{Row, Running, Shown};
use super::tail::Entry;
use super::view::Farm;
use crate::model::{BuildState, PayloadId, ReportBody, Source, Text, Timestamp, Verdict};

/// Writes the board at `now` as one document.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_board(
    farm: &Farm,
    board: &Board,
    now: Timestamp,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let document = BoardDocument {
        schema: "pybots.board.v1",
        farm: FarmDocument {
            name: &farm.name,
            id: farm.id,
            words: &farm.words,
        },
        now,
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
        slave: row.slave,
        slave_state: row.standing,
        last_seen: row.last_seen,
        silent: row.silent,
        paused_until: row.paused_until,
        missing_reports: row.missing_reports,
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
    let (log, isolation) = match ending.map(|ending| &ending.body) {
        Some(ReportBody::Finished { log, isolation, .. }) => (Some(*log), Some(*isolation)),
        _ => (None, None),
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
        disputed: build.disputed,
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
    }
}

fn covered_document(board: &Board, id: PayloadId) -> CoveredDocument<'_> {
    let change = board.change(&id);
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
mod tests {
    use super::*;
    use crate::model::Verdict;
    use crate::status::sample::{Sample, at, ended, finished, started, text};
    use crate::trust::seal;

    fn board(sample: &Sample) -> Board {
        let mut board = sample.board();
        board.apply(sample.changed(1, 'a'));
        board.apply(sample.present("maple", at(290)));
        let (first, second) = (
            sample.order("foo-maple", 1, 'a'),
            sample.order("foo-maple", 2, 'b'),
        );
        board.apply(sample.ordered(1, &first));
        board.apply(sample.ordered(2, &second));
        for event in sample.run(&first, 1, Verdict::Failed) {
            board.apply(event);
        }
        board.apply(sample.reported(&second, 7, 1, started(1, at(204))));
        board
    }

    #[test]
    fn a_board_is_one_document() {
        let sample = Sample::new();
        let mut board = board(&sample);
        let mut roster = sample.roster(2);
        roster.lines.truncate(1);
        roster.lines[0].builders.truncate(1);
        board.set_roster(roster);
        let unknown = sample.order("foo-maple", 9, 'f');
        board.apply(sample.reported(&unknown, 8, 1, finished(Verdict::Passed)));
        board.apply(sample.delivered(99, b"junk".to_vec()).into());
        let mut out = Vec::new();
        write_board(&sample.farm(), &board, at(300), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        {
          "schema": "pybots.board.v1",
          "farm": {
            "name": "sample",
            "id": "SHA256:bdPKORQHvICH01ndg4gqODqcPcbri0zEHVLi3BsanyA",
            "words": "horse oxygen mixture chimney knock doctor butter hen"
          },
          "now": "2026-11-22T18:05:00.000Z",
          "rows": [
            {
              "builder": "foo-maple",
              "project": "foo",
              "branches": [
                {
                  "repository": "cpython",
                  "branch": "main"
                }
              ],
              "status": "failed",
              "verdict": "failed",
              "build": 1,
              "sources": [
                {
                  "repository": "cpython",
                  "branch": "main",
                  "revision": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                }
              ],
              "ended": "2026-11-22T18:02:00.000Z",
              "age_s": 180,
              "since": "2026-11-22T18:02:00.000Z",
              "since_build": 1,
              "since_or_longer": false,
              "disputed": false,
              "behind": 0,
              "newest": null,
              "running": {
                "build": 2,
                "state": "running",
                "step": 2,
                "steps": 2,
                "name": "test-project",
                "since": "2026-11-22T18:03:24.000Z"
              },
              "waiting": 0,
              "slave": "maple",
              "slave_state": "active",
              "last_seen": "2026-11-22T18:04:50.000Z",
              "silent": false,
              "paused_until": null,
              "missing_reports": 0
            }
          ],
          "strays": [
            {
              "why": "no-such-command",
              "sequence": 8,
              "stored": "2026-11-22T18:15:01.001Z",
              "issued": "2026-11-22T18:15:01.000Z",
              "report": "SHA256:4VtQZ6Fz9DyBCd7n0n3bH0wVWcLeJz4u6I72kRTTMDE",
              "signer": "SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk",
              "build": "foo-maple/9",
              "slave": "maple",
              "command": "SHA256:ifsN5UwDRboMU+E81l/B69vz0aVnP8oOpt+d4C5TzDA",
              "slave_sequence": 8,
              "keyring": "0.0",
              "event": "finished",
              "verdict": "passed",
              "log": "SHA256:mPOPEtsiGoz4ynqt/c11mwHVLrTrs+7bstl+koBcaWA",
              "isolation": "plain",
              "detail": null
            }
          ],
          "unproven": [
            {
              "stream": "RESULTS",
              "sequence": 99,
              "stored": "2026-11-22T18:08:20.000Z",
              "subject": "pybots.nxj4uoiua6.result.maple.foo-maple",
              "code": "E-ENVELOPE",
              "why": "message is not a signed envelope: decode CBOR failure: Io(EndOfFile)"
            }
          ]
        }
        "#);
    }

    #[test]
    fn a_build_is_one_document() {
        let sample = Sample::new();
        let board = board(&sample);
        let build = board.build(&"foo-maple/1".parse().unwrap()).unwrap();
        let mut out = Vec::new();
        write_build(&board, build, at(300), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        {
          "schema": "pybots.build.v1",
          "build": "foo-maple/1",
          "command": "SHA256:qL88SwJjjM+TfFmr1GtEn4O/StTymp71sgrP9sBxx/c",
          "signer": "SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw",
          "proven": true,
          "project": "foo",
          "slave": "maple",
          "state": "failed",
          "verdict": "failed",
          "detail": null,
          "code": null,
          "disputed": false,
          "cancelled": null,
          "reason": "check-in on cpython main",
          "requester": null,
          "retry_of": null,
          "attempt": 1,
          "sources": [
            {
              "repository": "cpython",
              "branch": "main",
              "revision": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            }
          ],
          "covers": [
            {
              "change": "SHA256:Ik7m798l1OMxnDawYbtXR3U/Em6K2Sm+8zsLcb08X2M",
              "repository": "cpython",
              "branch": "main",
              "revision": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
              "commits": [
                {
                  "revision": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                  "author": "Eve",
                  "subject": "Remove frobnicate"
                }
              ],
              "more_commits": 0
            }
          ],
          "steps": [
            {
              "name": "build-python",
              "started": "2026-11-22T18:01:40.006Z",
              "script": "SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw",
              "outcome": {
                "verdict": "passed",
                "exit": 0,
                "signal": null,
                "duration_ms": 9400,
                "cpu_ms": 7250,
                "peak_memory": 94371840,
                "log": "SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM",
                "log_bytes": 6,
                "log_cut": 0,
                "tests": null
              }
            },
            {
              "name": "test-project",
              "started": "2026-11-22T18:01:50.000Z",
              "script": "SHA256:dchNIKCqkMWen0O760wOS9QuTFGES7y+zE80em6wToo",
              "outcome": {
                "verdict": "failed",
                "exit": 1,
                "signal": null,
                "duration_ms": 9400,
                "cpu_ms": 7250,
                "peak_memory": 94371840,
                "log": "SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM",
                "log_bytes": 6,
                "log_cut": 0,
                "tests": {
                  "passed": 41,
                  "failed": 1,
                  "skipped": 2
                }
              }
            }
          ],
          "ordered": "2026-11-22T18:01:40.000Z",
          "finish_by": "2026-11-22T18:03:00.000Z",
          "received": "2026-11-22T18:01:40.002Z",
          "ordered_to_received_us": 2300,
          "received_to_started_us": 4100,
          "ended": "2026-11-22T18:02:00.000Z",
          "stored": "2026-11-22T18:02:00.001Z",
          "report": "SHA256:e6lRUsX5RxlBR8BO6jENN5p4MTwj+NVV+FZ6frW+Wak",
          "report_signer": "SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk",
          "log": "SHA256:mPOPEtsiGoz4ynqt/c11mwHVLrTrs+7bstl+koBcaWA",
          "isolation": "plain"
        }
        "#);
    }

    #[test]
    fn an_entry_is_one_line() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 42, 'a');
        let bodies = [
            ReportBody::Accepted { received: at(0) },
            ReportBody::Refused {
                code: text("E-EXPIRED"),
                detail: text("nothing ran"),
            },
            ReportBody::Deferred { until: at(9_000) },
            started(0, at(1)),
            ended(1, 3),
            finished(Verdict::Passed),
            ReportBody::Lost {
                detail: text("the slave was restarted"),
            },
        ];
        let mut out = Vec::new();
        for (sequence, body) in (1..).zip(bodies) {
            let report = sample.said(&order, sequence, sequence, body);
            let bytes = seal(&sample.maple, &sample.farm, &report).bytes;
            write_entry(&sample.delivered(sequence, bytes), &mut out).unwrap();
        }
        write_entry(&sample.delivered(9, b"junk".to_vec()), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        {"schema":"pybots.entry.v1","kind":"report","sequence":1,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:01.000Z","report":"SHA256:zvOclbuQgrYl60eyP2RiR3WVZTtzyedIIsva5dPy0Mk","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:A1OjSZsVH6gvML2H7Wb5hV8OQErGqG34cE6G2WGS+u8","slave_sequence":1,"keyring":"0.0","event":"accepted","received":"2026-11-22T18:00:00.000Z"}
        {"schema":"pybots.entry.v1","kind":"report","sequence":2,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:02.000Z","report":"SHA256:VzPNrCHxHgwO+WRIztw0hQxF63Jt+uZdM7Hhga3juJQ","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:A1OjSZsVH6gvML2H7Wb5hV8OQErGqG34cE6G2WGS+u8","slave_sequence":2,"keyring":"0.0","event":"refused","code":"E-EXPIRED","detail":"nothing ran"}
        {"schema":"pybots.entry.v1","kind":"report","sequence":3,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:03.000Z","report":"SHA256:2JvDSH3ogNRWnroiQnsDqmm2PyhVWxCdbSJh+4brg10","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:A1OjSZsVH6gvML2H7Wb5hV8OQErGqG34cE6G2WGS+u8","slave_sequence":3,"keyring":"0.0","event":"deferred","until":"2026-11-22T20:30:00.000Z"}
        {"schema":"pybots.entry.v1","kind":"report","sequence":4,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:04.000Z","report":"SHA256:9CLA/lTU70/0JuSHgFo/u3vGgySsqLAaQvpTsGKRJ30","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:A1OjSZsVH6gvML2H7Wb5hV8OQErGqG34cE6G2WGS+u8","slave_sequence":4,"keyring":"0.0","event":"step-started","step":1,"name":"build-python","started":"2026-11-22T18:00:01.000Z","script":"SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw"}
        {"schema":"pybots.entry.v1","kind":"report","sequence":5,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:05.000Z","report":"SHA256:k+bIPI/m60iAiy+MIKJBTyrJx9AvOIUlZXHgNmNneK8","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:A1OjSZsVH6gvML2H7Wb5hV8OQErGqG34cE6G2WGS+u8","slave_sequence":5,"keyring":"0.0","event":"step-finished","step":2,"outcome":{"verdict":"failed","exit":3,"signal":null,"duration_ms":9400,"cpu_ms":7250,"peak_memory":94371840,"log":"SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM","log_bytes":6,"log_cut":0,"tests":{"passed":41,"failed":3,"skipped":2}}}
        {"schema":"pybots.entry.v1","kind":"report","sequence":6,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:06.000Z","report":"SHA256:yTRjMbUv5PJU/MnZuLP7ZyKsxFuqTq7P6knetsSl20Q","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:A1OjSZsVH6gvML2H7Wb5hV8OQErGqG34cE6G2WGS+u8","slave_sequence":6,"keyring":"0.0","event":"finished","verdict":"passed","log":"SHA256:mPOPEtsiGoz4ynqt/c11mwHVLrTrs+7bstl+koBcaWA","isolation":"plain","detail":null}
        {"schema":"pybots.entry.v1","kind":"report","sequence":7,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:07.000Z","report":"SHA256:a6X61OTMzXMKawya0Zb/Ug0AIjYc/aEk7cKYvnIaEcU","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:A1OjSZsVH6gvML2H7Wb5hV8OQErGqG34cE6G2WGS+u8","slave_sequence":7,"keyring":"0.0","event":"lost","detail":"the slave was restarted"}
        {"schema":"pybots.entry.v1","kind":"unproven","stream":"RESULTS","sequence":9,"stored":"2026-11-22T18:08:20.000Z","subject":"pybots.nxj4uoiua6.result.maple.foo-maple","code":"E-ENVELOPE","why":"message is not a signed envelope: decode CBOR failure: Io(EndOfFile)"}
        "#);
    }
}
