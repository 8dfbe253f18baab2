//! Says of facts what is fine, what is not, and what to do. PURE.

mod machine;
mod network;
mod storage;
mod trust;

use weir_proto::checkup::Finding;

use super::facts::Facts;
pub(super) use network::PROGRAMS;

/// Judges everything, group by group.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let groups = [
        machine::kernel(facts),
        machine::capabilities(facts),
        network::sysctls(facts),
        network::conntrack(facts),
        storage::journal(&facts.journal),
        trust::certificates(facts),
        trust::clock(facts),
        trust::controller(facts),
        network::ports(facts),
        network::others(facts),
        network::forwarding(facts),
    ];
    groups.into_iter().flatten().collect()
}
