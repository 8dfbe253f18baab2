//! A neighbour asks for VIPs, and sends to them whether it was answered or not.

use std::fs::File;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use weir_agent::plan::Setting;

use crate::netns::{in_new_netns, sh};
use crate::{add, as_address, as_route, edit, ip, must, set, silent, vip, with_link};

/// Answers take below a millisecond; a question is repeated three times, a second apart, before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A neighbour on one wire with this node, which is 10.0.0.5; it thinks that 10.9.0.0/16 is on the wire as well.
struct Neighbour(&'static str);

impl Neighbour {
    fn new(name: &'static str) -> Self {
        sh(&format!(
            "ip netns add {name} && ip link add wire type veth peer name wire netns {name} &&
             ip addr add 10.0.0.5/24 dev wire && ip link set wire up &&
             ip -n {name} link set lo up && ip -n {name} link set wire up &&
             ip -n {name} addr add 10.0.0.9/24 dev wire && ip -n {name} route add 10.9.0.0/16 dev wire"
        ));
        Self(name)
    }

    /// Calls `act` inside.
    fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let door = File::open(format!("/run/netns/{}", self.0)).unwrap();
        let inside = move || {
            setns(&door, CloneFlags::CLONE_NEWNET).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    /// Asks who has an address, and says whether it was told.
    fn hears_of(&self, address: &str) -> bool {
        let name = self.0;
        sh(&format!("ip -n {name} neigh flush all"));
        self.enter(|| {
            let socket = UdpSocket::bind("10.0.0.9:0").unwrap();
            socket.send_to(b"?", (ip(address), 9)).unwrap();
        });
        let until = Instant::now() + PATIENCE;
        loop {
            let known = sh(&format!("ip -n {name} neigh show {address} dev wire"));
            match known.split_whitespace().last() {
                Some("REACHABLE" | "STALE" | "DELAY" | "PROBE") => return true,
                Some("FAILED") => return false,
                _ if Instant::now() > until => panic!("no end to asking for {address}: {known}"),
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Sends to an address at this node's MAC, unasked, and says whether it was echoed from there.
    fn is_echoed_by(&self, address: &str) -> bool {
        let shown = sh("ip -o link show dev wire");
        let mut words = shown.split_whitespace();
        let mac = words.find(|word| *word == "link/ether").and(words.next());
        let mac = mac.unwrap_or_else(|| panic!("no MAC in {shown}"));
        let name = self.0;
        sh(&format!(
            "ip -n {name} neigh replace {address} lladdr {mac} dev wire nud permanent"
        ));
        let server = UdpSocket::bind((ip(address), 7)).unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let echoed = self.enter(|| {
            let client = UdpSocket::bind("10.0.0.9:0").unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.connect((ip(address), 7)).unwrap();
            client.send(b"hello").unwrap();
            let mut got = [0; 5];
            let (_, from) = server.recv_from(&mut got).unwrap();
            server.send_to(&got, from).unwrap();
            let mut back = [0; 5];
            client.recv(&mut back).is_ok() && back == *b"hello"
        });
        sh(&format!("ip -n {name} neigh del {address} dev wire"));
        echoed
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        sh(&format!("ip netns delete {}", self.0));
    }
}

#[test]
fn a_silent_vip_is_not_answered_for_and_takes_what_comes() {
    in_new_netns(|| async {
        let neighbour = Neighbour::new("vips-silent");
        let mut kernel = with_link(Vec::new()).await;
        let (quiet, loud) = ("10.9.0.1", "10.9.0.2");
        let steps = [
            add(vip(quiet), silent()),
            add(vip(loud), as_address()),
            set(Setting::ArpIgnore, "3"),
        ];
        must(&mut kernel, &steps).await;
        assert!(!neighbour.hears_of(quiet));
        assert!(neighbour.hears_of(loud));
        assert!(neighbour.hears_of("10.0.0.5"), "the node's own");
        assert!(neighbour.is_echoed_by(quiet));
        assert!(neighbour.is_echoed_by(loud));
        must(
            &mut kernel,
            &[edit(vip(quiet), as_address()), edit(vip(loud), silent())],
        )
        .await;
        assert!(neighbour.hears_of(quiet));
        assert!(!neighbour.hears_of(loud));
        assert!(neighbour.is_echoed_by(loud));
    });
}

#[test]
fn a_route_is_answered_for_where_nothing_is_silent() {
    in_new_netns(|| async {
        let neighbour = Neighbour::new("vips-route");
        let mut kernel = with_link(Vec::new()).await;
        let address = "10.9.0.1";
        must(&mut kernel, &[add(vip(address), as_route())]).await;
        assert!(neighbour.hears_of(address));
        assert!(neighbour.is_echoed_by(address));
        // inet_confirm_addr in net/ipv4/devinet.c looks for an address, and there is none
        must(&mut kernel, &[set(Setting::ArpIgnore, "3")]).await;
        assert!(!neighbour.hears_of(address));
        assert!(neighbour.is_echoed_by(address));
    });
}
