//! What weir's virtual services and backends are in the words of IPVS, and the other way round.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;

use weir_proto::model::{
    BackendKey, Checksum, Endpoint, Family, Forwarding, Frontend, Listener, Mark, Port, Protocol,
    Tunnel,
};

use super::ipvs::{self, Dest, Flags, Forward, Netmask, Proto, Service, ServiceKey, TunnelKind};
use super::loopback::netlink_family;
use super::netlink;
use crate::plan::{BackendSpec, ServiceSpec};

/// Gives the key of a frontend.
pub(super) fn service_key(frontend: Frontend) -> ServiceKey {
    match frontend {
        Frontend::Address(listener) => ServiceKey::Address {
            proto: Proto(listener.protocol.number().into()),
            address: listener.address,
            port: listener.port.get(),
        },
        Frontend::Mark(mark) => ServiceKey::Fwmark {
            family: netlink_family(mark.family),
            mark: mark.number.get(),
        },
    }
}

/// Gives the frontend of a key; none of one that weir could never make.
pub(super) fn frontend(key: &ServiceKey) -> Option<Frontend> {
    match *key {
        ServiceKey::Address {
            proto: Proto(number),
            address,
            port,
        } => Some(Frontend::Address(Listener {
            address,
            port: Port::new(port.into()).ok()?,
            protocol: Protocol::from_number(u8::try_from(number).ok()?)?,
        })),
        ServiceKey::Fwmark { family, mark } => Some(Frontend::Mark(Mark {
            number: NonZeroU32::new(mark)?,
            family: match family {
                netlink::Family::Inet => Family::V4,
                netlink::Family::Inet6 => Family::V6,
            },
        })),
    }
}

/// Gives the service as IPVS is told of it.
pub(super) fn service(frontend: Frontend, spec: &ServiceSpec) -> Service {
    let key = service_key(frontend);
    let persistent = spec.affinity_seconds > 0;
    let flag = if persistent { Flags::PERSISTENT } else { 0 };
    let engine = Some(spec.engine.clone()).filter(|engine| !engine.is_empty());
    Service {
        flags: Flags::exactly(spec.flags | flag),
        timeout: spec.affinity_seconds,
        netmask: match frontend.family() {
            family if !persistent => Netmask::host(netlink_family(family)),
            Family::V4 => Netmask::Inet(mask(spec.affinity_prefix)),
            Family::V6 => Netmask::Inet6(spec.affinity_prefix.into()),
        },
        persistence_engine: engine,
        ..Service::new(key, spec.scheduler.clone())
    }
}

/// Gives what IPVS tells of a service.
pub(super) fn service_spec(service: &Service) -> ServiceSpec {
    let bits = service.flags.bits;
    let persistent = bits & Flags::PERSISTENT != 0;
    let prefix = match service.netmask {
        Netmask::Inet(mask) => mask.to_bits().leading_ones(),
        Netmask::Inet6(prefix) => prefix,
    };
    ServiceSpec {
        scheduler: service.scheduler.clone(),
        affinity_seconds: if persistent { service.timeout } else { 0 },
        affinity_prefix: if persistent {
            u8::try_from(prefix).unwrap_or(u8::MAX)
        } else {
            0
        },
        engine: service.persistence_engine.clone().unwrap_or_default(),
        flags: bits & !(Flags::PERSISTENT | Flags::HASHED),
    }
}

/// Gives the mask of a prefix of 0-32 bits.
fn mask(prefix: u8) -> Ipv4Addr {
    let host_bits = 32u32.saturating_sub(prefix.into());
    Ipv4Addr::from_bits(u32::MAX.checked_shl(host_bits).unwrap_or(0))
}

/// Gives where a backend listens.
pub(super) fn socket(endpoint: Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.address, endpoint.port.get())
}

/// Gives the key of a backend; none of one that weir could never make.
pub(super) fn backend_key(frontend: Frontend, address: SocketAddr) -> Option<BackendKey> {
    Some(BackendKey {
        frontend,
        endpoint: Endpoint {
            address: address.ip(),
            port: Port::new(address.port().into()).ok()?,
        },
    })
}

/// Gives the backend as IPVS is told of it; none of one that weir never asks for.
pub(super) fn dest(key: &BackendKey, spec: &BackendSpec) -> Option<Dest> {
    let (forward, tunnel) = match spec.forwarding? {
        Forwarding::Masquerade => (Forward::Masq, ipvs::Tunnel::default()),
        Forwarding::DirectRoute => (Forward::DirectRoute, ipvs::Tunnel::default()),
        Forwarding::Tunnel(tunnel) => (Forward::Tunnel, wrapped(tunnel)),
    };
    let weight = i32::try_from(spec.weight).ok()?;
    Some(Dest {
        upper_threshold: spec.upper_threshold,
        lower_threshold: spec.lower_threshold,
        tunnel,
        ..Dest::new(socket(key.endpoint), forward, weight)
    })
}

