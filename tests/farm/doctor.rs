//! `pybots doctor` at a farm with a fault put in: each is found, told from the others, and gets a fix.

mod patient;
mod slave;

use std::fs;
use std::path::Path;
use std::time::Duration;

use pybots::bus::{Access, User, users_list};
use serde_json::Value;

use self::patient::{before_others, depends_on_the_machine, doctor, is_silence};
use crate::harness::{Farm, write_private};
use crate::process::{eventually, succeed};

#[tokio::test]
async fn a_healthy_farm_is_all_ok_and_nothing_is_changed_by_looking() {
    let mut farm = Farm::healthy().await;
    farm.start_master();
    let public = farm.text("master/farm.toml");
    eventually("the master has written farm.toml", || async {
        Path::new(&public).exists().then_some(())
    })
    .await;
    let before = tree(farm.path("slave").as_path());
    let (slave, master) = (
        farm.text("slave/slave.toml"),
        farm.text("master/master.toml"),
    );
    let all = ["--slave", &slave, "--master", &master, "--farm", &public];
    let said = eventually("the master has spoken, and all is ok", || async {
        farm.show_presence().await;
        let said = doctor(&all, &[]);
        let well = said.exit == Some(0) && said.document["warnings"] == 0;
        // Whatever else the machine lacks is then said below.
        let judged_by_the_machine = said.findings().iter().any(depends_on_the_machine);
        (well || judged_by_the_machine).then_some(said)
    })
    .await;
    said.is_well();
    assert_eq!(said.document["schema"], "pybots.doctor.v1");
    let said_of_clock = said
        .findings()
        .iter()
        .find(|finding| finding["id"] == "clock");
    let clock = said_of_clock.unwrap()["found"].as_str().unwrap();
    assert!(clock.contains("the bus, give or take"), "asked: {clock}");
    let ids: Vec<&str> = said
        .findings()
        .iter()
        .map(|finding| finding["id"].as_str().unwrap())
        .collect();
    for id in [
        "config",
        "keys",
        "scripts",
        "owner",
        "limits",
        "backlog",
        "service",
        "bus",
        "clock",
        "farm-id",
        "keyring",
        "signing-key",
        "streams",
        "head",
        "roster",
        "slave-on-roster",
        "disk",
        "nats-server",
        "git",
        "python3",
        "cc",
        "sandbox",
    ] {
        assert!(ids.contains(&id), "{id} is not in {ids:?}");
    }
    assert_eq!(
        tree(farm.path("slave").as_path()),
        before,
        "nothing was written"
    );
}

#[tokio::test]
async fn a_slave_that_gives_no_sign_of_life_is_missed_until_it_gives_one() {
    let farm = Farm::healthy().await;
    let silence = |said: &Value| said["state"] == "warn" && is_silence(said);
    assert!(farm.doctor().findings().iter().any(silence));
    farm.show_presence().await;
    assert!(!farm.doctor().findings().iter().any(silence));
}

/// Every file below a folder, with its size and the time of its last change.
fn tree(folder: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            found.extend(tree(&entry.path()));
        }
        let name = entry.path().to_string_lossy().into_owned();
        found.push((name, metadata.len(), metadata.modified().unwrap()));
    }
    found.sort();
    found
}

#[tokio::test]
async fn each_fault_of_files_on_this_machine_is_found_with_a_fix() {
    let farm = Farm::healthy().await;
    farm.doctor().is_well();

    for (key, sense) in [
        ("slave/state/report.key", "slave"),
        ("slave/state/bus.nk", "slave"),
        ("keys/signing.key", "master"),
        ("master/bus.nk", "master"),
    ] {
        farm.chmod(key, 0o644);
        let said = farm.doctor();
        let fix = format!(
            "chmod 600 {}",
            farm.text(key).replace("keys/", "master/../keys/")
        );
        said.is_ill("keys", "fail", "mode 0644", &fix, &[]);
        assert!(format!("{}", said.document).contains(&format!("the {sense} does not start")));
        farm.chmod(key, 0o600);
    }

    let (key, away) = (farm.path("slave/state/report.key"), farm.path("away"));
    fs::rename(&key, &away).unwrap();
    farm.doctor()
        .is_ill("keys", "fail", "report.key is missing", "backup", &[]);
    fs::rename(&away, &key).unwrap();

    let bus_key = fs::read_to_string(farm.path("slave/state/bus.nk")).unwrap();
    write_private(&farm.path("slave/state/bus.nk"), &nkey_of(&key));
    let fix = "pybots slave init";
    farm.doctor()
        .is_ill("keys", "fail", "are one key", fix, &[]);
    write_private(&farm.path("slave/state/bus.nk"), &bus_key);

    fs::copy(farm.path("drawer/master.key"), farm.path("keys/master.key")).unwrap();
    farm.doctor().is_ill(
        "keys",
        "warn",
        "keys/master.key lies on the master's machine",
        "move it to a stick in a drawer",
        &[],
    );
    fs::remove_file(farm.path("keys/master.key")).unwrap();

    for (place, mode, good) in [
        ("slave/record.sh", 0o775, 0o755),
        ("slave", 0o777, 0o755),
        ("slave/slave.toml", 0o664, 0o644),
        ("slave/state", 0o770, 0o700),
    ] {
        farm.chmod(place, mode);
        let found = format!("(mode {mode:04o})");
        let fix = format!("chmod go-w {}", farm.text(place));
        farm.doctor().is_ill("scripts", "fail", &found, &fix, &[]);
        farm.chmod(place, good);
    }
    fs::rename(farm.path("slave/record.sh"), &away).unwrap();
    let missing = "[commands.record]";
    farm.doctor()
        .is_ill("scripts", "fail", missing, "correct its path", &[]);
    fs::rename(&away, farm.path("slave/record.sh")).unwrap();

    let good = fs::read_to_string(farm.path("slave/slave.toml")).unwrap();
    let nothing_mapped = good.split("[commands").next().unwrap();
    fs::write(farm.path("slave/slave.toml"), nothing_mapped).unwrap();
    farm.doctor().is_ill(
        "scripts",
        "warn",
        "no command is mapped",
        "map a script",
        &[],
    );
    fs::write(farm.path("slave/slave.toml"), &good).unwrap();

    farm.edit("slave/slave.toml", "state = ", "stat = ");
    farm.doctor()
        .is_ill("config", "fail", "unknown field `stat`", "correct", &[]);
    fs::write(farm.path("slave/slave.toml"), &good).unwrap();
    doctor(&["--slave", "/nowhere/slave.toml"], &[]).is_ill(
        "config",
        "fail",
        "cannot read /nowhere/slave.toml",
        "give the right path",
        &[],
    );
    farm.doctor().is_well();
}

