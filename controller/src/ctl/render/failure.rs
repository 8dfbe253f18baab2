//! Why a node does not hold what it must. PURE.

use std::time::Duration;

use nix::errno::Errno;
use weir_proto::{convert, wire};

use super::{counted, human};

/// ipset's own error numbers from 4096 on (`include/uapi/linux/netfilter/ipset/ip_set.h`,
/// `enum ipset_errno`).
const IPSET: [&str; 19] = [
    "IPSET_ERR_PRIVATE",
    "IPSET_ERR_PROTOCOL",
    "IPSET_ERR_FIND_TYPE",
    "IPSET_ERR_MAX_SETS",
    "IPSET_ERR_BUSY",
    "IPSET_ERR_EXIST_SETNAME2",
    "IPSET_ERR_TYPE_MISMATCH",
    "IPSET_ERR_EXIST",
    "IPSET_ERR_INVALID_CIDR",
    "IPSET_ERR_INVALID_NETMASK",
    "IPSET_ERR_INVALID_FAMILY",
    "IPSET_ERR_TIMEOUT",
    "IPSET_ERR_REFERENCED",
    "IPSET_ERR_IPADDR_IPV4",
    "IPSET_ERR_IPADDR_IPV6",
    "IPSET_ERR_COUNTER",
    "IPSET_ERR_COMMENT",
    "IPSET_ERR_INVALID_MARKMASK",
    "IPSET_ERR_SKBINFO",
];

/// What is said of a node whose state nobody knows.
const UNHEARD: &str = "not heard from since the controller started";

/// The first of ipset's error numbers.
const IPSET_FIRST: usize = 4096;

/// Gives the name of an error number of the kernel; none for 0, where it was not the kernel.
pub(crate) fn errno_name(number: i32) -> Option<String> {
    if number == 0 {
        return None;
    }
    let ipset = usize::try_from(number)
        .ok()
        .and_then(|number| number.checked_sub(IPSET_FIRST))
        .and_then(|place| IPSET.get(place));
    Some(match (ipset, Errno::from_raw(number)) {
        (Some(name), _) => (*name).to_owned(),
        (None, Errno::UnknownErrno) => format!("errno {number}"),
        (None, known) => format!("{known:?}"),
    })
}

/// Says what is not held and why: `backend 10.0.0.11:8080 of 10.100.100.100:8080/TCP: ENOENT: no scheduler`.
pub(crate) fn failure_text(failure: &wire::ItemFailure) -> String {
    let mut parts = vec![failed_object(failure)];
    if !failure.field.is_empty() {
        parts.push(failure.field.clone());
    }
    parts.extend(errno_name(failure.errno));
    if !failure.cause.is_empty() {
        parts.push(failure.cause.clone());
    }
    parts.join(": ")
}

/// Names what is not held.
pub(super) fn failed_object(failure: &wire::ItemFailure) -> String {
    failure.key.as_ref().map_or_else(
        || "an item".to_owned(),
        |key| match convert::item_key_from_wire(key, "key") {
            Ok(key) => key.to_string(),
            Err(_) => "an item this weirctl does not know".to_owned(),
        },
    )
}

/// Names what the node's kernel lacks.
pub(crate) fn missing_capabilities(node: &wire::NodeState) -> Vec<&wire::Capability> {
    node.capabilities
        .iter()
        .filter(|capability| !capability.available)
        .collect()
}

/// Says everything that is wrong on a node, a line each, without the node's name.
pub(crate) fn node_troubles(node: &wire::NodeState) -> Vec<String> {
    let mut lines = Vec::new();
    if !node.rejection.is_empty() {
        lines.push(rejection(node));
    }
    lines.extend(failures(node));
    // what only some services need, they ask for by themselves
    let missing = missing_capabilities(node).into_iter();
    for capability in missing.filter(|capability| !capability.optional) {
        let name = &capability.name;
        lines.push(match capability.detail.as_str() {
            "" => format!("{name} is missing"),
            detail => format!("{name} is missing: {detail}"),
        });
    }
    lines
}

