//! What a script may use of the machine: each limit against real scripts, at each level of isolation.
//!
//! What an owner counts in minutes is too long for a test. There a keeper is given a job that a slave has written for it, with
//! another time in it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use pybots::model::{Counted, Isolation, Limit, Outcome, PayloadId, ReportBody, Verdict};
use serde_json::{Value, json};

use crate::harness::Farm;
use crate::isolation::{LEVELS, start_after};
use crate::process::{PYBOTS, eventually};

/// Ends beside the script, so that nobody waits for it.
const GHOST: &str = "(trap '' TERM; setsid sh -c 'while :; do sleep 1000; done' &)\n";

/// A farm whose scripts are kept apart at `level`, with these lines in the table `limits`; the slave is not started.
async fn prepared(level: Isolation, limits: &str, scripts: &[(&str, &str)]) -> Farm {
    let farm = Farm::new().await;
    let mut commands = Vec::new();
    for (name, body) in scripts {
        farm.script(&format!("{name}.sh"), body);
        commands.push(format!("[commands.{name}]\nscript = \"{name}.sh\"\n"));
    }
    farm.write_slave_toml(&commands.concat());
    let path = farm.path("slave/slave.toml");
    let text = fs::read_to_string(&path).unwrap();
    let level = format!("[isolation]\nlevel = \"{}\"\n", level.word());
    let text = text
        .replace("[isolation]\n", &level)
        .replace("[limits]\n", &format!("[limits]\n{limits}\n"));
    fs::write(path, text).unwrap();
    farm.publish_keyring_and_head().await;
    farm
}

async fn farm_with(level: Isolation, limits: &str, scripts: &[(&str, &str)]) -> Farm {
    let mut farm = prepared(level, limits, scripts).await;
    farm.start_slave().await;
    farm
}

/// What the slave signs of the only step of a build, once the whole build has ended; with its time if that is to be short.
async fn outcome(farm: &Farm, number: u64, command: &str, timeout: Option<Duration>) -> Outcome {
    let mut order = farm.order(number, &[command]);
    if let Some(timeout) = timeout {
        order.steps[0].timeout = timeout;
    }
    let id = farm.send(&order).await;
    let verdict = farm.verdict(id).await;
    let outcome = step(farm, id).await;
    assert_eq!(outcome.verdict, verdict, "{outcome:?}");
    assert_eq!(alive(farm), [""; 0], "{outcome:?}");
    outcome
}

async fn step(farm: &Farm, id: PayloadId) -> Outcome {
    let reports = farm.reports().await.into_iter();
    let mut bodies = reports
        .map(pybots::trust::Verified::into_body)
        .filter(|report| report.command == id);
    let outcome = bodies.find_map(|report| {
        if let ReportBody::StepFinished { outcome, .. } = report.body {
            Some(outcome)
        } else {
            None
        }
    });
    outcome.unwrap()
}

/// The command lines of all processes that descend from a script of this farm: their environment tells.
fn alive(farm: &Farm) -> Vec<String> {
    let state = fs::canonicalize(farm.path("slave/state")).unwrap();
    let mark = format!("PYBOTS_WORKSPACE={}", state.display());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .map(|process| process.path())
        .filter(|process| {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&mark)
        })
        .map(|process| fs::read_to_string(process.join("cmdline")).unwrap_or_default())
        .collect()
}

/// A farm whose slave has written a job for a keeper, which is its own script's again and again with other limits.
async fn farm_with_a_job(level: Isolation) -> Farm {
    let farm = prepared(level, "", &[]).await;
    let go = farm.text("go");
    farm.script(
        "record.sh",
        &format!("until [ -e {go} ]; do sleep 0.05; done"),
    );
    let mut farm = farm;
    farm.start_slave().await;
    let id = farm.send(&farm.order(1, &["record"])).await;
    let job = eventually("the slave has written a job", || async {
        let mut jobs = fs::read_dir(farm.path("slave/state/jobs")).ok()?.flatten();
        fs::read(jobs.next()?.path().join("job.json")).ok()
    })
    .await;
    fs::write(farm.path("job.json"), job).unwrap();
    fs::write(go, "").unwrap();
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    farm
}

