//! What of a node's is not a VIP, and what the node speaks from.

use std::net::{IpAddr, UdpSocket};

use nix::errno::Errno;
use weir_agent::kernel::Kernel;
use weir_agent::kernel::linux::Linux;
use weir_agent::plan::{Guard, Key, Object, Problem, Scope, Step, Table};
use weir_proto::model::Family;

use crate::netns::{in_new_netns, sh};
use crate::{add, as_address, as_route, cause, edit, ip, must, one, vip, vips, with_link};

/// A node 10.0.0.5 and fd00::5 behind two routers of each family.
const NODE: &str = "
    ip link add out type dummy && ip link set out up &&
    ip addr add 10.0.0.5/24 dev out && ip -6 addr add fd00::5/64 dev out nodad &&
    ip route add default via 10.0.0.1 && ip route add default via 10.0.0.2 metric 9 &&
    ip -6 route add default nexthop via fd00::1 nexthop via fd00::2";

/// Gives the address that the node speaks from to another.
fn speaks_from(to: &str) -> IpAddr {
    let to = ip(to);
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect((to, 9)).unwrap();
    socket.local_addr().unwrap().ip()
}

/// Fails unless just these are told to be refused, for these reasons, before anything is done.
async fn foreseen(kernel: &mut Linux, steps: &[Step], refused: [(&str, Errno, &str); 8]) {
    let before = vips(kernel).await;
    let told = kernel.refusals(steps).await.unwrap();
    let problem = |(address, errno, cause): (&str, Errno, &str)| {
        let problem = Problem::new(errno as i32, cause.to_owned());
        (vip(address), problem)
    };
    assert_eq!(told, refused.map(problem).into());
    assert_eq!(vips(kernel).await, before);
}

#[test]
fn what_others_have_is_refused_with_the_reason() {
    in_new_netns(|| async {
        sh(NODE);
        sh("ip route add local 10.7.0.0/16 dev lo");
        let (mut kernel, _) = Linux::open(vec![ip("10.0.0.77")]).await;
        let cases: [(&str, Errno, &str); 8] = [
            (
                "10.0.0.1",
                Errno::EADDRINUSE,
                "10.0.0.1 is this node's default gateway",
            ),
            (
                "10.0.0.2",
                Errno::EADDRINUSE,
                "10.0.0.2 is this node's default gateway",
            ),
            (
                "fd00::1",
                Errno::EADDRINUSE,
                "fd00::1 is this node's default gateway",
            ),
            (
                "fd00::2",
                Errno::EADDRINUSE,
                "fd00::2 is this node's default gateway",
            ),
            (
                "10.0.0.77",
                Errno::EADDRINUSE,
                "10.0.0.77 is the controller's own address",
            ),
            (
                "10.0.0.5",
                Errno::EEXIST,
                "10.0.0.5 is an address of this node already",
            ),
            (
                "fd00::5",
                Errno::EEXIST,
                "fd00::5 is an address of this node already",
            ),
            (
                "10.7.1.2",
                Errno::EEXIST,
                "10.7.1.2 is an address of this node already",
            ),
        ];
        // before there is a link as well
        let all = cases.map(|(address, ..)| add(vip(address), as_address()));
        foreseen(&mut kernel, &all, cases).await;
        must(&mut kernel, &[add(Key::Link, Object::Present)]).await;
        for object in [as_address(), as_route()] {
            let all = cases.map(|(address, ..)| add(vip(address), object.clone()));
            foreseen(&mut kernel, &all, cases).await;
            for (address, errno, expected) in cases {
                let verdicts = kernel.apply(&[add(vip(address), object.clone())]).await;
                assert_eq!(cause(&verdicts[0]), (errno as i32, expected));
            }
            // and the same among many
            let other = |low: u8| add(vip(&format!("10.8.0.{low}")), object.clone());
            let mut steps: Vec<Step> = (1..=80).map(other).collect();
            steps.extend(cases.map(|(address, ..)| add(vip(address), object.clone())));
            foreseen(&mut kernel, &steps, cases).await;
            let verdicts = kernel.apply(&steps).await;
            assert_eq!(verdicts[..80], vec![Ok(()); 80]);
            for (verdict, (_, errno, expected)) in verdicts[80..].iter().zip(cases) {
                assert_eq!(cause(verdict), (errno as i32, expected));
            }
            let remove = |step: &Step| Step::Remove { key: step.key() };
            let steps: Vec<Step> = steps[..80].iter().map(remove).collect();
            must(&mut kernel, &steps).await;
        }
        assert_eq!(vips(&mut kernel).await, Table::new());
    });
}

