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
