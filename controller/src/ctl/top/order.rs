//! Which rows stand where. What nobody sees is not sorted: a window is cut out first. PURE.

use super::columns::Sort;
use super::rows::Row;

/// Keeps the rows whose name has the text, in whatever case; with `!` before it those that do not, as k9s has it.
pub(crate) fn matching(rows: &[Row], filter: &str) -> Vec<usize> {
    let (inverted, text) = match filter.strip_prefix('!') {
        Some(text) => (true, text),
        None => (false, filter),
    };
    let text = text.to_lowercase();
    let has = |row: &Row| text.is_empty() || row.name.to_lowercase().contains(&text) != inverted;
    let all = rows.iter().enumerate();
    all.filter(|(_, row)| has(row)).map(|(at, _)| at).collect()
}

/// Gives the rows from one place in the order to before another, sorted. Takes time for all once, and sorts no more than these.
pub(crate) fn window(
    rows: &[Row],
    chosen: &[usize],
    sort: Sort,
    from: usize,
    before: usize,
) -> Vec<usize> {
    let before = before.min(chosen.len());
    if from >= before {
        return Vec::new();
    }
    let order = |one: &usize, other: &usize| sort.order(rows, *one, *other);
    let mut chosen = chosen.to_vec();
    if before < chosen.len() {
        chosen.select_nth_unstable_by(before, order);
        chosen.truncate(before);
    }
    if from > 0 {
        chosen.select_nth_unstable_by(from, order);
        chosen.drain(..from);
    }
    chosen.sort_unstable_by(order);
    chosen
}

/// Gives the place of a row in the order.
pub(crate) fn rank(rows: &[Row], chosen: &[usize], sort: Sort, of: usize) -> usize {
    let above = chosen
        .iter()
        .filter(|at| sort.order(rows, **at, of).is_lt());
    above.count()
}
