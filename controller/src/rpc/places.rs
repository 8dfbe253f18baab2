//! Where in a request things stood. The model keeps frontends and backends in order of address; people look
//! for a problem where they wrote it.

use std::net::IpAddr;
use std::num::NonZeroU32;

use weir_proto::model::{Endpoint, Family, Frontend, Kind, Listener, Mark, Port, Protocol};
use weir_proto::wire;

use crate::desired::{Places, reference};

/// Notes where each frontend and backend of a batch stands. What cannot be read is told by `convert`.
pub(super) fn places(batch: &[wire::Resource]) -> Places {
    use wire::resource::Kind as Wire;
    let mut places = Places::default();
    for resource in batch {
        let (of, backends) = match &resource.kind {
            Some(Wire::Service(service)) => {
                let of = reference(Kind::Service, &service.name);
                for (place, written) in service.frontends.iter().enumerate() {
                    if let Some(frontend) = frontend(written) {
                        places.frontend(&of, frontend, place);
                    }
                }
                (of, &service.backends)
            }
            Some(Wire::BackendSet(set)) => (reference(Kind::BackendSet, &set.name), &set.backends),
            Some(Wire::Node(_)) | None => continue,
        };
        for (place, backend) in backends.iter().enumerate() {
            if let Some(endpoint) = endpoint(&backend.address, backend.port) {
                places.backend(&of, endpoint, place);
            }
        }
    }
    places
}

fn frontend(written: &wire::Frontend) -> Option<Frontend> {
    if let Some(number) = NonZeroU32::new(written.firewall_mark) {
        let family = match wire::AddressFamily::try_from(written.address_family).ok()? {
            wire::AddressFamily::Unspecified => return None,
            wire::AddressFamily::Ipv4 => Family::V4,
            wire::AddressFamily::Ipv6 => Family::V6,
        };
        return Some(Frontend::Mark(Mark { number, family }));
    }
    let Endpoint { address, port } = endpoint(&written.address, written.port)?;
    let protocol = match wire::Protocol::try_from(written.protocol).ok()? {
        wire::Protocol::Unspecified => return None,
        wire::Protocol::Tcp => Protocol::Tcp,
        wire::Protocol::Udp => Protocol::Udp,
        wire::Protocol::Sctp => Protocol::Sctp,
    };
    Some(Frontend::Address(Listener {
        address,
        port,
        protocol,
    }))
}

fn endpoint(address: &str, port: u32) -> Option<Endpoint> {
    Some(Endpoint {
        address: address.parse::<IpAddr>().ok()?,
        port: Port::new(port).ok()?,
    })
}
