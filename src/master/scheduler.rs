//! What is to be built next: two functions of what happened and of the time.
//!
//! [`Scheduler::apply`] takes in facts, in any order between streams and any number of times. [`Scheduler::decide`] says
//! what to send. A restarted master applies the streams again and is where it was; there is no other memory.

mod desk;
mod fact;
mod lane;
mod pending;
mod plan;
mod track;
mod waiting;
mod wanted;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::config::MasterConfig;
use crate::model::{
    Answer, Branch, Build, BuildId, BuilderName, Cancel, FarmId, PayloadId, Position, Release,
    RepositoryName, Revision, Roster, SlaveName, Timestamp,
};
use crate::trust::Standing;
use desk::Desk;
use lane::{CalledOff, Lane};
use plan::Scope;
use track::{At, TrackId, Tracks};

pub use fact::Fact;
pub use waiting::{Reason, Waiting};

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Sign and publish this.
    Send(Box<Build>),
    /// Call a build off.
    Cancel(Box<Cancel>),
    /// Say what becomes of a request.
    Answer(Box<Answer>),
    /// Announce a release that a request speaks of.
    Announce(Box<Release>),
    /// Ask again no later than this.
    WakeAt(Timestamp),
}

/// What holds for all that is decided at one moment.
pub struct Circumstances<'a> {
    /// The farm.
    pub farm: FarmId,
    /// The keyring in force.
    pub keyring: Position,
    /// Who may be sent what.
    pub roster: &'a Roster,
    /// What is wanted.
    pub config: &'a MasterConfig,
    /// Which slaves are not heard of, and since when.
    pub silent: &'a BTreeMap<SlaveName, Timestamp>,
}

/// All that the streams have told, as far as it decides what is built next.
#[derive(Default)]
pub struct Scheduler {
    tracks: Tracks,
    lanes: BTreeMap<BuilderName, Lane>,
    desk: Desk,
    /// Changes and releases that builds cover, and that have not been told of yet.
    unplaced: HashMap<PayloadId, BTreeSet<BuilderName>>,
}

/// Most changes that one command lists; older ones are covered all the same.
const MAX_COVERS: usize = 100;

