//! Time as data. Only `cli` reads a clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Microseconds since the Unix epoch, UTC. Micro- rather than milliseconds, so that the way from a command's publishing
/// to its script's first instruction can be read off the reports.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(pub u64);

/// How a role asks for the time. `cli` makes the one that reads a clock.
pub type Clock = fn() -> Timestamp;

impl Timestamp {
    /// The moment `delay` later; stops at the end of time.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// The moment `span` earlier; stops at the epoch.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, such as `2026-11-22T18:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0)
            .ok()
            .and_then(|us| jiff::Timestamp::from_microsecond(us).ok())
        {
            Some(time) => write!(f, "{time:.3}"),
            None => f.write_str("after the year 9999"),
        }
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Tells how long it is since some fixed moment of this process; unlike a [`Clock`] it never jumps.
pub type Uptime = fn() -> Duration;

/// Text that is no moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a time is written as RFC 3339 has it, such as 2026-11-22T18:00:00Z")]
pub struct TimestampError;

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(raw: &str) -> Result<Self, TimestampError> {
        let time: jiff::Timestamp = raw.parse().map_err(|_| TimestampError)?;
        u64::try_from(time.as_microsecond())
            .map(Self)
            .map_err(|_| TimestampError)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <String as serde::Deserialize>::deserialize(deserializer)?;
        raw.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_is_read_as_it_is_written() {
        let time = Timestamp(1_795_370_400_123_000);
        assert_eq!(time.to_string().parse(), Ok(time));
        for wrong in ["", "yesterday", "1969-12-31T23:59:59Z", "2026-11-22 18:00"] {
            assert_eq!(wrong.parse::<Timestamp>(), Err(TimestampError), "{wrong}");
        }
    }

    #[test]
    fn timestamp_is_written_as_rfc_3339() {
        assert_eq!(
            Timestamp(1_795_370_400_000_000).to_string(),
            "2026-11-22T18:00:00.000Z"
        );
        assert_eq!(Timestamp(u64::MAX).to_string(), "after the year 9999");
    }
}
