//! What numbers are called, in both programs: what a number is described by, and what makes a page of them a good one. PURE
//!
//! Names are in the base units of Prometheus (seconds, bytes), those of counters end with `_total` on the page.

use std::collections::{BTreeMap, BTreeSet};

/// A number, or one for each value of its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, of a counter without `_total`.
    pub name: &'static str,
    /// What can be made of it.
    pub kind: Kind,
    /// What tells its numbers apart.
    pub labels: &'static [&'static str],
    /// One sentence for people, without the full stop.
    pub help: &'static str,
}

/// What can be made of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, and begins anew with the program.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often something was how large.
    Histogram,
}

/// How long each stage of a change takes. The controller tells "accept", "encode", "wire", "ack" and "total", an agent "journal"
/// and "kernel", each by its own clock.
pub const STAGES: Metric = Metric::histogram(
    "weir_network_programming_duration_seconds",
    &["stage"],
    "How long a change takes from the operator to a node's kernel: accept (asked for until durable), encode (into what nodes \
     are sent), wire (sent until a node says it is durable there), journal (on the node, until durable), kernel (until the \
     kernel has it), ack (durable there until the node says that the kernel has it), total (asked for until then)",
);

/// The bounds of the buckets of [`STAGES`]: a millisecond, and always twice as much, up to 65.536 seconds.
pub const STAGE_BOUNDS: [f64; 17] = [
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
    8.192, 16.384, 32.768, 65.536,
];

/// How names end that are not of base units.
const NO_UNITS: [&str; 16] = [
    "ms",
    "milliseconds",
    "us",
    "microseconds",
    "ns",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "kb",
    "kib",
    "mb",
    "mib",
    "kilobytes",
    "bits",
    "percent",
];
/// What the parts of a histogram end with, and other words of the format.
const RESERVED: [&str; 6] = ["total", "count", "sum", "bucket", "info", "created"];
/// What is a time has a unit.
const TIMES: [&str; 4] = ["duration", "age", "lag", "latency"];

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Metric {
    /// Describes a counter.
    pub const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self::new(Kind::Counter, name, labels, help)
    }

    /// Describes a number that goes up and down.
    pub const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self::new(Kind::Gauge, name, labels, help)
    }

    /// Describes how often something was how large.
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self::new(Kind::Histogram, name, labels, help)
    }

    const fn new(
        kind: Kind,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            labels,
            help,
        }
    }

    /// Gives the name under which it is asked for: of a counter with `_total`.
    pub fn series(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge | Kind::Histogram => self.name.to_owned(),
        }
    }

    /// Finds what is wrong with how it is described.
    fn problems(&self) -> Vec<String> {
        let Self {
            name, kind, help, ..
        } = self;
        let words: Vec<&str> = name.split('_').collect();
        let last = words.last().copied().unwrap_or_default();
        let is_word = |word: &&str| {
            let mut letters = word.bytes();
            letters.next().is_some_and(|it| it.is_ascii_lowercase())
                && letters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
        };
        let mut problems = Vec::new();
        let mut check = |good: bool, problem: &str| {
            if !good {
                problems.push(format!("{name}: {problem}"));
            }
        };
        check(words.first() == Some(&"weir"), "does not begin with weir_");
        check(words.iter().all(&is_word), "is not snake_case");
        check(!NO_UNITS.contains(&last), "is not in a base unit");
        check(!RESERVED.contains(&last), "ends with a word of the format");
        let is_time = words.iter().any(|word| TIMES.contains(word));
        check(
            !is_time || last == "seconds",
            "is a time and not in seconds",
        );
        let sized = ["seconds", "bytes"].contains(&last);
        check(
            *kind != Kind::Histogram || sized,
            "is a histogram without a unit",
        );
        check(
            help.starts_with(|first: char| first.is_uppercase() || first.is_ascii_digit()),
            "its help is no sentence",
        );
        check(
            !help.contains('\n') && !help.ends_with('.'),
            "its help ends with more than words",
        );
        for label in self.labels {
            check(
                is_word(label) && !["le", "quantile"].contains(label),
                "has a label that cannot be",
            );
        }
        problems
    }
}

/// What is on a page under one name.
#[derive(Debug, Default)]
struct Family<'a> {
    help: Option<&'a str>,
    kind: Option<&'a str>,
    samples: BTreeSet<&'a str>,
    labels: BTreeSet<Vec<&'a str>>,
}

