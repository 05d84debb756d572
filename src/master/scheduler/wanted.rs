//! What a builder should build next, whether or not it can now.

use super::desk::{Asked, AskedBuild, Wishes};
use super::lane::{Fate, Lane, Order};
use super::pending::{Pending, keep_to, keep_to_oldest, pending, quiet};
use super::track::{At, Moved};
use super::waiting::Reason;
use super::{MAX_COVERS, Scheduler};
use crate::master::config::{Builder, Collapse, Unchanged};
use crate::model::{
    Branch, BuilderName, PayloadId, RepositoryName, Request, Revision, Source, Text, Timestamp,
    Version,
};

/// A build that is wanted.
pub(super) struct Wanted<'a> {
    pub(super) sources: Vec<Source>,
    pub(super) version: Option<Version>,
    /// The newest of the changes that it answers, at most [`MAX_COVERS`].
    pub(super) covers: Vec<PayloadId>,
    /// How many older changes it answers besides.
    pub(super) left_out: usize,
    /// Since when it is wanted.
    pub(super) since: Timestamp,
    /// Who asked, where somebody did.
    pub(super) asked: Option<(PayloadId, &'a Request)>,
    /// The build that it repeats, and its attempt.
    pub(super) retry_of: Option<&'a Order>,
}

impl<'a> Asked<'a> {
    /// The build that it asks for while it is not known of what.
    fn of_nothing(self) -> Wanted<'a> {
        Wanted {
            sources: Vec::new(),
            version: None,
            covers: Vec::new(),
            left_out: 0,
            since: self.request.issued,
            asked: Some((self.id, self.request)),
            retry_of: None,
        }
    }
}

