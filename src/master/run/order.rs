//! From what the scheduler decides to what stands in COMMANDS.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::lead::Role;
use super::{Done, Errand, Running};
use crate::bus::{BusError, Delivery, Stream};
use crate::master::audit::Alarm;
use crate::master::dispatch::{Order, Outcome, dispatch, pause};
use crate::master::scheduler::{Circumstances, Effect, Fact};
use crate::model::{Command, PayloadId, Position, Roster, SlaveName, Timestamp};
use crate::trust::Standing;

/// Most orders that are under way at once.
const MOST_ORDERS: usize = 256;

/// Something that is under way to COMMANDS.
enum Sent {
    /// That this master leads by another configuration.
    Lead,
    Order(PayloadId, Box<Command>),
}

/// What is under way to COMMANDS.
#[derive(Default)]
pub(super) struct Orders {
    under_way: Vec<Sent>,
    /// Behind which sequence.
    behind: u64,
    errand: Option<AbortHandle>,
    /// Faults in a row.
    faults: u32,
    told: bool,
    /// Whether it is still to be said that this master leads by another configuration.
    pub(super) lead_again: bool,
}

impl Orders {
    pub(super) fn faults(&self) -> u32 {
        self.faults
    }

    /// Forgets what is under way: nobody decides by it any more.
    pub(super) fn drop_all(&mut self) {
        self.lead_again = false;
        self.under_way.clear();
        if let Some(errand) = self.errand.take() {
            errand.abort();
        }
    }

    /// Says once that something cannot be published, and once that it can again.
    pub(super) fn tell_fault(&mut self, fault: Option<&BusError>, what: &str) {
        match fault {
            None => {
                self.faults = 0;
                if std::mem::take(&mut self.told) {
                    tracing::info!("commands are published again");
                }
            }
            Some(fault) => {
                self.faults = self.faults.saturating_add(1);
                let told =
                    matches!(fault, BusError::Overtaken) || std::mem::replace(&mut self.told, true);
                if !told {
                    fault.tell_of_publish(what);
                }
            }
        }
    }
}

