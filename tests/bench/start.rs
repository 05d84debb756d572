//! How soon a script runs after its command has come, at each level of isolation, and what a slave takes that does nothing.
//!
//!     cargo bench --bench start
//!
//! The script is bash's, which tells the time by itself; how long bash takes to come to that is measured in the same round
//! without a farm. The levels take turns, so that a busy machine slows all alike. nats-server and bwrap have to be on PATH.

#![expect(
    clippy::cast_precision_loss,
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

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use pybots::model::{Isolation, PayloadId, ReportBody, Verdict};

use harness::Farm;
use process::{eventually, now};

const ROUNDS: u64 = 80;
/// The first starts read everything from disk, and are not counted.
const WARM_UP: u64 = 5;
const LEVELS: [Isolation; 3] = [Isolation::Plain, Isolation::Landlock, Isolation::Namespaces];
const IDLE: Duration = Duration::from_secs(30);

fn main() {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(measure());
}

async fn measure() {
    let mut farms = Vec::new();
    for level in LEVELS {
        farms.push(farm_at(level).await);
    }
    let mut bash = Vec::new();
    let mut sent: Vec<Vec<Sent>> = LEVELS.map(|_| Vec::new()).into();
    for number in 1..=WARM_UP + ROUNDS {
        bash.push(bash_alone());
        for (farm, sent) in farms.iter().zip(&mut sent) {
            sent.push(start(farm, number).await);
        }
    }
    println!("{ROUNDS} starts at each level, in milliseconds");
    row(
        "bash alone",
        bash.split_off(usize::try_from(WARM_UP).unwrap()),
    );
    for ((level, farm), sent) in LEVELS.iter().zip(&farms).zip(&sent) {
        tell(level.word(), farm, sent).await;
    }
    println!();
    // One that has worked, and one that has only just begun.
    let mut farm = farms.pop().unwrap();
    drop(farms);
    idle("after its builds", &farm).await;
    farm.slave.take();
    farm.start_slave().await;
    idle("after its start", &farm).await;
    keeper(&farm).await;
}

async fn farm_at(level: Isolation) -> Farm {
    let mut farm = Farm::new().await;
    let begun = farm.text("begun");
    // Landlock lets scripts write what is there beside the slave's state, and nothing new.
    fs::write(&begun, "").unwrap();
    let path = farm.script("tell.sh", "");
    let body = format!("#!/bin/bash\necho $PYBOTS_BUILD $EPOCHREALTIME >> {begun}\n");
    fs::write(&path, body).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    farm.script("sleep.sh", "exec sleep 1000");
    farm.write_slave_toml(
        "[commands.tell]\nscript = \"tell.sh\"\n[commands.sleep]\nscript = \"sleep.sh\"\n",
    );
    let path = farm.path("slave/slave.toml");
    let text = fs::read_to_string(&path).unwrap();
    let level = format!("[isolation]\nlevel = \"{}\"\n", level.word());
    let text = text
        .replace("[isolation]\n", &level)
        // As often as a slave does unless a test is in a hurry.
        .replace("presence-seconds = 1\n", "");
    fs::write(path, text).unwrap();
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    farm
}

