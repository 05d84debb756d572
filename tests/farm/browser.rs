//! The status page in a real browser.

mod driver;

use std::fs;

use pybots::model::Verdict;

use self::driver::{Browser, Reader};
use crate::harness::Farm;
use crate::page::Page;
use crate::process::{eventually, now};

/// What would run, or be shown as something else, if any of it were taken for markup or for control.
const HOSTILE: &str =
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)>&lt;b&gt;";

/// A farm whose script prints a line, waits for the file `go-on`, prints another, and fails.
async fn farm_with_a_slow_script() -> Farm {
    let mut farm = Farm::new().await;
    let go_on = farm.text("go-on");
    let body = format!(
        "echo first\nwhile ! test -e {go_on}; do sleep 0.05; done\nprintf '\\033[31mlast\\033[0m\\n'; exit 1"
    );
    farm.script("slow.sh", &body);
    farm.write_slave_toml("[commands.slow]\nscript = \"slow.sh\"\n");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    farm
}

#[tokio::test]
async fn the_pages_stay_current_by_themselves() {
    let farm = farm_with_a_slow_script().await;
    let page = Page::serve(&farm, "page/history.sqlite").await;
    let browser = Browser::open(Reader::Plain).await;
    browser.go(&page.url("/")).await;
    // Gone if the document were loaded anew.
    browser.run("window.mark = 1;").await;
    let before = farm.send(&farm.order(1, &["record"])).await;
    assert_eq!(farm.verdict(before).await, Verdict::Passed);
    browser.shows("foo passes").await;
    let build = farm.send(&farm.order(2, &["record", "slow"])).await;
    browser.shows("step 2/2 slow").await;
    assert_eq!(browser.value("window.mark").await, 1);
    browser.picture("overview-running").await;

    browser.click("a[href='/build/foo-linux/2']").await;
    browser.shows("first").await;
    browser.run("window.mark = 2;").await;
    browser.picture("build-running").await;
    fs::write(farm.path("go-on"), "").unwrap();
    browser.shows("last").await;
    assert_eq!(farm.verdict(build).await, Verdict::Failed);
    browser.shows("FAILED").await;
    assert_eq!(browser.value("window.mark").await, 2);
    assert_eq!(
        browser
            .value("document.querySelectorAll('#lines li').length")
            .await,
        2
    );
    let red = browser
        .value("document.querySelector('#lines span').className")
        .await;
    assert_eq!(red, "fg1");
    assert!(!browser.text().await.contains("[31m"));
    browser.picture("build-failed").await;
    browser.close().await;
}

