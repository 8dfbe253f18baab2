//! What IPVS can do beyond being there, found by trying: a service for each scheduler and feature, made and removed
//! at once.
//!
//! - No packet meets these services, and none of somebody else's is touched: see `mark`.
//! - One an earlier probe left behind, because its agent was killed, is removed first.
//! - Many requests go in one send: a probe takes about ten sends however many trials there are.
//! - What was neither accepted nor refused for the lack of it is left out: it is unknown.
//! - The kernel loads what it needs by itself (`request_module` in `ip_vs_scheduler_get` and
//!   `ip_vs_pe_getbyname`), and where it may not, the probe asks for the module once. Modules stay loaded.

use std::net::{Ipv4Addr, SocketAddr};

use nix::errno::Errno;
use tracing::warn;
use weir_proto::model::{Ability, Capability};

use super::mark::{Trial, is_ours};
use super::{modprobe, optional};
use crate::kernel::linux::ipvs::{
    Command, Dest, DestStatus, Forward, Ipvs, Service, ServiceKey, Tunnel, TunnelKind,
};
use crate::kernel::linux::netlink::NlError;

/// Backends of the trial of tunnels: no packet is sent to any of them (RFC 5737).
const NOWHERE: [Ipv4Addr; 3] = [
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::new(192, 0, 2, 2),
    Ipv4Addr::new(192, 0, 2, 3),
];
/// The kernel refuses GUE without a port (`ip_vs_add_dest`); this is the one IANA gave it.
const GUE_PORT: u16 = 6080;

/// One service, and what the kernel said to it.
struct Tried {
    trial: Trial,
    service: Service,
    verdict: Result<(), NlError>,
}

/// Tries everything that not every IPVS can do.
pub async fn try_features(ipvs: &mut Ipvs) -> Vec<Capability> {
    let chosen = free(ipvs).await;
    let services: Vec<&Service> = chosen.iter().map(|(_, service)| service).collect();
    let mut verdicts = add(ipvs, &services).await;
    let mut again = Vec::new();
    for (place, (trial, _)) in chosen.iter().enumerate() {
        if let (Err(error), Some(module)) = (&verdicts[place], trial.module())
            && is(error, Errno::ENOENT)
            && modprobe(&module).await
        {
            again.push(place);
        }
    }
    let services: Vec<&Service> = again.iter().map(|place| &chosen[*place].1).collect();
    for (place, verdict) in again.into_iter().zip(add(ipvs, &services).await) {
        verdicts[place] = verdict;
    }

    let tried = chosen.into_iter().zip(verdicts);
    let tried: Vec<Tried> = tried
        .map(|((trial, service), verdict)| Tried {
            trial,
            service,
            verdict,
        })
        .collect();
    let mut found: Vec<Capability> = tried.iter().filter_map(verdict).collect();
    let bare = tried.iter().find(|tried| tried.trial == Trial::Bare);
    if let Some(Tried {
        service,
        verdict: Ok(()),
        ..
    }) = bare
    {
        found.extend(tunnels(ipvs, &service.key).await);
        found.extend(stats64(ipvs, &service.key).await);
    }
    remove(ipvs, &tried).await;
    found
}

/// Gives the trials, each under a mark that nobody uses, and removes what an earlier probe left behind. A trial
/// whose marks are all in use is left out.
async fn free(ipvs: &mut Ipvs) -> Vec<(Trial, Service)> {
    let keys: Vec<(Trial, Vec<ServiceKey>)> = (0..)
        .zip(Trial::all())
        .map(|(place, trial)| (trial, trial.keys(place).collect()))
        .collect();
    let all: Vec<Command<'_>> = keys
        .iter()
        .flat_map(|(_, keys)| keys.iter().map(Command::GetService))
        .collect();
    let mut present = ipvs.batch(&all).await.into_iter();
    let mut free = Vec::with_capacity(keys.len());
    for (trial, keys) in &keys {
        let mut chosen = None;
        for key in keys {
            let taken = match present.next() {
                // there is one, whoever made it
                Some(Ok(())) => !is_removed(ipvs, key).await,
                // ESRCH, or a family that this kernel has not
                Some(Err(NlError::Errno(_))) => false,
                Some(Err(_)) | None => true,
            };
            if !taken && chosen.is_none() {
                chosen = Some(*key);
            }
        }
        free.extend(chosen.map(|key| (*trial, trial.service(key))));
    }
    free
}

/// Removes a service if a probe made it.
async fn is_removed(ipvs: &mut Ipvs, key: &ServiceKey) -> bool {
    match ipvs.service(key).await {
        Ok(Some(status)) if is_ours(&status.service) => {
            matches!(ipvs.batch(&[Command::DelService(key)]).await[..], [Ok(())])
        }
        Ok(None) => true,
        Ok(Some(_)) | Err(_) => false,
    }
}

