//! Inputs that can be decoded: what was captured, and what the language's own writers write.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use prost::Message;
use weir_agent::kernel::linux::link::rtm::{Command, LocalRoute, Tunnel, TunnelKind};
use weir_agent::kernel::linux::loopback::nftables::keys;
use weir_agent::kernel::linux::netlink::{Attrs, wire as wire_header};
use weir_proto::disk::Records;
use weir_proto::disk::envelope::seal;
use weir_proto::wire;

use super::disk::{lay_out, sealed};

const IPVS: &str = include_str!("../../../agent/src/kernel/linux/ipvs/captured.txt");
const IPSET: &str = include_str!("../../../agent/src/kernel/linux/ipset/captured.txt");
const LOCKDOWN: &str = include_str!("../../../agent/src/kernel/linux/ipset/captured_lockdown.txt");
const NFTABLES: &str =
    include_str!("../../../agent/src/kernel/linux/loopback/nftables/captured.txt");
const RULES: &str = include_str!("../../fuzz/seeds/nft_rule.txt");
const FLOWS: &str = include_str!("../../fuzz/seeds/conntrack_flow.txt");
const FAMILY: &str = include_str!("../../fuzz/seeds/genl_family.txt");
/// In front of the attributes of generic netlink and of netfilter.
const HEADER_LEN: usize = 4;
const IPVS_CMD_SET_CONFIG: u8 = 12;
const IPVS_CMD_SET_INFO: u8 = 14;
const IPVS_CMD_ATTR_SERVICE: u16 = 1;
const IPVS_CMD_ATTR_DEST: u16 = 2;
const IPVS_CMD_ATTR_DAEMON: u16 = 3;
/// `IPVS_SVC_ATTR_STATS` and `IPVS_DEST_ATTR_STATS`, then both as `STATS64`.
const IPVS_ATTR_STATS: [u16; 2] = [10, 12];
const IPSET_CMD_LIST: &str = "07";
const IPSET_CMD_TYPE: &str = "0d";
const IPSET_ATTR_DATA: u16 = 7;
const IPSET_ATTR_ADT: u16 = 8;

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |two: &[u8]| {
        let text = std::str::from_utf8(two).ok();
        text.and_then(|text| u8::from_str_radix(text, 16).ok())
    };
    let bytes: Option<Vec<u8>> = digits.map(byte).collect();
    bytes.unwrap_or_else(|| panic!("{hex} is not hexadecimal"))
}

/// Gives the lines of a file of seeds.
fn lines(text: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(bytes).collect()
}

/// Gives every message that IPVS and ipvsadm exchanged, behind the `nlmsghdr`.
fn ipvs() -> impl Iterator<Item = Vec<u8>> {
    let hex = |line: &'static str| line.strip_prefix("> ").or(line.strip_prefix("< "));
    IPVS.lines().filter_map(hex).map(bytes)
}

/// Gives what ipset answered to a command, behind the `nfgenmsg`.
fn ipset(command: &'static str) -> impl Iterator<Item = Vec<u8>> {
    answers(IPSET, command)
}

fn answers(text: &'static str, command: &'static str) -> impl Iterator<Item = Vec<u8>> {
    let answers = text.lines().filter_map(|line| line.strip_prefix("< "));
    let here = answers.filter_map(|line| line.split_once(' '));
    here.filter(move |(number, _)| *number == command)
        .map(|(_, hex)| bytes(hex).split_off(HEADER_LEN))
}

/// Gives what stands in an attribute of every captured message that has one.
fn inside(kind: u16) -> Vec<Vec<u8>> {
    let payload = |message: Vec<u8>| {
        let attr = Attrs::new(&message[HEADER_LEN..]).get(kind)?;
        Some(attr.payload.to_vec())
    };
    // from there on the numbers are those of other attributes
    let these = ipvs().filter(|message| message[0] < IPVS_CMD_SET_CONFIG);
    these.filter_map(payload).collect()
}

