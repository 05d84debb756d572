//! What is to be built next: two functions of what happened and of the time.
//!
//! [`Scheduler::apply`] takes in facts, in any order between streams and any number of times. [`Scheduler::decide`] says
//! what to send. A restarted master applies the streams again and is where it was; there is no other memory.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{Builder, MasterConfig};
use crate::model::{
    Answer, Branch, Build, BuildId, BuildState, BuilderName, Cancel, Change, Denial, FarmId,
    PayloadId, Position, Release, ReportBody, RepositoryName, Request, Revision, Roster, SlaveName,
    Source, Step, Text, Timestamp, Verdict,
};
use crate::trust::{Standing, key_id};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A branch moved.
    Changed {
        /// The change's place in its stream, which orders the changes of a branch.
        sequence: u64,
        /// The change.
        id: PayloadId,
        /// What it says.
        change: Box<Change>,
    },
    /// A build was ordered.
    Ordered {
        /// The command.
        id: PayloadId,
        /// What it says.
        build: Box<Build>,
        /// Whether the key that signed it was stolen; then it counts once its slave has taken it.
        standing: Standing,
    },
    /// A project released a version.
    Released {
        /// Its place in the stream of changes, which orders the releases of a project.
        sequence: u64,
        /// The release.
        id: PayloadId,
        /// What it says.
        release: Box<Release>,
    },
    /// A build was called off.
    Cancelled {
        /// The command that was called off.
        target: PayloadId,
    },
    /// Somebody asked for something.
    Requested {
        /// The request.
        id: PayloadId,
        /// What it says.
        request: Box<Request>,
    },
    /// A master answered.
    Answered {
        /// Its place in the stream of requests: the first answer stands.
        sequence: u64,
        /// To which request.
        request: PayloadId,
        /// Why not, if it was not granted.
        denial: Option<Denial>,
    },
    /// A slave spoke of a build.
    Reported {
        /// The report.
        report: PayloadId,
        /// Of which command.
        command: PayloadId,
        /// Which slave.
        slave: SlaveName,
        /// In the name of which builder.
        builder: BuilderName,
        /// What it said.
        body: Box<ReportBody>,
        /// When.
        issued: Timestamp,
    },
    /// A slave has seen a build of that number. Only of interest if the bus has lost its store.
    Numbered {
        /// Of which builder.
        builder: BuilderName,
        /// Which number.
        number: u64,
    },
}

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

/// A change of one branch, as far as it matters here.
struct Moved {
    id: PayloadId,
    revision: Revision,
}

/// What is known of one builder.
#[derive(Default)]
struct Lane {
    newest: Option<Ordered>,
    covered: BTreeSet<PayloadId>,
    /// Numbers that somebody spoke of whose word is not enough.
    told: BTreeSet<u64>,
    /// What a stolen key ordered and no slave has taken.
    unproven: BTreeMap<(PayloadId, SlaveName), Box<Build>>,
}

struct Ordered {
    id: PayloadId,
    slave: SlaveName,
    number: u64,
    finish_by: Timestamp,
}

impl Lane {
    /// How many numbers, or orders, are kept on the word of a thief or of a slave.
    const MAX_TOLD: usize = 1_000;

    fn order(&mut self, id: PayloadId, build: Build) {
        self.covered.extend(build.covers);
        if self
            .newest
            .as_ref()
            .is_none_or(|newest| newest.number < build.number)
        {
            self.newest = Some(Ordered {
                id,
                slave: build.slave,
                number: build.number,
                finish_by: build.finish_by,
            });
        }
    }

    fn tell(&mut self, number: u64) {
        self.told.insert(number);
        // The greatest are the least likely.
        if self.told.len() > Self::MAX_TOLD {
            self.told.pop_last();
        }
    }

