//! What Linux 6.18 told `ip monitor link address route` of a link `weir0`, number 3.

use super::*;

/// Those of links are cut behind the name.
const UP: &str = "2c000000 10000000 00000000 00000000 00000100 03000000 43100100 00010000 0a000300 776569723000 0000";
const DOWN: &str = "2c000000 10000000 00000000 00000000 00000100 03000000 02100000 01000000 0a000300 776569723000 0000";
/// `ip link set weir0 nomaster`
const PORT: &str = "2c000000 10000000 00000000 00000000 07000100 03000000 43100100 00000000 0a000300 776569723000 0000";
const PORT_GONE: &str = "2c000000 11000000 00000000 00000000 07000100 03000000 43100100 00000000 0a000300 776569723000 0000";
const LINK_GONE: &str = "2c000000 11000000 00000000 00000000 00000100 03000000 02100000 ffffffff 0a000300 776569723000 0000";

fn told(hex: &str) -> Vec<Notice> {
    received(hex, Notice::decode)
}

#[test]
fn a_link_is_told_of_when_it_changes_or_goes() {
    let link = |up| Notice::Link {
        index: 3,
        name: "weir0".to_owned(),
        up,
    };
    assert_eq!(told(UP), [link(true)]);
    assert_eq!(told(DOWN), [link(false)]);
    assert_eq!(told(LINK_GONE), [Notice::LinkGone { index: 3 }]);
    assert_eq!([told(PORT), told(PORT_GONE)], [[], []]);
}

#[test]
fn addresses_are_told_of_with_their_routes_when_they_go() {
    let gone = |text| {
        let address = ip(text);
        let kernel = true;
        let link = 3;
        let route = Notice::LocalRouteGone {
            link,
            address,
            kernel,
        };
        [Notice::AddressGone { link, address }, route]
    };
    // ip addr del 10.9.0.1/32 dev weir0
    let v4 = "50000000 15000000 c4b4026b 19000000 02202208 03000000 08000100 0a090001 08000200 0a090001
        0a000300 776569723000 0000 08000800 80000000 14000600 ffffffffffffffff 54a52500 54a52500
        3c000000 19000000 00000000 00000000 02200000 ff02fe02 00000000 08000f00 ff000000 08000100 0a090001
        08000700 0a090001 08000400 03000000";
    assert_eq!(told(v4), gone("10.9.0.1"));
    // ip -6 addr del fd09::1/128 dev weir0; the last is the route of its subnet
    let v6 = "48000000 15000000 00000000 00000000 0a808200 03000000 14000100 fd090000000000000000000000000001
        14000600 ffffffffffffffff 54a52500 54a52500 08000800 82000000
        74000000 19000000 00000000 00000000 0a800000 ff020002 00000000 08000f00 ff000000
        14000100 fd090000000000000000000000000001 08000600 00000000 08000400 03000000
        24000c00 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 05001400 00000000
        74000000 19000000 00000000 00000000 0a800000 fe020001 00000000 08000f00 fe000000
        14000100 fd090000000000000000000000000001 08000600 00010000 08000400 03000000
        24000c00 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 05001400 00000000";
    assert_eq!(told(v6), gone("fd09::1"));
    // what every link has by itself goes with it: fe80::fcd9:bcff:feeb:625c/64
    let subnet = "50000000 15000000 00000000 00000000 0a4080fd 03000000 14000100 fe80000000000000fcd9bcfffeeb625c
        14000600 ffffffffffffffff efa42500 efa42500 08000800 80000000 05000b00 03000000";
    assert_eq!(told(subnet), []);
}

#[test]
fn a_local_route_is_told_of_when_it_goes() {
    // ip -6 route del local fd09::2/128 dev weir0 table local proto 119
    let hex = "74000000 19000000 c4b4026b 1c000000 0a800000 ff770002 00000000 08000f00 ff000000
        14000100 fd090000000000000000000000000002 08000600 00040000 08000400 03000000
        24000c00 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 05001400 00000000";
    let gone = Notice::LocalRouteGone {
        link: 3,
        address: ip("fd09::2"),
        kernel: false,
    };
    assert_eq!(told(hex), [gone]);
}

#[test]
fn what_is_new_is_no_notice_of_what_goes() {
    let new = |kind: u8, hex: &str| {
        let mut message = bytes(hex);
        message[4] = kind;
        let read: Vec<_> = Messages::new(&message)
            .map(|message| message.map(|message| Notice::decode(&message)))
            .collect();
        assert_eq!(read, [Ok(None)]);
    };
    new(
        20,
        "20000000 15000000 c4b4026b 19000000 02202208 03000000 08000200 0a090001",
    );
    new(
        24,
        "2c000000 19000000 00000000 00000000 02200000 ff02fe02 00000000 08000100 0a090001 08000400 03000000",
    );
}
