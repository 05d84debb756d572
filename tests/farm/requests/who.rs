//! Who may ask: which files, which login, which key; and a master that runs and knows them.

use std::process::Command;

use pybots::bus::Login;
use pybots::model::{Request, Verdict, Wish};
use pybots::trust::{SecretKey, seal};

use super::desk::Desk;
use crate::harness::Farm;
use crate::process::{PYBOTS, eventually, pybots};

#[tokio::test]
async fn the_requester_is_found_beside_the_farms_file_and_a_missing_one_is_told() {
    let desk = Desk::open(Farm::new().await).await;
    let asking = |variable: &str| {
        Command::new(PYBOTS)
            .args(["build", "force", "fo-linux", "--reason", "x"])
            .env("PYBOTS_FARM", variable)
            .output()
            .unwrap()
    };
    let found = asking(&desk.farm.text("farm.toml"));
    let said = String::from_utf8_lossy(&found.stderr);
    assert!(said.contains("there is no builder fo-linux"), "{said}");
    let elsewhere = desk.farm.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::copy(desk.farm.path("farm.toml"), elsewhere.join("farm.toml")).unwrap();
    let missing = asking(&desk.farm.text("elsewhere/farm.toml"));
    let said = String::from_utf8_lossy(&missing.stderr);
    assert_eq!(missing.status.code(), Some(8), "{said}");
    assert!(
        said.contains("who asks? There is no requester.toml beside "),
        "{said}"
    );
    assert!(
        said.contains("pybots keys requester NAME makes one"),
        "{said}"
    );
}

#[tokio::test]
async fn a_login_that_the_server_does_not_know_is_told_what_the_operator_does() {
    let desk = Desk::open(Farm::new().await).await;
    let bob = desk.farm.text("bob");
    let made = pybots(&["keys", "requester", "bob", "--dir", &bob]);
    assert!(made.status.success());
    std::fs::copy(desk.farm.path("farm.toml"), desk.farm.path("bob/farm.toml")).unwrap();
    let bob = desk.farm.text("bob/requester.toml");
    let refused = pybots(&["build", "force", "foo-linux", "--reason", "x", "--as", &bob]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(5), "{said}");
    assert!(
        said.contains("Nothing was asked.") && said.contains("pybots master logins"),
        "{said}"
    );
}

#[tokio::test]
async fn a80_a_request_in_somebody_elses_name_is_believed_by_nobody() {
    let desk = Desk::open(Farm::new().await).await;
    let bob = SecretKey::generate().unwrap();
    let mut reader = desk.farm.reader().await;
    let (alice, bobs) = ("alice".parse().unwrap(), "bob".parse().unwrap());
    let known = [(&alice, desk.key.public()), (&bobs, bob.public())];
    reader.let_ask(known).unwrap();
    let request = |requester: &pybots::model::RequesterName| Request {
        farm: desk.farm.id,
        requester: requester.clone(),
        nonce: pybots::model::InstanceId([1; 16]),
        issued: crate::process::now(),
        reason: pybots::model::Text::tidy("x"),
        wish: Wish::Resume {
            builder: "foo-linux".parse().unwrap(),
        },
    };
    let admit = pybots::trust::Purpose::Admit {
        now: crate::process::now(),
    };
    let open = |bytes: &[u8]| {
        let opened = reader.open::<Request>(bytes, admit);
        opened.map(drop).map_err(|error| error.code())
    };
    let stranger = SecretKey::generate().unwrap();
    let sealed = |key: &SecretKey, request: &Request| seal(key, &desk.farm.id, request).bytes;
    assert_eq!(open(&sealed(&desk.key, &request(&alice))), Ok(()));
    assert_eq!(
        open(&sealed(&desk.key, &request(&bobs))),
        Err("E-REQUESTER")
    );
    assert_eq!(open(&sealed(&bob, &request(&alice))), Err("E-REQUESTER"));
    assert_eq!(open(&sealed(&stranger, &request(&alice))), Err("E-KEY"));
    // Nor does whoever commands ask.
    assert_eq!(
        open(&sealed(&desk.farm.signing, &request(&alice))),
        Err("E-KEY")
    );
}

#[tokio::test]
async fn the_list_of_logins_lets_in_whom_master_toml_names() {
    let desk = Desk::open(Farm::new().await).await;
    let hooks = Login::nkey_of_seed(&Login::generate_seed().unwrap()).unwrap();
    let webhooks = format!("[webhooks]\nlogin = \"{hooks}\"");
    let stanza = desk.stanza();
    desk.farm.write_master_toml(&format!("{stanza}{webhooks}"));
    let config = desk.farm.text("master/master.toml");
    let users = desk.farm.text("users.conf");
    let done = pybots(&["master", "logins", "--config", &config, &users]);
    let said = String::from_utf8_lossy(&done.stderr);
    let names = "master, viewers, maple, the listener for webhooks, alice (requester)";
    assert!(said.contains(&format!("lets in: {names}\n")), "{said}");
    let list = std::fs::read_to_string(&users).unwrap();
    let entry = |nkey: &str| {
        list.lines()
            .skip_while(|line| !line.contains(nkey))
            .nth(1)
            .unwrap()
            .to_owned()
    };
    assert!(entry(&hooks).contains(".hint.*\"] }"), "{list}");
    let login = stanza.lines().nth(2).unwrap().split('"').nth(1).unwrap();
    assert!(entry(login).contains(".request.alice\""), "{list}");
}

#[tokio::test]
async fn a_master_that_runs_builds_what_somebody_asks_for_who_may_and_nothing_else() {
    let mut desk = Desk::open(Farm::new().await).await;
    desk.farm.write_master_toml(&desk.stanza());
    desk.farm.check_in("one");
    desk.farm.start_master();
    desk.farm.start_slave().await;
    let first = "foo-linux/1".parse().unwrap();
    let passed = || async {
        let board = desk.farm.board().await;
        board.verdict_of(&first, crate::process::now())
    };
    assert_eq!(
        eventually("the check-in is built", passed).await,
        Verdict::Passed
    );
    let reason = ["--reason", "is it the weather?"];
    let force = ["build", "force", "foo-linux", "--wait"];
    let mut asking = desk.start(&[&force[..], &reason].concat());
    assert_eq!(asking.wait(), Some(0), "{}", asking.said());
    assert!(
        asking.said().contains("foo-linux/2  ✓ passed"),
        "{}",
        asking.said()
    );
    let (id, _) = desk.asked().await;
    let board = desk.farm.board().await;
    let order = &board.build(&"foo-linux/2".parse().unwrap()).unwrap().order;
    assert_eq!(order.reason.as_str(), "is it the weather?");
    assert_eq!(
        order.requester.as_ref().map(pybots::model::Text::as_str),
        Some("alice")
    );
    assert_eq!(order.request, Some(id));
    let mut asking = desk.start(&[&["build", "retry", "foo-linux/2"][..], &reason].concat());
    assert_eq!(asking.wait(), Some(5), "{}", asking.said());
    assert!(
        asking
            .said()
            .contains("denied, E-NOT-ALLOWED: alice may not retry"),
        "{}",
        asking.said()
    );
}
