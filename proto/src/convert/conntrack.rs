//! What a node's connection tracking holds.

use super::{Problems, address_from_wire, protocol_from_wire, protocol_to_wire};
use crate::model::{Conntrack, VipConnections};
use crate::wire;

/// Reads how full connection tracking is, and what it lost. Any numbers can be.
pub fn conntrack_from_wire(conntrack: wire::Conntrack) -> Conntrack {
    let wire::Conntrack {
        entries,
        max_entries,
        dropped,
        insert_failed,
        early_dropped,
    } = conntrack;
    Conntrack {
        entries,
        max_entries,
        dropped,
        insert_failed,
        early_dropped,
    }
}

/// Writes how full connection tracking is, and what it lost.
pub fn conntrack_to_wire(conntrack: &Conntrack) -> wire::Conntrack {
    let Conntrack {
        entries,
        max_entries,
        dropped,
        insert_failed,
        early_dropped,
    } = *conntrack;
    wire::Conntrack {
        entries,
        max_entries,
        dropped,
        insert_failed,
        early_dropped,
    }
}

/// Reads how many connections to a VIP are in one state, which stands at `at`.
pub fn vip_connections_from_wire(
    vip: &wire::VipConnections,
    at: &str,
    problems: &mut Problems,
) -> Option<VipConnections> {
    let wire::VipConnections {
        address,
        protocol,
        state,
        connections,
    } = vip;
    let address = problems.take(format!("{at}.address"), address_from_wire(address));
    let protocol = problems.take(format!("{at}.protocol"), protocol_from_wire(*protocol));
    let state = problems.take(format!("{at}.state"), state.parse());
    Some(VipConnections {
        address: address?,
        protocol: protocol?,
        state: state?,
        connections: *connections,
    })
}

/// Writes how many connections to a VIP are in one state.
pub fn vip_connections_to_wire(vip: &VipConnections) -> wire::VipConnections {
    let VipConnections {
        address,
        protocol,
        state,
        connections,
    } = *vip;
    wire::VipConnections {
        address: address.to_string(),
        protocol: protocol_to_wire(protocol).into(),
        state: state.to_string(),
        connections,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConnectionState, Protocol};

    #[test]
    fn conntrack_is_read_as_it_was_written() {
        let conntrack = Conntrack {
            entries: 1,
            max_entries: 2,
            dropped: 3,
            insert_failed: 4,
            early_dropped: 5,
        };
        let read = conntrack_from_wire(conntrack_to_wire(&conntrack));
        assert_eq!(read, conntrack);
    }

    #[test]
    fn connections_in_every_state_are_read_as_they_were_written() {
        for (number, state) in (1..).zip(ConnectionState::ALL) {
            let vip = VipConnections {
                address: [10, 100, 0, 1].into(),
                protocol: Protocol::Sctp,
                state,
                connections: number,
            };
            let mut problems = Problems::default();
            let wire = vip_connections_to_wire(&vip);
            let read = vip_connections_from_wire(&wire, "vips[0]", &mut problems);
            assert_eq!(problems.finish(read), Ok(vip));
        }
    }

    #[test]
    fn what_cannot_be_of_a_vip_is_named_by_its_path() {
        let wire = wire::VipConnections {
            address: "0.0.0.0".to_owned(),
            protocol: 9,
            state: "open".to_owned(),
            connections: 1,
        };
        let nothing = wire::VipConnections::default();
        let read = |wire| {
            let mut problems = Problems::default();
            let read = vip_connections_from_wire(wire, "vips[0]", &mut problems);
            let read = problems.finish(read);
            read.map_err(|errors| errors.to_string())
        };
        let why = "vips[0].address: 0.0.0.0 is the unspecified address, which no host can be reached at; \
                   vips[0].protocol: 9 is not a protocol; vips[0].state: \"open\" is not a state of a connection";
        assert_eq!(read(&wire), Err(why.to_owned()));
        let why = "vips[0].address: missing; vips[0].protocol: missing; vips[0].state: missing";
        assert_eq!(read(&nothing), Err(why.to_owned()));
    }
}
