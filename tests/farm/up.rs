//! `pybots up`, as a newcomer types it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use crate::process::{PYBOTS, Process, eventually_or};

fn up(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(PYBOTS)
        .arg("up")
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn up_once_sees_foo_pass_fail_and_pass_and_bar_pass_throughout_also_in_a_folder_with_a_farm() {
    let folder = tempfile::tempdir().unwrap();
    let farm = folder
        .path()
        .join("a farm's folder")
        .to_string_lossy()
        .into_owned();
    // Group-writable is what many users' files are by default; the farm's own must not be.
    for (first, mask) in [(1, "002"), (4, "022")] {
        let output = Command::new("sh")
            .args([
                "-c",
                "umask $0; exec \"$@\"",
                mask,
                PYBOTS,
                "up",
                "--once",
                "--dir",
                &farm,
            ])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        for (number, verdict) in (first..).zip(["✓ passed", "✗ failed", "✓ passed"]) {
            for (builder, verdict) in [("foo-sample", verdict), ("bar-sample", "✓ passed")] {
                let build = format!("{builder}/{number}");
                assert!(
                    said.contains(&format!("  {build:<16} {verdict}\n")),
                    "{build}: {said}"
                );
            }
        }
    }
    let left: Vec<String> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok())
        .filter(|cmdline| cmdline.contains(&farm))
        .collect();
    assert_eq!(left, [""; 0], "no process is left behind");
}

#[test]
fn up_takes_no_folder_of_somebody_else_and_no_work_that_is_not_committed() {
    let folder = tempfile::tempdir().unwrap();
    let farm = folder.path().join("farm");
    fs::create_dir_all(farm.join("sample/trunk")).unwrap();
    fs::write(farm.join("sample/trunk/mine.py"), "").unwrap();
    let place = farm.to_string_lossy().into_owned();
    let output = up(&["--once", "--dir", &place], &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(8), "{said}");
    assert!(
        said.contains("holds files that are no farm's; nothing was created"),
        "{said}"
    );

    fs::write(farm.join("lock"), "").unwrap();
    crate::process::git(&farm.join("sample/trunk"), &["init", "--quiet"]);
    let output = up(&["--once", "--dir", &place], &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("has changes that are not committed; nothing was started"),
        "{said}"
    );
}

#[test]
fn without_a_server_up_says_what_was_wrong_with_each_and_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let old = folder.path().join("bin/nats-server");
    fs::create_dir(folder.path().join("bin")).unwrap();
    fs::write(&old, "#!/bin/sh\necho 'nats-server: v2.9.10'\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let (bin, cache, farm) = (path("bin"), path("cache"), path("farm"));
    let environment = [("PATH", bin.as_str()), ("XDG_CACHE_HOME", cache.as_str())];
    let output = up(&["--once", "--no-fetch", "--dir", &farm], &environment);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    for sentence in [
        "nothing was created",
        "bin/nats-server: is version 2.9.10, and 2.12 or newer is needed",
        "no copy there",
        "forbidden by --no-fetch",
        "Install nats-server",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    let output = up(
        &[
            "--once",
            "--nats-server",
            "/nowhere/nats-server",
            "--dir",
            &farm,
        ],
        &environment,
    );
    assert_eq!(output.status.code(), Some(6));
    assert!(!folder.path().join("farm").exists() && !folder.path().join("cache").exists());
}

#[test]
fn a_cached_server_that_was_tampered_with_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let cached = folder.path().join("pybots/nats-server-2.15.1");
    fs::create_dir_all(&cached).unwrap();
    fs::write(cached.join("nats-server"), "#!/bin/sh\ntouch ran\n").unwrap();
    fs::write(
        cached.join("nats-server.sha256"),
        format!("{}  nats-server\n", "0".repeat(64)),
    )
    .unwrap();
    let cache = folder.path().to_string_lossy().into_owned();
    let environment = [("PATH", "/nowhere"), ("XDG_CACHE_HOME", cache.as_str())];
    let output = up(&["--once", "--no-fetch"], &environment);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(
        said.contains("does not match its recorded SHA-256"),
        "{said}"
    );
}

#[tokio::test]
async fn whoever_runs_up_can_ask_its_master_for_a_build_and_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let farm = folder.path().join("farm");
    let place = farm.to_string_lossy().into_owned();
    let log = folder.path().join("up.log");
    let mut up = Process::start(PYBOTS, &["up", "--no-fetch", "--dir", &place], log);
    let ready = || async { up.said().contains("Ctrl-C ends it.").then_some(()) };
    eventually_or("the check-ins are judged", ready, || up.said()).await;
    let ask = |builder: &str| {
        Command::new(PYBOTS)
            .args(["build", "force", builder, "--reason", "try it", "--wait"])
            .env("PYBOTS_FARM", farm.join("farm.toml"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let asked = ask("foo-sample");
    let said = String::from_utf8_lossy(&asked.stderr);
    let told = String::from_utf8_lossy(&asked.stdout);
    assert_eq!(asked.status.code(), Some(0), "{said}{told}");
    assert!(said.contains("asked as operator"), "{said}");
    assert!(told.contains("foo-sample/4  ✓ passed, took "), "{told}");
    assert_eq!(up.interrupt(), Some(0), "{}", up.said());
}
