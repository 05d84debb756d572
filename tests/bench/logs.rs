//! How fast, how soon and in how much memory a log reaches the stream: a real server, a real slave, real scripts.
//!
//!     cargo bench --bench logs
//!
//! Each round measures the log's rate and what the bus itself sustains one after the other, on the same server, so that a
//! busy machine slows both alike; what counts is the ratio within a round. nats-server has to be on PATH.

#![expect(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock, prints what it measured, and may end where it cannot go on"
)]

#[path = "../farm/harness.rs"]
#[expect(dead_code, reason = "shared with the tests, which need more of it")]
mod harness;
#[path = "../farm/process.rs"]
#[expect(dead_code, reason = "shared with the tests, which need more of it")]
mod process;
#[path = "../farm/seen.rs"]
#[expect(dead_code, reason = "shared with the tests, which need more of it")]
mod seen;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::future::IntoFuture as _;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use async_nats::jetstream::{self, message::PublishMessage};
use bytes::Bytes;
use pybots::bus::{Delivery, Stream};
use pybots::model::{BuildId, LogChunk, PayloadId, ReportBody, Timestamp, Verdict};
use pybots::trust::{Purpose, Verified};

use harness::Farm;
use process::{PYBOTS, eventually};

const ROUNDS: u64 = 7;
const WINDOW: usize = 16;
const MIB: usize = 1 << 20;
const RATE_BYTES: usize = 100 * MIB;
const MEMORY_BYTES: usize = 400 * MIB;
const LINES: usize = 60;

fn main() {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(measure());
}

async fn measure() {
    let mut farm = Farm::new().await;
    let (log, go) = (farm.text("log"), farm.text("go"));
    let lines = lines(RATE_BYTES);
    fs::write(&log, &lines).unwrap();
    farm.script("rate.sh", &format!("exec cat {log}"));
    farm.script(
        "memory.sh",
        &format!("for i in 1 2 3 4; do cat {log}; done"),
    );
    farm.script(
        "latency.sh",
        &format!(
            "echo waiting\nuntil [ -e {go} ]; do sleep 0.05; done\n\
             i=0\nwhile [ $i -lt {LINES} ]; do i=$((i+1)); sleep 0.07; date +%s%N; done"
        ),
    );
    let commands = ["rate", "memory", "latency"]
        .map(|name| format!("[commands.{name}]\nscript = \"{name}.sh\"\n"));
    farm.write_slave_toml(&commands.concat());
    let path = farm.path("slave/slave.toml");
    let toml = fs::read_to_string(&path).unwrap();
    let limits = "[limits]\nlog-mebibytes = 1000\n";
    fs::write(&path, toml.replace("[limits]\n", limits)).unwrap();
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;

    let mut number = 0;
    println!("{ROUNDS} rounds; {WINDOW} messages under way; lines of 80 bytes");
    let (mut logs, mut buses, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        number += 1;
        let log = log_rate(&farm, number).await;
        let bus = bus_rate(&farm, round, &lines).await;
        logs.push(log);
        buses.push(bus);
        ratios.push(log / bus);
    }
    row("log of 100 MiB, MB/s", logs);
    row("bus, 64 KiB, MB/s", buses);
    row("ratio", ratios);

    number += 1;
    let mut latencies = latencies(&farm, number).await;
    latencies.sort_by(f64::total_cmp);
    println!(
        "{:28} median {:.1}   95 % {:.1}   max {:.1}   of {} lines",
        "line to live viewer, ms",
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 95 / 100],
        latencies[latencies.len() - 1],
        latencies.len()
    );

    let (mut idle, mut highest, mut keeper) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        farm.slave.take();
        farm.start_slave().await;
        number += 1;
        let memory = memory(&farm, number).await;
        idle.push(memory.idle);
        highest.push(memory.highest - memory.idle);
        keeper.push(memory.keeper);
    }
    row("idle slave resident, MiB", idle);
    row("grown by 400 MiB of log, MiB", highest);
    row("keeper's private, MiB", keeper);
    let away = memory_while_the_bus_is_away(&mut farm, number + 1).await;
    row("the same, bus away, MiB", vec![away]);
}

