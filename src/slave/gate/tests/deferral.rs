//! What an owner has against starting anything now.

use super::*;

/// What keeps a command that would be admitted from being started, and for how long, in minutes.
type PutOff = fn(&mut Build, &mut Situation<'_>);

const PUT_OFF: &[(&str, &str, u64, PutOff)] = &[
    ("a pause", "D-PAUSED", 90, |_, now| {
        let pause = Pause {
            since: NOW,
            until: None,
            note: None,
        };
        now.held = Some((NOW.after(HOUR * 3 / 2), Hold::Paused(pause)));
    }),
    ("a drain", "D-DRAINING", 60, |_, now| {
        now.held = Some((NOW.after(HOUR), Hold::Draining));
    }),
    ("a panic", "D-PANIC", 60, |_, now| {
        now.held = Some((NOW.after(HOUR), Hold::Panic));
    }),
    (
        "what the owner said cannot be read",
        "D-OWNER-FILE",
        60,
        |_, now| now.held = Some((NOW.after(HOUR), Hold::Unreadable)),
    ),
    ("slave.toml cannot be acted on", "D-CONFIG", 10, |_, now| {
        now.misread = true;
    }),
    ("quiet hours", "D-QUIET", 600, |build, now| {
        // From 22:00 on; `NOW` is at 13:46:40.
        now.now = NOW.after(Duration::from_secs(29_600));
        build.accept_by = now.now.after(HOUR);
    }),
    ("a full disk", "D-DISK", 10, |_, now| {
        now.host.free_disk = Some((1 << 20) - 1);
    }),
    ("a load", "D-LOAD", 10, |_, now| now.host.load = Some(4.01)),
    ("a battery", "D-BATTERY", 10, |_, now| {
        now.host.on_battery = Some(true);
    }),
    (
        "of several, what lasts longest",
        "D-DRAINING",
        60,
        |_, now| {
            now.misread = true;
            now.held = Some((NOW.after(HOUR), Hold::Draining));
            now.host.load = Some(5.0);
        },
    ),
];

#[test]
fn each_thing_that_an_owner_has_against_it_puts_a_command_off_and_says_until_when() {
    let world = World::new();
    for (case, code, minutes, put_off) in PUT_OFF {
        let old = world.head();
        let (mut build, mut now) = (world.build(), situation(&old));
        put_off(&mut build, &mut now);
        let at = now.now;
        let head = Head {
            time: at,
            ..world.head()
        };
        now.head = Some(&head);
        let command = world.verified(&Command::Build(build));
        let Decision::Defer { until, why } = world.gate.decide(command, &now) else {
            panic!("{case} puts nothing off")
        };
        assert_eq!(why.code(), *code, "{case}: {why}");
        assert_eq!(until, at.after(Duration::from_secs(60 * minutes)), "{case}");
    }
    // None of it is said by a machine that is just within its owner's limits, or says nothing.
    let head = world.head();
    let now = Situation {
        host: Host {
            free_disk: Some(1 << 20),
            load: Some(4.0),
            on_battery: Some(false),
        },
        ..situation(&head)
    };
    let command = world.verified(&Command::Build(world.build()));
    let decision = world.gate.decide(command, &now);
    assert!(matches!(decision, Decision::Run(_)), "{decision:?}");
}

#[test]
fn what_is_refused_is_not_put_off_and_a_cancel_passes_whatever_the_owner_has_against_a_build() {
    let world = World::new();
    let head = world.head();
    let now = || Situation {
        held: Some((NOW.after(HOUR), Hold::Draining)),
        misread: true,
        ..situation(&head)
    };
    let mut build = world.build();
    build.steps[0].command = "format-disk".parse().unwrap();
    let command = world.verified(&Command::Build(build));
    let decision = world.gate.decide(command, &now());
    assert!(
        matches!(decision, Decision::Refuse(Refusal::Unmapped(_))),
        "{decision:?}"
    );
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
    let command = world.verified(&Command::Cancel(cancel));
    let decision = world.gate.decide(command, &now());
    assert!(matches!(decision, Decision::Cancel(_)), "{decision:?}");
}
