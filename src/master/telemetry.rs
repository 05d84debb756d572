//! What a master counts of itself, for whoever watches its process. Nothing here decides anything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::model::{Build, PayloadId, Pulse, ReportBody, Timestamp, Uptime, Verdict};
use crate::trust::KeysFault;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfVerdict {
    verdict: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfCode {
    code: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfState {
    state: &'static str,
}

/// A number that may have a fraction; not a number while nothing is known.
type Fraction = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Upper ends of the dispatch latency's buckets, in seconds: a quiet period or a busy slave makes it minutes or hours.
const LATENCIES: [f64; 14] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0,
];

/// Of so many changes it is known when they were seen: of the newest.
const MAX_CHANGES: usize = 4096;

/// What a master does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    /// It reads the streams.
    Starts,
    /// It would lead if nobody did.
    StandsBy,
    /// It leads.
    Leads {
        /// With which lease.
        lease: u64,
    },
}

/// How many slaves are in which state.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Slaves {
    /// Heard of, and taking commands.
    pub(super) present: usize,
    /// Not heard of for too long.
    pub(super) silent: usize,
    /// Heard of, and starting nothing by their owners' word.
    pub(super) paused: usize,
}

/// What changes with time, and is told when somebody asks.
#[derive(Debug)]
struct Known {
    role: Role,
    /// Since when the first in the queue waits.
    oldest: Option<Timestamp>,
    keys_fault: Option<String>,
    /// When changes were seen, oldest first in the second.
    changes: BTreeMap<PayloadId, Timestamp>,
    order: VecDeque<PayloadId>,
}

/// What a master counts. Whether anybody asks for it or not: a few numbers in memory.
#[derive(Debug)]
pub struct Telemetry {
    pulse: Pulse,
    known: Mutex<Known>,
    queue: Gauge,
    oldest_wait: Fraction,
    latency: Histogram,
    builds: Family<OfVerdict, Counter>,
    slaves: Family<OfState, Gauge>,
    verify_failures: Family<OfCode, Counter>,
    leading: Gauge,
    lease: Gauge<u64, std::sync::atomic::AtomicU64>,
    commands: Counter,
}

impl Telemetry {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(uptime: Uptime) -> Self {
        let builds = Family::<OfVerdict, Counter>::default();
        // A counter that begins at 0 tells of its first step, too.
        for verdict in Verdict::ALL {
            let verdict = verdict.word();
            let _ = builds.get_or_create(&OfVerdict { verdict });
        }
        let telemetry = Self {
            pulse: Pulse::new(uptime),
            known: Mutex::new(Known {
                role: Role::Starts,
                oldest: None,
                keys_fault: None,
                changes: BTreeMap::new(),
                order: VecDeque::new(),
            }),
            queue: Gauge::default(),
            oldest_wait: Fraction::default(),
            latency: Histogram::new(LATENCIES),
            builds,
            slaves: Family::default(),
            verify_failures: Family::default(),
            leading: Gauge::default(),
            lease: Gauge::default(),
            commands: Counter::default(),
        };
        telemetry.slaves(Slaves::default());
        telemetry
    }

    /// Adds all that is counted to what is served.
    pub fn register(&self, registry: &mut Registry) {
        let queue = "What is wanted and not ordered yet";
        registry.register("queue_depth", queue, self.queue.clone());
        let oldest =
            "How long the first in the queue has waited that no schedule holds; 0 if there is none";
        let wait = self.oldest_wait.clone();
        registry.register_with_unit("queue_oldest_wait", oldest, Unit::Seconds, wait);
        let latency =
            "From the moment a change was seen until the command that covers it was stored";
        let histogram = self.latency.clone();
        registry.register_with_unit("dispatch_latency", latency, Unit::Seconds, histogram);
        let ended = "Ends of builds that slaves reported since this master leads";
        registry.register("builds", ended, self.builds.clone());
        let slaves = "Slaves that builders name, by state";
        registry.register("slaves", slaves, self.slaves.clone());
        let rejected = "Messages on the bus that were rejected";
        registry.register("verify_failures", rejected, self.verify_failures.clone());
        registry.register("leading", "1 while this master leads", self.leading.clone());
        let lease = "The lease that this master led with last; 0 if it never led";
        registry.register("lease", lease, self.lease.clone());
        let commands = "Commands that this master published";
        registry.register("commands_published", commands, self.commands.clone());
    }

    /// Sets what grows with time.
    pub fn refresh(&self, now: Timestamp) {
        let oldest = self.known(|known| known.oldest);
        let wait = oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
        self.oldest_wait.set(wait);
    }

    /// The loop's pulse.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// What the master does, in a few words; none before it leads or stands by.
    #[must_use]
    pub fn doing(&self) -> Option<String> {
        match self.known(|known| known.role) {
            Role::Starts => None,
            Role::StandsBy => Some("stands by".to_owned()),
            Role::Leads { lease } => {
                let queue = self.queue.get();
                Some(format!("leads with lease {lease}; in the queue: {queue}"))
            }
        }
    }

