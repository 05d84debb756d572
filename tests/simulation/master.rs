//! Masters: the real scheduler, and a small model of the loop around it. Each follows the streams with a delay of its own,
//! leads while it hears of nobody else, and knows nothing that it was not told.

mod leader;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use super::bus::{Author, Message, Said, Stream};
use super::farm::FARM;
use super::ledger::Ledger;
use super::run::{Event, World};
use super::sabotage::Sabotage;
use crate::master::{Circumstances, Effect, Fact, Scheduler, Waiting};
use crate::model::{
    Build, Change, Command, Digest, Head, InstanceId, Lead, PayloadId, RepositoryName, Revision,
    SlaveName, Timestamp,
};
use crate::trust::{Purpose, Reader, Spoken, Standing};

pub(super) const LEASE: Duration = Duration::from_secs(60);
/// How long an answer of the bus is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(45);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    Claims(u64),
    Leads(u64),
}

/// What is under way to COMMANDS.
pub(super) struct UnderWay {
    number: u64,
    behind: usize,
    messages: Vec<Rc<Message>>,
    since: Timestamp,
}

#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each can be so whatever the others are"
)]
pub(super) struct Master {
    number: usize,
    pub(super) is_up: bool,
    pub(super) is_frozen: bool,
    /// It has just woken, and acts on what it knew.
    just_woke: bool,
    pub(super) incarnation: u32,
    pub(super) ahead: i64,
    keyring: usize,
    pub(super) scheduler: Scheduler,
    pub(super) ledger: Ledger,
    /// How far each stream was taken in.
    pub(super) positions: [usize; 4],
    /// What of REQUESTS is known beyond that, because it was this master's own.
    pub(super) known_beyond: BTreeSet<usize>,
    lease: u64,
    /// None while it stands by.
    pub(super) role: Option<Role>,
    heard: Timestamp,
    signed: Timestamp,
    under_way: Option<UnderWay>,
    tries: u64,
    is_settling: bool,
    saying: BTreeSet<PayloadId>,
    noting: BTreeMap<(RepositoryName, Revision), Timestamp>,
    announced: Timestamp,
    polled: Timestamp,
    has_news: bool,
    decided: Timestamp,
    wake: Option<Timestamp>,
}

impl Master {
    pub(super) fn new(number: usize, ahead: i64) -> Self {
        Self {
            number,
            ahead,
            ..Self::default()
        }
    }

    fn start(&mut self, now: Timestamp) {
        *self = Self {
            number: self.number,
            ahead: self.ahead,
            incarnation: self.incarnation + 1,
            is_up: true,
            // Nobody is heard yet.
            heard: now,
            // The key files are on its disk.
            keyring: self.keyring,
            ..Self::default()
        };
    }

    /// Folds everything again, with the keys that count now.
    fn begin_anew(&mut self, now: Timestamp) {
        self.start(now);
        self.keyring = 1;
    }

    pub(super) fn reader(&self) -> &'static Reader {
        &FARM.readers[self.keyring]
    }

    /// Masters have one key each, until one of the two is stolen.
    fn signs_with(&self) -> crate::model::KeyId {
        FARM.signing[if self.keyring == 1 {
            1
        } else {
            self.number % 2
        }]
    }

    pub(super) fn leads(&self) -> bool {
        matches!(self.role, Some(Role::Leads(_)))
    }

    fn instance(&self) -> InstanceId {
        let mut instance = [u8::try_from(self.number).unwrap(); 16];
        instance[..4].copy_from_slice(&self.incarnation.to_be_bytes());
        InstanceId(instance)
    }

    fn take_lead(&mut self, lead: &Lead, standing: Standing) {
        if standing == Standing::Unproven || lead.lease.saturating_sub(self.lease) > Build::MAX_JUMP
        {
            return;
        }
        self.lease = self.lease.max(lead.lease);
        let ours = lead.instance == self.instance();
        match self.role {
            Some(Role::Claims(lease)) if ours && lease == lead.lease => {
                self.role = Some(Role::Leads(lease));
            }
            Some(Role::Claims(lease) | Role::Leads(lease)) if lead.lease > lease => {
                self.role = None;
                self.under_way = None;
            }
            Some(Role::Claims(_) | Role::Leads(_)) | None => {}
        }
    }

    /// Takes in what stands at `place`, from 0, of a stream.
    fn take(&mut self, message: &Message, place: usize) {
        self.has_news = true;
        if let Said::Lead(said) = &message.said {
            if let Ok(said) = self.reader().open_by_oracle(said, Purpose::History) {
                self.take_lead(&said.body().clone(), said.standing());
            }
            return;
        }
        if let Some(fact) = fact(self.reader(), message, place as u64 + 1) {
            self.ledger.take(&fact);
            self.scheduler.apply(fact);
        }
    }
}

