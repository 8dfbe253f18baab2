//! Flows by the thousand, made over netlink: what it takes to delete some of them. Needs root and conntrack, but no IPVS:
//! each test is a node in a network namespace of its own.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "kernel_codec/netns.rs"]
mod netns;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use weir_agent::kernel::linux::Linux;
use weir_agent::kernel::linux::conntrack::{Conntrack, Family, Filters, Translation, Tuple};
use weir_agent::kernel::linux::meter::LinuxMeter;
use weir_agent::kernel::linux::netlink::{Batch, Counts, NetlinkSocket, Protocol as Netlink};
use weir_agent::kernel::{Kernel, Meter};
use weir_agent::plan::{MOST_VISITED, VipStates, Visit, Visited, Visits};
use weir_proto::model::{
    BackendKey, ConnectionState, Endpoint, Frontend, Listener, Port, Protocol,
};

use netns::{in_new_netns, sh};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_NEW: u16 = 0;
const NLM_F_CREATE_EXCL: u16 = 0x600;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_PROTOINFO: u16 = 4;
const CTA_TIMEOUT: u16 = 7;
const CTA_ZONE: u16 = 18;

/// A flow from a client through a translation.
struct Made {
    protocol: Protocol,
    client: SocketAddr,
    destination: SocketAddr,
    replier: SocketAddr,
    zone: Option<u16>,
}

impl Made {
    fn write(&self, batch: &mut Batch) {
        let Self {
            client,
            destination,
            replier,
            ..
        } = *self;
        let tuple = |from: SocketAddr, to: SocketAddr| Tuple {
            source: from.ip(),
            destination: to.ip(),
            protocol: self.protocol.number(),
            source_port: Some(from.port()),
            destination_port: Some(to.port()),
            zone: None,
        };
        let kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
        let out = batch.begin(kind, NLM_F_CREATE_EXCL);
        out.raw(&[Family::of(client.ip()).number(), 0, 0, 0]);
        out.nest(CTA_TUPLE_ORIG, |out| tuple(client, destination).write(out));
        out.nest(CTA_TUPLE_REPLY, |out| tuple(replier, client).write(out));
        out.be32(CTA_TIMEOUT, 600);
        if let Some(zone) = self.zone {
            out.be16(CTA_ZONE, zone);
        }
        let state = match self.protocol {
            // CTA_PROTOINFO_TCP with _STATE established, CTA_PROTOINFO_SCTP with _STATE, _VTAG_ORIGINAL and _REPLY
            Protocol::Tcp => Some((1, 3)),
            Protocol::Sctp => Some((3, 4)),
            Protocol::Udp => None,
        };
        if let Some((protocol, state)) = state {
            out.nest(CTA_PROTOINFO, |out| {
                out.nest(protocol, |out| {
                    out.u8(1, state);
                    if protocol == 3 {
                        out.be32(2, 1).be32(3, 2);
                    }
                });
            });
        }
    }
}

async fn make(flows: &[Made]) {
    let mut socket = NetlinkSocket::open(Netlink::Netfilter).unwrap();
    let write = |place: usize, batch: &mut Batch| flows[place].write(batch);
    let refused = socket.pipeline(flows.len(), write).await;
    assert!(refused.is_empty(), "{:?}", refused.first());
}

/// Says whether this kernel has zones (`CONFIG_NF_CONNTRACK_ZONES`); User-Mode Linux has none.
async fn has_zones() -> bool {
    let mut socket = NetlinkSocket::open(Netlink::Netfilter).unwrap();
    let mut probe = through(Protocol::Udp, [at("10.9.0.9:9"), at("10.0.2.9:9")], 0..1);
    probe[0].zone = Some(9);
    let write = |place: usize, batch: &mut Batch| probe[place].write(batch);
    match &socket.pipeline(1, write).await[..] {
        [] => true,
        [(_, error)] => {
            assert_eq!(error.errno(), Some(95), "EOPNOTSUPP");
            false
        }
        refused => panic!("{refused:?}"),
    }
}

/// Makes as many flows as there are numbers, each of a client of its own.
fn through(
    protocol: Protocol,
    [destination, replier]: [SocketAddr; 2],
    clients: std::ops::Range<u32>,
) -> Vec<Made> {
    let of = |number: u32| {
        let [_, _, high, low] = number.to_be_bytes();
        let client: IpAddr = match destination {
            SocketAddr::V4(_) => [10, 50, high, low].into(),
            SocketAddr::V6(_) => [0xfd50, 0, 0, 0, 0, 0, high.into(), low.into()].into(),
        };
        Made {
            protocol,
            client: SocketAddr::new(client, 40_000),
            destination,
            replier,
            zone: None,
        }
    };
    clients.map(of).collect()
}

