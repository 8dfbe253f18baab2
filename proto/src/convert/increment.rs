//! What has passed through backends.

use super::{Problems, item_key_from_wire, item_key_to_wire};
use crate::model::{Increment, ItemKey, Refused};
use crate::wire;
use crate::wire::item_key::Kind;

/// Reads what has passed through a backend that stands at `at`.
pub fn increment_from_wire(
    counters: wire::BackendCounters,
    at: &str,
    problems: &mut Problems,
) -> Option<Increment> {
    let wire::BackendCounters {
        backend,
        connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        active_connections,
        inactive_connections,
        failed_connections,
        silent,
    } = counters;
    let path = format!("{at}.backend");
    let Some(backend) = backend else {
        problems.add(path, Refused::Missing);
        return None;
    };
    let key = wire::ItemKey {
        kind: Some(Kind::Backend(backend)),
    };
    let key = problems.absorb(item_key_from_wire(&key, &path))?;
    let ItemKey::Backend(backend) = key else {
        problems.add(path, Refused::OnlyWith("a backend"));
        return None;
    };
    Some(Increment {
        backend,
        connections,
        // more than there were have not failed
        failed: failed_connections.min(connections),
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        active: active_connections,
        inactive: inactive_connections,
        silent,
    })
}

/// Writes what has passed through a backend.
pub fn increment_to_wire(increment: &Increment) -> wire::BackendCounters {
    let Increment {
        backend,
        connections,
        failed,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        active,
        inactive,
        silent,
    } = *increment;
    let backend = match item_key_to_wire(&ItemKey::Backend(backend)).kind {
        Some(Kind::Backend(backend)) => Some(backend),
        _ => None,
    };
    wire::BackendCounters {
        backend,
        connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        active_connections: active,
        inactive_connections: inactive,
        failed_connections: failed,
        silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BackendKey, Endpoint, Frontend, Listener, Port, Protocol};

    fn increment() -> Increment {
        let port = Port::new(80).expect("a port");
        Increment {
            backend: BackendKey {
                frontend: Frontend::Address(Listener {
                    address: [10, 100, 0, 1].into(),
                    port,
                    protocol: Protocol::Tcp,
                }),
                endpoint: Endpoint {
                    address: [10, 0, 0, 1].into(),
                    port,
                },
            },
            connections: 1,
            failed: 1,
            packets_in: 2,
            packets_out: 3,
            bytes_in: 4,
            bytes_out: 5,
            active: 6,
            inactive: 7,
            silent: true,
        }
    }

    #[test]
    fn what_passed_is_read_as_it_was_written() {
        let mut problems = Problems::default();
        let read = increment_from_wire(
            increment_to_wire(&increment()),
            "backends[0]",
            &mut problems,
        );
        assert_eq!(problems.finish(read), Ok(increment()));
    }

    #[test]
    fn a_backend_that_cannot_be_is_named_by_its_path() {
        for (spoil, why) in [
            (
                (|counters| counters.backend = None) as fn(&mut wire::BackendCounters),
                "backends[0].backend: missing",
            ),
            (
                |counters| {
                    let backend = counters.backend.get_or_insert_default();
                    backend.port = 0;
                },
                "backends[0].backend.backend.port: 0 is not a port (1-65535)",
            ),
        ] {
            let mut counters = increment_to_wire(&increment());
            spoil(&mut counters);
            let mut problems = Problems::default();
            let read = increment_from_wire(counters, "backends[0]", &mut problems);
            let errors = problems.finish(read).map_err(|errors| errors.to_string());
            assert_eq!(errors, Err(why.to_owned()));
        }
    }
}
