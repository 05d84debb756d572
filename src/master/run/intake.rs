//! What the streams bring, verified and handed on: to the scheduler, to the audit, and to what this master believes.

use std::sync::Arc;

use super::{Input, Leading, RunError};
use crate::bus::{Delivery, Sign, Stream};
use crate::master::audit::Alarm;
use crate::master::scheduler::Fact;
use crate::model::{Build, Change, Command, Lead, Presence, Report, SlaveName};
use crate::trust::{Learnt, OpenError, Purpose, Standing, Verified, key_id};

impl Leading {
    pub(super) fn take_input(&mut self, input: Input) {
        match input {
            Input::Message(stream, delivery) => self.take(stream, &delivery),
            Input::CaughtUp => {}
            Input::Heard(sign) => self.take_sign(&sign),
        }
    }

    pub(super) fn take(&mut self, stream: Stream, delivery: &Delivery) {
        match stream {
            Stream::Keyring => self.take_keyring(delivery),
            Stream::Roster => self.take_roster(delivery),
            Stream::Changes => self.take_change(delivery),
            Stream::Commands => self.take_command(delivery),
            Stream::Results => self.take_report(delivery),
            Stream::Head | Stream::Logs | Stream::Presence | Stream::Requests | Stream::Lease => {}
        }
    }

    fn take_keyring(&mut self, delivery: &Delivery) {
        match self.reader.learn_keyring(&delivery.bytes) {
            Ok(Learnt::Newer) => {
                tracing::info!(keyring = %self.reader.keyring().position, "keyring accepted");
                self.newer_keyring = true;
            }
            Ok(Learnt::Nothing) => {}
            Ok(Learnt::Forked) => {
                if let Some(fork) = self.reader.chain().fork() {
                    let [held, other] = fork.ids.map(|id| id.short());
                    tracing::error!(
                        code = "E-FORK", keyring = %fork.position, held, other,
                        "two keyrings contradict each other: somebody else holds a master key; nothing is ordered until a succession (pybots keys rotate --master)"
                    );
                }
            }
            Err(error) => {
                let (stream, code) = (Stream::Keyring.name(), error.code());
                tracing::warn!(stream, sequence = delivery.sequence, code, %error, "keyring rejected");
                self.telemetry.rejected(code);
            }
        }
    }

    fn take_roster(&mut self, delivery: &Delivery) {
        let before = self.reader.roster().map(|roster| roster.version);
        if let Err(error) = self.reader.learn_roster(&delivery.bytes) {
            tracing::warn!(sequence = delivery.sequence, code = error.code(), %error, "roster rejected");
            self.telemetry.rejected(error.code());
        }
        if self.audit.leads() && self.reader.roster().map(|roster| roster.version) != before {
            self.announce_head();
            self.name_the_unserved();
        }
    }

    /// Says which builders nobody on the roster serves: nothing is ever built there.
    pub(super) fn name_the_unserved(&self) {
        for (name, builder) in &self.config.builders {
            let line = self
                .reader
                .roster()
                .and_then(|roster| roster.line(&builder.slave));
            if !line.is_some_and(|line| line.builders.contains(name)) {
                tracing::warn!(builder = %name, slave = %builder.slave, "builder not served: approve its slave for it");
            }
        }
    }

    fn take_change(&mut self, delivery: &Delivery) {
        match self
            .reader
            .open::<Change>(&delivery.bytes, Purpose::History)
        {
            // A thief's word on what is newest decides nothing.
            Ok(change) if change.standing() == Standing::Unproven => {}
            Ok(change) => {
                let id = change.id();
                let change = Box::new(change.into_body());
                self.telemetry.changed(id, change.seen);
                self.scheduler.apply(Fact::Changed {
                    sequence: delivery.sequence,
                    id,
                    change,
                });
            }
            Err(error) => self.rejected(Stream::Changes, delivery, &error),
        }
    }

