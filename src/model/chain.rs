//! The chain of one slave's reports: each is numbered, and names the one before.
//!
//! Whoever holds a bus can keep a report back, and whoever holds a copy of a slave can speak in its name. Neither can do it
//! without a trace here. Pure, and free of order: the same reports and signs of life, in any order and any number of times,
//! give the same chain. Both readers of reports fold it, the master and every viewer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{BuilderName, InstanceId, PayloadId, Presence, Report, Timestamp};

/// What is wrong with a chain, counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct ChainFaults {
    /// Reports that must exist and are not held.
    pub missing: u64,
    /// Numbers under which a report is held that does not name the report before it.
    pub broken: u64,
    /// Numbers under which the slave has signed two different reports.
    pub forked: u64,
    /// The first of those.
    pub forked_from: Option<u64>,
    /// Whether two starts of the slave's process speak side by side: it was copied, or set back to an earlier state.
    pub cloned: bool,
}

impl ChainFaults {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The faults of two parts of one chain together, the earlier part first.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        Self {
            missing: self.missing.saturating_add(later.missing),
            broken: self.broken.saturating_add(later.broken),
            forked: self.forked.saturating_add(later.forked),
            forked_from: self.forked_from.or(later.forked_from),
            cloned: self.cloned || later.cloned,
        }
    }
}

/// What the chain keeps of one report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Link {
    previous: Option<PayloadId>,
    instance: InstanceId,
}

/// The newest report, as signs of life name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Named {
    /// By the earliest of them, by the slave's clock.
    since: Timestamp,
    instance: InstanceId,
}

/// The reports that one report key has signed, across builders and starts of its slave.
#[derive(Clone, Debug, Default)]
pub struct ReportChain {
    links: BTreeMap<(u64, PayloadId), Link>,
    /// The lowest number that each builder was ever reported under.
    first: BTreeMap<BuilderName, u64>,
    /// Numbers that are held while the one before is not.
    starts: BTreeSet<u64>,
    broken: BTreeSet<u64>,
    forked: BTreeSet<u64>,
    /// How many numbers are held.
    held: usize,
    named: BTreeMap<u64, BTreeMap<PayloadId, Named>>,
    /// The newest sign of life, by the slave's clock.
    alive: Option<Timestamp>,
}

impl ReportChain {
    /// The newest so many numbers are held, more than the stream keeps of a dozen builders; older ones count as retired.
    /// A slave that floods fills nobody's memory.
    pub const MAX_HELD: usize = 16_384;
    /// Of the different reports under one number, so many are held.
    pub const MAX_FORKS: usize = 4;
    /// Of the numbers that signs of life named, the newest so many are held.
    const MAX_NAMED: usize = 64;
    /// A slave serves no more builders than this; of others that it names, the first retired report is not told apart.
    const MAX_BUILDERS: usize = 256;
    /// A report that a sign of life names may be on its way for this long, by the slave's own clock.
    const ON_ITS_WAY: Duration = Duration::from_secs(60);
    /// How far a reader's clock may be from the slave's.
    const CLOCK_SKEW: Duration = super::Build::CLOCK_SKEW;

    /// Takes in a report, which is identified by `id`.
    pub fn report(&mut self, id: PayloadId, report: &Report) {
        let sequence = report.sequence;
        let first = self.first.entry(report.builder.clone()).or_insert(sequence);
        *first = sequence.min(*first);
        if self.first.len() > Self::MAX_BUILDERS {
            self.first.pop_last();
        }
        if self.links.contains_key(&(sequence, id)) {
            return;
        }
        self.held += usize::from(!self.holds(sequence));
        let link = Link {
            previous: report.previous,
            instance: report.instance,
        };
        self.links.insert((sequence, id), link);
        let too_many = self.at(sequence).nth(Self::MAX_FORKS).map(|(id, _)| id);
        if let Some(greatest) = too_many {
            self.links.remove(&(sequence, greatest));
        }
        self.judge(sequence);
        self.judge(sequence.saturating_add(1));
        if self.held > Self::MAX_HELD
            && let Some(oldest) = self.oldest()
        {
            while let Some(entry) = self.links.first_entry()
                && entry.key().0 == oldest
            {
                entry.remove();
            }
            self.held -= 1;
            self.judge(oldest);
            self.judge(oldest + 1);
        }
    }

    /// Takes in a sign of life: it names the newest report that must exist.
    pub fn sign_of_life(&mut self, presence: &Presence) {
        self.alive = self.alive.max(Some(presence.issued));
        let Some(newest) = presence.newest else {
            return;
        };
        let named = self.named.entry(presence.sequence).or_default();
        let since = Named {
            since: presence.issued,
            instance: presence.instance,
        };
        let held = named.entry(newest).or_insert(since);
        if (since.since, since.instance) < (held.since, held.instance) {
            *held = since;
        }
        if named.len() > Self::MAX_FORKS {
            named.pop_last();
        }
        if self.named.len() > Self::MAX_NAMED {
            self.named.pop_first();
        }
    }

    /// What is wrong with it at `now`.
    #[must_use]
    pub fn faults(&self, now: Timestamp) -> ChainFaults {
        let tail = match (self.newest(), self.named_by(now)) {
            (Some(newest), Some(named)) => named.saturating_sub(newest),
            // What came before that one may have been retired.
            (None, Some(_)) => 1,
            (_, None) => 0,
        };
        let faults = self.faults_within(0, u64::MAX);
        ChainFaults {
            missing: faults.missing.saturating_add(tail),
            ..faults
        }
    }

