//! What is encoded decodes to the same, and decoding survives any bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::super::command::{IPVS_CMD_ATTR_DAEMON, IPVS_CMD_ATTR_DEST, IPVS_CMD_ATTR_SERVICE};
use super::*;
use crate::kernel::linux::netlink::{Messages, Request};

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| Ipv4Addr::from(octets).into()),
        any::<[u8; 16]>().prop_map(|octets| Ipv6Addr::from(octets).into()),
    ]
}

fn key() -> impl Strategy<Value = ServiceKey> {
    let family = prop_oneof![Just(Family::Inet), Just(Family::Inet6)];
    prop_oneof![
        (any::<u16>(), ip(), any::<u16>()).prop_map(|(proto, address, port)| ServiceKey::Address {
            proto: Proto(proto),
            address,
            port
        }),
        (family, any::<u32>()).prop_map(|(family, mark)| ServiceKey::Fwmark { family, mark }),
    ]
}

fn others() -> impl Strategy<Value = Vec<Other>> {
    let payload = proptest::collection::vec(any::<u8>(), 0..9);
    let other = (100u16..0x4000, payload).prop_map(|(kind, payload)| Other { kind, payload });
    proptest::collection::vec(other, 0..3)
}

prop_compose! {
    fn services()(
        key in key(), scheduler in "[a-z]{1,15}", bits: u32, mask: u32, timeout: u32, bits32: u32,
        persistence_engine in proptest::option::of("[a-z]{1,15}"), other in others(),
    ) -> Service {
        let netmask = match key.family() {
            Family::Inet => Netmask::Inet(bits32.into()),
            Family::Inet6 => Netmask::Inet6(bits32),
        };
        let flags = Flags { bits, mask };
        Service { key, scheduler, flags, timeout, netmask, persistence_engine, other }
    }
}

prop_compose! {
    fn dests()(
        address in ip(), port: u16, forward in 0u8..9, weight: i32, upper_threshold: u32,
        lower_threshold: u32, kind in 0u8..9, tunnel_port: u16, flags: u16, other in others(),
    ) -> Dest {
        let forward = match forward {
            0 => Forward::Masq,
            1 => Forward::Local,
            2 => Forward::Tunnel,
            3 => Forward::DirectRoute,
            4 => Forward::Bypass,
            number => Forward::Other(number.into()),
        };
        let kind = match kind {
            0 => TunnelKind::Ipip,
            1 => TunnelKind::Gue,
            2 => TunnelKind::Gre,
            number => TunnelKind::Other(number),
        };
        Dest {
            address: SocketAddr::new(address, port), forward, weight, upper_threshold,
            lower_threshold, tunnel: Tunnel { kind, port: tunnel_port, flags }, other,
        }
    }
}

prop_compose! {
    fn daemons()(
        master: bool, interface in "[a-z]{1,15}", sync_id: u32, max_len: u16,
        group in proptest::option::of(ip()), port: u16, ttl: u8, other in others(),
    ) -> Daemon {
        let state = if master { DaemonState::Master } else { DaemonState::Backup };
        Daemon { state, interface, sync_id, max_len, group, port, ttl, other }
    }
}

/// Gives the attributes behind the `nlmsghdr`.
fn behind(request: &Request) -> Attrs<'_> {
    Attrs::new(&request.as_bytes()[16..])
}

fn write_wide(numbers: &[u64], out: &mut Request) {
    for (kind, number) in (1..).zip(numbers) {
        out.u64(kind, *number);
    }
}

/// Writes counters as kernels before 4.1 do: only bytes have 64 bits.
fn write_narrow(numbers: &[u64], out: &mut Request) {
    for (kind, number) in (1..).zip(numbers) {
        match (kind, u32::try_from(*number)) {
            (stats::IPVS_STATS_ATTR_INBYTES | stats::IPVS_STATS_ATTR_OUTBYTES, _) => {
                out.u64(kind, *number);
            }
            (_, Ok(number)) => {
                out.u32(kind, number);
            }
            (_, Err(_)) => panic!("{number} has more than 32 bits"),
        }
    }
}

