//! What hostile code under test can do to the machine, at each level of isolation: what README's table says, tried.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use pybots::model::{Isolation, Network, ReportBody, Verdict};

use crate::harness::Farm;
use crate::process::{PYBOTS, Process, eventually, pybots};

const LEVELS: [Isolation; 3] = [Isolation::Plain, Isolation::Landlock, Isolation::Namespaces];

/// A farm with one script, whose slave.toml has these lines in the table `isolation`; the slave is not started.
async fn prepared(settings: &str, body: &str) -> Farm {
    let farm = Farm::new().await;
    farm.script("attack.sh", body);
    farm.write_slave_toml("[commands.attack]\nscript = \"attack.sh\"");
    let path = farm.path("slave/slave.toml");
    let text = fs::read_to_string(&path).unwrap();
    let writable = format!("writable = [\"{}\"]", farm.path("").display());
    let writable = writable.replace("/\"]", "\"]");
    assert!(text.contains(&writable), "{text}");
    fs::write(&path, text.replace(&writable, settings)).unwrap();
    farm.publish_keyring_and_head().await;
    farm
}

async fn farm_with(settings: &str, body: &str) -> Farm {
    let mut farm = prepared(settings, body).await;
    farm.start_slave().await;
    farm
}

async fn farm_at(level: Isolation, body: &str) -> Farm {
    farm_with(&format!("level = \"{}\"", level.word()), body).await
}

/// Starts the slave from a shell that does something else first.
async fn start_after(farm: &mut Farm, first: &str) {
    let config = farm.text("slave/slave.toml");
    let line = format!("{first}; exec {PYBOTS} --log-format json slave run --config {config}");
    let slave = Process::start("/bin/sh", &["-c", &line], farm.path("slave.log"));
    farm.slave = Some(slave);
    eventually("the slave is ready", || async {
        farm.slave_said().contains("slave started").then_some(())
    })
    .await;
}

/// What the script printed, and how the build ended.
async fn attack(farm: &Farm) -> (String, ReportBody) {
    let id = farm.send(&farm.order(1, &["attack"])).await;
    let ending = farm.ending(id).await;
    let mut bytes = 0;
    for report in farm.reports().await {
        if let ReportBody::StepFinished { outcome, .. } = &report.body().body {
            bytes += outcome.log_bytes;
        }
    }
    let log = eventually("the log", || async {
        let log = farm.log(&"foo-linux/1".parse().unwrap()).await;
        (log.len() as u64 >= bytes).then_some(log)
    })
    .await;
    (log, ending)
}

fn state(farm: &Farm) -> String {
    let state = fs::canonicalize(farm.path("slave/state")).unwrap();
    state.to_string_lossy().into_owned()
}

/// How the one step and the whole build say that they were kept apart, in signed words.
async fn said(farm: &Farm, ending: &ReportBody) -> (Isolation, Network) {
    let reports = farm.reports().await;
    let mut steps = reports.iter().filter_map(|report| {
        if let ReportBody::StepStarted {
            isolation, network, ..
        } = report.body().body
        {
            Some((isolation, network))
        } else {
            None
        }
    });
    let ReportBody::Finished {
        isolation, network, ..
    } = ending
    else {
        panic!("{ending:?}")
    };
    assert_eq!(steps.next(), Some((*isolation, *network)));
    (*isolation, *network)
}

#[tokio::test]
async fn the_strongest_level_and_no_network_are_what_an_owner_gets_who_says_nothing() {
    let farm = farm_with(
        "",
        "cat /proc/sys/kernel/hostname; ls -d /proc/[0-9]* | wc -l",
    )
    .await;
    let (log, ending) = attack(&farm).await;
    assert_eq!(
        said(&farm, &ending).await,
        (Isolation::Namespaces, Network::Off)
    );
    let (host, processes) = log.trim().split_once('\n').unwrap();
    assert_eq!(host, "pybots");
    assert!(processes.parse::<u32>().unwrap() < 8, "{log}");
}

