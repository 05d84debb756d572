use std::fmt::Write as _;
use std::io::BufReader;

use super::bounded::Bounded;
use super::subunit::tests::packet;
use super::*;

mod bounds;

/// What one file says.
fn read(format: Format, file: &[u8]) -> TestResults {
    let mut found = Bounded::default();
    found.file();
    // A small buffer, so that whatever can be cut in two is.
    if let Err(fault) = format.read(BufReader::with_capacity(7, file), &mut found) {
        found.warn(&format!("file {fault}"));
    }
    found.finish().unwrap()
}

/// In lines: counts, failing tests with their messages, warnings.
fn told(results: &TestResults) -> String {
    let mut told = format!(
        "{} passed, {} failed, {} skipped, {} unlisted\n",
        results.passed, results.failed, results.skipped, results.unlisted
    );
    for test in &results.failing {
        let message = test.message.as_ref().map_or("-", |text| text.as_str());
        writeln!(told, "{}: {message}", test.name).unwrap();
    }
    for warning in &results.warnings {
        writeln!(told, "! {warning}").unwrap();
    }
    told
}

fn junit(file: &str) -> String {
    told(&read(Format::Junit, file.as_bytes()))
}

fn tap(file: &str) -> String {
    told(&read(Format::Tap, file.as_bytes()))
}

