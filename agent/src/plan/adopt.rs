//! What of a kernel becomes ours because an operator says so: what is wanted and somebody else made.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_proto::model::ItemKey;

use super::{Key, Ledger, Object, Table};

/// What becomes ours, and what does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adoption {
    /// Objects that are ours from now on.
    pub taken: BTreeSet<Key>,
    /// Wanted objects that live in one of them.
    pub within: BTreeSet<Key>,
    /// Objects that live in one of them and are not wanted: they will go.
    pub surplus: BTreeSet<Key>,
    /// What is wanted and not there.
    pub absent: BTreeSet<Key>,
    /// What is there and does not become ours; why not.
    pub left: BTreeMap<Key, String>,
}

/// Says of everything somebody else made whether it becomes ours: what is wanted does, save for what could not be edited
/// to what is wanted, and for VIPs that are not on `weir0`. The addresses of other links, which `elsewhere` has, are how
/// the node itself is reached: to own one is to take it away some day. Both tables must be whole.
pub fn adopt(
    actual: &Table,
    wanted: &Table,
    ledger: &Ledger,
    elsewhere: &BTreeSet<IpAddr>,
) -> Adoption {
    let mut adoption = Adoption::default();
    // in the order of keys: what others need comes before them
    for (key, object) in actual {
        if matches!(key, Key::Setting(_)) {
            continue;
        }
        match key.container() {
            Some(container) if adoption.taken.contains(&container) => {
                let is_wanted = wanted.contains_key(key);
                let into = match is_wanted {
                    true => &mut adoption.within,
                    false => &mut adoption.surplus,
                };
                into.insert(*key);
            }
            Some(_) => {}
            None if ledger.owns(*key) => {}
            None if !wanted.contains_key(key) => {
                adoption.left.insert(*key, "it is not wanted".to_owned());
            }
            None => match obstacle(*key, object, &adoption.taken, ledger) {
                Some(why) => {
                    adoption.left.insert(*key, why);
                }
                None => {
                    adoption.taken.insert(*key);
                }
            },
        }
    }
    for key in wanted.keys() {
        if matches!(key, Key::Setting(_)) || actual.contains_key(key) {
            continue;
        }
        match key {
            Key::Item(ItemKey::Vip(address)) if elsewhere.contains(address) => {
                let why = "it is on another link than weir0".to_owned();
                adoption.left.insert(*key, why);
            }
            _ => {
                adoption.absent.insert(*key);
            }
        }
    }
    adoption
}

/// Says why an object that is wanted and there cannot become ours.
fn obstacle(key: Key, object: &Object, taken: &BTreeSet<Key>, ledger: &Ledger) -> Option<String> {
    let under = match key {
        // a rule of ours over somebody else's set would masquerade what he put there
        Key::LoopbackRule(family) => Some(Key::LoopbackSet(family)),
        Key::Item(ItemKey::Vip(_)) => Some(Key::Link),
        _ => None,
    };
    let under = under.filter(|under| !taken.contains(under) && !ledger.owns(*under));
    match (key, object) {
        (_, Object::Unreadable(why)) => Some(format!("it cannot be read: {why}")),
        // by our name alone, and of another kind: somebody means something else by it
        (Key::Link | Key::LoopbackSet(_), Object::Value(how)) => {
            Some(format!("it is not as an agent makes it: {how}"))
        }
        _ => under.map(|under| format!("{under} is not ours")),
    }
}

#[cfg(test)]
mod tests;
