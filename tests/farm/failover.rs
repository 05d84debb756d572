//! Two masters of one farm under load: one is killed, one freezes and wakes, one stops. Each time it is counted what was
//! asked, ordered, run, reported, lost and doubled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use pybots::bus::Stream;
use pybots::model::{Build, BuilderName, Change, Command, Lead, PayloadId, Timestamp, Verdict};
use pybots::trust::{Purpose, seal, sha256};

use crate::harness::Farm;
use crate::process::{PYBOTS, Process, eventually, eventually_or, now};

/// Changes of one run, and the time between two of them.
const CHANGES: u64 = 120;
const PAUSE: Duration = Duration::from_millis(40);

/// Both builders of the farm follow the branch.
const SECOND_BUILDER: &str = r#"
[builders.bar-linux]
slave = "maple"
project = "bar"
sources = { python = "main" }
steps = [{ command = "record", timeout-minutes = 1 }]
"#;

/// What was counted.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    /// Changes that both builders were to build.
    pub(crate) asked: usize,
    /// Changes that no command of one of the builders covers.
    pub(crate) uncovered: usize,
    /// Commands in the stream.
    pub(crate) ordered: usize,
    /// Runs of scripts.
    pub(crate) ran: usize,
    /// Commands with an end.
    pub(crate) reported: usize,
    /// Commands without one, or that ended lost.
    pub(crate) lost: usize,
    /// Commands that are there twice, and builds that ran twice.
    pub(crate) doubled: usize,
}