    /// The highest number that is taken. A number far above all others was made up, to run out of numbers.
    fn highest(&self) -> u64 {
        let ordered = self.newest.as_ref().map_or(0, |newest| newest.number);
        self.told.iter().fold(ordered, |highest, told| {
            let jump = told.saturating_sub(highest);
            if jump <= Build::MAX_JUMP {
                highest.max(*told)
            } else {
                highest
            }
        })
    }
}

/// All that the streams have told, as far as it decides what is built next.
#[derive(Default)]
pub struct Scheduler {
    branches: BTreeMap<(RepositoryName, Branch), BTreeMap<u64, Moved>>,
    lanes: BTreeMap<BuilderName, Lane>,
    /// By whom they are reported, so that no slave can speak for another's build.
    builds: BTreeMap<(PayloadId, SlaveName, BuilderName), BuildState>,
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
                let moved = Moved {
                    id,
                    revision: change.revision,
                };
                self.branches
                    .entry((change.repository, change.branch))
                    .or_default()
                    .insert(sequence, moved);
            }
            Fact::Ordered {
                id,
                build,
                standing,
            } => {
                let name = (id, build.slave.clone(), build.builder.clone());
                let answered = self.builds.get(&name).is_some_and(is_taken);
                let lane = self.lanes.entry(build.builder.clone()).or_default();
                match standing {
                    Standing::Unproven if !answered => {
                        lane.tell(build.number);
                        lane.unproven.insert((id, build.slave.clone()), build);
                        if lane.unproven.len() > Lane::MAX_TOLD {
                            lane.unproven.pop_last();
                        }
                    }
                    Standing::Good | Standing::Unproven => lane.order(id, *build),
                }
            }
            Fact::Reported {
                command,
                slave,
                builder,
                body,
                issued,
                report: _,
            } => {
                let name = (command, slave.clone(), builder.clone());
                let state = self.builds.entry(name).or_default();
                *state = state.after(&body, issued);
                if is_taken(state)
                    && let Some(lane) = self.lanes.get_mut(&builder)
                    && let Some(build) = lane.unproven.remove(&(command, slave))
                {
                    lane.order(command, *build);
                }
            }
            Fact::Released { .. }
            | Fact::Cancelled { .. }
            | Fact::Requested { .. }
            | Fact::Answered { .. } => {}
            Fact::Numbered { builder, number } => {
                self.lanes.entry(builder).or_default().tell(number);
            }
        }
    }

    /// The newest revision known of a branch.
    #[must_use]
    pub fn tip(&self, repository: &RepositoryName, branch: &Branch) -> Option<&Revision> {
        let moves = self.branches.get(&(repository.clone(), branch.clone()))?;
        moves.last_key_value().map(|(_, moved)| &moved.revision)
    }

    /// What to do at `now`. Changes nothing: what is sent comes back as a fact.
    #[must_use]
    pub fn decide(&self, circumstances: &Circumstances<'_>, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut wake: Option<Timestamp> = None;
        for (name, builder) in &circumstances.config.builders {
            let lane = self.lanes.get(name);
            if let Some(deadline) = lane.and_then(|lane| self.in_flight(name, lane, now)) {
                wake = Some(wake.map_or(deadline, |wake| wake.min(deadline)));
                continue;
            }
            let build = self
                .wanted(lane, builder)
                .and_then(|wanted| compose(circumstances, name, builder, lane, wanted, now));
            effects.extend(build.map(|build| Effect::Send(Box::new(build))));
        }
        effects.extend(wake.map(Effect::WakeAt));
        effects
    }

    /// The builds that a slave was given and that may still go on at `now`.
    #[must_use]
    pub fn builds_on(&self, slave: &SlaveName, now: Timestamp) -> Vec<BuildId> {
        let lanes = self.lanes.iter().filter_map(|(builder, lane)| {
            let newest = lane.newest.as_ref()?;
            let here = newest.slave == *slave && self.in_flight(builder, lane, now).is_some();
            here.then(|| BuildId {
                builder: builder.clone(),
                number: newest.number,
            })
        });
        lanes.collect()
    }

    /// When the build in flight is given up, if there is one.
    fn in_flight(&self, builder: &BuilderName, lane: &Lane, now: Timestamp) -> Option<Timestamp> {
        let newest = lane.newest.as_ref()?;
        let build = (newest.id, newest.slave.clone(), builder.clone());
        let state = self.builds.get(&build).copied().unwrap_or_default();
        let give_up = newest.finish_by.after(Build::CLOCK_SKEW);
        state.verdict(give_up, now).is_none().then_some(give_up)
    }

    /// What a builder should build next: nothing, if nothing it builds from has moved since its newest build.
    fn wanted(&self, lane: Option<&Lane>, builder: &Builder) -> Option<Wanted> {
        let nothing = BTreeSet::new();
        let covered = lane.map_or(&nothing, |lane| &lane.covered);
        let mut wanted = Wanted {
            sources: Vec::new(),
            covers: Vec::new(),
        };
        for (repository, branch) in &builder.sources {
            let moves = self.branches.get(&(repository.clone(), branch.clone()))?;
            let (newest_sequence, newest) = moves.last_key_value()?;
            let built = moves
                .iter()
                .rev()
                .find(|(_, moved)| covered.contains(&moved.id));
            let since = match built {
                // A second note of the same move (two masters saw it) wants no second build.
                Some((_, built)) if built.revision == newest.revision => newest_sequence + 1,
                // Changes older than the newest one built are never gone back to.
                Some((sequence, _)) => sequence + 1,
                // A new builder starts at the newest change.
                None => *newest_sequence,
            };
            wanted
                .covers
                .extend(moves.range(since..).map(|(_, moved)| moved.id));
            wanted.sources.push(Source {
                repository: repository.clone(),
                branch: branch.clone(),
                revision: newest.revision.clone(),
            });
        }
        (!wanted.covers.is_empty()).then_some(wanted)
    }
}

