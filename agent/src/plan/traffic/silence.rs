//! Backends that receive connections and answer none.

/// Looks in a row, each with new connections of which none succeeded: of looks every 5 s that is a quarter of a minute, and a
/// handshake that happens to be under way at one of them is over at the next.
const LOOKS: u8 = 3;

/// For how long nothing has come of a backend's connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Silence(u8);

impl Silence {
    /// Takes a look: how many connections are new since the one before, and how many of them failed. Where nothing is new
    /// nothing is learned. How many are active says nothing: those that wait for an answer are (`tcp_state_active_table` in
    /// `net/netfilter/ipvs/ip_vs_proto_tcp.c`).
    pub(super) fn look(&mut self, connections: u64, failed: u64) {
        if connections > failed {
            self.0 = 0;
        } else if connections > 0 {
            self.0 = self.0.saturating_add(1).min(LOOKS);
        }
    }

    /// Says whether it is silent.
    pub(super) fn is_certain(self) -> bool {
        self.0 >= LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_silent_after_three_looks_at_which_all_failed_until_one_succeeds() {
        for (why, looks, silent) in [
            ("nothing came", &[(0, 0); 9][..], false),
            ("two looks", &[(4, 4), (1, 1)], false),
            ("three looks", &[(4, 4), (1, 1), (2, 2)], true),
            (
                "with pauses between",
                &[(1, 1), (0, 0), (1, 1), (0, 0), (1, 1)],
                true,
            ),
            (
                "one succeeded between",
                &[(1, 1), (1, 1), (2, 1), (1, 1)],
                false,
            ),
            (
                "nobody tries any more",
                &[(1, 1), (1, 1), (1, 1), (0, 0)],
                true,
            ),
        ] {
            let mut silence = Silence::default();
            for (connections, failed) in looks {
                silence.look(*connections, *failed);
            }
            assert_eq!(silence.is_certain(), silent, "{why}");
        }
    }
}
