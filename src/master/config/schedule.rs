//! When a builder builds that does not build at every change.

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::model::Timestamp;

/// A cron expression in a time zone.
///
/// A local time that the clock skips is the moment at which it does; one that the clock shows twice counts when it is
/// shown first. An expression with `*` in its hours means a rhythm, not times of day: it goes on through both.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    TimesOfDay,
    Rhythm,
}

/// Why there is no such schedule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// No cron expression.
    #[error("is no cron expression (minute, hour, day of month, month, day of week): {0}")]
    Expression(String),
    /// Such as the thirtieth of February.
    #[error("never comes")]
    Never,
    /// No such time zone.
    #[error("there is no time zone {0:?} in this machine's database (Debian: tzdata)")]
    Zone(String),
}

impl Schedule {
    /// The schedule of an expression of five fields, in the time zone of that name.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`].
    pub fn new(expression: &str, zone: &str) -> Result<Self, ScheduleError> {
        let zone = match zone {
            "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.to_owned()))?,
        };
        let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
        let [_, hours, _, _, _] = fields[..] else {
            let message = format!("5 fields are needed, here are {}", fields.len());
            return Err(ScheduleError::Expression(message));
        };
        let kind = if hours.contains(['*', '?']) {
            Kind::Rhythm
        } else {
            Kind::TimesOfDay
        };
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(&fields.join(" "))
            .map_err(|error| ScheduleError::Expression(error.to_string()))?;
        let schedule = Self { cron, zone, kind };
        // Without a year in it, an expression comes again and again, or never.
        match schedule.next_after(Timestamp::default()) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never),
        }
    }

    /// The first of its moments after `then`; none if there is none.
    #[must_use]
    pub fn next_after(&self, then: Timestamp) -> Option<Timestamp> {
        let microseconds = i64::try_from(then.0).ok()?;
        let then = jiff::Timestamp::from_microsecond(microseconds).ok()?;
        let then = then.to_zoned(self.zone.clone());
        let next = match self.kind {
            Kind::Rhythm => {
                let next = self.cron.find_next_occurrence(&then, false).ok()?;
                next.timestamp()
            }
            Kind::TimesOfDay => {
                let mut local = then.datetime();
                loop {
                    local = self.cron.find_next_occurrence(&local, false).ok()?;
                    // One that was shown twice lies behind when it is shown again.
                    let moment = self.moment(local)?;
                    if moment > then.timestamp() {
                        break moment;
                    }
                }
            }
        };
        u64::try_from(next.as_microsecond()).ok().map(Timestamp)
    }

    fn moment(&self, local: DateTime) -> Option<jiff::Timestamp> {
        let offset = match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Fold { before, .. } => before,
            AmbiguousOffset::Gap { after, .. } => {
                let earlier = after.to_timestamp(local).ok()?;
                return self
                    .zone
                    .following(earlier)
                    .next()
                    .map(|skip| skip.timestamp());
            }
        };
        offset.to_timestamp(local).ok()
    }
}