/// Says what a node holds back, for how long, and how it is let go; none: nothing. `now` is in Unix milliseconds.
pub(crate) fn held(node: &wire::NodeState, now: u64) -> Option<String> {
    let since = span(node.hold.as_ref()?.since_unix_ms, now);
    Some(format!("HELD for {since}: {}", hold(node)))
}

/// Says what a node holds back, and how it is let go.
pub(crate) fn hold(node: &wire::NodeState) -> String {
    let hold = node.hold.clone().unwrap_or_default();
    let why = match hold.cause.as_str() {
        "" => String::new(),
        cause => format!(" ({cause})"),
    };
    let (dropped, served, name) = (hold.dropped, hold.served, &node.name);
    format!("would drop {dropped} of {served} services{why}; weirctl node release {name}")
}

/// Says why a node can make nothing durable; none: it can. `now` is in Unix milliseconds.
pub(crate) fn degraded(node: &wire::NodeState, now: u64) -> Option<String> {
    let degraded = node.degraded.as_ref()?;
    let since = span(degraded.since_unix_ms, now);
    Some(format!("DEGRADED for {since}: {}", degraded.reason))
}

fn span(since: u64, now: u64) -> String {
    human(Duration::from_secs(now.saturating_sub(since) / 1_000))
}

/// Says why a node takes no further generation.
pub(crate) fn rejection(node: &wire::NodeState) -> String {
    format!("takes no further generation: {}", node.rejection)
}

/// Says what a node does not hold, a line each, and how many more there are than it names.
fn failures(node: &wire::NodeState) -> Vec<String> {
    let mut lines: Vec<String> = node.failures.iter().map(failure_text).collect();
    let named = u64::try_from(lines.len()).unwrap_or(u64::MAX);
    if let Some(rest @ 1..) = node.failure_count.checked_sub(named) {
        let rest = usize::try_from(rest).unwrap_or(usize::MAX);
        lines.push(format!("and {}", counted(rest, "more failure")));
    }
    lines
}

/// Says how far a node is from a generation; none when its kernel has been brought there.
pub(crate) fn lag(node: &wire::NodeState, target: u64) -> Option<String> {
    let (accepted, converged) = (node.accepted_generation, node.converged_generation);
    if converged >= target {
        return None;
    }
    Some(match (node.connected, accepted >= target) {
        (false, _) if is_unheard(node) => format!("{UNHEARD}; generation {target} waits for it"),
        (false, _) => format!("not connected; converged on generation {converged} of {target}"),
        (true, true) => {
            format!(
                "accepted generation {accepted}, converged on generation {converged} of {target}"
            )
        }
        (true, false) => format!("has not accepted generation {target}; it holds {accepted}"),
    })
}

/// Says that a node is not connected, for how long, and why; none when it is. `now` is in Unix milliseconds.
pub(crate) fn absence(node: &wire::NodeState, now: u64) -> Option<String> {
    let (wanted, converged) = (node.wanted_generation, node.converged_generation);
    if is_unheard(node) {
        return Some(format!("{UNHEARD}; generation {wanted} waits for it"));
    }
    let silence = human(silence(node, now)?);
    let why = match node.disconnection.as_str() {
        "" => String::new(),
        why => format!(" ({why})"),
    };
    Some(format!(
        "not connected for {silence}{why}; converged on generation {converged} of {wanted}"
    ))
}

/// Says whether the controller knows nothing of what a node holds.
pub(crate) fn is_unheard(node: &wire::NodeState) -> bool {
    !node.connected && node.last_heard_unix_ms == 0
}

/// Gives how long ago the agent of a node went; none of one that is connected, or was not heard from.
pub(crate) fn silence(node: &wire::NodeState, now: u64) -> Option<Duration> {
    let gone = !node.connected && !is_unheard(node);
    gone.then(|| Duration::from_secs(now.saturating_sub(node.last_heard_unix_ms) / 1000))
}
