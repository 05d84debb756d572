//! Whether two of one slave are alive, by its signs of life alone: a copy that was given no build reports nothing.

use std::collections::BTreeSet;

use crate::model::{InstanceId, Instances, Presence, Timestamp};

/// The newest signs of life of one slave, in the order in which the bus stored them.
#[derive(Clone, Debug, Default)]
pub(super) struct Sightings(BTreeSet<(Timestamp, Timestamp, InstanceId)>);

impl Sightings {
    /// What two of them say in some minutes.
    const MAX_HELD: usize = 32;

    pub(super) fn take(&mut self, stored: Timestamp, said: &Presence) {
        self.0.insert((stored, said.issued, said.instance));
        if self.0.len() > Self::MAX_HELD {
            self.0.pop_first();
        }
    }

    /// Whether two starts of the slave's process speak in turn.
    pub(super) fn are_of_two(&self) -> bool {
        let mut instances = Instances::default();
        self.0
            .iter()
            .any(|(_, issued, instance)| instances.hear(*instance, *issued).is_some())
    }
}
