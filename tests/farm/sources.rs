//! What the master watches: branches that are rewritten or vanish, remotes that hang, and releases.

use std::fs;
use std::sync::{Arc, Mutex};

use pybots::bus::Stream;
use pybots::model::{Change, Release, ReleaseOrigin, Revision, Version};
use pybots::trust::{Purpose, Verified};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::Farm;
use crate::process::{eventually_or, git};

/// Waits until the master has said so often what holds all of these words in one line.
async fn master_says(farm: &Farm, words: &[&str], times: usize) {
    let master = farm.master.as_ref().unwrap();
    let found = || async {
        let said = master.said();
        let lines = said.lines();
        let found = lines.filter(|line| words.iter().all(|word| line.contains(word)));
        (found.count() >= times).then_some(())
    };
    let what = format!("the master says {words:?} {times} times");
    eventually_or(&what, found, || master.said()).await;
}

/// The changes that are on the bus, verified.
async fn changes(farm: &Farm) -> Vec<Change> {
    let reader = farm.reader().await;
    let held = farm.bus.read_all(Stream::Changes, ">", 1).await.unwrap();
    let opened = held.iter().filter_map(|held| {
        let change = reader.open::<Change>(&held.bytes, Purpose::History);
        change.ok().map(Verified::into_body)
    });
    opened.collect()
}

/// Waits until so many releases are on the bus, and gives them.
async fn releases(farm: &Farm, count: usize) -> Vec<Release> {
    let found = || async {
        let reader = farm.reader().await;
        let held = farm.bus.read_all(Stream::Changes, ">", 1).await.ok()?;
        let opened = held.iter().filter_map(|held| {
            let release = reader.open::<Release>(&held.bytes, Purpose::History);
            release.ok().map(Verified::into_body)
        });
        let opened: Vec<Release> = opened.collect();
        (opened.len() >= count).then_some(opened)
    };
    let master = farm.master.as_ref().unwrap();
    eventually_or("so many releases", found, || master.said()).await
}

