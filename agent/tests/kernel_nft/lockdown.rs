//! Lockdowns in nf_tables alone: what nft makes of the rules, and what becomes of another engine's.

use weir_agent::kernel::Kernel as _;
use weir_agent::kernel::linux::Linux;
use weir_agent::plan::{Key, Object, Scope, Step, Unit};
use weir_proto::model::Family;

use crate::netns::{in_new_netns, sh};

async fn base(kernel: &mut Linux) -> Option<Object> {
    let scope = Scope::Units([Unit::Base].into());
    let table = kernel.read(&scope).await.unwrap();
    table.get(&Key::Lockdown(Family::V4)).cloned()
}

#[test]
fn what_an_agent_left_in_the_other_engine_goes_when_it_is_replaced() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        sh("ipset create WEIR-OPEN hash:ip,port");
        let step = || Step::Edit {
            key: Key::Lockdown(Family::V4),
            object: Object::Present,
        };
        let both = Object::Value("in another engine".to_owned());
        // first there is something in its place
        for _ in 0..2 {
            assert_eq!(base(&mut kernel).await, Some(both.clone()));
            assert_eq!(sh("ipset list -n"), "WEIR-OPEN\n");
            assert_eq!(kernel.apply(&[step()]).await, [Ok(())]);
        }
        assert_eq!(sh("ipset list -n"), "");
        let whole = base(&mut kernel).await;
        assert_eq!(whole, Some(Object::Present));
    });
}

#[test]
fn nft_reads_the_rules_as_they_are_meant() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        for family in Family::ALL {
            let step = Step::Add {
                key: Key::Lockdown(family),
                object: Object::Present,
            };
            assert_eq!(kernel.apply(&[step]).await, [Ok(())]);
        }
        let said = |line: &str| {
            let listing = sh(&format!("nft -s list chain inet {line}"));
            let rules = listing
                .lines()
                .filter_map(|line| line.trim().split_once(" comment "));
            rules.map(|(rule, _)| rule.to_owned()).collect::<Vec<_>>()
        };
        assert!(sh("nft -s list chain inet weir-lockdown input").contains("hook input"));
        let four = [
            "meta nfproto != ipv4 accept",
            "tcp flags != syn / fin,syn,rst,ack accept",
            "ct state established,related accept",
            "@nh,128,32 . meta l4proto . th dport @open accept",
            "icmp type echo-request accept",
            "icmp type destination-unreachable accept",
            "icmp type time-exceeded accept",
            "icmp type parameter-problem accept",
            "@nh,128,32 . meta l4proto . th dport @guarded jump ranges",
            "@nh,128,32 . meta l4proto . th dport @guarded meta l4proto tcp counter reject with tcp reset",
            "@nh,128,32 . meta l4proto . th dport @guarded counter reject",
            "@nh,128,32 @locked meta l4proto tcp counter reject with tcp reset",
            "@nh,128,32 @locked counter reject",
        ];
        assert_eq!(said("weir-lockdown input"), four);
        let six = said("weir-lockdown-6 input");
        assert_eq!(six[0], "meta nfproto != ipv6 accept");
        let six_alone = [
            "icmpv6 type echo-request accept",
            "icmpv6 type destination-unreachable accept",
            "icmpv6 type packet-too-big accept",
            "icmpv6 type time-exceeded accept",
            "icmpv6 type parameter-problem accept",
            "icmpv6 type nd-neighbor-solicit accept",
            "icmpv6 type nd-neighbor-advert accept",
            "@nh,192,128 . meta l4proto . th dport @guarded jump ranges",
        ];
        assert_eq!(six[4..12], six_alone);
        let ranges = said("weir-lockdown ranges");
        assert_eq!(ranges.len(), 32);
        // bits 96 to 127 of the header: the source
        let masked = ranges[8].contains("@nh,96,32 & 0xffffff00 .");
        assert!(masked, "{}", ranges[8]);
        assert_eq!(said("weir-lockdown-6 ranges").len(), 128);
    });
}