/// Finds what is wrong with a page of numbers in the text format of OpenMetrics: what is not in the table, or is there otherwise,
/// what is told twice, and what is in the table and not on the page.
pub fn problems(page: &str, table: &[Metric]) -> Vec<String> {
    let mut problems: Vec<String> = table.iter().flat_map(Metric::problems).collect();
    let mut described = BTreeMap::new();
    for metric in table {
        if described.insert(metric.name, metric).is_some() {
            problems.push(format!("{}: is twice in the table", metric.name));
        }
    }
    let (families, told) = read(page, &described);
    problems.extend(told);
    for (name, metric) in &described {
        match families.get(name) {
            None => problems.push(format!("{name}: is not on the page")),
            Some(family) => problems.extend(family.problems(metric)),
        }
    }
    problems
}

/// Reads a page; also gives what of it cannot be read, or is of nothing that is described.
fn read<'a>(
    page: &'a str,
    described: &BTreeMap<&str, &Metric>,
) -> (BTreeMap<&'a str, Family<'a>>, Vec<String>) {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    let mut problems = Vec::new();
    for line in page.lines() {
        if let Some(words) = line.strip_prefix("# HELP ") {
            let (name, help) = words.split_once(' ').unwrap_or((words, ""));
            let before = families.entry(name).or_default().help.replace(help);
            if before.is_some() {
                problems.push(format!("{name}: has two helps"));
            }
        } else if let Some(words) = line.strip_prefix("# TYPE ") {
            let (name, kind) = words.split_once(' ').unwrap_or((words, ""));
            families.entry(name).or_default().kind = Some(kind);
        } else if !line.starts_with('#') {
            let end = line.find(['{', ' ']).unwrap_or(line.len());
            let series = &line[..end];
            let sample = line.rsplit_once(' ').map_or(line, |(sample, _)| sample);
            let parts = ["_total", "_bucket", "_count", "_sum"];
            let names = parts.iter().filter_map(|part| series.strip_suffix(part));
            let name = names
                .chain([series])
                .find(|name| described.contains_key(name));
            let Some(family) = name.and_then(|name| families.get_mut(name)) else {
                problems.push(format!("{series}: is of nothing that is described"));
                continue;
            };
            if !family.samples.insert(sample) {
                problems.push(format!("{sample}: is told twice"));
            }
            family.labels.insert(labels(&sample[end..]));
        }
    }
    let of_nothing = families
        .keys()
        .filter(|name| !described.contains_key(*name));
    problems.extend(of_nothing.map(|name| format!("{name}: is not in the table")));
    if !page.ends_with("# EOF\n") {
        problems.push("the page has no end".to_owned());
    }
    (families, problems)
}

