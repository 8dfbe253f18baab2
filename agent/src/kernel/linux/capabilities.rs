//! What this node's kernel can do for weir, found by trying.
//!
//! Each probe leaves the kernel as it found it, save for the modules that it took. What is missing comes with a
//! sentence that says how to get it. Modules are loaded at most once, at start, save for those of tunnel links, which are
//! loaded when one is needed: an agent without the right to load them only finds what is there.

mod mark;
mod symbols;
mod trial;

use std::{fs, net::SocketAddr, path::Path};

use nix::errno::Errno;
use tokio::process::Command;
use weir_proto::model::{Ability, Capability};
use weir_proto::trace::chain;

use super::{
    conntrack::{Conntrack, Filters, Translation},
    ipset::{HASH_IP_PORT_IP, Ipset},
    ipvs::Ipvs,
    link::Links,
    lockdown::Lockdowns,
    loopback::{Choice, Doors, Engine, Loopback, RuleEngine, Wanted, decide, try_native},
    netlink::{Family, NlError},
};

pub use mark::PROBE_MARKS;
pub use trial::try_features;

/// The bit of `CAP_NET_ADMIN` in `include/uapi/linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;
/// A link that exists only while it is probed; at most 15 bytes.
const PROBE_LINK: &str = "weir-probe";

/// To delete the flows of a backend that is gone, without which those of UDP go on to it until they end.
const CONNTRACK_DELETE: &str = "conntrack_delete";

/// The capabilities of this node, and the loopback engine that was chosen by them.
pub(super) struct Probed {
    /// What every service needs, always all of it but what is missing and the loopback engine in use has no need of, and
    /// then, of a kernel with IPVS, what only some services need. In a fixed order; of the latter what could not be found
    /// out is left out.
    pub(super) capabilities: Vec<Capability>,
    /// What holds the loopback sets and rules.
    pub(super) loopback: Loopback,
    /// What holds the lockdowns.
    pub(super) lockdowns: Lockdowns,
}

/// Capabilities that only the loopback engine `ipset` needs.
const OF_IPSET: [&str; 3] = ["ip_set", "ip_set_hash_ipportip", "loopback_rule"];

/// Probes everything in this thread's network namespace.
pub(super) async fn probe(wanted: Wanted) -> Probed {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let net_admin = net_admin(&status);
    let ipvs = ipvs().await;
    let dummy = dummy().await;
    let ip_set = ip_set().await;
    let hash = hash_ip_port_ip().await;
    // the rule needs these two beside nf_tables or iptables; the kernel does not always ask for them itself
    modprobe("xt_set").await;
    modprobe("nft_compat").await;
    let Choice { engine, reason } = RuleEngine::choose().await;
    let rules = match &engine {
        Some(_) => Ok(reason),
        None => Err(format!(
            "{reason}; install iptables, or load nft_compat, nft_chain_nat and xt_set"
        )),
    };
    modprobe("nft_chain_nat").await;
    modprobe("nft_masq").await;
    let (native, nftables) = try_native().await;
    let sets_and_rules = match (&ip_set, &hash, &rules) {
        (Err(missing), ..) | (_, Err(missing), _) | (.., Err(missing)) => Err(missing.clone()),
        (Ok(_), Ok(_), Ok(how)) => Ok(how.clone()),
    };
    let (chosen, loopback) = decide(wanted, &sets_and_rules, &nftables);
    let doors = Doors {
        ipset: ip_set.is_ok(),
        rule: engine,
        native,
    };
    let needless = loopback.is_ok() && chosen != Engine::Ipset;
    let (lockdowns, lockdown) = Lockdowns::choose().await;
    let found = [
        ("net_admin", net_admin),
        ("ip_vs", ipvs),
        ("dummy", dummy),
        ("ip_set", ip_set),
        ("ip_set_hash_ipportip", hash),
        ("loopback_rule", rules),
        ("loopback", loopback),
        ("lockdown", lockdown),
    ];
    let found = found
        .into_iter()
        .filter(|(name, found)| found.is_ok() || !(needless && OF_IPSET.contains(name)));
    let capability = |(name, found): (&'static str, Result<String, String>)| {
        let available = found.is_ok();
        Capability {
            name: name.to_owned(),
            available,
            detail: found.unwrap_or_else(|missing| missing),
            optional: false,
        }
    };
    let needed = found.into_iter().map(capability);
    Probed {
        capabilities: needed.chain(features().await).collect(),
        loopback: Loopback::new(chosen, doors),
        lockdowns,
    }
}

/// Finds what only some services need; nothing without IPVS, of which `ip_vs` tells.
async fn features() -> Vec<Capability> {
    let Ok(mut ipvs) = Ipvs::open().await else {
        return Vec::new();
    };
    let mut found = try_features(&mut ipvs).await;
    found.extend(symbols::probe().await);
    let deletes = conntrack().await;
    found.push(Capability {
        name: CONNTRACK_DELETE.to_owned(),
        available: deletes.is_ok(),
        detail: deletes.unwrap_or_else(|missing| missing),
        optional: true,
    });
    found
}

/// Makes the report of something that only some services need.
fn optional(ability: Ability, found: Result<String, String>) -> Capability {
    Capability {
        name: ability.to_string(),
        available: found.is_ok(),
        detail: found.unwrap_or_else(|missing| missing),
        optional: true,
    }
}

