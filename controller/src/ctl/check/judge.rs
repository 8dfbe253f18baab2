//! Says of a fleet what is fine, what is not, and what to do. PURE.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use weir_proto::checkup::{self, Finding, Group};
use weir_proto::wire;
use weir_proto::wire::resource::Kind;
use weir_proto::wire::rollout::Phase;

use crate::ctl::render::{
    Listing, absence, counted, drain_target, hold, human, lag, node_troubles, vips,
};

const CONTROLLER: Group = Group("controller");
const CLOCK: Group = Group("clock");
const CERTIFICATES: Group = Group("certificates");
const NODES: Group = Group("nodes");
const DRAINS: Group = Group("drains");
const CORDONS: Group = Group("cordons");
const ROLLOUT: Group = Group("rollout");
const VIPS: Group = Group("vips");

/// What the controller tells, and when.
#[derive(Debug)]
pub(super) struct Fleet<'a> {
    pub(super) url: &'a str,
    /// Unix milliseconds, as all times here.
    pub(super) now: u64,
    /// By how many milliseconds the controller's clock is ahead; none: it does not tell.
    pub(super) skew_ms: Option<i64>,
    /// None: called without TLS.
    pub(super) own_expires_unix_ms: Option<u64>,
    pub(super) certificate_expires_unix_ms: Option<u64>,
    pub(super) revision: u64,
    pub(super) rollout: Option<&'a wire::Rollout>,
    pub(super) nodes: &'a [wire::NodeState],
    pub(super) drains: &'a [wire::DrainState],
    pub(super) services: &'a [wire::Resource],
    pub(super) sets: &'a [wire::Resource],
    /// The nodes as resources.
    pub(super) machines: &'a [wire::Resource],
}

/// Says that there is no controller, and that of nothing else is known.
pub(super) fn unreached(why: &str) -> Vec<Finding> {
    let advice = "on its machine: systemctl status weir-controller; from here: what is on the way";
    let unknown = "the controller tells, and is not reached";
    let groups = [CLOCK, CERTIFICATES, NODES, DRAINS, CORDONS, ROLLOUT, VIPS];
    let rest = groups
        .into_iter()
        .map(|group| group.skipped("all", unknown));
    let first = CONTROLLER.failed("reached", why, advice);
    std::iter::once(first).chain(rest).collect()
}

/// Judges everything, group by group.
pub(super) fn judge(fleet: &Fleet<'_>) -> Vec<Finding> {
    let reached = format!("{}, revision {}", fleet.url, fleet.revision);
    let clock = match fleet.skew_ms {
        Some(skew) => checkup::skew(CLOCK, skew),
        None => CLOCK.skipped("against the controller", "it does not tell the time"),
    };
    let groups = [
        vec![CONTROLLER.fine("reached", reached)],
        vec![versions(fleet)],
        vec![clock],
        certificates(fleet),
        nodes(fleet),
        drains(fleet),
        cordons(fleet),
        vec![rollout(fleet.rollout)],
        clashes(fleet),
    ];
    groups.into_iter().flatten().collect()
}

/// Judges whether all agents are of one version, which is that of this command.
fn versions(fleet: &Fleet<'_>) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    let heard = fleet
        .nodes
        .iter()
        .filter(|node| !node.agent_version.is_empty());
    for node in heard {
        *told.entry(&node.agent_version).or_default() += 1;
    }
    let text: Vec<String> = told
        .iter()
        .map(|(version, count)| format!("{version} on {}", counted(*count, "node")))
        .collect();
    let text = text.join(", ");
    match told.keys().next() {
        None => CONTROLLER.skipped("versions", "no agent was heard"),
        Some(only) if told.len() == 1 && *only == own => CONTROLLER.fine("versions", text),
        Some(_) => CONTROLLER.warning(
            "versions",
            format!("agents are {text}; weirctl is {own}"),
            "bring them to one version; a kind of item that an agent does not know is refused there alone",
        ),
    }
}