impl Scheduler {
    /// Takes in a fact. Idempotent, and free of order between facts of different streams.
    pub fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Changed {
                sequence,
                id,
                change,
            } => {
                let track = self.tracks.change(sequence, id, *change);
                self.place(id, track);
            }
            Fact::Released {
                sequence,
                id,
                release,
            } => {
                if let Some(request) = release.request {
                    self.desk.fulfil(request);
                }
                let track = self.tracks.release(sequence, id, *release);
                self.place(id, track);
            }
            Fact::Ordered {
                id,
                build,
                standing,
            } => {
                let lane = self.lanes.entry(build.builder.clone()).or_default();
                let counts = match standing {
                    Standing::Good => Some(build),
                    Standing::Unproven => lane.doubt(id, build),
                };
                if let Some(build) = counts {
                    self.order(id, build);
                }
            }
            Fact::Cancelled {
                target,
                builder,
                request,
            } => {
                let by = match request {
                    Some(_) => CalledOff::ByRequest,
                    None => CalledOff::ByItself,
                };
                let lane = self.lanes.entry(builder).or_default();
                lane.call_off(target, by);
            }
            Fact::Requested { id, request } => self.desk.ask(id, *request),
            Fact::Answered {
                sequence,
                request,
                denial,
            } => self.desk.answer(sequence, request, denial),
            Fact::Reported {
                report,
                command,
                slave,
                builder,
                body,
                issued,
            } => {
                let lane = self.lanes.entry(builder).or_default();
                if let Some(build) = lane.report(command, slave, report, &body, issued) {
                    self.order(command, build);
                }
            }
            Fact::Numbered { builder, number } => {
                self.lanes.entry(builder).or_default().tell(number);
            }
        }
    }

    /// Takes in an order that counts.
    fn order(&mut self, id: PayloadId, build: Box<Build>) {
        if let Some(request) = build.request {
            self.desk.fulfil(request);
        }
        let lane = self.lanes.entry(build.builder.clone()).or_default();
        for covered in &build.covers {
            if let Some((track, sequence)) = self.tracks.place(covered) {
                lane.reach(track, sequence);
            } else {
                let waiting = self.unplaced.entry(*covered).or_default();
                waiting.insert(build.builder.clone());
            }
        }
        lane.begin(build.number, build.issued);
        lane.order(id, build);
    }

    /// Tells the builders that cover a move where it lies.
    fn place(&mut self, id: PayloadId, track: TrackId) {
        let Some((_, sequence)) = self.tracks.place(&id) else {
            return;
        };
        for builder in self.unplaced.remove(&id).unwrap_or_default() {
            self.lanes
                .entry(builder)
                .or_default()
                .reach(track, sequence);
        }
    }

    /// The newest revision known of a branch.
    #[must_use]
    pub fn tip(&self, repository: &RepositoryName, branch: &Branch) -> Option<&Revision> {
        let (_, track) = self.tracks.branch(repository, branch)?;
        match &track.newest()?.1.to {
            At::Revision(revision) => Some(revision),
            At::Version(_) => None,
        }
    }

    /// What to do at `now`. Changes nothing: what is done comes back as a fact. Whoever acts asks again until nothing but
    /// [`Effect::WakeAt`] is left: what a granted request leads to is decided once the answer to it is a fact.
    #[must_use]
    pub fn decide(&self, circumstances: &Circumstances<'_>, now: Timestamp) -> Vec<Effect> {
        let mut effects: Vec<Effect> = Vec::new();
        let answers = self.answers(circumstances, now).into_iter();
        effects.extend(answers.map(|answer| Effect::Answer(Box::new(answer))));
        let releases = self.announcements(circumstances, now).into_iter();
        effects.extend(releases.map(|release| Effect::Announce(Box::new(release))));
        let cancels = self.cancels(circumstances, now).into_iter();
        effects.extend(cancels.map(|cancel| Effect::Cancel(Box::new(cancel))));
        let plan = self.plan(circumstances, now, Scope::Idle);
        let late = plan.late.into_iter();
        effects.extend(late.map(|cancel| Effect::Cancel(Box::new(cancel))));
        let builds = plan.builds.into_iter();
        effects.extend(builds.map(|build| Effect::Send(Box::new(build))));
        effects.extend(plan.wake.map(Effect::WakeAt));
        effects
    }

    /// Everything that is wanted at `now` and not ordered yet, and why it waits; the longest wait first.
    #[must_use]
    pub fn queue(&self, circumstances: &Circumstances<'_>, now: Timestamp) -> Vec<Waiting> {
        let mut waiting = self.plan(circumstances, now, Scope::All).waiting;
        waiting.sort_by(|a, b| (a.since, &a.builder).cmp(&(b.since, &b.builder)));
        waiting
    }

    /// Whether `slave` was ever given a build of `builder`, as far as is known.
    #[must_use]
    pub fn was_given(&self, slave: &SlaveName, builder: &BuilderName) -> bool {
        let lane = self.lanes.get(builder);
        lane.is_some_and(|lane| lane.orders().any(|order| order.build.slave == *slave))
    }

    /// Forgets builders of which nothing is known but what some slave said: it may have made them up, and without end.
    /// Only once every order that the stream holds was taken in; what the roster names may have been ordered just now.
    pub fn forget_strangers(&mut self, roster: Option<&Roster>) {
        let lines = roster.into_iter().flat_map(|roster| &roster.lines);
        let named: BTreeSet<&BuilderName> = lines.flat_map(|line| &line.builders).collect();
        self.lanes
            .retain(|name, lane| !lane.is_strange() || named.contains(name));
    }

    /// The builds that a slave was given and that may still go on at `now`.
    #[must_use]
    pub fn builds_on(&self, slave: &SlaveName, now: Timestamp) -> Vec<BuildId> {
        let lanes = self.lanes.values().filter_map(|lane| {
            let (order, _) = lane.in_flight(now)?;
            (order.build.slave == *slave).then(|| order.build.id())
        });
        lanes.collect()
    }
}

#[cfg(test)]
mod tests;
