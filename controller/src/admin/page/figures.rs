//! Numbers as the page writes them: three digits that say something, and a unit. PURE

/// Above this a figure gets its next prefix.
const STEP: f64 = 1_000.0;
const PREFIXES: [&str; 5] = ["", "k", "M", "G", "T"];

/// Writes a rate or a count short: "0", "0.4", "12", "1.5 k", "23 M".
pub(super) fn short(number: f64) -> String {
    let mut scaled = number.max(0.0);
    let mut prefix = 0;
    // what would be written as 1000 has its next prefix
    while scaled >= STEP - 0.5 && prefix + 1 < PREFIXES.len() {
        scaled /= STEP;
        prefix += 1;
    }
    // what would be written as 10.0 is 10
    let digits = if scaled > 0.0 && scaled < 0.05 {
        "<0.1".to_owned()
    } else if scaled > 0.0 && scaled < 9.95 {
        let text = format!("{scaled:.1}");
        text.strip_suffix(".0").unwrap_or(&text).to_owned()
    } else {
        format!("{scaled:.0}")
    };
    match PREFIXES[prefix] {
        "" => digits,
        prefix => format!("{digits}\u{a0}{prefix}"),
    }
}

/// Writes bytes per second short: "0 B/s", "1.5 kB/s".
pub(super) fn bytes(per_second: f64) -> String {
    let figure = short(per_second);
    let gap = if figure.contains('\u{a0}') {
        ""
    } else {
        "\u{a0}"
    };
    format!("{figure}{gap}B/s")
}

/// Writes how long ago something was, in its largest unit: "now", "45 s ago", "3 h ago".
pub(super) fn ago(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    match seconds {
        0 => "now".to_owned(),
        1..=59 => format!("{seconds}\u{a0}s ago"),
        60..=3_599 => format!("{}\u{a0}min ago", seconds / 60),
        3_600..=86_399 => format!("{}\u{a0}h ago", seconds / 3_600),
        _ => format!("{}\u{a0}d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_three_digits_at_most() {
        for (number, text) in [
            (-1.0, "0"),
            (0.0, "0"),
            (0.04, "<0.1"),
            (0.44, "0.4"),
            (1.0, "1"),
            (9.94, "9.9"),
            (9.96, "10"),
            (999.4, "999"),
            (999.6, "1\u{a0}k"),
            (1_500.0, "1.5\u{a0}k"),
            (23_000_000.0, "23\u{a0}M"),
            (5e15, "5000\u{a0}T"),
        ] {
            assert_eq!(short(number), text, "{number}");
        }
        assert_eq!(bytes(0.0), "0\u{a0}B/s");
        assert_eq!(bytes(1_500.0), "1.5\u{a0}kB/s");
    }

    #[test]
    fn a_time_is_told_in_its_largest_unit() {
        let texts = [0, 45_000, 61_000, 7_200_000, 200_000_000].map(ago);
        assert_eq!(
            texts,
            [
                "now",
                "45\u{a0}s ago",
                "1\u{a0}min ago",
                "2\u{a0}h ago",
                "2\u{a0}d ago"
            ]
        );
    }
}
