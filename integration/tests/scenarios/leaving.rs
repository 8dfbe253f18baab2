//! A node that weir leaves is as it was before: everything its kernel shows is compared.

use std::process::Command;

use anyhow::{Result, ensure};
use weir_integration::client::Proto;
use weir_integration::dump::Dump;
use weir_integration::load::Load;
use weir_integration::netns::Netns;
use weir_integration::program;

use crate::site::{Site, WEB, WEB_VIP, on_two_nodes, on_two_pods, same};

/// Requests between what is done to the agent.
const SOME: usize = 30;

const NODES: [&str; 2] = ["node-a", "node-b"];

/// Something of every kind that weir makes or sets: both families, session affinity, a guarded port, a VIP that is a route,
/// tunnels in either family with the silent VIPs of their backends, time-outs, and sync daemons, which IPVS has not beside a
/// backend of another family than its service.
const EVERYTHING: &str = r#"
---
apiVersion: weir/v1
kind: Node
metadata: {name: node-a, labels: {role: director}}
spec:
  connectionTimeouts: {tcpSeconds: 1800, tcpFinSeconds: 60, udpSeconds: 30}
---
apiVersion: weir/v1
kind: Node
metadata: {name: node-b}
spec:
  syncDaemons:
    - {role: MASTER, interface: eth0, syncId: 7}
    - {role: BACKUP, interface: eth0, syncId: 7}
---
apiVersion: weir/v1
kind: Service
metadata: {name: six}
spec:
  frontends:
    - {address: "fd64::80", port: 8080, protocol: TCP, allowSources: ["fd77::/64"]}
    - {address: "fd64::80", port: 8053, protocol: UDP}
  backends: [{address: "fd00::11", port: 8080, node: node-a}]
---
apiVersion: weir/v1
kind: Service
metadata: {name: four-in-four}
spec:
  nodeSelector: {role: director}
  frontends: [{address: 10.100.0.3, port: 8080, protocol: TCP}]
  forwarding: TUNNEL
  backends: [{address: 192.168.77.2, port: 8080, node: node-b}]
---
apiVersion: weir/v1
kind: Service
metadata: {name: four-in-six}
spec:
  nodeSelector: {role: director}
  frontends: [{address: 10.100.0.4, port: 8080, protocol: TCP}]
  forwarding: TUNNEL
  backends: [{address: "fd77::2", port: 8080, node: node-b}]
---
apiVersion: weir/v1
kind: Service
metadata: {name: six-in-four}
spec:
  nodeSelector: {role: director}
  frontends: [{address: "fd64::3", port: 8080, protocol: TCP}]
  forwarding: TUNNEL
  backends: [{address: 192.168.77.2, port: 8080, node: node-b}]
"#;

fn dumps(site: &Site) -> Result<[Dump; 2]> {
    let read = |name| Dump::read(&site.topology.node(name)?.netns);
    Ok([read(NODES[0])?, read(NODES[1])?])
}

fn all_same(before: &[Dump; 2], after: &[Dump; 2]) -> Result<()> {
    before[0].same_as(&after[0])?;
    before[1].same_as(&after[1])
}

/// Does beforehand what a kernel keeps for good once it was done, and weir does as well: a tunnel link that was ever up
/// has IPv6 settings of its own from then on (`addrconf_notify` in `net/ipv6/addrconf.c`), an older `ip6tnl0` the mode
/// that the README says it keeps, and the older iptables each table that was ever looked into. A kernel without these
/// has none to keep.
fn do_what_stays(node: &Netns) -> Result<()> {
    for link in ["tunl0", "sit0", "ip6tnl0"] {
        node.ip(&format!("link set {link} up\nlink set {link} down"))?;
    }
    let mode = ["-6", "tunnel", "change", "ip6tnl0", "mode", "any"];
    program::run(node.command("ip").args(mode), "")?;
    for tool in ["iptables-legacy-save", "ip6tables-legacy-save"] {
        for table in ["nat", "filter"] {
            let _ = program::run(node.command(tool).args(["-t", table]), "");
        }
    }
    Ok(())
}

