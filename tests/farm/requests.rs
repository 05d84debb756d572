//! What people ask of the master, and what they see of it. Most of the time the test itself stands in for the master.

pub(crate) mod desk;
mod who;

use pybots::model::{Build, Source, Verdict, Wish};
use pybots::trust::{SecretKey, seal};

use self::desk::{Desk, denial};
use crate::harness::Farm;
use crate::process::eventually_or;
use crate::refusals::cancel;

#[tokio::test]
async fn who_waits_for_a_build_is_told_step_by_step_and_at_the_end_whether_it_went_well() {
    let farm = Farm::new().await;
    farm.script("fail.sh", "exit 1");
    farm.write_slave_toml("[commands.fail]\nscript = \"fail.sh\"");
    let mut desk = Desk::open(farm).await;
    desk.farm.start_slave().await;
    let force = [
        "build",
        "force",
        "foo-linux",
        "--reason",
        "try it",
        "--wait",
    ];
    let revision = format!("python={}", "a".repeat(40));
    for (number, step, more, exit, verdict) in [
        (1, "record", &[][..], 0, "✓ passed"),
        (
            2,
            "fail",
            &["--revision", revision.as_str()][..],
            3,
            "✗ FAILED",
        ),
    ] {
        let mut asking = desk.start(&[&force, more].concat());
        let (id, request) = desk.asked().await;
        assert_eq!(request.reason.as_str(), "try it");
        let order = desk.farm.order(number, &[step]);
        let sources = match more {
            [] => Vec::new(),
            _ => order.sources.clone(),
        };
        let builder = order.builder.clone();
        assert_eq!(request.wish, Wish::Force { builder, sources });
        desk.answer(id, None).await;
        // Another build of the same builder at the same time is not the one that was asked for.
        let other = desk.farm.order(number + 10, &["record"]);
        desk.farm.send(&other).await;
        desk.farm
            .send(&Build {
                request: Some(id),
                ..order
            })
            .await;
        assert_eq!(asking.wait(), Some(exit), "{}", asking.said());
        let said = asking.said();
        let build = format!("foo-linux/{number}");
        let mut rest = said.as_str();
        for part in [
            "asked as alice: request SHA256:",
            "ok  granted: foo-linux builds as soon as its turn comes",
            &format!("{build}  ordered from maple"),
            &format!("{build}  accepted"),
            &format!("{build}  step 1 of 1 {step}\n"),
            &format!("{build}  step 1 of 1 {step} "),
            &format!("{build}  {verdict}, took "),
        ] {
            let at = rest
                .find(part)
                .unwrap_or_else(|| panic!("{part:?} in {said}"));
            rest = &rest[at + part.len()..];
        }
        assert!(!said.contains(&other.id().to_string()), "{said}");
        assert!(!said.contains('\x1b'), "no escape reaches a pipe: {said}");
    }
}

#[tokio::test]
async fn a_program_hears_each_thing_that_happens_as_an_object() {
    let mut desk = Desk::open(Farm::new().await).await;
    desk.farm.start_slave().await;
    let mut asking = desk.start(&[
        "build",
        "force",
        "foo-linux",
        "--reason",
        "try it",
        "--wait",
        "--json",
    ]);
    let (id, _) = desk.asked().await;
    desk.answer(id, None).await;
    let order = desk.farm.order(1, &["record"]);
    desk.farm
        .send(&Build {
            request: Some(id),
            ..order
        })
        .await;
    assert_eq!(asking.wait(), Some(0), "{}", asking.said());
    let said = asking.said();
    let events = said.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["schema"], "pybots.request.v1");
        assert_eq!(event["request"], id.to_string());
        event
    });
    let events: Vec<_> = events.collect();
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "stored",
            "granted",
            "ordered",
            "accepted",
            "step-started",
            "step-finished",
            "over"
        ]
    );
    assert_eq!(events[6]["build"], "foo-linux/1");
    assert_eq!(events[6]["verdict"], "passed");
}

