//! The scripts that an owner maps for the real trunk, in a real slave, on the miniature of `tests/scripts`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use pybots::model::Verdict;

use crate::harness::Farm;
use crate::process::{eventually, git, now};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const STEPS: &str = r#"steps = [
    { command = "update-python", timeout-minutes = 1 },
    { command = "build-python", timeout-minutes = 1 },
    { command = "prepare-packages", timeout-minutes = 1 },
    { command = "run-tests", timeout-minutes = 1 },
]
[repositories.foo]
url = "FOO"
branches = ["main"]
poll-seconds = 1
"#;

const COMMANDS: &str = r#"[commands.update-python]
script = "scripts/update_python.sh"
[commands.build-python]
script = "scripts/build_python.sh"
[commands.prepare-packages]
script = "scripts/prepare_packages.sh"
[commands.run-tests]
script = "scripts/run_tests.py"
"#;

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            // Whatever the umask of the working copy: a slave runs no script that its group may write.
            let mode = fs::metadata(&target).unwrap().permissions().mode() & 0o755;
            fs::set_permissions(&target, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// The folder of the python3 that is really meant, which a wrapper on PATH may choose.
fn python_folder() -> String {
    let program = "import os, sys; print(os.path.dirname(sys.executable))";
    let output = Command::new("python3").args(["-c", program]).output();
    let output = output.expect("python3; tests/run installs what the tests need");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A farm whose slave maps the four scripts, and whose trunk is the miniature.
async fn farm() -> Farm {
    let farm = Farm::new().await;
    farm.check_in("first");
    copy_folder(
        &Path::new(ROOT).join("tests/scripts/trunk"),
        &farm.path("trunk"),
    );
    copy_folder(
        &Path::new(ROOT).join("deploy/scripts"),
        &farm.path("slave/scripts"),
    );
    fs::create_dir(farm.path("foo")).unwrap();
    git(
        &farm.path("foo"),
        &["init", "--quiet", "--initial-branch=main"],
    );
    let program = "import shouting\nassert shouting.shout('foo') == 'FOO!'\n";
    fs::write(farm.path("foo/test.py"), program).unwrap();
    let author = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
    git(&farm.path("foo"), &["add", "--all"]);
    git(
        &farm.path("foo"),
        &[&author[..], &["commit", "--quiet", "-m", "Foo"]].concat(),
    );

    let settings = farm.path("slave/scripts/settings.sh");
    let text = fs::read_to_string(&settings).unwrap();
    let own = format!(
        "{text}URL_PYTHON='{}' URL_FOO='{}' BRANCHES_FOO=main PROTOCOLS=file MEGABYTES_NEEDED=1\n",
        farm.text("trunk"),
        farm.text("foo")
    );
    fs::write(&settings, own).unwrap();
    fs::write(farm.path("slave/scripts/requirements-foo.txt"), "").unwrap();
    let project = "[foo]\nrepository = foo\nrun = {python} test.py\n";
    fs::write(farm.path("slave/scripts/projects.ini"), project).unwrap();

    farm.write_slave_toml(COMMANDS);
    let edit = |file: &str, replacements: &[(&str, String)]| {
        let mut text = fs::read_to_string(farm.path(file)).unwrap();
        for (from, to) in replacements {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        fs::write(farm.path(file), text).unwrap();
    };
    let kept = "[builders.foo-linux]\nworkspace = \"kept\"".to_owned();
    let path = format!("PATH = \"{}:/usr/local/bin:", python_folder());
    edit(
        "slave/slave.toml",
        &[("[builders.foo-linux]", kept), ("PATH = \"", path)],
    );
    farm.write_master_toml("");
    let sources = r#"sources = { python = "main", foo = "main" }"#.to_owned();
    let steps = STEPS.replace("FOO", &farm.text("foo"));
    edit(
        "master/master.toml",
        &[
            (r#"sources = { python = "main" }"#, sources),
            (
                r#"steps = [{ command = "record", timeout-minutes = 1 }]"#,
                steps,
            ),
        ],
    );
    farm
}

#[tokio::test]
async fn a_check_in_is_built_and_tested_by_the_four_scripts_and_the_log_names_the_new_binary() {
    let mut farm = farm().await;
    let good = fs::read_to_string(farm.path("trunk/Lib/shouting.py")).unwrap();
    let revision = farm.check_in("miniature");
    farm.start_master();
    farm.start_slave().await;
    let mut revisions = vec![revision];
    for number in 1..=3 {
        let build = format!("foo-linux/{number}").parse().unwrap();
        let expected = if number == 2 {
            Verdict::Failed
        } else {
            Verdict::Passed
        };
        let verdict = eventually("a verdict", || async {
            farm.board().await.verdict_of(&build, now())
        })
        .await;
        let workspace = farm.path("slave/state/builders/foo-linux/workspace");
        let workspace = fs::canonicalize(workspace).unwrap();
        let which = format!("which is {}/python/build/python\n", workspace.display());
        let log = eventually("the whole log", || async {
            let log = farm.log(&build).await;
            // Each step's log travels by itself.
            (log.contains("from revision") && log.contains("running ")).then_some(log)
        })
        .await;
        assert_eq!(verdict, expected, "{log}");
        assert!(log.contains(&which), "{log}");
        let from = format!("from revision {}\n", revisions[number - 1]);
        assert!(log.contains(&from), "{log}");
        assert_eq!(
            log.contains("linking python"),
            number == 1,
            "built upon: {log}"
        );

        let broken = "def cry(text):\n    return text\n";
        let text = if number == 1 { broken } else { &good };
        fs::write(farm.path("trunk/Lib/shouting.py"), text).unwrap();
        revisions.push(farm.check_in(&format!("after-{number}")));
    }
}