/// What a message tells somebody with that reader, if it is believed: as the master's own intake has it.
pub(super) fn fact(reader: &Reader, message: &Message, sequence: u64) -> Option<Fact> {
    let history = Purpose::History;
    match &message.said {
        Said::Change(said) => Fact::changed(sequence, reader.open_by_oracle(said, history).ok()?),
        Said::Command(said) => Fact::commanded(reader.open_by_oracle(said, history).ok()?),
        Said::Request(said) => {
            let said = reader.open_by_oracle(said, history).ok()?;
            Some(Fact::requested(said))
        }
        Said::Answer(said) => Fact::answered(sequence, reader.open_by_oracle(said, history).ok()?),
        Said::Report(said) => {
            let said = reader.open_by_oracle(said, history).ok()?;
            Some(Fact::reported(said))
        }
        Said::Lead(_) => None,
    }
}

impl World {
    pub(super) fn master_clock(&self, master: usize) -> Timestamp {
        Timestamp(self.now.0.saturating_add_signed(self.masters[master].ahead))
    }

    pub(super) fn silent(&self) -> BTreeMap<SlaveName, Timestamp> {
        let silent = self
            .slaves
            .iter()
            .zip(&FARM.slaves)
            .filter_map(|(slave, name)| {
                let since = slave.down_since?;
                (self.now.since(since) > SILENCE).then(|| (name.clone(), since))
            });
        silent.collect()
    }

    /// What is decided with a fold, and what waits by it.
    pub(super) fn ask(
        &self,
        scheduler: &Scheduler,
        keyring: usize,
        now: Timestamp,
    ) -> (Vec<Effect>, Vec<Waiting>) {
        let silent = self.silent();
        let circumstances = Circumstances {
            farm: FARM.id,
            keyring: FARM.positions[keyring],
            roster: &FARM.roster,
            config: &self.config,
            silent: &silent,
        };
        (
            scheduler.decide(&circumstances, now),
            scheduler.queue(&circumstances, now),
        )
    }

    pub(super) fn keyring_of(&self, master: usize) -> usize {
        self.masters[master].keyring
    }

    pub(super) fn start_master(&mut self, number: usize) {
        if self.masters[number].is_up {
            return;
        }
        self.masters[number].start(self.now);
        let incarnation = self.masters[number].incarnation;
        self.tell(|| format!("m{number} starts"));
        self.after(Duration::from_secs(1), Event::Tick(number, incarnation));
    }

    pub(super) fn wake_master(&mut self, number: usize) {
        let master = &mut self.masters[number];
        if master.is_up && std::mem::take(&mut master.is_frozen) {
            master.just_woke = true;
            let incarnation = master.incarnation;
            self.tell(|| format!("m{number} wakes"));
            self.after(Duration::from_millis(10), Event::Tick(number, incarnation));
        }
    }