/// How the keeper says that a script ended which it was given with these limits, and what the script printed.
fn keep(farm: &Farm, name: &str, limits: &Value, body: &str) -> (Value, String) {
    let folder: PathBuf = farm.path(name);
    fs::create_dir(&folder).unwrap();
    let script = folder.join("script");
    fs::write(&script, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o500)).unwrap();
    let mut job: Value = serde_json::from_slice(&fs::read(farm.path("job.json")).unwrap()).unwrap();
    for (limit, value) in limits.as_object().unwrap() {
        let before = job["allowance"].get_mut(limit).unwrap();
        *before = value.clone();
    }
    fs::write(folder.join("job.json"), job.to_string()).unwrap();
    let status = Command::new(PYBOTS)
        .arg("keeper")
        .arg(&folder)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    assert_eq!(alive(farm), [""; 0], "{name}");
    let record = fs::read(folder.join("exit.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let printed = fs::read_to_string(folder.join("spool")).unwrap();
    (record["ending"].clone(), printed)
}

fn milliseconds(number: u32) -> Value {
    json!({ "secs": number / 1000, "nanos": number % 1000 * 1_000_000 })
}

#[tokio::test]
async fn a72_time_ends_a_script_and_its_ghosts_at_each_level() {
    let body = format!("{GHOST}sleep 1000 & wait");
    for level in LEVELS {
        let farm = farm_with(level, "", &[("endless", &body)]).await;
        let timeout = Some(Duration::from_millis(300));
        let outcome = outcome(&farm, 1, "endless", timeout).await;
        assert_eq!(outcome.limit, Some(Limit::WallTime), "{level:?}");
        assert_eq!(outcome.verdict, Verdict::TimedOut);
        assert!(outcome.duration >= Duration::from_millis(300));
    }
}

#[tokio::test]
async fn a_script_that_is_silent_for_too_long_is_ended_and_one_that_prints_is_not() {
    for level in LEVELS {
        let farm = farm_with_a_job(level).await;
        let limits = json!({ "silent": milliseconds(1000) });
        let body = format!("{GHOST}echo last words\nsleep 1000");
        let (ending, printed) = keep(&farm, "silent", &limits, &body);
        assert_eq!(ending, json!({ "over": "silent-time" }), "{level:?}");
        assert_eq!(printed, "last words\n");
        let limits = json!({ "silent": milliseconds(5000) });
        let body = "for i in 1 2 3 4 5 6 7 8; do sleep 1; printf .; done";
        if level == Isolation::Plain {
            let (ending, printed) = keep(&farm, "prints", &limits, body);
            assert_eq!(ending, json!({ "exited": 0 }));
            assert_eq!(printed, "........");
        }
    }
}

#[tokio::test]
async fn cpu_time_counts_for_the_whole_tree_also_of_those_that_have_ended() {
    for level in LEVELS {
        let farm = farm_with_a_job(level).await;
        let limits = json!({ "cpu": milliseconds(1000) });
        let busy = "(sh -c 'while :; do :; done' &)\nsleep 1000";
        let (ending, _) = keep(&farm, "busy", &limits, busy);
        assert_eq!(ending, json!({ "over": "cpu-time" }), "{level:?}");
        // Each takes far less than the limit, has lost its parent, and is gone soon.
        let many = "while :; do (sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done' &); sleep 0.05; done";
        let (ending, _) = keep(&farm, "many", &limits, many);
        assert_eq!(ending, json!({ "over": "cpu-time" }), "{level:?}");
        let (ending, _) = keep(&farm, "idle", &limits, "sleep 2");
        assert_eq!(ending, json!({ "exited": 0 }), "{level:?}");
    }
}

/// A shell variable of `mebibytes`; a power of two.
fn filled(mebibytes: u32) -> String {
    let doublings = "x=$x$x; ".repeat(mebibytes.ilog2() as usize);
    format!("x=$(head -c 1048576 /dev/zero | tr '\\0' x); {doublings}")
}

#[tokio::test]
async fn a73_memory_counts_for_the_whole_tree_and_what_is_shared_counts_once() {
    // A shell whose last command it is becomes that command, and its memory is gone.
    let one = format!("{}sleep 1000; :", filled(128));
    let part = format!("({}sleep 1000; :) & ", filled(16));
    let tree = format!("{}wait", part.repeat(8));
    let fork = "(sleep 1; :) & ".repeat(8);
    let shared = format!("{}{fork}wait", filled(16));
    let mapped = "exec python3 -c 'import mmap, time; m = mmap.mmap(-1, 128 << 20); \
                  [m.__setitem__(i, 1) for i in range(0, len(m), 4096)]; time.sleep(1000)'";
    let scripts = [
        ("one", &*one),
        ("tree", &*tree),
        ("mapped", mapped),
        ("shared", &*shared),
    ];
    for level in LEVELS {
        let farm = farm_with(level, "memory-mebibytes = 100", &scripts).await;
        for (number, command) in (1..).zip(["one", "tree", "mapped"]) {
            let outcome = outcome(&farm, number, command, None).await;
            let what = format!("{command} at {level:?}: {outcome:?}");
            assert_eq!(outcome.limit, Some(Limit::Memory), "{what}");
            assert_eq!(outcome.verdict, Verdict::Errored, "{what}");
            assert!(outcome.peak_memory > Some(100 << 20), "{what}");
        }
        let outcome = outcome(&farm, 4, "shared", None).await;
        assert_eq!(outcome.verdict, Verdict::Passed, "{level:?}: {outcome:?}");
    }
}

/// Each process starts two and ends, so that none is seen for long; it goes out by itself where nothing ends it.
const BOMB: &str =
    "bomb() { [ $1 = 0 ] && exec sleep 1000; (bomb $(($1-1)) &); (bomb $(($1-1)) &); }\nbomb 11\n";

#[tokio::test]
async fn a73_a_fork_bomb_is_ended_by_its_limit_and_nothing_of_it_is_left_at_each_level() {
    let scripts = [("bomb", &*format!("{BOMB}sleep 1000")), ("leave", BOMB)];
    for level in LEVELS {
        let farm = farm_with(level, "processes = 100", &scripts).await;
        let ended = outcome(&farm, 1, "bomb", None).await;
        assert_eq!(ended.limit, Some(Limit::Processes), "{level:?}");
        assert_eq!(ended.verdict, Verdict::Errored);
        assert!(ended.peak_processes > Some(100), "{ended:?}");
        assert_eq!(ended.counted, Some(Counted::Sampled));
        // Its first process ends at once; what it left is ended with it, however much that has become.
        outcome(&farm, 2, "leave", None).await;
        farm.settle(3).await;
    }
}

#[tokio::test]
async fn no_more_files_can_be_opened_than_the_limit_says() {
    let body = "ulimit -Sn; ulimit -Hn\nexec bash -c 'for i in {1..100}; do exec {file}</dev/null || exit 9; done'";
    for level in LEVELS {
        let farm = farm_with(level, "open-files = 64", &[("open", body)]).await;
        let outcome = outcome(&farm, 1, "open", None).await;
        assert_eq!((outcome.exit, outcome.limit), (Some(9), None), "{level:?}");
        let build = "foo-linux/1".parse().unwrap();
        eventually("the limit in its log", || async {
            farm.log(&build).await.starts_with("64\n64\n").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a74_disk_is_limited_holes_are_free_and_many_empty_files_are_not() {
    let tmp =
        "for i in 1 2 3 4; do head -c 4194304 /dev/urandom > ${TMPDIR:-/tmp}/$i; done; sleep 1000";
    let scripts = [
        (
            "write",
            "for i in 1 2 3 4; do head -c 4194304 /dev/urandom > $i; done; sleep 1000",
        ),
        (
            "cache",
            "head -c 16777216 /dev/urandom > $PYBOTS_CACHE/x; sleep 1000",
        ),
        ("temporary", tmp),
        (
            "empty",
            "mkdir d; cd d; i=0; while [ $i -lt 4000 ]; do i=$((i+1)); : > $i; done; sleep 1000",
        ),
        (
            "hole",
            "truncate -s 30M hole; head -c 1000000 /dev/urandom > $PYBOTS_REPORTS/x; sleep 1",
        ),
        (
            "large",
            "truncate -s 40M hole && exit 1; truncate -s 20M hole",
        ),
    ];
    for level in LEVELS {
        let limits = "disk-mebibytes = 8\nlog-mebibytes = 32";
        let farm = farm_with(level, limits, &scripts).await;
        for (number, (command, _)) in (1..).zip(&scripts[..4]) {
            if (*command, level) == ("temporary", Isolation::Plain) {
                // There /tmp is the machine's.
                continue;
            }
            let outcome = outcome(&farm, number, command, None).await;
            let what = format!("{command} at {level:?}: {outcome:?}");
            assert_eq!(outcome.limit, Some(Limit::Disk), "{what}");
            assert_eq!(outcome.verdict, Verdict::Errored, "{what}");
            // Shared by all builds, so it would count again.
            let _ = fs::remove_file(farm.path("slave/state/cache/x"));
        }
        for (number, command) in (5..).zip(["hole", "large"]) {
            let outcome = outcome(&farm, number, command, None).await;
            assert_eq!(
                outcome.verdict,
                Verdict::Passed,
                "{command} at {level:?}: {outcome:?}"
            );
        }
    }
}

#[tokio::test]
async fn a74_a_script_is_ended_when_half_of_the_disks_floor_is_gone_whoever_fills_it() {
    let farm = farm_with_a_job(Isolation::Plain).await;
    let disk = nix::sys::statvfs::statvfs(&farm.path("")).unwrap();
    let whole = disk.blocks() * disk.fragment_size();
    let (ending, _) = keep(
        &farm,
        "full",
        &json!({ "free_disk": 2 * whole + 2 }),
        "sleep 1000",
    );
    assert_eq!(ending, json!({ "over": "disk" }));
    let (ending, _) = keep(&farm, "free", &json!({ "free_disk": 2 }), "sleep 0.2");
    assert_eq!(ending, json!({ "exited": 0 }));
}

#[tokio::test]
async fn a85_a_log_is_cut_at_its_cap_and_a_flood_is_ended() {
    for level in LEVELS {
        let farm = farm_with(level, "log-mebibytes = 1", &[("flood", "yes 2>&1")]).await;
        let outcome = outcome(&farm, 1, "flood", None).await;
        assert_eq!(outcome.limit, Some(Limit::Log), "{level:?}");
        assert_eq!(outcome.verdict, Verdict::Errored);
        assert_eq!(outcome.log_bytes, 1 << 20);
        assert!(outcome.log_cut > 15 << 20, "{outcome:?}");
        let build = "foo-linux/1".parse().unwrap();
        eventually("what was kept is in the stream", || async {
            (farm.log(&build).await.len() == 1 << 20).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a85_a_script_that_prints_too_fast_is_held_up_and_loses_nothing() {
    let body = "yes 0123456 | head -c 3145728";
    let limits = "log-mebibytes-per-second = 1";
    let farm = farm_with(Isolation::Plain, limits, &[("fast", body)]).await;
    let outcome = outcome(&farm, 1, "fast", None).await;
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert_eq!((outcome.log_bytes, outcome.log_cut), (3 << 20, 0));
    // The first second's worth comes at once, and what the pipe holds is not waited for.
    assert!(
        outcome.duration > Duration::from_millis(1500),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a79_limits_signals_and_words_of_whoever_started_the_slave_do_not_reach_a_script() {
    let body = "ulimit -St; ulimit -Sv; ulimit -Sd; ulimit -Ss; ulimit -Sn; ulimit -Sp\necho ${LANG:-none} ${LC_ALL:-none}";
    let mut logs = Vec::new();
    for first in [
        "true",
        "ulimit -St 1000; ulimit -Sv 9000000; ulimit -Sd 9000000; ulimit -Ss 4000; ulimit -Sn 200; \
                           ulimit -Sp 2000; export LANG=tr_TR LC_ALL=tr_TR",
    ] {
        let mut farm = prepared(Isolation::Plain, "", &[("show", body)]).await;
        start_after(&mut farm, first).await;
        outcome(&farm, 1, "show", None).await;
        let build = "foo-linux/1".parse().unwrap();
        let log = eventually("its log", || async {
            Some(farm.log(&build).await).filter(|log| log.ends_with("none none\n"))
        });
        logs.push(log.await);
    }
    assert_eq!(logs[0], logs[1]);
    assert!(logs[0].starts_with("unlimited\n"), "{}", logs[0]);
    assert!(logs[0].contains("\n8192\n4096\n"), "{}", logs[0]);
}

#[tokio::test]
async fn a81_builds_of_one_builder_take_turns_while_another_builder_works() {
    let mut farm = prepared(Isolation::Plain, "", &[]).await;
    let (go, ran) = (farm.text("go"), farm.text("ran"));
    let body = format!("echo \"$PYBOTS_BUILD\" >> {ran}\nuntil [ -e {go} ]; do sleep 0.02; done");
    farm.script("record.sh", &body);
    farm.start_slave().await;
    let first = farm.send(&farm.order(1, &["record"])).await;
    let second = farm.send(&farm.order(2, &["record"])).await;
    let mut other = farm.order(1, &["record"]);
    other.builder = "bar-linux".parse().unwrap();
    let other = farm.send(&other).await;
    eventually("two builders work", || async {
        (farm.ran().len() == 2).then_some(())
    })
    .await;
    // The second was decided before the other builder's, and waits.
    let mut ran = farm.ran();
    ran.sort();
    assert_eq!(ran, ["bar-linux/1", "foo-linux/1"]);
    fs::write(go, "").unwrap();
    for id in [first, second, other] {
        assert_eq!(farm.verdict(id).await, Verdict::Passed);
    }
    assert_eq!(farm.ran().last().unwrap(), "foo-linux/2");
}
