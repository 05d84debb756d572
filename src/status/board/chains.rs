//! Whether the chain of a slave's reports is whole.

use std::collections::{BTreeMap, BTreeSet};

use super::Board;
use super::sightings::Sightings;
use crate::model::{ChainFaults, SlaveName, Timestamp};
use crate::status::build::BuildStatus;
use crate::trust::key_id;

impl Board {
    /// What is wrong at `now` with the chain of a slave's reports, by the key that the roster gives to it. That two of it
    /// are alive is told even if they have not reported yet.
    #[must_use]
    pub fn chain_faults(&self, slave: &SlaveName, now: Timestamp) -> ChainFaults {
        let line = self.roster.as_ref().and_then(|roster| roster.line(slave));
        let Some(key) = line.map(|line| key_id(&line.report_key)) else {
            return ChainFaults::default();
        };
        let chain = self.chains.get(&key);
        let faults = chain.map_or_else(ChainFaults::default, |chain| chain.faults(now));
        let sightings = self.sightings.get(&key);
        ChainFaults {
            cloned: faults.cloned || sightings.is_some_and(Sightings::are_of_two),
            ..faults
        }
    }

    /// What is wrong with the chain where the reports of a build stand in it. What is missing there may be about it.
    #[must_use]
    pub fn chain_faults_of(&self, build: &BuildStatus) -> ChainFaults {
        let reports = self.reports.get(&build.command).into_iter();
        let reports = reports
            .flat_map(BTreeMap::values)
            .map(|reported| &reported.report);
        let numbers: BTreeSet<u64> = reports
            .filter(|report| build.is_answered_by(report))
            .map(|report| report.body().sequence)
            .collect();
        let chain = self.chains.get(&build.order.report_key);
        let (Some(chain), Some(&first), Some(&last)) = (chain, numbers.first(), numbers.last())
        else {
            return ChainFaults::default();
        };
        let from = if build.lacks_its_beginning() {
            first.saturating_sub(chain.missing_before(first))
        } else {
            first
        };
        let to = if build.ending.is_some() {
            last
        } else {
            u64::MAX
        };
        let missing = ChainFaults {
            missing: chain.faults_within(from, to).missing,
            ..ChainFaults::default()
        };
        let of_its_own = |number: &u64| chain.faults_within(*number, *number);
        numbers
            .iter()
            .map(of_its_own)
            .fold(missing, ChainFaults::and)
    }
}

#[cfg(test)]
mod tests;
