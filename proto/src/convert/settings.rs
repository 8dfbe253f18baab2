//! The parts that a resource and an item have alike: how packets are wrapped, what schedulers do beside, and what is set on a
//! node.

use std::net::IpAddr;
use std::num::NonZeroU8;

use super::Problems;
use crate::model::{
    Checksum, ConnectionTimeouts, Family, Forwarding, Interface, MaxLength, PersistenceEngine,
    Port, Refused, Scheduler, SchedulerFlags, Sources, SyncDaemon, SyncRole, Tunnel, TunnelKind,
    VipBinding, multicast, source,
};
use crate::wire;

/// Reads how packets get to backends: `at` is what holds the fields `forwarding` and `tunnel`.
pub(super) fn forwarding_from_wire(
    forwarding: Option<i32>,
    tunnel: Option<&wire::Tunnel>,
    at: &str,
    problems: &mut Problems,
) -> Option<Forwarding> {
    let way = match forwarding.map(wire::Forwarding::try_from) {
        None => Ok(wire::Forwarding::Masquerade),
        Some(Ok(wire::Forwarding::Unspecified)) => Err(Refused::Missing),
        Some(Ok(way)) => Ok(way),
        Some(Err(_)) => Err(Refused::Enum(forwarding.unwrap_or_default(), "forwarding")),
    };
    let way = problems.take(format!("{at}.forwarding"), way)?;
    let path = format!("{at}.tunnel");
    match (way, tunnel) {
        (wire::Forwarding::Tunnel, None) => Some(Forwarding::Tunnel(Tunnel::default())),
        (wire::Forwarding::Tunnel, Some(tunnel)) => {
            read_tunnel(tunnel, &path, problems).map(Forwarding::Tunnel)
        }
        (_, Some(_)) => {
            problems.add(path, Refused::OnlyWith("forwarding TUNNEL"));
            None
        }
        (wire::Forwarding::DirectRoute, None) => Some(Forwarding::DirectRoute),
        (wire::Forwarding::Masquerade | wire::Forwarding::Unspecified, None) => {
            Some(Forwarding::Masquerade)
        }
    }
}

/// Writes how packets get to backends.
pub fn forwarding_to_wire(forwarding: Forwarding) -> (wire::Forwarding, Option<wire::Tunnel>) {
    match forwarding {
        Forwarding::Masquerade => (wire::Forwarding::Masquerade, None),
        Forwarding::DirectRoute => (wire::Forwarding::DirectRoute, None),
        Forwarding::Tunnel(tunnel) => (wire::Forwarding::Tunnel, Some(tunnel_to_wire(tunnel))),
    }
}

fn read_tunnel(tunnel: &wire::Tunnel, at: &str, problems: &mut Problems) -> Option<Tunnel> {
    let kind = match tunnel.r#type.map(wire::TunnelType::try_from) {
        None | Some(Ok(wire::TunnelType::Ipip)) => Ok(TunnelKind::Ipip),
        Some(Ok(wire::TunnelType::Gue)) => Ok(TunnelKind::Gue),
        Some(Ok(wire::TunnelType::Gre)) => Ok(TunnelKind::Gre),
        Some(Ok(wire::TunnelType::Unspecified)) => Err(Refused::Missing),
        Some(Err(_)) => Err(Refused::Enum(
            tunnel.r#type.unwrap_or_default(),
            "tunnel type",
        )),
    };
    let kind = problems.take(format!("{at}.type"), kind);
    let port = match tunnel.port {
        None => Some(None),
        Some(port) => problems
            .take(format!("{at}.port"), Port::new(port))
            .map(Some),
    };
    let checksum = match tunnel.checksum.map(wire::TunnelChecksum::try_from) {
        None | Some(Ok(wire::TunnelChecksum::None)) => Ok(Checksum::None),
        Some(Ok(wire::TunnelChecksum::Full)) => Ok(Checksum::Full),
        Some(Ok(wire::TunnelChecksum::Remote)) => Ok(Checksum::Remote),
        Some(Ok(wire::TunnelChecksum::Unspecified)) => Err(Refused::Missing),
        Some(Err(_)) => Err(Refused::Enum(
            tunnel.checksum.unwrap_or_default(),
            "tunnel checksum",
        )),
    };
    let checksum = problems.take(format!("{at}.checksum"), checksum);
    problems.take(at, Tunnel::new(kind?, port?, checksum?))
}

