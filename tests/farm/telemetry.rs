//! What a master and a slave show of themselves to whoever watches processes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pybots::model::Verdict;
use serde_json::Value;

use crate::harness::Farm;
use crate::process::{PYBOTS, Process, eventually, eventually_or, pybots};

const LISTEN: &str = "[telemetry]\nlisten = \"127.0.0.1:0\"";

/// The lines of a JSON log.
fn log(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Where the process of this log serves its telemetry.
async fn address(path: &Path) -> SocketAddr {
    eventually("telemetry is served", || async {
        let lines = log(path);
        let served = lines
            .iter()
            .rfind(|line| line["message"] == "telemetry served");
        served?["address"].as_str()?.parse().ok()
    })
    .await
}

/// An answer: its status, its headers in small letters, and its body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn ask(address: SocketAddr, method: &str, path: &str, accept: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "*/*")
}

/// Every sample by its name and labels, as they stand; each line must be one, or a comment.
fn metrics(address: SocketAddr) -> BTreeMap<String, f64> {
    let answer = get(address, "/metrics");
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .head
            .contains("content-type: application/openmetrics-text"),
        "{}",
        answer.head
    );
    let name = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let mut samples = BTreeMap::new();
    for line in answer.body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let kind = comment.split(' ').next().unwrap();
            assert!(["HELP", "TYPE", "UNIT", "EOF"].contains(&kind), "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (family, labels) = series.split_once('{').unwrap_or((series, "}"));
        assert!(name(family), "{line}");
        let labels = labels.strip_suffix('}').unwrap();
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once('=').unwrap();
            assert!(name(key), "{line}");
            assert!(value.starts_with('"') && value.ends_with('"'), "{line}");
        }
        let earlier = samples.insert(series.to_owned(), value.parse().unwrap());
        assert!(earlier.is_none(), "twice: {line}");
    }
    assert!(answer.body.ends_with("# EOF\n"));
    samples
}

async fn healthy(address: SocketAddr, status: u16) -> Answer {
    let said = || get(address, "/healthz").body;
    let look = || async {
        let answer = get(address, "/healthz");
        (answer.status == status).then_some(answer)
    };
    eventually_or(&format!("health is {status}"), look, said).await
}

/// Labels that may be there, and so how many series there can be.
fn assert_few_series(samples: &BTreeMap<String, f64>) {
    let labels: BTreeSet<&str> = samples
        .keys()
        .filter_map(|series| series.split_once('{'))
        .flat_map(|(_, labels)| labels.split(','))
        .filter_map(|label| label.split('=').next())
        .collect();
    let known = BTreeSet::from(["code", "le", "state", "verdict", "version"]);
    assert!(labels.is_subset(&known), "{labels:?}");
}

#[tokio::test]
async fn a_slave_counts_what_it_built_and_refused_and_is_ill_while_the_bus_is_away() {
    let mut farm = Farm::new().await;
    farm.write_slave_toml(LISTEN);
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let slave = address(&farm.path("slave.log")).await;
    assert_eq!(healthy(slave, 200).await.body, "ok\n");

    let refused = farm.send(&farm.order(1, &["nothing-of-that-name"])).await;
    let ending = farm.ending(refused).await;
    assert_eq!(ending.verdict(), Some(Verdict::Refused));
    farm.settle(2).await;
    let stolen = farm.seal(&farm.order(3, &["record"]));
    let mut broken = stolen.bytes.clone();
    *broken.last_mut().unwrap() ^= 1;
    let order = farm.order(3, &["record"]);
    let subject = farm.bus.subjects().command(&order.slave, &order.builder);
    farm.publish(subject, broken).await;
    farm.settle(4).await;

    let samples = metrics(slave);
    for (series, expected) in [
        ("pybots_builds_total{verdict=\"passed\"}", 2.0),
        ("pybots_builds_total{verdict=\"refused\"}", 1.0),
        ("pybots_builds_total{verdict=\"failed\"}", 0.0),
        ("pybots_refusals_total{code=\"E-UNMAPPED\"}", 1.0),
        ("pybots_verify_failures_total{code=\"E-SIGNATURE\"}", 1.0),
        ("pybots_bus_connected", 1.0),
        ("pybots_bus_reconnects_total", 0.0),
        ("pybots_unsent_reports", 0.0),
        ("pybots_unsent_log_bytes", 0.0),
    ] {
        assert_eq!(
            samples.get(series),
            Some(&expected),
            "{series}\n{samples:?}"
        );
    }
    assert!(samples["pybots_head_age_seconds"] >= 0.0);
    assert!(samples["pybots_keyring_age_seconds"] > 0.0);
    assert!(samples["process_start_time_seconds"] > 1.7e9);
    assert!(
        samples
            .keys()
            .any(|key| key.starts_with("pybots_build_info{version="))
    );
    assert_few_series(&samples);

    assert_eq!(get(slave, "/").status, 404);
    assert_eq!(get(slave, "/metrics/x").status, 404);
    for path in ["/metrics", "/healthz"] {
        assert_eq!(ask(slave, "POST", path, "*/*").status, 405, "{path}");
    }

    farm.server.kill();
    let ill = healthy(slave, 503).await;
    assert_eq!(ill.body, "the bus is not connected\n");
    let json = ask(slave, "GET", "/healthz", "application/json");
    let json: Value = serde_json::from_str(&json.body).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["wrong"][0], "the bus is not connected");
    let samples = metrics(slave);
    assert_eq!(samples.get("pybots_bus_connected"), Some(&0.0));
    farm.start_server();
    healthy(slave, 200).await;
    assert!(metrics(slave)["pybots_bus_reconnects_total"] >= 1.0);
}

