use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::{
    Command, Create, ELEMENTS_PER_MESSAGE, Family, HASH_IP, HASH_IP_PORT, HASH_IP_PORT_NET,
    IPSET_ATTR_LINENO, NFGEN_HEADER_LEN,
};
use super::*;
use crate::kernel::linux::netlink::Attr;

const CAPTURED: &str = include_str!("../captured_lockdown.txt");

/// Gives the one message of a captured command in one direction: its number and all behind the `nlmsghdr`.
fn captured(command: &str, direction: &str) -> (u8, Vec<u8>) {
    let block = CAPTURED
        .split("\n$ ")
        .find_map(|block| block.strip_prefix(command)?.strip_prefix('\n'));
    let line = block
        .expect(command)
        .lines()
        .find_map(|line| line.strip_prefix(direction));
    let (number, hex) = line
        .expect(command)
        .trim_start()
        .split_once(' ')
        .expect(command);
    let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
    let bytes = digits
        .map(|two| u8::from_str_radix(two, 16).expect(command))
        .collect();
    (u8::from_str_radix(number, 16).expect(command), bytes)
}

fn encoded(command: &Command<'_>) -> (u8, Vec<u8>) {
    let request = command.encode();
    (request.as_bytes()[4], request.as_bytes()[16..].to_vec())
}

fn member(ip: &str, port: Option<(u8, u16)>, net: Option<&str>) -> Member {
    Member {
        ip: ip.parse().expect(ip),
        port,
        net: net.map(|net| net.parse().expect(net)),
    }
}

/// Gives the attributes of the one element in a message, without line numbers: alone or in a list.
fn element_of(message: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let attrs = Attrs::new(&message[NFGEN_HEADER_LEN..]);
    let inside = |attr: Attr<'_>| {
        let attrs = attr.attrs();
        attrs
            .filter(|attr| attr.kind != IPSET_ATTR_LINENO)
            .map(|attr| (attr.kind, attr.payload.to_vec()))
            .collect()
    };
    match (attrs.get(IPSET_ATTR_DATA), attrs.get(IPSET_ATTR_ADT)) {
        (Some(data), _) => inside(data),
        (None, Some(list)) => inside(list.attrs().next().expect("an element")),
        (None, None) => panic!("no element"),
    }
}

#[test]
fn sets_of_each_type_are_created_as_ipset_does() {
    let cases = [
        ("locked", HASH_IP, 6, Family::Inet, ""),
        ("open", HASH_IP_PORT, 7, Family::Inet, ""),
        ("allow", HASH_IP_PORT_NET, 8, Family::Inet, ""),
        (
            "allow6",
            HASH_IP_PORT_NET,
            8,
            Family::Inet6,
            " family inet6",
        ),
    ];
    for (name, type_name, revision, family, more) in cases {
        let create = Create {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            revision,
            family,
            hash_size: None,
            max_elements: None,
            bucket_size: None,
        };
        let line = format!("ipset create {name} {type_name}{more}");
        assert_eq!(encoded(&Command::Create(&create)), captured(&line, ">"));
    }
}

#[test]
fn members_are_written_as_ipset_does() {
    let locked = member("192.0.2.1", None, None);
    let open = member("192.0.2.1", Some((6, 80)), None);
    let allow = member("192.0.2.1", Some((6, 80)), Some("10.0.0.0/8"));
    let allow6 = member("2001:db8::1", Some((17, 53)), Some("fd00::/8"));
    let cases = [
        ("add locked 192.0.2.1", "locked", &locked),
        ("add open 192.0.2.1,tcp:80", "open", &open),
        ("add allow 192.0.2.1,tcp:80,10.0.0.0/8", "allow", &allow),
        ("add allow6 2001:db8::1,udp:53,fd00::/8", "allow6", &allow6),
        ("del locked 192.0.2.1", "locked", &locked),
        ("del allow 192.0.2.1,tcp:80,10.0.0.0/8", "allow", &allow),
    ];
    for (line, set, member) in cases {
        let one = std::slice::from_ref(member);
        let command = match line.starts_with("add") {
            true => Command::AddMembers(set, one),
            false => Command::DelMembers(set, one),
        };
        let (number, ours) = encoded(&command);
        let (theirs_number, theirs) = captured(&format!("ipset {line}"), ">");
        assert_eq!(number, theirs_number, "{line}");
        assert_eq!(element_of(&ours), element_of(&theirs), "{line}");
    }
    let test = captured("ipset test allow 192.0.2.1,tcp:80,10.0.0.0/8", ">");
    assert_eq!(encoded(&Command::TestMember("allow", &allow)), test);
}

