//! What the slave remembers.

use super::*;

fn journal(folder: &Path) -> Journal {
    Journal::open(&folder.join("journal.db")).unwrap()
}

#[test]
fn a_decided_command_is_known_after_a_restart_until_it_may_be_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let id = PayloadId([1; 32]);
    let decided = Entry::Decided {
        id,
        what: Decided::Refused,
        forget_after: Timestamp(10),
    };
    journal(folder.path())
        .commit(Timestamp(5), &[decided])
        .unwrap();
    assert_eq!(
        journal(folder.path()).decided(&id).unwrap(),
        Some(Decided::Refused)
    );
    assert_eq!(journal(folder.path()).high_water().unwrap(), Timestamp(5));
    journal(folder.path()).commit(Timestamp(11), &[]).unwrap();
    assert_eq!(journal(folder.path()).decided(&id).unwrap(), None);
}

#[test]
fn a_running_build_is_never_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let id = PayloadId([1; 32]);
    let mut journal = journal(folder.path());
    let entries = [
        Entry::Decided {
            id,
            what: Decided::Accepted,
            forget_after: Timestamp(10),
        },
        Entry::Build {
            id,
            signer: KeyId([2; 32]),
            builder: "foo".parse().unwrap(),
            number: 3,
            payload: vec![1],
        },
    ];
    journal.commit(Timestamp(5), &entries).unwrap();
    journal.commit(Timestamp(11), &[]).unwrap();
    assert_eq!(journal.decided(&id).unwrap(), Some(Decided::Accepted));
    assert_eq!(journal.open_builds().unwrap().len(), 1);
    assert_eq!(journal.numbers().unwrap(), [("foo".to_owned(), 3)]);
    journal.commit(Timestamp(12), &[Entry::Ended(id)]).unwrap();
    assert!(journal.open_builds().unwrap().is_empty());
}

#[test]
fn reports_wait_in_order_and_the_chain_outlives_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = journal(folder.path());
    for sequence in 1..=2 {
        let report = PayloadId([u8::try_from(sequence).unwrap(); 32]);
        let said = Entry::Said {
            sequence,
            report,
            subject: "s".to_owned(),
            envelope: vec![],
        };
        journal.commit(Timestamp(1), &[said]).unwrap();
    }
    assert_eq!(journal.waiting().unwrap().unwrap().sequence, 1);
    journal
        .commit(
            Timestamp(1),
            &[
                Entry::Sent {
                    sequence: 1,
                    place: 7,
                },
                Entry::Sent {
                    sequence: 2,
                    place: 9,
                },
            ],
        )
        .unwrap();
    assert!(journal.waiting().unwrap().is_none());
    assert_eq!(journal.sent_place().unwrap(), 9);
    assert_eq!(
        journal.newest_report().unwrap(),
        (2, Some(PayloadId([2; 32])))
    );
}

#[test]
fn a_look_from_beside_sees_what_waits_and_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("50% of #1? yes");
    std::fs::create_dir(&place).unwrap();
    let path = place.join("journal.db");
    assert!(Journal::look(&path).unwrap().is_none(), "none was made");
    let names = || {
        let entries = std::fs::read_dir(&place).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let mut open = journal(&place);
    let said = Entry::Said {
        sequence: 1,
        report: PayloadId([1; 32]),
        subject: "s".to_owned(),
        envelope: vec![1],
    };
    open.commit(Timestamp(5), &[said]).unwrap();
    let waiting = || {
        let before = names();
        let looking = Journal::look(&path).unwrap().unwrap();
        let waiting = looking.reports_waiting().unwrap();
        assert!(looking.db.execute("DELETE FROM outbox", []).is_err());
        drop(looking);
        assert_eq!(names(), before);
        waiting
    };
    assert_eq!(waiting(), 1, "beside a slave");
    drop(open);
    assert_eq!(waiting(), 1, "after its end");
}
