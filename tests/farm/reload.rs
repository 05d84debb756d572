//! A configuration that changes while the master runs, and what a running master tells.

use std::fs;

use pybots::bus::Stream;
use serde_json::Value;

use crate::crashes::wait_for_build;
use crate::failover::{leads, says};
use crate::harness::Farm;
use crate::process::{eventually, eventually_or, pybots, succeed};

const SECOND_BUILDER: &str = r#"
[builders.bar-linux]
slave = "maple"
project = "bar"
sources = { python = "main" }
steps = [{ command = "record", timeout-minutes = 1 }]
"#;

async fn running_farm() -> Farm {
    let mut farm = Farm::new().await;
    farm.check_in("first");
    farm.start_master();
    farm.start_slave().await;
    wait_for_build(&farm, 1).await;
    farm
}

fn ask(farm: &Farm, what: &str) -> Value {
    let config = farm.text("master/master.toml");
    let answer = succeed(&["master", what, "--config", &config, "--json"]);
    serde_json::from_str(&answer).unwrap()
}

#[tokio::test]
async fn a_builder_that_is_added_builds_though_nothing_was_restarted() {
    let mut farm = running_farm().await;
    farm.write_master_toml(SECOND_BUILDER);
    let config = farm.text("master/master.toml");
    succeed(&["master", "reload", "--config", &config]);
    let built = || async {
        let ran = farm.ran();
        ran.iter()
            .any(|line| line.starts_with("bar-linux/1 "))
            .then_some(())
    };
    let said = || farm.master.as_ref().unwrap().said();
    eventually_or("the new builder builds", built, said).await;
    // The same master leads, under the same lease, by another configuration.
    let leads = leads(&farm).await;
    let [first, second] = &leads[..] else {
        panic!("{leads:?}")
    };
    assert_eq!(
        (first.lease, first.instance),
        (second.lease, second.instance)
    );
    assert_ne!(first.config, second.config);
    assert_eq!(
        ask(&farm, "builders")["builders"].as_array().unwrap().len(),
        2
    );
    // A signal does the same.
    farm.write_master_toml("");
    farm.master.as_ref().unwrap().hang_up();
    eventually("one builder is left", || async {
        let builders = ask(&farm, "builders");
        (builders["builders"].as_array()?.len() == 1).then_some(())
    })
    .await;
    farm.check_in("second");
    wait_for_build(&farm, 2).await;
    assert_eq!(farm.master.as_mut().unwrap().interrupt(), Some(0));
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing_and_every_mistake_is_said() {
    let mut farm = running_farm().await;
    let path = farm.path("master/master.toml");
    let config = farm.text("master/master.toml");
    let good = fs::read_to_string(&path).unwrap();
    let cases = [
        (
            good.replace("head-seconds = 1", "head-seconds = 0")
                .replace(
                    "sources = { python = \"main\" }",
                    "sources = { python = \"gone\" }",
                ),
            vec!["line 8, column", "head-seconds", "gone"],
        ),
        (good.replace("steps = [", "steps = [["), vec!["line"]),
        (
            good.replace("nats://127.0.0.1:", "nats://localhost:"),
            vec!["bus: cannot change while the master runs"],
        ),
    ];
    for (text, words) in cases {
        fs::write(&path, text).unwrap();
        let output = pybots(&["master", "reload", "--config", &config]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(8), "{said}");
        assert!(said.contains("by the old one"), "{said}");
        for word in words {
            assert!(said.contains(word), "{word} in {said}");
        }
    }
    // The farm goes on as it was.
    farm.check_in("second");
    wait_for_build(&farm, 2).await;
    assert_eq!(leads(&farm).await.len(), 1);
    says(farm.master.as_ref().unwrap(), "E-CONFIG").await;
    assert_eq!(farm.master.as_mut().unwrap().interrupt(), Some(0));
}

#[tokio::test]
async fn a_running_master_tells_what_waits_and_how_its_builders_stand_and_to_nobody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut farm = running_farm().await;
    let (go, begun) = (farm.text("go"), farm.path("begun"));
    farm.script(
        "record.sh",
        &format!(
            "touch {}; until [ -e {go} ]; do sleep 0.05; done",
            begun.display()
        ),
    );
    farm.check_in("second");
    eventually("the second build runs", || async {
        begun.exists().then_some(())
    })
    .await;
    farm.check_in("third");
    let queue = eventually("the third check-in waits", || async {
        let queue = ask(&farm, "queue");
        (queue["queue"].as_array()?.len() == 1).then_some(queue)
    })
    .await;
    let row = &queue["queue"][0];
    assert_eq!(
        (&row["builder"], &row["reason"]),
        (&"foo-linux".into(), &"building".into())
    );
    assert_eq!(queue["master"]["role"], "leads");
    assert_eq!(queue["master"]["lease"], 1);
    let row = &ask(&farm, "builders")["builders"][0];
    assert_eq!(
        (&row["state"], &row["building"]),
        (&"building".into(), &2.into())
    );
    assert_eq!(row["last"]["verdict"], "passed");
    assert_eq!(row["follows"][0], "python main");
    let config = farm.text("master/master.toml");
    let shown = succeed(&["master", "queue", "--config", &config]);
    assert!(shown.contains("foo-linux/2 is not over"), "{shown}");
    let shown = succeed(&["master", "builders", "--config", &config]);
    assert!(shown.contains("building 2"), "{shown}");

    let mode = |name: &str| fs::metadata(farm.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("master/state"), 0o700);
    assert_eq!(mode("master/state/control.sock"), 0o600);
    fs::write(&go, "").unwrap();
    wait_for_build(&farm, 3).await;
    farm.master.as_mut().unwrap().kill();
    let output = pybots(&["master", "queue", "--config", &config]);
    assert_eq!(output.status.code(), Some(6));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no master runs"), "{said}");
    let held = farm.bus.read_all(Stream::Commands, ">", 1).await.unwrap();
    assert_eq!(held.len(), 4, "a lead and three builds");
}
