//! What the agent knows, as it goes over the wire.

use std::collections::BTreeMap;

use weir_proto::convert::{failure_to_wire, item_to_wire};
use weir_proto::model::{Frontend, Item, ItemKey};
use weir_proto::wire;
use weir_proto::wire::agent_event::Kind;

use super::recent::{Happened, What};
use crate::plan::{Key, Ledger};
use crate::reconciler::Standing;
use crate::shown;

/// So many things go in one message: a hundred bytes each, save for those that failed with many words.
pub(super) const IN_ONE: usize = 1_000;

/// Tells what is served and how it stands.
pub(super) fn items(standing: &Standing, failed_only: bool) -> Vec<wire::AgentItem> {
    let failures = standing.report.failures.iter();
    let failures: BTreeMap<ItemKey, wire::ItemFailure> =
        failures.map(|it| (it.key, failure_to_wire(it))).collect();
    let items = standing.held.state.items().iter();
    let told = items.filter_map(|(key, item)| {
        let failure = failures.get(key).cloned();
        if failed_only && failure.is_none() {
            return None;
        }
        // in the kernel a silent VIP is a VIP
        let of = Key::Item(match key {
            ItemKey::SilentVip(address) => ItemKey::Vip(*address),
            key => *key,
        });
        Some(wire::AgentItem {
            item: Some(item_to_wire(item)),
            object: of.to_string(),
            kind: of.kind().to_owned(),
            failure,
        })
    });
    told.collect()
}

/// Tells what the kernel holds, of these kinds; none: of all.
pub(super) fn objects(
    standing: &Standing,
    asked: &wire::AgentKernelRequest,
) -> Vec<wire::AgentObject> {
    let wire::AgentKernelRequest {
        kinds,
        foreign_only,
    } = asked;
    let Standing {
        held,
        ledger,
        kernel,
        report: _,
    } = standing;
    let wanted = |key: &Key| kinds.is_empty() || kinds.iter().any(|kind| kind == key.kind());
    let table = kernel.iter().filter(|(key, _)| wanted(key));
    let told = table.filter_map(|(key, object)| {
        let foreign = is_foreign(*key, ledger);
        if *foreign_only && !foreign {
            return None;
        }
        let service = |frontend: Frontend| match held.state.get(&ItemKey::VirtualService(frontend))
        {
            Some(Item::VirtualService(service)) => service.service.to_string(),
            _ => String::new(),
        };
        let service = match key {
            // what stands in its place is nobody's that we know
            _ if foreign => String::new(),
            Key::Item(ItemKey::VirtualService(frontend)) => service(*frontend),
            Key::Item(ItemKey::Backend(backend)) => service(backend.frontend),
            _ => String::new(),
        };
        Some(wire::AgentObject {
            object: Some(shown::object(*key, object)),
            foreign,
            service,
        })
    });
    told.collect()
}

/// Says whether an object is somebody else's. Nobody owns a setting.
fn is_foreign(key: Key, ledger: &Ledger) -> bool {
    !matches!(key, Key::Setting(_)) && !ledger.owns(key)
}

/// Tells what is ours.
pub(super) fn ledger(ledger: &Ledger) -> Vec<wire::AgentLedger> {
    let owned = ledger.made().map(|key| wire::AgentOwned {
        object: key.to_string(),
        kind: key.kind().to_owned(),
    });
    let settings = ledger
        .settings()
        .map(|(setting, before)| wire::AgentSetting {
            object: setting.to_string(),
            before: before.to_owned(),
        });
    let mut messages: Vec<wire::AgentLedger> = parts(owned.collect())
        .map(|objects| wire::AgentLedger {
            objects,
            released: ledger.is_released(),
            ..wire::AgentLedger::default()
        })
        .collect();
    messages[0].settings = settings.collect();
    messages
}

/// Tells something that happened.
pub(super) fn event(happened: &Happened) -> wire::AgentEvent {
    let kind = match happened.what {
        What::Connected => Kind::Connected,
        What::Disconnected => Kind::Disconnected,
        What::Rejected => Kind::Rejected,
        What::Held => Kind::Held,
        What::Released => Kind::Released,
        What::Degraded => Kind::Degraded,
        What::Mended => Kind::Mended,
        What::Repaired => Kind::Repaired,
        What::Failed => Kind::Failed,
        What::Recovered => Kind::Recovered,
    };
    wire::AgentEvent {
        sequence: happened.sequence,
        at_unix_ms: happened.at_unix_ms,
        kind: kind.into(),
        object: happened.object.clone(),
        detail: happened.detail.clone(),
    }
}

/// Parts things into messages; the first is there even if nothing is.
pub(super) fn parts<T>(all: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut all = all.into_iter();
    let first: Vec<T> = all.by_ref().take(IN_ONE).collect();
    let rest = std::iter::from_fn(move || {
        let some: Vec<T> = all.by_ref().take(IN_ONE).collect();
        (!some.is_empty()).then_some(some)
    });
    std::iter::once(first).chain(rest)
}
