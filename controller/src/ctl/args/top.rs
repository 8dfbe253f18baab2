//! The words of `top`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::ctl::render::parse_span;

/// How `top` writes where nobody looks at a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopForm {
    /// One line each
    Table,
    /// One line each, with more columns
    Wide,
    /// As JSON, with every number as it is
    Json,
}

#[derive(Debug, Args)]
#[command(override_usage = "weirctl top [OPTIONS] [services|backends|nodes] [NAME]...")]
#[command(after_help = "\
On a terminal a screen that is live, until q; ? shows its keys. Elsewhere, and with --once, -n, -o
or --no-headers, a table. Names are those of services, also for backends, and of nodes for nodes.

Rates are those of the last interval that each node reported, bytes are those of both ways. FAIL/S:
connections that were not answered or refused. INACT: connections that are not established. IMBAL:
of a service the busiest backend over the mean, of backends and nodes this one over the mean. CT%:
how full a node's connection tracking is; ENTRIES: with how many; DROPS: what it lost since the
controller started. TOTAL: connections since the controller started.

When the controller goes away the screen says so, keeps what it showed, and asks again until it is
back. Colours only on a terminal, unless NO_COLOR is set.

Examples:
  # The busiest services
  weirctl top

  # The backends of one service, and how evenly they are used
  weirctl top backends web

  # Nodes, once, with every column
  weirctl top nodes --once -o wide

  # The services whose connections fail, ten times
  weirctl top services --sort-by fail -n 10 --interval 10s

  # What programs read
  weirctl top services -o json")]
pub(crate) struct TopArgs {
    /// What to show (services), and names
    #[arg(value_name = "WHAT")]
    pub(crate) what: Vec<String>,
    /// Write one table and end
    #[arg(long, conflicts_with = "count")]
    pub(crate) once: bool,
    /// Write N tables and end
    #[arg(short = 'n', long = "count", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: Option<u32>,
    /// How far answers are apart: 500ms to 1m
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    pub(crate) interval: Duration,
    /// By what to sort, by the head of the column: name, conn, fail, bytes, active, ... [default:
    /// conn on a screen, name in a table]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) sort_by: Option<String>,
    /// Only what has this in its name; !TEXT: only what has not
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) filter: String,
    /// How to write a table: table, wide or json
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        hide_possible_values = true
    )]
    pub(crate) output: Option<TopForm>,
    /// Leave out the names of the columns
    #[arg(long)]
    pub(crate) no_headers: bool,
}

/// Takes what the controller takes (`TrafficRequest.interval_ms`).
fn interval(text: &str) -> Result<Duration, String> {
    let span = parse_span(text)?;
    match span.as_millis() {
        500..=60_000 => Ok(span),
        _ => Err("it is 500ms to 1m".to_owned()),
    }
}
