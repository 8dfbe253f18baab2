//! One `virtual_server` with its real servers. PURE.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use weir_proto::model::Family;
use weir_proto::wire;

use super::blocks::Statement;
use super::group::{Entry, Group, address, mark, port};
use super::heading;
use crate::ctl::import::draft::{
    Flag, Front, IPIP, Method, PERSISTENCE, Place, Read, Real, Server, Sticky, Transport, prefix_of,
};

/// The schedulers that keepalived takes (`lvs_schedulers` in `check_parser.c`).
const SCHEDULERS: [&str; 14] = [
    "rr", "wrr", "lc", "wlc", "lblc", "sh", "mh", "dh", "fo", "ovf", "lblcr", "sed", "nq", "twos",
];

/// Keywords that tune how servers are checked.
const TUNING: [&str; 9] = [
    "delay_loop",
    "retry",
    "delay_before_retry",
    "warmup",
    "connect_timeout",
    "alpha",
    "virtualhost",
    "inhibit_on_failure",
    "nb_get_retry",
];

/// Why what stands in virtual and real servers is not carried over.
const INSIDE: [(&str, &str); 16] = [
    ("quorum", QUORUM),
    ("hysteresis", QUORUM),
    ("quorum_up", SCRIPT),
    ("quorum_down", SCRIPT),
    ("notify_up", SCRIPT),
    ("notify_down", SCRIPT),
    ("omega", SCRIPT),
    ("sorry_server", SORRY),
    ("sorry_server_inhibit", SORRY),
    ("sorry_server_lvs_method", SORRY),
    ("ha_suspend", "weir has no VIP that moves away from a node"),
    ("smtp_alert", "weir sends no mail; its metrics tell"),
    ("snmp_name", "weir has metrics, and no SNMP"),
    ("hashed", "it does nothing in keepalived either"),
    ("track_file", "weir follows no file"),
    ("nat_mask", "it does nothing in the kernel either"),
];
const QUORUM: &str = "weir keeps a service up whatever is left of its backends";
const SCRIPT: &str = "weir runs no scripts";
const SORRY: &str =
    "weir has no server of last resort; schedulers fo and ovf go by weight to the next";

