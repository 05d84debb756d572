//! What a master's memory costs: to fold it again from the streams, to decide by it, and to keep it.
//!
//!     cargo bench --bench fold
//!
//! The first farm has 200 builders with 500 past builds each, all signed and verified, and 25,000 changes on 25 branches
//! that nobody has built: 1,000 wait for each builder. Then 25,000 requests for builds are granted beside that. The second
//! farm has 2,000 builders with a full past, at first without anything to do; then all of them build. No bus is there: what
//! the bus itself takes to bring the messages comes on top.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark reads the clock, prints what it measured, and may end where it cannot go on"
)]

#[path = "fold/said.rs"]
mod said;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use pybots::master::{Circumstances, Effect, Fact, MasterConfig, Scheduler};
use pybots::model::{
    Build, BuilderName, Change, Command, FarmId, InstanceId, PayloadId, Position, PublicKey,
    Report, Request, Roster, RosterLine, SlaveName, SlaveState, Source, Text, Timestamp, Wish,
};
use pybots::trust::{Purpose, Reader, SecretKey, Standing, key_id, seal};

use said::{course, key, name, report, reported, trusting, unsigned};

const REPOSITORIES: u64 = 25;
/// Builds of one builder that are over.
const PAST: u64 = 500;
/// Changes of one branch that nobody has built.
const PENDING: u64 = 1_000;
const REQUESTS: u64 = 25_000;
/// So many builds of a builder the scheduler holds.
const FULL_PAST: u64 = 40;
const REPORTS: usize = 1_000;
const ROUNDS: usize = 31;
const BEGIN: Timestamp = Timestamp(1_700_000_000_000_000);

fn main() {
    let before = resident();
    let mut farm = Farm::new(200);
    farm.fold_signed();
    let now = farm.now();
    row("decide, the first", &[millis(|| farm.decide(now))]);
    row("decide, 200 builds to order", &farm.rounds(Farm::decide));
    row("queue", &farm.rounds(Farm::queue));
    farm.obey();
    row("decide, 200 in flight", &farm.rounds(Farm::decide));
    row("queue, 200 in flight", &farm.rounds(Farm::queue));
    println!(
        "resident {:.0} MiB before, {:.0} MiB now",
        before,
        resident()
    );
    farm.ask_signed();
    row("decide, requests besides", &farm.rounds(Farm::decide));
    row("queue, requests besides", &farm.rounds(Farm::queue));
    println!("resident {:.0} MiB now\n", resident());
    drop(farm);

    let mut farm = Farm::new(2_000);
    farm.fold_unsigned();
    println!(
        "2,000 builders, {FULL_PAST} past builds each; resident {:.0} MiB",
        resident()
    );
    row("decide, all idle", &farm.rounds(Farm::decide));
    row("queue, all idle", &farm.rounds(Farm::queue));
    for repository in 0..REPOSITORIES {
        let fact = farm.moved(repository, 0);
        farm.scheduler.apply(fact);
    }
    row("decide, 2,000 builds to order", &farm.rounds(Farm::decide));
    farm.obey();
    row("decide, 2,000 in flight", &farm.rounds(Farm::decide));
    let reported = farm.report_and_decide();
    row("report and decide", &reported);
    println!(
        "{REPORTS} reports with a decision after each: {:.0} ms",
        reported.iter().sum::<f64>()
    );
}

fn millis<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64() * 1e3
}

fn row(what: &str, millis: &[f64]) {
    let mut sorted = millis.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |position: usize| sorted[position.min(sorted.len() - 1)];
    println!(
        "{what:32} min {:9.3}   median {:9.3}   95 % {:9.3}   max {:9.3} ms",
        at(0),
        at(sorted.len() / 2),
        at(sorted.len() * 95 / 100),
        at(sorted.len()),
    );
}

/// Mebibytes of memory that this process holds.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc(5)");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.expect("a number").parse::<f64>().expect("a number") / 1024.0
}

