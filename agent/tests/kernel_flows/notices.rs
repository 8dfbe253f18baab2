//! Somebody takes away what hangs on the link.

use std::time::Duration;

use tokio::time::timeout;
use weir_agent::kernel::Kernel;
use weir_agent::kernel::linux::Linux;
use weir_agent::plan::{Key, Object, Scope, Step, Unit, VipSpec};
use weir_proto::model::VipBinding;

use crate::netns::{in_new_netns, sh};
use crate::{add, ip, must, vip};

/// A notice is there as soon as the program that caused it has ended.
const PATIENCE: Duration = Duration::from_secs(10);

const VIPS: [&str; 2] = ["10.9.0.1", "fd09::1"];
const ROUTES: [&str; 2] = ["10.9.0.2", "fd09::2"];
/// Taken away to see that nothing was told before.
const CONTROLS: [&str; 2] = ["10.9.0.3", "fd09::3"];

fn bound(binding: VipBinding) -> Object {
    Object::Vip(VipSpec {
        binding,
        silent: false,
    })
}

fn units(vips: &[&str]) -> Scope {
    Scope::Units(vips.iter().map(|text| Unit::Vip(ip(text))).collect())
}

/// Brings up the link with two addresses, two routes and two addresses more.
async fn set_up() -> Linux {
    let (mut kernel, _) = Linux::open(Vec::new()).await;
    bind_all(&mut kernel).await;
    kernel
}

async fn bind_all(kernel: &mut Linux) {
    let mut steps = vec![add(Key::Link, Object::Present)];
    let addresses = VIPS.iter().chain(&CONTROLS);
    steps.extend(addresses.map(|text| add(vip(text), bound(VipBinding::Address))));
    let routes = ROUTES.iter();
    steps.extend(routes.map(|text| add(vip(text), bound(VipBinding::Route))));
    must(kernel, &steps).await;
}

async fn told(kernel: &mut Linux) -> Scope {
    let told = timeout(PATIENCE, kernel.disturbed()).await;
    told.expect("a notice")
}

/// Says that nothing was told but of an address that is taken away now.
async fn nothing_else(kernel: &mut Linux) {
    let taken = CONTROLS[0];
    sh(&format!("ip addr del {taken}/32 dev weir0"));
    assert_eq!(told(kernel).await, units(&[taken]));
    must(kernel, &[add(vip(taken), bound(VipBinding::Address))]).await;
}

#[test]
fn an_address_or_a_route_that_somebody_takes_away_is_told_of() {
    in_new_netns(|| async {
        let mut kernel = set_up().await;
        nothing_else(&mut kernel).await;
        for (text, bits) in VIPS.into_iter().zip([32, 128]) {
            sh(&format!("ip addr del {text}/{bits} dev weir0"));
            assert_eq!(told(&mut kernel).await, units(&[text]));
        }
        for (text, family) in ROUTES.into_iter().zip(["-4", "-6"]) {
            sh(&format!(
                "ip {family} route del local {text} dev weir0 table local proto 119"
            ));
            assert_eq!(told(&mut kernel).await, units(&[text]));
        }
        nothing_else(&mut kernel).await;
        // the route that came with an address
        sh("ip route del local 10.9.0.3 dev weir0 table local");
        assert_eq!(told(&mut kernel).await, units(&["10.9.0.3"]));
    });
}

#[test]
fn what_goes_together_is_told_together_and_waits_for_who_asks() {
    in_new_netns(|| async {
        let mut kernel = set_up().await;
        // asked for and given up: nothing is lost by it
        assert!(timeout(Duration::ZERO, kernel.disturbed()).await.is_err());
        sh("ip addr del 10.9.0.1/32 dev weir0 && ip addr del fd09::1/128 dev weir0");
        sh("ip addr del 10.9.0.3/32 dev weir0");
        let all = units(&["10.9.0.1", "fd09::1", "10.9.0.3"]);
        assert_eq!(told(&mut kernel).await, all);
        must(
            &mut kernel,
            &[add(vip("10.9.0.3"), bound(VipBinding::Address))],
        )
        .await;
        nothing_else(&mut kernel).await;
    });
}

