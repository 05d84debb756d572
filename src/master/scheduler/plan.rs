//! Who may build now: what is wanted of all builders, in the order of its worth, within what slaves and locks allow.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::lane::{Lane, Order};
use super::waiting::{Reason, Waiting};
use super::wanted::{Next, Wanted};
use super::{Circumstances, Scheduler};
use crate::master::config::Builder;
use crate::model::{
    Build, BuildState, BuilderName, Cancel, LockName, ParameterName, RosterLine, SlaveName, Step,
    Text, Timestamp, Version,
};
use crate::trust::key_id;

/// Of which builders it is asked what they want.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scope {
    /// Those without a build in flight: all that is needed to decide.
    Idle,
    /// All, for people who look at the queue.
    All,
}

/// What is to be done now, and what waits.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) builds: Vec<Build>,
    /// Builds that did not begin in time.
    pub(super) late: Vec<Cancel>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) wake: Option<Timestamp>,
}

/// A build that nothing but its slave and its locks may keep.
struct Ready<'a> {
    name: &'a BuilderName,
    builder: &'a Builder,
    line: &'a RosterLine,
    wanted: Wanted<'a>,
    urgency: Urgency,
    signal: f64,
}

/// Which goes first: what a person asks for, then a builder that never built, so that nothing keeps it waiting for ever, then
/// by priority, which grows by waiting.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Urgency {
    is_asked_for: bool,
    is_first: bool,
    priority: u64,
}

/// One point of priority is gained by waiting so long.
const AGING: Duration = Duration::from_secs(60);

impl Plan {
    fn wake(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn wait(&mut self, name: &BuilderName, builder: &Builder, wanted: &Wanted<'_>, reason: Reason) {
        if let Some(until) = reason.until() {
            self.wake(until);
        }
        self.waiting.push(Waiting {
            builder: name.clone(),
            slave: builder.slave.clone(),
            since: wanted.since,
            what: wanted.reason(),
            request: wanted.asked.map(|(id, _)| id),
            reason,
        });
    }
}

impl Scheduler {
    /// What every builder of the configuration does next.
    pub(super) fn plan(
        &self,
        circumstances: &Circumstances<'_>,
        now: Timestamp,
        scope: Scope,
    ) -> Plan {
        let config = circumstances.config;
        let wishes = self.desk.wishes(&self.lanes, now);
        // Looked up once for each builder that is ready.
        let lines = circumstances.roster.lines.iter();
        let lines: HashMap<&SlaveName, &RosterLine> = lines
            .filter(|line| line.takes_commands())
            .map(|line| (&line.slave, line))
            .collect();
        let mut plan = Plan::default();
        let mut ready = Vec::new();
        let mut busy: BTreeMap<&SlaveName, u32> = BTreeMap::new();
        let mut held: BTreeMap<&LockName, u32> = BTreeMap::new();
        // Also builders that the configuration does not name any more keep their slave busy.
        for (name, lane) in &self.lanes {
            for (order, until) in lane.all_in_flight(now) {
                *busy.entry(&order.build.slave).or_default() += 1;
                if let Some(builder) = config.builders.get(name) {
                    for lock in &builder.locks {
                        *held.entry(lock).or_default() += 1;
                    }
                    watch_start(circumstances, order, builder, now, &mut plan);
                }
                plan.wake(until.after(Duration::from_micros(1)));
            }
        }
        for (name, builder) in &config.builders {
            let building = self.lanes.get(name).and_then(|lane| lane.in_flight(now));
            if building.is_some() && scope == Scope::Idle {
                continue;
            }
            let (wanted, reason) = match self.next(name, builder, wishes.get(name), now) {
                Next::Nothing => continue,
                Next::Later(wanted, reason) => (wanted, Some(reason)),
                Next::Now(wanted) => (wanted, None),
            };
            let building = building.map(|(order, _)| Reason::Building {
                build: order.build.id(),
            });
            if let Some(reason) = building.or(reason) {
                plan.wait(name, builder, &wanted, reason);
                continue;
            }
            match served(circumstances, &lines, name, builder) {
                Ok(line) => ready.push(Ready {
                    urgency: urgency(self.lanes.get(name), builder, &wanted, now),
                    signal: self
                        .lanes
                        .get(name)
                        .map_or_else(|| Lane::default().signal(), Lane::signal),
                    name,
                    builder,
                    line,
                    wanted,
                }),
                Err(reason) => plan.wait(name, builder, &wanted, reason),
            }
        }
        // The likeliest to tell something soon goes first, among what is equally urgent.
        ready.sort_by(|a, b| {
            (Reverse(a.urgency), b.signal)
                .partial_cmp(&(Reverse(b.urgency), a.signal))
                .unwrap_or(std::cmp::Ordering::Equal)
                .then_with(|| a.name.cmp(b.name))
        });
        for one in ready {
            match take(circumstances, one.builder, &mut busy, &mut held) {
                Ok(()) => {
                    let lane = self.lanes.get(one.name);
                    plan.builds.extend(one.compose(circumstances, lane, now));
                }
                Err(reason) => plan.wait(one.name, one.builder, &one.wanted, reason),
            }
        }
        plan
    }
}

/// Calls off a build that was accepted and does not begin.
fn watch_start(
    circumstances: &Circumstances<'_>,
    order: &Order,
    builder: &Builder,
    now: Timestamp,
    plan: &mut Plan,
) {
    let accepted = order.course.state == BuildState::Accepted;
    if !accepted || order.cancelled.is_some() {
        return;
    }
    let start_by = order.build.accept_by.after(builder.start_window);
    if now <= start_by {
        plan.wake(start_by.after(Duration::from_micros(1)));
        return;
    }
    let minutes = builder.start_window.as_secs() / 60;
    plan.late.push(Cancel {
        farm: circumstances.farm,
        slave: order.build.slave.clone(),
        builder: order.build.builder.clone(),
        target: order.id,
        issued: now,
        reason: Text::tidy(&format!(
            "accepted, and not begun {minutes} min after it had to be"
        )),
        requester: None,
        request: None,
    });
}

fn urgency(lane: Option<&Lane>, builder: &Builder, wanted: &Wanted<'_>, now: Timestamp) -> Urgency {
    let aged = now.since(wanted.since).as_secs() / AGING.as_secs();
    Urgency {
        is_asked_for: wanted.asked.is_some(),
        is_first: lane.is_none_or(|lane| lane.newest().is_none()),
        priority: u64::from(builder.priority) + aged,
    }
}

/// The roster's line of the slave that serves a builder.
fn served<'a>(
    circumstances: &Circumstances<'a>,
    lines: &HashMap<&SlaveName, &'a RosterLine>,
    name: &BuilderName,
    builder: &Builder,
) -> Result<&'a RosterLine, Reason> {
    let line = lines.get(&builder.slave).copied();
    let line = line.filter(|line| line.builders.contains(name));
    let line = line.ok_or(Reason::NotServed)?;
    match circumstances.silent.get(&builder.slave) {
        Some(since) => Err(Reason::Silent { since: *since }),
        None => Ok(line),
    }
}

