//! Quiet hours: when nothing new is started, in local time.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use serde::Deserialize;

use super::SlaveConfigError;
use crate::model::Timestamp;

/// The table `schedule`, word for word.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ScheduleFile {
    quiet: Vec<String>,
    time_zone: Option<String>,
}

/// The owner's quiet hours.
#[derive(Clone, Debug)]
pub struct Schedule {
    quiet: Vec<Quiet>,
    zone: TimeZone,
}

/// Hours of some days of the week, each week.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Quiet {
    /// From Monday, the days on which it begins.
    days: [bool; 7],
    start: Time,
    /// On the day on which it begins, or on the next one; midnight is the beginning of the next.
    end: Time,
}

/// Why text was not read as quiet hours.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum QuietError {
    /// Neither `HH:MM-HH:MM` nor days before it.
    #[error("is not written as 22:00-08:00, or with days as in sat-sun 00:00-24:00")]
    Form,
    /// No day's name.
    #[error("days are mon, tue, wed, thu, fri, sat and sun, as in mon-fri or sat,sun")]
    Day,
    /// No time of day.
    #[error("times are written from 00:00 to 24:00")]
    Time,
    /// Nothing, or a whole day?
    #[error("begins and ends at one time; a whole day is 00:00-24:00")]
    Empty,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl FromStr for Quiet {
    type Err = QuietError;

    fn from_str(raw: &str) -> Result<Self, QuietError> {
        let words: Vec<&str> = raw.split_ascii_whitespace().collect();
        let (days, hours) = match words[..] {
            [hours] => ([true; 7], hours),
            [days, hours] => (parse_days(days)?, hours),
            _ => return Err(QuietError::Form),
        };
        let (start, end) = hours.split_once('-').ok_or(QuietError::Form)?;
        let start = parse_time(start)?;
        let end = if end == "24:00" {
            Time::midnight()
        } else {
            parse_time(end)?
        };
        // From midnight to midnight is the one whole day that is meant.
        if start == end && !hours.ends_with("24:00") {
            return Err(QuietError::Empty);
        }
        Ok(Self { days, start, end })
    }
}

fn parse_days(raw: &str) -> Result<[bool; 7], QuietError> {
    let day = |raw: &str| {
        DAYS.iter()
            .position(|day| *day == raw)
            .ok_or(QuietError::Day)
    };
    let mut days = [false; 7];
    for part in raw.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        days[at] = true;
        // Over the end of the week, too: fri-mon.
        while at != last {
            at = (at + 1) % 7;
            days[at] = true;
        }
    }
    Ok(days)
}

fn parse_time(raw: &str) -> Result<Time, QuietError> {
    let number = |raw: &str| {
        let digits = raw.len() == 2 && raw.bytes().all(|byte| byte.is_ascii_digit());
        raw.parse().ok().filter(|_| digits).ok_or(QuietError::Time)
    };
    let (hour, minute) = raw.split_once(':').ok_or(QuietError::Time)?;
    Time::new(number(hour)?, number(minute)?, 0, 0).map_err(|_| QuietError::Time)
}

impl ScheduleFile {
    pub(super) fn parse(self) -> Result<Schedule, SlaveConfigError> {
        let quiet = self
            .quiet
            .into_iter()
            .map(|raw| match raw.parse() {
                Ok(quiet) => Ok(quiet),
                Err(source) => Err(SlaveConfigError::Quiet { raw, source }),
            })
            .collect::<Result<_, _>>()?;
        let zone = match self.time_zone {
            Some(name) => TimeZone::get(&name).map_err(|_| SlaveConfigError::TimeZone(name))?,
            None => Schedule::default().zone,
        };
        Ok(Schedule { quiet, zone })
    }
}

impl Default for Schedule {
    /// No quiet hours; local time is the machine's.
    fn default() -> Self {
        Self {
            quiet: Vec::new(),
            // Where the machine says nothing it is UTC, as for every other program.
            zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
        }
    }
}

impl Schedule {
    /// How many days are looked ahead: a week and a bit, so that whatever repeats each week is seen.
    const AHEAD: i64 = 9;

    /// Until when nothing new is started, if now is in quiet hours; hours that run into others go on to the end of those.
    /// Where every hour of the week is quiet, more than a week ahead.
    #[must_use]
    pub fn quiet_until(&self, now: Timestamp) -> Option<Timestamp> {
        let around = self.around(now);
        let quiet = around.into_iter().find(|quiet| quiet.contains(&now));
        quiet.map(|quiet| quiet.end)
    }