/// The seed of a login with the same key as the report key in that file.
fn nkey_of(report_key: &Path) -> String {
    let pem = fs::read_to_string(report_key).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = data_encoding::BASE64.decode(body.as_bytes()).unwrap();
    let seed: [u8; 32] = der[der.len() - 32..].try_into().unwrap();
    let pair = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, seed).unwrap();
    pair.seed().unwrap()
}

#[tokio::test]
async fn each_fault_of_programs_on_this_machine_is_found_with_a_fix() {
    let farm = Farm::healthy().await;
    let bin = farm.fake(
        "bwrap",
        "echo 'bwrap: No permissions to create new namespace' >&2; exit 1",
    );
    farm.doctor_with(&[("PATH", &before_others(&bin))]).is_ill(
        "sandbox",
        "warn",
        "No permissions to create new namespace",
        "bwrap --unshare-all",
        &[],
    );

    let old = farm.fake("nats-server", "echo 'nats-server: v2.9.10'");
    let (cache, not_fetched) = (farm.text("cache"), "is version 2.9.10, and 2.12 or newer");
    let environment = [("PATH", old.as_str()), ("XDG_CACHE_HOME", cache.as_str())];
    farm.doctor_with(&environment).is_ill(
        "nats-server",
        "fail",
        not_fetched,
        "install nats-server 2.12",
        &["git", "sandbox"],
    );
    let slave = farm.text("slave/slave.toml");
    doctor(&["--slave", &slave], &environment).is_ill(
        "nats-server",
        "warn",
        not_fetched,
        "install nats-server 2.12",
        &["sandbox"],
    );

    let path = std::env::var("PATH").unwrap();
    farm.edit("slave/slave.toml", &path, "/nowhere");
    farm.doctor().is_ill(
        "git",
        "warn",
        "git was not found, on the PATH of [environment] in slave.toml",
        "install git",
        &["python3", "cc"],
    );
}

