//! How packets are taken, remembered and forwarded, and who else has a hand in it. PURE.

use std::net::{IpAddr, SocketAddr};

use weir_proto::checkup::{Finding, Group};
use weir_proto::model::{Listener, Protocol};

use crate::check::facts::{Conntrack, Facts, Socket};
use crate::plan::Setting;

const SYSCTLS: Group = Group("sysctls");
const CONNTRACK: Group = Group("conntrack");
const PORTS: Group = Group("ports");
const OTHERS: Group = Group("others");
const FORWARDING: Group = Group("forwarding");

/// Who else programs IPVS and may be met.
pub(in crate::check) const PROGRAMS: [&str; 2] = ["keepalived", "ldirectord"];
/// What the agent itself is called (`/proc/PID/comm`).
const AGENT: &str = "weir-agent";

/// Those that the agent sets to 1, where it finds something else.
const SET: [Setting; 5] = [
    Setting::ForwardV4,
    Setting::ForwardV6,
    Setting::Conntrack,
    Setting::ExpireNodestConn,
    Setting::ExpireQuiescentTemplate,
];
/// Defences of IPVS that drop packets when memory runs short (`update_defense_level` in `ip_vs_ctl.c`), or always.
const DEFENCES: [&str; 3] = [
    "net.ipv4.vs.drop_entry",
    "net.ipv4.vs.drop_packet",
    "net.ipv4.vs.secure_tcp",
];
const ARP_IGNORE: &str = "net.ipv4.conf.all.arp_ignore";
const RP_FILTER: &str = ".rp_filter";
const OF_LINKS: &str = "net.ipv4.conf.";

/// Judges settings that are there before the agent is.
pub(super) fn sysctls(facts: &Facts) -> Vec<Finding> {
    let value = |name: &str| facts.sysctls.get(name).map(String::as_str);
    let mut findings = vec![match facts.writable {
        true => SYSCTLS.fine("/proc/sys/net", "writable"),
        false => SYSCTLS.failed(
            "/proc/sys/net",
            "read-only: what the agent must set stays as it is",
            "run as root; of a container, with /proc/sys mounted for writing (privileged), or set them on the host",
        ),
    }];
    findings.extend(SET.map(Setting::name).map(|name| match value(name) {
        Some("1") => SYSCTLS.fine(name, "1"),
        Some(other) => SYSCTLS.fine(
            name,
            format!("{other}; the agent sets it to 1 for a service"),
        ),
        None => SYSCTLS.skipped(name, "not there: what it belongs to is not loaded"),
    }));
    findings.push(strict_paths(facts));
    findings.push(match value(ARP_IGNORE).unwrap_or("0") {
        "0" => SYSCTLS.fine(ARP_IGNORE, "0: ARP is answered for VIPs on weir0"),
        "8" => SYSCTLS.failed(
            ARP_IGNORE,
            "8: ARP is answered for nothing",
            "set it to 0, or bring VIPs here by BGP or routes",
        ),
        other => SYSCTLS.warning(
            ARP_IGNORE,
            format!("{other}: ARP is not answered for VIPs on weir0"),
            "set it to 0, unless VIPs are brought here by BGP or routes (strictArp), or backends take them silently",
        ),
    });
    let on = DEFENCES
        .into_iter()
        .filter(|name| value(name).is_some_and(|value| value != "0"));
    findings.extend(on.map(|name| {
        let detail = format!(
            "{}: IPVS drops some packets",
            value(name).unwrap_or_default()
        );
        SYSCTLS.warning(
            name,
            detail,
            format!("sysctl -w {name}=0, unless that is wanted"),
        )
    }));
    findings
}

/// Judges whether the way back is looked at: of `all` and the link's own the larger counts (`IN_DEV_RPFILTER` in
/// `include/linux/inetdevice.h`).
fn strict_paths(facts: &Facts) -> Finding {
    let of = |link: &str| {
        let value = facts.sysctls.get(&format!("{OF_LINKS}{link}{RP_FILTER}"))?;
        value.parse::<u8>().ok()
    };
    let all = of("all").unwrap_or_default();
    let names = facts.sysctls.keys();
    let links = names.filter_map(|name| name.strip_prefix(OF_LINKS)?.strip_suffix(RP_FILTER));
    let links = links.filter(|link| !["all", "default", "lo"].contains(link));
    let strict = links.filter(|link| of(link).unwrap_or_default().max(all) == 1);
    let strict: Vec<&str> = strict.collect();
    match strict.is_empty() {
        true => SYSCTLS.fine("rp_filter", "on no link strict"),
        false => SYSCTLS.warning(
            "rp_filter",
            format!("strict on {}: a packet that comes in where no route leads back is dropped", strict.join(", ")),
            "set net.ipv4.conf.all.rp_filter=2 where clients and backends are reached over different links",
        ),
    }
}

/// Judges how much room there is for connections.
pub(super) fn conntrack(facts: &Facts) -> Vec<Finding> {
    let Some(Conntrack { count, max }) = facts.conntrack else {
        let why = "not loaded; it is when the first service masquerades";
        return vec![CONNTRACK.skipped("size", why)];
    };
    let detail = format!("{count} of {max} connections");
    let advice = "raise net.netfilter.nf_conntrack_max: a connection takes some 320 bytes";
    let size = match (count.saturating_mul(100), max) {
        (full, _) if full >= max.saturating_mul(95) => {
            CONNTRACK.failed("size", format!("{detail}: new ones are dropped"), advice)
        }
        (full, _) if full >= max.saturating_mul(80) => CONNTRACK.warning("size", detail, advice),
        (_, ..65_536) => {
            let detail = format!("{detail}: few, for a load balancer");
            CONNTRACK.warning("size", detail, advice)
        }
        _ => CONNTRACK.fine("size", detail),
    };
    vec![size]
}

