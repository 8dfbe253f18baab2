//! The door to the kernel. Behind it stand the real one and one in memory; `contract` holds both to the same
//! behaviour.

pub mod contract;
pub mod fake;
pub mod linux;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;

use weir_proto::faults::{self, Bug};
use weir_proto::model::{BackendKey, Conntrack, Family, Frontend};

use crate::plan::{
    Connections, Counted, Key, Ledger, Problem, Scope, Step, Table, Unit, VipStates, Visit, Visits,
};

/// A kernel that can be read and changed.
pub trait Kernel: Send + 'static {
    /// Reads what the kernel holds within `scope`, foreign objects included. Either the whole of it or an
    /// error: what is not in the answer is not there.
    fn read(&mut self, scope: &Scope) -> impl Future<Output = Result<Table, KernelError>> + Send;

    /// Takes steps in their order and gives a verdict for each. One that is refused does not stop the others,
    /// save for those whose container it should have made.
    fn apply(&mut self, steps: &[Step]) -> impl Future<Output = Vec<Verdict>> + Send;

    /// Gives which of these steps would be refused, and why, as far as a look at the kernel tells. Changes nothing.
    fn refusals(
        &mut self,
        steps: &[Step],
    ) -> impl Future<Output = Result<BTreeMap<Key, Problem>, KernelError>> + Send;

    /// Gives the connections of every backend of these virtual services; one that is not there has none. Reads these
    /// services and nothing else.
    fn connections(
        &mut self,
        of: &BTreeSet<Frontend>,
    ) -> impl Future<Output = Result<BTreeMap<BackendKey, Connections>, KernelError>> + Send;

    /// Deletes from conntrack the flows that were sent to one of these backends through its virtual service, and gives
    /// how many there were. A mark names no flow: there is nothing to do for it. A backend that still stands in IPVS gets
    /// new ones.
    fn forget_flows(
        &mut self,
        of: &BTreeSet<BackendKey>,
    ) -> impl Future<Output = Result<u64, KernelError>> + Send;

    /// Gives the tracked connections of a client to a frontend; of a mark, which no connection bears, or without a client, none.
    /// Takes no more memory for many.
    fn visits(&mut self, of: &Visit) -> impl Future<Output = Result<Visits, KernelError>> + Send;

    /// Waits until somebody takes away what hangs on the link of the VIPs (the link, an address, a local route), and gives
    /// where to look. May be dropped and asked again: what was noticed meanwhile is not lost. What we take away ourselves
    /// may be among it. A kernel that gives no notices never answers.
    fn disturbed(&mut self) -> impl Future<Output = Scope> + Send;

    /// Opens a door of its own to the counters of backends: whoever reads them waits for no pass, and no pass for them.
    fn meter(&self) -> impl Meter + use<Self> {
        NoMeter
    }

    /// Gives how many packets each family's lockdown had rejected when everything was last read. It begins anew when a
    /// lockdown is made or repaired.
    fn rejected(&self) -> BTreeMap<Family, u64> {
        BTreeMap::new()
    }
}

/// The counters of what runs through backends. Reads, and changes nothing.
pub trait Meter: Send + 'static {
    /// Gives the counters of each service through which anything has passed since the call before, and of all its backends; the
    /// first time, of all services. Of services through which nothing passes those whose backends had connections are given
    /// too, some at a time: their connections end by themselves. A service that is gone is given as none, once. A call that fails
    /// is as if it had not been.
    fn counters(&mut self) -> impl Future<Output = Result<Counted, KernelError>> + Send;

    /// Gives how full connection tracking is, and what it has lost since the kernel counts that; none: there is none.
    fn conntrack(&mut self) -> impl Future<Output = Result<Option<Conntrack>, KernelError>> + Send;

    /// Counts the tracked connections to these VIPs, by state. Takes the kernel as long as its table is large, and no more
    /// memory for a large one.
    fn vip_connections(
        &mut self,
        vips: &BTreeSet<IpAddr>,
    ) -> impl Future<Output = Result<VipStates, KernelError>> + Send;
}