fn there(family: &str) -> usize {
    let listing = sh(&format!("conntrack -L -f {family} 2>/dev/null"));
    listing.lines().count()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn since(before: [Counts; 2], now: [Counts; 2]) -> [[u64; 2]; 2] {
    let [shows, deletes] = [0, 1].map(|place| {
        let (before, now): (Counts, Counts) = (before[place], now[place]);
        [
            now.dumps - before.dumps,
            [
                now.receives - before.receives,
                now.messages - before.messages,
            ][place],
        ]
    });
    [shows, deletes]
}

fn of(protocol: Protocol, [destination, replier]: [SocketAddr; 2]) -> BTreeSet<BackendKey> {
    let port = |address: SocketAddr| Port::new(address.port().into()).unwrap();
    let frontend = Frontend::Address(Listener {
        address: destination.ip(),
        port: port(destination),
        protocol,
    });
    let endpoint = Endpoint {
        address: replier.ip(),
        port: port(replier),
    };
    [BackendKey { frontend, endpoint }].into()
}

/// Makes room for as many flows as these tests make: in a small guest there is less. Of the whole kernel, and given by its
/// first network namespace alone.
fn with_room(test: impl FnOnce()) {
    sh("sysctl -q -w net.netfilter.nf_conntrack_max=65536 2>/dev/null || true");
    test();
}

#[test]
fn the_kernel_shows_only_what_is_deleted() {
    with_room(|| {
        in_new_netns(|| async {
            let (mut kernel, _) = Linux::open(Vec::new()).await;
            let own = [at("10.9.0.1:53"), at("10.0.2.11:5353")];
            // of the same service by another backend, of the same backend by another service, and of the backend itself
            let others = [
                [own[0], at("10.0.2.12:5353")],
                [at("10.9.0.2:53"), own[1]],
                [at("10.9.0.1:54"), own[1]],
                [own[1], own[1]],
            ];
            for (place, other) in (0..).zip(others) {
                let clients = place * 5_000..(place + 1) * 5_000;
                make(&through(Protocol::Udp, other, clients)).await;
            }
            make(&through(Protocol::Udp, own, 60_000..60_010)).await;
            let before = kernel.flow_counts();
            let gone = kernel.forget_flows(&of(Protocol::Udp, own)).await.unwrap();
            assert_eq!(gone, 10);
            let [[dumps, receives], [_, deletions]] = since(before, kernel.flow_counts());
            // 20,000 flows would take at least 32 of them; these are in the first, and the end may be in another
            assert!(receives <= 2, "{receives} receives");
            assert_eq!((dumps, deletions), (1, 10));
            assert_eq!(there("ipv4"), 20_000);
        });
    });
}

#[test]
fn flows_are_deleted_lot_by_lot() {
    with_room(|| {
        in_new_netns(|| async {
            let (mut kernel, _) = Linux::open(Vec::new()).await;
            let own = [at("10.9.0.1:53"), at("10.0.2.11:5353")];
            let other = [own[0], at("10.0.2.12:5353")];
            make(&through(Protocol::Udp, own, 0..6_000)).await;
            make(&through(Protocol::Udp, other, 6_000..6_100)).await;
            let gone = kernel.forget_flows(&of(Protocol::Udp, own)).await.unwrap();
            let [_, deletes] = kernel.flow_counts();
            // a bucket whose last flow was deleted while it was shown is shown again
            assert!(gone == 6_000 && deletes.messages >= 6_000, "{deletes:?}");
            assert!(deletes.sends >= 6, "a window at a time: {deletes:?}");
            assert_eq!(there("ipv4"), 100);
        });
    });
}

#[test]
fn flows_of_every_protocol_and_family_go() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        let nets = [
            ["10.9.0.1:80", "10.0.2.11:8080", "10.0.2.12:8080"],
            ["[fd09::1]:80", "[fd00:2::11]:8080", "[fd00:2::12]:8080"],
        ];
        for [service, first, second] in nets.map(|net| net.map(at)) {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                make(&through(protocol, [service, first], 0..5)).await;
                make(&through(protocol, [service, second], 5..8)).await;
                // another port of the same address
                let mut beside = service;
                beside.set_port(81);
                make(&through(protocol, [beside, first], 8..10)).await;
            }
            let family = if service.is_ipv4() { "ipv4" } else { "ipv6" };
            for (left, protocol) in [
                (25, Protocol::Tcp),
                (20, Protocol::Udp),
                (15, Protocol::Sctp),
            ] {
                let wanted = of(protocol, [service, first]);
                let gone = kernel.forget_flows(&wanted).await.unwrap();
                assert_eq!((gone, there(family)), (5, left), "{protocol} {family}");
            }
        }
    });
}

