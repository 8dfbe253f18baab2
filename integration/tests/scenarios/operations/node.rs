//! An agent without its tasks: the state, the ledger and the kernel door, and passes over them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use weir_agent::cleanup::cleanup;
use weir_agent::journal::{Journal, Remembered};
use weir_agent::kernel::linux::Linux;
use weir_agent::kernel::linux::ipvs::{Command, Ipvs, Proto, ServiceKey};
use weir_agent::kernel::linux::netlink;
use weir_agent::kernel::{Kernel, StepError};
use weir_agent::plan::{
    Guard, Held, Keeping, Key, Ledger, LedgerChange, Scope, Step, Table, Unit, guards, plan, wanted,
};
use weir_integration::random::Random;
use weir_proto::model::{Family, Frontend, Generation, ItemKey};
use weir_proto::state::NodeState;

use super::world::Operation;

/// Addresses that another link of the node has, or a route of somebody's: they cannot be bound.
const REFUSED: [&str; 2] = ["10.100.0.5", "10.100.0.7"];
/// Addresses that somebody put on the link of ours.
const IN_THE_WAY: [&str; 2] = ["10.100.0.6", "10.100.0.8"];
/// Services that somebody made.
const THEIRS: [&str; 4] = [
    "10.100.0.1:80/TCP",
    "10.100.0.2:81/UDP",
    "[fd00:100::1]:80/TCP",
    "mark:7/IPV4",
];
/// ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL: what should go is not there.
const ABSENT: [i32; 4] = [2, 3, 19, 99];

pub(super) struct Node {
    kernel: Linux,
    state: NodeState,
    ledger: Ledger,
    due: BTreeSet<Unit>,
    tally: Tally,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) passes: usize,
    pub(super) added: usize,
    pub(super) edited: usize,
    pub(super) removed: usize,
    pub(super) refused: usize,
    pub(super) conflicts: usize,
}

impl Node {
    pub(super) async fn start() -> Result<Self> {
        Ok(Self {
            kernel: open().await,
            state: NodeState::default(),
            ledger: Ledger::default(),
            due: BTreeSet::new(),
            tally: Tally::default(),
        })
    }