/// What a builder should do next.
pub(super) enum Next<'a> {
    /// Nothing moved.
    Nothing,
    /// Something is wanted, and nothing but this keeps it.
    Later(Wanted<'a>, Reason),
    /// This, at once.
    Now(Wanted<'a>),
}

impl Scheduler {
    /// What `builder` should build next, if it had nothing in flight.
    pub(super) fn next<'a>(
        &'a self,
        name: &'a BuilderName,
        builder: &'a Builder,
        wishes: Option<&Wishes<'a>>,
        now: Timestamp,
    ) -> Next<'a> {
        let lane = self.lanes.get(name);
        let pending = self.pending(lane, builder);
        let is_unseen = pending.is_none();
        let paused = wishes.and_then(|wishes| wishes.paused);
        let paused = paused.filter(|(until, _)| now < *until);
        let hold = |wanted, reason: Option<Reason>| match (paused, reason) {
            (Some((until, request)), _) => {
                let reason = Reason::Paused {
                    until,
                    by: request.requester.clone(),
                    why: request.reason.clone(),
                };
                Next::Later(wanted, reason)
            }
            (None, Some(reason)) => Next::Later(wanted, reason),
            (None, None) => Next::Now(wanted),
        };
        // What a person asks for passes every rule but a pause.
        if let Some(asked) = wishes.and_then(|wishes| wishes.build)
            && let Some(wanted) = self.asked(lane, builder, pending.as_deref(), asked)
        {
            return hold(wanted, None);
        }
        let resumed = wishes.map_or(Timestamp(0), |wishes| wishes.resumed);
        let set_aside = lane.and_then(|lane| set_aside(lane, builder, resumed, now));
        let newest = lane.and_then(|lane| Some((lane, lane.newest()?)));
        let failed = newest.filter(|(_, order)| {
            matches!(order.fate(now), Fate::Failed { .. } | Fate::Deferred { .. })
        });
        let mut fresh = pending.and_then(|pending| self.fresh(lane, builder, pending, now));
        if let Some((lane, order)) = failed {
            let newer = builder.collapse == Collapse::Newest
                && matches!(fresh, Some((_, None | Some(Reason::Quiet { .. }))));
            if let (true, Some((wanted, _))) = (newer, &mut fresh) {
                // What the failed build left open is answered by the newer one.
                let mut covers = order.build.covers.clone();
                covers.append(&mut wanted.covers);
                wanted.left_out += cut(&mut covers);
                wanted.covers = covers;
            } else if let Some((wanted, reason)) = self.again(lane, builder, order, now) {
                return hold(wanted, set_aside.or(reason));
            }
        }
        match fresh {
            Some((wanted, reason)) => hold(wanted, set_aside.or(reason)),
            None => match wishes.and_then(|wishes| wishes.build) {
                // What was granted is not forgotten.
                Some(asked) if is_unseen => hold(asked.of_nothing(), Some(Reason::Unseen)),
                Some(_) | None => Next::Nothing,
            },
        }
    }

    /// What each source of a builder has that is new to it; none while one of them was never seen.
    fn pending<'a>(&'a self, lane: Option<&Lane>, builder: &Builder) -> Option<Vec<Pending<'a>>> {
        let branches = builder.sources.iter().map(|(repository, branch)| {
            let (track_id, track) = self.tracks.branch(repository, branch)?;
            let filter = builder.paths.get(repository);
            let matters =
                |moved: &Moved| filter.is_none_or(|filter| filter.matters(moved.paths.as_deref()));
            pending(lane, track_id, track, builder.collapse, matters)
        });
        let release = builder.release.iter().map(|project| {
            let (track_id, track) = self.tracks.releases(project)?;
            pending(lane, track_id, track, builder.collapse, |_| true)
        });
        branches.chain(release).collect()
    }

    /// What moved, and why it has to wait if it has to.
    fn fresh<'a>(
        &'a self,
        lane: Option<&'a Lane>,
        builder: &'a Builder,
        mut pending: Vec<Pending<'a>>,
        now: Timestamp,
    ) -> Option<(Wanted<'a>, Option<Reason>)> {
        let ahead = pending.iter().any(|source| source.matters);
        let passed = if builder.after.is_empty() {
            Some(Vec::new())
        } else {
            self.passed(builder, now)
        };
        if let Some(passed) = &passed {
            keep_to(&mut pending, passed);
        }
        let moved = pending.iter().any(|source| source.matters);
        if moved && builder.collapse == Collapse::Every {
            keep_to_oldest(&mut pending);
        }
        let since = pending
            .iter()
            .filter(|source| source.matters && source.reached.is_some())
            .flat_map(|source| source.moves.iter().map(|(_, moved)| moved.seen))
            .min();
        let last_move = pending.iter().map(|source| source.base.seen).max()?;
        let newest = lane.and_then(Lane::newest);
        let unchanged = builder.unchanged == Unchanged::Build && builder.schedule.is_some();
        if ahead && (!moved || passed.is_none()) {
            // Something moved, and none of it has passed where it must.
            let reason = Reason::After {
                builder: self.behind(builder, now)?,
            };
            return Some((compose(builder, pending, last_move), Some(reason)));
        }
        if passed.is_none() || (!moved && !unchanged) {
            return None;
        }
        let last = newest.map(|order| order.build.issued);
        // What is new to a builder that builds again has waited since it moved; all is new to a new one.
        let since = since.or(last.filter(|_| !moved)).unwrap_or(last_move);
        let reason = match &builder.schedule {
            Some(schedule) => {
                let after = last.map_or(since, |last| last.max(since));
                match schedule.next_after(after) {
                    Some(until) if until <= now => None,
                    Some(until) => Some(Reason::Scheduled { until }),
                    // Its last moment has passed.
                    None => return None,
                }
            }
            None => quiet(builder, &pending, since, now),
        };
        Some((compose(builder, pending, since), reason))
    }

    /// The newest revisions of `builder`'s sources that every builder which must come first has passed, all of them together.
    fn passed(&self, builder: &Builder, now: Timestamp) -> Option<Vec<Revision>> {
        let mut all = builder
            .after
            .iter()
            .map(|before| self.passed_by(before, builder, now));
        let first = all.next()?;
        let others: Vec<Vec<Vec<Revision>>> = all.collect();
        first
            .into_iter()
            .find(|revisions| others.iter().all(|other| other.contains(revisions)))
    }

    /// What `before` has passed, the newest build first: the revisions of `builder`'s sources.
    fn passed_by(
        &self,
        before: &BuilderName,
        builder: &Builder,
        now: Timestamp,
    ) -> Vec<Vec<Revision>> {
        let Some(lane) = self.lanes.get(before) else {
            return Vec::new();
        };
        let passed = lane.orders().filter(
            |order| matches!(order.fate(now), Fate::Told { verdict, .. } if verdict.is_well()),
        );
        passed
            .filter_map(|order| {
                let revision = |(repository, branch): (&RepositoryName, &Branch)| {
                    let mut sources = order.sources().iter();
                    let source =
                        sources.find(|it| it.repository == *repository && it.branch == *branch)?;
                    Some(source.revision.clone())
                };
                builder.sources.iter().map(revision).collect()
            })
            .collect()
    }

    /// The first builder that has not passed the newest of what `builder` builds from.
    fn behind(&self, builder: &Builder, now: Timestamp) -> Option<BuilderName> {
        let tips: Option<Vec<Revision>> = builder
            .sources
            .iter()
            .map(|(repository, branch)| self.tip(repository, branch).cloned())
            .collect();
        let tips = tips?;
        let mut before = builder.after.iter();
        before
            .find(|before| !self.passed_by(before, builder, now).contains(&tips))
            .cloned()
    }

    /// The build that somebody asked for; none if it cannot be made of what is known.
    fn asked<'a>(
        &'a self,
        lane: Option<&'a Lane>,
        builder: &'a Builder,
        pending: Option<&[Pending<'a>]>,
        asked: Asked<'a>,
    ) -> Option<Wanted<'a>> {
        let given = match asked.what {
            AskedBuild::Again(number) => {
                let order = lane?.numbered(number)?;
                return Some(Wanted {
                    sources: order.sources().to_vec(),
                    version: self.version_of(builder, order),
                    covers: order.build.covers.clone(),
                    left_out: 0,
                    since: asked.request.issued,
                    asked: Some((asked.id, asked.request)),
                    retry_of: Some(order),
                });
            }
            AskedBuild::At(sources) => sources,
        };
        let mut sources = Vec::new();
        for (position, (repository, branch)) in builder.sources.iter().enumerate() {
            let named = given.iter().find(|it| it.repository == *repository);
            let revision = match (named, pending) {
                (Some(named), _) => named.revision.clone(),
                (None, Some(pending)) => match &pending.get(position)?.newest().to {
                    At::Revision(revision) => revision.clone(),
                    At::Version(_) => return None,
                },
                (None, None) => self.tip(repository, branch)?.clone(),
            };
            sources.push(Source {
                repository: repository.clone(),
                branch: branch.clone(),
                revision,
            });
        }
        let version = match &builder.release {
            Some(project) => Some(self.release(project)?.clone()),
            None => None,
        };
        // At the newest of everything it answers what waits.
        let pending = pending.filter(|_| given.is_empty());
        let (covers, left_out) = newest_covers(pending.unwrap_or_default());
        Some(Wanted {
            sources,
            version,
            covers,
            left_out,
            since: asked.request.issued,
            asked: Some((asked.id, asked.request)),
            retry_of: None,
        })
    }

    /// The same build again, if it may be tried again, and when.
    fn again<'a>(
        &self,
        lane: &'a Lane,
        builder: &Builder,
        order: &'a Order,
        now: Timestamp,
    ) -> Option<(Wanted<'a>, Option<Reason>)> {
        let tries = lane.tries(order, now);
        let attempt = order.build.attempt.saturating_add(1);
        let (ended, reason) = match order.fate(now) {
            Fate::Deferred { until } => (until, Reason::Deferred { until }),
            Fate::Failed { at, .. } if tries <= builder.retry.most => {
                let doublings = tries.saturating_sub(1).min(12);
                let wait = builder.retry.wait.saturating_mul(1 << doublings);
                let until = at.after(wait.min(MAX_RETRY_WAIT));
                (at, Reason::Retry { until, attempt })
            }
            Fate::Failed { .. } | Fate::InFlight { .. } | Fate::Told { .. } | Fate::Over { .. } => {
                return None;
            }
        };
        // An experiment asks for itself again if it wants to.
        if order.build.experiment.is_some() {
            return None;
        }
        let wanted = Wanted {
            sources: order.sources().to_vec(),
            version: self.version_of(builder, order),
            covers: order.build.covers.clone(),
            left_out: 0,
            since: ended,
            asked: None,
            retry_of: Some(order),
        };
        let waits = reason.until().is_some_and(|until| now < until);
        Some((wanted, waits.then_some(reason)))
    }

    /// The version that a build was for: the one that it covers, else the newest.
    fn version_of(&self, builder: &Builder, order: &Order) -> Option<Version> {
        let project = builder.release.as_ref()?;
        let mut covered = order.build.covers.iter().rev();
        let covered = covered.find_map(|id| self.tracks.version(id));
        covered.or_else(|| self.release(project)).cloned()
    }
}

