//! The codec against bytes that `nft` and a kernel exchanged, and against itself.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::kernel::linux::netlink::{
    Attrs, Request,
    wire::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST},
};

const CAPTURED: &str = include_str!("captured.txt");
const COMMENT: &str = "weir: loopback backends";
const FOUR: Place<'_> = Place {
    table: "weir",
    name: "loopback4",
};
const SIX: Place<'_> = Place {
    table: "weir",
    name: "loopback6",
};
const CHAIN: Place<'_> = Place {
    table: "weir",
    name: "postrouting",
};

/// A message: its command's number, its flags, and all behind the `nlmsghdr`.
type Captured = (u8, u16, Vec<u8>);

/// Gives the messages of a captured command in one direction.
fn captured(command: &str, direction: &str) -> Vec<Captured> {
    let block = CAPTURED
        .split("\n$ ")
        .find_map(|block| block.strip_prefix(command)?.strip_prefix('\n'));
    let lines = block.expect(command).lines();
    let lines = lines.filter_map(|line| line.strip_prefix(direction));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [number, flags, hex] = words[..] else {
                panic!("{line}")
            };
            let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
            let bytes = digits.map(|two| u8::from_str_radix(two, 16).expect(command));
            (
                u8::from_str_radix(number, 16).expect(command),
                u16::from_str_radix(flags, 16).expect(command),
                bytes.collect(),
            )
        })
        .collect()
}

fn encoded(command: &Command<'_>) -> Captured {
    let request = command.encode();
    let bytes = request.as_bytes();
    assert_eq!(bytes[5], 10, "the subsystem");
    let flags = u16::from_ne_bytes([bytes[6], bytes[7]]);
    (bytes[4], flags, bytes[16..].to_vec())
}

fn attrs(message: &Captured) -> Attrs<'_> {
    Attrs::new(&message.2[NFGEN_HEADER_LEN..])
}

/// Takes out the attributes of a type at the outermost level.
fn without(message: &Captured, kind: u16) -> Captured {
    let mut kept = message.2[..NFGEN_HEADER_LEN].to_vec();
    let mut rest = &message.2[NFGEN_HEADER_LEN..];
    while let [l0, l1, k0, k1, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([l0, l1])).next_multiple_of(4);
        let (one, more) = rest.split_at(length.min(rest.len()));
        if u16::from_ne_bytes([k0, k1]) & 0x3fff != kind {
            kept.extend(one);
        }
        rest = more;
    }
    (message.0, message.1, kept)
}

fn element(ip: &str) -> Element {
    let ip: IpAddr = ip.parse().expect(ip);
    Element {
        ip,
        proto: 6,
        port: 8080,
        ip2: ip,
    }
}

/// The rule as `nft` makes it: with the id of a set made in the same batch.
fn rule_with_id(family: Family, set: &str, id: u32) -> Vec<Expression> {
    let mut rule = masquerade_of_set(family, set);
    for expression in &mut rule {
        if let Expression::Lookup { set_id, .. } = expression {
            *set_id = Some(id);
        }
    }
    rule
}

