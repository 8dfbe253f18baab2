//! Masquerade, direct route and tunnels, IPv4 and IPv6: one director, and two other nodes whose own hosts are the
//! backends. What these two need to take packets to a VIP is weir's doing as well.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use weir_integration::capture::Capture;
use weir_integration::client::{self, Proto};
use weir_integration::daemon::Daemon;
use weir_integration::eventually::eventually;
use weir_integration::kernel_state::KernelState;
use weir_integration::netns::Netns;
use weir_integration::program;
use weir_integration::server::{HTTP_PORT, UDP_PORT};
use weir_integration::topology::{Node, Topology};

use crate::site::{PATIENCE, SOON, Site, on};

/// The client's address on the fabric, and the one behind the director.
const NEAR: [&str; 2] = ["192.168.77.9", "fd77::9"];
const FAR: [&str; 2] = ["10.200.0.1", "fd00:200::1"];
const BOTH: [&str; 2] = ["node-b", "node-c"];
const DIRECTOR: &str =
    "apiVersion: weir/v1\nkind: Node\nmetadata: {name: node-a, labels: {role: director}}\n";

/// Node-a forwards for node-b and node-c, which check the way back of what arrives as strictly as distributions do that
/// care.
fn hosts(prefix: &str, logs: &Path) -> Result<Topology> {
    let topology = Topology::three_hosts(prefix, logs)?;
    for name in BOTH {
        topology.node(name)?.netns.sysctl(&[
            ("ipv4/conf/all/rp_filter", "1"),
            ("ipv4/conf/default/rp_filter", "1"),
            ("ipv4/conf/eth0/rp_filter", "1"),
            // a way through the director that the fabric itself would shorten
            ("ipv4/conf/all/accept_redirects", "0"),
            ("ipv4/conf/eth0/accept_redirects", "0"),
            ("ipv6/conf/eth0/accept_redirects", "0"),
        ])?;
    }
    Ok(topology)
}

/// Runs a scenario on it, with a server on both hosts.
fn on_hosts(scenario: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    on(hosts, |site| {
        let mut servers = Vec::new();
        for name in BOTH {
            let netns = &site.topology.node(name)?.netns;
            let mut serve = netns.command(program::ours("pod")?);
            serve.args(["serve", name]);
            let mut server = Daemon::start(&format!("server-{name}"), serve, site.dir.path())?;
            let target: SocketAddr = ([127, 0, 0, 1], HTTP_PORT).into();
            server.ready(SOON, || {
                netns.enter(|| client::request(Proto::Tcp, target, PATIENCE))??;
                Ok(())
            })?;
            servers.push(server);
        }
        site.apply(DIRECTOR)?;
        scenario(site)
    })
}

/// A service on both hosts, HTTP and UDP under one VIP, which only node-a holds. `spec` are further lines of its spec,
/// `outer` says by which of their addresses the hosts are reached.
fn service(name: &str, vip: &str, spec: &str, outer: Family) -> String {
    let mut yaml = String::new();
    for (protocol, port) in [("TCP", HTTP_PORT), ("UDP", UDP_PORT)] {
        let backends: String = (2..)
            .zip(BOTH)
            .map(|(number, node)| {
                let address = outer.on_fabric(number);
                format!("    - {{address: '{address}', port: {port}, node: {node}}}\n")
            })
            .collect();
        let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
        yaml += &format!(
            "---\napiVersion: weir/v1\nkind: Service\nmetadata: {{name: {name}-{port}}}\nspec:\n{spec}  \
             scheduler: rr\n  nodeSelector: {{role: director}}\n  \
             frontends: [{{address: '{vip}', port: {port}, protocol: {protocol}}}]\n  backends:\n{backends}"
        );
    }
    yaml
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn on_fabric(self, number: u8) -> String {
        match self {
            Family::V4 => format!("192.168.77.{number}"),
            Family::V6 => format!("fd77::{number}"),
        }
    }
}

