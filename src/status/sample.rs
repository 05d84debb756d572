//! A farm for tests: real keys from fixed seeds, a keyring, a roster, and slaves that say what they are told to say.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::board::{Board, Event, Reported};
use super::tail::{Entry, open_report};
use super::view::Farm;
use crate::bus::Delivery;
use crate::model::{
    Build, Cancel, Change, ClockOffset, Command, Commit, Counted, Digest, FarmId, InstanceId,
    Isolation, Keyring, LogChunk, Network, Outcome, PayloadId, Position, Presence, Report,
    ReportBody, Revision, RevocationReason, RevokedKey, Roster, RosterLine, SigningKeyWindow,
    SlaveName, SlaveState, Source, Step, TestResults, Text, Timestamp, Verdict,
};
use crate::trust::{
    Purpose, Reader, SecretKey, Verified, commitment, countersign, payload_id, seal, sha256, words,
};
use crate::wire::{Payload, Subjects, encode};

pub(super) struct Sample {
    pub(super) farm: FarmId,
    pub(super) signing: SecretKey,
    /// A signing key that was revoked because somebody stole it.
    pub(super) stolen: SecretKey,
    pub(super) maple: SecretKey,
    /// The key of a slave that was called maple before, and has left.
    pub(super) former_maple: SecretKey,
    pub(super) elm: SecretKey,
    /// Keyring 0.0 as it travels.
    pub(super) keyring: Vec<u8>,
    pub(super) others: BTreeMap<String, SecretKey>,
    pub(super) reader: Reader,
    /// What each slave has said under each number, to be named by its next report.
    said: Mutex<BTreeMap<(SlaveName, u64), PayloadId>>,
}

/// So many seconds after 2026-11-22T18:00:00Z.
pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp(1_795_370_400_000_000).after(Duration::from_secs(seconds))
}

pub(super) fn revision(digit: char) -> Revision {
    digit.to_string().repeat(40).parse().unwrap()
}

pub(super) fn text(raw: &str) -> Text {
    raw.to_owned().try_into().unwrap()
}

pub(super) fn log_digest(log: &[u8]) -> Digest {
    Digest(sha256(log))
}

impl Sample {
    pub(super) fn new() -> Self {
        let [master, next, signing, maple, elm, stolen, former_maple] =
            [1, 2, 3, 4, 5, 6, 7].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let window = |key: &SecretKey| SigningKeyWindow {
            key: key.public(),
            not_before: Timestamp(0),
            not_after: at(1_000_000),
        };
        let keyring = Keyring {
            name: "sample".parse().unwrap(),
            position: Position::default(),
            previous: None,
            issued: at(0),
            expires: at(1_000_000),
            master_keys: vec![master.public()],
            threshold: 1,
            commitment: commitment(1, &[next.public()]),
            signing_keys: vec![window(&signing)],
            revoked: vec![RevokedKey {
                window: window(&stolen),
                reason: RevocationReason::Compromised,
                revoked: at(0),
            }],
        };
        let farm = FarmId(payload_id(&encode(&keyring)).0);
        let bytes = countersign(&[&master], &keyring).unwrap().to_bytes();
        let mut sample = Self {
            farm,
            reader: Reader::new(farm, &bytes).unwrap(),
            keyring: bytes,
            signing,
            stolen,
            maple,
            former_maple,
            elm,
            others: BTreeMap::new(),
            said: Mutex::default(),
        };
        let roster = sample.roster(1);
        let bytes = seal(&sample.signing, &farm, &roster).bytes;
        sample.reader.learn_roster(&bytes).unwrap();
        sample
    }

    /// A keyring that calls the signing key stolen, and names no other.
    pub(super) fn after_theft(&self) -> Vec<u8> {
        let mut keyring = self.reader.keyring().clone();
        keyring.position.serial = 1;
        keyring.previous = Some(PayloadId(self.farm.0));
        keyring.revoked.push(RevokedKey {
            window: keyring.signing_keys.remove(0),
            reason: RevocationReason::Compromised,
            revoked: at(1000),
        });
        let master = SecretKey::from_seed(&[1; 32]);
        countersign(&[&master], &keyring).unwrap().to_bytes()
    }

