//! Lockdowns on the real kernel, in the engine that it has: nf_tables, else IP sets and iptables. Needs root.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "kernel_codec/netns.rs"]
mod netns;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use weir_agent::kernel::Kernel as _;
use weir_agent::kernel::linux::Linux;
use weir_agent::plan::{Guard, Key, Object, Scope, Step, Unit};
use weir_proto::model::{Family, Listener, Port, Protocol};

use self::netns::{in_new_netns, sh};

/// A VIP of each family, on the loopback link, and two addresses to come from.
const VIPS: [(Family, &str, [&str; 2]); 2] = [
    (Family::V4, "10.100.0.1", ["10.9.9.9", "10.8.8.8"]),
    (Family::V6, "fd64::1", ["fd09::9", "fd08::8"]),
];

/// What somebody else may do to a lockdown's rules.
const BREACHES: [&str; 3] = [
    "ip*tables-legacy -F INPUT",
    "ip*tables-legacy -D WEIR-LOCKDOWN 5",
    "ip*tables-legacy -I WEIR-LOCKDOWN 1 -j ACCEPT",
];
/// The same in nf_tables.
const NFT_BREACHES: [&str; 3] = [
    "nft flush chain inet TABLE input",
    "nft flush chain inet TABLE ranges",
    "nft insert rule inet TABLE input accept",
];

fn nf_tables() -> bool {
    let table = ["add", "table", "inet", "weir-test"];
    let added = Command::new("nft").args(table).output();
    let there = added.is_ok_and(|output| output.status.success());
    if there {
        sh("nft delete table inet weir-test");
    }
    there
}

fn add(key: Key) -> Step {
    Step::Add {
        key,
        object: Object::Present,
    }
}

fn breaches(family: Family) -> [String; 3] {
    let (program, table) = match family {
        Family::V4 => ("ip", "weir-lockdown"),
        Family::V6 => ("ip6", "weir-lockdown-6"),
    };
    match nf_tables() {
        true => NFT_BREACHES.map(|line| line.replace("TABLE", table)),
        false => BREACHES.map(|line| line.replace("ip*", program)),
    }
}

async fn base(kernel: &mut Linux, family: Family) -> Option<Object> {
    let scope = Scope::Units([Unit::Base].into());
    let table = kernel.read(&scope).await.unwrap();
    table.get(&Key::Lockdown(family)).cloned()
}

/// Gives what is read and not expected, or expected and not read.
async fn different(kernel: &mut Linux, scope: &Scope, expected: &BTreeSet<Key>) -> Vec<Key> {
    let read = kernel.read(scope).await.unwrap();
    let read: BTreeSet<Key> = read.into_keys().collect();
    read.symmetric_difference(expected).copied().collect()
}

/// Says what becomes of a connection. That there is no way there is no answer of a lockdown: the kernel makes the route to an
/// address of IPv6 some time after the address (`net/ipv6/addrconf.c`, `addrconf_dad_work`).
fn knock(from: &str, to: SocketAddr) -> Result<(), ErrorKind> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = knock_once(from, to);
        if answer != Err(ErrorKind::NetworkUnreachable) || Instant::now() > deadline {
            return answer;
        }
        std::thread::yield_now();
    }
}

fn knock_once(from: &str, to: SocketAddr) -> Result<(), ErrorKind> {
    let from: IpAddr = from.parse().unwrap();
    let (family, any) = match from {
        IpAddr::V4(_) => (nix::sys::socket::AddressFamily::Inet, from),
        IpAddr::V6(_) => (nix::sys::socket::AddressFamily::Inet6, from),
    };
    let socket = nix::sys::socket::socket(
        family,
        nix::sys::socket::SockType::Stream,
        nix::sys::socket::SockFlag::empty(),
        None,
    )
    .unwrap();
    use std::os::fd::AsRawFd as _;
    let bound = nix::sys::socket::SockaddrStorage::from(SocketAddr::new(any, 0));
    nix::sys::socket::bind(socket.as_raw_fd(), &bound).unwrap();
    let to = nix::sys::socket::SockaddrStorage::from(to);
    nix::sys::socket::connect(socket.as_raw_fd(), &to)
        .map_err(|errno| std::io::Error::from(errno).kind())
}

