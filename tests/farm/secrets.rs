//! What must never be shown: private keys, however talkative a process is.

use std::fs;

use data_encoding::{BASE64, HEXLOWER};
use pybots::model::Verdict;

use crate::harness::Farm;
use crate::process::{PYBOTS, Process, eventually, succeed};

/// Every way in which the private keys of a farm could be written.
fn spellings(farm: &Farm) -> Vec<String> {
    let mut spellings = Vec::new();
    for key in [
        "keys/master.key",
        "keys/successor.key",
        "keys/signing.key",
        "slave/state/report.key",
    ] {
        let pem = fs::read_to_string(farm.path(key)).unwrap();
        let body = pem.lines().nth(1).unwrap();
        let der = BASE64.decode(body.as_bytes()).unwrap();
        let seed = &der[der.len() - 32..];
        spellings.push(body[24..].trim_end_matches('=').to_owned());
        spellings.push(BASE64.encode(seed).trim_end_matches('=').to_owned());
        spellings.push(HEXLOWER.encode(seed));
        spellings.push(format!("{seed:?}"));
    }
    for key in ["master/bus.nk", "slave/state/bus.nk"] {
        let seed = fs::read_to_string(farm.path(key)).unwrap();
        spellings.push(seed.trim().to_owned());
    }
    spellings
}

#[tokio::test]
async fn a38_no_private_key_shows_in_what_a_process_logs_at_its_most_talkative() {
    let mut farm = Farm::new().await;
    let talkative = |role: &str, config: String, log| {
        let arguments = ["PYBOTS_LOG=trace", PYBOTS, role, "run", "--config", &config];
        Process::start("env", &arguments, log)
    };
    farm.publish_keyring_and_head().await;
    farm.slave = Some(talkative(
        "slave",
        farm.text("slave/slave.toml"),
        farm.path("slave.log"),
    ));
    let id = farm.send(&farm.order(1, &["record"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    farm.master = Some(talkative(
        "master",
        farm.text("master/master.toml"),
        farm.path("master.log"),
    ));
    let master_said = || fs::read_to_string(farm.path("master.log")).unwrap_or_default();
    eventually("the master is at work", || async {
        master_said().contains("TRACE").then_some(())
    })
    .await;
    let checked = succeed(&[
        "keys",
        "show",
        &farm.text("keys/test-farm.keyring"),
        "--json",
    ]);
    for said in [farm.slave_said(), master_said(), checked] {
        assert!(said.len() > 100, "it talks: {said}");
        for secret in spellings(&farm) {
            assert!(!said.contains(&secret), "{secret} in\n{said}");
        }
    }
}
