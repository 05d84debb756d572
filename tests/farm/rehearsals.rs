//! What an owner tries out, and nobody else hears of.

use std::fs;
use std::process::Command;

use pybots::bus::Stream;

use crate::harness::Farm;
use crate::process::{PYBOTS, pybots};

async fn farm() -> Farm {
    let farm = Farm::new().await;
    farm.script(
        "look.sh",
        "echo \"$PYBOTS_P_VERSION $PYBOTS_REV_PYTHON\"\n\
         echo '<testsuite><testcase name=\"a\"/></testsuite>' > \"$PYBOTS_REPORTS/j.xml\"\n\
         test -e \"$PYBOTS_WORKSPACE/mark\" || touch \"$PYBOTS_WORKSPACE/mark\"",
    );
    farm.script("fail.sh", "ls \"$PYBOTS_WORKSPACE\"\nexit 3");
    farm.write_slave_toml(
        "[commands.look]\nscript = \"look.sh\"\nparameters.version = { type = \"word\" }\n\
         [commands.fail]\nscript = \"fail.sh\"",
    );
    farm
}

fn rehearse(farm: &Farm, arguments: &[&str]) -> (Option<i32>, String, String) {
    let config = farm.text("slave/slave.toml");
    let all = [&["slave", "rehearse", "--config", &config], arguments].concat();
    let output = pybots(&all);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test]
async fn a_rehearsal_runs_as_a_command_would_and_says_what_would_be_published() {
    let mut farm = farm().await;
    // Without a bus, and whether or not a slave runs.
    farm.server.kill();
    let revision = "a".repeat(40);
    let source = format!("python=main@{revision}");
    let parameters = ["--parameter", "version=3.15", "--source", &source];
    let (code, out, told) = rehearse(&farm, &[&["look"], &parameters[..]].concat());
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(out, format!("3.15 {revision}\n"));
    for expected in [
        "step 1 look started, script SHA256:",
        "isolation namespaces, network off",
        "step 1 passed, exit 0",
        "1 tests passed, 0 failed, 0 skipped",
        "finished, passed",
        "Nothing was published.",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }

    let both = [&["look", "fail"], &parameters[..], &["--json"]].concat();
    let (code, out, told) = rehearse(&farm, &both);
    assert_eq!(code, Some(3), "{told}");
    assert!(
        told.contains("mark\n"),
        "one workspace for all steps: {told}"
    );
    let documents: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(documents.len(), 5, "{out}");
    assert_eq!(documents[4]["verdict"], "failed");

    assert!(!farm.path("slave/state/journal.db").exists());
    farm.start_server();
    let filter = farm.bus.subjects().reports_of(&"maple".parse().unwrap());
    let reports = farm.bus.read_all(Stream::Results, &filter, 1).await;
    assert!(reports.unwrap_or_default().is_empty());
}

#[tokio::test]
async fn what_a_command_would_be_refused_for_is_not_rehearsed() {
    let farm = farm().await;
    let cases: [(&[&str], Option<i32>, &str); 5] = [
        (&["none"], Some(1), "E-UNMAPPED"),
        (&["look"], Some(1), "E-PARAMETER"),
        (
            &["look", "--parameter", "version=a b"],
            Some(1),
            "E-PARAMETER",
        ),
        (
            &["look", "--parameter", "size=1"],
            Some(2),
            "none of these scripts has a parameter size",
        ),
        (
            &["look", "--builder", "other"],
            Some(2),
            "does not serve other",
        ),
    ];
    for (arguments, expected, word) in cases {
        let (code, _, told) = rehearse(&farm, arguments);
        assert_eq!(code, expected, "{arguments:?}: {told}");
        assert!(told.contains(word), "{arguments:?}: {told}");
        assert!(told.contains("Nothing ran"), "{arguments:?}: {told}");
    }
}

#[tokio::test]
async fn ctrl_c_ends_a_rehearsal_and_everything_that_it_started() {
    let farm = farm().await;
    farm.script("long.sh", "echo ready\nexec sleep 1000");
    farm.write_slave_toml("[commands.long]\nscript = \"long.sh\"");
    let config = farm.text("slave/slave.toml");
    let out = fs::File::create(farm.path("out")).unwrap();
    let mut child = Command::new(PYBOTS)
        .args(["slave", "rehearse", "--config", &config, "long"])
        .stdout(out)
        .spawn()
        .unwrap();
    crate::process::eventually("it runs", || async {
        let said = fs::read_to_string(farm.path("out")).unwrap();
        said.contains("ready").then_some(())
    })
    .await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(!child.wait().unwrap().success());
    let state = farm.text("slave/state");
    let alive = fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&state)
    });
    assert!(!alive);
}
