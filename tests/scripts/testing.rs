//! The project's own tests, run with the new binary.

use std::fs;

use crate::machine::{Machine, python3};

#[test]
fn a_change_that_breaks_a_project_fails_its_tests_and_mending_it_makes_them_pass() {
    let mut machine = Machine::built();
    let said = machine.run("run_tests.py").ended(0);
    assert!(said.contains("foo is fine"), "{said}");

    let good = fs::read_to_string(machine.path("trunk/Lib/shouting.py")).unwrap();
    for (text, status) in [("def cry(text):\n    return text\n", 1), (&good, 0)] {
        machine.write("trunk/Lib/shouting.py", text);
        machine.check_in_trunk();
        machine.run("update_python.sh").ended(0);
        machine.run("build_python.sh").ended(0);
        let said = machine.run("run_tests.py").ended(status);
        assert_eq!(said.contains("AttributeError"), status == 1, "{said}");
    }
}

#[test]
fn the_log_names_the_new_binary_before_anything_else() {
    let machine = Machine::built();
    let said = machine.run("run_tests.py").ended(0);
    let workspace = fs::canonicalize(machine.path("workspace")).unwrap();
    let expected = format!(
        "testing with {workspace}/venv/bin/python\nwhich is {workspace}/python/build/python\nversion 3.",
        workspace = workspace.display()
    );
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn another_interpreter_than_the_one_in_the_workspace_tests_nothing() {
    let machine = Machine::built();
    let python = machine.path("workspace/venv/bin/python");
    fs::remove_file(&python).unwrap();
    std::os::unix::fs::symlink("/bin/sh", &python).unwrap();
    let said = machine.run("run_tests.py").ended(75);
    assert!(said.contains("nothing was tested"), "{said}");
    // In the right place, yet another one answers.
    let build = fs::canonicalize(machine.path("workspace/python/build")).unwrap();
    fs::remove_file(&python).unwrap();
    std::os::unix::fs::symlink(build.join("python"), &python).unwrap();
    machine.run("run_tests.py").ended(0);
    machine.write(
        "workspace/python/build/python",
        &format!("#!/bin/sh\nexec {} \"$@\"\n", python3()),
    );
    let said = machine.run("run_tests.py").ended(75);
    assert!(
        said.contains("that is not the Python in the workspace: nothing was tested"),
        "{said}"
    );
}

#[test]
fn tests_cannot_say_errored_or_skipped_of_themselves_and_a_python_that_does_not_start_fails() {
    let mut machine = Machine::built();
    for status in [75, 77, 2] {
        machine.write("foo/test.py", &format!("raise SystemExit({status})\n"));
        machine.check_in_foo();
        machine.run("run_tests.py").ended(1);
    }
    machine.write("workspace/python/build/python", "#!/bin/sh\nexit 75\n");
    let said = machine.run("run_tests.py").ended(1);
    assert!(said.contains("does not start"), "{said}");
}

#[test]
fn the_owners_lines_run_in_order_without_a_shell_and_find_the_reports_folder() {
    let machine = Machine::built();
    let lines = "[foo]\nrepository = foo\nrun =\n    {python} -c \"import sys; print(sys.argv[1:])\" $(id) ; 'a b'\n    \
                 {python} -c \"open(r'{reports}/foo.xml', 'w')\"\n    python -c \"import os, sys; print(sys.executable, os.environ['PIP_NO_CACHE_DIR'])\"\n    {python} -c \"raise SystemExit(1)\"\n    \
                 {python} -c \"print('never')\"\n";
    machine.write("scripts/projects.ini", lines);
    let said = machine.run("run_tests.py").ended(1);
    assert!(said.contains("['$(id)', ';', 'a b']"), "{said}");
    // Console scripts of the packages are found, and pip takes no wheel that an older revision's Python built.
    assert!(said.contains("/workspace/venv/bin/python 1\n"), "{said}");
    assert!(!said.contains("\nnever"), "{said}");
    assert!(machine.path("reports/foo.xml").exists());
}

#[test]
fn a_revision_of_the_project_on_no_listed_branch_is_not_tested() {
    let mut machine = Machine::built();
    machine.variable("PYBOTS_REV_FOO", &"0".repeat(40));
    let said = machine.run("run_tests.py").ended(1);
    assert!(said.contains("is on none of the branches"), "{said}");
    machine.set("URL_FOO", &machine.text("gone"));
    machine.run("run_tests.py").ended(75);
}

#[test]
fn a_project_that_the_owner_does_not_know_is_not_tested() {
    let mut machine = Machine::built();
    machine.variable("PYBOTS_PROJECT", "bar");
    let said = machine.run("run_tests.py").ended(75);
    assert!(said.contains("has no section [bar]"), "{said}");
}
