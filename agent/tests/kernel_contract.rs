//! The contract on the real kernel. Needs root, ip_vs, dummy links, ipset and a rule engine: it fails without.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "kernel_codec/netns.rs"]
mod netns;

use netns::in_new_netns;
use weir_agent::kernel::contract;
use weir_agent::kernel::linux::{Linux, loopback::Wanted};
use weir_agent::kernel::{Kernel as _, StepError};
use weir_agent::plan::{Key, Object, Step};
use weir_proto::model::Family;

#[tokio::test]
async fn the_real_kernel_keeps_the_contract() {
    let (mut kernel, capabilities) = Linux::open(Vec::new()).await;
    let missing: Vec<_> = capabilities
        .iter()
        .filter(|capability| !capability.available && !capability.optional)
        .collect();
    assert!(missing.is_empty(), "this kernel lacks {missing:?}");
    let passed = contract::run(&mut kernel).await;
    assert_eq!(passed.len(), 32, "{passed:?}");
}

#[test]
fn the_real_kernel_keeps_the_contract_of_the_loopback_sets() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open_with(Vec::new(), Wanted::Ipset).await;
        let passed = contract::loopback::run(&mut kernel).await;
        assert_eq!(passed.len(), 6, "{passed:?}");
    });
}

#[test]
fn nftables_keeps_the_contract_or_is_refused_with_its_reason() {
    in_new_netns(|| async {
        let (mut kernel, capabilities) = Linux::open_with(Vec::new(), Wanted::Nftables).await;
        let loopback = capabilities.iter().find(|found| found.name == "loopback");
        let loopback = loopback.expect("the capability loopback");
        if loopback.available {
            let passed = contract::loopback::run(&mut kernel).await;
            assert_eq!(passed.len(), 6, "{passed:?}");
            return;
        }
        // User-Mode Linux has nf_tables for bridges alone
        let steps = [Key::LoopbackSet, Key::LoopbackRule].map(|key| Step::Add {
            key: key(Family::V4),
            object: Object::Present,
        });
        for verdict in kernel.apply(&steps).await {
            let Err(StepError::Refused(problem)) = verdict else {
                panic!("{verdict:?}");
            };
            let why = problem.cause;
            assert!(
                why.starts_with("--loopback=nftables was asked for"),
                "{why}"
            );
            assert!(why.ends_with("--loopback=ipset would work"), "{why}");
        }
    });
}
