//! What a listener remembers of those who come: how many, which deliveries, and what it has said of them. Pure, and
//! bounded whatever comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::config::HooksLimits;
use crate::model::{RepositoryName, Timestamp};
use crate::trust::sha256;

/// How many deliveries are remembered.
const MAX_DELIVERIES: usize = 10_000;
/// How long nothing more is said of one kind of fault.
const SILENCE: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// What is wrong with a request, as far as the log is concerned.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Fault {
    Crowded,
    Unknown,
    Method,
    TooLong,
    Slow,
    Unsigned,
    SeenBefore,
    BusAway,
}

impl Fault {
    fn sentence(self) -> &'static str {
        match self {
            Self::Crowded => "too many requests or connections; the rest are turned away",
            Self::Unknown => "request for a repository that hooks.toml does not name",
            Self::Method => "request that is no POST",
            Self::TooLong => "body too long, not read",
            Self::Slow => "body not sent in time, or cut",
            Self::Unsigned => {
                "signature missing or wrong: is the secret the one that the forge has?"
            }
            Self::SeenBefore => "delivery came again, and was passed over",
            Self::BusAway => "bus cannot be reached, so deliveries are turned away",
        }
    }
}

/// The memory of a listener.
pub(super) struct Desk {
    limits: HooksLimits,
    /// The minute that is counted, since the epoch.
    minute: u64,
    all: u32,
    /// Never more than `all`.
    by_address: BTreeMap<IpAddr, u32>,
    /// In the order in which they came.
    deliveries: VecDeque<[u8; 32]>,
    known: BTreeSet<[u8; 32]>,
    /// When something was last said, and how often it was not said since.
    told: BTreeMap<(Option<RepositoryName>, Fault), (Timestamp, u64)>,
}

impl Desk {
    pub(super) fn new(limits: HooksLimits) -> Self {
        Self {
            limits,
            minute: 0,
            all: 0,
            by_address: BTreeMap::new(),
            deliveries: VecDeque::new(),
            known: BTreeSet::new(),
            told: BTreeMap::new(),
        }
    }

    /// Whether one more request from `address` is heard now.
    pub(super) fn admit(&mut self, address: IpAddr, now: Timestamp) -> bool {
        let minute = now.since(Timestamp(0)).as_secs() / MINUTE.as_secs();
        if minute != self.minute {
            self.minute = minute;
            self.all = 0;
            self.by_address.clear();
        }
        if self.all >= self.limits.per_minute {
            return false;
        }
        let from_there = self.by_address.entry(network(address)).or_default();
        // What is turned away takes nothing from the others.
        if *from_there >= self.limits.per_minute_and_address {
            return false;
        }
        *from_there += 1;
        self.all += 1;
        true
    }

    /// Whether this delivery is new. It is remembered from now on.
    pub(super) fn is_new(&mut self, repository: &RepositoryName, delivery: &[u8]) -> bool {
        let name = [repository.as_str().as_bytes(), b"/", delivery].concat();
        let digest = sha256(&name);
        if !self.known.insert(digest) {
            return false;
        }
        self.deliveries.push_back(digest);
        if self.deliveries.len() > MAX_DELIVERIES
            && let Some(oldest) = self.deliveries.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Says what is wrong, unless it was said of late. `repository` is one that is configured.
    pub(super) fn tell(
        &mut self,
        repository: Option<&RepositoryName>,
        fault: Fault,
        now: Timestamp,
    ) {
        if let Some(unsaid) = self.is_to_be_told(repository, fault, now) {
            let repository = repository.map(RepositoryName::as_str);
            tracing::warn!(
                repository,
                unsaid,
                "{}; said once an hour",
                fault.sentence()
            );
        }
    }

    /// How often it was not said since it was last said, if it is to be said now.
    fn is_to_be_told(
        &mut self,
        repository: Option<&RepositoryName>,
        fault: Fault,
        now: Timestamp,
    ) -> Option<u64> {
        let key = (repository.cloned(), fault);
        if let Some((said, unsaid)) = self.told.get_mut(&key)
            && now.since(*said) < SILENCE
        {
            *unsaid += 1;
            return None;
        }
        let earlier = self.told.insert(key, (now, 0));
        Some(earlier.map_or(0, |(_, unsaid)| unsaid))
    }
}

/// Whoever has one address of the newer kind has as many as they like of the same beginning.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::from((address.to_bits() & (u128::MAX << 64)).to_be_bytes()),
        old @ IpAddr::V4(_) => old,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn desk(per_minute: u32, per_minute_and_address: u32) -> Desk {
        Desk::new(HooksLimits {
            body: 1 << 20,
            header_time: MINUTE,
            body_time: MINUTE,
            connections: 1,
            per_minute,
            per_minute_and_address,
        })
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(0).after(Duration::from_secs(seconds))
    }

