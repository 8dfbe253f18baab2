//! What a packet is wrapped in on its way to a backend (`ip_vs_tunnel_xmit_prepare` and following in
//! `net/netfilter/ipvs/ip_vs_xmit.c`).

use super::{Port, Refused};

/// A kind of tunnel with all it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Tunnel {
    /// IP in IP (RFC 2003).
    #[default]
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// Where the backend takes it.
        port: Port,
        /// What its header carries.
        checksum: Checksum,
    },
    /// GRE (RFC 2784).
    Gre {
        /// Never [`Checksum::Remote`], which GRE has not.
        checksum: Checksum,
    },
}

/// Whether a tunnel header carries a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Checksum {
    /// None.
    #[default]
    None,
    /// Over the packet.
    Full,
    /// The receiver fills in the inner one.
    Remote,
}

/// The kinds of tunnel by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TunnelKind {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
    /// GRE.
    Gre,
}

impl Tunnel {
    /// Takes a kind with the port and checksum that it can have.
    pub fn new(kind: TunnelKind, port: Option<Port>, checksum: Checksum) -> Result<Self, Refused> {
        match (kind, port, checksum) {
            (TunnelKind::Ipip, None, Checksum::None) => Ok(Self::Ipip),
            (TunnelKind::Gue, Some(port), checksum) => Ok(Self::Gue { port, checksum }),
            (TunnelKind::Gre, None, Checksum::None | Checksum::Full) => Ok(Self::Gre { checksum }),
            (TunnelKind::Gue, None, _) => Err(Refused::Tunnel("GUE needs a port")),
            (TunnelKind::Ipip | TunnelKind::Gre, Some(_), _) => {
                Err(Refused::Tunnel("only GUE has a port"))
            }
            (TunnelKind::Ipip, None, Checksum::Full | Checksum::Remote) => {
                Err(Refused::Tunnel("IPIP has no checksum"))
            }
            (TunnelKind::Gre, None, Checksum::Remote) => {
                Err(Refused::Tunnel("only GUE has the remote checksum"))
            }
        }
    }

    /// Gives its kind.
    pub fn kind(self) -> TunnelKind {
        match self {
            Self::Ipip => TunnelKind::Ipip,
            Self::Gue { .. } => TunnelKind::Gue,
            Self::Gre { .. } => TunnelKind::Gre,
        }
    }

    /// Gives the UDP port, which only GUE has.
    pub fn port(self) -> Option<Port> {
        match self {
            Self::Gue { port, .. } => Some(port),
            Self::Ipip | Self::Gre { .. } => None,
        }
    }

    /// Gives what its header carries.
    pub fn checksum(self) -> Checksum {
        match self {
            Self::Ipip => Checksum::None,
            Self::Gue { checksum, .. } | Self::Gre { checksum } => checksum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_has_what_its_kind_has_and_nothing_else() {
        let kinds = [TunnelKind::Ipip, TunnelKind::Gue, TunnelKind::Gre];
        let ports = [None, Port::new(6080).ok()];
        let checksums = [Checksum::None, Checksum::Full, Checksum::Remote];
        let mut taken = Vec::new();
        for kind in kinds {
            for port in ports {
                for checksum in checksums {
                    if let Ok(tunnel) = Tunnel::new(kind, port, checksum) {
                        let parts = (tunnel.kind(), tunnel.port(), tunnel.checksum());
                        assert_eq!(parts, (kind, port, checksum));
                        taken.push(kind);
                    }
                }
            }
        }
        use TunnelKind::{Gre, Gue, Ipip};
        assert_eq!(taken, [Ipip, Gue, Gue, Gue, Gre, Gre]);
    }
}
