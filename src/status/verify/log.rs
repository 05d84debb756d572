//! The log: whether its pieces are the output that the slave's reports name.

use super::{Part, Verification};
use crate::model::LogChunk;
use crate::status::build::BuildStatus;
use crate::status::log::{LogAssembly, LogPiece};
use crate::trust::{Reader, Verified};
use crate::wire::Bundle;

/// The log of one step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StepLog {
    /// Which step, from 0.
    pub step: u16,
    /// Bytes of output in the bundle.
    pub held: u64,
    /// Bytes of output that the slave kept and the bundle lacks.
    pub missing: u64,
    /// Bytes that the slave cut off at its owner's cap.
    pub cut: u64,
    /// Whether it is what the slave's report names.
    pub digest: Digested,
}

/// How a step's output relates to the digest in the report of its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Digested {
    /// It is what the digest names.
    Fits,
    /// It is something else.
    Differs,
    /// A part is missing, so it cannot be compared.
    Incomplete,
    /// No report here names a digest.
    Unnamed,
}

/// Opens the pieces and puts each step's output together.
pub(super) fn check(
    found: &mut Verification,
    reader: &Reader,
    build: &BuildStatus,
    bundle: &Bundle,
) {
    let Some(pieces) = &bundle.log else { return };
    let mut assembly = LogAssembly::default();
    let mut logs: Vec<StepLog> = (0..)
        .zip(&build.steps)
        .map(|(step, status)| StepLog {
            step,
            held: 0,
            missing: 0,
            cut: status.outcome.as_ref().map_or(0, |outcome| outcome.log_cut),
            digest: Digested::Unnamed,
        })
        .collect();
    let mut before = None;
    for (place, bytes) in (1..).zip(pieces) {
        let part = Part::Piece(place);
        let Some(chunk) = found.open::<LogChunk>(reader, part, bytes) else {
            continue;
        };
        if !build.has_printed(&chunk) {
            found.fault("E-LOG", part, "it is no part of the log of this command");
            continue;
        }
        let at = (chunk.body().step, chunk.body().offset);
        if before.is_some_and(|before| at < before) {
            found.fault("E-ORDER", part, "it stands behind a later one");
            continue;
        }
        before = Some(at);
        take(found, part, &mut assembly, &chunk, &mut logs);
    }
    for (log, status) in logs.iter_mut().zip(&build.steps) {
        let Some(outcome) = &status.outcome else {
            continue;
        };
        let said = assembly.end(log.step, outcome);
        if said.contains(&LogPiece::OtherDigest { step: log.step }) {
            log.digest = Digested::Differs;
            let why = "it is not the output that the slave's digest names";
            found.fault("E-DIGEST", Part::Log(u32::from(log.step) + 1), why);
            continue;
        }
        log.missing += said.iter().map(missing).sum::<u64>();
        log.digest = if log.missing > 0 {
            Digested::Incomplete
        } else {
            Digested::Fits
        };
    }
    logs.retain(|log| log.held > 0 || log.digest != Digested::Unnamed);
    found.logs = Some(logs);
}

fn take(
    found: &mut Verification,
    part: Part,
    assembly: &mut LogAssembly,
    chunk: &Verified<LogChunk>,
    logs: &mut [StepLog],
) {
    let pieces = assembly.take(chunk.body());
    let new: u64 = pieces
        .iter()
        .map(|piece| match piece {
            LogPiece::Bytes { bytes, .. } => bytes.len() as u64,
            LogPiece::Missing { .. }
            | LogPiece::Conflict { .. }
            | LogPiece::Cut { .. }
            | LogPiece::OtherDigest { .. }
            | LogPiece::Unproven(_) => 0,
        })
        .sum();
    let conflict = pieces.iter().find_map(|piece| match piece {
        LogPiece::Conflict { offset, .. } => Some(*offset),
        LogPiece::Bytes { .. }
        | LogPiece::Missing { .. }
        | LogPiece::Cut { .. }
        | LogPiece::OtherDigest { .. }
        | LogPiece::Unproven(_) => None,
    });
    if let Some(log) = logs.get_mut(usize::from(chunk.body().step)) {
        log.held += new;
        log.missing += pieces.iter().map(missing).sum::<u64>();
    }
    if let Some(offset) = conflict {
        let step = u32::from(chunk.body().step) + 1;
        let why = format!("the slave signed two texts for byte {offset} on of step {step}");
        found.fault("E-DISPUTED", part, why);
    } else if new == 0 {
        found.unnecessary(part, "all of it stands in the pieces before it");
    }
}

fn missing(piece: &LogPiece) -> u64 {
    match piece {
        LogPiece::Missing { bytes, .. } => *bytes,
        LogPiece::Bytes { .. }
        | LogPiece::Conflict { .. }
        | LogPiece::Cut { .. }
        | LogPiece::OtherDigest { .. }
        | LogPiece::Unproven(_) => 0,
    }
}
