//! Tables as kubectl sets them: no borders, columns aligned, three spaces apart, nothing trailing. PURE.

use super::Table;
use super::style::{Style, tones};

/// What stands between two columns.
const GAP: usize = 3;

/// A table that may be set a few rows at a time. Columns keep the width that they had, and widen where they must.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    header: Vec<&'static str>,
    widths: Vec<usize>,
    style: Style,
}

impl Grid {
    /// Begins a table.
    pub(crate) fn new(header: Vec<&'static str>, style: Style) -> Self {
        let widths = header.iter().map(|column| width(column)).collect();
        Self {
            header,
            widths,
            style,
        }
    }

    /// Sets rows, with the header before them.
    pub(crate) fn with_header(&mut self, rows: &[Vec<String>]) -> String {
        self.widen(rows);
        let mut text = String::new();
        let cells = self.header.iter().map(|column| (*column).to_owned());
        line(
            &mut text,
            cells
                .zip(&self.header)
                .map(|(cell, plain)| (cell, width(plain))),
            &self.widths,
        );
        text + &self.rows(rows)
    }

    /// Sets rows.
    pub(crate) fn rows(&mut self, rows: &[Vec<String>]) -> String {
        self.widen(rows);
        let mut text = String::new();
        for row in rows {
            let tones = tones(&self.header, row);
            // escapes are no wider than nothing: what is counted is the cell without them
            let cells = row
                .iter()
                .zip(tones)
                .map(|(cell, tone)| (self.style.paint(tone, cell), width(cell)));
            line(&mut text, cells, &self.widths);
        }
        text
    }

    fn widen(&mut self, rows: &[Vec<String>]) {
        for row in rows {
            for (widest, cell) in self.widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(cell));
            }
        }
    }
}

/// Sets a table.
pub(crate) fn table(table: &Table) -> String {
    styled(table, Style::PLAIN)
}

/// Sets a table, with colour where that is wanted.
pub(crate) fn styled(table: &Table, style: Style) -> String {
    Grid::new(table.header.clone(), style).with_header(&table.rows)
}

/// Adds a line of cells, each with how wide it is.
fn line(text: &mut String, cells: impl Iterator<Item = (String, usize)>, widths: &[usize]) {
    // what is missing after a cell is known to be needed when another one follows
    let mut missing = 0;
    for ((cell, own), widest) in cells.zip(widths) {
        if own > 0 {
            text.extend(std::iter::repeat_n(' ', missing));
            text.push_str(&cell);
            missing = 0;
        }
        missing += widest.saturating_sub(own) + GAP;
    }
    text.push('\n');
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let table = Table {
            header: vec!["NAME", "WHAT", "AGE"],
            rows: vec![
                row(&["a", "something long", "1s"]),
                row(&["longer", "", ""]),
            ],
        };
        assert_eq!(
            super::table(&table),
            "NAME     WHAT             AGE\n\
             a        something long   1s\n\
             longer\n"
        );
    }

    #[test]
    fn rows_that_come_later_stand_under_the_first_ones() {
        let mut grid = Grid::new(vec!["NAME", "AGE"], Style::PLAIN);
        assert_eq!(
            grid.with_header(&[row(&["longer", "1s"])]),
            "NAME     AGE\nlonger   1s\n"
        );
        assert_eq!(grid.rows(&[row(&["a", "2s"])]), "a        2s\n");
        assert_eq!(
            grid.rows(&[row(&["much-longer", "3s"])]),
            "much-longer   3s\n"
        );
        assert_eq!(grid.rows(&[row(&["a", "4s"])]), "a             4s\n");
    }

    #[test]
    fn colour_moves_no_column() {
        let table = Table {
            header: vec!["NAME", "STATE", "AGE"],
            rows: vec![row(&["a", "HELD", "1s"]), row(&["b", "connected", "2s"])],
        };
        let coloured = styled(&table, Style::COLOURED);
        assert_eq!(
            coloured,
            "NAME   STATE       AGE\n\
             a      \u{1b}[31mHELD\u{1b}[0m        1s\n\
             b      connected   2s\n"
        );
        let plain = coloured.replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
        assert_eq!(plain, super::table(&table));
    }
}
