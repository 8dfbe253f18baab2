//! What IPVS says.

use std::net::Ipv4Addr;

use weir_agent::kernel::linux::ipvs::{
    Command, Daemon, DestStatus, Family, Info, Proto, ServiceKey, ServiceStatus, Stats, Timeouts,
};
use weir_agent::kernel::linux::netlink::genl::GENL_HEADER_LEN;
use weir_agent::kernel::linux::netlink::wire::HEADER_LEN;
use weir_agent::kernel::linux::netlink::{Attrs, Request};

use super::netlink::{unknown, with_unknown};

const IPVS_CMD_ATTR_SERVICE: u16 = 1;
const IPVS_CMD_ATTR_DEST: u16 = 2;
const IPVS_CMD_ATTR_DAEMON: u16 = 3;

/// Encodes a command and hands on what stands in one of its attributes; nothing, when it became too long to send.
fn again(command: &Command<'_>, kind: u16, check: impl FnOnce(Attrs<'_>)) {
    let request = command.encode(28);
    if !request.oversized() {
        let attr = behind(&request).get(kind);
        check(attr.expect("the attribute of the command").attrs());
    }
}

fn behind(request: &Request) -> Attrs<'_> {
    Attrs::new(&request.as_bytes()[HEADER_LEN + GENL_HEADER_LEN..])
}

pub(super) fn service(bytes: &[u8]) -> bool {
    let read = ServiceStatus::decode(Attrs::new(bytes));
    let mut kept = read.clone();
    if let Ok(status) = &mut kept {
        status.service.other.insert(0, unknown());
    }
    let more = with_unknown(bytes);
    assert_eq!(ServiceStatus::decode(Attrs::new(&more)), kept);
    let Ok(ServiceStatus { service, .. }) = read else {
        return false;
    };
    again(
        &Command::NewService(&service),
        IPVS_CMD_ATTR_SERVICE,
        |attrs| {
            let same = ServiceStatus::decode(attrs).map(|status| status.service);
            assert_eq!(same.as_ref(), Ok(&service));
        },
    );
    true
}

/// The first byte says of which family the service is.
pub(super) fn dest(bytes: &[u8]) -> bool {
    let Some((first, attrs)) = bytes.split_first() else {
        return false;
    };
    let family = if first % 2 == 0 {
        Family::Inet
    } else {
        Family::Inet6
    };
    let read = DestStatus::decode(Attrs::new(attrs), family);
    let mut kept = read.clone();
    if let Ok(status) = &mut kept {
        status.dest.other.insert(0, unknown());
    }
    let more = with_unknown(attrs);
    assert_eq!(DestStatus::decode(Attrs::new(&more), family), kept);
    let Ok(DestStatus { dest, .. }) = read else {
        return false;
    };
    let key = ServiceKey::Address {
        proto: Proto::TCP,
        address: Ipv4Addr::new(192, 0, 2, 1).into(),
        port: 80,
    };
    again(
        &Command::NewDest(&key, &dest),
        IPVS_CMD_ATTR_DEST,
        |attrs| {
            // what is written says its own family
            for family in [Family::Inet, Family::Inet6] {
                let same = DestStatus::decode(attrs, family).map(|status| status.dest);
                assert_eq!(same.as_ref(), Ok(&dest));
            }
        },
    );
    true
}

pub(super) fn daemon(bytes: &[u8]) -> bool {
    let read = Daemon::decode(Attrs::new(bytes));
    let mut kept = read.clone();
    if let Ok(daemon) = &mut kept {
        daemon.other.insert(0, unknown());
    }
    let more = with_unknown(bytes);
    assert_eq!(Daemon::decode(Attrs::new(&more)), kept);
    let Ok(daemon) = read else {
        return false;
    };
    again(
        &Command::NewDaemon(&daemon),
        IPVS_CMD_ATTR_DAEMON,
        |attrs| {
            assert_eq!(Daemon::decode(attrs).as_ref(), Ok(&daemon));
        },
    );
    true
}

/// The timeouts and the version.
pub(super) fn settings(bytes: &[u8]) -> bool {
    let attrs = Attrs::new(bytes);
    let more = with_unknown(bytes);
    let (timeouts, info) = (Timeouts::decode(attrs), Info::decode(attrs));
    assert_eq!(Timeouts::decode(Attrs::new(&more)), timeouts);
    assert_eq!(Info::decode(Attrs::new(&more)), info);
    if let Ok(timeouts) = timeouts {
        let request = Command::SetConfig(timeouts).encode(28);
        assert_eq!(Timeouts::decode(behind(&request)), Ok(timeouts));
    }
    if let Ok(info) = info {
        // only the kernel writes these two: IPVS_INFO_ATTR_VERSION and IPVS_INFO_ATTR_CONN_TAB_SIZE
        let mut request = Request::generic(28, 0, 1, 0);
        request
            .u32(1, info.version)
            .u32(2, info.connection_table_size);
        assert_eq!(Info::decode(behind(&request)), Ok(info));
    }
    // no attribute at all is a good SET_CONFIG too
    attrs.count() > 0 && timeouts.is_ok()
}

pub(super) fn stats(bytes: &[u8]) -> bool {
    let attrs = Attrs::new(bytes);
    let more = with_unknown(bytes);
    let (wide, narrow) = (Stats::decode64(attrs), Stats::decode32(attrs));
    assert_eq!(Stats::decode64(Attrs::new(&more)), wide);
    assert_eq!(Stats::decode32(Attrs::new(&more)), narrow);
    for stats in [wide, narrow].into_iter().flatten() {
        let Stats {
            connections,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
            connection_rate,
            in_packet_rate,
            out_packet_rate,
            in_byte_rate,
            out_byte_rate,
        } = stats;
        // in the order of their attributes
        let numbers = [
            connections,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
            connection_rate,
            in_packet_rate,
            out_packet_rate,
            in_byte_rate,
            out_byte_rate,
        ];
        let mut request = Request::generic(28, 0, 1, 0);
        for (kind, number) in (1..).zip(numbers) {
            request.u64(kind, number);
        }
        assert_eq!(Stats::decode64(behind(&request)), Ok(stats));
    }
    attrs.count() > 0 && (wide.is_ok() || narrow.is_ok())
}
