//! What a namespace's kernel holds, as the operator's own tools print it: for comparing before and after.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::netns::Netns;
use crate::program;

/// The sysctls that an agent may change, under `/proc/sys/net`.
const SYSCTLS: [&str; 9] = [
    "ipv4/conf/all/arp_announce",
    "ipv4/conf/all/arp_ignore",
    "ipv4/ip_forward",
    "ipv4/vs/conntrack",
    "ipv4/vs/expire_nodest_conn",
    "ipv4/vs/expire_quiescent_template",
    "bridge/bridge-nf-call-iptables",
    "bridge/bridge-nf-call-ip6tables",
    "ipv6/conf/all/forwarding",
];

/// What one namespace holds, a line for each thing. Two of them are equal when no tool would show a
/// difference. Left out is what a link gets by itself and anew each time it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelState {
    /// `ipvsadm -Sn`, with the time-outs and the sync daemons.
    pub ipvs: Vec<String>,
    /// `ipset save`, its lines in order: the kernel gives members by hash, and the hash has a random start.
    pub sets: Vec<String>,
    /// `ip -o addr show`, without the numbers of links.
    pub addresses: Vec<String>,
    /// The local routes, which an address may be bound by as well.
    pub routes: Vec<String>,
    /// The NAT and filter rules of every iptables variant that works here.
    pub rules: Vec<String>,
    /// What an agent may change, by its path.
    pub sysctls: BTreeMap<&'static str, String>,
}

impl KernelState {
    /// Reads all of it.
    pub fn read(netns: &Netns) -> Result<KernelState> {
        let run = |line: &[&str]| -> Result<Vec<String>> {
            let output = program::run(netns.command(line[0]).args(&line[1..]), "")?;
            Ok(output.lines().map(str::to_string).collect())
        };
        let mut sets: Vec<String> = run(&["ipset", "save"])?
            .iter()
            .map(|line| before(line, " initval ").to_string())
            .collect();
        sets.sort_unstable();
        let addresses = run(&["ip", "-o", "addr", "show"])?;
        let mut routes = run(&["ip", "-4", "route", "show", "table", "local"])?;
        routes.extend(run(&["ip", "-6", "route", "show", "table", "local"])?);
        let mut rules = Vec::new();
        for save in [
            "iptables-legacy-save",
            "ip6tables-legacy-save",
            "iptables-nft-save",
            "ip6tables-nft-save",
        ] {
            for table in ["nat", "filter"] {
                // A variant that the kernel cannot do holds no rules. Counters and comments change by themselves.
                let saved = run(&[save, "-t", table]).unwrap_or_default();
                let saved = saved.into_iter().filter(|line| line.starts_with("-A"));
                rules.extend(saved.map(|rule| format!("{save}: {rule}")));
            }
        }
        let sysctls = SYSCTLS
            .into_iter()
            .map(|key| Ok((key, netns.read_sysctl(key)?)))
            .collect::<Result<_>>()?;
        let mut ipvs = run(&["ipvsadm", "-Sn"])?;
        ipvs.extend(run(&["ipvsadm", "-L", "--timeout"])?);
        ipvs.extend(run(&["ipvsadm", "-L", "--daemon"])?);
        Ok(KernelState {
            ipvs,
            sets,
            addresses: addresses
                .iter()
                .filter(|line| !by_itself(line))
                .map(|line| after(before(line, "\\"), ": ").to_string())
                .collect(),
            routes: routes.into_iter().filter(|line| !by_itself(line)).collect(),
            rules,
            sysctls,
        })
    }

    /// Fails, with the difference, unless the same is there as in `earlier`, in whatever order it was made.
    pub fn is_like(&self, earlier: &KernelState) -> Result<()> {
        let (lost, new) = (self.lost_since(earlier), self.new_since(earlier));
        ensure!(
            lost.is_empty() && new.is_empty(),
            "lost: {lost:#?}\nnew: {new:#?}"
        );
        Ok(())
    }

    /// What was in `earlier` and is not here, one line each.
    pub fn lost_since(&self, earlier: &KernelState) -> Vec<String> {
        let now = self.lines();
        let mut lost = earlier.lines();
        lost.retain(|line| !now.contains(line));
        lost
    }

    /// What is here and was not in `earlier`, one line each.
    pub fn new_since(&self, earlier: &KernelState) -> Vec<String> {
        earlier.lost_since(self)
    }

    fn lines(&self) -> Vec<String> {
        let KernelState {
            ipvs,
            sets,
            addresses,
            routes,
            rules,
            sysctls,
        } = self;
        let mut lines = [ipvs, sets, addresses, routes, rules]
            .map(Vec::clone)
            .concat();
        lines.extend(sysctls.iter().map(|(key, value)| format!("{key}={value}")));
        lines
    }
}

/// Whether the kernel made it for a link of its own accord: link-local and multicast, by a random address.
fn by_itself(line: &str) -> bool {
    line.contains(" fe80::") || line.contains("multicast ff00::")
}

fn before<'a>(line: &'a str, mark: &str) -> &'a str {
    line.split_once(mark).map_or(line, |(start, _)| start)
}

fn after<'a>(line: &'a str, mark: &str) -> &'a str {
    line.split_once(mark).map_or(line, |(_, end)| end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(ipvs: &[&str], forward: &str) -> KernelState {
        KernelState {
            ipvs: ipvs.iter().map(|line| line.to_string()).collect(),
            sets: Vec::new(),
            addresses: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
            sysctls: [("ipv4/ip_forward", forward.to_string())].into(),
        }
    }

    #[test]
    fn what_is_lost_and_what_is_new_is_told_line_by_line() {
        let earlier = state(&["a", "b"], "0");
        let now = state(&["b", "c"], "1");
        assert_eq!(now.lost_since(&earlier), ["a", "ipv4/ip_forward=0"]);
        assert_eq!(now.new_since(&earlier), ["c", "ipv4/ip_forward=1"]);
        assert!(now.lost_since(&now).is_empty());
    }
}
