//! Mistakes, and the one sentence that each gets.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use pybots::bus::Login;

use crate::harness::Farm;
use crate::process::pybots;

pub(crate) fn fails_with(arguments: &[&str], exit: i32, sentence: &str) {
    let output = pybots(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
    assert!(said.contains(sentence), "{arguments:?}: {said}");
    assert!(said.starts_with("error: ") || exit == 2, "{said}");
}

#[tokio::test]
async fn each_mistake_in_a_slaves_files_is_named_and_nothing_is_started() {
    let farm = Farm::new().await;
    let config = farm.text("slave/slave.toml");
    let good = fs::read_to_string(&config).unwrap();
    let check = ["slave", "check", "--config", &config];
    assert!(pybots(&check).status.success());
    let edits = [
        (
            "bus = ",
            "buss = ",
            "slave.toml: line 3, column 1: unknown field `buss`",
        ),
        (
            "parallel-builds = 2",
            "parallel-builds = \"2\"",
            "line 8, column 19: invalid type",
        ),
        (
            "[builders.bar-linux]",
            "[builders.foo-linux]",
            "duplicate key",
        ),
        (
            "\"maple\"",
            "\"Maple Tree\"",
            "a slave's name must begin with a lower-case letter or a digit",
        ),
        (
            "script = \"record.sh\"",
            "script = \"missing.sh\"",
            "commands.record.script",
        ),
    ];
    for (from, to, sentence) in edits {
        fs::write(&config, good.replacen(from, to, 1)).unwrap();
        fails_with(&check, 8, sentence);
        fails_with(
            &["slave", "run", "--config", &config],
            8,
            "Nothing was started.",
        );
    }
    fs::write(&config, &good).unwrap();
    let script = farm.path("slave/record.sh");
    for (mode, sentence) in [
        (0o644, "is not executable"),
        (0o777, "is writable by others"),
    ] {
        fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
        fails_with(&check, 8, sentence);
    }
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(farm.path("slave"), fs::Permissions::from_mode(0o777)).unwrap();
    fails_with(&check, 8, "is writable by others (mode 0777)");
    fs::set_permissions(farm.path("slave"), fs::Permissions::from_mode(0o755)).unwrap();
    for key in ["slave/state/report.key", "slave/state/bus.nk"] {
        fs::set_permissions(farm.path(key), fs::Permissions::from_mode(0o644)).unwrap();
        fails_with(&check, 8, "others can read it; fix: chmod 600");
        fs::set_permissions(farm.path(key), fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert!(pybots(&check).status.success());
    fails_with(
        &["slave", "check", "--config", "/nowhere/slave.toml"],
        8,
        "cannot read /nowhere/slave.toml",
    );
}

#[tokio::test]
async fn each_mistake_in_a_masters_files_is_named_and_nothing_is_started() {
    let mut farm = Farm::new().await;
    let config = farm.text("master/master.toml");
    let good = fs::read_to_string(&config).unwrap();
    let check = ["master", "check", "--config", &config];
    assert!(pybots(&check).status.success());
    let other_farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    let place = good.lines().position(|line| line.contains("poll-seconds"));
    let place = place.expect("the farm polls often") + 1;
    let unknown = format!("master.toml:{place}:1: repositories.python: unknown field `poll-secs`");
    let edits = [
        ("poll-seconds", "poll-secs", &*unknown),
        (&*farm.id.to_string(), other_farm, "not of the pinned farm"),
        (
            "slave = \"maple\"",
            "slave = \"*\"",
            "a slave's name must begin",
        ),
        (
            "python = \"main\"",
            "python = \"trunk\"",
            "there is no branch trunk in [repositories.python]",
        ),
    ];
    for (from, to, sentence) in edits {
        fs::write(&config, good.replacen(from, to, 1)).unwrap();
        fails_with(&check, 8, sentence);
    }
    fs::write(&config, &good).unwrap();
    fs::set_permissions(
        farm.path("keys/signing.key"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    fails_with(&check, 8, "has mode 0640, so others can read it");
    fs::set_permissions(
        farm.path("keys/signing.key"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();

    farm.server.kill();
    let approve = [
        "master",
        "approve",
        "--config",
        &config,
        "not an application",
    ];
    fails_with(&approve, 2, "an application is one line of five words");
    let farm_file = crate::viewers::farm_file(&farm);
    fails_with(
        &["master", "run", "--config", &config],
        6,
        "cannot reach the bus at nats://127.0.0.1",
    );
    fails_with(
        &["status", "--farm", &farm_file],
        6,
        "cannot reach the bus at nats://127.0.0.1",
    );
}

#[tokio::test]
async fn a_list_of_logins_is_made_from_the_roster_and_not_lost_while_the_bus_is_away() {
    let mut farm = Farm::new().await;
    let (config, users) = (farm.text("master/master.toml"), farm.text("users.conf"));
    let logins = ["master", "logins", "--config", &config, &users];
    assert!(pybots(&logins).status.success());
    let full = fs::read_to_string(&users).unwrap();
    let seed = fs::read_to_string(farm.path("slave/state/bus.nk")).unwrap();
    let nkey = Login::nkey_of_seed(&seed).unwrap();
    assert!(
        full.contains(&nkey) && full.contains("result.maple.*"),
        "{full}"
    );

    farm.server.kill();
    fails_with(&logins, 6, "users.conf was left as it is");
    assert_eq!(fs::read_to_string(&users).unwrap(), full);

    // Told before the bus is asked, which is away.
    let folder = farm.text("master");
    let into_folder = ["master", "logins", "--config", &config, &folder];
    fails_with(&into_folder, 8, "is not a file; nothing was written");
    let nowhere = farm.text("nowhere/users.conf");
    let unwritable = pybots(&["master", "logins", "--config", &config, &nowhere]);
    let said = String::from_utf8_lossy(&unwritable.stderr);
    assert_eq!(unwritable.status.code(), Some(8), "{said}");
    assert!(said.ends_with("       Nothing was written.\n"), "{said}");

    // Without a list no bus can start, so the first one needs none.
    fs::remove_file(&users).unwrap();
    assert!(pybots(&logins).status.success());
    let first = fs::read_to_string(&users).unwrap();
    assert!(first.contains("_INBOX.master.>") && first.contains("_INBOX.viewer.>"));
    assert!(!first.contains("maple"), "{first}");
}

#[tokio::test]
async fn a05_keys_are_never_overwritten_or_used_again_and_a_farm_id_decides() {
    let farm = Farm::new().await;
    let keys = farm.text("keys");
    fails_with(
        &["keys", "init", "test-farm", "--dir", &keys],
        8,
        "is there already; no key was made",
    );
    // Nor does a new farm's master log in with the key of another's.
    let login = farm.text("master");
    fails_with(
        &["keys", "init", "test-farm", "--dir", &login],
        8,
        "bus.nk is there already; no key was made",
    );
    let keyring = farm.text("keys/test-farm.keyring");
    let other_farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    fails_with(
        &["keys", "show", &keyring, "--farm", other_farm],
        4,
        "not of the pinned farm",
    );
    let mut bytes = fs::read(&keyring).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&keyring, bytes).unwrap();
    fails_with(
        &["keys", "show", &keyring],
        4,
        "is not a keyring that verifies",
    );
}