#[tokio::test]
async fn a76_the_slaves_keys_and_journal_can_be_read_at_plain_only() {
    for level in LEVELS {
        let farm = prepared(&format!("level = \"{}\"", level.word()), "").await;
        let body = format!(
            "cd {}; ls -A; cat report.key bus.nk jobs/*/job.json; head -c 13 journal.db; \
             cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c MARK; true",
            state(&farm)
        );
        farm.script("attack.sh", &body);
        let mut farm = farm;
        start_after(&mut farm, "export PYBOTS_MARK=MARK").await;
        let (log, ending) = attack(&farm).await;
        assert_eq!(ending.verdict(), Some(Verdict::Passed), "{log}");
        let seen = ["PRIVATE KEY", "SQLite", "\"confinement\""].map(|secret| log.contains(secret));
        let expected = level == Isolation::Plain;
        assert_eq!(seen, [expected; 3], "{level:?}: {log}");
        assert_eq!(log.ends_with("\n0\n"), !expected, "{level:?}: {log}");
        if level == Isolation::Namespaces {
            let (names, _) = log.split_once("cat: ").unwrap();
            assert_eq!(names, "builders\ncache\n");
        }
    }
}

#[tokio::test]
async fn a76_a_script_inherits_no_open_file_from_whoever_started_the_slave() {
    for level in LEVELS {
        let settings = format!("level = \"{}\"", level.word());
        let mut farm = prepared(&settings, "ls /proc/self/fd").await;
        let first = format!(
            "exec 7<{} 9>>{}",
            farm.text("keys/signing.key"),
            farm.text("x")
        );
        start_after(&mut farm, &first).await;
        let (log, _) = attack(&farm).await;
        // The last is what `ls` itself reads from.
        assert_eq!(log, "0\n1\n2\n3\n", "{level:?}");
    }
}

#[tokio::test]
async fn a77_the_slave_can_be_signalled_and_looked_into_at_plain_only() {
    for level in LEVELS {
        let body = "pid=$(cat \"$PYBOTS_SCRIPT_DIR/pid\")\nfor pid in $pid $PPID; do\n\
                    kill -0 $pid && echo signalled\nhead -c 1 /proc/$pid/environ >/dev/null && echo read\ndone; true";
        let farm = farm_at(level, body).await;
        let pid = farm.slave.as_ref().unwrap().id();
        fs::write(farm.path("slave/pid"), pid.to_string()).unwrap();
        let (log, _) = attack(&farm).await;
        let done = |what: &str| log.lines().filter(|line| *line == what).count();
        // In namespaces its parent is the first process in there, which is nobody's but its own.
        let expected = match level {
            Isolation::Plain => 2,
            Isolation::Landlock => 0,
            Isolation::Namespaces => 1,
        };
        assert_eq!(done("signalled"), expected, "{level:?}: {log}");
        assert_eq!(done("read"), expected, "{level:?}: {log}");
    }
}

#[tokio::test]
async fn a78_a79_no_terminal_and_nothing_of_the_starters_umask_folder_or_limits_at_each_level() {
    for level in LEVELS {
        let body = "echo $(cut -d' ' -f7 /proc/self/stat) $(umask) $(ulimit -c)\n\
                    [ \"$(pwd)\" = \"$PYBOTS_WORKSPACE\" ] && echo home\n\
                    (: </dev/tty) 2>/dev/null && echo terminal\nhead -c 1 | wc -c";
        let mut farm = prepared(&format!("level = \"{}\"", level.word()), body).await;
        start_after(&mut farm, "umask 077; ulimit -c unlimited; cd /").await;
        let (log, _) = attack(&farm).await;
        assert_eq!(log, "0 0022 0\nhome\n0\n", "{level:?}");
    }
}

#[tokio::test]
async fn a72_nothing_is_left_of_a_step_at_each_level() {
    for level in LEVELS {
        let farm = prepared(&format!("level = \"{}\"", level.word()), "").await;
        // By this the test knows it again: the script sees other numbers of processes.
        let nap = format!("1000.{}", farm.port);
        let body = format!(
            "(setsid sh -c ': > \"$PYBOTS_WORKSPACE/ghost\"; exec sleep {nap}' &)\n\
             until [ -e \"$PYBOTS_WORKSPACE/ghost\" ]; do :; done\nsleep {nap} &\nexit 0"
        );
        farm.script("attack.sh", &body);
        let mut farm = farm;
        farm.start_slave().await;
        let (_, ending) = attack(&farm).await;
        assert_eq!(ending.verdict(), Some(Verdict::Passed));
        let alive: Vec<String> = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok())
            .filter(|line| line.contains(&nap))
            .collect();
        assert_eq!(alive, Vec::<String>::new(), "{level:?}");
    }
}

