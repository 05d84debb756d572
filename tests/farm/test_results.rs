//! What a script's tests left behind, from its files to whoever looks.

use std::fs;

use pybots::model::{Outcome, PayloadId, ReportBody, Verdict};
use serde_json::Value;

use crate::harness::Farm;
use crate::process::succeed;
use crate::viewers::farm_file;

/// A script that leaves `file` in the folder of test reports.
fn leaving(name: &str, file: &str, exit: u8) -> String {
    format!("cat > \"$PYBOTS_REPORTS/{name}\" <<'END'\n{file}\nEND\nexit {exit}")
}

async fn farm_with(scripts: &[(&str, String)]) -> Farm {
    let mut farm = Farm::new().await;
    let mut commands = Vec::new();
    for (name, body) in scripts {
        farm.script(&format!("{name}.sh"), body);
        commands.push(format!("[commands.{name}]\nscript = \"{name}.sh\"\n"));
    }
    farm.write_slave_toml(&commands.concat());
    // Where a script can do most to its folders.
    let path = farm.path("slave/slave.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("[isolation]\n", "[isolation]\nlevel = \"plain\"\n"),
    )
    .unwrap();
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    farm
}

impl Farm {
    /// How the steps of a build ended, by the slave's signed word.
    async fn outcomes(&self, id: PayloadId) -> Vec<Outcome> {
        let reports = self.reports().await.into_iter();
        reports
            .filter(|report| report.body().command == id)
            .filter_map(|report| outcome(report.into_body().body))
            .collect()
    }
}

fn outcome(body: ReportBody) -> Option<Outcome> {
    if let ReportBody::StepFinished { outcome, .. } = body {
        Some(outcome)
    } else {
        None
    }
}

fn shown(farm: &Farm, build: &str) -> (String, Value) {
    let file = farm_file(farm);
    let text = succeed(&["build", "show", build, "--farm", &file]);
    let json = succeed(&["build", "show", build, "--farm", &file, "--json"]);
    (text, serde_json::from_str(&json).unwrap())
}

#[tokio::test]
async fn the_signed_report_tells_which_tests_failed_and_people_see_it() {
    let junit = r#"<testsuites><testsuite name="pytest" errors="0" failures="2" skipped="1" tests="4">
<testcase classname="tests.test_foo.TestFoo" name="test_adopt"/>
<testcase classname="tests.test_foo.TestFoo" name="test_frobnicate"><failure message="AssertionError: 1 != 2&#10;more"/></testcase>
<testcase classname="tests.test_foo" name="test_colour"><failure message="&#27;[31mred&#27;[0m &lt;b&gt;"/></testcase>
<testcase classname="tests.test_foo" name="test_net"><skipped message="no network"/></testcase>
</testsuite></testsuites>"#;
    let farm = farm_with(&[
        ("fail", leaving("junit.xml", junit, 1)),
        (
            "look",
            "test -z \"$(ls -A \"$PYBOTS_REPORTS\")\"".to_owned(),
        ),
    ])
    .await;
    let mut order = farm.order(1, &["fail", "look"]);
    order.steps[0].halt_on_failure = false;
    let id = farm.send(&order).await;
    assert_eq!(farm.verdict(id).await, Verdict::Failed);

    let outcomes = farm.outcomes(id).await;
    let tests = outcomes[0].tests.as_ref().unwrap();
    assert_eq!((tests.passed, tests.failed, tests.skipped), (1, 2, 1));
    let failing = tests.failing.iter().map(|test| {
        let message = test.message.as_ref().map_or("", |text| text.as_str());
        format!("{}: {message}", test.name)
    });
    let expected = [
        "tests.test_foo.TestFoo.test_frobnicate: AssertionError: 1 != 2",
        "tests.test_foo.test_colour: red <b>",
    ];
    assert_eq!(failing.collect::<Vec<_>>(), expected);
    assert!(tests.warnings.is_empty(), "{tests:?}");
    // The next step began with an empty folder, so it left nothing.
    assert_eq!(outcomes[1].verdict, Verdict::Passed);
    assert_eq!(outcomes[1].tests, None);

    let (text, json) = shown(&farm, "foo-linux/1");
    for line in expected {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(
        text.contains("1 tests passed, 2 failed, 1 skipped"),
        "{text}"
    );
    let failing = &json["steps"][0]["outcome"]["tests"]["failing"];
    assert_eq!(failing[1]["message"], "red <b>");
}

#[tokio::test]
async fn a_broken_result_file_gives_a_warning_and_the_verdict_stands() {
    let broken = leaving("junit.xml", "<testsuite><testcase name=\"a\"/>", 0);
    let hostile = "cd \"$PYBOTS_REPORTS\"\nln -s /dev/zero zero.xml\nmkfifo pipe.tap\n\
                   printf '\\263\\050' > cut.subunit\nmkdir -p a/b && chmod 500 a/b\nexit 0";
    let gone = "rm -r \"$PYBOTS_REPORTS\"\nln -s / \"$PYBOTS_REPORTS\"";
    let farm = farm_with(&[
        ("broken", broken),
        ("hostile", hostile.to_owned()),
        ("gone", gone.to_owned()),
    ])
    .await;
    let id = farm
        .send(&farm.order(1, &["broken", "hostile", "gone", "record"]))
        .await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    let outcomes = farm.outcomes(id).await;
    let warnings = |step: usize| -> Vec<String> {
        let tests = outcomes[step].tests.clone().unwrap_or_default();
        tests.warnings.into_iter().map(String::from).collect()
    };
    let cut = "junit.xml ends in the middle, and counts up to there";
    assert_eq!(warnings(0), [cut]);
    assert_eq!(outcomes[0].tests.as_ref().unwrap().passed, 1);
    assert_eq!(
        warnings(1),
        [
            "cut.subunit ends in the middle, and counts up to there",
            "pipe.tap is no file, and was not read",
            "zero.xml is a symbolic link, and was not followed",
        ]
    );
    assert_eq!(warnings(2).len(), 1, "{outcomes:?}");
    assert_eq!(outcomes[3].tests, None);
    assert!(
        fs::symlink_metadata(farm.path("slave/state/builders/foo-linux/reports"))
            .unwrap()
            .is_dir()
    );
    let (text, _) = shown(&farm, "foo-linux/1");
    assert!(text.contains(cut), "{text}");
}
