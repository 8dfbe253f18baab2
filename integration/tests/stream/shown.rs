//! What `weirctl status` shows, with what differs from run to run cut out of it.

use anyhow::{Result, ensure};
use weir_integration::eventually::eventually;

use crate::site::{SOON, Site};

impl Site {
    /// Waits until the operator is shown just `expected`, and prints it as it was; `well` is what the command's status says.
    pub(crate) fn shows(&self, when: &str, well: bool, expected: &str) -> Result<()> {
        self.shows_one(when, well, &[expected])
    }

    /// The same where one follows on the other by itself.
    pub(crate) fn shows_one(&self, when: &str, well: bool, expected: &[&str]) -> Result<()> {
        let shown = eventually(when, SOON, || {
            let (said_well, text) = self.weir.weirctl_says(&self.topology, &["status"])?;
            let compared = without_times(&text);
            ensure!(
                said_well == well && expected.contains(&compared.as_str()),
                "all is well: {said_well}, and shown is\n{compared}"
            );
            Ok(text)
        })?;
        println!("--- weirctl status, {when}\n{shown}");
        Ok(())
    }
}

/// Writes `TIME` for every span of time and `VERSION` for our own, and one space between the columns of a table, which are as wide as their times.
fn without_times(text: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let words = words.iter().map(|word| {
            let bare = word.trim_end_matches([';', ':', ',']);
            let rest = &word[bare.len()..];
            match bare {
                bare if is_span(bare) => format!("TIME{rest}"),
                env!("CARGO_PKG_VERSION") => format!("VERSION{rest}"),
                _ => (*word).to_owned(),
            }
        });
        words.collect::<Vec<_>>().join(" ") + "\n"
    };
    text.lines().map(line).collect()
}

/// Whether a word is a span of time, such as `850ms`, `7s` or `2m30s`.
fn is_span(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.ends_with(['s', 'm', 'h', 'd'])
        && word
            .chars()
            .all(|c| c.is_ascii_digit() || "smhd.".contains(c))
}

#[test]
fn a_table_is_compared_without_its_times_and_widths() {
    let shown = "NODE    SEEN\nnode-a  12s\n\nnode-b: not connected for 2m30s; converged on 3s\n";
    assert_eq!(
        without_times(shown),
        "NODE SEEN\nnode-a TIME\n\nnode-b: not connected for TIME; converged on TIME\n"
    );
}
