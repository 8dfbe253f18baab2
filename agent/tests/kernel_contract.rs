//! The contract on the real kernel. Needs root, ip_vs, dummy links, ipset and a rule engine: it fails without.

use weir_agent::kernel::contract;
use weir_agent::kernel::linux::Linux;

#[tokio::test]
async fn the_real_kernel_keeps_the_contract() {
    let (mut kernel, capabilities) = Linux::open(Vec::new()).await;
    let missing: Vec<_> = capabilities
        .iter()
        .filter(|capability| !capability.available && !capability.optional)
        .collect();
    assert!(missing.is_empty(), "this kernel lacks {missing:?}");
    let passed = contract::run(&mut kernel).await;
    assert_eq!(passed.len(), 13, "{passed:?}");
}
