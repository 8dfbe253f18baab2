//! What a check found, and how it is told: as a page of grouped ticks, and as JSON. PURE.
//!
//! `weir-agent check` and `weirctl check` look at different things and tell what they found alike.

mod clock;

use std::fmt::Write as _;

use serde::Serialize;

pub use clock::{certificate, skew, skew_ms};

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Fine,
    /// It was not looked at; the detail says why.
    Skipped,
    /// Something works worse, or will not work for long; whoever calls is not failed by it.
    Warning,
    /// Something does not work.
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to.
    pub group: &'static str,
    /// What it is.
    pub name: String,
    /// How it stands.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
    /// What to do; empty where there is nothing to do.
    pub advice: String,
}

/// Makes findings of one group.
#[derive(Debug, Clone, Copy)]
pub struct Group(pub &'static str);

/// How many findings there are of each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// Those that failed.
    pub failed: usize,
    /// Warnings.
    pub warnings: usize,
    /// Those that are fine.
    pub fine: usize,
    /// Those that were not looked at.
    pub skipped: usize,
}

impl Group {
    /// Says that something is as it should be.
    pub fn fine(self, name: impl Into<String>, detail: impl Into<String>) -> Finding {
        self.finding(Outcome::Fine, name.into(), [detail.into(), String::new()])
    }

    /// Says why something was not looked at.
    pub fn skipped(self, name: impl Into<String>, detail: impl Into<String>) -> Finding {
        self.finding(
            Outcome::Skipped,
            name.into(),
            [detail.into(), String::new()],
        )
    }

    /// Says that something works worse than it could, and what to do.
    pub fn warning(
        self,
        name: impl Into<String>,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        self.finding(
            Outcome::Warning,
            name.into(),
            [detail.into(), advice.into()],
        )
    }

    /// Says that something does not work, and what to do.
    pub fn failed(
        self,
        name: impl Into<String>,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        self.finding(Outcome::Failed, name.into(), [detail.into(), advice.into()])
    }

    fn finding(self, outcome: Outcome, name: String, [detail, advice]: [String; 2]) -> Finding {
        Finding {
            group: self.0,
            name,
            outcome,
            detail,
            advice,
        }
    }
}

impl Sum {
    /// Counts findings.
    pub fn of(findings: &[Finding]) -> Self {
        let mut sum = Self::default();
        for finding in findings {
            *match finding.outcome {
                Outcome::Fine => &mut sum.fine,
                Outcome::Skipped => &mut sum.skipped,
                Outcome::Warning => &mut sum.warnings,
                Outcome::Failed => &mut sum.failed,
            } += 1;
        }
        sum
    }
}

impl Outcome {
    fn mark(self) -> &'static str {
        match self {
            Self::Fine => "✓",
            Self::Skipped => "-",
            Self::Warning => "!",
            Self::Failed => "✗",
        }
    }

    /// Gives the colour by ECMA-48 (SGR): those that every terminal has.
    fn colour(self) -> &'static str {
        match self {
            Self::Fine => "32",
            Self::Skipped => "2",
            Self::Warning => "33",
            Self::Failed => "31",
        }
    }
}

/// Decides whether there is colour: on a terminal alone, unless NO_COLOR says anything (no-color.org) or the terminal has none.
pub fn is_coloured(terminal: bool, no_colour: bool, term: Option<&str>) -> bool {
    terminal && !no_colour && term != Some("dumb")
}

/// Sets findings for people, group by group in the order in which they come.
pub fn page(findings: &[Finding], coloured: bool) -> String {
    let mut text = String::new();
    for (place, group) in findings
        .chunk_by(|one, next| one.group == next.group)
        .enumerate()
    {
        let gap = if place > 0 { "\n" } else { "" };
        // writing to a String cannot fail
        let _ = writeln!(text, "{gap}{}", group[0].group);
        let widest = group.iter().map(|it| it.name.chars().count());
        let widest = widest.max().unwrap_or_default();
        for finding in group {
            let (outcome, name) = (finding.outcome, &finding.name);
            let mark = match coloured {
                true => format!("\u{1b}[{}m{}\u{1b}[0m", outcome.colour(), outcome.mark()),
                false => outcome.mark().to_owned(),
            };
            let line = format!("  {mark} {name:widest$}  {}", finding.detail);
            let _ = writeln!(text, "{}", line.trim_end());
            if !finding.advice.is_empty() {
                let _ = writeln!(text, "    {:widest$}  → {}", "", finding.advice);
            }
        }
    }
    let Sum {
        failed,
        warnings,
        fine,
        skipped,
    } = Sum::of(findings);
    let plural = if warnings == 1 { "" } else { "s" };
    let _ = writeln!(
        text,
        "\n{failed} failed, {warnings} warning{plural}, {fine} fine, {skipped} not looked at"
    );
    text
}

/// Sets findings for programs.
pub fn json(findings: &[Finding]) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Told<'a> {
        #[serde(flatten)]
        sum: Sum,
        findings: &'a [Finding],
    }
    let told = Told {
        sum: Sum::of(findings),
        findings,
    };
    serde_json::to_string_pretty(&told).map(|text| text + "\n")
}

#[cfg(test)]
mod tests;
