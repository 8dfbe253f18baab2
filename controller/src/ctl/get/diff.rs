//! Which rows of a table that is watched are other than they were. PURE.

use std::collections::BTreeMap;

use crate::ctl::render::DELETED;

/// The rows that were shown last, by what they belong to and by what tells them apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown(BTreeMap<String, BTreeMap<Vec<String>, Vec<String>>>);

/// How rows are told apart and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns {
    /// So many at the start name a row.
    pub(super) key: usize,
    /// That time goes by changes these; the last is the age.
    pub(super) passing: &'static [usize],
}

impl Shown {
    /// Takes the rows of an owner as they are now. Gives those that are new or changed, and those that went: with that in
    /// place of their age.
    pub(super) fn take(
        &mut self,
        owner: &str,
        rows: Vec<Vec<String>>,
        columns: Columns,
    ) -> Vec<Vec<String>> {
        let before = self.0.remove(owner).unwrap_or_default();
        let key = |row: &Vec<String>| row.iter().take(columns.key).cloned().collect();
        let now: BTreeMap<Vec<String>, Vec<String>> =
            rows.iter().map(|row| (key(row), row.clone())).collect();
        let changed = rows.into_iter().filter(|row| {
            let was = before.get(&key(row));
            was.is_none_or(|was| lasting(was, columns) != lasting(row, columns))
        });
        let mut told: Vec<Vec<String>> = changed.collect();
        let gone = before.iter().filter(|(key, _)| !now.contains_key(*key));
        told.extend(gone.map(|(_, row)| {
            let mut row = row.clone();
            if let Some(age) = row.last_mut() {
                DELETED.clone_into(age);
            }
            row
        }));
        if !now.is_empty() {
            self.0.insert(owner.to_owned(), now);
        }
        told
    }

    /// Gives everything that has rows.
    pub(super) fn owners(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

/// Gives what a row says that does not change by itself.
fn lasting(row: &[String], columns: Columns) -> Vec<&String> {
    let age = row.len().saturating_sub(1);
    let cells = row.iter().enumerate();
    cells
        .filter(|(place, _)| *place != age && !columns.passing.contains(place))
        .map(|(_, cell)| cell)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_and_what_only_got_older_is_not() {
        let row = |cells: &[&str]| -> Vec<String> {
            cells.iter().map(|cell| (*cell).to_owned()).collect()
        };
        let columns = Columns {
            key: 1,
            passing: &[2],
        };
        let mut shown = Shown::default();
        let first = vec![row(&["a", "1", "9s", "1s"]), row(&["b", "1", "9s", "1s"])];
        assert_eq!(shown.take("web", first.clone(), columns), first);
        let older = vec![row(&["a", "1", "8s", "2s"]), row(&["b", "1", "8s", "2s"])];
        assert_eq!(shown.take("web", older, columns), Vec::<Vec<String>>::new());
        let changed = vec![row(&["a", "2", "7s", "3s"]), row(&["c", "1", "7s", "3s"])];
        assert_eq!(
            shown.take("web", changed.clone(), columns),
            [changed, vec![row(&["b", "1", "8s", "deleted"])]].concat()
        );
        let gone = shown.take("web", Vec::new(), columns);
        assert_eq!(
            gone,
            [
                row(&["a", "2", "7s", "deleted"]),
                row(&["c", "1", "7s", "deleted"])
            ]
        );
        assert_eq!(shown, Shown::default());
    }
}