#[tokio::test]
async fn a_program_gives_no_rights_that_its_caller_has_not_except_at_plain() {
    for level in LEVELS {
        let body = "grep -E 'NoNewPrivs|CapEff|CapBnd' /proc/self/status | tr -d '\\n'\n\
                    unshare --user --map-root-user true 2>/dev/null && echo ' unshared'";
        let (log, _) = attack(&farm_at(level, body).await).await;
        assert_eq!(log.contains("NoNewPrivs:\t1"), level > Isolation::Plain);
        assert!(level < Isolation::Namespaces || !log.contains("unshared"));
        if level > Isolation::Plain {
            assert!(log.contains("CapEff:\t0000000000000000"), "{log}");
        }
    }
}

#[tokio::test]
async fn nothing_outside_the_workspace_can_be_written_except_at_plain() {
    for level in LEVELS {
        let farm = prepared(&format!("level = \"{}\"", level.word()), "").await;
        let outside = farm.path("outside");
        fs::create_dir(&outside).unwrap();
        symlink(&outside, farm.path("slave/link")).unwrap();
        let body = format!(
            "try() {{ (: >> \"$1\") 2>/dev/null && echo \"wrote $1\"; }}\n\
             try {0}/file; try $PYBOTS_SCRIPT_DIR/link/file; try $PYBOTS_SCRIPT_DIR/file\n\
             try {1}/file; try {1}/builders/foo-linux/file; try $PYBOTS_WORKSPACE/../file\n\
             try $PYBOTS_WORKSPACE/in; try $PYBOTS_CACHE/in; try $PYBOTS_REPORTS/in",
            outside.display(),
            state(&farm)
        );
        farm.script("attack.sh", &format!("{body}; true"));
        let mut farm = farm;
        farm.start_slave().await;
        let (log, _) = attack(&farm).await;
        let wrote = log.lines().count();
        assert_eq!(
            wrote,
            if level == Isolation::Plain { 9 } else { 3 },
            "{log}"
        );
        assert_eq!(log.matches("/in\n").count(), 3, "{log}");
        assert_eq!(outside.join("file").exists(), level == Isolation::Plain);
    }
}

#[tokio::test]
async fn the_system_and_the_kernels_settings_cannot_be_written_also_by_root() {
    // Only opened, so that nothing changes where that is not prevented.
    let body = "for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/panic /proc/sysrq-trigger /etc/hostname /usr/x \
                /opt/x /dev/x /x /run/x; do (: >> $file) 2>/dev/null && echo $file; done; \
                cat /etc/shadow /etc/ssl/private/* 2>/dev/null | head -c 3; true";
    let (log, ending) = attack(&farm_at(Isolation::Namespaces, body).await).await;
    assert_eq!(
        (log.as_str(), ending.verdict()),
        ("", Some(Verdict::Passed))
    );
    let (log, _) =
        attack(&farm_at(Isolation::Landlock, &body.replace("cat /etc", "true /etc")).await).await;
    assert_eq!(log, "");
}

