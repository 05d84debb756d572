//! What a bundle proves, and what is said of one that was tampered with.

use super::sample::{Case, digest_of_two, finished_with};
use super::*;
use crate::model::{Build, Digest, PayloadId, ReportBody};
use crate::status::sample::{at, ended, finished, id, started, text};
use crate::trust::{seal, sha256};

/// Code and part of each finding.
fn findings(verification: &Verification) -> Vec<String> {
    let findings = verification.findings.iter();
    findings
        .map(|found| format!("{} {}", found.code, found.part))
        .collect()
}

fn codes(case: &Case, bundle: &Bundle) -> Vec<String> {
    findings(&verify(case.sample.farm, bundle))
}

#[test]
fn an_untouched_bundle_verifies_with_nothing_but_the_farm_id() {
    let case = Case::new();
    let file = case.bundle().to_bytes().unwrap();
    let verification = verify_file(case.sample.farm, &file);
    assert_eq!(findings(&verification), [""; 0]);
    assert!(verification.is_verified());
    assert_eq!(verification.verdict(), Some(Verdict::Failed));
    assert_eq!(verification.reports.len(), 6);
    assert_eq!(
        verification.slave().unwrap().report_key,
        case.sample.maple.public()
    );
    let digests: Vec<Digested> = verification
        .logs
        .unwrap()
        .iter()
        .map(|log| log.digest)
        .collect();
    assert_eq!(digests, [Digested::Fits; 2]);
    assert_eq!(verification.notes, []);
}

#[test]
fn every_single_bit_of_a_bundle_matters() {
    let case = Case::small();
    let mut roster = case.sample.roster(3);
    roster.lines.truncate(1);
    let roster = seal(&case.sample.signing, &case.sample.farm, &roster);
    let bundle = Bundle {
        rosters: vec![roster.bytes.into()],
        cancel: Some(case.cancel(id(&case.order))),
        ..case.bundle()
    };
    let file = bundle.to_bytes().unwrap();
    assert!(verify_file(case.sample.farm, &file).is_verified());
    let accepted = |from: usize, step: usize| -> Vec<usize> {
        let is_accepted = |bit: &usize| {
            let mut flipped = file.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            verify_file(case.sample.farm, &flipped.into()).is_verified()
        };
        let bits = (from..file.len() * 8).step_by(step);
        bits.filter(is_accepted).collect()
    };
    // Some 18,000 bits, and several signatures for each: two halves at once.
    let (even, odd) = std::thread::scope(|scope| {
        let even = scope.spawn(|| accepted(0, 2));
        let odd = accepted(1, 2);
        (even.join().unwrap(), odd)
    });
    assert_eq!((even, odd), (vec![], vec![]), "bits that do not matter");
}

#[test]
fn what_was_taken_away_or_exchanged_is_named() {
    let case = Case::new();
    let whole = case.bundle();
    let other = Case {
        order: case.sample.order("foo-maple", 3, 'b'),
        ..Case::new()
    };
    let bar = Case {
        order: case.sample.order("bar-maple", 2, 'a'),
        ..Case::new()
    };
    let swapped = {
        let mut reports = whole.reports.clone();
        reports.swap(2, 3);
        reports
    };
    let without = |place: usize| {
        let mut reports = whole.reports.clone();
        reports.remove(place);
        reports
    };
    let with = |more: Bytes| [whole.reports.clone(), vec![more]].concat();
    let cases = [
        (
            "no keyring",
            Bundle {
                keyrings: vec![],
                ..whole.clone()
            },
            "E-MISSING the bundle",
        ),
        (
            "no roster",
            Bundle {
                rosters: vec![],
                ..whole.clone()
            },
            "E-MISSING the bundle",
        ),
        (
            "two rosters",
            Bundle {
                rosters: vec![case.roster(3), case.roster(2)],
                ..whole.clone()
            },
            "E-UNNECESSARY roster no. 2",
        ),
        (
            "the keyring twice",
            Bundle {
                keyrings: [whole.keyrings.clone(), whole.keyrings.clone()].concat(),
                ..whole.clone()
            },
            "E-UNNECESSARY keyring no. 2",
        ),
        (
            "a report as command",
            Bundle {
                command: whole.reports[0].clone(),
                ..whole.clone()
            },
            "E-KIND the command",
        ),
        (
            "a cancel as command",
            Bundle {
                command: case.cancel(id(&case.order)),
                ..whole.clone()
            },
            "E-COMMAND the command",
        ),
        (
            "a cancel of another",
            Bundle {
                cancel: Some(case.cancel(id(&other.order))),
                ..whole.clone()
            },
            "E-COMMAND the cancel",
        ),
        (
            "a build as cancel",
            Bundle {
                cancel: Some(whole.command.clone()),
                ..whole.clone()
            },
            "E-COMMAND the cancel",
        ),
        (
            "a roster as keyring",
            Bundle {
                keyrings: vec![case.roster(3)],
                ..whole.clone()
            },
            "E-ENVELOPE keyring no. 1",
        ),
        (
            "reports swapped",
            Bundle {
                reports: swapped,
                ..whole.clone()
            },
            "E-ORDER report no. 4",
        ),
        (
            "a step's end gone",
            Bundle {
                reports: without(4),
                ..whole.clone()
            },
            "E-DIGEST the bundle",
        ),
        (
            "a report twice",
            Bundle {
                reports: with(whole.reports[5].clone()),
                ..whole.clone()
            },
            "E-ORDER report no. 7",
        ),
        (
            "another build's report",
            Bundle {
                reports: with(other.reports()[0].clone()),
                ..whole.clone()
            },
            "E-ANSWER report no. 7",
        ),
        (
            "another builder's report",
            Bundle {
                reports: bar.reports(),
                ..whole.clone()
            },
            "E-ANSWER report no. 1",
        ),
        (
            "the command as report",
            Bundle {
                reports: with(whole.command.clone()),
                ..whole.clone()
            },
            "E-KIND report no. 7",
        ),
        (
            "another log",
            Bundle {
                log: Some(other.bundle().log.unwrap()),
                ..whole.clone()
            },
            "E-LOG piece no. 1 of the log",
        ),
        (
            "pieces swapped",
            Bundle {
                log: whole.log.clone().map(|log| log.into_iter().rev().collect()),
                ..whole.clone()
            },
            "E-ORDER piece no. 2 of the log",
        ),
    ];
    for (what, bundle, expected) in cases {
        let found = codes(&case, &bundle);
        assert_eq!(
            found.first().map(String::as_str),
            Some(expected),
            "{what}: {found:?}"
        );
    }
}