    /// A sentence for each thing that keeps it from ordering what is wanted.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        self.known(|known| {
            let begun = known.role != Role::Starts;
            let starts = (!begun).then(|| "it neither leads nor stands by yet".to_owned());
            starts.into_iter().chain(known.keys_fault.clone()).collect()
        })
    }

    /// The loop turns; `keys_fault` is why nothing may be ordered on the word of any key.
    pub(super) fn turn(&self, keys_fault: Option<&KeysFault>) {
        self.pulse.beat();
        self.known(|known| known.keys_fault = keys_fault.map(KeysFault::to_string));
    }

    /// It leads from now on.
    pub(super) fn leads(&self, lease: u64) {
        self.known(|known| known.role = Role::Leads { lease });
        self.leading.set(1);
        self.lease.set(lease);
    }

    /// It leads no longer, or another one does.
    pub(super) fn stands_by(&self) {
        self.known(|known| known.role = Role::StandsBy);
        self.leading.set(0);
    }

    /// So much is wanted and not ordered, the first of it that no schedule holds since `oldest`.
    pub(super) fn queue(&self, depth: usize, oldest: Option<Timestamp>) {
        self.queue.set(i64::try_from(depth).unwrap_or(i64::MAX));
        self.known(|known| known.oldest = oldest);
    }

    /// So many slaves are there.
    pub(super) fn slaves(&self, slaves: Slaves) {
        for (state, count) in [
            ("present", slaves.present),
            ("silent", slaves.silent),
            ("paused", slaves.paused),
        ] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.slaves.get_or_create(&OfState { state }).set(count);
        }
    }

    /// A change was seen then.
    pub(super) fn changed(&self, id: PayloadId, seen: Timestamp) {
        self.known(|known| {
            if known.changes.insert(id, seen).is_none() {
                known.order.push_back(id);
            }
            if known.order.len() > MAX_CHANGES
                && let Some(oldest) = known.order.pop_front()
            {
                known.changes.remove(&oldest);
            }
        });
    }

    /// A command was stored at `now`: the oldest change that it covers has waited until then.
    pub(super) fn ordered(&self, build: &Build, now: Timestamp) {
        self.commands.inc();
        let seen = self.known(|known| {
            let covered = build.covers.iter().filter_map(|id| known.changes.get(id));
            covered.min().copied()
        });
        if let Some(seen) = seen {
            self.latency.observe(now.since(seen).as_secs_f64());
        }
    }

    /// A slave reported. What refused codes it names is not counted: it could name any number of them.
    pub(super) fn reported(&self, body: &ReportBody) {
        if let Some(verdict) = body.verdict() {
            let verdict = verdict.word();
            self.builds.get_or_create(&OfVerdict { verdict }).inc();
        }
    }

    /// A message was rejected.
    pub(super) fn rejected(&self, code: &'static str) {
        self.verify_failures.get_or_create(&OfCode { code }).inc();
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Position;
    use std::time::Duration;

    fn text(telemetry: &Telemetry) -> String {
        let mut registry = Registry::with_prefix("pybots");
        telemetry.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    fn build(covers: Vec<PayloadId>) -> Build {
        Build {
            farm: "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
                .parse()
                .unwrap(),
            slave: "maple".parse().unwrap(),
            report_key: crate::model::KeyId([1; 32]),
            builder: "foo-linux".parse().unwrap(),
            number: 1,
            issued: Timestamp(0),
            accept_by: Timestamp(0),
            finish_by: Timestamp(0),
            keyring: Position::default(),
            project: "foo".parse().unwrap(),
            sources: Vec::new(),
            covers,
            steps: Vec::new(),
            reason: crate::model::Text::tidy("a test"),
            requester: None,
            request: None,
            retry_of: None,
            attempt: 1,
            experiment: None,
        }
    }

    #[test]
    fn the_dispatch_latency_is_that_of_the_oldest_change_covered_and_a_change_not_seen_has_none() {
        let telemetry = Telemetry::new(|| Duration::ZERO);
        let id = |byte| PayloadId([byte; 32]);
        let at = |seconds| Timestamp(0).after(Duration::from_secs(seconds));
        telemetry.changed(id(1), at(10));
        telemetry.changed(id(2), at(14));
        telemetry.ordered(&build(vec![id(1), id(2)]), at(16));
        telemetry.ordered(&build(vec![id(3)]), at(17));
        let text = text(&telemetry);
        for line in [
            "pybots_dispatch_latency_seconds_sum 6.0",
            "pybots_dispatch_latency_seconds_count 1",
            "pybots_commands_published_total 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn only_the_newest_changes_are_remembered() {
        let telemetry = Telemetry::new(|| Duration::ZERO);
        for number in 0..=MAX_CHANGES as u64 {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            telemetry.changed(PayloadId(bytes), Timestamp(number));
        }
        telemetry.known(|known| {
            assert_eq!(known.changes.len(), MAX_CHANGES);
            assert!(!known.changes.contains_key(&PayloadId([0; 32])));
        });
    }

    #[test]
    fn a_master_is_well_once_it_leads_and_its_keys_are_in_force() {
        let telemetry = Telemetry::new(|| Duration::ZERO);
        assert_eq!(telemetry.troubles(), ["it neither leads nor stands by yet"]);
        assert_eq!(telemetry.doing(), None);
        telemetry.leads(7);
        assert!(telemetry.troubles().is_empty());
        assert_eq!(
            telemetry.doing().as_deref(),
            Some("leads with lease 7; in the queue: 0")
        );
        telemetry.turn(Some(&KeysFault::Expired {
            position: Position::default(),
            ago: Duration::from_secs(7200),
        }));
        assert_eq!(
            telemetry.troubles(),
            ["keyring 0.0 expired 2 hours ago and there is no newer one, so nothing is started"]
        );
    }
}
