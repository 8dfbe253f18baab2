//! Real connections through a VIP.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use weir_agent::kernel::linux::Linux;
use weir_agent::kernel::{Kernel, Meter};
use weir_agent::plan::{
    BackendSpec, Connections, Key, Look, Numbers, Object, ServiceSpec, Setting, Step,
};
use weir_proto::model::{BackendKey, Family, Forwarding, ItemKey, Protocol};

use crate::netns::{in_new_netns, sh};
use crate::{add, at, backend, frontend, must, vip};

/// One exchange takes below a millisecond.
const PATIENCE: Duration = Duration::from_secs(10);

/// The addresses of one family: this node forwards between clients and backends.
struct Net {
    family: Family,
    flag: &'static str,
    vip: &'static str,
    backends: [&'static str; 2],
    /// What `conntrack` calls it.
    name: &'static str,
}

const V4: Net = Net {
    family: Family::V4,
    flag: "-4",
    vip: "10.9.0.1",
    backends: ["10.0.2.11", "10.0.2.12"],
    name: "ipv4",
};
const V6: Net = Net {
    family: Family::V6,
    flag: "-6",
    vip: "fd09::1",
    backends: ["fd00:2::11", "fd00:2::12"],
    name: "ipv6",
};

fn wire(net: &Net, name: &str) {
    let (mask, gateway, own, nodad) = match net.family {
        Family::V4 => ("24", ["10.0.1.5", "10.0.2.5"], "10.0.1.9", ""),
        Family::V6 => ("64", ["fd00:1::5", "fd00:2::5"], "fd00:1::9", "nodad"),
    };
    let (clients, servers) = (format!("{name}-clients"), format!("{name}-servers"));
    let Net { flag, backends, .. } = net;
    sh(&format!(
        "ip netns add {clients} && ip netns add {servers} &&
         ip link add front type veth peer name wire netns {clients} &&
         ip link add back type veth peer name wire netns {servers} &&
         ip link set front up && ip link set back up &&
         ip addr add {}/{mask} dev front {nodad} && ip addr add {}/{mask} dev back {nodad} &&
         ip -n {clients} link set lo up && ip -n {clients} link set wire up &&
         ip -n {servers} link set lo up && ip -n {servers} link set wire up &&
         ip -n {clients} addr add {own}/{mask} dev wire {nodad} &&
         ip -n {servers} addr add {}/{mask} dev wire {nodad} &&
         ip -n {servers} addr add {}/{mask} dev wire {nodad} &&
         ip -n {clients} {flag} route add default via {} &&
         ip -n {servers} {flag} route add default via {}",
        gateway[0], gateway[1], backends[0], backends[1], gateway[0], gateway[1],
    ));
}

/// Calls `act` in another network namespace; sockets made there stay there.
fn enter<T: Send>(name: &str, act: impl FnOnce() -> T + Send) -> T {
    let door = File::open(format!("/run/netns/{name}")).unwrap();
    let inside = move || {
        setns(&door, CloneFlags::CLONE_NEWNET).unwrap();
        act()
    };
    thread::scope(|scope| scope.spawn(inside).join().unwrap())
}

impl Net {
    fn at(&self, address: &str, port: u16) -> SocketAddr {
        SocketAddr::new(crate::ip(address), port)
    }

    fn service(&self, protocol: Protocol) -> [BackendKey; 2] {
        let frontend = frontend(protocol, self.at(self.vip, 80));
        let of = |address| backend(frontend, self.at(address, 8080));
        self.backends.map(of)
    }

