//! Which of the two counters that a kernel shows are taken.

use super::super::command::{IPVS_CMD_ATTR_DEST, IPVS_CMD_ATTR_SERVICE};
use super::*;
use crate::kernel::linux::ipvs::dest::IPVS_DEST_ATTR_STATS64;
use crate::kernel::linux::ipvs::service::IPVS_SVC_ATTR_STATS64;
use crate::kernel::linux::ipvs::stats::{IPVS_STATS_ATTR_CONNS, IPVS_STATS_ATTR_OUTBPS};
use crate::kernel::linux::netlink::Request;

/// More than 32 bits hold.
const MANY: u64 = 1 << 40;

/// Gives what a kernel says, as one says it that counts in 32 bits.
fn without(attrs: Attrs<'_>, stats64: u16) -> Request {
    let mut old = Request::new(16, 0);
    for attr in attrs.filter(|attr| attr.kind != stats64) {
        old.bytes(attr.kind, attr.payload);
    }
    old
}

/// Gives what a kernel says, with every counter of 64 bits beyond 32.
fn beyond(attrs: Attrs<'_>, stats64: u16) -> Request {
    let mut new = Request::new(16, 0);
    for attr in attrs {
        if attr.kind == stats64 {
            new.nest(stats64, |new| {
                for kind in IPVS_STATS_ATTR_CONNS..=IPVS_STATS_ATTR_OUTBPS {
                    new.u64(kind, MANY + u64::from(kind));
                }
            });
        } else {
            new.bytes(attr.kind, attr.payload);
        }
    }
    new
}

fn many() -> Stats {
    Stats {
        connections: MANY + 1,
        in_packets: MANY + 2,
        out_packets: MANY + 3,
        in_bytes: MANY + 4,
        out_bytes: MANY + 5,
        connection_rate: MANY + 6,
        in_packet_rate: MANY + 7,
        out_packet_rate: MANY + 8,
        in_byte_rate: MANY + 9,
        out_byte_rate: MANY + 10,
    }
}

fn attrs(request: &Request) -> Attrs<'_> {
    Attrs::new(&request.as_bytes()[16..])
}

#[test]
fn the_counters_of_a_service_are_those_of_64_bits_where_there_are_any() {
    let (_, answers) = captured("ipvsadm -Sn");
    for message in answers.iter().filter(|message| message[0] == 1) {
        let said = nested(message, IPVS_CMD_ATTR_SERVICE);
        let both = ServiceStatus::decode(said).expect("a captured service");
        assert!(both.stats64, "captured from Linux 6.1");
        let old = without(said, IPVS_SVC_ATTR_STATS64);
        let new = beyond(said, IPVS_SVC_ATTR_STATS64);
        let of = |stats, stats64| ServiceStatus {
            stats,
            stats64,
            ..both.clone()
        };
        assert_eq!(
            ServiceStatus::decode(attrs(&old)),
            Ok(of(both.stats, false))
        );
        assert_eq!(ServiceStatus::decode(attrs(&new)), Ok(of(many(), true)));
    }
}

#[test]
fn the_counters_of_a_destination_are_those_of_64_bits_where_there_are_any() {
    let (_, answers) = captured("ipvsadm -Sn");
    for message in answers.iter().filter(|message| message[0] == 5) {
        let said = nested(message, IPVS_CMD_ATTR_DEST);
        let decode = |attrs| DestStatus::decode(attrs, Family::Inet6);
        let both = decode(said).expect("a captured destination");
        let old = without(said, IPVS_DEST_ATTR_STATS64);
        let new = beyond(said, IPVS_DEST_ATTR_STATS64);
        let of = |stats| DestStatus {
            stats,
            ..both.clone()
        };
        assert_eq!(decode(attrs(&old)), Ok(of(both.stats)));
        assert_eq!(decode(attrs(&new)), Ok(of(many())));
    }
}
