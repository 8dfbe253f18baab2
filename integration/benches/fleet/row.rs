//! What a bench says: a row for each figure, for people or for programs, and whether it is as good as it must be.

use std::time::Duration;

use serde::Serialize;

/// One figure beside what it must not pass, or beside somebody else's.
#[derive(Debug, Clone, Serialize)]
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
    /// The largest ratio that is good enough. Absent: any.
    must: Option<f64>,
    /// The largest ratio that is as good as we want it. Absent: what must be.
    aim: Option<f64>,
}

/// Prints rows as they come, and remembers what was missed.
pub(crate) struct Rows {
    json: bool,
    missed: Vec<String>,
}

/// What a figure is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) bench: &'a str,
    pub(crate) case: &'a str,
    pub(crate) unit: &'static str,
    pub(crate) runs: usize,
}

impl Row {
    /// Sets a figure beside the largest that is good enough, and the largest that we aim at.
    pub(crate) fn limit(of: Of<'_>, ours: f64, must: f64, aim: Option<f64>) -> Self {
        Self {
            must: Some(1.0),
            aim: aim.map(|aim| aim / must),
            ..Self::beside(of, "what must be", ours, must)
        }
    }

    /// Sets a figure beside another one, with no verdict.
    pub(crate) fn beside(of: Of<'_>, beside: &str, ours: f64, theirs: f64) -> Self {
        let Of {
            bench,
            case,
            unit,
            runs,
        } = of;
        Self {
            bench: bench.to_owned(),
            case: case.to_owned(),
            beside: beside.to_owned(),
            ratio: ours / theirs,
            ours,
            theirs,
            unit,
            runs,
            must: None,
            aim: None,
        }
    }

    /// Gives the ratio a verdict.
    pub(crate) fn at_most(self, must: f64, aim: Option<f64>) -> Self {
        Self {
            must: Some(must),
            aim,
            ..self
        }
    }

    fn verdict(&self) -> &'static str {
        // what is no number is no good
        let within = |limit: Option<f64>| limit.is_none_or(|limit| self.ratio <= limit);
        match (within(self.must), within(self.aim.or(self.must))) {
            (true, _) if self.must.is_none() => "",
            (true, true) => "as aimed",
            (true, false) => "as it must",
            (false, _) => "MISSED",
        }
    }
}

impl Rows {
    /// Begins, with a header where people read.
    pub(crate) fn new(json: bool) -> Self {
        if !json {
            println!(
                "{:<13} {:<34} {:<14} {:>8} {:>11} {:>11} {:<9} {:>6} VERDICT",
                "BENCH", "CASE", "BESIDE", "RATIO", "OURS", "THEIRS", "UNIT", "RUNS"
            );
        }
        Self {
            json,
            missed: Vec::new(),
        }
    }

    /// Prints a row.
    pub(crate) fn add(&mut self, row: Row) {
        let verdict = row.verdict();
        if verdict == "MISSED" {
            self.missed.push(format!("{}, {}", row.bench, row.case));
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
            ..
        } = row;
        println!(
            "{bench:<13} {case:<34} {beside:<14} {ratio:>7.3}x {ours:>11.4} {theirs:>11.4} {unit:<9} {runs:>6} {verdict}"
        );
    }

    /// Prints what has no row, for people only.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            println!("  {text}");
        }
    }

    /// Gives what is not as good as it must be.
    pub(crate) fn missed(self) -> Vec<String> {
        self.missed
    }
}

/// Gives the smallest of some times that so many percent of them do not pass.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Says as which power of the size a figure grows, by the line that fits the logarithms best.
pub(crate) fn exponent(figures: &[(usize, f64)]) -> f64 {
    let points = figures
        .iter()
        .map(|(size, figure)| ((*size as f64).ln(), figure.ln()));
    let points: Vec<(f64, f64)> = points.collect();
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
    above / below
}