    /// Lists flows as who is spoken to and who answers, by the program that shows them.
    fn flows(&self, protocol: &str) -> Vec<(SocketAddr, SocketAddr)> {
        let listing = sh(&format!(
            "conntrack -L -f {} -p {protocol} 2>/dev/null",
            self.name
        ));
        let of = |line: &str| {
            let all = |name: &str| -> Vec<String> {
                let words = line.split_whitespace();
                words
                    .filter_map(|word| word.strip_prefix(name)?.strip_prefix('='))
                    .map(str::to_owned)
                    .collect()
            };
            let port = |text: &str| text.parse().unwrap();
            let original = self.at(&all("dst")[0], port(&all("dport")[0]));
            (original, self.at(&all("src")[1], port(&all("sport")[1])))
        };
        let mut flows: Vec<_> = listing.lines().map(of).collect();
        flows.sort();
        flows
    }
}

async fn set_up(net: &Net, protocols: &[Protocol]) -> Linux {
    let (mut kernel, _) = Linux::open(Vec::new()).await;
    let set = |setting| Step::Edit {
        key: Key::Setting(setting),
        object: Object::Value("1".to_owned()),
    };
    // the rule makes the kernel track flows
    let mut steps = vec![
        set(Setting::Conntrack),
        set(Setting::ForwardV4),
        set(Setting::ForwardV6),
        add(Key::Link, Object::Present),
        add(Key::LoopbackSet(net.family), Object::Present),
        add(Key::LoopbackRule(net.family), Object::Present),
        add(vip(net.vip), Object::Vip(Default::default())),
    ];
    for protocol in protocols {
        let backends = net.service(*protocol);
        let spec = ServiceSpec {
            scheduler: "rr".to_owned(),
            ..ServiceSpec::default()
        };
        let key = Key::Item(ItemKey::VirtualService(backends[0].frontend));
        steps.push(add(key, Object::Service(spec)));
        let spec = BackendSpec {
            weight: 1,
            forwarding: Some(Forwarding::Masquerade),
            ..BackendSpec::default()
        };
        let of = |backend| add(Key::Item(ItemKey::Backend(backend)), Object::Backend(spec));
        steps.extend(backends.map(of));
    }
    must(&mut kernel, &steps).await;
    kernel
}

async fn counted(kernel: &mut Linux, backends: &[BackendKey]) -> Vec<[u32; 2]> {
    let frontends = backends.iter().map(|backend| backend.frontend).collect();
    let found = kernel.connections(&frontends).await.unwrap();
    assert_eq!(found.len(), backends.len());
    let of = |backend| {
        let Connections { active, inactive } = found[backend];
        [active, inactive]
    };
    backends.iter().map(of).collect()
}

async fn tcp(net: &'static Net, name: &str) {
    wire(net, name);
    let mut kernel = set_up(net, &[Protocol::Tcp]).await;
    let backends = net.service(Protocol::Tcp);
    let (servers, clients) = (format!("{name}-servers"), format!("{name}-clients"));
    let listeners = enter(&servers, || {
        net.backends
            .map(|address| TcpListener::bind(net.at(address, 8080)).unwrap())
    });
    let streams: Vec<TcpStream> = enter(&clients, || {
        let to = |address| TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        let service = net.at(net.vip, 80);
        // three to the service, and one to the first backend itself
        let direct = net.at(net.backends[0], 8080);
        [service, service, service, direct].map(to).into()
    });
    let mut counts = counted(&mut kernel, &backends).await;
    counts.sort();
    assert_eq!(counts, [[1, 0], [2, 0]]);
    let (to_service, direct) = (net.at(net.vip, 80), net.at(net.backends[0], 8080));
    let answered = net.backends.map(|address| net.at(address, 8080));
    let before = net.flows("tcp");
    let of = |backend: usize| (to_service, answered[backend]);
    let count = |flows: &[_], one| flows.iter().filter(|flow| **flow == one).count();
    let [first, second] = [0, 1].map(|backend| count(&before, of(backend)));
    assert_eq!((first + second, count(&before, (direct, direct))), (3, 1));

    let gone = kernel.forget_flows(&[backends[0]].into()).await.unwrap();
    assert_eq!(gone, first as u64);
    let mut left: Vec<_> = vec![of(1); second];
    left.push((direct, direct));
    left.sort();
    assert_eq!(net.flows("tcp"), left, "of {before:?}");
    // IPVS knows of its connections as before
    let mut counts = counted(&mut kernel, &backends).await;
    counts.sort();
    assert_eq!(counts, [[1, 0], [2, 0]]);
    let gone = kernel.forget_flows(&[backends[0]].into()).await.unwrap();
    assert_eq!(gone, 0);
    drop((listeners, streams));
}

async fn udp(net: &'static Net, name: &str) {
    wire(net, name);
    let mut kernel = set_up(net, &[Protocol::Udp, Protocol::Tcp]).await;
    let backends = net.service(Protocol::Udp);
    let (servers, clients) = (format!("{name}-servers"), format!("{name}-clients"));
    let sockets = enter(&servers, || {
        net.backends.map(|address| {
            let socket = UdpSocket::bind(net.at(address, 8080)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        })
    });
    let asking: Vec<UdpSocket> = enter(&clients, || {
        let unspecified = if net.family == Family::V4 {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let targets = [
            net.at(net.vip, 80),
            net.at(net.vip, 80),
            net.at(net.backends[0], 8080),
        ];
        let ask = |target| {
            let socket = UdpSocket::bind(unspecified).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect(target).unwrap();
            socket.send(b"hello").unwrap();
            socket
        };
        targets.map(ask).into()
    });
    // each is answered: two by the first backend, one by the second
    for socket in [&sockets[0], &sockets[0], &sockets[1]] {
        let mut got = [0; 5];
        let (_, from) = socket.recv_from(&mut got).unwrap();
        socket.send_to(&got, from).unwrap();
    }
    for socket in &asking {
        assert_eq!(socket.recv(&mut [0; 5]).unwrap(), 5);
    }
    assert_eq!(counted(&mut kernel, &backends).await, [[0, 1], [0, 1]]);
    let service = net.at(net.vip, 80);
    let [first, second] = net.backends.map(|address| net.at(address, 8080));
    let mut before = vec![(service, first), (service, second), (first, first)];
    before.sort();
    assert_eq!(net.flows("udp"), before);

    // no flow of TCP goes through either
    let of_tcp: BTreeSet<_> = net.service(Protocol::Tcp).into();
    assert_eq!(kernel.forget_flows(&of_tcp).await.unwrap(), 0);
    // out of IPVS first
    let key = Key::Item(ItemKey::Backend(backends[0]));
    must(&mut kernel, &[Step::Remove { key }]).await;
    let gone = kernel.forget_flows(&[backends[0]].into()).await.unwrap();
    assert_eq!(gone, 1);
    let mut left = vec![(service, second), (first, first)];
    left.sort();
    assert_eq!(net.flows("udp"), left);
    assert_eq!(counted(&mut kernel, &backends[1..]).await, [[0, 1]]);
}

#[test]
fn only_the_flows_of_the_backend_go_and_only_those_through_the_vip() {
    in_new_netns(|| tcp(&V4, "tcp4"));
}

#[test]
fn ipv6_flows_go_as_well() {
    in_new_netns(|| tcp(&V6, "tcp6"));
}

#[test]
fn udp_flows_go_after_their_backend() {
    in_new_netns(|| udp(&V4, "udp4"));
}

#[test]
fn udp_flows_of_ipv6_go_after_their_backend() {
    in_new_netns(|| udp(&V6, "udp6"));
}

#[test]
fn a_service_that_is_not_there_has_no_connections_and_costs_one_dump() {
    in_new_netns(|| async {
        let mut kernel = set_up(&V4, &[Protocol::Tcp, Protocol::Udp]).await;
        let absent = frontend(Protocol::Sctp, at("10.9.0.1:80"));
        let before = kernel.ipvs_counts();
        let found = kernel.connections(&[absent].into()).await.unwrap();
        assert!(found.is_empty(), "{found:?}");
        let both = V4.service(Protocol::Tcp).map(|backend| backend.frontend);
        kernel.connections(&both.into()).await.unwrap();
        let now = kernel.ipvs_counts();
        let cost = [now.dumps - before.dumps, now.messages - before.messages];
        assert_eq!(cost, [2, 2], "a dump for each service");
    });
}

/// Opens connections and looks at counters, again and again, until just these backends are silent.
async fn until_silent(
    expected: &[BackendKey],
    clients: &str,
    meter: &mut impl Meter,
    numbers: &mut Numbers,
) {
    let expected: BTreeSet<BackendKey> = expected.iter().copied().collect();
    let deadline = Instant::now() + Duration::from_secs(25);
    loop {
        enter(clients, || {
            for _ in 0..2 {
                // longer than an answer takes here
                let soon = Duration::from_millis(200);
                let _ = TcpStream::connect_timeout(&V4.at(V4.vip, 80), soon);
            }
        });
        numbers.look(Look {
            counted: Some(meter.counters().await.unwrap()),
            ..Look::default()
        });
        if *numbers.traffic.silent() == expected {
            return;
        }
        let silent = numbers.traffic.silent();
        assert!(Instant::now() < deadline, "{silent:?}, not {expected:?}");
    }
}

#[test]
fn a_backend_that_answers_no_syn_is_silent_until_it_does() {
    in_new_netns(|| async {
        wire(&V4, "silent");
        let kernel = set_up(&V4, &[Protocol::Tcp]).await;
        let backends = V4.service(Protocol::Tcp);
        let _listeners = enter("silent-servers", || {
            V4.backends
                .map(|address| TcpListener::bind(V4.at(address, 8080)).unwrap())
        });
        let (mut meter, mut numbers) = (kernel.meter(), Numbers::default());
        let rule = format!(
            "ip -n silent-servers rule {{}} from {} blackhole",
            V4.backends[1]
        );
        sh(&rule.replace("{}", "add"));
        until_silent(&backends[1..], "silent-clients", &mut meter, &mut numbers).await;
        sh(&rule.replace("{}", "del"));
        until_silent(&[], "silent-clients", &mut meter, &mut numbers).await;
    });
}
