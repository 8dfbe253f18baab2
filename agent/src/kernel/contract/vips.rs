//! How VIPs are bound.

use std::net::Ipv6Addr;

use super::*;

fn as_route() -> Object {
    Object::Vip(VipSpec {
        binding: VipBinding::Route,
        silent: false,
    })
}

fn silent() -> Object {
    Object::Vip(VipSpec {
        binding: VipBinding::Address,
        silent: true,
    })
}

/// Reads a VIP by itself and among all: both must say the same.
async fn how_bound<K: Kernel>(kernel: &mut K, vip: Key) -> Option<Object> {
    let alone = read(kernel, &Scope::Units([vip.unit()].into())).await;
    let all = objects(kernel).await;
    assert_eq!(alone.get(&vip), all.get(&vip), "{vip}");
    assert!(alone.keys().all(|key| *key == vip), "{alone:?}");
    alone.get(&vip).cloned()
}

pub(super) async fn a_vip_turns_from_an_address_into_a_route_and_back<K: Kernel>(kernel: &mut K) {
    must(kernel, &[add(Key::Link, Object::Present)]).await;
    for net in &NETS {
        let (vip, other) = (net.vip(), Key::Item(ItemKey::Vip(address(net.other_vip))));
        // the other stays as it is, whatever happens beside it
        must(kernel, &[add(vip, as_route()), add(other, as_route())]).await;
        assert_eq!(how_bound(kernel, vip).await, Some(as_route()));
        for object in [bound(), as_route(), bound(), as_route()] {
            must(kernel, &[edit(vip, object.clone())]).await;
            assert_eq!(how_bound(kernel, vip).await, Some(object));
            assert_eq!(how_bound(kernel, other).await, Some(as_route()));
        }
        must(kernel, &[edit(vip, bound()), Step::Remove { key: vip }]).await;
        assert_eq!(how_bound(kernel, vip).await, None);
        assert_eq!(how_bound(kernel, other).await, Some(as_route()));
        let verdicts = kernel.apply(&[add(other, as_route())]).await;
        assert_eq!(errno(&verdicts[0]), 17, "EEXIST");
        must(kernel, &[Step::Remove { key: other }]).await;
        assert_eq!(how_bound(kernel, other).await, None);
    }
    // a route goes with the link as an address does
    must(kernel, &[add(NETS[0].vip(), as_route())]).await;
    must(kernel, &[Step::Remove { key: Key::Link }]).await;
    assert_eq!(objects(kernel).await, Table::new());
}

pub(super) async fn a_vip_becomes_silent_and_answers_again<K: Kernel>(kernel: &mut K) {
    let vip = NETS[0].vip();
    must(
        kernel,
        &[add(Key::Link, Object::Present), add(vip, silent())],
    )
    .await;
    assert_eq!(how_bound(kernel, vip).await, Some(silent()));
    for object in [bound(), silent(), as_route(), silent(), bound()] {
        must(kernel, &[edit(vip, object.clone())]).await;
        assert_eq!(how_bound(kernel, vip).await, Some(object));
    }
}

pub(super) async fn a_vip_that_is_not_bound_is_neither_edited_nor_removed<K: Kernel>(
    kernel: &mut K,
) {
    must(kernel, &[add(Key::Link, Object::Present)]).await;
    for net in &NETS {
        let vip = net.vip();
        let steps = [
            edit(vip, bound()),
            edit(vip, as_route()),
            Step::Remove { key: vip },
        ];
        for verdict in kernel.apply(&steps).await {
            let error = verdict.expect_err("a refusal");
            assert!(error.says_absent(), "{error:?}");
        }
        assert_eq!(how_bound(kernel, vip).await, None);
    }
}

pub(super) async fn many_vips_at_once_are_all_there<K: Kernel>(kernel: &mut K) {
    let mut wanted = Table::from([(Key::Link, Object::Present)]);
    for low in 0..700u16 {
        let [high, low] = low.to_be_bytes();
        let v6 = Ipv6Addr::new(
            0xfd00,
            0x102,
            0,
            0,
            0,
            0,
            0,
            u16::from_be_bytes([high, low]) + 1,
        );
        for address in [IpAddr::from([10, 102, high, low]), v6.into()] {
            wanted.insert(Key::Item(ItemKey::Vip(address)), as_route());
        }
    }
    wanted.insert(NETS[0].vip(), bound());
    wanted.insert(NETS[1].vip(), bound());
    put_up(kernel, &wanted).await;
    assert_eq!(objects(kernel).await, wanted);
    // each is there only once, however many are asked for at a time
    let vips: Vec<Key> = wanted
        .keys()
        .copied()
        .filter(|key| *key != Key::Link)
        .collect();
    let steps: Vec<Step> = vips.iter().map(|vip| add(*vip, bound())).collect();
    for verdict in kernel.apply(&steps).await {
        assert_eq!(errno(&verdict), 17, "EEXIST");
    }
    let units: BTreeSet<Unit> = vips.iter().map(|vip| vip.unit()).step_by(40).collect();
    let few = Scope::Units(units);
    let within = wanted.iter().filter(|(key, _)| few.has(**key));
    let within: Table = within.map(|(key, object)| (*key, object.clone())).collect();
    assert_eq!(read(kernel, &few).await, within);
    // and all turn into addresses but a few, which go
    let (gone, kept) = vips.split_at(600);
    let mut steps: Vec<Step> = kept.iter().map(|vip| edit(*vip, bound())).collect();
    steps.extend(gone.iter().map(|vip| Step::Remove { key: *vip }));
    must(kernel, &steps).await;
    let mut wanted: Table = kept.iter().map(|vip| (*vip, bound())).collect();
    wanted.insert(Key::Link, Object::Present);
    assert_eq!(objects(kernel).await, wanted);
}