fn tunnel_to_wire(tunnel: Tunnel) -> wire::Tunnel {
    let kind = match tunnel.kind() {
        TunnelKind::Ipip => wire::TunnelType::Ipip,
        TunnelKind::Gue => wire::TunnelType::Gue,
        TunnelKind::Gre => wire::TunnelType::Gre,
    };
    let checksum = match tunnel.checksum() {
        Checksum::None => wire::TunnelChecksum::None,
        Checksum::Full => wire::TunnelChecksum::Full,
        Checksum::Remote => wire::TunnelChecksum::Remote,
    };
    wire::Tunnel {
        r#type: Some(kind.into()),
        port: tunnel.port().map(|port| port.get().into()),
        checksum: Some(checksum.into()),
    }
}

/// Reads the flags of a scheduler; what is not said is as the scheduler has it.
pub(super) fn flags_from_wire(
    flags: Option<wire::SchedulerFlags>,
    scheduler: Scheduler,
) -> Result<Option<SchedulerFlags>, Refused> {
    match (SchedulerFlags::default_of(scheduler), flags) {
        (None, Some(_)) => Err(Refused::OnlyWith("scheduler sh or mh")),
        (default, None) => Ok(default),
        (Some(default), Some(flags)) => Ok(Some(SchedulerFlags {
            fallback: flags.fallback.unwrap_or(default.fallback),
            port: flags.port.unwrap_or(default.port),
        })),
    }
}

/// Writes the flags of a scheduler.
pub(super) fn flags_to_wire(flags: SchedulerFlags) -> wire::SchedulerFlags {
    wire::SchedulerFlags {
        fallback: Some(flags.fallback),
        port: Some(flags.port),
    }
}

/// Reads the name of a persistence engine; empty: none.
pub(super) fn engine_from_wire(name: &str) -> Result<Option<PersistenceEngine>, Refused> {
    match name {
        "" => Ok(None),
        name => name.parse().map(Some),
    }
}

/// Writes the name of a persistence engine.
pub(super) fn engine_to_wire(engine: Option<PersistenceEngine>) -> String {
    engine.map_or_else(String::new, |engine| engine.as_str().to_owned())
}

/// Reads how a VIP is bound.
pub(super) fn binding_from_wire(number: i32) -> Result<VipBinding, Refused> {
    match wire::VipBinding::try_from(number) {
        Ok(wire::VipBinding::Address) => Ok(VipBinding::Address),
        Ok(wire::VipBinding::Route) => Ok(VipBinding::Route),
        Ok(wire::VipBinding::Unspecified) => Err(Refused::Missing),
        Err(_) => Err(Refused::Enum(number, "VIP binding")),
    }
}

/// Writes how a VIP is bound.
pub fn binding_to_wire(binding: VipBinding) -> wire::VipBinding {
    match binding {
        VipBinding::Address => wire::VipBinding::Address,
        VipBinding::Route => wire::VipBinding::Route,
    }
}

/// Reads a family that must be named.
pub(super) fn family_from_wire(number: i32) -> Result<Family, Refused> {
    match wire::AddressFamily::try_from(number) {
        Ok(wire::AddressFamily::Ipv4) => Ok(Family::V4),
        Ok(wire::AddressFamily::Ipv6) => Ok(Family::V6),
        Ok(wire::AddressFamily::Unspecified) => Err(Refused::Missing),
        Err(_) => Err(Refused::Enum(number, "address family")),
    }
}

/// Writes a family.
pub(super) fn family_to_wire(family: Family) -> wire::AddressFamily {
    match family {
        Family::V4 => wire::AddressFamily::Ipv4,
        Family::V6 => wire::AddressFamily::Ipv6,
    }
}

/// Reads who may connect to a frontend of a family; none: the frontend is a mark.
pub(super) fn sources_from_wire(
    ranges: &[String],
    family: Option<Family>,
    at: &str,
    problems: &mut Problems,
) -> Option<Sources> {
    let Some(family) = family else {
        if !ranges.is_empty() {
            problems.add(at, Refused::OnlyWith("an address"));
        }
        return Some(Sources::new());
    };
    let mut taken = Sources::new();
    for (place, text) in ranges.iter().enumerate() {
        let path = format!("{at}[{place}]");
        if let Some(range) = problems.take(&path, source(text, family))
            && !taken.insert(range)
        {
            problems.add(path, Refused::Twice(range.to_string()));
        }
    }
    Some(taken)
}

/// Writes who may connect.
pub(super) fn sources_to_wire(sources: &Sources) -> Vec<String> {
    sources.iter().map(ToString::to_string).collect()
}