#[tokio::test]
async fn a_denial_is_told_with_its_code_and_only_one_that_the_master_has_signed() {
    let desk = Desk::open(Farm::new().await).await;
    let mut asking = desk.start(&["build", "force", "foo-linux", "--reason", "try it"]);
    let (id, _) = desk.asked().await;
    let refused = desk.word(id, Some(denial("E-FORGED", "a forgery")));
    let thief = SecretKey::generate().unwrap();
    let other_farm = pybots::model::FarmId([9; 32]);
    for forgery in [
        pybots::wire::encode(&refused),
        seal(&thief, &desk.farm.id, &refused).bytes,
        seal(&desk.key, &desk.farm.id, &refused).bytes,
        seal(&desk.farm.report_key(), &desk.farm.id, &refused).bytes,
        seal(&desk.farm.signing, &other_farm, &refused).bytes,
        // Genuine, and about something else.
        desk.sealed(&desk.word(pybots::model::PayloadId([1; 32]), refused.denial.clone())),
    ] {
        desk.publish_answer(forgery).await;
    }
    let sentence = "alice may not force foo-linux";
    desk.answer(id, Some(denial("E-NOT-ALLOWED", sentence)))
        .await;
    assert_eq!(asking.wait(), Some(5), "{}", asking.said());
    let said = asking.said();
    assert!(
        said.contains(&format!("error: denied, E-NOT-ALLOWED: {sentence}\n")),
        "{said}"
    );
    assert!(!said.contains("E-FORGED"), "{said}");
}

#[tokio::test]
async fn without_an_answer_it_is_said_that_the_request_stays_and_without_a_bus_that_nothing_was_asked()
 {
    let mut desk = Desk::open(Farm::new().await).await;
    let force = [
        "build",
        "force",
        "foo-linux",
        "--reason",
        "try it",
        "--answer-seconds",
        "1",
    ];
    let mut asking = desk.start(&force);
    assert_eq!(asking.wait(), Some(7), "{}", asking.said());
    for part in [
        "the master has not answered within 1 s",
        "for an hour it may still be acted on",
        "[requesters.alice]",
    ] {
        assert!(asking.said().contains(part), "{part}: {}", asking.said());
    }
    desk.asked().await;
    desk.farm.server.kill();
    let mut asking = desk.start(&force);
    assert_eq!(asking.wait(), Some(6), "{}", asking.said());
    assert!(
        asking.said().contains("Nothing was asked."),
        "{}",
        asking.said()
    );
}

#[tokio::test]
async fn what_cannot_be_is_told_before_anything_is_asked() {
    let mut desk = Desk::open(Farm::new().await).await;
    desk.farm.start_slave().await;
    desk.farm.settle(1).await;
    let short = ["--revision", "python=abc"];
    let foreign = ["--revision", &format!("numpy={}", "a".repeat(40))];
    let one = ["--revision", &format!("python={}", "a".repeat(40))];
    let twice = [one, one].concat();
    let (force, because) = (["build", "force", "foo-linux"], ["--reason", "x"]);
    let cases: &[(Vec<&str>, i32, &str)] = &[
        (
            [&["build", "force", "fo-linux"][..], &because].concat(),
            1,
            "error: there is no builder fo-linux\n",
        ),
        (
            [&force[..], &["--reason", " "]].concat(),
            2,
            "--reason is empty",
        ),
        (
            [&force[..], &because, &short].concat(),
            2,
            "40 or 64 lower-case hexadecimal digits",
        ),
        (
            [&force[..], &because, &twice].concat(),
            2,
            "--revision names python twice",
        ),
        (
            [&force[..], &because, &foreign].concat(),
            1,
            "foo-linux does not build from a repository numpy",
        ),
        (
            [&["build", "cancel", "foo-linux/1"][..], &because].concat(),
            1,
            "foo-linux/1 is over already: passed",
        ),
        (
            [&["build", "cancel", "foo-linux/9"][..], &because].concat(),
            1,
            "there is no build foo-linux/9",
        ),
        (
            [&["build", "retry", "foo-linux/9"][..], &because].concat(),
            1,
            "there is no build foo-linux/9",
        ),
        (
            [
                &["master", "pause", "fo-linux", "--for", "2d"][..],
                &because,
            ]
            .concat(),
            1,
            "there is no builder fo-linux",
        ),
        (
            [
                &["master", "pause", "foo-linux", "--for", "8d"][..],
                &because,
            ]
            .concat(),
            2,
            "a pause lasts 7d at most",
        ),
        (
            [&["master", "resume", "fo-linux"][..], &because].concat(),
            1,
            "there is no builder fo-linux",
        ),
    ];
    for (arguments, exit, sentence) in cases {
        let mut asking = desk.start(arguments);
        assert_eq!(
            asking.wait(),
            Some(*exit),
            "{arguments:?}: {}",
            asking.said()
        );
        let said = asking.said();
        assert!(said.contains(sentence), "{arguments:?}: {said}");
        // What is no argument at all is told by the parser of arguments.
        let parser = said.contains("For more information, try '--help'");
        assert!(
            parser || said.contains("Nothing was asked."),
            "{arguments:?}: {said}"
        );
    }
    assert_eq!(desk.requests().await.len(), 0);
}

