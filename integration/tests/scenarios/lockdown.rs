//! Who gets through to a VIP: what is declared, from where it is allowed, and nobody else.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use weir_integration::client::Proto;
use weir_integration::knock::{self, Answer, Held};
use weir_integration::netns::Netns;

use crate::site::{PATIENCE, SILENCE, Site, on_two_pods};

/// Where something of the node's own listens on all addresses.
const OWN: u16 = 2222;
/// Where the pods' echo servers and the services in front of them listen.
const ECHO: u16 = 9000;
/// Virtual addresses, and the node's own.
const VIPS: [&str; 2] = ["10.100.0.1", "fd64::1"];
const NODE: [&str; 2] = ["192.168.77.1", "fd77::1"];

/// A service of each family in front of pod-x, with more to be said of each.
fn services(port: u16, lockdown: bool, sources: [&str; 2]) -> String {
    let backends = ["10.0.0.11", "fd00::11"];
    let each = VIPS.into_iter().zip(backends).zip(sources);
    each.enumerate()
        .map(|(number, ((vip, backend), sources))| {
            format!(
                "
apiVersion: weir/v1
kind: Service
metadata: {{name: door-{number}}}
spec:
  frontends: [{{address: '{vip}', port: {port}, protocol: TCP, allowSources: [{sources}]}}]
  lockdown: {lockdown}
  scheduler: rr
  backends: [{{address: '{backend}', port: {port}, node: node-a}}]
---
"
            )
        })
        .collect()
}

fn at(address: &str, port: u16) -> Result<SocketAddr> {
    Ok((address.parse::<IpAddr>()?, port).into())
}

/// Fails unless a TCP connection from a place ends like that.
fn knocks(netns: &Netns, address: &str, port: u16, wanted: Answer) -> Result<()> {
    let answer = knock::tcp(netns, at(address, port)?, PATIENCE)?;
    ensure!(
        answer == wanted,
        "TCP from {} to {address} port {port}: {answer:?}, not {wanted:?}",
        netns.name()
    );
    Ok(())
}

/// Fails unless a datagram from a place ends like that.
fn sends(netns: &Netns, address: &str, port: u16, wanted: Answer) -> Result<()> {
    let patience = match wanted {
        Answer::Silent => SILENCE,
        Answer::Open | Answer::Refused => PATIENCE,
    };
    let answer = knock::udp(netns, at(address, port)?, patience)?;
    ensure!(
        answer == wanted,
        "UDP from {} to {address} port {port}: {answer:?}, not {wanted:?}",
        netns.name()
    );
    Ok(())
}

fn client(site: &Site) -> &Netns {
    &site.topology.client
}

#[test]
fn a_listener_on_all_addresses_is_not_reached_through_a_vip_and_what_is_declared_is() -> Result<()>
{
    on_two_pods(|site| {
        let node = &site.node_a()?.netns;
        let _tcp = knock::listen(node, at("::", OWN)?)?;
        let _udp = node.enter(|| std::net::UdpSocket::bind("[::]:2222"))??;
        site.apply(&services(8080, true, ["", ""]))?;
        for (vip, own) in VIPS.into_iter().zip(NODE) {
            let declared = at(vip, 8080)?.to_string();
            site.answered_everywhere(Proto::Tcp, &declared, &["pod-x"])?;
            for (_, place) in site.places()? {
                knocks(place, vip, OWN, Answer::Refused)?;
                // declared, by another protocol
                sends(place, vip, 8080, Answer::Refused)?;
                sends(place, vip, OWN, Answer::Refused)?;
                let pinged = knock::ping(place, vip.parse()?, PATIENCE)?;
                ensure!(
                    pinged == Answer::Open,
                    "ping from {}: {pinged:?}",
                    place.name()
                );
            }
            knocks(client(site), own, OWN, Answer::Open)?;
            // it listens and says nothing
            sends(client(site), own, OWN, Answer::Silent)?;
        }
        Ok(())
    })
}

#[test]
fn an_unlocked_vip_is_open_and_locking_it_cuts_no_connection() -> Result<()> {
    on_two_pods(|site| {
        // two that stay, and two that knock
        knock::echo(&site.node_a()?.netns, OWN, 4)?;
        site.apply(&services(8080, false, ["", ""]))?;
        let mut held = Vec::new();
        for vip in VIPS {
            knocks(client(site), vip, OWN, Answer::Open)?;
            held.push(Held::open(client(site), at(vip, OWN)?, PATIENCE)?);
        }
        site.apply(&services(8080, true, ["", ""]))?;
        for (connection, vip) in held.iter_mut().zip(VIPS) {
            connection.works()?;
            knocks(client(site), vip, OWN, Answer::Refused)?;
            connection.works()?;
            site.answered_everywhere(Proto::Tcp, &at(vip, 8080)?.to_string(), &["pod-x"])?;
        }
        Ok(())
    })
}

#[test]
fn sources_let_some_in_and_to_narrow_them_cuts_no_connection() -> Result<()> {
    on_two_pods(|site| {
        let pod_y = &site.topology.pod("pod-y")?.netns;
        knock::echo(&site.topology.pod("pod-x")?.netns, ECHO, 20)?;
        // sources are looked at on an unlocked VIP as well
        for lockdown in [true, false] {
            site.apply(&services(ECHO, lockdown, ["", ""]))?;
            let mut held = Vec::new();
            for vip in VIPS {
                held.push(Held::open(client(site), at(vip, ECHO)?, PATIENCE)?);
            }
            let pods = ["10.0.0.0/24, 192.0.2.7", "'fd00::21'"];
            site.apply(&services(ECHO, lockdown, pods))?;
            for (connection, vip) in held.iter_mut().zip(VIPS) {
                connection.works()?;
                knocks(client(site), vip, ECHO, Answer::Refused)?;
                knocks(pod_y, vip, ECHO, Answer::Open)?;
                connection.works()?;
            }
            let more = ["10.0.0.0/24, 192.168.77.9", "'fd00::/64', 'fd77::/16'"];
            site.apply(&services(ECHO, lockdown, more))?;
            for vip in VIPS {
                knocks(client(site), vip, ECHO, Answer::Open)?;
                knocks(pod_y, vip, ECHO, Answer::Open)?;
            }
        }
        Ok(())
    })
}