/// Judges whether somebody is where we shall be.
pub(super) fn ports(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![match facts.admin_listen {
        None => PORTS.skipped("admin", "--admin-listen is not given"),
        Some(address) => admin(address, &facts.sockets),
    }];
    let Some(frontends) = &facts.frontends else {
        let why = "what IPVS balances could not be read";
        findings.push(PORTS.skipped("frontends", why));
        return findings;
    };
    let before = findings.len();
    for frontend in frontends {
        findings.extend(facts.sockets.iter().filter_map(|it| clash(frontend, it)));
    }
    if findings.len() == before {
        let detail = format!(
            "{} in IPVS, and nobody else listens at one",
            frontends.len()
        );
        findings.push(PORTS.fine("frontends", detail));
    }
    findings
}

fn admin(address: SocketAddr, sockets: &[Socket]) -> Finding {
    let mut others = sockets.iter().filter(|it| it.protocol == Protocol::Tcp);
    let other = others.find(|it| meets(it.address, address) || meets(address, it.address));
    match other {
        None => PORTS.fine("admin", format!("{address} is free")),
        Some(it) if it.program == AGENT => {
            PORTS.fine("admin", format!("{address} is an agent's that runs"))
        }
        Some(it) => PORTS.failed(
            "admin",
            format!("{} listens on {}", program(it), it.address),
            "give --admin-listen another port, or stop that program",
        ),
    }
}

/// Judges a socket beside a frontend: IPVS sees packets before any socket does (`ip_vs_in` at LOCAL_IN in `ip_vs_core.c`).
fn clash(frontend: &Listener, socket: &Socket) -> Option<Finding> {
    let vip = SocketAddr::new(frontend.address, frontend.port.get());
    if frontend.protocol != socket.protocol || !meets(socket.address, vip) {
        return None;
    }
    let name = format!("{vip}/{}", frontend.protocol);
    let who = program(socket);
    Some(match is_any(socket.address.ip()) {
        true => PORTS.warning(
            name,
            format!("{who} listens on every address: at this one IPVS is reached instead"),
            "let it listen on the addresses that it is meant to be reached at",
        ),
        false => PORTS.failed(
            name,
            format!("{who} listens on the VIP itself: IPVS takes what is sent to it"),
            "let it listen elsewhere, or make it a backend",
        ),
    })
}

fn program(socket: &Socket) -> String {
    match socket.program.as_str() {
        "" => "another program".to_owned(),
        name => name.to_owned(),
    }
}

/// Says whether a socket bound to `bound` takes what is sent to `address`.
fn meets(bound: SocketAddr, address: SocketAddr) -> bool {
    let wild = match (bound.ip(), address.ip()) {
        (IpAddr::V4(bound), IpAddr::V4(_)) => bound.is_unspecified(),
        // a socket of IPv6 takes IPv4 as well, unless it was told not to
        (IpAddr::V6(bound), _) => bound.is_unspecified(),
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    };
    bound.port() == address.port() && (wild || bound.ip() == address.ip())
}

fn is_any(address: IpAddr) -> bool {
    address.is_unspecified()
}

/// Judges who else programs IPVS.
pub(super) fn others(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.has_kube_link {
        findings.push(OTHERS.failed(
            "kube-proxy",
            "in mode IPVS (there is a link kube-ipvs0): it deletes virtual services that it does not know",
            "run it in mode iptables or nftables here, or give it --ipvs-exclude-cidrs with the VIPs; weirctl import kube-proxy",
        ));
    }
    findings.extend(facts.others.iter().map(|name| {
        OTHERS.warning(
            name,
            "runs: what it has in IPVS is not weir's, and a frontend of both is refused",
            "move its services over (weirctl import) and stop it, or let each have addresses of its own",
        )
    }));
    let foreign = facts.frontends.as_ref().map_or(0, Vec::len);
    if foreign > 0 && !facts.has_link {
        findings.push(OTHERS.warning(
            "IPVS",
            format!("balances for others, and no agent was here; virtual services: {foreign}"),
            "weirctl import ipvsadm makes resources of them, and weir-agent adopt takes them over in place",
        ));
    }
    if findings.is_empty() {
        findings.push(OTHERS.fine("IPVS", "nobody else is seen to program it"));
    }
    findings
}

/// Judges whether replies of masqueraded backends get through: they are forwarded, and pass these chains before IPVS translates
/// them (`ip_vs_ops` in `ip_vs_core.c`).
pub(super) fn forwarding(facts: &Facts) -> Vec<Finding> {
    let Some(chains) = &facts.forwarding else {
        let why = "the chains could not be read";
        return vec![FORWARDING.skipped("policy", why)];
    };
    let advice = "let replies through: iptables -I FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT, or \
                  ct state established,related accept in nft";
    let drops = chains.iter().filter(|chain| chain.drops);
    let mut findings: Vec<Finding> = drops
        .map(|chain| match chain.rules {
            0 => FORWARDING.failed(
                &chain.name,
                "drops everything: no reply of a masqueraded backend gets through",
                advice,
            ),
            rules => FORWARDING.warning(
                &chain.name,
                format!("drops what none of its {rules} rules accepts, replies of masqueraded backends too"),
                advice,
            ),
        })
        .collect();
    if findings.is_empty() {
        let detail = match chains.len() {
            0 => "no chain is in the way".to_owned(),
            _ => "no chain drops what no rule names".to_owned(),
        };
        findings.push(FORWARDING.fine("policy", detail));
    }
    findings
}