#[test]
fn after_a_cleanup_everything_a_node_shows_is_as_it_was_before() -> Result<()> {
    on_two_nodes(|site| {
        // What an agent loads as it starts or makes a tunnel stays loaded, and shows: it is there before.
        let modules = ["-a", "ipip", "sit", "ip6_tunnel"];
        program::run(Command::new("modprobe").args(modules), "")?;
        for name in NODES {
            site.weir.terminate_agent(name)?;
            site.weir.cleanup(&site.topology, name)?;
            do_what_stays(&site.topology.node(name)?.netns)?;
        }
        let before = dumps(site)?;

        for name in NODES {
            site.weir.start_agent(&site.topology, name)?;
        }
        site.apply(&[WEB, EVERYTHING].concat())?;
        site.answered_everywhere(Proto::Tcp, WEB_VIP, &["pod-x", "pod-y"])?;
        for name in NODES {
            site.weir.terminate_agent(name)?;
        }
        let serving = dumps(site)?;
        for (dump, text) in [
            (&serving[0], "10.100.0.3"),
            (&serving[0], "fd64::80"),
            (&serving[0], "WEIR-LOOPBACK-6"),
            (&serving[0], "udp): 1800 60 30"),
            (&serving[1], "tunl0@NONE: <NOARP,UP"),
            (&serving[1], "sit0@NONE: <NOARP,UP"),
            (&serving[1], "ip6tnl0@NONE: <NOARP,UP"),
            (&serving[1], "backup sync daemon"),
            (&serving[1], "all/arp_ignore=3"),
        ] {
            ensure!(!dump.with(text).is_empty(), "no {text} while it serves");
        }

        for name in NODES {
            let said = site
                .weir
                .once(&site.topology, name, &["cleanup", "--dry-run"])?;
            ensure!(said.contains("would remove link weir0"), "{said}");
            ensure!(said.contains(" 0 left"), "{said}");
        }
        all_same(&serving, &dumps(site)?)?;
        for name in NODES {
            let said = site.weir.cleanup(&site.topology, name)?;
            ensure!(said.contains("removed link weir0"), "{said}");
        }
        all_same(&before, &dumps(site)?)
    })
}

#[test]
fn what_is_released_serves_on_is_left_alone_by_the_next_agent_and_is_ours_again_once_adopted()
-> Result<()> {
    on_two_pods(|site| {
        site.apply(WEB)?;
        let serving = site.kernel()?;
        let load = Load::start(&site.topology.client, Proto::Tcp, WEB_VIP.parse()?)?;
        load.more(SOME)?;
        site.weir.terminate_agent("node-a")?;
        let said = site.weir.once(&site.topology, "node-a", &["release"])?;
        ensure!(
            said.contains("let go of 1 virtual_service") && said.contains("goes on serving"),
            "{said}"
        );
        let refused = site.weir.once(&site.topology, "node-a", &["adopt"]);
        let refused = format!("{:#}", refused.expect_err("nothing was accepted"));
        ensure!(refused.contains("nothing was accepted yet"), "{refused}");

        // the next agent has its state from the controller, and finds somebody else's objects in the way
        site.weir.start_agent(&site.topology, "node-a")?;
        let yaml = WEB.replace("scheduler: rr", "scheduler: wrr");
        let refused = site.apply(&yaml).expect_err("in conflict").to_string();
        let told = "virtual service 10.100.100.100:8080/TCP is there and is not ours";
        ensure!(refused.contains(told), "{refused}");
        same(&serving, &site.kernel()?)?;
        load.more(SOME)?;
        site.weir.terminate_agent("node-a")?;
        let said = site.weir.once(&site.topology, "node-a", &["adopt"])?;
        ensure!(said.contains("took link weir0"), "{said}");
        ensure!(said.contains("took vip 10.100.100.100"), "{said}");
        ensure!(said.contains(" 0 left, 0 wanted and not there"), "{said}");
        same(&serving, &site.kernel()?)?;

        site.weir.start_agent(&site.topology, "node-a")?;
        site.apply(WEB)?;
        load.more(SOME)?;
        site.kernel_becomes(&serving)?;
        let outcome = load.stop()?;
        ensure!(outcome.failed.is_empty(), "{outcome}: {:?}", outcome.failed);

        site.weir.terminate_agent("node-a")?;
        let said = site.weir.cleanup(&site.topology, "node-a")?;
        ensure!(said.contains("removed link weir0"), "{said}");
        Ok(())
    })
}
