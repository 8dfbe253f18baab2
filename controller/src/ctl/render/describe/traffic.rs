//! What passes through a service, on its page. PURE.

use weir_proto::wire;

use super::Page;
use crate::ctl::render::Table;
use crate::ctl::render::rows::{UNKNOWN, socket};

const HEADER: [&str; 8] = [
    "BACKEND", "ACTIVE", "INACTIVE", "CONN/S", "FAILED/S", "IN B/S", "OUT B/S", "ANSWERS",
];

impl Page<'_> {
    /// Adds what passes through a service and each of its backends; nothing where that is not counted.
    pub(super) fn traffic(&mut self, service: &str) {
        let told = &self.facts.traffic;
        let mut services = told.services.iter();
        let Some(all) = services.find(|it| it.name == service) else {
            return;
        };
        let backends = told.backends.iter().filter(|it| it.service == service);
        let mut rows: Vec<Vec<String>> = backends
            .map(|backend| {
                let at = socket(&backend.address, backend.port);
                row(at, &backend.counters, answers(backend))
            })
            .collect();
        rows.push(row("<all>".to_owned(), &all.counters, UNKNOWN));
        let table = Table {
            header: HEADER.to_vec(),
            rows,
        };
        self.table("Traffic", &table);
        if all.imbalance > 0.0 {
            let imbalance = format!("{:.2}, the busiest backend over the mean", all.imbalance);
            self.field("Imbalance", imbalance);
        }
    }
}

/// Says whether a backend answers: nobody knows of one where no connection has come about yet.
fn answers(backend: &wire::BackendTraffic) -> &'static str {
    let counters = backend.counters.unwrap_or_default();
    let answered = counters.connections > counters.failed_connections;
    match (backend.silent, answered) {
        (true, _) => "no",
        (false, true) => "yes",
        (false, false) => UNKNOWN,
    }
}

fn row(name: String, counters: &Option<wire::Counters>, answers: &str) -> Vec<String> {
    let counters = counters.unwrap_or_default();
    vec![
        name,
        counters.active_connections.to_string(),
        counters.inactive_connections.to_string(),
        rate(counters.connections_per_second),
        rate(counters.failed_connections_per_second),
        rate(counters.bytes_in_per_second),
        rate(counters.bytes_out_per_second),
        answers.to_owned(),
    ]
}

/// Writes small rates with a decimal, and none for nothing.
fn rate(per_second: f64) -> String {
    if per_second == 0.0 {
        "0".to_owned()
    } else if per_second < 0.1 {
        "<0.1".to_owned()
    } else if per_second < 10.0 {
        format!("{per_second:.1}")
    } else {
        format!("{per_second:.0}")
    }
}
