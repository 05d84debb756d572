//! The board's rows: what each builder last said of the code, and what it does now.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{
    Branch, Build, BuildState, BuilderName, CommandId, ProjectName, RepositoryName, RosterLine,
    SlaveName, SlaveState, Source, Text, Timestamp, Verdict,
};
use crate::trust::{Standing, Verified, key_id};

use super::board::Board;
use super::build::BuildStatus;

/// One builder and the branches that it tests together. A builder that also tests another branch has another row for that,
/// so that what passed on one branch never hides what failed on the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// The builder.
    pub builder: BuilderName,
    /// Whose tests; unknown before the first command.
    pub project: Option<ProjectName>,
    /// The branches; none before the first command.
    pub branches: Vec<(RepositoryName, Branch)>,
    /// The slave that serves the builder.
    pub slave: Option<SlaveName>,
    /// That slave's standing.
    pub standing: SlaveStanding,
    /// When it last said that it is alive, by its own clock.
    pub last_seen: Option<Timestamp>,
    /// Whether there is no recent sign of it.
    pub silent: bool,
    /// Until when its owner has paused it.
    pub paused_until: Option<Timestamp>,
    /// How many of its reports are known to be missing.
    pub missing_reports: u64,
    /// The last word on the code.
    pub last_word: Option<LastWord>,
    /// How many changes of these branches came after what the last word is about; unknown if the streams do not tell.
    pub behind: Option<usize>,
    /// The newest build, if it is over and not the last word: what came in between the machine and the code.
    pub newest: Option<Newest>,
    /// What runs, or is about to.
    pub running: Option<Running>,
    /// How many more builds are ordered and not over.
    pub waiting: usize,
}

/// The newest verdict about the code, and since when it has been that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LastWord {
    /// The verdict: passed, warned or failed.
    pub verdict: Verdict,
    /// The number of the build that says so.
    pub number: u64,
    /// What that build tested.
    pub sources: Vec<Source>,
    /// When it ended.
    pub at: Timestamp,
    /// When the first build of the present run of equal verdicts ended.
    pub since: Timestamp,
    /// That build's number.
    pub since_number: u64,
    /// Whether the run may be older than that: what came before is no longer on record.
    pub or_longer: bool,
    /// Whether the slave has contradicted itself about that build.
    pub disputed: bool,
}

/// A newest build that is over and says nothing about the code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Newest {
    /// Its number.
    pub number: u64,
    /// What it came to.
    pub verdict: Verdict,
    /// The stable code, if it was refused.
    pub code: Option<Text>,
}

/// A build that is not over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Running {
    /// Its number.
    pub number: u64,
    /// How far it is; never done.
    pub state: BuildState,
    /// How many steps it has.
    pub steps: usize,
    /// The name of the step that runs.
    pub step_name: Option<CommandId>,
    /// Since when it is in that state: ordered, received, or the step started.
    pub since: Timestamp,
}

/// What a slave is to the farm.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlaveStanding {
    /// In full standing.
    Active,
    /// New: its results are shown and marked, and count nowhere.
    Probation,
    /// Set aside by the operator.
    Paused,
    /// Cut off by the operator.
    Revoked,
    /// It has left.
    Closed,
    /// The roster does not name it.
    Unlisted,
}

/// The one word for a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown {
    /// What the newest code that the streams know of came to, as far as it was built.
    Verdict(Verdict),
    /// That was so once, but there is newer code and nobody at work on it, or the slave no longer counts.
    Stale(Verdict),
    /// Nothing was ever said about the code.
    Unknown,
}

/// The branches that a build tests together.
type Branches = Vec<(RepositoryName, Branch)>;

/// How long after its last sign of life a slave counts as silent: the presence stream's minute, and the clocks' skew.
const SILENT_AFTER: Duration = Duration::from_secs(60 + Build::CLOCK_SKEW.as_secs());

impl Row {
    /// The one word for the row. Green is never shown for what is not known.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let Some(word) = &self.last_word else {
            return Shown::Unknown;
        };
        let counts = match self.standing {
            SlaveStanding::Active | SlaveStanding::Probation | SlaveStanding::Paused => true,
            SlaveStanding::Closed | SlaveStanding::Unlisted => self.behind == Some(0),
            SlaveStanding::Revoked => false,
        };
        if counts && (self.behind == Some(0) || !self.silent) {
            Shown::Verdict(word.verdict)
        } else {
            Shown::Stale(word.verdict)
        }
    }
}

impl Board {
    /// The rows at `now`, by project, builder and branches.
    #[must_use]
    pub fn rows(&self, now: Timestamp) -> Vec<Row> {
        let mut rows = Vec::new();
        for builder in self.builders() {
            let mut lanes: BTreeMap<Branches, Vec<&BuildStatus>> = BTreeMap::new();
            for build in self.builds_of(builder).filter(|build| build.proven) {
                lanes.entry(branches(&build.order)).or_default().push(build);
            }
            if lanes.is_empty() {
                lanes.insert(Branches::new(), Vec::new());
            }
            for (branches, builds) in lanes {
                rows.push(self.row(builder, branches, &builds, now));
            }
        }
        rows.sort_by(|a, b| {
            (&a.project, &a.builder, &a.branches).cmp(&(&b.project, &b.builder, &b.branches))
        });
        rows
    }

