//! Two pods on one node: whoever asks, the pods themselves included, both answer.

use std::process::Command;

use anyhow::{Result, ensure};
use weir_integration::client::Proto;
use weir_integration::program;

use crate::site::{REQUESTS, SILENCE, WEB, WEB_VIP, on_two_pods, requests_within};

const BOTH: [&str; 2] = ["pod-x", "pod-y"];

/// Four services on the same two pods: both protocols over both families.
const FAMILIES: &str = "
apiVersion: weir/v1
kind: Service
metadata: {name: web}
spec:
  frontends: [{address: 10.100.0.1, port: 80, protocol: TCP}]
  scheduler: rr
  backends:
    - {address: 10.0.0.11, port: 8080, node: node-a}
    - {address: 10.0.0.21, port: 8080, node: node-a}
---
apiVersion: weir/v1
kind: Service
metadata: {name: web-six}
spec:
  frontends: [{address: 'fd64::1', port: 80, protocol: TCP}]
  scheduler: rr
  backends:
    - {address: 'fd00::11', port: 8080, node: node-a}
    - {address: 'fd00::21', port: 8080, node: node-a}
---
apiVersion: weir/v1
kind: Service
metadata: {name: names}
spec:
  frontends: [{address: 10.100.0.1, port: 53, protocol: UDP}]
  scheduler: rr
  backends:
    - {address: 10.0.0.11, port: 8053, node: node-a}
    - {address: 10.0.0.21, port: 8053, node: node-a}
---
apiVersion: weir/v1
kind: Service
metadata: {name: names-six}
spec:
  frontends: [{address: 'fd64::1', port: 53, protocol: UDP}]
  scheduler: rr
  backends:
    - {address: 'fd00::11', port: 8053, node: node-a}
    - {address: 'fd00::21', port: 8053, node: node-a}
";

#[test]
fn host_client_and_both_pods_are_answered_by_both_pods() -> Result<()> {
    on_two_pods(|site| {
        site.apply(WEB)?;
        site.answered_everywhere(Proto::Tcp, WEB_VIP, &BOTH)
    })
}

#[test]
fn without_its_loopback_entry_a_pod_does_not_reach_itself_and_with_it_again_it_does() -> Result<()>
{
    on_two_pods(|site| {
        site.apply(WEB)?;
        let node = &site.node_a()?.netns;
        let ipset = |verb: &str| {
            let mut command: Command = node.command("ipset");
            program::run(
                command.args([verb, "WEIR-LOOPBACK", "10.0.0.11,tcp:8080,10.0.0.11"]),
                "",
            )
        };
        ipset("del")?;
        let pod_x = &site.topology.pod("pod-x")?.netns;
        let outcome = requests_within(pod_x, Proto::Tcp, WEB_VIP, SILENCE)?;
        ensure!(
            outcome.pods() == ["pod-y"] && outcome.failed.len() == REQUESTS / 2,
            "without the entry: {outcome}, patience {SILENCE:?}"
        );
        ipset("add")?;
        site.answered_everywhere(Proto::Tcp, WEB_VIP, &BOTH)
    })
}

#[test]
fn tcp_and_udp_over_ipv4_and_ipv6_reach_both_pods_from_everywhere() -> Result<()> {
    on_two_pods(|site| {
        site.apply(FAMILIES)?;
        for (proto, vip) in [
            (Proto::Tcp, "10.100.0.1:80"),
            (Proto::Udp, "10.100.0.1:53"),
            (Proto::Tcp, "[fd64::1]:80"),
            (Proto::Udp, "[fd64::1]:53"),
        ] {
            site.answered_everywhere(proto, vip, &BOTH)?;
        }
        Ok(())
    })
}
