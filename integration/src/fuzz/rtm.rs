//! Addresses, routes and links, as the kernel shows them.

use std::fmt::Debug;

use weir_agent::kernel::linux::link::rtm::{Address, Notice, Route, Tunnel};
use weir_agent::kernel::linux::netlink::{Message, Messages, Request};

use super::netlink::with_unknown;

/// `RTM_NEWLINK`, `RTM_NEWADDR` and `RTM_NEWROUTE`, each with the length of what stands in front of its attributes.
const LINK: (u16, usize) = (16, 16);
const ADDRESS: (u16, usize) = (20, 8);
const ROUTE: (u16, usize) = (24, 12);
/// What a notice may be: the first and `RTM_DELLINK`, `RTM_DELADDR` and `RTM_DELROUTE`.
const NOTICES: [(u16, usize); 4] = [LINK, (17, 16), (21, 8), (25, 12)];

/// Says whether all behind a `nlmsghdr` can be decoded; an attribute that nobody knows must change nothing.
fn same<T: PartialEq + Debug>(
    bytes: &[u8],
    (kind, header): (u16, usize),
    decode: fn(&Message<'_>) -> Option<T>,
) -> bool {
    let read = of_message(kind, bytes, decode);
    if let Some((header, attrs)) = bytes.split_at_checked(header) {
        let more = [header, &with_unknown(attrs)].concat();
        assert_eq!(of_message(kind, &more, decode), read);
    }
    read.is_some()
}

fn of_message<T>(kind: u16, bytes: &[u8], decode: fn(&Message<'_>) -> Option<T>) -> Option<T> {
    let mut message = Request::new(kind, 0);
    message.raw(bytes);
    let message = Messages::new(message.as_bytes()).next()?.ok()?;
    decode(&message)
}

pub(super) fn address(bytes: &[u8]) -> bool {
    same(bytes, ADDRESS, Address::decode)
}

pub(super) fn route(bytes: &[u8]) -> bool {
    same(bytes, ROUTE, Route::decode)
}

pub(super) fn link(bytes: &[u8]) -> bool {
    same(bytes, LINK, Tunnel::decode)
}

/// Takes the bytes for each kind of notice.
pub(super) fn notice(bytes: &[u8]) -> bool {
    let read = NOTICES.map(|kind| same(bytes, kind, Notice::decode));
    read.contains(&true)
}
