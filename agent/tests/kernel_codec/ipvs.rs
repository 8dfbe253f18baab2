//! IPVS.

use std::{net::SocketAddr, time::Duration};

use futures::FutureExt;
use nix::errno::Errno;
use weir_agent::kernel::linux::{
    ipvs::{
        Command, Daemon, DaemonState, Dest, Family, Flags, Forward, Ipvs, Netmask, Proto, Service,
        ServiceKey, Timeouts, Tunnel, TunnelKind,
    },
    netlink::{NetlinkSocket, NlError, Protocol, Request, genl},
};

use crate::{
    errnos,
    netns::{in_new_netns, sh},
};

pub(crate) async fn ipvs() -> Ipvs {
    Ipvs::open()
        .await
        .expect("the kernel has no IPVS: load the module ip_vs")
}

fn service(at: &str) -> Service {
    let at: SocketAddr = at.parse().unwrap();
    let key = ServiceKey::Address {
        proto: Proto::TCP,
        address: at.ip(),
        port: at.port(),
    };
    Service::new(key, "rr")
}

fn dest(at: &str, forward: Forward, weight: i32) -> Dest {
    Dest::new(at.parse().unwrap(), forward, weight)
}

fn hashed(service: &Service) -> Service {
    let flags = Flags::exactly(service.flags.bits | Flags::HASHED);
    Service {
        flags,
        ..service.clone()
    }
}

#[test]
fn services_and_destinations_of_every_kind_are_kept_as_they_were_set() {
    in_new_netns(|| async {
        let mut ipvs = ipvs().await;
        let fwmark = |family| ServiceKey::Fwmark { family, mark: 7 };
        let mut services = vec![
            service("192.0.2.10:80"),
            Service {
                flags: Flags::exactly(Flags::PERSISTENT | Flags::SCHED1 | Flags::SCHED2),
                timeout: 360,
                netmask: Netmask::Inet("255.255.255.0".parse().unwrap()),
                ..Service::new(service("192.0.2.10:81").key, "sh")
            },
            Service {
                flags: Flags::exactly(Flags::PERSISTENT),
                timeout: 60,
                netmask: Netmask::Inet6(64),
                ..Service::new(service("[2001:db8::10]:443").key, "wlc")
            },
            Service::new(fwmark(Family::Inet), "wrr"),
            Service::new(fwmark(Family::Inet6), "lc"),
        ];
        for proto in [Proto::UDP, Proto::SCTP] {
            let address = "192.0.2.10".parse().unwrap();
            let flags = if proto == Proto::UDP {
                Flags::ONEPACKET
            } else {
                0
            };
            services.push(Service {
                flags: Flags::exactly(flags),
                ..Service::new(
                    ServiceKey::Address {
                        proto,
                        address,
                        port: 53,
                    },
                    "rr",
                )
            });
        }
        let web = services[0].key;
        let six = services[2].key;
        let tunnel = |kind, port, flags| Tunnel { kind, port, flags };
        let of_web = [
            Dest {
                upper_threshold: 1000,
                lower_threshold: 500,
                ..dest("192.0.2.20:8080", Forward::Masq, 3)
            },
            dest("192.0.2.21:80", Forward::DirectRoute, 0),
            dest("192.0.2.22:80", Forward::Tunnel, 1),
            Dest {
                tunnel: tunnel(TunnelKind::Gue, 6080, Tunnel::CSUM),
                ..dest("192.0.2.23:80", Forward::Tunnel, 1)
            },
            Dest {
                tunnel: tunnel(TunnelKind::Gre, 0, 0),
                ..dest("192.0.2.24:80", Forward::Tunnel, 65_535)
            },
        ];
        let of_six = [
            dest("[2001:db8::20]:443", Forward::Masq, 1),
            dest("192.0.2.25:443", Forward::Tunnel, 1),
        ];
        let mut commands: Vec<_> = services.iter().map(Command::NewService).collect();
        commands.extend(of_web.iter().map(|dest| Command::NewDest(&web, dest)));
        commands.extend(of_six.iter().map(|dest| Command::NewDest(&six, dest)));
        assert_eq!(
            errnos(&ipvs.batch(&commands).await),
            vec![None; commands.len()]
        );
        let counts = ipvs.counts();
        assert_eq!(
            (counts.sends, counts.messages),
            (2, 1 + commands.len() as u64)
        );

        let mut read: Vec<_> = ipvs
            .services()
            .await
            .unwrap()
            .into_iter()
            .map(|status| status.service)
            .collect();
        read.sort_by_key(|service| service.key);
        let mut expected: Vec<_> = services.iter().map(hashed).collect();
        expected.sort_by_key(|service| service.key);
        assert_eq!(read, expected);
        for (key, dests) in [(web, &of_web[..]), (six, &of_six[..])] {
            let mut read: Vec<_> = ipvs
                .dests(&key)
                .await
                .unwrap()
                .into_iter()
                .map(|status| status.dest)
                .collect();
            read.sort_by_key(|dest| dest.address);
            let mut expected = dests.to_vec();
            expected.sort_by_key(|dest| dest.address);
            assert_eq!(read, expected);
        }
        // ipvsadm sees the same
        let shown = sh("ipvsadm -Sn");
        assert!(
            shown.contains("-a -t 192.0.2.10:80 -r 192.0.2.20:8080 -m -w 3\n"),
            "{shown}"
        );
        assert!(
            shown.contains("-i -w 1 --tun-type gue --tun-port 6080 --tun-csum"),
            "{shown}"
        );
        assert_eq!(errnos(&ipvs.batch(&[Command::Flush]).await), [None]);
        assert_eq!(ipvs.services().await.unwrap(), []);
    });
}

