//! The lead: taking it where nobody else has it, keeping it, and giving it up.
//!
//! What counts is COMMANDS alone: whoever stored a `lead` with the greatest lease leads. A master that finds a greater one
//! than its own stands by from then on, and may lead again later.

use std::collections::BTreeSet;
use std::time::Duration;

use super::clock::Judgement;
use super::{Done, Running};
use crate::bus::{BusError, Sign, Stream, TimeSource};
use crate::master::dispatch::{Outcome, dispatch, pause};
use crate::master::lease::SignsOfLife;
use crate::master::watchers::Watchers;
use crate::model::{Build, Lead, Lease, RepositoryName, Timestamp};
use crate::trust::{Purpose, Standing, Verified, seal};

/// How long a master that stops waits for the bus to hear of it.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a master does.
pub(super) enum Role {
    /// Nothing: another one leads, or nobody can.
    StandsBy,
    /// It tries to take the lead with this.
    Claims(Lead),
    /// It leads.
    Leads(Box<Leadership>),
}

/// What a master has while it leads.
pub(super) struct Leadership {
    pub(super) lead: Lead,
    signs: SignsOfLife,
    /// When the last sign of life was given.
    signed: Option<Duration>,
    pub(super) watchers: Watchers,
}

impl Role {
    pub(super) fn leads(&self) -> bool {
        matches!(self, Self::Leads(_))
    }

    /// Looks at repositories of which somebody said that they may have changed.
    pub(super) fn hint(&self, repositories: &BTreeSet<RepositoryName>) {
        if let Self::Leads(leadership) = self {
            for repository in repositories {
                leadership.watchers.hint(repository);
            }
        }
    }

    /// Waits until a watcher has ended that never should. Cancel-safe.
    pub(super) async fn watchers_ended(&mut self) {
        match self {
            Self::Leads(leadership) => leadership.watchers.ended().await,
            Self::StandsBy | Self::Claims(_) => std::future::pending().await,
        }
    }
}

