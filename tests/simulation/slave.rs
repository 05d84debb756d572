//! Slaves: the real gate, and a small model of the journal, the keepers and the outbox around it.

mod jobs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::bus::{Author, Message, Said, Stream};
use super::farm::{FARM, MAX_HEAD_AGE, parallel};
use super::run::{Event, World};
use super::sabotage::Sabotage;
use crate::model::{
    Build, BuilderName, Cancel, Command, Digest, Head, InstanceId, Isolation, KeyId, Network,
    PayloadId, Report, ReportBody, Text, Timestamp, Verdict,
};
use crate::slave::{Decision, Host, Owner, Situation};
use crate::trust::{Purpose, Reader, Spoken, Verified};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Decided {
    Accepted,
    Refused,
    Cancelled,
    Stopped,
}

/// How far a build is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// On record.
    Waiting,
    /// Its keeper is at work.
    Running,
    /// Its keeper ended while nobody looked.
    Kept(Verdict),
    /// The machine stopped under it.
    Gone,
    /// Its end is on record.
    Over,
}

pub(super) struct Job {
    pub(super) message: Rc<Message>,
    build: Build,
    signer: KeyId,
    pub(super) stage: Stage,
    stopped: bool,
}

/// How a slave dies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Death {
    /// Its process alone: keepers go on.
    Process,
    /// The machine under it.
    Machine,
}

#[derive(Default)]
pub(super) struct Slave {
    number: usize,
    pub(super) is_up: bool,
    /// Whether it never comes back.
    pub(super) is_gone: bool,
    pub(super) down_since: Option<Timestamp>,
    pub(super) incarnation: u32,
    pub(super) ahead: i64,
    /// Which of the farm's two keyrings it holds. On disk.
    pub(super) keyring: usize,
    head: Option<Verified<Head>>,
    pub(super) owner: Owner,
    // On disk.
    decided: BTreeMap<PayloadId, (Decided, Timestamp)>,
    highest: BTreeMap<BuilderName, u64>,
    newest: (u64, Option<PayloadId>),
    outbox: VecDeque<Rc<Message>>,
    pub(super) jobs: BTreeMap<PayloadId, Job>,
    // In memory.
    queue: VecDeque<PayloadId>,
    running: BTreeSet<PayloadId>,
    is_flushing: bool,
    pub(super) rejected: u64,
}

impl Slave {
    pub(super) fn new(number: usize, ahead: i64) -> Self {
        Self {
            number,
            is_up: true,
            ahead,
            ..Self::default()
        }
    }

    fn reader(&self) -> &'static Reader {
        &FARM.readers[self.keyring]
    }

    /// The time of the newest head that it believes.
    pub(super) fn head_time(&self) -> Option<Timestamp> {
        self.head.as_ref().map(|head| head.body().time)
    }

    /// How much it has said.
    pub(super) fn said(&self) -> u64 {
        self.newest.0
    }

    fn say(&mut self, now: Timestamp, command: PayloadId, build: &Build, body: ReportBody) {
        let (sequence, previous) = self.newest;
        let mut instance = [0; 16];
        instance[..4].copy_from_slice(&self.incarnation.to_be_bytes());
        let report = Report {
            farm: FARM.id,
            slave: FARM.slaves[self.number].clone(),
            instance: InstanceId(instance),
            builder: build.builder.clone(),
            command,
            number: build.number,
            sequence: sequence + 1,
            previous,
            keyring: FARM.positions[self.keyring],
            issued: now,
            experiment: None,
            body,
        };
        let spoken = Spoken::signed(report, FARM.report_keys[self.number]);
        self.newest = (sequence + 1, Some(spoken.id()));
        self.outbox.push_back(Rc::new(Message {
            said: Said::Report(spoken),
            author: Author::Slave,
        }));
    }

    fn end(&mut self, now: Timestamp, id: PayloadId, body: ReportBody) {
        self.running.remove(&id);
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.stage != Stage::Over {
            job.stage = Stage::Over;
            let build = job.build.clone();
            self.say(now, id, &build, body);
        }
    }
}

