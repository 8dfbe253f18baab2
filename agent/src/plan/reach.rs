//! What of the kernel a change reaches, and so what is read before it is made.

use std::collections::BTreeSet;

use weir_proto::model::{Generation, ItemKey};

use super::{Change, Guard, Held, Key, Ledger, Scope, Unit, guards, takes_silently, wanted};

impl Held {
    /// Takes a change in, and gives what of the kernel it reaches.
    pub fn reach(&mut self, change: Change, ledger: &Ledger) -> Scope {
        let keys: Vec<ItemKey> = change.keys().collect();
        let mut all = self.generation == Generation(0) || keys.contains(&ItemKey::NodeDrain);
        let mut units: BTreeSet<Unit> = keys.iter().map(|key| Key::Item(*key).unit()).collect();
        // which guards an item calls for depends on what it says: of those that it calls for as before, nothing changes
        let before = keys.iter().filter_map(|key| self.state.get(key));
        let before: BTreeSet<Guard> = before.flat_map(guards).collect();
        let after: BTreeSet<Guard> = change.upserted.iter().flat_map(guards).collect();
        let changed = before.symmetric_difference(&after);
        units.extend(changed.copied().map(Unit::Guard));
        let silently = takes_silently(&self.state);
        self.apply(change);
        // how ARP is answered, and with it how every VIP is bound
        all |= takes_silently(&self.state) != silently;
        if self.lacks_base(ledger) {
            units.insert(Unit::Base);
        }
        match all {
            true => Scope::All,
            false => Scope::Units(units),
        }
    }

    /// Says whether the state needs a base object that is not ours yet.
    pub(crate) fn lacks_base(&self, ledger: &Ledger) -> bool {
        let base = wanted(&self.state, ledger, &Scope::Units([Unit::Base].into()));
        base.keys()
            .any(|key| !matches!(key, Key::Setting(_)) && !ledger.owns(*key))
    }
}