/// Gives what nf_tables showed of one kind of object, behind the `nfgenmsg`.
fn nftables(message: &'static str) -> Vec<Vec<u8>> {
    let answers = NFTABLES.lines().filter_map(|line| line.strip_prefix("< "));
    let here = answers.filter_map(|line| line.split_once(' '));
    here.filter(|(number, _)| *number == message)
        .filter_map(|(_, flagged)| flagged.split_once(' '))
        .map(|(_, hex)| bytes(hex).split_off(HEADER_LEN))
        .collect()
}

pub(super) fn nft_tables() -> Vec<Vec<u8>> {
    nftables("00")
}

pub(super) fn nft_chains() -> Vec<Vec<u8>> {
    nftables("03")
}

pub(super) fn nft_sets() -> Vec<Vec<u8>> {
    nftables("09")
}

pub(super) fn nft_rules() -> Vec<Vec<u8>> {
    nftables("06")
}

pub(super) fn nft_elements() -> Vec<Vec<u8>> {
    let mut lists = nftables("0c");
    // the end of a dump may hold none
    lists.retain(|list| !keys(Attrs::new(list)).is_empty());
    lists
}

pub(super) fn nft_keys() -> Vec<Vec<u8>> {
    let lists = nft_elements();
    lists
        .iter()
        .flat_map(|list| keys(Attrs::new(list)))
        .collect()
}

/// Gives what stands behind the `nlmsghdr` of requests that have the shape of their answers.
fn behind_header(commands: &[Command]) -> Vec<Vec<u8>> {
    let requests = commands.iter().map(Command::encode);
    requests
        .map(|request| request.as_bytes()[wire_header::HEADER_LEN..].to_vec())
        .collect()
}

const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 100, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0, 1)),
];

pub(super) fn rtm_addresses() -> Vec<Vec<u8>> {
    let of = |address| Command::AddAddress {
        link: 6,
        address,
        scope: 0,
    };
    behind_header(&ADDRESSES.map(of))
}

pub(super) fn rtm_routes() -> Vec<Vec<u8>> {
    let of = |address| Command::AddRoute {
        route: LocalRoute {
            link: 6,
            address,
            source: Some(address),
        },
        beside: false,
    };
    behind_header(&ADDRESSES.map(of))
}

pub(super) fn rtm_links() -> Vec<Vec<u8>> {
    let made = Tunnel::make("ip6tnl0", TunnelKind::Ip6tnl);
    vec![made.as_bytes()[wire_header::HEADER_LEN..].to_vec()]
}

/// What is behind the `nlmsghdr` says nothing of what became of it.
pub(super) fn rtm_notices() -> Vec<Vec<u8>> {
    let named = Tunnel::ask("weir0");
    let mut notices = rtm_addresses();
    notices.extend(rtm_routes());
    notices.push(named.as_bytes()[wire_header::HEADER_LEN..].to_vec());
    notices
}

pub(super) fn flows() -> Vec<Vec<u8>> {
    lines(FLOWS)
}