/// The meter of a kernel that counts nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoMeter;

impl Meter for NoMeter {
    async fn counters(&mut self) -> Result<Counted, KernelError> {
        Ok(Counted::new())
    }

    async fn conntrack(&mut self) -> Result<Option<Conntrack>, KernelError> {
        Ok(None)
    }

    async fn vip_connections(&mut self, _: &BTreeSet<IpAddr>) -> Result<VipStates, KernelError> {
        Ok(VipStates::new())
    }
}

/// So many objects at most are asked for one by one by every part of a kernel; of more there may be a dump.
const ASKED_BY_KEY: usize = 64;

/// How kernels say that what should be removed is not there (`errno.h`): ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL.
const ABSENT: [i32; 4] = [2, 3, 19, 99];

/// What became of one step. Small, since a cold load has as many as it has objects: what is seldom is boxed.
pub type Verdict = Result<(), StepError>;

/// Why a step was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The kernel refused; nothing was changed.
    #[error("{}", .0.cause)]
    Refused(Box<Problem>),
    /// Whether it was taken is not known; what is there must be read again.
    #[error("{0}")]
    Unknown(String),
}

/// Why the kernel could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what} from the kernel")]
pub struct KernelError {
    /// What was being read.
    pub what: &'static str,
    /// Why not.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Reads `scope`, and what of ours seems to be missing from it a second time: a dump can miss an entry when the
/// table changes under it, in another network namespace even, without a sign of it (`ip_vs_genl_dump_services` in
/// `net/netfilter/ipvs/ip_vs_ctl.c` counts entries to find its place again). An object asked for by its key cannot be
/// missed.
pub(crate) async fn read_surely<K: Kernel>(
    kernel: &mut K,
    scope: &Scope,
    ledger: &Ledger,
) -> Result<Table, KernelError> {
    let mut table = kernel.read(scope).await?;
    let dumped = match scope {
        Scope::All => true,
        Scope::Units(units) => units.len() > ASKED_BY_KEY,
    };
    if !dumped || faults::planted(Bug::OverlookedIsGone) {
        return Ok(table);
    }
    let missing = ledger.vanished(scope, &table, &Table::new());
    // base objects are asked for by their names in any case
    let units = missing.into_iter().map(Key::unit);
    let units: Vec<Unit> = units.filter(|unit| *unit != Unit::Base).collect();
    for some in units.chunks(ASKED_BY_KEY) {
        let again = Scope::Units(some.iter().copied().collect());
        table.extend(kernel.read(&again).await?);
    }
    Ok(table)
}

impl From<Problem> for StepError {
    /// Makes a refusal.
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl StepError {
    /// Says whether an object could not be removed because it is not there.
    pub(crate) fn says_absent(&self) -> bool {
        match self {
            Self::Refused(problem) => ABSENT.contains(&problem.errno),
            Self::Unknown(_) => false,
        }
    }

    /// Gives what to tell people.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Refused(problem) => (**problem).clone(),
            Self::Unknown(cause) => Problem::new(0, cause.clone()),
        }
    }
}

/// The containers that earlier steps of one call should have made and did not: what would live in one must not
/// end up in somebody else's.
#[derive(Debug, Default)]
pub(crate) struct FailedContainers(BTreeSet<Key>);

impl FailedContainers {
    /// Says whether every container could be made.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses a step that would add to a container which could not be made.
    pub(crate) fn check(&self, step: &Step) -> Verdict {
        let container = match step {
            Step::Add { key, .. } => key.container(),
            Step::Edit { .. } | Step::Remove { .. } => None,
        };
        match container {
            Some(container) if self.0.contains(&container) => {
                let cause = format!("{container} could not be made");
                Err(Problem::new(0, cause).into())
            }
            _ => Ok(()),
        }
    }

    /// Takes note of what became of a step.
    pub(crate) fn note(&mut self, step: &Step, verdict: &Verdict) {
        if let (Step::Add { key, .. }, Err(_)) = (step, verdict)
            && key.container().is_none()
        {
            self.0.insert(*key);
        }
    }
}
