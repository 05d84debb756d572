//! Each rule of the gate, broken alone: what is refused, with which code, and that nothing else is said first.

mod deferral;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::model::{Digest, FarmId, Head, Keyring, Position, SigningKeyWindow, Source, Step};
use crate::slave::host::Host;
use crate::slave::owner::{Hold, Pause};
use crate::trust::{
    Fork, Purpose, Reader, SecretKey, Verified, commitment, countersign, payload_id, seal,
};

const NOW: Timestamp = Timestamp(1_000_000_000_000);
/// The digest of the script when it was mapped.
const MAPPED: Digest = Digest([5; 32]);
const HOUR: Duration = Duration::from_secs(3600);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn at(generation: u32, serial: u32) -> Position {
    Position { generation, serial }
}

/// A farm, and a slave `maple` of it with report key 3, builder `foo` and the command id `test`.
struct World {
    farm: FarmId,
    reader: Reader,
    gate: Gate,
}

impl World {
    fn new() -> Self {
        Self::with("")
    }

    /// The same with more lines at the top of slave.toml.
    fn with(more: &str) -> Self {
        let keyring = Keyring {
            name: "gate".parse().unwrap(),
            position: at(0, 0),
            previous: None,
            issued: Timestamp(0),
            expires: Timestamp(u64::MAX),
            master_keys: vec![key(1).public()],
            threshold: 1,
            commitment: commitment(1, &[key(9).public()]),
            signing_keys: vec![SigningKeyWindow {
                key: key(2).public(),
                not_before: Timestamp(0),
                not_after: Timestamp(u64::MAX),
            }],
            revoked: vec![],
        };
        let envelopes = countersign(&[&key(1)], &keyring).unwrap();
        let farm = FarmId(payload_id(envelopes.payload()).0);
        let digest = MAPPED;
        let text = format!(
            r#"{more}name = "maple"
farm = "{farm}"
bus = "nats://127.0.0.1:4222"
state = "state"
[builders.foo]
[commands.test]
script = "test.sh"
digest = "{digest}"
parameters.version = {{ type = "word" }}
[limits]
free-disk-mebibytes = 1
load = 4.0
[schedule]
quiet = ["22:00-08:00"]
time-zone = "UTC"
[periods]
max-head-age-minutes = 60
"#
        );
        let config = SlaveConfig::parse(&text, Path::new("/")).unwrap();
        Self {
            farm,
            reader: Reader::new(farm, &envelopes.to_bytes()).unwrap(),
            gate: Gate::new(config, key(3).id(), Abilities::none()),
        }
    }

    fn build(&self) -> Build {
        let parameters = BTreeMap::from([("version".parse().unwrap(), Text::tidy("3.0"))]);
        Build {
            farm: self.farm,
            slave: "maple".parse().unwrap(),
            report_key: key(3).id(),
            builder: "foo".parse().unwrap(),
            number: 7,
            issued: NOW,
            accept_by: NOW.after(HOUR),
            finish_by: NOW.after(2 * HOUR),
            keyring: at(0, 2),
            project: "foo".parse().unwrap(),
            sources: vec![Source {
                repository: "python".parse().unwrap(),
                branch: "main".parse().unwrap(),
                revision: "a".repeat(40).parse().unwrap(),
            }],
            covers: vec![],
            steps: vec![Step {
                command: "test".parse().unwrap(),
                parameters,
                timeout: HOUR,
                halt_on_failure: true,
                warn_only: false,
                always_run: false,
                script: None,
            }],
            reason: Text::default(),
            requester: None,
            request: None,
            retry_of: None,
            attempt: 1,
            experiment: None,
        }
    }

    fn verified(&self, command: &Command) -> Verified<Command> {
        let sealed = seal(&key(2), &self.farm, command);
        let purpose = Purpose::Admit { now: NOW };
        self.reader.open(&sealed.bytes, purpose).unwrap()
    }

    fn head(&self) -> Head {
        Head {
            farm: self.farm,
            keyring: at(0, 2),
            roster: 1,
            time: NOW.before(HOUR),
        }
    }
}

fn situation(head: &Head) -> Situation<'_> {
    Situation {
        now: NOW,
        head: Some(head),
        keyring: at(0, 2),
        highest: 6,
        keys_fault: None,
        restored: None,
        seen: false,
        cancelled: false,
        script: &|_| Ok(MAPPED),
        held: None,
        misread: false,
        host: Host::default(),
    }
}

