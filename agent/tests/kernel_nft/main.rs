//! The loopback rule over nf_tables against a real kernel and real packets, each test in network namespaces
//! of its own. Needs root, `nf_tables`, `nft_compat`, `xt_set` and `ip_set`; says which is missing.
#![allow(missing_docs, clippy::unwrap_used)]

mod chains;
mod engines;
mod lockdown;
#[path = "../kernel_codec/netns.rs"]
mod netns;
mod switch;

use std::{
    io::Read,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::Command as Process,
    sync::mpsc,
    time::Duration,
};

use netns::{in_new_netns, sh};
use nix::sched::CloneFlags;
use weir_agent::kernel::Kernel as _;
use weir_agent::kernel::linux::{
    Linux,
    ipset::{Command as Ask, Element, Family, Ipset},
    loopback::{Iptables, NftCompat, NftError, RuleEngine, Standing, nft_compat::Counter},
};
use weir_agent::plan::{Key, Object, Step};
use weir_proto::model;

async fn nft(family: Family) -> NftCompat {
    let mut nft = NftCompat::open().unwrap();
    if let Err(error) = nft.probe(family).await {
        panic!(
            "the kernel cannot hold the rule: {error}: {:?}",
            std::error::Error::source(&error)
        );
    }
    nft
}

#[test]
fn a_set_goes_right_after_the_rule_that_used_it() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        for round in 0..10 {
            let up = [Key::LoopbackSet, Key::LoopbackRule].map(|key| Step::Add {
                key: key(model::Family::V4),
                object: Object::Present,
            });
            assert_eq!(kernel.apply(&up).await, [Ok(()), Ok(())], "round {round}");
            let down = [Key::LoopbackRule, Key::LoopbackSet].map(|key| Step::Remove {
                key: key(model::Family::V4),
            });
            assert_eq!(kernel.apply(&down).await, [Ok(()), Ok(())], "round {round}");
        }
        assert_eq!(sh("nft list tables"), "");

        // a rule that an earlier start put up by another engine goes as well
        let up = [Key::LoopbackSet, Key::LoopbackRule].map(|key| Step::Add {
            key: key(model::Family::V4),
            object: Object::Present,
        });
        assert_eq!(kernel.apply(&up).await, [Ok(()), Ok(())]);
        let mut iptables = Iptables::find().await.unwrap();
        iptables
            .install(Family::Inet, "WEIR-LOOPBACK")
            .await
            .unwrap();
        let down = [Key::LoopbackRule, Key::LoopbackSet].map(|key| Step::Remove {
            key: key(model::Family::V4),
        });
        assert_eq!(kernel.apply(&down).await, [Ok(()), Ok(())]);
        assert!(!sh("iptables-nft -t nat -S").contains("WEIR-LOOPBACK"));
    });
}