#[test]
fn what_the_kernel_lists_is_read() {
    let cases = [
        ("locked", HASH_IP, vec![member("192.0.2.1", None, None)]),
        (
            "open",
            HASH_IP_PORT,
            vec![member("192.0.2.1", Some((6, 80)), None)],
        ),
        (
            "allow",
            HASH_IP_PORT_NET,
            vec![
                member("192.0.2.1", Some((6, 80)), Some("10.0.0.0/8")),
                member("192.0.2.1", Some((6, 80)), Some("10.1.2.3/32")),
            ],
        ),
        (
            "allow6",
            HASH_IP_PORT_NET,
            vec![member("2001:db8::1", Some((17, 53)), Some("fd00::/8"))],
        ),
    ];
    for (set, type_name, wanted) in cases {
        let (_, answer) = captured(&format!("ipset list {set}"), "<");
        let mut read = Members::decode(Attrs::new(&answer[NFGEN_HEADER_LEN..])).expect(set);
        read.members.sort();
        assert_eq!(read.members, wanted);
        assert_eq!(read.header.expect(set).type_name, type_name);
    }
}

#[test]
fn the_most_members_of_one_message_fit_their_nest() {
    let six = member("2001:db8::1", Some((17, 53)), Some("fd00::/8"));
    let request = Command::AddMembers("a", &vec![six; ELEMENTS_PER_MESSAGE]).encode();
    assert!(!request.oversized(), "{} bytes", request.as_bytes().len());
}

fn members() -> impl Strategy<Value = Member> {
    let four = (any::<[u8; 4]>(), any::<[u8; 4]>(), 0u8..=32).prop_map(|(ip, net, prefix)| {
        let net = IpNet::new(Ipv4Addr::from(net).into(), prefix).expect("a range");
        (IpAddr::from(ip), net)
    });
    let six = (any::<[u8; 16]>(), any::<[u8; 16]>(), 0u8..=128).prop_map(|(ip, net, prefix)| {
        let net = IpNet::new(Ipv6Addr::from(net).into(), prefix).expect("a range");
        (IpAddr::from(ip), net)
    });
    let rest = (any::<Option<(u8, u16)>>(), any::<bool>());
    (prop_oneof![four, six], rest).prop_map(|((ip, net), (port, ranged))| Member {
        ip,
        port,
        net: ranged.then_some(net),
    })
}

proptest! {
    #[test]
    fn members_decode_to_what_was_encoded(members in proptest::collection::vec(members(), 0..20)) {
        let (_, sent) = encoded(&Command::AddMembers("weir", &members));
        let read = Members::decode(Attrs::new(&sent[NFGEN_HEADER_LEN..]))?;
        prop_assert_eq!(read, Members { header: None, members });
    }

    #[test]
    fn decoding_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let attrs = Attrs::new(&bytes);
        let _ = (Members::decode(attrs), Member::decode(attrs));
    }

    #[test]
    fn decoding_survives_any_damage_to_what_a_kernel_said(at: prop::sample::Index, byte: u8) {
        let (_, mut message) = captured("ipset list allow6", "<");
        let at = at.index(message.len());
        message[at] = byte;
        let _ = Members::decode(Attrs::new(&message[NFGEN_HEADER_LEN..]));
    }
}
