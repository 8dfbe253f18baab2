//! The codec against bytes that `ipset` and a kernel exchanged, and against itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::kernel::linux::netlink::{
    Attrs,
    wire::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST},
};

const CAPTURED: &str = include_str!("captured.txt");

/// Gives the messages of a captured command in one direction: the command's number and all behind the
/// `nlmsghdr`.
fn captured(command: &str, direction: &str) -> Vec<(u8, Vec<u8>)> {
    let block = CAPTURED
        .split("\n$ ")
        .find_map(|block| block.strip_prefix(command)?.strip_prefix('\n'));
    let lines = block
        .expect(command)
        .lines()
        .filter_map(|line| line.strip_prefix(direction));
    lines
        .map(|line| {
            let (number, hex) = line.trim_start().split_once(' ').expect(command);
            let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
            let bytes = digits
                .map(|two| u8::from_str_radix(two, 16).expect(command))
                .collect();
            (u8::from_str_radix(number, 16).expect(command), bytes)
        })
        .collect()
}

fn last_sent(command: &str) -> (u8, Vec<u8>) {
    captured(command, ">").pop().expect(command)
}

fn encoded(command: &Command<'_>) -> (u8, Vec<u8>) {
    let request = command.encode();
    assert_eq!(request.as_bytes()[5], 6, "the subsystem");
    (request.as_bytes()[4], request.as_bytes()[16..].to_vec())
}

fn element(ip: &str, proto: u8, port: u16) -> Element {
    let ip: IpAddr = ip.parse().expect(ip);
    Element {
        ip,
        proto,
        port,
        ip2: ip,
    }
}

/// Flattens a message to its innermost attributes, without line numbers, which ipset adds for itself.
fn leaves(message: &[u8]) -> Vec<(Vec<u16>, Vec<u8>)> {
    fn walk(attrs: Attrs<'_>, path: &[u16], out: &mut Vec<(Vec<u16>, Vec<u8>)>) {
        for attr in attrs {
            let path = [path, &[attr.kind]].concat();
            match (path.as_slice(), attr.kind) {
                (_, IPSET_ATTR_LINENO) => {}
                ([_], IPSET_ATTR_DATA | IPSET_ATTR_ADT)
                | ([IPSET_ATTR_ADT, IPSET_ATTR_DATA], _) => {
                    walk(attr.attrs(), &path, out);
                }
                _ => out.push((path, attr.payload.to_vec())),
            }
        }
    }
    let mut out = Vec::new();
    walk(Attrs::new(&message[NFGEN_HEADER_LEN..]), &[], &mut out);
    out
}

fn weir() -> Create {
    Create {
        name: "weir".to_owned(),
        type_name: HASH_IP_PORT_IP.to_owned(),
        revision: 6,
        family: Family::Inet,
        hash_size: Some(64),
        max_elements: Some(1000),
        bucket_size: None,
    }
}

#[test]
fn sets_are_handled_as_ipset_does() {
    let create = weir();
    let create6 = Create {
        name: "weir6".to_owned(),
        family: Family::Inet6,
        hash_size: None,
        max_elements: None,
        ..weir()
    };
    let cases = [
        (
            "ipset create weir hash:ip,port,ip hashsize 64 maxelem 1000",
            Command::Create(&create),
        ),
        (
            "ipset create weir6 hash:ip,port,ip family inet6",
            Command::Create(&create6),
        ),
        ("ipset flush weir", Command::Flush("weir")),
        ("ipset rename weir weird", Command::Rename("weir", "weird")),
        ("ipset swap weird other", Command::Swap("weird", "other")),
        ("ipset destroy other", Command::Destroy("other")),
        ("ipset list weir", Command::List("weir")),
    ];
    for (line, command) in cases {
        assert_eq!(encoded(&command), last_sent(line), "{line}");
    }
    let flags = &Command::Create(&create).encode().as_bytes()[6..8].to_vec();
    assert_eq!(
        flags[..],
        (NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL).to_ne_bytes()
    );
    let asked = captured(
        "ipset create weir hash:ip,port,ip hashsize 64 maxelem 1000",
        ">",
    );
    assert_eq!(
        encoded(&Command::Type(HASH_IP_PORT_IP, Family::Inet)),
        asked[0]
    );
    let asked = captured("ipset test weir 192.0.2.1,tcp:80,192.0.2.1", ">");
    assert_eq!(encoded(&Command::Header("weir")), asked[0]);
    let asked = captured("ipset list -t", ">");
    assert_eq!(encoded(&Command::Protocol), asked[0]);
    assert_eq!(encoded(&Command::Headers), asked[1]);
    let asked = captured("ask for the index of weir", ">");
    assert_eq!(encoded(&Command::GetByName("weir")), asked[0]);
    // what only ipset asks for stands between what both do
    let line = "ipset create buckets hash:ip,port,ip bucketsize 14 timeout 60 comment";
    let buckets = Create {
        name: "buckets".to_owned(),
        hash_size: None,
        max_elements: None,
        bucket_size: Some(14),
        ..weir()
    };
    let (number, theirs) = last_sent(line);
    let (ours_number, ours) = encoded(&Command::Create(&buckets));
    assert_eq!(ours_number, number);
    let theirs = leaves(&theirs);
    for leaf in leaves(&ours) {
        assert!(theirs.contains(&leaf), "{leaf:?} is not in {theirs:?}");
    }
}

