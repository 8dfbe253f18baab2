//! What programs show, without what differs from run to run: spans of time, our version, and what was measured.
//!
//! Two runs of the same thing show the same once both are settled. Whether there was anything is kept where that is what
//! matters: of a rate, 0 stays 0.

/// Columns of what passes: some, or nothing.
const RATES: [&str; 10] = [
    "CONN/S", "FAIL/S", "FAILED/S", "BYTES/S", "IN/S", "OUT/S", "IN B/S", "OUT B/S", "PKTS/S",
    "TOTAL",
];
/// Columns of what the moment decides, whether there is any included.
const MOMENTS: [&str; 5] = ["ACTIVE", "INACT", "INACTIVE", "IMBAL", "CONNECTIONS"];
/// What follows on a number of connections.
const CONNECTIONS: [&str; 4] = ["active", "inactive", "connection", "connections"];

/// Writes `TIME` for every span of time, `VERSION` for our own and `N` for what was measured, and one space between the
/// columns of a table, which are as wide as their times.
pub fn settled(text: &str) -> String {
    let mut header = Vec::new();
    let mut out = String::new();
    for line in text.lines() {
        if let Some(told) = of_kernel(line) {
            header.clear();
            out += &told;
            out.push('\n');
            continue;
        }
        let cells = cells(line);
        let names = cells.iter().any(|cell| is_measured(cell));
        if names {
            header = cells.clone();
        } else if header.len() != cells.len() {
            header.clear();
        }
        let columns = header.iter().copied().chain(std::iter::repeat(""));
        let told = cells.iter().zip(columns).map(|(cell, column)| match names {
            true => (*cell).to_owned(),
            false => of_column(column, cell),
        });
        out += &told.collect::<Vec<_>>().join(" ");
        out.push('\n');
    }
    out
}

/// Settles a line about what a kernel holds: a backend as `ipvsadm` lists it, or how many connections of a client there are, and
/// one of them.
fn of_kernel(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Some(match words.as_slice() {
        ["->", backend, forward, weight, active, inactive]
            if is_count(active) && is_count(inactive) =>
        {
            format!("-> {backend} {forward} {weight} N N")
        }
        ["connections", "of", client, count] if is_count(count) => {
            format!("connections of {client} N")
        }
        ["from", "port", _, rest @ ..] => format!("from port N {}", rest.join(" ")),
        _ => return None,
    })
}

/// Splits a line where two spaces or more stand: words of one cell are one space apart.
fn cells(line: &str) -> Vec<&str> {
    let cells = line.split("  ").map(str::trim);
    cells.filter(|cell| !cell.is_empty()).collect()
}

fn is_measured(column: &str) -> bool {
    RATES.contains(&column) || MOMENTS.contains(&column)
}

fn of_column(column: &str, cell: &str) -> String {
    if MOMENTS.contains(&column) || RATES.contains(&column) && !matches!(cell, "0" | "0B") {
        return "N".to_owned();
    }
    let words: Vec<&str> = cell.split_whitespace().collect();
    let around = |at: usize| words.get(at).copied().map_or("", bare);
    let told = words.iter().enumerate().map(|(at, word)| {
        let before = at.checked_sub(1).map_or("", around);
        let bare = bare(word);
        let settled = match bare {
            bare if is_span(bare) => "TIME",
            env!("CARGO_PKG_VERSION") => "VERSION",
            bare if is_count(bare) && counts(before, around(at + 1)) => "N",
            _ => return (*word).to_owned(),
        };
        word.replacen(bare, settled, 1)
    });
    told.collect::<Vec<_>>().join(" ")
}

/// Gives a word without what a sentence puts around it.
fn bare(word: &str) -> &str {
    word.trim_start_matches('(')
        .trim_end_matches([';', ':', ',', ')'])
}

/// Whether a word is a span of time, such as `850ms`, `7s` or `2m30s`.
fn is_span(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.ends_with(['s', 'm', 'h', 'd'])
        && word
            .chars()
            .all(|c| c.is_ascii_digit() || "smhd.".contains(c))
}

fn is_count(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_digit())
}

/// Whether a number between these words counts connections, or requests by who answered them
/// ([`crate::client::Outcome`]).
fn counts(before: &str, after: &str) -> bool {
    CONNECTIONS.contains(&after) || before.starts_with("pod-") || before == "answer"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_compared_without_its_times_and_widths() {
        let shown =
            "NODE    SEEN\nnode-a  12s\n\nnode-b: not connected for 2m30s; converged on 3s\n";
        assert_eq!(
            settled(shown),
            "NODE SEEN\nnode-a TIME\n\nnode-b: not connected for TIME; converged on TIME\n"
        );
    }

    #[test]
    fn of_what_passes_only_whether_there_is_any_is_kept() {
        let shown = "\
NAME                 CONN/S   FAIL/S   BYTES/S   ACTIVE   INACT   IMBAL
web/10.0.0.11:8080   38       0        4.1KiB    1        512     -
web/10.0.0.21:8080   0.25     <0.01    0B        0        0       1.25
  BACKEND          ACTIVE   IN B/S   ANSWERS
  10.0.0.11:8080   20       12250    yes

10.0.0.11:8080   20       12250    yes
";
        assert_eq!(
            settled(shown),
            "\
NAME CONN/S FAIL/S BYTES/S ACTIVE INACT IMBAL
web/10.0.0.11:8080 N 0 N N N N
web/10.0.0.21:8080 N N 0B N N N
BACKEND ACTIVE IN B/S ANSWERS
10.0.0.11:8080 N N yes

10.0.0.11:8080 20 12250 yes
"
        );
    }

    #[test]
    fn of_what_a_kernel_holds_the_connections_are_not_counted() {
        let shown = "\
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
  -> 10.0.0.11:8080               Masq    3      3          12
connections of 10.1.2.3: 1
  from port 41234 to 10.0.0.11:8080, ESTABLISHED
";
        assert_eq!(
            settled(shown),
            "\
-> RemoteAddress:Port Forward Weight ActiveConn InActConn
-> 10.0.0.11:8080 Masq 3 N N
connections of 10.1.2.3: N
from port N to 10.0.0.11:8080, ESTABLISHED
"
        );
    }

    #[test]
    fn connections_and_answers_are_not_counted_and_other_numbers_are() {
        let shown = "\
edit backend 10.0.0.11:8080: weight 1 -> weight 3 (3 active, 120 inactive connections)
the time is over: 212 connections cut on 1 of 2 nodes
pod-x 31, pod-y 29, no answer 7
";
        assert_eq!(
            settled(shown),
            "\
edit backend 10.0.0.11:8080: weight 1 -> weight 3 (N active, N inactive connections)
the time is over: N connections cut on 1 of 2 nodes
pod-x N, pod-y N, no answer N
"
        );
    }
}
