//! The kernel and what this process may do to it. PURE.

use weir_proto::checkup::{Finding, Group};
use weir_proto::model::Capability;

use crate::check::facts::Facts;

const KERNEL: Group = Group("kernel");
const CAPABILITIES: Group = Group("capabilities");
/// The oldest kernel that has all that every service needs: ipset of protocol 7, by which sets are found.
const OLDEST: (u32, u32) = (4, 20);
/// Where what is missing says no better.
const SEE: &str = "the README says under \"Each node\" what of the kernel is needed";
const SCHEDULER: &str = "scheduler_";

/// Bits of `include/uapi/linux/capability.h`, whether nothing works without them, and what for.
const WANTED: [(u32, &str, bool, &str); 3] = [
    (
        12,
        "CAP_NET_ADMIN",
        true,
        "nothing of the network can be changed",
    ),
    (
        13,
        "CAP_NET_RAW",
        false,
        "iptables-legacy opens a raw socket",
    ),
    (
        16,
        "CAP_SYS_MODULE",
        false,
        "modules must be loaded by others",
    ),
];

/// Judges the kernel by what was tried.
pub(super) fn kernel(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![release(&facts.release)];
    let Some(capabilities) = &facts.capabilities else {
        let why = "nothing was tried: that takes CAP_NET_ADMIN";
        findings.push(KERNEL.skipped("ip_vs, dummy, ipset, nf_tables", why));
        return findings;
    };
    findings.push(match facts.loaded.as_slice() {
        [] => KERNEL.fine("modules", "none had to be loaded"),
        loaded => {
            let names = loaded.join(" ");
            let detail = format!("this check loaded {names}, as the agent would; they stay");
            KERNEL.fine("modules", detail)
        }
    });
    let needed = capabilities.iter().filter(|it| !it.optional);
    // of this one the next group tells
    let needed = needed.filter(|it| it.name != "net_admin");
    findings.extend(needed.map(|it| match it.available {
        true => KERNEL.fine(&it.name, &it.detail),
        false => {
            let (detail, advice) = advised(&it.detail);
            KERNEL.failed(&it.name, detail, advice)
        }
    }));
    let optional = || capabilities.iter().filter(|it| it.optional);
    findings.extend(schedulers(optional()));
    let others = optional().filter(|it| !it.name.starts_with(SCHEDULER));
    findings.extend(others.map(|it| match it.available {
        true => KERNEL.fine(&it.name, &it.detail),
        false => {
            let (detail, advice) = advised(&it.detail);
            let detail = format!("services that ask for it are refused: {detail}");
            KERNEL.warning(&it.name, detail, advice)
        }
    }));
    findings
}

fn release(release: &str) -> Finding {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse::<u32>().ok();
    let (oldest, least) = OLDEST;
    match (number(), number()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST => KERNEL.failed(
            "release",
            format!("Linux {release}"),
            format!("run Linux {oldest}.{least} or later"),
        ),
        _ => KERNEL.fine("release", format!("Linux {release}")),
    }
}

/// Tells of schedulers in one line, and in another one of those that are missing.
fn schedulers<'a>(found: impl Iterator<Item = &'a Capability>) -> Option<Finding> {
    let all = found.filter_map(|it| Some((it.name.strip_prefix(SCHEDULER)?, it.available)));
    let (has, lacks): (Vec<_>, Vec<_>) = all.partition(|(_, available)| *available);
    let names = |some: &[(&str, bool)]| -> Vec<String> {
        some.iter().map(|(name, _)| (*name).to_owned()).collect()
    };
    let (has, lacks) = (names(&has), names(&lacks));
    match (has.is_empty(), lacks.is_empty()) {
        (true, true) => None,
        (_, true) => Some(KERNEL.fine("schedulers", has.join(" "))),
        _ => {
            let modules: Vec<String> = lacks.iter().map(|it| format!("ip_vs_{it}")).collect();
            let detail = format!("{}; without {}", has.join(" "), lacks.join(" "));
            let load = modules.join(" ");
            let advice = format!("load {load}, if a service shall have one of them");
            Some(KERNEL.warning("schedulers", detail, advice))
        }
    }
}

/// Parts what was found from what to do about it: what is missing is told as "no X (why): how to get it", or "X; how".
fn advised(told: &str) -> (String, String) {
    let parts = told
        .split_once("): ")
        .map(|(what, how)| (format!("{what})"), how))
        .or_else(|| {
            let (what, how) = told.rsplit_once("; ")?;
            Some((what.to_owned(), how))
        });
    match parts {
        Some((what, how)) => (what, how.to_owned()),
        None if told.starts_with("load ") || told.starts_with("take ") => {
            ("it is not there".to_owned(), told.to_owned())
        }
        None => (told.to_owned(), SEE.to_owned()),
    }
}

/// Judges what this process may do.
pub(super) fn capabilities(facts: &Facts) -> Vec<Finding> {
    let Some(effective) = facts.effective else {
        let detail = "/proc/self/status says nothing of them";
        return vec![CAPABILITIES.failed("effective", detail, "mount /proc")];
    };
    let wanted = WANTED.into_iter();
    let judged = wanted.map(|(bit, name, needed, why)| {
        let advice = format!("run as root, or set AmbientCapabilities={name} in the systemd unit");
        match (effective >> bit & 1 == 1, needed) {
            (true, _) => CAPABILITIES.fine(name, "effective"),
            (false, true) => CAPABILITIES.failed(name, format!("not effective: {why}"), advice),
            (false, false) => CAPABILITIES.warning(name, format!("not effective: {why}"), advice),
        }
    });
    judged.collect()
}