    pub(super) fn farm(&self) -> Farm {
        Farm {
            name: self.reader.keyring().name.clone(),
            id: self.farm,
            words: words(&self.farm),
        }
    }

    /// Maple serves foo-maple and bar-maple, elm serves foo-elm. Another maple has left.
    pub(super) fn roster(&self, version: u64) -> Roster {
        let line = |slave: &str, key: &SecretKey, builders: &[&str]| RosterLine {
            slave: slave.parse().unwrap(),
            report_key: key.public(),
            bus_key: SecretKey::from_seed(&sha256(slave.as_bytes())).public(),
            owner: text("Bob"),
            platform: text("Debian 13"),
            builders: builders.iter().map(|name| name.parse().unwrap()).collect(),
            state: SlaveState::Active,
            approved: at(0),
            closed: None,
        };
        let former = RosterLine {
            closed: Some(at(0)),
            ..line("maple", &self.former_maple, &["foo-maple"])
        };
        Roster {
            farm: self.farm,
            version,
            keyring: Position::default(),
            issued: at(0),
            lines: vec![
                line("maple", &self.maple, &["foo-maple", "bar-maple"]),
                line("elm", &self.elm, &["foo-elm"]),
                former,
            ],
        }
    }

    pub(super) fn board(&self) -> Board {
        let mut board = Board::default();
        board.set_roster(self.roster(1));
        board
    }

    pub(super) fn verify<T: Payload>(&self, key: &SecretKey, body: &T) -> Verified<T> {
        let sealed = seal(key, &self.farm, body);
        self.reader.open(&sealed.bytes, Purpose::History).unwrap()
    }

    /// Lets further slaves join, each with builders, and gives the roster that names them.
    pub(super) fn join(&mut self, slaves: &[(String, Vec<String>)]) -> Roster {
        let mut roster = self.roster(2);
        for (slave, builders) in slaves {
            let key = SecretKey::from_seed(&sha256(format!("report {slave}").as_bytes()));
            let builders = builders.iter().map(|name| name.parse().unwrap());
            roster.lines.push(RosterLine {
                slave: slave.parse().unwrap(),
                report_key: key.public(),
                bus_key: SecretKey::from_seed(&sha256(slave.as_bytes())).public(),
                builders: builders.collect(),
                ..roster.lines[0].clone()
            });
            self.others.insert(slave.clone(), key);
        }
        let bytes = seal(&self.signing, &self.farm, &roster).bytes;
        self.reader.learn_roster(&bytes).unwrap();
        roster
    }

    fn key(&self, slave: &str) -> &SecretKey {
        match slave {
            "maple" => &self.maple,
            other => self.others.get(other).unwrap_or(&self.elm),
        }
    }

    /// An order for `<project>-<slave>` to test trunk at a revision, issued at 100 seconds times its number.
    pub(super) fn order(&self, builder: &str, number: u64, digit: char) -> Build {
        let (project, slave) = builder.split_once('-').unwrap();
        let step = |command: &str| Step {
            command: command.parse().unwrap(),
            parameters: BTreeMap::new(),
            timeout: Duration::from_secs(60),
            halt_on_failure: true,
            warn_only: false,
            always_run: false,
            script: None,
        };
        let issued = at(number * 100);
        Build {
            farm: self.farm,
            slave: slave.parse().unwrap(),
            report_key: self.key(slave).id(),
            builder: builder.parse().unwrap(),
            number,
            issued,
            accept_by: issued.after(Duration::from_secs(30)),
            finish_by: issued.after(Duration::from_secs(80)),
            keyring: Position::default(),
            project: project.parse().unwrap(),
            sources: vec![Source {
                repository: "cpython".parse().unwrap(),
                branch: "main".parse().unwrap(),
                revision: revision(digit),
            }],
            covers: vec![self.change(digit).id()],
            steps: vec![step("build-python"), step("test-project")],
            reason: text("check-in on cpython main"),
            requester: None,
            request: None,
            retry_of: None,
            attempt: 1,
            experiment: None,
        }
    }

