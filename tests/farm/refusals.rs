//! What a slave does not run, and what it says instead.

use std::time::Duration;

use pybots::model::{
    Build, BuilderName, Cancel, Command, FarmId, PayloadId, ReportBody, SlaveName, Text, Verdict,
};
use pybots::trust::{SecretKey, seal};

use crate::harness::Farm;
use crate::hostile::rejections;
use crate::process::eventually;
use crate::process::now;

/// A genuine command that must be refused in a signed report.
struct Case {
    code: &'static str,
    spoil: fn(&mut Build),
}

const CASES: &[Case] = &[
    Case {
        code: "E-SLAVE-KEY",
        spoil: |build| build.report_key = pybots::model::KeyId([1; 32]),
    },
    Case {
        code: "E-BUILDER",
        spoil: |build| build.builder = "baz-linux".parse().unwrap(),
    },
    Case {
        code: "E-EXPIRED",
        spoil: |build| build.accept_by = now(),
    },
    Case {
        code: "E-TOO-FAR",
        spoil: |build| build.accept_by = build.issued.after(Duration::from_secs(8 * 24 * 3600)),
    },
    Case {
        code: "E-CLOCK",
        spoil: |build| build.issued = now().after(Duration::from_secs(300)),
    },
    Case {
        code: "E-STEPS",
        spoil: |build| build.steps.clear(),
    },
    Case {
        code: "E-UNMAPPED",
        spoil: |build| build.steps[0].command = "format-disk".parse().unwrap(),
    },
    Case {
        code: "E-PARAMETER",
        spoil: |build| {
            build.steps[0].command = "with-version".parse().unwrap();
            build.steps[0].parameters.insert(
                "version".parse().unwrap(),
                Text::tidy("--upload-file=/etc/passwd"),
            );
        },
    },
    Case {
        code: "E-PARAMETER",
        spoil: |build| {
            build.steps[0]
                .parameters
                .insert("ld-preload".parse().unwrap(), Text::tidy("x"));
        },
    },
    Case {
        code: "E-PARAMETER",
        spoil: |build| build.steps[0].command = "with-version".parse().unwrap(),
    },
    Case {
        code: "E-DIGEST",
        spoil: |build| build.steps[0].script = Some(pybots::model::Digest([1; 32])),
    },
];

#[tokio::test]
async fn a03_a06_a07_a08_a60_a68_a_genuine_command_that_breaks_a_rule_is_refused_in_a_signed_report_and_nothing_runs()
 {
    let farm = Farm::with_slave().await;
    for (number, case) in (1..).zip(CASES) {
        let mut build = farm.order(number, &["record"]);
        (case.spoil)(&mut build);
        let sealed = farm.seal(&build);
        // Whatever the command says, the broker hands it to this slave.
        let (slave, builder) = ("maple".parse().unwrap(), "foo-linux".parse().unwrap());
        farm.publish(farm.bus.subjects().command(&slave, &builder), sealed.bytes)
            .await;
        let ending = farm.ending(sealed.id).await;
        let ReportBody::Refused { code, detail } = ending else {
            panic!("{}: {ending:?}", case.code)
        };
        assert_eq!(code.as_str(), case.code, "{detail}");
        assert!(detail.as_str().ends_with("Nothing ran."), "{detail}");
    }
    assert_eq!(farm.ran(), [""; 0]);
}

#[tokio::test]
async fn a03_a04_a30_a48_a51_a131_what_nobody_known_has_signed_is_counted_and_never_answered() {
    let farm = Farm::with_slave().await;
    let build = farm.order(1, &["record"]);
    let command = Command::Build(build.clone());
    let good = farm.seal(&build).bytes;
    let thief = SecretKey::generate().unwrap();
    let other_farm = FarmId([9; 32]);
    let elsewhere = Build {
        farm: other_farm,
        ..build.clone()
    };
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut reframed = vec![0xd8, 0x12];
    reframed.extend_from_slice(&good[1..]);
    let mut trailing = good.clone();
    trailing.push(0);
    let messages = [
        (
            "unsigned bytes",
            "E-ENVELOPE",
            pybots::wire::encode(&command),
        ),
        ("nothing at all", "E-ENVELOPE", Vec::new()),
        (
            "another key",
            "E-KEY",
            seal(&thief, &farm.id, &command).bytes,
        ),
        (
            "a report key",
            "E-KEY",
            seal(&farm.report_key(), &farm.id, &command).bytes,
        ),
        (
            "another farm",
            "E-SIGNATURE",
            seal(
                &farm.signing,
                &other_farm,
                &Command::Build(elsewhere.clone()),
            )
            .bytes,
        ),
        (
            "another farm inside",
            "E-FARM",
            seal(&farm.signing, &farm.id, &Command::Build(elsewhere)).bytes,
        ),
        (
            "another slave",
            "E-SLAVE",
            farm.seal(&Build {
                slave: "elm".parse().unwrap(),
                ..build.clone()
            })
            .bytes,
        ),
        ("one bit changed", "E-SIGNATURE", flipped),
        ("re-framed by a long tag", "E-ENVELOPE", reframed),
        ("a byte too many", "E-ENVELOPE", trailing),
        ("too long", "E-SIZE", vec![0xd2; 17 * 1024]),
    ];
    let subject = farm.bus.subjects().command(&build.slave, &build.builder);
    for (what, code, bytes) in messages {
        let before = rejections(&farm, code);
        farm.publish(subject.clone(), bytes).await;
        eventually(what, || async {
            (rejections(&farm, code) > before).then_some(())
        })
        .await;
    }
    assert_eq!(farm.ran(), [""; 0]);
    assert_eq!(farm.reports().await.len(), 0);

    farm.settle(2).await;
}