fn certificates(fleet: &Fleet<'_>) -> Vec<Finding> {
    let judged = |name: &str, expires, advice: &str| {
        checkup::certificate(CERTIFICATES, name, [expires, fleet.now], advice)
    };
    let mut findings = Vec::new();
    if let Some(expires) = fleet.own_expires_unix_ms {
        findings.push(judged(
            "yours",
            expires,
            "weirctl pki issue operator NAME, or ask who made it",
        ));
    }
    if let Some(expires) = fleet.certificate_expires_unix_ms {
        let advice = "put another in its place: whoever connects then meets that";
        findings.push(judged("the controller's", expires, advice));
    }
    let known = fleet
        .nodes
        .iter()
        .filter(|node| node.certificate_expires_unix_ms > 0);
    let of_nodes = known.map(|node| {
        let advice = "put another in its place: the agent takes it when it connects anew";
        judged(&node.name, node.certificate_expires_unix_ms, advice)
    });
    let (well, amiss): (Vec<_>, Vec<_>) =
        of_nodes.partition(|it| it.outcome == checkup::Outcome::Fine);
    findings.extend(amiss);
    if !well.is_empty() {
        let detail = format!("{}: 14 days or more left", counted(well.len(), "node"));
        findings.push(CERTIFICATES.fine("nodes'", detail));
    }
    if findings.is_empty() {
        findings.push(CERTIFICATES.skipped("all", "there are none: everybody calls in plaintext"));
    }
    findings
}

fn nodes(fleet: &Fleet<'_>) -> Vec<Finding> {
    if fleet.nodes.is_empty() {
        let advice = "start weir-agent on a machine, after weir-agent check there";
        return vec![NODES.warning("all", "none has registered, and none was applied", advice)];
    }
    let mut findings = Vec::new();
    let mut well = 0;
    for node in fleet.nodes {
        let before = findings.len();
        findings.extend(node_findings(node, fleet.now));
        well += usize::from(findings.len() == before);
    }
    if well > 0 {
        let detail = format!("{}: connected and converged", counted(well, "node"));
        findings.insert(0, NODES.fine("well", detail));
    }
    findings
}

/// Judges one node; nothing: all is well with it.
fn node_findings(node: &wire::NodeState, now: u64) -> Vec<Finding> {
    let (name, mut findings) = (&node.name, Vec::new());
    let since = |since: u64| human(Duration::from_secs(now.saturating_sub(since) / 1_000));
    match absence(node, now) {
        Some(absence) => findings.push(NODES.failed(
            name,
            absence,
            "there: systemctl status weir-agent, and weir-agent check --controller URL; it serves what it has",
        )),
        None => {
            let late = lag(node, node.wanted_generation);
            let advice = format!("if it stays so: weirctl describe node {name}");
            findings.extend(late.map(|late| NODES.warning(name, late, advice)));
        }
    }
    if let Some(held) = &node.hold {
        let detail = format!("held for {}: {}", since(held.since_unix_ms), hold(node));
        let advice = format!(
            "weirctl node release {name}, if that is meant; else apply what is missing again"
        );
        findings.push(NODES.failed(name, detail, advice));
    }
    if let Some(degraded) = &node.degraded {
        let detail = format!(
            "degraded for {}: {}",
            since(degraded.since_unix_ms),
            degraded.reason
        );
        let advice = "it takes no change until its journal can be written: room on its disk, and weir-agent check there";
        findings.push(NODES.failed(name, detail, advice));
    }
    let mut troubles = node_troubles(node).into_iter();
    if let Some(first) = troubles.next() {
        let rest = troubles.len();
        let detail = match rest {
            0 => first,
            rest => format!("{first}; and {rest} more"),
        };
        let advice = format!("weirctl describe node {name}; there: weir-agent check");
        findings.push(NODES.failed(name, detail, advice));
    }
    findings
}

/// Judges drains whose time is over and that are not.
fn drains(fleet: &Fleet<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut under_way = 0;
    for drain in fleet.drains {
        let open = drain.nodes.iter().filter_map(|node| {
            let progress = node.progress.as_ref().filter(|it| !it.done)?;
            Some((&node.node, progress))
        });
        let open: Vec<_> = open.collect();
        under_way += usize::from(!open.is_empty());
        let past = open
            .iter()
            .filter(|(_, it)| it.deadline_unix_ms < fleet.now);
        let past: Vec<_> = past.collect();
        let Some(since) = past.iter().map(|(_, it)| it.deadline_unix_ms).min() else {
            continue;
        };
        let nodes: BTreeSet<&str> = past.iter().map(|(node, _)| node.as_str()).collect();
        let left: u64 = past.iter().map(|(_, it)| it.active_connections).sum();
        let over = human(Duration::from_secs((fleet.now - since) / 1_000));
        let nodes: Vec<&str> = nodes.into_iter().collect();
        let (_, name) = drain_target(&drain.target.clone().unwrap_or_default());
        findings.push(DRAINS.warning(
            name,
            format!(
                "past its deadline for {over} on {}: {left} active connections are waited for",
                nodes.join(", ")
            ),
            "wait, or drain it again with --on-deadline reset, which cuts them; weirctl undrain lets it serve again",
        ));
    }
    if findings.is_empty() {
        let detail = format!("{under_way} under way, none past its deadline");
        findings.push(DRAINS.fine("deadlines", detail));
    }
    findings
}

