//! The build, and the environment of packages made with it.

use std::fs;

use crate::machine::{Machine, python};

const ANEW: &str = "configuring, and building from nothing";

#[test]
fn the_new_binary_says_who_it_is_and_from_which_revision() {
    let mut machine = Machine::new();
    let revision = machine.check_in_trunk();
    machine.run("update_python.sh").ended(0);
    let said = machine.run("build_python.sh").ended(0);
    let binary = fs::canonicalize(machine.path("workspace/python/build/python")).unwrap();
    assert!(
        said.contains(&format!("as {}\n", binary.display())),
        "{said}"
    );
    assert!(said.contains("built 3."), "{said}");
    assert!(
        said.ends_with(&format!("from revision {revision}\n")),
        "{said}"
    );
}

#[test]
fn a_second_build_makes_only_what_changed() {
    let mut machine = Machine::new();
    machine.run("update_python.sh").ended(0);
    let said = machine.run("build_python.sh").ended(0);
    for made in [
        ANEW,
        "linking python",
        "compiling shouting",
        "compiling whispering",
    ] {
        assert!(said.contains(made), "{made}: {said}");
    }
    machine.write(
        "trunk/Lib/whispering.py",
        "def whisper(text):\n    return '...'\n",
    );
    machine.check_in_trunk();
    machine.run("update_python.sh").ended(0);
    let said = machine.run("build_python.sh").ended(0);
    assert!(said.contains("compiling whispering"), "{said}");
    for kept in [ANEW, "configured", "linking python", "compiling shouting"] {
        assert!(!said.contains(kept), "{kept}: {said}");
    }
}

#[test]
fn configure_runs_again_when_its_options_or_its_inputs_changed() {
    let mut machine = Machine::new();
    machine.run("update_python.sh").ended(0);
    machine.run("build_python.sh").ended(0);
    machine.set("CONFIGURE_OPTIONS", "--with-word=loud");
    let said = machine.run("build_python.sh").ended(0);
    assert!(
        said.contains(ANEW) && said.contains("configured with the word loud"),
        "{said}"
    );
    assert!(!machine.run("build_python.sh").ended(0).contains(ANEW));

    for input in ["configure", "configure.ac", "Makefile.pre.in"] {
        let text = fs::read_to_string(machine.path("trunk").join(input)).unwrap_or_default();
        machine.write(&format!("trunk/{input}"), &format!("{text}\n# changed\n"));
        machine.check_in_trunk();
        machine.run("update_python.sh").ended(0);
        assert!(
            machine.run("build_python.sh").ended(0).contains(ANEW),
            "{input}"
        );
        assert!(
            !machine.run("build_python.sh").ended(0).contains(ANEW),
            "{input}"
        );
    }
}

#[test]
fn what_an_older_build_left_never_counts_against_a_change() {
    let machine = Machine::new();
    machine.run("update_python.sh").ended(0);
    machine.run("build_python.sh").ended(0);
    machine.write("workspace/python/build/Makefile", "all:\n\texit 3\n");
    let said = machine.run("build_python.sh").ended(0);
    assert!(said.contains("once more from nothing"), "{said}");
    assert!(said.contains("from revision"), "{said}");
}

#[test]
fn a_trunk_that_does_not_build_fails_whatever_its_programs_end_with() {
    let mut machine = Machine::new();
    machine.write("trunk/Lib/whispering.py", "def whisper(:\n");
    machine.check_in_trunk();
    machine.run("update_python.sh").ended(0);
    let said = machine.run("build_python.sh").ended(1);
    assert!(said.contains("SyntaxError"), "{said}");
    for status in [75, 77] {
        machine.write("trunk/configure", &format!("#!/bin/sh\nexit {status}\n"));
        machine.check_in_trunk();
        machine.run("update_python.sh").ended(0);
        machine.run("build_python.sh").ended(1);
    }
}

