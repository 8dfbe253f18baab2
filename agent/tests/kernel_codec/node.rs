//! What else a node has: links, settings, the iptables rule, and the probe of it all.

use std::net::IpAddr;

use nix::errno::Errno;
use weir_agent::kernel::linux::{
    Linux,
    ipset::Family,
    link::rtm::{Command, RT_SCOPE_UNIVERSE},
    link::{LinkError, Links, Rtnl},
    loopback::{Iptables, Standing},
    sysctl::{Sysctl, SysctlError},
};

use crate::{
    errnos,
    ipset::ipset,
    ipvs::ipvs,
    netns::{in_new_netns, sh},
};

#[test]
fn the_dummy_link_and_its_addresses_are_made_listed_and_deleted() {
    in_new_netns(|| async {
        let mut links = Links::open().unwrap();
        assert_eq!(links.find("weir0").await.unwrap(), None);
        let index = links
            .ensure_dummy("weir0")
            .await
            .expect("a dummy link: load the module dummy");
        assert_eq!(links.ensure_dummy("weir0").await.unwrap(), index);
        let found = links.find("weir0").await.unwrap().expect("the link");
        assert_eq!((found.kind.as_deref(), found.up), (Some("dummy"), true));

        let (four, six): (IpAddr, IpAddr) = (
            "192.0.2.10".parse().unwrap(),
            "2001:db8::10".parse().unwrap(),
        );
        let mut rtnl = Rtnl::open().unwrap();
        let both = |command: fn(u32, IpAddr) -> Command| [four, six].map(|ip| command(index, ip));
        let add = both(|link, address| Command::AddAddress {
            link,
            address,
            scope: RT_SCOPE_UNIVERSE,
        });
        assert_eq!(errnos(&rtnl.batch(&add).await), [None, None]);
        let twice = errnos(&rtnl.batch(&add).await);
        assert_eq!(twice, [Some(Errno::EEXIST), Some(Errno::EEXIST)]);
        let found = rtnl.addresses(false, index).await.unwrap();
        assert_eq!(
            found.iter().map(|found| found.address).collect::<Vec<_>>(),
            [four]
        );
        let shown = sh("ip -6 addr show dev weir0");
        assert!(
            shown.contains("2001:db8::10/128 scope global nodad deprecated"),
            "{shown}"
        );
        assert!(shown.contains("preferred_lft 0sec"), "{shown}");
        assert!(sh("ip -4 addr show dev weir0").contains("192.0.2.10/32"));
        let del = both(|link, address| Command::DelAddress { link, address });
        assert_eq!(errnos(&rtnl.batch(&del).await), [None, None]);
        let twice = errnos(&rtnl.batch(&del).await);
        assert_eq!(
            twice,
            [Some(Errno::EADDRNOTAVAIL), Some(Errno::EADDRNOTAVAIL)]
        );
        assert_eq!(rtnl.addresses(false, index).await.unwrap(), []);
        links.delete_dummy("weir0").await.unwrap();
        links.delete_dummy("weir0").await.unwrap();

        sh("ip link add weir0 type bridge");
        let other = links.ensure_dummy("weir0").await;
        assert!(
            matches!(&other, Err(LinkError::OtherKind { kind, .. }) if kind == "bridge"),
            "{other:?}"
        );
        assert!(matches!(
            links.delete_dummy("weir0").await,
            Err(LinkError::OtherKind { .. })
        ));
        assert!(matches!(
            links.ensure_dummy("lo").await,
            Err(LinkError::OtherKind { .. })
        ));
    });
}

#[test]
fn settings_of_ipvs_are_read_and_written() {
    in_new_netns(|| async {
        let _loaded = ipvs().await;
        let sysctl = Sysctl::default();
        assert_eq!(sysctl.read("net.ipv4.vs.conntrack").unwrap(), "0");
        sysctl.write("net.ipv4.vs.conntrack", "1").unwrap();
        assert_eq!(sysctl.read("net.ipv4.vs.conntrack").unwrap(), "1");
        let absent = sysctl.read("net.ipv4.vs.nosuch");
        assert!(matches!(absent, Err(SysctlError::Absent(_))), "{absent:?}");
        let refused = sysctl.write("net.ipv4.vs.conntrack", "pear");
        assert!(
            matches!(refused, Err(SysctlError::Refused { .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn the_iptables_rule_is_there_once_and_gone_again() {
    in_new_netns(|| async {
        let mut sets = ipset().await;
        let mut iptables = Iptables::find()
            .await
            .expect("iptables and the module iptable_nat");
        for (family, name) in [(Family::Inet, "weir4"), (Family::Inet6, "weir6")] {
            sets.create(name, family, 100).await.unwrap();
            let standing = iptables.standing(family, name).await.unwrap();
            assert_eq!(standing, Standing::Absent);
            iptables.remove(family, name).await.unwrap();
            iptables.install(family, name).await.unwrap();
            iptables.install(family, name).await.unwrap();
            let standing = iptables.standing(family, name).await.unwrap();
            assert_eq!(standing, Standing::Whole);
            assert_eq!(
                sets.list(name)
                    .await
                    .unwrap()
                    .expect("the set")
                    .header
                    .references,
                1
            );
            iptables.remove(family, name).await.unwrap();
            iptables.remove(family, name).await.unwrap();
            assert_eq!(
                sets.list(name)
                    .await
                    .unwrap()
                    .expect("the set")
                    .header
                    .references,
                0
            );
        }
    });
}

#[test]
fn the_probe_finds_what_is_there_and_leaves_nothing_behind() {
    in_new_netns(|| async {
        let (_kernel, capabilities) = Linux::open(Vec::new()).await;
        let missing: Vec<_> = capabilities
            .iter()
            .filter(|found| !found.available && !found.optional)
            .collect();
        assert!(missing.is_empty(), "{missing:#?}");
        let loopback = capabilities.iter().find(|found| found.name == "loopback");
        let why = &loopback.expect("the capability loopback").detail;
        assert!(why.starts_with("ipset: "), "{why}");
        assert_eq!(
            Links::open().unwrap().find("weir-probe").await.unwrap(),
            None
        );
        assert_eq!(ipset().await.headers().await.unwrap(), []);
    });
}
