//! One request to an address that a pod may stand behind, and what came back; or a connection held there.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::str::FromStr;
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{SockaddrStorage, connect, setsockopt, sockopt};
use serde::Serialize;

use crate::farm;

/// How a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proto {
    /// An HTTP request on a connection of its own.
    Tcp,
    /// A datagram from a port of its own.
    Udp,
}

/// Who answered a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The name of the pod that answered.
    pub pod: String,
    /// The client's address as the pod sees it.
    pub seen: IpAddr,
}

/// What became of many requests from one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How often each pod answered.
    pub answered: BTreeMap<String, usize>,
    /// Why the others were not answered, in order.
    pub failed: Vec<String>,
}

impl FromStr for Proto {
    type Err = String;

    fn from_str(text: &str) -> Result<Proto, String> {
        match text {
            "tcp" => Ok(Proto::Tcp),
            "udp" => Ok(Proto::Udp),
            _ => Err(format!("'{text}' is neither tcp nor udp")),
        }
    }
}

impl Outcome {
    /// Adds what became of one request.
    pub fn count(&mut self, request: io::Result<Answer>) {
        match request {
            Ok(answer) => *self.answered.entry(answer.pod).or_default() += 1,
            Err(error) => self.failed.push(error.to_string()),
        }
    }

    /// The pods that answered at least once, by name.
    pub fn pods(&self) -> Vec<&str> {
        self.answered.keys().map(String::as_str).collect()
    }

    /// How many requests were made.
    pub fn requests(&self) -> usize {
        self.answered.values().sum::<usize>() + self.failed.len()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self
            .answered
            .iter()
            .map(|(pod, times)| format!("{pod} {times}"))
            .collect();
        if !self.failed.is_empty() {
            parts.push(format!("no answer {}", self.failed.len()));
        }
        f.write_str(&parts.join(", "))
    }
}

/// Makes one request from where the calling thread is. Each step of it has `patience` of its own.
pub fn request(proto: Proto, target: SocketAddr, patience: Duration) -> io::Result<Answer> {
    let text = match proto {
        Proto::Tcp => page(target, "/", patience)?,
        Proto::Udp => ask(any(target), target, patience)?,
    };
    parse(&text).ok_or_else(|| io::Error::other(format!("not a pod's answer: {text:?}")))
}

/// Asks an HTTP server for a page, from where the calling thread is. Each step of it has `patience` of its own.
pub fn page(target: SocketAddr, path: &str, patience: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&target, patience)?;
    stream.set_read_timeout(Some(patience))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("not a page: {response:?}")));
    }
    Ok(body.into())
}

/// Makes `count` requests, one after the other.
pub fn requests(proto: Proto, target: SocketAddr, count: usize, patience: Duration) -> Outcome {
    let mut outcome = Outcome::default();
    for _ in 0..count {
        outcome.count(request(proto, target, patience));
    }
    outcome
}

/// A connection to one of a [`crate::farm`]'s servers, held until it is dropped.
#[derive(Debug)]
pub struct Held {
    /// Who greeted it.
    pub answer: Answer,
    stream: BufReader<TcpStream>,
}

impl Held {
    /// Says a line, and fails unless the one who greeted it says it back.
    pub fn talks(&mut self, line: &str) -> io::Result<()> {
        let answer = self.say(line)?;
        let expected = format!("{} {line}", self.answer.pod);
        if answer.trim_end() != expected {
            let told = format!("not {expected:?}: {answer:?}");
            return Err(io::Error::other(told));
        }
        Ok(())
    }

    /// Has the server close its side, and keeps its own open: IPVS forgets such a connection after its time-out for
    /// closing ones, while one that both have closed is remembered for two minutes (`tcp_timeouts` in
    /// `net/netfilter/ipvs/ip_vs_proto_tcp.c`).
    pub fn finish(&mut self) -> io::Result<()> {
        match self.say(farm::FAREWELL)?.as_str() {
            "" => Ok(()),
            answer => Err(io::Error::other(format!("not an end: {answer:?}"))),
        }
    }

