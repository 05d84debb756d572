//! The checkout of the sample farm, which a newcomer may well copy.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::machine::{Machine, Ran, git};

const CHECKOUT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/deploy/sample/scripts/checkout.sh"
);

/// Checks the trunk of `machine` out at `revision`, from `url`.
fn checkout(machine: &Machine, url: &str, revision: &str) -> Ran {
    let output = Command::new("/bin/sh")
        .args([
            "-c",
            "exec 2>&1; . \"$0\"; checkout python \"$1\" \"$2\" \"$3\" main",
        ])
        .args([CHECKOUT, url, revision, &machine.text("workspace/trunk")])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("PYBOTS_BUILDER", "foo-linux")
        .env("PYBOTS_CACHE", machine.path("cache"))
        .current_dir(machine.path("workspace"))
        .output()
        .unwrap();
    Ran {
        status: output.status.code(),
        said: String::from_utf8_lossy(&output.stdout).into_owned(),
    }
}

#[test]
fn a69_a70_the_samples_checkout_takes_no_option_no_ref_and_no_program_for_an_address() {
    let machine = Machine::new();
    let trunk = machine.text("trunk");
    let revision = git(&machine.path("trunk"), &["rev-parse", "HEAD"]);
    let pwned = machine.path("pwned");
    for url in [
        format!("ext::sh -c touch% {}", pwned.display()),
        format!("--upload-pack=touch {}", pwned.display()),
        format!("ssh://-oProxyCommand=touch${{IFS}}{}/x", pwned.display()),
    ] {
        checkout(&machine, &url, &revision).ended(75);
    }
    for bad in ["main", "HEAD", "--output=x", &revision[..12], ""] {
        let said = checkout(&machine, &trunk, bad).ended(75);
        assert!(said.contains("not a full commit hash"), "{bad}: {said}");
    }
    assert!(!pwned.exists());
    checkout(&machine, &trunk, &revision).ended(0);
}

#[test]
fn a71_what_an_earlier_build_left_in_the_samples_mirror_runs_nothing() {
    let mut machine = Machine::new();
    let trunk = machine.text("trunk");
    let first = git(&machine.path("trunk"), &["rev-parse", "HEAD"]);
    checkout(&machine, &trunk, &first).ended(0);
    let pwned = machine.text("pwned");
    machine.write(
        "cache/python.git/hooks/reference-transaction",
        &format!("#!/bin/sh\ntouch {pwned}\n"),
    );
    let hook = machine.path("cache/python.git/hooks/reference-transaction");
    fs::set_permissions(hook, fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[filter \"evil\"]\n\tsmudge = touch {pwned}; cat\n\
         [remote \"x\"]\n\tuploadpack = touch {pwned}\n[submodule]\n\trecurse = true\n"
    );
    machine.write("cache/python.git/config", &config);
    machine.write("cache/python.git/info/attributes", "*.py filter=evil\n");
    machine.write("trunk/.gitattributes", "*.py filter=evil\n");
    machine.write("trunk/Lib/new.py", "");
    let newest = machine.check_in_trunk();
    // Another commit under the newest one's name.
    git(
        &machine.path("cache/python.git"),
        &["fetch", "--quiet", &trunk, "main"],
    );
    git(
        &machine.path("cache/python.git"),
        &["replace", &newest, &first],
    );
    let _ = fs::remove_file(&pwned);
    checkout(&machine, &trunk, &newest).ended(0);
    assert!(machine.path("workspace/trunk/Lib/new.py").exists());
    assert!(!machine.path("pwned").exists());
}