    fn row(
        &self,
        builder: &BuilderName,
        branches: Branches,
        builds: &[&BuildStatus],
        now: Timestamp,
    ) -> Row {
        let newest = builds.last();
        let line = self.line(builder, newest.map(|build| &build.order.slave));
        let slave = line
            .map(|line| &line.slave)
            .or(newest.map(|build| &build.order.slave));
        let presence = line
            .and_then(|line| {
                let held = self.presences.get(&line.slave)?;
                (held.signer() == key_id(&line.report_key)).then_some(held)
            })
            .map(Verified::body);
        let last_word = last_word(builds);
        let mut open: Vec<_> = builds
            .iter()
            .filter(|build| build.verdict(now).is_none())
            .collect();
        // What has come furthest; among equals, what was ordered first.
        open.sort_by_key(|build| (std::cmp::Reverse(progress(build.state)), build.order.number));
        Row {
            builder: builder.clone(),
            project: newest.map(|build| build.order.project.clone()),
            slave: slave.cloned(),
            standing: line.map_or(SlaveStanding::Unlisted, SlaveStanding::of),
            last_seen: presence.map(|presence| presence.issued),
            silent: presence.is_none_or(|presence| now.since(presence.issued) > SILENT_AFTER),
            paused_until: presence
                .and_then(|presence| presence.paused_until)
                .filter(|until| *until > now),
            missing_reports: slave.map_or(0, |slave| self.missing_reports(slave)),
            behind: last_word
                .as_ref()
                .and_then(|word| self.behind(&word.sources)),
            newest: newest.and_then(|build| {
                let verdict = build.verdict(now)?;
                let word = last_word.as_ref().map(|word| word.number);
                (word != Some(build.order.number)).then(|| Newest {
                    number: build.order.number,
                    verdict,
                    code: build.refusal_code().cloned(),
                })
            }),
            running: open.first().map(|build| running(build)),
            waiting: open.len().saturating_sub(1),
            branches,
            last_word,
        }
    }

    /// The line of the slave that serves `builder`: the open one that names it, else the newest one of `slave`.
    fn line(&self, builder: &BuilderName, slave: Option<&SlaveName>) -> Option<&RosterLine> {
        let lines = &self.roster.as_ref()?.lines;
        let serving = lines
            .iter()
            .find(|line| line.closed.is_none() && line.builders.contains(builder));
        serving.or_else(|| {
            lines
                .iter()
                .filter(|line| Some(&line.slave) == slave)
                .max_by_key(|line| (line.closed.is_none(), line.approved))
        })
    }

    /// How many changes came after `sources`, over all the branches among them that are watched.
    fn behind(&self, sources: &[Source]) -> Option<usize> {
        let mut behind = None;
        for source in sources {
            let mut moves: Vec<_> = self
                .changes()
                .filter(|(_, change)| change.standing() == Standing::Good)
                .map(|(sequence, change)| (sequence, change.body()))
                .filter(|(_, c)| c.repository == source.repository && c.branch == source.branch)
                .collect();
            if moves.is_empty() {
                continue;
            }
            moves.sort_unstable_by_key(|(sequence, _)| **sequence);
            let tested = moves
                .iter()
                .rposition(|(_, change)| change.revision == source.revision)?;
            *behind.get_or_insert(0) += moves.len() - 1 - tested;
        }
        behind
    }
}

fn branches(build: &Build) -> Branches {
    let mut branches: Branches = build
        .sources
        .iter()
        .map(|source| (source.repository.clone(), source.branch.clone()))
        .collect();
    branches.sort_unstable();
    branches.dedup();
    branches
}

/// Over builds in the order of their numbers. Builds that answer a question about older code are left out, and so is
/// whatever says nothing about the code: it neither makes a verdict nor ends a run of equal ones.
fn last_word(builds: &[&BuildStatus]) -> Option<LastWord> {
    let mut words = builds
        .iter()
        .rev()
        .filter(|build| build.order.experiment.is_none())
        .filter_map(|build| match (build.state, &build.ending) {
            (BuildState::Done { verdict, .. }, Some(ending)) if verdict.is_about_the_code() => {
                Some((*build, verdict, ending.at()))
            }
            _ => None,
        });
    let (newest, verdict, at) = words.next()?;
    let (mut first, mut since) = (newest, at);
    let mut changed = false;
    for (build, earlier, at) in words {
        if earlier != verdict {
            changed = true;
            break;
        }
        (first, since) = (build, at);
    }
    let oldest = builds.first().map_or(0, |build| build.order.number);
    Some(LastWord {
        verdict,
        number: newest.order.number,
        sources: newest.order.sources.clone(),
        at,
        since,
        since_number: first.order.number,
        or_longer: !changed && oldest > 1,
        disputed: newest.disputed,
    })
}

fn progress(state: BuildState) -> u8 {
    match state {
        BuildState::Ordered => 0,
        BuildState::Accepted => 1,
        BuildState::Running { .. } => 2,
        BuildState::Done { .. } => 3,
    }
}

fn running(build: &BuildStatus) -> Running {
    let (step_name, since) = match build.state {
        BuildState::Running { step, since } => {
            let step = build.steps.get(usize::from(step));
            (step.map(|step| step.name.clone()), since)
        }
        BuildState::Accepted | BuildState::Ordered | BuildState::Done { .. } => {
            (None, build.received.unwrap_or(build.order.issued))
        }
    };
    Running {
        number: build.order.number,
        state: build.state,
        steps: build.steps.len(),
        step_name,
        since,
    }
}

impl SlaveStanding {
    fn of(line: &RosterLine) -> Self {
        match (line.state, line.closed) {
            (SlaveState::Revoked, _) => Self::Revoked,
            (_, Some(_)) => Self::Closed,
            (SlaveState::Paused, None) => Self::Paused,
            (SlaveState::Probation, None) => Self::Probation,
            (SlaveState::Active, None) => Self::Active,
        }
    }
}
