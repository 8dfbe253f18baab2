//! What the kernel counts, read from the real one: what a look costs in questions, and totals over what makes counters begin anew.
//! Needs root, ip_vs, conntrack and ipvsadm; each test is a node in a network namespace of its own.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "kernel_codec/netns.rs"]
mod netns;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use weir_agent::kernel::linux::Linux;
use weir_agent::kernel::linux::meter::LinuxMeter;
use weir_agent::kernel::{Kernel, Meter};
use weir_agent::plan::{
    BackendSpec, Counted, Key, Ledger, Look, Numbers, Object, SavedTotals, ServiceSpec, Step,
    Table, plan,
};
use weir_proto::model::{
    BackendKey, Endpoint, Forwarding, Frontend, ItemKey, Listener, Port, Protocol,
};

use netns::{in_new_netns, sh};

const BACKENDS: u16 = 10;

fn frontend(service: u16) -> Frontend {
    let [high, low] = service.to_be_bytes();
    Frontend::Address(Listener {
        address: Ipv4Addr::new(10, 100, high, low).into(),
        port: Port::new(53).unwrap(),
        protocol: Protocol::Udp,
    })
}

fn service(service: u16) -> (Key, Object) {
    let spec = ServiceSpec {
        scheduler: "rr".to_owned(),
        ..ServiceSpec::default()
    };
    let key = Key::Item(ItemKey::VirtualService(frontend(service)));
    (key, Object::Service(spec))
}

fn backend(service: u16, number: u16) -> (Key, Object) {
    let key = Key::Item(ItemKey::Backend(BackendKey {
        frontend: frontend(service),
        endpoint: Endpoint {
            address: Ipv4Addr::new(10, 0, 0, 1).into(),
            port: Port::new((8000 + number).into()).unwrap(),
        },
    }));
    let spec = BackendSpec {
        weight: 1,
        forwarding: Some(Forwarding::Masquerade),
        ..BackendSpec::default()
    };
    (key, Object::Backend(spec))
}

fn table(services: u16) -> Table {
    let each = (0..services).flat_map(|number| {
        let backends = (0..BACKENDS).map(move |place| backend(number, place));
        std::iter::once(service(number)).chain(backends)
    });
    each.collect()
}

async fn must(kernel: &mut Linux, steps: &[Step]) {
    for (step, verdict) in steps.iter().zip(kernel.apply(steps).await) {
        assert_eq!(verdict, Ok(()), "{step:?}");
    }
}

async fn look(meter: &mut LinuxMeter, numbers: &mut Numbers) -> Counted {
    let counted = meter.counters().await.unwrap();
    numbers.look(Look {
        counted: Some(counted.clone()),
        conntrack: Some(meter.conntrack().await.unwrap()),
        ..Look::default()
    });
    counted
}

/// What of requests and dumps was said to IPVS, and to connection tracking.
fn said(meter: &LinuxMeter) -> [[u64; 2]; 2] {
    meter.counts().map(|counts| [counts.messages, counts.dumps])
}

#[test]
fn a_look_at_a_table_through_which_nothing_passes_is_one_dump_of_services_however_many() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        let steps = plan(&Table::new(), &table(1_000), &Ledger::default()).steps;
        must(&mut kernel, &steps).await;
        let (mut meter, mut numbers) = (LinuxMeter::default(), Numbers::default());
        let first = look(&mut meter, &mut numbers).await;
        assert_eq!(first.len(), 1_000);
        // the number of the family, the services, and the backends of each; how full connection tracking is, and what it lost
        assert_eq!(said(&meter), [[1_002, 1_001], [2, 1]]);
        for looks in 1..=3 {
            assert_eq!(look(&mut meter, &mut numbers).await, Counted::new());
            let expected = [[1_002 + looks, 1_001 + looks], [2 + 2 * looks, 1 + looks]];
            assert_eq!(said(&meter), expected);
        }
    });
}

#[test]
fn totals_go_on_when_somebody_zeroes_counters_or_makes_a_service_anew() {
    in_new_netns(|| async {
        sh("ip route add local 10.0.0.0/8 dev lo && ip addr add 10.9.9.9/32 dev lo");
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        let put_up = plan(&Table::new(), &table(1), &Ledger::default()).steps;
        must(&mut kernel, &put_up).await;
        let (mut meter, mut numbers) = (LinuxMeter::default(), Numbers::default());
        let send = |clients: u16| {
            let vip: IpAddr = frontend(0).vip().unwrap();
            for _ in 0..clients {
                let socket = UdpSocket::bind("10.9.9.9:0").unwrap();
                // that nobody listens behind it may show already
                let _ = socket.send_to(b"?", (vip, 53));
            }
        };
        let total = |numbers: &Numbers| {
            let totals: Vec<_> = numbers.totals.passed().collect();
            let [(_, total)] = totals[..] else {
                panic!("{totals:?}");
            };
            [total.passed().connections, total.passed().packets_in]
        };
        look(&mut meter, &mut numbers).await;
        send(5);
        look(&mut meter, &mut numbers).await;
        assert_eq!(total(&numbers), [5, 5]);
        sh("ipvsadm -Z");
        look(&mut meter, &mut numbers).await;
        assert_eq!(total(&numbers), [5, 5]);
        send(2);
        look(&mut meter, &mut numbers).await;
        assert_eq!(total(&numbers), [7, 7]);
        let (key, _) = service(0);
        must(&mut kernel, &[Step::Remove { key }]).await;
        look(&mut meter, &mut numbers).await;
        assert_eq!(numbers.totals.passed().count(), 0);
        must(&mut kernel, &put_up).await;
        send(3);
        look(&mut meter, &mut numbers).await;
        assert_eq!(total(&numbers), [10, 10]);

        // an agent that starts again, and one that does so when somebody has zeroed them
        let again = |numbers: &mut Numbers| {
            let change = numbers.unsaved(true);
            let passed = change.passed;
            let saved = SavedTotals {
                passed,
                ..SavedTotals::default()
            };
            (LinuxMeter::default(), Numbers::new(saved, false))
        };
        (meter, numbers) = again(&mut numbers);
        send(1);
        look(&mut meter, &mut numbers).await;
        assert_eq!(total(&numbers), [11, 11]);
        assert_eq!(numbers.tell(9).increments, [], "nothing is told twice");
        (meter, numbers) = again(&mut numbers);
        sh("ipvsadm -Z");
        send(1);
        look(&mut meter, &mut numbers).await;
        assert_eq!(total(&numbers), [12, 12]);
    });
}