/// Longest wait before a retry.
const MAX_RETRY_WAIT: std::time::Duration = std::time::Duration::from_secs(3600);
/// Longest time that a builder is set aside before it is tried again.
const MAX_SET_ASIDE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

fn set_aside(lane: &Lane, builder: &Builder, resumed: Timestamp, now: Timestamp) -> Option<Reason> {
    let retry = &builder.retry;
    let (streak, last) = lane.streak(resumed, now);
    if streak < retry.set_aside_after {
        return None;
    }
    let doublings = streak.saturating_sub(retry.set_aside_after).min(12);
    let rest = retry.set_aside_for.saturating_mul(1 << doublings);
    let until = last.after(rest.min(MAX_SET_ASIDE));
    (now < until).then_some(Reason::SetAside { streak, until })
}

fn compose<'a>(builder: &Builder, pending: Vec<Pending<'a>>, since: Timestamp) -> Wanted<'a> {
    let (covers, left_out) = newest_covers(&pending);
    let (mut sources, mut version) = (Vec::new(), None);
    let mut branches = builder.sources.iter();
    for source in pending {
        match &source.newest().to {
            At::Revision(revision) => {
                if let Some((repository, branch)) = branches.next() {
                    sources.push(Source {
                        repository: repository.clone(),
                        branch: branch.clone(),
                        revision: revision.clone(),
                    });
                }
            }
            At::Version(newest) => version = Some(newest.clone()),
        }
    }
    Wanted {
        sources,
        version,
        covers,
        left_out,
        since,
        asked: None,
        retry_of: None,
    }
}

