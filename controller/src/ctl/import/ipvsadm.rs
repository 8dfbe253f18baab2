//! What `ipvsadm -Sn` writes, read. PURE.
//!
//! One line is one command, as `ipvsadm -R` reads it: `-A` makes a virtual server, `-a` adds a real server to one. Options
//! are those of ipvsadm 1.31, in any order, short or long; a line of a script may name the program first.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_proto::model::Family;
use weir_proto::wire;

use super::draft::{
    Flag, Front, IPIP, Method, PERSISTENCE, Place, Read, Real, Server, Sticky, Transport, prefix_of,
};

/// Whether an option has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// The next word, unless that is an option.
    Maybe,
}

/// The options of `-A` and `-a`, and the commands.
const OPTIONS: [(char, &str, Takes); 37] = [
    ('A', "add-service", Takes::Nothing),
    ('E', "edit-service", Takes::Nothing),
    ('D', "delete-service", Takes::Nothing),
    ('C', "clear", Takes::Nothing),
    ('R', "restore", Takes::Nothing),
    ('S', "save", Takes::Nothing),
    ('a', "add-server", Takes::Nothing),
    ('e', "edit-server", Takes::Nothing),
    ('d', "delete-server", Takes::Nothing),
    ('L', "list", Takes::Nothing),
    ('l', "list", Takes::Nothing),
    ('Z', "zero", Takes::Nothing),
    ('\0', "set", Takes::Nothing),
    ('\0', "start-daemon", Takes::Value),
    ('\0', "stop-daemon", Takes::Value),
    ('t', "tcp-service", Takes::Value),
    ('u', "udp-service", Takes::Value),
    ('\0', "sctp-service", Takes::Value),
    ('f', "fwmark-service", Takes::Value),
    ('6', "ipv6", Takes::Nothing),
    ('s', "scheduler", Takes::Value),
    ('p', "persistent", Takes::Maybe),
    ('M', "netmask", Takes::Value),
    ('o', "ops", Takes::Nothing),
    ('\0', "pe", Takes::Value),
    ('b', "sched-flags", Takes::Value),
    ('r', "real-server", Takes::Value),
    ('m', "masquerading", Takes::Nothing),
    ('g', "gatewaying", Takes::Nothing),
    ('i', "ipip", Takes::Nothing),
    ('w', "weight", Takes::Value),
    ('x', "u-threshold", Takes::Value),
    ('y', "l-threshold", Takes::Value),
    ('\0', "tun-type", Takes::Value),
    ('\0', "tun-port", Takes::Value),
    ('n', "numeric", Takes::Nothing),
    ('X', "exact", Takes::Nothing),
];

/// Long options without a value that tell how a tunnel's header is summed.
const CHECKSUMS: [(&str, wire::TunnelChecksum); 3] = [
    ("tun-nocsum", wire::TunnelChecksum::None),
    ("tun-csum", wire::TunnelChecksum::Full),
    ("tun-remcsum", wire::TunnelChecksum::Remote),
];

/// Reads the text of one file.
pub(crate) fn read(name: &str, text: &str) -> Read {
    let mut read = Read {
        files: vec![name.to_owned()],
        ..Read::default()
    };
    for (place, line) in text.lines().enumerate() {
        let at = Place {
            file: 0,
            line: place + 1,
        };
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let program = |word: &&&str| word.rsplit('/').next() == Some("ipvsadm");
        if words.first().filter(program).is_some() {
            words.remove(0);
        }
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        let taken = Line::read(&words).and_then(|line| line.act(at, &mut read));
        if let Err(why) = taken {
            read.fault(at, why);
        }
    }
    read
}

/// One command with its options, by their long names.
#[derive(Debug, Default)]
struct Line<'a> {
    options: Vec<(&'static str, Option<&'a str>)>,
}

