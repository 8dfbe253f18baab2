//! What is set on a node: how long it remembers connections, and with whom it shares them.

use anyhow::{Result, ensure};
use weir_integration::client::Proto;
use weir_integration::eventually::eventually;
use weir_integration::program;

use crate::site::{SOON, Site, WEB, WEB_VIP, on_two_nodes, requests};

/// What `ipvsadm` says of a node.
fn says(site: &Site, node: &str, args: &[&str]) -> Result<String> {
    let node = &site.topology.node(node)?.netns;
    Ok(program::run(node.command("ipvsadm").args(args), "")?
        .trim()
        .into())
}

fn timeouts(site: &Site, node: &str) -> Result<String> {
    says(site, node, &["-L", "--timeout"])
}

fn daemons(site: &Site, node: &str) -> Result<String> {
    says(site, node, &["-Ln", "--daemon"])
}

fn node(name: &str, spec: &str) -> String {
    format!("---\napiVersion: weir/v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

#[test]
fn what_is_set_on_a_node_is_in_its_kernel_and_put_back_when_it_is_set_no_more() -> Result<()> {
    on_two_nodes(|site| {
        let timeouts_before = timeouts(site, "node-a")?;
        ensure!(daemons(site, "node-a")?.is_empty(), "a daemon runs");

        let master = "{connectionTimeouts: {tcpSeconds: 1800, udpSeconds: 30}, \
                      syncDaemons: [{role: MASTER, interface: eth0, syncId: 7, port: 8849, ttl: 2}]}";
        let backup = "{syncDaemons: [{role: BACKUP, interface: eth0, syncId: 7, port: 8849}]}";
        site.apply(&[WEB.into(), node("node-a", master), node("node-b", backup)].concat())?;
        ensure!(
            timeouts(site, "node-a")? == "Timeout (tcp tcpfin udp): 1800 120 30",
            "{}",
            timeouts(site, "node-a")?
        );
        let told = daemons(site, "node-a")?;
        let wanted = [
            "master sync daemon (mcast=eth0, syncid=7,",
            "port=8849",
            "ttl=2",
        ];
        ensure!(wanted.iter().all(|it| told.contains(it)), "{told}");
        ensure!(
            daemons(site, "node-b")?.starts_with("backup sync daemon"),
            "none"
        );
        ensure!(
            timeouts(site, "node-b")? == timeouts_before,
            "node-b was not asked"
        );

        // what node-a balances, node-b knows of: what waits to be sent goes within seconds (IPVS_SYNC_FLUSH_TIME)
        requests(&site.topology.client, Proto::Tcp, WEB_VIP)?;
        eventually("node-b knows the client's connections", SOON, || {
            let known = says(site, "node-b", &["-Lnc"])?;
            ensure!(known.contains("192.168.77.9:"), "{known}");
            Ok(())
        })?;

        // changed while they run: the daemon begins anew
        let other = "{connectionTimeouts: {tcpSeconds: 1800, tcpFinSeconds: 60}, \
                     syncDaemons: [{role: MASTER, interface: eth0, syncId: 8, group: 224.0.0.90}]}";
        site.apply(&node("node-a", other))?;
        ensure!(
            timeouts(site, "node-a")? == "Timeout (tcp tcpfin udp): 1800 60 300",
            "{}",
            timeouts(site, "node-a")?
        );
        let told = daemons(site, "node-a")?;
        ensure!(
            told.contains("syncid=8") && told.contains("224.0.0.90") && !told.contains("syncid=7"),
            "{told}"
        );

        site.apply(&[node("node-a", "{}"), node("node-b", "{}")].concat())?;
        ensure!(timeouts(site, "node-a")? == timeouts_before, "not put back");
        for node in ["node-a", "node-b"] {
            ensure!(
                daemons(site, node)?.is_empty(),
                "a daemon of {node} still runs"
            );
        }
        Ok(())
    })
}
