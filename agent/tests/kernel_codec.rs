//! The codecs against a real kernel: IPVS, ipset, links and sysctls, each test in a network namespace of
//! its own. Needs root, `ip_vs`, `ip_set` and `dummy`; says which is missing.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    process::Command as Process,
    time::Duration,
};

use futures::FutureExt;
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
};
use weir_agent::kernel::linux::{
    capabilities,
    ipset::{Command as Ask, Element, Family, HASH_IP_PORT_IP, Ipset, explain},
    ipvs::{
        Command, Daemon, DaemonState, Dest, Flags, Forward, Ipvs, Netmask, Proto, Service,
        ServiceKey, Timeouts, Tunnel, TunnelKind,
    },
    link::{LinkError, Links},
    loopback::Iptables,
    netlink::{NetlinkSocket, NlError, Protocol, Request, genl},
    sysctl::{Sysctl, SysctlError},
};

/// Runs a test on a thread of its own in a new network namespace with its loopback up.
fn in_new_netns<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace: this test needs root");
        sh("ip link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let limited = async { tokio::time::timeout(Duration::from_secs(60), test()).await };
        runtime
            .unwrap()
            .block_on(limited)
            .expect("the test within a minute");
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn sh(line: &str) -> String {
    let output = Process::new("sh").args(["-c", line]).output().unwrap();
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

async fn ipvs() -> Ipvs {
    Ipvs::open()
        .await
        .expect("the kernel has no IPVS: load the module ip_vs")
}

async fn ipset() -> Ipset {
    let mut sets = Ipset::open().unwrap();
    sets.protocol()
        .await
        .expect("the kernel has no IP sets: load the module ip_set");
    sets
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

fn errnos(verdicts: &[Result<(), NlError>]) -> Vec<Option<Errno>> {
    let errno = |error: &NlError| match error {
        NlError::Errno(errno) => Errno::from_raw(*errno),
        error => panic!("no refusal but {error:?}"),
    };
    verdicts
        .iter()
        .map(|verdict| verdict.as_ref().err().map(errno))
        .collect()
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
        assert_eq!(after.sends - before.sends, 7501u64.div_ceil(256));
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
fn a_socket_that_lost_an_answer_says_so_and_goes_on() {
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

fn element(ip: &str, port: u16) -> Element {
    let ip: IpAddr = ip.parse().unwrap();
    Element {
        ip,
        proto: 6,
        port,
        ip2: ip,
    }
}

#[test]
fn a_set_is_created_filled_listed_swapped_and_destroyed() {
    in_new_netns(|| async {
        let mut sets = ipset().await;
        assert!(sets.protocol().await.unwrap().1 >= 7);
        assert!(
            sets.revisions(HASH_IP_PORT_IP, Family::Inet)
                .await
                .unwrap()
                .max
                >= 5
        );
        let unknown = sets.revisions("hash:nosuch", Family::Inet).await;
        let name = unknown
            .err()
            .and_then(|error| explain(error.errno()?))
            .map(|e| e.name);
        assert_eq!(name, Some("IPSET_ERR_FIND_TYPE"));

        assert_eq!(sets.list("weir").await.unwrap(), None);
        assert_eq!(sets.index("weir").await.unwrap(), None);
        sets.create("weir", Family::Inet, 1000).await.unwrap();
        let twice = sets.create("weir", Family::Inet, 1000).await;
        assert!(
            matches!(twice, Err(NlError::Errno(errno)) if errno == Errno::EEXIST as i32),
            "{twice:?}"
        );

        let (one, two) = (element("192.0.2.1", 80), element("192.0.2.2", 80));
        let add = [one.clone(), two.clone(), one.clone()];
        assert_eq!(errnos(&sets.add("weir", &add).await), [None, None, None]);
        assert!(sets.test("weir", &one).await.unwrap());
        assert_eq!(
            errnos(&sets.del("weir", &[one.clone(), one.clone()]).await),
            [None, None]
        );
        assert!(!sets.test("weir", &one).await.unwrap());
        let set = sets.list("weir").await.unwrap().expect("the set");
        assert_eq!(set.elements, [two.clone()]);
        assert_eq!(
            (set.header.max_elements, set.header.revision),
            (Some(1000), 5)
        );
        assert_eq!(set.header.index, sets.index("weir").await.unwrap());
        assert_eq!(set.header.type_name, HASH_IP_PORT_IP);
        let header = sets.header("weir").await.unwrap().expect("the set");
        assert_eq!((header.revision, header.family), (5, Some(Family::Inet)));
        assert!(sh("ipset list weir").contains("192.0.2.2,tcp:80,192.0.2.2"));

        sets.create("weir-next", Family::Inet, 1000).await.unwrap();
        assert_eq!(
            errnos(&sets.add("weir-next", std::slice::from_ref(&one)).await),
            [None]
        );
        sets.run(&Ask::Swap("weir", "weir-next")).await.unwrap();
        assert_eq!(
            sets.list("weir").await.unwrap().expect("the set").elements,
            [one]
        );
        sets.run(&Ask::Rename("weir-next", "weir-old"))
            .await
            .unwrap();
        sets.run(&Ask::Flush("weir-old")).await.unwrap();
        assert_eq!(
            sets.list("weir-old")
                .await
                .unwrap()
                .expect("the set")
                .elements,
            []
        );
        let names: Vec<_> = sets
            .headers()
            .await
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["weir", "weir-old"]);
        for name in names {
            sets.run(&Ask::Destroy(&name)).await.unwrap();
        }
        assert_eq!(sets.headers().await.unwrap(), []);
    });
}

#[test]
fn elements_go_many_to_a_message_and_a_refused_one_is_told_from_the_others() {
    in_new_netns(|| async {
        let mut sets = ipset().await;
        sets.create("weir6", Family::Inet6, 20_000).await.unwrap();
        let elements: Vec<_> = (0..5000u32)
            .map(|n| element(&format!("2001:db8::{:x}", n + 1), 443))
            .collect();
        let before = sets.counts();
        let verdicts = sets.add("weir6", &elements).await;
        assert!(verdicts.iter().all(Result::is_ok));
        let after = sets.counts();
        assert_eq!(after.messages - before.messages, 7);
        let mut read = sets.list("weir6").await.unwrap().expect("the set").elements;
        read.sort();
        assert_eq!(read, elements);
        // in a full set what is in it may be added again, what is not is refused
        sets.create("full", Family::Inet6, 2).await.unwrap();
        assert!(
            sets.add("full", &elements[..2])
                .await
                .iter()
                .all(Result::is_ok)
        );
        let more = [
            elements[0].clone(),
            elements[2].clone(),
            elements[1].clone(),
        ];
        let verdicts = sets.add("full", &more).await;
        let names: Vec<_> = verdicts
            .iter()
            .map(|verdict| {
                verdict
                    .as_ref()
                    .err()
                    .and_then(|error| explain(error.errno()?))
                    .map(|e| e.name)
            })
            .collect();
        assert_eq!(names, [None, Some("IPSET_ERR_HASH_FULL"), None]);
    });
}

#[test]
fn the_dummy_link_and_its_addresses_are_made_listed_and_deleted() {
    in_new_netns(|| async {
        let mut links = Links::open().unwrap();
        assert_eq!(links.find("weir0").await.unwrap(), None);
        let index = links
            .ensure_dummy("weir0")
            .await
            .expect("a dummy link: load the module dummy");
        assert_eq!(links.ensure_dummy("weir0").await.unwrap(), index);
        let found = links.find("weir0").await.unwrap().expect("the link");
        assert_eq!((found.kind.as_deref(), found.up), (Some("dummy"), true));

        let (four, six): (IpAddr, IpAddr) = (
            "192.0.2.10".parse().unwrap(),
            "2001:db8::10".parse().unwrap(),
        );
        for address in [four, six] {
            links.add_address(index, address).await.unwrap();
            let twice = links.add_address(index, address).await;
            assert_eq!(twice.err().and_then(|e| e.errno()), Some(Errno::EEXIST));
        }
        assert_eq!(links.addresses(index).await.unwrap(), [four, six]);
        let shown = sh("ip -6 addr show dev weir0");
        assert!(
            shown.contains("2001:db8::10/128 scope global nodad deprecated"),
            "{shown}"
        );
        assert!(shown.contains("preferred_lft 0sec"), "{shown}");
        assert!(sh("ip -4 addr show dev weir0").contains("192.0.2.10/32"));
        for address in [four, six] {
            links.del_address(index, address).await.unwrap();
            let twice = links.del_address(index, address).await;
            assert_eq!(
                twice.err().and_then(|e| e.errno()),
                Some(Errno::EADDRNOTAVAIL)
            );
        }
        assert_eq!(links.addresses(index).await.unwrap(), [] as [IpAddr; 0]);
        links.delete_dummy("weir0").await.unwrap();
        links.delete_dummy("weir0").await.unwrap();

        sh("ip link add weir0 type bridge");
        let other = links.ensure_dummy("weir0").await;
        assert!(
            matches!(&other, Err(LinkError::OtherKind { kind, .. }) if kind == "bridge"),
            "{other:?}"
        );
        assert!(matches!(
            links.delete_dummy("weir0").await,
            Err(LinkError::OtherKind { .. })
        ));
        assert!(matches!(
            links.ensure_dummy("lo").await,
            Err(LinkError::OtherKind { .. })
        ));
    });
}

#[test]
fn settings_of_ipvs_are_read_and_written() {
    in_new_netns(|| async {
        let _loaded = ipvs().await;
        let sysctl = Sysctl::default();
        assert_eq!(sysctl.read("net.ipv4.vs.conntrack").unwrap(), "0");
        sysctl.write("net.ipv4.vs.conntrack", "1").unwrap();
        assert_eq!(sysctl.read("net.ipv4.vs.conntrack").unwrap(), "1");
        let absent = sysctl.read("net.ipv4.vs.nosuch");
        assert!(matches!(absent, Err(SysctlError::Absent(_))), "{absent:?}");
        let refused = sysctl.write("net.ipv4.vs.conntrack", "pear");
        assert!(
            matches!(refused, Err(SysctlError::Refused { .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn the_iptables_rule_is_there_once_and_gone_again() {
    in_new_netns(|| async {
        let mut sets = ipset().await;
        let mut iptables = Iptables::find()
            .await
            .expect("iptables and the module iptable_nat");
        for (family, name) in [(Family::Inet, "weir4"), (Family::Inet6, "weir6")] {
            sets.create(name, family, 100).await.unwrap();
            assert!(!iptables.present(family, name).await.unwrap());
            iptables.remove(family, name).await.unwrap();
            iptables.install(family, name).await.unwrap();
            iptables.install(family, name).await.unwrap();
            assert!(iptables.present(family, name).await.unwrap());
            assert_eq!(
                sets.list(name)
                    .await
                    .unwrap()
                    .expect("the set")
                    .header
                    .references,
                1
            );
            iptables.remove(family, name).await.unwrap();
            iptables.remove(family, name).await.unwrap();
            assert_eq!(
                sets.list(name)
                    .await
                    .unwrap()
                    .expect("the set")
                    .header
                    .references,
                0
            );
        }
    });
}

#[test]
fn the_probe_finds_what_is_there_and_leaves_nothing_behind() {
    in_new_netns(|| async {
        let probed = capabilities::probe().await;
        let missing: Vec<_> = probed
            .capabilities
            .iter()
            .filter(|found| !found.available)
            .collect();
        assert!(missing.is_empty(), "{missing:#?}");
        assert!(probed.engine.is_some());
        assert_eq!(
            Links::open().unwrap().find("weir-probe").await.unwrap(),
            None
        );
        assert_eq!(ipset().await.headers().await.unwrap(), []);
    });
}