impl fmt::Display for Schedule {
    /// The expression and the time zone, such as `0 3 * * * Europe/Berlin`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.zone.iana_name().unwrap_or("UTC");
        write!(f, "{} {zone}", self.cron.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn a_schedule_comes_in_local_time_also_over_a_change_of_the_clock() {
        // In Berlin the clock skips 02:00 to 03:00 on 29 March 2026, and shows it twice on 25 October.
        let cases = [
            (
                "0 3 * * *",
                "2026-11-24T01:59:59.999Z",
                "2026-11-24T02:00:00Z",
            ),
            ("0 3 * * *", "2026-11-24T02:00:00Z", "2026-11-25T02:00:00Z"),
            ("0 3 * * *", "2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z"),
            ("0 3 * * *", "2026-10-24T01:00:00Z", "2026-10-25T02:00:00Z"),
            // Skipped, and shown twice: once each.
            ("30 2 * * *", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"),
            ("30 2 * * *", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"),
            ("30 2 * * *", "2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z"),
            ("30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
            ("30 2 * * *", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00Z"),
            // The same of a list of hours, and of every five minutes of one hour.
            (
                "30 2,14 * * *",
                "2026-03-28T13:30:00Z",
                "2026-03-29T01:00:00Z",
            ),
            (
                "30 2,14 * * *",
                "2026-10-25T00:30:00Z",
                "2026-10-25T13:30:00Z",
            ),
            (
                "*/30 2 * * *",
                "2026-03-29T00:30:00Z",
                "2026-03-29T01:00:00Z",
            ),
            (
                "*/30 2 * * *",
                "2026-03-29T01:00:00Z",
                "2026-03-30T00:00:00Z",
            ),
            // A rhythm goes on.
            (
                "*/30 * * * *",
                "2026-03-29T00:30:00Z",
                "2026-03-29T01:00:00Z",
            ),
            (
                "*/30 * * * *",
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
            ),
            (
                "*/30 * * * *",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
            ),
            // Days, months and names.
            (
                "0 0 * * mon",
                "2026-11-24T12:00:00Z",
                "2026-11-29T23:00:00Z",
            ),
            ("0 0 29 2 *", "2026-11-24T12:00:00Z", "2028-02-28T23:00:00Z"),
            ("0 12 l * *", "2026-02-10T12:00:00Z", "2026-02-28T11:00:00Z"),
        ];
        for (expression, then, next) in cases {
            let schedule = Schedule::new(expression, "Europe/Berlin").unwrap();
            assert_eq!(
                schedule.next_after(at(then)),
                Some(at(next)),
                "{expression} after {then}"
            );
        }
        let utc = Schedule::new("0  3 * * *", "UTC").unwrap();
        assert_eq!(
            utc.next_after(at("2026-03-28T03:00:00Z")),
            Some(at("2026-03-29T03:00:00Z"))
        );
        assert_eq!(utc.to_string(), "0 3 * * * UTC");
    }

    #[test]
    fn what_is_no_schedule_says_why() {
        let cases = [
            ("0 3 * *", "UTC", "5 fields are needed, here are 4"),
            ("0 0 3 * * *", "UTC", "5 fields are needed, here are 6"),
            ("@daily", "UTC", "5 fields are needed, here are 1"),
            ("0 25 * * *", "UTC", "is no cron expression"),
            ("0 x * * *", "UTC", "is no cron expression"),
            ("0 0 30 2 *", "UTC", "never comes"),
            ("0 0 31 4,6 *", "Europe/Berlin", "never comes"),
            ("*/5 * 30 2 *", "Europe/Berlin", "never comes"),
            (
                "0 3 * * *",
                "Europe/Brelin",
                "there is no time zone \"Europe/Brelin\"",
            ),
            ("0 3 * * *", "../../etc/passwd", "there is no time zone"),
        ];
        for (expression, zone, expected) in cases {
            let error = Schedule::new(expression, zone).unwrap_err().to_string();
            assert!(error.contains(expected), "{expression} {zone}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_comes_between_a_moment_and_the_next(
            expression in prop::sample::select(vec![
                "30 2 * * *", "*/20 * * * *", "15 1-3 * * *", "5 */2 * * *", "0 2 * 3,10 sun", "59 23 28-31 * *",
            ]),
            zone in prop::sample::select(vec![
                "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu",
            ]),
            // From 2026, for three years.
            then in 1_767_225_600_000_000_u64..1_861_920_000_000_000,
            part in 0..1000_u64,
        ) {
            let schedule = Schedule::new(expression, zone).unwrap();
            let then = Timestamp(then);
            let next = schedule.next_after(then).unwrap();
            prop_assert!(next > then);
            let span = next.0 - then.0;
            let between = Timestamp(then.0 + span / 1000 * part);
            prop_assert_eq!(schedule.next_after(between), Some(next));
        }
    }
}
