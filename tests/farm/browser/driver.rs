//! A real headless Chromium, through Debian's `chromedriver`.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{eventually, eventually_or};

/// How somebody looks at a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reader {
    /// At a desk.
    Plain,
    /// On a phone, 360 pixels wide.
    Phone,
    /// With a dark desktop.
    Dark,
    /// With JavaScript off.
    NoScript,
}

impl Reader {
    fn options(self, profile: &Path) -> Value {
        let mut arguments = vec![
            "--headless".to_owned(),
            // The tests may run as root, which Chromium's sandbox refuses; the pages are our own.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--window-size=1200,900".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        let mut options = json!({});
        match self {
            Self::Plain => {}
            Self::Phone => {
                let device = json!({ "width": 360, "height": 740, "pixelRatio": 1.0 });
                options["mobileEmulation"] = json!({ "deviceMetrics": device });
            }
            // 0 is dark, 1 is light.
            Self::Dark => arguments.push("--blink-settings=preferredColorScheme=0".to_owned()),
            // 2 is "block".
            Self::NoScript => {
                let blocked = "profile.managed_default_content_settings.javascript";
                options["prefs"] = json!({ blocked: 2 });
            }
        }
        options["args"] = json!(arguments);
        options
    }
}

/// A browser that is closed with the test.
pub(super) struct Browser {
    client: Client,
    _driver: Driver,
    _profile: TempDir,
}

/// The driver, and the browser's processes, which it would leave behind if it alone were killed.
struct Driver(Child);

impl Driver {
    /// Starts it; also returns the port that it has chosen.
    fn start() -> (Self, u16) {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver; tests/run installs what the tests need");
        let said = BufReader::new(child.stdout.take().unwrap());
        let driver = Self(child);
        let port = said.lines().map_while(Result::ok).find_map(|line| {
            let port = line.split("successfully on port ").nth(1)?;
            port.trim_end_matches('.').parse().ok()
        });
        (
            driver,
            port.expect("chromedriver says on which port it listens"),
        )
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

impl Browser {
    pub(super) async fn open(reader: Reader) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (driver, port) = Driver::start();
        let mut capabilities = Capabilities::new();
        let place = profile.path().join("profile");
        capabilities.insert("goog:chromeOptions".to_owned(), reader.options(&place));
        // An alert is a finding, and must not be closed by the driver.
        capabilities.insert("unhandledPromptBehavior".to_owned(), json!("ignore"));
        let client = eventually("a browser opens", || async {
            ClientBuilder::new(HttpConnector::new())
                .capabilities(capabilities.clone())
                .connect(&format!("http://127.0.0.1:{port}"))
                .await
                .ok()
        })
        .await;
        Self {
            client,
            _driver: driver,
            _profile: profile,
        }
    }

    pub(super) async fn go(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// The text of the whole page, as it is shown.
    pub(super) async fn text(&self) -> String {
        let body = self.client.find(Locator::Css("body")).await.unwrap();
        body.text().await.unwrap()
    }

    /// Waits until the page shows `what`, by itself.
    pub(super) async fn shows(&self, what: &str) {
        let shown = RefCell::new(String::new());
        eventually_or(
            &format!("the page shows {what:?}"),
            || async {
                // A part of the page may just be replaced by its successor.
                let body = self.client.find(Locator::Css("body")).await.ok()?;
                *shown.borrow_mut() = body.text().await.ok()?;
                shown.borrow().contains(what).then_some(())
            },
            || shown.borrow().clone(),
        )
        .await;
    }

    /// What an expression amounts to in the page.
    pub(super) async fn value(&self, expression: &str) -> Value {
        let script = format!("return {expression};");
        self.client.execute(&script, Vec::new()).await.unwrap()
    }

    pub(super) async fn run(&self, script: &str) {
        self.client.execute(script, Vec::new()).await.unwrap();
    }

    /// Whether a dialog is open, which only a script of somebody else's would do.
    pub(super) async fn is_alarmed(&self) -> bool {
        self.client.get_alert_text().await.is_ok()
    }

    pub(super) async fn click(&self, selector: &str) {
        let link = self.client.find(Locator::Css(selector)).await.unwrap();
        link.click().await.unwrap();
    }

    /// Keeps a picture, for people to look at.
    pub(super) async fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
        fs::create_dir_all(&folder).unwrap();
        let picture = self.client.screenshot().await.unwrap();
        fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }

    pub(super) async fn close(self) {
        self.client.close().await.unwrap();
    }
}