fn edit_master_toml(farm: &Farm, from: &str, to: &str) {
    let path = farm.path("master/master.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[tokio::test]
async fn a_branch_that_is_rewritten_or_vanishes_is_said_once_and_the_others_go_on() {
    let mut farm = Farm::new().await;
    edit_master_toml(&farm, "[\"main\"]", "[\"main\", \"side\"]");
    farm.check_in("first");
    let second = farm.check_in("second");
    let trunk = farm.path("trunk");
    git(&trunk, &["branch", "side"]);
    farm.start_master();
    master_says(&farm, &["branch moved"], 2).await;

    git(&trunk, &["reset", "--quiet", "--hard", "HEAD~1"]);
    git(&trunk, &["branch", "-D", "side"]);
    let third = farm.check_in("third");
    master_says(&farm, &["branch moved", "branch=main"], 2).await;
    master_says(&farm, &["branch not there", "side"], 1).await;
    let fourth = farm.check_in("fourth");
    master_says(&farm, &["branch moved", "branch=main"], 3).await;
    git(&trunk, &["branch", "side"]);
    master_says(&farm, &["branch is there again", "side"], 1).await;
    master_says(&farm, &["branch moved", "branch=side"], 2).await;

    // The other branch came back without what it held before, too.
    let said = farm.master.as_ref().unwrap().said();
    for (words, times) in [("branch was rewritten", 2), ("branch not there", 1)] {
        assert_eq!(said.matches(words).count(), times, "{words}: {said}");
    }
    let changes = changes(&farm).await;
    let rewritten: Vec<(&str, &str)> = changes
        .iter()
        .filter(|change| change.rewritten)
        .map(|change| (change.branch.as_str(), change.revision.as_str()))
        .collect();
    assert_eq!(
        rewritten,
        [("main", third.as_str()), ("side", fourth.as_str())]
    );
    let all = changes.iter();
    let previous = all
        .filter_map(|change| change.previous.as_ref())
        .map(Revision::as_str);
    assert!(previous.eq([second.as_str(), &third, &second]));
}

#[tokio::test]
async fn a_remote_that_hangs_or_is_none_holds_up_no_other() {
    // The system accepts connections for it; nobody ever answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut farm = Farm::new().await;
    farm.write_master_toml(&format!(
        "[repositories.hangs]\nurl = \"https://{}/a.git\"\nbranches = [\"main\"]\npoll-seconds = 1\n\
         [repositories.broken]\nurl = \"{}\"\nbranches = [\"main\"]\npoll-seconds = 1\n",
        silent.local_addr().unwrap(),
        farm.text("no-such-repository"),
    ));
    for number in 1..=3 {
        farm.check_in(&format!("file-{number}"));
        if farm.master.is_none() {
            farm.start_master();
        }
        master_says(&farm, &["branch moved", "repository=python"], number).await;
    }
    master_says(&farm, &["not readable", "broken"], 1).await;
    let said = farm.master.as_ref().unwrap().said();
    assert_eq!(said.matches("not readable").count(), 1, "{said}");
}

#[tokio::test]
async fn tags_of_a_watched_repository_become_releases_oldest_first() {
    let mut farm = Farm::new().await;
    farm.write_master_toml(
        "[releases.foo]\nrepository = \"python\"\ntag-prefix = \"v\"\npoll-seconds = 1\n",
    );
    farm.check_in("first");
    let trunk = farm.path("trunk");
    for tag in ["v1.9", "v1.10", "v2.0rc1", "v-broken", "other-3.0"] {
        git(&trunk, &["tag", tag]);
    }
    farm.start_master();
    let found = releases(&farm, 1).await;
    assert_eq!(
        found[0].version.as_str(),
        "1.10",
        "only the newest at first"
    );
    assert_eq!(
        (&found[0].previous, found[0].origin),
        (&None, ReleaseOrigin::Tag)
    );

    let annotated = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
    let annotated = [&annotated[..], &["tag", "-a", "-m", "x", "v1.12"]].concat();
    git(&trunk, &annotated);
    git(&trunk, &["tag", "v1.11"]);
    // Both at one look or one at each; a late 1.11 after 1.12 would be none.
    let found = releases(&farm, 2).await;
    assert!(["1.11", "1.12"].contains(&found[1].version.as_str()));
    git(&trunk, &["tag", "v2.0"]);
    let newest = || async {
        let found = releases(&farm, 3).await;
        let last = found.last()?;
        (last.version.as_str() == "2.0").then(|| found.clone())
    };
    let found = eventually_or("2.0", newest, String::new).await;
    let previous = found[found.len() - 1].previous.as_ref();
    assert_eq!(previous.map(Version::as_str), Some("1.12"));
    let versions: Vec<&str> = found.iter().map(|found| found.version.as_str()).collect();
    assert!(!versions.contains(&"2.0rc1"), "{versions:?}");
    let said = farm.master.as_ref().unwrap().said();
    assert_eq!(said.matches("passed over").count(), 1, "{said}");
}

/// A package index of one page, which the test may change.
async fn index(page: Arc<Mutex<String>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/simple/foo/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let body = page.lock().unwrap().clone();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.pypi.simple.v1+json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn versions_in_a_package_index_become_releases_and_one_without_versions_is_told() {
    let page = |versions: &str| {
        format!(
            r#"{{"meta":{{"api-version":"1.1"}},"name":"foo","files":[],"versions":{versions}}}"#
        )
    };
    let served = Arc::new(Mutex::new(page(r#"["1.0","1.1","2.0a1"]"#)));
    let url = index(Arc::clone(&served)).await;
    let mut farm = Farm::new().await;
    farm.write_master_toml(&format!(
        "[releases.foo]\nindex = \"{url}\"\npre-releases = true\npoll-seconds = 1\n"
    ));
    farm.check_in("first");
    farm.start_master();
    releases(&farm, 1).await;
    *served.lock().unwrap() = "<!DOCTYPE html>".to_owned();
    master_says(&farm, &["releases cannot be looked for", "PEP 691"], 1).await;
    *served.lock().unwrap() = page(r#"["1.0","1.1","2.0a1","2.0","2.0rc1","1.2"]"#);
    let found = releases(&farm, 3).await;
    let versions: Vec<&str> = found.iter().map(|found| found.version.as_str()).collect();
    assert_eq!(versions, ["2.0a1", "2.0rc1", "2.0"]);
    assert_eq!(found[2].origin, ReleaseOrigin::Index);
    master_says(&farm, &["releases can be looked for again"], 1).await;
}
