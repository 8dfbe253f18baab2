//! Every number of the agent as it is shown once all of them have been counted: for the reference.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;
use weir_proto::model::{
    ConnectionState, Conntrack, Endpoint, Family, Forwarding, Frontend, Listener, Port, Protocol,
};

use super::{Sources, Stages, Staleness};
use crate::plan::{
    Connections, CountedService, Counters, Look, Numbers, Passed, SavedTotals, VipStates,
};
use crate::reconciler::Status;
use crate::session::Link;

/// Shows every number, those with labels by one of each.
pub fn sample_metrics() -> String {
    let status = Status {
        // a family of numbers is shown from the first on
        rejected: [(Family::V4, 1)].into(),
        repaired: [("vip", 1)].into(),
        ..Status::default()
    };
    let stages = Stages::default();
    let mut registry = Registry::default();
    stages.show(&mut registry);
    registry.register_collector(Box::new(Sources {
        stages,
        status: watch::channel(status).1,
        link: watch::channel(Link::default()).1,
        degraded: watch::channel(None).1,
        numbers: watch::channel(numbers()).1,
        staleness: Staleness {
            started: Instant::now(),
            stale_after: None,
        },
    }));
    let mut text = String::new();
    // writing to a String cannot fail
    let _ = encode(&mut text, &registry);
    text
}

/// One service with one backend, looked at twice.
fn numbers() -> Numbers {
    let mut numbers = Numbers::new(SavedTotals::default(), true);
    let address = [10, 100, 0, 1].into();
    // 80 is a port
    let Ok(port) = Port::new(80) else {
        return numbers;
    };
    let protocol = Protocol::Tcp;
    let frontend = Frontend::Address(Listener {
        address,
        port,
        protocol,
    });
    for connections in [1, 2] {
        let passed = Passed {
            connections,
            packets_in: connections,
            packets_out: connections,
            bytes_in: connections,
            bytes_out: connections,
        };
        let counters = Counters {
            passed,
            now: Connections::default(),
            forwarding: Some(Forwarding::Masquerade),
        };
        let service = CountedService {
            passed,
            backends: [(Endpoint { address, port }, counters)].into(),
        };
        numbers.look(Look {
            counted: Some([(frontend, Some(service))].into()),
            conntrack: Some(Some(Conntrack::default())),
            took: Duration::from_millis(1),
        });
    }
    let vips = [((address, protocol, ConnectionState::Established), 1)];
    let vips = VipStates::from(vips);
    numbers.look_at_vips(Duration::ZERO, Duration::ZERO, Some(vips));
    numbers
}