/// How long the two halves of taking messages in took.
#[derive(Default)]
struct Took {
    messages: usize,
    opening: Duration,
    applying: Duration,
    /// Milliseconds of both, for each thousand messages.
    thousands: Vec<f64>,
    so_far: Duration,
}

impl Took {
    fn take(&mut self, scheduler: &mut Scheduler, open: impl FnOnce() -> Fact) {
        let start = Instant::now();
        let fact = open();
        let opened = Instant::now();
        scheduler.apply(fact);
        let (opening, applying) = (opened - start, opened.elapsed());
        self.opening += opening;
        self.applying += applying;
        self.so_far += opening + applying;
        self.messages += 1;
        if self.messages.is_multiple_of(1_000) {
            let thousand = std::mem::take(&mut self.so_far);
            self.thousands.push(thousand.as_secs_f64() * 1e3);
        }
    }

    fn tell(&self, what: &str) {
        println!(
            "{what}: {} messages, opened in {:.2} s, applied in {:.3} s",
            self.messages,
            self.opening.as_secs_f64(),
            self.applying.as_secs_f64(),
        );
        row("  each 1,000 messages", &self.thousands);
    }
}

struct Farm {
    id: FarmId,
    reader: Reader,
    signing: SecretKey,
    requester: SecretKey,
    config: MasterConfig,
    roster: Roster,
    silent: BTreeMap<SlaveName, Timestamp>,
    builders: u64,
    scheduler: Scheduler,
    sequence: u64,
    /// Moves of each branch so far.
    moves: BTreeMap<u64, u64>,
    ordered: VecDeque<(PayloadId, Build)>,
}

impl Farm {
    /// Two builders on a slave, all on one of 25 branches.
    fn new(builders: u64) -> Self {
        let (signing, requester) = (key(2, 0), key(5, 0));
        let (id, mut reader) = trusting(&signing);
        let mut text = format!(
            "farm = \"{id}\"\nbus = \"nats://127.0.0.1:4222\"\nkeyring = \"k\"\nsigning-key = \"s\"\nbus-key = \"b\"\nstate = \"t\"\n[requesters.alice]\nkey = \"{}\"\nmay = [\"force\"]\nbuilders = [\"*\"]\n",
            requester.public()
        );
        for repository in 0..REPOSITORIES {
            let _ = write!(
                text,
                "[repositories.repository-{repository}]\nurl = \"https://example.org/{repository}\"\nbranches = [\"main\"]\n"
            );
        }
        let mut lines: Vec<RosterLine> = Vec::new();
        for builder in 0..builders {
            let (slave, repository) = (builder / 2, builder % REPOSITORIES);
            let _ = write!(
                text,
                "[builders.builder-{builder}]\nslave = \"slave-{slave}\"\nproject = \"foo\"\nsources = {{ repository-{repository} = \"main\" }}\nsteps = [{{ command = \"test-foo\", timeout-minutes = 60 }}]\n"
            );
            if builder % 2 == 0 {
                let _ = write!(text, "[slaves.slave-{slave}]\ncapacity = 2\n");
                let report_key = key(3, slave);
                reader.know_reporter(name("slave", slave), &report_key);
                lines.push(RosterLine {
                    slave: name("slave", slave),
                    report_key: report_key.public(),
                    bus_key: PublicKey([2; 32]),
                    owner: Text::default(),
                    platform: Text::default(),
                    builders: vec![name("builder", builder), name("builder", builder + 1)],
                    state: SlaveState::Active,
                    approved: Timestamp(0),
                    closed: None,
                });
            }
        }
        let config = MasterConfig::parse(&text, Path::new("/")).expect("a configuration");
        let requesters = config.requesters.iter();
        reader
            .let_ask(requesters.map(|(name, requester)| (name, requester.key)))
            .expect("a sound key");
        Self {
            id,
            reader,
            signing,
            requester,
            config,
            roster: Roster {
                farm: id,
                version: 1,
                keyring: Position::default(),
                issued: Timestamp(0),
                lines,
            },
            silent: BTreeMap::new(),
            builders,
            scheduler: Scheduler::default(),
            sequence: 0,
            moves: BTreeMap::new(),
            ordered: VecDeque::new(),
        }
    }

