//! What an owner maps, and what becomes of it when scripts, secrets and slave.toml change.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Output;

use pybots::model::{Digest, PayloadId, ReportBody, Text, Verdict};
use pybots::trust::{Verified, sha256};

use crate::harness::{Farm, write_private};
use crate::process::{PYBOTS, Process, eventually, pybots, succeed};

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Runs a command of the slave's owner.
fn own(farm: &Farm, arguments: &[&str]) -> Output {
    let config = farm.text("slave/slave.toml");
    pybots(&[&["slave"], arguments, &["--config", &config]].concat())
}

#[track_caller]
fn done(farm: &Farm, arguments: &[&str]) -> String {
    let output = own(farm, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    said(&output)
}

fn toml(farm: &Farm) -> String {
    fs::read_to_string(farm.path("slave/slave.toml")).unwrap()
}

/// The recorded digest of the step of a command, and the digest of what ran.
async fn digests(farm: &Farm, id: PayloadId) -> (Option<Digest>, Digest) {
    let reports = farm.reports().await;
    let mut bodies = reports
        .iter()
        .map(Verified::body)
        .filter(|report| report.command == id)
        .map(|report| &report.body);
    bodies
        .find_map(|body| {
            if let ReportBody::StepStarted { script, mapped, .. } = body {
                Some((*mapped, *script))
            } else {
                None
            }
        })
        .expect("a step began")
}

async fn accepted(farm: &Farm, id: PayloadId) {
    eventually("the command is accepted", || async {
        let reports = farm.reports().await;
        let mut bodies = reports.iter().map(Verified::body);
        bodies
            .any(|report| {
                report.command == id && matches!(report.body, ReportBody::Accepted { .. })
            })
            .then_some(())
    })
    .await;
}

/// A farm with a slave that runs build 1 until `go` is there, and has accepted build 2, of the script `edited`, which was
/// changed since.
async fn changed_while_it_waits(rule: &str) -> (Farm, PayloadId, [Digest; 2]) {
    let mut farm = Farm::new().await;
    let go = farm.text("go");
    farm.script(
        "wait.sh",
        &format!("until [ -e {go} ]; do sleep 0.05; done"),
    );
    let edited = farm.script("edited.sh", "echo before");
    farm.write_slave_toml("[commands.wait]\nscript = \"wait.sh\"\n");
    let text = format!("script-change = \"{rule}\"\n{}", toml(&farm));
    fs::write(farm.path("slave/slave.toml"), text).unwrap();
    done(&farm, &["map", "edited", &edited.to_string_lossy()]);
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    farm.send(&farm.order(1, &["wait"])).await;
    let id = farm.send(&farm.order(2, &["edited"])).await;
    accepted(&farm, id).await;
    let digest = || Digest(sha256(&fs::read(&edited).unwrap()));
    let before = digest();
    farm.script("edited.sh", "echo after");
    let digests = [before, digest()];
    fs::write(&go, "").unwrap();
    (farm, id, digests)
}

#[tokio::test]
async fn a68_a_script_edited_while_its_job_waits_runs_and_both_digests_are_in_the_result() {
    let (farm, id, [before, after]) = changed_while_it_waits("accept").await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    assert_eq!(digests(&farm, id).await, (Some(before), after));
    // One that nobody changed has both digests, too, and one that was mapped by hand has one.
    let id = farm.send(&farm.order(3, &["record"])).await;
    farm.verdict(id).await;
    assert_eq!(digests(&farm, id).await.0, None);
    done(&farm, &["map", "edited", "--accept"]);
    assert!(toml(&farm).contains(&after.to_string()));
    assert!(!toml(&farm).contains(&before.to_string()));
}

#[tokio::test]
async fn a68_an_owner_who_wants_to_be_asked_is_asked_before_a_changed_script_runs() {
    let (mut farm, id, _) = changed_while_it_waits("ask").await;
    // It was changed between the gate and its turn.
    let ReportBody::Finished {
        verdict, detail, ..
    } = farm.ending(id).await
    else {
        panic!("not finished")
    };
    assert_eq!(verdict, Verdict::Errored);
    let detail = detail.unwrap();
    assert!(
        detail
            .as_str()
            .contains("another than when its owner mapped"),
        "{detail}"
    );
    let id = farm.send(&farm.order(3, &["edited"])).await;
    let ReportBody::Refused { code, detail } = farm.ending(id).await else {
        panic!("not refused")
    };
    assert_eq!(code.as_str(), "E-CHANGED");
    assert!(detail.as_str().ends_with("Nothing ran."), "{detail}");
    assert!(!detail.as_str().contains('/'), "{detail}");
    let accept = "pybots slave map edited --accept";
    assert_eq!(farm.slave_said().matches(accept).count(), 2);
    assert!(done(&farm, &["scripts"]).contains(accept));
    assert!(done(&farm, &["check"]).contains(accept));

    done(&farm, &["map", "edited", "--accept"]);
    farm.slave.as_mut().unwrap().terminate();
    farm.start_slave().await;
    let id = farm.send(&farm.order(4, &["edited"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    let (mapped, ran) = digests(&farm, id).await;
    assert_eq!(mapped, Some(ran));
}

#[tokio::test]
async fn a60_a_value_on_a_command_line_stays_one_word_and_passes_no_shell() {
    let mut farm = Farm::new().await;
    farm.script("words.sh", "for word; do echo \"<$word>\"; done");
    let table = "[commands.words]\nscript = \"words.sh\"\n\
                 arguments = [\"--name={name}\", \"{name}\", \"*\", \"$HOME\", \"{{}}\"]\n\
                 parameters.name = { type = \"pattern\", pattern = \".*\" }\n";
    farm.write_slave_toml(table);
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let mut order = farm.order(1, &["words"]);
    let value = "a b; $(id) '\"* --x";
    let name = "name".parse().unwrap();
    order.steps[0].parameters.insert(name, Text::tidy(value));
    let id = farm.send(&order).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    let expected = format!("<--name={value}>\n<{value}>\n<*>\n<$HOME>\n<{{}}>\n");
    eventually("the log", || async {
        (farm.log(&"foo-linux/1".parse().unwrap()).await == expected).then_some(())
    })
    .await;
    let mut order = farm.order(2, &["words"]);
    let name = "name".parse().unwrap();
    order.steps[0].parameters.insert(name, Text::tidy("--x"));
    let id = farm.send(&order).await;
    let ReportBody::Refused { code, .. } = farm.ending(id).await else {
        panic!("not refused")
    };
    assert_eq!(code.as_str(), "E-PARAMETER");
}

/// Every file below `folder` that holds `secret`.
fn holding(folder: &Path, secret: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            holding(&entry.path(), secret, found);
        } else if kind.is_file()
            && fs::read(entry.path()).is_ok_and(|bytes| contains(&bytes, secret))
        {
            found.push(entry.path().to_string_lossy().into_owned());
        }
    }
}

fn contains(bytes: &[u8], secret: &str) -> bool {
    bytes
        .windows(secret.len())
        .any(|window| window == secret.as_bytes())
}

/// The command lines and environments of all processes that hold `secret`.
fn showing(secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        for name in ["cmdline", "environ"] {
            let path = entry.path().join(name);
            if fs::read(&path).is_ok_and(|bytes| contains(&bytes, secret)) {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found
}

#[tokio::test]
async fn a90_what_a_secret_holds_is_nowhere_but_in_its_file_and_one_open_to_others_stops_the_step()
{
    let mut farm = Farm::new().await;
    // Made here, so that no file of the tests holds it.
    let secret = format!("{}-{}", "hunter", Digest(sha256(b"a secret")));
    let token = farm.path("slave/token");
    write_private(&token, &secret);
    let (go, there) = (farm.text("go"), farm.text("there"));
    farm.script(
        "reads.sh",
        &format!(
            "wc -c <\"$PYBOTS_SECRET_TOKEN\"; touch {there}; until [ -e {go} ]; do sleep 0.05; done"
        ),
    );
    farm.write_slave_toml("[commands.reads]\nscript = \"reads.sh\"\nsecrets.TOKEN = \"token\"\n");
    assert!(done(&farm, &["check"]).contains("TOKEN"));
    farm.publish_keyring_and_head().await;
    let config = farm.text("slave/slave.toml");
    let arguments = [
        "PYBOTS_LOG=trace",
        PYBOTS,
        "slave",
        "run",
        "--config",
        &config,
    ];
    farm.slave = Some(Process::start("env", &arguments, farm.path("slave.log")));
    let id = farm.send(&farm.order(1, &["reads"])).await;
    eventually("the script runs", || async {
        fs::exists(&there).unwrap().then_some(())
    })
    .await;
    let mut found = showing(&secret);
    holding(&farm.path(""), &secret, &mut found);
    fs::write(&go, "").unwrap();
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    let log = eventually("the log", || async {
        Some(farm.log(&"foo-linux/1".parse().unwrap()).await).filter(|log| !log.is_empty())
    })
    .await;
    assert_eq!(log.trim(), secret.len().to_string(), "it was read");
    holding(&farm.path(""), &secret, &mut found);
    let path = token.to_string_lossy().into_owned();
    assert_eq!(found, [path.clone(), path], "nowhere else");
    let shown = done(&farm, &["scripts", "--json"]);
    assert!(shown.contains("TOKEN") && !shown.contains(&secret));

    fs::set_permissions(&token, fs::Permissions::from_mode(0o640)).unwrap();
    let id = farm.send(&farm.order(2, &["reads"])).await;
    let ReportBody::Refused { code, detail } = farm.ending(id).await else {
        panic!("not refused")
    };
    assert_eq!(code.as_str(), "E-SCRIPT");
    assert!(detail.as_str().contains("a secret of it is open to others"));
    assert!(!detail.as_str().contains("token"), "{detail}");
    assert!(farm.slave_said().contains("chmod 600"), "the owner is told");
    let output = own(&farm, &["check"]);
    assert_eq!(output.status.code(), Some(8), "{}", said(&output));
    assert!(said(&output).contains("commands.reads.secrets.TOKEN"));
}

#[tokio::test]
async fn what_an_owner_maps_is_told_written_and_taken_away_and_nothing_else_is_touched() {
    let farm = Farm::new().await;
    let script = farm
        .script("foo.sh", "exit 0")
        .to_string_lossy()
        .into_owned();
    let config = farm.path("slave/slave.toml");
    let before = format!("# mine\n{}# the end\n", toml(&farm));
    fs::write(&config, &before).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();

    let map = ["map", "test-foo", &script, "--parameter", "version=word"];
    let told = done(
        &farm,
        &[&map[..], &["--timeout-minutes", "7", "--network", "on"]].concat(),
    );
    for expected in [
        "the master may fill in only:",
        "version  1 to 100 letters",
        "mode 0755, which only you and root can change",
        "run by /bin/sh",
        "PYBOTS_P_VERSION; never as shell text",
        "limits    7 min",
        "network   on",
        "Next:  pybots slave check",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let mapped = toml(&farm);
    assert!(mapped.contains("script = \"foo.sh\""), "{mapped}");
    assert_eq!(
        fs::metadata(&config).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // What is not said anew stays.
    let told = done(&farm, &["map", "test-foo", &script, "--network", "off"]);
    assert!(told.contains("the same script"), "{told}");
    assert_eq!(
        toml(&farm),
        mapped.replace("network = \"on\"", "network = \"off\"")
    );
    let table = done(&farm, &["scripts"]);
    let row = table
        .lines()
        .find(|line| line.starts_with("test-foo"))
        .unwrap();
    for cell in ["as mapped", "off", "7 min", "foo.sh", "version"] {
        assert!(row.contains(cell), "{table}");
    }
    let config_text = config.to_string_lossy();
    let json = succeed(&["slave", "scripts", "--json", "--config", &config_text]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let scripts = json["scripts"].as_array().unwrap();
    let foo = scripts
        .iter()
        .find(|script| script["id"] == "test-foo")
        .unwrap();
    assert_eq!(foo["state"], "same");
    assert_eq!(foo["runs"], true);
    assert_eq!(foo["mapped"], foo["present"]);

    let told = done(&farm, &["unmap", "test-foo"]);
    assert!(told.contains("script = \"foo.sh\""), "{told}");
    assert_eq!(toml(&farm), before);
}

#[tokio::test]
async fn a_mapping_that_is_not_safe_or_means_nothing_leaves_slave_toml_as_it_was() {
    let farm = Farm::new().await;
    let good = farm
        .script("good.sh", "exit 0")
        .to_string_lossy()
        .into_owned();
    let open = farm.script("open.sh", "exit 0");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let open = open.to_string_lossy().into_owned();
    farm.write_slave_toml(
        "[commands.words]\nscript = \"good.sh\"\narguments = [\"{name}\"]\n\
         parameters.name = { type = \"word\" }\n",
    );
    let before = toml(&farm);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["map", "foo", &open], 8, "chmod go-w"),
        (&["map", "foo", "/none"], 8, "cannot be read"),
        (&["map", "foo"], 2, "SCRIPT"),
        (&["map", "Foo", &good], 2, "a command id"),
        (&["map", "foo", "--accept"], 2, "mapped to no script"),
        (&["map", "foo", &good, "--parameter", "v"], 2, "NAME=TYPE"),
        (
            &[
                "map",
                "foo",
                &good,
                "--parameter",
                "v=word",
                "--parameter",
                "v=word",
            ],
            2,
            "twice",
        ),
        (
            &["map", "words", &good, "--parameter", "v=word"],
            8,
            "{name} stands for a parameter",
        ),
        (&["unmap", "foo"], 2, "Mapped are: record"),
    ];
    for (arguments, code, expected) in cases {
        let output = own(&farm, arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(toml(&farm), before, "{arguments:?}");
    }
    let left: Vec<_> = fs::read_dir(farm.path("slave"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(".pybots"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_link_to_slave_toml_is_followed_only_where_nobody_else_could_turn_it() {
    let farm = Farm::new().await;
    let good = farm
        .script("good.sh", "exit 0")
        .to_string_lossy()
        .into_owned();
    let config = farm.path("slave/slave.toml");
    let link = farm.path("link.toml");
    symlink(&config, &link).unwrap();
    let open = farm.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    symlink(&config, open.join("link.toml")).unwrap();
    let before = toml(&farm);
    let map = |link: &Path| {
        pybots(&[
            "slave",
            "map",
            "foo",
            &good,
            "--config",
            &link.to_string_lossy(),
        ])
    };
    let output = map(&open.join("link.toml"));
    assert_eq!(output.status.code(), Some(8));
    assert!(
        said(&output).contains("Nothing was changed"),
        "{}",
        said(&output)
    );
    assert_eq!(toml(&farm), before);
    assert!(map(&link).status.success());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(toml(&farm).contains("[commands.foo]"));
}
