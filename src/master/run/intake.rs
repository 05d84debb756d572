//! What the streams bring, verified and handed on: to the scheduler, to the audit, and to what this master believes.

use super::{Input, RunError, Running};
use crate::bus::{Delivery, Sign, Stream};
use crate::master::audit::Alarm;
use crate::master::scheduler::Fact;
use crate::model::{
    Answer, BuilderName, Change, Command, Lead, Presence, Release, Report, Request, SlaveName,
    Verdict,
};
use crate::trust::{Learnt, Purpose, Verified, key_id};

impl Running<'_> {
    pub(super) fn take_input(&mut self, input: Input) {
        match input {
            Input::Message(stream, delivery) => self.take(stream, &delivery),
            Input::CaughtUp => {}
            Input::Heard(sign) => self.take_sign(&sign),
            Input::Lease(sign) => self.take_lease(&sign),
        }
    }

    pub(super) fn take(&mut self, stream: Stream, delivery: &Delivery) {
        self.positions.insert(stream.name(), delivery.sequence);
        match stream {
            Stream::Keyring => self.take_keyring(delivery),
            Stream::Roster => self.take_roster(delivery),
            Stream::Changes if subject_kind(delivery) == Some("release") => {
                self.take_release(delivery);
            }
            Stream::Changes => self.take_change(delivery),
            Stream::Commands => self.take_command(delivery),
            Stream::Results => self.take_report(delivery),
            Stream::Requests if subject_kind(delivery) == Some("answer") => {
                self.take_answer(delivery);
            }
            Stream::Requests => self.take_request(delivery),
            Stream::Head | Stream::Logs | Stream::Presence | Stream::Lease => {}
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
                self.master.telemetry.rejected(code);
                tracing::warn!(stream, sequence = delivery.sequence, code, %error, "keyring rejected");
            }
        }
    }

    fn take_roster(&mut self, delivery: &Delivery) {
        let before = self.reader.roster().map(|roster| roster.version);
        if let Err(error) = self.reader.learn_roster(&delivery.bytes) {
            let code = error.code();
            self.master.telemetry.rejected(code);
            tracing::warn!(sequence = delivery.sequence, code, %error, "roster rejected");
        }
        if self.role.leads() && self.reader.roster().map(|roster| roster.version) != before {
            self.announce_head();
            self.name_the_unserved();
        }
    }

    /// Says which builders nobody on the roster serves: nothing is ever built there.
    pub(super) fn name_the_unserved(&self) {
        for (name, builder) in &self.life.config.builders {
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
            Ok(change) => {
                let (id, seen) = (change.id(), change.body().seen);
                if let Some(fact) = Fact::changed(delivery.sequence, change) {
                    self.master.telemetry.changed(id, seen);
                    self.scheduler.apply(fact);
                }
            }
            Err(error) => self.reject(Stream::Changes, delivery, &error),
        }
    }

    fn take_release(&mut self, delivery: &Delivery) {
        match self
            .reader
            .open::<Release>(&delivery.bytes, Purpose::History)
        {
            Ok(release) => self.apply(Fact::released(delivery.sequence, release)),
            Err(error) => self.reject(Stream::Changes, delivery, &error),
        }
    }

    fn take_request(&mut self, delivery: &Delivery) {
        match self
            .reader
            .open::<Request>(&delivery.bytes, Purpose::History)
        {
            Ok(request) => self.scheduler.apply(Fact::requested(request)),
            Err(error) => self.reject(Stream::Requests, delivery, &error),
        }
    }

    fn take_answer(&mut self, delivery: &Delivery) {
        match self
            .reader
            .open::<Answer>(&delivery.bytes, Purpose::History)
        {
            Ok(answer) => self.apply(Fact::answered(delivery.sequence, answer)),
            Err(error) => self.reject(Stream::Requests, delivery, &error),
        }
    }

    pub(super) fn take_command(&mut self, delivery: &Delivery) {
        // Read ahead already, or by a try to order something.
        if delivery.sequence <= self.last_command {
            return;
        }
        self.last_command = delivery.sequence;
        if delivery.subject == self.herald.bus.subjects().lead() {
            match self.reader.open::<Lead>(&delivery.bytes, Purpose::History) {
                Ok(lead) => self.take_lead(&lead),
                Err(error) => self.reject(Stream::Commands, delivery, &error),
            }
            return;
        }
        match self
            .reader
            .open::<Command>(&delivery.bytes, Purpose::History)
        {
            Ok(command) => {
                let (id, signer) = (command.id(), command.signer());
                let alarm = self.audit.command(id, signer, command.body());
                alarm.iter().for_each(Alarm::tell);
                self.apply(Fact::commanded(command));
            }
            Err(error) => self.reject(Stream::Commands, delivery, &error),
        }
    }

    /// Tells the scheduler, if a message tells anything.
    fn apply(&mut self, fact: Option<Fact>) {
        if let Some(fact) = fact {
            self.scheduler.apply(fact);
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
                Err(error) => self.reject(Stream::Presence, delivery, &error),
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
                if self.role.leads() {
                    self.master.telemetry.reported(&report.body().body);
                }
                // What was said before this master followed is no sign of life now.
                if self.caught_up && self.is_of_today(&report, &report.body().slave) {
                    let now = (self.herald.clock)();
                    let event = self.attendance.report(report.body(), now);
                    self.tell(event.as_slice(), now);
                }
                let said = report.body();
                if !self.may_speak_of(&said.slave, &said.builder) {
                    return;
                }
                self.take_end(&said.slave, &said.builder, said.number, said.body.verdict());
                self.scheduler.apply(Fact::reported(report));
            }
            Err(error) => self.reject(Stream::Results, delivery, &error),
        }
    }

    /// Whether what `slave` says of `builder` matters. It could name any number of builders, others' among them. At the
    /// start it is not known yet what it was sent when it served others.
    fn may_speak_of(&self, slave: &SlaveName, builder: &BuilderName) -> bool {
        !self.caught_up || self.serves(slave, builder) || self.scheduler.was_given(slave, builder)
    }

    fn serves(&self, slave: &SlaveName, builder: &BuilderName) -> bool {
        let roster = self.reader.roster();
        roster.is_some_and(|roster| roster.serves(slave, builder))
    }

    /// Keeps the newest end of a builder's builds, if its own slave tells of it.
    fn take_end(
        &mut self,
        slave: &SlaveName,
        builder: &BuilderName,
        number: u64,
        verdict: Option<Verdict>,
    ) {
        let served = self.life.config.builders.get(builder);
        let ours = served.is_some_and(|builder| builder.slave == *slave);
        let Some(verdict) = verdict.filter(|_| ours) else {
            return;
        };
        let newest = self
            .ends
            .entry(builder.clone())
            .or_insert((number, verdict));
        // A real end after `lost` has the same number.
        if newest.0 <= number {
            *newest = (number, verdict);
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
                    let Presence {
                        slave, builders, ..
                    } = presence.into_body();
                    for (builder, number) in builders {
                        // Another's numbers are none of its business.
                        if self.serves(&slave, &builder) {
                            self.scheduler.apply(Fact::Numbered { builder, number });
                        }
                    }
                }
                Err(error) => self.reject(Stream::Presence, &delivery, &error),
            }
        }
        Ok(())
    }
}

/// Which kind of message a subject is for.
fn subject_kind(delivery: &Delivery) -> Option<&str> {
    delivery.subject.split('.').nth(2)
}
