//! The machines of README's chapters, and somebody who types there.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::{Block, REPOSITORY, read};
use crate::process::{PYBOTS, Process, eventually, git};

/// What a long-running command is marked with, and by what each is known to have got going.
const GOES_ON: &str = "    # goes on until Ctrl-C";
const GOING: [(&str, &str); 5] = [
    ("nats-server -c", "Server is ready"),
    ("pybots master run", "master leads"),
    ("pybots slave run", "bus refuses this login; trying on"),
    ("pybots status serve", "shows it"),
    ("pybots status tail", "That is all so far"),
];

/// Stand for the scripts of `deploy/scripts`, which take half an hour, a compiler and a package index. They do as little
/// with the real revision of a real repository.
const STAND_INS: [(&str, &str); 4] = [
    (
        "update_python.sh",
        "rm -rf trunk\n\
         git clone --quiet \"$(cat \"$PYBOTS_SCRIPT_DIR/upstream\")\" trunk\n\
         git -C trunk checkout --quiet --detach \"$PYBOTS_REV_PYTHON\"",
    ),
    (
        "build_python.sh",
        "cp trunk/python python && chmod +x python",
    ),
    ("prepare_packages.sh", "./python prepare"),
    ("run_tests.py", "./python test \"$PYBOTS_P_VERSION\""),
];

/// The machines, and what goes from one to another.
pub(super) struct World {
    folder: TempDir,
    /// What README leaves open, and what is typed there.
    table: Vec<(String, String)>,
    running: Vec<Process>,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let text = |name: &str| place(name).to_string_lossy().into_owned();
        make_upstream(&place("upstream"));
        for stick in ["one", "two", "three"] {
            fs::create_dir(place(stick)).unwrap();
        }
        // Held together, so that they differ.
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [port, page] = listeners.map(|listener| listener.local_addr().unwrap().port());
        let own = |from: &str, to: String| (from.to_owned(), to);
        let table = vec![
            own("bus.example.org:4222", format!("127.0.0.1:{port}")),
            own("0.0.0.0:4222", format!("0.0.0.0:{port}")),
            own("127.0.0.1:8080", format!("127.0.0.1:{page}")),
            own("https://github.com/python/cpython", text("upstream")),
            // Read from the disk, and not through the network as in README.
            own(
                "[commands.update-python]",
                format!(
                    "[isolation]\nreadable = [\"{}\"]\n\n[commands.update-python]",
                    text("upstream")
                ),
            ),
            own("/media/STICK-ONE", text("one")),
            own("/media/STICK-TWO", text("two")),
            own("/media/STICK-THREE", text("three")),
            // Both are here already: the one that was built for this test, and the one on PATH.
            own(
                "cargo install --locked --path pybots",
                "pybots --version".to_owned(),
            ),
            own(
                "pybots/deploy/get-nats-server ~/.cargo/bin",
                "nats-server --version".to_owned(),
            ),
        ];
        let world = Self {
            folder,
            table,
            running: Vec::new(),
        };
        for machine in ["operator", "maple", "elm", "anybody"] {
            world.check_out(machine);
        }
        world
    }

    fn home(&self, machine: &str) -> PathBuf {
        self.folder.path().join(machine)
    }

    /// Where somebody's shell stands on a machine.
    fn stands(&self, machine: &str) -> PathBuf {
        let record = fs::read_to_string(self.home(machine).join(".stands"));
        record.map_or_else(|_| self.home(machine), |place| place.trim().into())
    }

    /// Puts what README uses of this repository into a home folder.
    fn check_out(&self, machine: &str) {
        let deploy = self.home(machine).join("pybots/deploy");
        fs::create_dir_all(deploy.join("scripts")).unwrap();
        let config = self.typed(&read("deploy/nats-server.conf"));
        fs::write(deploy.join("nats-server.conf"), config).unwrap();
        for (name, body) in STAND_INS {
            let real = Path::new(REPOSITORY).join("deploy/scripts").join(name);
            assert!(real.is_file(), "nothing has the name {name} any more");
            let path = deploy.join("scripts").join(name);
            fs::write(&path, format!("#!/bin/sh\nset -eu\n{body}\n")).unwrap();
            // As a checkout under umask 002 has it.
            fs::set_permissions(path, fs::Permissions::from_mode(0o775)).unwrap();
        }
        let upstream = self.folder.path().join("upstream");
        fs::write(
            deploy.join("scripts/upstream"),
            upstream.to_string_lossy().as_bytes(),
        )
        .unwrap();
    }

    /// What somebody publishes and somebody else saves.
    pub(super) fn carry(&self, from: &str, file: &str, to: &str) {
        let from = self.home(from).join(file);
        let name = from.file_name().unwrap();
        fs::copy(&from, self.home(to).join(name)).unwrap();
    }

    /// README's text with the open places filled in.
    fn typed(&self, text: &str) -> String {
        let fill = |text: String, (from, to): &(String, String)| text.replace(from, to);
        self.table.iter().fold(text.to_owned(), fill)
    }

    pub(super) async fn follow(&mut self, blocks: &[Block], names: &[(&str, &str)]) {
        for block in blocks {
            let name = |text: &str| {
                let swap = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
                names.iter().fold(text.to_owned(), swap)
            };
            let machine = name(&block.machine);
            let lines: Vec<String> = block.lines.iter().map(|line| name(line)).collect();
            if block.is_file {
                self.put(&machine, &lines);
                continue;
            }
            let mut lines = lines.iter().peekable();
            while let Some(line) = lines.next() {
                let command = line.strip_prefix("$ ").expect("a command comes first");
                let mut seen = Vec::new();
                while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                    seen.push(line.as_str());
                }
                self.type_in(&machine, command, &seen).await;
            }
        }
    }

    /// Writes a file, or adds to one.
    fn put(&self, machine: &str, lines: &[String]) {
        let name = lines[0].strip_prefix("# ").expect("the file's name");
        let (name, adds) = match name.strip_suffix(", at its end") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let path = self.stands(machine).join(name);
        assert_eq!(path.exists(), adds, "{}", path.display());
        let text = fs::read_to_string(&path).unwrap_or_default();
        let more = self.typed(&lines.join("\n"));
        assert!(!more.contains('…'), "{more}");
        fs::write(&path, format!("{text}\n{more}\n")).unwrap();
    }

    async fn type_in(&mut self, machine: &str, line: &str, seen: &[&str]) {
        let command = self.typed(line);
        assert!(
            !command.contains('…'),
            "nobody knows what to type for {command}"
        );
        let seen: Vec<String> = seen.iter().map(|line| self.typed(line)).collect();
        if let Some(command) = command.strip_suffix(GOES_ON) {
            return self.start(machine, command).await;
        }
        // Whoever only looks looks again; whatever does something must do it the first time.
        let looks = ["pybots status", "pybots build"]
            .iter()
            .any(|look| command.starts_with(look));
        let output = if looks {
            eventually(&format!("{command} shows {seen:#?}"), || async {
                let output = self.shell(machine, &command);
                (output.status.success() && missing(&output, &seen).is_none()).then_some(output)
            })
            .await
        } else {
            self.shell(machine, &command)
        };
        let said = said(&output);
        assert!(output.status.success(), "on {machine}: {command}\n{said}");
        if let Some(line) = missing(&output, &seen) {
            panic!("on {machine}: {command}\nmust say: {line}\nsaid: {said}");
        }
        self.learn(&command, &String::from_utf8_lossy(&output.stdout));
    }

    /// What somebody copies from a terminal to use it elsewhere.
    fn learn(&mut self, command: &str, said: &str) {
        let said = said.trim();
        if command.starts_with("pybots keys init") {
            self.table.push(("SHA256:…".to_owned(), said.to_owned()));
        } else if command.starts_with("pybots slave init") {
            let slave = said.split(' ').next().unwrap();
            let line = format!("{slave} ed25519:… U… markupsafe-{slave} linux-…");
            self.table.push((line, said.to_owned()));
        }
    }

    async fn start(&mut self, machine: &str, command: &str) {
        let (_, going) = GOING
            .iter()
            .find(|(program, _)| command.starts_with(program))
            .unwrap_or_else(|| panic!("how is it known that this got going? {command}"));
        let home = format!("HOME={}", self.home(machine).display());
        let log = self
            .folder
            .path()
            .join(format!("{}.log", self.running.len()));
        let place = self.stands(machine);
        let line = format!("cd '{}' && exec {command}", place.display());
        let arguments = ["-u", "PYBOTS_FARM", &home, &path(), "sh", "-c", &line];
        let process = Process::start("env", &arguments, log);
        eventually(&format!("{command} says {going}"), || async {
            process.said().contains(going).then_some(())
        })
        .await;
        self.running.push(process);
    }

    /// Types a line into a shell, which then stands where the line leads.
    fn shell(&self, machine: &str, line: &str) -> Output {
        Command::new("env")
            .args(["-u", "PYBOTS_FARM", &path(), "sh", "-c"])
            .arg(format!(
                "umask 002\n{line}\nstatus=$?\npwd >\"$HOME/.stands\"\nexit $status"
            ))
            .env("HOME", self.home(machine))
            .current_dir(self.stands(machine))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Ctrl-C everywhere, the newest first.
    pub(super) fn stop(mut self) {
        while let Some(mut process) = self.running.pop() {
            let code = process.interrupt();
            assert!(
                matches!(code, Some(0 | 130)),
                "{code:?}: {}",
                process.said()
            );
        }
    }
}

