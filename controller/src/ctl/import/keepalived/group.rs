//! Groups of virtual servers: addresses, ranges of them, and firewall marks. PURE.

use std::net::IpAddr;

use weir_proto::model::Family;

use super::blocks::Statement;
use crate::ctl::import::draft::{Place, Read};

/// How many addresses one range may stand for: a frontend each, and nobody wants to apply more in one service.
const MOST: u128 = 1024;

/// One address, or one mark, of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Address {
        address: IpAddr,
        /// 0: every port.
        port: u16,
    },
    Mark {
        number: u32,
        /// None: that of the real servers.
        family: Option<Family>,
    },
}

/// What a `virtual_server_group` says.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) at: Place,
    pub(super) entries: Vec<(Place, Entry)>,
    /// Whether a virtual server is of it.
    pub(super) used: bool,
}

impl Group {
    pub(super) fn read(statement: &Statement, read: &mut Read) -> Self {
        let mut entries = Vec::new();
        if statement.word(1).is_none() {
            read.fault(statement.at, "a virtual_server_group has a name");
        }
        for inside in statement.inside() {
            match entry(inside) {
                Ok(found) => entries.extend(found.into_iter().map(|entry| (inside.at, entry))),
                Err(why) => read.fault(inside.at, why),
            }
        }
        Self {
            at: statement.at,
            entries,
            used: false,
        }
    }
}

fn entry(statement: &Statement) -> Result<Vec<Entry>, String> {
    let first = statement.keyword();
    if first == "fwmark" {
        let family = match statement.word(2) {
            None => None,
            Some("inet") => Some(Family::V4),
            Some("inet6") => Some(Family::V6),
            Some(other) => return Err(format!("{other:?} is not inet or inet6")),
        };
        let number = mark(statement.word(1).unwrap_or_default())?;
        return Ok(vec![Entry::Mark { number, family }]);
    }
    let port = port(statement.word(1))?;
    let addresses = range(first)?;
    let entry = |address| Entry::Address { address, port };
    Ok(addresses.into_iter().map(entry).collect())
}

/// Reads a firewall mark.
pub(super) fn mark(text: &str) -> Result<u32, String> {
    let number: Option<u32> = text.parse().ok();
    let number = number.filter(|number| *number != 0);
    number.ok_or_else(|| format!("{text:?} is not a firewall mark"))
}

/// Reads a port; none, and 0, are every port.
pub(super) fn port(text: Option<&str>) -> Result<u16, String> {
    match text {
        None => Ok(0),
        Some(text) => text.parse().map_err(|_| format!("{text:?} is not a port")),
    }
}

/// Reads an address.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an address"))
}

/// Reads `A`, `A-B`, `A-LAST` and `A/BITS`, where LAST replaces the last number of A, hexadecimal in IPv6.
fn range(text: &str) -> Result<Vec<IpAddr>, String> {
    if let Some((start, bits)) = text.split_once('/') {
        let start = address(start)?;
        let whole = if start.is_ipv4() { 32 } else { 128 };
        let bits: Option<u32> = bits.parse().ok();
        let bits = bits.filter(|bits| (1..=whole).contains(bits));
        let bits = bits.ok_or_else(|| format!("{text:?} is not a prefix of 1-{whole} bits"))?;
        let inside = 1_u128
            .checked_shl(whole - bits)
            .map_or(u128::MAX, |count| count - 1);
        if number(start) & inside != 0 {
            return Err(format!("{text:?} has bits beyond its prefix"));
        }
        return between(text, start, number(start) | inside);
    }
    let Some((start, end)) = text.split_once('-') else {
        return Ok(vec![address(text)?]);
    };
    let start = address(start)?;
    let bad = || format!("{text:?} is not a range of addresses");
    let end = match (start, end.contains(['.', ':'])) {
        (start, true) => {
            let end = address(end)?;
            if end.is_ipv4() != start.is_ipv4() {
                return Err(bad());
            }
            number(end)
        }
        (IpAddr::V4(_), false) => {
            let last: u8 = end.parse().map_err(|_| bad())?;
            (number(start) & !0xff) | u128::from(last)
        }
        (IpAddr::V6(_), false) => {
            let last = u16::from_str_radix(end, 16).map_err(|_| bad())?;
            (number(start) & !0xffff) | u128::from(last)
        }
    };
    between(text, start, end)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn between(text: &str, start: IpAddr, end: u128) -> Result<Vec<IpAddr>, String> {
    let first = number(start);
    let count = end
        .checked_sub(first)
        .ok_or_else(|| format!("{text:?} ends before it begins"))?;
    if count >= MOST {
        return Err(format!(
            "{text:?} is more than {MOST} addresses: give those that are in use"
        ));
    }
    let address = |number: u128| match start {
        IpAddr::V4(_) => u32::try_from(number)
            .ok()
            .map(|number| IpAddr::V4(number.into())),
        IpAddr::V6(_) => Some(IpAddr::V6(number.into())),
    };
    Ok((first..=end).filter_map(address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Result<Vec<String>, String> {
        Ok(range(text)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_range_is_every_address_of_it() {
        let given = |texts: &[&str]| Ok(texts.iter().map(|text| (*text).to_owned()).collect());
        for (text, out) in [
            ("10.0.0.1", given(&["10.0.0.1"])),
            ("10.0.0.1-3", given(&["10.0.0.1", "10.0.0.2", "10.0.0.3"])),
            (
                "10.0.0.255-10.0.1.1",
                given(&["10.0.0.255", "10.0.1.0", "10.0.1.1"]),
            ),
            ("10.0.0.8/31", given(&["10.0.0.8", "10.0.0.9"])),
            ("fd00::9-b", given(&["fd00::9", "fd00::a", "fd00::b"])),
            ("fd00::9-fd00::a", given(&["fd00::9", "fd00::a"])),
            ("fd00::/127", given(&["fd00::", "fd00::1"])),
            (
                "255.255.255.254/31",
                given(&["255.255.255.254", "255.255.255.255"]),
            ),
        ] {
            assert_eq!(addresses(text), out, "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused_with_the_reason() {
        for (text, why) in [
            ("10.0.0.9-3", "\"10.0.0.9-3\" ends before it begins"),
            (
                "10.0.0.9-256",
                "\"10.0.0.9-256\" is not a range of addresses",
            ),
            (
                "10.0.0.9-fd00::1",
                "\"10.0.0.9-fd00::1\" is not a range of addresses",
            ),
            ("10.0.0.9/31", "\"10.0.0.9/31\" has bits beyond its prefix"),
            ("10.0.0.0/0", "\"10.0.0.0/0\" is not a prefix of 1-32 bits"),
            (
                "10.0.0.0/8",
                "\"10.0.0.0/8\" is more than 1024 addresses: give those that are in use",
            ),
            ("fd00::/1", "\"fd00::/1\" has bits beyond its prefix"),
            (
                "8000::/1",
                "\"8000::/1\" is more than 1024 addresses: give those that are in use",
            ),
            ("www", "\"www\" is not an address"),
        ] {
            assert_eq!(addresses(text), Err(why.to_owned()), "{text}");
        }
    }
}
