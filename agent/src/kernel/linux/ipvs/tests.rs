//! The codec against bytes that `ipvsadm` and a kernel exchanged, and against itself.

mod counters;
mod round_trip;
mod sent;
mod shown;

use std::net::SocketAddr;

use super::*;
use crate::kernel::linux::netlink::{Attrs, genl::GENL_HEADER_LEN};

const CAPTURED: &str = include_str!("captured.txt");

/// Gives what a captured command sent and what it was answered, each behind its `genlmsghdr`.
fn captured(command: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut sent, mut answered) = (Vec::new(), Vec::new());
    let block = CAPTURED
        .split("\n$ ")
        .find_map(|block| block.strip_prefix(command)?.strip_prefix('\n'));
    for line in block.expect(command).lines() {
        let bytes = |hex: &str| {
            let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
            digits
                .map(|two| u8::from_str_radix(two, 16).expect(command))
                .collect::<Vec<u8>>()
        };
        match line.split_once(' ') {
            Some((">", hex)) => sent.push(bytes(hex)),
            Some(("<", hex)) => answered.push(bytes(hex)),
            _ => panic!("a line of {command} that says nothing"),
        }
    }
    (sent, answered)
}

fn nested(message: &[u8], kind: u16) -> Attrs<'_> {
    Attrs::new(&message[GENL_HEADER_LEN..])
        .get(kind)
        .expect("the attribute of the command")
        .attrs()
}

fn address(proto: Proto, at: &str) -> ServiceKey {
    let at: SocketAddr = at.parse().expect(at);
    ServiceKey::Address {
        proto,
        address: at.ip(),
        port: at.port(),
    }
}

fn dest(at: &str, forward: Forward, weight: i32) -> Dest {
    Dest::new(at.parse().expect(at), forward, weight)
}

/// Gives the bytes of a command behind its `nlmsghdr`.
fn encoded(command: &Command<'_>) -> Vec<u8> {
    command.encode(28).as_bytes()[16..].to_vec()
}
