//! Plan and codec alone, without a kernel: times, and what they allocate. `integration/run bench micro`.
//!
//! Each at 10, 1,000 and 10,000 services with ten backends each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use weir_agent::kernel::linux::ipvs::{
    Command, Dest, DestStatus, Family, Forward, Proto, Service, ServiceKey,
};
use weir_agent::kernel::linux::netlink::{Batch, Messages};
use weir_agent::plan::{BackendSpec, Key, Ledger, LedgerChange, Object, ServiceSpec, Table, plan};
use weir_proto::model::{
    BackendKey, Endpoint, Forwarding, Frontend, ItemKey, Listener, Port, Protocol,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const SERVICES: [usize; 3] = [10, 1_000, 10_000];
const BACKENDS: usize = 10;
/// Any number does for a family: the kernel gives each its own.
const FAMILY: u16 = 32;
/// `IPVS_CMD_ATTR_DEST` (`include/uapi/linux/ip_vs.h`).
const ATTR_DEST: u16 = 2;
/// Length of the `genlmsghdr`.
const GENL_HEADER: usize = 4;
/// About what the kernel room sends at once.
const SEND: usize = 64 * 1024;

fn main() {
    divan::main();
}

/// An empty kernel is taken to a table.
#[divan::bench(args = SERVICES)]
fn plan_of_a_cold_load(bencher: Bencher<'_, '_>, services: usize) {
    let wanted = table(services);
    let ledger = Ledger::default();
    bencher
        .counter(ItemsCount::new(wanted.len()))
        .bench_local(|| plan(&Table::new(), black_box(&wanted), &ledger));
}

/// A whole table is as it should be.
#[divan::bench(args = SERVICES)]
fn plan_of_an_audit(bencher: Bencher<'_, '_>, services: usize) {
    let wanted = table(services);
    let actual = wanted.clone();
    let ledger = owning(&wanted);
    bencher
        .counter(ItemsCount::new(wanted.len()))
        .bench_local(|| plan(black_box(&actual), black_box(&wanted), &ledger));
}

/// A table is written as requests, 64 KiB after 64 KiB into the same memory.
#[divan::bench(args = SERVICES)]
fn encode(bencher: Bencher<'_, '_>, services: usize) {
    let dests: Vec<Dest> = (0..BACKENDS).map(dest).collect();
    let services: Vec<Service> = (0..services).map(service).collect();
    bencher
        .counter(ItemsCount::new(services.len() * (1 + BACKENDS)))
        .bench_local(|| {
            let mut batch = Batch::default();
            for service in &services {
                Command::NewService(service).write(FAMILY, &mut batch);
                for dest in &dests {
                    Command::NewDest(&service.key, dest).write(FAMILY, &mut batch);
                }
                if batch.as_bytes().len() > SEND {
                    black_box(batch.as_bytes());
                    batch.clear();
                }
            }
            batch
        });
}

/// The backends of a table are read as the kernel shows them, counters left out.
#[divan::bench(args = SERVICES)]
fn decode(bencher: Bencher<'_, '_>, services: usize) {
    let mut batch = Batch::default();
    let key = service(0).key;
    for number in 0..BACKENDS {
        Command::NewDest(&key, &dest(number)).write(FAMILY, &mut batch);
    }
    bencher
        .counter(ItemsCount::new(services * BACKENDS))
        .bench_local(|| {
            let mut read = 0;
            for _ in 0..services {
                for message in Messages::new(black_box(batch.as_bytes())).flatten() {
                    let attrs = message.attrs(GENL_HEADER).get(ATTR_DEST);
                    let dest = attrs.map(|attr| DestStatus::decode(attr.attrs(), Family::Inet));
                    read += usize::from(matches!(dest, Some(Ok(_))));
                }
            }
            assert_eq!(read, services * BACKENDS);
        });
}

fn address(net: u8, number: usize) -> IpAddr {
    let [_, high, middle, low] = u32::try_from(number).unwrap_or_default().to_be_bytes();
    Ipv4Addr::new(net, high, middle, low).into()
}

fn port() -> Port {
    Port::new(80).unwrap_or_else(|why| panic!("{why}"))
}

fn service(number: usize) -> Service {
    let key = ServiceKey::Address {
        proto: Proto::TCP,
        address: address(10, number),
        port: 80,
    };
    Service::new(key, "rr")
}

fn dest(number: usize) -> Dest {
    Dest::new(SocketAddr::new(address(11, number), 80), Forward::Masq, 1)
}

fn table(services: usize) -> Table {
    let mut table = Table::new();
    for service in 0..services {
        let frontend = Frontend::Address(Listener {
            address: address(10, service),
            port: port(),
            protocol: Protocol::Tcp,
        });
        let spec = ServiceSpec {
            scheduler: "rr".to_owned(),
            ..ServiceSpec::default()
        };
        let key = Key::Item(ItemKey::VirtualService(frontend));
        table.insert(key, Object::Service(spec));
        for number in 0..BACKENDS {
            let endpoint = Endpoint {
                address: address(11, number),
                port: port(),
            };
            let key = Key::Item(ItemKey::Backend(BackendKey { frontend, endpoint }));
            let spec = BackendSpec {
                weight: 1,
                forwarding: Some(Forwarding::Masquerade),
                ..BackendSpec::default()
            };
            table.insert(key, Object::Backend(spec));
        }
    }
    table
}

/// A ledger that has every service of a table.
fn owning(table: &Table) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.apply(&LedgerChange {
        made: table
            .keys()
            .filter(|key| key.container().is_none())
            .copied()
            .collect(),
        ..LedgerChange::default()
    });
    ledger
}