/// The program under test is the `pybots` that is found first.
fn path() -> String {
    let folder = Path::new(PYBOTS).parent().unwrap();
    format!(
        "PATH={}:{}",
        folder.display(),
        std::env::var("PATH").unwrap()
    )
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The first line that README shows and nobody saw.
fn missing<'a>(output: &Output, shown: &'a [String]) -> Option<&'a String> {
    let said = said(output);
    shown
        .iter()
        .find(|shown| !said.lines().any(|line| fits(line, shown)))
}

/// Whether a line is as shown, `…` standing for anything and one space for several.
fn fits(line: &str, shown: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, shown) = (plain(line), plain(shown));
    let mut rest = line.as_str();
    let parts: Vec<&str> = shown.split('…').collect();
    for (number, part) in parts.iter().enumerate() {
        let at = match number {
            0 => rest.starts_with(part).then_some(0),
            last if last + 1 == parts.len() && !part.is_empty() => {
                rest.ends_with(part).then(|| rest.len() - part.len())
            }
            _ => rest.find(part),
        };
        let Some(at) = at else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || shown.ends_with('…')
}

/// A trunk whose Python is a shell script that stands in the tree.
fn make_upstream(folder: &Path) {
    fs::create_dir(folder).unwrap();
    fs::write(
        folder.join("python"),
        "#!/bin/sh\necho \"python says: $*\"\n",
    )
    .unwrap();
    git(folder, &["init", "--quiet", "--initial-branch=main"]);
    git(folder, &["add", "--all"]);
    let author = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
    git(
        folder,
        &[&author[..], &["commit", "--quiet", "-m", "first"]].concat(),
    );
}