/// Spoils a command that would be admitted, or the situation that it comes into.
type Spoil = fn(&mut Build, &mut Situation<'_>);

const CASES: &[(&str, &str, Spoil)] = &[
    ("a03 for another slave", "E-SLAVE", |build, _| {
        build.slave = "elm".parse().unwrap();
    }),
    ("a03 for a namesake", "E-SLAVE-KEY", |build, _| {
        build.report_key = key(4).id();
    }),
    ("a03 for another builder", "E-BUILDER", |build, _| {
        build.builder = "bar".parse().unwrap();
    }),
    (
        "a21 two keyrings contradict each other",
        "E-FORK",
        |_, now| {
            now.keys_fault = Some(KeysFault::Forked(Fork {
                position: at(0, 2),
                ids: [PayloadId([1; 32]), PayloadId([2; 32])],
            }));
        },
    ),
    (
        "the newest keyring has expired",
        "E-KEYRING-EXPIRED",
        |_, now| {
            now.keys_fault = Some(KeysFault::Expired {
                position: at(0, 2),
                ago: HOUR,
            });
        },
    ),
    ("a25 no head", "E-STALE-HEAD", |_, now| now.head = None),
    (
        "a25 a head that is too old",
        "E-STALE-HEAD",
        |build, now| {
            now.now = NOW.after(Duration::from_secs(1));
            build.issued = now.now;
        },
    ),
    (
        "a25 the head speaks of a newer keyring",
        "E-BEHIND",
        |_, now| {
            now.keyring = at(0, 1);
        },
    ),
    (
        "the command speaks of a newer keyring",
        "E-BEHIND",
        |build, _| {
            build.keyring = at(1, 0);
        },
    ),
    ("a08 issued in the future", "E-CLOCK", |build, _| {
        build.issued = NOW.after(Build::CLOCK_SKEW).after(Duration::from_micros(1));
    }),
    ("a06 expired", "E-EXPIRED", |build, _| build.accept_by = NOW),
    ("a07 to be accepted for ever", "E-TOO-FAR", |build, _| {
        build.accept_by = build
            .issued
            .after(Build::MAX_ACCEPT_WINDOW)
            .after(Duration::from_micros(1));
    }),
    ("a11 fast-forward", "E-NUMBER", |build, _| {
        build.number = 6 + Build::MAX_JUMP + 1;
    }),
    (
        "a138 from before the disk was restored",
        "E-RESTORED",
        |_, now| {
            now.restored = Some(NOW.after(Duration::from_micros(1)));
        },
    ),
    ("a132 cancelled before it came", "E-CANCELLED", |_, now| {
        now.cancelled = true;
    }),
    ("no steps", "E-STEPS", |build, _| build.steps.clear()),
    ("too many steps", "E-STEPS", |build, _| {
        build.steps = vec![build.steps[0].clone(); Gate::MAX_STEPS + 1];
    }),
    ("a63 not mapped", "E-UNMAPPED", |build, _| {
        build.steps[0].command = "format-disk".parse().unwrap();
    }),
    ("a60 outside the grammar", "E-PARAMETER", |build, _| {
        let name = "version".parse().unwrap();
        build.steps[0].parameters.insert(name, Text::tidy("--x=y"));
    }),
    ("a62 a parameter nobody knows", "E-PARAMETER", |build, _| {
        let name = "ld-preload".parse().unwrap();
        build.steps[0].parameters.insert(name, Text::tidy("x"));
    }),
    ("a parameter is missing", "E-PARAMETER", |build, _| {
        build.steps[0].parameters.clear();
    }),
    ("a65 the script is not safe", "E-SCRIPT", |_, now| {
        now.script = &|_| Err("it is setuid or setgid");
    }),
    ("a90 a secret is open to others", "E-SCRIPT", |_, now| {
        now.script = &|_| Err("a secret of it is open to others");
    }),
    (
        "a68 another script than was mapped",
        "E-CHANGED",
        |_, now| {
            now.script = &|_| Ok(Digest([6; 32]));
        },
    ),
    (
        "a68 another script than was mapped, whatever the master expects",
        "E-CHANGED",
        |build, now| {
            now.script = &|_| Ok(Digest([6; 32]));
            build.steps[0].script = Some(Digest([6; 32]));
        },
    ),
    ("a68 another script is expected", "E-DIGEST", |build, _| {
        build.steps[0].script = Some(Digest([6; 32]));
    }),
];

#[test]
fn each_rule_that_is_broken_alone_is_the_reason_why_nothing_runs() {
    let world = World::new();
    let head = world.head();
    for (case, code, spoil) in CASES {
        let (mut build, mut now) = (world.build(), situation(&head));
        spoil(&mut build, &mut now);
        let command = world.verified(&Command::Build(build));
        let Decision::Refuse(refusal) = world.gate.decide(command, &now) else {
            panic!("{case} was not refused")
        };
        assert_eq!(refusal.code(), *code, "{case}: {refusal}");
        assert!(refusal.to_string().ends_with(". Nothing ran."), "{refusal}");
    }
    // None of that was refused because of something else.
    let command = world.verified(&Command::Build(world.build()));
    let decision = world.gate.decide(command, &situation(&head));
    assert!(matches!(decision, Decision::Run(_)), "{decision:?}");
}

#[test]
fn a68_an_owner_who_accepts_changes_or_recorded_no_digest_is_not_asked() {
    let changed = |world: &World| {
        let head = world.head();
        let now = Situation {
            script: &|_| Ok(Digest([6; 32])),
            ..situation(&head)
        };
        let command = world.verified(&Command::Build(world.build()));
        let Decision::Run(admitted) = world.gate.decide(command, &now) else {
            return None;
        };
        Some(admitted.recipes()[0].mapping.digest)
    };
    let accepting = World::with("script-change = \"accept\"\n");
    assert_eq!(changed(&accepting), Some(Some(MAPPED)));
    let mut unrecorded = World::new();
    for mapping in unrecorded.gate.config.commands.values_mut() {
        mapping.digest = None;
    }
    assert_eq!(changed(&unrecorded), Some(None));
    assert_eq!(changed(&World::with("script-change = \"ask\"\n")), None);
}

#[test]
fn a01_what_was_decided_is_a_replay_before_every_other_rule() {
    let world = World::new();
    let head = world.head();
    let mut build = world.build();
    build.builder = "bar".parse().unwrap();
    let now = Situation {
        seen: true,
        head: None,
        ..situation(&head)
    };
    let command = world.verified(&Command::Build(build));
    assert!(matches!(world.gate.decide(command, &now), Decision::Replay));
}

#[test]
fn a_cancel_passes_a_stale_head_and_a_fork_but_only_for_the_slave_and_builder_that_it_names() {
    let world = World::new();
    let head = world.head();
    let now = || Situation {
        head: None,
        keys_fault: Some(KeysFault::Expired {
            position: at(0, 2),
            ago: HOUR,
        }),
        ..situation(&head)
    };
    let cancel = Cancel {
        farm: world.farm,
        slave: "maple".parse().unwrap(),
        builder: "foo".parse().unwrap(),
        target: PayloadId([8; 32]),
        issued: NOW,
        reason: Text::default(),
        requester: None,
        request: None,
    };
    let decide = |cancel: &Cancel| {
        let command = world.verified(&Command::Cancel(cancel.clone()));
        world.gate.decide(command, &now())
    };
    assert!(matches!(decide(&cancel), Decision::Cancel(_)));
    let elsewhere = Cancel {
        slave: "elm".parse().unwrap(),
        ..cancel.clone()
    };
    let other = Cancel {
        builder: "bar".parse().unwrap(),
        ..cancel
    };
    for (cancel, code) in [(elsewhere, "E-SLAVE"), (other, "E-BUILDER")] {
        let Decision::Refuse(refusal) = decide(&cancel) else {
            panic!("{code}")
        };
        assert_eq!(refusal.code(), code);
    }
}

#[test]
fn numbers_may_jump_as_far_as_a_bus_that_lost_its_store_may_need() {
    let world = World::new();
    let head = world.head();
    let mut build = world.build();
    build.number = 6 + Build::MAX_JUMP;
    let command = world.verified(&Command::Build(build));
    let decision = world.gate.decide(command, &situation(&head));
    assert!(matches!(decision, Decision::Run(_)), "{decision:?}");
}

#[test]
fn each_bound_is_exact() {
    let world = World::new();
    let head = world.head();
    let at_the_bound: &[Spoil] = &[
        |build, _| build.issued = NOW.after(Build::CLOCK_SKEW),
        |build, _| build.accept_by = NOW.after(Duration::from_micros(1)),
        |build, _| build.accept_by = build.issued.after(Build::MAX_ACCEPT_WINDOW),
        |_, now| now.restored = Some(NOW),
        |build, _| build.steps = vec![build.steps[0].clone(); Gate::MAX_STEPS],
    ];
    for (case, spoil) in at_the_bound.iter().enumerate() {
        let (mut build, mut now) = (world.build(), situation(&head));
        spoil(&mut build, &mut now);
        let command = world.verified(&Command::Build(build.clone()));
        let id = command.id();
        let Decision::Run(admitted) = world.gate.decide(command, &now) else {
            panic!("case {case} was not admitted")
        };
        assert_eq!((admitted.id(), admitted.build()), (id, &build));
        assert_eq!(admitted.signer(), key(2).id());
        assert_eq!(admitted.recipes().len(), build.steps.len());
        assert!(admitted.recipes()[0].mapping.script.ends_with("test.sh"));
    }
}

#[test]
fn only_a_build_that_was_meant_for_this_slave_and_whose_time_has_passed_is_answered_as_expired() {
    let world = World::new();
    let expired = |spoil: fn(&mut Build), now: Timestamp| {
        let mut build = world.build();
        spoil(&mut build);
        let refusal = world.gate.expired(&Command::Build(build), now);
        refusal.map(|refusal| refusal.code())
    };
    let end = world.build().accept_by;
    assert_eq!(expired(|_| {}, end), Some("E-EXPIRED"));
    assert_eq!(expired(|_| {}, end.before(Duration::from_micros(1))), None);
    let others: [fn(&mut Build); 3] = [
        |build| build.slave = "elm".parse().unwrap(),
        |build| build.report_key = key(4).id(),
        |build| build.builder = "bar".parse().unwrap(),
    ];
    for spoil in others {
        assert_eq!(expired(spoil, end), None);
    }
}
