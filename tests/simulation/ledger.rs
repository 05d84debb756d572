//! What one master was told, kept as simply as can be: what the scheduler decides is judged by it.

use std::collections::{BTreeMap, BTreeSet};

use crate::master::Fact;
use crate::model::{
    Build, BuildState, BuilderName, PayloadId, RepositoryName, Request, Revision, SlaveName,
    Timestamp, Wish,
};
use crate::trust::Standing;

/// A change that is believed.
pub(super) struct Moved {
    pub(super) id: PayloadId,
    pub(super) repository: RepositoryName,
    pub(super) revision: Revision,
}

#[derive(Default)]
pub(super) struct Ledger {
    changes: BTreeMap<u64, Moved>,
    builds: BTreeMap<PayloadId, (Build, Standing)>,
    states: BTreeMap<(PayloadId, SlaveName), BuildState>,
    requests: BTreeMap<PayloadId, Request>,
    /// The first answer to each: where it stands, and whether it grants.
    answers: BTreeMap<PayloadId, (u64, bool)>,
}

impl Ledger {
    pub(super) fn take(&mut self, fact: &Fact) {
        match fact {
            Fact::Ordered {
                id,
                build,
                standing,
            } => {
                self.builds.insert(*id, ((**build).clone(), *standing));
            }
            Fact::Reported {
                command,
                slave,
                body,
                issued,
                ..
            } => {
                let state = self.states.entry((*command, slave.clone())).or_default();
                *state = state.after(body, *issued);
            }
            Fact::Requested { id, request } => {
                self.requests.insert(*id, (**request).clone());
            }
            Fact::Answered {
                sequence,
                request,
                denial,
            } => {
                let first = self
                    .answers
                    .entry(*request)
                    .or_insert((*sequence, denial.is_none()));
                *first = (*first).min((*sequence, denial.is_none()));
            }
            Fact::Changed {
                sequence,
                id,
                change,
            } => {
                let moved = Moved {
                    id: *id,
                    repository: change.repository.clone(),
                    revision: change.revision.clone(),
                };
                self.changes.insert(*sequence, moved);
            }
            Fact::Released { .. } | Fact::Cancelled { .. } | Fact::Numbered { .. } => {}
        }
    }

    /// The builds that may still go on.
    pub(super) fn in_flight(&self, now: Timestamp) -> impl Iterator<Item = (&PayloadId, &Build)> {
        self.builds
            .iter()
            .filter_map(move |(id, (build, standing))| {
                let state = self.states.get(&(*id, build.slave.clone()));
                // What a stolen key ordered counts once its slave has spoken of it.
                if *standing == Standing::Unproven && state.is_none() {
                    return None;
                }
                let state = state.copied().unwrap_or_default();
                state
                    .verdict(build.lost_after(state), now)
                    .is_none()
                    .then_some((id, build))
            })
    }

    /// The changes that are believed, oldest first.
    pub(super) fn moves(&self) -> Vec<&Moved> {
        self.changes.values().collect()
    }

    /// The changes that builds of a builder cover.
    pub(super) fn covered(&self, builder: &BuilderName) -> BTreeSet<PayloadId> {
        let builds = self
            .builds
            .values()
            .map(|(build, _)| build)
            .filter(|build| build.builder == *builder);
        builds
            .flat_map(|build| build.covers.iter().copied())
            .collect()
    }

    /// Until when a builder is paused by request, if it is.
    pub(super) fn paused(&self, builder: &BuilderName) -> Option<Timestamp> {
        let granted = self
            .requests
            .iter()
            .filter(|(id, _)| matches!(self.answers.get(id), Some((_, true))));
        let about = granted.filter(|(_, request)| request.wish.builder() == Some(builder));
        let newest = about
            .filter(|(_, request)| matches!(request.wish, Wish::Pause { .. } | Wish::Resume { .. }))
            .max_by_key(|(id, request)| (request.issued, **id));
        match newest?.1.wish {
            Wish::Pause { until, .. } => Some(until),
            Wish::Force { .. }
            | Wish::Cancel { .. }
            | Wish::Retry { .. }
            | Wish::Resume { .. }
            | Wish::Release { .. } => None,
        }
    }
}
