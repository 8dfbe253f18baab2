//! Decides what to do to the kernel. Everything here is plain values: no socket, no clock, no disk.
//!
//! A [`Table`] is what a kernel holds or should hold, a [`Step`] is one change to it. [`fold`] takes an update into
//! the held state, [`wanted`] turns the held state into a table, [`plan`] gives the steps from one table to
//! another, and [`Ledger`] knows which objects are ours to change.

mod adopt;
mod diff;
mod drain;
mod flows;
mod fold;
mod guard;
mod hold;
mod ledger;
mod numbers;
mod reach;
mod refused;
mod repair;
mod report;
mod setting;
mod table;
mod tracking;
mod traffic;
mod trial;
mod visit;
mod wanted;

pub use adopt::{Adoption, adopt};
pub use diff::{Conflict, Plan, Step, plan};
pub use drain::{Begun, DrainId, Drained, Drains, Over, Revised, begun, unwanted};
pub use flows::Connections;
pub use fold::{Change, Folded, Held, Refusal, Update, fold};
pub use guard::{Guard, guards};
pub use hold::{Hold, HoldChange, Keeping, Taking};
pub use ledger::{Ledger, LedgerChange};
pub use numbers::{Durations, Look, News, Numbers};
pub use refused::{RefusedChange, RefusedItem, RefusedItems, VERSION};
pub(crate) use repair::in_words;
pub use repair::{Repairs, repair};
pub(crate) use report::shortened;
pub use report::{Problem, Report, report};
pub use setting::{Place, Setting};
pub(crate) use table::backends_of;
pub use table::{
    BackendSpec, Key, Object, Scope, ServiceSpec, SyncDaemonSpec, Table, Unit, VipSpec,
};
pub use tracking::{Tracking, VipStates};
pub use traffic::{
    Counted, CountedService, Counter, Counters, Losses, Passed, SavedTotals, Total, Totals,
    TotalsChange, Traffic,
};
pub use trial::{Attempt, Stand, Trial, Tried};
pub use visit::{MOST_VISITED, Visit, Visited, Visits};
pub(crate) use wanted::takes_silently;
pub use wanted::wanted;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod properties;
