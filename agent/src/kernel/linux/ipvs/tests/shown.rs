//! What the kernel answers is read whole.

use std::net::{IpAddr, Ipv4Addr};

use super::super::command::{IPVS_CMD_ATTR_DAEMON, IPVS_CMD_ATTR_DEST, IPVS_CMD_ATTR_SERVICE};
use super::*;
use crate::kernel::linux::netlink::Request;

#[test]
fn services_are_read_as_the_kernel_shows_them() {
    let (_, answers) = captured("ipvsadm -Sn");
    let services: Vec<ServiceStatus> = answers
        .iter()
        .filter(|message| message[0] == 1)
        .map(|message| ServiceStatus::decode(nested(message, IPVS_CMD_ATTR_SERVICE)))
        .collect::<Result<_, _>>()
        .expect("every captured service");
    let hashed = |bits| Flags::exactly(bits | Flags::HASHED);
    let web = Service {
        flags: hashed(0),
        ..Service::new(address(Proto::TCP, "192.0.2.10:80"), "lc")
    };
    let expected = [
        Service {
            flags: hashed(Flags::PERSISTENT | Flags::SCHED2),
            timeout: 360,
            netmask: Netmask::Inet(Ipv4Addr::new(255, 255, 255, 0)),
            persistence_engine: Some("sip".to_owned()),
            ..Service::new(address(Proto::UDP, "192.0.2.10:5060"), "sh")
        },
        web.clone(),
        Service {
            flags: hashed(Flags::ONEPACKET),
            ..Service::new(address(Proto::UDP, "192.0.2.10:53"), "rr")
        },
        Service {
            flags: hashed(Flags::PERSISTENT),
            timeout: 300,
            netmask: Netmask::Inet6(64),
            ..Service::new(address(Proto::TCP, "[2001:db8::10]:443"), "wlc")
        },
        Service {
            flags: hashed(0),
            ..Service::new(
                ServiceKey::Fwmark {
                    family: Family::Inet,
                    mark: 7,
                },
                "lc",
            )
        },
        Service {
            flags: hashed(0),
            ..Service::new(
                ServiceKey::Fwmark {
                    family: Family::Inet6,
                    mark: 8,
                },
                "lc",
            )
        },
    ];
    assert_eq!(
        services
            .iter()
            .map(|status| status.service.clone())
            .collect::<Vec<_>>(),
        expected
    );
    let web = services
        .iter()
        .find(|status| status.service == web)
        .expect("the service with traffic");
    assert_eq!(
        (
            web.stats.connections,
            web.stats.out_packets,
            web.stats.out_bytes
        ),
        (1, 0, 0)
    );
    // a TCP SYN with its usual options is 60 bytes, sent once more after a second
    assert_eq!(web.stats.in_bytes, 60 * web.stats.in_packets);
    assert!((1..=3).contains(&web.stats.in_packets), "{:?}", web.stats);
}

#[test]
fn destinations_are_read_as_the_kernel_shows_them() {
    let (_, answers) = captured("ipvsadm -Sn");
    let all: Vec<DestStatus> = answers
        .iter()
        .filter(|message| message[0] == 5)
        .map(|message| DestStatus::decode(nested(message, IPVS_CMD_ATTR_DEST), Family::Inet6))
        .collect::<Result<_, _>>()
        .expect("every captured destination");
    let tunnel = |kind, port, flags| Tunnel { kind, port, flags };
    let expected = [
        Dest {
            tunnel: tunnel(TunnelKind::Gre, 0, 0),
            ..dest("192.0.2.23:80", Forward::Tunnel, 1)
        },
        Dest {
            tunnel: tunnel(TunnelKind::Gue, 6080, Tunnel::CSUM),
            ..dest("192.0.2.22:80", Forward::Tunnel, 1)
        },
        dest("192.0.2.21:80", Forward::DirectRoute, 1),
        dest("192.0.2.20:8080", Forward::Masq, 5),
        dest("192.0.2.24:443", Forward::Tunnel, 1),
        dest("[2001:db8::20]:443", Forward::Masq, 0),
        dest("192.0.2.25:0", Forward::DirectRoute, 1),
    ];
    assert_eq!(
        all.iter()
            .map(|status| status.dest.clone())
            .collect::<Vec<_>>(),
        expected
    );
    let connections = |status: &DestStatus| (status.active, status.inactive, status.persistent);
    let counts: Vec<_> = all.iter().map(connections).collect();
    assert_eq!(
        counts,
        [
            (1, 0, 0),
            (0, 0, 0),
            (0, 0, 0),
            (0, 0, 0),
            (0, 0, 0),
            (0, 0, 0),
            (0, 0, 0)
        ]
    );
    assert_eq!(all[0].stats.connections, 1);
}

