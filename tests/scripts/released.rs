//! Released archives: found by name and version, compared, unpacked with care.

use std::fs;

use crate::index::{serve, serve_page};
use crate::machine::{Machine, python};

/// Writes a .tar.gz of `(name, type, content)`.
const TAR: &str = "import io, json, sys, tarfile\n\
    with tarfile.open(sys.argv[1], 'w:gz') as tar:\n    \
    for name, kind, content in json.loads(sys.argv[2]):\n        \
    member = tarfile.TarInfo(name)\n        \
    member.type = kind.encode()\n        \
    member.linkname = content\n        \
    data = content.encode() if kind == '0' else b''\n        \
    member.size = len(data)\n        \
    tar.addfile(member, io.BytesIO(data))\n";

const FINE: &str = r#"["foo-1.4/test.py", "0", "import shouting; print(shouting.shout('released'))"],
    ["foo-1.4/setup.py", "0", "open('../../../pwned', 'w')"]"#;

fn archive(machine: &Machine, members: &str) -> Vec<u8> {
    let path = machine.text("archive");
    python(TAR, &[&path, &format!("[{members}]")]);
    fs::read(path).unwrap()
}

/// A machine that tests that released version of Foo.
fn machine(version: &str) -> Machine {
    let mut machine = Machine::built();
    machine.variable("PYBOTS_P_VERSION", version);
    machine
}

fn with_archive(members: &str) -> Machine {
    let machine = machine("1.4");
    let content = archive(&machine, members);
    machine.index(&serve(vec![("foo-1.4.tar.gz".to_owned(), content)]));
    machine
}

#[test]
fn a_released_version_is_found_by_name_and_tested_and_none_of_its_setup_code_runs() {
    let machine = machine("1.4");
    let good = archive(&machine, FINE);
    let other = archive(
        &machine,
        r#"["foo-1.40/test.py", "0", "raise SystemExit(1)"]"#,
    );
    let archives = [
        "foo-1.4-py3-none-any.whl",
        "foo-1.40.tar.gz",
        "foo-bar-1.4.tar.gz",
        "foo-1.4.post1.tar.gz",
    ];
    let mut archives: Vec<_> = archives.map(|name| (name.to_owned(), other.clone())).into();
    archives.push(("Foo-1.4.tar.gz".to_owned(), good));
    machine.index(&serve(archives));
    let said = machine.run("fetch_project.py").ended(0);
    assert!(
        said.contains("fetched the released Foo-1.4.tar.gz sha256="),
        "{said}"
    );
    let said = machine.run("run_tests.py").ended(0);
    assert!(
        said.contains("testing released/foo-1.4\n") && said.contains("RELEASED!"),
        "{said}"
    );
    assert!(!machine.path("pwned").exists());

    // The index is still asked for its page, and never again for the archive.
    machine.write("workspace/released/foo-1.4/left", "");
    let page = serve_page(link(&machine), Vec::new());
    machine.index(&page);
    machine.run("fetch_project.py").ended(0);
    assert!(!machine.path("workspace/released/foo-1.4/left").exists());
}

/// The page's link to the archive that the cache holds.
fn link(machine: &Machine) -> String {
    let kept = fs::read_dir(machine.path("cache/archives"))
        .unwrap()
        .next()
        .unwrap();
    let digest = kept.unwrap().file_name().into_string().unwrap();
    format!("<a href=\"../../files/foo-1.4.tar.gz#sha256={digest}\">foo-1.4.tar.gz</a>")
}

#[test]
fn the_index_is_the_one_that_pip_is_configured_with_unless_the_owner_names_another() {
    let mut machine = Machine::prepared();
    machine.write(
        "scripts/projects.ini",
        "[foo]\npackage = foo\nrun = {python} test.py\n",
    );
    machine.variable("PYBOTS_P_VERSION", "1.4");
    let content = archive(&machine, FINE);
    let address = serve(vec![("foo-1.4.tar.gz".to_owned(), content)]);
    machine.write("pip.conf", &format!("[global]\nindex-url = {address}\n"));
    let file = machine.text("pip.conf");
    machine.variable("PIP_CONFIG_FILE", &file);
    machine.run("fetch_project.py").ended(0);
    machine.index("http://127.0.0.1:1/simple");
    machine.run("fetch_project.py").ended(75);
}