impl<'a> Line<'a> {
    fn read(words: &[&'a str]) -> Result<Self, String> {
        let mut line = Self::default();
        let mut rest = words.iter().copied().peekable();
        while let Some(word) = rest.next() {
            // What stands in the word after an option that takes a value, or the next word.
            let mut value = |name: &str, inside: Option<&'a str>, takes| match takes {
                Takes::Nothing => Ok(None),
                Takes::Value => match inside.or_else(|| rest.next()) {
                    Some(value) => Ok(Some(value)),
                    None => Err(format!("{name} wants a value")),
                },
                Takes::Maybe => Ok(inside.or_else(|| rest.next_if(|next| !next.starts_with('-')))),
            };
            if let Some(long) = word.strip_prefix("--") {
                let (name, inside) = match long.split_once('=') {
                    Some((name, inside)) => (name, Some(inside)),
                    None => (long, None),
                };
                let sum = CHECKSUMS.iter().find(|(known, _)| *known == name);
                let known = OPTIONS.iter().find(|(_, known, _)| *known == name);
                let (name, takes) = match (sum, known) {
                    (Some((name, _)), _) => (*name, Takes::Nothing),
                    (None, Some((_, name, takes))) => (*name, *takes),
                    (None, None) => return Err(format!("unknown option {word:?}")),
                };
                let value = value(word, inside, takes)?;
                line.options.push((name, value));
                continue;
            }
            let Some(letters) = word.strip_prefix('-').filter(|word| !word.is_empty()) else {
                return Err(format!("{word:?} belongs to no option"));
            };
            for (place, letter) in letters.char_indices() {
                let known = OPTIONS
                    .iter()
                    .find(|(short, _, _)| *short == letter && letter != '\0');
                let Some((_, name, takes)) = known else {
                    return Err(format!("unknown option \"-{letter}\""));
                };
                let inside = letters.get(place + letter.len_utf8()..);
                let inside = inside.filter(|inside| !inside.is_empty());
                let value = value(&format!("-{letter}"), inside, *takes)?;
                let whole = *takes != Takes::Nothing && inside.is_some();
                line.options.push((name, value));
                if whole {
                    break;
                }
            }
        }
        Ok(line)
    }

    fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(known, _)| *known == name)
    }

    /// Gives the value of an option; the last one counts, as it does for ipvsadm.
    fn value(&self, name: &str) -> Option<&'a str> {
        let found = self.options.iter().rev().find(|(known, _)| *known == name);
        found.and_then(|(_, value)| *value)
    }

    fn number(&self, name: &str, default: u32) -> Result<u32, String> {
        let Some(text) = self.value(name) else {
            return Ok(default);
        };
        let number: Result<u32, _> = text.parse();
        number.map_err(|_| format!("--{name} {text}: not a number"))
    }

    fn act(&self, at: Place, read: &mut Read) -> Result<(), String> {
        let commands = OPTIONS.iter().take(15).map(|(_, name, _)| *name);
        let commands: BTreeSet<&str> = commands.filter(|name| self.has(name)).collect();
        match commands.iter().copied().collect::<Vec<_>>().as_slice() {
            ["add-service"] => self.server(at, read),
            ["add-server"] => self.real(at, read),
            [] => Err("no command: a line begins with -A or -a".to_owned()),
            [one] => Err(format!(
                "--{one}: only -A and -a are read, as ipvsadm -Sn writes them"
            )),
            _ => Err("more than one command".to_owned()),
        }
    }

    fn front(&self) -> Result<Front, String> {
        let kinds = [
            ("tcp-service", Transport::Tcp),
            ("udp-service", Transport::Udp),
            ("sctp-service", Transport::Sctp),
        ];
        if let Some(mark) = self.value("fwmark-service") {
            // Marks above 2147483647 are written as negative numbers (%d in ipvsadm.c).
            let signed: Option<i32> = mark.parse().ok();
            let number: Option<u32> = mark.parse().ok();
            let number = number.or(signed.map(i32::cast_unsigned));
            let number = number.filter(|number| *number != 0);
            return Ok(Front::Mark {
                number: number.ok_or_else(|| format!("-f {mark}: not a firewall mark"))?,
                family: match self.has("ipv6") {
                    true => Family::V6,
                    false => Family::V4,
                },
            });
        }
        for (name, protocol) in kinds {
            if let Some(text) = self.value(name) {
                let (address, port) = socket(text)?;
                return Ok(Front::Address {
                    address,
                    port: port.unwrap_or(0),
                    protocol,
                });
            }
        }
        Err("no service: -t, -u, --sctp-service or -f is missing".to_owned())
    }

    fn server(&self, at: Place, read: &mut Read) -> Result<(), String> {
        let front = self.front()?;
        if find(read, front).is_some() {
            return Err(format!("{} is made twice", front.name()));
        }
        let mut flags = BTreeSet::new();
        for name in self.value("sched-flags").unwrap_or_default().split(',') {
            if !name.is_empty() {
                let flag = Flag::named(name);
                flags.insert(flag.ok_or_else(|| format!("-b {name}: no such flag"))?);
            }
        }
        let sticky = match self.has("persistent") {
            true => Some(Sticky {
                seconds: self.number("persistent", PERSISTENCE)?,
                prefix: self.prefix(front, at, read)?,
            }),
            false => None,
        };
        read.servers.push(Server {
            at,
            name: front.name(),
            fronts: vec![(at, front)],
            // ipvsadm's own default
            scheduler: self.value("scheduler").unwrap_or("wlc").to_owned(),
            flags,
            sticky,
            engine: self.value("pe").unwrap_or_default().to_owned(),
            one_packet: self.has("ops"),
            reals: Vec::new(),
        });
        Ok(())
    }

    fn prefix(&self, front: Front, at: Place, read: &mut Read) -> Result<Option<u32>, String> {
        let Some(mask) = self.value("netmask") else {
            return Ok(None);
        };
        let v6 = match front {
            Front::Address { address, .. } => address.is_ipv6(),
            Front::Mark { family, .. } => family == Family::V6,
        };
        if v6 {
            let bits: Option<u32> = mask.parse().ok();
            let bits = bits.filter(|bits| (1..=128).contains(bits));
            return bits
                .map(Some)
                .ok_or_else(|| format!("-M {mask}: not 1-128"));
        }
        let parsed: Result<Ipv4Addr, _> = mask.parse();
        let prefix = prefix_of(parsed.map_err(|_| format!("-M {mask}: not a netmask"))?);
        if prefix.is_none() {
            let name = front.name();
            read.note(
                at,
                format!("{name}: mask {mask} left out: it is not a prefix of 1-32 bits; each client counts by itself"),
            );
        }
        Ok(prefix)
    }

    fn method(&self) -> Result<Method, String> {
        let ways = ["masquerading", "gatewaying", "ipip"];
        let mut said = ways.iter().filter(|name| self.has(name));
        let (first, second) = (said.next(), said.next());
        if second.is_some() {
            return Err("more than one of -m, -g and -i".to_owned());
        }
        match first {
            Some(&"masquerading") => return Ok(Method::Masquerade),
            Some(&"ipip") => {}
            _ => return Ok(Method::DirectRoute),
        }
        let kind = match self.value("tun-type") {
            None | Some("ipip") => return Ok(Method::Tunnel(IPIP)),
            Some("gue") => wire::TunnelType::Gue,
            Some("gre") => wire::TunnelType::Gre,
            Some(other) => return Err(format!("--tun-type {other}: no such tunnel")),
        };
        let port = match self.value("tun-port") {
            None => None,
            Some(_) => Some(self.number("tun-port", 0)?),
        };
        if port.is_some() != (kind == wire::TunnelType::Gue) {
            return Err("--tun-port is of gue, and gue needs it".to_owned());
        }
        let mut sums = CHECKSUMS.iter().filter(|(name, _)| self.has(name));
        let checksum = sums.next().map(|(_, checksum)| *checksum);
        if sums.next().is_some() {
            return Err("more than one checksum for a tunnel".to_owned());
        }
        Ok(Method::Tunnel(wire::Tunnel {
            r#type: Some(kind.into()),
            port,
            checksum: checksum
                .filter(|checksum| *checksum != wire::TunnelChecksum::None)
                .map(Into::into),
        }))
    }

    fn real(&self, at: Place, read: &mut Read) -> Result<(), String> {
        let front = self.front()?;
        let text = self
            .value("real-server")
            .ok_or("no server: -r is missing")?;
        let (address, port) = socket(text)?;
        let real = Real {
            at,
            address,
            // Without a port it is the service's.
            port: match (port, front) {
                (Some(port), _) | (None, Front::Address { port, .. }) => port,
                (None, Front::Mark { .. }) => 0,
            },
            weight: self.number("weight", 1)?,
            method: self.method()?,
            upper: self.number("u-threshold", 0)?,
            lower: self.number("l-threshold", 0)?,
        };
        let name = front.name();
        let server = find(read, front).ok_or_else(|| format!("no -A before it makes {name}"))?;
        server.reals.push(real);
        Ok(())
    }
}