fn finished(verdict: Verdict) -> ReportBody {
    ReportBody::Finished {
        verdict,
        log: Digest([0; 32]),
        isolation: Isolation::Plain,
        detail: None,
        network: Network::On,
    }
}

fn lost() -> ReportBody {
    ReportBody::Lost {
        detail: Text::tidy("the machine stopped"),
    }
}

impl World {
    pub(super) fn slave_clock(&self, slave: usize) -> Timestamp {
        Timestamp(self.now.0.saturating_add_signed(self.slaves[slave].ahead))
    }

    /// The broker hands a command to a slave. It does so until that is acknowledged, and may do so again.
    pub(super) fn deliver(&mut self, number: usize, message: Rc<Message>) {
        if self.slaves[number].is_gone {
            return;
        }
        if !self.slaves[number].is_up || !self.bus.is_up {
            let later = self.chance.seconds(10, 60);
            self.after(later, Event::Deliver(number, message));
            return;
        }
        if self.disturbs(10) {
            // The acknowledgement is lost, or the broker is hostile.
            let span = if self.chance.percent(20) { 7200 } else { 120 };
            let later = self.chance.seconds(5, span);
            self.after(later, Event::Deliver(number, Rc::clone(&message)));
        }
        let Said::Command(spoken) = &message.said else {
            return;
        };
        let now = self.slave_clock(number);
        let time = self.slaves[number].head_time();
        if time.is_none_or(|time| now.since(time) > MAX_HEAD_AGE) {
            self.read_head(number);
        }
        let mut opened = self.slaves[number]
            .reader()
            .open_by_oracle(spoken, Purpose::Admit { now });
        let named = match spoken.body() {
            Command::Build(build) => Some(build.keyring),
            Command::Cancel(_) => None,
        };
        let head = self.slaves[number]
            .head
            .as_ref()
            .map(|head| head.body().keyring);
        if opened.is_ok() && named.max(head) > Some(FARM.positions[self.slaves[number].keyring]) {
            self.learn_keyring(number);
            opened = self.slaves[number]
                .reader()
                .open_by_oracle(spoken, Purpose::Admit { now });
        }
        match opened {
            Ok(command) => self.decide(number, command, &message, now),
            Err(_) => self.slaves[number].rejected += 1,
        }
        self.start_queued(number);
        self.flush_soon(number);
    }

    fn decide(
        &mut self,
        number: usize,
        command: Verified<Command>,
        message: &Rc<Message>,
        now: Timestamp,
    ) {
        let (id, signer, body) = (command.id(), command.signer(), command.body().clone());
        let sabotage = self.sabotage;
        let slave = &mut self.slaves[number];
        let jobs = &slave.jobs;
        slave.decided.retain(|id, (_, until)| {
            *until >= now || jobs.get(id).is_some_and(|job| job.stage != Stage::Over)
        });
        let decided = slave.decided.get(&id).map(|(what, _)| *what);
        let seen = matches!(
            decided,
            Some(Decided::Accepted | Decided::Refused | Decided::Stopped)
        );
        let situation = Situation {
            now,
            head: slave.head.as_ref().map(Verified::body),
            keyring: FARM.positions[slave.keyring],
            highest: slave.highest.get(body.builder()).copied().unwrap_or(0),
            keys_fault: slave.reader().keys_fault(now),
            restored: None,
            seen: seen && sabotage != Some(Sabotage::ReplaysPass),
            cancelled: decided == Some(Decided::Cancelled),
            script: &|_| Ok(Digest([5; 32])),
            held: slave
                .owner
                .defers(now)
                .filter(|_| sabotage != Some(Sabotage::OwnerIgnored)),
            misread: false,
            host: Host::default(),
        };
        let decision = FARM.gates[number].decide(command, &situation);
        match (decision, body) {
            (Decision::Run(job), _) => {
                let build = job.build().clone();
                self.promises
                    .accepted(number, message, now, &self.slaves[number]);
                let slave = &mut self.slaves[number];
                slave
                    .decided
                    .insert(id, (Decided::Accepted, forget_after(&build, now)));
                let highest = slave.highest.entry(build.builder.clone()).or_default();
                *highest = build.number.max(*highest);
                slave.say(now, id, &build, ReportBody::Accepted { received: now });
                let job = Job {
                    message: Rc::clone(message),
                    build,
                    signer,
                    stage: Stage::Waiting,
                    stopped: false,
                };
                slave.jobs.insert(id, job);
                slave.queue.push_back(id);
                self.tell(|| format!("s{number:02} accepts {}", id.short()));
            }
            (Decision::Cancel(cancel), _) => self.cancel(number, &cancel, now),
            (Decision::Refuse(refusal), Command::Build(build)) if refusal.code() != "E-SLAVE" => {
                let slave = &mut self.slaves[number];
                slave
                    .decided
                    .insert(id, (Decided::Refused, forget_after(&build, now)));
                let refused = ReportBody::Refused {
                    code: Text::tidy(refusal.code()),
                    detail: Text::tidy(&refusal.to_string()),
                };
                slave.say(now, id, &build, refused);
                self.tell(|| format!("s{number:02} refuses {}: {refusal}", id.short()));
            }
            (Decision::Defer { until, .. }, Command::Build(build)) => {
                let slave = &mut self.slaves[number];
                slave
                    .decided
                    .insert(id, (Decided::Refused, forget_after(&build, now)));
                slave.say(now, id, &build, ReportBody::Deferred { until });
                self.tell(|| format!("s{number:02} defers {}", id.short()));
            }
            (Decision::Refuse(_) | Decision::Defer { .. } | Decision::Replay, _) => {
                self.slaves[number].rejected += 1;
            }
        }
    }

