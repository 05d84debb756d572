//! The master key is stolen.

use super::*;

#[tokio::test]
async fn drill_2_a_succession_takes_the_farm_back_from_a_thief_of_the_master_key() {
    let mut farm = Farm::new().await;
    farm.start_master();
    farm.start_slave().await;
    farm.check_in("first");
    eventually("the first check-in is built", || async {
        (!farm.ran().is_empty()).then_some(())
    })
    .await;

    // The thief signs serials of his own, which list a signing key of his own.
    let stolen = SecretKey::load(&farm.path("keys/master.key")).unwrap();
    let own = SecretKey::generate().unwrap();
    let mut chain = farm.keyrings().await;
    for serial in [5, 9] {
        let keyring = thiefs_keyring(&chain, serial, &own);
        let bytes = countersign(&[&stolen], &keyring).unwrap().to_bytes();
        chain.learn(&bytes).unwrap();
        farm.publish(farm.bus.subjects().keyring(keyring.position), bytes)
            .await;
    }
    farm.slave_holds("slave.log", at(0, 9)).await;
    let head = Head {
        farm: farm.id,
        keyring: at(0, 9),
        roster: 1,
        time: now(),
    };
    farm.publish(
        farm.bus.subjects().head(),
        seal(&own, &farm.id, &head).bytes,
    )
    .await;
    let ran = farm.order_by(&own, 500).await;
    assert_eq!(
        farm.verdict(ran).await,
        Verdict::Passed,
        "the slave has taken the thief's serials"
    );

    let successor = farm.text("keys/successor.key");
    let new = farm.text("stick");
    fs::create_dir(&new).unwrap();
    farm.ceremony(&[
        "keys",
        "rotate",
        "--master",
        "--successor-key",
        &successor,
        "--new-successor-dir",
        &new,
        "--confirm",
        "1.0",
    ]);
    farm.slave_holds("slave.log", at(1, 0)).await;
    let before = farm.ran().len();
    for number in 501..511 {
        farm.order_by(&own, number).await;
    }
    let next = farm.check_in("second");
    eventually(
        "the farm builds again, and nobody has touched the slave",
        || async {
            farm.ran()
                .iter()
                .any(|ran| ran.ends_with(&next))
                .then_some(())
        },
    )
    .await;
    assert_eq!(farm.ran().len(), before + 1, "{:?}", farm.ran());
    let refused = logged(&farm.path("slave.log"), "message rejected", "E-KEY");
    assert!(refused.len() >= 10, "{} refusals", refused.len());

    // A slave that was off all the while finds the way by itself, whatever the thief has left on the bus.
    let elm = Elm::new(&farm);
    farm.slave_holds("elm.log", at(1, 0)).await;
    let at_thiefs = logged(&farm.path("elm.log"), "keyring accepted", "0.9");
    assert!(at_thiefs.is_empty(), "the thief's serials are passed over");
    drop(elm);
}

/// A keyring of the thief's: his own key beside the others.
fn thiefs_keyring(chain: &Chain, serial: u32, own: &SecretKey) -> Keyring {
    let terms = Terms {
        now: now(),
        good_for: Duration::from_secs(1 << 20),
        overlap: Duration::from_secs(1 << 20),
    };
    let mut keyring = rotation(
        chain,
        Some(serial),
        SecretKey::generate().unwrap().public(),
        &terms,
    )
    .unwrap();
    let windows = &mut keyring.signing_keys;
    if let Some(window) = windows.last_mut() {
        window.key = own.public();
    }
    if windows
        .iter()
        .filter(|window| window.key == own.public())
        .count()
        > 1
    {
        windows.pop();
    }
    keyring
}

/// A second slave, that logs in with the rights of whoever holds the broker.
struct Elm {
    _process: Process,
}

impl Elm {
    fn new(farm: &Farm) -> Self {
        let folder = farm.text("elm");
        let address = format!("nats://127.0.0.1:{}", farm.port);
        let id = farm.id.to_string();
        succeed(&[
            "slave",
            "init",
            "--name",
            "elm",
            "--farm",
            &id,
            "--bus",
            &address,
            "--builder",
            "foo-elm",
            "--dir",
            &folder,
        ]);
        let seed = farm.path("elm/state/bus.nk");
        fs::remove_file(&seed).unwrap();
        write_private(&seed, &fs::read_to_string(farm.path("hostile.nk")).unwrap());
        let config = farm.text("elm/slave.toml");
        let run = ["--log-format", "json", "slave", "run", "--config", &config];
        Self {
            _process: Process::start(PYBOTS, &run, farm.path("elm.log")),
        }
    }
}