fn find(read: &mut Read, front: Front) -> Option<&mut Server> {
    // A real server follows its virtual server, so the last is looked at first.
    let mut servers = read.servers.iter_mut().rev();
    servers.find(|server| server.fronts.iter().any(|(_, one)| *one == front))
}

/// Reads `10.0.0.1:80` or `[fd00::1]:80`, or either without the port.
fn socket(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Ok(address) = text.parse() {
        return Ok((address, None));
    }
    let named = |part: &str, what| {
        format!(
            "{text}: {part:?} is not {what} but a name, or nothing at all: ipvsadm -Sn writes numbers (-n)"
        )
    };
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest
                .split_once(']')
                .ok_or_else(|| format!("{text}: the \"[\" is not closed"))?;
            let parsed: Result<Ipv6Addr, _> = address.parse();
            let address = parsed.map_err(|_| named(address, "an address"))?;
            (IpAddr::V6(address), port.strip_prefix(':'))
        }
        None => {
            let (address, port) = match text.rsplit_once(':') {
                Some((address, port)) => (address, Some(port)),
                None => (text, None),
            };
            let parsed: Result<Ipv4Addr, _> = address.parse();
            let address = parsed.map_err(|_| named(address, "an address"))?;
            (IpAddr::V4(address), port)
        }
    };
    let port = match port {
        None => None,
        Some(port) => {
            let parsed: Result<u16, _> = port.parse();
            Some(parsed.map_err(|_| named(port, "a port"))?)
        }
    };
    Ok((address, port))
}
