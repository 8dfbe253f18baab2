//! Two nodes that serve the same, with connections on both, and something of somebody else's in each kernel.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use weir_integration::client::{self, Held};
use weir_integration::daemon::Daemon;
use weir_integration::farm::HOLD_PORT;
use weir_integration::kernel_state::KernelState;
use weir_integration::program;
use weir_integration::topology::{Node, Pod};
use weir_integration::weir::Ended;

use crate::site::{PATIENCE, SOON, Site, on_two_nodes};

/// What is served, at first.
pub(crate) const WEB: &str = "
apiVersion: weir/v1
kind: Service
metadata: {name: web}
spec:
  frontends: [{address: 10.100.0.1, port: 9080, protocol: TCP}]
  scheduler: rr
  backends:
    - {address: 10.0.0.11, port: 9080, node: node-a}
    - {address: 10.0.0.21, port: 9080, node: node-a}
    - {address: 10.0.1.11, port: 9080, node: node-b}
";
/// Another scheduler and weight, a backend less, and one more service.
pub(crate) const CHANGED: &str = "
apiVersion: weir/v1
kind: Service
metadata: {name: web}
spec:
  frontends: [{address: 10.100.0.1, port: 9080, protocol: TCP}]
  scheduler: wlc
  backends:
    - {address: 10.0.0.21, port: 9080, node: node-a, weight: 5}
    - {address: 10.0.1.11, port: 9080, node: node-b}
---
apiVersion: weir/v1
kind: Service
metadata: {name: more}
spec:
  frontends: [{address: 10.100.0.2, port: 9053, protocol: UDP, allowSources: [10.0.0.0/16, 192.168.77.0/24]}]
  scheduler: rr
  backends:
    - {address: 10.0.0.11, port: 9053, node: node-a, weight: 2}
    - {address: 10.0.1.11, port: 9053, node: node-b}
";

const AT: &str = "10.100.0.1:9080";

/// Services of somebody else's: one at an address of his own, and one at ours.
const THEIRS: &str = "\
-A -t 10.100.7.7:80 -s wrr
-a -t 10.100.7.7:80 -r 10.0.0.21:8080 -m -w 5
-A -t 10.100.0.1:8443 -s rr
-a -t 10.100.0.1:8443 -r 10.0.0.11:9080 -m -w 3
";

/// What of a kernel must not change by a byte, as it is asked for.
const TOOLS: [&str; 4] = [
    "ipvsadm -Sn",
    "ip addr show",
    "ipset list",
    "nft list ruleset",
];

/// Both nodes, and the connections through each.
pub(crate) struct Pair<'a> {
    pub(crate) site: &'a mut Site,
    _farms: Vec<Daemon>,
}

/// What the kernel of each node shows, by the node.
pub(crate) type Kernels = BTreeMap<String, Shown>;

/// What a kernel shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Word for word, by the tool.
    texts: BTreeMap<&'static str, String>,
    /// Line by line.
    pub(crate) state: KernelState,
}

/// Runs a scenario on both nodes, of which weir holds nothing yet.
pub(crate) fn on_a_pair(scenario: impl FnOnce(&mut Pair<'_>) -> Result<()>) -> Result<()> {
    on_two_nodes(|site| {
        for node in &site.topology.nodes {
            lay_theirs(node)?;
        }
        let mut farms = Vec::new();
        for pod in site.topology.nodes.iter().flat_map(|node| &node.pods) {
            farms.push(farm(site, pod)?);
        }
        scenario(&mut Pair {
            site,
            _farms: farms,
        })
    })
}

fn lay_theirs(node: &Node) -> Result<()> {
    program::run(node.netns.command("ipvsadm").arg("-R"), THEIRS)?;
    program::run(
        node.netns.command("ipset").arg("restore"),
        "create THEIRS hash:ip,port,ip\nadd THEIRS 10.0.0.11,tcp:8080,10.0.0.11\n",
    )?;
    node.netns
        .ip("link add theirs0 type dummy\nlink set theirs0 up\naddr add 10.100.7.7/32 dev theirs0")
}

/// Starts a server in a pod that holds connections.
fn farm(site: &Site, pod: &Pod) -> Result<Daemon> {
    let mut serve = pod.netns.command(program::ours("pod")?);
    serve.args(["farm", &pod.v4.to_string()]);
    let mut farm = Daemon::start(&format!("farm-{}", pod.name), serve, site.dir.path())?;
    let at = SocketAddr::new(IpAddr::V4(pod.v4), HOLD_PORT);
    farm.ready(SOON, || {
        pod.netns.enter(|| client::hold(at, PATIENCE))??;
        Ok(())
    })?;
    Ok(farm)
}

/// How a command ends that finds nothing to say against it.
pub(crate) fn well(out: &str) -> Ended {
    Ended {
        status: Some(0),
        out: out.into(),
        err: String::new(),
    }
}

impl Pair<'_> {
    /// Opens connections through a node, from its first pod: what comes back passes the node again.
    pub(crate) fn hold(&self, node: &str, count: usize) -> Result<Vec<Held>> {
        let pod = self.site.topology.node(node)?.pods.first();
        let target: SocketAddr = AT.parse()?;
        let held = pod.context("a node without pods")?.netns.enter(|| {
            let hold = |_| client::hold(target, PATIENCE);
            (0..count).map(hold).collect::<std::io::Result<Vec<_>>>()
        })?;
        held.with_context(|| format!("holding connections through {node}"))
    }

    /// Runs the operator's command to the end, with a file that says `yaml`.
    pub(crate) fn weirctl(&self, line: &str, yaml: &str) -> Result<Ended> {
        let path = self.site.dir.path().join("change.yaml");
        fs::write(&path, yaml)?;
        let path = path.to_str().context("a path that is no text")?;
        let words = line.split_whitespace();
        let words = words.map(|word| if word == "FILE" { path } else { word });
        let words: Vec<&str> = words.collect();
        self.site.weir.weirctl_ends(&self.site.topology, &words)
    }

    /// Gives what each node's kernel shows, by the node.
    pub(crate) fn kernels(&self) -> Result<Kernels> {
        let nodes = self.site.topology.nodes.iter();
        let shown = nodes.map(|node| Ok((node.name.clone(), Shown::read(node)?)));
        shown.collect()
    }

    /// Runs a command on a node and gives what it printed.
    pub(crate) fn on(&self, node: &str, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty line")?;
        let node = self.site.topology.node(node)?;
        program::run(node.netns.command(program).args(words), "")
    }
}

impl Shown {
    fn read(node: &Node) -> Result<Shown> {
        let mut texts = BTreeMap::new();
        for line in TOOLS {
            let mut words = line.split(' ');
            let tool = words.next().unwrap_or_default();
            let mut command = node.netns.command(tool);
            let output = command.args(words).output()?;
            // of a kernel without nf_tables nft says so, each time in the same words
            ensure!(output.status.success() || tool == "nft", "{line} fails");
            let text = [output.stdout, output.stderr].concat();
            texts.insert(line, String::from_utf8_lossy(&text).into_owned());
        }
        Ok(Shown {
            texts,
            state: KernelState::read(&node.netns)?,
        })
    }

    /// Whether the link of the VIPs is there.
    pub(crate) fn has_link(&self) -> bool {
        let links = self.texts.get("ip addr show");
        links.is_some_and(|links| links.contains(": weir0: "))
    }
}