#[test]
fn what_the_slave_itself_contradicts_is_named() {
    type Change = fn(&mut Case);
    let cases: &[(Change, &[&str])] = &[
        (
            |case| {
                case.bodies
                    .push(finished_with(Verdict::Passed, digest_of_two()))
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
            !found.starts_with("E-LOG") && (number != 4 || found.starts_with("E-STEP"))
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
    let verification = verify(case.sample.farm, &gap);
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
    let first = verify(case.sample.farm, &whole).reports[0].id();
    for (sequence, previous, expected) in [
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
fn a_build_under_way_and_one_that_was_lost_first_verify_as_what_they_are() {
    let mut case = Case::new();
    case.bodies.truncate(4);
    case.printed.truncate(1);
    let verification = verify(case.sample.farm, &case.bundle());
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
    );
    assert_eq!(
        (rescued.is_verified(), rescued.verdict()),
        (true, Some(Verdict::Passed))
    );
}

#[test]
fn another_farms_bundle_is_refused_by_its_keyring_and_shows_nothing() {
    let case = Case::new();
    let verification = verify(FarmId([9; 32]), &case.bundle());
    assert_eq!(findings(&verification), ["E-FARM keyring no. 1"]);
    assert!(verification.build.is_none() && verification.reports.is_empty());
}

#[test]
fn a_file_that_is_no_bundle_is_a_finding_like_any_other() {
    let case = Case::new();
    let file = case.bundle().to_bytes().unwrap();
    for (file, expected) in [
        (Bytes::new(), "E-BUNDLE the bundle"),
        (Bytes::from_static(b"a text\n"), "E-BUNDLE the bundle"),
        (file.slice(..file.len() - 1), "E-TRUNCATED the bundle"),
    ] {
        assert_eq!(findings(&verify_file(case.sample.farm, &file)), [expected]);
    }
}

#[test]
fn a_stolen_keys_command_counts_only_if_the_slave_answered_it() {
    let case = Case::new();
    let stolen = case.command(&case.sample.stolen, &Command::Build(case.order.clone()));
    let answered = verify(
        case.sample.farm,
        &Bundle {
            command: stolen.clone(),
            ..case.bundle()
        },
    );
    assert!(answered.is_verified());
    assert!(answered.notes[0].as_str().contains("a key that was stolen"));
    let alone = Bundle {
        command: stolen,
        reports: vec![],
        log: None,
        ..case.bundle()
    };
    assert_eq!(codes(&case, &alone), ["E-UNPROVEN the command"]);
    let roster = seal(
        &case.sample.stolen,
        &case.sample.farm,
        &case.sample.roster(3),
    );
    let rosters = vec![roster.bytes.into()];
    assert_eq!(
        codes(
            &case,
            &Bundle {
                rosters,
                ..case.bundle()
            }
        ),
        ["E-REVOKED roster no. 1"]
    );
}

#[test]
fn a_roster_must_give_the_commands_key_to_the_commands_slave() {
    let case = Case::new();
    let rostered = |change: fn(&mut Roster)| {
        let mut roster = case.sample.roster(3);
        change(&mut roster);
        let roster = seal(&case.sample.signing, &case.sample.farm, &roster);
        verify(
            case.sample.farm,
            &Bundle {
                rosters: vec![roster.bytes.into()],
                ..case.bundle()
            },
        )
    };
    let gone = rostered(|roster| drop(roster.lines.remove(0)));
    assert_eq!(findings(&gone), ["E-SLAVE-KEY roster no. 1"]);
    let renamed = rostered(|roster| roster.lines[0].slave = "oak".parse().unwrap());
    assert_eq!(findings(&renamed), ["E-SLAVE-KEY roster no. 1"]);
    let closed = rostered(|roster| roster.lines[0].closed = Some(at(900)));
    assert!(closed.is_verified());
    assert_eq!(
        closed.notes,
        [text(
            "slave maple left the farm at 2026-11-22T18:15:00.000Z"
        )]
    );
    let cut_off = rostered(|roster| roster.lines[0].state = SlaveState::Revoked);
    assert!(cut_off.is_verified());
    assert_eq!(
        cut_off.notes,
        [text("the operator has cut slave maple off since")]
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
    );
    assert!(verification.is_verified());
    assert!(
        verification.notes[0]
            .as_str()
            .ends_with("the clocks differ")
    );
}