#[test]
fn a_table_and_a_chain_are_made_as_nft_makes_them() {
    let sent = captured("nft -f weir.nft", ">");
    let comment = comment_of_rule(COMMENT);
    let (number, flags, bytes) = encoded(&Command::NewTable("weir", &comment));
    assert_eq!((number, &bytes), (sent[0].0, &sent[0].2));
    // nft takes a table that is there; this one must be new
    assert_eq!(flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
    assert_eq!(encoded(&Command::NewChain(CHAIN)), sent[3]);
}

#[test]
fn sets_are_made_as_nft_makes_them_but_for_their_user_data() {
    let sent = captured("nft -f weir.nft", ">");
    let userdata = comment_of_set(COMMENT);
    let sets = [(FOUR, Family::Inet, 1), (SIX, Family::Inet6, 2)];
    for ((place, family, id), sent) in sets.into_iter().zip(&sent[1..3]) {
        let ours = encoded(&Command::NewSet(NewSet {
            place,
            family,
            id,
            userdata: &userdata,
        }));
        assert_eq!(ours.1, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
        let strip = |message| without(message, NFTA_SET_USERDATA).2;
        assert_eq!(strip(&ours), strip(sent));
        let theirs = attrs(sent).get(NFTA_SET_USERDATA).expect("user data");
        assert!(theirs.payload.ends_with(&userdata), "the same comment");
    }
}

#[test]
fn rules_are_made_as_nft_makes_them() {
    let sent = captured("nft -f weir.nft", ">");
    let comment = comment_of_rule(COMMENT);
    let four = rule_with_id(Family::Inet, "loopback4", 1);
    assert_eq!(encoded(&Command::NewRule(CHAIN, &four, &comment)), sent[4]);
    let six = rule_with_id(Family::Inet6, "loopback6", 2);
    assert_eq!(encoded(&Command::NewRule(CHAIN, &six, &comment)), sent[5]);
}

#[test]
fn elements_are_added_deleted_and_asked_for_as_nft_does() {
    const NFTA_SET_ELEM_LIST_SET_ID: u16 = 4;
    let four = "{ 10.0.0.11 . tcp . 8080 . 10.0.0.11 }";
    let added = captured(&format!("nft add element inet weir loopback4 {four}"), ">");
    let one = [element("10.0.0.11")];
    assert_eq!(
        encoded(&Command::Add(FOUR, &one)),
        without(&added[0], NFTA_SET_ELEM_LIST_SET_ID)
    );
    let six = "{ fd00::11 . tcp . 8080 . fd00::11 }";
    let added = captured(&format!("nft add element inet weir loopback6 {six}"), ">");
    assert_eq!(
        encoded(&Command::Add(SIX, &[element("fd00::11")])),
        without(&added[0], NFTA_SET_ELEM_LIST_SET_ID)
    );
    let deleted = format!("nft delete element inet weir loopback4 {four}");
    assert_eq!(
        encoded(&Command::Del(FOUR, &one)),
        captured(&deleted, ">")[0]
    );
    // nft writes the set before the table and leaves what was in its memory as padding: compared by attributes
    let get = format!("nft get element inet weir loopback4 {four}");
    let (ours, sent) = (
        encoded(&Command::Get(FOUR, &one[0])),
        &captured(&get, ">")[0],
    );
    assert_eq!(ours.0, sent.0);
    for kind in [
        NFTA_SET_ELEM_LIST_TABLE,
        NFTA_SET_ELEM_LIST_SET,
        NFTA_SET_ELEM_LIST_ELEMENTS,
    ] {
        assert_eq!(attrs(&ours).get(kind), attrs(sent).get(kind), "{kind}");
    }
    assert_eq!(attrs(&ours).count(), attrs(sent).count());
}

#[test]
fn what_the_kernel_shows_is_read_whole() {
    let shown = captured("nft list set inet weir loopback6", "<");
    let table = Table::decode(attrs(&shown[0]));
    let expected = Table {
        name: "weir".to_owned(),
        uses: 3,
        userdata: comment_of_rule(COMMENT),
    };
    assert_eq!(table, Ok(expected));
    let set = Set::decode(attrs(&shown[1])).expect("a set");
    assert_eq!((set.name.as_str(), set.flags), ("loopback6", 0));
    assert_eq!((set.key_type, set.key_length), (0x20_c348, 40));
    assert!(set.userdata.ends_with(&comment_of_set(COMMENT)));
    let listed = shown[2..].iter().flat_map(|message| keys(attrs(message)));
    let listed: Vec<_> = listed.map(|key| decode_key(&key)).collect();
    assert_eq!(listed, [Some(element("fd00::11"))]);

    let shown = captured("nft list ruleset", "<");
    let chain = Chain::decode(attrs(&shown[0]));
    let expected = Chain {
        name: "postrouting".to_owned(),
        uses: 2,
    };
    assert_eq!(chain, Ok(expected));
    let families = [
        (Family::Inet, "loopback4", 4),
        (Family::Inet6, "loopback6", 5),
    ];
    for ((family, set, handle), shown) in families.into_iter().zip(&shown[1..]) {
        let expected = Rule {
            table: "weir".to_owned(),
            chain: "postrouting".to_owned(),
            handle,
            expressions: masquerade_of_set(family, set),
            userdata: comment_of_rule(COMMENT),
        };
        assert_eq!(Rule::decode(attrs(shown)), Ok(expected));
    }
}

#[test]
fn a_lookup_that_is_inverted_or_maps_is_not_taken_for_a_lookup() {
    for (kind, value) in [(5, 1), (3, 1)] {
        let mut out = Request::new(0, 0);
        out.string(1, "lookup").nest(2, |out| {
            out.string(1, "loopback4").be32(2, 1).be32(kind, value);
        });
        let read = Expression::decode(Attrs::new(&out.as_bytes()[16..])).expect("a name");
        assert!(matches!(read, Expression::Other { .. }), "{read:?}");
    }
}

#[test]
fn the_most_elements_of_a_message_fit_one_receive() {
    let many: Vec<Element> = (0..ELEMENTS_PER_MESSAGE)
        .map(|_| element("fd00::11"))
        .collect();
    let request = Command::Add(SIX, &many).encode();
    assert!(!request.oversized());
    // a refusal echoes the message behind a header and an errno
    assert!(request.as_bytes().len() + 36 < 64 * 1024);
}

fn elements() -> impl Strategy<Value = Element> {
    let four = (any::<[u8; 4]>(), any::<[u8; 4]>())
        .prop_map(|(one, two)| (IpAddr::from(one), IpAddr::from(two)));
    let six = (any::<[u8; 16]>(), any::<[u8; 16]>())
        .prop_map(|(one, two)| (IpAddr::from(one), IpAddr::from(two)));
    (prop_oneof![four, six], any::<u8>(), any::<u16>()).prop_map(|((ip, ip2), proto, port)| {
        Element {
            ip,
            proto,
            port,
            ip2,
        }
    })
}

fn expressions() -> impl Strategy<Value = Expression> {
    let words = proptest::collection::vec(any::<[u8; 4]>(), 0..6);
    prop_oneof![
        any::<(u32, u32)>().prop_map(|(key, register)| Expression::Meta { key, register }),
        (any::<u32>(), proptest::collection::vec(any::<u8>(), 0..17))
            .prop_map(|(register, to)| Expression::Equal { register, to }),
        any::<(u32, u32, u32, u32)>().prop_map(|(base, offset, length, register)| {
            Expression::Payload {
                base,
                offset,
                length,
                register,
            }
        }),
        ("[a-z0-9]{1,30}", any::<Option<u32>>(), any::<u32>()).prop_map(
            |(set, set_id, register)| Expression::Lookup {
                set,
                set_id,
                register
            }
        ),
        any::<(u64, u64)>().prop_map(|(packets, bytes)| Expression::Counter { packets, bytes }),
        any::<u32>().prop_map(|flags| Expression::Masquerade { flags }),
        words.prop_map(|words| Expression::Other {
            name: "quota".to_owned(),
            data: words.concat(),
        }),
    ]
}

proptest! {
    #[test]
    fn a_key_is_read_as_it_was_written(element in elements()) {
        prop_assert_eq!(decode_key(&encode_key(&element)), Some(element));
    }

    #[test]
    fn elements_are_read_as_they_were_written(some in proptest::collection::vec(elements(), 1..50)) {
        let request = Command::Add(FOUR, &some).encode();
        let read = keys(Attrs::new(&request.as_bytes()[16 + NFGEN_HEADER_LEN..]));
        let read: Option<Vec<Element>> = read.iter().map(|key| decode_key(key)).collect();
        prop_assert_eq!(read, Some(some));
    }

    #[test]
    fn a_rule_is_read_as_it_was_written(
        list in proptest::collection::vec(expressions(), 0..12),
        handle in any::<u64>(),
    ) {
        let mut request = Command::NewRule(CHAIN, &list, b"mark").encode();
        request.bytes(NFTA_RULE_HANDLE, &handle.to_be_bytes());
        let read = Rule::decode(Attrs::new(&request.as_bytes()[16 + NFGEN_HEADER_LEN..]));
        prop_assert_eq!(read, Ok(Rule {
            table: "weir".to_owned(),
            chain: "postrouting".to_owned(),
            handle,
            expressions: list,
            userdata: b"mark".to_vec(),
        }));
    }

    #[test]
    fn reading_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let attrs = Attrs::new(&bytes);
        let _ = (Table::decode(attrs), Chain::decode(attrs), Set::decode(attrs), Rule::decode(attrs));
        let _ = (Expression::decode(attrs), decode_key(&bytes));
        let _ = keys(attrs);
    }
}

/// What is proved of the sets of loopback entries holds of any others.
#[test]
fn a_set_of_any_keys_is_made_and_filled_as_one_of_elements_is() {
    for (family, ip) in [(Family::Inet, "192.0.2.1"), (Family::Inet6, "2001:db8::1")] {
        let place = Place {
            table: "weir",
            name: "loopback",
        };
        let userdata = &comment_of_set("weir")[..];
        let id = 3;
        let address = Field::Address(family);
        let fields = &[address, Field::Protocol, Field::Port, address][..];
        let one = Command::NewSet(NewSet {
            place,
            family,
            id,
            userdata,
        });
        let any = Command::NewKeySet(KeySet {
            place,
            fields,
            id,
            userdata,
        });
        assert_eq!(any.encode().as_bytes(), one.encode().as_bytes());
        let ip = ip.parse().expect(ip);
        let (proto, port, ip2) = (6, 80, ip);
        let elements = [Element {
            ip,
            proto,
            port,
            ip2,
        }];
        let keys = elements.each_ref().map(encode_key);
        for (one, any) in [
            (
                Command::Add(place, &elements),
                Command::AddKeys(place, &keys),
            ),
            (
                Command::Del(place, &elements),
                Command::DelKeys(place, &keys),
            ),
            (
                Command::Get(place, &elements[0]),
                Command::GetKey(place, &keys[0]),
            ),
        ] {
            assert_eq!(any.encode().as_bytes(), one.encode().as_bytes());
        }
        let listed = Command::AddKeys(place, &keys).encode();
        let attrs = Attrs::new(&listed.as_bytes()[16 + NFGEN_HEADER_LEN..]);
        assert_eq!(super::keys(attrs), keys);
    }
}

/// `nft add chain inet weir-lockdown input '{ type filter hook input priority 0; }'` but for the policy, which is accept
/// when nothing is said.
#[test]
fn a_chain_at_the_input_hook_is_made_as_nft_does() {
    let place = Place {
        table: "weir-lockdown",
        name: "input",
    };
    let request = Command::NewInputChain(place).encode();
    let attrs = Attrs::new(&request.as_bytes()[16 + NFGEN_HEADER_LEN..]);
    let hook = attrs.get(NFTA_CHAIN_HOOK).expect("the hook");
    let hex: String = hook
        .payload
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, "08000100000000010800020000000000");
    let kind = attrs.get(NFTA_CHAIN_TYPE).and_then(|kind| kind.str());
    assert_eq!(kind, Some("filter"));
}

