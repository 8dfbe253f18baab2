//! What becomes of the first packet to an address: let in, refused, or lost.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::netns::Netns;

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The connection was taken, or the datagram answered.
    Open,
    /// A reset came back, or word that nobody is at that port.
    Refused,
    /// Nothing came back in time.
    Silent,
}

/// Knocks from inside `netns`: begins a TCP connection.
pub fn tcp(netns: &Netns, target: SocketAddr, patience: Duration) -> Result<Answer> {
    netns.enter(|| answer(TcpStream::connect_timeout(&target, patience)))?
}

/// Sends a datagram from inside `netns`.
pub fn udp(netns: &Netns, target: SocketAddr, patience: Duration) -> Result<Answer> {
    let ask = || {
        let socket = UdpSocket::bind((any(target.ip()), 0))?;
        // connected, so that a refusal is told
        socket.connect(target)?;
        socket.set_read_timeout(Some(patience))?;
        socket.send(b"who?")?;
        socket.recv(&mut [0; 1500])
    };
    netns.enter(|| answer(ask()))?
}

/// Sends an ICMP echo request from inside `netns`.
pub fn ping(netns: &Netns, target: IpAddr, patience: Duration) -> Result<Answer> {
    netns.enter(|| answer(echo_request(target, patience)))?
}

fn answer<T>(tried: io::Result<T>) -> Result<Answer> {
    match tried {
        Ok(_) => Ok(Answer::Open),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Ok(Answer::Refused),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Ok(Answer::Silent),
            _ => Err(error.into()),
        },
    }
}

fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Sends an echo request (RFC 792, RFC 4443) and waits for its reply: other packets of the protocol may come first.
fn echo_request(target: IpAddr, patience: Duration) -> io::Result<()> {
    const MARK: &[u8] = b"weir";
    let (family, protocol, request, reply) = match target {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8, 0),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128, 129),
    };
    let socket = socket(family, SockType::Raw, SockFlag::empty(), protocol)?;
    // a raw socket sends and receives like one for datagrams
    let socket = UdpSocket::from(socket);
    socket.connect((target, 0))?;
    socket.set_read_timeout(Some(patience))?;
    // type, code, checksum, identifier, number
    let mut packet = vec![request, 0, 0, 0, 0, 7, 0, 1];
    packet.extend(MARK);
    if target.is_ipv4() {
        // of IPv6 the kernel makes it (rawv6_push_pending_frames in net/ipv6/raw.c)
        let words = packet
            .chunks(2)
            .map(|two| u32::from(two[0]) << 8 | u32::from(two[1]));
        let sum: u32 = words.sum();
        let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).map_err(io::Error::other)?;
        packet[2..4].copy_from_slice(&(!folded).to_be_bytes());
    }
    socket.send(&packet)?;
    let mut buffer = [0; 1500];
    for _ in 0..100 {
        let length = socket.recv(&mut buffer)?;
        // IPv4 comes with its header
        let skipped = if target.is_ipv4() { 20 } else { 0 };
        let message = buffer.get(skipped..length).unwrap_or_default();
        if message.first() == Some(&reply) && message.ends_with(MARK) {
            return Ok(());
        }
    }
    Err(ErrorKind::TimedOut.into())
}

/// Listens inside `netns`; connections are taken by the kernel alone.
pub fn listen(netns: &Netns, at: SocketAddr) -> Result<TcpListener> {
    netns
        .enter(|| TcpListener::bind(at))?
        .context("listening for connections")
}

/// Sends back whatever comes over the next so many connections to this port inside `netns`, of either family.
pub fn echo(netns: &Netns, port: u16, connections: usize) -> Result<()> {
    let listener = listen(netns, (Ipv6Addr::UNSPECIFIED, port).into())?;
    thread::spawn(move || -> io::Result<()> {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept()?;
            thread::spawn(move || -> io::Result<()> {
                let mut buffer = [0; 1500];
                loop {
                    match stream.read(&mut buffer)? {
                        0 => return Ok(()),
                        length => stream.write_all(&buffer[..length])?,
                    }
                }
            });
        }
        Ok(())
    });
    Ok(())
}

/// A connection that stays: to an [`echo`].
#[derive(Debug)]
pub struct Held(TcpStream);

impl Held {
    /// Connects from inside `netns`.
    pub fn open(netns: &Netns, target: SocketAddr, patience: Duration) -> Result<Held> {
        let stream = netns.enter(|| TcpStream::connect_timeout(&target, patience))??;
        stream.set_read_timeout(Some(patience))?;
        Ok(Held(stream))
    }

    /// Fails unless what is sent comes back.
    pub fn works(&mut self) -> Result<()> {
        self.0.write_all(b"still there?")?;
        let mut buffer = [0; 12];
        self.0.read_exact(&mut buffer)?;
        ensure!(&buffer == b"still there?", "{buffer:?} came back");
        Ok(())
    }
}
