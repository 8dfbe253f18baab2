//! The key of an element: address, protocol, port, address. Pure.

use std::net::IpAddr;

use super::Element;

/// Writes a key: protocol and port are padded with zeros to four bytes each, as `meta l4proto` and a `payload` of two
/// bytes leave them in their registers.
pub fn encode_key(element: &Element) -> Vec<u8> {
    let Element {
        ip,
        proto,
        port,
        ip2,
    } = element;
    let mut key = Vec::with_capacity(40);
    address(&mut key, *ip);
    key.extend([*proto, 0, 0, 0]);
    key.extend(port.to_be_bytes());
    key.extend([0, 0]);
    address(&mut key, *ip2);
    key
}

fn address(key: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => key.extend(v4.octets()),
        IpAddr::V6(v6) => key.extend(v6.octets()),
    }
}

/// Reads a key; `None` when it is not as [`encode_key`] writes it.
pub fn decode_key(key: &[u8]) -> Option<Element> {
    let (ip, proto, port, ip2) = match key.len() {
        16 => {
            let (ip, rest) = key.split_first_chunk::<4>()?;
            let (proto, rest) = rest.split_first_chunk::<4>()?;
            let (port, ip2) = rest.split_first_chunk::<4>()?;
            let ip2: [u8; 4] = ip2.try_into().ok()?;
            (IpAddr::from(*ip), proto, port, IpAddr::from(ip2))
        }
        40 => {
            let (ip, rest) = key.split_first_chunk::<16>()?;
            let (proto, rest) = rest.split_first_chunk::<4>()?;
            let (port, ip2) = rest.split_first_chunk::<4>()?;
            let ip2: [u8; 16] = ip2.try_into().ok()?;
            (IpAddr::from(*ip), proto, port, IpAddr::from(ip2))
        }
        _ => return None,
    };
    match (*proto, *port) {
        ([proto, 0, 0, 0], [high, low, 0, 0]) => Some(Element {
            ip,
            proto,
            port: u16::from_be_bytes([high, low]),
            ip2,
        }),
        _ => None,
    }
}