    /// When quiet hours begin next, if there are any.
    #[must_use]
    pub fn next_quiet(&self, now: Timestamp) -> Option<Timestamp> {
        let around = self.around(now);
        let next = around.into_iter().find(|quiet| quiet.start > now);
        next.map(|quiet| quiet.start)
    }

    /// Whether there are quiet hours at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.quiet.is_empty()
    }

    /// Each quiet hours as they stand in the file.
    pub fn quiet(&self) -> impl Iterator<Item = String> {
        self.quiet.iter().map(ToString::to_string)
    }

    /// The name of the time zone, or how far it is from UTC where it has no name.
    #[must_use]
    pub fn zone_name(&self, now: Timestamp) -> String {
        match self.zone.iana_name() {
            Some(name) => name.to_owned(),
            None => format!("UTC{}", self.zone.to_offset(instant(now))),
        }
    }

    /// A moment in local time, such as `Sun 2026-11-22 18:00`.
    #[must_use]
    pub fn local(&self, time: Timestamp) -> String {
        let time = self.zone.to_datetime(instant(time));
        time.strftime("%a %Y-%m-%d %H:%M").to_string()
    }

    /// The moment that somebody means by a local time: `18:00` is the next one, `2026-11-22` the beginning of that day, and
    /// `2026-11-22 18:00` says it all. Of two, the later one.
    #[must_use]
    pub fn moment(&self, raw: &str, now: Timestamp) -> Option<Timestamp> {
        if let Ok(time) = parse_time(raw) {
            let today = self.zone.to_datetime(instant(now)).date();
            let on = |date: Date| self.end(date.to_datetime(time));
            return Some(on(today))
                .filter(|time| *time > now)
                .or_else(|| today.tomorrow().ok().map(on));
        }
        let (date, time) = raw
            .split_once([' ', 'T'])
            .map_or((raw, Ok(Time::midnight())), |(date, time)| {
                (date, parse_time(time))
            });
        let date: Date = date.parse().ok()?;
        Some(self.end(date.to_datetime(time.ok()?)))
    }

    /// The quiet hours from yesterday on, in their order, those that touch each other as one.
    fn around(&self, now: Timestamp) -> Vec<Range<Timestamp>> {
        let today = self.zone.to_datetime(instant(now)).date();
        let mut found: Vec<Range<Timestamp>> = (-1_i64..Self::AHEAD)
            .filter_map(|day| today.checked_add(day.days()).ok())
            .flat_map(|date| self.quiet.iter().filter_map(move |quiet| quiet.on(date)))
            .map(|(start, end)| self.start(start)..self.end(end))
            .filter(|quiet| !quiet.is_empty())
            .collect();
        found.sort_by_key(|quiet| quiet.start);
        let mut merged: Vec<Range<Timestamp>> = Vec::new();
        for quiet in found {
            match merged.last_mut() {
                Some(last) if quiet.start <= last.end => last.end = last.end.max(quiet.end),
                Some(_) | None => merged.push(quiet),
            }
        }
        merged
    }

    /// A local time that the clock shows twice begins quiet hours when it is shown first,
    fn start(&self, local: DateTime) -> Timestamp {
        self.resolve(local, |before, _| before)
    }

    /// and ends them when it is shown last.
    fn end(&self, local: DateTime) -> Timestamp {
        self.resolve(local, |_, after| after)
    }

    /// The moment of a local time. One that the clock skips is the moment at which it does.
    fn resolve(&self, local: DateTime, of_two: fn(Offset, Offset) -> Offset) -> Timestamp {
        let offset = match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Fold { before, after } => of_two(before, after),
            AmbiguousOffset::Gap { after, .. } => {
                let earlier = after.to_timestamp(local).unwrap_or_default();
                let skip = self.zone.following(earlier).next();
                return moment(skip.map_or(earlier, |skip| skip.timestamp()));
            }
        };
        moment(offset.to_timestamp(local).unwrap_or_default())
    }
}

impl Quiet {
    /// From when until when it is quiet that begins on `date`, in local time.
    fn on(&self, date: Date) -> Option<(DateTime, DateTime)> {
        if !self.days[day_of_week(date.weekday())] {
            return None;
        }
        let last = if self.end <= self.start {
            date.tomorrow().ok()?
        } else {
            date
        };
        Some((date.to_datetime(self.start), last.to_datetime(self.end)))
    }
}