/// The newest of what is to be covered, and how many are left out.
fn newest_covers(pending: &[Pending<'_>]) -> (Vec<PayloadId>, usize) {
    let all: usize = pending.iter().map(|source| source.moves.len()).sum();
    let left_out = all.saturating_sub(MAX_COVERS);
    let moves = pending.iter().flat_map(|source| &source.moves);
    let covers = moves.skip(left_out).map(|(_, moved)| moved.id);
    (covers.collect(), left_out)
}

/// Leaves the newest of what is covered; returns how many were left out.
fn cut(covers: &mut Vec<PayloadId>) -> usize {
    let left_out = covers.len().saturating_sub(MAX_COVERS);
    covers.drain(..left_out);
    left_out
}

impl Wanted<'_> {
    /// Why it is built, as the command says.
    pub(super) fn reason(&self) -> Text {
        if let Some((_, request)) = self.asked {
            return request.reason.clone();
        }
        if let Some(order) = self.retry_of {
            return Text::tidy(&format!(
                "again: {}",
                order.build.reason.as_str().trim_start_matches("again: ")
            ));
        }
        let changes = match self.covers.len() + self.left_out {
            0 => return Text::tidy("scheduled"),
            1 => "1 change".to_owned(),
            changes => format!("{changes} changes"),
        };
        Text::tidy(&changes)
    }
}