/// Whether the slave took the build of which it spoke. That it refused a thief's does not make its number one of ours: it
/// may have refused it for that number.
fn is_taken(state: &BuildState) -> bool {
    !matches!(
        state,
        BuildState::Done {
            verdict: Verdict::Refused,
            ..
        }
    )
}

struct Wanted {
    sources: Vec<Source>,
    covers: Vec<PayloadId>,
}

/// The command for what is wanted; none if its slave takes no commands for that builder.
fn compose(
    circumstances: &Circumstances<'_>,
    name: &BuilderName,
    builder: &Builder,
    lane: Option<&Lane>,
    wanted: Wanted,
    now: Timestamp,
) -> Option<Build> {
    let slave = circumstances.roster.line(&builder.slave)?;
    let serves = slave.builders.contains(name) && slave.takes_commands();
    if !serves {
        return None;
    }
    let highest = lane.map_or(0, Lane::highest);
    let accept_by = now.after(builder.accept_window);
    let running: std::time::Duration = builder.steps.iter().map(|step: &Step| step.timeout).sum();
    let Wanted {
        sources,
        mut covers,
    } = wanted;
    let left_out = covers.len().saturating_sub(MAX_COVERS);
    covers.drain(..left_out);
    Some(Build {
        farm: circumstances.farm,
        slave: builder.slave.clone(),
        report_key: key_id(&slave.report_key),
        builder: name.clone(),
        number: highest.checked_add(1)?,
        issued: now,
        accept_by,
        finish_by: accept_by.after(running),
        keyring: circumstances.keyring,
        project: builder.project.clone(),
        reason: Text::tidy(&reason(covers.len() + left_out)),
        sources,
        covers,
        steps: builder.steps.clone(),
        requester: None,
        request: None,
        retry_of: None,
        attempt: 1,
        experiment: None,
    })
}

fn reason(changes: usize) -> String {
    if changes == 1 {
        "1 change".to_owned()
    } else {
        format!("{changes} changes")
    }
}

#[cfg(test)]
mod tests;
