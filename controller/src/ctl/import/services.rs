//! Services of weir, made of virtual servers as other tools have them. PURE.
//!
//! A draft becomes a service that `apply` takes: each frontend, each backend and the whole are put to the language's own
//! rules, and what these refuse is left out and said, with the line it stands on. Nothing is left out in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_proto::model::Family;
use weir_proto::{convert, wire};

use super::draft::{Flag, Front, Method, Place, Real, Said, Server, Sticky, Transport};
use crate::ctl::manifest::in_file_words;

/// Makes services of virtual servers, and says what of them is left out.
pub(crate) fn resources(servers: &[Server], notes: &mut Vec<Said>) -> Vec<wire::Resource> {
    let mut made = Made {
        notes,
        names: BTreeSet::new(),
        claimed: BTreeSet::new(),
    };
    servers
        .iter()
        .filter_map(|server| made.service(server))
        .map(resource)
        .collect()
}

struct Made<'a> {
    notes: &'a mut Vec<Said>,
    names: BTreeSet<String>,
    claimed: BTreeSet<Front>,
}

impl Made<'_> {
    fn note(&mut self, at: Place, text: impl Into<String>) {
        let text = text.into();
        self.notes.push(Said { at, text });
    }

    fn service(&mut self, server: &Server) -> Option<wire::Service> {
        let fronts = self.fronts(server);
        if fronts.is_empty() {
            return None;
        }
        let method = most(&server.reals);
        let bare = wire::Service {
            name: server.name.clone(),
            frontends: fronts.iter().map(|front| frontend(*front)).collect(),
            scheduler: Some(server.scheduler.clone()),
            scheduler_flags: self.flags(server),
            forwarding: Some(forwarding(method).into()),
            tunnel: match method {
                Method::Tunnel(tunnel) => Some(tunnel),
                Method::Masquerade | Method::DirectRoute => None,
            },
            session_affinity: self.affinity(server, &fronts),
            one_packet: self.one_packet(server, &fronts).then_some(true),
            ..wire::Service::default()
        };
        let refused = refusals(&bare);
        if !refused.is_empty() {
            for why in refused {
                self.note(server.at, format!("{}: left out: {why}", server.name));
            }
            return None;
        }
        let backends = self.backends(server, &bare, &fronts, method);
        self.claimed.extend(fronts);
        let name = self.unique(&server.name);
        Some(wire::Service {
            name,
            backends,
            ..bare
        })
    }

    /// Gives the frontends that a service can have.
    fn fronts(&mut self, server: &Server) -> Vec<Front> {
        let mut fronts = Vec::new();
        for (at, front) in &server.fronts {
            let name = front.name();
            if let Front::Address { port: 0, .. } = front {
                self.note(
                    *at,
                    format!(
                        "{name}: left out: it is every port of the address, and a frontend is one port; \
                         a firewall mark can stand for several"
                    ),
                );
                continue;
            }
            if fronts.contains(front) || self.claimed.contains(front) {
                self.note(*at, format!("{name}: left out: another service has it"));
                continue;
            }
            let alone = wire::Service {
                name: "x".to_owned(),
                frontends: vec![frontend(*front)],
                ..wire::Service::default()
            };
            let refused = refusals(&alone);
            if refused.is_empty() {
                fronts.push(*front);
            }
            for why in refused {
                self.note(*at, format!("{name}: left out: {why}"));
            }
        }
        fronts
    }

    fn flags(&mut self, server: &Server) -> Option<wire::SchedulerFlags> {
        let hashes = matches!(server.scheduler.as_str(), "sh" | "mh");
        let lost = match hashes {
            true => server.flags.contains(&Flag::Third),
            false => !server.flags.is_empty(),
        };
        if lost {
            self.note(
                server.at,
                format!(
                    "{}: scheduler flags left out: scheduler {} does not look at them",
                    server.name, server.scheduler
                ),
            );
        }
        // Said in any case, for weir's default is to fall back, and theirs is not to.
        hashes.then(|| wire::SchedulerFlags {
            fallback: Some(server.flags.contains(&Flag::First)),
            port: Some(server.flags.contains(&Flag::Second)),
        })
    }

    fn affinity(&mut self, server: &Server, fronts: &[Front]) -> Option<wire::SessionAffinity> {
        let Some(Sticky { seconds, prefix }) = server.sticky else {
            if !server.engine.is_empty() {
                self.note(
                    server.at,
                    format!(
                        "{}: persistence engine {} left out: without persistence it does nothing",
                        server.name, server.engine
                    ),
                );
            }
            return None;
        };
        let has = |family| fronts.iter().any(|front| front.family() == family);
        let of = |family, all| prefix.filter(|bits| has(family) && *bits != all);
        Some(wire::SessionAffinity {
            timeout_seconds: Some(seconds),
            ipv4_prefix_length: of(Family::V4, 32),
            ipv6_prefix_length: of(Family::V6, 128),
            persistence_engine: server.engine.clone(),
        })
    }

    fn one_packet(&mut self, server: &Server, fronts: &[Front]) -> bool {
        let stream = |front: &Front| matches!(front, Front::Address { protocol, .. } if *protocol != Transport::Udp);
        let why = match server.one_packet {
            false => return false,
            true if fronts.iter().any(stream) => {
                "it is of UDP alone, and the kernel ignores it here"
            }
            true if server.sticky.is_some() => {
                "not together with session affinity, by which a client's packets reach one backend anyway"
            }
            true => return true,
        };
        self.note(
            server.at,
            format!("{}: one-packet scheduling left out: {why}", server.name),
        );
        false
    }

    fn backends(
        &mut self,
        server: &Server,
        bare: &wire::Service,
        fronts: &[Front],
        method: Method,
    ) -> Vec<wire::Backend> {
        let mut seen = BTreeSet::new();
        let mut backends = Vec::new();
        for real in &server.reals {
            let named = format!("{}: backend {}", server.name, socket(real));
            if real.method != method {
                self.note(
                    real.at,
                    format!(
                        "{named} left out: it is forwarded to by {}, and the service by {}; a service has one way",
                        words(real.method),
                        words(method)
                    ),
                );
                continue;
            }
            let mut anywhere = false;
            let port = match port(real, fronts, bare.session_affinity.is_some()) {
                Ok(Reached::At(port)) => port,
                Ok(Reached::Anywhere(port)) => {
                    anywhere = true;
                    port
                }
                Err(why) => {
                    self.note(real.at, format!("{named} left out: {why}"));
                    continue;
                }
            };
            if !seen.insert((real.address, port)) {
                self.note(real.at, format!("{named} left out: it is there already"));
                continue;
            }
            let backend = wire::Backend {
                address: real.address.to_string(),
                port: port.into(),
                weight: Some(real.weight),
                upper_threshold: (real.upper > 0).then_some(real.upper),
                lower_threshold: (real.lower > 0).then_some(real.lower),
                ..wire::Backend::default()
            };
            let with = wire::Service {
                backends: vec![backend.clone()],
                ..bare.clone()
            };
            let refused = refusals(&with);
            if refused.is_empty() {
                backends.push(backend);
                if anywhere {
                    self.note(
                        real.at,
                        format!(
                            "{named}: port {port} stands for none: the kernel keeps the one that the client asked for"
                        ),
                    );
                }
            }
            for why in refused {
                self.note(real.at, format!("{named} left out: {why}"));
            }
        }
        backends
    }

    /// Gives a name that no other service has.
    fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_owned();
        let mut number = 1;
        while !self.names.insert(unique.clone()) {
            number += 1;
            unique = format!("{name}-{number}");
        }
        unique
    }
}