#[test]
fn the_rule_is_there_once_and_gone_without_a_trace() {
    in_new_netns(|| async {
        let mut sets = Ipset::open().unwrap();
        for family in [Family::Inet, Family::Inet6] {
            let (name, ip) = match family {
                Family::Inet => ("weir4", "ip"),
                Family::Inet6 => ("weir6", "ip6"),
            };
            sets.create(name, family, 100)
                .await
                .expect("the module ip_set_hash_ipportip");
            let index = sets.index(name).await.unwrap().expect("the set");
            let mut nft = nft(family).await;
            assert_eq!(sh("nft list tables"), "");
            assert_eq!(nft.standing(family, index).await.unwrap(), Standing::Absent);
            nft.remove(family).await.unwrap();

            nft.install(family, index).await.unwrap();
            nft.install(family, index).await.unwrap();
            assert_eq!(nft.standing(family, index).await.unwrap(), Standing::Whole);
            assert_eq!(
                nft.standing(family, index + 1).await.unwrap(),
                Standing::Older
            );
            let shown = sh(&format!("nft list table {ip} weir"));
            assert!(
                shown.contains("type nat hook postrouting priority srcnat"),
                "{shown}"
            );
            assert_eq!(
                shown.matches("weir: loopback backends").count(),
                1,
                "{shown}"
            );
            assert!(shown.contains("masquerade fully-random"), "{shown}");
            // while the rule refers to the set it cannot go
            let busy = sets.run(&Ask::Destroy(name)).await;
            assert_eq!(busy.err().and_then(|error| error.errno()), Some(4100));

            // the rule follows to another set
            sets.create("weir-other", family, 100).await.unwrap();
            let other = sets.index("weir-other").await.unwrap().expect("the set");
            nft.install(family, other).await.unwrap();
            assert_eq!(nft.standing(family, other).await.unwrap(), Standing::Whole);
            assert_eq!(nft.standing(family, index).await.unwrap(), Standing::Older);

            // what somebody else put into the table stays, and so does the table
            sh(&format!("nft add chain {ip} weir mine"));
            assert!(matches!(nft.remove(family).await, Err(NftError::Foreign)));
            sh(&format!("nft delete chain {ip} weir mine"));
            sh(&format!(
                "nft add set {ip} weir mine '{{ type inet_service; }}'"
            ));
            assert!(matches!(nft.remove(family).await, Err(NftError::Foreign)));
            sh(&format!("nft delete set {ip} weir mine"));
            sh(&format!("nft add rule {ip} weir loopback counter"));
            assert!(matches!(nft.remove(family).await, Err(NftError::Foreign)));
            assert!(matches!(
                nft.install(family, index).await,
                Err(NftError::Foreign)
            ));
            sh(&format!("nft flush chain {ip} weir loopback"));
            nft.remove(family).await.unwrap();
            assert_eq!(sh("nft list tables"), "");
            sets.run(&Ask::Destroy(name)).await.unwrap();
            sets.run(&Ask::Destroy("weir-other")).await.unwrap();
        }
    });
}

/// Listens in a namespace and gives the address of whoever connects, one after the other.
pub(crate) fn listen(netns: &str, at: &str) -> mpsc::Receiver<SocketAddr> {
    let file = std::fs::File::open(format!("/run/netns/{netns}")).unwrap();
    let at: SocketAddr = at.parse().unwrap();
    let (ready, wait) = mpsc::channel();
    let (peers, received) = mpsc::channel();
    std::thread::spawn(move || {
        nix::sched::setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        let listener = TcpListener::bind(at).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            if peers.send(stream.unwrap().peer_addr().unwrap()).is_err() {
                return;
            }
        }
    });
    wait.recv_timeout(Duration::from_secs(10)).unwrap();
    received
}

/// Connects from a namespace and waits until the other end closes.
pub(crate) fn connect(netns: &str, to: &str) {
    let file = std::fs::File::open(format!("/run/netns/{netns}")).unwrap();
    let to: SocketAddr = to.parse().unwrap();
    let connected = std::thread::spawn(move || {
        nix::sched::setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap();
        let _ = stream.read(&mut [0]);
    });
    connected.join().unwrap();
}

/// Deletes the named namespaces when a test ends, however it ends.
pub(crate) struct Named(pub(crate) Vec<String>);

