//! Folders and files that are hostile, or too much.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// A folder with a result file of one failure.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "junit.xml",
        "<testsuite><testcase name='a'><failure/></testcase></testsuite>",
    );
    folder
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    fs::write(folder.join(name), text).unwrap();
}

#[test]
fn files_of_all_formats_are_found_also_one_folder_below() {
    let folder = folder();
    let path = folder.path();
    write(path, "LOUD.TAP", "ok\nok\n");
    write(path, "stream", packet(0x2805, &[b"\x01a"]));
    fs::create_dir_all(path.join("below/too-deep")).unwrap();
    write(&path.join("below"), "b.tap", "not ok 1 - b\n");
    write(&path.join("below/too-deep"), "c.tap", "not ok 1 - c\n");
    write(path, "coverage.xml", "<coverage line-rate='1'/>");
    write(path, "log.txt", "not ok 1\n");
    insta::assert_snapshot!(told(&gather(path).unwrap()), @"
    2 passed, 2 failed, 1 skipped, 0 unlisted
    b: -
    a: -
    ");
}

#[test]
fn without_a_result_file_there_are_no_results() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(gather(folder.path()), None);
    assert_eq!(gather(&folder.path().join("none")), None);
    write(folder.path(), "coverage.xml", "<coverage/>");
    write(folder.path(), "log.txt", "ok 1\n");
    symlink("/dev/zero", folder.path().join("zero")).unwrap();
    fs::create_dir(folder.path().join("folder.xml")).unwrap();
    assert_eq!(gather(folder.path()), None);
}

#[test]
fn nothing_is_followed_and_nothing_is_waited_for() {
    let folder = folder();
    let path = folder.path();
    let elsewhere = tempfile::tempdir().unwrap();
    write(
        elsewhere.path(),
        "secret.xml",
        "<testsuite><testcase name='secret'><failure/></testcase></testsuite>",
    );
    symlink(elsewhere.path().join("secret.xml"), path.join("link.xml")).unwrap();
    symlink("/dev/zero", path.join("zero.subunit")).unwrap();
    symlink(elsewhere.path(), path.join("folder")).unwrap();
    nix::unistd::mkfifo(&path.join("pipe.tap"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path.join("socket.xml")).unwrap();
    insta::assert_snapshot!(told(&gather(path).unwrap()), @"
    0 passed, 1 failed, 0 skipped, 0 unlisted
    a: -
    ! link.xml is a symbolic link, and was not followed
    ! pipe.tap is no file, and was not read
    ! socket.xml is no file, and was not read
    ! zero.subunit is a symbolic link, and was not followed
    ");

    // Nor is the folder itself.
    let link = elsewhere.path().join("reports");
    symlink(path, &link).unwrap();
    let results = gather(&link).unwrap();
    assert_eq!(
        (results.failed, results.warnings.len()),
        (0, 1),
        "{results:?}"
    );
}

#[test]
fn too_much_is_read_in_part_and_said() {
    let folder = tempfile::tempdir().unwrap();
    // Almost nothing on disk, and endless to read.
    let sparse = |name: &str, start: &str, length: u64| {
        write(folder.path(), name, start);
        fs::OpenOptions::new()
            .write(true)
            .open(folder.path().join(name))
            .unwrap()
            .set_len(length)
            .unwrap();
    };
    sparse("a.tap", "not ok 1 - a\nok 2\n", 1 << 40);
    insta::assert_snapshot!(told(&gather(folder.path()).unwrap()), @"
    1 passed, 1 failed, 0 skipped, 0 unlisted
    a: -
    ! a.tap is larger than 16 MiB, and was read up to there
    ");
    for number in 0..6 {
        sparse(&format!("b{number}.tap"), "ok\n", 1 << 40);
    }
    insta::assert_snapshot!(told(&gather(folder.path()).unwrap()), @"
    4 passed, 1 failed, 0 skipped, 0 unlisted
    a: -
    ! a.tap is larger than 16 MiB, and was read up to there
    ! b0.tap is larger than 16 MiB, and was read up to there
    ! b1.tap is larger than 16 MiB, and was read up to there
    ! b2.tap is larger than 16 MiB, and was read up to there
    ! b3.tap was not read: there are too many result files, or they are too large together
    ! b4.tap was not read: there are too many result files, or they are too large together
    ! b5.tap was not read: there are too many result files, or they are too large together
    ");
    let folder = tempfile::tempdir().unwrap();
    for number in 0..300 {
        write(folder.path(), &format!("{number}.tap"), "ok\n");
    }
    let results = gather(folder.path()).unwrap();
    assert_eq!(
        (results.passed, results.warnings.len()),
        (256, 8),
        "{results:?}"
    );
    assert_eq!(results.warnings[7].as_str(), "and 37 more warnings");
}

/// Whatever was read, a report can carry it.
fn assert_bounded(results: &TestResults) {
    let texts = results
        .failing
        .iter()
        .flat_map(|test| std::iter::once(&test.name).chain(&test.message));
    let length: usize = texts
        .chain(&results.warnings)
        .map(|text| text.as_str().len() + 3)
        .sum();
    assert!(length < 32 << 10, "{length}");
    assert!(results.warnings.len() <= 8 && results.failing.len() <= 60);
    let listed = u32::try_from(results.failing.len()).unwrap();
    assert_eq!(results.failed, listed + results.unlisted);
}

#[test]
fn many_failures_are_counted_and_the_first_are_listed() {
    let long = "\u{1f40d}".repeat(1000);
    let case = format!("<testcase name=\"{long}\"><failure message=\"{long}\"/></testcase>");
    let results = read(
        Format::Junit,
        format!("<testsuite>{}</testsuite>", case.repeat(1000)).as_bytes(),
    );
    assert_eq!(
        (results.failed, results.failing.len(), results.unlisted),
        (1000, 60, 940)
    );
    assert_bounded(&results);
    let lengths = results.failing.iter().map(|test| test.name.as_str().len());
    assert_eq!(lengths.max(), Some(199));
}

/// Bytes that are likely to mean something.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"<testsuite>",
        b"</testsuite>",
        b"<testcase name=\"a\" classname='b'>",
        b"</testcase>",
        b"<testcase/>",
        b"<failure message=\"&#10;x\">",
        b"</failure>",
        b"<skipped>",
        b"<outcome>UNEXPECTED_SUCCESS",
        b"<![CDATA[",
        b"]]>",
        b"&lt;",
        b"&#0;",
        b"&x;",
        b"<!DOCTYPE a [",
        b"\n",
        b"ok 1",
        b"not ok ",
        b" - a",
        b" # TODO",
        b"\\#",
        b"1..",
        b"99999999999999999999",
        b"Bail out!",
        b"  ---\n",
        b"  message: x\n",
        b"\x1b[31m",
        b"\xf0\x9f",
        b"Traceback (most recent call last):\n",
        b"\xb3\x28\x03",
        b"\xb3",
    ];
    let word = prop::sample::select(words).prop_map(<[u8]>::to_vec);
    let noise = || prop::collection::vec(any::<u8>(), 0..40);
    let packed =
        (0..0x1000_u16, noise()).prop_map(|(flags, body)| packet(0x2000 | flags, &[&body]));
    let piece = prop_oneof![4 => word, 1 => noise(), 1 => packed];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_a_file_holds_is_read_within_bounds(file in pieces()) {
        for format in [Format::Junit, Format::Tap, Format::Subunit] {
            assert_bounded(&read(format, &file));
        }
    }
}