/// What a `virtual_server` says before its real servers are known.
struct Says {
    scheduler: String,
    flags: Vec<(Place, String)>,
    method: Option<Method>,
    timeout: Option<u32>,
    granularity: Option<(Place, String)>,
    engine: String,
    protocol: Option<Transport>,
    family: Option<Family>,
    one_packet: bool,
    weight: u32,
    reals: Vec<Real>,
    /// Which keywords tune checks, and where the first stands.
    tuning: Option<(Place, BTreeSet<&'static str>)>,
}

/// What stands at the head of a `virtual_server`.
enum Head {
    Address(IpAddr, u16),
    Mark(u32),
    Group(String),
}

/// Reads one into `read.servers`: several where a group has ports that one service cannot have.
pub(super) fn read(statement: &Statement, groups: &mut BTreeMap<&str, Group>, read: &mut Read) {
    let head = match head(statement) {
        Ok(head) => Some(head),
        Err(why) => {
            read.fault(statement.at, why);
            None
        }
    };
    let says = Says::read(statement, read);
    let Some(head) = head else { return };
    let entries = match &head {
        Head::Address(address, port) => {
            let entry = Entry::Address {
                address: *address,
                port: *port,
            };
            vec![(statement.at, entry)]
        }
        Head::Mark(number) => {
            let entry = Entry::Mark {
                number: *number,
                family: says.family,
            };
            vec![(statement.at, entry)]
        }
        Head::Group(name) => match groups.get_mut(name.as_str()) {
            Some(group) => {
                group.used = true;
                group.entries.clone()
            }
            None => {
                let why = format!("there is no virtual_server_group {name}");
                read.fault(statement.at, why);
                return;
            }
        },
    };
    says.servers(statement, &head, &entries, read);
}

fn head(statement: &Statement) -> Result<Head, String> {
    match (statement.word(1), statement.word(2)) {
        (Some("fwmark"), Some(number)) => Ok(Head::Mark(mark(number)?)),
        (Some("group"), Some(name)) => Ok(Head::Group(name.to_owned())),
        (Some(word @ ("fwmark" | "group")), None) => {
            Err(format!("virtual_server {word}: what follows is missing"))
        }
        (Some(at), number) => Ok(Head::Address(address(at)?, port(number)?)),
        (None, _) => Err("a virtual_server has an address, a fwmark or a group".to_owned()),
    }
}

/// Reads a number that a keyword has.
fn number(statement: &Statement, most: u32) -> Result<u32, String> {
    let text = statement.word(1).unwrap_or_default();
    let number: Option<u32> = text.parse().ok();
    let number = number.filter(|number| *number <= most);
    number.ok_or_else(|| {
        format!(
            "{}: {text:?} is not a number up to {most}",
            statement.keyword()
        )
    })
}

fn method(statement: &Statement) -> Result<Method, String> {
    let keyword = statement.keyword();
    let mut words = statement.words.iter().skip(1).map(String::as_str);
    let method = match words.next().unwrap_or_default() {
        "NAT" => Method::Masquerade,
        "DR" => Method::DirectRoute,
        "TUN" => Method::Tunnel(IPIP),
        other => return Err(format!("{keyword}: {other:?} is not NAT, DR or TUN")),
    };
    let Method::Tunnel(mut tunnel) = method else {
        return Ok(method);
    };
    while let Some(word) = words.next() {
        match word {
            "type" => {
                let kind = match words.next().unwrap_or_default() {
                    "ipip" => wire::TunnelType::Ipip,
                    "gue" => wire::TunnelType::Gue,
                    "gre" => wire::TunnelType::Gre,
                    other => return Err(format!("{keyword}: {other:?} is not ipip, gue or gre")),
                };
                tunnel.r#type = Some(kind.into());
            }
            "port" => {
                let port = port(Some(words.next().unwrap_or_default()))?;
                tunnel.port = Some(port.into());
            }
            "nocsum" => tunnel.checksum = None,
            "csum" => tunnel.checksum = Some(wire::TunnelChecksum::Full.into()),
            "remcsum" => tunnel.checksum = Some(wire::TunnelChecksum::Remote.into()),
            other => return Err(format!("{keyword}: {other:?} is no option of a tunnel")),
        }
    }
    Ok(Method::Tunnel(tunnel))
}

impl Says {
    fn read(statement: &Statement, read: &mut Read) -> Self {
        let mut says = Self {
            // keepalived's own defaults
            scheduler: "wlc".to_owned(),
            weight: 1,
            flags: Vec::new(),
            method: None,
            timeout: None,
            granularity: None,
            engine: String::new(),
            protocol: None,
            family: None,
            one_packet: false,
            reals: Vec::new(),
            tuning: None,
        };
        // What holds for each real server may stand after it.
        let (reals, own): (Vec<&Statement>, Vec<&Statement>) = statement
            .inside()
            .iter()
            .partition(|inside| inside.keyword() == "real_server");
        for inside in own {
            if let Err(why) = says.keyword(inside, read) {
                read.fault(inside.at, why);
            }
        }
        for real in reals {
            match says.real(real, read) {
                Ok(real) => says.reals.push(real),
                Err(why) => read.fault(real.at, why),
            }
        }
        if let Some((at, keywords)) = &says.tuning {
            let keywords: Vec<&str> = keywords.iter().copied().collect();
            let they = if keywords.len() == 1 {
                "it is"
            } else {
                "they are"
            };
            read.note(
                *at,
                format!(
                    "{}: {}: {they} about checks of servers, and weir makes none",
                    heading(statement),
                    keywords.join(", ")
                ),
            );
        }
        says
    }

    fn keyword(&mut self, statement: &Statement, read: &mut Read) -> Result<(), String> {
        let value = statement.word(1).unwrap_or_default();
        match statement.keyword() {
            "lb_algo" | "lvs_sched" => {
                if !SCHEDULERS.contains(&value) {
                    let keyword = statement.keyword();
                    return Err(format!("{keyword}: {value:?} is not a scheduler"));
                }
                value.clone_into(&mut self.scheduler);
            }
            "lb_kind" | "lvs_method" => self.method = Some(method(statement)?),
            "ops" => self.one_packet = true,
            keyword if Flag::named(keyword).is_some() => {
                self.flags.push((statement.at, keyword.to_owned()));
            }
            "persistence_timeout" if statement.word(1).is_none() => {
                self.timeout = Some(PERSISTENCE);
            }
            "persistence_timeout" => {
                // Some write 0 where they mean none; keepalived refuses it, and goes on without.
                self.timeout = Some(number(statement, u32::MAX)?).filter(|seconds| *seconds > 0);
            }
            "persistence_granularity" => {
                self.granularity = Some((statement.at, value.to_owned()));
            }
            "persistence_engine" => value.clone_into(&mut self.engine),
            "protocol" => {
                self.protocol = Some(match value.to_ascii_uppercase().as_str() {
                    "TCP" => Transport::Tcp,
                    "UDP" => Transport::Udp,
                    "SCTP" => Transport::Sctp,
                    _ => return Err(format!("protocol: {value:?} is not TCP, UDP or SCTP")),
                });
            }
            "ip_family" => {
                self.family = Some(match value {
                    "inet" => Family::V4,
                    "inet6" => Family::V6,
                    _ => return Err(format!("ip_family: {value:?} is not inet or inet6")),
                });
            }
            "weight" => self.weight = number(statement, 65_535)?,
            _ => self.other(statement, read),
        }
        Ok(())
    }

