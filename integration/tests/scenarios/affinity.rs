//! Who stays with a backend, and what else a service says about the connections it takes.

use std::io;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use weir_integration::client::{self, Held};
use weir_integration::eventually::eventually;
use weir_integration::farm::HOLD_PORT;
use weir_integration::program;

use crate::farm::{
    Picked, ask, asked, backend, backends, frontend, held, hold, hold_from, number, on_a_farm,
    service, source, tally, who,
};
use crate::site::{PATIENCE, SOON, Site};

const AT: &str = "10.100.0.1:1";

/// The one backend that all of these were taken by.
fn one(picked: &[Picked]) -> Result<u8> {
    match picked {
        [Ok(first), rest @ ..] if rest.iter().all(|it| *it == Ok(*first)) => Ok(*first),
        _ => anyhow::bail!("not one backend: {picked:?}"),
    }
}

/// Fails unless node-a's kernel has a service by this line of `ipvsadm -Sn`.
fn kernel_has(site: &Site, line: &str) -> Result<()> {
    let ipvs = site.kernel()?.ipvs;
    ensure!(
        ipvs.iter().any(|it| it.trim_end() == line),
        "no {line:?}: {ipvs:#?}"
    );
    Ok(())
}

#[test]
fn a_client_or_a_whole_prefix_stays_with_a_backend_and_the_next_has_another() -> Result<()> {
    on_a_farm(|site| {
        let tcp = "scheduler: rr\nsessionAffinity: {timeoutSeconds: 77}\n";
        let udp = "scheduler: rr\nsessionAffinity: {timeoutSeconds: 60, ipv4PrefixLength: 24}\n";
        let sip = "scheduler: rr\nsessionAffinity: {persistenceEngine: sip}\n";
        let names = "10.100.0.1:53";
        site.apply(
            &[
                held("web", AT, tcp, &[1; 3]),
                asked("names", names, udp, &[1; 3]),
                asked("calls", "10.100.0.1:5060", sip, &[1; 3]),
            ]
            .concat(),
        )?;
        kernel_has(site, "-A -t 10.100.0.1:1 -s rr -p 77")?;
        kernel_has(site, "-A -u 10.100.0.1:53 -s rr -p 60 -M 255.255.255.0")?;
        kernel_has(site, "-A -u 10.100.0.1:5060 -s rr -p 300 --pe sip")?;

        let clients = [&site.topology.client, &site.node_a()?.netns];
        let mut theirs = Vec::new();
        for netns in clients {
            let picked = who(&hold_from(netns, AT, 5)?)?;
            ensure!(tally(&picked).len() == 1, "{picked:?}");
            theirs.push(picked[0]);
        }
        ensure!(theirs[0] != theirs[1], "both clients are on {theirs:?}");

        let prefix =
            |high: u16| -> Vec<IpAddr> { (1..7).map(|low| source(high << 8 | low)).collect() };
        let first = one(&ask(site, names, &prefix(1))?)?;
        let second = one(&ask(site, names, &prefix(2))?)?;
        ensure!(first != second, "both prefixes are on backend {first}");
        ensure!(one(&ask(site, names, &prefix(1))?)? == first, "it moved");
        Ok(())
    })
}

#[test]
fn a_backend_at_its_upper_threshold_takes_no_more_until_it_is_below_the_lower_one() -> Result<()> {
    on_a_farm(|site| {
        // connections of UDP are over when they are forgotten
        const NODE: &str = "---\napiVersion: weir/v1\nkind: Node\nmetadata: {name: node-a}\n\
                            spec: {connectionTimeouts: {udpSeconds: 4}}\n";
        let names = "10.100.0.1:53";
        let limited = |yaml: String| {
            let first = format!("{},", backend(1));
            yaml.replace(
                &first,
                &format!("{first} upperThreshold: 2, lowerThreshold: 1,"),
            )
        };
        site.apply(
            &[
                NODE.into(),
                limited(held("web", AT, "scheduler: rr\n", &[1, 1])),
                limited(asked("names", names, "scheduler: rr\n", &[1, 1])),
            ]
            .concat(),
        )?;
        let picked = who(&hold(site, AT, 8)?)?;
        ensure!(tally(&picked) == [(1, 2), (2, 6)].into(), "{picked:?}");

        let picked = ask(site, names, &[source(1); 8])?;
        let first = picked.iter().filter(|it| **it == Ok(1)).count();
        ensure!(first == 2 && picked.iter().all(Result::is_ok), "{picked:?}");
        eventually("the first backend takes connections again", SOON, || {
            let picked = ask(site, names, &[source(1); 2])?;
            ensure!(picked.contains(&Ok(1)), "{picked:?}");
            Ok(())
        })
    })
}

