//! What `/proc` and the disk say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::statfs::statfs;
use nix::unistd::{AccessFlags, access};
use weir_proto::model::Protocol;

use crate::check::facts::{Conntrack, Directory, Facts, Filesystem, ForwardChain, Socket};
use crate::check::judge::PROGRAMS;
use crate::check::sockets;
use crate::config::CheckArgs;
use crate::kernel::linux::sysctl::Sysctl;
use crate::plan::{Place, Setting};

/// Settings that are not weir's, and matter to it.
const SYSCTLS: [&str; 4] = [
    "net.ipv4.conf.all.arp_ignore",
    "net.ipv4.vs.drop_entry",
    "net.ipv4.vs.drop_packet",
    "net.ipv4.vs.secure_tcp",
];
const LINKS: &str = "/proc/sys/net/ipv4/conf";
const TABLES: [(Protocol, &str); 4] = [
    (Protocol::Tcp, "/proc/net/tcp"),
    (Protocol::Tcp, "/proc/net/tcp6"),
    (Protocol::Udp, "/proc/net/udp"),
    (Protocol::Udp, "/proc/net/udp6"),
];
/// What iptables has loaded of each family, where it is the legacy one; and the program that tells of it.
const LEGACY: [(&str, &str, &str); 2] = [
    (
        "/proc/net/ip_tables_names",
        "iptables-legacy",
        "iptables FORWARD",
    ),
    (
        "/proc/net/ip6_tables_names",
        "ip6tables-legacy",
        "ip6tables FORWARD",
    ),
];

/// Gives the effective capabilities of this process.
pub(super) fn effective() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let hex = lines.find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

/// Gives the modules that are loaded.
pub(super) fn modules() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/modules").unwrap_or_default();
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// Gives what takes no privilege to see.
pub(super) fn facts(args: &CheckArgs) -> Facts {
    let sysctl = Sysctl::default();
    let own = Setting::ALL
        .into_iter()
        .filter_map(|setting| match setting.place() {
            Place::Sysctl(name) => Some(name.to_owned()),
            Place::Timeout | Place::Link(_) => None,
        });
    let names = own.chain(SYSCTLS.map(str::to_owned)).chain(rp_filters());
    let sysctls: BTreeMap<String, String> = names
        .filter_map(|name| Some((name.clone(), sysctl.read(&name).ok()?)))
        .collect();
    let number = |name: &str| sysctl.read(name).ok()?.parse::<u64>().ok();
    let count = number("net.netfilter.nf_conntrack_count");
    let max = number("net.netfilter.nf_conntrack_max");
    Facts {
        release: sysctl.read("kernel.osrelease").unwrap_or_default(),
        writable: access("/proc/sys/net/ipv4/ip_forward", AccessFlags::W_OK).is_ok(),
        sysctls,
        conntrack: count.zip(max).map(|(count, max)| Conntrack { count, max }),
        journal: directory(&args.data_dir.join("journal")),
        admin_listen: args.admin_listen,
        sockets: listening(),
        has_kube_link: Path::new("/sys/class/net/kube-ipvs0").exists(),
        others: running(),
        ..Facts::default()
    }
}

fn rp_filters() -> impl Iterator<Item = String> {
    let links = fs::read_dir(LINKS).into_iter().flatten().flatten();
    let names = links.filter_map(|link| link.file_name().into_string().ok());
    // a dot inside a name is written as a slash
    names.map(|name| format!("net.ipv4.conf.{}.rp_filter", name.replace('.', "/")))
}

fn directory(path: &Path) -> Directory {
    let nearest = path.ancestors().find(|path| path.exists());
    let nearest = nearest.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let filesystem = statfs(&nearest).ok().map(|found| Filesystem {
        magic: found.filesystem_type().0,
        free: found.blocks_available() * u64::try_from(found.block_size()).unwrap_or_default(),
    });
    Directory {
        path: path.to_owned(),
        is_directory: nearest.is_dir(),
        writable: access(&nearest, AccessFlags::W_OK | AccessFlags::X_OK).is_ok(),
        nearest,
        filesystem,
        held: held(path),
    }
}

/// Says whether a program holds the lock of a journal (`lock` in its directory). It is tried as one that others may have too, and
/// let go of at once.
fn held(journal: &Path) -> Option<bool> {
    let lock = File::open(journal.join("lock")).ok()?;
    match lock.try_lock_shared() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// Gives who listens, with the names of the programs as far as they can be seen.
fn listening() -> Vec<Socket> {
    let mut all: Vec<Socket> = TABLES
        .into_iter()
        .flat_map(|(protocol, table)| {
            let text = fs::read_to_string(table).unwrap_or_default();
            sockets::read(protocol, &text)
        })
        .collect();
    let programs = holders();
    for socket in &mut all {
        if let Some(name) = programs.get(&socket.inode) {
            socket.program.clone_from(name);
        }
    }
    all
}

/// Gives the program that has each socket, by inode.
fn holders() -> BTreeMap<u64, String> {
    let mut holders = BTreeMap::new();
    for (process, name) in processes() {
        let files = fs::read_dir(process.join("fd")).into_iter().flatten();
        for file in files.flatten() {
            let Ok(target) = fs::read_link(file.path()) else {
                continue;
            };
            let target = target.to_string_lossy();
            let inode = target.strip_prefix("socket:[");
            let inode = inode.and_then(|rest| rest.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                holders.insert(inode, name.clone());
            }
        }
    }
    holders
}

/// Gives every process with the name of its program.
fn processes() -> impl Iterator<Item = (PathBuf, String)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let number = entry.file_name();
        number.to_str()?.parse::<u32>().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some((entry.path(), name.trim_end().to_owned()))
    })
}

/// Gives those that program IPVS too.
fn running() -> Vec<String> {
    let names: BTreeSet<String> = processes().map(|(_, name)| name).collect();
    let known = PROGRAMS.into_iter().filter(|known| names.contains(*known));
    known.map(str::to_owned).collect()
}

/// Gives the chains of iptables where it is the legacy one; the tables are read only where they are loaded: to list one loads
/// it.
pub(super) fn legacy_chains() -> Vec<ForwardChain> {
    let chains = LEGACY.into_iter().filter_map(|(tables, program, name)| {
        let tables = fs::read_to_string(tables).ok()?;
        tables
            .lines()
            .any(|table| table == "filter")
            .then_some(())?;
        let ran = Command::new(program)
            .args(["-w", "5", "-S", "FORWARD"])
            .output();
        let ran = ran.ok().filter(|ran| ran.status.success())?;
        let text = String::from_utf8_lossy(&ran.stdout);
        let rules = text.lines().filter(|line| line.starts_with("-A ")).count();
        Some(ForwardChain {
            name: name.to_owned(),
            drops: text.lines().any(|line| line == "-P FORWARD DROP"),
            rules: u32::try_from(rules).unwrap_or(u32::MAX),
        })
    });
    chains.collect()
}
