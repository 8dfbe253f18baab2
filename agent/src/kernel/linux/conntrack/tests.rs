//! The codec against bytes that `conntrack` 1.4.7 sent and Linux 6.18 showed.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::kernel::linux::netlink::wire::{HEADER_LEN, NLM_F_REQUEST};
use crate::kernel::linux::netlink::{Attrs, Batch, Message, Messages, Request};

/// `conntrack -I -p tcp -s 10.0.0.9 -d 10.9.0.1 -r 10.1.0.5 -q 10.0.0.9 --sport 40000 --dport 80 --reply-port-src 8080
/// --reply-port-dst 40000 --state ESTABLISHED -t 600 -u SEEN_REPLY`
const TCP: &str = "
    f0000000 00012200 4bb2026b 1b000000 02000000 34000180 14000180 08000100 0a000009 08000200 0a090001 1c000280
    05000100 06000000 06000200 9c400000 06000300 00500000 34000280 14000180 08000100 0a010005 08000200 0a000009
    1c000280 05000100 06000000 06000200 1f900000 06000300 9c400000 08000300 0000000a 08000800 00000000 08000c00
    3eaddc94 08000b00 00000001 08000700 00000257 30000480 2c000180 05000100 03000000 05000200 00000000 05000300
    00000000 06000400 0a000000 06000500 0a000000 1c001880 08000100 00000000 08000200 00000000 08000300 00000000";
/// The same of `-p sctp`, port 40002, with `--orig-zone 9` and without a reply.
const SCTP: &str = "
    e8000000 00012200 4bb2026b 1b000000 02000000 3c000180 14000180 08000100 0a000009 08000200 0a090001 1c000280
    05000100 84000000 06000200 9c420000 06000300 00500000 06000300 00090000 34000280 14000180 08000100 0a010005
    08000200 0a000009 1c000280 05000100 84000000 06000200 1f900000 06000300 9c420000 08000300 00000008 08000800
    00000000 08000c00 3c8e2a93 08000b00 00000001 08000700 00000257 20000480 1c000380 05000100 04000000 08000200
    01000000 08000300 02000000 1c001880 08000100 00000000 08000200 00000000 08000300 00000000";
/// `conntrack -I -p udp -s fd00::9 -d fd09::1 -r fd01::5 -q fd00::9 --sport 40001 --dport 53 --reply-port-src 5353
/// --reply-port-dst 40001 -t 600 -w 7`
const UDP: &str = "
    f8000000 00012200 4bb2026b 15000000 0a000000 4c000180 2c000180 14000300 fd000000 00000000 00000000 00000009
    14000400 fd090000 00000000 00000000 00000001 1c000280 05000100 11000000 06000200 9c410000 06000300 00350000
    4c000280 2c000180 14000300 fd010000 00000000 00000000 00000005 14000400 fd000000 00000000 00000000 00000009
    1c000280 05000100 11000000 06000200 14e90000 06000300 9c410000 06001200 00070000 08000300 00000008 08000800
    00000000 08000c00 dabf1f71 08000b00 00000001 08000700 00000257 1c001880 08000100 00000000 08000200 00000000
    08000300 00000000";
/// `conntrack -I -p icmp -s 10.0.0.9 -d 10.9.0.1 --icmp-type 8 --icmp-code 0 --icmp-id 77 -t 600`
const ICMP: &str = "
    d0000000 00012200 4bb2026b 1b000000 02000000 3c000180 14000180 08000100 0a000009 08000200 0a090001 24000280
    05000100 01000000 06000400 004d0000 05000500 08000000 05000600 00000000 3c000280 14000180 08000100 0a090001
    08000200 0a000009 24000280 05000100 01000000 06000400 004d0000 05000500 00000000 05000600 00000000 08000300
    00000008 08000800 00000000 08000c00 d9d669fb 08000b00 00000001 08000700 00000257 1c001880 08000100 00000000
    08000200 00000000 08000300 00000000";
/// `conntrack -D -p tcp -s 10.0.0.9 -d 10.9.0.1 --sport 40000 --dport 80`, up to the original tuple: what comes behind it
/// is not looked at.
const DELETE: &str = "
    e0000000 02010500 4bb2026b 00000000 02000000 34000180 14000180 08000100 0a000009 08000200 0a090001 1c000280
    05000100 06000000 06000200 9c400000 06000300 00500000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair));
    pairs
        .map(|pair| u8::from_str_radix(pair.expect("ASCII"), 16).expect("hexadecimal"))
        .collect()
}

