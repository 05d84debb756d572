//! What people see and take along: lists of builds, logs of failing steps, bundles.

use std::fs;

use pybots::model::Verdict;

use crate::harness::Farm;
use crate::process::{eventually, now, pybots, succeed};

/// A farm whose build foo-linux/1 printed `recorded` in a first step and failed in a second one.
async fn with_a_failed_build() -> Farm {
    let mut farm = Farm::new().await;
    farm.script("fail.sh", "echo it broke\nexit 3");
    farm.write_slave_toml("[commands.fail]\nscript = \"fail.sh\"\n");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let id = farm.send(&farm.order(1, &["record", "fail"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Failed);
    eventually("the whole log is on the bus", || async {
        let log = farm.log(&"foo-linux/1".parse().unwrap()).await;
        (log == "recorded\nit broke\n").then_some(())
    })
    .await;
    farm
}

#[tokio::test]
async fn build_list_shows_the_builds_of_a_check_in_the_newest_first() {
    let mut farm = Farm::new().await;
    farm.start_master();
    farm.start_slave().await;
    let mut revisions = Vec::new();
    for (number, file) in [(1, "first"), (2, "second")] {
        revisions.push(farm.check_in(file));
        let id = format!("foo-linux/{number}").parse().unwrap();
        eventually("a verdict", || async {
            farm.board().await.verdict_of(&id, now())
        })
        .await;
    }
    let which = ["--farm", &farm_file(&farm)];
    let list = |more: &[&str]| succeed(&[&["build", "list"], &which[..], more].concat());
    let all = list(&[]);
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 3, "{all}");
    for (line, build, subject, revision) in [
        (lines[1], "foo-linux/2", "second", &revisions[1]),
        (lines[2], "foo-linux/1", "first", &revisions[0]),
    ] {
        assert!(line.starts_with(&format!("{build}  ✓ passed  ")), "{line}");
        assert!(
            line.ends_with(&format!("  foo      {}  {subject}", &revision[..10])),
            "{line}"
        );
    }
    assert_eq!(list(&["--limit", "1"]).lines().count(), 2);
    let own = list(&[
        "--project",
        "foo",
        "--builder",
        "foo-linux",
        "--since",
        "1h",
    ]);
    assert_eq!(own.lines().count(), 3, "{own}");
    for nothing in [
        &["--failed"][..],
        &["--builder", "bar-linux"],
        &["--since", "0s"],
    ] {
        assert_eq!(list(nothing), "", "{nothing:?}");
    }
    for (mistake, exit, sentence) in [
        (["--limit", "0"], 2, "invalid value '0' for '--limit <N>'"),
        (
            ["--builder", "nobody"],
            1,
            "There is no builder of that name. pybots status lists them.",
        ),
        (
            ["--project", "nobody"],
            1,
            "There is no project of that name",
        ),
    ] {
        let refused = pybots(&[&["build", "list"], &which[..], &mistake].concat());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(exit), "{said}");
        assert!(said.contains(sentence), "{said}");
    }
    let document: serde_json::Value =
        serde_json::from_str(&list(&["--json", "--limit", "1"])).unwrap();
    assert_eq!(document["schema"], "pybots.builds.v1");
    assert_eq!(document["builds"][0]["build"], "foo-linux/2");
    assert_eq!(document["builds"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_log_of_failing_steps_alone_is_shown_if_that_is_asked_for() {
    let farm = with_a_failed_build().await;
    let file = farm_file(&farm);
    let shown = succeed(&["build", "log", "foo-linux/1", "--failed", "--farm", &file]);
    assert_eq!(shown, "▌ step 2/2 fail\nit broke\n");
    farm.settle(2).await;
    let well = pybots(&["build", "log", "foo-linux/2", "--failed", "--farm", &file]);
    assert_eq!((well.status.code(), &well.stdout[..]), (Some(0), &b""[..]));
    let said = String::from_utf8_lossy(&well.stderr);
    assert!(said.starts_with("No step of foo-linux/2 failed"), "{said}");
    let failed = succeed(&["build", "list", "--failed", "--farm", &file]);
    assert!(
        failed.contains("foo-linux/1  ✗ FAILED") && !failed.contains("foo-linux/2"),
        "{failed}"
    );
    let both = pybots(&["build", "log", "foo-linux/1", "--failed", "--follow"]);
    assert_eq!(both.status.code(), Some(2));
}

#[tokio::test]
async fn whoever_exports_a_build_that_is_not_over_is_told_so() {
    let farm = Farm::new().await;
    farm.publish_keyring_and_head().await;
    // Its slave is away.
    farm.send(&farm.order(1, &["record"])).await;
    let file = farm_file(&farm);
    let export = |build: &str, out: &str| {
        let done = pybots(&["build", "export", build, "--farm", &file, "--out", out]);
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    let early = export("foo-linux/1", &farm.text("early"));
    let not_over = "It is not over yet: export it again when it is.";
    assert!(early.contains(not_over), "{early}");
    let farm = with_a_failed_build().await;
    let file = farm_file(&farm);
    let over = pybots(&[
        "build",
        "export",
        "foo-linux/1",
        "--farm",
        &file,
        "--out",
        &farm.text("over"),
    ]);
    let said = String::from_utf8_lossy(&over.stderr);
    assert!(said.contains("Wrote") && !said.contains(not_over), "{said}");
}

#[tokio::test]
async fn a_bundle_is_verified_without_the_farm_by_its_id_alone_and_a_build_live() {
    let mut farm = with_a_failed_build().await;
    let (file, id) = (farm_file(&farm), farm.id.to_string());
    let live = succeed(&["build", "verify", "foo-linux/1", "--farm", &file]);
    assert_eq!(
        live.lines().last(),
        Some("verified: foo-linux/1 failed"),
        "{live}"
    );
    let bundle = farm.text("whole.bundle");
    let export = [
        "build",
        "export",
        "foo-linux/1",
        "--farm",
        &file,
        "--out",
        &bundle,
    ];
    succeed(&export);
    let again = pybots(&export);
    assert_eq!(again.status.code(), Some(1), "a bundle is not overwritten");
    let small = farm.text("small");
    succeed(&[
        "build",
        "export",
        "foo-linux/1",
        "--farm",
        &file,
        "--out",
        &small,
        "--no-log",
    ]);
    // Nobody answers any more, and no farm file is there.
    farm.slave.take();
    farm.server.kill();
    fs::remove_file(&file).unwrap();

    let check = |file: &str, farm: &str| pybots(&["build", "verify", file, "--farm-id", farm]);
    let whole = check(&bundle, &id);
    let shown = String::from_utf8_lossy(&whole.stdout);
    assert_eq!(whole.status.code(), Some(0), "{shown}");
    assert_eq!(shown, live, "the bus and the file say the same");
    assert!(
        shown.contains("step 2 fail: 9 bytes, digest fits"),
        "{shown}"
    );
    let shown = check(&small, &id);
    assert_eq!(shown.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("left out of the bundle"));

    let other = check(
        &bundle,
        "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
    );
    assert_eq!(other.status.code(), Some(4));
    let mut bytes = fs::read(&bundle).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&bundle, &bytes).unwrap();
    let bent = check(&bundle, &id);
    assert_eq!(bent.status.code(), Some(4));
    let shown = String::from_utf8_lossy(&bent.stdout);
    assert!(
        shown
            .lines()
            .last()
            .unwrap()
            .starts_with("NOT verified: piece no. 2 of the log:"),
        "{shown}"
    );
    let unknown = pybots(&["build", "verify", &bundle, "--farm", &file]);
    assert_eq!(
        unknown.status.code(),
        Some(8),
        "without an id there is nothing to hold it against"
    );
}

/// Writes the public file that a viewer needs, as a master writes it, and returns its path.
pub(crate) fn farm_file(farm: &Farm) -> String {
    let text = format!(
        "farm = \"{}\"\nbus = \"nats://127.0.0.1:{}\"\n[viewer]\nuser = \"viewer\"\npassword = \"public\"\n",
        farm.id, farm.port
    );
    fs::write(farm.path("farm.toml"), text).unwrap();
    farm.text("farm.toml")
}
