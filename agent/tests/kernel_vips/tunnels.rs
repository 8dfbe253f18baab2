//! The links that unwrap tunnels, with and without those that the kernel makes by itself.

use std::fs;

use weir_agent::kernel::Kernel;
use weir_agent::kernel::linux::Linux;
use weir_agent::plan::{Key, Object, Scope, Setting, Unit};

use crate::netns::{in_new_netns, sh};
use crate::{must, set};

const FALLBACK: &str = "/proc/sys/net/core/fb_tunnels_only_for_init_net";

const LINKS: [(Setting, &str, &str); 3] = [
    (Setting::Tunl0, "tunl0", "ipip"),
    (Setting::Sit0, "sit0", "sit"),
    (
        Setting::Ip6tnl0,
        "ip6tnl0",
        "ip6tnl any remote any local any",
    ),
];

async fn state(kernel: &mut Linux, setting: Setting) -> Option<Object> {
    let base = Scope::Units([Unit::Base].into());
    let mut table = kernel.read(&base).await.unwrap();
    table.remove(&Key::Setting(setting))
}

/// Sets each link up and down, and looks at it.
async fn up_and_down() {
    let (mut kernel, _) = Linux::open(Vec::new()).await;
    for (setting, name, kind) in LINKS {
        let value = |value: &str| Some(Object::Value(value.to_owned()));
        assert_eq!(state(&mut kernel, setting).await, value("down"));
        must(&mut kernel, &[set(setting, "down")]).await;
        must(&mut kernel, &[set(setting, "up"), set(setting, "up")]).await;
        assert_eq!(state(&mut kernel, setting).await, value("up"));
        let shown = sh(&format!("ip -d link show dev {name} up"));
        assert!(shown.contains(kind), "{shown}");
        must(&mut kernel, &[set(setting, "down")]).await;
        assert_eq!(state(&mut kernel, setting).await, value("down"));
        let shown = sh(&format!("ip -d link show dev {name}"));
        assert!(shown.contains(kind), "it stays: {shown}");
    }
    // as the kernel's own comes: it is up, and drops IPv4
    must(&mut kernel, &[set(Setting::Ip6tnl0, "up")]).await;
    sh("ip -6 tunnel change ip6tnl0 mode ip6ip6 || ip link set ip6tnl0 type ip6tnl mode ip6ip6");
    let narrow = Object::Value("up for IPv6 only".to_owned());
    assert_eq!(state(&mut kernel, Setting::Ip6tnl0).await, Some(narrow));
    must(&mut kernel, &[set(Setting::Ip6tnl0, "up for IPv6 only")]).await;
    must(&mut kernel, &[set(Setting::Ip6tnl0, "up")]).await;
    let shown = sh("ip -d link show dev ip6tnl0 up");
    assert!(shown.contains("ip6tnl any"), "{shown}");
}

#[test]
fn tunnel_links_are_set_up_and_down_whoever_made_them() {
    // the setting belongs to the first network namespace, and is of moment when another is made
    let before = fs::read_to_string(FALLBACK).unwrap();
    for only_first in ["0", "2"] {
        fs::write(FALLBACK, only_first).unwrap();
        in_new_netns(up_and_down);
    }
    fs::write(FALLBACK, before.trim()).unwrap();
}

#[test]
fn a_link_that_unwraps_ipv4_has_an_address_for_as_long_as_it_is_up() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        let bare = Object::Value("up without an IPv4 address".to_owned());
        for (setting, name, _) in LINKS {
            let anchored = || sh(&format!("ip -4 addr show dev {name}")).contains("127.119.0.1/32");
            must(&mut kernel, &[set(setting, "up")]).await;
            assert_eq!(anchored(), name != "sit0", "{name}");
            must(&mut kernel, &[set(setting, "down")]).await;
            assert!(!anchored(), "{name}");
        }
        // somebody else's: put back as it was, or good as it is
        sh("ip link set tunl0 up");
        assert_eq!(state(&mut kernel, Setting::Tunl0).await, Some(bare.clone()));
        must(&mut kernel, &[set(Setting::Tunl0, "up")]).await;
        must(
            &mut kernel,
            &[set(Setting::Tunl0, "up without an IPv4 address")],
        )
        .await;
        assert_eq!(state(&mut kernel, Setting::Tunl0).await, Some(bare));
        sh("ip addr add 10.9.9.9/32 dev tunl0");
        let up = Some(Object::Value("up".to_owned()));
        assert_eq!(state(&mut kernel, Setting::Tunl0).await, up);
        must(&mut kernel, &[set(Setting::Tunl0, "up")]).await;
        let shown = sh("ip -4 addr show dev tunl0");
        assert!(!shown.contains("127.119.0.1"), "{shown}");
    });
}

#[test]
fn another_link_by_such_a_name_is_left_alone() {
    in_new_netns(|| async {
        sh(
            "ip link delete tunl0 2>/dev/null; ip link set tunl0 name other 2>/dev/null;
            ip link add tunl0 type dummy",
        );
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        let verdicts = kernel.apply(&[set(Setting::Tunl0, "up")]).await;
        let expected = (17, "link tunl0 exists and is a dummy, not a ipip");
        assert_eq!(crate::cause(&verdicts[0]), expected);
    });
}