#[tokio::test]
async fn without_javascript_everything_is_there() {
    let farm = farm_with_a_slow_script().await;
    fs::write(farm.path("go-on"), "").unwrap();
    let page = Page::serve(&farm, "page/history.sqlite").await;
    for (number, script, verdict) in [(1, "record", Verdict::Passed), (2, "slow", Verdict::Failed)]
    {
        let build = farm.send(&farm.order(number, &[script])).await;
        assert_eq!(farm.verdict(build).await, verdict);
    }
    let browser = Browser::open(Reader::NoScript).await;
    eventually("the page knows both builds", || async {
        browser.go(&page.url("/")).await;
        browser.text().await.contains("FAILED").then_some(())
    })
    .await;
    // The script would say so.
    assert!(!browser.text().await.contains("live,"));
    browser.click("a[href='/build/foo-linux/2']").await;
    browser.shows("last").await;
    let text = browser.text().await;
    for told in [
        "first",
        "slow",
        "Last pass",
        "pybots build verify foo-linux/2",
        "FAILED",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    browser.click("a[href='/keys']").await;
    browser.shows("Signing key").await;
    browser.close().await;
}

#[tokio::test]
async fn a88_what_slaves_and_commits_say_does_nothing_in_a_browser() {
    let mut farm = Farm::new().await;
    let go_on = farm.text("go-on");
    let printed = HOSTILE.replace('\'', "'\\''");
    let body = format!(
        "printf '%s\\n' '{printed}'\nprintf '\\033]0;title\\007\\033[2J\\033]8;;javascript:alert(4)\\033\\\\link\\n'
while ! test -e {go_on}; do sleep 0.05; done\nprintf '%s\\n' '{printed} again' '</code></li></ol><script>alert(5)</script>'"
    );
    farm.script("hostile.sh", &body);
    farm.write_slave_toml("[commands.hostile]\nscript = \"hostile.sh\"\n");
    let steps = "[{ command = \"hostile\", timeout-minutes = 1 }]";
    farm.write_master_toml_with(steps, "");
    farm.check_in_as("file", HOSTILE, HOSTILE);
    farm.start_master();
    farm.start_slave().await;
    let page = Page::serve(&farm, "page/history.sqlite").await;
    let browser = Browser::open(Reader::Plain).await;
    browser.go(&page.url("/")).await;
    browser.shows("foo-linux").await;
    eventually("the build runs", || async {
        let answer = page.get("/build/foo-linux/1").await;
        answer.body.contains("link").then_some(())
    })
    .await;
    browser.go(&page.url("/build/foo-linux/1")).await;
    browser.shows("onerror=alert(2)").await;
    fs::write(&go_on, "").unwrap();
    browser.shows("again").await;
    browser.shows("✓ passed").await;
    browser.picture("build-hostile").await;
    for address in [
        "/build/foo-linux/1",
        "/",
        "/build/foo-linux/1/log.txt?step=1",
    ] {
        if address != "/build/foo-linux/1" {
            browser.go(&page.url(address)).await;
        }
        assert!(!browser.is_alarmed().await, "{address}");
        for foreign in [
            "img",
            "svg",
            "script:not([src='/script.js'])",
            "a[href^=javascript]",
            "li li li b",
        ] {
            let count = format!("document.querySelectorAll({foreign:?}).length");
            assert_eq!(browser.value(&count).await, 0, "{address}: {foreign}");
        }
    }
    browser.close().await;
    assert!(
        farm.board()
            .await
            .verdict_of(&"foo-linux/1".parse().unwrap(), now())
            .is_some()
    );
}

#[tokio::test]
async fn a_phone_shows_all_without_scrolling_sideways_and_a_dark_desktop_a_dark_page() {
    let mut farm = Farm::new().await;
    farm.script(
        "wide.sh",
        "printf 'x%.0s' $(seq 3000); echo; echo end; exit 1",
    );
    farm.write_slave_toml("[commands.wide]\nscript = \"wide.sh\"\n");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let build = farm.send(&farm.order(1, &["record", "wide"])).await;
    assert_eq!(farm.verdict(build).await, Verdict::Failed);
    let page = Page::serve(&farm, "page/history.sqlite").await;
    for (reader, name) in [
        (Reader::Phone, "phone"),
        (Reader::Dark, "dark"),
        (Reader::Plain, "light"),
    ] {
        let browser = Browser::open(reader).await;
        for (address, part) in [
            ("/", "overview"),
            ("/build/foo-linux/1", "build"),
            ("/keys", "keys"),
        ] {
            browser.go(&page.url(address)).await;
            browser.shows("test-farm").await;
            let too_wide = browser
                .value("document.documentElement.scrollWidth - window.innerWidth")
                .await;
            assert!(
                too_wide.as_i64().unwrap() <= 0,
                "{name} {address}: {too_wide} pixels"
            );
            if reader == Reader::Phone {
                assert_eq!(browser.value("window.innerWidth").await, 360);
            }
            let brightness = browser
                .value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3")
                .await;
            let dark = brightness.as_f64().unwrap() < 80.0;
            assert_eq!(
                dark,
                reader == Reader::Dark,
                "{name} {address}: {brightness}"
            );
            browser.picture(&format!("{part}-{name}")).await;
        }
        browser.close().await;
    }
}

#[tokio::test]
async fn a_flood_of_lines_leaves_a_page_that_can_be_read() {
    let mut farm = Farm::new().await;
    let go_on = farm.text("go-on");
    let body = format!(
        "echo first\nwhile ! test -e {go_on}; do sleep 0.05; done\nseq 200000\necho the end"
    );
    farm.script("flood.sh", &body);
    farm.write_slave_toml("[commands.flood]\nscript = \"flood.sh\"\n");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let page = Page::serve(&farm, "page/history.sqlite").await;
    let build = farm.send(&farm.order(1, &["flood"])).await;
    let browser = Browser::open(Reader::Plain).await;
    eventually("the first line is on the page", || async {
        let answer = page.get("/build/foo-linux/1").await;
        answer.body.contains("first").then_some(())
    })
    .await;
    browser.go(&page.url("/build/foo-linux/1?step=1")).await;
    browser.shows("first").await;
    fs::write(&go_on, "").unwrap();
    assert_eq!(farm.verdict(build).await, Verdict::Passed);
    browser.shows("the end").await;
    let lines = browser
        .value("document.querySelectorAll('#lines li').length")
        .await;
    assert!(lines.as_u64().unwrap() <= 2_000, "{lines}");
    browser.close().await;
}