#[test]
fn a60_what_is_not_a_version_is_refused() {
    let mut machine = machine("1.4");
    machine.index("http://127.0.0.1:1/simple");
    let hostile = [
        "",
        "-r",
        "--index-url=x",
        "../1.4",
        "1.4/..",
        "1.4 ",
        "1.4\n",
        "latest",
        "v1.4",
        "1..4",
        "1.4.",
        "1.4+x",
        "\u{661}.4",
        "1.4;x",
        "==1.4",
        "https://example.org/x",
        &"1".repeat(41),
    ];
    for version in hostile {
        machine.variable("PYBOTS_P_VERSION", version);
        let said = machine.run("fetch_project.py").ended(1);
        assert!(said.contains("is not a version"), "{version:?}: {said}");
    }
    for version in [
        "1.4",
        "2024.1",
        "3.15.0a2",
        "1.0rc1",
        "1.0.post2",
        "1.0.dev3",
        "1.0b1.dev3",
    ] {
        machine.variable("PYBOTS_P_VERSION", version);
        machine.run("fetch_project.py").ended(75);
    }
}

#[test]
fn a92_an_archive_that_writes_outside_its_folder_is_refused() {
    let outside = [
        r#"["foo-1.4/../../../escaped", "0", "x"]"#,
        r#"["../escaped", "0", "x"]"#,
        r#"["/escaped", "0", "x"]"#,
        r#"["foo-1.4/./x", "0", "x"]"#,
        r#"["..", "5", ""]"#,
    ];
    let machine = machine("1.4");
    for member in outside {
        let content = archive(&machine, &format!("{FINE}, {member}"));
        machine.index(&serve(vec![("foo-1.4.tar.gz".to_owned(), content)]));
        let said = machine.run("fetch_project.py").ended(1);
        assert!(
            said.contains("the archive has a member named"),
            "{member}: {said}"
        );
        let said = machine.run("run_tests.py").ended(75);
        assert!(said.contains("no project was fetched"), "{member}: {said}");
        assert!(!machine.path("workspace/escaped").exists() && !machine.path("escaped").exists());
    }
}

#[test]
fn a92_links_and_devices_of_an_archive_are_left_out() {
    let machine = with_archive(&format!(
        r#"["foo-1.4/link", "2", "../../.."], ["foo-1.4/hard", "1", "/etc/passwd"], ["foo-1.4/pipe", "6", ""],
        ["foo-1.4/link/escaped", "0", "x"], {FINE}"#
    ));
    let said = machine.run("fetch_project.py").ended(0);
    assert_eq!(
        said.matches("left out, neither file nor folder").count(),
        3,
        "{said}"
    );
    let tree = machine.path("workspace/released/foo-1.4");
    assert!(
        tree.join("link/escaped").exists()
            && !tree.join("hard").exists()
            && !tree.join("pipe").exists()
    );
    assert!(!machine.path("workspace/escaped").exists());
}