impl Running<'_> {
    /// Gives a sign of life, or looks whether somebody else does.
    pub(super) fn keep_vigil(&mut self) {
        self.watch_clock();
        let uptime = (self.master.uptime)();
        match &self.role {
            Role::Leads(leadership) => {
                let period = self.life.config.lease / 3;
                if leadership
                    .signed
                    .is_none_or(|signed| uptime.saturating_sub(signed) >= period)
                {
                    self.give_sign();
                }
            }
            Role::Claims(_) => {}
            Role::StandsBy => {
                // What was said before this moment counts.
                self.take_what_is_there();
                let nobody = self.vigil.nobody_leads(uptime);
                if nobody && self.herald.bus.is_connected() && !self.clock_watch.is_doubted() {
                    self.claim();
                } else if let Some(leader) = self.vigil.leader()
                    && !std::mem::replace(&mut self.told_standing_by, true)
                {
                    tracing::info!(%leader, "master stands by");
                    self.master.telemetry.stands_by();
                }
            }
        }
    }

    fn claim(&mut self) {
        let lead = self.lead_with(self.vigil.next_lease(self.lease));
        let message = self.lead_message(&lead);
        self.role = Role::Claims(lead);
        let (bus, last) = (self.herald.bus.clone(), self.last_command);
        let pause = pause(self.orders.faults());
        self.errands
            .spawn(async move { Done::Claimed(dispatch(bus, last, vec![message], pause).await) });
    }

    /// A `lead` by what is configured now.
    pub(super) fn lead_with(&self, lease: u64) -> Lead {
        Lead {
            farm: self.herald.farm,
            lease,
            instance: self.master.instance,
            config: self.life.digest,
            issued: (self.herald.clock)(),
        }
    }

    pub(super) fn lead_message(&self, lead: &Lead) -> (String, Vec<u8>) {
        let sealed = seal(&self.herald.key, &self.herald.farm, lead);
        (self.herald.bus.subjects().lead(), sealed.bytes)
    }

    pub(super) fn end_claim(&mut self, outcome: Outcome) {
        let Outcome { fault, held } = outcome;
        self.orders.tell_fault(fault.as_ref(), "the claim to lead");
        if fault.is_none() {
            if let Role::Claims(lead) = &self.role {
                let lead = lead.clone();
                self.last_command += 1;
                self.lead(lead);
            }
            return;
        }
        // Our own claim may be among it: an earlier try whose answer was lost.
        for delivery in &held {
            self.take_command(delivery);
        }
        if matches!(self.role, Role::Claims(_)) {
            self.role = Role::StandsBy;
        }
    }

    fn lead(&mut self, lead: Lead) {
        tracing::info!(lease = lead.lease, farm = %lead.farm, "master leads");
        self.master.telemetry.leads(lead.lease);
        self.lease = self.lease.max(lead.lease);
        self.since = (self.herald.clock)();
        let mut watchers = Watchers::new(
            self.herald.clone(),
            self.master.git.clone(),
            self.life.place.folder().to_owned(),
        );
        watchers.follow(&self.life.config, &self.scheduler);
        self.role = Role::Leads(Box::new(Leadership {
            lead,
            signs: SignsOfLife::new(),
            signed: None,
            watchers,
        }));
        self.audit.lead();
        self.give_sign();
        self.announce_head();
        self.name_the_unserved();
    }

    /// Somebody took the lead; it may have been us.
    pub(super) fn take_lead(&mut self, said: &Verified<Lead>) {
        let lead = said.body();
        // Neither a stolen key's lease nor one that would use up all numbers decides who leads.
        if said.standing() == Standing::Unproven {
            if self.caught_up {
                tracing::warn!(signer = %said.signer(), "a stolen key claims the lead");
            }
            return;
        }
        if lead.lease.saturating_sub(self.lease) > Build::MAX_JUMP {
            return;
        }
        self.lease = self.lease.max(lead.lease);
        let ours = lead.instance == self.master.instance;
        match &self.role {
            Role::Claims(claimed) if ours && claimed.lease == lead.lease => {
                self.lead(lead.clone());
            }
            Role::Leads(leadership) if !ours && lead.lease >= leadership.lead.lease => {
                tracing::warn!(
                    lease = lead.lease, instance = %lead.instance,
                    "another master took the lead; this one stands by"
                );
                self.stand_by();
            }
            Role::Claims(_) if !ours => self.stand_by(),
            Role::StandsBy | Role::Claims(_) | Role::Leads(_) => {}
        }
        // One of long ago is no sign of life.
        if self.caught_up && !ours {
            let (lasts, uptime) = (self.life.config.lease, (self.master.uptime)());
            self.vigil.taken(lead.lease, lead.instance, lasts, uptime);
        }
    }

    fn stand_by(&mut self) {
        self.told_standing_by = false;
        self.role = Role::StandsBy;
        self.master.telemetry.stands_by();
        self.since = (self.herald.clock)();
        self.orders.drop_all();
        self.audit.stand_by();
        if let Some(announcing) = self.announcing.take() {
            announcing.abort();
        }
    }

    /// Takes in what is heard of masters that lead.
    pub(super) fn take_lease(&mut self, sign: &Sign) {
        let uptime = (self.master.uptime)();
        match sign {
            Sign::Listening => self.vigil.listen(uptime),
            Sign::Deaf => self.vigil.stop_listening(),
            Sign::Message(delivery) => {
                match self.reader.open::<Lease>(&delivery.bytes, Purpose::History) {
                    Ok(said) if said.standing() == Standing::Unproven => {}
                    Ok(said) => self.vigil.hear(said.body(), self.lease, uptime),
                    Err(error) => self.reject(Stream::Lease, delivery, &error),
                }
            }
        }
    }

    /// Says that this master is alive and leads. What cannot be sent now is said again soon.
    fn give_sign(&mut self) {
        let Some((subject, bytes)) = self.sign(self.life.config.lease) else {
            return;
        };
        let bus = self.herald.bus.clone();
        if !bus.is_connected() {
            return;
        }
        self.errands.spawn(async move {
            if let Err(error) = bus.publish_unconfirmed(subject, bytes).await {
                tracing::debug!(%error, "sign of life not given");
            }
            Done::Nothing
        });
    }

    fn sign(&mut self, lasts: Duration) -> Option<(String, Vec<u8>)> {
        let now = (self.herald.clock)();
        let Role::Leads(leadership) = &mut self.role else {
            return None;
        };
        leadership.signed = Some((self.master.uptime)());
        let lease = Lease {
            farm: self.herald.farm,
            lease: leadership.lead.lease,
            instance: self.master.instance,
            issued: leadership.signs.issue(now),
            lasts,
        };
        let sealed = seal(&self.herald.key, &self.herald.farm, &lease);
        Some((self.herald.bus.subjects().lease(), sealed.bytes))
    }

    /// Gives up the lead, if this master has it, so that another one takes it at once.
    pub(super) async fn resign(&mut self) {
        let Some((subject, bytes)) = self.sign(Duration::ZERO) else {
            return;
        };
        self.stand_by();
        let bus = self.herald.bus.clone();
        if !bus.is_connected() {
            return;
        }
        // Behind whatever was ordered before.
        let farewell = async {
            bus.publish_unconfirmed(subject, bytes).await?;
            bus.flush().await
        };
        match tokio::time::timeout(FAREWELL, farewell).await {
            Ok(Ok(())) => tracing::info!("master gave up the lead"),
            Ok(Err(error)) => tracing::warn!(%error, "another master takes the lead later"),
            Err(_) => tracing::warn!("another master takes the lead later: the bus is slow"),
        }
    }

    /// Notices a clock that jumps. By one that is wrong nothing is decided.
    fn watch_clock(&mut self) {
        let now = (self.herald.clock)();
        let before = self.clock_watch.is_doubted();
        let Some(seconds) = self.clock_watch.look(now, (self.master.uptime)()) else {
            return;
        };
        self.attendance.clock_was_set(now);
        if !before {
            tracing::error!(
                code = "E-CLOCK",
                seconds,
                "the clock of this machine jumped, or the machine slept; nothing is ordered until it agrees with the clock \
                 of the bus"
            );
            self.ask_the_time();
        }
    }

    /// Asks the server for its time, however long that takes.
    pub(super) fn ask_the_time(&mut self) {
        let bus = self.herald.bus.clone();
        self.errands.spawn(async move {
            loop {
                match bus.server_time(TimeSource::Stream(Stream::Commands)).await {
                    Ok(Some(time)) => return Done::Time(time),
                    // A server that is not ready yet. Whoever never learnt the time would order nothing for ever.
                    Ok(None) => tracing::debug!("the bus does not tell its time now"),
                    Err(error) => tracing::debug!(%error, "time of the bus not known now"),
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }

    pub(super) fn judge_clock(&mut self, server: Timestamp) {
        let now = (self.herald.clock)();
        match self.clock_watch.judge(now, server) {
            Judgement::AsBefore => {}
            Judgement::Right => {
                tracing::info!("the clock of this machine agrees with that of the bus; going on");
            }
            Judgement::Wrong => {
                // Another master may have a better one.
                if let Some((subject, bytes)) = self.sign(Duration::ZERO) {
                    tracing::error!(
                        code = "E-CLOCK", here = %now, bus = %server,
                        "this master gives up the lead, as its clock is wrong; set it right"
                    );
                    self.stand_by();
                    let bus = self.herald.bus.clone();
                    self.errands.spawn(async move {
                        let _: Result<(), BusError> = bus.publish_unconfirmed(subject, bytes).await;
                        Done::Nothing
                    });
                }
                let bus = self.herald.bus.clone();
                self.errands.spawn(async move {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    let time = bus.server_time(TimeSource::Stream(Stream::Commands)).await;
                    // Who cannot tell it now is asked again.
                    Done::Time(time.ok().flatten().unwrap_or(server))
                });
            }
        }
    }
}
