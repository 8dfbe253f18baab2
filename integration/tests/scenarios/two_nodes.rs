//! Two nodes: each serves every backend, and holds loopback entries for its own only.

use anyhow::{Result, ensure};
use weir_integration::client::Proto;
use weir_integration::kernel_state::KernelState;

use crate::site::{answered, on_two_nodes};

const SPREAD: &str = "
apiVersion: weir/v1
kind: Service
metadata: {name: web}
spec:
  frontends: [{address: 10.100.100.100, port: 8080, protocol: TCP}]
  scheduler: rr
  backends:
    - {address: 10.0.0.11, port: 8080, node: node-a}
    - {address: 10.0.0.21, port: 8080, node: node-a}
    - {address: 10.0.1.11, port: 8080, node: node-b}
";

#[test]
fn each_node_holds_loopback_entries_only_for_the_backends_that_live_on_it() -> Result<()> {
    on_two_nodes(|site| {
        site.apply(SPREAD)?;
        for (name, entries) in [
            (
                "node-a",
                &[
                    "10.0.0.11,tcp:8080,10.0.0.11",
                    "10.0.0.21,tcp:8080,10.0.0.21",
                ][..],
            ),
            ("node-b", &["10.0.1.11,tcp:8080,10.0.1.11"]),
        ] {
            let held = KernelState::read(&site.topology.node(name)?.netns)?;
            let members: Vec<&str> = held
                .sets
                .iter()
                .filter_map(|line| line.strip_prefix("add WEIR-LOOPBACK "))
                .collect();
            ensure!(members == entries, "{name} holds {members:?}");
            let backends = held.ipvs.iter().filter(|line| line.starts_with("-a"));
            ensure!(backends.count() == 3, "{name} holds {:#?}", held.ipvs);
        }
        Ok(())
    })
}

#[test]
fn pods_on_both_nodes_are_answered_by_every_backend_themselves_included() -> Result<()> {
    on_two_nodes(|site| {
        site.apply(SPREAD)?;
        for pod in site.topology.nodes.iter().flat_map(|node| &node.pods) {
            answered(
                &pod.name,
                &pod.netns,
                Proto::Tcp,
                "10.100.100.100:8080",
                &["pod-x", "pod-y", "pod-z"],
            )?;
        }
        Ok(())
    })
}

#[test]
fn the_hosts_of_both_nodes_are_answered_by_every_backend_where_the_vip_is_a_route() -> Result<()> {
    on_two_nodes(|site| {
        // a VIP that is an address is one that the host speaks from, and the other node's pods find that at home
        site.apply(&SPREAD.replace(
            "  scheduler: rr\n",
            "  scheduler: rr\n  vipBinding: ROUTE\n",
        ))?;
        for node in &site.topology.nodes {
            answered(
                &node.name,
                &node.netns,
                Proto::Tcp,
                "10.100.100.100:8080",
                &["pod-x", "pod-y", "pod-z"],
            )?;
        }
        Ok(())
    })
}
