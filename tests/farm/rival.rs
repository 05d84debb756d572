//! How another build farm fails, and that it does not happen here: lines lost with the worker, a script that runs on beside
//! its retry, memory that grows with the log, a master that can do anything. Its other two are in [`watching`](super::watching)
//! (a frozen worker) and [`limits`](super::limits) (a cap on logs that does nothing).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey};
use futures_util::future::join_all;
use pybots::bus::Stream;
use pybots::model::{Build, Isolation, ReportBody, Text, Verdict};
use pybots::trust::{Verified, payload_id};
use pybots::wire::{Envelope, Kind, encode};

use crate::harness::Farm;
use crate::hostile::{Dice, rejections};
use crate::isolation::LEVELS;
use crate::process::eventually;
use crate::refusals::cancel;

/// A farm with these commands, as slave.toml maps them.
async fn farm_with(scripts: &[(&str, &str)], commands: &str) -> Farm {
    let mut farm = Farm::new().await;
    for (name, body) in scripts {
        farm.script(&format!("{name}.sh"), body);
    }
    farm.write_slave_toml(commands);
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    farm
}

#[tokio::test]
async fn a_slave_that_is_killed_while_its_script_prints_loses_no_line() {
    let body = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line $i; sleep 0.01; done";
    let mut farm = farm_with(
        &[("print", body)],
        "[commands.print]\nscript = \"print.sh\"",
    )
    .await;
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).unwrap();
    let seed = u64::from_le_bytes(seed);
    let mut dice = Dice::new(seed, 0);
    let whole: Vec<String> = (1..=100).map(|line| format!("line {line}\n")).collect();
    let whole = whole.concat();
    for number in 1..=4 {
        let id = farm.send(&farm.order(number, &["print"])).await;
        let build = format!("foo-linux/{number}").parse().unwrap();
        eventually("it prints", || async {
            let log = farm.log(&build).await;
            log.contains("line 1\n").then_some(())
        })
        .await;
        let moment = Duration::from_millis(dice.below(900) as u64);
        tokio::time::sleep(moment).await;
        farm.slave.as_mut().unwrap().kill();
        farm.start_slave().await;
        assert_eq!(farm.verdict(id).await, Verdict::Passed, "seed {seed}");
        eventually("every line is in the stream", || async {
            (farm.log(&build).await == whole).then_some(())
        })
        .await;
    }
}

/// Holds a lock for as long as any process of it is alive, prints nothing, and does not end when it is asked to.
const HOLD: &str = "exec 9>\"$PYBOTS_CACHE/lock\"; flock 9; trap '' TERM\n\
                    (setsid sh -c 'while :; do sleep 1000; done' &)\n: > \"$PYBOTS_CACHE/held\"\n\
                    while :; do sleep 1000; done";
const ALONE: &str = "exec flock --nonblock \"$PYBOTS_CACHE/lock\" true";

#[tokio::test]
async fn a_silent_script_that_is_given_up_is_dead_before_its_retry_begins() {
    join_all(LEVELS.map(given_up)).await;
}

async fn given_up(level: Isolation) {
    let scripts = [("hold", HOLD), ("alone", ALONE)];
    let mut farm = Farm::new().await;
    for (name, body) in scripts {
        farm.script(&format!("{name}.sh"), body);
    }
    farm.write_slave_toml(
        "[commands.hold]\nscript = \"hold.sh\"\n[commands.alone]\nscript = \"alone.sh\"",
    );
    let path = farm.path("slave/slave.toml");
    let text = fs::read_to_string(&path).unwrap();
    let table = format!("[isolation]\nlevel = \"{}\"\n", level.word());
    fs::write(path, text.replace("[isolation]\n", &table)).unwrap();
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let held = farm.path("slave/state/cache/held");

    let mut first = farm.order(1, &["hold"]);
    first.steps[0].timeout = Duration::from_secs(1);
    let first = farm.send(&first).await;
    let retry = farm.send(&farm.order(2, &["alone"])).await;
    assert_eq!(farm.verdict(first).await, Verdict::TimedOut, "{level:?}");
    assert!(held.exists(), "{level:?}");
    assert_eq!(farm.verdict(retry).await, Verdict::Passed, "{level:?}");

    fs::remove_file(&held).unwrap();
    let first = farm.send(&farm.order(3, &["hold"])).await;
    let retry = farm.send(&farm.order(4, &["alone"])).await;
    eventually("it runs", || async { held.exists().then_some(()) }).await;
    cancel(&farm, first).await;
    assert_eq!(farm.verdict(first).await, Verdict::Cancelled, "{level:?}");
    assert_eq!(farm.verdict(retry).await, Verdict::Passed, "{level:?}");
}

