//! `pybots slave install`: what it writes, what systemd thinks of that, and that nothing happens unasked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::process::{PYBOTS, succeed};

/// The highest exposure that `systemd-analyze security` may give, in tenths.
const OF_SYSTEM: u32 = 37;
const OF_USER: u32 = 49;

/// A slave's folder, and a home of its own without a systemd that answers.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
        let slave = home.0.path().join("slave");
        let slave = slave.to_str().unwrap();
        let bus = "nats://127.0.0.1:4222";
        let init = [
            "slave", "init", "--name", "maple", "--farm", farm, "--bus", bus,
        ];
        succeed(&[&init[..], &["--builder", "foo-linux", "--dir", slave]].concat());
        home.systemd("exit 1");
        home
    }

    /// A systemctl and a loginctl that put their arguments on record, and then do as `body` says.
    fn systemd(&self, body: &str) {
        let folder = self.0.path().join("bin");
        fs::create_dir_all(&folder).unwrap();
        let given = self.0.path().join("given");
        for name in ["systemctl", "loginctl"] {
            let text = format!(
                "#!/bin/sh\necho {name} \"$@\" >> {}\n{body}\n",
                given.display()
            );
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn given(&self) -> String {
        fs::read_to_string(self.0.path().join("given")).unwrap_or_default()
    }

    fn unit(&self) -> PathBuf {
        self.0
            .path()
            .join("config/systemd/user/pybots-slave.service")
    }

    fn install(&self, arguments: &[&str]) -> Output {
        let config = self.0.path().join("slave/slave.toml");
        let path = format!("{}:/usr/bin:/bin", self.0.path().join("bin").display());
        let mut command = Command::new(PYBOTS);
        command
            .args(["slave", "install", "--config"])
            .arg(config)
            .args(arguments)
            .env("XDG_CONFIG_HOME", self.0.path().join("config"))
            .env("PATH", path)
            .stdin(Stdio::null());
        command.output().unwrap()
    }
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

#[test]
fn without_a_terminal_and_without_yes_the_unit_is_shown_and_not_written() {
    let home = Home::new();
    let output = home.install(&["--user"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("KillMode=process"), "shown first: {said}");
    assert!(said.contains("Nothing was written"), "{said}");
    assert!(!home.unit().exists());
    assert_eq!(home.given(), "");
}

#[test]
fn a_unit_is_written_and_started_and_what_was_changed_in_it_is_shown() {
    let home = Home::new();
    home.systemd("echo inactive");
    let printed = text(&home.install(&["--user", "--print"]).stdout);
    assert!(!home.unit().exists());
    let output = home.install(&["--user", "--yes"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(home.unit()).unwrap(), printed);
    let given = home.given();
    let steps: Vec<&str> = given.lines().skip(1).collect();
    let expected = [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now --no-block pybots-slave.service",
        "loginctl enable-linger",
    ];
    assert_eq!(steps, expected);

    let own = printed.replace("Nice=10", "Nice=19");
    fs::write(home.unit(), &own).unwrap();
    let output = home.install(&["--user"]);
    let said = text(&output.stderr);
    assert!(said.contains("-Nice=19\n  +Nice=10\n"), "{said}");
    assert!(!said.contains("RestartSec"), "only what differs: {said}");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read_to_string(home.unit()).unwrap(), own, "left alone");

    assert!(home.install(&["--user", "--yes"]).status.success());
    assert_eq!(fs::read_to_string(home.unit()).unwrap(), printed);
    assert!(
        home.given()
            .contains("systemctl --user restart --no-block pybots-slave.service\n")
    );
}

#[test]
fn where_no_systemd_answers_the_unit_is_written_and_the_commands_are_told() {
    let home = Home::new();
    let output = home.install(&["--user", "--yes"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(home.unit().exists());
    let said = text(&output.stderr);
    assert!(
        said.contains("systemctl --user enable --now --no-block pybots-slave.service"),
        "{said}"
    );
    assert_eq!(home.given().lines().count(), 1, "asked, and no more");
}

fn analyze(arguments: &[&str], unit: &Path) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg(unit).output().unwrap()
}

#[test]
fn systemd_understands_the_units_and_finds_them_little_exposed() {
    let home = Home::new();
    for (scope, most) in [("--system", OF_SYSTEM), ("--user", OF_USER)] {
        let output = home.install(&[scope, "--print"]);
        let unit = home.0.path().join("pybots-slave.service");
        fs::write(&unit, output.stdout).unwrap();
        let verified = analyze(&["verify"], &unit);
        let said = text(&verified.stderr);
        assert!(verified.status.success(), "{said}");
        // Known since 254; what is older says that it leaves it out.
        let of_ours = said
            .lines()
            .filter(|line| line.contains("pybots-slave.service:"));
        let unknown: Vec<&str> = of_ours
            .filter(|line| !line.contains("DelegateSubgroup"))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let threshold = format!("--threshold={most}");
        let judged = ["security", "--offline=yes", "--no-pager", &threshold];
        let judged = analyze(&judged, &unit);
        assert!(judged.status.success(), "{}", text(&judged.stdout));
    }
}

#[test]
fn systemd_understands_the_units_for_those_who_install_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd");
    let mut seen = 0;
    for unit in fs::read_dir(units).unwrap() {
        let unit = unit.unwrap();
        let name = unit.file_name().into_string().unwrap();
        let written = fs::read_to_string(unit.path()).unwrap();
        let copy = folder.path().join(&name);
        fs::write(&copy, written.replace("/usr/local/bin/pybots", PYBOTS)).unwrap();
        let verified = analyze(&["verify"], &copy);
        let said = said_of(&verified, &name);
        assert!(verified.status.success(), "{said:?}");
        assert!(said.is_empty(), "{said:?}");
        let threshold = format!("--threshold={OF_SYSTEM}");
        let judged = ["security", "--offline=yes", "--no-pager", &threshold];
        let judged = analyze(&judged, &copy);
        assert!(judged.status.success(), "{name}: {}", text(&judged.stdout));
        seen += 1;
    }
    assert_eq!(seen, 4);
}

/// What systemd says of the unit itself, but for a setting that only newer ones know.
fn said_of(output: &Output, name: &str) -> Vec<String> {
    let of_ours = format!("{name}:");
    let said = text(&output.stderr);
    let said = said.lines().filter(|line| line.contains(&of_ours));
    let said = said.filter(|line| !line.contains("DelegateSubgroup"));
    said.map(str::to_owned).collect()
}