    /// A master's turn.
    pub(super) fn tick(&mut self, number: usize, incarnation: u32) {
        let master = &self.masters[number];
        if master.incarnation != incarnation || !master.is_up || master.is_frozen {
            return;
        }
        if std::mem::take(&mut self.masters[number].just_woke) {
            self.masters[number].heard = self.now;
        } else {
            self.intake(number);
        }
        if self.masters[number].incarnation != incarnation {
            return;
        }
        self.keep_vigil(number);
        if self.masters[number].leads() {
            self.watch(number);
            self.act(number);
        }
        let later = if self.is_calm {
            self.chance.seconds(15, 25)
        } else {
            self.chance.seconds(3, 12)
        };
        self.after(later, Event::Tick(number, incarnation));
    }

    fn intake(&mut self, number: usize) {
        if !self.bus.is_up {
            return;
        }
        if self.revoked.is_some() && self.masters[number].keyring == 0 && !self.disturbs(70) {
            self.masters[number].begin_anew(self.now);
            self.tell(|| format!("m{number} learns of the theft and begins anew"));
            let incarnation = self.masters[number].incarnation;
            self.after(Duration::from_secs(1), Event::Tick(number, incarnation));
            return;
        }
        for stream in Stream::ALL {
            let settles = stream == Stream::Commands && self.masters[number].is_settling;
            if !settles && self.disturbs(20) {
                continue;
            }
            let lag = if settles || self.is_calm {
                Duration::ZERO
            } else {
                self.chance.millis(0, 3_000)
            };
            self.follow(number, stream, self.now.before(lag));
        }
        let master = &mut self.masters[number];
        if std::mem::take(&mut master.is_settling) && matches!(master.role, Some(Role::Claims(_))) {
            master.role = None;
        }
    }

    /// Takes in what a stream held at some moment.
    fn follow(&mut self, number: usize, stream: Stream, until: Timestamp) {
        let master = &mut self.masters[number];
        let position = &mut master.positions[stream as usize];
        let from = *position;
        let fresh = self.bus.stream(stream).get(from..).unwrap_or_default();
        let fresh = fresh.iter().take_while(|stored| stored.at <= until);
        let fresh: Vec<Rc<Message>> = fresh.map(|stored| Rc::clone(&stored.message)).collect();
        *position += fresh.len();
        for (place, message) in (from..).zip(fresh) {
            let late = matches!(message.said, Said::Report(_))
                && self.now.since(self.bus.stream(stream)[place].at) > Duration::from_secs(1);
            if late && self.sabotage == Some(Sabotage::LateReportsDropped) {
                continue;
            }
            master.take(&message, place);
        }
    }

    fn keep_vigil(&mut self, number: usize) {
        let now = self.now;
        let local = self.master_clock(number);
        let master = &mut self.masters[number];
        if let Some(waits) = &master.under_way
            && now.since(waits.since) > PATIENCE
        {
            // The answer is lost: whatever was stored is read again.
            master.under_way = None;
            master.is_settling = true;
            master.has_news = true;
        }
        match master.role {
            Some(Role::Leads(_)) if now.since(master.signed) >= LEASE / 3 => {
                master.signed = now;
                let lease = master.lease;
                if self.bus.is_up {
                    for other in 0..self.masters.len() {
                        let hears = other != number && !self.disturbs(10);
                        let other = &mut self.masters[other];
                        if hears && !other.is_frozen && lease >= other.lease {
                            other.heard = now;
                        }
                    }
                }
            }
            None if self.bus.is_up && !master.is_settling && now.since(master.heard) > LEASE => {
                let lead = Lead {
                    farm: FARM.id,
                    lease: master.lease + 1,
                    instance: master.instance(),
                    config: Digest([0; 32]),
                    issued: local,
                };
                master.role = Some(Role::Claims(lead.lease));
                let said = Said::Lead(Spoken::signed(lead, master.signs_with()));
                self.publish(number, vec![said]);
            }
            Some(Role::Leads(_) | Role::Claims(_)) | None => {}
        }
    }
}
