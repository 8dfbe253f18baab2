//! What scenarios about picking a backend start from: ten backends in one pod, and a client with as many addresses as
//! are wanted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use weir_integration::client::{self, Held};
use weir_integration::daemon::Daemon;
use weir_integration::farm::{HOLD_PORT, UDP_PORT};
use weir_integration::netns::Netns;
use weir_integration::program;
use weir_integration::topology::Topology;

use crate::site::{PATIENCE, SOON, Site, on};

/// Who was picked: a backend by the last byte of its address, or why none answered.
pub(crate) type Picked = Result<u8, String>;

/// Backends are numbered from 1; the first has this as the last byte of its address, 10.0.0.97.
const FIRST: u8 = 97;
const BACKENDS: u8 = 10;

/// Runs a scenario on it. The backends are on pod-x; 10.200.0.0/16 are the client's.
pub(crate) fn on_a_farm(scenario: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    on(Topology::one_pod, |site| {
        let pod = &site.topology.pod("pod-x")?.netns;
        let client = &site.topology.client;
        pod.ip("route add local 10.0.0.96/28 dev lo")?;
        client.ip("route add local 10.200.0.0/16 dev lo")?;
        site.node_a()?
            .netns
            .ip("route add 10.200.0.0/16 via 192.168.77.9")?;
        let mut serve = pod.command(program::ours("pod")?);
        serve.arg("farm");
        serve.args((1..=BACKENDS).map(|number| backend(number).to_string()));
        let mut farm = Daemon::start("farm", serve, site.dir.path())?;
        let last = SocketAddr::new(backend(BACKENDS), HOLD_PORT);
        farm.ready(SOON, || {
            pod.enter(|| client::hold(last, PATIENCE))??;
            Ok(())
        })?;
        scenario(site)
    })
}

/// The address of a backend.
pub(crate) fn backend(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, FIRST + number - 1).into()
}

/// One of the client's addresses.
pub(crate) fn source(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 200, high, low).into()
}

/// A service for connections at a frontend such as `10.100.0.1:1001`, with backend 1, 2 and so on of these weights.
/// `spec` are further lines of its spec, each with an end.
pub(crate) fn held(name: &str, at: &str, spec: &str, weights: &[u32]) -> String {
    service(
        name,
        &frontend(at, "TCP"),
        spec,
        &backends(HOLD_PORT, weights),
    )
}

/// The same for datagrams.
pub(crate) fn asked(name: &str, at: &str, spec: &str, weights: &[u32]) -> String {
    service(
        name,
        &frontend(at, "UDP"),
        spec,
        &backends(UDP_PORT, weights),
    )
}

/// A service of any frontends and backends, each a line of its list.
pub(crate) fn service(name: &str, frontends: &str, spec: &str, backends: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "---\napiVersion: weir/v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec:\n{spec}  hairpin: false\n  frontends:\n{frontends}  backends:\n{backends}"
    )
}

/// A line of a service's frontends.
pub(crate) fn frontend(at: &str, protocol: &str) -> String {
    let (address, port) = at.rsplit_once(':').unwrap_or((at, ""));
    format!("    - {{address: {address}, port: {port}, protocol: {protocol}}}\n")
}

/// Lines of a service's backends.
pub(crate) fn backends(port: u16, weights: &[u32]) -> String {
    let mut lines = String::new();
    for (number, weight) in (1..).zip(weights) {
        let address = backend(number);
        let _ = writeln!(
            lines,
            "    - {{address: {address}, port: {port}, weight: {weight}, node: node-a}}"
        );
    }
    lines
}

/// Which backend an address is.
pub(crate) fn number(address: &str) -> Result<u8> {
    let address: Ipv4Addr = address
        .parse()
        .with_context(|| format!("{address:?} is no backend"))?;
    Ok(address.octets()[3] + 1 - FIRST)
}

/// Opens connections one after the other and holds all that were greeted.
pub(crate) fn hold(site: &Site, at: &str, count: usize) -> Result<Vec<Held>> {
    hold_from(&site.topology.client, at, count)
}

/// The same from anywhere.
pub(crate) fn hold_from(netns: &Netns, at: &str, count: usize) -> Result<Vec<Held>> {
    let target: SocketAddr = at.parse()?;
    let held = netns.enter(|| -> std::io::Result<Vec<Held>> {
        (0..count).map(|_| client::hold(target, PATIENCE)).collect()
    })?;
    held.with_context(|| format!("holding connections to {at}"))
}

/// Who greeted them, in order.
pub(crate) fn who(held: &[Held]) -> Result<Vec<u8>> {
    held.iter().map(|held| number(&held.answer.pod)).collect()
}

/// How often each was picked.
pub(crate) fn tally(picked: &[u8]) -> BTreeMap<u8, usize> {
    let mut times = BTreeMap::new();
    for backend in picked {
        *times.entry(*backend).or_default() += 1;
    }
    times
}

/// Sends a datagram from each of the client's addresses, and gives who answered.
pub(crate) fn ask(site: &Site, at: &str, sources: &[IpAddr]) -> Result<Vec<Picked>> {
    let target: SocketAddr = at.parse()?;
    let answers = site.topology.client.enter(|| {
        let ask = |source: &IpAddr| client::datagram(*source, target, PATIENCE);
        sources.iter().map(ask).collect::<Vec<_>>()
    })?;
    let picked = |answer: std::io::Result<client::Answer>| match answer {
        Ok(answer) => number(&answer.pod).map(Ok),
        Err(error) => Ok(Err(error.to_string())),
    };
    answers.into_iter().map(picked).collect()
}
