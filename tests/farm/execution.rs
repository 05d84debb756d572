//! What a script finds, how it ends, and what is left of it.

use std::fs;

use pybots::model::{ReportBody, Text, Verdict};

use crate::harness::Farm;
use crate::process::eventually;

async fn farm_with(scripts: &[(&str, &str)]) -> Farm {
    let mut farm = Farm::new().await;
    let mut commands = Vec::new();
    for (name, body) in scripts {
        farm.script(&format!("{name}.sh"), body);
        commands.push(format!("[commands.{name}]\nscript = \"{name}.sh\"\n"));
    }
    farm.write_slave_toml(&commands.concat());
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    farm
}

#[tokio::test]
async fn an_exit_status_becomes_its_verdict() {
    let farm = farm_with(&[
        ("fail", "exit 1"),
        ("err", "exit 75"),
        ("skip", "exit 77"),
        ("die", "kill -9 $$"),
    ])
    .await;
    let cases = [
        (&["record"][..], Verdict::Passed),
        (&["record", "fail"], Verdict::Failed),
        (&["err"], Verdict::Errored),
        (&["record", "skip"], Verdict::Skipped),
        (&["die"], Verdict::Failed),
    ];
    for (number, (steps, expected)) in (1..).zip(cases) {
        let id = farm.send(&farm.order(number, steps)).await;
        let ending = farm.ending(id).await;
        assert_eq!(ending.verdict(), Some(expected), "{steps:?}: {ending:?}");
    }
}

#[tokio::test]
async fn the_flags_of_a_step_decide_what_its_failure_means() {
    let farm = farm_with(&[("fail", "exit 1")]).await;
    let mut warn = farm.order(1, &["fail", "record"]);
    warn.steps[0].warn_only = true;
    warn.steps[0].halt_on_failure = false;
    let id = farm.send(&warn).await;
    assert_eq!(farm.verdict(id).await, Verdict::Warned);
    assert_eq!(farm.ran().len(), 1, "goes on");

    let mut halt = farm.order(2, &["fail", "record", "record"]);
    halt.steps[2].always_run = true;
    let id = farm.send(&halt).await;
    assert_eq!(farm.verdict(id).await, Verdict::Failed);
    assert_eq!(farm.ran().len(), 2, "only the step that always runs");
}

#[tokio::test]
async fn a62_a_script_sees_the_owners_variables_and_pybots_ones_and_nothing_else() {
    let farm = farm_with(&[("show", "env")]).await;
    let mut order = farm.order(1, &["show", "with-version"]);
    order.steps[1]
        .parameters
        .insert("version".parse().unwrap(), Text::tidy("3.15.0a2"));
    let id = farm.send(&order).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    let log = eventually("the log", || async {
        Some(farm.log(&"foo-linux/1".parse().unwrap()).await).filter(|log| log.contains("recorded"))
    })
    .await;
    let mut names: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once('=').map(|(name, _)| name))
        .collect();
    names.sort_unstable();
    // The shell itself sets PWD, SHLVL and _ in some builds.
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
    assert_eq!(
        names,
        [
            "PATH",
            "PYBOTS_BRANCH_PYTHON",
            "PYBOTS_BUILD",
            "PYBOTS_BUILDER",
            "PYBOTS_CACHE",
            "PYBOTS_PROJECT",
            "PYBOTS_REPORTS",
            "PYBOTS_REV_PYTHON",
            "PYBOTS_SCRIPT_DIR",
            "PYBOTS_WORKSPACE",
        ]
    );
    assert!(log.contains(&format!(
        "PYBOTS_SCRIPT_DIR={}\n",
        fs::canonicalize(farm.path("slave")).unwrap().display()
    )));
}