#[test]
fn an_address_that_others_have_is_not_locked_for_a_vip_that_cannot_be_bound() {
    in_new_netns(|| async {
        sh(NODE);
        let mut kernel = with_link(Vec::new()).await;
        let (theirs, ours) = ("10.0.0.5", "10.8.0.1");
        let lock = |address| Key::Guard(Guard::Vip(ip(address)));
        let steps = [
            add(Key::Lockdown(Family::V4), Object::Present),
            add(lock(theirs), Object::Present),
            add(lock(ours), Object::Present),
            add(vip(theirs), as_address()),
            add(vip(ours), as_address()),
        ];
        let problem = Problem::new(
            Errno::EEXIST as i32,
            "10.0.0.5 is an address of this node already".to_owned(),
        );
        let refused = [lock(theirs), vip(theirs)];
        let told = kernel.refusals(&steps).await.unwrap();
        assert_eq!(told, refused.map(|key| (key, problem.clone())).into());
        for (step, verdict) in steps.iter().zip(kernel.apply(&steps).await) {
            let expected = match refused.contains(&step.key()) {
                true => Err(problem.clone().into()),
                false => Ok(()),
            };
            assert_eq!(verdict, expected, "{step:?}");
        }
        let guards = kernel.read(&Scope::All).await.unwrap().into_keys();
        let guards = guards.filter(|key| matches!(key, Key::Guard(_)));
        assert_eq!(guards.collect::<Vec<_>>(), [lock(ours)]);
        // nor among many
        let many = |low: u8| add(vip(&format!("10.9.0.{low}")), as_address());
        let mut steps: Vec<Step> = (1..=80).map(many).collect();
        steps.insert(0, add(lock(theirs), Object::Present));
        steps.push(add(vip(theirs), as_address()));
        let verdicts = kernel.apply(&steps).await;
        assert_eq!(verdicts[1..81], vec![Ok(()); 80]);
        for verdict in [&verdicts[0], &verdicts[81]] {
            assert_eq!(*verdict, Err(problem.clone().into()));
        }
        let gone = [Step::Remove {
            key: Key::Lockdown(Family::V4),
        }];
        must(&mut kernel, &gone).await;
    });
}

#[test]
fn a_local_route_of_somebody_else_shows_and_stays() {
    in_new_netns(|| async {
        let mut kernel = with_link(Vec::new()).await;
        sh("ip route add local 10.9.0.1/32 dev weir0 proto static &&
            ip -6 route add local fd09::1/128 dev weir0 table local proto static");
        for address in ["10.9.0.1", "fd09::1"] {
            let theirs = Object::Value("a local route of protocol 4".to_owned());
            let expected = Table::from([(vip(address), theirs)]);
            assert_eq!(one(&mut kernel, address).await, expected);
            let steps = [
                add(vip(address), as_route()),
                edit(vip(address), as_address()),
                Step::Remove { key: vip(address) },
            ];
            let verdicts = kernel.apply(&steps).await;
            let not_ours =
                format!("a local route to {address} is there that is not ours (protocol 4)");
            assert_eq!(cause(&verdicts[0]), (Errno::EEXIST as i32, &*not_ours));
            assert_eq!(cause(&verdicts[1]), (Errno::EEXIST as i32, &*not_ours));
            let absent = (Errno::EADDRNOTAVAIL as i32, "the VIP is not bound");
            assert_eq!(cause(&verdicts[2]), absent);
            assert_eq!(one(&mut kernel, address).await, expected);
        }
        assert_eq!(vips(&mut kernel).await.len(), 2);
    });
}

#[test]
fn a_node_speaks_from_its_own_address_and_not_from_a_vip() {
    in_new_netns(|| async {
        sh(NODE);
        let mut kernel = with_link(Vec::new()).await;
        let steps = [
            add(vip("10.9.0.1"), as_route()),
            add(vip("fd09::1"), as_route()),
            add(vip("fd09::2"), as_address()),
        ];
        must(&mut kernel, &steps).await;
        // its own client as well as another's
        for (to, from) in [
            ("10.9.0.1", "10.0.0.5"),
            ("192.0.2.1", "10.0.0.5"),
            ("fd09::1", "fd00::5"),
            ("2001:db8::1", "fd00::5"),
        ] {
            assert_eq!(speaks_from(to), ip(from), "to {to}");
        }
        must(&mut kernel, &[edit(vip("10.9.0.1"), as_address())]).await;
        must(&mut kernel, &[edit(vip("10.9.0.1"), as_route())]).await;
        assert_eq!(speaks_from("10.9.0.1"), ip("10.0.0.5"));
        let mut addresses = kernel.node_addresses().await.unwrap();
        addresses
            .retain(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()));
        assert_eq!(addresses, [ip("10.0.0.5"), ip("fd00::5")]);
    });
}

#[test]
fn a_node_without_an_address_binds_routes_all_the_same() {
    in_new_netns(|| async {
        let mut kernel = with_link(Vec::new()).await;
        for address in ["10.9.0.1", "fd09::1"] {
            must(&mut kernel, &[add(vip(address), as_route())]).await;
            assert_eq!(
                one(&mut kernel, address).await,
                Table::from([(vip(address), as_route())])
            );
        }
        // IPv6 would speak from what every link has
        assert_eq!(speaks_from("10.9.0.1"), ip("10.9.0.1"));
    });
}

#[test]
fn the_last_address_takes_no_route_with_it() {
    in_new_netns(|| async {
        sh(NODE);
        let mut kernel = with_link(Vec::new()).await;
        // somebody else's address, and its end
        sh("ip addr add 10.9.9.9/32 dev weir0");
        let routes = [
            add(vip("10.9.0.1"), as_route()),
            add(vip("fd09::1"), as_route()),
        ];
        must(&mut kernel, &routes).await;
        sh("ip addr del 10.9.9.9/32 dev weir0");
        let expected = Table::from([(vip("10.9.0.1"), as_route()), (vip("fd09::1"), as_route())]);
        assert_eq!(vips(&mut kernel).await, expected);
        // nor does the address they speak from
        sh("ip addr flush dev out");
        assert_eq!(vips(&mut kernel).await, expected);
        must(
            &mut kernel,
            &[Step::Remove {
                key: vip("10.9.0.1"),
            }],
        )
        .await;
        must(
            &mut kernel,
            &[Step::Remove {
                key: vip("fd09::1"),
            }],
        )
        .await;
        assert_eq!(vips(&mut kernel).await, Table::new());
    });
}
