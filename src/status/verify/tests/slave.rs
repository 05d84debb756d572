//! What is said of the slave's own words: reports and log.

use super::*;
use crate::model::Report;

#[test]
fn what_the_slave_itself_contradicts_is_named() {
    type Change = fn(&mut Case);
    let cases: &[(Change, &[&str])] = &[
        (
            |case| {
                case.bodies
                    .push(finished_with(Verdict::Passed, digest_of_two()));
            },
            &["E-DISPUTED report no. 7"],
        ),
        // It knew, and now it does not.
        (
            |case| {
                case.bodies.push(ReportBody::Lost {
                    detail: text("it was stopped"),
                });
            },
            &["E-DISPUTED report no. 7"],
        ),
        (
            |case| case.bodies.insert(5, ended(1, 0)),
            &["E-DISPUTED report no. 6"],
        ),
        (
            |case| case.bodies[5] = finished(Verdict::Passed),
            &["E-DIGEST the bundle"],
        ),
        (|case| case.bodies[1] = started(1, at(201)), &[]),
        (
            |case| case.order.steps.truncate(1),
            &["E-STEP report no. 4", "E-STEP report no. 5"],
        ),
        (
            |case| case.order.steps[0].script = Some(Digest([9; 32])),
            &["E-STEP report no. 2"],
        ),
        (
            |case| case.printed[1] = (1, b"jello\n"),
            &["E-DIGEST the log of step 2"],
        ),
        (
            |case| case.printed[1] = (1, b"hello\nworld\n"),
            &["E-DIGEST the log of step 2"],
        ),
        (|case| case.first = 1, &[]),
    ];
    for (number, (change, expected)) in cases.iter().enumerate() {
        let mut case = Case::new();
        change(&mut case);
        let mut found = codes(&case, &case.bundle());
        // A log that no step of the command wrote, and a digest over steps that are not there, follow from E-STEP.
        found.retain(|found| {
            !found.starts_with("E-LOG") && (number != 5 || found.starts_with("E-STEP"))
        });
        assert_eq!(found, *expected, "case {number}");
    }
}

#[test]
fn links_between_neighbours_must_hold_and_a_gap_is_told() {
    let mut case = Case::new();
    let whole = case.bundle();
    // Started is gone: nothing else names it, but the slave's own count does.
    let mut gap = whole.clone();
    gap.reports.remove(1);
    let verification = verify(case.sample.farm, &gap, &[]);
    assert!(verification.is_verified());
    assert!(
        verification.notes[0]
            .as_str()
            .starts_with("1 of the slave's reports from 17 to 22 ")
    );

    let relinked = |case: &Case, sequence: u64, previous: Option<PayloadId>| {
        let report = Report {
            previous,
            ..case
                .sample
                .said(&case.order, sequence, 1, started(0, at(201)))
        };
        Bytes::from(seal(&case.sample.maple, &case.sample.farm, &report).bytes)
    };
    let first = verify(case.sample.farm, &whole, &[]).reports[0].id();
    for (sequence, previous, expected) in [
        (17, None, "E-CHAIN report no. 2"),
        (17, Some(PayloadId([1; 32])), "E-CHAIN report no. 2"),
        (18, Some(PayloadId([2; 32])), "E-CHAIN report no. 2"),
        (18, None, "E-CHAIN report no. 2"),
        (19, Some(first), "E-CHAIN report no. 2"),
    ] {
        let reports = vec![
            whole.reports[0].clone(),
            relinked(&case, sequence, previous),
        ];
        let found = codes(
            &case,
            &Bundle {
                reports,
                ..whole.clone()
            },
        );
        assert_eq!(found[0], expected, "{sequence}");
    }
    case.first = 1;
    let reports = vec![relinked(&case, 1, Some(first))];
    assert_eq!(
        codes(
            &case,
            &Bundle {
                reports,
                log: None,
                ..case.bundle()
            }
        ),
        ["E-CHAIN report no. 1"]
    );
}

#[test]
fn a_log_that_is_not_whole_is_told_and_is_no_fault() {
    let case = Case::new();
    let checked = |log| {
        verify(
            case.sample.farm,
            &Bundle {
                log,
                ..case.bundle()
            },
            &[],
        )
    };
    let left_out = checked(None);
    assert!(left_out.is_verified() && left_out.logs.is_none());
    let gone = checked(Some(vec![]));
    assert!(gone.is_verified());
    assert_eq!(gone.missing_log(), 12);
    let half = checked(Some(vec![
        case.chunk(0, 4, b"o\n"),
        case.chunk(1, 0, b"hello\n"),
    ]));
    assert_eq!((half.is_verified(), half.missing_log()), (true, 4));
    let digests: Vec<Digested> = half.logs.unwrap().iter().map(|log| log.digest).collect();
    assert_eq!(digests, [Digested::Incomplete, Digested::Fits]);

    // What was sent twice after a crash overlaps; what says nothing new, or something else, has no place.
    let overlap = vec![
        case.chunk(0, 0, b"hell"),
        case.chunk(0, 2, b"llo\n"),
        case.chunk(1, 0, b"hello\n"),
    ];
    assert_eq!(findings(&checked(Some(overlap))), [""; 0]);
    let twice = vec![case.chunk(0, 0, b"hello\n"), case.chunk(0, 1, b"ell")];
    assert_eq!(
        findings(&checked(Some(twice))),
        ["E-UNNECESSARY piece no. 2 of the log"]
    );
    let contradiction = vec![case.chunk(0, 0, b"hello\n"), case.chunk(0, 1, b"a")];
    assert_eq!(
        findings(&checked(Some(contradiction))),
        ["E-DISPUTED piece no. 2 of the log"]
    );
}

#[test]
fn a_build_state_badge_and_one_that_was_lost_first_verify_as_what_they_are() {
    let mut case = Case::new();
    case.bodies.truncate(4);
    case.printed.truncate(1);
    let verification = verify(case.sample.farm, &case.bundle(), &[]);
    assert_eq!(
        (verification.is_verified(), verification.verdict()),
        (true, None)
    );
    case.bodies.clear();
    let unanswered = verify(
        case.sample.farm,
        &Bundle {
            log: None,
            ..case.bundle()
        },
        &[],
    );
    assert_eq!(
        (unanswered.is_verified(), unanswered.verdict()),
        (true, None)
    );
    let lost = ReportBody::Lost {
        detail: text("it was stopped"),
    };
    case.bodies = vec![lost, finished_with(Verdict::Passed, Digest(sha256(b"")))];
    let rescued = verify(
        case.sample.farm,
        &Bundle {
            log: None,
            ..case.bundle()
        },
        &[],
    );
    assert_eq!(
        (rescued.is_verified(), rescued.verdict()),
        (true, Some(Verdict::Passed))
    );
}

#[test]
fn times_that_run_backwards_are_told_and_not_judged() {
    let mut case = Case::new();
    case.order.issued = at(900);
    let reports = {
        let early = Case {
            order: Build {
                issued: at(200),
                ..case.order.clone()
            },
            ..Case::new()
        };
        let report = Report {
            command: id(&case.order),
            previous: None,
            ..early
                .sample
                .said(&early.order, 1, 0, early.bodies[0].clone())
        };
        vec![
            seal(&case.sample.maple, &case.sample.farm, &report)
                .bytes
                .into(),
        ]
    };
    let verification = verify(
        case.sample.farm,
        &Bundle {
            reports,
            log: None,
            ..case.bundle()
        },
        &[],
    );
    assert!(verification.is_verified());
    assert!(
        verification.notes[0]
            .as_str()
            .ends_with("the clocks differ")
    );
}