#[tokio::test]
async fn a75_a_deep_and_read_only_workspace_is_removed_and_ends_nobody() {
    let body = "i=0\nwhile [ $i -lt 3000 ]; do mkdir d && cd d; i=$((i+1)); done\n\
                cd \"$PYBOTS_WORKSPACE\"\nmkdir closed && touch closed/file && chmod 500 closed";
    let farm = farm_with(&[("deep", body)]).await;
    let id = farm.send(&farm.order(1, &["deep"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    farm.settle(2).await;
    eventually("it is gone", || async {
        let left = fs::read_dir(farm.path("slave/state/builders/foo-linux"))
            .unwrap()
            .flatten();
        (left
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("discarded"))
            .count()
            == 0)
            .then_some(())
    })
    .await;
    farm.settle(3).await;
}

#[tokio::test]
async fn a78_a_script_has_a_session_of_its_own_and_no_terminal() {
    let farm = farm_with(&[(
        "session",
        "cut -d' ' -f6,7 /proc/self/stat; (: </dev/tty) 2>/dev/null && exit 1; exit 0",
    )])
    .await;
    let id = farm.send(&farm.order(1, &["session"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    let log = eventually("the log", || async {
        Some(farm.log(&"foo-linux/1".parse().unwrap()).await).filter(|log| !log.is_empty())
    })
    .await;
    let ours = fs::read_to_string("/proc/self/stat").unwrap();
    let ours = ours
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(3)
        .unwrap()
        .to_owned();
    let (session, terminal) = log.trim().split_once(' ').unwrap();
    assert_ne!(session, ours);
    assert_eq!(terminal, "0");
}

#[tokio::test]
async fn a_script_that_overruns_its_time_is_ended_with_the_verdict_timed_out() {
    let farm = farm_with(&[("endless", "trap '' TERM\nsleep 1000 & wait")]).await;
    let mut order = farm.order(1, &["endless"]);
    order.steps[0].timeout = std::time::Duration::from_millis(200);
    let id = farm.send(&order).await;
    assert_eq!(farm.verdict(id).await, Verdict::TimedOut);
}

#[tokio::test]
async fn a65_a_script_that_became_writable_by_others_is_refused_without_its_path() {
    let farm = farm_with(&[("open", "exit 0")]).await;
    let script = farm.path("slave/open.sh");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let id = farm.send(&farm.order(1, &["open"])).await;
    let ReportBody::Refused { code, detail } = farm.ending(id).await else {
        panic!("not refused")
    };
    assert_eq!(code.as_str(), "E-SCRIPT");
    assert!(!detail.as_str().contains('/'), "{detail}");
    assert!(
        farm.slave_said().contains("chmod go-w"),
        "the owner is told what to do"
    );
}

#[tokio::test]
async fn a_second_slave_on_the_same_folder_is_refused() {
    let farm = Farm::with_slave().await;
    let config = farm.text("slave/slave.toml");
    let mut second = crate::process::Process::start(
        crate::process::PYBOTS,
        &["slave", "run", "--config", &config],
        farm.path("second.log"),
    );
    assert_eq!(second.wait(), Some(1));
    assert!(
        second
            .said()
            .contains("another slave is running on the state folder"),
        "{}",
        second.said()
    );
}

#[tokio::test]
async fn a_workspace_is_fresh_unless_its_owner_keeps_it() {
    let mut farm = farm_with(&[(
        "mark",
        "ls \"$PYBOTS_WORKSPACE\"\ntouch \"$PYBOTS_WORKSPACE/mark\"",
    )])
    .await;
    for number in 1..=2 {
        let id = farm.send(&farm.order(number, &["mark"])).await;
        farm.verdict(id).await;
    }
    assert_eq!(farm.log(&"foo-linux/2".parse().unwrap()).await, "");
    let toml = fs::read_to_string(farm.path("slave/slave.toml")).unwrap();
    let kept = toml.replace(
        "[builders.foo-linux]",
        "[builders.foo-linux]\nworkspace = \"kept\"",
    );
    fs::write(farm.path("slave/slave.toml"), kept).unwrap();
    farm.slave.as_mut().unwrap().terminate();
    farm.start_slave().await;
    let id = farm.send(&farm.order(3, &["mark"])).await;
    farm.verdict(id).await;
    eventually("the log", || async {
        (farm.log(&"foo-linux/3".parse().unwrap()).await == "mark\n").then_some(())
    })
    .await;
}
