//! Spans of time as people write and read them. PURE.

use std::time::Duration;

/// Units from the longest, in milliseconds, as they are written.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads "10s", "500ms", "1m30s". It must be longer than nothing.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    match total(text) {
        Some(total @ 1..) => Ok(Duration::from_millis(total)),
        _ => Err(format!(
            "{text:?} is not a time; write it like 500ms, 10s or 1m30s"
        )),
    }
}

/// Reads "0s", "90s", "10m": whole seconds, none of them included.
pub(crate) fn parse_seconds(text: &str) -> Result<u32, String> {
    let total = total(text).filter(|total| total % 1_000 == 0);
    let seconds = total.and_then(|total| u32::try_from(total / 1_000).ok());
    seconds.ok_or_else(|| {
        format!("{text:?} is not a time in whole seconds; write it like 0s, 90s or 10m")
    })
}

/// Adds up what is written, in milliseconds; none: it is no time.
fn total(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_alphabetic()).len();
        let unit = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters]);
        let (_, worth) = unit?;
        total = total.checked_add(number.checked_mul(*worth)?)?;
        rest = &rest[letters..];
    }
    Some(total)
}

/// Writes a span short: milliseconds below a second, else its largest unit, and the next one while that says much ("45s", "3m12s", "5h3m",
/// "2d4h", "14d").
pub(crate) fn human(span: Duration) -> String {
    let seconds = span.as_secs();
    if seconds == 0 && span.subsec_millis() > 0 {
        return format!("{}ms", span.subsec_millis());
    }
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, 1..10) => two(minutes, "m", seconds % 60, "s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, 1..10, _) => two(hours, "h", minutes % 60, "m"),
        (0, ..) => format!("{hours}h"),
        (1..10, ..) => two(days, "d", hours % 24, "h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_in_every_unit() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)));
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "0s",
            "10",
            "s",
            "-1s",
            "1.5s",
            "10 s",
            "10x",
            "99999999999999999d",
        ] {
            assert_eq!(
                parse(text),
                Err(format!(
                    "{text:?} is not a time; write it like 500ms, 10s or 1m30s"
                ))
            );
        }
    }

    #[test]
    fn whole_seconds_may_be_none() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("10m", 600), ("7d", 604_800)] {
            assert_eq!(parse_seconds(text), Ok(seconds));
        }
        for text in ["", "10", "500ms", "-1s", "99999999d"] {
            assert_eq!(
                parse_seconds(text),
                Err(format!(
                    "{text:?} is not a time in whole seconds; write it like 0s, 90s or 10m"
                ))
            );
        }
    }

    #[test]
    fn a_span_is_written_short() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (192, "3m12s"),
            (600, "10m"),
            (3_600, "1h"),
            (18_180, "5h3m"),
            (36_000, "10h"),
            (187_200, "2d4h"),
            (1_209_600, "14d"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
        assert_eq!(human(Duration::from_millis(300)), "300ms");
    }
}