/// Fails unless every request to a VIP is answered, half by each host, and both see the client itself.
fn both_answer(site: &Site, vip: &str, client: &str) -> Result<()> {
    both_answer_over(site, &[(Proto::Tcp, HTTP_PORT)], (vip, client))
}

/// The same over any protocols. A host that has the VIP itself answers datagrams from another of its addresses, unless
/// its server takes care: that is not weir's.
fn both_answer_over(site: &Site, over: &[(Proto, u16)], between: (&str, &str)) -> Result<()> {
    let (vip, client): (IpAddr, IpAddr) = (between.0.parse()?, between.1.parse()?);
    for (proto, port) in over.iter().copied() {
        let target = SocketAddr::new(vip, port);
        let ask = || {
            (0..6)
                .map(|_| client::request(proto, target, PATIENCE))
                .collect()
        };
        let answers: Vec<_> = site.topology.client.enter(ask)?;
        let mut by = BTreeMap::new();
        for answer in &answers {
            let answer = answer
                .as_ref()
                .map_err(|error| anyhow::anyhow!("{error}"))
                .with_context(|| format!("{proto:?} {target}: {answers:?}"))?;
            ensure!(answer.seen == client, "{proto:?} {target}: {answers:?}");
            *by.entry(answer.pod.as_str()).or_insert(0) += 1;
        }
        ensure!(
            by == BOTH.map(|node| (node, 3)).into(),
            "{proto:?} {target}: {by:?}"
        );
    }
    Ok(())
}

/// The link-layer address of a node on the fabric.
fn mac(node: &Node) -> Result<[u8; 6]> {
    let shown = program::run(
        node.netns
            .command("ip")
            .args(["-o", "link", "show", "eth0"]),
        "",
    )?;
    let text = shown
        .split_whitespace()
        .skip_while(|word| *word != "link/ether")
        .nth(1)
        .context("no link/ether")?;
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()?;
    bytes.try_into().ok().context("not six bytes")
}

/// Who said in ARP that an address is theirs, of what was captured.
fn who_has(capture: &Capture, address: IpAddr) -> Result<Vec<[u8; 6]>> {
    const ARP: [u8; 2] = [0x08, 0x06];
    const REPLY: [u8; 2] = [0, 2];
    let IpAddr::V4(address) = address else {
        anyhow::bail!("{address} has no ARP")
    };
    let mut macs = Vec::new();
    for frame in capture.frames()? {
        let Some((ethernet, arp)) = frame.split_at_checked(14) else {
            continue;
        };
        let says = arp.len() >= 28 && arp[6..8] == REPLY && arp[14..18] == address.octets();
        if ethernet[12..] == ARP && says {
            macs.push(arp[8..14].try_into()?);
        }
    }
    Ok(macs)
}

/// Lets the client find out again who has the addresses on the fabric.
fn forget_neighbours(client: &Netns) -> Result<()> {
    client.ip("neigh flush dev eth0")
}

#[test]
fn masquerade_brings_the_answers_back_through_the_director() -> Result<()> {
    on_hosts(|site| {
        // the client as somebody beyond the director: what is masqueraded must come back through it
        let client = &site.topology.client;
        client.ip(&format!(
            "addr add {}/32 dev lo\n\
             addr add {}/128 dev lo nodad\n\
             route add 10.100.0.1 via 192.168.77.1 src {}\n\
             route add fd64::1 via fd77::1 src {}",
            FAR[0], FAR[1], FAR[0], FAR[1]
        ))?;
        for (node, via) in [("node-a", 9), ("node-b", 1), ("node-c", 1)] {
            site.topology.node(node)?.netns.ip(&format!(
                "route add {} via 192.168.77.{via}\nroute add {} via fd77::{via}",
                FAR[0], FAR[1]
            ))?;
        }
        site.apply(
            &[
                service("masquerade", "10.100.0.1", "", Family::V4),
                service("masquerade-six", "fd64::1", "", Family::V6),
            ]
            .concat(),
        )?;
        let over = [(Proto::Tcp, HTTP_PORT), (Proto::Udp, UDP_PORT)];
        both_answer_over(site, &over, ("10.100.0.1", FAR[0]))?;
        both_answer_over(site, &over, ("fd64::1", FAR[1]))
    })
}

