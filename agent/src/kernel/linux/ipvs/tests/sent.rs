//! What we send is what `ipvsadm` sends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::command::{IPVS_CMD_ATTR_DAEMON, IPVS_CMD_ATTR_DEST, IPVS_CMD_ATTR_SERVICE};
use super::super::dest::{IPVS_DEST_ATTR_ADDR, IPVS_DEST_ATTR_ADDR_FAMILY};
use super::*;
use crate::kernel::linux::netlink::Attr;

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
    let sctp = Service {
        flags: Flags::exactly(Flags::SCHED1 | Flags::SCHED2),
        ..Service::new(address(Proto::SCTP, "192.0.2.10:9"), "mh")
    };
    let six_by_source = Service {
        flags: Flags::exactly(Flags::PERSISTENT | Flags::SCHED1),
        timeout: 60,
        netmask: Netmask::Inet6(48),
        ..Service::new(address(Proto::TCP, "[2001:db8::11]:80"), "sh")
    };
    let cases = [
        (
            "ipvsadm -A --sctp-service 192.0.2.10:9 -s mh -b mh-fallback,mh-port",
            Command::NewService(&sctp),
        ),
        (
            "ipvsadm -A -t [2001:db8::11]:80 -s sh -p 60 -M 48 -b sh-fallback",
            Command::NewService(&six_by_source),
        ),
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
    let four_of_six = dest("192.0.2.24:443", Forward::Tunnel, 1);
    let six_of_four = dest("[2001:db8::30]:80", Forward::Tunnel, 1);
    let marked = ServiceKey::Fwmark {
        family: Family::Inet,
        mark: 7,
    };
    let of_mark = dest("192.0.2.25:0", Forward::DirectRoute, 1);
    let sctp = address(Proto::SCTP, "192.0.2.10:9");
    let of_sctp = Dest {
        upper_threshold: 65_535,
        lower_threshold: 1,
        ..dest("192.0.2.20:9", Forward::Masq, 1)
    };
    let ipip = dest("192.0.2.26:80", Forward::Tunnel, 65_535);
    let remcsum = Dest {
        tunnel: tunnel(TunnelKind::Gue, 6081, Tunnel::REMCSUM),
        ..dest("192.0.2.27:80", Forward::Tunnel, 1)
    };
    let nocsum = Dest {
        tunnel: tunnel(TunnelKind::Gue, 6082, 0),
        ..dest("192.0.2.28:80", Forward::Tunnel, 1)
    };
    let gre_csum = Dest {
        tunnel: tunnel(TunnelKind::Gre, 0, Tunnel::CSUM),
        ..dest("192.0.2.29:80", Forward::Tunnel, 1)
    };
    let cases = [
        (
            "ipvsadm -a -t [2001:db8::10]:443 -r 192.0.2.24:443 -i",
            Command::NewDest(&six, &four_of_six),
        ),
        (
            "ipvsadm -a -t 192.0.2.10:80 -r [2001:db8::30]:80 -i",
            Command::NewDest(&web, &six_of_four),
        ),
        (
            "ipvsadm -a -f 7 -r 192.0.2.25:0 -g",
            Command::NewDest(&marked, &of_mark),
        ),
        (
            "ipvsadm -a --sctp-service 192.0.2.10:9 -r 192.0.2.20:9 -m -x 65535 -y 1",
            Command::NewDest(&sctp, &of_sctp),
        ),
        (
            "ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.26:80 -i --tun-type ipip -w 65535",
            Command::NewDest(&web, &ipip),
        ),
        (
            "ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.27:80 -i --tun-type gue --tun-port 6081 --tun-remcsum",
            Command::NewDest(&web, &remcsum),
        ),
        (
            "ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.28:80 -i --tun-type gue --tun-port 6082 --tun-nocsum",
            Command::NewDest(&web, &nocsum),
        ),
        (
            "ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.29:80 -i --tun-type gre --tun-csum",
            Command::NewDest(&web, &gre_csum),
        ),
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
            let attrs = nested(message, kind);
            let four = attrs
                .get(IPVS_DEST_ATTR_ADDR_FAMILY)
                .map(|attr| attr.payload)
                == Some(&[2, 0]);
            let whole = |attr: Attr<'_>| match attr.kind {
                // behind an IPv4 address ipvsadm leaves what the union held before
                IPVS_DEST_ATTR_ADDR if four => (attr.kind, attr.payload[..4].to_vec()),
                kind => (kind, attr.payload.to_vec()),
            };
            attrs.map(whole).collect::<Vec<_>>()
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
    let backup6 = Daemon {
        sync_id: 7,
        max_len: 1300,
        group: Some("ff02::82".parse().expect("a group")),
        port: 8851,
        ttl: 4,
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
    // the same attributes in another order
    let line = "ipvsadm --start-daemon backup --mcast-interface eth9 --syncid 7 --sync-maxlen 1300 \
                --mcast-group ff02::82 --mcast-port 8851 --mcast-ttl 4";
    let sorted = |message: &[u8]| {
        let attrs = nested(message, IPVS_CMD_ATTR_DAEMON);
        let mut pairs: Vec<_> = attrs
            .map(|attr| (attr.kind, attr.payload.to_vec()))
            .collect();
        pairs.sort();
        pairs
    };
    let ours = encoded(&Command::NewDaemon(&backup6));
    assert_eq!(sorted(&ours), sorted(&captured(line).0[0]), "{line}");
    // these repeat in ipvsadm what the kernel does not read
    let mark = ServiceKey::Fwmark {
        family: Family::Inet6,
        mark: 8,
    };
    let shorter = [
        ("ipvsadm -Z -t 192.0.2.10:80", Command::Zero(Some(&web)), 52),
        ("ipvsadm -D -t 192.0.2.10:80", Command::DelService(&web), 52),
        ("ipvsadm -D -f 8 -6", Command::DelService(&mark), 24),
        (
            "ipvsadm -Ln -t 192.0.2.10:80",
            Command::GetService(&web),
            52,
        ),
        (
            "ipvsadm --stop-daemon master",
            Command::DelDaemon(DaemonState::Master),
            16,
        ),
        (
            "ipvsadm --stop-daemon backup",
            Command::DelDaemon(DaemonState::Backup),
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
    // to delete a destination the kernel reads both keys and nothing else
    let address = SocketAddr::from(([192, 0, 2, 20], 8080));
    let line = "ipvsadm -d -t 192.0.2.10:80 -r 192.0.2.20:8080";
    let (ours, theirs) = (
        encoded(&Command::DelDest(&web, address)),
        captured(line).0.remove(0),
    );
    assert_eq!(ours[0], theirs[0], "the command of {line}");
    for kind in [IPVS_CMD_ATTR_SERVICE, IPVS_CMD_ATTR_DEST] {
        let (key, all) = (nested(&ours, kind), nested(&theirs, kind));
        let first = all.take(key.count());
        assert!(key.eq(first), "{line}: attribute {kind}");
    }
}
