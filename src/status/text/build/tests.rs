use super::*;
use crate::model::{BuildId, FailedTest, Isolation, Limit, Network, TestResults, Verdict};
use crate::status::sample::{Sample, at, ended, finished, log_digest, started, text};

fn written(board: &Board, number: u64, now: Timestamp) -> String {
    let id = BuildId {
        builder: "foo-maple".parse().unwrap(),
        number,
    };
    let mut out = Vec::new();
    write_build(
        board,
        board.build(&id).unwrap(),
        now,
        Style::Plain,
        &mut out,
    )
    .unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_build_that_is_over_is_shown_in_full() {
    let sample = Sample::new();
    let mut board = sample.board();
    board.apply(sample.changed(1, 'a'));
    let order = sample.order("foo-maple", 1, 'a');
    board.apply(sample.ordered(1, &order));
    for event in sample.run(&order, 1, Verdict::Failed) {
        board.apply(event);
    }
    insta::assert_snapshot!(written(&board, 1, at(300)), @"
        foo-maple/1  ✗ FAILED, 3 min ago, took 19.9 s
          project    foo
          slave      maple
          reason     check-in on cpython main
          source     cpython main aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
          covers     cpython main moved to aaaaaaaaaa
                     aaaaaaaaaa Remove frobnicate (Eve)
          last pass  none: it never passed before, so there is nothing to compare with
          step       1/2 build-python  ✓ passed, 9.4 s, exit 0, CPU 7.2 s, memory 90 MiB (sampled), 7 processes
                     log 6 bytes, SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM
                     script SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw
                     isolation namespaces, network off
          step       2/2 test-project  ✗ FAILED, 9.4 s, exit 1, 41 tests passed, 1 failed, 2 skipped, CPU 7.2 s, memory 90 MiB (sampled), 7 processes
                     log 6 bytes, SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM
                     script SHA256:dchNIKCqkMWen0O760wOS9QuTFGES7y+zE80em6wToo
                     isolation namespaces, network off
          ordered    2026-11-22T18:01:40.000Z
          received   2026-11-22T18:01:40.002Z, 2.3 ms later
          started    2026-11-22T18:01:40.006Z, 4.1 ms later
          ended      2026-11-22T18:02:00.000Z, stored 1.0 ms later
          isolation  plain, network on
          logs       SHA256:mPOPEtsiGoz4ynqt/c11mwHVLrTrs+7bstl+koBcaWA
          command    SHA256:y0zJe6+F7L09szxprBXKA3taVApfcpR29vHGB0+kxso signed by SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw
          report     SHA256:VtOc33fJVVWeNWfumm+Y5hYbP28t2uDKl66QexT5G3g signed by SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk
        ");
}

#[test]
fn a_build_that_runs_shows_how_far_it_is() {
    let sample = Sample::new();
    let mut board = sample.board();
    let order = sample.order("foo-maple", 1, 'a');
    board.apply(sample.ordered(1, &order));
    board.apply(sample.reported(&order, 1, 1, started(0, at(101))));
    board.apply(sample.reported(&order, 2, 2, ended(0, 0)));
    insta::assert_snapshot!(written(&board, 1, at(110)), @"
        foo-maple/1  … running
          project    foo
          slave      maple
          reason     check-in on cpython main
          source     cpython main aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
          covers     change 4705a1581893, no longer on record
          last pass  none: it never passed before, so there is nothing to compare with
          step       1/2 build-python  ✓ passed, 9.4 s, exit 0, CPU 7.2 s, memory 90 MiB (sampled), 7 processes
                     log 6 bytes, SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM
                     script SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw
                     isolation namespaces, network off
          step       2/2 test-project  … waiting
          ordered    2026-11-22T18:01:40.000Z
          command    SHA256:y0zJe6+F7L09szxprBXKA3taVApfcpR29vHGB0+kxso signed by SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw
        ");
}

#[test]
fn what_is_odd_about_a_build_is_said() {
    let sample = Sample::new();
    let mut board = sample.board();
    let order = sample.order("foo-maple", 1, 'a');
    let received = ReportBody::Accepted { received: at(99) };
    let lost = ReportBody::Lost {
        detail: text("the slave was restarted"),
    };
    board.apply(sample.ordered(1, &order));
    board.apply(sample.ordered(2, &sample.order("foo-maple", 1, 'b')));
    board.apply(sample.cancelled(3, &order));
    board.apply(sample.reported(&order, 1, 1, received));
    board.apply(sample.reported(&order, 2, 1, started(0, at(101))));
    board.apply(sample.reported(&order, 3, 2, lost));
    insta::assert_snapshot!(written(&board, 1, at(110)), @"
        foo-maple/1  ! lost: the slave was restarted, 8 s ago, took 1.0 s
          project    foo
          slave      maple
          reason     check-in on cpython main
          source     cpython main aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
          covers     change 4705a1581893, no longer on record
          last pass  none: it never passed before, so there is nothing to compare with
          step       1/2 build-python  ? unknown
                     script SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw
                     isolation namespaces, network off
          step       2/2 test-project  - not run
          ordered    2026-11-22T18:01:40.000Z
          received   2026-11-22T18:01:39.000Z, 1.0 s before that, so the clocks differ
          started    2026-11-22T18:01:41.000Z, 2.0 s later
          ended      2026-11-22T18:01:42.000Z, stored 1.0 ms later
          command    SHA256:y0zJe6+F7L09szxprBXKA3taVApfcpR29vHGB0+kxso signed by SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw
          report     SHA256:gmkpYpzBzHz4P/W5PxFY+GRnpmXzw8bouS9WE5M2/Q8 signed by SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk
          ! the master cancelled it: not needed any more
          ! 2 commands bear this name; the first of them is shown
        ");
    board.apply(sample.reported(&order, 4, 3, finished(Verdict::Passed)));
    let shown = written(&board, 1, at(110));
    assert!(
        shown.starts_with("foo-maple/1  ✓ passed, 7 s ago, took 2.0 s\n"),
        "{shown}"
    );
}

#[test]
fn what_a_step_says_of_its_tests_limits_and_confinement_is_shown() {
    let sample = Sample::new();
    let mut board = sample.board();
    let order = sample.order("foo-maple", 1, 'a');
    board.apply(sample.ordered(1, &order));
    let mut first = started(0, at(101));
    let ReportBody::StepStarted {
        mapped, network, ..
    } = &mut first
    else {
        panic!("another report")
    };
    (*mapped, *network) = (Some(log_digest(b"as mapped")), Network::On);
    let mut second = ended(1, 1);
    let ReportBody::StepFinished { outcome, .. } = &mut second else {
        panic!("another report")
    };
    outcome.limit = Some(Limit::Memory);
    let test = |number: usize| FailedTest {
        name: text(&format!("tests.TestFoo.test_{number}")),
        message: (number == 0).then(|| text("AssertionError: 1 != 2")),
    };
    outcome.tests = Some(TestResults {
        failed: 32,
        failing: (0..25).map(test).collect(),
        unlisted: 7,
        warnings: vec![text("b.tap announces 5 tests, and has 1")],
        ..TestResults::default()
    });
    let mut last = finished(Verdict::Errored);
    if let ReportBody::Finished {
        isolation, network, ..
    } = &mut last
    {
        (*isolation, *network) = (Isolation::Namespaces, Network::Off);
    }
    let bodies = [first, ended(0, 0), started(1, at(110)), second];
    for (sequence, body) in (1..).zip(bodies) {
        board.apply(sample.reported(&order, sequence, sequence, body));
    }
    let running = written(&board, 1, at(110));
    assert_eq!(
        running.matches("isolation namespaces, network o").count(),
        2
    );
    board.apply(sample.reported(&order, 5, 20, last));
    insta::assert_snapshot!(written(&board, 1, at(300)), @"
        foo-maple/1  ! errored, 3 min ago, took 19.0 s
          failing    tests.TestFoo.test_0: AssertionError: 1 != 2
                     tests.TestFoo.test_1
                     tests.TestFoo.test_2
                     tests.TestFoo.test_3
                     tests.TestFoo.test_4
                     tests.TestFoo.test_5
                     tests.TestFoo.test_6
                     tests.TestFoo.test_7
                     tests.TestFoo.test_8
                     tests.TestFoo.test_9
                     tests.TestFoo.test_10
                     tests.TestFoo.test_11
                     tests.TestFoo.test_12
                     tests.TestFoo.test_13
                     tests.TestFoo.test_14
                     tests.TestFoo.test_15
                     tests.TestFoo.test_16
                     tests.TestFoo.test_17
                     tests.TestFoo.test_18
                     tests.TestFoo.test_19
                     and 12 more
          project    foo
          slave      maple
          reason     check-in on cpython main
          source     cpython main aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
          covers     change 4705a1581893, no longer on record
          last pass  none: it never passed before, so there is nothing to compare with
          step       1/2 build-python  ✓ passed, 9.4 s, exit 0, CPU 7.2 s, memory 90 MiB (sampled), 7 processes
                     log 6 bytes, SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM
                     script SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw
                     isolation namespaces, network on
                     the script was edited since its owner mapped it: SHA256:/B9hKjOh0z55gc7rhWCpP4fRU1+X7DezG+tNdpG8A6E then, SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw now
          step       2/2 test-project  ✗ FAILED, 9.4 s, exit 1, ended for going over its limit of memory, 0 tests passed, 32 failed, 0 skipped, CPU 7.2 s, memory 90 MiB (sampled), 7 processes
                     log 6 bytes, SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM
                     script SHA256:dchNIKCqkMWen0O760wOS9QuTFGES7y+zE80em6wToo
          ordered    2026-11-22T18:01:40.000Z
          ended      2026-11-22T18:02:00.000Z, stored 1.0 ms later
          isolation  namespaces, network off
          logs       SHA256:mPOPEtsiGoz4ynqt/c11mwHVLrTrs+7bstl+koBcaWA
          command    SHA256:y0zJe6+F7L09szxprBXKA3taVApfcpR29vHGB0+kxso signed by SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw
          report     SHA256:gevb/bP95PX9N3cBQilfd+CNG55CPJxvdqG4Bw5gfKQ signed by SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk
          ! test results: b.tap announces 5 tests, and has 1
        ");
}

#[test]
fn what_changed_since_the_last_pass_is_shown() {
    let sample = Sample::new();
    let mut board = sample.board();
    for (number, digit, verdict) in [(1, 'a', Verdict::Passed), (2, 'b', Verdict::Failed)] {
        let order = sample.order("foo-maple", number, digit);
        board.apply(sample.changed(number, digit));
        board.apply(sample.ordered(number, &order));
        for event in sample.run(&order, number * 10, verdict) {
            board.apply(event);
        }
    }
    let shown = written(&board, 2, at(300));
    let part = "
  last pass  foo-maple/1, 3 min ago
             cpython main aaaaaaaaaa → bbbbbbbbbb
             bbbbbbbbbb Remove frobnicate (Eve)
             more changes may lie in between: they are no longer on record
";
    assert!(shown.contains(part), "{shown}");
    assert!(!written(&board, 1, at(300)).contains("last pass"));
}

#[test]
fn a_build_gone_silent_is_lost() {
    let sample = Sample::new();
    let mut board = sample.board();
    board.apply(sample.ordered(1, &sample.order("foo-maple", 1, 'a')));
    let shown = written(&board, 1, at(420));
    let headline =
        "foo-maple/1  ! lost: no word from the slave, and it was to be accepted 4 min ago\n";
    assert!(shown.starts_with(headline), "{shown}");
}
