//! The project's own tests, run with the new binary.

use std::fs;
use std::path::Path;

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
    let said = machine.run("run_tests.py").ended(1);
    assert!(
        said.contains("takes itself for another than the one in the workspace: nothing was tested"),
        "{said}"
    );
}

#[test]
fn a_variable_that_misleads_any_python_is_not_the_changes_fault() {
    let mut machine = Machine::built();
    let home = Path::new(&python3()).ancestors().nth(2).unwrap().to_owned();
    machine.variable("PYTHONHOME", &home.to_string_lossy());
    let said = machine.run("run_tests.py").ended(75);
    assert!(said.contains("PYTHONHOME is set"), "{said}");
}

#[test]
fn an_environment_that_the_new_python_made_wrong_fails() {
    let machine = Machine::built();
    machine.write("workspace/venv/made-for", "");
    let python = machine.path("workspace/venv/bin/python");
    fs::remove_file(&python).unwrap();
    std::os::unix::fs::symlink(python3(), &python).unwrap();
    let said = machine.run("run_tests.py").ended(1);
    assert!(said.contains("is not made by"), "{said}");
}

#[test]
fn a_project_that_takes_away_what_the_next_line_needs_fails() {
    let takes = [
        "os.remove(os.path.join(os.environ['VIRTUAL_ENV'], 'bin', 'python'))",
        "shutil.rmtree(os.getcwd())",
    ];
    let machine = Machine::built();
    for taken in takes {
        let lines = format!(
            "[foo]\nrepository = foo\nrun =\n    {{python}} -c \"import os, shutil; {taken}\"\n    {{python}} test.py\n"
        );
        machine.write("scripts/projects.ini", &lines);
        let python = machine.path("workspace/venv/bin/python");
        let link = fs::read_link(&python).unwrap();
        let said = machine.run("run_tests.py").ended(1);
        assert!(said.contains("cannot be run"), "{taken}: {said}");
        let _ = fs::remove_file(&python);
        std::os::unix::fs::symlink(link, &python).unwrap();
    }
}

#[test]
fn a_first_line_that_cannot_be_run_fails_if_the_project_brings_the_program_along() {
    let machine = Machine::built();
    for (program, status) in [("./test", 1), ("no-such-program", 75)] {
        let lines = format!("[foo]\nrepository = foo\nrun = {program}\n");
        machine.write("scripts/projects.ini", &lines);
        let said = machine.run("run_tests.py").ended(status);
        assert!(said.contains("cannot be run"), "{said}");
    }
}

#[test]
fn tests_cannot_say_errored_or_skipped_of_themselves_and_a_python_that_does_not_start_fails() {
    let mut machine = Machine::built();
    for status in [75, 77, 2] {
        machine.write("foo/test.py", &format!("raise SystemExit({status})\n"));
        machine.check_in_foo();
        machine.run("fetch_project.py").ended(0);
        machine.run("run_tests.py").ended(1);
    }
    let broken = [
        "#!/bin/sh\nexit 75\n",
        "#!/bin/sh\necho nothing else\n",
        "#!/no/such/program\n",
    ];
    for broken in broken {
        machine.write("workspace/python/build/python", broken);
        let said = machine.run("run_tests.py").ended(1);
        assert!(said.contains("the new Python does not start"), "{said}");
        assert!(!said.contains("Traceback"), "{said}");
    }
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
fn a_revision_of_the_project_on_no_listed_branch_is_not_fetched_and_nothing_older_is_tested() {
    let mut machine = Machine::built();
    machine.variable("PYBOTS_REV_FOO", &"0".repeat(40));
    let said = machine.run("fetch_project.py").ended(1);
    assert!(said.contains("is on none of the branches"), "{said}");
    let said = machine.run("run_tests.py").ended(75);
    assert!(said.contains("no project was fetched"), "{said}");
    machine.set("URL_FOO", &machine.text("gone"));
    machine.run("fetch_project.py").ended(75);
}

#[test]
fn nothing_outside_of_the_workspace_is_tested() {
    let machine = Machine::built();
    for elsewhere in ["../foo", "/", ""] {
        machine.write("workspace/project.fetched", elsewhere);
        let said = machine.run("run_tests.py").ended(1);
        assert!(said.contains("is not in the workspace"), "{said}");
    }
    machine.write("workspace/project.fetched", "gone");
    let said = machine.run("run_tests.py").ended(75);
    assert!(said.contains("is not there any more"), "{said}");
}

#[test]
fn a_project_that_the_owner_does_not_know_is_not_tested() {
    let mut machine = Machine::built();
    machine.variable("PYBOTS_PROJECT", "bar");
    for script in ["fetch_project.py", "run_tests.py"] {
        let said = machine.run(script).ended(75);
        assert!(said.contains("has no section [bar]"), "{said}");
    }
}