/// Gives the names in a set of labels, save for the bound of a bucket.
fn labels(set: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = set.trim_start_matches('{');
    while let Some((name, after)) = rest.split_once("=\"") {
        names.push(name.trim_start_matches(','));
        // to the quote that no backslash stands before
        let mut escaped = false;
        let end = after.find(|letter| {
            let ends = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            ends
        });
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    names.retain(|name| *name != "le");
    names
}

impl Family<'_> {
    fn problems(&self, metric: &Metric) -> Vec<String> {
        let name = metric.name;
        let mut problems = Vec::new();
        let help = self.help.map(|help| help.trim_end_matches('.'));
        if help != Some(metric.help) {
            problems.push(format!("{name}: has another help: {help:?}"));
        }
        if self.kind != Some(metric.kind.as_str()) {
            problems.push(format!("{name}: is a {:?}", self.kind));
        }
        for labels in &self.labels {
            if labels != metric.labels {
                problems.push(format!("{name}: has labels {labels:?}"));
            }
        }
        if self.samples.is_empty() {
            problems.push(format!("{name}: has no number"));
        }
        let series = metric.series();
        let is_ours = |sample: &&str| sample.starts_with(&series);
        if !self.samples.iter().all(is_ours) {
            problems.push(format!("{name}: has a number of another name"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: [Metric; 3] = [
        Metric::counter("weir_packets", &["direction"], "Packets"),
        Metric::gauge("weir_nodes", &[], "Nodes"),
        Metric::histogram("weir_wait_seconds", &["stage"], "How long it waits"),
    ];
    const PAGE: &str = "\
# HELP weir_packets Packets.
# TYPE weir_packets counter
weir_packets_total{direction=\"in\"} 7
weir_packets_total{direction=\"a \\\"quote\\\", le=\"} 7
# HELP weir_nodes Nodes
# TYPE weir_nodes gauge
weir_nodes 1
# HELP weir_wait_seconds How long it waits.
# TYPE weir_wait_seconds histogram
weir_wait_seconds_sum{stage=\"a\"} 1.5
weir_wait_seconds_count{stage=\"a\"} 1
weir_wait_seconds_bucket{le=\"1.0\",stage=\"a\"} 0
weir_wait_seconds_bucket{le=\"+Inf\",stage=\"a\"} 1
# EOF
";

    #[test]
    fn a_good_page_has_no_problems() {
        assert_eq!(problems(PAGE, &TABLE), Vec::<String>::new());
        assert_eq!(STAGES.problems(), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_with_a_page_is_named() {
        for (from, to, problem) in [
            (
                "weir_nodes 1",
                "weir_nodes 1\nweir_nodes 2",
                "weir_nodes: is told twice",
            ),
            ("weir_nodes 1\n", "", "weir_nodes: has no number"),
            (
                "weir_nodes 1",
                "weir_nodes{a=\"b\"} 1",
                "weir_nodes: has labels [\"a\"]",
            ),
            (
                "weir_nodes gauge",
                "weir_nodes counter",
                "weir_nodes: is a Some(\"counter\")",
            ),
            (
                "weir_nodes Nodes",
                "weir_nodes All",
                "weir_nodes: has another help: Some(\"All\")",
            ),
            (
                "weir_nodes 1",
                "weir_nodes 1\nx 1",
                "x: is of nothing that is described",
            ),
            (
                "# HELP weir_nodes Nodes",
                "# HELP weir_nodes Nodes\n# HELP weir_nodes Nodes",
                "weir_nodes: has two helps",
            ),
            (
                "weir_packets_total{direction=\"in\"} 7",
                "weir_packets{direction=\"in\"} 7",
                "weir_packets: has a number of another name",
            ),
            ("# EOF\n", "", "the page has no end"),
            ("# EOF\n", "# HELP x X\n# EOF\n", "x: is not in the table"),
        ] {
            let found = problems(&PAGE.replace(from, to), &TABLE);
            assert_eq!(
                found.first().map(String::as_str),
                Some(problem),
                "{found:?}"
            );
        }
        let (one, more) = (&TABLE[..1], [TABLE[0], TABLE[1], TABLE[2], TABLE[1]]);
        let missing = problems("# EOF\n", one);
        assert_eq!(missing, ["weir_packets: is not on the page"]);
        assert_eq!(problems(PAGE, &more), ["weir_nodes: is twice in the table"]);
    }

    #[test]
    fn a_name_is_snake_case_in_base_units_and_of_no_word_of_the_format() {
        for (name, problem) in [
            ("nodes", Some("does not begin with weir_")),
            ("weir_Nodes", Some("is not snake_case")),
            ("weir__nodes", Some("is not snake_case")),
            ("weir_wait_ms", Some("is not in a base unit")),
            ("weir_sent_kib", Some("is not in a base unit")),
            ("weir_nodes_total", Some("ends with a word of the format")),
            ("weir_state_age", Some("is a time and not in seconds")),
            ("weir_state_age_seconds", None),
        ] {
            let problems = Metric::gauge(name, &[], "Something").problems();
            let wanted = problem.map(|problem| format!("{name}: {problem}"));
            assert_eq!(problems.first(), wanted.as_ref());
        }
        let problem = |metric: Metric| metric.problems().pop();
        let histogram = Metric::histogram("weir_wait", &[], "Waiting");
        let wanted = "weir_wait: is a histogram without a unit";
        assert_eq!(problem(histogram).as_deref(), Some(wanted));
        let help = Metric::gauge("weir_nodes", &[], "nodes");
        let wanted = "weir_nodes: its help is no sentence";
        assert_eq!(problem(help).as_deref(), Some(wanted));
        let label = Metric::gauge("weir_nodes", &["le"], "Nodes");
        let wanted = "weir_nodes: has a label that cannot be";
        assert_eq!(problem(label).as_deref(), Some(wanted));
    }

    #[test]
    fn the_bounds_of_stages_double_from_a_millisecond() {
        let mut bound = 0.001;
        for stage in STAGE_BOUNDS {
            assert!((stage - bound).abs() < 1e-9, "{stage} {bound}");
            bound *= 2.0;
        }
    }
}