#[test]
fn datagrams_of_one_port_spread_one_by_one_where_the_service_says_so() -> Result<()> {
    on_a_farm(|site| {
        let flow = "10.100.0.1:53";
        let single = "10.100.0.1:54";
        let rr = "scheduler: rr\n";
        site.apply(
            &[
                asked("flow", flow, rr, &[1; 3]),
                asked("single", single, &format!("{rr}onePacket: true\n"), &[1; 3]),
            ]
            .concat(),
        )?;
        kernel_has(site, "-A -u 10.100.0.1:54 -s rr -o")?;
        for (at, shares) in [(flow, &[6][..]), (single, &[2, 2, 2])] {
            let target: SocketAddr = at.parse()?;
            let client = &site.topology.client;
            let answers = client.enter(|| client::datagrams(target, 6, PATIENCE))??;
            let picked = answers.iter().map(|answer| number(&answer.pod));
            let picked: Vec<u8> = picked.collect::<Result<_>>()?;
            let found: Vec<usize> = tally(&picked).into_values().collect();
            ensure!(found == shares, "{at}: {picked:?}");
        }
        Ok(())
    })
}

#[test]
fn packets_with_a_mark_are_one_service_whatever_they_are_addressed_to() -> Result<()> {
    on_a_farm(|site| {
        let marked = "    - {firewallMark: 7, addressFamily: IPV4}\n";
        let with = |spec: &str| service("marked", marked, spec, &backends(HOLD_PORT, &[1; 3]));
        site.apply(&with("scheduler: rr\n"))?;
        kernel_has(site, "-A -f 7 -s rr")?;
        let node = &site.node_a()?.netns;
        node.ip("route add local 10.100.7.0/24 dev lo")?;
        let mark = |iptables: &str| {
            let rule = "-t mangle -A PREROUTING -d 10.100.7.0/24 -p tcp -j MARK --set-mark 7";
            program::run(node.command(iptables).args(rule.split(' ')), "")
        };
        mark("iptables-legacy").or_else(|_| mark("iptables-nft"))?;
        let mut picked = Vec::new();
        for at in ["10.100.7.1:80", "10.100.7.1:443", "10.100.7.200:8443"] {
            picked.extend(who(&hold(site, at, 1)?)?);
        }
        ensure!(tally(&picked).into_values().eq([1; 3]), "{picked:?}");

        // with affinity a client stays with its backend across addresses; the port is the client's own then
        site.apply(&with("scheduler: rr\nsessionAffinity: {}\n"))?;
        kernel_has(site, "-A -f 7 -s rr -p 300")?;
        let mut picked = Vec::new();
        for host in [1, 2, 200] {
            picked.extend(who(&hold(
                site,
                &format!("10.100.7.{host}:{HOLD_PORT}"),
                2,
            )?)?);
        }
        ensure!(tally(&picked).into_values().eq([6]), "{picked:?}");
        Ok(())
    })
}

#[test]
fn sctp_is_balanced_like_tcp() -> Result<()> {
    on_a_farm(|site| {
        let at: SocketAddr = "10.100.0.1:99".parse()?;
        let frontend = frontend(&at.to_string(), "SCTP");
        site.apply(&service(
            "calls",
            &frontend,
            "scheduler: rr\n",
            &backends(HOLD_PORT, &[1; 3]),
        ))?;
        let client = &site.topology.client;
        let from: IpAddr = "192.168.77.9".parse()?;
        let held = client.enter(|| -> io::Result<Vec<Held>> {
            (0..6)
                .map(|_| client::associate(from, at, PATIENCE))
                .collect()
        })?;
        let picked = who(&held.context("does this kernel have SCTP?")?)?;
        ensure!(tally(&picked).into_values().eq([2; 3]), "{picked:?}");
        Ok(())
    })
}
