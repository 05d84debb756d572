//! When a builder builds that does not build at every change.

use crate::model::Timestamp;

/// A cron expression in a time zone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Schedule;

impl Schedule {
    /// The first of its moments after `then`; none if there is none.
    #[must_use]
    pub fn next_after(&self, then: Timestamp) -> Option<Timestamp> {
        let Self = self;
        Some(then)
    }
}