#[test]
fn every_counter_is_read_from_its_own_place_in_both_widths() {
    let (_, answers) = captured("ipvsadm -Ln --stats --exact -t 192.0.2.12:80");
    // as ipvsadm printed them
    let expected = Stats {
        connections: 87,
        in_packets: 433,
        out_packets: 261,
        in_bytes: 66_712,
        out_bytes: 144_768,
        connection_rate: 9,
        in_packet_rate: 46,
        out_packet_rate: 27,
        in_byte_rate: 7031,
        out_byte_rate: 15_249,
    };
    let service = nested(&answers[0], IPVS_CMD_ATTR_SERVICE);
    let dest = nested(&answers[1], IPVS_CMD_ATTR_DEST);
    let inside = |attrs: Attrs<'_>, kind| attrs.get(kind).map(|attr| attr.payload.to_vec());
    let wide = [
        inside(service, service::IPVS_SVC_ATTR_STATS64),
        inside(dest, dest::IPVS_DEST_ATTR_STATS64),
    ];
    let narrow = [
        inside(service, service::IPVS_SVC_ATTR_STATS),
        inside(dest, dest::IPVS_DEST_ATTR_STATS),
    ];
    for (wide, narrow) in wide.into_iter().zip(narrow) {
        let (wide, narrow) = (wide.expect("STATS64"), narrow.expect("STATS"));
        assert_eq!(Stats::decode64(Attrs::new(&wide)), Ok(expected));
        assert_eq!(Stats::decode32(Attrs::new(&narrow)), Ok(expected));
    }
    let read = ServiceStatus::decode(service).expect("the service");
    assert_eq!(read.stats, expected);
    let read = DestStatus::decode(dest, Family::Inet).expect("the destination");
    assert_eq!(
        (read.active, read.inactive, read.persistent, read.stats),
        (2, 93, 1, expected)
    );
}

#[test]
fn counters_beyond_32_bits_are_read_whole() {
    let mut message = Request::new(28, 0);
    for kind in 1..=10 {
        message.u64(kind, u64::from(kind) << 40);
    }
    let read = Stats::decode64(Attrs::new(&message.as_bytes()[16..])).expect("the counters");
    assert_eq!((read.connections, read.out_byte_rate), (1 << 40, 10 << 40));
}

