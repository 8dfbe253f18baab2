//! Every number that the programs show at `/metrics`, as they show it when each has one.

use std::collections::{BTreeMap, BTreeSet};

use weir_controller::{BACKEND_METRICS, METRICS};
use weir_proto::metrics::Kind;

use super::cell;

/// What is told of one number.
#[derive(Default)]
struct Metric {
    what: String,
    kind: String,
    labels: BTreeSet<String>,
}

/// Sets the numbers of both programs: the controller has a table of its own, the agent shows one of each.
pub(super) fn page() -> String {
    let mut text = "# Metrics\n\nAt `/metrics` of `--admin-listen`, as OpenMetrics. A number with labels is there from when it \
                    was first counted; those of backends with `--backend-metrics`.\n"
        .to_owned();
    let table = METRICS.iter().chain(BACKEND_METRICS);
    let agent = read(&weir_agent::admin::sample_metrics());
    for (program, metrics) in [
        ("weir-controller", table.map(described).collect()),
        ("weir-agent", agent),
    ] {
        text += &format!("\n## {program}\n\n| name | type | labels | what |\n|---|---|---|---|\n");
        for (name, metric) in metrics {
            let labels: Vec<String> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
            let (kind, what) = (&metric.kind, cell(&metric.what));
            text += &format!("| `{name}` | {kind} | {} | {what} |\n", labels.join(" "));
        }
    }
    text
}

/// Gives a number as its table describes it, by the name that its samples have.
fn described(metric: &weir_proto::metrics::Metric) -> (String, Metric) {
    let (kind, ending) = match metric.kind {
        Kind::Counter => ("counter", "_total"),
        Kind::Gauge => ("gauge", ""),
        Kind::Histogram => ("histogram", ""),
    };
    let told = Metric {
        what: metric.help.to_owned(),
        kind: kind.to_owned(),
        labels: metric
            .labels
            .iter()
            .map(|label| (*label).to_owned())
            .collect(),
    };
    (format!("{}{ending}", metric.name), told)
}

/// Reads OpenMetrics: each number by the name that its samples have, a histogram by that of all of them.
fn read(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, what] => {
                metrics.entry(name.to_owned()).or_default().what =
                    what.trim_end_matches('.').to_owned();
            }
            ["#", "TYPE", name, kind] => {
                metrics.entry(name.to_owned()).or_default().kind = kind.to_owned();
            }
            ["#", ..] => {}
            _ => {
                let sample = line.split(['{', ' ']).next().unwrap_or_default();
                let of = metrics
                    .iter_mut()
                    .filter(|(name, _)| sample.starts_with(name.as_str()));
                if let Some((_, metric)) = of.max_by_key(|(name, _)| name.len()) {
                    metric.labels.extend(labels(line));
                }
            }
        }
    }
    let full = |(name, metric): (String, Metric)| match metric.kind.as_str() {
        "counter" => (format!("{name}_total"), metric),
        _ => (name, metric),
    };
    metrics.into_iter().map(full).collect()
}

/// Gives the names of a sample's labels, but for the one that only tells the parts of a histogram apart.
fn labels(line: &str) -> Vec<String> {
    let inside = line
        .split_once('{')
        .and_then(|(_, rest)| rest.rsplit_once('}'));
    let Some((inside, _)) = inside else {
        return Vec::new();
    };
    let pairs = inside.split("\",");
    let names = pairs.filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
    names.filter(|name| name != "le").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_name_of_its_samples_and_their_labels() {
        let text = "\
# HELP weir_x Things, so.
# TYPE weir_x counter
weir_x_total{kind=\"a,b=c\",of=\"d\"} 1
# HELP weir_x_seconds Time.
# TYPE weir_x_seconds histogram
# UNIT weir_x_seconds seconds
weir_x_seconds_bucket{le=\"1.0\",stage=\"a\"} 1
# EOF
";
        let told: Vec<(String, String, String, Vec<String>)> = read(text)
            .into_iter()
            .map(|(name, it)| (name, it.what, it.kind, it.labels.into_iter().collect()))
            .collect();
        let one = |name: &str, what: &str, kind: &str, labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            (name.to_owned(), what.to_owned(), kind.to_owned(), labels)
        };
        assert_eq!(
            told,
            [
                one("weir_x_seconds", "Time", "histogram", &["stage"]),
                one("weir_x_total", "Things, so", "counter", &["kind", "of"]),
            ]
        );
    }
}
