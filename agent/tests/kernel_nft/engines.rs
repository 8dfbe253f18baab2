//! Both engines of the loopback sets on this machine's own kernel, each test in a network namespace of its own.

use std::net::IpAddr;
use std::time::Duration;

use weir_agent::kernel::linux::{Linux, loopback::Wanted};
use weir_agent::kernel::{Kernel as _, contract};
use weir_agent::plan::{Key, Object, Scope, Step, Table, Unit};
use weir_proto::model::{Family, ItemKey, LoopbackEntry, Port, Protocol};

use crate::netns::{in_new_netns, sh};

pub(crate) const BASE: [Key; 4] = [
    Key::LoopbackSet(Family::V4),
    Key::LoopbackSet(Family::V6),
    Key::LoopbackRule(Family::V4),
    Key::LoopbackRule(Family::V6),
];

pub(crate) async fn open(wanted: Wanted) -> Linux {
    let (kernel, capabilities) = Linux::open_with(Vec::new(), wanted).await;
    let loopback = capabilities.iter().find(|found| found.name == "loopback");
    let loopback = loopback.expect("the capability loopback");
    assert!(loopback.available, "{}", loopback.detail);
    kernel
}

pub(crate) fn entry(number: u16) -> Key {
    let [high, low] = number.to_be_bytes();
    let address: IpAddr = [10, 7, high, low].into();
    Key::Item(ItemKey::LoopbackEntry(LoopbackEntry {
        address,
        protocol: Protocol::Tcp,
        port: Port::new(8080).unwrap(),
        source: address,
    }))
}

pub(crate) fn entries(numbers: std::ops::Range<u16>) -> Vec<Key> {
    numbers.map(entry).collect()
}

pub(crate) async fn add(kernel: &mut Linux, keys: &[Key]) {
    let object = Object::Present;
    let steps: Vec<Step> = keys
        .iter()
        .map(|key| Step::Add {
            key: *key,
            object: object.clone(),
        })
        .collect();
    must(kernel, &steps).await;
}

pub(crate) async fn remove(kernel: &mut Linux, keys: &[Key]) {
    let steps: Vec<Step> = keys.iter().map(|key| Step::Remove { key: *key }).collect();
    must(kernel, &steps).await;
}

pub(crate) async fn must(kernel: &mut Linux, steps: &[Step]) {
    for (step, verdict) in steps.iter().zip(kernel.apply(steps).await) {
        assert_eq!(verdict, Ok(()), "{step:?}");
    }
}

/// Reads the sets, the rules and which of these entries are there.
pub(crate) async fn read(kernel: &mut Linux, keys: &[Key]) -> Table {
    let units = keys.iter().map(|key| key.unit()).chain([Unit::Base]);
    let mut table = kernel.read(&Scope::Units(units.collect())).await.unwrap();
    table.retain(|key, _| !matches!(key, Key::Setting(_) | Key::Link));
    table
}

#[test]
fn ipset_keeps_the_contract() {
    in_new_netns(|| async {
        let passed = contract::loopback::run(&mut open(Wanted::Ipset).await).await;
        assert_eq!(passed.len(), 6, "{passed:?}");
        assert_eq!(sh("ipset list -n"), "");
        assert_eq!(sh("nft list tables"), "");
    });
}

#[test]
fn nftables_keeps_the_contract_without_a_set_of_ipset() {
    in_new_netns(|| async {
        let mut kernel = open(Wanted::Nftables).await;
        let passed = contract::loopback::run(&mut kernel).await;
        assert_eq!(passed.len(), 6, "{passed:?}");
        assert_eq!(sh("nft list tables"), "");
        add(&mut kernel, &BASE).await;
        assert_eq!(sh("ipset list -n"), "");
    });
}

