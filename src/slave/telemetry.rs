//! What a slave counts of itself, for whoever watches its process. Nothing here decides anything.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::backlog::Backlog;
use crate::model::{Pulse, ReportBody, Timestamp, Uptime, Verdict};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfVerdict {
    verdict: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfCode {
    code: String,
}

/// A number that may have a fraction; not a number while nothing is known.
type Fraction = Gauge<f64, std::sync::atomic::AtomicU64>;

/// What the loop sees of itself at one turn.
#[derive(Clone, Debug)]
pub(super) struct Glance {
    /// Builds at work.
    pub(super) running: usize,
    /// Builds accepted that wait for their turn.
    pub(super) queued: usize,
    /// When the keyring in force was signed.
    pub(super) keyring: Timestamp,
    /// When the newest head was signed.
    pub(super) head: Option<Timestamp>,
    /// How old it may be.
    pub(super) max_head_age: Duration,
    /// Why nothing may be started on the word of any key.
    pub(super) keys_fault: Option<String>,
}

/// What a slave counts. Whether anybody asks for it or not: a few numbers in memory.
#[derive(Debug)]
pub struct Telemetry {
    pulse: Pulse,
    /// What was seen at the newest turn; none before the slave takes commands.
    seen: Mutex<Option<Glance>>,
    builds: Family<OfVerdict, Counter>,
    refusals: Family<OfCode, Counter>,
    verify_failures: Family<OfCode, Counter>,
    running: Gauge,
    queued: Gauge,
    unsent_reports: Gauge,
    unsent_log: Gauge,
    keyring_age: Fraction,
    head_age: Fraction,
}

impl Telemetry {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(uptime: Uptime) -> Self {
        let builds = Family::<OfVerdict, Counter>::default();
        // A counter that begins at 0 tells of its first step, too.
        for verdict in Verdict::ALL {
            let _ = builds.get_or_create(&OfVerdict {
                verdict: verdict.word(),
            });
        }
        Self {
            pulse: Pulse::new(uptime),
            seen: Mutex::default(),
            builds,
            refusals: Family::default(),
            verify_failures: Family::default(),
            running: Gauge::default(),
            queued: Gauge::default(),
            unsent_reports: Gauge::default(),
            unsent_log: Gauge::default(),
            keyring_age: Fraction::default(),
            head_age: Fraction::default(),
        }
    }

    /// Adds all that is counted to what is served.
    pub fn register(&self, registry: &mut Registry) {
        let ended = "Builds that this slave has ended or turned away";
        registry.register("builds", ended, self.builds.clone());
        let refused = "Commands refused, by the code in the report";
        registry.register("refusals", refused, self.refusals.clone());
        let rejected = "Messages rejected without an answer";
        registry.register("verify_failures", rejected, self.verify_failures.clone());
        registry.register("builds_running", "Builds at work", self.running.clone());
        let queued = "Builds accepted that wait for their turn";
        registry.register("builds_queued", queued, self.queued.clone());
        let unsent = "Reports that the bus has not taken";
        registry.register("unsent_reports", unsent, self.unsent_reports.clone());
        let unsent = "Output of scripts that the bus has not taken";
        let log = self.unsent_log.clone();
        registry.register_with_unit("unsent_log", unsent, Unit::Bytes, log);
        let age = "Time since the keyring in force was signed";
        let keyring = self.keyring_age.clone();
        registry.register_with_unit("keyring_age", age, Unit::Seconds, keyring);
        let age = "Time since the newest head was signed";
        registry.register_with_unit("head_age", age, Unit::Seconds, self.head_age.clone());
    }

    /// Sets what grows with time.
    pub fn refresh(&self, now: Timestamp) {
        let seen = self.seen();
        let age = |since: Option<Timestamp>| {
            since.map_or(f64::NAN, |since| now.since(since).as_secs_f64())
        };
        let keyring = seen.as_ref().map(|seen| seen.keyring);
        let head = seen.as_ref().and_then(|seen| seen.head);
        self.keyring_age.set(age(keyring));
        self.head_age.set(age(head));
    }

    /// Takes in what was found in the state folder.
    pub fn set_backlog(&self, backlog: &Backlog) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.unsent_reports.set(number(backlog.reports));
        self.unsent_log.set(number(backlog.log_bytes));
    }

    /// The loop's pulse.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// What the slave does, in a few words; none before it takes commands.
    #[must_use]
    pub fn doing(&self) -> Option<String> {
        let seen = self.seen()?;
        Some(format!(
            "takes commands; builds at work: {}, waiting: {}",
            seen.running, seen.queued
        ))
    }

    /// A sentence for each thing that keeps it from starting what it is sent.
    #[must_use]
    pub fn troubles(&self, now: Timestamp) -> Vec<String> {
        let Some(seen) = self.seen() else {
            return vec!["it does not take commands yet".to_owned()];
        };
        let mut troubles: Vec<String> = seen.keys_fault.into_iter().collect();
        match seen.head.map(|head| now.since(head)) {
            None => troubles.push("no head was heard yet, so nothing is started".to_owned()),
            Some(age) if age > seen.max_head_age => troubles.push(format!(
                "the newest head is {} s old and may be {} s, so nothing is started",
                age.as_secs(),
                seen.max_head_age.as_secs()
            )),
            Some(_) => {}
        }
        troubles
    }

    /// The loop turns.
    pub(super) fn turn(&self, glance: Glance) {
        self.pulse.beat();
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.running.set(number(glance.running));
        self.queued.set(number(glance.queued));
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(glance);
    }

    /// A report was put on record.
    pub(super) fn said(&self, body: &ReportBody) {
        if let Some(verdict) = body.verdict() {
            let verdict = verdict.word();
            self.builds.get_or_create(&OfVerdict { verdict }).inc();
        }
        // Our own codes, so there are few of them.
        if let ReportBody::Refused { code, .. } = body {
            let code = code.to_string();
            self.refusals.get_or_create(&OfCode { code }).inc();
        }
    }

    /// A message was rejected.
    pub(super) fn rejected(&self, code: &str) {
        let code = code.to_owned();
        self.verify_failures.get_or_create(&OfCode { code }).inc();
    }

    fn seen(&self) -> Option<Glance> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Text;

    const HOUR: Duration = Duration::from_secs(3600);

    fn glance() -> Glance {
        Glance {
            running: 1,
            queued: 2,
            keyring: Timestamp(0),
            head: Some(Timestamp(0)),
            max_head_age: HOUR,
            keys_fault: None,
        }
    }

    fn text(telemetry: &Telemetry) -> String {
        let mut registry = Registry::with_prefix("pybots");
        telemetry.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn ends_and_refusals_are_counted_and_what_goes_on_is_not() {
        let telemetry = Telemetry::new(|| Duration::ZERO);
        let refused = ReportBody::Refused {
            code: Text::tidy("E-SCRIPT"),
            detail: Text::tidy("changed"),
        };
        telemetry.said(&refused);
        telemetry.said(&ReportBody::Accepted {
            received: Timestamp(0),
        });
        let text = text(&telemetry);
        for line in [
            "pybots_builds_total{verdict=\"refused\"} 1",
            "pybots_builds_total{verdict=\"passed\"} 0",
            "pybots_refusals_total{code=\"E-SCRIPT\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn each_thing_that_keeps_a_slave_from_starting_builds_is_a_sentence() {
        let telemetry = Telemetry::new(|| Duration::ZERO);
        let at = |time| Timestamp(0).after(time);
        assert_eq!(telemetry.troubles(at(HOUR)).len(), 1, "has not begun");
        assert_eq!(telemetry.doing(), None);
        telemetry.turn(glance());
        assert!(telemetry.troubles(at(HOUR)).is_empty());
        assert!(telemetry.doing().is_some());
        let late = telemetry.troubles(at(HOUR * 2));
        assert_eq!(
            late,
            ["the newest head is 7200 s old and may be 3600 s, so nothing is started"]
        );
        telemetry.turn(Glance {
            head: None,
            keys_fault: Some("the keyring has expired".to_owned()),
            ..glance()
        });
        assert_eq!(telemetry.troubles(at(HOUR)).len(), 2);
    }
}