enum Reached {
    At(u16),
    /// The port does not matter, and a backend has one.
    Anywhere(u16),
}

/// Finds the port of a server that names none, and of one whose port the kernel does not look at.
fn port(real: &Real, fronts: &[Front], sticky: bool) -> Result<Reached, &'static str> {
    let ports = fronts.iter().filter_map(|front| match front {
        Front::Address { port, .. } => Some(*port),
        Front::Mark { .. } => None,
    });
    let ports: BTreeSet<u16> = ports.collect();
    let rewrites = real.method == Method::Masquerade;
    match (ports.first(), rewrites, real.port) {
        (Some(port), false, _) if ports.len() == 1 => Ok(Reached::At(*port)),
        (Some(port), true, 0) if ports.len() == 1 => Ok(Reached::At(*port)),
        (Some(_), _, 0) => Err("it names no port, and the frontends have several"),
        (None, true, 0) if !sticky => Err(
            "it names no port; masquerading a mark without session affinity, the kernel would send everything to one",
        ),
        (None, _, 0) => Ok(Reached::Anywhere(1)),
        (_, _, port) => Ok(Reached::At(port)),
    }
}

/// Gives how most of the servers are forwarded to; of several, the first.
fn most(reals: &[Real]) -> Method {
    let mut counts: Vec<(Method, usize)> = Vec::new();
    for real in reals {
        match counts.iter_mut().find(|(method, _)| *method == real.method) {
            Some((_, count)) => *count += 1,
            None => counts.push((real.method, 1)),
        }
    }
    // Of equals `max_by_key` gives the last.
    let best = counts.iter().rev().max_by_key(|(_, count)| *count);
    best.map_or(Method::Masquerade, |(method, _)| *method)
}

