//! Whether a loop still turns.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Uptime;

/// What a loop sets each time that it turns, for whoever asks from beside it. By a clock that never jumps.
pub struct Pulse {
    uptime: Uptime,
    /// Milliseconds.
    last: AtomicU64,
}

impl Pulse {
    /// How long a loop may wait for something to happen before it turns all the same.
    pub const PERIOD: Duration = Duration::from_secs(5);
    /// A loop that has not turned for longer is stuck.
    pub const FRESH: Duration = Duration::from_secs(30);

    /// One that has just been set.
    #[must_use]
    pub fn new(uptime: Uptime) -> Self {
        let pulse = Self {
            uptime,
            last: AtomicU64::new(0),
        };
        pulse.beat();
        pulse
    }

    /// The loop turns.
    pub fn beat(&self) {
        let now = u64::try_from((self.uptime)().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// When it turned last.
    #[must_use]
    pub fn last(&self) -> Duration {
        Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// Now, by the same clock.
    #[must_use]
    pub fn now(&self) -> Duration {
        (self.uptime)()
    }

    /// Whether a loop that turned at `last` is not stuck at `now`.
    #[must_use]
    pub fn is_fresh(last: Duration, now: Duration) -> bool {
        now.saturating_sub(last) <= Self::FRESH
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pulse({:?})", self.last())
    }
}
