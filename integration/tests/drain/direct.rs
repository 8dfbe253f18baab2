//! A host behind direct route that is drained by order, which is what keeps its VIP there: the director sees only one
//! direction of its connections.

use anyhow::{Context, Result, ensure};
use weir_integration::client;
use weir_integration::daemon::Daemon;
use weir_integration::eventually::eventually;
use weir_integration::program;
use weir_integration::topology::Topology;

use crate::farm::hold;
use crate::site::{PATIENCE, SOON, Site, on};

const AT: &str = "10.100.0.1:9080";
const HOSTS: [&str; 2] = ["192.168.77.2", "192.168.77.3"];
const DIRECTOR: &str = "---\napiVersion: weir/v1\nkind: Node\n\
                        metadata: {name: node-a, labels: {role: director}}\n\
                        spec: {connectionTimeouts: {tcpFinSeconds: 1}}\n";

fn service(hosts: &[&str]) -> String {
    let backends: String = hosts
        .iter()
        .map(|host| {
            let node = if *host == HOSTS[0] {
                "node-b"
            } else {
                "node-c"
            };
            format!("    - {{address: {host}, port: 9080, node: {node}}}\n")
        })
        .collect();
    format!(
        "---\napiVersion: weir/v1\nkind: Service\nmetadata: {{name: direct}}\nspec:\n  \
         scheduler: rr\n  forwarding: DIRECT_ROUTE\n  nodeSelector: {{role: director}}\n  \
         frontends: [{{address: 10.100.0.1, port: 9080, protocol: TCP}}]\n  backends:\n{backends}"
    )
}

/// The weight and the active connections of a backend on node-a; none: it is not there.
fn found(site: &Site, host: &str) -> Result<Option<(u32, u32)>> {
    let services = site.on_node("ipvsadm -Ln")?;
    let line = services
        .lines()
        .find(|line| line.contains(&format!("-> {host}:9080 ")));
    let Some(line) = line else { return Ok(None) };
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [_, _, "Route", weight, active, _] => Ok(Some((weight.parse()?, active.parse()?))),
        _ => anyhow::bail!("not a backend of direct route: {line:?}"),
    }
}

#[test]
fn a_drained_host_behind_direct_route_keeps_its_connection_and_goes_with_it() -> Result<()> {
    on(Topology::three_hosts, |site| {
        let mut servers = Vec::new();
        for name in ["node-b", "node-c"] {
            let netns = &site.topology.node(name)?.netns;
            let mut serve = netns.command(program::ours("pod")?);
            // packets come for the VIP
            serve.args(["farm", "0.0.0.0"]);
            let mut server = Daemon::start(&format!("farm-{name}"), serve, site.dir.path())?;
            server.ready(SOON, || {
                netns.enter(|| client::hold(([127, 0, 0, 1], 9080).into(), PATIENCE))??;
                Ok(())
            })?;
            servers.push(server);
        }
        site.apply(&[DIRECTOR, &service(&HOSTS)].concat())?;
        let mut talk = hold(site, AT, 1)?.pop().context("nobody to talk to")?;
        talk.talks("hello")?;
        let [mut with, mut other] = HOSTS;
        if found(site, with)? != Some((1, 1)) {
            (with, other) = (other, with);
        }
        ensure!(found(site, with)? == Some((1, 1)), "nobody has the talk");

        site.weirctl(&format!("drain backend direct {with}:9080"))?;
        eventually("the backend is given nothing", SOON, || {
            let found = found(site, with)?;
            ensure!(found == Some((0, 1)), "{found:?}");
            Ok(())
        })?;
        talk.talks("and then?").context("the talk is over")?;
        let elsewhere = hold(site, AT, 3)?;
        let (here, there) = (found(site, with)?, found(site, other)?);
        ensure!(
            (here, there) == (Some((0, 1)), Some((1, 3))),
            "{here:?}, {there:?}"
        );
        talk.talks("goodbye").context("the talk is over")?;
        drop(talk);
        eventually("the backend leaves", SOON, || {
            let found = found(site, with)?;
            ensure!(found.is_none(), "{found:?}");
            Ok(())
        })?;
        // the host is out of it, and may be taken out of the file
        site.apply(&service(&[other]))?;
        drop(elsewhere);
        Ok(())
    })
}
