//! The codec against bytes that `ip` of iproute2 6.1 and Linux 6.1 sent.

mod notices;

use super::*;
use crate::kernel::linux::netlink::wire::{Messages, NLM_F_ACK};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair));
    pairs
        .map(|pair| u8::from_str_radix(pair.expect("ASCII"), 16).expect("hexadecimal"))
        .collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

/// Checks what a command sends against the bytes of `ip`, which numbers its requests and asks for acknowledgements.
fn sends(command: Command, hex: &str) {
    sends_bytes(&command.encode(), hex);
}

fn sends_bytes(request: &Request, hex: &str) {
    let mut expected = bytes(hex);
    expected[8..12].fill(0);
    expected[6] &= !(NLM_F_ACK as u8);
    assert_eq!(request.as_bytes(), expected);
}

fn received<T>(hex: &str, decode: impl Fn(&Message<'_>) -> Option<T>) -> Vec<T> {
    let bytes = bytes(hex);
    let messages = Messages::new(&bytes).map(|message| message.expect("a message"));
    messages.filter_map(|message| decode(&message)).collect()
}

fn local(address: &str, source: Option<&str>) -> LocalRoute {
    LocalRoute {
        link: 4,
        address: ip(address),
        source: source.map(ip),
    }
}

#[test]
fn a_local_route_is_added() {
    // ip route add local 10.9.0.1/32 dev weir0 table local proto 119 scope host src 10.0.0.5
    let command = Command::AddRoute {
        route: local("10.9.0.1", Some("10.0.0.5")),
        beside: false,
    };
    sends(
        command,
        "3400000018000506a088026b00000000 02200000ff77fe0200000000 080001000a090001 080007000a000005
         0800040004000000",
    );
    // ip -6 route add local fd09::1/128 dev weir0 table local proto 119 src fd00::5
    let command = Command::AddRoute {
        route: local("fd09::1", Some("fd00::5")),
        beside: true,
    };
    sends(
        command,
        "4c00000018000506b688026b00000000 0a800000ff77000200000000
         14000100fd090000000000000000000000000001 14000700fd000000000000000000000000000005 0800040004000000",
    );
}

#[test]
fn an_ipv4_route_may_come_behind_another() {
    let command = |beside| {
        let route = local("10.9.0.1", None);
        Command::AddRoute { route, beside }.encode()
    };
    let flags =
        |request: Request| u16::from_ne_bytes([request.as_bytes()[6], request.as_bytes()[7]]);
    assert_eq!(flags(command(false)), 0x601, "request, create, exclusively");
    assert_eq!(flags(command(true)), 0xc01, "request, create, append");
}

#[test]
fn a_local_route_is_deleted() {
    // ip route del local 10.9.0.1/32 dev weir0 table local proto 119 scope host
    let command = Command::DelRoute {
        link: 4,
        address: ip("10.9.0.1"),
    };
    sends(
        command,
        "2c00000019000500bd88026b00000000 02200000ff77fe0200000000 080001000a090001 0800040004000000",
    );
}

#[test]
fn addresses_are_added_and_deleted() {
    // ip addr add 10.9.0.2/32 dev weir0 scope host
    let command = Command::AddAddress {
        link: 4,
        address: ip("10.9.0.2"),
        scope: RT_SCOPE_HOST,
    };
    sends(
        command,
        "2800000014000506bb88026b00000000 022000fe04000000 080002000a090002 080001000a090002",
    );
    // ip -6 addr add fd09::2/128 dev weir0 nodad preferred_lft 0
    let command = Command::AddAddress {
        link: 4,
        address: ip("fd09::2"),
        scope: RT_SCOPE_HOST,
    };
    sends(
        command,
        "5400000014000506bb88026b00000000 0a80020004000000 14000200fd090000000000000000000000000002
         14000100fd090000000000000000000000000002 1400060000000000ffffffff0000000000000000",
    );
    // ip addr del 10.9.0.2/32 dev weir0
    let command = Command::DelAddress {
        link: 4,
        address: ip("10.9.0.2"),
    };
    sends(
        command,
        "2800000015000500be88026b00000000 0220000004000000 080002000a090002 080001000a090002",
    );
}

#[test]
fn a_route_is_looked_up_as_it_stands_in_its_table() {
    // ip route get fibmatch 10.9.0.1, which also asks for the table, that a match always tells
    let asked = "240000001a000100bc88026b00000000 022000000000000000200000 080001000a090001";
    sends(Command::Lookup(ip("10.9.0.1")), asked);
    // ip -6 route get fibmatch fd09::1
    let asked = "300000001a000100bc88026b00000000 0a8000000000000000200000
                 14000100fd090000000000000000000000000001";
    sends(Command::Lookup(ip("fd09::1")), asked);
    let found = received(
        "3c00000018000000bb88026b23030000 02200000fe77fe0200000000 08000f00fe000000 080001000a090001
         080007000a000005 0800040004000000
         8800000018000000bc88026b28030000 0a800000ff77000200000000 08000f00ff000000
         14000100fd090000000000000000000000000001 14000700fd000000000000000000000000000005 0800060000040000
         0800040004000000 24000c000000000000000000000000000000000000000000000000000000000000000000
         0500140000000000",
        Route::decode,
    );
    let route = |destination, prefix, table, source| Route {
        kind: RTN_LOCAL,
        protocol: RTPROT_WEIR,
        table,
        destination: ip(destination),
        prefix,
        link: Some(4),
        source: Some(ip(source)),
        gateways: Vec::new(),
    };
    // 254: the tables local and main of IPv4 are one until there is a rule
    let expected = [
        route("10.9.0.1", 32, 254, "10.0.0.5"),
        route("fd09::1", 128, 255, "fd00::5"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn dumps_name_what_they_want() {
    // ip -4 addr show dev weir0, whose buffer of zeroes behind the header this leaves out
    let asked = "18000000160001 03be88026b00000000 0200000004000000";
    let mut dump = bytes(asked);
    dump[7] = 0;
    let command = Command::Addresses { v6: false, link: 4 };
    let mut expected = dump.clone();
    expected[8..12].fill(0);
    assert_eq!(command.encode().as_bytes(), expected);
    // the table comes as ip -6 route show asks for it, the link as the kernel's own route has it
    let command = Command::LocalRoutes {
        v6: true,
        link: Some(4),
    };
    sends(
        command,
        "2c0000001a000100bd88026b00000000 0a00000000000002 00000000 08000f00ff000000 0800040004000000",
    );
    sends(
        Command::MainRoutes { v6: false },
        "240000001a000100bc88026b00000000 0200000000000001 00000000 08000f00fe000000",
    );
}

#[test]
fn addresses_are_read_with_scope_and_flags() {
    // ip -4 addr show dev weir0; ip -6 addr show dev e0
    let found = received(
        "5000000014002200be88026b39030000 022080fe04000000 080001007f770001 080002007f770001
         0a0003007765697230000000 0800080080000000 14000600ffffffffffffffff2020002020020000
         4800000014002200be88026b3e030000 0a40820006000000 14000100fd000000000000000000000000000005
         14000600ffffffffffffffff0102000001020000 0800080082000000",
        Address::decode,
    );
    let expected = [
        Address {
            link: 4,
            address: ip("127.119.0.1"),
            prefix: 32,
            scope: RT_SCOPE_HOST,
            flags: 0x80,
        },
        Address {
            link: 6,
            address: ip("fd00::5"),
            prefix: 64,
            scope: RT_SCOPE_UNIVERSE,
            flags: 0x82,
        },
    ];
    assert_eq!(found, expected);
}

#[test]
fn default_routes_are_read_with_their_gateways() {
    // ip -4 route show default; ip -6 route show default
    let found = received(
        "3400000018002200bc88026b2d030000 02000000fe030001 00000000 08000f00fe000000 080005000a000001
         0800040006000000
         7400000018002200bd88026b34030000 0a000000fe030001 00000000 08000f00fe000000 0800060000040000
         14000500fd000000000000000000000000000001 0800040006000000
         24000c000000000000000000000000000000000000000000000000000000000000000000 0500140000000000",
        Route::decode,
    );
    let route = |destination, gateway| Route {
        kind: RTN_UNICAST,
        protocol: 3,
        table: RT_TABLE_MAIN,
        destination: ip(destination),
        prefix: 0,
        link: Some(6),
        source: None,
        gateways: vec![ip(gateway)],
    };
    assert_eq!(
        found,
        [route("0.0.0.0", "10.0.0.1"), route("::", "fd00::1")]
    );
}

#[test]
fn the_gateways_of_many_hops_and_of_the_other_family_are_read() {
    let mut route = Request::new(RTM_NEWROUTE, 0);
    dump_header(false, RTN_UNICAST).write(&mut route);
    // two hops: length, flags, weight, link; RTA_GATEWAY and RTA_VIA (`struct rtnexthop`, `struct rtvia`)
    let hops = bytes(
        "10000000 06000000 080005000a000001
         20000000 07000000 160012000a00 fd000000000000000000000000000001 0000",
    );
    route.bytes(RTA_MULTIPATH, &hops);
    let gateways = vec![ip("10.0.0.1"), ip("fd00::1")];
    let decode = |message: &Message<'_>| Route::decode(message).map(|route| route.gateways);
    let read = |request: &Request| -> Vec<Vec<IpAddr>> {
        let messages = Messages::new(request.as_bytes());
        let messages = messages.map(|message| message.expect("a message"));
        messages.filter_map(|message| decode(&message)).collect()
    };
    assert_eq!(read(&route), [gateways]);
    // a hop that says it is longer than what is left ends them
    let mut route = Request::new(RTM_NEWROUTE, 0);
    dump_header(false, RTN_UNICAST).write(&mut route);
    route.bytes(RTA_MULTIPATH, &hops[..hops.len() - 4]);
    assert_eq!(read(&route), [vec![ip("10.0.0.1")]]);
}

#[test]
fn tunnel_links_are_asked_for_made_and_set() {
    // ip link show dev ip6tnl0, which asks for more details
    sends_bytes(
        &Tunnel::ask("ip6tnl0"),
        "2c00000012000100bf88026b00000000 00000000000000000000000000000000 0c000300697036746e6c3000",
    );
    // ip link set tunl0 up
    sends_bytes(
        &Tunnel::set(2, true),
        "2000000010000500be88026b00000000 00000000020000000100000001000000",
    );
    let made = Tunnel::make("ip6tnl9", TunnelKind::Ip6tnl);
    // ip link add ip6tnl9 type ip6tnl mode any, of which only the protocol counts
    sends_bytes(
        &made,
        "4800000010000506be88026b00000000 00000000000000000000000000000000 0c000300697036746e6c3900
         1c001280 0b000100697036746e6c0000 0c000280 0500090000000000",
    );
    let read = |request: &Request| -> Vec<Tunnel> {
        let messages = Messages::new(request.as_bytes());
        let messages = messages.map(|message| message.expect("a message"));
        messages
            .filter_map(|message| Tunnel::decode(&message))
            .collect()
    };
    let expected = Tunnel {
        index: 0,
        kind: Some("ip6tnl".to_owned()),
        up: false,
        protocol: 0,
    };
    assert_eq!(read(&made), [expected]);
    assert!(read(&Tunnel::set(2, true))[0].up);
    assert_eq!(read(&Tunnel::ask("tunl0")), []);
}

#[test]
fn what_is_cut_short_is_not_read() {
    let whole = bytes("3c00000018000000bc88026b23030000 02200000fe77fe0200000000 08000f00fe000000");
    for end in 0..whole.len() - 16 {
        let payload = &whole[16..16 + end];
        for kind in [RTM_NEWROUTE, RTM_NEWADDR, 16] {
            let message = Message {
                kind,
                flags: 0,
                seq: 0,
                payload,
            };
            let _read = (
                Route::decode(&message),
                Address::decode(&message),
                Tunnel::decode(&message),
            );
            assert!(end >= 12 || Route::decode(&message).is_none());
        }
    }
}