#[tokio::test]
async fn what_a_script_puts_into_tmp_and_its_home_is_its_own_and_counts_as_its_own() {
    for level in [Isolation::Landlock, Isolation::Namespaces] {
        let farm = prepared(&format!("level = \"{}\"", level.word()), "").await;
        let mark = format!("pybots-test-{}", farm.port);
        let body = format!(
            "echo x > ${{TMPDIR:-/tmp}}/{mark}\necho x > /tmp/{mark}-shared && echo shared\necho x > ~/{mark}\n\
             echo x > /dev/shm/{mark} && echo memory; true"
        );
        farm.script("attack.sh", &body);
        let path = farm.path("slave/slave.toml");
        let text = fs::read_to_string(&path).unwrap();
        let home = format!("[environment]\nHOME = \"{}\"", farm.text("bob"));
        fs::write(&path, text.replace("[environment]", &home)).unwrap();
        fs::create_dir(farm.path("bob")).unwrap();
        let mut farm = farm;
        farm.start_slave().await;
        let (log, _) = attack(&farm).await;
        let own = farm.path("slave/state/builders/foo-linux");
        assert!(own.join("tmp").join(&mark).exists(), "{level:?}: {log}");
        assert!(own.join("home").join(&mark).exists(), "{level:?}: {log}");
        assert_eq!(fs::read_dir(farm.path("bob")).unwrap().count(), 0);
        // A `/tmp` of its own in namespaces; none but TMPDIR under Landlock.
        let shared = format!("{mark}-shared");
        let namespaces = level == Isolation::Namespaces;
        assert_eq!(own.join("tmp").join(&shared).exists(), namespaces);
        assert_eq!(log.contains("memory"), namespaces, "{log}");
        for place in ["/tmp", "/dev/shm"] {
            assert!(!Path::new(place).join(&mark).exists());
            assert!(!Path::new(place).join(&shared).exists());
        }
    }
}

#[tokio::test]
async fn the_network_is_what_the_report_says_at_each_level() {
    let cases = [
        (Isolation::Plain, "", Network::On, [true, true]),
        (Isolation::Landlock, "", Network::NoTcp, [false, true]),
        (
            Isolation::Landlock,
            "network = \"on\"",
            Network::On,
            [true, true],
        ),
        (Isolation::Namespaces, "", Network::Off, [false, false]),
        (
            Isolation::Namespaces,
            "network = \"off\"",
            Network::Off,
            [false, false],
        ),
        (
            Isolation::Namespaces,
            "network = \"on\"",
            Network::On,
            [true, true],
        ),
    ];
    for (level, network, expected, reached) in cases {
        let settings = format!("level = \"{}\"\n{network}", level.word());
        let farm = prepared(&settings, "").await;
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        listener
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let body = format!(
            "bash -c 'echo x > /dev/udp/127.0.0.1/{port}'\n\
             bash -c ': < /dev/tcp/127.0.0.1/{}' && echo connected\n\
             [ ! -e /etc/resolv.conf ] || cat /etc/resolv.conf > /dev/null",
            farm.port
        );
        farm.script("attack.sh", &body);
        let mut farm = farm;
        farm.start_slave().await;
        let (log, ending) = attack(&farm).await;
        assert_eq!(said(&farm, &ending).await, (level, expected), "{network}");
        let tcp = log.ends_with("connected\n");
        let udp = listener.recv(&mut [0; 8]).is_ok();
        assert_eq!([tcp, udp], reached, "{level:?} {network}: {log}");
        assert_eq!(ending.verdict(), Some(Verdict::Passed), "{log}");
    }
}

#[tokio::test]
async fn a_minimum_that_the_machine_does_not_reach_is_a_refusal_and_nothing_runs() {
    let body = "touch \"$PYBOTS_CACHE/ran\"";
    for settings in ["minimum = \"namespaces\"", "level = \"namespaces\""] {
        let mut farm = prepared(settings, body).await;
        start_after(&mut farm, "PATH=/nowhere").await;
        let (_, ending) = attack(&farm).await;
        let ReportBody::Refused { code, detail } = ending else {
            panic!("{ending:?}")
        };
        assert_eq!(code.as_str(), "E-ISOLATION");
        assert!(detail.as_str().contains("demands namespaces"), "{detail}");
        assert!(!farm.path("slave/state/cache/ran").exists());
    }
    // The same machine without the demand.
    let mut farm = prepared("", body).await;
    start_after(&mut farm, "PATH=/nowhere").await;
    let (_, ending) = attack(&farm).await;
    assert_eq!(said(&farm, &ending).await.0, Isolation::Landlock);

    let farm = prepared("minimum = \"namespaces\"\nlevel = \"plain\"", body).await;
    let said = pybots(&["slave", "check", "--config", &farm.text("slave/slave.toml")]);
    assert!(!said.status.success());
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("isolation.level is below isolation.minimum"),
        "{said}"
    );
}

