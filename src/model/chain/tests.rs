//! Chains whole and not, told in any order.

use super::*;
use crate::model::{FarmId, Position, ReportBody, SlaveName};
use proptest::prelude::*;

/// A report of number `.0`, whose id begins with `.1` and who names an id beginning with `.2`, by start `.3` of its slave.
type Told = (u64, u8, u8, u8);

fn id(byte: u8) -> PayloadId {
    PayloadId([byte; 32])
}

fn slave() -> SlaveName {
    "maple".parse().unwrap()
}

fn report((sequence, _, previous, instance): Told, builder: &str) -> Report {
    Report {
        farm: FarmId([0; 32]),
        slave: slave(),
        instance: InstanceId([instance; 16]),
        builder: builder.parse().unwrap(),
        command: PayloadId([0; 32]),
        number: 1,
        sequence,
        previous: (previous > 0).then(|| id(previous)),
        keyring: Position::default(),
        issued: Timestamp(0),
        experiment: None,
        body: ReportBody::Accepted {
            received: Timestamp(0),
        },
    }
}

fn presence(sequence: u64, newest: u8, instance: u8, issued: Timestamp) -> Presence {
    Presence {
        farm: FarmId([0; 32]),
        slave: slave(),
        instance: InstanceId([instance; 16]),
        issued,
        sequence,
        newest: (newest > 0).then(|| id(newest)),
        builders: BTreeMap::new(),
        keyring: Position::default(),
        load: 0,
        paused_until: None,
        rejected: 0,
        clock: None,
    }
}

fn chain(told: &[Told]) -> ReportChain {
    let mut chain = ReportChain::default();
    for told in told {
        chain.report(id(told.1), &report(*told, "foo"));
    }
    chain
}

fn seconds(seconds: u64) -> Timestamp {
    Timestamp(1_000_000_000).after(Duration::from_secs(seconds))
}