/// Adds services. One that somebody added since we looked is refused by the kernel (`EEXIST`), and so never taken
/// for ours.
async fn add(ipvs: &mut Ipvs, services: &[&Service]) -> Vec<Result<(), NlError>> {
    let commands: Vec<_> = services
        .iter()
        .map(|service| Command::NewService(service))
        .collect();
    ipvs.batch(&commands).await
}

async fn remove(ipvs: &mut Ipvs, tried: &[Tried]) {
    let added = || tried.iter().filter(|tried| tried.verdict.is_ok());
    let commands: Vec<_> = added()
        .map(|tried| Command::DelService(&tried.service.key))
        .collect();
    let verdicts = ipvs.batch(&commands).await;
    for (Tried { service, .. }, verdict) in added().zip(verdicts) {
        if let Err(error) = verdict {
            warn!(
                service = ?service.key, error = &error as &dyn std::error::Error,
                "a service of the probe stays until the next start"
            );
        }
    }
}

/// Says what a verdict means; none: nothing.
fn verdict(tried: &Tried) -> Option<Capability> {
    let (ability, absent, advice) = match tried.trial {
        Trial::Scheduler(scheduler) => (
            Ability::Scheduler(scheduler),
            Errno::ENOENT,
            load(&format!("ip_vs_{scheduler}")),
        ),
        Trial::PersistenceSip => (Ability::PersistenceSip, Errno::ENOENT, load("ip_vs_pe_sip")),
        Trial::Ipv6 => (
            Ability::Ipv6,
            Errno::EAFNOSUPPORT,
            "take a kernel built with CONFIG_IP_VS_IPV6".to_owned(),
        ),
        Trial::Bare => return None,
    };
    match &tried.verdict {
        Ok(()) => Some(optional(
            ability,
            Ok("the kernel took a service with it".to_owned()),
        )),
        Err(error) if is(error, absent) => Some(optional(ability, Err(advice))),
        Err(_) => None,
    }
}

/// Says how a module comes to be there; each has a switch of its own name.
fn load(module: &str) -> String {
    format!(
        "load the module {module} (CONFIG_{})",
        module.to_uppercase()
    )
}

/// Tries a backend by each kind of tunnel: a kernel that does not know one ignores what it is told, and shows IP in
/// IP. GRE came with the checksum flags (both Linux 5.3), and 5.2 would keep any number: the flag must be kept too.
async fn tunnels(ipvs: &mut Ipvs, service: &ServiceKey) -> Vec<Capability> {
    let wanted = [
        (Ability::TunnelIpip, Tunnel::default()),
        (Ability::TunnelGue, tunnel(TunnelKind::Gue, GUE_PORT, 0)),
        (Ability::TunnelGre, tunnel(TunnelKind::Gre, 0, Tunnel::CSUM)),
    ];
    let dests = wanted
        .iter()
        .zip(NOWHERE)
        .map(|((_, tunnel), address)| Dest {
            tunnel: *tunnel,
            // weight 0: it would be sent nothing even so
            ..Dest::new(SocketAddr::from((address, 0)), Forward::Tunnel, 0)
        });
    let dests: Vec<Dest> = dests.collect();
    let commands: Vec<_> = dests
        .iter()
        .map(|dest| Command::NewDest(service, dest))
        .collect();
    // EINVAL: a network namespace that never had an IPv4 address takes no backend at all (`ip_vs_add_dest`)
    let taken = ipvs.batch(&commands).await;
    let Ok(shown) = ipvs.dests(service).await else {
        return Vec::new();
    };
    let tried = wanted.iter().zip(&dests).zip(taken);
    tried
        .filter_map(|(((ability, tunnel), dest), taken)| {
            taken.ok()?;
            let is_same = |shown: &&DestStatus| shown.dest.address == dest.address;
            let kept = shown.iter().find(is_same)?.dest.tunnel;
            let found = if kept == *tunnel {
                Ok("the kernel keeps a backend with it".to_owned())
            } else {
                Err("it needs Linux 5.3".to_owned())
            };
            Some(optional(*ability, found))
        })
        .collect()
}

fn tunnel(kind: TunnelKind, port: u16, flags: u16) -> Tunnel {
    Tunnel { kind, port, flags }
}

/// Looks how counters are shown.
async fn stats64(ipvs: &mut Ipvs, service: &ServiceKey) -> Option<Capability> {
    let found = match ipvs.service(service).await.ok()?? {
        shown if shown.stats64 => Ok("counters are 64 bits wide".to_owned()),
        _ => Err(
            "counters of connections and packets are 32 bits wide: they need Linux 4.1".to_owned(),
        ),
    };
    Some(optional(Ability::Stats64, found))
}

fn is(error: &NlError, errno: Errno) -> bool {
    error.errno() == Some(errno as i32)
}
