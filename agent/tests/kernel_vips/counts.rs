//! What VIPs cost, in what is said to the kernel.

use weir_agent::kernel::linux::Linux;
use weir_agent::kernel::linux::netlink::Counts;
use weir_agent::plan::{Step, Table};

use crate::netns::{in_new_netns, sh};
use crate::{add, as_address, as_route, edit, must, one, vip, vips, with_link};

fn many() -> Vec<Step> {
    let address = |low: u16| {
        let [high, low] = low.to_be_bytes();
        vip(&format!("10.9.{high}.{low}"))
    };
    (0..2000).map(|low| add(address(low), as_route())).collect()
}

fn since(before: Counts, now: Counts) -> Counts {
    Counts {
        messages: now.messages - before.messages,
        sends: now.sends - before.sends,
        receives: now.receives - before.receives,
        dumps: now.dumps - before.dumps,
    }
}

/// Reads one VIP, binds it, changes and removes it, and gives what was said at each.
async fn one_change(kernel: &mut Linux) -> Vec<Counts> {
    let address = "10.10.0.1";
    let key = vip(address);
    let mut said = Vec::new();
    let mut before = kernel.vip_counts();
    assert_eq!(one(kernel, address).await, Table::new());
    let steps = [
        add(key, as_route()),
        edit(key, as_address()),
        edit(key, as_route()),
        Step::Remove { key },
    ];
    for step in steps {
        must(kernel, &[step]).await;
        let now = kernel.vip_counts();
        said.push(since(before, now));
        before = now;
    }
    said
}

#[test]
fn many_vips_go_out_together_and_are_read_at_once() {
    in_new_netns(|| async {
        sh(
            "ip link add out type dummy && ip link set out up && ip addr add 10.0.0.5/24 dev out &&
            ip route add default via 10.0.0.1",
        );
        let mut kernel = with_link(Vec::new()).await;
        let steps = many();
        let before = kernel.vip_counts();
        must(&mut kernel, &steps).await;
        let said = since(before, kernel.vip_counts());
        // where packets end, where they leave, and from what address
        assert_eq!(said.dumps, 3);
        // 512 at most come together, of at most 1,024 that a send takes
        let sends = said.sends - said.dumps;
        assert!((2..=4).contains(&sends), "{said:?}");
        // those that keep IPv4 on the link come on top
        let extra = said.messages - said.dumps - steps.len() as u64;
        assert!((1..=4).contains(&extra), "{said:?}");

        let before = kernel.vip_counts();
        assert_eq!(vips(&mut kernel).await.len(), steps.len());
        let said = since(before, kernel.vip_counts());
        assert_eq!(
            (said.dumps, said.messages),
            (4, 4),
            "addresses and routes of each family"
        );

        let remove = |step: &Step| Step::Remove { key: step.key() };
        let removals: Vec<Step> = steps.iter().map(remove).collect();
        let before = kernel.vip_counts();
        must(&mut kernel, &removals).await;
        let said = since(before, kernel.vip_counts());
        // how they are bound, one request for each, and one for what kept IPv4 on the link
        assert_eq!((said.dumps, said.messages), (1, 2 + steps.len() as u64));
        assert!(said.sends <= 2 + 4, "{said:?}");
        assert_eq!(vips(&mut kernel).await, Table::new());
    });
}

#[test]
fn a_vip_among_many_costs_what_it_costs_alone() {
    in_new_netns(|| async {
        sh(
            "ip link add out type dummy && ip link set out up && ip addr add 10.0.0.5/24 dev out &&
            ip route add default via 10.0.0.1",
        );
        let mut kernel = with_link(Vec::new()).await;
        let alone = one_change(&mut kernel).await;
        must(&mut kernel, &many()).await;
        // from here on nothing is known beforehand, as at the beginning
        assert_eq!(vips(&mut kernel).await.len(), many().len());
        let among = one_change(&mut kernel).await;
        for (among, alone) in among.iter().zip(&alone) {
            let asked = |said: &Counts| (said.messages, said.sends, said.dumps);
            assert_eq!(asked(among), asked(alone));
            // a dump's end may come with its data or by itself
            assert!(among.receives <= alone.receives + 2, "{among:?} {alone:?}");
        }
        // where packets leave and from what address is looked at once, and not again before everything is read
        let again = one_change(&mut kernel).await;
        let dumps = |said: &[Counts]| said.iter().map(|said| said.dumps).collect::<Vec<u64>>();
        assert_eq!(
            (dumps(&alone), dumps(&again)),
            (vec![2, 0, 0, 0], vec![0; 4])
        );
        let messages: Vec<u64> = alone.iter().map(|said| said.messages).collect();
        // look-up to read, look-up to judge, two dumps, anchor, route; look-up, address away, address, route away;
        // look-up, anchor, route, address away; both away
        assert_eq!(messages, [6, 4, 4, 2], "{alone:?}");
    });
}