#[test]
fn a97_a13_what_is_missing_broken_or_forked_is_told_and_nothing_else() {
    // Reports; how many are missing, broken and forked, from which number on, and whether there are two slaves.
    type Case = (&'static [Told], (u64, u64, u64, Option<u64>, bool));
    let cases: &[Case] = &[
        (&[], (0, 0, 0, None, false)),
        (
            &[(1, 1, 0, 7), (2, 2, 1, 7), (3, 3, 2, 8)],
            (0, 0, 0, None, false),
        ),
        // What came before the first one may have been retired.
        (&[(5, 5, 4, 7), (6, 6, 5, 7)], (0, 0, 0, None, false)),
        (&[(1, 1, 0, 7), (4, 4, 3, 7)], (2, 0, 0, None, false)),
        (
            &[(1, 1, 0, 7), (3, 3, 2, 7), (6, 6, 5, 7)],
            (3, 0, 0, None, false),
        ),
        // Names another one, none at all, or one before the first.
        (&[(1, 1, 0, 7), (2, 2, 9, 7)], (0, 1, 0, None, false)),
        (&[(1, 1, 0, 7), (2, 2, 0, 7)], (0, 1, 0, None, false)),
        (&[(8, 8, 0, 7)], (0, 1, 0, None, false)),
        (&[(1, 1, 9, 7)], (0, 1, 0, None, false)),
        (&[(0, 1, 0, 7)], (0, 1, 0, None, false)),
        // Two under one number, and both go on.
        (
            &[(1, 1, 0, 7), (2, 2, 1, 7), (2, 3, 1, 7), (3, 4, 3, 7)],
            (0, 0, 1, Some(2), false),
        ),
        (
            &[
                (1, 1, 0, 7),
                (2, 2, 1, 7),
                (2, 3, 1, 8),
                (3, 4, 3, 8),
                (3, 5, 2, 7),
            ],
            (0, 0, 2, Some(2), true),
        ),
    ];
    for (told, (missing, broken, forked, forked_from, cloned)) in cases {
        let expected = ChainFaults {
            missing: *missing,
            broken: *broken,
            forked: *forked,
            forked_from: *forked_from,
            cloned: *cloned,
        };
        assert_eq!(chain(told).faults(seconds(0)), expected, "{told:?}");
    }
}

#[test]
fn a97_what_a_builder_lost_before_its_first_report_may_have_been_retired() {
    // Numbers held of each builder; how many are missing.
    let cases: &[(&[u8], &[u8], u64)] = &[
        (&[5, 9], &[7], 1),
        (&[1, 2, 4, 6], &[3, 5], 0),
        (&[1, 3], &[8, 9], 0),
        (&[1, 8], &[2, 3], 4),
    ];
    for (foo, bar, missing) in cases {
        let mut chain = ReportChain::default();
        for (numbers, builder) in [(foo, "foo"), (bar, "bar")] {
            for number in *numbers {
                let told = (u64::from(*number), *number, number - 1, 7);
                chain.report(id(*number), &report(told, builder));
            }
        }
        assert_eq!(
            chain.faults(seconds(0)).missing,
            *missing,
            "{foo:?} {bar:?}"
        );
    }
}

#[test]
fn a97_a_gap_is_told_where_it_lies() {
    let chain = chain(&[(1, 1, 0, 7), (4, 4, 3, 7), (5, 5, 9, 7), (9, 9, 8, 7)]);
    let missing = |from, to| chain.faults_within(from, to).missing;
    assert_eq!((missing(1, 4), missing(4, 5), missing(5, 9)), (2, 0, 3));
    assert_eq!((missing(3, 3), missing(6, 7), missing(9, 3)), (1, 2, 0));
    let before = |sequence| chain.missing_before(sequence);
    assert_eq!((before(1), before(4), before(5), before(9)), (0, 2, 0, 3));
    assert!(chain.is_broken_at(5) && !chain.is_broken_at(4));
}

#[test]
fn a97_a_report_that_signs_of_life_name_is_missing_once_it_should_be_there() {
    let mut held = chain(&[(1, 1, 0, 7), (2, 2, 1, 7)]);
    let missing = |chain: &ReportChain, now| chain.faults(seconds(now)).missing;
    held.sign_of_life(&presence(2, 2, 7, seconds(0)));
    assert_eq!(missing(&held, 10_000), 0);
    held.sign_of_life(&presence(4, 4, 7, seconds(100)));
    held.sign_of_life(&presence(5, 5, 7, seconds(130)));
    // By the slave's own clock only 30 seconds have gone by.
    assert_eq!(missing(&held, 130), 0);
    held.sign_of_life(&presence(5, 5, 7, seconds(160)));
    assert_eq!(missing(&held, 160), 2);
    held.sign_of_life(&presence(5, 5, 7, seconds(190)));
    assert_eq!(missing(&held, 190), 3);
    // A slave that says no more says no less.
    assert_eq!(missing(&held, 10_000), 3);
    for number in 3..=5 {
        let told = (u64::from(number), number, number - 1, 7);
        held.report(id(number), &report(told, "foo"));
    }
    assert_eq!(missing(&held, 10_000), 0);

    let mut nothing = ReportChain::default();
    nothing.sign_of_life(&presence(0, 0, 7, seconds(0)));
    assert_eq!(missing(&nothing, 10_000), 0);
    nothing.sign_of_life(&presence(9, 9, 7, seconds(0)));
    assert_eq!((missing(&nothing, 0), missing(&nothing, 10_000)), (0, 1));
}

#[test]
fn a13_a_copy_that_only_says_that_it_is_alive_shows_itself() {
    let mut held = chain(&[(1, 1, 0, 7), (2, 2, 1, 7)]);
    held.sign_of_life(&presence(2, 2, 8, seconds(0)));
    assert!(held.faults(seconds(0)).is_none(), "only started again");
    held.sign_of_life(&presence(2, 9, 8, seconds(1)));
    let faults = held.faults(seconds(1));
    assert_eq!((faults.forked_from, faults.cloned), (Some(2), true));
}

#[test]
fn a_slave_that_floods_is_held_to_what_is_newest() {
    let most = ReportChain::MAX_HELD as u64;
    let mut chain = ReportChain::default();
    for sequence in 1..=most + 10 {
        let mut one = [0; 32];
        one[..8].copy_from_slice(&sequence.to_be_bytes());
        chain.report(PayloadId(one), &report((sequence, 0, 9, 7), "foo"));
    }
    assert_eq!((chain.links.len(), chain.held), (16_384, 16_384));
    assert_eq!(chain.starts, BTreeSet::from([11]));
    // The oldest one held has none before it to name.
    assert_eq!(chain.broken.len(), 16_383);
    for byte in 1..=20 {
        chain.report(id(byte), &report((most, byte, 9, 7), "foo"));
        let builder = format!("foo-{byte}");
        chain.report(id(byte), &report((1, byte, 0, 7), &builder));
        chain.sign_of_life(&presence(most, byte, 7, seconds(0)));
        chain.sign_of_life(&presence(most * 2 + u64::from(byte) * 9, 1, 7, seconds(0)));
    }
    assert_eq!(chain.at(most).count(), ReportChain::MAX_FORKS);
    assert_eq!(chain.oldest(), Some(11));
    assert!(chain.named.len() <= ReportChain::MAX_NAMED);
    assert!(chain.named.values().all(|ids| ids.len() <= 4));
}

/// One thing that a slave, or several with its key, may have said.
#[derive(Clone, Debug)]
enum Said {
    Report(Told, &'static str),
    Presence(u64, u8, u8, u64),
}

fn said() -> impl Strategy<Value = Said> {
    let told = (0..8_u64, 0..7_u8, 0..20_u8, 1..3_u8);
    let builder = prop::sample::select(vec!["foo", "bar"]);
    let report = (told, builder).prop_map(|((sequence, variant, previous, instance), builder)| {
        // An id stands for one content.
        let byte = u8::try_from(sequence).unwrap() * 30 + variant + 1;
        let previous = if variant == 0 {
            byte.saturating_sub(30)
        } else {
            previous
        };
        let instance = if variant == 0 { 1 } else { instance };
        Said::Report((sequence, byte, previous, instance), builder)
    });
    let presence = (0..10_u64, 1..4_u8, 1..3_u8, 0..300_u64).prop_map(
        |(sequence, variant, instance, issued)| {
            let byte = u8::try_from(sequence * 25).unwrap() + variant;
            Said::Presence(sequence, byte, instance, issued)
        },
    );
    prop_oneof![4 => report, 1 => presence]
}

fn fold(said: &[Said]) -> ReportChain {
    let mut chain = ReportChain::default();
    for said in said {
        match said {
            Said::Report(told, builder) => chain.report(id(told.1), &report(*told, builder)),
            Said::Presence(sequence, newest, instance, issued) => {
                chain.sign_of_life(&presence(*sequence, *newest, *instance, seconds(*issued)));
            }
        }
    }
    chain
}

proptest! {
    #[test]
    fn the_same_words_in_any_order_and_any_number_of_times_give_the_same_chain(
        (said, shuffled) in prop::collection::vec(said(), 0..40).prop_flat_map(|said| {
            // One id stands for one report, whoever tells of it.
            let mut known = BTreeMap::new();
            let said: Vec<Said> = said
                .into_iter()
                .map(|said| match said {
                    Said::Report(told, builder) => {
                        let (told, builder) = *known.entry(told.1).or_insert((told, builder));
                        Said::Report(told, builder)
                    }
                    other @ Said::Presence(..) => other,
                })
                .collect();
            let twice: Vec<Said> = said.iter().chain(&said).cloned().collect();
            (Just(said), Just(twice).prop_shuffle())
        }),
    ) {
        let (chain, shuffled) = (fold(&said), fold(&shuffled));
        prop_assert_eq!(format!("{chain:?}"), format!("{shuffled:?}"));
        prop_assert_eq!(chain.faults(seconds(400)), shuffled.faults(seconds(400)));
    }

    #[test]
    fn a97_every_report_that_is_held_back_between_two_others_is_missed(
        length in 3..30_u8,
        dropped in prop::collection::btree_set(2..29_u8, 0..10),
    ) {
        let told: Vec<Told> = (1..=length)
            .filter(|number| *number == length || !dropped.contains(number))
            .map(|number| (u64::from(number), number, number - 1, 7))
            .collect();
        let missing = usize::from(length) - told.len();
        let faults = chain(&told).faults(seconds(0));
        prop_assert_eq!(faults, ChainFaults { missing: missing as u64, ..ChainFaults::default() });
    }
}