#[test]
fn direct_route_reaches_hosts_that_have_the_vip_and_do_not_say_so() -> Result<()> {
    on_hosts(|site| {
        let direct = "forwarding: DIRECT_ROUTE\n";
        // on the fabric's own subnet, where the client asks for it by ARP
        let vip = "192.168.77.100";
        site.apply(
            &[
                service("direct", vip, direct, Family::V4),
                service("direct-six", "fd64::2", direct, Family::V6),
            ]
            .concat(),
        )?;
        let client = &site.topology.client;
        let capture = Capture::open(client)?;
        for _ in 0..3 {
            forget_neighbours(client)?;
            both_answer(site, vip, NEAR[0])?;
        }
        let director = mac(site.node_a()?)?;
        let found = who_has(&capture, vip.parse()?)?;
        ensure!(
            found == [director; 3],
            "{found:x?} say they have {vip}, the director is {director:x?}"
        );
        both_answer(site, "fd64::2", NEAR[1])?;

        // what a host is for no longer, it does not keep
        let delete = [
            "delete",
            "svc",
            "direct-8080",
            "direct-8053",
            "direct-six-8080",
            "direct-six-8053",
        ];
        site.weir.weirctl(&site.topology, &delete, "")?;
        for name in BOTH {
            let node = &site.topology.node(name)?.netns;
            eventually("the host gives up the VIPs", SOON, || {
                let KernelState {
                    addresses, routes, ..
                } = KernelState::read(node)?;
                let bound = addresses.iter().chain(&routes);
                let kept: Vec<_> = bound
                    .filter(|it| it.contains(vip) || it.contains("fd64::2"))
                    .collect();
                ensure!(kept.is_empty(), "{name} keeps {kept:?}");
                ensure!(
                    node.read_sysctl("ipv4/conf/all/arp_ignore")? == "0",
                    "{name} hides its addresses"
                );
                Ok(())
            })?;
        }
        Ok(())
    })
}

#[test]
fn tunnels_carry_either_family_in_either_to_hosts_that_unwrap_it() -> Result<()> {
    on_hosts(|site| {
        let tunnel = "forwarding: TUNNEL\n";
        let cases = [
            ("four-in-four", "10.100.0.3", Family::V4, NEAR[0]),
            ("six-in-six", "fd64::3", Family::V6, NEAR[1]),
            ("six-in-four", "fd64::4", Family::V4, NEAR[1]),
            ("four-in-six", "10.100.0.4", Family::V6, NEAR[0]),
        ];
        let yaml = cases.map(|(name, vip, outer, _)| service(name, vip, tunnel, outer));
        site.apply(&yaml.concat())?;
        for (name, vip, _, client) in cases {
            both_answer(site, vip, client).context(name)?;
        }
        Ok(())
    })
}

