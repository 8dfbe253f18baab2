//! Nodes with pods on their bridges, joined by a fabric with a client on it; each a network namespace.
//!
//! ```text
//!   client .9 ------- fabric 192.168.77.0/24, fd77::/64 ------- nodes .1, .2, ...
//!   node-a br0 10.0.0.1/24, fd00::1/64          node-b br0 10.0.1.1/24, fd00:0:0:1::1/64
//!     pod-x 10.0.0.11, fd00::11                   pod-z 10.0.1.11, fd00:0:0:1::11
//!     pod-y 10.0.0.21, fd00::21
//!   node-c, where there is one, is the next in each of these numbers, with pod-w 10.0.2.11
//! ```
//! Pods route through their node, nodes to each other's pods, the client to the virtual addresses through
//! node-a. The nodes are as a node is before weir: `ip_forward` is left for the agent to turn on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::{self, Proto};
use crate::daemon::Daemon;
use crate::netns::Netns;
use crate::program;
use crate::server::{HTTP_PORT, UDP_PORT};

/// Where the client sends what is meant for a virtual address.
const VIPS: [&str; 2] = ["10.100.0.0/16", "fd64::/64"];
/// The client's number on the fabric; nodes have theirs from 1.
const CLIENT: u8 = 9;
/// A pod's server is up in some tens of milliseconds.
const POD_DEADLINE: Duration = Duration::from_secs(10);

/// A pod: a namespace on its node's bridge, with the server of [`crate::server`] in it.
#[derive(Debug)]
pub struct Pod {
    /// Its name, which it answers with.
    pub name: String,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its other address.
    pub v6: Ipv6Addr,
    server: Daemon,
    /// Where it is.
    pub netns: Netns,
}

/// A node: a namespace with a bridge that its pods are on.
#[derive(Debug)]
pub struct Node {
    /// Its name, as the agent is told.
    pub name: String,
    /// Its address on the fabric.
    pub fabric: Ipv4Addr,
    /// Its pods, as given.
    pub pods: Vec<Pod>,
    /// Where it is.
    pub netns: Netns,
    number: u8,
}

/// All of it. Dropping it takes it down.
#[derive(Debug)]
pub struct Topology {
    /// From node-a on.
    pub nodes: Vec<Node>,
    /// A host that is neither node nor pod.
    pub client: Netns,
    _fabric: Netns,
}

impl Pod {
    /// The address of its HTTP or its UDP server.
    pub fn server(&self, proto: Proto, ipv6: bool) -> SocketAddr {
        let address: IpAddr = if ipv6 { self.v6.into() } else { self.v4.into() };
        let port = match proto {
            Proto::Tcp => HTTP_PORT,
            Proto::Udp => UDP_PORT,
        };
        (address, port).into()
    }
}

impl Topology {
    /// Builds node-a with pod-x. `prefix` goes before the name of each namespace.
    pub fn one_pod(prefix: &str, logs: &Path) -> Result<Topology> {
        Topology::build(prefix, logs, &[("node-a", &[("pod-x", 11)])])
    }

    /// Builds node-a with pod-x and pod-y. `prefix` goes before the name of each namespace.
    pub fn two_pods(prefix: &str, logs: &Path) -> Result<Topology> {
        Topology::build(prefix, logs, &[("node-a", &[("pod-x", 11), ("pod-y", 21)])])
    }

    /// Builds that and node-b with pod-z.
    pub fn two_nodes(prefix: &str, logs: &Path) -> Result<Topology> {
        let nodes: [(&str, &[(&str, u8)]); 2] = [
            ("node-a", &[("pod-x", 11), ("pod-y", 21)]),
            ("node-b", &[("pod-z", 11)]),
        ];
        Topology::build(prefix, logs, &nodes)
    }

    /// Builds that and node-c with pod-w.
    pub fn three_nodes(prefix: &str, logs: &Path) -> Result<Topology> {
        let nodes: [(&str, &[(&str, u8)]); 3] = [
            ("node-a", &[("pod-x", 11), ("pod-y", 21)]),
            ("node-b", &[("pod-z", 11)]),
            ("node-c", &[("pod-w", 11)]),
        ];
        Topology::build(prefix, logs, &nodes)
    }

    /// Builds node-a, node-b and node-c without any pod.
    pub fn three_hosts(prefix: &str, logs: &Path) -> Result<Topology> {
        let nodes = [("node-a", &[][..]), ("node-b", &[]), ("node-c", &[])];
        Topology::build(prefix, logs, &nodes)
    }

