//! Which words may stand in which rooms.

use crate::code::{code, says};
use crate::tree::Tree;

/// Rooms that take values and give values. A directory ends in `/`.
const PURE: [&str; 21] = [
    "proto/src/model.rs",
    "proto/src/model/",
    "proto/src/convert.rs",
    "proto/src/convert/",
    "proto/src/digest.rs",
    "proto/src/state.rs",
    "controller/src/desired.rs",
    "controller/src/desired/",
    "agent/src/plan.rs",
    "agent/src/plan/",
    "agent/src/kernel/linux/ipvs/",
    "agent/src/kernel/linux/ipset/",
    "agent/src/kernel/linux/conntrack/",
    "agent/src/kernel/linux/loopback/nftables/",
    "proto/src/checkup.rs",
    "proto/src/checkup/",
    "agent/src/check/facts.rs",
    "agent/src/check/judge.rs",
    "agent/src/check/judge/",
    "agent/src/check/sockets.rs",
    "controller/src/ctl/check/judge.rs",
];
/// The one file of a codec that is not pure.
const SOCKET: &str = "/socket.rs";
/// Doors, clocks, and the map whose order differs from run to run.
const DOORS: [&str; 7] = [
    "tokio",
    "async",
    "std::fs",
    "std::net::Tcp",
    "::now(",
    "tracing",
    "HashMap",
];

const DISK: [&str; 2] = ["proto/src/disk.rs", "proto/src/disk/"];

const TLS: [&str; 2] = ["proto/src/tls.rs", "proto/src/tls/"];

/// The one file that may hold unsafe code.
const AUDITED: [&str; 1] = ["proto/src/machine/heap.rs"];

const KERNEL: [&str; 2] = ["agent/src/kernel/linux.rs", "agent/src/kernel/linux/"];
const NETLINK: [&str; 8] = [
    "netlink_sys",
    "netlink_proto",
    "netlink_packet_core",
    "netlink_packet_generic",
    "netlink_packet_netfilter",
    "netlink_packet_route",
    "netlink_packet_utils",
    "rtnetlink",
];

/// Where the generated types are: decoded, encoded, or kept as bytes.
const WIRE: [&str; 18] = [
    "proto/src/wire.rs",
    "proto/src/convert.rs",
    "proto/src/convert/",
    "controller/src/rpc.rs",
    "controller/src/rpc/",
    "controller/src/ctl.rs",
    "controller/src/ctl/",
    "controller/src/store.rs",
    "controller/src/store/",
    "agent/src/session.rs",
    "agent/src/session/",
    "agent/src/shown.rs",
    "agent/src/journal.rs",
    "agent/src/journal/",
    "agent/src/sampler.rs",
    "agent/src/sampler/",
    "agent/src/admin/socket.rs",
    "agent/src/admin/socket/",
];

const CEILING: usize = 600;

/// Names that a thing gets when nobody has asked where it belongs.
const NAMELESS: [&str; 9] = [
    "mod", "util", "utils", "common", "helper", "helpers", "manager", "managers", "misc",
];

/// How tonic makes a status that says nothing to machines but its code.
const WITHOUT_A_REASON: [&str; 11] = [
    "Status::aborted",
    "Status::already_exists",
    "Status::deadline_exceeded",
    "Status::failed_precondition",
    "Status::invalid_argument",
    "Status::not_found",
    "Status::out_of_range",
    "Status::permission_denied",
    "Status::unauthenticated",
    "Status::unavailable",
    "Status::unimplemented",
];

pub(crate) fn pure_rooms(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for (file, text) in tree {
        // A pure room's tests may read their cases from files.
        if !within(file, &PURE) || file.ends_with(SOCKET) || only_for_tests(tree, file) {
            continue;
        }
        let code = code(text);
        for door in DOORS.iter().filter(|door| says(&code, door)) {
            broken.push(format!("{file} is pure and says {door}"));
        }
    }
    broken
}

