//! Which transport protocols IPVS was built with, read from the kernel's own symbols.
//!
//! The one thing that cannot be tried: the kernel takes a service of any protocol and finds nobody to forward its
//! packets (`ip_vs_genl_parse_service` looks at no protocol, `ip_vs_in_hook` at `ip_vs_proto_data_get`). But each
//! protocol has its file (`net/netfilter/ipvs/ip_vs_proto_tcp.c`, `_udp.c`, `_sctp.c`) with functions of names
//! nobody else has, and `/proc/kallsyms` names every function, whoever may see its address.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use tokio::task::spawn_blocking;
use weir_proto::model::{Ability, Capability, Protocol};

use super::optional;

const SYMBOLS: &str = "/proc/kallsyms";
/// The kernel makes the file as it is read: few large reads of its 5 to 15 MB.
const READ_BYTES: usize = 256 * 1024;

const HANDLERS: [(Protocol, &str, &str); 3] = [
    (Protocol::Tcp, "tcp_snat_handler", "CONFIG_IP_VS_PROTO_TCP"),
    (Protocol::Udp, "udp_snat_handler", "CONFIG_IP_VS_PROTO_UDP"),
    (
        Protocol::Sctp,
        "sctp_snat_handler",
        "CONFIG_IP_VS_PROTO_SCTP",
    ),
];

/// Reads the protocols of the loaded IPVS; nothing where symbols cannot be read.
pub(super) async fn probe() -> Vec<Capability> {
    let read = || {
        let symbols = File::open(SYMBOLS)?;
        protocols(BufReader::with_capacity(READ_BYTES, symbols))
    };
    // a task that died has read nothing
    let read = spawn_blocking(read).await;
    read.ok().and_then(Result::ok).unwrap_or_default()
}

/// Finds the protocols in lines of address, type, name and, of a module, its name. A kernel that names none of
/// them names no functions, and nothing is known.
fn protocols(mut symbols: impl BufRead) -> io::Result<Vec<Capability>> {
    let mut found = [false; HANDLERS.len()];
    let mut line = Vec::new();
    while found.contains(&false) {
        line.clear();
        if symbols.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let name = name(&line);
        for ((_, handler, _), found) in HANDLERS.iter().zip(&mut found) {
            *found |= name == handler.as_bytes();
        }
    }
    if found == [false; HANDLERS.len()] {
        return Ok(Vec::new());
    }
    let capability = |((protocol, handler, config), found)| {
        let found = if found {
            Ok(format!("the kernel has {handler}"))
        } else {
            Err(format!("take a kernel built with {config}"))
        };
        optional(Ability::Protocol(protocol), found)
    };
    Ok(HANDLERS.into_iter().zip(found).map(capability).collect())
}

/// Gives the name in a line, without what compilers append after a dot.
fn name(line: &[u8]) -> &[u8] {
    let name = line
        .split(u8::is_ascii_whitespace)
        .nth(2)
        .unwrap_or_default();
    name.split(|byte| *byte == b'.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available(symbols: &str) -> Vec<(String, bool)> {
        let found = protocols(symbols.as_bytes()).expect("readable");
        let found = found.into_iter();
        found.map(|found| (found.name, found.available)).collect()
    }

    #[test]
    fn a_protocol_is_there_when_the_kernel_has_its_functions() {
        let tcp_and_udp = "\
0000000000000000 T tcp_v4_rcv
0000000000000000 t tcp_snat_handler\t[ip_vs]
0000000000000000 t udp_snat_handler.llvm.123\t[ip_vs]
0000000000000000 t my_sctp_snat_handler\t[other]
";
        let named = |tcp, udp, sctp| {
            [
                ("protocol_tcp", tcp),
                ("protocol_udp", udp),
                ("protocol_sctp", sctp),
            ]
            .map(|(name, available)| (name.to_owned(), available))
            .to_vec()
        };
        assert_eq!(available(tcp_and_udp), named(true, true, false));
        let all = format!("{tcp_and_udp}ffffffffc0000000 T sctp_snat_handler\n");
        assert_eq!(available(&all), named(true, true, true));
    }

    #[test]
    fn a_kernel_that_names_no_functions_says_nothing_of_protocols() {
        assert_eq!(available(""), []);
        assert_eq!(
            available("garbage\n\n \n0000000000000000 T tcp_v4_rcv\n"),
            []
        );
    }
}
