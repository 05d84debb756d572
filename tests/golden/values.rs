//! One value of every kind, with every field that it can have, and the least of those with optional ones.

mod asking;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use pybots::model::{
    Build, Cancel, Change, ClockOffset, Command, Commit, Counted, Digest, Experiment,
    ExperimentRole, FailedTest, Head, InstanceId, Isolation, Lead, Limit, LogChunk, Network,
    Outcome, PayloadId, Position, Presence, Report, ReportBody, Revision, Source, Step,
    TestResults, Text, Timestamp, Verdict,
};

use crate::farm::{self, Key, NOW, days};

pub(crate) use asking::{answer, first_release, grant, lease, release, request, wishes};

/// A name of any sort, or a branch, or a revision.
pub(crate) fn name<T>(raw: &str) -> T
where
    T: FromStr,
    T::Err: Debug,
{
    raw.parse().expect("the fixed values are well-formed")
}

pub(crate) fn text(text: &str) -> Text {
    text.to_owned()
        .try_into()
        .expect("the fixed values are well-formed")
}

fn revision(digit: char) -> Revision {
    name(&String::from(digit).repeat(40))
}

fn seconds(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

pub(crate) fn head() -> Head {
    Head {
        farm: farm::golden().0,
        keyring: Position::default(),
        roster: 7,
        time: NOW,
    }
}

pub(crate) fn past_head() -> Head {
    Head {
        time: NOW.before(days(150)),
        ..head()
    }
}

pub(crate) fn lead() -> Lead {
    Lead {
        farm: farm::golden().0,
        lease: 3,
        instance: InstanceId([0x61; 16]),
        config: Digest([0x62; 32]),
        issued: NOW,
    }
}

fn source(repository: &str, branch: &str, digit: char) -> Source {
    Source {
        repository: name(repository),
        branch: name(branch),
        revision: revision(digit),
    }
}

pub(crate) fn change() -> Change {
    let commit = |digit, author, subject| Commit {
        revision: revision(digit),
        author: text(author),
        subject: text(subject),
        committed: NOW.before(Duration::from_secs(90)),
    };
    Change {
        farm: farm::golden().0,
        repository: name("cpython"),
        branch: name("main"),
        revision: revision('a'),
        previous: Some(revision('9')),
        seen: NOW,
        commits: vec![
            commit('a', "Grace Hopper", "gh-1: Mend what was broken"),
            commit('b', "Zoë Ünal", "gh-2: Break it — but gently"),
        ],
        more: 4,
        rewritten: true,
        paths: Some(vec![text("Lib/ast.py"), text("Doc/née.rst")]),
    }
}

pub(crate) fn first_change() -> Change {
    Change {
        branch: name("feature/no_gil-3.15"),
        // As long as git's names by SHA-256 are.
        revision: name(&"0123456789abcdef".repeat(4)),
        previous: None,
        commits: vec![],
        more: 0,
        rewritten: false,
        paths: None,
        ..change()
    }
}

/// Its parameters tell the order of encoded keys ("b" first, being shorter) from that of the alphabet ("aa" first).
pub(crate) fn build() -> Build {
    let parameter = |parameter, value| (name(parameter), text(value));
    Build {
        farm: farm::golden().0,
        slave: name("oak"),
        report_key: Key::OakReport.id(),
        builder: name("foo-oak"),
        number: 42,
        issued: NOW,
        accept_by: seconds(3_600),
        finish_by: seconds(10_800),
        keyring: Position::default(),
        project: name("foo"),
        sources: vec![
            source("cpython", "main", 'a'),
            source("foo", "release/2.0", 'c'),
        ],
        covers: vec![PayloadId([0x63; 32]), PayloadId([0x64; 32])],
        steps: vec![
            Step {
                command: name("build-python"),
                parameters: BTreeMap::from([
                    parameter("aa", "2"),
                    parameter("b", "1"),
                    parameter("with-a-name-of-24-bytes-", "--enable-shared"),
                ]),
                timeout: Duration::from_millis(1_800_500),
                halt_on_failure: true,
                warn_only: false,
                always_run: false,
                script: Some(Digest([0x65; 32])),
            },
            Step {
                command: name("clean.up_all"),
                parameters: BTreeMap::new(),
                timeout: Duration::from_secs(60),
                halt_on_failure: false,
                warn_only: true,
                always_run: true,
                script: None,
            },
        ],
        reason: text("cpython main moved to aaaaaaaaaa"),
        requester: Some(text("Ada Lovelace")),
        request: Some(PayloadId([0x66; 32])),
        retry_of: Some(41),
        attempt: 2,
        experiment: Some(experiment()),
    }
}

fn experiment() -> Experiment {
    Experiment {
        id: PayloadId([0x67; 32]),
        role: ExperimentRole::Bisect,
        baseline: vec![source("cpython", "main", '8')],
    }
}

pub(crate) fn least_build() -> Build {
    Build {
        number: 1,
        sources: vec![],
        covers: vec![],
        steps: vec![],
        reason: Text::default(),
        requester: None,
        request: None,
        retry_of: None,
        attempt: 1,
        experiment: None,
        ..build()
    }
}

pub(crate) fn cancel() -> Cancel {
    Cancel {
        farm: farm::golden().0,
        slave: name("oak"),
        builder: name("foo-oak"),
        target: PayloadId([0x68; 32]),
        issued: NOW,
        reason: text("superseded"),
        requester: None,
        request: None,
    }
}

pub(crate) fn asked_cancel() -> Cancel {
    Cancel {
        requester: Some(text("ada")),
        request: Some(PayloadId([0x66; 32])),
        ..cancel()
    }
}

pub(crate) fn report(body: ReportBody) -> Report {
    Report {
        farm: farm::golden().0,
        slave: name("oak"),
        instance: InstanceId([0x69; 16]),
        builder: name("foo-oak"),
        command: PayloadId([0x68; 32]),
        number: 42,
        sequence: 1_000,
        previous: Some(PayloadId([0x6a; 32])),
        keyring: Position::default(),
        issued: NOW,
        experiment: Some(experiment()),
        body,
    }
}

/// The last word of a slave that has left since: its line is closed, what it said stays said.
pub(crate) fn late_report() -> Report {
    Report {
        slave: name("yew"),
        builder: name("foo-yew"),
        sequence: 1,
        previous: None,
        issued: NOW.before(days(4)),
        experiment: None,
        ..report(ReportBody::Lost {
            detail: text("the slave was stopped while the build ran"),
        })
    }
}

pub(crate) fn bodies() -> Vec<(&'static str, ReportBody)> {
    let outcome = Outcome {
        verdict: Verdict::Failed,
        exit: Some(1),
        signal: None,
        duration: Duration::from_millis(61_234),
        cpu: Some(Duration::from_millis(118_400)),
        peak_memory: Some(734_003_200),
        log: Digest([0x6d; 32]),
        log_bytes: 70_000,
        log_cut: 12,
        tests: Some(TestResults {
            passed: 400,
            failed: 2,
            skipped: 17,
            failing: vec![FailedTest {
                name: text("test_html.EntityTest.test_unescape"),
                message: Some(text("AssertionError: '&' != '&amp;'")),
            }],
            unlisted: 1,
            warnings: vec![text("junit.xml: ends in the middle of an element")],
        }),
        limit: None,
        peak_processes: Some(9),
        counted: Some(Counted::Sampled),
    };
    let killed = Outcome {
        verdict: Verdict::TimedOut,
        exit: None,
        signal: Some(9),
        cpu: None,
        peak_memory: None,
        log_bytes: 0,
        log_cut: 0,
        tests: None,
        limit: Some(Limit::SilentTime),
        peak_processes: None,
        counted: None,
        ..outcome.clone()
    };
    let finished = |verdict, detail| ReportBody::Finished {
        verdict,
        log: Digest([0x6b; 32]),
        isolation: Isolation::Namespaces,
        detail,
        network: Network::NoTcp,
    };
    vec![
        (
            "report-accepted",
            ReportBody::Accepted {
                received: NOW.before(Duration::from_micros(1_500)),
            },
        ),
        (
            "report-refused",
            ReportBody::Refused {
                code: text("E-EXPIRED"),
                detail: text("the command was to be accepted by 17:59; nothing ran"),
            },
        ),
        (
            "report-deferred",
            ReportBody::Deferred {
                until: seconds(7_200),
            },
        ),
        (
            "report-step-started",
            ReportBody::StepStarted {
                step: 0,
                name: name("build-python"),
                started: NOW,
                script: Digest([0x65; 32]),
                mapped: Some(Digest([0x66; 32])),
                isolation: Isolation::Namespaces,
                network: Network::Off,
            },
        ),
        (
            "report-step-finished",
            ReportBody::StepFinished { step: 0, outcome },
        ),
        (
            "report-step-killed",
            ReportBody::StepFinished {
                step: 1,
                outcome: killed,
            },
        ),
        ("report-finished", finished(Verdict::Passed, None)),
        (
            "report-finished-with-a-word",
            finished(Verdict::Errored, Some(text("the disk is full"))),
        ),
        (
            "report-lost",
            ReportBody::Lost {
                detail: text("the machine lost its power"),
            },
        ),
    ]
}

pub(crate) fn log() -> LogChunk {
    LogChunk {
        farm: farm::golden().0,
        slave: name("oak"),
        builder: name("foo-oak"),
        command: PayloadId([0x68; 32]),
        step: 1,
        offset: 65_536,
        issued: NOW,
        // As the script wrote it: not text, and nothing that a viewer could print as it stands.
        bytes: (&b"ok\n\x1b[31mFAILED\x1b[0m \xff\x00\r\n"[..]).into(),
    }
}

pub(crate) fn empty_log() -> LogChunk {
    LogChunk {
        step: 0,
        offset: 0,
        bytes: bytes::Bytes::new(),
        ..log()
    }
}

pub(crate) fn presence() -> Presence {
    Presence {
        farm: farm::golden().0,
        slave: name("oak"),
        instance: InstanceId([0x69; 16]),
        issued: NOW,
        sequence: 1_000,
        newest: Some(PayloadId([0x6c; 32])),
        builders: BTreeMap::from([(name("foo-oak"), 42), (name("z-oak"), 300)]),
        keyring: Position::default(),
        load: 215,
        paused_until: Some(seconds(1_800)),
        rejected: 70_000,
        clock: Some(ClockOffset(-38_000_000)),
    }
}

pub(crate) fn first_presence() -> Presence {
    Presence {
        sequence: 0,
        newest: None,
        builders: BTreeMap::new(),
        load: 0,
        paused_until: None,
        rejected: 0,
        clock: None,
        ..presence()
    }
}

pub(crate) fn command_to_cancel() -> Command {
    Command::Cancel(cancel())
}

pub(crate) fn command_to_build() -> Command {
    Command::Build(build())
}

/// A build that answers so many changes.
pub(crate) fn command_covering(changes: usize) -> Command {
    Command::Build(Build {
        covers: vec![PayloadId([0x63; 32]); changes],
        ..build()
    })
}