#[test]
fn what_the_machine_lacks_is_not_the_changes_fault() {
    let mut machine = Machine::new();
    let said = machine.run("build_python.sh").ended(75);
    assert!(said.contains("no trunk in the workspace"), "{said}");
    let said = machine.run("prepare_packages.sh").ended(75);
    assert!(said.contains("no Python in the workspace"), "{said}");
    let said = machine.run("run_tests.py").ended(75);
    assert!(said.contains("map the steps before this one"), "{said}");
    machine.run("update_python.sh").ended(0);
    machine.set("CC", "no-such-compiler -O2");
    let said = machine.run("build_python.sh").ended(75);
    assert!(said.contains("no no-such-compiler on PATH"), "{said}");
    machine.set("CC", "cc");
    machine.set("MEGABYTES_NEEDED", "999999999");
    let said = machine.run("build_python.sh").ended(75);
    assert!(said.contains("MB free"), "{said}");
    machine.set("MEGABYTES_NEEDED", "1");
    machine.run("build_python.sh").ended(0);
    machine.variable("PYBOTS_PROJECT", "bar");
    let said = machine.run("prepare_packages.sh").ended(75);
    assert!(said.contains("requirements-bar.txt is missing"), "{said}");
}

/// A wheel of package `needed`, made by hand.
fn wheel(machine: &Machine) {
    let program = "import sys, zipfile\n\
        with zipfile.ZipFile(sys.argv[1], 'w') as wheel:\n    \
        info = 'needed-1.0.dist-info/'\n    \
        wheel.writestr('needed.py', 'word = 1')\n    \
        wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: needed\\nVersion: 1.0\\n')\n    \
        wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n    \
        wheel.writestr(info + 'RECORD', '')\n";
    fs::create_dir(machine.path("wheels")).unwrap();
    python(
        program,
        &[&machine.text("wheels/needed-1.0-py3-none-any.whl")],
    );
}

#[test]
fn packages_are_prepared_once_and_anew_when_the_binary_or_the_list_changed() {
    let mut machine = Machine::prepared();
    machine.write("foo/test.py", "import needed\n");
    machine.check_in_foo();
    let said = machine.run("prepare_packages.sh").ended(0);
    assert!(
        said.contains("neither the binary nor the list has changed"),
        "{said}"
    );
    machine.run("run_tests.py").ended(1);

    wheel(&machine);
    let wheels = machine.text("wheels");
    machine.variable("PIP_NO_INDEX", "1");
    machine.variable("PIP_FIND_LINKS", &wheels);
    machine.write(
        "scripts/requirements-foo.txt",
        "--only-binary :all:\nneeded\n",
    );
    let said = machine.run("prepare_packages.sh").ended(0);
    assert!(said.contains("Successfully installed needed-1.0"), "{said}");
    machine.run("run_tests.py").ended(0);

    machine.set("CONFIGURE_OPTIONS", "--with-word=loud");
    machine.run("build_python.sh").ended(0);
    machine.write("cache/pip-foo-linux/wheels/built-by-an-older-python", "");
    let said = machine.run("prepare_packages.sh").ended(0);
    assert!(said.contains("Successfully installed needed-1.0"), "{said}");
    assert!(!machine.path("cache/pip-foo-linux/wheels").exists());
}

#[test]
fn a_package_that_cannot_be_had_is_the_networks_fault_and_is_tried_again_next_time() {
    let mut machine = Machine::built();
    machine.write("scripts/requirements-foo.txt", "needed\n");
    machine.variable("PIP_RETRIES", "0");
    machine.variable("PIP_INDEX_URL", "http://127.0.0.1:1/simple");
    let said = machine.run("prepare_packages.sh").ended(75);
    assert!(said.contains("pip could not get what"), "{said}");
    assert!(!machine.path("workspace/venv/made-for").exists());
}

#[test]
fn a_package_that_cannot_be_built_with_the_new_python_fails() {
    let mut machine = Machine::built();
    machine.variable("PIP_NO_INDEX", "1");
    machine.write(
        "needed/pyproject.toml",
        "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
    );
    machine.write("needed/backend.py", "raise SystemExit(75)\n");
    machine.write("scripts/requirements-foo.txt", &machine.text("needed"));
    machine.run("prepare_packages.sh").ended(1);
}