#[test]
fn a_lockdown_lets_in_what_is_declared_from_where_it_is_allowed() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        for (family, vip, [inside, outside]) in VIPS {
            for address in [vip, inside, outside] {
                sh(&format!("ip addr add {address} dev lo nodad"));
            }
            let vip: IpAddr = vip.parse().unwrap();
            let [open, some, shut] = [80, 81, 82].map(|number| {
                let port = Port::new(number).unwrap();
                let protocol = Protocol::Tcp;
                let listener = Listener {
                    address: vip,
                    port,
                    protocol,
                };
                let server = TcpListener::bind((vip, port.get())).unwrap();
                (listener, server.local_addr().unwrap(), server)
            });
            // a range, one in it, and one elsewhere
            let ranges = match family {
                Family::V4 => ["10.9.0.0/16", "10.9.9.0/24", "192.0.2.7/32"],
                Family::V6 => ["fd09::/16", "fd09::/64", "fd0a::7/128"],
            };
            let ranges = ranges.map(|range| Some(range.parse().unwrap()));
            let guards = [
                Guard::Opening(open.0, None),
                Guard::Opening(some.0, ranges[0]),
                Guard::Opening(some.0, ranges[1]),
                Guard::Opening(some.0, ranges[2]),
                Guard::Port(some.0),
            ];
            let mut steps = vec![add(Key::Lockdown(family))];
            steps.extend(guards.map(|guard| add(Key::Guard(guard))));
            assert!(kernel.apply(&steps).await.iter().all(Result::is_ok));
            // not locked yet, and guarded
            assert_eq!(knock(outside, shut.1), Ok(()));
            assert_eq!(knock(inside, some.1), Ok(()));
            assert_eq!(knock(outside, some.1), Err(ErrorKind::ConnectionRefused));
            let mut held = TcpStream::connect(shut.1).unwrap();
            let locked = Key::Guard(Guard::Vip(vip));
            assert_eq!(kernel.apply(&[add(locked)]).await, [Ok(())]);
            assert_eq!(knock(outside, open.1), Ok(()));
            assert_eq!(knock(inside, some.1), Ok(()));
            assert_eq!(knock(inside, shut.1), Err(ErrorKind::ConnectionRefused));
            // what stood stands
            use std::io::{Read as _, Write as _};
            let (mut other, _) = shut.2.accept().unwrap();
            let (mut other, _) = match other.peer_addr().unwrap() == held.local_addr().unwrap() {
                true => (other, ()),
                // the one that knocked before
                false => {
                    other = shut.2.accept().unwrap().0;
                    (other, ())
                }
            };
            other.write_all(b"still there").unwrap();
            held.read_exact(&mut [0; 11]).unwrap();
            // by another protocol
            let socket = UdpSocket::bind((inside, 0)).unwrap();
            let _server = UdpSocket::bind((vip, 80)).unwrap();
            socket.connect((vip, 80)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            socket.send(b"?").unwrap();
            let refused = socket.recv(&mut [0; 1]).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            // everything is read back, one by one and all at once
            let keys: BTreeSet<Key> = guards.map(Key::Guard).into_iter().chain([locked]).collect();
            let units = keys.iter().map(|key| key.unit()).collect();
            let read = kernel.read(&Scope::Units(units)).await.unwrap();
            assert_eq!(read.into_keys().collect::<BTreeSet<_>>(), keys);
            assert_eq!(base(&mut kernel, family).await, Some(Object::Present));
            assert_eq!(kernel.rejected().get(&family), Some(&3));
            // nothing stays
            let gone = Step::Remove {
                key: Key::Lockdown(family),
            };
            assert_eq!(kernel.apply(&[gone]).await, [Ok(())]);
            assert_eq!(knock(outside, shut.1), Ok(()));
            assert_eq!(base(&mut kernel, family).await, None);
        }
    });
}

