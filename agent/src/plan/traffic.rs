//! What runs through backends, from one look at their counters to the next.

use std::collections::BTreeMap;

use weir_proto::model::{BackendKey, Endpoint, Forwarding, Frontend, Increment, Protocol};

use super::Connections;

/// What has passed through one backend since it is there, and what it has now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients; those of direct route and tunnel do not pass here.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Connections there are now.
    pub now: Connections,
    /// How packets reach it; none: in a way that is not ours.
    pub forwarding: Option<Forwarding>,
}

/// The counters of the backends of some services. A service is whole in it: a backend that is not named is not there.
pub type Counted = BTreeMap<Frontend, BTreeMap<Endpoint, Counters>>;

/// What was counted at the look before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// None: nobody has looked.
    before: Option<Counted>,
}

impl Traffic {
    /// Takes a look at the services through which anything has passed since the one before, and gives what that was. At
    /// the first look nothing is known of before. A counter that went back began anew.
    pub fn look(&mut self, counted: Counted) -> Vec<Increment> {
        let Some(before) = &mut self.before else {
            self.before = Some(counted);
            return Vec::new();
        };
        let mut increments = Vec::new();
        for (frontend, backends) in counted {
            let of_before = before.remove(&frontend).unwrap_or_default();
            for (endpoint, counters) in &backends {
                let had = of_before.get(endpoint).copied().unwrap_or_default();
                let since = counters.since(&had);
                if since.is_nothing() && counters.now == had.now {
                    continue;
                }
                let backend = BackendKey {
                    frontend,
                    endpoint: *endpoint,
                };
                increments.push(since.passed(backend));
            }
            if !backends.is_empty() {
                before.insert(frontend, backends);
            }
        }
        increments
    }
}

impl Counters {
    /// Gives what came since; when anything went back, all of it came since: the kernel counts a backend as a whole.
    fn since(&self, before: &Self) -> Self {
        let all = |counters: &Self| {
            [
                counters.connections,
                counters.packets_in,
                counters.packets_out,
                counters.bytes_in,
                counters.bytes_out,
            ]
        };
        let went_back = all(self)
            .iter()
            .zip(all(before))
            .any(|(now, before)| *now < before);
        if went_back {
            return *self;
        }
        Self {
            connections: self.connections - before.connections,
            packets_in: self.packets_in - before.packets_in,
            packets_out: self.packets_out - before.packets_out,
            bytes_in: self.bytes_in - before.bytes_in,
            bytes_out: self.bytes_out - before.bytes_out,
            ..*self
        }
    }

    fn passed(&self, backend: BackendKey) -> Increment {
        Increment {
            backend,
            connections: self.connections,
            failed: failed(self, backend.frontend),
            packets_in: self.packets_in,
            packets_out: self.packets_out,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            active: self.now.active.into(),
            inactive: self.now.inactive.into(),
            silent: false,
        }
    }

    fn is_nothing(&self) -> bool {
        self.connections == 0 && self.packets_in == 0 && self.packets_out == 0
    }
}

/// Estimates how many of the new connections of an interval the backend refused or did not answer, from the counters
/// alone.
///
/// IPVS counts a connection when it schedules one (`ip_vs_conn_stats`), at its first packet, and every packet from the client
/// (`ip_vs_in_stats`) and, where it is translated back, to it (`ip_vs_out_stats`; all in `net/netfilter/ipvs/ip_vs_core.c`). A
/// connection that is opened has at least two packets in (TCP: SYN and ACK; SCTP: INIT and COOKIE ECHO), and one out. One
/// that is refused has one in (the RST or ABORT is out), one that is not answered none out. So of c connections with i packets
/// in and o out
///
/// - at least c - o were not answered: every other one has a packet out;
/// - at least 2c - i were refused or given up at once: every other one has two packets in.
///
/// Where replies do not pass here (direct route, tunnel), o says nothing. Every further packet of a connection that goes well
/// hides one that failed, so this is a lower bound: a backend that is dead as a whole is seen, one that drops a few
/// connections is not. A handshake that is under way when the counters are read counts as failed in one interval: of an
/// interval of 5 s and a round trip of 50 ms that is one connection in a hundred, and only where little else passes.
/// UDP has no handshake, and what is behind a firewall mark is not known.
fn failed(counters: &Counters, frontend: Frontend) -> u64 {
    let protocol = frontend.listener().map(|listener| listener.protocol);
    if !matches!(protocol, Some(Protocol::Tcp | Protocol::Sctp)) {
        return 0;
    }
    let opened = counters.connections;
    let refused = opened.saturating_mul(2).saturating_sub(counters.packets_in);
    let unanswered = match counters.forwarding {
        Some(Forwarding::Masquerade) => opened.saturating_sub(counters.packets_out),
        Some(Forwarding::DirectRoute | Forwarding::Tunnel(_)) => 0,
        None => return 0,
    };
    refused.max(unanswered).min(opened)
}

#[cfg(test)]
mod tests {
    use weir_proto::model::{Family, Listener, Mark, Port};

    use super::*;

