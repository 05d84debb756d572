//! The level `namespaces`: bubblewrap makes a process table, a file system, a network and a user of the script's own.
//!
//! An allow-list: what is not named here is not there. Bubblewrap itself is started with the script's environment, so that no
//! value of it stands on a command line; nothing of its command line is secret, and it is not seen in the process list.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{AccessFlags, access, geteuid};

use super::plan::{self, Mount, User, Wanted};
use super::{Around, Confinement, Program, Started};
use crate::model::{Isolation, Network};
use crate::slave::script::check_script;

/// Where the copy of the script stands that runs.
const SCRIPT: &str = "/run/pybots/script";
/// As much as shared memory may take of the machine's, in bytes.
const SHARED_MEMORY: u64 = 256 << 20;
/// What of `/proc` root could write, though it has no capability, and with it reach the machine outside.
const ROOT_COULD_WRITE: [&str; 6] = [
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/acpi",
    "/proc/fs",
    "/proc/scsi",
    "/proc/mtrr",
];

/// How often, and with what pause, bubblewrap is looked at while it is tried.
const TRIES: u32 = 2500;
const PAUSE: Duration = Duration::from_millis(2);

/// Looks for bubblewrap on `path`, the variable's value.
pub(super) fn find(path: &OsStr) -> Result<PathBuf, String> {
    let found = std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("bwrap"))
        .find(|program| program.is_file() && access(program, AccessFlags::X_OK).is_ok());
    let Some(program) = found else {
        return Err(
            "bubblewrap (the program bwrap) is not installed, or not on PATH; fix: install the package bubblewrap"
                .to_owned(),
        );
    };
    check_script(&program)
        .map(|program| program.path)
        .map_err(|fault| format!("bubblewrap is not used: {fault}"))
}

/// Tries bubblewrap, with all that a script gets.
pub(super) fn probe(bubblewrap: PathBuf) -> Result<PathBuf, String> {
    let tried = try_out(&bubblewrap).map_err(|error| format!("bubblewrap was not tried: {error}"));
    match tried? {
        None => Ok(bubblewrap),
        Some(words) => Err(advice(&words)),
    }
}

/// Runs bubblewrap within itself: it is there, it needs little, and says only its version. What it said if it failed.
fn try_out(bubblewrap: &Path) -> io::Result<Option<String>> {
    let temporary = tempfile::tempdir()?;
    let confinement = Confinement {
        level: Isolation::Namespaces,
        network: Network::Off,
        bubblewrap: Some(bubblewrap.to_owned()),
        readable: Vec::new(),
        writable: Vec::new(),
        own: Vec::new(),
        hidden: Vec::new(),
        temporary: temporary.path().to_owned(),
        home: temporary.path().to_owned(),
    };
    let program = Program {
        script: bubblewrap,
        arguments: &["--version".to_owned()],
        environment: &BTreeMap::new(),
        folder: Path::new("/"),
    };
    let (mut output, input) = io::pipe()?;
    let mut started = confinement.spawn_in_namespaces(&program, input)?;
    let mut left = TRIES;
    let status = loop {
        if let Some(status) = started.child.try_wait()? {
            break status;
        }
        if left == 0 {
            started.child.kill()?;
            started.child.wait()?;
            return Ok(Some("it does not come to an end".to_owned()));
        }
        left -= 1;
        thread::sleep(PAUSE);
    };
    let mut said = Vec::new();
    output.read_to_end(&mut said)?;
    Ok((!status.success()).then(|| reason(&said)))
}

/// What bubblewrap says of itself while it sets up.
pub(super) struct Setup {
    status: File,
    said: Vec<u8>,
}

impl Setup {
    fn read(&mut self) {
        // Never waits: bubblewrap may not have said anything yet.
        let _ = self.status.read_to_end(&mut self.said);
    }

    fn has(&mut self, key: &str) -> Option<i32> {
        self.read();
        let documents = serde_json::Deserializer::from_slice(&self.said);
        let mut documents = documents.into_iter::<serde_json::Value>().flatten();
        let value = documents.find_map(|document| document.get(key)?.as_i64());
        value.and_then(|value| value.try_into().ok())
    }

    /// Whether bubblewrap, which has exited, did so before the script began. If it was killed, this says nothing: it then
    /// had no time to say how the script ended.
    pub(super) fn failed(&mut self) -> bool {
        self.has("exit-code").is_none()
    }
}

/// What bubblewrap gave as the reason, without the paths that it names: `said` is all that came out.
pub(super) fn reason(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let last = said.lines().rev().find(|line| line.starts_with("bwrap: "));
    let words = last.unwrap_or("bwrap: it said nothing").split(' ');
    let words: Vec<&str> = words
        .map(|word| if word.starts_with('/') { "…" } else { word })
        .collect();
    words.join(" ")
}