fn frontend(front: Front) -> wire::Frontend {
    match front {
        Front::Address {
            address,
            port,
            protocol,
        } => wire::Frontend {
            address: address.to_string(),
            port: port.into(),
            protocol: wire::Protocol::from(protocol).into(),
            ..wire::Frontend::default()
        },
        Front::Mark { number, family } => wire::Frontend {
            firewall_mark: number,
            address_family: match family {
                Family::V4 => wire::AddressFamily::Ipv4,
                Family::V6 => wire::AddressFamily::Ipv6,
            }
            .into(),
            ..wire::Frontend::default()
        },
    }
}

fn forwarding(method: Method) -> wire::Forwarding {
    match method {
        Method::Masquerade => wire::Forwarding::Masquerade,
        Method::DirectRoute => wire::Forwarding::DirectRoute,
        Method::Tunnel(_) => wire::Forwarding::Tunnel,
    }
}

fn words(method: Method) -> String {
    let Method::Tunnel(tunnel) = method else {
        return match method {
            Method::Masquerade => "masquerade",
            _ => "direct route",
        }
        .to_owned();
    };
    let checksum = match tunnel.checksum.map(wire::TunnelChecksum::try_from) {
        Some(Ok(wire::TunnelChecksum::Full)) => " with a checksum",
        Some(Ok(wire::TunnelChecksum::Remote)) => " with the remote checksum",
        _ => "",
    };
    match (tunnel.r#type.map(wire::TunnelType::try_from), tunnel.port) {
        (Some(Ok(wire::TunnelType::Gue)), Some(port)) => format!("GUE to port {port}{checksum}"),
        (Some(Ok(wire::TunnelType::Gre)), _) => format!("GRE{checksum}"),
        _ => "IPIP".to_owned(),
    }
}

fn socket(real: &Real) -> String {
    match (real.address, real.port) {
        (address, 0) => address.to_string(),
        (IpAddr::V4(address), port) => format!("{address}:{port}"),
        (IpAddr::V6(address), port) => format!("[{address}]:{port}"),
    }
}

fn resource(service: wire::Service) -> wire::Resource {
    wire::Resource {
        kind: Some(wire::resource::Kind::Service(service)),
        ..wire::Resource::default()
    }
}

/// Says what the language's own rules refuse of a service, each once.
fn refusals(service: &wire::Service) -> Vec<String> {
    let Err(errors) = convert::resource_from_wire(resource(service.clone())) else {
        return Vec::new();
    };
    let mut said = BTreeMap::new();
    for (place, error) in errors.0.iter().enumerate() {
        let path = error.path.split_once("].").map_or("", |(_, path)| path);
        // A path into one frontend or backend says nothing where only the one is meant.
        let text = match path.split_once(['.', '[']) {
            Some((_, rest)) if path.contains('[') => match rest.split_once("].") {
                Some((_, field)) => format!("{}: {}", in_file_words(field), error.problem),
                None => error.problem.to_string(),
            },
            _ => format!("{}: {}", in_file_words(path), error.problem),
        };
        said.entry(text).or_insert(place);
    }
    let mut said: Vec<(usize, String)> = said.into_iter().map(|(text, at)| (at, text)).collect();
    said.sort();
    said.into_iter().map(|(_, text)| text).collect()
}