    fn cancel(&mut self, number: usize, cancel: &Cancel, now: Timestamp) {
        let slave = &mut self.slaves[number];
        let target = cancel.target;
        let open = slave
            .jobs
            .get(&target)
            .is_some_and(|job| job.stage != Stage::Over);
        if !open && slave.decided.contains_key(&target) {
            return;
        }
        let what = if open {
            Decided::Stopped
        } else {
            Decided::Cancelled
        };
        let until = now
            .after(Build::MAX_ACCEPT_WINDOW)
            .after(Build::REMEMBERED)
            .after(Build::CLOCK_SKEW);
        slave.decided.insert(target, (what, until));
        if open {
            self.stop(number, target);
        }
        self.tell(|| format!("s{number:02} cancels {}", target.short()));
    }

    fn stop(&mut self, number: usize, id: PayloadId) {
        if let Some(job) = self.slaves[number].jobs.get_mut(&id) {
            job.stopped = true;
            if job.stage == Stage::Running {
                let grace = self.chance.seconds(0, 5);
                self.after(grace, Event::JobEnds(number, id));
            }
        }
    }

    pub(super) fn kill_slave(&mut self, number: usize, death: Death) {
        let now = self.now;
        let slave = &mut self.slaves[number];
        if !slave.is_up {
            return;
        }
        slave.is_up = false;
        slave.down_since = Some(now);
        slave.incarnation += 1;
        slave.head = None;
        slave.queue.clear();
        slave.running.clear();
        slave.is_flushing = false;
        for job in slave.jobs.values_mut() {
            if death == Death::Machine && job.stage != Stage::Over {
                job.stage = Stage::Gone;
            }
        }
        if self.sabotage == Some(Sabotage::JournalLost) {
            slave.decided.clear();
        }
        self.tell(|| format!("s{number:02} dies: {death:?}"));
    }

    pub(super) fn start_slave(&mut self, number: usize) {
        let now = self.slave_clock(number);
        let slave = &mut self.slaves[number];
        if slave.is_up || slave.is_gone {
            return;
        }
        slave.is_up = true;
        slave.down_since = None;
        let open: Vec<(PayloadId, Stage)> = slave
            .jobs
            .iter()
            .map(|(id, job)| (*id, job.stage))
            .collect();
        for (id, stage) in open {
            match stage {
                Stage::Gone => slave.end(now, id, lost()),
                Stage::Kept(verdict) => slave.end(now, id, finished(verdict)),
                Stage::Running => drop(slave.running.insert(id)),
                Stage::Waiting => slave.queue.push_back(id),
                Stage::Over => {}
            }
        }
        let incarnation = slave.incarnation;
        self.tell(|| format!("s{number:02} is back"));
        self.look(number, incarnation);
        self.start_queued(number);
        self.flush_soon(number);
    }

