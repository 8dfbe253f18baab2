//! The codec against bytes that `ipvsadm` and a kernel exchanged, and against itself.

mod counters;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::command::{IPVS_CMD_ATTR_DAEMON, IPVS_CMD_ATTR_DEST, IPVS_CMD_ATTR_SERVICE};
use super::*;
use crate::kernel::linux::netlink::{Attrs, Messages, Request, genl::GENL_HEADER_LEN};

const CAPTURED: &str = include_str!("captured.txt");

/// Gives what a captured command sent and what it was answered, each behind its `genlmsghdr`.
fn captured(command: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut sent, mut answered) = (Vec::new(), Vec::new());
    let block = CAPTURED
        .split("\n$ ")
        .find_map(|block| block.strip_prefix(command)?.strip_prefix('\n'));
    for line in block.expect(command).lines() {
        let bytes = |hex: &str| {
            let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
            digits
                .map(|two| u8::from_str_radix(two, 16).expect(command))
                .collect::<Vec<u8>>()
        };
        match line.split_once(' ') {
            Some((">", hex)) => sent.push(bytes(hex)),
            Some(("<", hex)) => answered.push(bytes(hex)),
            _ => panic!("a line of {command} that says nothing"),
        }
    }
    (sent, answered)
}

fn nested(message: &[u8], kind: u16) -> Attrs<'_> {
    Attrs::new(&message[GENL_HEADER_LEN..])
        .get(kind)
        .expect("the attribute of the command")
        .attrs()
}

fn address(proto: Proto, at: &str) -> ServiceKey {
    let at: SocketAddr = at.parse().expect(at);
    ServiceKey::Address {
        proto,
        address: at.ip(),
        port: at.port(),
    }
}

fn dest(at: &str, forward: Forward, weight: i32) -> Dest {
    Dest::new(at.parse().expect(at), forward, weight)
}

/// Gives the bytes of a command behind its `nlmsghdr`.
fn encoded(command: &Command<'_>) -> Vec<u8> {
    command.encode(28).as_bytes()[16..].to_vec()
}

#[test]
fn services_are_added_and_edited_as_ipvsadm_does() {
    let web = Service::new(address(Proto::TCP, "192.0.2.10:80"), "wrr");
    let sip = Service {
        flags: Flags::exactly(Flags::PERSISTENT | Flags::SCHED2),
        timeout: 360,
        netmask: Netmask::Inet(Ipv4Addr::new(255, 255, 255, 0)),
        persistence_engine: Some("sip".to_owned()),
        ..Service::new(address(Proto::UDP, "192.0.2.10:5060"), "sh")
    };
    let dns = Service {
        flags: Flags::exactly(Flags::ONEPACKET),
        ..Service::new(address(Proto::UDP, "192.0.2.10:53"), "rr")
    };
    let six = Service {
        flags: Flags::exactly(Flags::PERSISTENT),
        timeout: 300,
        netmask: Netmask::Inet6(64),
        ..Service::new(address(Proto::TCP, "[2001:db8::10]:443"), "wlc")
    };
    let marked = Service::new(
        ServiceKey::Fwmark {
            family: Family::Inet,
            mark: 7,
        },
        "lc",
    );
    let marked6 = Service::new(
        ServiceKey::Fwmark {
            family: Family::Inet6,
            mark: 8,
        },
        "lc",
    );
    let edited = Service {
        scheduler: "lc".to_owned(),
        ..web.clone()
    };
    let cases = [
        (
            "ipvsadm -A -t 192.0.2.10:80 -s wrr",
            Command::NewService(&web),
        ),
        (
            "ipvsadm -A -u 192.0.2.10:5060 -s sh -p 360 -M 255.255.255.0 --pe sip -b sh-port",
            Command::NewService(&sip),
        ),
        (
            "ipvsadm -A -u 192.0.2.10:53 -s rr -o",
            Command::NewService(&dns),
        ),
        (
            "ipvsadm -A -t [2001:db8::10]:443 -s wlc -p 300 -M 64",
            Command::NewService(&six),
        ),
        ("ipvsadm -A -f 7 -s lc", Command::NewService(&marked)),
        ("ipvsadm -A -f 8 -6 -s lc", Command::NewService(&marked6)),
        (
            "ipvsadm -E -t 192.0.2.10:80 -s lc",
            Command::SetService(&edited),
        ),
    ];
    for (line, command) in cases {
        assert_eq!(encoded(&command), captured(line).0[0], "{line}");
    }
}