/// Takes a place on the slave and the locks, or says what is lacking.
fn take<'a>(
    circumstances: &Circumstances<'a>,
    builder: &'a Builder,
    busy: &mut BTreeMap<&'a SlaveName, u32>,
    held: &mut BTreeMap<&'a LockName, u32>,
) -> Result<(), Reason> {
    let config = circumstances.config;
    let rules = config.slaves.get(&builder.slave).copied();
    let capacity = rules.unwrap_or_default().capacity;
    let here = busy.entry(&builder.slave).or_default();
    if *here >= capacity {
        return Err(Reason::SlaveBusy { capacity });
    }
    let slots = |lock| config.locks.get(lock).copied().unwrap_or(1);
    let full = builder
        .locks
        .iter()
        .find(|lock| held.get(lock).copied().unwrap_or(0) >= slots(*lock));
    if let Some(lock) = full {
        return Err(Reason::Locked { lock: lock.clone() });
    }
    *here += 1;
    for lock in &builder.locks {
        *held.entry(lock).or_default() += 1;
    }
    Ok(())
}

impl Ready<'_> {
    /// The command for it.
    fn compose(
        self,
        circumstances: &Circumstances<'_>,
        lane: Option<&Lane>,
        now: Timestamp,
    ) -> Option<Build> {
        let (name, builder) = (self.name, self.builder);
        let highest = lane.map_or(0, Lane::highest);
        let accept_by = now.after(builder.accept_window);
        let running: Duration = builder.steps.iter().map(|step: &Step| step.timeout).sum();
        let reason = self.wanted.reason();
        let Wanted {
            sources,
            version,
            covers,
            asked,
            retry_of,
            ..
        } = self.wanted;
        let repeated = retry_of.map(|order| &order.build);
        let attempt = repeated.map_or(1, |build| build.attempt.saturating_add(1));
        // A retry is still what somebody asked for.
        let requester = match (asked, repeated) {
            (Some((_, request)), _) => Some(Text::tidy(request.requester.as_str())),
            (None, Some(build)) => build.requester.clone(),
            (None, None) => None,
        };
        let request = asked.map(|(id, _)| id);
        Some(Build {
            farm: circumstances.farm,
            slave: builder.slave.clone(),
            report_key: key_id(&self.line.report_key),
            builder: name.clone(),
            number: highest.checked_add(1)?,
            issued: now,
            accept_by,
            finish_by: accept_by.after(running),
            keyring: circumstances.keyring,
            project: builder.project.clone(),
            reason,
            sources,
            covers,
            steps: steps(&builder.steps, version.as_ref()),
            requester,
            request: request.or_else(|| repeated.and_then(|build| build.request)),
            retry_of: repeated.map(|build| build.number),
            attempt,
            experiment: None,
        })
    }
}

/// The steps, with the version of the followed release where they name it.
fn steps(steps: &[Step], version: Option<&Version>) -> Vec<Step> {
    let Some(version) = version else {
        return steps.to_vec();
    };
    let fill = |(name, value): (&ParameterName, &Text)| {
        let filled = value.as_str().replace(RELEASE, version.as_str());
        (name.clone(), Text::tidy(&filled))
    };
    let steps = steps.iter().map(|step| Step {
        parameters: step.parameters.iter().map(fill).collect(),
        ..step.clone()
    });
    steps.collect()
}

/// What stands for the version in a parameter.
const RELEASE: &str = "{release}";