#[test]
fn a91_an_archive_that_unpacks_to_more_than_the_limit_is_refused() {
    let machine = with_archive(&format!(
        r#"{FINE}, ["foo-1.4/big", "0", "{}"]"#,
        "x".repeat(100_000)
    ));
    let script = fs::read_to_string(machine.path("scripts/fetch_project.py")).unwrap();
    for (limit, small, why) in [
        (
            "MAX_UNPACKED = 512 << 20",
            "MAX_UNPACKED = 65536",
            "holds more than",
        ),
        (
            "MAX_MEMBERS = 50_000",
            "MAX_MEMBERS = 2",
            "more than 2 members",
        ),
        (
            "MAX_ARCHIVE = 128 << 20",
            "MAX_ARCHIVE = 100",
            "more than 100 bytes",
        ),
    ] {
        assert!(script.contains(limit));
        let _ = fs::remove_dir_all(machine.path("cache/archives"));
        machine.write("scripts/fetch_project.py", &script.replace(limit, small));
        let said = machine.run("fetch_project.py").ended(1);
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn an_archive_that_is_not_the_one_that_the_index_names_is_refused() {
    let machine = machine("1.4");
    let content = archive(&machine, FINE);
    let page = |hash: &str| format!("<a href=\"../../files/foo-1.4.tar.gz{hash}\">foo</a>");
    let archives = || vec![("foo-1.4.tar.gz".to_owned(), content.clone())];
    let wrong = format!("#sha256={}", "0".repeat(64));
    machine.index(&serve_page(page(&wrong), archives()));
    let said = machine.run("fetch_project.py").ended(1);
    assert!(said.contains("does not have the sha256"), "{said}");
    machine.index(&serve_page(page(""), archives()));
    let said = machine.run("fetch_project.py").ended(75);
    assert!(said.contains("gives no sha256"), "{said}");
    for url in ["file:///etc/passwd", "ftp://127.0.0.1:1/x"] {
        let elsewhere = format!("<a href=\"{url}/foo-1.4.tar.gz{wrong}\">foo</a>");
        machine.index(&serve_page(elsewhere, Vec::new()));
        let said = machine.run("fetch_project.py").ended(75);
        assert!(said.contains("neither https nor http"), "{said}");
    }
}

#[test]
fn an_index_that_does_not_answer_or_lacks_the_version_is_not_the_changes_fault() {
    let machine = machine("1.4");
    machine.index("http://127.0.0.1:1/simple");
    let said = machine.run("fetch_project.py").ended(75);
    assert!(
        said.contains("http://127.0.0.1:1/simple/foo/ cannot be had"),
        "{said}"
    );
    machine.index(&serve(Vec::new()));
    let said = machine.run("fetch_project.py").ended(75);
    assert!(said.contains("has no .tar.gz of version 1.4"), "{said}");
    machine.index("http://user:secret@127.0.0.1:1/simple");
    let said = machine.run("fetch_project.py").ended(75);
    assert!(
        said.contains("holds a login") && !said.contains("secret"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_unpacked_is_refused() {
    let machine = machine("1.4");
    let content = archive(&machine, FINE);
    let cases = [
        b"not an archive".to_vec(),
        content[..content.len() / 2].to_vec(),
        Vec::new(),
    ];
    for content in cases {
        machine.index(&serve(vec![("foo-1.4.tar.gz".to_owned(), content)]));
        machine.run("fetch_project.py").ended(1);
    }
    let deep = format!(r#"["foo-1.4/{}x", "0", ""]"#, "a/".repeat(3000));
    let long = format!(r#"["foo-1.4/{}", "0", ""]"#, "x".repeat(300));
    let headers = vec![r#"["foo-1.4/x", "x", ""]"#; 3000].join(", ");
    let cases = [
        r#"["a/test.py", "0", ""], ["b/test.py", "0", ""]"#,
        r#"["test.py", "0", ""]"#,
        &format!("{FINE}, {deep}"),
        &format!("{FINE}, {long}"),
        &format!("{FINE}, {headers}"),
        &format!(r#"{FINE}, ["foo-1.4/test.py/x", "0", ""]"#),
    ];
    for members in cases {
        let content = archive(&machine, members);
        machine.index(&serve(vec![("foo-1.4.tar.gz".to_owned(), content)]));
        let said = machine.run("fetch_project.py").ended(1);
        assert!(said.contains("fetch_project: the archive"), "{said}");
        assert!(!said.contains("Traceback"), "{said}");
    }
}

#[test]
fn a_full_disk_is_not_the_archives_fault() {
    let machine = with_archive(FINE);
    let script = fs::read_to_string(machine.path("scripts/fetch_project.py")).unwrap();
    let full = script.replace(
        "        target.write(block)\n",
        "        raise OSError(errno.ENOSPC, 'full')\n",
    );
    assert_ne!(full, script);
    machine.write("scripts/fetch_project.py", &full);
    let said = machine.run("fetch_project.py").ended(75);
    assert!(said.contains("full"), "{said}");
}

#[test]
fn a_bad_link_of_the_index_is_left_out_and_a_page_that_cannot_be_read_is_not_the_changes_fault() {
    let machine = machine("1.4");
    let content = archive(&machine, FINE);
    machine.index(&serve(vec![("foo-1.4.tar.gz".to_owned(), content)]));
    machine.run("fetch_project.py").ended(0);
    let page = format!("<a href=\"http://[bad\">bad</a>\n{}", link(&machine));
    machine.index(&serve_page(page, Vec::new()));
    let said = machine.run("fetch_project.py").ended(0);
    assert!(
        said.contains("left out, not an address: 'http://[bad'"),
        "{said}"
    );
    machine.index(&serve_page("<![bad[x]]>".to_owned(), Vec::new()));
    let said = machine.run("fetch_project.py").ended(75);
    assert!(said.contains("cannot be read"), "{said}");
    machine.index("http://[bad");
    let said = machine.run("fetch_project.py").ended(75);
    assert!(said.contains("address cannot be read"), "{said}");
}

#[test]
fn a_pip_that_the_new_python_broke_fails() {
    let machine = machine("1.4");
    machine.write(
        "scripts/projects.ini",
        "[foo]\npackage = foo\nrun = {python} test.py\n",
    );
    for broken in ["raise SystemExit(75)\n", "print('no index')\n"] {
        machine.write("workspace/python/source/Lib/pip.py", broken);
        let said = machine.run("fetch_project.py").ended(1);
        assert!(
            said.contains("pip does not say which index it uses"),
            "{said}"
        );
    }
}
