//! One change at a time to a fleet: how long it takes, what it costs on the wire, and whether one agent that reads nothing
//! is felt by the others.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::Size;
use crate::fleet::{Fleet, Kernels, Times};
use crate::process::Cores;
use crate::row::{Of, Row, Rows, percentile};
use crate::{Asked, flood, weight};

const HUNDRED: Size = Size {
    services: 100,
    backends: 10,
    nodes: 100,
};
/// Half the services: a thousand agents have a thousand copies of them in one process.
const THOUSAND: Size = Size {
    services: 50,
    backends: 10,
    nodes: 1_000,
};
/// Enough that the 99th of a hundred is not the slowest of all.
const CHANGES: usize = 300;
/// Each of them reaches a thousand kernels on one core.
const CHANGES_OF_MANY: usize = 100;
/// The first ones are for connections, pages and caches.
const WARM_UP: usize = 10;
/// With one agent stalled and without take turns, so that a machine that changes its pace changes it for both.
const TURNS: usize = 64;
const CHANGES_OF_A_TURN: usize = 25;
/// How many encodings of updates the controller counts.
const ENCODINGS: &str = "weir_controller_update_encodings_total";

/// What a change may take, half of the changes and all but one in a hundred, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) must: (f64, f64),
    pub(crate) aim: (f64, f64),
}

/// A hundred agents.
pub(crate) fn hundred(cores: Cores, asked: &Asked, rows: &mut Rows) -> Result<()> {
    let mut fleet = Fleet::start(cores, HUNDRED, Kernels::InMemory)?;
    fleet.changes(WARM_UP, &[])?;
    if asked.for_any(&["agents-100", "encodes", "bytes"]) {
        let counted = fleet.controller.counts(ENCODINGS)?;
        let before = fleet.agents.bytes();
        let times = fleet.changes(CHANGES, &[])?;
        let after = fleet.agents.bytes();
        let encodings = fleet.controller.counts(ENCODINGS)?;
        if asked.for_any(&["agents-100"]) {
            let limits = Limits {
                must: (50.0, 150.0),
                aim: (25.0, 70.0),
            };
            latency(rows, "agents-100", &times, limits);
        }
        if asked.for_any(&["encodes"]) {
            // a weight reads alike on every node, whatever else these hold: one view of it
            let of = of("encodes", "1 change for 100 nodes", "encodings", CHANGES);
            let encoded = encodings.zip(counted);
            let encoded = encoded.map(|(after, before)| (after - before) / CHANGES as f64);
            if encoded.is_none() {
                rows.note(&format!("the controller tells no {ENCODINGS}"));
            }
            rows.add(Row::limit(of, encoded.unwrap_or(f64::NAN), 1.0, None));
        }
        if asked.for_any(&["bytes"]) {
            let delivered = (CHANGES * HUNDRED.nodes) as f64;
            let down = (after.read - before.read) as f64 / delivered;
            let up = (after.written - before.written) as f64 / delivered;
            rows.note(&format!(
                "bytes: {down:.0} to the node, {up:.0} from it, TCP's own headers not counted"
            ));
            let of = of("bytes", "1 backend, 1 node, both ways", "B", CHANGES);
            rows.add(Row::limit(of, down + up, 300.0, Some(150.0)));
        }
    }
    if asked.for_any(&["stalled"]) {
        stalled(&mut fleet, rows)?;
    }
    if asked.for_any(&["flood"]) {
        flood::run(&mut fleet, rows)?;
    }
    fleet.end()
}

/// A thousand agents.
pub(crate) fn thousand(cores: Cores, asked: &Asked, rows: &mut Rows) -> Result<()> {
    let mut fleet = Fleet::start(cores, THOUSAND, Kernels::InMemory)?;
    if asked.for_any(&["memory"]) {
        weight::of_agents(&fleet, rows)?;
    }
    if asked.for_any(&["agents-1000", "cpu"]) {
        fleet.changes(WARM_UP, &[])?;
        let (times, load) = match asked.for_any(&["cpu"]) {
            true => {
                let (times, load) = weight::beside_etcd(cores, &mut fleet, CHANGES_OF_MANY)?;
                (times, Some(load))
            }
            false => (fleet.changes(CHANGES_OF_MANY, &[])?, None),
        };
        if asked.for_any(&["agents-1000"]) {
            let limits = Limits {
                must: (300.0, 800.0),
                aim: (150.0, 400.0),
            };
            latency(rows, "agents-1000", &times, limits);
        }
        if let Some(load) = load {
            load.add(rows);
        }
    }
    fleet.end()
}

/// Adds the rows of the times of changes.
pub(crate) fn latency(rows: &mut Rows, bench: &str, times: &Times, limits: Limits) {
    let runs = times.in_all.len();
    let both =
        |times: &[Duration]| [50, 99].map(|percent| milliseconds(percentile(times, percent)));
    let [taken, slowest] = both(&times.accepting);
    let [all, last] = both(&times.in_all);
    rows.note(&format!(
        "{bench}: from the operator's call, p50/p99: accepted {taken:.1}/{slowest:.1} ms, held by all {all:.1}/{last:.1} ms"
    ));
    let [half, most] = both(&times.after_acceptance);
    let Limits { must, aim } = limits;
    for (case, ours, must, aim) in [
        ("accepted to converged, p50", half, must.0, aim.0),
        ("accepted to converged, p99", most, must.1, aim.1),
    ] {
        let of = of(bench, case, "ms", runs);
        rows.add(Row::limit(of, ours, must, Some(aim)));
    }
}

/// One agent reads nothing, and the others' times beside those with all agents well.
fn stalled(fleet: &mut Fleet, rows: &mut Rows) -> Result<()> {
    let one = fleet.agents.count() - 1;
    let (mut well, mut ill) = (Times::default(), Times::default());
    for turn in 0..TURNS {
        let stall = turn % 2 == 1;
        fleet.agents.stall(one, stall)?;
        // without it in both: the same agents are waited for
        for _ in 0..CHANGES_OF_A_TURN {
            let taken = fleet.change(&[one])?;
            if stall { &mut ill } else { &mut well }.add(taken);
        }
    }
    fleet.agents.stall(one, false)?;
    let patience = fleet.operator.all_hold(fleet.size.nodes);
    fleet
        .runtime
        .block_on(patience)
        .context("the stalled agent, when it reads again")?;
    let p99 = |times: &Times| milliseconds(percentile(&times.each, 99));
    let of = of(
        "stalled",
        "1 of 100, the others' p99",
        "ms",
        TURNS * CHANGES_OF_A_TURN,
    );
    let row = Row::beside(of, "none stalled", p99(&ill), p99(&well));
    rows.add(row.at_most(1.1, None));
    Ok(())
}

/// Names a figure.
pub(crate) fn of<'a>(bench: &'a str, case: &'a str, unit: &'static str, runs: usize) -> Of<'a> {
    Of {
        bench,
        case,
        unit,
        runs,
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