#[test]
fn junit_by_pytest_is_read() {
    insta::assert_snapshot!(junit(include_str!("samples/pytest.xml")), @r#"
    1 passed, 7 failed, 3 skipped, 0 unlisted
    test_bar.test_p[1]: AssertionError: no
    test_bar.test_p[a<b]: AssertionError: no
    test_bar.test_td: failed on teardown with "RuntimeError: teardown"
    test_foo.TestFoo.test_err: ValueError: boom
    test_foo.TestFoo.test_fail: AssertionError: one
    test_foo.TestFoo.test_sub: AssertionError: 0 is not 1
    test_foo.TestFoo.test_ux: Failed: Unexpected success
    "#);
}

#[test]
fn junit_by_unittest_xml_reporting_is_read() {
    insta::assert_snapshot!(junit(include_str!("samples/unittest-xml.xml")), @"
    1 passed, 5 failed, 2 skipped, 0 unlisted
    test_foo.TestFoo.test_fail: one
    test_foo.TestFoo.test_sub (i=0): 0 is not 1
    test_foo.TestFoo.test_sub (i=2): 2 is not 1
    test_foo.TestFoo.test_err: boom
    test_foo.TestFoo.test_ux: Unexpected success: This test was marked as expected failure but passed, please review it
    ");
}

#[test]
fn junit_by_regrtest_is_read_and_what_it_does_not_name_is_said() {
    insta::assert_snapshot!(junit(include_str!("samples/regrtest.xml")), @"
    1 passed, 4 failed, 2 skipped, 0 unlisted
    test_foo.TestFoo.test_err: ValueError: boom
    test_foo.TestFoo.test_fail: AssertionError: one
    a test without a name: its runner left no result of it, as of failed subtests
    test_foo.TestFoo.test_ux: unexpected success
    ! file counts 5 failures and errors, and describes 2; the log has the others
    ");
}

#[test]
fn junit_is_counted_by_its_tests_in_nested_suites_too() {
    let nested = r#"<testsuites><testsuite tests="9" failures="1"><testsuite name="a" failures="1">
        <testcase name="x"><failure/></testcase></testsuite>
        <testcase name="y"/><testcase name="z" status="notrun"/></testsuite></testsuites>"#;
    insta::assert_snapshot!(junit(nested), @"
    1 passed, 1 failed, 1 skipped, 0 unlisted
    x: -
    ");
}

#[test]
fn a_failure_without_a_message_is_told_by_its_text() {
    let file = r#"<testsuite><testcase name="x" classname="x"><error type="E"><![CDATA[
Traceback (most recent call last):
  File "a.py", line 1, in x
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in x
ValueError: ]]>1 &lt; 2 &#38; &unknown;
and more</error></testcase><testcase name="y"><failure>

first
second</failure></testcase></testsuite>"#;
    insta::assert_snapshot!(junit(file), @"
    0 passed, 2 failed, 0 skipped, 0 unlisted
    x.x: ValueError: 1 < 2 & &unknown;
    y: first
    ");
}

#[test]
fn broken_junit_gives_a_warning_and_counts_as_far_as_it_was_read() {
    let begun = r#"<testsuite><testcase name="a"/><testcase name="b"><failure message="no">"#;
    let entity = |n| {
        let nine = format!("&lol{};", n - 1).repeat(9);
        format!("<!ENTITY lol{n} \"{nine}\">")
    };
    let laughs: String = (1..10).map(entity).collect();
    let one = |name: &str, rest: &str| {
        format!("<testsuite><testcase name=\"{name}\"{rest}</testcase></testsuite>")
    };
    let said = |name: &str, said: &str| one(name, &format!("><failure message=\"{said}\"/>"));
    let written = |name: &str, text: &str| one(name, &format!("><failure>{text}</failure>"));
    let cases = [
        begun.to_owned(),
        format!("{begun}</failure></testsuite>"),
        "<testsuite><testcase name=\"a\"/><testcase name='b' <".to_owned(),
        String::new(),
        "no XML".to_owned(),
        format!(
            "<testsuite><testcase name=\"a\"/>{}",
            "<testsuite>".repeat(100_000)
        ),
        format!("<!DOCTYPE lolz [<!ENTITY lol \"lol\">{laughs}]>") + &written("&lol9;", "&lol9;"),
        "<!DOCTYPE t [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>".to_owned()
            + &written("a", "&x;"),
        said(
            &"n".repeat(100 << 10),
            &format!("\x1b[31m{}", "m".repeat(100 << 10)),
        ),
        one("a", &format!(" {}><failure/>", "b=\"c\" ".repeat(100_000))),
        said("a", &"m".repeat(10 << 20)),
        written("a", &format!("<![CDATA[{}]]>", "m\n".repeat(5 << 20))),
        said(
            "\u{202e}a\x1b[2Jb\n\x1b]0;title\x07c",
            "&#27;[1mred&#x202e;",
        ),
    ];
    insta::assert_snapshot!(cases.map(|file| junit(&file)).join("\n"), @"
    1 passed, 1 failed, 0 skipped, 0 unlisted
    b: no
    ! file ends in the middle, and counts up to there

    1 passed, 1 failed, 0 skipped, 0 unlisted
    b: no
    ! file is not well-formed XML, and counts up to there: ill-formed document: expected `</testcase>`, but `</testsuite>` was found

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file is not well-formed XML, and counts up to there: syntax error: tag not closed: `>` not found before end of input

    0 passed, 0 failed, 0 skipped, 0 unlisted
    ! file holds no test results

    0 passed, 0 failed, 0 skipped, 0 unlisted
    ! file holds no test results

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file is nested too deeply, and counts up to there

    0 passed, 1 failed, 0 skipped, 0 unlisted
    &lol9;: &lol9;

    0 passed, 1 failed, 0 skipped, 0 unlisted
    a: &x;

    0 passed, 1 failed, 0 skipped, 0 unlisted
    nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…: mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm…

    0 passed, 0 failed, 0 skipped, 0 unlisted
    ! file has a tag that is too long, and counts up to there

    0 passed, 1 failed, 0 skipped, 0 unlisted
    a: mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm…

    0 passed, 1 failed, 0 skipped, 0 unlisted
    a: m

    0 passed, 1 failed, 0 skipped, 0 unlisted
     ab: red
    ");
    let broken = told(&read(
        Format::Junit,
        b"<testsuite><testcase name='a'/><testcase name='\xff'/></testsuite>",
    ));
    insta::assert_snapshot!(broken, @"
    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file is not well-formed XML, and counts up to there: cannot decode input using UTF-8: invalid utf-8 sequence of 1 bytes from index 16
    ");
}

#[test]
fn tap_by_perl_is_read() {
    insta::assert_snapshot!(tap(include_str!("samples/perl.tap")), @r"
    1 passed, 3 failed, 2 skipped, 0 unlisted
    adds right: at t.t line 3.
    inner: at t.t line 6.
    hash \# SKIP in the name: at t.t line 7.
    ");
}

#[test]
fn tap_by_node_is_read() {
    insta::assert_snapshot!(tap(include_str!("samples/node.tap")), @"
    1 passed, 1 failed, 2 skipped, 0 unlisted
    group: 1 subtest failed
    ");
}

#[test]
fn tap_means_what_its_description_says() {
    let cases = [
        "TAP version 14\r\n1..2\r\nok\r\nnot ok\r\n",
        "1..0 # SKIP no database\n",
        "ok 1 - a # Todo\nnot ok 2 - b # tOdO later\nok 3 # SKIPPED\nok 4 - \\# skip\n1..4\n",
        "ok 1\nBail out! The disk is full.\nnot ok 2\n",
        "1..5\nok 1\nokay\nnot okay\n    ok 2\n",
        "1..18446744073709551616\nok 1\n",
        "1..4294967296000\nok 1\n",
        "",
        "hello\n",
        "not ok 1 - a\n    # Subtest: c\n      ---\n      message: of c\n      ...\n# Subtest: b\n\
         \u{20}     ---\n      message: of b\n      ...\nok 2 - b\n1..2\n",
        "not ok 1 - a\n  ---\n  message: \"of a\"\n  ...\n# more\n1..1\n",
    ];
    insta::assert_snapshot!(cases.map(tap).join("\n"), @"
    1 passed, 1 failed, 0 skipped, 0 unlisted
    test 2: -

    0 passed, 0 failed, 1 skipped, 0 unlisted

    2 passed, 0 failed, 2 skipped, 0 unlisted

    1 passed, 1 failed, 0 skipped, 0 unlisted
    test 2: -
    ! file says that its tests were given up: The disk is full.

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file announces 5 tests, and has 1

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file announces 18446744073709551616 tests, and has 1

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file announces 4294967296000 tests, and has 1

    0 passed, 0 failed, 0 skipped, 0 unlisted
    ! file holds no test results

    0 passed, 0 failed, 0 skipped, 0 unlisted
    ! file holds no test results

    1 passed, 1 failed, 0 skipped, 0 unlisted
    a: -

    0 passed, 1 failed, 0 skipped, 0 unlisted
    a: of a
    ");
    let long = format!(
        "not ok {} # TODO\nok {}\n1..2",
        "x".repeat(5 << 20),
        "#".repeat(5 << 20)
    );
    insta::assert_snapshot!(tap(&long), @"
    1 passed, 1 failed, 0 skipped, 0 unlisted
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…: -
    ");
    insta::assert_snapshot!(told(&read(Format::Tap, b"not ok 1 - \xff\xfe\n1..1")), @"
    0 passed, 1 failed, 0 skipped, 0 unlisted
    ��: -
    ");
}

#[test]
fn subunit_by_its_own_runner_is_read() {
    let sample = include_bytes!("samples/subunit.run.subunit");
    insta::assert_snapshot!(told(&read(Format::Subunit, sample)), @"
    1 passed, 4 failed, 2 skipped, 0 unlisted
    test_foo.TestFoo.test_err: ValueError: boom
    test_foo.TestFoo.test_fail: AssertionError: one
    test_foo.TestFoo.test_sub: AssertionError: 2 is not 1
    test_foo.TestFoo.test_ux: unexpected success
    ");
    // Output in between, and a process that ended in a test.
    let mut file = b"hello \n".to_vec();
    file.extend(sample);
    file.extend(b"Segmentation fault\n");
    file.extend(packet(0x2802, &[b"\x03a.b"]));
    let told = told(&read(Format::Subunit, &file));
    assert!(
        told.contains("\na.b: it began and never ended\n") && !told.contains('!'),
        "{told}"
    );
}

#[test]
fn damaged_subunit_gives_a_warning_and_counts_as_far_as_it_was_read() {
    let good = packet(0x2803, &[b"\x03a.b"]);
    let mut wrong = packet(0x2806, &[b"\x03c.d"]);
    *wrong.last_mut().unwrap() ^= 1;
    let with = |more: &[u8]| [&good, more].concat();
    let cases = [
        with(&wrong),
        with(&good[..good.len() - 1]),
        with(b"\xb3"),
        // Four megabytes are claimed and not there; a length that cannot be; another version; an id beyond the end.
        with(b"\xb3\x28\x03\xbf\xff\xff"),
        with(b"\xb3\x28\x03\x03aaaaaa"),
        with(&packet(0x1803, &[b"\x03a.b"])),
        with(&packet(0x2803, &[b"\x3fa.b"])),
        with(&packet(0x2803, &[b"\x01\xff"])),
        with(&packet(0x2883, &[b"\x01a", b"\xff\xff\xff\xff"])),
        b"test: a\nsuccess: a\n".to_vec(),
    ];
    let told: Vec<_> = cases
        .iter()
        .map(|file| told(&read(Format::Subunit, file)))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"
    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file is damaged, and counts up to there: a packet has a wrong checksum

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file ends in the middle, and counts up to there

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file ends in the middle, and counts up to there

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file ends in the middle, and counts up to there

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file is damaged, and counts up to there: a packet has an impossible length

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file is damaged, and counts up to there: a packet makes no sense

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file is damaged, and counts up to there: a packet makes no sense

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file is damaged, and counts up to there: a packet makes no sense

    1 passed, 0 failed, 0 skipped, 0 unlisted
    ! file is damaged, and counts up to there: a packet makes no sense

    0 passed, 0 failed, 0 skipped, 0 unlisted
    ! file holds no test results
    ");
}
