//! What a namespace's kernel holds, as the operator's own tools print it: for comparing before and after.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::Result;

use crate::netns::Netns;
use crate::program;

/// The sysctls that an agent may change, under `/proc/sys/net`.
const SYSCTLS: [&str; 6] = [
    "ipv4/ip_forward",
    "ipv4/vs/conntrack",
    "ipv4/vs/expire_nodest_conn",
    "ipv4/vs/expire_quiescent_template",
    "bridge/bridge-nf-call-iptables",
    "bridge/bridge-nf-call-ip6tables",
];

/// What one namespace holds. Two of them are equal when no tool would show a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelState {
    /// `ipvsadm -Sn`.
    pub ipvs: String,
    /// `ipset save`, its lines in order: the kernel gives members by hash.
    pub sets: String,
    /// `ip -o addr show` of every link but those that carry the namespace itself.
    pub addresses: String,
    /// The local routes, which an address may be bound by as well.
    pub routes: String,
    /// The NAT rules of every iptables variant that works here.
    pub rules: String,
    /// What an agent may change, by its path.
    pub sysctls: BTreeMap<&'static str, String>,
}

impl KernelState {
    /// Reads all of it.
    pub fn read(netns: &Netns) -> Result<KernelState> {
        let run = |line: &[&str]| -> Result<String> {
            let mut command: Command = netns.command(line[0]);
            program::run(command.args(&line[1..]), "")
        };
        let mut rules = String::new();
        for save in [
            "iptables-legacy-save",
            "ip6tables-legacy-save",
            "iptables-nft-save",
            "ip6tables-nft-save",
        ] {
            // A variant that the kernel cannot do holds no rules. Counters and comments change by themselves.
            let saved = run(&[save, "-t", "nat"]).unwrap_or_default();
            for rule in saved.lines().filter(|line| line.starts_with("-A")) {
                rules.push_str(&format!("{save}: {rule}\n"));
            }
        }
        let sysctls = SYSCTLS
            .into_iter()
            .map(|key| Ok((key, netns.read_sysctl(key)?)))
            .collect::<Result<_>>()?;
        Ok(KernelState {
            ipvs: run(&["ipvsadm", "-Sn"])?,
            sets: sorted(&run(&["ipset", "save"])?),
            addresses: run(&["ip", "-o", "addr", "show"])?,
            routes: [
                run(&["ip", "-4", "route", "show", "table", "local"])?,
                run(&["ip", "-6", "route", "show", "table", "local"])?,
            ]
            .concat(),
            rules,
            sysctls,
        })
    }
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}