#[test]
fn flows_of_every_zone_go() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        let own = [at("10.9.0.1:53"), at("10.0.2.11:5353")];
        let zones = has_zones().await;
        let before = there("ipv4");
        for zone in [None, Some(7), Some(8)] {
            if zone.is_none() || zones {
                let mut flows = through(Protocol::Udp, own, 0..3);
                flows.iter_mut().for_each(|flow| flow.zone = zone);
                make(&flows).await;
            }
        }
        let gone = kernel.forget_flows(&of(Protocol::Udp, own)).await.unwrap();
        let expected = if zones { 9 } else { 3 };
        assert_eq!((gone, there("ipv4")), (expected, before));
    });
}

#[test]
fn many_backends_are_seen_in_one_dump() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        let mut wanted = BTreeSet::new();
        let service = |port| SocketAddr::new(at("10.9.0.1:0").ip(), port);
        let replier = |last| SocketAddr::new([10, 0, 2, last].into(), 5353);
        for last in 1..=41 {
            let clients = u32::from(last) * 5..u32::from(last) * 5 + 5;
            let pair = [service(53), replier(last)];
            make(&through(Protocol::Udp, pair, clients)).await;
            if last <= 40 {
                wanted.extend(of(Protocol::Udp, pair));
            }
        }
        let before = kernel.flow_counts();
        assert_eq!(kernel.forget_flows(&wanted).await.unwrap(), 200);
        let [[dumps, _], _] = since(before, kernel.flow_counts());
        assert_eq!((dumps, there("ipv4")), (1, 5));

        // and of many services too: everything is shown
        wanted.clear();
        for port in 100..140 {
            let pair = [service(port), replier(1)];
            let clients = u32::from(port) * 5..u32::from(port) * 5 + 5;
            make(&through(Protocol::Udp, pair, clients)).await;
            wanted.extend(of(Protocol::Udp, pair));
        }
        let before = kernel.flow_counts();
        assert_eq!(kernel.forget_flows(&wanted).await.unwrap(), 200);
        let [[dumps, _], _] = since(before, kernel.flow_counts());
        assert_eq!((dumps, there("ipv4")), (1, 5));
    });
}

#[test]
fn a_kernel_that_heeds_less_of_a_filter_loses_the_same_flows() {
    in_new_netns(|| async {
        let nets = [
            ["10.9.0.1:80", "10.0.2.11:8080", "10.0.2.12:8080"],
            ["[fd09::1]:80", "[fd00:2::11]:8080", "[fd00:2::12]:8080"],
        ];
        for filters in [Filters::Both, Filters::Original, Filters::Nothing] {
            let mut conntrack = Conntrack::open_heeding(filters).unwrap();
            let mut wanted = BTreeSet::new();
            let before = ["ipv4", "ipv6"].map(there);
            for [service, first, second] in nets.map(|net| net.map(at)) {
                make(&through(Protocol::Udp, [service, first], 0..5)).await;
                make(&through(Protocol::Udp, [service, second], 5..8)).await;
                make(&through(Protocol::Tcp, [service, first], 8..10)).await;
                wanted.insert(Translation {
                    protocol: Protocol::Udp.number(),
                    destination: service,
                    replier: first,
                });
            }
            conntrack.forget(&wanted).await.unwrap();
            let left = ["ipv4", "ipv6"].map(there);
            assert_eq!(conntrack.deleted(), 10, "{filters:?}");
            assert_eq!(left, before.map(|before| before + 5), "{filters:?}");
            assert_eq!(conntrack.filters(), filters);
            sh("conntrack -F 2>/dev/null");
        }
    });
}