#[tokio::test]
async fn a_slaves_memory_does_not_grow_with_the_log() {
    const BYTES: u64 = 40 << 20;
    let body = format!("yes 0123456789abcdef0123456789abcdef | head -c {BYTES}");
    let farm = farm_with(
        &[("print", &*body)],
        "[commands.print]\nscript = \"print.sh\"",
    )
    .await;
    farm.settle(1).await;
    let slave = farm.slave.as_ref().unwrap().id();
    let highest = || {
        let status = fs::read_to_string(format!("/proc/{slave}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let number = line.unwrap().split_whitespace().nth(1).unwrap();
        number.parse::<u64>().unwrap() * 1024
    };
    let before = highest();
    let id = farm.send(&farm.order(2, &["print"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    let jobs = farm.path("slave/state/jobs");
    eventually("all of it is in the stream", || async {
        (fs::read_dir(&jobs).unwrap().count() == 0).then_some(())
    })
    .await;
    let grown = highest() - before;
    assert!(grown < 16 << 20, "{grown} bytes for {BYTES} of log");
}

/// Publishes a command with the master's genuine signature that no master of ours would write: `from` stands where `to` is in
/// the end.
async fn send_raw(farm: &Farm, build: &Build, from: &str, to: &[u8]) -> pybots::model::PayloadId {
    assert_eq!(from.len(), to.len());
    let pem = fs::read_to_string(farm.path("keys/signing.key")).unwrap();
    let key = SigningKey::from_pkcs8_pem(&pem).unwrap();
    let mut payload = encode(&pybots::model::Command::Build(build.clone()));
    let mut places = payload.windows(from.len());
    let place = places.position(|bytes| bytes == from.as_bytes()).unwrap();
    payload[place..place + to.len()].copy_from_slice(to);
    let id = payload_id(&payload);
    let mut envelope = Envelope {
        kind: Kind::Command,
        signer: farm.signing.id(),
        payload,
        signature: [0; 64],
    };
    let signed = envelope.signed_bytes(Some(&farm.id));
    envelope.signature = key.sign(&signed).to_bytes();
    let subject = farm.bus.subjects().command(&build.slave, &build.builder);
    farm.publish(subject, envelope.to_bytes()).await;
    id
}

#[tokio::test]
async fn a63_a_master_with_hostile_names_runs_nothing_and_gets_no_answer() {
    let farm = Farm::with_slave().await;
    let hostile: [&[u8]; 10] = [
        b"../../../etc/passwd",
        b"/usr/bin/../bin/env",
        b"record.sh; touch ./x",
        b"$(touch ran) record ",
        b"record\0record\0record",
        b"record\nrecord\nrecor",
        b"--config=/etc/passwd",
        b"RECORD RECORD RECORD",
        b"~/.ssh/authorized_ke",
        b"record/../with-versi",
    ];
    for (number, name) in (1..).zip(hostile) {
        let plain = "z".repeat(name.len());
        let mut build = farm.order(number, &["record"]);
        build.steps[0].command = plain.parse().unwrap();
        let before = rejections(&farm, "E-PAYLOAD");
        send_raw(&farm, &build, &plain, name).await;
        eventually("it is counted", || async {
            (rejections(&farm, "E-PAYLOAD") > before).then_some(())
        })
        .await;
    }
    // The same names of variables: one that the owner knows, and others in its place.
    for (number, name) in (20..).zip([b"ld_preload", b"PYTHONPATH", b"a=b;touch "]) {
        let mut build = farm.order(number, &["record"]);
        let parameters = &mut build.steps[0].parameters;
        parameters.insert("zzzzzzzzzz".parse().unwrap(), Text::tidy("x"));
        let before = rejections(&farm, "E-PAYLOAD");
        send_raw(&farm, &build, "zzzzzzzzzz", name).await;
        eventually("it is counted", || async {
            (rejections(&farm, "E-PAYLOAD") > before).then_some(())
        })
        .await;
    }
    assert_eq!(farm.reports().await.len(), 0);
    // What is signed in this way is otherwise believed.
    let mut build = farm.order(40, &["record"]);
    build.steps[0].command = "zzzzzz".parse().unwrap();
    let id = send_raw(&farm, &build, "zzzzzz", b"record").await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    assert_eq!(farm.ran().len(), 1);
}

const MAPPED: &str = r#"
[commands.choose]
script = "show.sh"
parameters.path = { type = "choice", values = ["release", "debug"] }
[commands.count]
script = "show.sh"
parameters.path = { type = "integer", min = 1, max = 8 }
[commands.revise]
script = "show.sh"
parameters.path = { type = "revision" }
[commands.name]
script = "show.sh"
parameters.path = { type = "word" }
secrets.TOKEN = "token"
"#;

#[tokio::test]
async fn a60_a61_a62_a90_a_master_reaches_mapped_scripts_only_and_none_of_their_owners_secrets() {
    const SECRET: &str = "correct horse battery staple";
    let mut farm = Farm::new().await;
    let (ran, touched) = (farm.text("ran"), farm.path("touched"));
    farm.script(
        "show.sh",
        &format!("echo \"$PYBOTS_P_PATH\" >> {ran}\necho \"path $PATH arguments $#\"\nenv"),
    );
    let token = farm.path("slave/token");
    fs::write(&token, SECRET).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    farm.write_slave_toml(MAPPED);
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;

    let mut number = 0;
    let touch = format!("touch {}", touched.display());
    let values = [
        String::new(),
        format!("$({touch})"),
        format!("; {touch}"),
        format!("x`{touch}`"),
        format!("x\n{touch}"),
        "--upload-file=/etc/passwd".to_owned(),
        "@/etc/passwd".to_owned(),
        "../../../etc/passwd".to_owned(),
        token.to_string_lossy().into_owned(),
        "${PYBOTS_SECRET_TOKEN}".to_owned(),
        "1 2".to_owned(),
        "99".repeat(60),
    ];
    for command in ["choose", "count", "revise", "name"] {
        for value in &values {
            number += 1;
            let mut build = farm.order(number, &[command]);
            let parameters = &mut build.steps[0].parameters;
            parameters.insert("path".parse().unwrap(), Text::tidy(value));
            assert_eq!(
                refusal(&farm, &build).await,
                "E-PARAMETER",
                "{command} {value}"
            );
        }
    }
    // The owner's files are no commands, and neither is what lies on the machine.
    for command in [
        "show.sh",
        "record.sh",
        "slave.toml",
        "token",
        "state",
        "sh",
        "env",
        "choose.sh",
    ] {
        number += 1;
        let build = farm.order(number, &[command]);
        assert_eq!(refusal(&farm, &build).await, "E-UNMAPPED", "{command}");
    }
    assert_eq!(farm.ran(), [""; 0]);

    number += 1;
    let mut build = farm.order(number, &["name"]);
    let parameters = &mut build.steps[0].parameters;
    parameters.insert("path".parse().unwrap(), Text::tidy("3.15"));
    let id = farm.send(&build).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    assert_eq!(farm.ran(), ["3.15"]);
    let build = build.id();
    let log = eventually("its log", || async {
        Some(farm.log(&build).await).filter(|log| log.contains("PYBOTS_BUILD="))
    })
    .await;
    assert!(log.contains("path /usr/bin:/bin arguments 0\n"), "{log}");
    assert!(!touched.exists());

    let mut said = vec![
        log,
        farm.slave_said(),
        format!("{:?}", farm.reports().await),
    ];
    for stream in [
        Stream::Commands,
        Stream::Results,
        Stream::Logs,
        Stream::Presence,
    ] {
        let held = farm.bus.read_all(stream, ">", 1).await.unwrap();
        let held = held.iter();
        said.extend(held.map(|held| String::from_utf8_lossy(&held.bytes).into_owned()));
    }
    for said in said {
        assert!(!said.contains(SECRET), "{said}");
    }
}

/// The code with which a build is refused.
async fn refusal(farm: &Farm, build: &Build) -> String {
    let id = farm.send(build).await;
    let ending = farm.ending(id).await;
    let ReportBody::Refused { code, .. } = ending else {
        panic!("{ending:?}")
    };
    let reports = farm.reports().await.into_iter().map(Verified::into_body);
    let of_it = reports.filter(|report| report.command == id).count();
    assert_eq!(of_it, 1, "nothing but the refusal");
    code.as_str().to_owned()
}
