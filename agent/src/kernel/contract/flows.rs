//! What runs through backends.

use crate::plan::{
    Connections, Counted, CountedService, Counters, Passed, VipStates, Visit, Visits,
};

use super::*;
use crate::kernel::{KernelError, Meter};

fn of(key: Key) -> BackendKey {
    match key {
        Key::Item(ItemKey::Backend(backend)) => backend,
        other => panic!("{other} is no backend"),
    }
}

fn shown<T>(read: Result<T, KernelError>) -> T {
    read.unwrap_or_else(|error| panic!("{error}: {}", error.source))
}

pub(super) async fn a_service_that_is_not_there_has_no_connections<K: Kernel>(kernel: &mut K) {
    let net = &NETS[0];
    let absent = net.frontend(Protocol::Tcp);
    let none = kernel.connections(&[absent].into()).await;
    assert_eq!(shown(none), BTreeMap::new());
    must(
        kernel,
        &[
            add(net.service(Protocol::Udp), scheduled("rr", 0)),
            add(net.backend(0, Protocol::Udp), weighing(1)),
        ],
    )
    .await;
    let none = kernel.connections(&[absent].into()).await;
    assert_eq!(shown(none), BTreeMap::new(), "of another service");
    let none = kernel.connections(&BTreeSet::new()).await;
    assert_eq!(shown(none), BTreeMap::new(), "of no service");
}

pub(super) async fn backends_without_connections_are_counted_all_the_same<K: Kernel>(
    kernel: &mut K,
) {
    for net in &NETS {
        let (tcp, udp) = (net.frontend(Protocol::Tcp), net.frontend(Protocol::Udp));
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            must(kernel, &[add(net.service(protocol), scheduled("rr", 0))]).await;
            for place in 0..2 {
                must(kernel, &[add(net.backend(place, protocol), weighing(1))]).await;
            }
        }
        let none = |protocol, place| {
            let backend = of(net.backend(place, protocol));
            (backend, Connections::default())
        };
        let found = kernel.connections(&[tcp].into()).await;
        let of_tcp = [none(Protocol::Tcp, 0), none(Protocol::Tcp, 1)];
        assert_eq!(shown(found), of_tcp.into());
        let found = kernel.connections(&[tcp, udp].into()).await;
        let of_udp = [none(Protocol::Udp, 0), none(Protocol::Udp, 1)];
        assert_eq!(shown(found), of_tcp.into_iter().chain(of_udp).collect());
    }
}

pub(super) async fn there_is_nothing_to_forget_without_flows<K: Kernel>(kernel: &mut K) {
    assert_eq!(kernel.forget_flows(&BTreeSet::new()).await.ok(), Some(0));
    let backends = NETS.iter().flat_map(|net| {
        let of_protocol = |protocol| of(net.backend(0, protocol));
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].map(of_protocol)
    });
    let backends: BTreeSet<BackendKey> = backends.collect();
    assert_eq!(kernel.forget_flows(&backends).await.ok(), Some(0));
    let number = std::num::NonZeroU32::MIN;
    let family = Family::V4;
    let mark = BackendKey {
        frontend: Frontend::Mark(Mark { number, family }),
        endpoint: of(NETS[0].backend(0, Protocol::Udp)).endpoint,
    };
    assert_eq!(kernel.forget_flows(&[mark].into()).await.ok(), Some(0));
}

pub(super) async fn a_meter_shows_every_service_once_and_then_what_changes<K: Kernel>(
    kernel: &mut K,
) {
    let mut meter = kernel.meter();
    let first = shown(meter.counters().await);
    assert_eq!(first, Counted::new(), "there is nothing");
    let net = &NETS[0];
    let (tcp, udp) = (net.frontend(Protocol::Tcp), net.frontend(Protocol::Udp));
    let idle = |place, protocol| {
        let backend = of(net.backend(place, protocol));
        let counters = Counters {
            forwarding: Some(Forwarding::Masquerade),
            ..Counters::default()
        };
        (backend.endpoint, counters)
    };
    must(
        kernel,
        &[
            add(net.service(Protocol::Tcp), scheduled("rr", 0)),
            add(net.backend(0, Protocol::Tcp), weighing(1)),
            add(net.backend(1, Protocol::Tcp), weighing(1)),
            add(net.service(Protocol::Udp), scheduled("rr", 0)),
        ],
    )
    .await;
    let with = |backends| {
        Some(CountedService {
            passed: Passed::default(),
            backends,
        })
    };
    let two = [idle(0, Protocol::Tcp), idle(1, Protocol::Tcp)];
    let all: Counted = [(tcp, with(two.into())), (udp, with(BTreeMap::new()))].into();
    assert_eq!(shown(meter.counters().await), all, "both are new");
    assert_eq!(shown(meter.counters().await), Counted::new(), "nothing ran");
    let mut other = kernel.meter();
    assert_eq!(shown(other.counters().await), all, "to another it is new");
    let key = net.service(Protocol::Udp);
    must(kernel, &[Step::Remove { key }]).await;
    let gone = Counted::from([(udp, None)]);
    assert_eq!(shown(meter.counters().await), gone);
    assert_eq!(shown(meter.counters().await), Counted::new());
    must(kernel, &[add(key, scheduled("rr", 0))]).await;
    let back = Counted::from([(udp, with(BTreeMap::new()))]);
    assert_eq!(shown(meter.counters().await), back, "made anew");
}

pub(super) async fn connection_tracking_tells_how_full_it_is<K: Kernel>(kernel: &mut K) {
    let mut meter = kernel.meter();
    let conntrack = shown(meter.conntrack().await).unwrap_or_else(|| panic!("there is none"));
    let room = conntrack.entries < conntrack.max_entries;
    assert!(room, "{conntrack:?}");
    let lost = [
        conntrack.dropped,
        conntrack.insert_failed,
        conntrack.early_dropped,
    ];
    assert_eq!(lost, [0; 3], "nothing was ever lost");
}

pub(super) async fn vips_without_connections_have_none_in_any_state<K: Kernel>(kernel: &mut K) {
    let mut meter = kernel.meter();
    let of = |vips: &[&str]| vips.iter().map(|vip| address(vip)).collect();
    for vips in [
        of(&[]),
        of(&[NETS[0].vip]),
        of(&[NETS[0].vip, NETS[0].other_vip, NETS[1].vip]),
    ] {
        let found = shown(meter.vip_connections(&vips).await);
        assert_eq!(found, VipStates::new(), "{vips:?}");
    }
}

pub(super) async fn a_client_that_has_not_come_has_no_connections<K: Kernel>(kernel: &mut K) {
    for net in &NETS {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            for client in [Some(address(net.other_vip)), None] {
                let visit = Visit {
                    frontend: net.frontend(protocol),
                    client,
                };
                let found = shown(kernel.visits(&visit).await);
                assert_eq!(found, Visits::default(), "{visit:?}");
            }
        }
    }
}
