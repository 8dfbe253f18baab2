//! VIPs on a real kernel with a neighbour: who answers ARP, whose address is whose, and what it takes. Needs root and
//! dummy links; each test is a node in a network namespace of its own.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../kernel_codec/netns.rs"]
mod netns;

mod arp;
mod counts;
mod node;
mod tunnels;

use std::collections::BTreeSet;
use std::net::IpAddr;

use weir_agent::kernel::linux::Linux;
use weir_agent::kernel::{Kernel, StepError, Verdict};
use weir_agent::plan::{Key, Object, Scope, Setting, Step, Table, Unit, VipSpec};
use weir_proto::model::{ItemKey, VipBinding};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn vip(text: &str) -> Key {
    Key::Item(ItemKey::Vip(ip(text)))
}

fn bound(binding: VipBinding, silent: bool) -> Object {
    Object::Vip(VipSpec { binding, silent })
}

fn as_address() -> Object {
    bound(VipBinding::Address, false)
}

fn as_route() -> Object {
    bound(VipBinding::Route, false)
}

fn silent() -> Object {
    bound(VipBinding::Address, true)
}

fn add(key: Key, object: Object) -> Step {
    Step::Add { key, object }
}

fn edit(key: Key, object: Object) -> Step {
    Step::Edit { key, object }
}

fn set(setting: Setting, value: &str) -> Step {
    edit(Key::Setting(setting), Object::Value(value.to_owned()))
}

/// Opens the kernel of this namespace and makes the link.
async fn with_link(needed: Vec<IpAddr>) -> Linux {
    let (mut kernel, _) = Linux::open(needed).await;
    must(&mut kernel, &[add(Key::Link, Object::Present)]).await;
    kernel
}

async fn must(kernel: &mut Linux, steps: &[Step]) {
    for (step, verdict) in steps.iter().zip(kernel.apply(steps).await) {
        assert_eq!(verdict, Ok(()), "{step:?}");
    }
}

/// Reads all VIPs.
async fn vips(kernel: &mut Linux) -> Table {
    let mut table = kernel.read(&Scope::All).await.unwrap();
    table.retain(|key, _| matches!(key, Key::Item(ItemKey::Vip(_))));
    table
}

/// Reads one VIP by itself.
async fn one(kernel: &mut Linux, address: &str) -> Table {
    let units: BTreeSet<Unit> = [Unit::Vip(ip(address))].into();
    kernel.read(&Scope::Units(units)).await.unwrap()
}

fn cause(verdict: &Verdict) -> (i32, &str) {
    match verdict {
        Err(StepError::Refused(problem)) => (problem.errno, &problem.cause),
        other => panic!("not a refusal: {other:?}"),
    }
}
