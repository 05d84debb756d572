//! A slave that freezes, and one that runs twice: who notices, and who is told.

use std::fs;
use std::path::Path;

use crate::crashes::wait_for_build;
use crate::harness::Farm;
use crate::process::{PYBOTS, Process, eventually, eventually_or, succeed};
use crate::viewers::farm_file;

/// A farm with a master who calls a slave silent after so many seconds, and its slave.
async fn watched_farm(seconds: u64) -> Farm {
    let mut farm = Farm::new().await;
    let path = farm.path("master/master.toml");
    let text = fs::read_to_string(&path).unwrap();
    let periods = format!("[periods]\nsilence-seconds = {seconds}\n");
    fs::write(path, text.replace("[periods]\n", &periods)).unwrap();
    farm.check_in("first");
    farm.start_master();
    farm.start_slave().await;
    farm
}

/// Waits until the master says something that holds all of these words in one line, and gives that line.
async fn master_says(farm: &Farm, words: &[&str]) -> String {
    let master = farm.master.as_ref().unwrap();
    eventually_or(
        &format!("the master says {words:?}"),
        || async {
            let said = master.said();
            let mut lines = said.lines();
            let line = lines.find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned)
        },
        || master.said(),
    )
    .await
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_frozen_slave_is_noticed_by_the_master_once_and_so_is_its_return() {
    let mut farm = watched_farm(3).await;
    wait_for_build(&farm, 1).await;
    let (begun, go) = (farm.path("begun"), farm.path("go"));
    let body = format!(
        "touch {}; while [ ! -e {} ]; do sleep 0.1; done",
        begun.display(),
        go.display()
    );
    farm.script("record.sh", &body);
    farm.check_in("second");
    eventually("the second build runs", || async {
        begun.exists().then_some(())
    })
    .await;
    let slave = farm.slave.as_ref().unwrap();
    slave.pause();
    let line = master_says(&farm, &["E-SILENT"]).await;
    for word in ["WARN", "slave=maple", "foo-linux/2"] {
        assert!(line.contains(word), "{word} in {line}");
    }
    slave.resume();
    let line = master_says(&farm, &["a silent slave is back"]).await;
    assert!(line.contains("slave=maple"), "{line}");
    // What it was at goes on to its end.
    fs::write(go, "").unwrap();
    wait_for_build(&farm, 2).await;
    let said = farm.master.take().unwrap().said();
    assert_eq!(said.matches("E-SILENT").count(), 1, "{said}");
    assert!(!said.contains("E-CLONE"), "{said}");
}

#[tokio::test]
async fn a_bus_that_was_away_makes_no_slave_silent_and_the_master_no_less_watchful() {
    let mut farm = watched_farm(10).await;
    wait_for_build(&farm, 1).await;
    farm.server.kill();
    farm.start_server();
    farm.check_in("second");
    wait_for_build(&farm, 2).await;
    let said = farm.master.as_ref().unwrap().said();
    assert!(!said.contains("E-SILENT"), "{said}");
    farm.slave.as_ref().unwrap().pause();
    master_says(&farm, &["E-SILENT"]).await;
}

#[tokio::test]
async fn a13_a_slave_that_runs_twice_is_noticed_by_the_master_and_by_every_viewer() {
    let mut farm = watched_farm(3).await;
    wait_for_build(&farm, 1).await;
    farm.slave.as_mut().unwrap().terminate();
    let (own, copy) = (farm.path("slave"), farm.path("copy"));
    copy_folder(&own, &copy);
    farm.start_slave().await;
    let master = farm.master.as_ref().unwrap();
    assert!(!master.said().contains("E-CLONE"), "a restart is no clone");
    let config = copy.join("slave.toml");
    let arguments = ["slave", "run", "--config", &config.to_string_lossy()];
    let _other = Process::start(PYBOTS, &arguments, farm.path("copy.log"));
    let line = master_says(&farm, &["E-CLONE", "a slave runs twice"]).await;
    for word in ["ERROR", "slave=maple"] {
        assert!(line.contains(word), "{word} in {line}");
    }

    // The two take turns at the commands, each behind the same report.
    let file = farm_file(&farm);
    let mut shown = String::new();
    for number in 2..10 {
        farm.check_in(&format!("file-{number}"));
        wait_for_build(&farm, number).await;
        shown = succeed(&["status", "--farm", &file]);
        if shown.contains("two instances of maple") {
            break;
        }
    }
    assert!(shown.contains("two instances of maple"), "{shown}");
    let said = farm.master.take().unwrap().said();
    assert_eq!(said.matches("a slave runs twice").count(), 1, "{said}");
}
