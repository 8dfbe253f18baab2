//! The words of `why`.

use std::net::IpAddr;

use clap::Args;
use weir_proto::convert::frontend_to_wire;
use weir_proto::model::{Frontend, UnreadFrontend};
use weir_proto::wire;

use super::DocumentForm;

// The usage is spelled out: clap's own would not name the words in between.
#[derive(Debug, Args)]
#[command(override_usage = "weirctl why [OPTIONS] VIP:PORT[/PROTOCOL] [from ADDRESS] [on NODE]...")]
#[command(after_help = "\
The controller says which service has the frontend, which node should hold it, and who changed it
last; each node that is connected says what its kernel holds of it, and which connections of the
client it tracks. The verdict is the first thing that is in the way of new connections, or that
nothing is known to be. Nothing is written. Without NODE the nodes that should hold it are asked,
at most 16 of them, those that are in trouble first. Without a protocol it is TCP, and a mark
without a family is of IPv4; connections of a client are not looked for by marks.

Exit status:
  0  nothing is known to be in the way, on none of the nodes
  1  something is in the way on one of them, or is not known there
  2  the controller cannot be reached or refuses, or the command line is wrong

Examples:
  # Why is this service not reached?
  weirctl why 10.100.100.100:8080

  # Does this client get through node-a, and where to?
  weirctl why 10.100.100.100:53/UDP from 10.1.2.3 on node-a")]
pub(crate) struct WhyArgs {
    /// The frontend: 10.0.0.1:80, 10.0.0.1:53/UDP, [fd00::1]:80, or of a firewall mark mark:7,
    /// mark:7/IPV6; then, in any order, from whom and on which nodes
    #[arg(value_name = "VIP:PORT", required = true)]
    pub(crate) words: Vec<String>,
    /// The client, as after the word from
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<String>,
    /// A node, as after the word on; may be given several times
    #[arg(long, value_name = "NODE")]
    pub(crate) on: Vec<String>,
    /// Write it for programs: json or yaml
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        hide_possible_values = true
    )]
    pub(crate) output: Option<DocumentForm>,
}

impl WhyArgs {
    /// Reads what is asked.
    pub(crate) fn request(&self) -> Result<wire::WhyRequest, String> {
        let (mut client, mut nodes) = (self.from.clone(), self.on.clone());
        let mut words = self.words.iter();
        let what = words.next().ok_or("name a frontend")?;
        while let Some(word) = words.next() {
            let next = words.next();
            match (word.as_str(), next) {
                ("from", Some(address)) if client.is_none() => client = Some(address.clone()),
                ("from", Some(_)) => return Err("from names one client".to_owned()),
                ("on", Some(node)) => nodes.push(node.clone()),
                ("from", None) => return Err("from is followed by an address".to_owned()),
                ("on", None) => return Err("on is followed by a node".to_owned()),
                (other, _) => {
                    return Err(format!("{other:?} is neither from ADDRESS nor on NODE"));
                }
            }
        }
        let client = match client {
            None => String::new(),
            Some(text) => {
                let address: Result<IpAddr, _> = text.parse();
                let address = address.map_err(|_| format!("{text:?} is not an IP address"))?;
                address.to_string()
            }
        };
        let frontend: Frontend = what
            .parse()
            .map_err(|why: UnreadFrontend| why.to_string())?;
        Ok(wire::WhyRequest {
            frontend: Some(frontend_to_wire(frontend)),
            client,
            nodes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<(String, String, Vec<String>), String> {
        let args = WhyArgs {
            words: words.split(' ').map(str::to_owned).collect(),
            from: None,
            on: Vec::new(),
            output: None,
        };
        let request = args.request()?;
        let frontend = request.frontend.unwrap_or_default();
        let key = weir_proto::convert::frontend_key_from_wire(&frontend, "frontend");
        let key = key.expect("a frontend").to_string();
        Ok((key, request.client, request.nodes))
    }

    #[test]
    fn a_frontend_is_followed_by_whom_and_where_in_any_order() {
        let of = |frontend: &str, client: &str, nodes: &[&str]| {
            let nodes = nodes.iter().map(|node| (*node).to_owned());
            Ok((frontend.to_owned(), client.to_owned(), nodes.collect()))
        };
        let not = |text: &str| Err(text.to_owned());
        for (words, expected) in [
            ("10.0.0.1:80", of("10.0.0.1:80/TCP", "", &[])),
            (
                "10.0.0.1:53/udp from 10.1.2.3 on a",
                of("10.0.0.1:53/UDP", "10.1.2.3", &["a"]),
            ),
            (
                "[fd00::1]:80/TCP on a on b from fd00::9",
                of("[fd00::1]:80/TCP", "fd00::9", &["a", "b"]),
            ),
            ("10.0.0.1", not("\"10.0.0.1\" is not VIP:PORT")),
            ("mark:7 on a", of("mark:7/IPV4", "", &["a"])),
            ("mark:4294967295/ipv6", of("mark:4294967295/IPV6", "", &[])),
            ("10.0.0.1:80 from", not("from is followed by an address")),
            ("10.0.0.1:80 on", not("on is followed by a node")),
            ("10.0.0.1:80 from me", not("\"me\" is not an IP address")),
            (
                "10.0.0.1:80 from 10.0.0.2 from 10.0.0.3",
                not("from names one client"),
            ),
            (
                "10.0.0.1:80 at a",
                not("\"at\" is neither from ADDRESS nor on NODE"),
            ),
        ] {
            assert_eq!(read(words), expected, "{words}");
        }
    }
}