impl Confinement {
    /// Starts `program` within bubblewrap.
    pub(super) fn spawn_in_namespaces(
        &self,
        program: &Program<'_>,
        output: io::PipeWriter,
    ) -> io::Result<Started> {
        let bubblewrap = self.bubblewrap.as_ref();
        let bubblewrap = bubblewrap.ok_or(io::ErrorKind::Unsupported)?;
        let mut options = File::from(memfd_create("options", MFdFlags::MFD_CLOEXEC)?);
        for option in self.options(program)? {
            options.write_all(option.as_bytes())?;
            options.write_all(&[0])?;
        }
        options.rewind()?;
        let (status, said) = io::pipe()?;
        fcntl(&status, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // The keeper has one thread, so no other child can inherit these.
        hand_over(&options)?;
        hand_over(&said)?;
        let child = Command::new(bubblewrap)
            .arg("--args")
            .arg(options.as_raw_fd().to_string())
            .arg("--json-status-fd")
            .arg(said.as_raw_fd().to_string())
            .arg("--")
            .arg(SCRIPT)
            .args(program.arguments)
            .env_clear()
            .envs(program.environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()?;
        let setup = Setup {
            status: File::from(std::os::fd::OwnedFd::from(status)),
            said: Vec::new(),
        };
        let around = Around { setup: Some(setup) };
        Ok(Started { child, around })
    }

    fn options(&self, program: &Program<'_>) -> io::Result<Vec<OsString>> {
        let user = if geteuid().is_root() {
            User::Root
        } else {
            User::Other
        };
        let resolver = PathBuf::from("/etc/resolv.conf");
        let mut readable = self.readable.clone();
        // Often a link into /run, of which nothing else is shown.
        if self.network == Network::On && resolver.exists() {
            readable.push(resolver);
        }
        let home = program.environment.get("HOME").map(Path::new);
        let mut places = plan::plan(&Wanted {
            readable: &readable,
            writable: &self.writable,
            hidden: &self.hidden,
            temporary: &self.temporary,
            home: home.map(|place| (place, self.home.as_path())),
            user,
        })?;
        let mut options = Options::default();
        options.all(&[
            "--unshare-user",
            "--disable-userns",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--new-session",
            "--die-with-parent",
            "--cap-drop",
            "ALL",
            "--hostname",
            "pybots",
        ]);
        if self.network != Network::On {
            options.all(&["--unshare-net"]);
        }
        if places.remove(Path::new("/")).is_some() {
            options.all(&["--ro-bind", "/", "/"]);
        }
        options.all(&["--proc", "/proc", "--dev", "/dev"]);
        options.all(&["--size", &SHARED_MEMORY.to_string()]);
        options.all(&["--tmpfs", "/dev/shm", "--tmpfs", "/run"]);
        if user == User::Root {
            for path in ROOT_COULD_WRITE
                .into_iter()
                .filter(|path| fs::exists(path).unwrap_or(false))
            {
                options.all(&["--ro-bind", path, path]);
            }
        }
        for (path, mount) in &places {
            options.mount(path, mount);
        }
        options.path("--ro-bind", program.script);
        options.all(&[SCRIPT]);
        // Only now: mounting makes folders in what is empty.
        let hidden = places
            .iter()
            .filter(|(_, mount)| **mount == Mount::Hidden)
            .map(|(path, _)| path.as_path());
        for path in hidden.chain(["/dev", "/run", "/"].map(Path::new)) {
            options.path("--remount-ro", path);
        }
        options.path("--chdir", program.folder);
        Ok(options.0)
    }
}

/// Lets a child inherit it.
fn hand_over(descriptor: impl AsFd) -> nix::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())).map(drop)
}

#[derive(Default)]
struct Options(Vec<OsString>);

impl Options {
    fn all(&mut self, options: &[&str]) {
        self.0.extend(options.iter().map(OsString::from));
    }

    fn path(&mut self, option: &str, path: &Path) {
        self.0.push(option.into());
        self.0.push(path.into());
    }

    fn mount(&mut self, path: &Path, mount: &Mount) {
        let source = match mount {
            Mount::Hidden => return self.path("--tmpfs", path),
            Mount::Read | Mount::Write | Mount::Pin => path,
            Mount::Covered => Path::new("/dev/null"),
            Mount::Instead(folder) | Mount::Link(folder) => folder,
        };
        let option = match mount {
            Mount::Read | Mount::Covered | Mount::Hidden => "--ro-bind",
            Mount::Write | Mount::Pin | Mount::Instead(_) => "--bind",
            Mount::Link(_) => "--symlink",
        };
        self.path(option, source);
        self.0.push(path.into());
    }
}

/// What an owner can do about what bubblewrap said when it was tried.
fn advice(words: &str) -> String {
    let setting = |path: &str| fs::read_to_string(path).ok();
    let is = |path: &str, value: &str| setting(path).is_some_and(|text| text.trim() == value);
    let fix = if words.contains("Unknown option") {
        "it is older than 0.8; fix: install a newer bubblewrap"
    } else if is(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ) {
        "user namespaces are forbidden here by AppArmor; fix: give bwrap a profile that allows userns (aa-status lists \
         them), or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "user namespaces are forbidden here; fix: sysctl kernel.unprivileged_userns_clone=1"
    } else if is("/proc/sys/user/max_user_namespaces", "0") {
        "user namespaces are forbidden here; fix: sysctl user.max_user_namespaces=10000"
    } else if words.contains("roc") && words.contains("mount") {
        "inside a container the container must allow it (for docker: --security-opt systempaths=unconfined)"
    } else {
        "user namespaces may be forbidden here, as they are inside most containers"
    };
    format!("bubblewrap does not work: {words}; {fix}")
}