/// Reads whether `CAP_NET_ADMIN` is effective from a `/proc/PID/status`.
fn net_admin(status: &str) -> Result<String, String> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    match bits {
        Some(bits) if bits >> CAP_NET_ADMIN & 1 == 1 => Ok("CAP_NET_ADMIN is effective".to_owned()),
        Some(_) => Err("CAP_NET_ADMIN is not effective: run as root, or set \
                        AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW in the systemd unit"
            .to_owned()),
        None => Err("/proc/self/status has no CapEff line: mount /proc".to_owned()),
    }
}

async fn ipvs() -> Result<String, String> {
    let missing = |error: &dyn std::error::Error| {
        format!(
            "no IPVS ({}): load the module ip_vs, with a kernel built with CONFIG_IP_VS",
            chain(error)
        )
    };
    let mut opened = Ipvs::open().await;
    if opened.is_err() && modprobe("ip_vs").await {
        opened = Ipvs::open().await;
    }
    let info = match opened {
        Ok(mut ipvs) => ipvs.info().await,
        Err(error) => return Err(missing(&error)),
    };
    match info {
        Ok(info) => {
            let [_, major, minor, patch] = info.version.to_be_bytes();
            let buckets = info.connection_table_size;
            Ok(format!(
                "IPVS {major}.{minor}.{patch}, {buckets} connection buckets"
            ))
        }
        Err(NlError::Errno(errno)) if errno == Errno::EPERM as i32 => {
            Err("IPVS is there but out of reach: CAP_NET_ADMIN is missing".to_owned())
        }
        Err(error) => Err(missing(&error)),
    }
}

async fn dummy() -> Result<String, String> {
    let tried = match try_dummy().await {
        Err(_) if modprobe("dummy").await => try_dummy().await,
        tried => tried,
    };
    match tried {
        Ok(()) => Ok("dummy links can be made".to_owned()),
        Err(error) => Err(format!(
            "no dummy links ({error}): load the module dummy (CONFIG_DUMMY)"
        )),
    }
}

async fn try_dummy() -> Result<(), String> {
    let mut links = Links::open().map_err(|error| chain(&error))?;
    links
        .ensure_dummy(PROBE_LINK)
        .await
        .map_err(|error| chain(&error))?;
    links
        .delete_dummy(PROBE_LINK)
        .await
        .map_err(|error| chain(&error))
}

async fn ip_set() -> Result<String, String> {
    let tried = match try_protocol().await {
        Err(_) if modprobe("ip_set").await => try_protocol().await,
        tried => tried,
    };
    match tried {
        Ok((_, newest)) if newest >= 7 => Ok(format!("ipset protocol {newest}")),
        Ok((_, newest)) => Err(format!(
            "ipset protocol {newest} is too old: weir needs Linux 4.20"
        )),
        Err(error) => Err(format!(
            "no IP sets ({}): load the module ip_set (CONFIG_IP_SET)",
            chain(&error)
        )),
    }
}

async fn try_protocol() -> Result<(u8, u8), NlError> {
    Ipset::open()?.protocol().await
}

async fn conntrack() -> Result<String, String> {
    let tried = match try_conntrack().await {
        Err(_) if modprobe("nf_conntrack_netlink").await => try_conntrack().await,
        tried => tried,
    };
    match tried {
        Ok(Filters::Both | Filters::Original) => {
            Ok("flows are looked for within the kernel".to_owned())
        }
        Ok(Filters::Nothing) => Ok("the kernel shows all flows when some are looked for: it \
                                    takes Linux 5.8 to show only those"
            .to_owned()),
        Err(error) => Err(format!(
            "no conntrack over netlink ({}): load the module nf_conntrack_netlink \
             (CONFIG_NF_CT_NETLINK)",
            chain(&error)
        )),
    }
}

/// Looks for flows that no kernel has, of port 0, and says what of a filter was heeded.
async fn try_conntrack() -> Result<Filters, NlError> {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let none = Translation {
        protocol: 6,
        destination: nowhere,
        replier: nowhere,
    };
    let mut conntrack = Conntrack::open()?;
    conntrack.forget(&[none].into()).await?;
    Ok(conntrack.filters())
}

async fn hash_ip_port_ip() -> Result<String, String> {
    let tried = match try_type().await {
        Err(_) if modprobe("ip_set_hash_ipportip").await => try_type().await,
        tried => tried,
    };
    match tried {
        Ok(newest) => Ok(format!("{HASH_IP_PORT_IP} up to revision {newest}")),
        Err(error) => Err(format!(
            "no {HASH_IP_PORT_IP} sets ({}): load the module ip_set_hash_ipportip",
            chain(&error)
        )),
    }
}

async fn try_type() -> Result<u8, NlError> {
    Ok(Ipset::open()?
        .revisions(HASH_IP_PORT_IP, Family::Inet)
        .await?
        .max)
}

/// Loads a module and says whether that went well; where no module can be loaded it does nothing.
pub(super) async fn modprobe(module: &str) -> bool {
    if Path::new("/sys/module").join(module).exists() {
        return false;
    }
    let ran = Command::new("modprobe")
        .args(["-q", "--", module])
        .kill_on_drop(true)
        .status()
        .await;
    ran.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn net_admin_is_read_from_the_effective_set() {
        let status =
            |bits: &str| format!("Name:\tweir\nCapPrm:\t0000000000001000\nCapEff:\t{bits}\n");
        assert!(net_admin(&status("0000000000001000")).is_ok());
        assert!(net_admin(&status("000001ffffffffff")).is_ok());
        let missing = net_admin(&status("0000000000000fff")).expect_err("bit 12 is not set");
        assert!(
            missing.contains("AmbientCapabilities=CAP_NET_ADMIN"),
            "{missing}"
        );
        assert!(net_admin("").expect_err("no line").contains("/proc"));
    }
}