    pub(super) fn change(&self, digit: char) -> Verified<Change> {
        let change = Change {
            farm: self.farm,
            repository: "cpython".parse().unwrap(),
            branch: "main".parse().unwrap(),
            revision: revision(digit),
            previous: None,
            seen: at(0),
            commits: vec![Commit {
                revision: revision(digit),
                author: text("Eve"),
                subject: text("Remove frobnicate"),
                committed: at(0),
            }],
            more: 0,
            rewritten: false,
            paths: None,
        };
        self.verify(&self.signing, &change)
    }

    pub(super) fn changed(&self, sequence: u64, digit: char) -> Event {
        let change = self.change(digit);
        Event::Changed { sequence, change }
    }

    pub(super) fn ordered(&self, sequence: u64, build: &Build) -> Event {
        let command = self.verify(&self.signing, &Command::Build(build.clone()));
        Event::Ordered { sequence, command }
    }

    pub(super) fn cancelled(&self, sequence: u64, build: &Build) -> Event {
        let cancel = Cancel {
            farm: self.farm,
            slave: build.slave.clone(),
            builder: build.builder.clone(),
            target: id(build),
            issued: build.issued,
            reason: text("not needed any more"),
            requester: None,
            request: None,
        };
        let command = self.verify(&self.signing, &Command::Cancel(cancel));
        Event::Ordered { sequence, command }
    }

    /// What the slave of `build` says of it: its report of that number, at so many seconds after the order. It names what
    /// the slave said under the number before.
    pub(super) fn said(
        &self,
        build: &Build,
        sequence: u64,
        after: u64,
        body: ReportBody,
    ) -> Report {
        let mut said = self.said.lock().unwrap();
        let before = said.get(&(build.slave.clone(), sequence - 1)).copied();
        let report = Report {
            farm: self.farm,
            slave: build.slave.clone(),
            instance: InstanceId([7; 16]),
            builder: build.builder.clone(),
            command: id(build),
            number: build.number,
            sequence,
            previous: (sequence > 1).then(|| before.unwrap_or(PayloadId([9; 32]))),
            keyring: Position::default(),
            issued: build.issued.after(Duration::from_secs(after)),
            experiment: None,
            body,
        };
        said.entry((build.slave.clone(), sequence))
            .or_insert_with(|| payload_id(&encode(&report)));
        report
    }

    /// The results stream holds `report` in the place that its own sequence names.
    pub(super) fn stored(&self, report: &Report) -> Reported {
        Reported {
            sequence: report.sequence,
            stored: report.issued.after(Duration::from_millis(1)),
            report: self.verify(self.key(report.slave.as_str()), report),
        }
    }

    pub(super) fn reported(
        &self,
        build: &Build,
        sequence: u64,
        after: u64,
        body: ReportBody,
    ) -> Event {
        Event::Reported(self.stored(&self.said(build, sequence, after, body)))
    }

    /// The five or six reports of a build that comes to `verdict`; it takes 20 seconds.
    pub(super) fn run(&self, build: &Build, sequence: u64, verdict: Verdict) -> Vec<Event> {
        let exit = u8::from(verdict == Verdict::Failed);
        let received = build.issued.after(Duration::from_micros(2_300));
        let bodies = [
            (0, ReportBody::Accepted { received }),
            (1, started(0, received.after(Duration::from_micros(4_100)))),
            (10, ended(0, 0)),
            (10, started(1, build.issued.after(Duration::from_secs(10)))),
            (20, ended(1, exit)),
            (20, finished(verdict)),
        ];
        (sequence..)
            .zip(bodies)
            .map(|(sequence, (after, body))| self.reported(build, sequence, after, body))
            .collect()
    }

    /// The same as [`Sample::reported`], by a copy of the slave on another machine.
    pub(super) fn reported_by_a_copy(
        &self,
        build: &Build,
        sequence: u64,
        after: u64,
        body: ReportBody,
    ) -> Event {
        let said = self.said(build, sequence, after, body);
        let reported = self.stored(&Report {
            instance: InstanceId([8; 16]),
            ..said
        });
        Event::Reported(Reported {
            sequence: 1_000 + sequence,
            ..reported
        })
    }

    pub(super) fn present(&self, slave: &str, issued: Timestamp) -> Event {
        self.naming(slave, issued, 0)
    }