fn day_of_week(day: Weekday) -> usize {
    usize::try_from(day.to_monday_zero_offset()).unwrap_or(0)
}

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != [true; 7] {
            let days: Vec<&str> = (DAYS.iter().zip(self.days))
                .filter_map(|(day, on)| on.then_some(*day))
                .collect();
            write!(f, "{} ", days.join(","))?;
        }
        let hours = |time: Time| time.strftime("%H:%M").to_string();
        let end = match hours(self.end).as_str() {
            "00:00" => "24:00".to_owned(),
            end => end.to_owned(),
        };
        write!(f, "{}-{end}", hours(self.start))
    }
}

fn instant(time: Timestamp) -> jiff::Timestamp {
    let microseconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(microseconds).unwrap_or(jiff::Timestamp::MAX)
}

fn moment(time: jiff::Timestamp) -> Timestamp {
    Timestamp(u64::try_from(time.as_microsecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(quiet: &[&str], zone: &str) -> Schedule {
        Schedule {
            quiet: quiet.iter().map(|raw| raw.parse().unwrap()).collect(),
            zone: TimeZone::get(zone).expect("tzdata; tests/run installs what the tests need"),
        }
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn quiet_hours_end_in_local_time_also_where_they_run_into_others_or_over_a_change_of_the_clock()
    {
        let night: &[&str] = &["22:00-08:00"];
        let weekend: &[&str] = &["sat-sun 00:00-24:00"];
        let cases: &[(&[&str], &str, Option<&str>)] = &[
            (night, "2026-11-24T20:59:59Z", None),
            (night, "2026-11-24T21:00:00Z", Some("2026-11-25T07:00:00Z")),
            (night, "2026-11-25T06:59:59Z", Some("2026-11-25T07:00:00Z")),
            (night, "2026-11-25T07:00:00Z", None),
            // The clock goes forward at 01:00 UTC: the night is an hour shorter.
            (night, "2026-03-28T21:00:00Z", Some("2026-03-29T06:00:00Z")),
            // And back: an hour longer.
            (night, "2026-10-24T20:00:00Z", Some("2026-10-25T07:00:00Z")),
            // A time that the clock skips, and one that it shows twice.
            (&["02:30-04:00"], "2026-03-29T00:59:59Z", None),
            (
                &["02:30-04:00"],
                "2026-03-29T01:00:00Z",
                Some("2026-03-29T02:00:00Z"),
            ),
            (
                &["01:00-02:30"],
                "2026-03-29T00:30:00Z",
                Some("2026-03-29T01:00:00Z"),
            ),
            (
                &["01:00-02:30"],
                "2026-10-24T23:30:00Z",
                Some("2026-10-25T01:30:00Z"),
            ),
            (
                &["02:30-04:00"],
                "2026-10-25T00:30:00Z",
                Some("2026-10-25T03:00:00Z"),
            ),
            // Two days are one weekend; nothing on a Monday.
            (weekend, "2026-11-20T22:59:59Z", None),
            (
                weekend,
                "2026-11-20T23:00:00Z",
                Some("2026-11-22T23:00:00Z"),
            ),
            (weekend, "2026-11-22T23:00:00Z", None),
            // Friday night, the weekend and Sunday night follow each other.
            (
                &["22:00-08:00", "sat-sun 00:00-24:00"],
                "2026-11-20T21:00:00Z",
                Some("2026-11-23T07:00:00Z"),
            ),
            (
                &["fri-mon 10:00-12:00"],
                "2026-11-23T09:00:00Z",
                Some("2026-11-23T11:00:00Z"),
            ),
            (&["fri-mon 10:00-12:00"], "2026-11-24T09:00:00Z", None),
            (&[], "2026-11-24T21:00:00Z", None),
        ];
        for (quiet, now, until) in cases {
            let found = schedule(quiet, "Europe/Berlin").quiet_until(at(now));
            assert_eq!(found, until.map(at), "{quiet:?} at {now}");
        }
    }

    #[test]
    fn a_slave_that_is_always_quiet_is_so_for_more_than_a_week() {
        let always = schedule(&["00:00-24:00"], "UTC");
        let now = at("2026-11-24T21:00:00Z");
        let until = always.quiet_until(now).unwrap();
        assert!(until.since(now).as_secs() > 7 * 24 * 3600, "{until}");
        assert_eq!(always.next_quiet(now), None);
        let night = schedule(&["sun 22:00-08:00"], "UTC");
        assert_eq!(night.next_quiet(now), Some(at("2026-11-29T22:00:00Z")));
    }

    #[test]
    fn a_local_time_is_the_moment_that_somebody_means_by_it() {
        let berlin = schedule(&[], "Europe/Berlin");
        let now = at("2026-10-24T16:00:00Z");
        let cases = [
            ("18:01", Some("2026-10-24T16:01:00Z")),
            ("18:00", Some("2026-10-25T17:00:00Z")),
            ("2026-10-26", Some("2026-10-25T23:00:00Z")),
            ("2026-10-26 08:30", Some("2026-10-26T07:30:00Z")),
            ("2026-10-25T02:30", Some("2026-10-25T01:30:00Z")),
            ("24:00", None),
            ("2026-10-26 8", None),
            ("tomorrow", None),
        ];
        for (raw, moment) in cases {
            assert_eq!(berlin.moment(raw, now), moment.map(at), "{raw}");
        }
        assert_eq!(berlin.local(now), "Sat 2026-10-24 18:00");
        assert_eq!(berlin.zone_name(now), "Europe/Berlin");
    }

    #[test]
    fn quiet_hours_are_shown_as_they_are_read() {
        let cases = [
            ("22:00-08:00", Ok("22:00-08:00")),
            ("sat-sun 00:00-24:00", Ok("sat,sun 00:00-24:00")),
            (
                "fri-mon,wed 01:02-00:00",
                Ok("mon,wed,fri,sat,sun 01:02-24:00"),
            ),
            ("", Err(QuietError::Form)),
            ("at night", Err(QuietError::Day)),
            ("mon 22:00", Err(QuietError::Form)),
            ("mon - fri 22:00-08:00", Err(QuietError::Form)),
            ("Mon 22:00-08:00", Err(QuietError::Day)),
            ("24:00-08:00", Err(QuietError::Time)),
            ("22:00-8:00", Err(QuietError::Time)),
            ("22:00-08:60", Err(QuietError::Time)),
            ("+2:00-08:00", Err(QuietError::Time)),
            ("08:00-08:00", Err(QuietError::Empty)),
            ("00:00-00:00", Err(QuietError::Empty)),
        ];
        for (raw, expected) in cases {
            let read = raw.parse::<Quiet>().map(|quiet| quiet.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{raw:?}");
        }
    }

    fn hours() -> impl Strategy<Value = String> {
        let days = prop::sample::subsequence(DAYS.to_vec(), 1..7);
        (days, 0..24, 0..4, 0..24, 0..4)
            .prop_filter("not at one time", |(_, a, b, c, d)| (a, b) != (c, d))
            .prop_map(|(days, start, quarter, end, other)| {
                let (quarter, other) = (15 * quarter, 15 * other);
                format!(
                    "{} {start:02}:{quarter:02}-{end:02}:{other:02}",
                    days.join(",")
                )
            })
    }

    proptest! {
        #[test]
        fn it_is_quiet_exactly_when_the_clock_on_the_wall_says_so(
            quiet in prop::collection::vec(hours(), 0..4),
            zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Santiago"]),
            // Two years of quarter hours.
            quarter in 0_u64..70_000,
        ) {
            let raw: Vec<&str> = quiet.iter().map(String::as_str).collect();
            let schedule = schedule(&raw, zone);
            let now = at("2026-01-01T00:00:00Z").after(std::time::Duration::from_secs(quarter * 900));
            let wall = schedule.zone.to_datetime(instant(now));
            let minute = |time: Time| i32::from(time.hour()) * 60 + i32::from(time.minute());
            let by_wall = schedule.quiet.iter().any(|quiet| {
                let (start, end, now) = (minute(quiet.start), minute(quiet.end), minute(wall.time()));
                let today = quiet.days[day_of_week(wall.weekday())];
                let yesterday = quiet.days[(day_of_week(wall.weekday()) + 6) % 7];
                if end <= start {
                    (today && now >= start) || (yesterday && now < end)
                } else {
                    today && now >= start && now < end
                }
            });
            let until = schedule.quiet_until(now);
            // Where the clock is put back, hours that end in between go on to the second time that they are shown.
            let is_put_back = [0, 1, 2, 3].iter().any(|hours| {
                let near = |now: Timestamp| schedule.zone.to_offset(instant(now)).seconds();
                let span = std::time::Duration::from_secs(hours * 3600);
                near(now.before(span)) > near(now) || near(now) > near(now.after(span))
            });
            if by_wall || !is_put_back {
                prop_assert_eq!(until.is_some(), by_wall);
            }
            if let Some(until) = until {
                prop_assert!(until > now);
                let always = until.since(now).as_secs() > 7 * 24 * 3600;
                prop_assert!(always || schedule.quiet_until(until).is_none());
            } else if let Some(next) = schedule.next_quiet(now) {
                prop_assert!(next > now);
                prop_assert!(schedule.quiet_until(next).is_some());
            }
        }
    }
}