    fn take_command(&mut self, delivery: &Delivery) {
        self.last_command = self.last_command.max(delivery.sequence);
        if delivery.subject == self.herald.bus.subjects().lead() {
            match self.reader.open::<Lead>(&delivery.bytes, Purpose::History) {
                // Neither a stolen key's lease nor one that would use up all numbers decides who leads.
                Ok(lead)
                    if lead.standing() == Standing::Unproven
                        || lead.body().lease.saturating_sub(self.lease) > Build::MAX_JUMP => {}
                Ok(lead) => self.lease = self.lease.max(lead.body().lease),
                Err(error) => self.rejected(Stream::Commands, delivery, &error),
            }
            return;
        }
        match self
            .reader
            .open::<Command>(&delivery.bytes, Purpose::History)
        {
            Ok(command) => {
                let (id, signer, standing) = (command.id(), command.signer(), command.standing());
                let alarm = self.audit.command(id, signer, command.body());
                alarm.iter().for_each(Alarm::tell);
                if let Command::Build(build) = command.into_body() {
                    self.scheduler.apply(Fact::Ordered {
                        id,
                        build: Box::new(build),
                        standing,
                    });
                }
            }
            Err(error) => self.rejected(Stream::Commands, delivery, &error),
        }
    }

    /// Takes in what is heard of the slaves that are alive.
    pub(super) fn take_sign(&mut self, sign: &Sign) {
        let now = (self.herald.clock)();
        match sign {
            Sign::Listening => self.attendance.listen(now),
            Sign::Deaf => self.attendance.stop_listening(),
            Sign::Message(delivery) => match self
                .reader
                .open::<Presence>(&delivery.bytes, Purpose::History)
            {
                Ok(said) if self.is_of_today(&said, &said.body().slave) => {
                    let events = self.attendance.presence(said.body(), now);
                    self.tell(&events, now);
                }
                // A key that the slave had before.
                Ok(_) => {}
                Err(error) => self.rejected(Stream::Presence, delivery, &error),
            },
        }
    }

    /// Whether it is signed by the key that the roster gives to `slave` now.
    fn is_of_today<T>(&self, said: &Verified<T>, slave: &SlaveName) -> bool {
        let line = self.reader.roster().and_then(|roster| roster.line(slave));
        line.is_some_and(|line| key_id(&line.report_key) == said.signer())
    }

    fn take_report(&mut self, delivery: &Delivery) {
        // A slave reports on what it was sent, and it was sent nothing before the roster named it: every roster that
        // matters has been taken in.
        match self
            .reader
            .open::<Report>(&delivery.bytes, Purpose::History)
        {
            Ok(report) => {
                let (id, signer) = (report.id(), report.signer());
                let alarms = self.audit.report(id, signer, report.body());
                alarms.iter().for_each(Alarm::tell);
                // What was said before this master led is no sign of life now.
                if self.audit.leads() {
                    self.telemetry.reported(&report.body().body);
                }
                if self.audit.leads() && self.is_of_today(&report, &report.body().slave) {
                    let now = (self.herald.clock)();
                    let event = self.attendance.report(report.body(), now);
                    self.tell(event.as_slice(), now);
                }
                let Report {
                    command,
                    slave,
                    builder,
                    body,
                    issued,
                    ..
                } = report.into_body();
                self.scheduler.apply(Fact::Reported {
                    report: id,
                    command,
                    slave,
                    builder,
                    body: Box::new(body),
                    issued,
                });
            }
            Err(error) => self.rejected(Stream::Results, delivery, &error),
        }
    }

    /// Reads COMMANDS as far as it goes, if a report names a command that the follower has not brought yet.
    pub(super) async fn settle_audit(&mut self) {
        if !self.audit.is_waiting() {
            return;
        }
        let (herald, from) = (Arc::clone(&self.herald), self.last_command + 1);
        match herald.bus.read_all(Stream::Commands, ">", from).await {
            Ok(held) => {
                for held in held {
                    self.take_command(&held);
                }
                self.audit.settle().iter().for_each(Alarm::tell);
            }
            Err(error) => tracing::warn!(%error, "command stream not readable now"),
        }
    }

    /// Takes in the build numbers that slaves have seen: greater than any command's only if the bus lost its store.
    pub(super) async fn learn_numbers(&mut self) -> Result<(), RunError> {
        for delivery in self.herald.bus.read_all(Stream::Presence, ">", 1).await? {
            match self
                .reader
                .open::<Presence>(&delivery.bytes, Purpose::History)
            {
                Ok(presence) => {
                    for (builder, number) in presence.into_body().builders {
                        self.scheduler.apply(Fact::Numbered { builder, number });
                    }
                }
                Err(error) => self.rejected(Stream::Presence, &delivery, &error),
            }
        }
        Ok(())
    }

    fn rejected(&self, stream: Stream, delivery: &Delivery, error: &OpenError) {
        let (stream, code) = (stream.name(), error.code());
        tracing::warn!(stream, sequence = delivery.sequence, code, %error, "message rejected");
        self.telemetry.rejected(code);
    }
}
