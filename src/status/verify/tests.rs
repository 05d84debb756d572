//! What a bundle proves, and what is said of one that was tampered with.

mod keyrings;
mod slave;

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
    findings(&verify(case.sample.farm, bundle, &[]))
}

#[test]
fn an_untouched_bundle_verifies_with_nothing_but_the_farm_id() {
    let case = Case::new();
    let file = case.bundle().to_bytes().unwrap();
    let verification = verify_file(case.sample.farm, &file, &[]);
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
    let judged = "judged by keyring 0.0; a newer one, if there is one, may say otherwise";
    assert_eq!(verification.notes, [text(judged)]);
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
    // A part that is added one day must be tried, too.
    let Bundle {
        keyrings,
        rosters,
        command: _,
        cancel,
        reports,
        log,
    } = &bundle;
    let parts = [keyrings, rosters, reports, log.as_ref().unwrap()].map(Vec::len);
    assert_eq!((parts, cancel.is_some()), ([1; 4], true));
    let file = bundle.to_bytes().unwrap();
    assert!(verify_file(case.sample.farm, &file, &[]).is_verified());
    let accepted = |from: usize, step: usize| -> Vec<usize> {
        let is_accepted = |bit: &usize| {
            let mut flipped = file.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            verify_file(case.sample.farm, &flipped.into(), &[]).is_verified()
        };
        let bits = (from..file.len() * 8).step_by(step);
        bits.filter(is_accepted).collect()
    };
    // Some 15,000 bits, and several signatures for each: two halves at once.
    let (even, odd) = std::thread::scope(|scope| {
        let even = scope.spawn(|| accepted(0, 2));
        let odd = accepted(1, 2);
        (even.join().unwrap(), odd)
    });
    assert_eq!((even, odd), (vec![], vec![]), "bits that do not matter");
}

#[test]
fn what_was_taken_away_or_exchanged_is_named() {
    type Change = fn(&Case, &mut Bundle);
    /// Another build of the same slave.
    fn other(builder: &str, number: u64) -> Case {
        let mut case = Case::new();
        case.order = case.sample.order(builder, number, 'b');
        case
    }
    let cases: &[(Change, &str)] = &[
        (|_, it| it.keyrings.clear(), "E-MISSING the bundle"),
        (|_, it| it.rosters.clear(), "E-MISSING the bundle"),
        (
            |case, it| it.rosters.push(case.roster(2)),
            "E-UNNECESSARY roster no. 2",
        ),
        (
            |_, it| it.keyrings.extend_from_within(..),
            "E-UNNECESSARY keyring no. 2",
        ),
        (
            |case, it| it.keyrings[0] = case.roster(3),
            "E-ENVELOPE keyring no. 1",
        ),
        (
            |_, it| it.command = it.reports[0].clone(),
            "E-KIND the command",
        ),
        (
            |case, it| it.command = case.cancel(case.command_id()),
            "E-COMMAND the command",
        ),
        (
            |case, it| it.cancel = Some(case.cancel(other("foo-maple", 3).command_id())),
            "E-COMMAND the cancel",
        ),
        (
            |_, it| it.cancel = Some(it.command.clone()),
            "E-COMMAND the cancel",
        ),
        (|_, it| it.reports.swap(2, 3), "E-ORDER report no. 4"),
        (|_, it| drop(it.reports.remove(4)), "E-DIGEST the bundle"),
        (
            |_, it| it.reports.push(it.reports[5].clone()),
            "E-ORDER report no. 7",
        ),
        (
            |_, it| it.reports.push(it.command.clone()),
            "E-KIND report no. 7",
        ),
        (
            |_, it| it.reports.push(other("foo-maple", 3).reports()[0].clone()),
            "E-ANSWER report no. 7",
        ),
        (
            |_, it| it.reports = other("bar-maple", 2).reports(),
            "E-ANSWER report no. 1",
        ),
        (
            |_, it| it.log = other("foo-maple", 3).bundle().log,
            "E-LOG piece no. 1 of the log",
        ),
        (
            |_, it| it.log.iter_mut().for_each(|log| log.reverse()),
            "E-ORDER piece no. 2 of the log",
        ),
    ];
    for (number, (change, expected)) in cases.iter().enumerate() {
        let case = Case::new();
        let mut bundle = case.bundle();
        change(&case, &mut bundle);
        let found = codes(&case, &bundle);
        let first = found.first().map(String::as_str);
        assert_eq!(first, Some(*expected), "case {number}: {found:?}");
    }
}

#[test]
fn another_farms_bundle_is_refused_by_its_keyring_and_shows_nothing() {
    let case = Case::new();
    let verification = verify(FarmId([9; 32]), &case.bundle(), &[]);
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
        assert_eq!(
            findings(&verify_file(case.sample.farm, &file, &[])),
            [expected]
        );
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
        &[],
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
            &[],
        )
    };
    let gone = rostered(|roster| drop(roster.lines.remove(0)));
    assert_eq!(findings(&gone), ["E-SLAVE-KEY roster no. 1"]);
    let renamed = rostered(|roster| roster.lines[0].slave = "oak".parse().unwrap());
    assert_eq!(findings(&renamed), ["E-SLAVE-KEY roster no. 1"]);
    let closed = rostered(|roster| roster.lines[0].closed = Some(at(900)));
    assert!(closed.is_verified());
    assert_eq!(
        closed.notes[0],
        text("slave maple left the farm at 2026-11-22T18:15:00.000Z")
    );
    let cut_off = rostered(|roster| roster.lines[0].state = SlaveState::Revoked);
    assert!(cut_off.is_verified());
    assert_eq!(
        cut_off.notes[0],
        text("the operator has cut slave maple off since")
    );
}
