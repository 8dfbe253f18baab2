//! Who listens, as `/proc/net` tells it. PURE.
//!
//! Each line of `/proc/net/tcp`, `tcp6`, `udp` and `udp6` is a socket; the second column is where it is bound, the fourth its
//! state, the tenth its inode (`tcp4_seq_show` and `get_tcp4_sock` in `net/ipv4/tcp_ipv4.c`, `udp4_format_sock` in
//! `net/ipv4/udp.c`). An address is written as 32-bit words, each as this machine has it in memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use weir_proto::model::Protocol;

use super::facts::Socket;

/// `TCP_LISTEN` and, of UDP without a peer, `TCP_CLOSE` (`include/net/tcp_states.h`).
const LISTENS: &str = "0A";
const UNCONNECTED: &str = "07";

/// Reads those that take what is sent to them.
pub(super) fn read(protocol: Protocol, text: &str) -> Vec<Socket> {
    let wanted = match protocol {
        Protocol::Tcp => LISTENS,
        Protocol::Udp | Protocol::Sctp => UNCONNECTED,
    };
    let lines = text.lines().skip(1);
    let sockets = lines.filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, inode, ..] = columns[..] else {
            return None;
        };
        (state == wanted).then_some(())?;
        Some(Socket {
            protocol,
            address: address(local)?,
            inode: inode.parse().ok()?,
            program: String::new(),
        })
    });
    sockets.collect()
}

fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = (0..address.len()).step_by(8);
    let words = words.map(|at| u32::from_str_radix(address.get(at..at + 8)?, 16).ok());
    let bytes: Vec<[u8; 4]> = words
        .map(|word| word.map(u32::to_ne_bytes))
        .collect::<Option<_>>()?;
    let address = match bytes[..] {
        [word] => IpAddr::V4(Ipv4Addr::from(word)),
        [a, b, c, d] => {
            let all: [u8; 16] = [a, b, c, d].concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(all))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn listening_sockets_are_read_and_others_left_out() {
        let tcp = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1CFC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1CFC 0100007F:B2C4 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
";
        let six = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr
   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1
";
        let found = |address: &str, inode| Socket {
            protocol: Protocol::Tcp,
            address: address.parse().expect(address),
            inode,
            program: String::new(),
        };
        assert_eq!(read(Protocol::Tcp, tcp), [found("127.0.0.1:7420", 4711)]);
        assert_eq!(read(Protocol::Tcp, six), [found("[::1]:22", 99)]);
        assert_eq!(read(Protocol::Udp, tcp), []);
        assert_eq!(read(Protocol::Tcp, "x\ny z\n0: 1:2 3 0A 4 5 6 7 8 9\n"), []);
    }
}