#[test]
fn connections_of_vips_are_counted_by_state_and_others_are_not_shown() {
    with_room(|| {
        in_new_netns(|| async {
            let nets = [
                ["10.9.0.1:80", "10.0.2.11:8080"],
                ["[fd09::1]:80", "[fd00:2::11]:8080"],
            ];
            for own in nets.map(|net| net.map(at)) {
                make(&through(Protocol::Tcp, own, 0..10)).await;
                make(&through(Protocol::Udp, own, 0..7)).await;
                make(&through(Protocol::Sctp, own, 0..3)).await;
            }
            let other = [at("10.9.0.2:80"), at("10.0.2.11:8080")];
            make(&through(Protocol::Udp, other, 100..20_100)).await;
            let mut meter = LinuxMeter::default();
            let vips = |vips: &[&str]| vips.iter().map(|vip| vip.parse().unwrap()).collect();
            let own = |address: &str| {
                let address = address.parse().unwrap();
                VipStates::from([
                    ((address, Protocol::Tcp, ConnectionState::Established), 10),
                    ((address, Protocol::Udp, ConnectionState::None), 7),
                    ((address, Protocol::Sctp, ConnectionState::Established), 3),
                ])
            };
            let found = meter.vip_connections(&vips(&["10.9.0.1"])).await.unwrap();
            assert_eq!(found, own("10.9.0.1"));
            let [_, counts] = meter.counts();
            // 20,000 flows would take at least 32 of them; these are in the first, and the end may be in another
            assert!(counts.receives <= 2 && counts.dumps == 1, "{counts:?}");
            let both = vips(&["10.9.0.1", "fd09::1"]);
            let found = meter.vip_connections(&both).await.unwrap();
            let expected: VipStates = own("10.9.0.1").into_iter().chain(own("fd09::1")).collect();
            assert_eq!(found, expected);
            // more than are asked for one by one
            let many: Vec<String> = (1..=20).map(|last| format!("10.9.0.{last}")).collect();
            let many: Vec<&str> = many.iter().map(String::as_str).collect();
            let [_, before] = meter.counts();
            let found = meter.vip_connections(&vips(&many)).await.unwrap();
            let [_, after] = meter.counts();
            assert_eq!(after.dumps - before.dumps, 1);
            assert_eq!(found.values().sum::<u64>(), 20_020);
            let conntrack = meter.conntrack().await.unwrap().unwrap();
            assert!(conntrack.entries >= 20_040, "{conntrack:?}");
            assert!(conntrack.max_entries >= conntrack.entries, "{conntrack:?}");
        });
    });
}

#[test]
fn the_visits_of_a_client_are_found_among_those_of_others() {
    with_room(|| {
        in_new_netns(|| async {
            let nets = [
                ["10.9.0.1:80", "10.0.2.11:8080"],
                ["[fd09::1]:80", "[fd00:2::11]:8080"],
            ];
            let (mut kernel, _) = Linux::open(Vec::new()).await;
            for own in nets.map(|net| net.map(at)) {
                // of clients 0-1,999 one flow each, and of the first of them more than are told
                let mut flows = through(Protocol::Tcp, own, 0..2_000);
                let client = flows[0].client.ip();
                for port in 40_001..40_120 {
                    let mut more = through(Protocol::Tcp, own, 0..1);
                    more[0].client.set_port(port);
                    flows.append(&mut more);
                }
                // of another protocol
                flows.extend(through(Protocol::Udp, own, 0..1));
                make(&flows).await;
                let [destination, replier] = own;
                let port = |of: SocketAddr| Port::new(of.port().into()).unwrap();
                let frontend = |protocol| {
                    Frontend::Address(Listener {
                        address: destination.ip(),
                        port: port(destination),
                        protocol,
                    })
                };
                let of = |protocol, client| Visit {
                    frontend: frontend(protocol),
                    client: Some(client),
                };
                let backend = Some(Endpoint {
                    address: replier.ip(),
                    port: port(replier),
                });
                let found = kernel.visits(&of(Protocol::Tcp, client)).await.unwrap();
                assert_eq!((found.count, found.connections.len()), (120, MOST_VISITED));
                let as_made = |it: &Visited| {
                    let ports = it.port.is_some_and(|port| (40_000..40_120).contains(&port));
                    ports && it.backend == backend && it.state == ConnectionState::Established
                };
                assert!(found.connections.iter().all(as_made), "{found:?}");
                let found = kernel.visits(&of(Protocol::Udp, client)).await.unwrap();
                let udp = Visited {
                    port: Some(40_000),
                    backend,
                    state: ConnectionState::None,
                };
                let one = Visits {
                    connections: vec![udp],
                    count: 1,
                };
                assert_eq!(found, one);
                let nobody: IpAddr = match client {
                    IpAddr::V4(_) => [10, 51, 0, 1].into(),
                    IpAddr::V6(_) => [0xfd51, 0, 0, 0, 0, 0, 0, 1].into(),
                };
                let found = kernel.visits(&of(Protocol::Tcp, nobody)).await.unwrap();
                assert_eq!(found, Visits::default());
            }
        });
    });
}