impl Running<'_> {
    /// Sends whatever is to be sent now. Returns when to decide again at the latest.
    pub(super) fn act(&mut self) -> Option<Timestamp> {
        let Role::Leads(leadership) = &self.role else {
            return None;
        };
        let lease = leadership.lead.lease;
        let now = (self.herald.clock)();
        // What is under way may change everything. And while the keys are in doubt no slave would start anything.
        if self.orders.errand.is_some()
            || self.clock_watch.is_doubted()
            || self.reader.keys_fault(now).is_some()
        {
            return None;
        }
        let mut commands = Vec::new();
        let mut wake = None;
        for effect in self.decide(now) {
            match effect {
                Effect::Send(build) => commands.push(Command::Build(*build)),
                Effect::Cancel(cancel) => commands.push(Command::Cancel(*cancel)),
                Effect::Answer(answer) => self.say_answer(*answer),
                Effect::Announce(release) => self.say_release(*release),
                Effect::WakeAt(time) => wake = Some(time),
            }
        }
        commands.truncate(MOST_ORDERS);
        if commands.is_empty() && !self.orders.lead_again {
            return wake;
        }
        self.send(lease, commands);
        None
    }

    fn decide(&self, now: Timestamp) -> Vec<Effect> {
        self.with_circumstances(now, |circumstances| {
            self.scheduler.decide(circumstances, now)
        })
    }

    /// Hands on what holds at this moment.
    pub(super) fn with_circumstances<T>(
        &self,
        now: Timestamp,
        ask: impl FnOnce(&Circumstances<'_>) -> T,
    ) -> T {
        let nobody = Roster {
            farm: self.herald.farm,
            version: 0,
            keyring: Position::default(),
            issued: Timestamp(0),
            lines: Vec::new(),
        };
        let silent: BTreeMap<SlaveName, Timestamp> = self.attendance.silent(now);
        ask(&Circumstances {
            farm: self.herald.farm,
            keyring: self.reader.keyring().position,
            roster: self.reader.roster().unwrap_or(&nobody),
            config: &self.life.config,
            silent: &silent,
        })
    }

    fn send(&mut self, lease: u64, commands: Vec<Command>) {
        let mut messages = Vec::new();
        if self.orders.lead_again {
            messages.push(self.lead_message(&self.lead_with(lease)));
            self.orders.under_way.push(Sent::Lead);
        }
        let herald = &self.herald;
        let subjects = herald.bus.subjects();
        for command in commands {
            let order = Order::new(&herald.key, &herald.farm, subjects, command);
            // Whatever becomes of it: it was ours.
            self.audit.order(order.id);
            self.orders
                .under_way
                .push(Sent::Order(order.id, Box::new(order.command)));
            messages.push((order.subject, order.bytes));
        }
        let (bus, last) = (herald.bus.clone(), self.last_command);
        let pause = pause(self.orders.faults);
        self.orders.behind = last;
        let errand = self
            .errands
            .spawn(async move { Done::Ordered(lease, dispatch(bus, last, messages, pause).await) });
        self.orders.errand = Some(errand);
    }

    pub(super) fn end_orders(&mut self, lease: u64, outcome: Outcome) {
        if !matches!(&self.role, Role::Leads(leadership) if leadership.lead.lease == lease) {
            return;
        }
        self.orders.errand = None;
        let under_way = std::mem::take(&mut self.orders.under_way);
        let Outcome { fault, held } = outcome;
        self.orders.tell_fault(fault.as_ref(), "a command");
        if fault.is_none() {
            for (sequence, sent) in (self.orders.behind + 1..).zip(under_way) {
                // The follower may have brought it already.
                self.last_command = self.last_command.max(sequence);
                match sent {
                    Sent::Lead => self.orders.lead_again = false,
                    Sent::Order(id, command) => self.order_is_stored(id, *command),
                }
            }
            return;
        }
        // What of ours was stored is among it; the rest is decided again.
        for delivery in &held {
            self.take_command(delivery);
        }
    }

    /// An order of this master stands in COMMANDS.
    fn order_is_stored(&mut self, id: PayloadId, command: Command) {
        match command {
            Command::Build(build) => {
                tracing::info!(build = %build.id(), command = %id.short(), "build ordered");
                let now = (self.herald.clock)();
                self.master.telemetry.ordered(&build, now);
                self.scheduler.apply(Fact::Ordered {
                    id,
                    build: Box::new(build),
                    standing: Standing::Good,
                });
            }
            Command::Cancel(cancel) => {
                let target = cancel.target;
                tracing::info!(builder = %cancel.builder, command = %target.short(), "build called off");
                self.scheduler.apply(Fact::Cancelled {
                    target,
                    builder: cancel.builder,
                    request: cancel.request,
                });
            }
        }
    }

    /// Reads COMMANDS as far as it goes, if a report names a command that the follower has not brought yet.
    pub(super) fn settle_audit(&mut self) {
        if !self.audit.is_waiting()
            || !self.herald.bus.is_connected()
            || !self.under_way.insert(Errand::Settle)
        {
            return;
        }
        let (bus, from) = (self.herald.bus.clone(), self.last_command + 1);
        self.audit.begin_to_settle();
        self.errands.spawn(async move {
            let held = bus.read_all(Stream::Commands, ">", from).await;
            if held.is_err() {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Done::Settled(held)
        });
    }

    pub(super) fn end_settling(&mut self, held: Result<Vec<Delivery>, BusError>) {
        self.under_way.remove(&Errand::Settle);
        match held {
            Ok(held) => {
                for held in &held {
                    self.take_command(held);
                }
                self.audit.settle().iter().for_each(Alarm::tell);
            }
            Err(error) => tracing::debug!(%error, "command stream not readable now"),
        }
    }
}
