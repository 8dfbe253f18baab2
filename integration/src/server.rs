//! What a pod runs: says its own name and the client address it sees, over HTTP and over UDP, IPv4 and IPv6.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// Where a pod serves HTTP.
pub const HTTP_PORT: u16 = 8080;
/// Where a pod answers datagrams.
pub const UDP_PORT: u16 = 8053;

/// A client that has not sent its request by then never will.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until a socket fails: `NAME CLIENT` as an HTTP body, `NAME CLIENT PAYLOAD` as a datagram.
pub fn serve(name: &str) -> io::Result<()> {
    // Sockets on `::` take IPv4 too.
    let http = TcpListener::bind((Ipv6Addr::UNSPECIFIED, HTTP_PORT))?;
    let udp = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, UDP_PORT))?;
    let name: Arc<str> = name.into();
    let (ended, first) = mpsc::channel();
    let (http_ended, http_name) = (ended.clone(), Arc::clone(&name));
    thread::spawn(move || http_ended.send(answer_connections(&http, &http_name)));
    thread::spawn(move || ended.send(answer_datagrams(&udp, &name)));
    first.recv().map_err(io::Error::other)?
}

fn answer_connections(listener: &TcpListener, name: &Arc<str>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let name = Arc::clone(name);
        // A client that goes away in the middle is its own loss.
        thread::spawn(move || answer_http(stream, &name));
    }
}

fn answer_http(stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let client = stream.peer_addr()?.ip().to_canonical();
    let mut request = BufReader::new(&stream);
    let mut line = String::new();
    while request.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        line.clear();
    }
    (&stream).write_all(response(name, client).as_bytes())
}

fn response(name: &str, client: IpAddr) -> String {
    let body = format!("{name} {client}\n");
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn answer_datagrams(socket: &UdpSocket, name: &str) -> io::Result<()> {
    let mut buffer = [0; 1500];
    loop {
        let (length, client) = socket.recv_from(&mut buffer)?;
        let mut answer = format!("{name} {} ", client.ip().to_canonical()).into_bytes();
        answer.extend_from_slice(&buffer[..length]);
        // The way back may be gone; the next client's is another.
        let _ = socket.send_to(&answer, client);
    }
}