/// Reads how long connections are remembered; none: nothing of it is said.
pub(super) fn timeouts_from_wire(
    timeouts: &wire::ConnectionTimeouts,
    at: &str,
    problems: &mut Problems,
) -> Option<ConnectionTimeouts> {
    let wire::ConnectionTimeouts {
        tcp_seconds,
        tcp_fin_seconds,
        udp_seconds,
    } = *timeouts;
    let check = |name: &str, seconds: u32, problems: &mut Problems| {
        problems.take(format!("{at}.{name}"), ConnectionTimeouts::check(seconds))
    };
    let tcp = check("tcp_seconds", tcp_seconds, problems);
    let tcp_fin = check("tcp_fin_seconds", tcp_fin_seconds, problems);
    let udp = check("udp_seconds", udp_seconds, problems);
    ConnectionTimeouts::new(tcp?, tcp_fin?, udp?).ok().flatten()
}

/// Writes how long connections are remembered.
pub(super) fn timeouts_to_wire(timeouts: ConnectionTimeouts) -> wire::ConnectionTimeouts {
    wire::ConnectionTimeouts {
        tcp_seconds: timeouts.tcp(),
        tcp_fin_seconds: timeouts.tcp_fin(),
        udp_seconds: timeouts.udp(),
    }
}

/// Reads which end of the synchronisation a daemon is.
pub(super) fn role_from_wire(number: i32) -> Result<SyncRole, Refused> {
    match wire::SyncRole::try_from(number) {
        Ok(wire::SyncRole::Master) => Ok(SyncRole::Master),
        Ok(wire::SyncRole::Backup) => Ok(SyncRole::Backup),
        Ok(wire::SyncRole::Unspecified) => Err(Refused::Missing),
        Err(_) => Err(Refused::Enum(number, "sync role")),
    }
}

/// Writes which end of the synchronisation a daemon is.
pub fn role_to_wire(role: SyncRole) -> wire::SyncRole {
    match role {
        SyncRole::Master => wire::SyncRole::Master,
        SyncRole::Backup => wire::SyncRole::Backup,
    }
}

/// Reads a synchronisation daemon.
pub(super) fn daemon_from_wire(
    daemon: &wire::SyncDaemon,
    at: &str,
    problems: &mut Problems,
) -> Option<SyncDaemon> {
    let role = problems.take(format!("{at}.role"), role_from_wire(daemon.role));
    let interface = match daemon.interface.as_str() {
        "" => Err(Refused::Missing),
        name => Interface::new(name),
    };
    let interface = problems.take(format!("{at}.interface"), interface);
    let out_of = |number: u32, low, high| Refused::OutOf(number, low, high);
    let sync_id =
        u8::try_from(daemon.sync_id).map_err(|_| out_of(daemon.sync_id, 0, u8::MAX.into()));
    let sync_id = problems.take(format!("{at}.sync_id"), sync_id);
    let group = match daemon.group.as_str() {
        "" => Ok(None),
        text => multicast(text).map(Some),
    };
    let group = problems.take(format!("{at}.group"), group);
    let port = match daemon.port {
        0 => Ok(None),
        port => Port::new(port).map(Some),
    };
    let port = problems.take(format!("{at}.port"), port);
    let ttl = u8::try_from(daemon.ttl)
        .map(NonZeroU8::new)
        .map_err(|_| out_of(daemon.ttl, 0, u8::MAX.into()));
    let ttl = problems.take(format!("{at}.ttl"), ttl);
    let max_length = match daemon.max_length {
        0 => Ok(None),
        bytes => MaxLength::new(
            bytes,
            matches!(role, Some(SyncRole::Backup)),
            matches!(group, Some(Some(IpAddr::V6(_)))),
        )
        .map(Some),
    };
    let max_length = problems.take(format!("{at}.max_length"), max_length);
    Some(SyncDaemon {
        role: role?,
        interface: interface?,
        sync_id: sync_id?,
        group: group?,
        port: port?,
        ttl: ttl?,
        max_length: max_length?,
    })
}

/// Writes a synchronisation daemon.
pub(super) fn daemon_to_wire(daemon: &SyncDaemon) -> wire::SyncDaemon {
    wire::SyncDaemon {
        role: role_to_wire(daemon.role).into(),
        interface: daemon.interface.as_str().to_owned(),
        sync_id: daemon.sync_id.into(),
        group: daemon
            .group
            .map_or_else(String::new, |group| group.to_string()),
        port: daemon.port.map_or(0, |port| port.get().into()),
        ttl: daemon.ttl.map_or(0, |ttl| ttl.get().into()),
        max_length: daemon.max_length.map_or(0, |length| length.get().into()),
    }
}