/// A farm with both builders at work, and without a master.
pub(crate) async fn loaded_farm() -> Farm {
    let mut farm = Farm::new().await;
    farm.write_master_toml(SECOND_BUILDER);
    // As by default: with two masters on a busy machine a second is not enough.
    let path = farm.path("master/master.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("lease-seconds = 1", "lease-seconds = 3")).unwrap();
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    farm
}

/// Starts a master of the farm that logs under a name of its own.
pub(crate) fn start_master(farm: &Farm, name: &str) -> Process {
    let config = farm.text("master/master.toml");
    let arguments = ["master", "run", "--config", &config];
    Process::start(PYBOTS, &arguments, farm.path(&format!("{name}.log")))
}

pub(crate) async fn says(master: &Process, words: &str) {
    let said = || async { master.said().contains(words).then_some(()) };
    eventually_or(words, said, || master.said()).await;
}

/// Publishes what a master would have seen: the branch moved once more.
pub(crate) async fn change(farm: &Farm, number: u64) -> PayloadId {
    let revision = |number: u64| format!("{number:040x}").parse().unwrap();
    let change = Change {
        farm: farm.id,
        repository: "python".parse().unwrap(),
        branch: "main".parse().unwrap(),
        revision: revision(number),
        previous: (number > 1).then(|| revision(number - 1)),
        seen: now(),
        commits: Vec::new(),
        more: 0,
        rewritten: false,
        paths: None,
    };
    let sealed = seal(&farm.signing, &farm.id, &change);
    let subject = farm.bus.subjects();
    let subject = subject.change(&change.repository, &sha256(b"main"));
    farm.publish(subject, sealed.bytes).await;
    sealed.id
}

/// Changes, one after the other; `midway` happens when half of them are there.
pub(crate) async fn changes(farm: &Farm, midway: impl AsyncFnOnce()) -> Vec<PayloadId> {
    let mut asked = Vec::new();
    let mut midway = Some(midway);
    for number in 1..=CHANGES {
        asked.push(change(farm, number).await);
        if number == CHANGES / 2
            && let Some(midway) = midway.take()
        {
            midway().await;
        }
        // Not a wait for anything: the load.
        tokio::time::sleep(PAUSE).await;
    }
    asked
}

/// Every build that stands in COMMANDS, as often as it stands there.
pub(crate) async fn ordered(farm: &Farm) -> Vec<(PayloadId, Build)> {
    let reader = farm.reader().await;
    let held = farm.bus.read_all(Stream::Commands, ">", 1).await;
    held.unwrap_or_default()
        .iter()
        .filter_map(|held| reader.open::<Command>(&held.bytes, Purpose::History).ok())
        .filter_map(|command| match (command.id(), command.into_body()) {
            (id, Command::Build(build)) => Some((id, build)),
            (_, Command::Cancel(_)) => None,
        })
        .collect()
}

/// Every `lead` that stands in COMMANDS.
pub(crate) async fn leads(farm: &Farm) -> Vec<Lead> {
    let reader = farm.reader().await;
    let subject = farm.bus.subjects().lead();
    let held = farm.bus.read_all(Stream::Commands, &subject, 1).await;
    held.unwrap_or_default()
        .iter()
        .filter_map(|held| reader.open::<Lead>(&held.bytes, Purpose::History).ok())
        .map(pybots::trust::Verified::into_body)
        .collect()
}

/// Waits until both builders have built the newest change, and nothing is under way any more; then counts.
#[expect(clippy::print_stdout, reason = "the counts are what the test is for")]
pub(crate) async fn count(farm: &Farm, asked: &[PayloadId]) -> Counts {
    let newest = *asked.last().unwrap();
    let told = || format!("{}\n{:?}", farm.slave_said().len(), farm.ran().len());
    eventually_or(
        "both builders build the newest change, and every build ends",
        || async {
            let ended = ends(farm).await;
            let ordered = ordered(farm).await;
            let covering: BTreeSet<&BuilderName> = ordered
                .iter()
                .filter(|(_, build)| build.covers.contains(&newest))
                .map(|(_, build)| &build.builder)
                .collect();
            let all_ended = ordered.iter().all(|(id, _)| ended.contains_key(id));
            (covering.len() == 2 && all_ended).then_some(())
        },
        told,
    )
    .await;
    let ordered = ordered(farm).await;
    let mut counts = Counts {
        asked: asked.len(),
        ordered: ordered.len(),
        ..Counts::default()
    };
    for builder in ["foo-linux", "bar-linux"] {
        let covered: BTreeSet<PayloadId> = ordered
            .iter()
            .filter(|(_, build)| build.builder.as_str() == builder)
            .flat_map(|(_, build)| build.covers.iter().copied())
            .collect();
        // A new builder begins at the newest change that there is.
        let first = asked.iter().position(|change| covered.contains(change));
        let since = &asked[first.unwrap_or(0)..];
        counts.uncovered += since
            .iter()
            .filter(|change| !covered.contains(change))
            .count();
    }
    let ended = ends(farm).await;
    counts.reported = ordered
        .iter()
        .filter(|(id, _)| ended.contains_key(id))
        .count();
    counts.lost = ordered
        .iter()
        .filter(|(id, _)| {
            ended
                .get(id)
                .is_none_or(|verdict| *verdict == Verdict::Lost)
        })
        .count();
    let names: BTreeSet<String> = ordered
        .iter()
        .map(|(_, build)| build.id().to_string())
        .collect();
    let ran = farm.ran();
    let distinct: BTreeSet<&String> = ran.iter().collect();
    counts.ran = ran.len();
    counts.doubled = (ordered.len() - names.len()) + (ran.len() - distinct.len());
    println!("{counts:?}");
    counts
}

async fn ends(farm: &Farm) -> BTreeMap<PayloadId, Verdict> {
    let reports = farm.reports().await;
    reports
        .iter()
        .filter_map(|report| Some((report.body().command, report.body().body.verdict()?)))
        .collect()
}

pub(crate) fn assert_nothing_lost_or_doubled(counts: &Counts, told: &str) {
    let whole = Counts {
        asked: counts.asked,
        ordered: counts.ordered,
        ran: counts.ordered,
        reported: counts.ordered,
        ..Counts::default()
    };
    assert_eq!(*counts, whole, "{told}");
    assert!(counts.ordered >= 4, "that was no load: {counts:?}");
}

/// Waits until a build runs that does not end before the file `go` is there; gives its name.
pub(crate) async fn long_build(farm: &Farm) -> String {
    let (go, ran, begun) = (farm.text("go"), farm.text("ran"), farm.path("begun"));
    let body = format!(
        "echo \"$PYBOTS_BUILD ${{PYBOTS_REV_PYTHON:-}}\" >> {ran}\n\
         [ -e {go} ] || echo $PYBOTS_BUILD >> {}\nuntil [ -e {go} ]; do sleep 0.05; done",
        begun.display()
    );
    farm.script("record.sh", &body);
    eventually("a long build runs", || async {
        let build = fs::read_to_string(&begun).ok()?;
        build.lines().next().map(str::to_owned)
    })
    .await
}

/// A master leads, another stands by, and there is load.
async fn two_masters() -> (Farm, Process, Process) {
    let farm = loaded_farm().await;
    let first = start_master(&farm, "first");
    says(&first, "master leads").await;
    let second = start_master(&farm, "second");
    says(&second, "master stands by").await;
    (farm, first, second)
}

async fn wait_for_lease(farm: &Farm, lease: u64) -> Lead {
    eventually("another one leads", || async {
        leads(farm)
            .await
            .into_iter()
            .find(|lead| lead.lease == lease)
    })
    .await
}

#[tokio::test]
async fn a_killed_leader_is_followed_and_no_change_is_lost_and_no_build_doubled_or_disturbed() {
    let (farm, mut first, second) = two_masters().await;
    let (mut running, mut killed) = (String::new(), Timestamp(0));
    let asked = changes(&farm, async || {
        running = long_build(&farm).await;
        first.kill();
        killed = now();
        wait_for_lease(&farm, 2).await;
        // Only now may end what ran all the time.
        fs::write(farm.path("go"), "").unwrap();
    })
    .await;
    let lead = wait_for_lease(&farm, 2).await;
    let away = lead.issued.since(killed);
    let counts = count(&farm, &asked).await;
    assert_nothing_lost_or_doubled(&counts, &second.said());
    assert!(away < Duration::from_secs(5), "led again after {away:?}");
    let runs = farm.ran();
    let of_it = runs
        .iter()
        .filter(|line| line.starts_with(&format!("{running} ")));
    assert_eq!(of_it.count(), 1, "{runs:?}");
    assert!(
        !second.said().contains("did not order"),
        "{}",
        second.said()
    );
}

#[tokio::test]
async fn a135_a_frozen_leader_that_wakes_stands_by_and_nothing_is_doubled() {
    let (farm, first, second) = two_masters().await;
    let asked = changes(&farm, async || {
        first.pause();
        wait_for_lease(&farm, 2).await;
        for number in CHANGES + 1..CHANGES + 10 {
            change(&farm, number).await;
        }
        first.resume();
    })
    .await;
    says(&first, "another master took the lead; this one stands by").await;
    let counts = count(&farm, &asked).await;
    assert_nothing_lost_or_doubled(&counts, &second.said());
    assert!(!first.has_ended(), "{}", first.said());
    for master in [&first, &second] {
        assert!(
            !master.said().contains("did not order"),
            "{}",
            master.said()
        );
    }
    // It may lead again.
    drop(second);
    wait_for_lease(&farm, 3).await;
    let more = change(&farm, 2_000_000).await;
    let counts = count(&farm, &[more]).await;
    assert_nothing_lost_or_doubled(&counts, &first.said());
}

#[tokio::test]
async fn a_leader_that_stops_hands_over_at_once() {
    let (farm, mut first, second) = two_masters().await;
    let mut stopped = Timestamp(0);
    let asked = changes(&farm, async || {
        stopped = now();
        assert_eq!(first.interrupt(), Some(0), "{}", first.said());
    })
    .await;
    let lead = wait_for_lease(&farm, 2).await;
    let counts = count(&farm, &asked).await;
    assert_nothing_lost_or_doubled(&counts, &second.said());
    // Well before its lease would have been over.
    let away = lead.issued.since(stopped);
    assert!(away < Duration::from_secs(2), "led again after {away:?}");
    assert!(
        first.said().contains("master gave up the lead"),
        "{}",
        first.said()
    );
}

#[tokio::test]
async fn a135_of_orders_right_behind_one_another_none_slips_in_behind_somebody_elses_message() {
    let mut farm = Farm::new().await;
    farm.start_master();
    says(farm.master.as_ref().unwrap(), "master leads").await;
    farm.master.as_mut().unwrap().kill();
    let orders = |from: u64| -> Vec<(String, Vec<u8>)> {
        (from..from + 3)
            .map(|number| {
                let build = farm.order(number, &["record"]);
                let subject = farm.bus.subjects().command(&build.slave, &build.builder);
                (subject, farm.seal(&build).bytes)
            })
            .collect()
    };
    let held = async || {
        farm.bus
            .read_all(Stream::Commands, ">", 1)
            .await
            .unwrap()
            .len()
    };
    assert_eq!(held().await, 1, "the lead");
    let done = farm
        .bus
        .publish_behind(Stream::Commands, 1, orders(1))
        .await;
    assert!(done.fault.is_none(), "{done:?}");
    assert_eq!((done.stored, held().await), (3, 4));
    // Somebody else was faster by one message: the second order finds the stream where it expects it.
    let done = farm
        .bus
        .publish_behind(Stream::Commands, 3, orders(4))
        .await;
    assert!(done.fault.is_some(), "{done:?}");
    farm.bus.flush().await.unwrap();
    assert_eq!((done.stored, held().await), (0, 4));
}