fn row(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let (first, last) = (values[0], values[values.len() - 1]);
    let median = values[values.len() / 2];
    println!("{what:28} min {first:8.2}   median {median:8.2}   max {last:8.2}");
}

/// Numbered lines of 80 bytes, as hard to compress as a compiler's.
fn lines(bytes: usize) -> Bytes {
    let mut text = String::with_capacity(bytes);
    let mut state: u64 = 1;
    for line in 0..bytes.div_ceil(80) {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let file = state >> 40;
        let _ = writeln!(
            text,
            "{line:9} gcc -c -Wno-unused-label -O3 -Wall -g Object/{file:08x}.c -o {:08x}.o",
            state & 0xffff_ffff
        );
    }
    assert_eq!(text.find('\n'), Some(79));
    text.truncate(bytes);
    text.into()
}

async fn begin(farm: &Farm, number: u64, command: &str) -> PayloadId {
    let mut order = farm.order(number, &[command]);
    order.steps[0].timeout = Duration::from_secs(600);
    farm.send(&order).await
}

fn log_subject(farm: &Farm, number: u64) -> String {
    let build = BuildId {
        builder: "foo-linux".parse().unwrap(),
        number,
    };
    farm.bus.subjects().log(&"maple".parse().unwrap(), &build)
}

/// The last chunk of a log, when the stream has all `bytes` of it.
async fn last_chunk(farm: &Farm, number: u64, bytes: usize) -> Delivery {
    let subject = log_subject(farm, number);
    let mut reader = farm.reader().await;
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let newest = farm.bus.read_newest(Stream::Logs, &subject).await;
        let Ok(Some(newest)) = newest else { continue };
        let opened = reader.open::<LogChunk>(&newest.bytes, Purpose::History);
        let Ok(chunk) = opened.map(Verified::into_body) else {
            // The server has only just come back, and did not answer when the roster was read.
            reader = farm.reader().await;
            continue;
        };
        if chunk.offset + chunk.bytes.len() as u64 >= bytes as u64 {
            return newest;
        }
    }
}

async fn script_started(farm: &Farm, id: PayloadId) -> Timestamp {
    let reports = farm.reports().await;
    let mut reports = reports.iter().map(Verified::body);
    reports
        .find_map(|report| {
            if let ReportBody::StepStarted { started, .. } = report.body
                && report.command == id
            {
                Some(started)
            } else {
                None
            }
        })
        .unwrap()
}

/// From the start of the script until the stream has the last byte, by the clock of this machine.
async fn log_rate(farm: &Farm, number: u64) -> f64 {
    let id = begin(farm, number, "rate").await;
    let last = last_chunk(farm, number, RATE_BYTES).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    let took = last.stored.since(script_started(farm, id).await);
    megabytes_a_second(RATE_BYTES, took)
}

/// The same bytes, published by a client that does nothing else.
async fn bus_rate(farm: &Farm, round: u64, lines: &Bytes) -> f64 {
    let seed = fs::read_to_string(farm.path("hostile.nk")).unwrap();
    let client = async_nats::ConnectOptions::with_nkey(seed.trim().to_owned())
        .custom_inbox_prefix("_INBOX.hostile")
        .connect(format!("nats://127.0.0.1:{}", farm.port))
        .await
        .unwrap();
    let jetstream = jetstream::new(client);
    let subject = log_subject(farm, 1_000_000 + round);
    let mut under_way = VecDeque::new();
    let begin = Instant::now();
    for (number, from) in (0..lines.len()).step_by(64 << 10).enumerate() {
        if under_way.len() == WINDOW {
            let oldest: jetstream::context::PublishAckFuture = under_way.pop_front().unwrap();
            oldest.await.unwrap();
        }
        let piece = lines.slice(from..lines.len().min(from + (64 << 10)));
        let message = PublishMessage::build()
            .payload(piece)
            .message_id(format!("{round}-{number}"));
        let sent = jetstream.send_publish(subject.clone(), message).await;
        under_way.push_back(sent.unwrap());
    }
    for sent in under_way {
        sent.into_future().await.unwrap();
    }
    megabytes_a_second(lines.len(), begin.elapsed())
}