    /// What is wrong with its reports from number `from` to number `to`.
    #[must_use]
    pub fn faults_within(&self, from: u64, to: u64) -> ChainFaults {
        if from > to {
            return ChainFaults::default();
        }
        let mut forked: BTreeSet<u64> = self.forked.range(from..=to).copied().collect();
        let named = self.named.range(from..=to);
        forked.extend(
            named
                .filter(|(sequence, ids)| self.contradicts(**sequence, ids))
                .map(|(sequence, _)| *sequence),
        );
        ChainFaults {
            missing: self
                .gaps_within(from, to)
                .fold(0, |sum, (from, to)| sum.saturating_add(to - from + 1)),
            broken: self.broken.range(from..=to).count() as u64,
            forked: forked.len() as u64,
            forked_from: forked.first().copied(),
            cloned: forked
                .iter()
                .any(|sequence| self.instances(*sequence).len() > 1),
        }
    }

    /// Whether the slave has signed another report than this one under its number.
    #[must_use]
    pub fn is_forked_at(&self, sequence: u64) -> bool {
        self.faults_within(sequence, sequence).forked > 0
    }

    /// Whether a report of that number does not name the one before it.
    #[must_use]
    pub fn is_broken_at(&self, sequence: u64) -> bool {
        self.broken.contains(&sequence)
    }

    /// How many reports right before `sequence` are missing.
    #[must_use]
    pub fn missing_before(&self, sequence: u64) -> u64 {
        let before = self.gaps_within(0, sequence).last();
        before.map_or(0, |(from, to)| {
            if to.saturating_add(1) == sequence {
                to - from + 1
            } else {
                0
            }
        })
    }

    /// The first and the last number of each gap that meets `from..=to`, as far as it does. What lies before the first
    /// report of any builder may have been retired by the stream's own cap, and is no gap.
    fn gaps_within(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        let whole_from = self.first.values().copied().max().max(self.oldest());
        let after = whole_from.unwrap_or(u64::MAX).saturating_add(1);
        let starts = self.starts.range(after..);
        starts.filter_map(move |start| {
            let (before, _) = self
                .links
                .range(..(*start, PayloadId([0; 32])))
                .next_back()?;
            let gap = ((before.0 + 1).max(from), (start - 1).min(to));
            (gap.0 <= gap.1).then_some(gap)
        })
    }

    /// The newest number that signs of life have named for so long that its report should be there.
    fn named_by(&self, now: Timestamp) -> Option<u64> {
        // The slave's own clock tells best how long ago it named one; a slave gone silent tells no more.
        let told = self.alive?.max(now.before(Self::CLOCK_SKEW));
        let named = self.named.iter().rev();
        let mut due = named.filter(|(_, ids)| {
            ids.values()
                .any(|named| named.since.after(Self::ON_ITS_WAY) <= told)
        });
        due.next().map(|(sequence, _)| *sequence)
    }

    fn contradicts(&self, sequence: u64, named: &BTreeMap<PayloadId, Named>) -> bool {
        self.holds(sequence)
            && named
                .keys()
                .any(|id| !self.links.contains_key(&(sequence, *id)))
    }

    fn instances(&self, sequence: u64) -> BTreeSet<InstanceId> {
        let named = self
            .named
            .get(&sequence)
            .into_iter()
            .flat_map(BTreeMap::iter);
        // A slave that was started again names the same report as before.
        let named = named.filter(|(id, _)| !self.links.contains_key(&(sequence, **id)));
        let held = self.at(sequence).map(|(_, link)| link.instance);
        held.chain(named.map(|(_, named)| named.instance)).collect()
    }

    fn judge(&mut self, sequence: u64) {
        let before = sequence.checked_sub(1);
        let is_start = self.holds(sequence) && !before.is_some_and(|before| self.holds(before));
        set(&mut self.starts, sequence, is_start);
        let is_forked = self.at(sequence).nth(1).is_some();
        set(&mut self.forked, sequence, is_forked);
        let is_broken = self
            .at(sequence)
            .any(|(_, link)| !self.follows(sequence, link.previous));
        set(&mut self.broken, sequence, is_broken);
    }

    /// Whether a report of number `sequence` may name `previous` as the one before it.
    fn follows(&self, sequence: u64, previous: Option<PayloadId>) -> bool {
        match (sequence, previous) {
            (0, _) | (1, Some(_)) => false,
            (1, None) => true,
            (_, None) => false,
            (_, Some(previous)) => {
                let before = sequence - 1;
                // Of too many, not all are held, and one of the others may be meant.
                let unknown = !self.holds(before) || self.at(before).count() >= Self::MAX_FORKS;
                unknown || self.links.contains_key(&(before, previous))
            }
        }
    }

    fn at(&self, sequence: u64) -> impl DoubleEndedIterator<Item = (PayloadId, &Link)> {
        let range = (sequence, PayloadId([0; 32]))..=(sequence, PayloadId([0xff; 32]));
        self.links.range(range).map(|((_, id), link)| (*id, link))
    }

    fn holds(&self, sequence: u64) -> bool {
        self.at(sequence).next().is_some()
    }

    fn oldest(&self) -> Option<u64> {
        self.links.keys().next().map(|(sequence, _)| *sequence)
    }

    fn newest(&self) -> Option<u64> {
        self.links.keys().next_back().map(|(sequence, _)| *sequence)
    }
}

fn set(numbers: &mut BTreeSet<u64>, number: u64, is_one: bool) {
    if is_one {
        numbers.insert(number);
    } else {
        numbers.remove(&number);
    }
}

#[cfg(test)]
mod tests;