#[tokio::test]
async fn each_wish_travels_as_it_was_typed() {
    let desk = Desk::open(Farm::new().await).await;
    // A build that is not over, because its slave is away.
    desk.farm.send(&desk.farm.order(1, &["record"])).await;
    let builder: pybots::model::BuilderName = "foo-linux".parse().unwrap();
    let of = |builder: &pybots::model::BuilderName| (builder.clone(), 1);
    let source = Source {
        repository: "python".parse().unwrap(),
        branch: "3.15".parse().unwrap(),
        revision: "b".repeat(40).parse().unwrap(),
    };
    let at = format!("python:3.15={}", source.revision);
    let release = Wish::Release {
        project: "foo".parse().unwrap(),
        version: "2.1rc1".parse().unwrap(),
    };
    let cases: [(&[&str], Wish); 5] = [
        (
            &["build", "force", "foo-linux", "--revision", &at],
            Wish::Force {
                builder: builder.clone(),
                sources: vec![source],
            },
        ),
        (&["build", "cancel", "foo-linux/1"], {
            let (builder, number) = of(&builder);
            Wish::Cancel { builder, number }
        }),
        (&["build", "retry", "foo-linux/1"], {
            let (builder, number) = of(&builder);
            Wish::Retry { builder, number }
        }),
        (&["build", "release", "foo", "2.1rc1"], release),
        (
            &["master", "resume", "foo-linux"],
            Wish::Resume {
                builder: builder.clone(),
            },
        ),
    ];
    for (arguments, wish) in cases {
        let mut asking = desk.start(&[arguments, &["--reason", "x"]].concat());
        let (id, request) = desk.asked().await;
        assert_eq!(request.wish, wish);
        desk.answer(id, None).await;
        assert_eq!(asking.wait(), Some(0), "{}", asking.said());
        assert!(asking.said().contains("ok  granted: "), "{}", asking.said());
    }
    let pause = [
        "master",
        "pause",
        "foo-linux",
        "--for",
        "2d",
        "--reason",
        "x",
    ];
    let mut asking = desk.start(&pause);
    let (id, request) = desk.asked().await;
    let Wish::Pause { until, .. } = &request.wish else {
        panic!("{request:?}")
    };
    let two_days = std::time::Duration::from_secs(2 * 24 * 3600);
    assert!(until.since(request.issued) <= two_days && *until > request.issued);
    desk.answer(id, None).await;
    assert_eq!(asking.wait(), Some(0), "{}", asking.said());
}

#[tokio::test]
async fn who_stops_waiting_stops_nothing_else() {
    let farm = Farm::new().await;
    farm.script("endless.sh", "exec sleep 1000");
    farm.write_slave_toml("[commands.endless]\nscript = \"endless.sh\"");
    let mut desk = Desk::open(farm).await;
    desk.farm.start_slave().await;
    let force = [
        "build",
        "force",
        "foo-linux",
        "--reason",
        "try it",
        "--wait",
    ];
    let mut asking = desk.start(&force);
    let (id, _) = desk.asked().await;
    desk.answer(id, None).await;
    let order = desk.farm.order(1, &["endless"]);
    let command = desk
        .farm
        .send(&Build {
            request: Some(id),
            ..order
        })
        .await;
    let runs = || async {
        asking
            .said()
            .contains("step 1 of 1 endless\n")
            .then_some(())
    };
    eventually_or("it is told that the step runs", runs, || asking.said()).await;
    assert_eq!(asking.interrupt(), Some(130), "{}", asking.said());
    assert!(
        asking
            .said()
            .contains("Interrupted: only the waiting ends. foo-linux/1 goes on")
    );

    // Whoever waits for a build that does not come in time hears that, too.
    let mut asking = desk.start(&[&force[..], &["--timeout", "1s"]].concat());
    let (id, _) = desk.asked().await;
    desk.answer(id, None).await;
    assert_eq!(asking.wait(), Some(7), "{}", asking.said());
    assert!(
        asking
            .said()
            .contains("The time is over: only the waiting ends.")
    );

    assert!(
        desk.farm
            .board()
            .await
            .verdict_of(&"foo-linux/1".parse().unwrap(), crate::process::now())
            .is_none()
    );
    cancel(&desk.farm, command).await;
    assert_eq!(desk.farm.verdict(command).await, Verdict::Cancelled);
}
