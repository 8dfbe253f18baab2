//! What runs through backends and what goes from the link of the VIPs, on a real kernel. Needs root, ip_vs, conntrack and
//! dummy links; each test is a node in a network namespace of its own.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../kernel_codec/netns.rs"]
mod netns;

mod notices;
mod traffic;

use std::net::{IpAddr, SocketAddr};

use weir_agent::kernel::Kernel;
use weir_agent::kernel::linux::Linux;
use weir_agent::plan::{Key, Object, Step};
use weir_proto::model::{BackendKey, Endpoint, Frontend, ItemKey, Listener, Port, Protocol};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn vip(text: &str) -> Key {
    Key::Item(ItemKey::Vip(ip(text)))
}

fn frontend(protocol: Protocol, address: SocketAddr) -> Frontend {
    Frontend::Address(Listener {
        address: address.ip(),
        port: Port::new(address.port().into()).unwrap(),
        protocol,
    })
}

fn backend(frontend: Frontend, address: SocketAddr) -> BackendKey {
    let endpoint = Endpoint {
        address: address.ip(),
        port: Port::new(address.port().into()).unwrap(),
    };
    BackendKey { frontend, endpoint }
}

fn add(key: Key, object: Object) -> Step {
    Step::Add { key, object }
}

async fn must(kernel: &mut Linux, steps: &[Step]) {
    for (step, verdict) in steps.iter().zip(kernel.apply(steps).await) {
        assert_eq!(verdict, Ok(()), "{step:?}");
    }
}