    /// Says why a keyword is not carried over.
    fn other(&mut self, statement: &Statement, read: &mut Read) {
        let keyword = statement.keyword();
        if let Some(known) = TUNING.iter().find(|known| **known == keyword) {
            let (at, keywords) = self.tuning.get_or_insert((statement.at, BTreeSet::new()));
            *at = (*at).min(statement.at);
            keywords.insert(known);
            return;
        }
        let known = INSIDE.iter().find(|(known, _)| *known == keyword);
        let why = known.map_or("weirctl does not know it", |(_, why)| *why);
        read.note(statement.at, format!("{}: {why}", heading(statement)));
    }

    fn real(&mut self, statement: &Statement, read: &mut Read) -> Result<Real, String> {
        let at = statement.word(1).ok_or("a real_server has an address")?;
        let mut real = Real {
            at: statement.at,
            address: address(at)?,
            port: port(statement.word(2))?,
            weight: self.weight,
            method: self.method.unwrap_or(Method::Masquerade),
            upper: 0,
            lower: 0,
        };
        for inside in statement.inside() {
            if let Err(why) = self.keyword_of_real(inside, &mut real, read) {
                read.fault(inside.at, why);
            }
        }
        Ok(real)
    }

    fn keyword_of_real(
        &mut self,
        statement: &Statement,
        real: &mut Real,
        read: &mut Read,
    ) -> Result<(), String> {
        match statement.keyword() {
            "weight" => real.weight = number(statement, 65_535)?,
            "lvs_method" | "lb_kind" => real.method = method(statement)?,
            "uthreshold" => real.upper = number(statement, u32::MAX)?,
            "lthreshold" => real.lower = number(statement, u32::MAX)?,
            check if check.ends_with("_CHECK") || check.ends_with("_GET") => read.note(
                statement.at,
                format!(
                    "{check}: weir does not check servers; who does drains them (weirctl drain) or applies their weight"
                ),
            ),
            _ => self.other(statement, read),
        }
        Ok(())
    }

    /// Gives the family of a mark that names none, as `vs_end_handler` finds it: that of the servers which are not
    /// tunnelled to, else the one that all have.
    fn family(&self) -> Family {
        let of = |real: &Real| Family::of(real.address);
        let plain = |real: &&Real| !matches!(real.method, Method::Tunnel(_));
        if let Some((_, text)) = &self.granularity {
            return if text.contains('.') {
                Family::V4
            } else {
                Family::V6
            };
        }
        if let Some(real) = self.reals.iter().find(plain) {
            return of(real);
        }
        match self.reals.iter().all(|real| of(real) == Family::V6) && !self.reals.is_empty() {
            true => Family::V6,
            false => Family::V4,
        }
    }

