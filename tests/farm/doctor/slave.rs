//! What a doctor says of a slave besides its farm: what it has not said yet, its service, and what must be left for it.

use std::fs;

use serde_json::Value;

use super::patient::{Said, before_others};
use crate::harness::Farm;
use crate::process::{eventually, succeed};

/// What is said where nothing is wrong.
fn found(said: &Said, id: &str) -> String {
    let of_id = |finding: &&Value| finding["id"] == id && finding["state"] == "ok";
    let finding = said.findings().iter().find(of_id);
    let finding = finding.unwrap_or_else(|| panic!("{id}: {:#}", said.document));
    finding["found"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_build_that_outlives_its_slave_is_told_until_a_slave_has_reported_it() {
    let mut farm = Farm::healthy().await;
    let (begun, go) = (farm.text("begun"), farm.text("go"));
    let body = format!("echo begun\ntouch {begun}\nuntil [ -e {go} ]; do sleep 0.02; done");
    farm.script("hold.sh", &body);
    let mapping = "[commands.hold]\nscript = \"hold.sh\"\n[commands.record]";
    farm.edit("slave/slave.toml", "[commands.record]", mapping);
    assert_eq!(found(&farm.doctor(), "backlog"), "nothing waits to be sent");
    farm.start_slave().await;
    let id = farm.send(&farm.order(1, &["hold"])).await;
    eventually("the script has begun", || async {
        farm.path("begun").exists().then_some(())
    })
    .await;
    let said = farm.doctor();
    said.is_well();
    assert!(found(&said, "backlog").ends_with("the slave that runs sees to it"));
    let counted = found(&said, "limits");
    let known = ["control group for each job", "sampled, because"];
    assert!(
        known.iter().any(|words| counted.contains(words)),
        "{counted}"
    );

    farm.slave.as_mut().unwrap().kill();
    let fix = "start the slave, which takes them over";
    farm.doctor()
        .is_ill("backlog", "warn", "scripts at work: 1", fix, &[]);
    fs::write(&go, "").unwrap();
    let said = eventually("the keeper has ended", || async {
        let said = farm.doctor();
        (!format!("{}", said.document).contains("scripts at work")).then_some(said)
    })
    .await;
    let found_waiting = "builds without an end: 1, and no slave runs";
    let fix = "start the slave: pybots slave run --config";
    said.is_ill("backlog", "warn", found_waiting, fix, &[]);

    farm.start_slave().await;
    farm.ending(id).await;
    farm.slave.as_mut().unwrap().interrupt();
    let said = farm.doctor();
    said.is_well();
    assert_eq!(found(&said, "backlog"), "nothing waits to be sent");
}

#[tokio::test]
async fn a_service_that_is_not_what_would_be_written_now_or_does_not_run_is_found() {
    let farm = Farm::healthy().await;
    let systemd = |body: &str| before_others(&farm.fake("systemctl", body));
    let path = systemd("exit 1");
    let config = farm.text("config");
    let environment = [("PATH", path.as_str()), ("XDG_CONFIG_HOME", &config)];
    let look = || farm.doctor_with(&environment);
    let none = "no service; the slave runs only while you run it";
    assert_eq!(found(&look(), "service"), none);

    let slave = farm.text("slave/slave.toml");
    let text = succeed(&["slave", "install", "--user", "--print", "--config", &slave]);
    let folder = farm.path("config/systemd/user");
    fs::create_dir_all(&folder).unwrap();
    let unit = folder.join("pybots-slave.service");
    fs::write(&unit, &text).unwrap();
    let said = look();
    said.is_well();
    assert!(found(&said, "service").ends_with("as it would be written now"));

    fs::write(&unit, text.replace("NoNewPrivileges=yes\n", "")).unwrap();
    let (differs, again) = (
        "is not what would be written now",
        "run pybots slave install again",
    );
    look().is_ill("service", "warn", differs, again, &[]);

    let elsewhere = text.replace(&slave, "/srv/other/slave.toml");
    assert_ne!(elsewhere, text);
    fs::write(&unit, elsewhere).unwrap();
    assert_eq!(found(&look(), "service"), none, "another slave's");

    fs::write(&unit, &text).unwrap();
    systemd("echo failed");
    let fix = "systemctl --user start pybots-slave.service";
    look().is_ill(
        "service",
        "warn",
        "pybots-slave.service is failed",
        fix,
        &[],
    );
    systemd("echo active");
    assert!(found(&look(), "service").ends_with("is active"));
}

#[tokio::test]
async fn a_machine_on_which_a_command_would_be_put_off_right_now_is_found_with_the_reason() {
    let farm = Farm::healthy().await;
    let floor = "[limits]\nfree-disk-mebibytes = 1000000000";
    farm.edit("slave/slave.toml", "[limits]", floor);
    farm.doctor().is_ill(
        "limits",
        "warn",
        "1000000000 MiB must be",
        "make room, or lower free-disk-mebibytes",
        &[],
    );
}
