//! An owner's machine: the scripts with the owner's settings, a trunk, a project, and runs of the scripts in the
//! environment that a slave gives them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use tempfile::TempDir;

/// What a script may use: the folder of the python3 that is really meant, then the usual ones.
static PATH: LazyLock<String> = LazyLock::new(|| {
    let output = Command::new("python3")
        .args([
            "-c",
            "import os, sys; print(os.path.dirname(sys.executable))",
        ])
        .output()
        .expect("python3; tests/run installs what the tests need");
    let found = String::from_utf8(output.stdout).unwrap();
    format!("{}:/usr/local/bin:/usr/bin:/bin", found.trim())
});

const TRUNK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/trunk");
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/scripts");

pub(crate) struct Machine {
    folder: TempDir,
    environment: BTreeMap<String, String>,
}

/// How a script ended, and all that it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) said: String,
}

impl Ran {
    /// Asserts how it ended, showing what it said.
    #[track_caller]
    pub(crate) fn ended(self, status: i32) -> String {
        assert_eq!(self.status, Some(status), "{}", self.said);
        self.said
    }
}

impl Machine {
    /// A machine whose owner allows the branch main of the trunk and of project Foo. Both have a first commit.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["workspace", "cache", "reports", "scripts", "trunk", "foo"] {
            fs::create_dir(path(name)).unwrap();
        }
        copy_folder(Path::new(TRUNK), &path("trunk"));
        copy_folder(Path::new(SCRIPTS), &path("scripts"));
        let machine = Self {
            folder,
            environment: BTreeMap::new(),
        };
        machine.set("PROTOCOLS", "file");
        machine.set("MEGABYTES_NEEDED", "1");
        machine.set("JOBS", "2");
        for (repository, name) in [("trunk", "PYTHON"), ("foo", "FOO")] {
            git(
                &machine.path(repository),
                &["init", "--quiet", "--initial-branch=main"],
            );
            machine.set(&format!("URL_{name}"), &machine.text(repository));
            machine.set(&format!("BRANCHES_{name}"), "main");
        }
        machine.write("scripts/requirements-foo.txt", "");
        machine.write(
            "scripts/projects.ini",
            "[foo]\nrepository = foo\nrun = {python} test.py\n",
        );
        machine.write("foo/test.py", FOO_TEST);
        let mut machine = machine;
        machine.check_in_trunk();
        machine.check_in_foo();
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// A line that the owner adds to settings.sh, where the last one counts.
    pub(crate) fn set(&self, name: &str, value: &str) {
        let settings = fs::read_to_string(self.path("scripts/settings.sh")).unwrap();
        self.write(
            "scripts/settings.sh",
            &format!("{settings}{name}='{value}'\n"),
        );
    }

    /// Lets project Foo be tested as released at that index.
    pub(crate) fn index(&self, address: &str) {
        let project =
            format!("[foo]\npackage = Foo\nindex = {address}\nrun = {{python}} test.py\n");
        self.write("scripts/projects.ini", &project);
    }

    /// A variable that the command or the owner's `[environment]` brings along.
    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Commits what the trunk's folder holds; the next command names that revision.
    pub(crate) fn check_in_trunk(&mut self) -> String {
        let revision = commit(&self.path("trunk"));
        self.variable("PYBOTS_REV_PYTHON", &revision);
        revision
    }

    pub(crate) fn check_in_foo(&mut self) {
        let revision = commit(&self.path("foo"));
        self.variable("PYBOTS_REV_FOO", &revision);
    }

    /// Runs a script as a slave's keeper does: a copy of it, nothing on its command line, no environment but the slave's.
    pub(crate) fn run(&self, script: &str) -> Ran {
        let copy = self.path("script");
        let _ = fs::remove_file(&copy);
        fs::copy(self.path("scripts").join(script), &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o500)).unwrap();
        // One shell, so that both outputs go to one pipe and keep their order.
        let output = Command::new("/bin/sh")
            .args(["-c", "exec \"$0\" 2>&1"])
            .arg(&copy)
            .env_clear()
            .env("PATH", &*PATH)
            .env("PYBOTS_BUILD", "foo-linux/1")
            .env("PYBOTS_BUILDER", "foo-linux")
            .env("PYBOTS_PROJECT", "foo")
            .env("PYBOTS_WORKSPACE", self.path("workspace"))
            .env("PYBOTS_CACHE", self.path("cache"))
            .env("PYBOTS_REPORTS", self.path("reports"))
            .env("PYBOTS_SCRIPT_DIR", self.path("scripts"))
            .env("PYBOTS_BRANCH_PYTHON", "main")
            .envs(&self.environment)
            .current_dir(self.path("workspace"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran {
            status: output.status.code(),
            said: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }

    /// With the trunk built, the project fetched, and an environment of it in which there is no pip: that takes long, and few tests need it.
    pub(crate) fn built() -> Self {
        let machine = Self::new();
        machine.run("update_python.sh").ended(0);
        machine.run("build_python.sh").ended(0);
        let workspace = fs::canonicalize(machine.path("workspace")).unwrap();
        let venv = Command::new(workspace.join("python/build/python"))
            .args(["-m", "venv", "--without-pip"])
            .arg(workspace.join("venv"))
            .status();
        assert!(venv.unwrap().success());
        machine.run("fetch_project.py").ended(0);
        machine
    }

    /// The steps up to the tests, all of them passed.
    pub(crate) fn prepared() -> Self {
        let machine = Self::new();
        for script in ["update_python.sh", "build_python.sh", "prepare_packages.sh"] {
            machine.run(script).ended(0);
        }
        machine
    }
}

const FOO_TEST: &str =
    "import shouting\nassert shouting.shout('foo') == 'FOO!'\nprint('foo is fine')\n";

pub(crate) fn commit(repository: &Path) -> String {
    git(repository, &["add", "--all"]);
    let commit = [
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@example.org",
        "commit",
        "--quiet",
    ];
    git(
        repository,
        &[&commit[..], &["--allow-empty", "-m", "A change"]].concat(),
    );
    git(repository, &["rev-parse", "HEAD"])
}

pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git; tests/run installs what the tests need");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The python3 that the scripts find, by its whole name.
pub(crate) fn python3() -> String {
    let folder = PATH.split(':').next().unwrap_or_default();
    format!("{folder}/python3")
}

/// Runs a little Python program, with `arguments`.
pub(crate) fn python(program: &str, arguments: &[&str]) {
    let status = Command::new("python3")
        .arg("-c")
        .arg(program)
        .args(arguments)
        .status();
    assert!(status.unwrap().success());
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
