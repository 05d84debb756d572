//! Which slaves are there, by their signs of life.
//!
//! Pure. Takes in what verified messages say and the time at which they came, and gives each event once. An event
//! changes nothing that the master orders: a command waits for its slave anyway, and a human has to look.

use std::collections::BTreeMap;
use std::time::Duration;

use super::telemetry::Slaves;
use crate::model::{BuildId, InstanceId, Instances, Presence, Report, SlaveName, Timestamp};

/// Something that the operator, or a slave's owner, has to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// Nothing came from a slave for too long.
    Silent {
        slave: SlaveName,
        /// When something came last; none if nothing ever did.
        heard: Option<Timestamp>,
    },
    /// A silent slave has spoken again.
    Back { slave: SlaveName, away: Duration },
    /// Two starts of one slave's process are alive.
    Cloned {
        slave: SlaveName,
        instances: [InstanceId; 2],
    },
}

impl Event {
    /// Tells whoever reads the log; `builds` are those in flight on the slave.
    pub(super) fn tell(&self, builds: &[BuildId]) {
        match self {
            Self::Silent { slave, heard } => {
                let since =
                    heard.map_or_else(|| "never heard".to_owned(), |heard| heard.to_string());
                let builds = listed(builds);
                tracing::warn!(
                    code = "E-SILENT", %slave, since, builds,
                    "a slave is silent: it was stopped, its machine sleeps, or it cannot reach the bus; its builds \
                     wait for it, and are lost when their time is up; its owner looks with pybots doctor"
                );
            }
            Self::Back { slave, away } => {
                let (away, builds) = (format!("{away:.0?}"), listed(builds));
                tracing::info!(%slave, away, builds, "a silent slave is back");
            }
            Self::Cloned { slave, instances } => {
                let [one, other] = instances;
                tracing::error!(
                    code = "E-CLONE", %slave, %one, %other,
                    "a slave runs twice with the same keys: its owner must stop one of the two; if the owner does not \
                     know the other, the keys were copied: revoke the slave, and let it join under new keys"
                );
            }
        }
    }

    /// Whom it is about.
    pub(super) fn slave(&self) -> &SlaveName {
        match self {
            Self::Silent { slave, .. } | Self::Back { slave, .. } | Self::Cloned { slave, .. } => {
                slave
            }
        }
    }
}

