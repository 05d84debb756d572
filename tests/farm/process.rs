//! Processes of the farm under test, and waiting for what they do.

use std::fs::{self, File};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pybots::model::Timestamp;

/// Our own program.
pub(crate) const PYBOTS: &str = env!("CARGO_BIN_EXE_pybots");

/// Longest that anything here may take; generous, because machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` finds something.
pub(crate) async fn eventually<T, F>(what: &str, look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually_or(what, look, String::new).await
}

/// The same; if it never happens, `told` tells what was seen instead.
pub(crate) async fn eventually_or<T, F>(
    what: &str,
    mut look: impl FnMut() -> F,
    told: impl Fn() -> String,
) -> T
where
    F: Future<Output = Option<T>>,
{
    let searching = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, searching)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}\n{}", told()))
}

pub(crate) fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    Timestamp(u64::try_from(since.as_micros()).unwrap())
}

/// A process that is killed with the test.
pub(crate) struct Process {
    child: Child,
    pub(crate) log: PathBuf,
}

impl Process {
    pub(crate) fn start(program: &str, arguments: &[&str], log: PathBuf) -> Self {
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start {program}: {error}; tests/run installs what the tests need")
            });
        Self { child, log }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn terminate(&mut self) {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap();
    }

    /// Ctrl-C; returns the exit code.
    pub(crate) fn interrupt(&mut self) -> Option<i32> {
        self.signal(Signal::SIGINT);
        self.wait()
    }

    /// Asks it to read its configuration again.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::SIGHUP);
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it do nothing until it is resumed, as if its machine slept.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).unwrap();
    }

    pub(crate) fn has_ended(&self) -> bool {
        let stat = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(stat).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    }

    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program to its end.
pub(crate) fn pybots(arguments: &[&str]) -> Output {
    Command::new(PYBOTS)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub(crate) fn succeed(arguments: &[&str]) -> String {
    let output = pybots(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "pybots {arguments:?} failed: {errors}"
    );
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git; tests/run installs what the tests need");
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
