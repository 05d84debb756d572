//! Webhooks: a forge says that somebody pushed, and strangers say all kinds of things.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use pybots::bus::{Access, User, users_list};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::Farm;
use crate::hostile::Client;
use crate::process::{PYBOTS, Process, eventually, eventually_or, pybots, succeed};

/// A listener for webhooks of the farm's trunk.
struct Hooks {
    process: Process,
    address: SocketAddr,
    secret: String,
}

/// What the listener answered.
struct Answer {
    status: u16,
    body: String,
}

/// Makes the listener's folder and its login, and lets the login in.
async fn install(farm: &mut Farm, limits: &str) {
    let line = succeed(&[
        "hooks",
        "init",
        "--farm",
        &farm.id.to_string(),
        "--bus",
        &format!("nats://127.0.0.1:{}", farm.port),
        "--dir",
        &farm.text("hooks"),
    ]);
    let nkey = line.split('"').nth(1).unwrap().to_owned();
    assert_eq!(line, format!("[webhooks]\nlogin = \"{nkey}\"\n"));
    let path = farm.path("hooks/hooks.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("127.0.0.1:8010", "127.0.0.1:0");
    fs::write(path, format!("{text}\n[limits]\n{limits}\n")).unwrap();

    let user = User::Key {
        nkey,
        access: Access::Hooks,
    };
    let list = users_list(farm.bus.subjects(), &[user]);
    let entry = list
        .trim()
        .trim_start_matches("users: [")
        .trim_end_matches(']');
    let path = farm.path("nats-server.conf");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("users: [", &format!("users: [{entry}"))).unwrap();
    farm.server.kill();
    farm.start_server();
    let port = farm.port;
    eventually("the server is back", || async move {
        TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    eventually("so is our own client", || async {
        farm.bus.flush().await.ok()
    })
    .await;
}

impl Hooks {
    async fn start(farm: &Farm) -> Self {
        let config = farm.text("hooks/hooks.toml");
        let arguments = ["hooks", "run", "--config", &config];
        let process = Process::start(PYBOTS, &arguments, farm.path("hooks.log"));
        let address = eventually_or(
            "the listener says where it is, and is connected",
            || async {
                let said = process.said();
                let address = said.split("http://").nth(1)?.split('/').next()?;
                let is_connected = said.contains("bus connected");
                address.parse().ok().filter(|_| is_connected)
            },
            || process.said(),
        )
        .await;
        let secret = fs::read_to_string(farm.path("hooks/python.secret")).unwrap();
        Self {
            process,
            address,
            secret: secret.trim().to_owned(),
        }
    }

    /// Sends a head and whatever follows it, and gives the answer.
    async fn send(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{head}\r\nHost: hooks\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            body: body.to_owned(),
        }
    }

    /// A delivery as GitHub sends it, signed with `secret`.
    async fn deliver(&self, path: &str, id: &str, body: &str, secret: &str) -> Answer {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        let tag = mac.chain_update(body).finalize().into_bytes();
        let head = format!(
            "POST {path} HTTP/1.1\r\nContent-Length: {}\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: {id}\r\n\
             X-Hub-Signature-256: sha256={}",
            body.len(),
            data_encoding::HEXLOWER.encode(&tag)
        );
        self.send(&head, body.as_bytes()).await
    }

    async fn deliver_well(&self, id: &str, body: &str) -> Answer {
        self.deliver("/hooks/python", id, body, &self.secret).await
    }
}

#[tokio::test]
async fn a_signed_webhook_makes_the_master_look_long_before_its_time_and_at_its_own_url_only() {
    let mut farm = Farm::new().await;
    install(&mut farm, "").await;
    let path = farm.path("master/master.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("poll-seconds = 1", "poll-seconds = 3600");
    fs::write(path, text).unwrap();
    let sees = async |farm: &Farm, revision: &str| {
        let master = farm.master.as_ref().unwrap();
        let found = || async { master.said().contains(revision).then_some(()) };
        eventually_or("the master sees it", found, || master.said()).await;
    };
    let first = farm.check_in("first");
    farm.start_master();
    sees(&farm, &first).await;
    let hooks = Hooks::start(&farm).await;

    let second = farm.check_in("second");
    let answer = hooks.deliver_well("1", "{}").await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    sees(&farm, &second).await;

    // The same delivery brings about nothing more. A fork's names its own repository and branch; the master looks where
    // it always looks.
    let replayed = hooks.deliver_well("1", "{}").await;
    assert_eq!(replayed.status, 200);
    assert_eq!(replayed.body, "seen before\n");
    let third = farm.check_in("third");
    let fork =
        r#"{"ref":"refs/heads/evil","repository":{"clone_url":"https://evil.example/fork.git"}}"#;
    assert_eq!(hooks.deliver_well("2", fork).await.status, 202);
    sees(&farm, &third).await;
    let said = farm.master.as_ref().unwrap().said() + &hooks.process.said();
    assert!(!said.contains("evil"), "{said}");
    assert_eq!(said.matches("branch moved").count(), 3, "{said}");
}

#[tokio::test]
async fn what_strangers_send_is_refused_bounded_and_said_once() {
    let mut farm = Farm::new().await;
    install(&mut farm, "header-seconds = 1\nbody-seconds = 1").await;
    let hooks = Hooks::start(&farm).await;
    let hostile = Client::with_key(&farm, "hostile", "hostile.nk").await;
    let hints = farm.bus.subjects().hints();
    let mut hints = hostile.raw.subscribe(hints).await.unwrap();
    hostile.round_trip().await;

    for id in ["1", "2", "3"] {
        let wrong = hooks.deliver("/hooks/python", id, "{}", "wrong").await;
        assert_eq!(wrong.status, 401, "{}", wrong.body);
    }
    let head = "POST /hooks/python HTTP/1.1\r\nContent-Length: 2";
    assert_eq!(hooks.send(head, b"{}").await.status, 401, "no signature");
    for path in [
        "/hooks/other",
        "/hooks/",
        "/",
        "/hooks/python/x",
        "/hooks/..%2f",
    ] {
        let unknown = hooks.deliver(path, "4", "{}", &hooks.secret).await;
        assert_eq!(unknown.status, 404, "{path}");
    }
    for method in ["GET", "PUT", "DELETE", "HEAD"] {
        let head = format!("{method} /hooks/python HTTP/1.1");
        assert_eq!(hooks.send(&head, b"").await.status, 405, "{method}");
    }
    // Nothing of 50 MiB is waited for; nor of what does not say how long it is, once it is too long.
    let head = format!(
        "POST /hooks/python HTTP/1.1\r\nContent-Length: {}",
        50 << 20
    );
    assert_eq!(hooks.send(&head, b"").await.status, 413);
    let head = "POST /hooks/python HTTP/1.1\r\nTransfer-Encoding: chunked";
    let mut chunk = format!("{:x}\r\n", (1 << 20) + 1).into_bytes();
    chunk.extend(vec![b'x'; (1 << 20) + 1]);
    assert_eq!(hooks.send(head, &chunk).await.status, 413);
    // A body that does not come is not waited for, either.
    let head = "POST /hooks/python HTTP/1.1\r\nContent-Length: 100";
    assert_eq!(hooks.send(head, b"{").await.status, 408);
    // Nor a head: the connection ends, and others were served all the time.
    let mut slow = TcpStream::connect(hooks.address).await.unwrap();
    slow.write_all(b"POST /hooks/python HTTP/1.1\r\nX-Slow: ")
        .await
        .unwrap();
    assert_eq!(hooks.deliver_well("5", "{}").await.status, 202);
    let mut rest = Vec::new();
    // With an answer or without; a connection that stays open would never come to this.
    let _ = slow.read_to_end(&mut rest).await;

    let hint = futures_util::StreamExt::next(&mut hints).await.unwrap();
    let subject = farm.bus.subjects().hint(&"python".parse().unwrap());
    assert_eq!(
        hint.subject.as_str(),
        subject,
        "the only hint is the fifth's"
    );
    assert!(hint.payload.is_empty());
    let said = hooks.process.said();
    assert_eq!(
        said.matches("signature missing or wrong").count(),
        1,
        "{said}"
    );
    assert_eq!(said.matches("does not name").count(), 1, "{said}");
    assert!(!said.contains(&hooks.secret), "{said}");
}

#[tokio::test]
async fn too_many_requests_are_turned_away() {
    let mut farm = Farm::new().await;
    install(&mut farm, "per-minute = 3").await;
    let hooks = Hooks::start(&farm).await;
    eventually("one request too many", || async {
        let answer = hooks.send("GET /hooks/python HTTP/1.1", b"").await;
        (answer.status == 429).then_some(())
    })
    .await;
    let said = hooks.process.said();
    assert_eq!(said.matches("too many requests").count(), 1, "{said}");
}

#[tokio::test]
async fn the_listeners_login_can_hint_and_nothing_else() {
    let mut farm = Farm::new().await;
    install(&mut farm, "").await;
    let hooks = Client::with_key(&farm, "hooks", "hooks/hooks.nk").await;
    let subjects = farm.bus.subjects();
    let (maple, builder) = ("maple".parse().unwrap(), "foo-linux".parse().unwrap());
    for subject in [
        subjects.command(&maple, &builder),
        subjects.change(&"python".parse().unwrap(), &[0; 32]),
        subjects.release(&"foo".parse().unwrap()),
        subjects.head(),
        subjects.lease(),
        subjects.report(&maple, &builder),
        "$JS.API.STREAM.MSG.GET.COMMANDS".to_owned(),
        "$JS.API.DIRECT.GET.RESULTS".to_owned(),
    ] {
        let publish = hooks.raw.publish(subject.clone(), "".into());
        publish.await.unwrap();
        hooks.is_refused(&format!("Publish to \"{subject}\"")).await;
    }
    for subject in [subjects.hints(), subjects.live(">"), ">".to_owned()] {
        let _listening = hooks.raw.subscribe(subject.clone()).await.unwrap();
        hooks
            .is_refused(&format!("Subscription to \"{subject}\""))
            .await;
    }
    let before = hooks.refused().len();
    let hint = subjects.hint(&"python".parse().unwrap());
    hooks.raw.publish(hint, "".into()).await.unwrap();
    // The server takes in what is sent in order.
    hooks.raw.publish("fence", "".into()).await.unwrap();
    hooks.is_refused("Publish to \"fence\"").await;
    assert_eq!(hooks.refused().len(), before + 1, "{:?}", hooks.refused());
}

#[tokio::test]
async fn a_secret_that_others_can_read_or_guess_starts_nothing() {
    let mut farm = Farm::new().await;
    install(&mut farm, "").await;
    let (config, secret) = (
        farm.text("hooks/hooks.toml"),
        farm.path("hooks/python.secret"),
    );
    let refused = || {
        let output = pybots(&["hooks", "run", "--config", &config]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(8), "{said}");
        assert!(said.contains("repositories.python.secret"), "{said}");
        assert!(said.contains("Nothing was started"), "{said}");
        said
    };
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused().contains("chmod 600"));
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&secret, "guess\n").unwrap();
    assert!(refused().contains("openssl rand -hex 32"));
    fs::remove_file(&secret).unwrap();
    refused();
}
