//! Spans of time, for people.

use std::time::Duration;

/// About how long, in one unit: `just now`-like ages need no more. Such as `12 s`, `3 min`, `2 h`, `9 d`.
#[must_use]
pub fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{} min", seconds / 60),
        3_600..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long, to two or three digits. Such as `850 µs`, `3.4 ms`, `1.2 s`, `3 min 12 s`, `2 h 5 min`.
#[must_use]
pub fn span(span: Duration) -> String {
    let micros = span.as_micros();
    let seconds = span.as_secs();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{}.{} ms", micros / 1_000, micros / 100 % 10),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{seconds}.{} s", micros / 100_000 % 10),
        60_000_000..3_600_000_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        let cases = [
            (0, "0 s", "0 µs"),
            (999, "0 s", "999 µs"),
            (3_450, "0 s", "3.4 ms"),
            (12_345, "0 s", "12 ms"),
            (1_250_000, "1 s", "1.2 s"),
            (59_990_000, "59 s", "59.9 s"),
            (192_000_000, "3 min", "3 min 12 s"),
            (7_500_000_000, "2 h", "2 h 5 min"),
            (172_800_000_000, "2 d", "48 h 0 min"),
        ];
        for (micros, short, long) in cases {
            let duration = Duration::from_micros(micros);
            assert_eq!(
                (age(duration).as_str(), span(duration).as_str()),
                (short, long)
            );
        }
    }
}
