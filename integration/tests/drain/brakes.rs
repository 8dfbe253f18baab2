//! What would take away too much is held back until the operator confirms it.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use weir_integration::eventually::eventually;
use weir_integration::topology::Topology;

use crate::site::{SOON, Site, on};

/// The services of a node, each with a VIP of its own, and those that are left of them.
const SERVICES: usize = 24;
const LEFT: usize = 2;

fn all() -> String {
    let mut yaml = String::new();
    for number in 1..=SERVICES {
        let _ = writeln!(
            yaml,
            "---\napiVersion: weir/v1\nkind: Service\nmetadata: {{name: s{number}}}\nspec:\n  \
             frontends: [{{address: 10.100.1.{number}, port: 80, protocol: TCP}}]\n  \
             backends: [{{address: 10.0.0.11, port: 8080, node: node-a}}]"
        );
    }
    yaml
}

/// What the operator types to delete all but a few.
fn delete(options: &str) -> String {
    let names: Vec<String> = (LEFT + 1..=SERVICES)
        .map(|number| format!("s{number}"))
        .collect();
    format!("delete services {} {options}", names.join(" "))
}

fn services(site: &Site) -> Result<usize> {
    let services = site.on_node("ipvsadm -Sn")?;
    Ok(services
        .lines()
        .filter(|line| line.starts_with("-A "))
        .count())
}

fn become_few(site: &Site) -> Result<()> {
    eventually("only a few are left", SOON, || {
        let services = services(site)?;
        ensure!(services == LEFT, "{services} services");
        let addresses = site.on_node("ip -o addr show dev weir0")?;
        let vips = addresses.matches(" 10.100.1.").count();
        ensure!(vips == LEFT, "{vips} VIPs");
        Ok(())
    })
}

/// Waits until the operator is told that node-a holds something back, in these words among others.
fn is_held(site: &Site, words: &str) -> Result<()> {
    eventually("it is held back", SOON, || {
        let status = site.weirctl("status");
        let told = status.unwrap_or_else(|error| error.to_string());
        ensure!(told.contains("HELD") && told.contains(words), "{told}");
        Ok(())
    })
}

#[test]
fn a_change_that_takes_away_most_of_a_node_waits_for_the_operator() -> Result<()> {
    on(Topology::one_pod, |site| {
        site.apply(&all())?;
        let before = site.kernel()?;
        site.weirctl(&delete(""))?;
        is_held(
            site,
            &format!("would drop {} of {SERVICES} services", SERVICES - LEFT),
        )?;
        site.kernel()?.is_like(&before)?;
        // not even a restart lets it go
        site.weir.kill_agent("node-a")?;
        site.weir.start_agent(&site.topology, "node-a")?;
        eventually("the agent has looked at everything", SOON, || {
            site.weir.agent_is_ready(&site.topology, "node-a")
        })?;
        site.kernel()?.is_like(&before)?;
        is_held(site, "weirctl node release node-a")?;
        site.weirctl("node release node-a")?;
        become_few(site)?;
        eventually("all is well", SOON, || site.weirctl("status"))?;

        site.apply(&all())?;
        site.kernel_is_like(&before)?;
        site.weirctl(&delete("--allow-mass-delete --wait"))?;
        become_few(site)
    })
}

#[test]
fn a_controller_that_lost_its_store_takes_nothing_away() -> Result<()> {
    on(Topology::one_pod, |site| {
        site.apply(&all())?;
        let before = site.kernel()?;
        site.weir.kill_controller()?;
        site.weir.lose_store()?;
        site.weir.start_controller(&site.topology)?;
        let new = "apiVersion: weir/v1\nkind: Service\nmetadata: {name: new}\nspec:\n  \
                   frontends: [{address: 10.100.2.1, port: 80, protocol: TCP}]\n  \
                   backends: [{address: 10.0.0.11, port: 8080, node: node-a}]\n";
        site.weir
            .weirctl(&site.topology, &["apply", "-f", "-"], new)?;
        is_held(site, &format!("of {SERVICES} services"))?;
        site.kernel()?.is_like(&before)
    })
}