#[test]
fn a_chain_at_a_hook_is_told_with_its_policy_and_others_are_left_out() {
    let message = |hook: Option<u32>, policy: Option<u32>| {
        let mut out = Request::netfilter(NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWCHAIN, 2, 0);
        out.string(NFTA_CHAIN_TABLE, "filter")
            .string(NFTA_CHAIN_NAME, "FORWARD")
            .be32(NFTA_CHAIN_USE, 3);
        if let Some(hook) = hook {
            out.nest(NFTA_CHAIN_HOOK, |out| {
                out.be32(NFTA_HOOK_HOOKNUM, hook)
                    .be32(NFTA_HOOK_PRIORITY, 0);
            });
        }
        if let Some(policy) = policy {
            out.be32(NFTA_CHAIN_POLICY, policy);
        }
        let bytes = out.as_bytes()[16..].to_vec();
        BaseChain::decode(bytes[0], Attrs::new(&bytes[NFGEN_HEADER_LEN..]))
    };
    let chain = |hook, drops| BaseChain {
        family: 2,
        table: "filter".to_owned(),
        name: "FORWARD".to_owned(),
        hook,
        drops,
        uses: 3,
    };
    // NF_INET_FORWARD, NF_DROP and NF_ACCEPT (include/uapi/linux/netfilter.h)
    for (hook, policy, expected) in [
        (Some(2), Some(0), Some(chain(Hook::Forward, true))),
        (Some(2), Some(1), Some(chain(Hook::Forward, false))),
        (Some(3), None, Some(chain(Hook::Other(3), false))),
        (None, None, None),
    ] {
        assert_eq!(message(hook, policy), Ok(expected));
    }
    let (number, _, head) = encoded(&Command::GetChains);
    assert_eq!((number, head), (NFT_MSG_GETCHAIN, vec![0, 0, 0, 0]));
}