/// Gives what IPVS tells of a backend.
pub(super) fn backend_spec(dest: &Dest) -> BackendSpec {
    BackendSpec {
        weight: dest.weight.unsigned_abs(),
        forwarding: match dest.forward {
            Forward::Masq => Some(Forwarding::Masquerade),
            Forward::DirectRoute => Some(Forwarding::DirectRoute),
            Forward::Tunnel => unwrapped(dest.tunnel).map(Forwarding::Tunnel),
            Forward::Local | Forward::Bypass | Forward::Other(_) => None,
        },
        upper_threshold: dest.upper_threshold,
        lower_threshold: dest.lower_threshold,
    }
}

fn wrapped(tunnel: Tunnel) -> ipvs::Tunnel {
    let kind = match tunnel {
        Tunnel::Ipip => TunnelKind::Ipip,
        Tunnel::Gue { .. } => TunnelKind::Gue,
        Tunnel::Gre { .. } => TunnelKind::Gre,
    };
    ipvs::Tunnel {
        kind,
        port: tunnel.port().map_or(0, Port::get),
        flags: match tunnel.checksum() {
            Checksum::None => 0,
            Checksum::Full => ipvs::Tunnel::CSUM,
            Checksum::Remote => ipvs::Tunnel::REMCSUM,
        },
    }
}

fn unwrapped(tunnel: ipvs::Tunnel) -> Option<Tunnel> {
    let checksum = match tunnel.flags {
        0 => Checksum::None,
        ipvs::Tunnel::CSUM => Checksum::Full,
        ipvs::Tunnel::REMCSUM => Checksum::Remote,
        _ => return None,
    };
    match tunnel.kind {
        // whatever else it has is not looked at (`ip_vs_tunnel_xmit`)
        TunnelKind::Ipip => Some(Tunnel::Ipip),
        TunnelKind::Gue => Some(Tunnel::Gue {
            port: Port::new(tunnel.port.into()).ok()?,
            checksum,
        }),
        TunnelKind::Gre => Some(Tunnel::Gre { checksum }),
        TunnelKind::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_frontend() -> impl Strategy<Value = Frontend> {
        let listener = (any::<std::net::IpAddr>(), 1u32..65_536, 0..3usize);
        let listener = listener.prop_map(|(address, port, protocol)| {
            Frontend::Address(Listener {
                address,
                port: Port::new(port).expect("a port"),
                protocol: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][protocol],
            })
        });
        let mark = (1u32.., any::<bool>()).prop_map(|(number, v4)| {
            Frontend::Mark(Mark {
                number: NonZeroU32::new(number).expect("not 0"),
                family: if v4 { Family::V4 } else { Family::V6 },
            })
        });
        prop_oneof![listener, mark]
    }

    fn any_tunnel() -> impl Strategy<Value = Tunnel> {
        let checksum = prop_oneof![
            Just(Checksum::None),
            Just(Checksum::Full),
            Just(Checksum::Remote)
        ];
        let gue = (1u32..65_536, checksum).prop_map(|(port, checksum)| Tunnel::Gue {
            port: Port::new(port).expect("a port"),
            checksum,
        });
        let gre = prop_oneof![Just(Checksum::None), Just(Checksum::Full)];
        let gre = gre.prop_map(|checksum| Tunnel::Gre { checksum });
        prop_oneof![Just(Tunnel::Ipip), gue, gre]
    }

    proptest! {
        #[test]
        fn a_service_comes_back_as_it_was_told(
            frontend in any_frontend(),
            affinity in proptest::option::of((1u32..90_000, 1u8..=32, any::<bool>())),
            flags in 0u32..8,
        ) {
            let spec = ServiceSpec {
                scheduler: "mh".to_owned(),
                affinity_seconds: affinity.map_or(0, |(seconds, ..)| seconds),
                affinity_prefix: affinity.map_or(0, |(_, prefix, _)| prefix),
                engine: match affinity {
                    Some((_, _, true)) => "sip".to_owned(),
                    _ => String::new(),
                },
                flags: flags << 2,
            };
            let told = service(frontend, &spec);
            prop_assert_eq!(super::frontend(&told.key), Some(frontend));
            prop_assert_eq!(service_spec(&told), spec);
        }

        #[test]
        fn a_backend_comes_back_as_it_was_told(
            frontend in any_frontend(),
            address in any::<std::net::IpAddr>(),
            weight in 0u32..65_536,
            forwarding in prop_oneof![
                Just(Forwarding::Masquerade),
                Just(Forwarding::DirectRoute),
                any_tunnel().prop_map(Forwarding::Tunnel),
            ],
            upper_threshold in any::<u32>(),
        ) {
            let key = BackendKey {
                frontend,
                endpoint: Endpoint { address, port: Port::new(80).expect("a port") },
            };
            let spec = BackendSpec {
                weight,
                forwarding: Some(forwarding),
                upper_threshold,
                lower_threshold: upper_threshold / 2,
            };
            let told = dest(&key, &spec).expect("a backend of ours");
            prop_assert_eq!(backend_key(frontend, told.address), Some(key));
            prop_assert_eq!(backend_spec(&told), spec);
        }
    }
}
