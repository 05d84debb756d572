//! A slave that was off for long.

use super::*;

/// Rotates 40 times and lets the successor take over twice; each key orders a build first, which expires at once. Nothing
/// of it is published but the orders.
async fn years_go_by(farm: &Farm, first: &str) -> Vec<PayloadId> {
    let mut ordered = Vec::new();
    let mut master = farm.text("keys/master.key");
    let mut successor = farm.text("keys/successor.key");
    let by_files = ["--keyring", first, "--overlap-days", "0", "--no-publish"];
    for round in 0..42 {
        let key = newest_signing_key(farm, first);
        let mut build = farm.order(10 + round, &["record"]);
        build.accept_by = build.issued.after(Duration::from_millis(1));
        ordered.push(farm.send_by(&key, &build).await);
        if round == 14 || round == 28 {
            let stick = farm.text(&format!("stick-{round}"));
            fs::create_dir(&stick).unwrap();
            let confirm = format!("{}.0", round / 14);
            let rotate = ["keys", "rotate", "--master", "--successor-key", &successor];
            let more = ["--new-successor-dir", &stick, "--confirm", &confirm];
            succeed(&[&rotate[..], &more, &by_files].concat());
            master = std::mem::replace(&mut successor, key_in(&stick));
        } else {
            let rotate = ["keys", "rotate", "--master-key", &master, "--yes"];
            succeed(&[&rotate[..], &by_files].concat());
        }
    }
    ordered
}

fn key_in(stick: &str) -> String {
    let files = fs::read_dir(stick).unwrap();
    let mut keys = files.map(|entry| entry.unwrap().path()).filter(is_a("key"));
    keys.next().expect("a key").to_string_lossy().into_owned()
}

fn is_a(extension: &str) -> impl Fn(&PathBuf) -> bool {
    move |path| path.extension().is_some_and(|found| found == extension)
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the time is what the drill measures")]
async fn drill_3_a_slave_off_across_forty_rotations_and_two_successions_catches_up_by_itself() {
    let mut farm = Farm::with_slave().await;
    farm.settle(1).await;
    farm.slave.as_mut().unwrap().terminate();
    let first = farm.text("keys/test-farm.keyring");
    let ordered = years_go_by(&farm, &first).await;
    let newest = at(2, 13);
    farm.ceremony(&["keys", "publish"]);
    let key = newest_signing_key(&farm, &first);
    let head = Head {
        farm: farm.id,
        keyring: newest,
        roster: 1,
        time: now(),
    };
    let head = seal(&key, &farm.id, &head).bytes;
    farm.publish(farm.bus.subjects().head(), head).await;

    farm.start_slave().await;
    let caught_up = farm.slave_holds("slave.log", newest).await;
    for id in &ordered {
        let ending = farm.ending(*id).await;
        let ReportBody::Refused { code, .. } = ending else {
            panic!("{ending:?}")
        };
        assert_eq!(code.as_str(), "E-EXPIRED");
    }
    let answered = farm.reports().await.last().unwrap().body().issued;
    let address = format!("nats://127.0.0.1:{}", farm.port);
    let connected = logged(&farm.path("slave.log"), "bus connected", &address);
    let connected = *connected.last().unwrap();
    println!(
        "42 keyrings: caught up {:.0} ms after connecting, all 42 commands answered after {:.0} ms; {:.0} ms of processor time since the process began",
        milliseconds(caught_up.since(connected)),
        milliseconds(answered.since(connected)),
        milliseconds(cpu_time(farm.slave.as_ref().unwrap())),
    );
    let fresh = farm.order_by(&key, 100).await;
    assert_eq!(farm.verdict(fresh).await, Verdict::Passed);
    assert_eq!(farm.ran().len(), 2, "{:?}", farm.ran());
}

fn files(farm: &Farm, first: &str) -> Reader {
    let mut reader = Reader::new(farm.id, &fs::read(first).unwrap()).unwrap();
    // However they are named: whichever can be taken in is, until none can.
    let mut learnt = true;
    while std::mem::take(&mut learnt) {
        let entries = fs::read_dir(farm.path("keys")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        for path in paths.filter(is_a("keyring")) {
            let taken = reader.learn_keyring(&fs::read(&path).unwrap());
            learnt |= matches!(taken, Ok(pybots::trust::Learnt::Newer));
        }
    }
    reader
}

fn newest_signing_key(farm: &Farm, first: &str) -> SecretKey {
    let reader = files(farm, first);
    let entries = fs::read_dir(farm.path("keys")).unwrap();
    let keys = entries
        .map(|entry| entry.unwrap().path())
        .filter(is_a("key"));
    let signing = keys.filter_map(|path| {
        let name = path.file_name()?.to_str()?;
        name.starts_with("signing.")
            .then(|| SecretKey::load(&path).unwrap())
    });
    let newest = signing.max_by_key(|key| reader.rank(&key.id()));
    newest.expect("a signing key")
}

/// Processor time that a process has used so far.
fn cpu_time(process: &Process) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks: Vec<i64> = after_name
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // Fields 14 and 15 of proc(5), in ticks of 10 ms; the state, field 3, is no number.
    Duration::from_millis((ticks[10] + ticks[11]).unsigned_abs() * 10)
}