    fn frontend(protocol: Protocol) -> Frontend {
        Frontend::Address(Listener {
            address: [10, 100, 0, 1].into(),
            port: Port::new(80).expect("a port"),
            protocol,
        })
    }

    fn endpoint(last: u8) -> Endpoint {
        Endpoint {
            address: [10, 0, 0, last].into(),
            port: Port::new(80).expect("a port"),
        }
    }

    fn counters(connections: u64, packets_in: u64, packets_out: u64) -> Counters {
        Counters {
            connections,
            packets_in,
            packets_out,
            bytes_in: packets_in * 40,
            bytes_out: packets_out * 40,
            now: Connections::default(),
            forwarding: Some(Forwarding::Masquerade),
        }
    }

    fn counted(backends: &[(u8, Counters)]) -> Counted {
        let backends = backends.iter();
        let backends = backends.map(|(last, counters)| (endpoint(*last), *counters));
        [(frontend(Protocol::Tcp), backends.collect())].into()
    }

    fn seen(increments: &[Increment]) -> Vec<(Endpoint, u64, u64, u64)> {
        let seen = increments.iter().map(|increment| {
            let (connections, packets) = (increment.connections, increment.packets_in);
            let endpoint = increment.backend.endpoint;
            (endpoint, connections, packets, increment.failed)
        });
        seen.collect()
    }

    #[test]
    fn the_first_look_tells_nothing_and_the_next_what_came_since() {
        let mut traffic = Traffic::default();
        let first = counted(&[(1, counters(5, 50, 40)), (2, counters(1, 2, 1))]);
        assert_eq!(traffic.look(first), []);
        let next = counted(&[
            (1, counters(7, 60, 48)),
            (2, counters(1, 2, 1)),
            (3, counters(4, 4, 0)),
        ]);
        let told = seen(&traffic.look(next));
        assert_eq!(told, [(endpoint(1), 2, 10, 0), (endpoint(3), 4, 4, 4)]);
        assert_eq!(
            traffic.look(Counted::new()),
            [],
            "nothing passed through any"
        );
    }

    #[test]
    fn counters_that_went_back_began_anew() {
        let mut traffic = Traffic::default();
        traffic.look(counted(&[(1, counters(100, 1_000, 900))]));
        let told = seen(&traffic.look(counted(&[(1, counters(3, 30, 20))])));
        assert_eq!(told, [(endpoint(1), 3, 30, 0)]);
        // a backend that went and came back is another
        traffic.look(Counted::from([(frontend(Protocol::Tcp), BTreeMap::new())]));
        let told = seen(&traffic.look(counted(&[(1, counters(4, 40, 30))])));
        assert_eq!(told, [(endpoint(1), 4, 40, 0)]);
    }

    #[test]
    fn a_level_that_changes_is_told_without_an_increment() {
        let mut traffic = Traffic::default();
        let with = |active| Counters {
            now: Connections {
                active,
                inactive: 0,
            },
            ..counters(5, 50, 40)
        };
        traffic.look(counted(&[(1, with(5))]));
        assert_eq!(traffic.look(counted(&[(1, with(5))])), []);
        let told = traffic.look(counted(&[(1, with(2))]));
        assert_eq!(seen(&told), [(endpoint(1), 0, 0, 0)]);
        let levels: Vec<u64> = told.iter().map(|increment| increment.active).collect();
        assert_eq!(levels, [2]);
    }

    #[test]
    fn connections_that_fail_are_estimated_from_packets() {
        let masquerade = Some(Forwarding::Masquerade);
        let direct = Some(Forwarding::DirectRoute);
        for (why, forwarding, [opened, inward, outward], lost) in [
            ("nothing", masquerade, [0, 0, 0], 0),
            ("packets of older connections", masquerade, [0, 9, 9], 0),
            ("handshakes alone", masquerade, [10, 20, 10], 0),
            ("all refused", masquerade, [10, 10, 10], 10),
            (
                "none answered, sent three times",
                masquerade,
                [10, 30, 0],
                10,
            ),
            ("three refused, the rest bare", masquerade, [10, 17, 10], 3),
            ("three not answered", masquerade, [10, 24, 7], 3),
            ("hidden by what goes well", masquerade, [10, 70, 60], 0),
            ("replies pass elsewhere", direct, [10, 20, 0], 0),
            ("refused behind direct route", direct, [10, 10, 0], 10),
            ("not ours to judge", None, [10, 10, 0], 0),
        ] {
            let counted = Counters {
                forwarding,
                ..counters(opened, inward, outward)
            };
            assert_eq!(failed(&counted, frontend(Protocol::Tcp)), lost, "{why}");
        }
        let refused = counters(10, 10, 10);
        assert_eq!(failed(&refused, frontend(Protocol::Sctp)), 10);
        assert_eq!(failed(&refused, frontend(Protocol::Udp)), 0);
        let mark = Frontend::Mark(Mark {
            number: std::num::NonZeroU32::MIN,
            family: Family::V4,
        });
        assert_eq!(failed(&refused, mark), 0);
    }
}