#[test]
fn a_refused_command_does_not_stop_those_behind_it_and_each_has_its_own_errno() {
    in_new_netns(|| async {
        let mut ipvs = ipvs().await;
        let (web, absent) = (service("192.0.2.10:80"), service("192.0.2.11:80"));
        let unknown = Service {
            scheduler: "nosuch".to_owned(),
            ..absent.clone()
        };
        let one = dest("192.0.2.20:80", Forward::Masq, 1);
        let negative = dest("192.0.2.21:80", Forward::Masq, -1);
        let verdicts = ipvs
            .batch(&[
                Command::NewService(&web),
                Command::NewService(&web),
                Command::NewService(&unknown),
                Command::SetService(&absent),
                Command::DelService(&absent.key),
                Command::NewDest(&absent.key, &one),
                Command::SetDest(&web.key, &one),
                Command::DelDest(&web.key, one.address),
                Command::NewDest(&web.key, &negative),
                Command::NewDest(&web.key, &one),
                Command::NewDest(&web.key, &one),
                Command::GetService(&web.key),
            ])
            .await;
        let expected = [
            None,
            Some(Errno::EEXIST),
            Some(Errno::ENOENT),
            Some(Errno::ESRCH),
            Some(Errno::ESRCH),
            Some(Errno::ESRCH),
            Some(Errno::ENOENT),
            Some(Errno::ENOENT),
            Some(Errno::ERANGE),
            None,
            Some(Errno::EEXIST),
            None,
        ];
        assert_eq!(errnos(&verdicts), expected);
        assert_eq!(ipvs.dests(&absent.key).await.unwrap(), []);
        assert_eq!(ipvs.service(&absent.key).await.unwrap(), None);
        let found = ipvs.service(&web.key).await.unwrap().expect("the service");
        assert_eq!(found.service, hashed(&web));
        assert_eq!(ipvs.dests(&web.key).await.unwrap()[0].dest, one);
    });
}

#[test]
fn thousands_of_commands_go_in_few_calls_and_lose_no_verdict() {
    in_new_netns(|| async {
        let mut ipvs = ipvs().await;
        let web = service("192.0.2.10:80");
        let dests: Vec<_> = (0..5000u32)
            .map(|n| {
                let address = SocketAddr::from(((0x0a00_0001 + n).to_be_bytes(), 80));
                Dest::new(address, Forward::Masq, 1)
            })
            .collect();
        let mut commands = vec![Command::NewService(&web)];
        commands.extend(dests.iter().map(|dest| Command::NewDest(&web.key, dest)));
        // every other one a second time, which must be refused in its own place
        commands.extend(
            dests
                .iter()
                .step_by(2)
                .map(|dest| Command::NewDest(&web.key, dest)),
        );
        let before = ipvs.counts();
        let verdicts = ipvs.batch(&commands).await;
        let mut expected = vec![None; 5001];
        expected.resize(7501, Some(Errno::EEXIST));
        assert_eq!(errnos(&verdicts), expected);
        let after = ipvs.counts();
        assert_eq!(after.messages - before.messages, 7501);
        // 64 KiB of them at a time
        assert_eq!(after.sends - before.sends, 19);
        // one answer for each refusal, and one for each send whose last request was taken, four to a call
        let receives = after.receives - before.receives;
        assert!(receives <= (2500 + 12) / 4 + 19, "{receives} receives");
        assert_eq!(ipvs.dests(&web.key).await.unwrap().len(), 5000);
    });
}

