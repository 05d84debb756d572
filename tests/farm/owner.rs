//! The owner's word: local, without the bus, and above everything.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use pybots::bus::Stream;
use pybots::model::{PayloadId, Presence, ReportBody, Timestamp, Verdict};
use pybots::trust::{Purpose, seal};

use crate::harness::Farm;
use crate::process::{PYBOTS, Process, eventually, eventually_or, now, pybots, succeed};

impl Farm {
    /// `pybots slave WORDS --config …`: what it said to the owner.
    fn owner_says(&self, words: &[&str]) -> String {
        let config = self.text("slave/slave.toml");
        let arguments = [&["slave"], words, &["--config", &config]].concat();
        let output = pybots(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned() + &said
    }

    /// Waits for a command to be put off, and says until when.
    async fn put_off(&self, number: u64) -> Timestamp {
        let id = self.send(&self.order(number, &["record"])).await;
        self.deferred(id).await
    }

    async fn deferred(&self, command: PayloadId) -> Timestamp {
        let ending = self.ending(command).await;
        let ReportBody::Deferred { until } = ending else {
            panic!("not put off: {ending:?}")
        };
        until
    }

    async fn paused_until(&self) -> Option<Timestamp> {
        let subject = self.bus.subjects().presence(&"maple".parse().unwrap());
        let newest = self.bus.read_newest(Stream::Presence, &subject).await;
        let opened = self
            .reader()
            .await
            .open::<Presence>(&newest.ok()??.bytes, Purpose::History);
        opened.ok()?.into_body().paused_until
    }

    /// Adds lines to slave.toml while the slave runs.
    fn edit_slave_toml(&self, from: &str, to: &str) {
        let path = self.path("slave/slave.toml");
        let text = fs::read_to_string(&path).unwrap();
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from}");
        fs::write(path, edited).unwrap();
    }
}