#[test]
fn gue_and_gre_are_sent_as_declared() -> Result<()> {
    const GUE_PORT: u16 = 6080;
    on_hosts(|site| {
        let modules = ["-a", "fou", "ipip", "ip_gre"];
        program::run(Command::new("modprobe").args(modules), "")?;
        // how a backend unwraps these is not weir's to guess
        for name in BOTH {
            let netns = &site.topology.node(name)?.netns;
            let mut fou = netns.command("ip");
            program::run(
                fou.args(["fou", "add", "port", &GUE_PORT.to_string(), "gue"]),
                "",
            )?;
            // the check of the way back lets nothing pass on a link without an address
            netns.ip("link set tunl0 up\naddr add 127.1.0.1/32 dev tunl0\n\
                 link set gre0 up\naddr add 127.1.0.2/32 dev gre0")?;
            netns.sysctl(&[
                ("ipv4/conf/tunl0/rp_filter", "2"),
                ("ipv4/conf/gre0/rp_filter", "2"),
            ])?;
        }
        let tunnel = |of: &str| format!("forwarding: TUNNEL\ntunnel: {{{of}}}\n");
        let gue = format!("type: GUE, port: {GUE_PORT}");
        let cases = [
            ("gue", "10.100.0.5", gue.clone()),
            ("gue-full", "10.100.0.6", format!("{gue}, checksum: FULL")),
            (
                "gue-remote",
                "10.100.0.7",
                format!("{gue}, checksum: REMOTE"),
            ),
            ("gre", "10.100.0.8", "type: GRE".into()),
            ("gre-full", "10.100.0.9", "type: GRE, checksum: FULL".into()),
        ];
        let yaml: Vec<String> = cases
            .iter()
            .map(|(name, vip, of)| service(name, vip, &tunnel(of), Family::V4))
            .collect();
        site.apply(&yaml.concat())?;
        for (name, vip, _) in &cases {
            if *name == "gre-full" {
                // a link of GRE takes packets with a checksum, or those without
                for (number, name) in (2..).zip(BOTH) {
                    let netns = &site.topology.node(name)?.netns;
                    netns.ip(&format!(
                        "link add gre1 type gre local 192.168.77.{number} icsum\n\
                         link set gre1 up\n\
                         addr add 127.1.0.3/32 dev gre1"
                    ))?;
                    netns.sysctl(&[("ipv4/conf/gre1/rp_filter", "2")])?;
                }
            }
            let capture = Capture::open(&site.topology.node("node-b")?.netns)?;
            both_answer(site, vip, NEAR[0]).context(*name)?;
            let seen = wrapped(&capture)?;
            let wanted = match *name {
                "gue" => Wrapped::Gue {
                    checksum: false,
                    private: false,
                },
                "gue-full" => Wrapped::Gue {
                    checksum: true,
                    private: false,
                },
                // then the kernel sends both (`ip_vs_tunnel_xmit` in ip_vs_xmit.c)
                "gue-remote" => Wrapped::Gue {
                    checksum: true,
                    private: true,
                },
                "gre" => Wrapped::Gre { checksum: false },
                _ => Wrapped::Gre { checksum: true },
            };
            ensure!(
                !seen.is_empty() && seen.iter().all(|it| *it == wanted),
                "{name}: {seen:?}, expected {wanted:?}"
            );
        }
        Ok(())
    })
}

/// What a packet was wrapped in.
#[derive(Debug, PartialEq, Eq)]
enum Wrapped {
    /// Whether the UDP header has a checksum, and the GUE header private data, which the remote checksum offload is.
    Gue { checksum: bool, private: bool },
    /// Whether the header has a checksum.
    Gre { checksum: bool },
}

/// How the IPv4 packets that were captured were wrapped, those that were.
fn wrapped(capture: &Capture) -> Result<Vec<Wrapped>> {
    const GUE_PORT: [u8; 2] = 6080_u16.to_be_bytes();
    const UDP: u8 = 17;
    const GRE: u8 = 47;
    let mut seen = Vec::new();
    for frame in capture.frames()? {
        // Ethernet with IPv4, of a header without options: what these tunnels send
        if frame.len() < 50 || frame[12..14] != [0x08, 0x00] || frame[14] != 0x45 {
            continue;
        }
        let (protocol, inner) = (frame[23], &frame[34..]);
        match protocol {
            UDP if inner[2..4] == GUE_PORT => seen.push(Wrapped::Gue {
                checksum: inner[6..8] != [0, 0],
                // the P bit of draft-ietf-intarea-gue, "private data"
                private: inner[10..12] != [0, 0],
            }),
            GRE => seen.push(Wrapped::Gre {
                checksum: inner[0] & 0x80 != 0,
            }),
            _ => {}
        }
    }
    Ok(seen)
}