    fn now(&self) -> Timestamp {
        BEGIN.after(Duration::from_secs(self.sequence * 60))
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances {
            farm: self.id,
            keyring: Position::default(),
            roster: &self.roster,
            config: &self.config,
            silent: &self.silent,
        }
    }

    fn decide(&self, now: Timestamp) -> usize {
        self.scheduler.decide(&self.circumstances(), now).len()
    }

    fn queue(&self, now: Timestamp) -> usize {
        self.scheduler.queue(&self.circumstances(), now).len()
    }

    fn rounds(&self, work: fn(&Self, Timestamp) -> usize) -> Vec<f64> {
        let now = self.now();
        (0..ROUNDS).map(|_| millis(|| work(self, now))).collect()
    }

    /// The next move of a branch.
    fn change(&mut self, repository: u64) -> Change {
        self.sequence += 1;
        let moves = self.moves.entry(repository).or_default();
        *moves += 1;
        let revision = |number: u64| format!("{number:040x}").parse().expect("a revision");
        Change {
            farm: self.id,
            repository: name("repository", repository),
            branch: "main".parse().expect("a branch"),
            revision: revision(*moves),
            previous: Some(revision(*moves - 1)),
            seen: BEGIN.after(Duration::from_secs(self.sequence * 60)),
            commits: Vec::new(),
            more: 0,
            rewritten: false,
            paths: Some(vec![Text::tidy("Lib/asyncio/events.py")]),
        }
    }

    fn moved(&mut self, repository: u64, kind: u8) -> Fact {
        let change = Box::new(self.change(repository));
        Fact::Changed {
            sequence: self.sequence,
            id: unsigned(kind, self.sequence),
            change,
        }
    }

    fn build(&self, builder: u64, number: u64, covers: PayloadId, revision: u64) -> Build {
        let slave = builder / 2;
        let issued = self.now();
        let named: BuilderName = name("builder", builder);
        Build {
            farm: self.id,
            slave: name("slave", slave),
            report_key: key_id(&key(3, slave).public()),
            number,
            issued,
            accept_by: issued.after(Duration::from_secs(3600)),
            finish_by: issued.after(Duration::from_secs(7200)),
            keyring: Position::default(),
            project: "foo".parse().expect("a name"),
            sources: vec![Source {
                repository: name("repository", builder % REPOSITORIES),
                branch: "main".parse().expect("a branch"),
                revision: format!("{revision:040x}").parse().expect("a revision"),
            }],
            covers: vec![covers],
            steps: self.config.builders[&named].steps.clone(),
            builder: named,
            reason: Text::tidy("1 change"),
            requester: None,
            request: None,
            retry_of: None,
            attempt: 1,
            experiment: None,
        }
    }

    fn fold_signed(&mut self) {
        let mut took = Took::default();
        let keys: Vec<SecretKey> = (0..self.builders / 2).map(|slave| key(3, slave)).collect();
        for number in 1..=PAST {
            let mut changes = Vec::new();
            for repository in 0..REPOSITORIES {
                changes.push(self.take_change(repository, &mut took));
            }
            for builder in 0..self.builders {
                let change = changes[usize::try_from(builder % REPOSITORIES).expect("a few")];
                let build = self.build(builder, number, change, number);
                let command = Command::Build(build);
                let sealed = seal(&self.signing, &self.id, &command);
                took.take(&mut self.scheduler, || {
                    let opened = self.reader.open::<Command>(&sealed.bytes, Purpose::History);
                    Fact::commanded(opened.expect("a command")).expect("an order")
                });
                let Command::Build(build) = command else {
                    continue;
                };
                let signer = &keys[usize::try_from(builder / 2).expect("a few")];
                for (sequence, body) in (1..).zip(course(&build)) {
                    let report = report(&build, sealed.id, sequence, body);
                    let bytes = seal(signer, &self.id, &report).bytes;
                    took.take(&mut self.scheduler, || {
                        let opened = self.reader.open::<Report>(&bytes, Purpose::History);
                        Fact::reported(opened.expect("a report"))
                    });
                }
            }
        }
        took.tell("100,000 past builds");
        let mut took = Took::default();
        for _ in 0..PENDING {
            for repository in 0..REPOSITORIES {
                self.take_change(repository, &mut took);
            }
        }
        took.tell("25,000 pending changes");
    }

