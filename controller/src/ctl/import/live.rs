//! This machine's own IPVS table, and what of it kube-proxy made.
//!
//! `ipvsadm -Sn` reads the table and `ip` the link of kube-proxy. Neither writes, save that ipvsadm would load the kernel's
//! module where there is none: so it is not run there.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::draft::{Front, Read};
use super::ipvsadm;
use crate::ctl::outcome::{Trouble, plain};

/// The dummy link to which kube-proxy binds every address of a service (`defaultDummyDevice` in
/// `pkg/proxy/ipvs/proxier.go` of Kubernetes).
const LINK: &str = "kube-ipvs0";

/// What to do where this machine cannot tell.
const ELSEWHERE: &str =
    "or run it there and pipe it: ssh NODE ipvsadm -Sn | weirctl import ipvsadm -";

/// Where things are on a machine.
#[derive(Debug)]
pub(super) struct Machine {
    /// A file that is there while the kernel has IPVS.
    pub(super) table: PathBuf,
    /// The directories that programs are looked for in.
    pub(super) programs: Vec<PathBuf>,
}

impl Machine {
    /// Gives the one that this process runs on.
    pub(super) fn this() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut programs: Vec<PathBuf> = std::env::split_paths(&path).collect();
        // Where both are, and who is not root often has no PATH to.
        programs.extend(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
        Self {
            table: PathBuf::from("/proc/net/ip_vs"),
            programs,
        }
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let mut paths = self.programs.iter().map(|directory| directory.join(name));
        paths.find(|path| path.is_file())
    }
}

/// The table as it was read, and a sentence about that.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) read: Read,
    pub(super) said: String,
}

/// Reads the table, and keeps what is kube-proxy's where its link tells.
pub(super) fn read(machine: &Machine) -> Result<Live, Trouble> {
    if !machine.table.exists() {
        return Err(trouble(format!(
            "this machine's kernel has no IPVS now ({} is not there): run it on a node of the cluster, {ELSEWHERE}",
            machine.table.display()
        )));
    }
    let Some(program) = machine.program("ipvsadm") else {
        return Err(trouble(format!(
            "ipvsadm is not on this machine: install it, {ELSEWHERE}"
        )));
    };
    let table = output(&program, &["-Sn"]).map_err(trouble)?;
    let mut read = ipvsadm::read("ipvsadm -Sn", &table);
    let found = read.servers.len();
    let ip = machine.program("ip");
    let bound = ip.map(|ip| output(&ip, &["-o", "address", "show", "dev", LINK]));
    let said = match bound {
        Some(Ok(bound)) => {
            keep(&mut read, &addresses(&bound));
            let kept = read.servers.len();
            format!(
                "{kept} of {found} virtual servers have an address on {LINK}, and are kube-proxy's; the backends are \
                 those of this moment"
            )
        }
        Some(Err(_)) => format!(
            "no link {LINK} tells what is kube-proxy's, so all {found} virtual servers are taken; the backends are those of \
             this moment"
        ),
        None => format!(
            "without the program ip it cannot be told what is kube-proxy's, so all {found} virtual servers are taken; the \
             backends are those of this moment"
        ),
    };
    Ok(Live { read, said })
}

fn trouble(summary: String) -> Trouble {
    Trouble::Detailed {
        details: Vec::new(),
        summary,
    }
}

fn output(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let name = program.display();
    let ran = Command::new(program).args(arguments).output();
    let output = ran.map_err(|error| format!("{name}: cannot run it: {}", plain(&error)))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.lines().next().unwrap_or("it says nothing");
        return Err(format!("{name} {}: {why}", arguments.join(" ")));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{name}: what it writes is not text"))
}

/// Reads the addresses of `ip -o address show`: the word after `inet` or `inet6`, up to the prefix.
fn addresses(text: &str) -> BTreeSet<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        words.find(|word| matches!(*word, "inet" | "inet6"))?;
        words.next()?.split('/').next()?.parse().ok()
    };
    text.lines().filter_map(address).collect()
}

fn keep(read: &mut Read, bound: &BTreeSet<IpAddr>) {
    let servers = std::mem::take(&mut read.servers);
    for server in servers {
        let is_bound = |front: &Front| matches!(front, Front::Address { address, .. } if bound.contains(address));
        if server.fronts.iter().any(|(_, front)| is_bound(front)) {
            read.servers.push(server);
        } else {
            read.note(
                server.at,
                format!(
                    "{}: left out: its address is not on {LINK}, so it is a node port, whose address cannot be a VIP, or \
                     not kube-proxy's",
                    server.name
                ),
            );
        }
    }
}
