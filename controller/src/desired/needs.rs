//! What a service needs of a node's kernel. PURE

use weir_proto::model::{
    Ability, Family, Forwarding, Frontend, PersistenceEngine, Service, TunnelKind,
};

/// Something that a service needs, and what of it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) at: At,
    pub(crate) ability: Ability,
}

/// A place in a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// The service as a whole.
    Whole,
    /// The field of this name.
    Field(&'static str),
    /// One of its frontends.
    Frontend(Frontend),
}

/// Says what a service needs, each thing once, where it is needed first. What explains most comes first: a kernel
/// without IPVS has nothing of the rest either.
pub(crate) fn needs(service: &Service) -> Vec<Need> {
    let mut needs = vec![(At::Whole, Ability::IpVs)];
    needs.push((
        At::Field("scheduler"),
        Ability::Scheduler(service.scheduler),
    ));
    for frontend in service.frontends.keys() {
        let at = At::Frontend(*frontend);
        if let Some(listener) = frontend.listener() {
            needs.push((at, Ability::Protocol(listener.protocol)));
        }
        if frontend.family() == Family::V6 {
            needs.push((at, Ability::Ipv6));
        }
    }
    if let Forwarding::Tunnel(tunnel) = service.forwarding {
        let (field, ability) = match tunnel.kind() {
            TunnelKind::Ipip => ("forwarding", Ability::TunnelIpip),
            TunnelKind::Gue => ("tunnel.type", Ability::TunnelGue),
            TunnelKind::Gre => ("tunnel.type", Ability::TunnelGre),
        };
        needs.push((At::Field(field), ability));
        let backends = service.backends.keys();
        if backends.into_iter().any(|at| at.address.is_ipv6()) {
            needs.push((At::Field("backends"), Ability::Ipv6));
        }
    }
    match service.affinity.and_then(|affinity| affinity.engine) {
        Some(PersistenceEngine::Sip) => needs.push((
            At::Field("session_affinity.persistence_engine"),
            Ability::PersistenceSip,
        )),
        None => {}
    }

    let mut once: Vec<Need> = Vec::with_capacity(needs.len());
    for (at, ability) in needs {
        if once.iter().all(|need| need.ability != ability) {
            once.push(Need { at, ability });
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use weir_proto::model::{
        AffinityTimeout, Checksum, Listener, Protocol, Scheduler, SessionAffinity, Sources, Tunnel,
    };

    use super::super::samples::{frontend, service};
    use super::*;

    fn said(service: &Service) -> Vec<(At, String)> {
        let needs = needs(service).into_iter();
        needs
            .map(|need| (need.at, need.ability.to_string()))
            .collect()
    }

    fn at(text: &str) -> At {
        At::Frontend(frontend(text))
    }

    #[test]
    fn a_plain_service_needs_ipvs_its_scheduler_and_its_protocol() {
        assert_eq!(
            said(&service("web", &["10.1.0.1:80"], &["10.0.0.1:80"])),
            [
                (At::Whole, "ip_vs".to_owned()),
                (At::Field("scheduler"), "scheduler_wrr".to_owned()),
                (at("10.1.0.1:80"), "protocol_tcp".to_owned()),
            ]
        );
    }

    #[test]
    fn everything_that_a_service_asks_for_is_needed_once_and_named_where_it_stands() {
        let frontends = [
            "10.1.0.1:53",
            "10.1.0.1:53/udp",
            "fd00::1:53/udp",
            "fd00::2:53/udp",
        ];
        let asked = Service {
            scheduler: Scheduler::TwoChoices,
            forwarding: Forwarding::Tunnel(Tunnel::Ipip),
            ..service("dns", &frontends, &[])
        };
        assert_eq!(
            said(&asked),
            [
                (At::Whole, "ip_vs".to_owned()),
                (At::Field("scheduler"), "scheduler_twos".to_owned()),
                (at("10.1.0.1:53"), "protocol_tcp".to_owned()),
                (at("10.1.0.1:53/udp"), "protocol_udp".to_owned()),
                (at("fd00::1:53/udp"), "ipv6".to_owned()),
                (At::Field("forwarding"), "tunnel_ipip".to_owned()),
            ]
        );
        let listener = frontend("10.1.0.1:5060").listener().expect("an address");
        let sctp = Frontend::Address(Listener {
            protocol: Protocol::Sctp,
            ..listener
        });
        let calls = Service {
            frontends: [(sctp, Sources::new())].into(),
            ..service("calls", &[], &[])
        };
        let last = said(&calls).pop().expect("its protocol");
        assert_eq!(last.1, "protocol_sctp");
        let mut affinity = SessionAffinity::new(AffinityTimeout::DEFAULT);
        affinity.engine = Some(PersistenceEngine::Sip);
        let gre = Tunnel::Gre {
            checksum: Checksum::None,
        };
        let wrapped = Service {
            forwarding: Forwarding::Tunnel(gre),
            affinity: Some(affinity),
            ..calls
        };
        let last = said(&wrapped).split_off(3);
        assert_eq!(
            last,
            [
                (At::Field("tunnel.type"), "tunnel_gre".to_owned()),
                (
                    At::Field("session_affinity.persistence_engine"),
                    "persistence_sip".to_owned()
                ),
            ]
        );
    }
}