    /// A slave's regular look at what is newest.
    pub(super) fn look(&mut self, number: usize, incarnation: u32) {
        if self.slaves[number].incarnation != incarnation || !self.slaves[number].is_up {
            return;
        }
        self.read_head(number);
        let later = self.chance.seconds(60, 300);
        self.after(later, Event::Look(number, incarnation));
    }

    /// Reads the head, if the bus hands one out.
    fn read_head(&mut self, number: usize) {
        if !self.bus.is_up || self.heads.is_empty() || self.disturbs(20) {
            return;
        }
        // A hostile broker hands out any head that there ever was.
        let newest = self.heads.len() - 1;
        let place = if self.disturbs(20) {
            self.chance.below(newest + 1)
        } else {
            newest
        };
        let head = Rc::clone(&self.heads[place]);
        let now = self.slave_clock(number);
        if head.body().keyring > FARM.positions[self.slaves[number].keyring] {
            self.learn_keyring(number);
        }
        let slave = &mut self.slaves[number];
        if let Ok(head) = slave.reader().open_by_oracle(&head, Purpose::Admit { now })
            && head.body().time <= now.after(Build::CLOCK_SKEW)
            && slave
                .head
                .as_ref()
                .is_none_or(|held| held.body().time < head.body().time)
        {
            slave.head = Some(head);
        }
    }

    /// Reads the keyrings, if the bus hands them out.
    fn learn_keyring(&mut self, number: usize) {
        if self.revoked.is_none()
            || !self.bus.is_up
            || self.slaves[number].keyring == 1
            || self.disturbs(30)
        {
            return;
        }
        let slave = &mut self.slaves[number];
        slave.keyring = 1;
        let reader = slave.reader();
        slave.head.take_if(|head| !reader.stands_by(head));
        let stolen: Vec<PayloadId> = slave
            .jobs
            .iter()
            .filter(|(_, job)| job.stage != Stage::Over && !reader.counts(&job.signer))
            .map(|(id, _)| *id)
            .collect();
        for id in stolen {
            self.stop(number, id);
        }
        self.tell(|| format!("s{number:02} learns of the theft"));
    }

    fn flush_soon(&mut self, number: usize) {
        let slave = &mut self.slaves[number];
        if slave.is_up && !slave.is_flushing && !slave.outbox.is_empty() {
            slave.is_flushing = true;
            let incarnation = slave.incarnation;
            let soon = self.chance.millis(10, 2_000);
            self.after(soon, Event::Flush(number, incarnation));
        }
    }

    /// Sends what waits, oldest first, until an answer is missing.
    pub(super) fn flush(&mut self, number: usize, incarnation: u32) {
        if self.slaves[number].incarnation != incarnation || !self.slaves[number].is_up {
            return;
        }
        while let Some(message) = self.slaves[number].outbox.front().cloned() {
            let is_lost = !self.bus.is_up || self.disturbs(5);
            if !is_lost {
                self.bus.store(Stream::Results, message, self.now);
            }
            if is_lost || self.disturbs(5) {
                let long = if self.chance.percent(5) { 900 } else { 20 };
                let later = self.chance.seconds(5, long);
                self.after(later, Event::Flush(number, incarnation));
                return;
            }
            self.slaves[number].outbox.pop_front();
        }
        self.slaves[number].is_flushing = false;
    }
}

/// As the slave's journal has it.
fn forget_after(build: &Build, now: Timestamp) -> Timestamp {
    let longest = now.after(Build::MAX_ACCEPT_WINDOW);
    build
        .accept_by
        .clamp(now, longest)
        .after(Build::REMEMBERED)
        .after(Build::CLOCK_SKEW)
}