    /// Makes the virtual servers, now that all is known.
    fn servers(
        self,
        statement: &Statement,
        head: &Head,
        entries: &[(Place, Entry)],
        read: &mut Read,
    ) {
        let addresses = |(_, entry): &&(Place, Entry)| matches!(entry, Entry::Address { .. });
        let protocol = self.protocol.unwrap_or_else(|| {
            if entries.iter().any(|entry| addresses(&entry)) {
                let name = heading(statement);
                read.note(
                    statement.at,
                    format!("{name}: no protocol is given; taken for UDP, as keepalived does"),
                );
            }
            Transport::Udp
        });
        if self.reals.is_empty() {
            let name = heading(statement);
            read.note(
                statement.at,
                format!("{name}: no real_server; keepalived passes over it, weir makes it without backends"),
            );
        }
        let flags = self.flags(read);
        let sticky = self.sticky(entries, read);
        let own = self.family();
        // A server without a port, or one whose port is not rewritten, has that of each frontend: a service a port then.
        let follows = |real: &Real| real.port == 0 || real.method != Method::Masquerade;
        let split = self.reals.iter().any(follows);
        let mut parts: BTreeMap<Option<u16>, Vec<(Place, Front)>> = BTreeMap::new();
        let mut ports = BTreeSet::new();
        for (at, entry) in entries {
            let (part, front) = match *entry {
                Entry::Address { address, port } => {
                    ports.insert(port);
                    let front = Front::Address {
                        address,
                        port,
                        protocol,
                    };
                    (Some(if split { port } else { 0 }), front)
                }
                Entry::Mark { number, family } => {
                    let family = family.unwrap_or(own);
                    (None, Front::Mark { number, family })
                }
            };
            parts.entry(part).or_default().push((*at, front));
        }
        for (part, fronts) in parts {
            let name = match (head, part) {
                (Head::Group(group), None) => format!("{}-mark", slug(group)),
                (Head::Group(group), Some(port)) if split && ports.len() > 1 => {
                    format!("{}-{port}-{protocol}", slug(group))
                }
                (Head::Group(group), Some(_)) => format!("{}-{protocol}", slug(group)),
                (Head::Address(..) | Head::Mark(_), _) => match fronts.first() {
                    Some((_, front)) => front.name(),
                    None => continue,
                },
            };
            read.servers.push(Server {
                at: statement.at,
                name,
                fronts,
                scheduler: self.scheduler.clone(),
                flags: flags.clone(),
                sticky,
                engine: self.engine.clone(),
                one_packet: self.one_packet,
                reals: self.reals.clone(),
            });
        }
    }

    fn flags(&self, read: &mut Read) -> BTreeSet<Flag> {
        let mut flags = BTreeSet::new();
        for (at, name) in &self.flags {
            // The named ones count with their own scheduler alone (`lbflags_handler`).
            let (of, _) = name.split_once('-').unwrap_or((name, ""));
            if matches!(of, "sh" | "mh") && of != self.scheduler {
                let scheduler = &self.scheduler;
                read.note(
                    *at,
                    format!("{name}: left out: the scheduler is {scheduler}, and keepalived passes over it too"),
                );
            } else {
                flags.extend(Flag::named(name));
            }
        }
        flags
    }

    fn sticky(&self, entries: &[(Place, Entry)], read: &mut Read) -> Option<Sticky> {
        let Some((at, text)) = &self.granularity else {
            let seconds = self.timeout?;
            return Some(Sticky {
                seconds,
                prefix: None,
            });
        };
        let v6 = match entries.first() {
            Some((_, Entry::Address { address, .. })) => address.is_ipv6(),
            Some((_, Entry::Mark { family, .. })) => {
                family.unwrap_or_else(|| self.family()) == Family::V6
            }
            None => false,
        };
        let prefix = if v6 {
            let bits: Option<u32> = text.parse().ok();
            let bits = bits.filter(|bits| (1..=128).contains(bits));
            if bits.is_none() {
                read.fault(
                    *at,
                    format!("persistence_granularity: {text:?} is not 1-128"),
                );
            }
            bits
        } else {
            match text.parse::<Ipv4Addr>() {
                Err(_) => {
                    read.fault(
                        *at,
                        format!("persistence_granularity: {text:?} is not a netmask"),
                    );
                    None
                }
                Ok(mask) => {
                    let prefix = prefix_of(mask);
                    if prefix.is_none() {
                        read.note(
                            *at,
                            format!("persistence_granularity {text}: left out: it is not a prefix of 1-32 bits; each client counts by itself"),
                        );
                    }
                    prefix
                }
            }
        };
        Some(Sticky {
            // A granularity alone makes it persistent.
            seconds: self.timeout.unwrap_or(PERSISTENCE),
            prefix,
        })
    }
}

/// Gives a group's name in the letters that a name can have.
fn slug(group: &str) -> String {
    let letter = |letter: char| match letter.to_ascii_lowercase() {
        lower if lower.is_ascii_lowercase() || lower.is_ascii_digit() || lower == '.' => lower,
        _ => '-',
    };
    // What a name may have, less the longest end that is put behind it.
    let slug: String = group.chars().map(letter).take(48).collect();
    match slug.trim_matches(['-', '.']) {
        "" => "group".to_owned(),
        slug => slug.to_owned(),
    }
}