#[tokio::test]
async fn whoever_connects_and_says_nothing_keeps_nobody_else_out_for_long() {
    let mut farm = Farm::new().await;
    farm.write_slave_toml(LISTEN);
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let slave = address(&farm.path("slave.log")).await;
    let silent: Vec<TcpStream> = (0..64)
        .map(|_| TcpStream::connect(slave).unwrap())
        .collect();
    // The slave itself is not held up at all.
    farm.settle(1).await;
    drop(silent.into_iter().skip(48).collect::<Vec<_>>());
    assert_eq!(healthy(slave, 200).await.body, "ok\n");
}

/// A master that logs in JSON.
fn start_master(farm: &mut Farm) {
    let config = farm.text("master/master.toml");
    let arguments = ["--log-format", "json", "master", "run", "--config", &config];
    farm.master = Some(Process::start(PYBOTS, &arguments, farm.path("master.log")));
}

/// Whether this process has counted one build that passed.
fn passed(address: SocketAddr) -> Option<()> {
    let samples = metrics(address);
    (samples.get("pybots_builds_total{verdict=\"passed\"}") == Some(&1.0)).then_some(())
}

#[tokio::test]
async fn master_and_slave_log_one_build_under_one_name_in_json() {
    let mut farm = Farm::new().await;
    farm.write_slave_toml(LISTEN);
    farm.check_in("one");
    start_master(&mut farm);
    farm.start_slave().await;
    let slave = address(&farm.path("slave.log")).await;
    eventually("the build has passed by the slave's count", || async {
        passed(slave)
    })
    .await;

    for (path, message) in [
        ("master.log", "build ordered"),
        ("slave.log", "command accepted"),
        ("slave.log", "build finished"),
    ] {
        let lines = log(&farm.path(path));
        let line = lines.iter().find(|line| line["message"] == message);
        let line = line.unwrap_or_else(|| panic!("{path}: {message}"));
        assert_eq!(line["build"], "foo-linux/1", "{line}");
        let flat = line.as_object().unwrap().values();
        let flat = flat.into_iter().all(|value| !value.is_object());
        assert!(flat, "{line}");
    }
}

#[tokio::test]
async fn a_master_counts_what_it_ordered_and_what_came_of_it_and_is_ill_while_the_bus_is_away() {
    let mut farm = Farm::new().await;
    farm.write_master_toml(LISTEN);
    farm.check_in("one");
    start_master(&mut farm);
    let master = address(&farm.path("master.log")).await;
    farm.start_slave().await;
    eventually("the build has passed by the master's count", || async {
        passed(master)
    })
    .await;
    let samples = metrics(master);
    for (series, expected) in [
        ("pybots_leading", 1.0),
        ("pybots_lease", 1.0),
        ("pybots_commands_published_total", 1.0),
        ("pybots_dispatch_latency_seconds_count", 1.0),
        ("pybots_slaves{state=\"silent\"}", 0.0),
        ("pybots_bus_connected", 1.0),
    ] {
        assert_eq!(
            samples.get(series),
            Some(&expected),
            "{series}\n{samples:?}"
        );
    }
    assert_few_series(&samples);
    eventually("the slave is present", || async {
        (metrics(master).get("pybots_slaves{state=\"present\"}") == Some(&1.0)).then_some(())
    })
    .await;

    healthy(master, 200).await;
    farm.server.kill();
    assert_eq!(
        healthy(master, 503).await.body,
        "the bus is not connected\n"
    );
    farm.start_server();
    healthy(master, 200).await;
}

#[tokio::test]
async fn neither_master_nor_slave_is_shown_to_other_machines_by_mistake() {
    let farm = Farm::new().await;
    let everywhere = "[telemetry]\nlisten = \"0.0.0.0:0\"";
    farm.write_master_toml(everywhere);
    farm.write_slave_toml(everywhere);
    for role in ["master", "slave"] {
        let config = farm.text(&format!("{role}/{role}.toml"));
        let output = pybots(&[role, "run", "--config", &config]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(8), "{said}");
        let why = "others than this machine reach 0.0.0.0:0";
        assert!(said.contains(why), "{said}");
    }
}

/// What a process tells its service manager, until it says `last`.
fn heard(socket: &UnixDatagram, last: &str) -> Vec<String> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while heard.last().is_none_or(|said: &String| said != last) {
        let length = socket
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("{last} never came ({error}): {heard:?}"));
        heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    heard
}

#[tokio::test]
async fn a_service_manager_hears_when_a_slave_is_ready_that_it_lives_and_that_it_stops() {
    let farm = Farm::new().await;
    farm.publish_keyring_and_head().await;
    let path = farm.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut slave = Command::new(PYBOTS)
        .args(["slave", "run", "--config", &farm.text("slave/slave.toml")])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "2000000")
        .spawn()
        .unwrap();
    let early = heard(&socket, "READY=1");
    let status = "STATUS=takes commands; builds at work: 0, waiting: 0";
    assert!(early.contains(&status.to_owned()), "{early:?}");
    heard(&socket, "WATCHDOG=1");
    heard(&socket, "WATCHDOG=1");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(slave.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    heard(&socket, "STOPPING=1");
    assert!(slave.wait().unwrap().success());
}
