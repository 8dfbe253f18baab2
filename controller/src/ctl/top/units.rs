//! Numbers as people read them: rates and counts with SI prefixes, bytes with IEC's, three digits that matter. PURE.

/// What stands where there is nothing to tell.
pub(crate) const NOTHING: &str = "-";

/// Prefixes of 1,000 (SI).
const SI: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
/// Units of 1,024 (IEC 80000-13).
const IEC: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Writes a rate in at most five characters: `0.25`, `340`, `1.23k`.
pub(crate) fn rate(value: f64) -> String {
    if !value.is_finite() {
        return NOTHING.to_owned();
    }
    if value <= 0.0 {
        return "0".to_owned();
    }
    let (scaled, prefix) = scale(value, 1_000.0, 999.5, &SI);
    match (prefix, scaled) {
        ("", ..0.01) => "<0.01".to_owned(),
        ("", ..0.995) => format!("{scaled:.2}"),
        ("", ..9.95) => format!("{scaled:.1}"),
        ("", _) => format!("{scaled:.0}"),
        _ => three(scaled) + prefix,
    }
}

/// Writes bytes in at most seven characters: `512B`, `1.50KiB`, `1023MiB`.
pub(crate) fn bytes(value: f64) -> String {
    if !value.is_finite() {
        return NOTHING.to_owned();
    }
    let (scaled, unit) = scale(value.max(0.0), 1_024.0, 1_023.5, &IEC);
    match (unit, scaled) {
        ("B", 0.0) => "0B".to_owned(),
        ("B", ..0.5) => "<1B".to_owned(),
        ("B", _) => format!("{scaled:.0}B"),
        _ => three(scaled) + unit,
    }
}

/// Writes a count in at most five characters: all digits below 100,000.
pub(crate) fn count(value: u64) -> String {
    match value {
        ..100_000 => value.to_string(),
        _ => rate(float(value)),
    }
}

/// Writes how many times the mean: `1.25`, `12.5`, `340`. Not a number: there is nothing to compare.
pub(crate) fn ratio(value: f64) -> String {
    match value.is_finite() {
        true if value < 999.5 => three(value),
        true => rate(value),
        false => NOTHING.to_owned(),
    }
}

/// Writes a part of a whole: `0%`, `<1%`, `75%`; none: there is no whole.
pub(crate) fn share(part: u64, whole: u64) -> Option<String> {
    let percent = percent(part, whole)?;
    Some(match (part, percent) {
        (0, _) => "0%".to_owned(),
        (_, ..1.0) => "<1%".to_owned(),
        (_, percent) => format!("{percent:.0}%"),
    })
}

/// Gives a part of a whole in hundredths; none: there is no whole.
pub(crate) fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| float(part) * 100.0 / float(whole))
}

/// Writes a count for a sentence: `10,000`.
pub(crate) fn grouped(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Takes a count as a number that can be divided. What passes 2^53 loses its last digits, which nobody is shown.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

/// Divides until the number is short. `most` is what would round to the next unit.
fn scale<'a>(value: f64, step: f64, most: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut scaled = value;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for next in units {
        if scaled < most {
            break;
        }
        scaled /= step;
        unit = next;
    }
    (scaled, unit)
}

/// Writes three digits that matter, four before the point where there are four.
fn three(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_si_prefixes_and_at_most_five_characters() {
        for (value, text) in [
            (0.0, "0"),
            (0.001, "<0.01"),
            (0.25, "0.25"),
            (0.996, "1.0"),
            (2.54, "2.5"),
            (9.96, "10"),
            (340.4, "340"),
            (999.4, "999"),
            (999.6, "1.00k"),
            (1_234.0, "1.23k"),
            (12_345.0, "12.3k"),
            (999_600.0, "1.00M"),
            (2.5e9, "2.50G"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(rate(value), text, "{value}");
            assert!(rate(value).chars().count() <= 5, "{value}");
        }
    }

    #[test]
    fn bytes_have_iec_units_and_at_most_seven_characters() {
        for (value, text) in [
            (0.0, "0B"),
            (0.2, "<1B"),
            (512.0, "512B"),
            (1_023.4, "1023B"),
            (1_024.0, "1.00KiB"),
            (1_536.0, "1.50KiB"),
            (12.34 * 1_048_576.0, "12.3MiB"),
            (1_023.0 * 1_048_576.0, "1023MiB"),
            (1_023.9 * 1_048_576.0, "1.00GiB"),
            (f64::INFINITY, "-"),
        ] {
            assert_eq!(bytes(value), text, "{value}");
            assert!(bytes(value).chars().count() <= 7, "{value}");
        }
    }

    #[test]
    fn counts_keep_their_digits_while_they_fit() {
        for (value, text) in [(0, "0"), (99_999, "99999"), (123_456, "123k")] {
            assert_eq!(count(value), text);
        }
        assert_eq!(count(u64::MAX), "18.4E");
    }

    #[test]
    fn ratios_and_shares_say_when_there_is_nothing_to_compare() {
        for (value, text) in [
            (f64::NAN, "-"),
            (0.0, "0.00"),
            (1.0, "1.00"),
            (12.34, "12.3"),
            (4_000.0, "4.00k"),
        ] {
            assert_eq!(ratio(value), text);
        }
        for (part, whole, text) in [
            (0, 0, None),
            (0, 10, Some("0%")),
            (1, 1_000, Some("<1%")),
            (750, 1_000, Some("75%")),
        ] {
            assert_eq!(share(part, whole).as_deref(), text);
        }
    }

    #[test]
    fn long_counts_are_grouped_in_sentences() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(value), text);
        }
    }
}
