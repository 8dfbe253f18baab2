//! What a bench says: a row for each comparison, for people or for programs.

use std::time::Duration;

use serde::Serialize;

use crate::median;

/// One comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    bench: String,
    case: String,
    beside: String,
    /// Ours over theirs.
    ratio: f64,
    ours: f64,
    theirs: f64,
    unit: &'static str,
    runs: usize,
}

/// Prints rows as they come.
pub(crate) struct Rows {
    json: bool,
    /// Where this runs, if that must be told.
    place: Option<String>,
    /// What must be in the names of the cases that run.
    only: Option<String>,
}

impl Row {
    /// Compares the medians of a case beside something.
    pub(crate) fn new(
        bench: &str,
        (case, beside): (&str, &str),
        ours: &[Duration],
        theirs: &[Duration],
    ) -> Self {
        let (mine, other) = (median(ours).as_secs_f64(), median(theirs).as_secs_f64());
        Self {
            bench: bench.to_owned(),
            case: case.to_owned(),
            beside: beside.to_owned(),
            ratio: mine / other,
            ours: mine,
            theirs: other,
            unit: "s",
            runs: ours.len().min(theirs.len()),
        }
    }

    /// Says which share of a core something takes that is done every so often, beside the share that it may take.
    pub(crate) fn share(bench: &str, case: &str, times: &[Duration], every: Duration) -> Self {
        let ours = median(times).as_secs_f64() / every.as_secs_f64();
        Self {
            bench: bench.to_owned(),
            case: case.to_owned(),
            beside: "2 % of a core".to_owned(),
            ratio: ours / 0.02,
            ours,
            theirs: 0.02,
            unit: "cores",
            runs: times.len(),
        }
    }

    /// Says how our time grows with the size: as which power of it, by the line that fits the logarithms best.
    /// Beside it stands 1, time that grows as the size does; 0 would be flat.
    pub(crate) fn growth(bench: &str, times: &[(usize, Duration)], runs: usize) -> Self {
        let points: Vec<(f64, f64)> = times
            .iter()
            .map(|(size, time)| ((*size as f64).ln(), time.as_secs_f64().ln()))
            .collect();
        let count = points.len() as f64;
        let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| {
            (x + point.0 / count, y + point.1 / count)
        });
        let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
            (
                above + (point.0 - x) * (point.1 - y),
                below + (point.0 - x).powi(2),
            )
        });
        let sizes = times.first().zip(times.last());
        let case = sizes.map_or(String::new(), |(first, last)| {
            format!("growth, {} to {}", first.0, last.0)
        });
        Self {
            bench: bench.to_owned(),
            case,
            beside: "time as the size".to_owned(),
            ratio: above / below,
            ours: above / below,
            theirs: 1.0,
            unit: "exponent",
            runs,
        }
    }
}

impl Rows {
    /// Begins, with a header where people read. `arguments` may hold `--json`, `--place=WORD` and `--only=TEXT`.
    pub(crate) fn new(arguments: &[String]) -> Self {
        let value = |name: &str| {
            let mut values = arguments
                .iter()
                .filter_map(|argument| argument.strip_prefix(name));
            values.next().map(str::to_owned)
        };
        let rows = Self {
            json: arguments.iter().any(|argument| argument == "--json"),
            place: value("--place="),
            only: value("--only="),
        };
        if !rows.json {
            println!(
                "{:<16} {:<26} {:<28} {:>8} {:>9} {:>9} {:<8} {:>5}",
                "BENCH", "CASE", "BESIDE", "RATIO", "OURS", "THEIRS", "UNIT", "RUNS"
            );
        }
        rows
    }

    /// Says whether a case shall run.
    pub(crate) fn asked(&self, case: &str) -> bool {
        self.only.as_ref().is_none_or(|only| case.contains(only))
    }

    /// Prints a row.
    pub(crate) fn add(&mut self, mut row: Row) {
        if let Some(place) = &self.place {
            row.case = format!("{}, {place}", row.case);
        }
        if self.json {
            // numbers and text: there is nothing in it that JSON cannot say
            println!("{}", serde_json::to_string(&row).unwrap_or_default());
            return;
        }
        let Row {
            bench,
            case,
            beside,
            ratio,
            ours,
            theirs,
            unit,
            runs,
        } = row;
        println!(
            "{bench:<16} {case:<26} {beside:<28} {ratio:>7.4}x {ours:>9.5} {theirs:>9.5} {unit:<8} {runs:>5}"
        );
    }

    /// Prints what is no comparison, for people only.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }
}
