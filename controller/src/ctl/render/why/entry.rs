//! A frontend as `ipvsadm -Ln` shows it. PURE.
//!
//! The words and columns are those of ipvsadm 1.31 (`print_title`, `print_service_entry` and `print_dest` in `ipvsadm.c`), without
//! the blanks at the end of lines.

use std::net::Ipv4Addr;

use weir_proto::wire;
use weir_proto::wire::kernel_object::Value;

use super::super::socket_name;

const TITLE: [&str; 2] = [
    "Prot LocalAddress:Port Scheduler Flags",
    "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
];

// include/uapi/linux/ip_vs.h
const IP_VS_SVC_F_ONEPACKET: u32 = 0x4;
const IP_VS_SVC_F_SCHED: [(u32, &str, &str); 3] = [
    (0x8, "fallback", "flag-1"),
    (0x10, "port", "flag-2"),
    (0x20, "flag-3", "flag-3"),
];

/// Gives the lines of what a kernel holds; none: it was not seen, or holds no virtual service.
pub(super) fn lines(node: &wire::NodeWhy) -> Vec<String> {
    let mut lines = Vec::new();
    for seen in &node.objects {
        match seen
            .kernel
            .as_ref()
            .and_then(|kernel| kernel.value.as_ref())
        {
            Some(Value::Service(service)) => {
                lines.extend(TITLE.map(str::to_owned));
                lines.push(of_service(service));
            }
            Some(Value::Backend(backend)) => lines.push(of_backend(backend, seen)),
            _ => {}
        }
    }
    lines
}

fn of_service(service: &wire::KernelService) -> String {
    let frontend = service.frontend.clone().unwrap_or_default();
    let name = match frontend.firewall_mark {
        0 => {
            let socket = socket_name(&frontend.address, frontend.port);
            match frontend.protocol() {
                wire::Protocol::Udp => format!("UDP  {socket}"),
                wire::Protocol::Sctp => format!("SCTP {socket}"),
                wire::Protocol::Tcp | wire::Protocol::Unspecified => format!("TCP  {socket}"),
            }
        }
        mark if frontend.address_family() == wire::AddressFamily::Ipv6 => {
            format!("FWM  {mark} IPv6")
        }
        mark => format!("FWM  {mark}"),
    };
    let mut line = format!("{name} {}", service.scheduler);
    let set = IP_VS_SVC_F_SCHED
        .iter()
        .filter(|(bit, ..)| service.flags & bit != 0);
    let named = matches!(service.scheduler.as_str(), "sh" | "mh");
    let set: Vec<String> = set
        .map(|(bit, word, plain)| match named && *bit < 0x20 {
            true => format!("{}-{word}", service.scheduler),
            false => (*plain).to_owned(),
        })
        .collect();
    if !set.is_empty() {
        line += &format!(" ({})", set.join(","));
    }
    if service.affinity_seconds > 0 {
        line += &format!(" persistent {}", service.affinity_seconds);
        let bits = service.affinity_prefix;
        let v6 = frontend.address.contains(':')
            || frontend.address_family() == wire::AddressFamily::Ipv6;
        match (v6, bits) {
            (true, 128) | (false, 32) => {}
            (true, bits) => line += &format!(" mask {bits}"),
            (false, bits) => {
                let mask = u32::MAX
                    .checked_shl(32_u32.saturating_sub(bits))
                    .unwrap_or(0);
                line += &format!(" mask {}", Ipv4Addr::from(mask));
            }
        }
        if !service.engine.is_empty() {
            line += &format!(" pe {}", service.engine);
        }
    }
    if service.flags & IP_VS_SVC_F_ONEPACKET != 0 {
        line += " ops";
    }
    line
}

fn of_backend(backend: &wire::KernelBackend, seen: &wire::SeenObject) -> String {
    let forward = match backend.forwarding.map(wire::Forwarding::try_from) {
        Some(Ok(wire::Forwarding::Masquerade)) => "Masq",
        Some(Ok(wire::Forwarding::DirectRoute)) => "Route",
        Some(Ok(wire::Forwarding::Tunnel)) => "Tunnel",
        _ => "Other",
    };
    let line = format!(
        "  -> {:<28} {forward:<7} {:<6} {:<10} {:<10}",
        socket_name(&backend.address, backend.port),
        backend.weight,
        seen.active_connections.unwrap_or_default(),
        seen.inactive_connections.unwrap_or_default(),
    );
    line.trim_end().to_owned()
}