    pub(super) fn state(&self) -> &NodeState {
        &self.state
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    pub(super) fn owns_nothing(&self) -> bool {
        self.ledger.is_empty()
    }

    pub(super) fn take(&mut self, operation: Operation) {
        match operation {
            Operation::Put(item) => {
                self.touch(item.key());
                self.due.extend(guards(&item).into_iter().map(Unit::Guard));
                self.state.insert(item);
            }
            Operation::Remove(keys) => {
                for key in keys {
                    self.touch(key);
                    self.state.remove(&key);
                }
            }
        }
    }

    /// Notes that an item is about to change, and with it the guards that it calls for.
    fn touch(&mut self, key: ItemKey) {
        self.due.insert(Key::Item(key).unit());
        let before = self.state.get(&key).map(guards).unwrap_or_default();
        self.due.extend(before.into_iter().map(Unit::Guard));
        if matches!(key, ItemKey::SilentVip(_) | ItemKey::StrictArp) {
            // how ARP is answered, and with it how every VIP is bound
            let vips = self.state.items().keys();
            let vips = vips.filter(|key| matches!(key, ItemKey::Vip(_)));
            self.due.extend(vips.map(|key| Key::Item(*key).unit()));
            self.due.insert(Unit::Base);
        }
    }

    fn base(&self) -> Table {
        let base = Scope::Units([Unit::Base].into());
        wanted(&self.state, &self.ledger, &base)
    }

    /// Forgets what only the process knew.
    pub(super) async fn restart(&mut self) -> Result<()> {
        self.kernel = open().await;
        self.due.clear();
        Ok(())
    }

    /// Makes a pass over what changed, and over the base when something of it is not ours yet.
    pub(super) async fn pass_due(&mut self, cut: Option<usize>) -> Result<()> {
        let base = wanted(
            &self.state,
            &self.ledger,
            &Scope::Units([Unit::Base].into()),
        );
        let lacks = |key: &Key| !matches!(key, Key::Setting(_)) && !self.ledger.owns(*key);
        if base.keys().any(lacks) {
            self.due.insert(Unit::Base);
        }
        let due = std::mem::take(&mut self.due);
        self.pass(&Scope::Units(due), cut).await
    }

    /// Makes a pass as the reconciler does; with a cut, the agent is killed behind so many steps.
    pub(super) async fn pass(&mut self, scope: &Scope, cut: Option<usize>) -> Result<()> {
        let actual = self.kernel.read(scope).await.context("reading")?;
        let wanted = wanted(&self.state, &self.ledger, scope);
        let plan = plan(&actual, &wanted, &self.ledger);
        let before = LedgerChange {
            gone: self.ledger.vanished(scope, &actual, &wanted),
            ..self.ledger.before(&plan, &actual)
        };
        self.ledger.apply(&before);
        let base = self.base();
        for conflict in &plan.conflicts {
            // an entry without a VIP of its family has no set to be in
            let no_set =
                matches!(conflict.held, Key::LoopbackSet(_)) && !base.contains_key(&conflict.held);
            ensure!(no_set || in_the_way(conflict.held), "{}", conflict.cause());
        }
        let steps = &plan.steps[..cut.unwrap_or(usize::MAX).min(plan.steps.len())];
        let verdicts = self.kernel.apply(steps).await;
        self.tally.passes += 1;
        self.tally.conflicts += plan.conflicts.len();
        if cut.is_some() {
            return Ok(());
        }
        let mut change = LedgerChange::default();
        for (step, verdict) in steps.iter().zip(verdicts) {
            match verdict {
                Ok(()) => {
                    *match step {
                        Step::Add { .. } => &mut self.tally.added,
                        Step::Edit { .. } => &mut self.tally.edited,
                        Step::Remove { .. } => &mut self.tally.removed,
                    } += 1;
                    self.ledger.after(step, true, &before, &mut change);
                }
                Err(StepError::Refused(why)) => {
                    let remove = matches!(step, Step::Remove { .. });
                    let absent = remove && ABSENT.contains(&why.errno);
                    ensure!(absent || refused(step.key()), "{step:?}: {}", why.cause);
                    self.tally.refused += usize::from(!absent);
                    self.ledger.after(step, absent, &before, &mut change);
                }
                Err(StepError::Unknown(why)) => ensure!(false, "{step:?}: {why}"),
            }
        }
        self.ledger.apply(&change);
        Ok(())
    }

    /// Fails unless everything is as wanted, but for what somebody stands in the way of.
    pub(super) async fn holds_what_it_should(&mut self) -> Result<()> {
        let actual = self.kernel.read(&Scope::All).await.context("reading")?;
        let wanted = wanted(&self.state, &self.ledger, &Scope::All);
        let mut steps = plan(&actual, &wanted, &self.ledger).steps;
        steps.retain(|step| !refused(step.key()));
        ensure!(steps.is_empty(), "not as wanted: {steps:#?}");
        Ok(())
    }

    /// Deletes a service of ours behind our back.
    pub(super) async fn somebody_deletes_one_of_ours(&mut self, random: &mut Random) -> Result<()> {
        let frontends = self.ledger.made().filter_map(|key| match key {
            Key::Item(ItemKey::VirtualService(frontend)) => Some(frontend),
            _ => None,
        });
        let frontends: Vec<_> = frontends.collect();
        let Some(frontend) = frontends.get(random.below(frontends.len())) else {
            return Ok(());
        };
        let key = match frontend {
            Frontend::Address(listener) => ServiceKey::Address {
                proto: Proto(listener.protocol.number().into()),
                address: listener.address,
                port: listener.port.get(),
            },
            Frontend::Mark(mark) => ServiceKey::Fwmark {
                family: match mark.family {
                    Family::V4 => netlink::Family::Inet,
                    Family::V6 => netlink::Family::Inet6,
                },
                mark: mark.number.get(),
            },
        };
        let mut ipvs = Ipvs::open().await?;
        // a service that was refused is not there
        let _ = ipvs.batch(&[Command::DelService(&key)]).await;
        Ok(())
    }

    /// Cleans up as the agent does, by its journal.
    pub(super) async fn cleanup(&mut self) -> Result<()> {
        let dir = TempDir::new()?;
        let (journal, _) = Journal::open(dir.path(), "boot")?;
        let settings = self.ledger.settings();
        journal
            .record(&LedgerChange {
                made: self.ledger.made().collect(),
                found: settings
                    .map(|(sysctl, value)| (sysctl, value.to_owned()))
                    .collect(),
                ..LedgerChange::default()
            })
            .await?;
        let remembered = Remembered {
            keeping: Keeping {
                accepted: Held {
                    generation: Generation(1),
                    state: std::mem::take(&mut self.state),
                    ..Held::default()
                },
                ..Keeping::default()
            },
            ledger: std::mem::take(&mut self.ledger),
            ..Remembered::default()
        };
        let outcome = cleanup(&mut self.kernel, &journal, remembered).await?;
        let left: Vec<Key> = outcome.left.iter().map(|(key, _)| *key).collect();
        ensure!(left.is_empty() || left == [Key::Link], "{outcome}");
        drop(journal);
        let (
            _,
            Remembered {
                keeping, ledger, ..
            },
        ) = Journal::open(dir.path(), "boot")?;
        ensure!(keeping == Keeping::default(), "the state is still held");
        let ours: Vec<Key> = ledger.made().collect();
        ensure!(ours == left, "still in the ledger: {ours:?}");
        self.ledger = ledger;
        Ok(())
    }
}

async fn open() -> Linux {
    Linux::open(Vec::new()).await.0
}

fn is(address: IpAddr, some: &[&str]) -> bool {
    some.contains(&address.to_string().as_str())
}

/// An address that is somebody else's is neither bound nor locked.
fn refused(key: Key) -> bool {
    match key {
        Key::Item(ItemKey::Vip(address)) | Key::Guard(Guard::Vip(address)) => is(address, &REFUSED),
        _ => false,
    }
}

fn in_the_way(key: Key) -> bool {
    match key {
        Key::Item(ItemKey::Vip(address)) => is(address, &IN_THE_WAY),
        Key::Item(ItemKey::VirtualService(frontend)) => theirs(frontend),
        Key::Item(ItemKey::Backend(backend)) => theirs(backend.frontend),
        _ => false,
    }
}

fn theirs(frontend: Frontend) -> bool {
    THEIRS.contains(&frontend.to_string().as_str())
}