fn listed(builds: &[BuildId]) -> String {
    let names: Vec<String> = builds.iter().map(BuildId::to_string).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// What is known of one slave.
#[derive(Debug, Default)]
struct Known {
    /// When something came from it last, by the clock here.
    heard: Option<Timestamp>,
    /// The newest that it said, by its own clock: what is only repeated is no sign of life.
    issued: Timestamp,
    silent: bool,
    /// Until when its owner lets nothing start, as it said last.
    paused_until: Option<Timestamp>,
    instances: Instances,
    /// When two of it were heard last.
    cloned: Option<Timestamp>,
}

/// Watches which slaves are there.
#[derive(Debug)]
pub(super) struct Attendance {
    patience: Duration,
    /// Since when everything that slaves say has been heard; none while it is not.
    listening: Option<Timestamp>,
    looked: Timestamp,
    slaves: BTreeMap<SlaveName, Known>,
}

impl Attendance {
    /// A clone that goes on is told again only after so long without a sign of it.
    const CALM: Duration = Duration::from_secs(3600);

    /// Calls a slave silent from which nothing came for `patience`.
    pub(super) fn new(patience: Duration, now: Timestamp) -> Self {
        Self {
            patience,
            listening: None,
            looked: now,
            slaves: BTreeMap::new(),
        }
    }

    /// How often to look, so that a slave is found silent well before a third more of the patience has passed.
    pub(super) fn period(&self) -> Duration {
        self.patience / 9
    }

    /// From now on a slave is silent after another time.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// From now on everything is heard.
    pub(super) fn listen(&mut self, now: Timestamp) {
        self.listening = Some(now);
    }

    /// Nothing is heard any more, so silence means nothing.
    pub(super) fn stop_listening(&mut self) {
        self.listening = None;
    }

    /// The clock was set, or the machine slept: what was heard after `now` was heard now, and the patience begins anew.
    pub(super) fn clock_was_set(&mut self, now: Timestamp) {
        self.looked = now;
        if let Some(listening) = &mut self.listening {
            *listening = now;
        }
        for known in self.slaves.values_mut() {
            known.heard = known.heard.map(|heard| heard.min(now));
            known.issued = known.issued.min(now);
            known.cloned = known.cloned.map(|cloned| cloned.min(now));
        }
    }

    /// Which slaves are silent, and since when: at the latest since `now`, if nothing was ever heard.
    pub(super) fn silent(&self, now: Timestamp) -> BTreeMap<SlaveName, Timestamp> {
        let silent = self.slaves.iter().filter(|(_, known)| known.silent);
        silent
            .map(|(slave, known)| {
                let since = known.heard.or(self.listening).unwrap_or(now);
                (slave.clone(), since)
            })
            .collect()
    }

    /// Takes in a slave's regular sign of life.
    pub(super) fn presence(&mut self, said: &Presence, now: Timestamp) -> Vec<Event> {
        let issued = said.issued.min(now);
        let mut events: Vec<Event> = self.hear(&said.slave, issued, now).into_iter().collect();
        let known = self.slaves.entry(said.slave.clone()).or_default();
        if issued == known.issued {
            known.paused_until = said.paused_until;
        }
        if let Some(other) = known.instances.hear(said.instance, issued) {
            let told = known.cloned.replace(now);
            if told.is_none_or(|told| now.since(told) > Self::CALM) {
                events.push(Event::Cloned {
                    slave: said.slave.clone(),
                    instances: [said.instance, other],
                });
            }
        }
        events
    }

    /// Takes in a report, which is a sign of life too. Which start of the process is alive it does not tell: what an
    /// earlier one left is sent by the next.
    pub(super) fn report(&mut self, said: &Report, now: Timestamp) -> Option<Event> {
        self.hear(&said.slave, said.issued.min(now), now)
    }

    /// A clock far ahead must not make all that comes later look old, so `issued` is no later than `now`.
    fn hear(&mut self, slave: &SlaveName, issued: Timestamp, now: Timestamp) -> Option<Event> {
        let listening = self.listening;
        let known = self.slaves.entry(slave.clone()).or_default();
        if issued <= known.issued {
            return None;
        }
        known.issued = issued;
        let before = known.heard.replace(now).or(listening);
        std::mem::take(&mut known.silent).then(|| Event::Back {
            slave: slave.clone(),
            away: before.map_or(Duration::ZERO, |before| now.since(before)),
        })
    }

    /// Looks who of `expected` is there. Whoever slept does not know what was said meanwhile: if this is called much
    /// later than it should be, the patience begins anew.
    pub(super) fn look<'a>(
        &mut self,
        expected: impl Iterator<Item = &'a SlaveName>,
        now: Timestamp,
    ) -> Vec<Event> {
        let slept = now.since(self.looked) > self.patience / 3;
        self.looked = now;
        let Some(listening) = &mut self.listening else {
            return Vec::new();
        };
        if slept {
            *listening = now;
        }
        let mut events = Vec::new();
        for slave in expected {
            let known = self.slaves.entry(slave.clone()).or_default();
            let since = known.heard.max(Some(*listening));
            let silent = since.is_some_and(|since| now.since(since) >= self.patience);
            if silent && !std::mem::replace(&mut known.silent, true) {
                events.push(Event::Silent {
                    slave: slave.clone(),
                    heard: known.heard,
                });
            }
        }
        events
    }

    /// How many of `expected` are in which state.
    pub(super) fn count<'a>(
        &self,
        expected: impl Iterator<Item = &'a SlaveName>,
        now: Timestamp,
    ) -> Slaves {
        let mut slaves = Slaves::default();
        for slave in expected {
            match self.slaves.get(slave) {
                Some(known) if known.silent => slaves.silent += 1,
                Some(known) if known.paused_until.is_some_and(|until| now < until) => {
                    slaves.paused += 1;
                }
                // Of one that was not heard of yet, silence says something only when the patience is over.
                Some(Known { heard: Some(_), .. }) => slaves.present += 1,
                Some(_) | None => {}
            }
        }
        slaves
    }
}

#[cfg(test)]
mod tests;