fn megabytes_a_second(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64()
}

/// How long after it was printed each line comes out of `pybots build log --follow`, in milliseconds.
async fn latencies(farm: &Farm, number: u64) -> Vec<f64> {
    let id = begin(farm, number, "latency").await;
    last_chunk(farm, number, 1).await;
    let farm_file = format!(
        "farm = \"{}\"\nbus = \"nats://127.0.0.1:{}\"\n[viewer]\nuser = \"viewer\"\npassword = \"public\"\n",
        farm.id, farm.port
    );
    fs::write(farm.path("farm.toml"), farm_file).unwrap();
    let mut viewer = Command::new(PYBOTS)
        .args(["build", "log", &format!("foo-linux/{number}"), "--follow"])
        .args(["--farm", &farm.text("farm.toml")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let go = farm.path("go");
    let output = viewer.stdout.take().unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut latencies = Vec::new();
        for line in BufReader::new(output).lines() {
            let line = line.unwrap();
            if line == "waiting" {
                fs::write(&go, "").unwrap();
            } else if let Ok(printed) = line.parse::<u64>() {
                let now = UNIX_EPOCH.elapsed().unwrap().as_nanos() as f64;
                latencies.push((now - printed as f64) / 1e6);
            }
        }
        latencies
    });
    let latencies = reading.await.unwrap();
    viewer.wait().unwrap();
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    assert_eq!(latencies.len(), LINES);
    latencies
}

/// In MiB.
struct Memory {
    idle: f64,
    /// The slave's, at any moment.
    highest: f64,
    /// The most that a keeper had for itself.
    keeper: f64,
}

async fn memory(farm: &Farm, number: u64) -> Memory {
    let slave = farm.slave.as_ref().unwrap().id();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = resident(slave, "VmRSS:");
    begin(farm, number, "memory").await;
    let mut keeper: f64 = 0.0;
    let all = last_chunk(farm, number, MEMORY_BYTES);
    tokio::pin!(all);
    loop {
        tokio::select! {
            _ = &mut all => break,
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                keeper = keeper.max(private_of_keeper(slave));
            }
        }
    }
    Memory {
        idle,
        highest: resident(slave, "VmHWM:"),
        keeper,
    }
}

/// How much a slave grows while 400 MiB are printed, none of which can be sent, and are sent then.
async fn memory_while_the_bus_is_away(farm: &mut Farm, number: u64) -> f64 {
    farm.slave.take();
    farm.start_slave().await;
    let slave = farm.slave.as_ref().unwrap().id();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = resident(slave, "VmRSS:");
    begin(farm, number, "memory").await;
    last_chunk(farm, number, MIB).await;
    farm.server.kill();
    eventually("all is printed", || async {
        (spooled(&farm.path("slave/state/jobs")) >= MEMORY_BYTES as u64).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    farm.start_server();
    last_chunk(farm, number, MEMORY_BYTES).await;
    resident(slave, "VmHWM:") - idle
}

fn spooled(jobs: &Path) -> u64 {
    let jobs = fs::read_dir(jobs).unwrap().flatten();
    let spools = jobs.filter_map(|job| fs::metadata(job.path().join("spool")).ok());
    spools.map(|spool| spool.len()).sum()
}

fn resident(process: u32, what: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    kibibytes(&status, what) / 1024.0
}

fn kibibytes(table: &str, what: &str) -> f64 {
    let mut lines = table.lines().filter(|line| line.starts_with(what));
    let words = lines.next().and_then(|line| line.split_whitespace().nth(1));
    words.and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

fn private_of_keeper(slave: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{slave}/task/{slave}/children"));
    let children = children.unwrap_or_default();
    let of_child = children.split_whitespace().map(|child| {
        let maps = fs::read_to_string(format!("/proc/{child}/smaps_rollup")).unwrap_or_default();
        (kibibytes(&maps, "Private_Clean:") + kibibytes(&maps, "Private_Dirty:")) / 1024.0
    });
    of_child.fold(0.0, f64::max)
}