#[test]
fn what_somebody_does_to_the_rules_is_seen_and_made_whole_again() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        for (family, vip, _) in VIPS {
            sh(&format!("ip addr add {vip} dev lo nodad"));
            let vip: IpAddr = vip.parse().unwrap();
            let steps = [Key::Lockdown(family), Key::Guard(Guard::Vip(vip))].map(add);
            assert_eq!(kernel.apply(&steps).await, [Ok(()), Ok(())]);
            let server = TcpListener::bind((vip, 0)).unwrap();
            let target = server.local_addr().unwrap();
            for breach in breaches(family) {
                sh(&breach);
                let broken = Object::Value("not whole".to_owned());
                assert_eq!(base(&mut kernel, family).await, Some(broken), "{breach}");
                let repair = Step::Edit {
                    key: Key::Lockdown(family),
                    object: Object::Present,
                };
                assert_eq!(kernel.apply(&[repair]).await, [Ok(())], "{breach}");
                let whole = base(&mut kernel, family).await;
                assert_eq!(whole, Some(Object::Present), "{breach}");
                let refused = TcpStream::connect(target).unwrap_err().kind();
                assert_eq!(refused, ErrorKind::ConnectionRefused, "{breach}");
            }
        }
    });
}

#[test]
fn what_somebody_made_by_our_names_is_refused_and_stays() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        let cases = match nf_tables() {
            true => vec![(
                "nft add table inet weir-lockdown; nft add chain inet weir-lockdown theirs",
                "nft list ruleset",
                "nft delete table inet weir-lockdown",
            )],
            false => vec![
                (
                    "iptables-legacy -N WEIR-LOCKDOWN; iptables-legacy -A WEIR-LOCKDOWN -s 192.0.2.1 -j ACCEPT",
                    "iptables-legacy -S; ipset list -n",
                    "iptables-legacy -F WEIR-LOCKDOWN; iptables-legacy -X WEIR-LOCKDOWN",
                ),
                (
                    "ipset create WEIR-GUARDED hash:mac; ipset add WEIR-GUARDED 02:00:00:00:00:01",
                    "iptables-legacy -S; ipset save",
                    "ipset destroy WEIR-GUARDED",
                ),
            ],
        };
        for (theirs, look, away) in cases {
            sh(theirs);
            let before = sh(look);
            let step = add(Key::Lockdown(Family::V4));
            let verdict = kernel.apply(&[step]).await.remove(0);
            let cause = verdict.unwrap_err().to_string();
            assert!(
                cause.contains("not ours") || cause.contains("not like ours"),
                "{cause}"
            );
            assert_eq!(sh(look), before);
            sh(away);
        }
    });
}

#[test]
fn many_guards_are_changed_in_a_few_messages_and_listed_at_once() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        for (family, vip, _) in VIPS {
            let address: IpAddr = vip.parse().unwrap();
            let protocol = Protocol::Udp;
            let range = match family {
                Family::V4 => "10.0.0.0/8",
                Family::V6 => "fd00::/8",
            };
            let range = Some(range.parse().unwrap());
            let guards: Vec<Guard> = (1..=1500)
                .flat_map(|number| {
                    let port = Port::new(number).unwrap();
                    let listener = Listener {
                        address,
                        port,
                        protocol,
                    };
                    let all = Guard::Opening(listener, None);
                    [all, Guard::Opening(listener, range), Guard::Port(listener)]
                })
                .collect();
            let keys: BTreeSet<Key> = guards.iter().map(|guard| Key::Guard(*guard)).collect();
            let mut steps = vec![add(Key::Lockdown(family))];
            steps.extend(keys.iter().map(|key| add(*key)));
            let refused = kernel.apply(&steps).await.into_iter().find(Result::is_err);
            assert_eq!(refused, None);
            let scope = Scope::Units(keys.iter().map(|key| key.unit()).collect());
            assert_eq!(different(&mut kernel, &scope, &keys).await, []);
            // one that is not there is well, or said to be absent, and the others go
            let (gone, stay): (BTreeSet<Key>, BTreeSet<Key>) = keys.iter().partition(
                |key| matches!(key, Key::Guard(Guard::Port(on)) if on.port.get() % 2 == 0),
            );
            let twice = gone.iter().chain(gone.first());
            let steps: Vec<Step> = twice.map(|key| Step::Remove { key: *key }).collect();
            let verdicts = kernel.apply(&steps).await;
            let refused = verdicts.into_iter().take(gone.len()).find(Result::is_err);
            assert_eq!(refused, None);
            assert_eq!(different(&mut kernel, &scope, &stay).await, []);
        }
    });
}
