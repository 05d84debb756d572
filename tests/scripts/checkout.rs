//! What is checked out, and what is not.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::machine::{Machine, commit, git};

const SOURCE: &str = "workspace/python/source";

#[test]
fn the_commanded_revision_is_checked_out_and_not_the_newest() {
    let mut machine = Machine::new();
    machine.write("trunk/Lib/late.py", "");
    let newest = machine.check_in_trunk();
    let first = git(&machine.path("trunk"), &["rev-parse", "HEAD~"]);
    machine.variable("PYBOTS_REV_PYTHON", &first);
    let said = machine.run("update_python.sh").ended(0);
    assert!(
        said.contains(&format!("checked out python at {first}, on branch main")),
        "{said}"
    );
    assert!(!machine.path(SOURCE).join("Lib/late.py").exists());

    machine.variable("PYBOTS_REV_PYTHON", &newest);
    machine.run("update_python.sh").ended(0);
    assert!(machine.path(SOURCE).join("Lib/late.py").exists());
}

#[test]
fn a_kept_tree_loses_what_was_left_and_changed_in_it_and_files_that_are_the_same_keep_their_time() {
    let mut machine = Machine::new();
    machine.run("update_python.sh").ended(0);
    let source = machine.path(SOURCE);
    let written = |name: &str| {
        let file = fs::metadata(source.join(name)).unwrap();
        (file.mtime(), file.mtime_nsec(), file.ino())
    };
    let before = written("Lib/whispering.py");
    fs::write(source.join("Lib/shouting.py"), "changed by a test").unwrap();
    fs::create_dir(source.join("left")).unwrap();
    fs::write(source.join("left/over.py"), "").unwrap();
    fs::create_dir_all(source.join("nested/.git")).unwrap();
    machine.write("trunk/configure.ac", "new");
    machine.check_in_trunk();
    machine.run("update_python.sh").ended(0);
    assert_eq!(written("Lib/whispering.py"), before);
    assert!(
        fs::read_to_string(source.join("Lib/shouting.py"))
            .unwrap()
            .contains("upper()")
    );
    assert!(!source.join("left").exists() && !source.join("nested").exists());
    assert!(source.join("configure.ac").exists());
}