    /// The node of a name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let node = self.nodes.iter().find(|node| node.name == name);
        node.with_context(|| format!("no node {name}"))
    }

    /// The pod of a name, on whichever node.
    pub fn pod(&self, name: &str) -> Result<&Pod> {
        let mut pods = self.nodes.iter().flat_map(|node| &node.pods);
        pods.find(|pod| pod.name == name)
            .with_context(|| format!("no pod {name}"))
    }

    fn build(prefix: &str, logs: &Path, plan: &[(&str, &[(&str, u8)])]) -> Result<Topology> {
        let fabric = Netns::create(&format!("{prefix}fabric"))?;
        fabric.ip("link add br0 type bridge\nlink set br0 up")?;
        let client = Netns::create(&format!("{prefix}client"))?;
        attach(&fabric, &client, CLIENT)?;
        client.ip(&VIPS.map(|vips| route(vips, 1)).concat())?;
        let mut nodes = Vec::new();
        for (number, (name, pods)) in (1..).zip(plan) {
            let netns = Netns::create(&format!("{prefix}{name}"))?;
            attach(&fabric, &netns, number)?;
            let mut node = Node {
                name: (*name).into(),
                fabric: Ipv4Addr::new(192, 168, 77, number),
                pods: Vec::new(),
                netns,
                number,
            };
            lay_bridge(&node)?;
            for (pod, host) in *pods {
                let pod = place_pod(&node, prefix, pod, *host, logs)?;
                node.pods.push(pod);
            }
            nodes.push(node);
        }
        let subnets: Vec<(u8, String)> = nodes
            .iter()
            .flat_map(|node| subnets(node.number).map(|subnet| (node.number, subnet)))
            .collect();
        for node in &nodes {
            let others = subnets.iter().filter(|(number, _)| *number != node.number);
            let routes: String = others.map(|(via, subnet)| route(subnet, *via)).collect();
            if !routes.is_empty() {
                node.netns.ip(&routes)?;
            }
        }
        let topology = Topology {
            nodes,
            client,
            _fabric: fabric,
        };
        topology.wait()
    }

    /// Lets the client reach a virtual address through another node than node-a.
    pub fn send_through(&self, vip: Ipv4Addr, node: &str) -> Result<()> {
        let via = self.node(node)?.fabric;
        self.client.ip(&format!("route add {vip}/32 via {via}"))
    }

    /// Loses every packet between two nodes themselves, until [`Self::join`]; pods are reached as before.
    pub fn part(&self, node: &str, other: &str) -> Result<()> {
        self.route_away(node, other, "add")
    }

    /// Ends what [`Self::part`] began.
    pub fn join(&self, node: &str, other: &str) -> Result<()> {
        self.route_away(node, other, "del")
    }

    /// On both of them: a route to nowhere stops no packet that comes from there (`net/ipv4/fib_frontend.c`,
    /// `fib_validate_source`).
    fn route_away(&self, node: &str, other: &str, what: &str) -> Result<()> {
        for (node, other) in [(node, other), (other, node)] {
            let to = self.node(other)?.fabric;
            let netns = &self.node(node)?.netns;
            netns.ip(&format!("route {what} blackhole {to}/32"))?;
        }
        Ok(())
    }

    /// Waits for every pod's server, all of which start side by side.
    fn wait(mut self) -> Result<Topology> {
        for pod in self.nodes.iter_mut().flat_map(|node| &mut node.pods) {
            let target = SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT));
            let netns = &pod.netns;
            pod.server.ready(POD_DEADLINE, || {
                netns.enter(|| client::request(Proto::Tcp, target, POD_DEADLINE))??;
                Ok(())
            })?;
        }
        Ok(self)
    }
}

/// Both subnets of a node's pods.
fn subnets(node: u8) -> [String; 2] {
    let subnet = node - 1;
    [
        format!("10.0.{subnet}.0/24"),
        format!("fd00:0:0:{subnet}::/64"),
    ]
}

/// One line for `ip`: reach `subnet` through a node's address on the fabric.
fn route(subnet: &str, via: u8) -> String {
    let via = if subnet.contains(':') {
        format!("fd77::{via}")
    } else {
        format!("192.168.77.{via}")
    };
    format!("route add {subnet} via {via}\n")
}

/// Gives a host its link on the fabric, `eth0`.
fn attach(fabric: &Netns, host: &Netns, number: u8) -> Result<()> {
    fabric.ip(&format!(
        "link add port{number} type veth peer name eth0 netns {}\n\
         link set port{number} master br0 up",
        host.name()
    ))?;
    host.ip(&format!(
        "link set eth0 up\n\
         addr add 192.168.77.{number}/24 dev eth0\n\
         addr add fd77::{number}/64 dev eth0 nodad"
    ))
}

/// Lays a node's bridge. What one pod sends to the other must pass the node's netfilter, or the answer to a
/// request through a virtual address would be switched past the node and never be translated back.
fn lay_bridge(node: &Node) -> Result<()> {
    let subnet = node.number - 1;
    node.netns.ip(&format!(
        "link add br0 type bridge\n\
         link set br0 up\n\
         addr add 10.0.{subnet}.1/24 dev br0\n\
         addr add fd00:0:0:{subnet}::1/64 dev br0 nodad"
    ))?;
    node.netns
        .sysctl(&[
            ("ipv6/conf/all/forwarding", "1"),
            ("bridge/bridge-nf-call-iptables", "1"),
            ("bridge/bridge-nf-call-ip6tables", "1"),
        ])
        .context("is br_netfilter loaded?")
}

/// Puts a pod on its node's bridge. Its port is in hairpin mode: the answer to a request that a pod makes to
/// itself comes from that port, is translated in the bridge, and must leave through it again.
fn place_pod(node: &Node, prefix: &str, name: &str, host: u8, logs: &Path) -> Result<Pod> {
    let subnet = node.number - 1;
    let netns = Netns::create(&format!("{prefix}{name}"))?;
    node.netns.ip(&format!(
        "link add {name} type veth peer name eth0 netns {}\n\
         link set {name} master br0 up\n\
         link set {name} type bridge_slave hairpin on",
        netns.name()
    ))?;
    netns.ip(&format!(
        "link set eth0 up\n\
         addr add 10.0.{subnet}.{host}/24 dev eth0\n\
         addr add fd00:0:0:{subnet}::{host}/64 dev eth0 nodad\n\
         route add default via 10.0.{subnet}.1\n\
         route add default via fd00:0:0:{subnet}::1"
    ))?;
    let mut serve = netns.command(program::ours("pod")?);
    serve.args(["serve", name]);
    Ok(Pod {
        name: name.into(),
        v4: Ipv4Addr::new(10, 0, subnet, host),
        v6: format!("fd00:0:0:{subnet}::{host}").parse()?,
        server: Daemon::start(name, serve, logs)?,
        netns,
    })
}