#[test]
fn elements_are_written_as_ipset_does() {
    let four = element("192.0.2.1", 6, 80);
    let six = element("2001:db8::1", 17, 53);
    let test = "ipset test weir 192.0.2.1,tcp:80,192.0.2.1";
    assert_eq!(encoded(&Command::Test("weir", &four)), last_sent(test));

    let both = [element("192.0.2.2", 6, 81), element("192.0.2.3", 132, 82)];
    let (number, theirs) = last_sent("ipset restore");
    let (ours_number, ours) = encoded(&Command::Add("weird", &both));
    assert_eq!((ours_number, leaves(&ours)), (number, leaves(&theirs)));

    // one element goes without the list around it in ipset, with it here
    let singles = [
        (
            "ipset add weir 192.0.2.1,tcp:80,192.0.2.1",
            Command::Add("weir", std::slice::from_ref(&four)),
        ),
        (
            "ipset add weir6 2001:db8::1,udp:53,2001:db8::1",
            Command::Add("weir6", std::slice::from_ref(&six)),
        ),
        (
            "ipset del weir 192.0.2.1,tcp:80,192.0.2.1",
            Command::Del("weir", std::slice::from_ref(&four)),
        ),
    ];
    for (line, command) in singles {
        let (number, theirs) = last_sent(line);
        let (ours_number, ours) = encoded(&command);
        let flat: Vec<_> = leaves(&ours)
            .into_iter()
            .map(|(path, payload)| {
                (
                    if path.len() == 3 {
                        path[1..].to_vec()
                    } else {
                        path
                    },
                    payload,
                )
            })
            .collect();
        assert_eq!((ours_number, flat), (number, leaves(&theirs)), "{line}");
    }
}

#[test]
fn what_the_kernel_says_of_a_set_is_read_whole() {
    let (_, answer) = captured("ipset list weir", "<").remove(0);
    let listing = Listing::decode(Attrs::new(&answer[NFGEN_HEADER_LEN..]));
    let header = Header {
        type_name: HASH_IP_PORT_IP.to_owned(),
        revision: 6,
        family: Some(Family::Inet),
        index: Some(0),
        hash_size: Some(64),
        max_elements: Some(1000),
        bucket_size: Some(12),
        seed: Some(0x9ec4_a799),
        elements: Some(1),
        references: 0,
        memory: 256,
        other: Vec::new(),
    };
    let elements = vec![element("192.0.2.1", 6, 80)];
    assert_eq!(
        listing,
        Ok(Listing {
            name: "weir".to_owned(),
            header: Some(header),
            elements
        })
    );

    let (_, answer) = captured("ipset list weir6", "<").remove(0);
    let listing = Listing::decode(Attrs::new(&answer[NFGEN_HEADER_LEN..])).expect("weir6");
    assert_eq!(listing.elements, [element("2001:db8::1", 17, 53)]);
    let header = listing.header.expect("the header of weir6");
    assert_eq!(
        (header.family, header.index),
        (Some(Family::Inet6), Some(1))
    );
}

#[test]
fn what_has_no_name_here_is_kept_as_it_came() {
    let (_, answer) = captured("ipset list buckets", "<").remove(0);
    let attrs = Attrs::new(&answer[NFGEN_HEADER_LEN..]);
    let header = Header::decode(attrs).expect("the header");
    assert_eq!(
        (header.bucket_size, header.elements, header.revision),
        (Some(12), Some(1), 6)
    );
    // IPSET_ATTR_TIMEOUT and IPSET_ATTR_CADT_FLAGS, as include/uapi/linux/netfilter/ipset/ip_set.h numbers them
    let number = |kind, value: u32| Other {
        kind,
        payload: value.to_be_bytes().to_vec(),
    };
    assert_eq!(header.other, [number(6, 60), number(8, 0x10)]);
    let list = attrs.get(IPSET_ATTR_ADT).expect("the elements");
    let data = list.attrs().get(IPSET_ATTR_DATA).expect("an element");
    let (read, other) = Element::decode(data.attrs()).expect("the element");
    assert_eq!(read, element("192.0.2.4", 17, 53));
    // the seconds that were left, and the comment
    let comment = Other {
        kind: 26,
        payload: b"here\0".to_vec(),
    };
    assert_eq!(other, [number(6, 0x31), comment]);
}