#[test]
fn a_tree_that_cannot_be_cleaned_is_made_from_nothing() {
    let machine = Machine::new();
    machine.run("update_python.sh").ended(0);
    fs::write(
        machine.path("workspace/python/source.index"),
        "not an index",
    )
    .unwrap();
    machine.write("workspace/python/source.index.lock", "");
    let closed = machine.path(SOURCE).join("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("file"), "").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    machine.run("update_python.sh").ended(0);
    assert!(!closed.exists());
    assert!(machine.path(SOURCE).join("configure").exists());
}

#[test]
fn a_revision_on_no_listed_branch_is_refused_and_says_so() {
    let mut machine = Machine::new();
    machine.run("update_python.sh").ended(0);
    let trunk = machine.path("trunk");
    git(&trunk, &["checkout", "--quiet", "-b", "fork"]);
    machine.write("trunk/Lib/evil.py", "");
    let fork = machine.check_in_trunk();
    for how in ["not fetched", "in the mirror all the same"] {
        let said = machine.run("update_python.sh").ended(1);
        assert!(
            said.contains(&format!(
                "{fork} is on none of the branches: main: nothing was checked out"
            )),
            "{how}: {said}"
        );
        assert!(!machine.path(SOURCE).join("Lib/evil.py").exists());
        let mirror = machine.text("cache/python.git");
        git(
            &trunk,
            &["push", "--quiet", &mirror, "fork:refs/heads/fork"],
        );
    }
    machine.set("BRANCHES_PYTHON", "main fork");
    machine.run("update_python.sh").ended(0);
}

#[test]
fn a70_a_revision_that_is_not_a_full_hash_of_a_commit_is_refused() {
    let mut machine = Machine::new();
    let trunk = machine.path("trunk");
    let whole = git(&trunk, &["rev-parse", "HEAD"]);
    let tagged = [
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@example.org",
        "tag",
        "-a",
        "-m",
        "t",
    ];
    git(&trunk, &[&tagged[..], &["tagged"]].concat());
    let tag = git(&trunk, &["rev-parse", "tagged"]);
    let tree = git(&trunk, &["rev-parse", "HEAD^{tree}"]);
    // Even where the objects are in the mirror.
    machine.run("update_python.sh").ended(0);
    git(
        &trunk,
        &[
            "push",
            "--quiet",
            &machine.text("cache/python.git"),
            "tagged",
        ],
    );
    for object in [&"0".repeat(40), &tag, &tree] {
        machine.variable("PYBOTS_REV_PYTHON", object);
        let said = machine.run("update_python.sh").ended(1);
        assert!(
            said.contains("is on none of the branches"),
            "{object}: {said}"
        );
    }
    let hostile = [
        &whole[..39],
        &whole[..12],
        &whole.to_uppercase(),
        "main",
        "HEAD",
        "refs/heads/main",
        "--upload-pack=touch pwned",
        "--output=x",
        "-h",
        "main..HEAD",
        &format!("{whole}^"),
        &format!("{whole} {whole}"),
        &format!("{whole}\n"),
        &format!("refs/heads/{}", "x".repeat(29)),
        &"f".repeat(41),
    ];
    for revision in hostile {
        machine.variable("PYBOTS_REV_PYTHON", revision);
        let said = machine.run("update_python.sh").ended(1);
        assert!(
            said.contains("the revision is not a full commit hash"),
            "{revision:?}: {said}"
        );
    }
    machine.variable("PYBOTS_REV_PYTHON", &whole);
    machine.run("update_python.sh").ended(0);
}

#[test]
fn a_repository_with_sha256_hashes_is_checked_out_too() {
    let mut machine = Machine::new();
    let trunk = machine.path("trunk");
    fs::remove_dir_all(trunk.join(".git")).unwrap();
    git(
        &trunk,
        &[
            "init",
            "--quiet",
            "--initial-branch=main",
            "--object-format=sha256",
        ],
    );
    let revision = machine.check_in_trunk();
    assert_eq!(revision.len(), 64);
    machine.run("update_python.sh").ended(0);
}

#[test]
fn a69_no_transport_runs_that_the_owner_has_not_listed() {
    let machine = Machine::new();
    let pwned = machine.path("pwned");
    machine.set(
        "URL_PYTHON",
        &format!("ext::sh -c touch% {}", pwned.display()),
    );
    for protocols in ["https:ssh", "file"] {
        machine.set("PROTOCOLS", protocols);
        machine.run("update_python.sh").ended(75);
    }
    machine.set(
        "URL_PYTHON",
        &format!("--upload-pack=touch {}", pwned.display()),
    );
    machine.run("update_python.sh").ended(75);
    machine.set("PROTOCOLS", "ssh");
    let option = format!("ssh://-oProxyCommand=touch% {}/x", pwned.display());
    for url in [option.replace("% ", "${IFS}"), option] {
        machine.set("URL_PYTHON", &url);
        machine.run("update_python.sh").ended(75);
    }
    assert!(!pwned.exists());
    machine.set("URL_PYTHON", &machine.text("trunk"));
    machine.set("PROTOCOLS", "https:ssh");
    let said = machine.run("update_python.sh").ended(75);
    assert!(said.contains("transport 'file' not allowed"), "{said}");
}

#[test]
fn a71_neither_hooks_nor_filters_nor_submodules_of_a_tree_or_a_mirror_run() {
    let mut machine = Machine::new();
    machine.run("update_python.sh").ended(0);
    let pwned = machine.path("pwned");
    let hook = format!("#!/bin/sh\ntouch {}\n", pwned.display());
    for name in [
        "post-checkout",
        "reference-transaction",
        "post-index-change",
        "fsmonitor",
    ] {
        let path = machine.path("cache/python.git/hooks").join(name);
        machine.write(&format!("cache/python.git/hooks/{name}"), &hook);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\thooksPath = {hooks}\n\tfsmonitor = {hooks}/fsmonitor\n\
         [filter \"evil\"]\n\tsmudge = touch {pwned}; cat\n\trequired = true\n",
        hooks = machine.text("cache/python.git/hooks"),
        pwned = pwned.display(),
    );
    machine.write("cache/python.git/config", &config);
    machine.write("cache/python.git/info/attributes", "*.py filter=evil\n");
    machine.write("trunk/.gitattributes", "*.py filter=evil\n");
    machine.write("trunk/Lib/new.py", "");
    let submodule = format!(
        "[submodule \"sub\"]\n\tpath = sub\n\turl = {}\n",
        machine.text("foo")
    );
    machine.write("trunk/.gitmodules", &submodule);
    // A folder in its place, or `git add` would take the submodule for removed.
    fs::create_dir(machine.path("trunk/sub")).unwrap();
    let foo = commit(&machine.path("foo"));
    let gitlink = format!("160000,{foo},sub");
    git(
        &machine.path("trunk"),
        &["update-index", "--add", "--cacheinfo", &gitlink],
    );
    machine.check_in_trunk();
    machine.run("update_python.sh").ended(0);
    assert!(machine.path(SOURCE).join("Lib/new.py").exists());
    assert!(!machine.path(SOURCE).join("sub/test.py").exists());
    assert!(!pwned.exists());
}

/// The revision of a fork, with a file `Lib/evil.py`, that is in the mirror and on none of the branches.
fn fork_in_mirror(machine: &mut Machine) -> String {
    let trunk = machine.path("trunk");
    let good = git(&trunk, &["rev-parse", "HEAD"]);
    machine.run("update_python.sh").ended(0);
    git(&trunk, &["checkout", "--quiet", "-b", "fork"]);
    machine.write("trunk/Lib/evil.py", "");
    let fork = machine.check_in_trunk();
    let mirror = machine.text("cache/python.git");
    git(
        &trunk,
        &["push", "--quiet", &mirror, "fork:refs/heads/fork"],
    );
    machine.variable("PYBOTS_REV_PYTHON", &good);
    fs::remove_dir_all(machine.path("workspace/python")).unwrap();
    fork
}

#[test]
fn a71_no_replacement_or_graft_in_a_mirror_puts_another_tree_under_a_revisions_name() {
    let mut machine = Machine::new();
    let good = git(&machine.path("trunk"), &["rev-parse", "HEAD"]);
    let fork = fork_in_mirror(&mut machine);
    let mirror = machine.path("cache/python.git");
    git(&mirror, &["replace", &good, &fork]);
    machine.run("update_python.sh").ended(0);
    assert!(machine.path(SOURCE).join("configure").exists());
    assert!(!machine.path(SOURCE).join("Lib/evil.py").exists());
    // By a graft the fork's commit would be an ancestor of the branch.
    machine.write("cache/python.git/info/grafts", &format!("{good} {fork}\n"));
    machine.write("cache/python.git/shallow", &format!("{fork}\n"));
    machine.variable("PYBOTS_REV_PYTHON", &fork);
    machine.run("update_python.sh").ended(1);
}

#[test]
fn a71_of_a_mirror_only_objects_and_branches_are_kept() {
    let mut machine = Machine::new();
    let good = git(&machine.path("trunk"), &["rev-parse", "HEAD"]);
    let fork = fork_in_mirror(&mut machine);
    let pwned = machine.path("pwned");
    let mirror = machine.path("cache/python.git");
    git(&mirror, &["gc", "--quiet"]);
    // Another folder, that gives the configuration, the attributes and the refs.
    let common = machine.path("common.git");
    git(
        &machine.path("trunk"),
        &[
            "clone",
            "--quiet",
            "--bare",
            ".",
            &machine.text("common.git"),
        ],
    );
    let smudge = format!("touch {}; cat", pwned.display());
    git(&common, &["config", "filter.evil.smudge", &smudge]);
    machine.write("common.git/info/attributes", "*.py filter=evil\n");
    let common = format!("{}\n", common.display());
    let replaced = format!("{fork} refs/replace/{good}\n");
    let left = [
        ("commondir", common.as_str()),
        ("config.worktree", "[core]\n\tbare = false\n"),
        ("worktrees/x/gitdir", "x\n"),
        ("objects/info/alternates", "/nowhere\n"),
        ("packed-refs", &replaced),
        ("refs/replace/x", "x\n"),
        ("HEAD.lock", ""),
    ];
    for (name, content) in left {
        machine.write(&format!("cache/python.git/{name}"), content);
    }
    std::os::unix::fs::symlink(&common, mirror.join("objects/ff-link")).unwrap();
    machine.run("update_python.sh").ended(0);
    assert!(!pwned.exists());
    for (name, _) in left {
        assert!(!mirror.join(name).exists(), "{name}");
    }
    assert!(fs::symlink_metadata(mirror.join("objects/ff-link")).is_err());
    assert!(!machine.path(SOURCE).join("Lib/evil.py").exists());
    // What was fetched once is still there.
    git(&mirror, &["cat-file", "-e", &fork]);
}

#[test]
fn nothing_is_cleaned_behind_a_link_in_a_mirrors_place() {
    let machine = Machine::new();
    machine.write("precious/file", "");
    std::os::unix::fs::symlink(machine.path("precious"), machine.path("cache/python.git")).unwrap();
    machine.run("update_python.sh").ended(0);
    assert!(machine.path("precious/file").exists());
    fs::remove_dir_all(machine.path("cache/python.git")).unwrap();
    // A file there could name another folder.
    machine.write(
        "cache/python.git",
        &format!("gitdir: {}\n", machine.text("trunk/.git")),
    );
    machine.run("update_python.sh").ended(0);
    assert!(machine.path("cache/python.git").is_dir());
}

#[test]
fn nothing_is_cleaned_behind_a_link_that_a_test_left_in_the_workspace() {
    let machine = Machine::new();
    machine.write("precious/file", "");
    fs::create_dir(machine.path("workspace/python")).unwrap();
    std::os::unix::fs::symlink(machine.path("precious"), machine.path(SOURCE)).unwrap();
    let said = machine.run("update_python.sh").ended(75);
    assert!(said.contains("behind a symbolic link"), "{said}");
    assert!(machine.path("precious/file").exists());
}

#[test]
fn a_repository_that_does_not_answer_is_the_networks_fault() {
    let machine = Machine::new();
    machine.set("URL_PYTHON", &machine.text("gone"));
    let said = machine.run("update_python.sh").ended(75);
    assert!(said.contains("does not answer"), "{said}");
    machine.set("PROTOCOLS", "https:ssh:http");
    machine.set("URL_PYTHON", "http://127.0.0.1:1/python");
    machine.run("update_python.sh").ended(75);
}
