//! A slave whose farm is dead pins another: only by its owner's hand, and nothing of the old farm counts any more.

use std::fs;
use std::path::Path;

use pybots::bus::{Bus, Login, Patience};
use pybots::model::FarmId;
use pybots::trust::{SecretKey, words};
use pybots::wire::Subjects;

use crate::bad_input::fails_with;
use crate::ceremony::answer;
use crate::harness::Farm;
use crate::hostile::rejections;
use crate::process::{eventually, pybots, succeed};

const OTHER: FarmId = FarmId([5; 32]);

/// Both master keys are lost, and the operator begins a new farm on an empty server.
async fn begin_anew(farm: &mut Farm) {
    farm.server.kill();
    fs::rename(farm.path("keys"), farm.path("lost")).unwrap();
    let old = farm.id;
    farm.id = succeed(&["keys", "init", "test-farm", "--dir", &farm.text("keys")])
        .trim()
        .parse()
        .unwrap();
    farm.signing = SecretKey::load(&farm.path("keys/signing.key")).unwrap();
    farm.write_master_toml("");
    let path = farm.path("nats-server.conf");
    let text = fs::read_to_string(&path).unwrap();
    let text = text
        .replace(&old.token(), &farm.id.token())
        .replace(&farm.text("store"), &farm.text("empty-store"));
    fs::write(&path, text).unwrap();
    farm.start_server();
    let login = Login::Key {
        name: "hostile".to_owned(),
        seed: fs::read_to_string(farm.path("hostile.nk")).unwrap().into(),
    };
    let address = format!("nats://127.0.0.1:{}", farm.port).parse().unwrap();
    let subjects = Subjects::new(&farm.id);
    farm.bus = eventually("the new server answers", || async {
        Bus::connect(&address, login.clone(), subjects.clone(), Patience::Brief)
            .await
            .ok()
    })
    .await;
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a37_a_slave_that_was_pinned_to_another_farm_by_hand_serves_it_and_the_old_farm_is_dead() {
    let mut farm = Farm::with_slave().await;
    let config = farm.text("slave/slave.toml");
    let old = farm.id;
    let ran = farm.seal(&farm.order(1, &["record"]));
    let subject = |farm: &Farm| {
        let build = farm.order(1, &[]);
        farm.bus.subjects().command(&build.slave, &build.builder)
    };
    farm.publish(subject(&farm), ran.bytes.clone()).await;
    farm.ending(ran.id).await;
    let waiting = farm.seal(&farm.order(2, &["record"]));
    let other = OTHER.to_string();
    fails_with(
        &["slave", "repin", &other, "--config", &config],
        1,
        "another slave is running on the state folder",
    );
    farm.slave.as_mut().unwrap().terminate();
    begin_anew(&mut farm).await;

    let before = fs::read_to_string(&config).unwrap();
    let report_key = farm.report_key().public();
    let new = farm.id.to_string();
    let repin = ["slave", "repin", &new, "--config", &config];
    // However it was written down.
    let told = format!("  {}", words(&farm.id).to_uppercase().replace(' ', "  "));
    let done = answer(&repin, &told);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    for told in [&*old.to_string(), &words(&old), &new, &words(&farm.id)] {
        assert!(said.contains(told), "{said}");
    }
    let (shown, asked) = said.split_once("Waiting for").unwrap();
    assert!(
        !shown.contains(&words(&farm.id)) && asked.contains(&words(&farm.id)),
        "the words are shown only after they were typed: {said}"
    );
    let after = fs::read_to_string(&config).unwrap();
    assert_eq!(after, before.replace(&old.to_string(), &new));
    // Whatever else a slave ever makes there belongs to the archive, too.
    let held = names(&farm.path("slave/state"));
    let [archive, keys_and_lock @ ..] = &held[..] else {
        panic!("{held:?}")
    };
    assert_eq!(keys_and_lock, ["bus.nk", "lock", "report.key"]);
    assert!(archive.starts_with(&format!("archive-{}-", old.token())));
    let archive = farm.path("slave/state").join(archive);
    let note = fs::read_to_string(archive.join("repin.txt")).unwrap();
    assert!(note.contains(&words(&old)) && note.contains(&words(&farm.id)));
    assert!(archive.join("journal.db").exists());

    let application = String::from_utf8(done.stdout).unwrap();
    assert!(
        application.contains(&report_key.to_string()),
        "{application}"
    );
    farm.approve_line(application.trim()).await;
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    for dead in [ran, waiting] {
        let before = rejections(&farm, "E-KEY");
        farm.publish(subject(&farm), dead.bytes).await;
        eventually("what the old farm said is rejected", || async {
            (rejections(&farm, "E-KEY") > before).then_some(())
        })
        .await;
    }
    farm.settle(1).await;
    assert_eq!(farm.ran().len(), 2, "{:?}", farm.ran());
}

#[tokio::test]
async fn a37_nothing_but_the_new_farms_words_typed_by_hand_changes_anything() {
    let farm = Farm::new().await;
    let config = farm.text("slave/slave.toml");
    let other = OTHER.to_string();
    let repin = ["slave", "repin", &other, "--config", &config];
    let all = words(&OTHER);
    let turned: Vec<&str> = all.rsplitn(2, ' ').collect();
    let untouched = || {
        let slave = farm.path("slave");
        let text = fs::read_to_string(&config).unwrap();
        (text, names(&slave), names(&slave.join("state")))
    };
    // The lock's file may come; it is empty.
    assert_eq!(pybots(&repin).status.code(), Some(1));
    let before = untouched();
    for (wrong, sentence) in [
        ("", "no answer came"),
        ("yes", "those are not the words"),
        (&words(&farm.id), "those are not the words"),
        (turned[1], "those are not the words"),
        (&turned.join(" "), "those are not the words"),
        (&format!("{all} {all}"), "those are not the words"),
        (&all.replace(' ', ""), "those are not the words"),
        (&other, "those are not the words"),
        (&other[other.len() - 6..], "those are not the words"),
        (&"x ".repeat(1 << 15), "those are not the words"),
    ] {
        let done = answer(&repin, wrong);
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{wrong}: {said}");
        assert!(said.contains(sentence), "{wrong}: {said}");
        assert!(said.contains("Nothing was changed."), "{wrong}: {said}");
        assert_eq!(untouched(), before, "{wrong}");
    }
    // No argument answers it.
    for (more, sentence) in [
        ("--yes", "unexpected argument"),
        (&all, "unexpected argument"),
    ] {
        fails_with(&[&repin[..], &[more]].concat(), 2, sentence);
    }
    let pinned = farm.id.to_string();
    for (id, sentence) in [
        (&*pinned, "pins that farm already"),
        (&other[..20], "a farm id is written SHA256:"),
    ] {
        fails_with(&["slave", "repin", id, "--config", &config], 2, sentence);
    }
    assert_eq!(untouched(), before);
}

#[tokio::test]
async fn a37_a_farm_id_changed_in_the_file_alone_and_a_repin_cut_off_start_nothing() {
    let mut farm = Farm::with_slave().await;
    farm.slave.as_mut().unwrap().terminate();
    let config = farm.text("slave/slave.toml");
    let text = fs::read_to_string(&config).unwrap();
    let (pinned, other) = (farm.id.to_string(), OTHER.to_string());
    let run = ["slave", "run", "--config", &config];
    fs::write(&config, text.replace(&pinned, &other)).unwrap();
    let refused = pybots(&run);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(8), "{said}");
    for told in ["belongs to a slave of another farm", "pybots slave repin"] {
        assert!(said.contains(told), "{said}");
    }

    // Cut off before the last step: what was put away is named at last, and nothing is asked twice.
    let state = farm.path("slave/state");
    fs::create_dir(state.join("archive-x.unfinished")).unwrap();
    for name in ["journal.db", "jobs"] {
        fs::rename(
            state.join(name),
            state.join("archive-x.unfinished").join(name),
        )
        .unwrap();
    }
    let refused = pybots(&run);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(8), "{said}");
    assert!(said.contains("was cut off; nothing was run"), "{said}");
    let repin = ["slave", "repin", &other, "--config", &config];
    let finished = pybots(&repin);
    assert!(finished.status.success());
    assert!(state.join("archive-x/journal.db").exists());
    assert!(String::from_utf8_lossy(&finished.stdout).starts_with("maple ed25519:"));

    // And with new keys, once more to a third farm.
    let before = farm.report_key().public();
    let third = FarmId([6; 32]);
    let new_keys = [
        "slave",
        "repin",
        &third.to_string(),
        "--config",
        &config,
        "--new-keys",
    ];
    let done = answer(&new_keys, &words(&third));
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let after = farm.report_key().public();
    assert_ne!(after, before);
    assert!(String::from_utf8_lossy(&done.stdout).contains(&after.to_string()));
    assert!(
        pybots(&["slave", "check", "--config", &config])
            .status
            .success()
    );
}