pub(super) fn messages() -> Vec<Vec<u8>> {
    let whole = |message: Vec<u8>| {
        let len = u32::try_from(message.len() + 16).unwrap_or_default();
        let mut out = len.to_le_bytes().to_vec();
        out.extend([28, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        out.extend(message);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    };
    let all: Vec<Vec<u8>> = ipvs().map(whole).collect();
    let several = all.chunks(3).map(<[_]>::concat).collect();
    [all, several].concat()
}

pub(super) fn family() -> Vec<Vec<u8>> {
    lines(FAMILY)
}

pub(super) fn rules() -> Vec<Vec<u8>> {
    lines(RULES)
}

pub(super) fn services() -> Vec<Vec<u8>> {
    let mut services = inside(IPVS_CMD_ATTR_SERVICE);
    // some hold no more than the key
    services.retain(|bytes| super::ipvs::service(bytes));
    services
}

pub(super) fn dests() -> Vec<Vec<u8>> {
    let mut dests = Vec::new();
    for dest in inside(IPVS_CMD_ATTR_DEST) {
        for family in [0, 1] {
            dests.push([&[family], dest.as_slice()].concat());
        }
    }
    dests
}

pub(super) fn daemons() -> Vec<Vec<u8>> {
    let mut daemons = inside(IPVS_CMD_ATTR_DAEMON);
    // what stops one names no interface
    daemons.retain(|bytes| {
        Attrs::new(bytes)
            .get(2)
            .is_some_and(|name| name.payload.len() > 1)
    });
    daemons
}

pub(super) fn settings() -> Vec<Vec<u8>> {
    let these =
        ipvs().filter(|message| [IPVS_CMD_SET_CONFIG, IPVS_CMD_SET_INFO].contains(&message[0]));
    these
        .map(|message| message[HEADER_LEN..].to_vec())
        .collect()
}

pub(super) fn stats() -> Vec<Vec<u8>> {
    let shown = [IPVS_CMD_ATTR_SERVICE, IPVS_CMD_ATTR_DEST]
        .map(inside)
        .concat();
    let mut all = Vec::new();
    for shown in &shown {
        let attrs = IPVS_ATTR_STATS.map(|kind| Attrs::new(shown).get(kind));
        all.extend(
            attrs
                .into_iter()
                .flatten()
                .map(|attr| attr.payload.to_vec()),
        );
    }
    all.sort();
    all.dedup();
    all
}

pub(super) fn listings() -> Vec<Vec<u8>> {
    ipset(IPSET_CMD_LIST).collect()
}

pub(super) fn members() -> Vec<Vec<u8>> {
    answers(LOCKDOWN, IPSET_CMD_LIST).collect()
}

pub(super) fn elements() -> Vec<Vec<u8>> {
    let mut elements = Vec::new();
    for listing in listings() {
        for list in Attrs::new(&listing).filter(|attr| attr.kind == IPSET_ATTR_ADT) {
            let data = list.attrs().filter(|attr| attr.kind == IPSET_ATTR_DATA);
            elements.extend(data.map(|attr| attr.payload.to_vec()));
        }
    }
    elements
}

pub(super) fn revisions() -> Vec<Vec<u8>> {
    ipset(IPSET_CMD_TYPE).collect()
}

fn drain() -> wire::Drain {
    wire::Drain {
        deadline_seconds: Some(604_800),
        on_deadline: wire::OnDeadline::Reset.into(),
    }
}

fn frontend(address: &str) -> wire::Frontend {
    wire::Frontend {
        address: address.to_owned(),
        port: 8080,
        protocol: wire::Protocol::Tcp.into(),
        ..wire::Frontend::default()
    }
}

fn mark() -> wire::Frontend {
    wire::Frontend {
        firewall_mark: 7,
        address_family: wire::AddressFamily::Ipv6.into(),
        ..wire::Frontend::default()
    }
}

fn daemon() -> wire::SyncDaemon {
    wire::SyncDaemon {
        role: wire::SyncRole::Backup.into(),
        interface: "eth0".to_owned(),
        sync_id: 7,
        group: "ff02::81".to_owned(),
        port: 9000,
        ttl: 2,
        max_length: 1400,
    }
}

fn tunnel_end() -> wire::item::TunnelEnd {
    wire::item::TunnelEnd {
        outer: wire::AddressFamily::Ipv4.into(),
        inner: wire::AddressFamily::Ipv6.into(),
    }
}

fn entry(address: &str) -> wire::item::LoopbackEntry {
    wire::item::LoopbackEntry {
        address: address.to_owned(),
        protocol: wire::Protocol::Sctp.into(),
        port: 8080,
        source: address.to_owned(),
    }
}

pub(super) fn all_items() -> Vec<wire::Item> {
    use wire::item::{self, Kind};
    let mut items = Vec::new();
    for address in ["10.100.0.1", "fd00:100::1"] {
        let kinds = [
            Kind::Vip(item::Vip {
                address: address.to_owned(),
                binding: wire::VipBinding::Route.into(),
                lockdown: true,
            }),
            Kind::VirtualService(item::VirtualService {
                frontend: Some(frontend(address)),
                scheduler: "mh".to_owned(),
                affinity_timeout_seconds: 300,
                service: "web".to_owned(),
                affinity_prefix_length: 24,
                persistence_engine: "sip".to_owned(),
                scheduler_flags: Some(wire::SchedulerFlags {
                    fallback: Some(false),
                    port: Some(true),
                }),
                one_packet: true,
                allow_sources: Vec::new(),
                drain: Some(drain()),
            }),
            Kind::Backend(item::Backend {
                frontend: Some(frontend(address)),
                address: address.to_owned(),
                port: 80,
                weight: 65_535,
                forwarding: wire::Forwarding::Tunnel.into(),
                tunnel: Some(wire::Tunnel {
                    r#type: Some(wire::TunnelType::Gue.into()),
                    port: Some(6080),
                    checksum: Some(wire::TunnelChecksum::Remote.into()),
                }),
                upper_threshold: 9,
                lower_threshold: 3,
                drain: Some(drain()),
            }),
            Kind::NodeDrain(item::NodeDrain {
                drain: Some(drain()),
            }),
            Kind::LoopbackEntry(entry(address)),
            Kind::SilentVip(item::SilentVip {
                address: address.to_owned(),
            }),
        ];
        items.extend(kinds.map(|kind| wire::Item { kind: Some(kind) }));
    }
    let marked = item::VirtualService {
        frontend: Some(mark()),
        scheduler: "rr".to_owned(),
        service: "web".to_owned(),
        ..Default::default()
    };
    let timeouts = wire::ConnectionTimeouts {
        tcp_seconds: 900,
        ..Default::default()
    };
    let rest = [
        Kind::VirtualService(marked),
        Kind::TunnelEnd(tunnel_end()),
        Kind::StrictArp(item::StrictArp {}),
        Kind::ConnectionTimeouts(timeouts),
        Kind::SyncDaemon(daemon()),
    ];
    items.extend(rest.map(|kind| wire::Item { kind: Some(kind) }));
    items
}

fn all_keys() -> Vec<wire::ItemKey> {
    use wire::item_key::{self, Kind};
    let mut keys = Vec::new();
    for address in ["10.100.0.1", "fd00:100::1"] {
        let kinds = [
            Kind::Vip(item_key::Vip {
                address: address.to_owned(),
            }),
            Kind::VirtualService(frontend(address)),
            Kind::Backend(item_key::Backend {
                frontend: Some(frontend(address)),
                address: address.to_owned(),
                port: 80,
            }),
            Kind::LoopbackEntry(entry(address)),
            Kind::SilentVip(wire::item::SilentVip {
                address: address.to_owned(),
            }),
        ];
        keys.extend(kinds.map(|kind| wire::ItemKey { kind: Some(kind) }));
    }
    let rest = [
        Kind::VirtualService(mark()),
        Kind::TunnelEnd(tunnel_end()),
        Kind::StrictArp(item_key::OnlyOne {}),
        Kind::ConnectionTimeouts(item_key::OnlyOne {}),
        Kind::SyncDaemon(wire::SyncRole::Master.into()),
    ];
    keys.extend(rest.map(|kind| wire::ItemKey { kind: Some(kind) }));
    keys
}

fn encoded<M: Message>(messages: Vec<M>) -> Vec<Vec<u8>> {
    messages.iter().map(Message::encode_to_vec).collect()
}

pub(super) fn items() -> Vec<Vec<u8>> {
    encoded(all_items())
}

pub(super) fn item_keys() -> Vec<Vec<u8>> {
    encoded(all_keys())
}

pub(super) fn resources() -> Vec<Vec<u8>> {
    use wire::resource::Kind;
    let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
    let backend = wire::Backend {
        address: "10.0.0.11".to_owned(),
        port: 8080,
        weight: Some(3),
        node: "node-a".to_owned(),
        ..Default::default()
    };
    let service = wire::Service {
        name: "web".to_owned(),
        labels: labels.clone(),
        frontends: vec![frontend("10.100.0.1")],
        scheduler: Some("wrr".to_owned()),
        forwarding: Some(wire::Forwarding::Masquerade.into()),
        backends: vec![backend.clone()],
        session_affinity: Some(wire::SessionAffinity {
            timeout_seconds: Some(60),
            ..Default::default()
        }),
        hairpin: Some(true),
        node_selector: labels.clone(),
        ..Default::default()
    };
    let set = wire::BackendSet {
        name: "web-a".to_owned(),
        labels: labels.clone(),
        service: "web".to_owned(),
        backends: vec![backend],
    };
    let node = wire::Node {
        name: "node-a".to_owned(),
        labels,
        addresses: vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()],
        ..Default::default()
    };
    let kinds = [
        Kind::Service(service),
        Kind::BackendSet(set),
        Kind::Node(node),
    ];
    let resource = |kind| wire::Resource {
        kind: Some(kind),
        revision: 7,
        created_unix_ms: 1_700_000_000_000,
    };
    encoded(kinds.map(resource).to_vec())
}

pub(super) fn hellos() -> Vec<Vec<u8>> {
    let capability = wire::Capability {
        name: "ip_vs".to_owned(),
        available: true,
        detail: "1.2.1".to_owned(),
        ..Default::default()
    };
    let hello = wire::Hello {
        node: "node-a".to_owned(),
        labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
        addresses: vec!["10.0.0.1".to_owned()],
        agent_version: "0.1.0".to_owned(),
        held_generation: 7,
        held_digest: vec![1; 16],
        capabilities: vec![capability],
    };
    let new = wire::Hello {
        held_generation: 0,
        held_digest: Vec::new(),
        ..hello.clone()
    };
    encoded(vec![hello, new])
}

pub(super) fn failures() -> Vec<Vec<u8>> {
    let failure = |key| wire::ItemFailure {
        key: Some(key),
        errno: 17,
        cause: "it is there already".to_owned(),
        field: "address".to_owned(),
    };
    encoded(all_keys().into_iter().map(failure).collect())
}

pub(super) fn journals() -> Vec<Vec<u8>> {
    let mut records = Records::from([
        (b"b".to_vec(), b"one boot".to_vec()),
        (b"g".to_vec(), 7u64.to_be_bytes().to_vec()),
        (b"ol".to_vec(), Vec::new()),
        (b"os4".to_vec(), Vec::new()),
        (b"or6".to_vec(), Vec::new()),
        (b"snet.ipv4.ip_forward".to_vec(), b"0".to_vec()),
    ]);
    let small = lay_out(&records);
    for (key, item) in all_keys().into_iter().zip(all_items()) {
        let key = key.encode_to_vec();
        records.insert([b"i", key.as_slice()].concat(), item.encode_to_vec());
        records.insert([b"oi", key.as_slice()].concat(), Vec::new());
    }
    vec![small, lay_out(&records)]
}

pub(super) fn envelopes() -> Vec<Vec<u8>> {
    let keys: [&[u8]; 3] = [b"g", b"\0mark", b"resource/services/web"];
    let payloads: [&[u8]; 3] = [b"", b"7", &[0xa5; 40]];
    let mut all = Vec::new();
    for (key, payload) in keys.iter().zip(payloads) {
        let len = u8::try_from(key.len()).unwrap_or_default();
        all.push([&[1, len], *key, &seal(1, key, payload)].concat());
    }
    all
}

pub(super) fn snapshots() -> Vec<Vec<u8>> {
    let records: Records = [
        (b"g".to_vec(), vec![7; 8]),
        (b"\0pi\0\0\0\x01".to_vec(), b"the second piece".to_vec()),
        (b"i".to_vec(), b"the first".to_vec()),
    ]
    .into();
    let whole = sealed(1, 9, &records);
    vec![
        [&[1], whole.as_slice()].concat(),
        [&[1], lay_out(&records).as_slice()].concat(),
    ]
}