#[tokio::test]
async fn a_wall_that_cannot_be_put_up_is_no_failing_test_and_nothing_runs_without_it() {
    let mut farm = prepared(
        "level = \"namespaces\"",
        "touch \"$PYBOTS_CACHE/ran\"; exit 1",
    )
    .await;
    let folder = farm.path("fake");
    fs::create_dir(&folder).unwrap();
    let broken = farm.text("broken");
    let bwrap = format!(
        "if [ -e {broken} ]; then echo 'bwrap: No room for /home/bob in here' >&2; exit 1; fi\nexec /usr/bin/bwrap \"$@\""
    );
    let script = farm.script("bwrap", &bwrap);
    fs::rename(script, folder.join("bwrap")).unwrap();
    start_after(&mut farm, &format!("PATH={}:$PATH", folder.display())).await;
    fs::write(&broken, "").unwrap();
    let (_, ending) = attack(&farm).await;
    let ReportBody::Finished {
        verdict: Verdict::Errored,
        detail: Some(detail),
        ..
    } = &ending
    else {
        panic!("{ending:?}")
    };
    assert!(
        detail.as_str().contains("No room for … in here"),
        "{detail}"
    );
    assert!(!farm.path("slave/state/cache/ran").exists());

    fs::remove_file(&broken).unwrap();
    let id = farm.send(&farm.order(2, &["attack"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Failed);
    assert!(farm.path("slave/state/cache/ran").exists());
}

#[tokio::test]
async fn a_folder_that_its_owner_lists_and_that_is_gone_is_an_error_by_its_name_alone() {
    for level in [Isolation::Landlock, Isolation::Namespaces] {
        let settings = format!("level = \"{}\"\nreadable = [\"../wheels\"]", level.word());
        let farm = farm_with(&settings, "exit 1").await;
        let (_, ending) = attack(&farm).await;
        let ReportBody::Finished {
            verdict: Verdict::Errored,
            detail: Some(detail),
            ..
        } = ending
        else {
            panic!("{ending:?}")
        };
        assert!(detail.as_str().contains("`wheels`"), "{detail}");
        assert!(!detail.as_str().contains('/'), "{detail}");
    }
}

#[tokio::test]
async fn a_script_is_asked_to_end_before_it_is_ended_at_each_level() {
    for level in LEVELS {
        let body = "trap 'echo asked; exit 0' TERM\necho ready\nsleep 1000 & wait";
        let farm = farm_at(level, body).await;
        let mut order = farm.order(1, &["attack"]);
        order.steps[0].timeout = Duration::from_secs(1);
        let id = farm.send(&order).await;
        assert_eq!(farm.verdict(id).await, Verdict::TimedOut);
        eventually("it was asked", || async {
            let log = farm.log(&"foo-linux/1".parse().unwrap()).await;
            log.contains("asked").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_its_owner_lists_is_shown_and_what_lies_deeper_decides_for_itself() {
    for level in [Isolation::Landlock, Isolation::Namespaces] {
        let settings = format!(
            "level = \"{}\"\nreadable = [\"../shown\", \"../open/closed\", \"..\"]\nwritable = [\"../open\"]",
            level.word()
        );
        let farm = prepared(&settings, "").await;
        for folder in ["shown", "open/closed"] {
            fs::create_dir_all(farm.path(folder)).unwrap();
        }
        fs::write(farm.path("shown/file"), "shown\n").unwrap();
        fs::write(farm.path("slave/sibling"), "echo sibling").unwrap();
        let body = format!(
            "cat {0}/shown/file\n. \"$PYBOTS_SCRIPT_DIR/sibling\"\necho x > {0}/open/file && echo open\n\
             echo x > {0}/open/closed/file && echo closed\nmv {0}/open/closed {0}/open/gone && echo moved\n\
             cat {1}/report.key; true",
            farm.path("").display(),
            state(&farm)
        );
        farm.script("attack.sh", &body);
        let mut farm = farm;
        farm.start_slave().await;
        let (log, _) = attack(&farm).await;
        let said: Vec<&str> = log.lines().filter(|line| !line.contains(": ")).collect();
        match level {
            Isolation::Landlock => assert_eq!(said, ["shown", "sibling"], "{log}"),
            Isolation::Plain | Isolation::Namespaces => {
                assert_eq!(said, ["shown", "sibling", "open"], "{log}");
            }
        }
    }
}
