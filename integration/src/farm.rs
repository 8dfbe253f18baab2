//! Many servers in one namespace: at each of its addresses one that says that address, for scenarios that ask which of
//! many backends was picked. A connection is greeted at once and held for as long as the client holds it; each line that
//! comes over it is said back.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, listen, socket,
};

/// Where a server greets connections.
pub const HOLD_PORT: u16 = 9080;
/// Where it answers datagrams.
pub const UDP_PORT: u16 = 9053;

/// The line at which a server closes its side of a connection, and waits for the client to close the other.
pub const FAREWELL: &str = "farewell";

/// Serves at each address until a socket fails: `ADDRESS CLIENT` to each connection, and to each datagram.
pub fn serve(addresses: &[IpAddr]) -> io::Result<()> {
    let (ended, first) = mpsc::channel();
    for address in addresses.iter().copied() {
        let listener = TcpListener::bind((address, HOLD_PORT))?;
        let socket = UdpSocket::bind((address, UDP_PORT))?;
        // A kernel without SCTP has the rest.
        if let Ok(listener) = listen_sctp((address, HOLD_PORT).into()) {
            let sctp = ended.clone();
            thread::spawn(move || sctp.send(greet(&listener, address)));
        }
        let (tcp, udp) = (ended.clone(), ended.clone());
        thread::spawn(move || tcp.send(greet(&listener, address)));
        thread::spawn(move || udp.send(answer(&socket, address)));
    }
    first.recv().map_err(io::Error::other)?
}

/// Makes a socket of SCTP in its one-to-one style at an address: one that reads and writes as TCP does.
pub fn sctp(address: SocketAddr) -> nix::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Stream, flags, SockProtocol::Sctp)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}

fn listen_sctp(address: SocketAddr) -> nix::Result<TcpListener> {
    let socket = sctp(address)?;
    listen(&socket, Backlog::new(16)?)?;
    Ok(socket.into())
}

fn greet(listener: &TcpListener, address: IpAddr) -> io::Result<()> {
    loop {
        let (stream, client) = listener.accept()?;
        // A client that goes away in the middle is its own loss.
        thread::spawn(move || hold(stream, address, client));
    }
}

fn hold(mut stream: TcpStream, address: IpAddr, client: SocketAddr) -> io::Result<()> {
    writeln!(stream, "{address} {}", client.ip())?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        let stream = lines.get_mut();
        match line.trim_end() {
            FAREWELL => stream.shutdown(Shutdown::Write)?,
            line => writeln!(stream, "{address} {line}")?,
        }
        line.clear();
    }
    Ok(())
}

fn answer(socket: &UdpSocket, address: IpAddr) -> io::Result<()> {
    let mut buffer = [0; 1500];
    loop {
        let (_, client) = socket.recv_from(&mut buffer)?;
        // The way back may be gone; the next client's is another.
        let _ = socket.send_to(format!("{address} {}", client.ip()).as_bytes(), client);
    }
}
