//! The dashboard and the alerts of `deploy/dashboards`, asked of a real Prometheus that scrapes a live pair.
//! `integration/run test dashboards` gets Prometheus and gives its directory in WEIR_PROMETHEUS.

mod pair;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_integration::daemon::Daemon;
use weir_integration::eventually::eventually;
use weir_integration::program;

use pair::Pair;

/// Prometheus is up within a second, and has two samples of everything three later; where others are at work, later.
const PATIENCE: Duration = Duration::from_secs(90);
/// What Grafana puts in for its variables: a few samples, and everything.
const VARIABLES: [(&str, &str); 3] = [
    ("$__rate_interval", "10s"),
    ("$service", ".*"),
    ("$agent", ".*"),
];

fn dashboards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dashboards")
}

fn tool(name: &str) -> Result<Command> {
    let home = std::env::var_os("WEIR_PROMETHEUS")
        .context("WEIR_PROMETHEUS names no Prometheus: use integration/run test dashboards")?;
    Ok(Command::new(Path::new(&home).join(name)))
}

/// Gives what every panel and every variable of the dashboard asks, with the title.
fn queries() -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(dashboards().join("weir.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().context("panels")? {
        let title = panel["title"].as_str().context("a title")?;
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        ensure!(
            !targets.is_empty() || panel["type"] == "row",
            "{title} asks nothing"
        );
        for target in targets {
            let mut asked = target["expr"].as_str().context("an expression")?.to_owned();
            for (variable, value) in VARIABLES {
                asked = asked.replace(variable, value);
            }
            ensure!(
                !asked.contains('$'),
                "{title}: a variable that is not known: {asked}"
            );
            queries.push((title.to_owned(), asked));
        }
    }
    for variable in dashboard["templating"]["list"]
        .as_array()
        .context("variables")?
    {
        if variable["type"] == "query" {
            let asked = variable["definition"].as_str().context("a definition")?;
            let inside = asked
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')'));
            let (metric, label) = inside
                .and_then(|inside| inside.split_once(", "))
                .context("label_values")?;
            queries.push((asked.to_owned(), format!("count by ({label}) ({metric})")));
        }
    }
    Ok(queries)
}

#[test]
fn every_query_of_the_dashboard_finds_something_in_a_live_pair() -> Result<()> {
    let pair = Pair::start()?;
    let dir = tempfile::tempdir()?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [{}]\n\
         scrape_configs:\n\
         - {{job_name: weir-controller, static_configs: [{{targets: ['{}']}}]}}\n\
         - {{job_name: weir-agent, static_configs: [{{targets: ['{}']}}]}}\n",
        dashboards().join("alerts.yaml").display(),
        pair.controller,
        pair.agent,
    );
    let file = dir.path().join("prometheus.yaml");
    std::fs::write(&file, config)?;
    let mut command = tool("prometheus")?;
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            dir.path().join("data").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let mut prometheus = Daemon::start("prometheus", command, dir.path())?;
    let url = format!("http://127.0.0.1:{port}");
    prometheus.ready(PATIENCE, || {
        pair.stir()?;
        let up = ask(&url, "sum(up) == 2")?;
        ensure!(up.len() == 1, "not everything is scraped");
        Ok(())
    })?;
    let queries = queries()?;
    ensure!(queries.len() > 30, "{}", queries.len());
    for (title, query) in queries {
        eventually(&format!("{title}: {query}"), PATIENCE, || {
            pair.stir()?;
            let found = ask(&url, &query)?;
            let number = |one: &Value| one["value"][1].as_str().is_some_and(|value| value != "NaN");
            ensure!(found.iter().any(number), "finds nothing: {found:?}");
            Ok(())
        })?;
    }
    // all is well here, so nobody is woken
    let alerts = ask(&url, "ALERTS{alertstate=\"firing\"}")?;
    ensure!(alerts.is_empty(), "{alerts:?}");
    let rules = ask(&url, "prometheus_rule_evaluation_failures_total > 0");
    ensure!(rules?.is_empty(), "rules fail");
    prometheus.kill()?;
    pair.stop()
}

/// Asks for what there is now.
fn ask(url: &str, query: &str) -> Result<Vec<Value>> {
    let mut command = tool("promtool")?;
    command.args(["query", "instant", "-o", "json", url, query]);
    let answer: Value = serde_json::from_str(&program::run(&mut command, "")?)?;
    Ok(answer.as_array().cloned().unwrap_or_default())
}

#[test]
fn every_alert_is_good_and_wakes_somebody_when_it_should_and_not_before() -> Result<()> {
    let alerts = dashboards().join("alerts.yaml");
    let mut check = tool("promtool")?;
    program::run(check.args(["check", "rules"]).arg(&alerts), "")?;
    let dir = tempfile::tempdir()?;
    let cases = include_str!("alerts.yaml").replace("ALERTS", &alerts.display().to_string());
    let file = dir.path().join("cases.yaml");
    std::fs::write(&file, &cases)?;
    let mut test = tool("promtool")?;
    let told = program::run(test.args(["test", "rules"]).arg(&file), "")?;
    ensure!(told.contains("SUCCESS"), "{told}");
    // none is without a case
    let names = |text: &str, before: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.split_once(before));
        lines.map(|(_, name)| name.trim().to_owned()).collect()
    };
    let rules = names(&std::fs::read_to_string(&alerts)?, "alert: ");
    let fired: BTreeSet<String> = cases
        .split("alertname: ")
        .skip(1)
        .filter(|case| case.contains("exp_labels"))
        .filter_map(|case| case.lines().next())
        .map(|name| name.trim().to_owned())
        .collect();
    ensure!(rules == fired, "{:?}", rules.symmetric_difference(&fired));
    Ok(())
}

#[test]
fn alerts_and_dashboard_name_numbers_that_there_are() -> Result<()> {
    let known = include_str!("../../../deploy/reference/metrics.md");
    let known: BTreeSet<&str> = known
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    ensure!(known.len() > 50, "{}", known.len());
    for file in ["weir.json", "alerts.yaml"] {
        let text = std::fs::read_to_string(dashboards().join(file))?;
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("weir_")) {
            let parts = ["_bucket", "_sum", "_count"];
            let whole = parts.iter().find_map(|part| word.strip_suffix(part));
            let there = known.contains(word) || whole.is_some_and(|whole| known.contains(whole));
            ensure!(there, "{file}: there is no {word}");
        }
    }
    Ok(())
}