    /// Fails unless it is cut from the other side by now.
    pub fn is_cut(&mut self) -> io::Result<()> {
        match self.say("is anybody there?") {
            Ok(answer) if answer.is_empty() => Ok(()),
            Ok(answer) => Err(io::Error::other(format!("somebody is: {answer:?}"))),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Cuts it from this side, and gives who had greeted it. IPVS forgets it ten seconds later.
    pub fn reset(self) -> io::Result<Answer> {
        let linger = linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(self.stream.get_ref(), sockopt::Linger, &linger)?;
        Ok(self.answer)
    }

    fn say(&mut self, line: &str) -> io::Result<String> {
        writeln!(self.stream.get_mut(), "{line}")?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer)?;
        Ok(answer)
    }
}

/// Opens a connection from where the calling thread is, and holds it once it was greeted. Each step has `patience` of
/// its own.
pub fn hold(target: SocketAddr, patience: Duration) -> io::Result<Held> {
    greeted(TcpStream::connect_timeout(&target, patience)?, patience)
}

/// Opens an SCTP association from one of the namespace's own addresses, and holds it once it was greeted.
pub fn associate(from: IpAddr, target: SocketAddr, patience: Duration) -> io::Result<Held> {
    let stream = TcpStream::from(farm::sctp((from, 0).into())?);
    // The kernel counts the handshake as sending.
    stream.set_write_timeout(Some(patience))?;
    connect(stream.as_raw_fd(), &SockaddrStorage::from(target))?;
    greeted(stream, patience)
}

fn greeted(stream: TcpStream, patience: Duration) -> io::Result<Held> {
    stream.set_read_timeout(Some(patience))?;
    let mut stream = BufReader::new(stream);
    let mut greeting = String::new();
    stream.read_line(&mut greeting)?;
    let answer = parse(&greeting)
        .ok_or_else(|| io::Error::other(format!("not a greeting: {greeting:?}")))?;
    Ok(Held { answer, stream })
}

/// Sends one datagram from one of the namespace's own addresses, with a port of its own, and gives what came back.
pub fn datagram(from: IpAddr, target: SocketAddr, patience: Duration) -> io::Result<Answer> {
    let text = ask(from, target, patience)?;
    parse(&text).ok_or_else(|| io::Error::other(format!("not a pod's answer: {text:?}")))
}

/// Sends datagrams from one port, one after the other, and gives what came back to each, from whatever address.
pub fn datagrams(target: SocketAddr, count: usize, patience: Duration) -> io::Result<Vec<Answer>> {
    let asker = Asker::open(target, patience)?;
    (0..count).map(|_| asker.ask()).collect()
}

/// Somebody who sends datagrams from one port to one address.
#[derive(Debug)]
pub struct Asker {
    socket: UdpSocket,
    target: SocketAddr,
}

impl Asker {
    /// Takes a port where the calling thread is.
    pub fn open(target: SocketAddr, patience: Duration) -> io::Result<Asker> {
        let socket = UdpSocket::bind((any(target), 0))?;
        socket.set_read_timeout(Some(patience))?;
        Ok(Asker { socket, target })
    }

    /// Sends one, and gives what came back, from whatever address.
    pub fn ask(&self) -> io::Result<Answer> {
        self.socket.send_to(b"who?", self.target)?;
        let mut buffer = [0; 1500];
        let length = self.socket.recv(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        parse(&text).ok_or_else(|| io::Error::other(text.clone().into_owned()))
    }
}

fn any(target: SocketAddr) -> IpAddr {
    match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn ask(from: IpAddr, target: SocketAddr, patience: Duration) -> io::Result<String> {
    let socket = UdpSocket::bind((from, 0))?;
    // Connected, so that an answer from any other address does not count.
    socket.connect(target)?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(b"who?")?;
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn parse(text: &str) -> Option<Answer> {
    let mut words = text.split_whitespace();
    Some(Answer {
        pod: words.next()?.into(),
        seen: words.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_pod_and_the_address_it_saw() {
        let answer = Answer {
            pod: "pod-x".into(),
            seen: IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        assert_eq!(parse("pod-x ::1 who?"), Some(answer));
        assert_eq!(parse("pod-x"), None);
        assert_eq!(parse("<html> <body>"), None);
    }

    #[test]
    fn an_outcome_names_who_answered_and_counts_who_did_not() {
        let mut outcome = Outcome::default();
        for pod in ["pod-y", "pod-x", "pod-y"] {
            outcome.count(Ok(Answer {
                pod: pod.into(),
                seen: Ipv4Addr::LOCALHOST.into(),
            }));
        }
        outcome.count(Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(outcome.to_string(), "pod-x 1, pod-y 2, no answer 1");
        assert_eq!(outcome.pods(), ["pod-x", "pod-y"]);
        assert_eq!(outcome.requests(), 4);
    }
}