/// The processes whose environment names something in that folder, this test's own aside.
fn alive_in(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| {
            let process = process.path();
            let environment = fs::read(process.join("environ")).ok()?;
            let line = fs::read(process.join("cmdline")).ok()?;
            let named = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(&folder);
            (named(&environment) || named(&line))
                .then(|| String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .filter(|line| !line.contains("nats-server"))
        .collect()
}

#[tokio::test]
async fn a_pause_takes_effect_without_the_bus_and_lasts_until_its_owner_resumes() {
    let mut farm = Farm::with_slave().await;
    farm.settle(1).await;
    farm.server.kill();
    let said = farm.owner_says(&["pause", "--until", "2h", "--note", "a video call"]);
    assert!(said.contains("takes nothing new from now on"), "{said}");
    farm.start_server();
    let until = farm.put_off(2).await;
    let ahead = until.since(now()).as_secs();
    assert!((7000..=7200).contains(&ahead), "{until}");
    let log = farm.slave_said();
    assert!(
        log.contains("D-PAUSED") && log.contains("a video call"),
        "{log}"
    );

    // Without an end the farm is told of a day, and no more than that.
    farm.owner_says(&["pause"]);
    let ahead = farm.put_off(3).await.since(now()).as_secs();
    assert!((86_000..=86_400).contains(&ahead), "{ahead}");
    farm.owner_says(&["resume"]);
    farm.settle(4).await;
    assert_eq!(farm.ran().len(), 2);
}

#[tokio::test]
async fn a_sign_of_life_says_until_when_the_farm_need_not_ask_and_not_why() {
    let farm = Farm::with_slave().await;
    farm.owner_says(&["pause", "--until", "2099-01-01T00:00:00Z", "--note", "why"]);
    let until = "2099-01-01T00:00:00Z".parse().unwrap();
    eventually("the farm is told", || async {
        farm.paused_until().await.filter(|told| *told == until)
    })
    .await;
    farm.owner_says(&["resume"]);
    eventually("the farm is told", || async {
        farm.paused_until().await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn quiet_hours_and_a_disk_that_is_too_full_put_a_command_off_until_slave_toml_says_otherwise()
{
    let mut farm = Farm::new().await;
    farm.write_slave_toml("[schedule]\nquiet = [\"00:00-24:00\"]\n");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let ahead = farm.put_off(1).await.since(now()).as_secs();
    assert!(ahead > 6 * 24 * 3600, "{ahead}");
    assert!(
        farm.owner_says(&["schedule"])
            .contains("quiet, nothing new is started")
    );

    farm.edit_slave_toml("quiet = [\"00:00-24:00\"]", "quiet = []");
    farm.edit_slave_toml(
        "[limits]\n",
        "[limits]\nfree-disk-mebibytes = 1000000000000\n",
    );
    let ahead = farm.put_off(2).await.since(now()).as_secs();
    assert!((500..=600).contains(&ahead), "{ahead}");
    assert!(farm.slave_said().contains("D-DISK"));
    let limits = farm.owner_says(&["limits", "--json"]);
    let limits: serde_json::Value = serde_json::from_str(&limits).unwrap();
    let host = &limits["host"];
    assert!(host["free_disk_bytes_now"].as_u64() < host["free_disk_bytes"].as_u64());

    farm.edit_slave_toml("free-disk-mebibytes = 1000000000000\n", "");
    farm.settle(3).await;
    assert_eq!(farm.ran().len(), 1);
}

#[tokio::test]
async fn an_edited_slave_toml_counts_for_the_next_command_and_a_broken_one_starts_nothing() {
    let farm = Farm::with_slave().await;
    farm.settle(1).await;
    farm.edit_slave_toml("[commands.record]", "[commands.renamed]");
    let id = farm.send(&farm.order(2, &["record"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Refused, "unmapped");
    let id = farm.send(&farm.order(3, &["renamed"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);

    farm.edit_slave_toml("[commands.renamed]", "[commands.record]\ntimeout = 5");
    let id = farm.send(&farm.order(4, &["renamed"])).await;
    let ahead = farm.deferred(id).await.since(now()).as_secs();
    assert!((500..=600).contains(&ahead), "{ahead}");
    let told = farm
        .slave_said()
        .matches("nothing new is started until it can")
        .count();
    assert_eq!(told, 1, "{}", farm.slave_said());

    farm.edit_slave_toml("timeout = 5", "timeout-minutes = 5");
    farm.edit_slave_toml("presence-seconds = 1", "presence-seconds = 2");
    farm.settle(5).await;
    eventually("what needs a restart is named", || async {
        let said = farm.slave_said();
        said.contains("needs a restart").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_slave_that_drains_finishes_what_it_has_accepted_takes_nothing_new_and_ends() {
    let mut farm = Farm::new().await;
    let go = farm.text("go");
    farm.script(
        "wait.sh",
        &format!("until [ -e {go} ]; do sleep 0.05; done"),
    );
    farm.write_slave_toml("[commands.wait]\nscript = \"wait.sh\"\n");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let first = farm.send(&farm.order(1, &["wait"])).await;
    let queued = farm.send(&farm.order(2, &["record"])).await;
    eventually("both are accepted", || async {
        let said = farm.slave_said();
        (said.matches("command accepted").count() == 2).then_some(())
    })
    .await;
    farm.owner_says(&["drain"]);
    farm.put_off(3).await;
    fs::write(&go, "").unwrap();
    farm.owner_says(&["drain", "--wait"]);
    assert_eq!(farm.verdict(first).await, Verdict::Passed);
    assert_eq!(farm.verdict(queued).await, Verdict::Passed);
    assert_eq!(farm.slave.as_mut().unwrap().wait(), Some(0));
    // That was for once.
    let said = farm.owner_says(&["drain"]);
    assert!(said.contains("nothing to drain"), "{said}");
    farm.start_slave().await;
    farm.settle(4).await;
}

#[tokio::test]
async fn a_panic_leaves_no_process_and_no_slave_starts_before_its_owner_resumes() {
    let mut farm = Farm::new().await;
    let ready = farm.text("ready");
    let body = format!(
        "trap '' TERM\n(setsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' &)\n\
         (setsid env -i sh -c 'cd /; sleep 1000' &)\ntouch {ready}\nwhile :; do sleep 1000; done"
    );
    farm.script("stay.sh", &body);
    farm.write_slave_toml("[commands.stay]\nscript = \"stay.sh\"\n");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let id = farm.send(&farm.order(1, &["stay"])).await;
    eventually("it runs", || async {
        Path::new(&ready).exists().then_some(())
    })
    .await;
    farm.server.kill();
    let said = farm.owner_says(&["panic"]);
    assert!(said.contains("Nothing of this slave is alive"), "{said}");
    assert!(said.contains("pybots slave resume"), "{said}");
    assert!(said.matches("sleep").count() >= 2, "{said}");
    farm.slave.as_mut().unwrap().wait();
    assert_eq!(alive_in(&farm.path("slave")), Vec::<String>::new());

    let config = farm.text("slave/slave.toml");
    farm.start_server();
    let run = pybots(&["slave", "run", "--config", &config]);
    assert_eq!(run.status.code(), Some(8));
    let error = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(error.contains("pybots slave resume"), "{error}");
    farm.owner_says(&["resume"]);
    farm.start_slave().await;
    let ending = farm.verdict(id).await;
    // By whether the slave saw its script end before it was ended itself.
    let cut_off = [Verdict::Lost, Verdict::Cancelled, Verdict::Errored];
    assert!(cut_off.contains(&ending), "{ending:?}");
    farm.settle(2).await;
}

#[tokio::test]
async fn a_panic_ends_a_rehearsal_too_and_looks_behind_a_link_to_the_state() {
    let farm = Farm::new().await;
    let ready = farm.text("ready");
    farm.script("stay.sh", &format!("touch {ready}\nexec sleep 1000"));
    farm.write_slave_toml("[commands.stay]\nscript = \"stay.sh\"\n");
    // Elsewhere a link within what scripts may write, as here everything is, is not followed.
    farm.edit_slave_toml("[isolation]\n", "[isolation]\nlevel = \"plain\"\n");
    fs::rename(farm.path("slave/state"), farm.path("elsewhere")).unwrap();
    symlink(farm.path("elsewhere"), farm.path("slave/state")).unwrap();
    let config = farm.text("slave/slave.toml");
    let arguments = ["slave", "rehearse", "--config", &config, "stay"];
    let mut rehearsal = Process::start(PYBOTS, &arguments, farm.path("rehearsal.log"));
    eventually("it runs", || async {
        Path::new(&ready).exists().then_some(())
    })
    .await;
    let said = farm.owner_says(&["panic"]);
    assert!(said.contains("sleep"), "{said}");
    assert_ne!(rehearsal.wait(), Some(0));
    assert_eq!(alive_in(&farm.path("slave/state")), Vec::<String>::new());
    assert_eq!(alive_in(&farm.path("elsewhere")), Vec::<String>::new());
    let left = fs::read_dir(farm.path("elsewhere/rehearsal")).unwrap();
    let left = left
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("discarded"));
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn what_the_owner_said_starts_nothing_where_it_cannot_be_read_and_doctor_says_so() {
    let farm = Farm::with_slave().await;
    fs::write(farm.path("slave/state/owner.json"), "{\"paus").unwrap();
    farm.put_off(1).await;
    eventually_or(
        "it is said",
        || async {
            let said = farm.slave_said();
            said.contains("what the owner said cannot be read")
                .then_some(())
        },
        || farm.slave_said(),
    )
    .await;
    let config = farm.text("slave/slave.toml");
    let doctor = pybots(&["doctor", "--slave", &config]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("owner.json cannot be read"), "{said}");
    farm.owner_says(&["resume"]);
    farm.settle(2).await;
    succeed(&["slave", "schedule", "--config", &config]);
}

#[tokio::test]
async fn the_record_tells_what_was_ordered_and_done_and_names_what_others_say_in_the_slaves_name() {
    let farm = Farm::with_slave().await;
    farm.settle(1).await;
    farm.owner_says(&["pause", "--note", "holiday"]);
    farm.put_off(2).await;
    farm.owner_says(&["resume"]);
    let id = farm.send(&farm.order(3, &["no-such"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Refused);
    let said = farm.owner_says(&["audit"]);
    for part in [
        "foo-linux/1 accepted",
        "foo-linux/1 said step-finished, step 0, verdict passed, CPU ms ",
        "D-PAUSED: the slave is paused: holiday",
        "owner: resume",
        "E-UNMAPPED",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let one = farm.owner_says(&["audit", "foo-linux/2"]);
    assert!(
        one.lines().all(|line| line.contains("foo-linux/2")),
        "{one}"
    );

    let address = format!("nats://127.0.0.1:{}", farm.port);
    let file = format!(
        "farm = \"{}\"\nbus = \"{address}\"\n[viewer]\nuser = \"viewer\"\npassword = \"public\"\n",
        farm.id
    );
    fs::write(farm.path("farm.toml"), file).unwrap();
    let farm_toml = farm.text("farm.toml");
    let said = farm.owner_says(&["audit", "--compare", "--farm", &farm_toml]);
    assert!(said.contains("is its own"), "{said}");

    // A thief of the report key speaks in the slave's name.
    let stolen = farm.reports().await.into_iter().next().unwrap();
    let mut forged = stolen.body().clone();
    forged.sequence = 99;
    let sealed = seal(&farm.report_key(), &farm.id, &forged);
    let subject = farm.bus.subjects().report(&forged.slave, &forged.builder);
    farm.publish(subject, sealed.bytes).await;
    let config = farm.text("slave/slave.toml");
    let compare = [
        "slave",
        "audit",
        "--compare",
        "--farm",
        &farm_toml,
        "--config",
        &config,
    ];
    let output = pybots(&compare);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains(&sealed.id.to_hex()), "{said}");
    assert_eq!(said.matches("FOREIGN").count(), 1, "{said}");

    // And somebody changes the record.
    let path = farm.path("slave/state/audit.log");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("E-UNMAPPED", "E-EXPIRED_", 1)).unwrap();
    let output = pybots(&["slave", "audit", "--config", &config]);
    assert_eq!(output.status.code(), Some(4));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("was changed"), "{error}");
}

#[tokio::test]
async fn whoever_leaves_learns_what_to_say_and_nothing_is_deleted_without_the_slaves_name() {
    let mut farm = Farm::with_slave().await;
    let said = farm.owner_says(&["leave"]);
    assert!(said.contains("Slave maple leaves farm"), "{said}");
    farm.put_off(1).await;
    let config = farm.text("slave/slave.toml");
    let delete = ["slave", "leave", "--delete-state", "--config", &config];
    assert!(!pybots(&delete).status.success(), "a slave runs");
    farm.slave.as_mut().unwrap().terminate();
    assert_eq!(pybots(&delete).status.code(), Some(2), "no name was typed");
    assert!(farm.path("slave/state/report.key").exists());
    let mut child = std::process::Command::new(PYBOTS)
        .args(delete)
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"maple\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!farm.path("slave/state").exists());
    assert!(farm.path("slave/record.sh").exists(), "the owner's own");
}