#[test]
fn timeouts_info_counters_and_daemons_are_read_back() {
    in_new_netns(|| async {
        let mut ipvs = ipvs().await;
        assert_eq!(ipvs.info().await.unwrap().version >> 16, 1);
        let timeouts = Timeouts {
            tcp: 100,
            tcp_fin: 20,
            udp: 30,
        };
        let only_udp = Timeouts {
            udp: 31,
            ..Timeouts::default()
        };
        let commands = [Command::SetConfig(timeouts), Command::SetConfig(only_udp)];
        assert_eq!(errnos(&ipvs.batch(&commands).await), [None, None]);
        assert_eq!(
            ipvs.timeouts().await.unwrap(),
            Timeouts {
                udp: 31,
                ..timeouts
            }
        );

        sh(
            "ip link add eth9 type dummy && ip addr add 192.0.2.1/24 dev eth9 && ip link set eth9 up",
        );
        let daemon = Daemon {
            state: DaemonState::Backup,
            interface: "eth9".to_owned(),
            sync_id: 5,
            max_len: 1400,
            group: Some("224.0.0.82".parse().unwrap()),
            port: 8850,
            ttl: 3,
            other: Vec::new(),
        };
        assert_eq!(
            errnos(&ipvs.batch(&[Command::NewDaemon(&daemon)]).await),
            [None]
        );
        assert_eq!(ipvs.daemons().await.unwrap(), [daemon]);
        // a daemon stopped before it first ran is stopped, but the kernel says nothing of it
        let stop = [Command::DelDaemon(DaemonState::Backup), Command::GetInfo];
        let stopped = errnos(&ipvs.batch(&stop).await);
        assert!(
            matches!(stopped[..], [None | Some(Errno::EINTR), None]),
            "{stopped:?}"
        );
        assert_eq!(ipvs.daemons().await.unwrap(), []);

        let web = service("192.0.2.10:80");
        let one = dest("192.0.2.20:80", Forward::Masq, 1);
        let two = [Command::NewService(&web), Command::NewDest(&web.key, &one)];
        assert_eq!(errnos(&ipvs.batch(&two).await), [None, None]);
        let address = "192.0.2.10:80".parse().unwrap();
        let connect = tokio::net::TcpSocket::new_v4().unwrap().connect(address);
        let _ = tokio::time::timeout(Duration::from_millis(100), connect).await;
        // the kernel sums its counters up for show every two seconds
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let stats = ipvs
                .service(&web.key)
                .await
                .unwrap()
                .expect("the service")
                .stats;
            if stats.connections == 1 && stats.in_bytes >= 40 {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{stats:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(
            errnos(&ipvs.batch(&[Command::Zero(Some(&web.key))]).await),
            [None]
        );
        let zeroed = ipvs
            .service(&web.key)
            .await
            .unwrap()
            .expect("the service")
            .stats;
        assert_eq!((zeroed.connections, zeroed.in_bytes), (0, 0));
    });
}

#[test]
fn answers_to_a_request_given_up_are_not_taken_for_those_of_the_next() {
    in_new_netns(|| async {
        let mut socket = NetlinkSocket::open(Protocol::Generic).unwrap();
        let family = genl::resolve(&mut socket, "IPVS").await.expect("IPVS");
        let absent = genl::resolve(&mut socket, "no such family").await;
        assert!(matches!(absent, Err(NlError::Errno(errno)) if errno == Errno::ENOENT as i32));
        // a dump given up half way leaves its answers in the socket
        let web = service("192.0.2.10:80");
        let add = Command::NewService(&web).encode(family);
        assert_eq!(
            errnos(&socket.batch(std::slice::from_ref(&add)).await),
            [None]
        );
        let dump = Command::Services.encode(family);
        let _given_up = socket.dump(&dump, |_| {}).now_or_never();
        let again = socket.batch(&[add.clone(), add]).await;
        assert_eq!(errnos(&again), [Some(Errno::EEXIST), Some(Errno::EEXIST)]);
        // what cannot be sent is refused without being sent
        let mut oversized = Request::generic(family, 1, 1, 0);
        oversized.bytes(1, &[0; 70_000]);
        let sends = socket.counts().sends;
        assert_eq!(
            errnos(&socket.batch(&[oversized]).await),
            [Some(Errno::EMSGSIZE)]
        );
        assert_eq!(socket.counts().sends, sends);
    });
}
