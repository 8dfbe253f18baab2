//! Colour: whether there is any, and what is told by it. PURE.
//!
//! Nothing is told by colour alone: it makes words that are there anyway easier to find.

/// How text is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    coloured: bool,
}

/// What a cell of a table tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing out of the ordinary.
    Plain,
    /// Something that passes by itself, or should be looked at.
    Warning,
    /// Something that somebody must act on.
    Bad,
}

impl Style {
    /// Without colour.
    pub(crate) const PLAIN: Self = Self { coloured: false };
    #[cfg(test)]
    pub(crate) const COLOURED: Self = Self { coloured: true };

    /// Decides by where the text goes and by the environment: colour on a terminal alone, unless NO_COLOR says anything
    /// (no-color.org) or the terminal has none.
    pub(crate) fn decide(terminal: bool, no_colour: bool, term: Option<&str>) -> Self {
        Self {
            coloured: terminal && !no_colour && term != Some("dumb"),
        }
    }

    /// Says whether there is colour.
    pub(crate) fn is_coloured(self) -> bool {
        self.coloured
    }

    /// Sets text, which gets no wider on the terminal by that.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        // ECMA-48, SGR: the colours that every terminal has
        let code = match (self.coloured, tone) {
            (false, _) | (true, Tone::Plain) => return text.to_owned(),
            (true, Tone::Warning) => "33",
            (true, Tone::Bad) => "31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Gives what each cell of a row tells, by its column and its neighbours.
pub(super) fn tones(header: &[&str], row: &[String]) -> Vec<Tone> {
    let wanted = header.iter().position(|column| *column == "WANTED");
    let wanted = wanted.and_then(|at| row.get(at)?.parse::<u64>().ok());
    let cells = header.iter().zip(row);
    cells
        .map(|(column, cell)| match *column {
            "STATE" | "RESULT" => word(cell),
            "FAILED" if cell != "0" => Tone::Bad,
            "ACCEPTED" | "CONVERGED" => match (cell.parse::<u64>(), wanted) {
                (Ok(reached), Some(wanted)) if reached < wanted => Tone::Warning,
                _ => Tone::Plain,
            },
            "CERTIFICATE" if cell.starts_with("expired") => Tone::Bad,
            "TYPE" if cell == "Warning" => Tone::Warning,
            "AGE" if cell == DELETED => Tone::Warning,
            _ => Tone::Plain,
        })
        .collect()
}

/// What stands for the age of what went while it was watched.
pub(crate) const DELETED: &str = "deleted";

fn word(state: &str) -> Tone {
    let first = state.split([' ', ',']).next().unwrap_or_default();
    match first.to_lowercase().as_str() {
        "held" | "degraded" | "rejected" | "refused" | "halted" => Tone::Bad,
        "gone" | "unheard" | "lagging" | "past" | "unknown" | "paused" => Tone::Warning,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_colour_on_a_terminal_alone_and_where_nobody_objects() {
        assert_eq!(Style::decide(true, false, Some("xterm")), Style::COLOURED);
        assert_eq!(Style::decide(true, false, None), Style::COLOURED);
        assert_eq!(Style::decide(false, false, Some("xterm")), Style::PLAIN);
        assert_eq!(Style::decide(true, true, Some("xterm")), Style::PLAIN);
        assert_eq!(Style::decide(true, false, Some("dumb")), Style::PLAIN);
    }

    #[test]
    fn what_must_be_acted_on_is_red_and_what_passes_yellow() {
        let told = |header: &[&'static str], row: &[&str]| {
            let row: Vec<String> = row.iter().map(|cell| (*cell).to_owned()).collect();
            tones(header, &row)
        };
        let (plain, warning, bad) = (Tone::Plain, Tone::Warning, Tone::Bad);
        let header = ["NAME", "STATE", "WANTED", "ACCEPTED", "CONVERGED", "FAILED"];
        for (row, tones) in [
            (["HELD", "connected", "7", "7", "7", "0"], [plain; 6]),
            (
                ["a", "HELD", "7", "7", "6", "2"],
                [plain, bad, plain, plain, warning, bad],
            ),
            (
                ["a", "gone", "7", "-", "-", "0"],
                [plain, warning, plain, plain, plain, plain],
            ),
            (
                ["a", "past deadline (keep)", "-", "1", "1", "0"],
                [plain, warning, plain, plain, plain, plain],
            ),
        ] {
            assert_eq!(told(&header, &row), tones, "{row:?}");
        }
        assert_eq!(
            told(&["CERTIFICATE", "AGE"], &["expired 3d ago", "deleted"]),
            [bad, warning]
        );
    }
}