fn only<'a>(bytes: &'a [u8]) -> Message<'a> {
    let messages: Result<Vec<_>, _> = Messages::new(bytes).collect();
    let [message] = messages.expect("messages")[..] else {
        panic!("not one message");
    };
    message
}

fn shown(hex: &str) -> Flow {
    let bytes = bytes(hex);
    Flow::decode(only(&bytes).attrs(NFGEN_HEADER_LEN)).expect("a flow")
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn tuple(protocol: u8, source: &str, destination: &str) -> Tuple {
    let (source, destination) = (at(source), at(destination));
    Tuple {
        source: source.ip(),
        destination: destination.ip(),
        protocol,
        source_port: Some(source.port()),
        destination_port: Some(destination.port()),
        zone: None,
    }
}

#[test]
fn flows_are_read_as_the_kernel_shows_them() {
    let tcp = Flow {
        original: tuple(6, "10.0.0.9:40000", "10.9.0.1:80"),
        reply: tuple(6, "10.1.0.5:8080", "10.0.0.9:40000"),
        zone: None,
        id: Some(0x3ead_dc94),
    };
    assert_eq!(shown(TCP), tcp);
    let sctp = Flow {
        original: Tuple {
            zone: Some(9),
            ..tuple(132, "10.0.0.9:40002", "10.9.0.1:80")
        },
        reply: tuple(132, "10.1.0.5:8080", "10.0.0.9:40002"),
        zone: None,
        id: Some(0x3c8e_2a93),
    };
    assert_eq!(shown(SCTP), sctp);
    let udp = Flow {
        original: tuple(17, "[fd00::9]:40001", "[fd09::1]:53"),
        reply: tuple(17, "[fd01::5]:5353", "[fd00::9]:40001"),
        zone: Some(7),
        id: Some(0xdabf_1f71),
    };
    assert_eq!(shown(UDP), udp);
}

#[test]
fn a_flow_without_ports_is_of_no_translation() {
    let icmp = shown(ICMP);
    let ports = [icmp.original.source_port, icmp.original.destination_port];
    assert_eq!((icmp.original.protocol, ports), (1, [None, None]));
    assert_eq!(Translation::of(&icmp), None);
    let tcp = Translation {
        protocol: 6,
        destination: at("10.9.0.1:80"),
        replier: at("10.1.0.5:8080"),
    };
    assert_eq!(Translation::of(&shown(TCP)), Some(tcp));
}

#[test]
fn a_deletion_names_the_original_tuple_and_the_id() {
    let mut expected = bytes(DELETE);
    // the number, the flag that asks for an acknowledgement and the length; then what `conntrack` does not say
    expected[8..12].fill(0);
    expected[6] = NLM_F_REQUEST as u8;
    expected.extend(bytes("08000c00 3eaddc94"));
    expected[0] = u8::try_from(expected.len()).expect("a short message");
    let flow = shown(TCP);
    assert_eq!(Command::Delete(&flow).encode().as_bytes(), expected);
    let mut batch = Batch::default();
    Command::Delete(&flow).write(&mut batch);
    assert_eq!(batch.as_bytes(), expected);
}

#[test]
fn a_deletion_names_the_zones() {
    let original = |flow: Flow| Flow {
        reply: flow.original,
        ..flow
    };
    for hex in [SCTP, UDP] {
        let flow = shown(hex);
        let request = Command::Delete(&flow).encode();
        let mut more = request.clone();
        more.nest(CTA_TUPLE_REPLY, |out| flow.original.write(out));
        let read = Flow::decode(only(more.as_bytes()).attrs(NFGEN_HEADER_LEN));
        assert_eq!(read, Ok(original(flow)));
    }
}

#[test]
fn a_filter_of_ipv4_names_addresses_and_ports() {
    let filter = Filter {
        protocol: 6,
        destination: at("10.9.0.1:80"),
        replier: Some(at("10.1.0.5:8080")),
    };
    // by the layout of the tuples above, and `include/uapi/linux/netfilter/nfnetlink_conntrack.h` for the rest
    let expected = bytes(
        "70000000 01010100 00000000 00000000 02000000
         24000180 0c000180 08000200 0a090001 14000280 05000100 06000000 06000300 00500000
         24000280 0c000180 08000100 0a010005 14000280 05000100 06000000 06000200 1f900000
         14001980 08000100 2a000000 08000200 19000000",
    );
    assert_eq!(Command::Some(&filter).encode().as_bytes(), &expected[..]);
}

#[test]
fn a_filter_of_ipv6_names_ports_alone() {
    let filter = |replier| Filter {
        protocol: 17,
        destination: at("[fd09::1]:53"),
        replier,
    };
    let expected = bytes(
        "58000000 01010100 00000000 00000000 0a000000
         18000180 14000280 05000100 11000000 06000300 00350000
         18000280 14000280 05000100 11000000 06000200 14e90000
         14001980 08000100 28000000 08000200 18000000",
    );
    let both = filter(Some(at("[fd01::5]:5353")));
    assert_eq!(Command::Some(&both).encode().as_bytes(), &expected[..]);
    let expected = bytes(
        "40000000 01010100 00000000 00000000 0a000000
         18000180 14000280 05000100 11000000 06000300 00350000 14001980 08000100 28000000 08000200 00000000",
    );
    let original = filter(None);
    assert_eq!(Command::Some(&original).encode().as_bytes(), &expected[..]);
}

#[test]
fn everything_of_a_family_is_asked_for_as_conntrack_does() {
    // conntrack -L -f ipv6
    let expected = bytes("14000000 01010103 4bb2026b 00000000 0a000000");
    let request = Command::All(Family::Inet6).encode();
    assert_eq!(request.as_bytes()[4..6], expected[4..6]);
    assert_eq!(request.as_bytes()[16..], expected[16..]);
}

#[test]
fn what_a_kernel_would_have_left_out_betrays_one_that_knows_no_filters() {
    let filter = |protocol, port| Filter {
        protocol,
        destination: SocketAddr::new(at("10.9.0.1:0").ip(), port),
        replier: None,
    };
    let cases = [
        (6, 80, false),
        (6, 81, true),
        (17, 80, true),
        (132, 80, true),
    ];
    for (protocol, port, left_out) in cases {
        let leaves_out = filter(protocol, port).leaves_out(&shown(TCP));
        assert_eq!(leaves_out, left_out, "{protocol} {port}");
    }
    assert!(!filter(132, 81).leaves_out(&shown(SCTP)), "not compared");
}

fn any_tuple() -> impl Strategy<Value = Tuple> {
    let addresses = prop_oneof![
        any::<[[u8; 4]; 2]>().prop_map(|both| both.map(IpAddr::from)),
        any::<[[u8; 16]; 2]>().prop_map(|both| both.map(IpAddr::from)),
    ];
    let numbers = any::<(u8, Option<u16>, Option<u16>, Option<u16>)>();
    (addresses, numbers).prop_map(|([source, destination], numbers)| Tuple {
        source,
        destination,
        protocol: numbers.0,
        source_port: numbers.1,
        destination_port: numbers.2,
        zone: numbers.3,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        original in any_tuple(),
        reply in any_tuple(),
        zone in any::<Option<u16>>(),
        id in any::<Option<u32>>(),
    ) {
        let flow = Flow { original, reply, zone, id };
        let mut out = Request::netfilter(NFNL_SUBSYS_CTNETLINK, 0, 0, 0);
        flow.write(&mut out);
        out.nest(CTA_TUPLE_REPLY, |out| reply.write(out));
        out.bytes(0x1fff, b"of another kernel");
        prop_assert_eq!(Flow::decode(only(out.as_bytes()).attrs(NFGEN_HEADER_LEN)), Ok(flow));
    }

    #[test]
    fn reading_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut message = Request::netfilter(NFNL_SUBSYS_CTNETLINK, 0, 0, 0);
        message.raw(&bytes);
        prop_assert!(message.as_bytes().len() >= HEADER_LEN);
        let _ = Flow::decode(only(message.as_bytes()).attrs(NFGEN_HEADER_LEN));
    }
}

#[test]
fn a_flow_is_counted_by_whom_it_was_sent_to_and_its_state() {
    for (shown, destination, protocol, state) in [
        (TCP, "10.9.0.1", 6, Some(3)),
        (SCTP, "10.9.0.1", 132, Some(4)),
        (UDP, "fd09::1", 17, None),
        (ICMP, "10.9.0.1", 1, None),
    ] {
        let bytes = bytes(shown);
        let tracked = Tracked::decode(only(&bytes).attrs(NFGEN_HEADER_LEN));
        let expected = Tracked {
            destination: destination.parse().expect("an address"),
            protocol,
            state,
        };
        assert_eq!(tracked.expect("read"), expected);
    }
    assert!(Tracked::decode(Attrs::new(&[])).is_err());
}

#[test]
fn a_dump_of_one_destination_names_nothing_but_its_address() {
    let request = Command::To([10, 9, 0, 1].into()).encode();
    let expected = bytes(
        "02000000 10000180 0c000180 08000200 0a090001 14001980 08000100 02000000 08000200 00000000",
    );
    assert_eq!(request.as_bytes()[HEADER_LEN..], expected);
}

#[test]
fn statistics_are_read_as_they_are_shown() {
    let global = bytes("08000100 0000002a 08000200 00040000");
    let read = GlobalStats::decode(Attrs::new(&global)).expect("read");
    let expected = GlobalStats {
        entries: 42,
        max_entries: Some(262_144),
    };
    assert_eq!(read, expected);
    let old = GlobalStats::decode(Attrs::new(&global[..8])).expect("read");
    assert_eq!(old.max_entries, None);
    assert!(GlobalStats::decode(Attrs::new(&[])).is_err());
    // `nfgenmsg` with the processor, then found, insert, insert_failed, drop, early_drop, error
    let payload = bytes(
        "00000003 08000200 00000009 08000800 00000008 08000900 00000001 08000a00 00000002 08000b00 00000003
         08000c00 00000007",
    );
    let message = Message {
        kind: 0x0104,
        flags: 0,
        seq: 1,
        payload: &payload,
    };
    let expected = CpuStats {
        cpu: 3,
        dropped: 2,
        insert_failed: 1,
        early_dropped: 3,
    };
    assert_eq!(CpuStats::decode(&message).expect("read"), expected);
}

#[test]
fn a_dump_of_a_clients_visits_names_all_but_its_port() {
    let filter = VisitFilter {
        protocol: 6,
        destination: at("10.9.0.1:80"),
        client: at("10.1.2.3:0").ip(),
    };
    let request = Command::Visits(&filter).encode();
    let expected = bytes(
        "02000000 2c000180 14000180 08000100 0a010203 08000200 0a090001
         14000280 05000100 06000000 06000300 00500000
         14001980 08000100 2b000000 08000200 00000000",
    );
    assert_eq!(request.as_bytes()[HEADER_LEN..], expected);
    // addresses of IPv6 match when they differ
    let filter = VisitFilter {
        protocol: 17,
        destination: at("[fd09::1]:53"),
        client: at("[fd01::5]:0").ip(),
    };
    let request = Command::Visits(&filter).encode();
    let expected = bytes(
        "0a000000 18000180 14000280 05000100 11000000 06000300 00350000
         14001980 08000100 28000000 08000200 00000000",
    );
    assert_eq!(request.as_bytes()[HEADER_LEN..], expected);
}

#[test]
fn whatever_a_kernel_shows_only_the_visits_of_the_client_count() {
    let filter = VisitFilter {
        protocol: 6,
        destination: at("10.9.0.1:80"),
        client: at("10.1.2.3:0").ip(),
    };
    let flow = |protocol, client: &str, destination: &str| {
        let (client, destination) = (at(client), at(destination));
        let original = Tuple {
            source: client.ip(),
            destination: destination.ip(),
            protocol,
            source_port: Some(client.port()),
            destination_port: Some(destination.port()),
            zone: None,
        };
        Flow {
            original,
            reply: original,
            zone: None,
            id: None,
        }
    };
    for (protocol, client, destination, has) in [
        (6, "10.1.2.3:40000", "10.9.0.1:80", true),
        (6, "10.1.2.3:40001", "10.9.0.1:80", true),
        (17, "10.1.2.3:40000", "10.9.0.1:80", false),
        (6, "10.1.2.4:40000", "10.9.0.1:80", false),
        (6, "10.1.2.3:40000", "10.9.0.2:80", false),
        (6, "10.1.2.3:40000", "10.9.0.1:81", false),
    ] {
        let flow = flow(protocol, client, destination);
        assert_eq!(filter.has(&flow), has, "{flow:?}");
    }
}
