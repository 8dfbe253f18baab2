//! The tables that are loaded, for each of the ways to load them.

use std::fmt;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use weir_agent::plan::{BackendSpec, Key, Object, ServiceSpec, Table, VipSpec};
use weir_proto::model::{
    BackendKey, Endpoint, Family, Forwarding, Frontend, ItemKey, Listener, LoopbackEntry, Port,
    Protocol, VipBinding,
};

pub(crate) const SCHEDULER: &str = "rr";
const VIP_PORT: u16 = 80;
const BACKEND_PORT: u16 = 8080;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) services: usize,
    /// Of each service.
    pub(crate) backends: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.services, self.backends)
    }
}

fn address(net: u8, number: usize) -> IpAddr {
    let [_, high, middle, low] = u32::try_from(number).unwrap_or_default().to_be_bytes();
    // never .0 or .255 of anything: host addresses, all of them
    Ipv4Addr::new(
        net,
        high << 4 | middle >> 4,
        (middle & 15) << 4 | low >> 4,
        low & 15 | 16,
    )
    .into()
}

pub(crate) fn vip(service: usize) -> SocketAddr {
    SocketAddr::new(address(10, service), VIP_PORT)
}

pub(crate) fn backend(backend: usize) -> SocketAddr {
    SocketAddr::new(address(11, backend), BACKEND_PORT)
}

fn port(number: u16) -> Port {
    Port::new(number.into()).unwrap_or_else(|why| panic!("{why}"))
}

pub(crate) fn frontend(service: usize) -> Frontend {
    Frontend::Address(Listener {
        address: vip(service).ip(),
        port: port(VIP_PORT),
        protocol: Protocol::Tcp,
    })
}

pub(crate) fn backend_key(service: usize, number: usize) -> Key {
    Key::Item(ItemKey::Backend(BackendKey {
        frontend: frontend(service),
        endpoint: Endpoint {
            address: backend(number).ip(),
            port: port(BACKEND_PORT),
        },
    }))
}

pub(crate) fn weighing(weight: u32) -> Object {
    Object::Backend(BackendSpec {
        weight,
        forwarding: Some(Forwarding::Masquerade),
        ..BackendSpec::default()
    })
}

/// The table as a plan wants it.
pub(crate) fn wanted(size: Size) -> Table {
    let mut table = Table::new();
    for service in 0..size.services {
        let spec = ServiceSpec {
            scheduler: SCHEDULER.to_owned(),
            ..ServiceSpec::default()
        };
        let key = Key::Item(ItemKey::VirtualService(frontend(service)));
        table.insert(key, Object::Service(spec));
        for number in 0..size.backends {
            table.insert(backend_key(service, number), weighing(1));
        }
    }
    table
}

fn loopback_entry(number: usize) -> LoopbackEntry {
    let backend = backend(number).ip();
    LoopbackEntry {
        address: backend,
        protocol: Protocol::Tcp,
        port: port(BACKEND_PORT),
        source: backend,
    }
}

/// The IPv4 loopback set with so many entries.
pub(crate) fn loopback(entries: usize) -> Table {
    let numbers = 0..entries;
    let keys = numbers.map(|number| Key::Item(ItemKey::LoopbackEntry(loopback_entry(number))));
    let set = [Key::LoopbackSet(Family::V4)];
    set.into_iter()
        .chain(keys)
        .map(|key| (key, Object::Present))
        .collect()
}

/// The same as `ipset restore` reads it.
pub(crate) fn as_ipset(entries: usize) -> String {
    let mut text = "create bench hash:ip,port,ip\n".to_owned();
    for number in 0..entries {
        let ip = backend(number).ip();
        let _ = writeln!(text, "add bench {ip},tcp:{BACKEND_PORT},{ip}");
    }
    text
}

/// The link with so many VIPs.
pub(crate) fn vips(vips: usize) -> Table {
    let as_route = VipSpec {
        binding: VipBinding::Route,
        silent: false,
    };
    let keys = (0..vips).map(|number| Key::Item(ItemKey::Vip(vip(number).ip())));
    let vips = keys.map(|key| (key, Object::Vip(as_route)));
    [(Key::Link, Object::Present)]
        .into_iter()
        .chain(vips)
        .collect()
}

/// The table as `ipvsadm -R` reads it.
pub(crate) fn as_ipvsadm(size: Size) -> String {
    let mut text = String::new();
    for service in 0..size.services {
        let vip = vip(service);
        // writing to a String cannot fail
        let _ = writeln!(text, "-A -t {vip} -s {SCHEDULER}");
        for number in 0..size.backends {
            let _ = writeln!(text, "-a -t {vip} -r {} -m -w 1", backend(number));
        }
    }
    text
}

/// The arguments by which ipvsadm adds a backend that is not in any table.
pub(crate) fn one_more(run: usize) -> Vec<String> {
    let to = backend(100_000 + run).to_string();
    let words = ["-a", "-t", &vip(0).to_string(), "-r", &to, "-m", "-w", "1"];
    words.map(str::to_owned).to_vec()
}
