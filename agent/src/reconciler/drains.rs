//! What the reconciler does for what is drained: counts its connections, lets it go, and makes conntrack forget it.

use std::collections::BTreeSet;
use std::mem;

use tracing::{debug, info, warn};
use weir_proto::model::{BackendKey, Frontend, ItemKey, Protocol};

use super::Reconciler;
use crate::clock::now_unix_ms;
use crate::kernel::{Kernel, Verdict};
use crate::plan::{Key, Over, Plan, Step, Table, backends_of};

impl<K: Kernel> Reconciler<K> {
    /// Counts the connections of what is drained, and lets go what has none.
    pub(super) async fn count(&mut self) {
        let of = self.drains.counted(&self.held.state);
        match self.kernel.connections(&of).await {
            Ok(counts) => {
                let over = self.drains.count(&counts, &self.held.state, now_unix_ms());
                self.end(over);
            }
            Err(error) => warn!(
                error = &error as &dyn std::error::Error,
                "the connections of what is drained are not known"
            ),
        }
        self.tell_drains();
    }

    /// Takes note of drains that are over: what they held goes with the next pass.
    pub(super) fn end(&mut self, over: Vec<Over>) {
        let mut units = BTreeSet::new();
        for Over { id, cut } in over {
            info!(drain = %id.key, cut, "drained");
            self.ended.push(id);
            match id.key {
                ItemKey::Backend(backend) => {
                    let key = Key::Item(id.key);
                    self.expected.insert(key);
                    units.insert(key.unit());
                    if cut {
                        self.cut.insert(backend);
                    }
                }
                _ => {
                    let vips = self.held.state.items().keys();
                    let vips = vips.filter(|key| matches!(key, ItemKey::Vip(_)));
                    let vips: Vec<Key> = vips.map(|key| Key::Item(*key)).collect();
                    units.extend(vips.iter().map(|key| key.unit()));
                    self.expected.extend(vips);
                }
            }
        }
        if !units.is_empty() {
            self.add_due(units);
        }
    }

    pub(super) fn tell_drains(&self) {
        let drains = self.drains.progress();
        self.progress.send_if_modified(|told| {
            let news = *told != drains;
            *told = drains;
            news
        });
    }

    /// Makes conntrack forget the flows of backends that are out of IPVS and are not to wait for them.
    pub(super) async fn forget_cut(&mut self) {
        // one that could not be taken out yet waits
        let (of, waits) = mem::take(&mut self.cut).into_iter().partition(|key| {
            !self
                .problems
                .contains_key(&Key::Item(ItemKey::Backend(*key)))
        });
        self.cut = waits;
        let still = |key: &BackendKey| {
            let item = self.held.state.get(&ItemKey::Backend(*key));
            item.is_some() && !self.drains.is_drained(key)
        };
        let of: BTreeSet<BackendKey> = of;
        // one that is back meanwhile has use for its flows
        let of: BTreeSet<BackendKey> = of.into_iter().filter(|key| !still(key)).collect();
        if of.is_empty() {
            return;
        }
        match self.kernel.forget_flows(&of).await {
            Ok(flows) => {
                debug!(backends = of.len(), flows, "conntrack forgot");
                self.cut_again = false;
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "conntrack still knows flows of backends that are gone"
                );
                // once more with the next pass, and then IPVS lets go of such a flow by itself, at its next packet
                self.cut_again = !self.cut_again;
                if self.cut_again {
                    self.cut.extend(of);
                }
            }
        }
    }

    /// Notes the backends of UDP that are out of IPVS now: there is nothing to wait for, and a client that goes on sending
    /// would be sent to them for as long as conntrack remembers it.
    pub(super) fn note_cut(&mut self, plan: &Plan, verdicts: &[Verdict], actual: &Table) {
        let udp = |frontend: Frontend| {
            let listener = frontend.listener();
            listener.is_some_and(|listener| listener.protocol == Protocol::Udp)
        };
        for key in removed(plan, verdicts) {
            match key {
                Key::Item(ItemKey::Backend(backend)) if udp(backend.frontend) => {
                    self.cut.insert(backend);
                }
                Key::Item(ItemKey::VirtualService(frontend)) if udp(frontend) => {
                    let of = backends_of(frontend);
                    let of = actual.range(Key::Item(*of.start())..=Key::Item(*of.end()));
                    self.cut.extend(of.filter_map(|(key, _)| match key {
                        Key::Item(ItemKey::Backend(backend)) => Some(*backend),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
    }
}

/// Gives what the steps of a plan took out of the kernel.
fn removed(plan: &Plan, verdicts: &[Verdict]) -> impl Iterator<Item = Key> {
    let steps = plan.steps.iter().zip(verdicts);
    steps.filter_map(|(step, verdict)| match (step, verdict) {
        (Step::Remove { key }, Ok(())) => Some(*key),
        _ => None,
    })
}