#[test]
fn nft_shows_a_table_of_ours_as_an_operator_would_write_it() {
    in_new_netns(|| async {
        let mut kernel = open(Wanted::Nftables).await;
        add(&mut kernel, &BASE).await;
        add(&mut kernel, &[entry(1)]).await;
        assert_eq!(sh("nft list tables"), "table inet weir\n");
        let shown = sh("nft list table inet weir");
        for part in [
            "comment \"weir: loopback backends\"",
            "type ipv4_addr . inet_proto . inet_service . ipv4_addr",
            "type ipv6_addr . inet_proto . inet_service . ipv6_addr",
            "elements = { 10.7.0.1 . tcp . 8080 . 10.7.0.1 }",
            "type nat hook postrouting priority srcnat; policy accept;",
            "ip daddr . meta l4proto . th dport . ip saddr @loopback4 counter packets 0 bytes 0 \
             masquerade fully-random comment \"weir: loopback backends\"",
            "ip6 daddr . meta l4proto . th dport . ip6 saddr @loopback6 counter packets 0 bytes 0 \
             masquerade fully-random comment \"weir: loopback backends\"",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
    });
}

#[test]
fn a_lot_of_entries_is_one_transaction() {
    in_new_netns(|| async {
        let mut kernel = open(Wanted::Nftables).await;
        add(&mut kernel, &BASE).await;
        let before = kernel.loopback_counts()[1];
        add(&mut kernel, &entries(0..50_000)).await;
        let after = kernel.loopback_counts()[1];
        // whose the table is, and fifty messages of a thousand in one send
        assert_eq!(after.sends - before.sends, 2);
        assert_eq!(after.messages - before.messages, 51);
        let found = read(&mut kernel, &entries(0..50_000)).await;
        assert_eq!(found.len(), 50_004);
    });
}

#[test]
fn a_changed_set_is_listed_until_two_listings_agree_and_then_once() {
    in_new_netns(|| async {
        let mut kernel = open(Wanted::Nftables).await;
        add(&mut kernel, &BASE).await;
        let some = entries(0..5_000);
        let mut dumps = Vec::new();
        add(&mut kernel, &some).await;
        for _ in 0..2 {
            let before = kernel.loopback_counts()[1].dumps;
            assert_eq!(read(&mut kernel, &some).await.len(), 5_004);
            dumps.push(kernel.loopback_counts()[1].dumps - before);
        }
        // the set of IPv4, and the rules of both families
        assert_eq!(dumps, [4, 3]);
    });
}

#[test]
fn what_is_refused_of_a_lot_is_named_and_the_rest_happens() {
    in_new_netns(|| async {
        let mut kernel = open(Wanted::Nftables).await;
        // ours by its comment, with room for ten
        sh(
            "nft 'add table inet weir { comment \"weir: loopback backends\"; }' && \
            nft 'add set inet weir loopback4 { type ipv4_addr . inet_proto . inet_service . ipv4_addr; size 10; }'",
        );
        let steps: Vec<Step> = entries(0..25)
            .into_iter()
            .map(|key| Step::Add {
                key,
                object: Object::Present,
            })
            .collect();
        let verdicts = kernel.apply(&steps).await;
        let taken = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
        assert_eq!(taken, 10, "{verdicts:?}");
        let found = read(&mut kernel, &entries(0..25)).await;
        for (step, verdict) in steps.iter().zip(&verdicts) {
            assert_eq!(found.contains_key(&step.key()), verdict.is_ok(), "{step:?}");
        }
        // what is not there goes with the rest
        remove(&mut kernel, &entries(0..25)).await;
        let left = read(&mut kernel, &entries(0..25)).await;
        assert_eq!(left.len(), 1, "{left:?}");
    });
}

#[test]
fn a_table_of_somebody_elses_is_neither_used_nor_touched() {
    in_new_netns(|| async {
        sh("nft 'table inet weir { set loopback4 { type ipv4_addr; }; chain mine { counter; }; }'");
        sh("nft 'table inet other { chain mine { counter; }; }'");
        let before = sh("nft list ruleset");
        let mut kernel = open(Wanted::Nftables).await;
        let steps = [
            Key::LoopbackSet(Family::V4),
            Key::LoopbackRule(Family::V4),
            entry(1),
        ]
        .map(|key| Step::Add {
            key,
            object: Object::Present,
        });
        let verdicts = kernel.apply(&steps).await;
        assert!(verdicts.iter().all(Result::is_err), "{verdicts:?}");
        let text = format!("{:?}", verdicts[0]);
        assert!(text.contains("somebody else's"), "{text}");
        let removed = kernel
            .apply(&[Step::Remove {
                key: Key::LoopbackSet(Family::V4),
            }])
            .await;
        assert!(removed[0].is_err(), "{removed:?}");
        assert_eq!(read(&mut kernel, &[entry(1)]).await, Table::new());
        assert_eq!(sh("nft list ruleset"), before);
    });
}

#[test]
fn what_somebody_put_into_our_table_stays() {
    in_new_netns(|| async {
        let mut kernel = open(Wanted::Nftables).await;
        add(&mut kernel, &BASE).await;
        sh("nft add chain inet weir mine && nft add rule inet weir mine counter");
        sh("nft add rule inet weir postrouting counter comment theirs");
        remove(&mut kernel, &BASE.into_iter().rev().collect::<Vec<_>>()).await;
        let shown = sh("nft list ruleset");
        assert!(
            shown.contains("chain mine") && shown.contains("theirs"),
            "{shown}"
        );
        assert!(
            !shown.contains("masquerade") && !shown.contains("set loopback"),
            "{shown}"
        );
    });
}

#[test]
fn no_table_stays_of_a_rule_that_somebody_flushed() {
    for (wanted, tables) in [
        (Wanted::Ipset, &["ip weir", "ip6 weir"][..]),
        (Wanted::Nftables, &["inet weir"]),
    ] {
        in_new_netns(move || async move {
            let mut kernel = open(wanted).await;
            add(&mut kernel, &BASE).await;
            for table in tables {
                sh(&format!("nft flush table {table}"));
            }
            let left = read(&mut kernel, &[]).await;
            let sets = [Key::LoopbackSet(Family::V6), Key::LoopbackSet(Family::V4)];
            let mut found: Vec<Key> = left.into_keys().rev().collect();
            found.retain(|key| matches!(key, Key::LoopbackSet(_) | Key::LoopbackRule(_)));
            assert_eq!(found, sets, "the rules are gone");
            remove(&mut kernel, &sets).await;
            assert_eq!(sh("nft list tables"), "");
        });
    }
}

#[test]
fn a_set_of_another_shape_is_replaced_under_its_rule() {
    in_new_netns(|| async {
        let mut kernel = open(Wanted::Nftables).await;
        sh(
            "nft 'add table inet weir { comment \"weir: loopback backends\"; }' && \
            nft 'add set inet weir loopback4 { type ipv4_addr . inet_proto . inet_service . ipv4_addr; timeout 1h; }'",
        );
        add(&mut kernel, &[Key::LoopbackRule(Family::V4), entry(1)]).await;
        let found = read(&mut kernel, &[entry(1)]).await;
        let set = Key::LoopbackSet(Family::V4);
        assert!(matches!(&found[&set], Object::Value(_)), "{found:?}");
        must(
            &mut kernel,
            &[Step::Edit {
                key: set,
                object: Object::Present,
            }],
        )
        .await;
        let whole = [set, Key::LoopbackRule(Family::V4), entry(1)];
        let whole: Table = whole.map(|key| (key, Object::Present)).into();
        assert_eq!(read(&mut kernel, &[entry(1)]).await, whole);
        assert!(!sh("nft list ruleset").contains("timeout"));
    });
}

#[test]
fn nftables_masquerades_exactly_what_is_an_entry() {
    in_new_netns(|| async {
        let (_named, client, backend) = crate::route("n");
        let mut kernel = open(Wanted::Nftables).await;
        add(&mut kernel, &BASE).await;
        let near = |address: [u8; 4], source: [u8; 4], port| {
            Key::Item(ItemKey::LoopbackEntry(LoopbackEntry {
                address: address.into(),
                protocol: Protocol::Tcp,
                port: Port::new(port).unwrap(),
                source: source.into(),
            }))
        };
        let keys = [
            near([10, 2, 0, 2], [10, 1, 0, 2], 8080),
            near([10, 2, 0, 2], [10, 1, 0, 3], 8081),
            near([10, 2, 0, 3], [10, 1, 0, 2], 8081),
        ];
        add(&mut kernel, &keys).await;
        let eighty = crate::listen(&backend, "10.2.0.2:8080");
        let other = crate::listen(&backend, "10.2.0.2:8081");
        crate::connect(&client, "10.2.0.2:8080");
        crate::connect(&client, "10.2.0.2:8081");
        let wait = Duration::from_secs(10);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(
            eighty.recv_timeout(wait).unwrap().ip(),
            ip("10.2.0.1"),
            "masqueraded"
        );
        assert_eq!(
            other.recv_timeout(wait).unwrap().ip(),
            ip("10.1.0.2"),
            "left alone"
        );
        let shown = sh("nft list chain inet weir postrouting");
        assert!(
            shown.contains("@loopback4 counter packets 1 bytes 60"),
            "{shown}"
        );
    });
}
