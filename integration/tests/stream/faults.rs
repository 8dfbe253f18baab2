//! One node cut off from the controller, one whose agent does not come to run, one whose kernel cannot hold an item.

use anyhow::{Context, Result, ensure};
use weir_integration::client::Proto;
use weir_integration::eventually::eventually;
use weir_integration::kernel_state::KernelState;
use weir_integration::load::Load;
use weir_integration::program;
use weir_integration::topology::Topology;

use crate::site::{SOON, Site, answered, on};

/// Each node by the virtual address that the client reaches through it, and the pod behind that.
const WAYS: [(&str, [u8; 4], &str, &str); 3] = [
    ("node-a", [10, 100, 1, 1], "pod-x", "10.0.0.11"),
    ("node-b", [10, 100, 1, 2], "pod-z", "10.0.1.11"),
    ("node-c", [10, 100, 1, 3], "pod-w", "10.0.2.11"),
];
/// So many requests each node must answer during a fault: some seconds of them.
const REQUESTS: usize = 100;

/// A service by its name, its address and its backend.
fn service(name: &str, address: &str, backend: &str) -> String {
    format!(
        "---\napiVersion: weir/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  \
         frontends: [{{address: {address}, port: 8080, protocol: TCP}}]\n  \
         backends: [{{address: {backend}, port: 8080}}]\n"
    )
}

fn at(vip: [u8; 4]) -> String {
    format!("{}:8080", std::net::Ipv4Addr::from(vip))
}

/// Applies and does not wait: not every node can be waited for.
fn give(site: &Site, yaml: &str) -> Result<()> {
    let words = ["apply", "-f", "-"];
    site.weir.weirctl(&site.topology, &words, yaml)?;
    Ok(())
}

/// Waits until requests from a node's first pod, which go through that node, are answered by this pod.
fn serves(site: &Site, node: &str, vip: &str, pod: &str) -> Result<()> {
    let from = &site.topology.node(node)?.pods;
    let from = from.first().context("a node without pods")?;
    let what = format!("{node} serves {vip}");
    eventually(&what, SOON, || {
        answered(&from.name, &from.netns, Proto::Tcp, vip, &[pod])
    })
}

fn kernel(site: &Site, node: &str) -> Result<KernelState> {
    KernelState::read(&site.topology.node(node)?.netns)
}

/// Waits until a node's agent says that its state ages, or that it does not.
fn state_ages(site: &Site, node: &str, ages: bool) -> Result<()> {
    eventually("the age of its state", SOON, || {
        let name = "weir_state_age_seconds";
        let seconds = site.weir.agent_counts(&site.topology, node, name)?;
        ensure!((seconds > 0) == ages, "{node}: {seconds} s");
        Ok(())
    })
}

/// The services of a node's kernel and their backends, in one order.
fn services(site: &Site, node: &str) -> Result<Vec<String>> {
    let netns = &site.topology.node(node)?.netns;
    let shown = program::run(netns.command("ipvsadm").arg("-Sn"), "")?;
    let mut lines: Vec<String> = shown.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

#[test]
fn three_nodes_in_trouble_serve_on_are_told_apart_and_heal() -> Result<()> {
    on(Topology::three_nodes, |site| {
        let mut yaml = String::new();
        for (node, vip, pod, backend) in WAYS {
            let vip = std::net::Ipv4Addr::from(vip);
            yaml += &service(&format!("through-{node}"), &vip.to_string(), backend);
            site.topology.send_through(vip, node)?;
            ensure!(site.topology.pod(pod)?.v4.to_string() == backend);
        }
        site.apply(&yaml)?;
        site.shows("before any fault", true, include_str!("before.txt"))?;
        let mut loads = Vec::new();
        for (node, vip, ..) in WAYS {
            let target = at(vip).parse()?;
            loads.push((
                node,
                Load::start(&site.topology.client, Proto::Tcp, target)?,
            ));
        }
        let more = || loads.iter().try_for_each(|(_, load)| load.more(REQUESTS));

        // node-b hears nothing from the controller, and the controller nothing from it
        let frozen = kernel(site, "node-b")?;
        site.topology.part("node-b", "node-a")?;
        give(site, &service("second", "10.100.2.1", "10.0.0.21"))?;
        for node in ["node-a", "node-c"] {
            serves(site, node, "10.100.2.1:8080", "pod-y")?;
        }
        site.shows(
            "while node-b is cut off",
            false,
            include_str!("cut_off.txt"),
        )?;
        more()?;
        kernel(site, "node-b")?.is_like(&frozen)?;
        state_ages(site, "node-b", true)?;
        state_ages(site, "node-a", false)?;

        // the agent of node-c stands still
        site.weir.pause_agent("node-c", true)?;
        give(site, &service("third", "10.100.3.1", "10.0.0.21"))?;
        let (silent, cut) = (include_str!("stopped.txt"), include_str!("stopped_cut.txt"));
        let when = "while the agent of node-c stands still besides";
        site.shows_one(when, false, &[silent, cut])?;
        serves(site, "node-a", "10.100.3.1:8080", "pod-y")?;
        site.shows("when its stream was cut", false, cut)?;
        more()?;

        // somebody else has put up one of the next VIPs on node-a; what comes with it is held
        let bridge = &site.topology.node("node-a")?.netns;
        bridge.ip("addr add 10.100.5.1/32 dev br0")?;
        let taken = service("taken", "10.100.5.1", "10.0.0.21");
        let fourth = service("fourth", "10.100.4.1", "10.0.0.21");
        give(site, &[taken, fourth].concat())?;
        serves(site, "node-a", "10.100.4.1:8080", "pod-y")?;
        site.shows(
            "while node-a cannot hold an item besides",
            false,
            include_str!("refusing.txt"),
        )?;
        more()?;

        site.topology.join("node-b", "node-a")?;
        site.weir.pause_agent("node-c", false)?;
        bridge.ip("addr del 10.100.5.1/32 dev br0")?;
        site.shows("when all is over", true, include_str!("healed.txt"))?;
        for node in ["node-a", "node-b", "node-c"] {
            state_ages(site, node, false)?;
            for vip in [
                "10.100.2.1:8080",
                "10.100.3.1:8080",
                "10.100.4.1:8080",
                "10.100.5.1:8080",
            ] {
                serves(site, node, vip, "pod-y")?;
            }
        }
        more()?;
        for (node, load) in loads {
            let outcome = load.stop()?;
            ensure!(
                outcome.failed.is_empty(),
                "through {node}: {outcome} ({:?})",
                outcome.failed
            );
            println!("through {node}: {outcome}");
        }
        let held = services(site, "node-a")?;
        for node in ["node-b", "node-c"] {
            let here = services(site, node)?;
            ensure!(here == held, "{node}: {here:#?}, and node-a: {held:#?}");
        }
        Ok(())
    })
}
