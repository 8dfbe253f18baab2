//! Many servers in one namespace: at each of its addresses one that says that address, for scenarios that ask which of
//! many backends was picked. A connection is greeted at once and held for as long as the client holds it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;

/// Where a server greets connections.
pub const HOLD_PORT: u16 = 9080;
/// Where it answers datagrams.
pub const UDP_PORT: u16 = 9053;

/// Serves at each address until a socket fails: `ADDRESS CLIENT` to each connection, and to each datagram.
pub fn serve(addresses: &[IpAddr]) -> io::Result<()> {
    let (ended, first) = mpsc::channel();
    for address in addresses.iter().copied() {
        let listener = TcpListener::bind((address, HOLD_PORT))?;
        let socket = UdpSocket::bind((address, UDP_PORT))?;
        let (tcp, udp) = (ended.clone(), ended.clone());
        thread::spawn(move || tcp.send(greet(&listener, address)));
        thread::spawn(move || udp.send(answer(&socket, address)));
    }
    first.recv().map_err(io::Error::other)?
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
    while stream.read(&mut [0; 64])? > 0 {}
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
