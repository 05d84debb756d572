//! The status page, as a browser gets it.

use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;

use pybots::model::Verdict;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::Farm;
use crate::process::{PYBOTS, Process, eventually, eventually_or, now, pybots};
use crate::viewers::farm_file;

/// A status page of a farm.
pub(crate) struct Page {
    process: Process,
    address: SocketAddr,
}

/// What the server answered.
pub(crate) struct Answer {
    status: u16,
    head: String,
    pub(crate) body: String,
}

impl Page {
    /// Serves the farm's page from the history in `store`, and waits until it has read all that the streams hold.
    pub(crate) async fn serve(farm: &Farm, store: &str) -> Self {
        let page = Self::start(farm, store).await;
        let seen = RefCell::new(String::new());
        eventually_or(
            "the page follows the bus",
            || async {
                // The slave's sign of life comes once a second, and is in no history.
                let body = page.get("/").await.body;
                let follows = body.contains("slave is there") && !body.contains("still reading");
                *seen.borrow_mut() = body;
                follows.then_some(())
            },
            || format!("{}\n{}", seen.borrow(), page.process.said()),
        )
        .await;
        page
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn start(farm: &Farm, store: &str) -> Self {
        let (file, store) = (farm_file(farm), farm.text(store));
        let listen = "127.0.0.1:0";
        let arguments = [
            "status", "serve", "--farm", &file, "--store", &store, "--listen", listen,
        ];
        let log = farm.path(&format!("page-{}.log", now().0));
        let process = Process::start(PYBOTS, &arguments, log);
        let address = eventually_or(
            "the page says where it is",
            || async {
                let said = process.said();
                let address = said.split("http://").nth(1)?.split('/').next()?;
                address.parse().ok()
            },
            || process.said(),
        )
        .await;
        Self { process, address }
    }

    async fn ask(&self, method: &str, path: &str, more: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: page\r\nConnection: close\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }
}

const ADDRESSES: [&str; 7] = [
    "/",
    "/index.json",
    "/build/foo-linux/1",
    "/build/foo-linux/1.json",
    "/build/foo-linux/1/log.txt",
    "/keys",
    "/keys.json",
];

/// What a page says, without what it says of the moment: ages, and when it was made.
pub(crate) fn timeless(body: &str) -> String {
    let mut kept = String::new();
    let mut rest = body;
    while let Some((before, after)) = rest.split_once("<time") {
        kept.push_str(before);
        rest = after.split_once("</time>").unwrap().1;
        if let Some(remark) = rest.strip_prefix(" <small>") {
            rest = remark.split_once("</small>").unwrap().1;
        }
    }
    kept.push_str(rest);
    // "failing for 3 s"
    while let Some((before, after)) = kept.split_once(" for ")
        && let Some((number, after)) = after.split_once(' ')
        && number.parse::<u32>().is_ok()
    {
        kept = format!("{before}{}", &after[after.find([' ', '.']).unwrap()..]);
    }
    let of_the_moment = ["\"now\":", "\"age_s\":", "\"last_seen\":", "data-live="];
    let lines = kept.lines();
    lines
        .filter(|line| !of_the_moment.iter().any(|mark| line.contains(mark)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A farm of which two builds are known: one passed, one failed.
async fn farm_with_history() -> Farm {
    let mut farm = Farm::new().await;
    farm.script("fail.sh", "echo broken; exit 1");
    farm.write_slave_toml("[commands.fail]\nscript = \"fail.sh\"\n");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let passed = farm.send(&farm.order(1, &["record"])).await;
    assert_eq!(farm.verdict(passed).await, Verdict::Passed);
    let failed = farm.send(&farm.order(2, &["record", "fail"])).await;
    assert_eq!(farm.verdict(failed).await, Verdict::Failed);
    farm
}

#[tokio::test]
async fn every_page_and_its_twin_is_there_and_says_what_the_slave_signed() {
    let farm = farm_with_history().await;
    let page = Page::serve(&farm, "page/history.sqlite").await;
    for address in ADDRESSES {
        let answer = page.get(address).await;
        assert_eq!(answer.status, 200, "{address}: {}", answer.body);
    }
    assert!(page.get("/").await.body.contains("foo-linux"));
    assert!(page.get("/build/foo-linux/2").await.body.contains("broken"));
    let first_step = page.get("/build/foo-linux/2?step=1").await.body;
    assert!(first_step.contains("recorded") && !first_step.contains("broken"));
    let text = page.get("/build/foo-linux/2/log.txt?step=2").await;
    assert!(text.head.contains("text/plain"), "{}", text.head);
    assert_eq!(
        text.body.trim_end().lines().find(|line| *line == "broken"),
        Some("broken")
    );
    let keys = page.get("/keys").await.body;
    assert!(
        keys.contains(&farm.id.to_string().replace('+', "&#43;"))
            || keys.contains(&farm.id.to_string())
    );
    for missing in [
        "/no-such-page",
        "/build/foo-linux/3",
        "/build/foo-linux/1?step=2",
        "/build/no-such-builder/1",
        "/build/%3Cscript%3E/1",
        "/build/foo-linux/x.json",
    ] {
        let answer = page.get(missing).await;
        assert_eq!(answer.status, 404, "{missing}");
        assert!(!answer.body.contains("<script>"), "{missing}");
    }
}

#[tokio::test]
async fn nothing_but_get_is_answered_and_no_key_is_held() {
    let farm = farm_with_history().await;
    let page = Page::serve(&farm, "page/history.sqlite").await;
    for address in ADDRESSES
        .into_iter()
        .chain(["/live", "/style.css", "/script.js"])
    {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = page.ask(method, address, "Content-Length: 0\r\n").await;
            assert_eq!(answer.status, 405, "{method} {address}");
        }
    }
    let head = page.ask("HEAD", "/", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    // All that the process was given is the public file.
    let files = fs::read_to_string(farm.path("farm.toml")).unwrap();
    // A farm id may happen to spell anything; the names may not.
    let mut names = files.lines().filter_map(|line| line.split_once('='));
    let secret = names.find(|(name, _)| name.contains("key") || name.contains("seed"));
    assert_eq!(secret, None, "{files}");
}

#[tokio::test]
async fn a88_every_answer_forbids_what_the_server_does_not_serve_itself() {
    let farm = farm_with_history().await;
    let page = Page::serve(&farm, "page/history.sqlite").await;
    for address in ADDRESSES.into_iter().chain(["/script.js", "/no-such-page"]) {
        let head = page.get(address).await.head;
        assert!(
            head.contains("content-security-policy: default-src 'none';"),
            "{address}: {head}"
        );
        assert!(
            head.contains("x-content-type-options: nosniff"),
            "{address}: {head}"
        );
        assert!(
            !head.contains("unsafe-inline") && !head.contains("set-cookie"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn who_has_the_page_already_is_not_sent_it_again() {
    let farm = farm_with_history().await;
    let page = Page::serve(&farm, "page/history.sqlite").await;
    let first = page.get("/style.css").await;
    let tag = first
        .head
        .split("etag: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let again = page
        .ask(
            "GET",
            "/style.css",
            &format!("If-None-Match: \"x\", W/{tag}\r\n"),
        )
        .await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
}

#[tokio::test]
async fn pages_from_a_history_that_was_deleted_and_rebuilt_are_the_same() {
    let farm = farm_with_history().await;
    // Junk, too, is shown from the history as the stream shows it.
    let maple = "maple".parse().unwrap();
    let junk = farm
        .bus
        .subjects()
        .report(&maple, &"foo-linux".parse().unwrap());
    farm.publish(junk, b"junk".to_vec()).await;
    let mut page = Page::serve(&farm, "page/history.sqlite").await;
    let addresses = ADDRESSES
        .into_iter()
        .chain(["/build/foo-linux/2", "/build/foo-linux/2.json"]);
    let mut first = Vec::new();
    for address in addresses.clone() {
        first.push(timeless(&page.get(address).await.body));
    }
    assert!(first[1].contains("E-"), "{}", first[1]);
    page.process.terminate();
    let again = Page::serve(&farm, "page/history.sqlite").await;
    let rebuilt = Page::serve(&farm, "page/rebuilt.sqlite").await;
    for (address, first) in addresses.zip(&first) {
        assert_eq!(
            timeless(&again.get(address).await.body),
            *first,
            "{address} after a restart"
        );
        assert_eq!(
            timeless(&rebuilt.get(address).await.body),
            *first,
            "{address} rebuilt"
        );
    }
}

#[tokio::test]
async fn the_history_is_shown_while_the_bus_is_away_and_outlives_the_loss_of_its_store() {
    let mut farm = farm_with_history().await;
    let mut page = Page::serve(&farm, "page/history.sqlite").await;
    farm.slave.as_mut().unwrap().kill();
    farm.server.kill();
    page.process.terminate();
    let page = Page::start(&farm, "page/history.sqlite").await;
    let overview = page.get("/").await.body;
    assert!(
        overview.contains("foo-linux") && overview.contains("has not answered"),
        "{overview}"
    );
    assert!(
        page.get("/build/foo-linux/2")
            .await
            .body
            .contains("cannot be shown")
    );

    fs::remove_dir_all(farm.path("store")).unwrap();
    farm.start_server();
    farm.approve().await;
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let third = farm.send(&farm.order(3, &["record"])).await;
    assert_eq!(farm.verdict(third).await, Verdict::Passed);
    eventually("old and new builds are shown", || async {
        let new = page.get("/build/foo-linux/3.json").await;
        let old = page.get("/build/foo-linux/1.json").await;
        (new.body.contains("\"verdict\": \"passed\"") && old.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_page_hears_each_sign_of_life_of_a_slave() {
    let farm = farm_with_history().await;
    let page = Page::serve(&farm, "page/history.sqlite").await;
    let mut last_seen = String::new();
    for _ in 0..3 {
        last_seen = eventually("a later sign of life", || async {
            let board = page.get("/index.json").await.body;
            let seen = board
                .split("\"last_seen\": ")
                .nth(1)?
                .lines()
                .next()?
                .to_owned();
            (seen > last_seen).then_some(seen)
        })
        .await;
    }
}

#[tokio::test]
async fn lines_are_sent_to_the_page_while_the_script_prints_them() {
    let mut farm = Farm::new().await;
    let go_on = farm.text("go-on");
    farm.script(
        "slow.sh",
        &format!("echo first\nwhile ! test -e {go_on}; do sleep 0.05; done\necho '<last>'"),
    );
    farm.write_slave_toml("[commands.slow]\nscript = \"slow.sh\"\n");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let page = Page::serve(&farm, "page/history.sqlite").await;
    let build = farm.send(&farm.order(1, &["slow"])).await;
    eventually("the first line is on the page", || async {
        page.get("/build/foo-linux/1")
            .await
            .body
            .contains("first")
            .then_some(())
    })
    .await;
    let mut stream = TcpStream::connect(page.address).await.unwrap();
    let live = "/build/foo-linux/1/live?step=1&offset=6&line=2";
    let request = format!("GET {live} HTTP/1.1\r\nHost: page\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    fs::write(&go_on, "").unwrap();
    let mut said = String::new();
    let mut buffer = [0; 4096];
    while !said.contains("event: lines") || !said.contains("&lt;last") && !said.contains("last") {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(
        !said.contains("first") && !said.contains("<last>"),
        "{said}"
    );
    assert_eq!(farm.verdict(build).await, Verdict::Passed);
}

#[tokio::test]
async fn wrong_input_to_serve_is_told_and_starts_nothing() {
    let farm = farm_with_history().await;
    let page = Page::serve(&farm, "page/history.sqlite").await;
    let file = farm.text("farm.toml");
    let taken = page.address.to_string();
    let store = farm.text("page/other.sqlite");
    let serve = |more: &[&str]| {
        let arguments = [&["status", "serve", "--farm", &file], more].concat();
        let output = pybots(&arguments);
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (exit, said) = serve(&["--listen", &taken, "--store", &store]);
    assert_eq!(exit, Some(1), "{said}");
    assert!(
        said.contains("cannot listen") && said.contains("Nothing was started"),
        "{said}"
    );
    fs::write(
        &store,
        "this is no database, but long enough to be taken for one".repeat(50),
    )
    .unwrap();
    let (exit, said) = serve(&["--listen", "127.0.0.1:0", "--store", &store]);
    assert_eq!(exit, Some(1), "{said}");
    assert!(said.contains("delete it"), "{said}");
}