pub(crate) fn sled(tree: &Tree) -> Vec<String> {
    outside(tree, &DISK, &["sled::"])
}

/// Holds for the programs; tests may call as a stranger does.
pub(crate) fn tls(tree: &Tree) -> Vec<String> {
    let mut broken = outside(tree, &TLS, &["rustls", "tokio_rustls"]);
    broken.retain(|line| !line.starts_with("integration/"));
    broken
}

/// Holds for every source: what the compiler is told to deny is excepted nowhere else.
pub(crate) fn audited(tree: &Tree) -> Vec<String> {
    outside(tree, &AUDITED, &["unsafe", "unsafe_code"])
}

pub(crate) fn netlink(tree: &Tree) -> Vec<String> {
    outside(tree, &KERNEL, &NETLINK)
}

/// Holds for the programs; tests may speak the wire as any client does.
pub(crate) fn wire(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for (file, text) in tree {
        if !file.contains("/src/") || file.starts_with("integration/") || within(file, &WIRE) {
            continue;
        }
        let code = code(text);
        let inside = file.starts_with("proto/") && says(&code, "crate::wire");
        let grouped = code.split("weir_proto::{").skip(1);
        let mut groups = grouped.filter_map(|rest| rest.split_once(';'));
        if inside || says(&code, "weir_proto::wire") || groups.any(|(group, _)| says(group, "wire"))
        {
            broken.push(format!("{file} says wire; only {} may", WIRE.join(", ")));
        }
    }
    broken
}

/// Holds for what the controller answers, and the agent over its socket; their tests may play others.
pub(crate) fn reasons(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for (file, text) in tree {
        let answers = ["controller/src/rpc", "agent/src/admin/socket"];
        let answers = answers.iter().any(|room| file.starts_with(room));
        if !answers || only_for_tests(tree, file) {
            continue;
        }
        let code = code(text);
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for word in WITHOUT_A_REASON.iter().filter(|word| says(code, word)) {
            broken.push(format!("{file} says {word}, which has no ErrorReason"));
        }
    }
    broken
}

pub(crate) fn ceiling(tree: &Tree) -> Vec<String> {
    let lines = tree.iter().map(|(file, text)| (file, text.lines().count()));
    lines
        .filter(|(_, lines)| *lines > CEILING)
        .map(|(file, lines)| format!("{file} has {lines} lines"))
        .collect()
}

pub(crate) fn names(tree: &Tree) -> Vec<String> {
    let nameless = |file: &&String| {
        let path = file.trim_end_matches(".rs");
        path.split('/')
            .any(|part| part.split('_').any(|word| NAMELESS.contains(&word)))
    };
    let files = tree.keys().filter(nameless);
    files
        .map(|file| format!("{file}: a thing without a room; name the room first"))
        .collect()
}

/// Whether the file that names this one names it for tests alone.
fn only_for_tests(tree: &Tree, file: &str) -> bool {
    let path = file.trim_end_matches(".rs");
    let Some((dir, name)) = path.rsplit_once('/') else {
        return false;
    };
    let namers = [format!("{dir}.rs"), format!("{dir}/lib.rs")];
    namers
        .iter()
        .filter_map(|namer| tree.get(namer))
        .any(|text| {
            let code = code(text);
            let words: Vec<&str> = code.split_whitespace().collect();
            words
                .join(" ")
                .contains(&format!("#[cfg(test)] mod {name};"))
        })
}

fn outside(tree: &Tree, rooms: &[&str], words: &[&str]) -> Vec<String> {
    let mut broken = Vec::new();
    for (file, text) in tree.iter().filter(|(file, _)| !within(file, rooms)) {
        let code = code(text);
        for word in words.iter().filter(|word| says(&code, word)) {
            broken.push(format!("{file} says {word}; only {} may", rooms.join(", ")));
        }
    }
    broken
}

fn within(file: &str, rooms: &[&str]) -> bool {
    rooms
        .iter()
        .any(|room| file == *room || (room.ends_with('/') && file.starts_with(room)))
}