#[test]
fn what_we_do_ourselves_is_not_told() {
    in_new_netns(|| async {
        let mut kernel = set_up().await;
        let edit = |text, object| Step::Edit {
            key: vip(text),
            object,
        };
        let remove = |text| Step::Remove { key: vip(text) };
        let silent = Object::Vip(VipSpec {
            binding: VipBinding::Address,
            silent: true,
        });
        for text in VIPS {
            must(&mut kernel, &[edit(text, bound(VipBinding::Route))]).await;
            must(&mut kernel, &[edit(text, bound(VipBinding::Address))]).await;
        }
        must(&mut kernel, &[edit(VIPS[0], silent)]).await;
        must(&mut kernel, &[edit(VIPS[0], bound(VipBinding::Address))]).await;
        for text in ROUTES.into_iter().chain(VIPS) {
            must(&mut kernel, &[remove(text)]).await;
        }
        nothing_else(&mut kernel).await;
        // the anchor goes with the last route
        kernel.read(&Scope::All).await.unwrap();
        must(
            &mut kernel,
            &[add(vip(ROUTES[0]), bound(VipBinding::Route))],
        )
        .await;
        must(&mut kernel, &[remove(ROUTES[0])]).await;
        nothing_else(&mut kernel).await;
        must(&mut kernel, &[Step::Remove { key: Key::Link }]).await;
        bind_all(&mut kernel).await;
        nothing_else(&mut kernel).await;
    });
}

#[test]
fn what_happens_elsewhere_is_not_told() {
    in_new_netns(|| async {
        let mut kernel = set_up().await;
        sh(
            "ip link add elsewhere type dummy && ip link set elsewhere up &&
             ip addr add 10.8.0.1/32 dev elsewhere && ip addr add fd08::1/128 dev elsewhere &&
             ip route add 10.7.0.0/16 dev elsewhere && ip route add local 10.6.0.1 dev elsewhere table local &&
             ip route del local 10.6.0.1 dev elsewhere table local && ip route del 10.7.0.0/16 dev elsewhere &&
             ip addr del 10.8.0.1/32 dev elsewhere && ip addr del fd08::1/128 dev elsewhere &&
             ip link set elsewhere down && ip link del elsewhere",
        );
        // new things on our link, and a route that leads elsewhere
        sh(
            "ip addr add 10.5.0.1/32 dev weir0 && ip link set weir0 mtu 1400 &&
             ip route add 10.7.0.0/16 dev weir0 && ip route del 10.7.0.0/16 dev weir0",
        );
        nothing_else(&mut kernel).await;
    });
}

#[test]
fn a_link_that_goes_or_goes_down_takes_everything() {
    in_new_netns(|| async {
        let mut kernel = set_up().await;
        let acts = [
            "ip link set weir0 down",
            "ip link del weir0",
            "ip link set weir0 down && ip link set weir0 name other",
        ];
        for act in acts {
            sh(act);
            assert_eq!(told(&mut kernel).await, Scope::All, "{act}");
            sh("ip link del weir0 2>/dev/null || ip link del other 2>/dev/null || true");
            // a link that was only down is told of once more when it goes
            let more = timeout(Duration::from_millis(100), kernel.disturbed()).await;
            assert!(matches!(more, Ok(Scope::All) | Err(_)), "{more:?}");
            bind_all(&mut kernel).await;
            nothing_else(&mut kernel).await;
        }
    });
}

#[test]
fn the_anchor_takes_everything() {
    in_new_netns(|| async {
        let mut kernel = set_up().await;
        sh("ip addr del 127.119.0.1/32 dev weir0");
        assert_eq!(told(&mut kernel).await, Scope::All);
        nothing_else(&mut kernel).await;
    });
}

#[test]
fn a_link_made_after_the_agent_began_is_heard_of() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        sh(
            "ip link add weir0 type dummy && ip link set weir0 up && ip addr add 10.9.0.1/32 dev weir0",
        );
        assert!(timeout(Duration::ZERO, kernel.disturbed()).await.is_err());
        sh("ip addr del 10.9.0.1/32 dev weir0");
        assert_eq!(told(&mut kernel).await, units(&["10.9.0.1"]));
    });
}