impl Drop for Named {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Process::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// Makes this namespace route between a client, at 10.1.0.2, and a backend, at 10.2.0.2.
pub(crate) fn route(mark: &str) -> (Named, String, String) {
    let id = std::process::id();
    let (client, backend) = (format!("weir-{mark}c{id}"), format!("weir-{mark}b{id}"));
    let named = Named(vec![client.clone(), backend.clone()]);
    sh("sysctl -qw net.ipv4.ip_forward=1");
    for (name, net) in [(&client, "10.1.0"), (&backend, "10.2.0")] {
        sh(&format!(
            "ip netns add {name} && ip link add r-{net} type veth peer name eth0 netns {name} && \
             ip addr add {net}.1/24 dev r-{net} && ip link set r-{net} up && \
             ip -n {name} addr add {net}.2/24 dev eth0 && ip -n {name} link set eth0 up && \
             ip -n {name} route add default via {net}.1"
        ));
    }
    (named, client, backend)
}

#[test]
fn exactly_the_packet_of_an_element_is_counted_and_masqueraded() {
    in_new_netns(|| async {
        let (_named, client, backend) = route("w");
        let mut sets = Ipset::open().unwrap();
        sets.create("weir4", Family::Inet, 100).await.unwrap();
        let index = sets.index("weir4").await.unwrap().expect("the set");
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let element = Element {
            ip: ip("10.2.0.2"),
            proto: 6,
            port: 8080,
            ip2: ip("10.1.0.2"),
        };
        let near = [
            element.clone(),
            Element {
                ip2: ip("10.1.0.3"),
                port: 8081,
                ..element.clone()
            },
            Element {
                proto: 17,
                port: 8081,
                ..element
            },
        ];
        assert!(sets.add("weir4", &near).await.iter().all(Result::is_ok));
        let mut nft = nft(Family::Inet).await;
        nft.install(Family::Inet, index).await.unwrap();

        let eighty = listen(&backend, "10.2.0.2:8080");
        let other = listen(&backend, "10.2.0.2:8081");
        connect(&client, "10.2.0.2:8080");
        connect(&client, "10.2.0.2:8081");
        connect(&client, "10.2.0.2:8081");
        let wait = Duration::from_secs(10);
        assert_eq!(
            eighty.recv_timeout(wait).unwrap().ip(),
            ip("10.2.0.1"),
            "masqueraded"
        );
        for _ in 0..2 {
            assert_eq!(
                other.recv_timeout(wait).unwrap().ip(),
                ip("10.1.0.2"),
                "left alone"
            );
        }
        let counted = nft.counter(Family::Inet, index).await.unwrap();
        assert_eq!(
            counted,
            Some(Counter {
                packets: 1,
                bytes: 60
            })
        );
        nft.remove(Family::Inet).await.unwrap();
    });
}

#[test]
fn nf_tables_is_chosen_where_it_works_and_iptables_says_the_same_of_the_rule() {
    in_new_netns(|| async {
        let choice = RuleEngine::choose().await;
        assert!(
            matches!(choice.engine, Some(RuleEngine::NftCompat(_))),
            "{}",
            choice.reason
        );
        let mut sets = Ipset::open().unwrap();
        sets.create("weir4", Family::Inet, 100).await.unwrap();
        let mut iptables = Iptables::find().await.expect("some iptables");
        let standing =
            async |iptables: &mut Iptables| iptables.standing(Family::Inet, "weir4").await.unwrap();
        assert_eq!(standing(&mut iptables).await, Standing::Absent);
        iptables.install(Family::Inet, "weir4").await.unwrap();
        iptables.install(Family::Inet, "weir4").await.unwrap();
        assert_eq!(standing(&mut iptables).await, Standing::Whole);
        iptables.remove(Family::Inet, "weir4").await.unwrap();
        iptables.remove(Family::Inet, "weir4").await.unwrap();
        assert_eq!(standing(&mut iptables).await, Standing::Absent);
    });
}

#[test]
fn a_rule_of_an_earlier_version_gives_way_to_one_that_chooses_ports_at_random() {
    in_new_netns(|| async {
        let mut sets = Ipset::open().unwrap();
        sets.create("weir4", Family::Inet, 100).await.unwrap();
        let rule = "-t nat -A POSTROUTING -m set --match-set weir4 dst,dst,src";
        let plain = "-m comment --comment weir -j MASQUERADE";
        sh(&format!("iptables-nft {rule} {plain}"));
        sh(&format!("iptables-nft {rule} {plain}"));
        sh(&format!("iptables-nft {rule} -j MASQUERADE"));
        let mut iptables = Iptables::find().await.expect("some iptables");
        let standing = iptables.standing(Family::Inet, "weir4").await.unwrap();
        assert_eq!(standing, Standing::Older);
        iptables.install(Family::Inet, "weir4").await.unwrap();
        let standing = iptables.standing(Family::Inet, "weir4").await.unwrap();
        assert_eq!(standing, Standing::Whole);
        let shown = sh("iptables-nft -t nat -S POSTROUTING");
        assert_eq!(shown.matches("--random-fully").count(), 1, "{shown}");
        assert_eq!(
            shown.matches("MASQUERADE").count(),
            2,
            "somebody else's stays: {shown}"
        );
        iptables.remove(Family::Inet, "weir4").await.unwrap();
        let shown = sh("iptables-nft -t nat -S POSTROUTING");
        assert_eq!(shown.matches("MASQUERADE").count(), 1, "{shown}");
    });
}