fn microseconds() -> u64 {
    u64::try_from(UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap()
}

fn parse_time(text: &str) -> u64 {
    text.trim().replace('.', "").parse().unwrap()
}

/// From before bash is started until it knows the time, in milliseconds.
fn bash_alone() -> f64 {
    let before = microseconds();
    let output = Command::new("/bin/bash")
        .args(["-c", "echo $EPOCHREALTIME"])
        .output()
        .unwrap();
    let then = parse_time(&String::from_utf8(output.stdout).unwrap());
    (then - before) as f64 / 1e3
}

/// A command, and when it was about to be published.
struct Sent {
    id: PayloadId,
    number: u64,
    at: u64,
}

async fn start(farm: &Farm, number: u64) -> Sent {
    let order = farm.order(number, &["tell"]);
    let at = microseconds();
    let id = farm.send(&order).await;
    eventually("the script has run", || async {
        let begun = fs::read_to_string(farm.path("begun")).unwrap_or_default();
        (begun.lines().count() as u64 >= number).then_some(())
    })
    .await;
    if number == WARM_UP + ROUNDS {
        assert_eq!(farm.verdict(id).await, Verdict::Passed);
    } else {
        // What follows upon an end is over before the next command comes.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    Sent { id, number, at }
}

/// The time between two of four moments: published, arrived, kept, begun.
type Between = fn([u64; 4]) -> u64;

/// Where the time goes, by what the slave signed and the script wrote.
async fn tell(level: &str, farm: &Farm, sent: &[Sent]) {
    let (mut received, mut started) = (BTreeMap::new(), BTreeMap::new());
    for report in farm.reports().await {
        let report = report.into_body();
        if let ReportBody::Accepted { received: at } = report.body {
            received.insert(report.command, at.0);
        } else if let ReportBody::StepStarted { started: at, .. } = report.body {
            started.insert(report.command, at.0);
        }
    }
    let begun = fs::read_to_string(farm.path("begun")).unwrap();
    let begun: BTreeMap<u64, u64> = begun
        .lines()
        .map(|line| {
            let (build, time) = line.split_once(' ').unwrap();
            let (_, number) = build.split_once('/').unwrap();
            (number.parse().unwrap(), parse_time(time))
        })
        .collect();
    let rows: [(&str, Between); 5] = [
        ("published to first instruction", |at| at[3] - at[0]),
        ("arrival to first instruction", |at| at[3] - at[1]),
        ("  published to arrival", |at| at[1] - at[0]),
        ("  arrival to keeper", |at| at[2] - at[1]),
        ("  keeper to first instruction", |at| at[3] - at[2]),
    ];
    println!("{level}");
    for (what, between) in rows {
        let counted = sent.iter().filter(|sent| sent.number > WARM_UP);
        let took = counted.map(|sent| {
            let times = [
                sent.at,
                received[&sent.id],
                started[&sent.id],
                begun[&sent.number],
            ];
            between(times) as f64 / 1e3
        });
        row(what, took.collect());
    }
}

fn row(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    println!(
        "  {what:34} median {:6.2}   95 % {:6.2}   max {:6.2}",
        values[values.len() / 2],
        values[values.len() * 95 / 100],
        values[values.len() - 1],
    );
}

/// What a keeper takes whose script sleeps.
async fn keeper(farm: &Farm) {
    let slave = farm.slave.as_ref().unwrap().id();
    farm.send(&farm.order(1000, &["sleep"])).await;
    let keeper = eventually("a keeper", || async {
        let children = fs::read_to_string(format!("/proc/{slave}/task/{slave}/children")).ok()?;
        children.split_whitespace().next()?.parse::<u32>().ok()
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let of_keeper = |what| kibibytes(keeper, "smaps_rollup", what) / 1024.0;
    println!(
        "keeper at work: private {:.2} MiB, of that dirty {:.2} MiB",
        of_keeper("Private_Clean:") + of_keeper("Private_Dirty:"),
        of_keeper("Private_Dirty:"),
    );
    let pid = nix::unistd::Pid::from_raw(i32::try_from(keeper).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// What a slave takes that does nothing.
async fn idle(when: &str, farm: &Farm) {
    let slave = farm.slave.as_ref().unwrap().id();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = ticks(slave);
    let begun = now();
    tokio::time::sleep(IDLE).await;
    let of_slave = |what| kibibytes(slave, "status", what) / 1024.0;
    println!(
        "slave idle {when}: resident {:.1} MiB (of its own {:.1}, of files {:.1}); {} ticks of CPU in {} s",
        of_slave("VmRSS:"),
        of_slave("RssAnon:"),
        of_slave("RssFile:"),
        ticks(slave) - before,
        now().since(begun).as_secs(),
    );
}

/// Hundredths of a second of CPU, see proc(5).
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields = fields.split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().unwrap()).sum()
}

fn kibibytes(process: u32, table: &str, what: &str) -> f64 {
    let table = fs::read_to_string(format!("/proc/{process}/{table}")).unwrap();
    let line = table.lines().find(|line| line.starts_with(what));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}