#[test]
fn destinations_are_added_and_edited_as_ipvsadm_does() {
    let web = address(Proto::TCP, "192.0.2.10:80");
    let six = address(Proto::TCP, "[2001:db8::10]:443");
    let tunnel = |kind, port, flags| Tunnel { kind, port, flags };
    let masq = Dest {
        upper_threshold: 1000,
        lower_threshold: 500,
        ..dest("192.0.2.20:8080", Forward::Masq, 3)
    };
    let heavier = dest("192.0.2.20:8080", Forward::Masq, 5);
    let direct = dest("192.0.2.21:80", Forward::DirectRoute, 1);
    let gue = Dest {
        tunnel: tunnel(TunnelKind::Gue, 6080, Tunnel::CSUM),
        ..dest("192.0.2.22:80", Forward::Tunnel, 1)
    };
    let gre = Dest {
        tunnel: tunnel(TunnelKind::Gre, 0, 0),
        ..dest("192.0.2.23:80", Forward::Tunnel, 1)
    };
    let masq6 = dest("[2001:db8::20]:443", Forward::Masq, 0);
    let cases = [
        (
            "ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.20:8080 -m -w 3 -x 1000 -y 500",
            Command::NewDest(&web, &masq),
        ),
        (
            "ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.21:80 -g",
            Command::NewDest(&web, &direct),
        ),
        (
            "ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.22:80 -i --tun-type gue --tun-port 6080 --tun-csum",
            Command::NewDest(&web, &gue),
        ),
        (
            "ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.23:80 -i --tun-type gre",
            Command::NewDest(&web, &gre),
        ),
        (
            "ipvsadm -a -t [2001:db8::10]:443 -r [2001:db8::20]:443 -m -w 0",
            Command::NewDest(&six, &masq6),
        ),
        (
            "ipvsadm -e -t 192.0.2.10:80 -r 192.0.2.20:8080 -m -w 5",
            Command::SetDest(&web, &heavier),
        ),
    ];
    for (line, command) in cases {
        let (ours, theirs) = (encoded(&command), captured(line).0.remove(0));
        assert_eq!(ours[0], theirs[0], "the command of {line}");
        // ipvsadm repeats all it knows of the service; the kernel reads no more than its key
        let pairs = |message: &[u8], kind| {
            nested(message, kind)
                .map(|attr| (attr.kind, attr.payload.to_vec()))
                .collect::<Vec<_>>()
        };
        let key = pairs(&ours, IPVS_CMD_ATTR_SERVICE);
        assert!(
            pairs(&theirs, IPVS_CMD_ATTR_SERVICE).starts_with(&key),
            "the key of {line}"
        );
        assert_eq!(
            pairs(&ours, IPVS_CMD_ATTR_DEST),
            pairs(&theirs, IPVS_CMD_ATTR_DEST),
            "the destination of {line}"
        );
    }
}

#[test]
fn the_rest_is_asked_for_as_ipvsadm_does() {
    let web = address(Proto::TCP, "192.0.2.10:80");
    let timeouts = Timeouts {
        tcp: 900,
        tcp_fin: 120,
        udp: 300,
    };
    let backup = Daemon {
        state: DaemonState::Backup,
        interface: "eth9".to_owned(),
        sync_id: 5,
        max_len: 0,
        group: None,
        port: 0,
        ttl: 0,
        other: Vec::new(),
    };
    let master = Daemon {
        state: DaemonState::Master,
        max_len: 1400,
        group: Some(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 82))),
        port: 8850,
        ttl: 3,
        ..backup.clone()
    };
    let cases = [
        ("ipvsadm --set 900 120 300", Command::SetConfig(timeouts)),
        ("ipvsadm -L --timeout", Command::GetConfig),
        ("ipvsadm -Z", Command::Zero(None)),
        ("ipvsadm -C", Command::Flush),
        ("ipvsadm -L --daemon", Command::Daemons),
        ("ipvsadm -Sn", Command::Services),
        (
            "ipvsadm --start-daemon master --mcast-interface eth9 --syncid 5 --sync-maxlen 1400 \
             --mcast-group 224.0.0.82 --mcast-port 8850 --mcast-ttl 3",
            Command::NewDaemon(&master),
        ),
        (
            "ipvsadm --start-daemon backup --mcast-interface eth9 --syncid 5",
            Command::NewDaemon(&backup),
        ),
    ];
    for (line, command) in cases {
        assert_eq!(encoded(&command), captured(line).0[0], "{line}");
    }
    // these repeat in ipvsadm what the kernel does not read
    let shorter = [
        ("ipvsadm -Z -t 192.0.2.10:80", Command::Zero(Some(&web)), 52),
        (
            "ipvsadm --stop-daemon master",
            Command::DelDaemon(DaemonState::Master),
            16,
        ),
    ];
    for (line, command, len) in shorter {
        let (ours, theirs) = (encoded(&command), captured(line).0.remove(0));
        assert_eq!((ours.len(), ours[0]), (len, theirs[0]), "{line}");
        assert_eq!(ours[8..], theirs[8..len], "{line}");
    }
    assert!(
        captured("ipvsadm -Sn")
            .0
            .contains(&encoded(&Command::Dests(&web)))
    );
    assert_eq!(encoded(&Command::GetInfo), [15, 1, 0, 0]);
    assert_eq!(
        encoded(&Command::DelService(&web))[..8],
        [3, 1, 0, 0, 48, 0, 1, 0x80]
    );
    assert_eq!(
        encoded(&Command::GetService(&web))[..8],
        [4, 1, 0, 0, 48, 0, 1, 0x80]
    );
    let address = SocketAddr::from(([192, 0, 2, 20], 8080));
    assert_eq!(
        encoded(&Command::DelDest(&web, address))[52..56],
        [40, 0, 2, 0x80]
    );
}

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