/// Gives the counters in the order of their attributes.
fn stats(numbers: &[u64]) -> Stats {
    let number = |kind: u16| numbers[usize::from(kind) - 1];
    Stats {
        connections: number(stats::IPVS_STATS_ATTR_CONNS),
        in_packets: number(stats::IPVS_STATS_ATTR_INPKTS),
        out_packets: number(stats::IPVS_STATS_ATTR_OUTPKTS),
        in_bytes: number(stats::IPVS_STATS_ATTR_INBYTES),
        out_bytes: number(stats::IPVS_STATS_ATTR_OUTBYTES),
        connection_rate: number(stats::IPVS_STATS_ATTR_CPS),
        in_packet_rate: number(stats::IPVS_STATS_ATTR_INPPS),
        out_packet_rate: number(stats::IPVS_STATS_ATTR_OUTPPS),
        in_byte_rate: number(stats::IPVS_STATS_ATTR_INBPS),
        out_byte_rate: number(stats::IPVS_STATS_ATTR_OUTBPS),
    }
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(service in services(), dest in dests(), daemon in daemons()) {
        let sent = encoded(&Command::NewService(&service));
        let read = ServiceStatus::decode(nested(&sent, IPVS_CMD_ATTR_SERVICE))?;
        prop_assert_eq!(&read.service, &service);
        let sent = encoded(&Command::NewDest(&service.key, &dest));
        let read = DestStatus::decode(nested(&sent, IPVS_CMD_ATTR_DEST), service.key.family())?;
        prop_assert_eq!(&read.dest, &dest);
        let sent = encoded(&Command::NewDaemon(&daemon));
        prop_assert_eq!(Daemon::decode(nested(&sent, IPVS_CMD_ATTR_DAEMON))?, daemon);
    }

    #[test]
    fn timeouts_decode_to_what_was_encoded(tcp: u32, tcp_fin: u32, udp: u32) {
        let timeouts = Timeouts { tcp, tcp_fin, udp };
        let sent = encoded(&Command::SetConfig(timeouts));
        prop_assert_eq!(Timeouts::decode(Attrs::new(&sent[4..])), Ok(timeouts));
    }

    // the kernel alone writes these
    #[test]
    fn what_only_the_kernel_says_decodes_to_what_it_said(
        version: u32, size: u32, wide: [u64; 10], narrow: [u32; 10], bytes: [u64; 2],
        conns: [u32; 3], service in services(), dest in dests(),
    ) {
        let mut info = Request::new(28, 0);
        info.u32(settings::IPVS_INFO_ATTR_VERSION, version).u32(settings::IPVS_INFO_ATTR_CONN_TAB_SIZE, size);
        prop_assert_eq!(Info::decode(behind(&info)), Ok(Info { version, connection_table_size: size }));

        let narrow64 = narrow.map(u64::from);
        let narrow64 = [&narrow64[..3], &bytes, &narrow64[5..]].concat();
        let mut shown = Request::new(28, 0);
        shown.nest(IPVS_CMD_ATTR_SERVICE, |out| {
            service.write(out);
            out.nest(service::IPVS_SVC_ATTR_STATS, |out| write_narrow(&narrow64, out));
            out.nest(service::IPVS_SVC_ATTR_STATS64, |out| write_wide(&wide, out));
        });
        shown.nest(IPVS_CMD_ATTR_DEST, |out| {
            dest.write(out);
            out.u32(dest::IPVS_DEST_ATTR_ACTIVE_CONNS, conns[0])
                .u32(dest::IPVS_DEST_ATTR_INACT_CONNS, conns[1])
                .u32(dest::IPVS_DEST_ATTR_PERSIST_CONNS, conns[2])
                .nest(dest::IPVS_DEST_ATTR_STATS, |out| write_narrow(&narrow64, out));
        });
        let read = |kind| behind(&shown).get(kind).map(|attr| attr.attrs());
        let attrs = read(IPVS_CMD_ATTR_SERVICE).expect("the service");
        let status = ServiceStatus { service, stats: stats(&wide), stats64: true };
        prop_assert_eq!(ServiceStatus::decode(attrs), Ok(status));
        let attrs = read(IPVS_CMD_ATTR_DEST).expect("the destination");
        let [active, inactive, persistent] = conns;
        let status = DestStatus { dest, active, inactive, persistent, stats: stats(&narrow64) };
        prop_assert_eq!(DestStatus::decode(attrs, Family::Inet), Ok(status));
    }

    #[test]
    fn decoding_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let attrs = Attrs::new(&bytes);
        let _ = (ServiceStatus::decode(attrs), DestStatus::decode(attrs, Family::Inet), Info::decode(attrs));
        let _ = (Daemon::decode(attrs), Timeouts::decode(attrs), Stats::decode64(attrs), Stats::decode32(attrs));
        for message in Messages::new(&bytes).flatten() {
            let _ = ServiceStatus::decode(message.attrs(GENL_HEADER_LEN));
        }
    }

    #[test]
    fn decoding_survives_any_damage_to_what_a_kernel_said(answer in 0usize..13, at: prop::sample::Index, byte: u8) {
        let mut message = captured("ipvsadm -Sn").1.swap_remove(answer);
        let at = at.index(message.len());
        message[at] = byte;
        for attr in Attrs::new(&message[GENL_HEADER_LEN..]) {
            let _ = (ServiceStatus::decode(attr.attrs()), DestStatus::decode(attr.attrs(), Family::Inet6));
        }
    }
}
