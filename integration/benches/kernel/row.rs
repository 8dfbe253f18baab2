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
}

impl Row {
    /// Compares medians.
    pub(crate) fn new(
        bench: &str,
        case: &str,
        beside: &str,
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
}

impl Rows {
    /// Begins, with a header where people read.
    pub(crate) fn new(json: bool) -> Self {
        if !json {
            println!(
                "{:<16} {:<24} {:<28} {:>8} {:>11} {:>11} {:>5}",
                "BENCH", "CASE", "BESIDE", "RATIO", "OURS", "THEIRS", "RUNS"
            );
        }
        Self { json }
    }

    /// Prints a row.
    pub(crate) fn add(&mut self, row: Row) {
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
            "{bench:<16} {case:<24} {beside:<28} {ratio:>7.4}x {ours:>9.4} {unit} {theirs:>9.4} {unit} {runs:>5}"
        );
    }

    /// Prints what is no comparison, for people only.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }
}
