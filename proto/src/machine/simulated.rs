//! A machine that is simulated: one for each runtime that entered it, so that programs which share a thread, as in one
//! seeded run, have each a clock and a boot of its own.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::runtime::{Handle, Id};

use super::Lot;

thread_local! {
    static HERE: RefCell<Vec<(Id, Machine)>> = const { RefCell::new(Vec::new()) };
}

/// A machine. Clones share it; it outlives the programs that run on it.
#[derive(Debug, Clone)]
pub struct Machine(Arc<Mutex<Inside>>);

#[derive(Debug)]
struct Inside {
    name: String,
    lot: Lot,
    boots: u64,
    time: fn() -> u64,
    jumped_ms: i64,
}

impl Machine {
    /// Makes a machine whose chance comes from a seed. `time` gives the right time, in milliseconds since 1970.
    pub fn new(name: impl Into<String>, seed: u64, time: fn() -> u64) -> Self {
        Self(Arc::new(Mutex::new(Inside {
            name: name.into(),
            lot: Lot::new(seed),
            boots: 1,
            time,
            jumped_ms: 0,
        })))
    }

    /// Lets everything that runs in the runtime of the caller, on this thread, run on this machine.
    pub fn enter(&self) {
        let id = Handle::current().id();
        HERE.with_borrow_mut(|here| {
            here.retain(|(known, machine)| *known != id && !Arc::ptr_eq(&machine.0, &self.0));
            here.push((id, self.clone()));
        });
    }

    /// Boots it: from now on the boot has another name.
    pub fn reboot(&self) {
        self.lock().boots += 1;
    }

    /// Puts the clock on the wall forward, or back.
    pub fn jump(&self, by_ms: i64) {
        self.lock().jumped_ms += by_ms;
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(|held| held.into_inner())
    }
}

/// Lets nothing on this thread be simulated any more.
pub fn leave() {
    HERE.take();
}

pub(super) fn now_unix_ms() -> Option<u64> {
    here(|inside| (inside.time)().saturating_add_signed(inside.jumped_ms))
}

pub(super) fn draw() -> Option<u64> {
    here(|inside| inside.lot.draw())
}

pub(super) fn boot() -> Option<String> {
    here(|inside| format!("{}-boot-{}", inside.name, inside.boots))
}

/// Gives the name of the machine that the caller runs on.
pub fn name() -> Option<String> {
    here(|inside| inside.name.clone())
}

/// Asks the machine that the caller runs on, if it is simulated.
fn here<T>(ask: impl FnOnce(&mut Inside) -> T) -> Option<T> {
    let id = Handle::try_current().ok()?.id();
    let machine = HERE.with_borrow(|here| {
        let (_, machine) = here.iter().find(|(known, _)| *known == id)?;
        Some(machine.clone())
    })?;
    Some(ask(&mut machine.lock()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine;

    #[test]
    fn each_runtime_is_the_machine_that_it_entered_and_no_other() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build();
        let (one, other, real) = (runtime(), runtime(), runtime());
        let (one, other) = (one.expect("runtime"), other.expect("runtime"));
        let first = Machine::new("one", 1, || 1_000);
        let second = Machine::new("other", 1, || 1_000);
        one.block_on(async { first.enter() });
        other.block_on(async { second.enter() });
        first.jump(-10);
        second.reboot();
        let asked = async || {
            let boot = machine::boot().expect("a boot");
            (machine::now_unix_ms(), boot, machine::draw())
        };
        let drawn = Lot::new(1).draw();
        let wanted = (990, "one-boot-1".to_owned(), drawn);
        assert_eq!(one.block_on(asked()), wanted);
        let wanted = (1_000, "other-boot-2".to_owned(), drawn);
        assert_eq!(other.block_on(asked()), wanted);
        let now = real.expect("runtime").block_on(asked()).0;
        assert!(now > 1_700_000_000_000, "{now}");
        leave();
        assert_eq!(one.block_on(async { name() }), None);
    }
}