#[test]
fn tunnels_thresholds_and_schedulers_are_shown_as_they_were_set() {
    let shown = |line| {
        let (_, answers) = captured(line);
        let (services, dests): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|message| message[0] == 1);
        let service = ServiceStatus::decode(nested(&services[0], IPVS_CMD_ATTR_SERVICE));
        let dests = dests.iter().map(|message| {
            let attrs = nested(message, IPVS_CMD_ATTR_DEST);
            DestStatus::decode(attrs, Family::Inet).expect(line).dest
        });
        (service.expect(line).service, dests.collect::<Vec<_>>())
    };
    let sctp = Service {
        flags: Flags::exactly(Flags::SCHED1 | Flags::SCHED2 | Flags::HASHED),
        ..Service::new(address(Proto::SCTP, "192.0.2.10:9"), "mh")
    };
    let of_sctp = Dest {
        upper_threshold: 65_535,
        lower_threshold: 1,
        ..dest("192.0.2.20:9", Forward::Masq, 1)
    };
    assert_eq!(
        shown("ipvsadm -Ln --sctp-service 192.0.2.10:9"),
        (sctp, vec![of_sctp])
    );
    let six = Service {
        flags: Flags::exactly(Flags::PERSISTENT | Flags::SCHED1 | Flags::HASHED),
        timeout: 60,
        netmask: Netmask::Inet6(48),
        ..Service::new(address(Proto::TCP, "[2001:db8::11]:80"), "sh")
    };
    assert_eq!(shown("ipvsadm -Ln -t [2001:db8::11]:80"), (six, vec![]));
    let tunnelled = |at, kind, port, flags| Dest {
        tunnel: Tunnel { kind, port, flags },
        ..dest(at, Forward::Tunnel, 1)
    };
    let expected = [
        dest("[2001:db8::30]:80", Forward::Tunnel, 1),
        tunnelled("192.0.2.29:80", TunnelKind::Gre, 0, Tunnel::CSUM),
        tunnelled("192.0.2.28:80", TunnelKind::Gue, 6082, 0),
        tunnelled("192.0.2.27:80", TunnelKind::Gue, 6081, Tunnel::REMCSUM),
        dest("192.0.2.26:80", Forward::Tunnel, 65_535),
    ];
    assert_eq!(shown("ipvsadm -Ln -t 192.0.2.10:80").1, expected);
}

#[test]
fn a_daemon_of_an_ipv6_group_is_read() {
    let (_, answers) = captured("ipvsadm -L --daemon # again");
    let daemon = Daemon::decode(nested(&answers[0], IPVS_CMD_ATTR_DAEMON));
    let backup = Daemon {
        state: DaemonState::Backup,
        interface: "eth9".to_owned(),
        sync_id: 7,
        max_len: 1300,
        group: Some("ff02::82".parse().expect("a group")),
        port: 8851,
        ttl: 4,
        other: Vec::new(),
    };
    assert_eq!(daemon, Ok(backup));
}

#[test]
fn the_thresholds_that_ipvsadm_sends_are_read_back() {
    let (sent, _) =
        captured("ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.20:8080 -m -w 3 -x 1000 -y 500");
    let read = DestStatus::decode(nested(&sent[0], IPVS_CMD_ATTR_DEST), Family::Inet);
    let read = read.expect("the destination").dest;
    assert_eq!((read.upper_threshold, read.lower_threshold), (1000, 500));
}

#[test]
fn settings_are_read_as_the_kernel_shows_them() {
    let timeouts = Timeouts::decode(Attrs::new(&captured("ipvsadm -L --timeout").1[0][4..]));
    assert_eq!(
        timeouts,
        Ok(Timeouts {
            tcp: 900,
            tcp_fin: 120,
            udp: 300
        })
    );
    let info = Info::decode(Attrs::new(&captured("ipvsadm -Sn").1[0][4..]));
    assert_eq!(
        info,
        Ok(Info {
            version: 0x0001_0201,
            connection_table_size: 4096
        })
    );
    let daemons: Result<Vec<_>, _> = captured("ipvsadm -L --daemon")
        .1
        .iter()
        .map(|message| Daemon::decode(nested(message, IPVS_CMD_ATTR_DAEMON)))
        .collect();
    let master = Daemon {
        state: DaemonState::Master,
        interface: "eth9".to_owned(),
        sync_id: 5,
        max_len: 1400,
        group: Some(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 82))),
        port: 8850,
        ttl: 3,
        other: Vec::new(),
    };
    let backup = Daemon {
        state: DaemonState::Backup,
        max_len: 1472,
        group: Some(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81))),
        port: 8848,
        ttl: 1,
        ..master.clone()
    };
    assert_eq!(daemons, Ok(vec![master, backup]));
}

#[test]
fn a_service_without_its_address_is_refused_by_name() {
    let mut message = Request::new(28, 0);
    message
        .u16(service::IPVS_SVC_ATTR_AF, 2)
        .u16(service::IPVS_SVC_ATTR_PROTOCOL, 6);
    let refused = ServiceStatus::decode(Attrs::new(&message.as_bytes()[16..]));
    assert_eq!(refused, Err(DecodeError::Missing("ADDR")));
}