#[test]
fn a_listing_of_headers_says_what_refers_to_a_set() {
    let headers: Vec<Listing> = captured("ipset list -t", "<")
        .iter()
        .skip(1)
        .map(|(_, answer)| Listing::decode(Attrs::new(&answer[NFGEN_HEADER_LEN..])))
        .collect::<Result<_, _>>()
        .expect("every set");
    let told = headers.iter().map(|listing| {
        let header = listing.header.as_ref().expect("a header");
        let name = listing.name.as_str();
        (name, header.references, header.memory, header.index)
    });
    let expected = [("weir", 1, 200, Some(0)), ("buckets", 0, 0x13d, Some(1))];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn the_protocol_and_the_index_of_a_set_are_read() {
    let (_, answer) = captured("ipset list -t", "<").remove(0);
    let attrs = Attrs::new(&answer[NFGEN_HEADER_LEN..]);
    let version = |kind| attrs.get(kind).and_then(|attr| attr.u8());
    assert_eq!(
        (
            version(IPSET_ATTR_PROTOCOL),
            version(IPSET_ATTR_PROTOCOL_MIN)
        ),
        (Some(7), Some(6))
    );
    let (_, answer) = captured("ask for the index of weir", "<").remove(0);
    let index = Attrs::new(&answer[NFGEN_HEADER_LEN..]).get(IPSET_ATTR_INDEX);
    assert_eq!(index.and_then(|attr| attr.be16()), Some(0));
}

#[test]
fn revisions_and_the_type_of_a_set_are_read() {
    let create = "ipset create weir hash:ip,port,ip hashsize 64 maxelem 1000";
    let (_, answer) = captured(create, "<").remove(0);
    let revisions = Revisions::decode(Attrs::new(&answer[NFGEN_HEADER_LEN..]));
    assert_eq!(revisions, Ok(Revisions { min: 0, max: 6 }));
    let (_, answer) = captured("ipset del weir 192.0.2.1,tcp:80,192.0.2.1", "<").remove(0);
    let header = Header::decode(Attrs::new(&answer[NFGEN_HEADER_LEN..])).expect("a header");
    assert_eq!(
        (header.type_name.as_str(), header.revision),
        (HASH_IP_PORT_IP, 6)
    );
    assert_eq!((header.elements, header.max_elements), (None, None));
}

#[test]
fn every_error_of_ipset_has_a_sentence_and_no_other_has() {
    for errno in (4097..=4114).chain(4352..=4357) {
        let explanation = explain(errno).unwrap_or_else(|| panic!("{errno} is not explained"));
        assert!(
            explanation.name.starts_with("IPSET_ERR_"),
            "{explanation:?}"
        );
    }
    assert_eq!(explain(4103).map(|e| e.name), Some("IPSET_ERR_EXIST"));
    assert_eq!(explain(4352).map(|e| e.name), Some("IPSET_ERR_HASH_FULL"));
    assert_eq!(
        [explain(2), explain(4096), explain(4115), explain(4358)],
        [None; 4]
    );
}

#[test]
fn the_most_elements_of_one_message_fit_their_nest() {
    let six = element("2001:db8::1", 17, 53);
    let request = Command::Add("a", &vec![six; ELEMENTS_PER_MESSAGE]).encode();
    assert!(!request.oversized(), "{} bytes", request.as_bytes().len());
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| Ipv4Addr::from(octets).into()),
        any::<[u8; 16]>().prop_map(|octets| Ipv6Addr::from(octets).into()),
    ]
}

prop_compose! {
    fn elements()(ip in ip(), proto: u8, port: u16, ip2 in ip()) -> Element {
        Element { ip, proto, port, ip2 }
    }
}

proptest! {
    #[test]
    fn elements_decode_to_what_was_encoded(elements in proptest::collection::vec(elements(), 0..20)) {
        let (_, sent) = encoded(&Command::Add("weir", &elements));
        let read = Listing::decode(Attrs::new(&sent[NFGEN_HEADER_LEN..]))?;
        prop_assert_eq!(read, Listing { name: "weir".to_owned(), header: None, elements });
    }

    #[test]
    fn a_created_set_decodes_to_what_was_asked(
        name in "[a-z]{1,31}", revision: u8, inet6: bool, hash_size: Option<u32>,
        max_elements: Option<u32>, bucket_size: Option<u8>,
    ) {
        let family = if inet6 { Family::Inet6 } else { Family::Inet };
        let type_name = HASH_IP_PORT_IP.to_owned();
        let create =
            Create { name, type_name, revision, family, hash_size, max_elements, bucket_size };
        let (_, sent) = encoded(&Command::Create(&create));
        let read = Listing::decode(Attrs::new(&sent[NFGEN_HEADER_LEN..]))?;
        let header = read.header.expect("a header");
        let again = Create {
            name: read.name, type_name: header.type_name, revision: header.revision,
            family: header.family.expect("a family"), hash_size: header.hash_size,
            max_elements: header.max_elements, bucket_size: header.bucket_size,
        };
        prop_assert_eq!(again, create);
    }

    #[test]
    fn decoding_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let attrs = Attrs::new(&bytes);
        let _ = (Listing::decode(attrs), Header::decode(attrs), Revisions::decode(attrs), Element::decode(attrs));
    }

    #[test]
    fn decoding_survives_any_damage_to_what_a_kernel_said(at: prop::sample::Index, byte: u8) {
        let (_, mut message) = captured("ipset list weir6", "<").remove(0);
        let at = at.index(message.len());
        message[at] = byte;
        let _ = Listing::decode(Attrs::new(&message[NFGEN_HEADER_LEN..]));
    }
}
