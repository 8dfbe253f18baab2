//! What a node does not hold as wanted, in terms of the items it was given.

use std::collections::BTreeMap;

use weir_proto::model::{Family, Item, ItemFailure, ItemKey};
use weir_proto::state::NodeState;

use super::wanted::unwrapping;
use super::{Guard, Key, Setting, guards};

/// Why the kernel does not hold an object as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The kernel's error number; 0: it was not the kernel that refused.
    pub errno: i32,
    /// One sentence for people.
    pub cause: String,
    /// The field at fault; empty: the object as a whole.
    pub field: String,
}

impl Problem {
    /// Says that the object as a whole is at fault.
    pub fn new(errno: i32, cause: String) -> Self {
        Self {
            errno,
            cause,
            field: String::new(),
        }
    }
}

/// The failures to tell the controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of keys, as many as were asked for.
    pub failures: Vec<ItemFailure>,
    /// How many there are.
    pub count: u64,
}

/// The longest cause: a sentence or two. What a program printed can be any length, and a thousand of them must fit a
/// message.
const LONGEST_CAUSE: usize = 300;

/// Cuts a text to so many characters.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Gives the failed items. A problem of a base object is one of every item that cannot work without it.
pub fn report(problems: &BTreeMap<Key, Problem>, state: &NodeState, most: usize) -> Report {
    let mut failed: BTreeMap<ItemKey, ItemFailure> = BTreeMap::new();
    for (key, problem) in problems {
        let Problem {
            errno,
            cause,
            field,
        } = problem;
        let failure = |item: ItemKey, cause: String| ItemFailure {
            key: item,
            errno: *errno,
            cause: shortened(&cause, LONGEST_CAUSE),
            field: field.clone(),
        };
        if let Key::Item(item) = key {
            let item = held_as(*item, state);
            failed.insert(item, failure(item, cause.clone()));
            continue;
        }
        let cause = format!("{key}: {cause}");
        if let Key::Guard(guard) = key {
            // where there is no lockdown at all, what that has to say is enough
            let base = Key::Lockdown(guard.family());
            if !problems.contains_key(&base) && is_missed(*guard, state) {
                let item = guard.item();
                failed.entry(item).or_insert_with(|| failure(item, cause));
            }
            continue;
        }
        let items = state.items().iter().filter(|(_, item)| needs(item, *key));
        for (item, _) in items {
            let cause = cause.clone();
            failed.entry(*item).or_insert_with(|| failure(*item, cause));
        }
    }
    Report {
        count: failed.len() as u64,
        failures: failed.into_values().take(most).collect(),
    }
}

/// Gives the item that an object of the kernel stands for: an address that was given as a silent VIP alone is known to the
/// controller as that.
fn held_as(item: ItemKey, state: &NodeState) -> ItemKey {
    match item {
        ItemKey::Vip(address) if state.get(&item).is_none() => {
            let silent = ItemKey::SilentVip(address);
            state.get(&silent).map_or(item, |_| silent)
        }
        _ => item,
    }
}

/// Says whether a guard's not being as wanted lets in what should be rejected, or the other way round. An opening for
/// everybody does nothing where the VIP is not locked.
fn is_missed(guard: Guard, state: &NodeState) -> bool {
    let vip = match guard {
        Guard::Opening(listener, None) => ItemKey::Vip(listener.address),
        Guard::Opening(_, Some(_)) | Guard::Port(_) | Guard::Vip(_) => return true,
    };
    matches!(state.get(&vip), Some(Item::Vip(vip)) if vip.lockdown)
}

/// Says whether an item cannot work as asked without a base object.
fn needs(item: &Item, base: Key) -> bool {
    if let Key::Lockdown(family) = base {
        let mut guards = guards(item).into_iter();
        return guards.any(|guard| guard.matters_by_itself() && guard.family() == family);
    }
    match (base, item.key()) {
        (Key::Setting(setting), ItemKey::VirtualService(frontend)) => {
            let serves = Setting::SERVING.contains(&setting);
            serves
                && setting
                    .family()
                    .is_none_or(|family| family == frontend.family())
        }
        (Key::Setting(Setting::ArpIgnore | Setting::ArpAnnounce), ItemKey::StrictArp) => true,
        (Key::Setting(Setting::ArpIgnore | Setting::ArpAnnounce), ItemKey::SilentVip(address)) => {
            address.is_ipv4()
        }
        (
            Key::Setting(Setting::TimeoutTcp | Setting::TimeoutTcpFin | Setting::TimeoutUdp),
            ItemKey::ConnectionTimeouts,
        ) => true,
        (Key::Setting(setting), ItemKey::TunnelEnd(end)) => unwrapping(end).contains(&setting),
        (Key::Link, ItemKey::Vip(_) | ItemKey::SilentVip(_)) => true,
        (Key::LoopbackSet(family) | Key::LoopbackRule(family), ItemKey::LoopbackEntry(entry)) => {
            family == Family::of(entry.address)
        }
        _ => false,
    }
}