    fn take_change(&mut self, repository: u64, took: &mut Took) -> PayloadId {
        let change = self.change(repository);
        let sealed = seal(&self.signing, &self.id, &change);
        took.take(&mut self.scheduler, || {
            let opened = self.reader.open::<Change>(&sealed.bytes, Purpose::History);
            let opened = opened.expect("a change");
            Fact::Changed {
                sequence: self.sequence,
                id: opened.id(),
                change: Box::new(opened.into_body()),
            }
        });
        sealed.id
    }

    /// Requests for builds, granted and not fulfilled; the answers are not opened here.
    fn ask_signed(&mut self) {
        let mut took = Took::default();
        for number in 0..REQUESTS {
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&number.to_be_bytes());
            let request = Request {
                farm: self.id,
                requester: "alice".parse().expect("a name"),
                nonce: InstanceId(nonce),
                issued: self.now().after(Duration::from_millis(number)),
                reason: Text::tidy("to see it twice"),
                wish: Wish::Force {
                    builder: name("builder", number % self.builders),
                    sources: Vec::new(),
                },
            };
            let sealed = seal(&self.requester, &self.id, &request);
            took.take(&mut self.scheduler, || {
                let opened = self.reader.open::<Request>(&sealed.bytes, Purpose::History);
                let opened = opened.expect("a request");
                Fact::Requested {
                    id: opened.id(),
                    request: Box::new(opened.into_body()),
                }
            });
            self.scheduler.apply(Fact::Answered {
                sequence: number,
                request: sealed.id,
                denial: None,
            });
        }
        took.tell("25,000 pending requests");
    }

    fn fold_unsigned(&mut self) {
        for number in 1..=FULL_PAST {
            for repository in 0..REPOSITORIES {
                let fact = self.moved(repository, 0);
                self.scheduler.apply(fact);
            }
            for builder in 0..self.builders {
                let first = self.sequence - REPOSITORIES + 1;
                let change = unsigned(0, first + builder % REPOSITORIES);
                let build = self.build(builder, number, change, number);
                let command = unsigned(1, builder * FULL_PAST + number);
                let reports = course(&build).into_iter().enumerate();
                for (sequence, body) in reports {
                    let body = report(&build, command, sequence as u64, body);
                    let id = unsigned(2, (builder * FULL_PAST + number) * 4 + sequence as u64);
                    self.scheduler.apply(reported(id, body));
                }
                self.scheduler.apply(Fact::Ordered {
                    id: command,
                    build: Box::new(build),
                    standing: Standing::Good,
                });
            }
        }
    }

    /// What is decided becomes a fact.
    fn obey(&mut self) {
        let effects = self.scheduler.decide(&self.circumstances(), self.now());
        for (number, effect) in (0..).zip(effects) {
            if let Effect::Send(build) = effect {
                let id = unsigned(3, number);
                self.ordered.push_back((id, (*build).clone()));
                self.scheduler.apply(Fact::Ordered {
                    id,
                    build,
                    standing: Standing::Good,
                });
            }
        }
        println!("{} builds ordered", self.ordered.len());
    }

    /// Reports of builds in flight, and what a decision after each takes; what it sends is sent.
    fn report_and_decide(&mut self) -> Vec<f64> {
        let now = self.now();
        let mut took = Vec::new();
        while took.len() < REPORTS
            && let Some((command, build)) = self.ordered.pop_front()
        {
            for (sequence, body) in (0..).zip(course(&build)) {
                let body = report(&build, command, sequence, body);
                let id = unsigned(4, took.len() as u64);
                took.push(millis(|| {
                    self.scheduler.apply(reported(id, body));
                    self.scheduler.decide(&self.circumstances(), now)
                }));
            }
        }
        took
    }
}