    /// A sign of life of a slave whose clock is off.
    pub(super) fn off(&self, slave: &str, issued: Timestamp, clock: ClockOffset) -> Event {
        self.stored_present(&self.sign_of_life(slave, issued, 0, Some(clock)))
    }

    /// A sign of life that names the slave's newest report.
    pub(super) fn naming(&self, slave: &str, issued: Timestamp, sequence: u64) -> Event {
        self.stored_present(&self.sign_of_life(slave, issued, sequence, None))
    }

    fn sign_of_life(
        &self,
        slave: &str,
        issued: Timestamp,
        sequence: u64,
        clock: Option<ClockOffset>,
    ) -> Presence {
        let newest = (slave.parse().unwrap(), sequence);
        Presence {
            farm: self.farm,
            slave: slave.parse().unwrap(),
            instance: InstanceId([7; 16]),
            issued,
            sequence,
            newest: (sequence > 0).then(|| {
                let said = self.said.lock().unwrap();
                said.get(&newest).copied().unwrap_or(PayloadId([9; 32]))
            }),
            builders: BTreeMap::new(),
            keyring: Position::default(),
            load: 0,
            paused_until: None,
            rejected: 0,
            clock,
        }
    }

    /// The bus stores a sign of life a moment after it was given.
    pub(super) fn stored_present(&self, said: &Presence) -> Event {
        Event::Present {
            stored: said.issued.after(Duration::from_millis(1)),
            presence: self.verify(self.key(said.slave.as_str()), said),
        }
    }

    /// A sign of life of an idle slave, by a certain start of its process.
    pub(super) fn present_by(&self, instance: u8, slave: &str, issued: Timestamp) -> Event {
        self.stored_present(&Presence {
            instance: InstanceId([instance; 16]),
            ..self.sign_of_life(slave, issued, 0, None)
        })
    }

    /// What the results stream delivers, in the place of a report of foo-maple.
    pub(super) fn delivered(&self, sequence: u64, bytes: Vec<u8>) -> Entry {
        let builder = "foo-maple".parse().unwrap();
        let subject = Subjects::new(&self.farm).report(&"maple".parse().unwrap(), &builder);
        let delivery = Delivery {
            sequence,
            subject,
            stored: at(500),
            bytes: bytes.into(),
        };
        open_report(&self.reader, &delivery)
    }
}

pub(super) fn id(build: &Build) -> PayloadId {
    payload_id(&encode(&Command::Build(build.clone())))
}

pub(super) fn started(step: u16, started: Timestamp) -> ReportBody {
    let name = ["build-python", "test-project"][usize::from(step)];
    ReportBody::StepStarted {
        step,
        name: name.parse().unwrap(),
        started,
        script: log_digest(name.as_bytes()),
        mapped: None,
        isolation: Isolation::Namespaces,
        network: Network::Off,
    }
}

pub(super) fn ended(step: u16, exit: u8) -> ReportBody {
    let tests = TestResults {
        passed: 41,
        failed: u32::from(exit),
        skipped: 2,
        ..TestResults::default()
    };
    ReportBody::StepFinished {
        step,
        outcome: Outcome {
            verdict: Verdict::of_exit(exit),
            exit: Some(exit),
            signal: None,
            duration: Duration::from_millis(9_400),
            cpu: Some(Duration::from_millis(7_250)),
            peak_memory: Some(90 << 20),
            log: log_digest(b"hello\n"),
            log_bytes: 6,
            log_cut: 0,
            tests: (step == 1).then_some(tests),
            limit: None,
            peak_processes: Some(7),
            counted: Some(Counted::Sampled),
        },
    }
}

pub(super) fn finished(verdict: Verdict) -> ReportBody {
    ReportBody::Finished {
        verdict,
        log: log_digest(b"logs"),
        isolation: Isolation::Plain,
        detail: None,
        network: Network::On,
    }
}

/// A chunk of a log, of whatever build.
pub(super) fn chunk(step: u16, offset: u64, bytes: &[u8]) -> LogChunk {
    LogChunk {
        farm: FarmId([0; 32]),
        slave: "maple".parse().unwrap(),
        builder: "foo-maple".parse().unwrap(),
        command: PayloadId([0; 32]),
        step,
        offset,
        issued: Timestamp(0),
        bytes: bytes.to_vec().into(),
    }
}