/// Judges services that take no connection because of cordons.
fn cordons(fleet: &Fleet<'_>) -> Vec<Finding> {
    let resources = [fleet.services, fleet.sets, fleet.machines];
    let listing = Listing::new(resources.into_iter().flatten().cloned());
    let nodes = listing.nodes.iter();
    let cordoned = nodes.filter(|(_, node)| node.it.cordoned.unwrap_or(false));
    let cordoned: Vec<&str> = cordoned.map(|(name, _)| name.as_str()).collect();
    let shut = listing.shut();
    if shut.is_empty() {
        let detail = match cordoned.is_empty() {
            true => "none is cordoned".to_owned(),
            false => format!(
                "{} cordoned, and every service has a backend elsewhere",
                cordoned.join(", ")
            ),
        };
        return vec![CORDONS.fine("nodes", detail)];
    }
    let findings = shut.into_iter().map(|(service, nodes)| {
        let nodes: Vec<&str> = nodes.into_iter().collect();
        CORDONS.warning(
            service,
            format!(
                "no backend takes a new connection: cordoned {}",
                nodes.join(", ")
            ),
            "weirctl uncordon node NAME, or a backend of weight above 0 elsewhere",
        )
    });
    findings.collect()
}

fn rollout(rollout: Option<&wire::Rollout>) -> Finding {
    let Some(rollout) = rollout else {
        return ROLLOUT.fine("last", "there was none");
    };
    let name = format!("revision {}", rollout.revision);
    let advice = "weirctl rollout status says where; weirctl rollout resume goes on, weirctl rollout undo goes back";
    match rollout.phase() {
        Phase::Halted => ROLLOUT.failed(name, format!("halted: {}", rollout.reason), advice),
        Phase::Paused => ROLLOUT.warning(name, "paused by an operator", advice),
        Phase::Running => ROLLOUT.fine(name, "goes on"),
        Phase::Done => ROLLOUT.fine(name, "done"),
        Phase::Undone => ROLLOUT.fine(name, "undone"),
        Phase::Unspecified => ROLLOUT.skipped(name, "in a phase that only a later weirctl knows"),
    }
}

/// Judges VIPs that are in the way of something: what the controller refuses where it knows of both does not come to be, but nodes
/// may get addresses later.
fn clashes(fleet: &Fleet<'_>) -> Vec<Finding> {
    let nodes = fleet.machines.iter().filter_map(|it| match &it.kind {
        Some(Kind::Node(node)) => Some(node),
        _ => None,
    });
    let mut owners: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for node in nodes {
        let addresses = node.addresses.iter().filter_map(|it| it.parse().ok());
        owners.extend(addresses.map(|address: IpAddr| (address, node.name.as_str())));
    }
    let mut places: BTreeMap<IpAddr, Vec<&wire::Service>> = BTreeMap::new();
    for resource in fleet.services {
        if let Some(Kind::Service(service)) = &resource.kind {
            for vip in vips(service) {
                places.entry(vip).or_default().push(service);
            }
        }
    }
    let mut findings = Vec::new();
    for (vip, services) in &places {
        let names: Vec<&str> = services.iter().map(|it| it.name.as_str()).collect();
        let names = names.join(", ");
        if let Some(node) = owners.get(vip) {
            findings.push(VIPS.failed(
                vip.to_string(),
                format!("an address of node {node} too: what is sent to that goes to {names}"),
                "give the service another VIP, or the node another address",
            ));
        }
        let selectors: BTreeSet<_> = services.iter().map(|it| &it.node_selector).collect();
        if selectors.len() > 1 {
            findings.push(VIPS.warning(
                vip.to_string(),
                format!("of {names}, which select other nodes each: a node may be reached that lacks the one that is asked for"),
                "give them the same nodeSelector, or VIPs of their own",
            ));
        }
    }
    if findings.is_empty() {
        let detail = format!("{}, in nobody's way", counted(places.len(), "VIP"));
        findings.push(VIPS.fine("clashes", detail));
    }
    findings
}

#[cfg(test)]
mod tests;
