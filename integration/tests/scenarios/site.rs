//! What each scenario starts from: a topology of its own with weir running on it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use weir_integration::client::{self, Outcome, Proto};
use weir_integration::eventually::eventually;
use weir_integration::kernel_state::KernelState;
use weir_integration::netns::Netns;
use weir_integration::topology::{Node, Topology};
use weir_integration::weir::{AgentProgram, Weir};

/// Two requests a backend for up to three backends, and round robin comes out even.
pub(crate) const REQUESTS: usize = 6;
/// What is not answered by then is lost; answers take milliseconds, and longer where others are at work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for what must come to nothing: it is waited out each time.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);
/// How long an agent may take to bring a kernel to its journal's state: a deadline, not a measure.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The service of the README, and its address.
pub(crate) const WEB: &str = include_str!("../../../deploy/examples/two-pods.yaml");
/// See [`WEB`].
pub(crate) const WEB_VIP: &str = "10.100.100.100:8080";

/// A topology with weir on it.
pub(crate) struct Site {
    pub(crate) topology: Topology,
    pub(crate) weir: Weir,
    /// Where its programs keep what they keep, and their logs.
    pub(crate) dir: TempDir,
}

/// Runs a scenario on node-a with pod-x and pod-y.
pub(crate) fn on_two_pods(scenario: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    on(Topology::two_pods, scenario)
}

/// Runs a scenario on that and node-b with pod-z.
pub(crate) fn on_two_nodes(scenario: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    on(Topology::two_nodes, scenario)
}

/// Runs a scenario on a topology of its own.
pub(crate) fn on(
    build: impl FnOnce(&str, &Path) -> Result<Topology>,
    scenario: impl FnOnce(&mut Site) -> Result<()>,
) -> Result<()> {
    on_with(AgentProgram::default(), build, scenario)
}

/// The same with another program as the agent.
pub(crate) fn on_with(
    agent: AgentProgram,
    build: impl FnOnce(&str, &Path) -> Result<Topology>,
    scenario: impl FnOnce(&mut Site) -> Result<()>,
) -> Result<()> {
    // Scenarios may run side by side: each has names of its own.
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = tempfile::tempdir()?;
    let topology = build(&format!("s{number}-"), dir.path())?;
    let listen = SocketAddr::from((topology.node("node-a")?.fabric, 7420));
    let weir = Weir::start_with(&topology, dir.path(), listen, agent)?;
    let mut site = Site {
        topology,
        weir,
        dir,
    };
    let result = scenario(&mut site);
    if result.is_err() {
        site.weir.show_logs();
    }
    result
}

impl Site {
    pub(crate) fn apply(&self, yaml: &str) -> Result<()> {
        self.weir.apply(&self.topology, yaml)
    }

    pub(crate) fn node_a(&self) -> Result<&Node> {
        self.topology.node("node-a")
    }

    /// Reads what node-a's kernel holds.
    pub(crate) fn kernel(&self) -> Result<KernelState> {
        KernelState::read(&self.node_a()?.netns)
    }

    /// Waits until node-a's kernel holds exactly that.
    pub(crate) fn kernel_becomes(&self, wanted: &KernelState) -> Result<()> {
        eventually("the kernel holds what it held", SOON, || {
            same(wanted, &self.kernel()?)
        })
    }

    /// Every place on node-a that a request may come from, and the client, by name.
    pub(crate) fn places(&self) -> Result<Vec<(&str, &Netns)>> {
        let node = self.node_a()?;
        let mut places = vec![("client", &self.topology.client), ("host", &node.netns)];
        places.extend(node.pods.iter().map(|pod| (pod.name.as_str(), &pod.netns)));
        Ok(places)
    }

    /// Fails unless every request from each place is answered, by exactly these pods.
    pub(crate) fn answered_everywhere(&self, proto: Proto, vip: &str, pods: &[&str]) -> Result<()> {
        for (place, netns) in self.places()? {
            answered(place, netns, proto, vip, pods)?;
        }
        Ok(())
    }
}

/// Fails, with the difference, unless both are equal.
pub(crate) fn same(before: &KernelState, after: &KernelState) -> Result<()> {
    ensure!(
        after == before,
        "lost: {:#?}\nnew: {:#?}\nin full: {after:#?}",
        after.lost_since(before),
        after.new_since(before)
    );
    Ok(())
}

/// Makes requests from a place.
pub(crate) fn requests(netns: &Netns, proto: Proto, vip: &str) -> Result<Outcome> {
    requests_within(netns, proto, vip, PATIENCE)
}

/// Makes requests from a place with another patience for each step of them.
pub(crate) fn requests_within(
    netns: &Netns,
    proto: Proto,
    vip: &str,
    patience: Duration,
) -> Result<Outcome> {
    let target: SocketAddr = vip.parse()?;
    netns.enter(|| client::requests(proto, target, REQUESTS, patience))
}

/// Fails unless every request from a place is answered, by exactly these pods.
pub(crate) fn answered(
    place: &str,
    netns: &Netns,
    proto: Proto,
    vip: &str,
    pods: &[&str],
) -> Result<()> {
    let outcome = requests(netns, proto, vip)?;
    ensure!(
        outcome.failed.is_empty() && outcome.pods() == pods,
        "{proto:?} {vip} from {place}: {outcome} ({:?}), expected only {pods:?}",
        outcome.failed
    );
    Ok(())
}
