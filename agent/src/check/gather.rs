//! Looks at everything a check is told of: `/proc`, the kernel, the disk, certificates, and the controller if one is named.

mod call;
mod machine;

use weir_proto::model::{Frontend, ItemKey};
use weir_proto::trace::chain;

use super::facts::{Facts, ForwardChain};
use crate::clock::now_unix_ms;
use crate::config::CheckArgs;
use crate::kernel::Kernel as _;
use crate::kernel::linux::Linux;
use crate::kernel::linux::chains::forward_chains;
use crate::plan::{Key, Scope};

/// The bit of `CAP_NET_ADMIN` in `include/uapi/linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;

/// Looks at everything. What cannot be looked at is left out.
pub(super) async fn gather(args: &CheckArgs) -> Facts {
    let effective = machine::effective();
    let may = effective.is_some_and(|bits| bits >> CAP_NET_ADMIN & 1 == 1);
    // before anything is tried: what is read here is not changed by it
    let mut facts = machine::facts(args);
    facts.effective = effective;
    if may {
        kernel(args, &mut facts).await;
    }
    let call::Judged {
        credentials,
        called,
    } = call::controller(args).await;
    Facts {
        credentials,
        controller: called,
        now_unix_ms: now_unix_ms(),
        ..facts
    }
}

/// Tries what the agent tries at its start, and reads what is there.
async fn kernel(args: &CheckArgs, facts: &mut Facts) {
    let before = machine::modules();
    let (mut kernel, capabilities) = Linux::open_with(Vec::new(), args.loopback.wanted()).await;
    facts.loaded = machine::modules().difference(&before).cloned().collect();
    facts.capabilities = Some(capabilities);
    match kernel.read(&Scope::All).await {
        Ok(table) => {
            let frontends = table.keys().filter_map(|key| match key {
                Key::Item(ItemKey::VirtualService(Frontend::Address(listener))) => Some(*listener),
                _ => None,
            });
            facts.frontends = Some(frontends.collect());
            facts.has_link = table.contains_key(&Key::Link);
        }
        Err(error) => tracing::debug!(error = chain(&error), "the kernel cannot be read"),
    }
    // modules of sets and rules were loaded by now, if there are any
    let chains = forward_chains().await;
    facts.forwarding = chains.ok().map(|chains| {
        let chains = chains.into_iter().map(|chain| ForwardChain {
            name: chain.name,
            drops: chain.drops,
            rules: chain.rules,
        });
        chains.chain(machine::legacy_chains()).collect()
    });
}