#[tokio::test]
async fn a01_a115_a_refused_command_that_comes_again_gets_no_second_answer() {
    let farm = Farm::with_slave().await;
    let mut build = farm.order(1, &["record"]);
    build.builder = "baz-linux".parse().unwrap();
    let sealed = farm.seal(&build);
    let (slave, builder) = ("maple".parse().unwrap(), "foo-linux".parse().unwrap());
    for _ in 0..3 {
        farm.publish(
            farm.bus.subjects().command(&slave, &builder),
            sealed.bytes.clone(),
        )
        .await;
    }
    eventually("the replays are counted", || async {
        (rejections(&farm, "E-REPLAY") == 2).then_some(())
    })
    .await;
    farm.settle(2).await;
    let answers = farm
        .reports()
        .await
        .iter()
        .filter(|report| report.body().command == sealed.id)
        .count();
    assert_eq!(answers, 1);
}

#[tokio::test]
async fn a01_the_same_command_twice_runs_once_also_across_a_restart() {
    let mut farm = Farm::with_slave().await;
    let build = farm.order(1, &["record"]);
    let id = farm.send(&build).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    farm.send(&build).await;
    eventually("the replay is counted", || async {
        (rejections(&farm, "E-REPLAY") == 1).then_some(())
    })
    .await;
    farm.slave.as_mut().unwrap().kill();
    farm.start_slave().await;
    farm.send(&build).await;
    eventually("the replay is counted again", || async {
        (rejections(&farm, "E-REPLAY") == 2).then_some(())
    })
    .await;
    assert_eq!(farm.ran().len(), 1);
    let endings = farm
        .reports()
        .await
        .iter()
        .filter(|report| report.body().body.verdict().is_some())
        .count();
    assert_eq!(endings, 1, "a replay is kept out of the results stream");
}

#[tokio::test]
async fn a25_without_a_fresh_head_nothing_is_started() {
    let mut farm = Farm::new().await;
    let keyring = std::fs::read(farm.path("keys/test-farm.keyring")).unwrap();
    farm.publish(
        farm.bus
            .subjects()
            .keyring(pybots::model::Position::default()),
        keyring,
    )
    .await;
    farm.start_slave().await;
    let id = farm.send(&farm.order(1, &["record"])).await;
    let ReportBody::Refused { code, .. } = farm.ending(id).await else {
        panic!("not refused")
    };
    assert_eq!(code.as_str(), "E-STALE-HEAD");
    farm.publish_keyring_and_head().await;
    farm.settle(2).await;
    assert_eq!(farm.ran().len(), 1);
}

#[tokio::test]
async fn a132_a_cancel_that_comes_first_stops_the_command_that_follows() {
    let farm = Farm::with_slave().await;
    let build = farm.order(1, &["record"]);
    cancel(&farm, farm.seal(&build).id).await;
    let id = farm.send(&build).await;
    let ReportBody::Refused { code, .. } = farm.ending(id).await else {
        panic!("not refused")
    };
    assert_eq!(code.as_str(), "E-CANCELLED");
    assert_eq!(farm.ran(), [""; 0]);
}

#[tokio::test]
async fn a80_a_cancel_ends_a_running_build() {
    let farm = Farm::new().await;
    farm.script("endless.sh", "echo begun\nexec sleep 1000");
    farm.write_slave_toml("[commands.endless]\nscript = \"endless.sh\"");
    let farm = started(farm).await;
    let id = farm.send(&farm.order(1, &["endless", "record"])).await;
    eventually("the script runs", || async {
        farm.log(&"foo-linux/1".parse().unwrap())
            .await
            .contains("begun")
            .then_some(())
    })
    .await;
    cancel(&farm, id).await;
    assert_eq!(farm.verdict(id).await, Verdict::Cancelled);
    assert_eq!(farm.ran(), [""; 0], "no further step");
}

async fn started(mut farm: Farm) -> Farm {
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    farm
}

pub(crate) async fn cancel(farm: &Farm, target: PayloadId) {
    let (slave, builder): (SlaveName, BuilderName) =
        ("maple".parse().unwrap(), "foo-linux".parse().unwrap());
    let cancel = Cancel {
        farm: farm.id,
        slave: slave.clone(),
        builder: builder.clone(),
        target,
        issued: now(),
        reason: Text::tidy("a test"),
        requester: None,
        request: None,
    };
    let sealed = seal(&farm.signing, &farm.id, &Command::Cancel(cancel));
    farm.publish(farm.bus.subjects().command(&slave, &builder), sealed.bytes)
        .await;
}