#[tokio::test]
async fn each_fault_at_the_bus_is_found_with_a_fix() {
    let mut farm = Farm::healthy().await;
    let slave = farm.text("slave/slave.toml");
    let only_slave = || doctor(&["--slave", &slave], &[]);
    let good = fs::read_to_string(&slave).unwrap();
    only_slave().is_well();

    let here = format!("127.0.0.1:{}", farm.port);
    // Too long for a name, so that nobody need be asked for it.
    let nameless = format!("{}:4222", "a".repeat(64));
    let start = "start the farm's nats-server there; or correct bus in";
    for (elsewhere, found, fix) in [
        ("127.0.0.1:1", "nobody listens there", start),
        (&*nameless, "nobody knows the name", "correct bus in"),
    ] {
        farm.edit("slave/slave.toml", &here, elsewhere);
        only_slave().is_ill("bus", "fail", found, fix, &[]);
        fs::write(&slave, &good).unwrap();
    }

    let id = farm.id.to_string();
    let other_farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    farm.edit("slave/slave.toml", &id, other_farm);
    let compare = "compare the farm id in slave.toml";
    only_slave().is_ill("farm-id", "fail", "holds no keyring of farm", compare, &[]);
    fs::write(&slave, &good).unwrap();
    farm.edit("master/master.toml", &id, other_farm);
    let fix = "correct farm or keyring in master.toml";
    farm.doctor()
        .is_ill("farm-id", "fail", "not of the pinned farm", fix, &[]);
    farm.edit("master/master.toml", other_farm, &id);

    // Another slave made its keys, and the operator has not heard of it.
    let address = format!("nats://127.0.0.1:{}", farm.port);
    let stranger = farm.text("stranger");
    let line = succeed(&[
        "slave",
        "init",
        "--name",
        "oak",
        "--farm",
        &id,
        "--bus",
        &address,
        "--builder",
        "oak-linux",
        "--dir",
        &stranger,
    ]);
    let oak = farm.text("stranger/slave.toml");
    let approve = format!("pybots master approve {}", line.trim());
    doctor(&["--slave", &oak], &[]).is_ill(
        "bus",
        "fail",
        "refuses the login U",
        &approve,
        &["scripts"],
    );

    // The same slave, with a login that is let in.
    farm.edit(
        "slave/slave.toml",
        "[builders.bar-linux]",
        "[builders.new-linux]",
    );
    only_slave().is_ill(
        "slave-on-roster",
        "warn",
        "bar-linux, new-linux",
        "[builders]",
        &[],
    );
    fs::write(&slave, &good).unwrap();

    farm.speak(Duration::from_secs(2 * 3600)).await;
    let running = "pybots master run must be running";
    only_slave().is_ill("head", "warn", "the master spoke 2 h ago", running, &[]);
    farm.speak(Duration::from_secs(25 * 3600)).await;
    only_slave().is_ill("head", "fail", "25 h ago, more than 24 h", running, &[]);

    farm.speak(Duration::ZERO).await;
    let other = farm.text("other");
    succeed(&["keys", "init", "other-farm", "--dir", &other]);
    farm.edit(
        "master/master.toml",
        "../keys/signing.key",
        "../other/signing.key",
    );
    let (found, fix) = (
        "is not in the farm's keyring",
        "correct signing-key or keyring",
    );
    farm.doctor().is_ill("signing-key", "fail", found, fix, &[]);
    farm.edit(
        "master/master.toml",
        "../other/signing.key",
        "../keys/signing.key",
    );

    farm.server.kill();
    farm.doctor()
        .is_ill("bus", "fail", "nobody listens there", "nats-server", &[]);
}

#[tokio::test]
async fn a_farm_whose_master_has_never_run_and_a_slave_not_approved_are_told_from_others() {
    let mut farm = Farm::new().await;
    let slave = farm.text("slave/slave.toml");
    let path = std::env::var("PATH").unwrap();
    farm.edit("slave/slave.toml", "/usr/bin:/bin", &path);
    let said = doctor(&["--slave", &slave], &[]);
    let found = "the bus holds no keyring of farm";
    said.is_ill("farm-id", "fail", found, "pybots master run", &[]);

    // The operator has put its login into the server's list, and nothing on the roster.
    let stranger = farm.text("stranger");
    let address = format!("nats://127.0.0.1:{}", farm.port);
    let id = farm.id.to_string();
    let line = succeed(&[
        "slave",
        "init",
        "--name",
        "oak",
        "--farm",
        &id,
        "--bus",
        &address,
        "--builder",
        "oak-linux",
        "--dir",
        &stranger,
    ]);
    let nkey = line.split_whitespace().nth(2).unwrap().to_owned();
    let access = Access::Slave("oak".parse().unwrap());
    let list = users_list(farm.bus.subjects(), &[User::Key { nkey, access }]);
    let entry = list.trim_end().trim_end_matches(']');
    farm.edit("nats-server.conf", "users: [", entry);
    farm.server.kill();
    farm.start_server();
    farm.publish_keyring_and_head().await;
    let oak = farm.text("stranger/slave.toml");
    let approve = format!("pybots master approve {}", line.trim());
    let said = doctor(&["--slave", &oak], &[]);
    said.is_ill(
        "slave-on-roster",
        "warn",
        "oak is not approved yet",
        &approve,
        &["scripts"],
    );

    fs::remove_file(farm.path("slave/state/report.key")).unwrap();
    let other = pybots::trust::SecretKey::generate().unwrap();
    other.store(&farm.path("slave/state/report.key")).unwrap();
    let said = doctor(&["--slave", &slave], &[]);
    let fix = "put the old keys back";
    said.is_ill("slave-on-roster", "fail", "another report key", fix, &[]);

    farm.server.kill();
    fs::remove_dir_all(farm.path("store")).unwrap();
    farm.start_server();
    let master = farm.text("master/master.toml");
    let said = eventually("the server answers", || async {
        let said = doctor(&["--master", &master], &[]);
        let missing = |finding: &Value| finding["id"] == "streams" && finding["state"] == "fail";
        said.findings().iter().any(missing).then_some(said)
    })
    .await;
    let (missing, also) = ("missing: KEYRING, ROSTER", ["farm-id", "keys"]);
    said.is_ill("streams", "fail", missing, "start pybots master run", &also);
}