    #[test]
    fn so_many_are_heard_in_a_minute_from_one_address_and_in_all() {
        let mut desk = desk(5, 2);
        let heard = |desk: &mut Desk, address: &str, seconds| {
            desk.admit(address.parse().unwrap(), at(seconds))
        };
        assert!(heard(&mut desk, "192.0.2.1", 0));
        assert!(heard(&mut desk, "::ffff:192.0.2.1", 1));
        assert!(!heard(&mut desk, "192.0.2.1", 2));
        assert!(heard(&mut desk, "2001:db8::1", 3));
        assert!(heard(&mut desk, "2001:db8::ffff", 4));
        assert!(!heard(&mut desk, "192.0.2.2", 5), "five in all");
        assert!(heard(&mut desk, "192.0.2.1", 60));
    }

    #[test]
    fn one_address_that_never_rests_takes_the_place_of_no_other() {
        let mut desk = desk(5, 2);
        for _ in 0..1_000 {
            desk.admit("192.0.2.1".parse().unwrap(), at(0));
        }
        assert!(desk.admit("192.0.2.2".parse().unwrap(), at(1)));
    }

    #[test]
    fn a_delivery_is_new_once_for_each_repository() {
        let mut desk = desk(1, 1);
        let [python, foo] = ["python", "foo"].map(|name| name.parse().unwrap());
        assert!(desk.is_new(&python, b"1"));
        assert!(!desk.is_new(&python, b"1"));
        assert!(desk.is_new(&foo, b"1"));
        for number in 0..2 * MAX_DELIVERIES {
            desk.is_new(&python, &number.to_be_bytes());
        }
        assert_eq!(desk.known.len(), MAX_DELIVERIES);
        assert_eq!(desk.deliveries.len(), MAX_DELIVERIES);
    }

    #[test]
    fn a_fault_is_said_once_an_hour_with_how_often_it_came() {
        let mut desk = desk(1, 1);
        let python = "python".parse().unwrap();
        let mut told = |seconds| desk.is_to_be_told(Some(&python), Fault::Unsigned, at(seconds));
        assert_eq!(told(0), Some(0));
        assert_eq!(told(1), None);
        assert_eq!(told(3599), None);
        assert_eq!(told(3600), Some(2));
        assert_eq!(desk.is_to_be_told(None, Fault::Unsigned, at(1)), Some(0));
        assert_eq!(
            desk.is_to_be_told(Some(&python), Fault::Slow, at(1)),
            Some(0)
        );
    }

    proptest! {
        #[test]
        fn whoever_comes_and_whatever_the_clock_does_the_memory_is_bounded(
            comers in proptest::collection::vec((any::<u128>(), 0_u64..300), 0..200)
        ) {
            let mut desk = desk(20, 3);
            for (address, seconds) in comers {
                desk.admit(IpAddr::from(address.to_be_bytes()), at(seconds));
                prop_assert!(desk.by_address.len() <= 20 && desk.all <= 20);
            }
        }
    }
}
