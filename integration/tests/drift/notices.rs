//! What is taken from the link of the VIPs is back long before an audit: the kernel tells of it.

use anyhow::{Context, Result, ensure};
use weir_integration::client::Proto;
use weir_integration::eventually::eventually;
use weir_integration::kernel_state::KernelState;

use crate::site::{SOON, Site, WEB, WEB_VIP, answered, on_two_pods};

/// A VIP of the other family, and one that is bound by a route.
const OTHERS: &str = "
---
apiVersion: weir/v1
kind: Service
metadata: {name: six}
spec:
  frontends: [{address: 'fd64::100', port: 8080, protocol: TCP}]
  scheduler: rr
  backends: [{address: 'fd00::11', port: 8080, node: node-a}, {address: 'fd00::21', port: 8080, node: node-a}]
---
apiVersion: weir/v1
kind: Service
metadata: {name: routed}
spec:
  vipBinding: ROUTE
  frontends: [{address: 10.100.100.101, port: 8080, protocol: TCP}]
  scheduler: rr
  backends: [{address: 10.0.0.11, port: 8080, node: node-a}, {address: 10.0.0.21, port: 8080, node: node-a}]
";
const VIPS: [&str; 3] = [WEB_VIP, "[fd64::100]:8080", "10.100.100.101:8080"];

/// Passes after one notice: one that puts back, and one for what it takes with it.
const PASSES: u64 = 2;

/// Serves on all of them, and gives what the kernel holds then.
fn serving(site: &Site) -> Result<KernelState> {
    site.apply(&[WEB, OTHERS].concat())?;
    answers(site)?;
    site.kernel()
}

fn answers(site: &Site) -> Result<()> {
    let client = &site.topology.client;
    VIPS.into_iter()
        .try_for_each(|vip| answered("client", client, Proto::Tcp, vip, &["pod-x", "pod-y"]))
}

#[test]
fn a_vip_or_the_link_that_somebody_takes_away_is_back_without_an_audit() -> Result<()> {
    on_two_pods(|site| {
        let before = serving(site)?;
        let audits = site.counts("weir_agent_audits_total")?;
        for (line, repairs, alone) in [
            ("ip addr del 10.100.100.100/32 dev weir0", 1, true),
            ("ip addr del fd64::100/128 dev weir0", 1, true),
            (
                "ip route del local 10.100.100.101 dev weir0 table local",
                1,
                true,
            ),
            ("ip link set weir0 down", 1, false),
            ("ip link del weir0", VIPS.len() as u64 + 1, false),
        ] {
            let repaired = site.counts("weir_agent_repairs_total")?;
            site.on_node(line)?;
            site.kernel_is_like(&before).context(line)?;
            answers(site)?;
            // told after the pass, when the kernel has been right for a while
            eventually(&format!("{line}: its repairs are counted"), SOON, || {
                let repaired = site.counts("weir_agent_repairs_total")? - repaired;
                ensure!(repaired >= repairs, "{repaired} repairs, not {repairs}");
                Ok(())
            })?;
            let audited = site.counts("weir_agent_audits_total")? - audits;
            ensure!(
                !alone || audited == 0,
                "{line}: {audited} looks at everything"
            );
        }
        Ok(())
    })
}

#[test]
fn a_program_that_takes_a_vip_away_again_and_again_is_outlasted_and_not_raced() -> Result<()> {
    const TIMES: u64 = 10;
    on_two_pods(|site| {
        let before = serving(site)?;
        let passes = site.counts("weir_agent_passes_total")?;
        for time in 1..=TIMES {
            eventually(&format!("taking the VIP away, time {time}"), SOON, || {
                site.on_node("ip addr del 10.100.100.100/32 dev weir0")
            })?;
        }
        site.kernel_is_like(&before)?;
        answers(site)?;
        eventually("each repair is counted", SOON, || {
            let repairs = site.counts("weir_agent_repairs_total")?;
            ensure!(repairs == TIMES, "{repairs} repairs");
            Ok(())
        })?;
        let passes = site.counts("weir_agent_passes_total")? - passes;
        ensure!(
            (TIMES..=TIMES * PASSES).contains(&passes),
            "{passes} passes for {TIMES} times"
        );
        Ok(())
    })
}
