//! A kernel in memory: the same refusals as the real one, and faults on demand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use weir_proto::model::{BackendKey, Conntrack, Frontend, ItemKey, Scheduler};

use super::{FailedContainers, Kernel, KernelError, Meter, StepError, Verdict};
use crate::plan::{
    Connections, Counted, CountedService, Counters, Key, Object, Passed, Problem, Scope, Setting,
    Step, Table, Unit, VipStates, Visit, Visited, Visits, backends_of,
};

const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;

/// As many entries as connection tracking takes on a machine with 4 GiB (`nf_conntrack_init_start` in
/// `net/netfilter/nf_conntrack_core.c`).
const MOST_ENTRIES: u64 = 262_144;

/// A kernel in memory. Clones share it, so that a test can look at what an agent does to it.
#[derive(Debug, Clone, Default)]
pub struct Fake(Arc<Mutex<Inside>>);

/// What the fake has seen and holds.
#[derive(Debug, Default)]
struct Inside {
    table: Table,
    steps: Vec<Step>,
    reads: Vec<Scope>,
    faults: BTreeMap<Key, VecDeque<StepError>>,
    races: BTreeMap<Key, Object>,
    overlooked: BTreeSet<Key>,
    unreadable: u32,
    connections: BTreeMap<BackendKey, Connections>,
    uncountable: u32,
    counters: BTreeMap<BackendKey, Counters>,
    conntrack: Conntrack,
    vips: VipStates,
    visits: Vec<(Visit, Visited)>,
    forgotten: Vec<BTreeSet<BackendKey>>,
    disturbances: VecDeque<Scope>,
    disturbed: Arc<Notify>,
    silent: bool,
}

impl Fake {
    /// Makes a kernel with settings at 0 and nothing else.
    pub fn new() -> Self {
        let fake = Self::default();
        for setting in Setting::ALL {
            let value = Object::Value("0".to_owned());
            fake.lock().table.insert(Key::Setting(setting), value);
        }
        fake.lock().conntrack.max_entries = MOST_ENTRIES;
        fake
    }

    /// Gives what it holds.
    pub fn table(&self) -> Table {
        self.lock().table.clone()
    }

    /// Changes what it holds behind the agent's back.
    pub fn tamper(&self, change: impl FnOnce(&mut Table)) {
        change(&mut self.lock().table);
    }

    /// Gives the steps asked for since the last call.
    pub fn take_steps(&self) -> Vec<Step> {
        std::mem::take(&mut self.lock().steps)
    }

    /// Gives the scopes read since the last call.
    pub fn take_reads(&self) -> Vec<Scope> {
        std::mem::take(&mut self.lock().reads)
    }

    /// Makes the next step on `key` end in `error`. Several are used up one after another.
    pub fn fail(&self, key: Key, error: StepError) {
        self.lock().faults.entry(key).or_default().push_back(error);
    }

    /// Makes somebody else put `object` there just before our next step on `key`.
    pub fn race(&self, key: Key, object: Object) {
        self.lock().races.insert(key, object);
    }

    /// Makes the next read of everything miss what is there under `key`, as a dump can.
    pub fn overlook(&self, key: Key) {
        self.lock().overlooked.insert(key);
    }

    /// Makes the next reads fail.
    pub fn fail_reads(&self, reads: u32) {
        self.lock().unreadable = reads;
    }

    /// Gives a backend connections. While it is in the table they are shown; conntrack has a flow for each of them.
    pub fn connect(&self, backend: BackendKey, connections: Connections) {
        self.lock().connections.insert(backend, connections);
    }

    /// Gives a backend counters. While it is in the table its meters show them, with how it is forwarded to.
    pub fn count(&self, backend: BackendKey, counters: Counters) {
        self.lock().counters.insert(backend, counters);
    }

    /// Makes connection tracking hold and have lost so much.
    pub fn track(&self, conntrack: Conntrack) {
        self.lock().conntrack = conntrack;
    }

    /// Makes it hold these connections of VIPs.
    pub fn track_vips(&self, vips: VipStates) {
        self.lock().vips = vips;
    }

    /// Makes a client have one more tracked connection to a frontend.
    pub fn visit(&self, by: Visit, visited: Visited) {
        self.lock().visits.push((by, visited));
    }

    /// Makes the next looks at connections and counters fail.
    pub fn fail_counts(&self, counts: u32) {
        self.lock().uncountable = counts;
    }

    /// Gives the backends whose flows were deleted since the last call, by deletion.
    pub fn take_forgotten(&self) -> Vec<BTreeSet<BackendKey>> {
        std::mem::take(&mut self.lock().forgotten)
    }

    /// Gives a notice that somebody took something away; what that was is for the test to take away.
    pub fn disturb(&self, scope: Scope) {
        let mut inside = self.lock();
        inside.disturbances.push_back(scope);
        inside.disturbed.notify_one();
    }

    /// Makes the next steps be taken without an answer, ever: what asked for them can only be cut off.
    pub fn fall_silent(&self) {
        self.lock().silent = true;
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(|held| held.into_inner())
    }
}

impl Kernel for Fake {
    async fn read(&mut self, scope: &Scope) -> Result<Table, KernelError> {
        let mut inside = self.lock();
        inside.reads.push(scope.clone());
        if inside.unreadable > 0 {
            inside.unreadable -= 1;
            return Err(unreadable("the table"));
        }
        let overlooked = match scope {
            Scope::All => std::mem::take(&mut inside.overlooked),
            Scope::Units(_) => BTreeSet::new(),
        };
        let missed = |key: &Key| {
            let under = key.container();
            overlooked.contains(key) || under.is_some_and(|under| overlooked.contains(&under))
        };
        let mut within = within(&inside.table, scope);
        within.retain(|key, _| !missed(key));
        Ok(within)
    }

    async fn apply(&mut self, steps: &[Step]) -> Vec<Verdict> {
        let (verdicts, silent) = {
            let mut inside = self.lock();
            (inside.take_all(steps), inside.silent)
        };
        if silent {
            std::future::pending::<()>().await;
        }
        verdicts
    }

    /// Tells of the refusals that were asked for by [`Fake::fail`], and leaves them for the steps.
    async fn refusals(&mut self, steps: &[Step]) -> Result<BTreeMap<Key, Problem>, KernelError> {
        let inside = self.lock();
        let refused =
            steps
                .iter()
                .filter_map(|step| match inside.faults.get(&step.key())?.front()? {
                    StepError::Refused(problem) => Some((step.key(), (**problem).clone())),
                    StepError::Unknown(_) => None,
                });
        Ok(refused.collect())
    }

    async fn connections(
        &mut self,
        of: &BTreeSet<Frontend>,
    ) -> Result<BTreeMap<BackendKey, Connections>, KernelError> {
        let mut inside = self.lock();
        if inside.uncountable > 0 {
            inside.uncountable -= 1;
            return Err(unreadable("the connections"));
        }
        let backends = inside.table.keys().filter_map(|key| match key {
            Key::Item(ItemKey::Backend(backend)) => Some(*backend),
            _ => None,
        });
        let within = backends.filter(|backend| of.contains(&backend.frontend));
        let with = |backend| inside.connections.get(&backend).copied();
        Ok(within
            .map(|backend| (backend, with(backend).unwrap_or_default()))
            .collect())
    }

    async fn forget_flows(&mut self, of: &BTreeSet<BackendKey>) -> Result<u64, KernelError> {
        let mut inside = self.lock();
        inside.forgotten.push(of.clone());
        let named = of
            .iter()
            .filter(|backend| matches!(backend.frontend, Frontend::Address(_)));
        let had = named.filter_map(|backend| inside.connections.get(backend));
        Ok(had.map(|connections| connections.total()).sum())
    }

    async fn visits(&mut self, of: &Visit) -> Result<Visits, KernelError> {
        let mut inside = self.lock();
        if inside.uncountable > 0 {
            inside.uncountable -= 1;
            return Err(unreadable("the connections of a client"));
        }
        let mut visits = Visits::default();
        let theirs = inside.visits.iter().filter(|(by, _)| by == of);
        theirs.for_each(|(_, visited)| visits.add(*visited));
        Ok(visits)
    }

    fn meter(&self) -> impl Meter + use<> {
        FakeMeter {
            fake: self.clone(),
            shown: Counted::new(),
        }
    }

    async fn disturbed(&mut self) -> Scope {
        loop {
            let notice = {
                let mut inside = self.lock();
                match inside.disturbances.pop_front() {
                    Some(scope) => return scope,
                    None => inside.disturbed.clone(),
                }
            };
            notice.notified().await;
        }
    }
}

/// The counters of a kernel in memory.
#[derive(Debug)]
struct FakeMeter {
    fake: Fake,
    /// What every service showed at the call before.
    shown: Counted,
}

impl Meter for FakeMeter {
    async fn counters(&mut self) -> Result<Counted, KernelError> {
        let mut inside = self.fake.lock();
        if inside.uncountable > 0 {
            inside.uncountable -= 1;
            return Err(unreadable("the counters"));
        }
        let now = inside.counted();
        drop(inside);
        let mut news = now.clone();
        for (frontend, service) in &self.shown {
            match now.get(frontend) {
                Some(same) if same == service => news.remove(frontend),
                Some(_) => None,
                None => news.insert(*frontend, None),
            };
        }
        self.shown = now;
        Ok(news)
    }

    async fn conntrack(&mut self) -> Result<Option<Conntrack>, KernelError> {
        let mut inside = self.fake.lock();
        if inside.uncountable > 0 {
            inside.uncountable -= 1;
            return Err(unreadable("the state of connection tracking"));
        }
        Ok(Some(inside.conntrack))
    }

    async fn vip_connections(&mut self, vips: &BTreeSet<IpAddr>) -> Result<VipStates, KernelError> {
        let inside = self.fake.lock();
        let mut within = inside.vips.clone();
        within.retain(|(address, ..), _| vips.contains(address));
        Ok(within)
    }
}

impl Inside {
    fn counted(&self) -> Counted {
        let mut counted = Counted::new();
        for (key, object) in &self.table {
            match (key, object) {
                (Key::Item(ItemKey::VirtualService(frontend)), _) => {
                    let of = counted.entry(*frontend).or_default();
                    of.get_or_insert_with(|| self.passed(*frontend));
                }
                (Key::Item(ItemKey::Backend(backend)), Object::Backend(spec)) => {
                    let had = self.counters.get(backend).copied().unwrap_or_default();
                    let counters = Counters {
                        forwarding: spec.forwarding,
                        ..had
                    };
                    let of = counted.entry(backend.frontend).or_default();
                    let of = of.get_or_insert_with(|| self.passed(backend.frontend));
                    of.backends.insert(backend.endpoint, counters);
                }
                _ => {}
            }
        }
        counted
    }

    /// What passed through a service, those backends included that have gone.
    fn passed(&self, frontend: Frontend) -> CountedService {
        let of = self.counters.iter();
        let of = of.filter(|(backend, _)| backend.frontend == frontend);
        CountedService {
            passed: of.fold(Passed::default(), |sum, (_, counters)| {
                sum.plus(&counters.passed)
            }),
            backends: BTreeMap::new(),
        }
    }

    fn take_all(&mut self, steps: &[Step]) -> Vec<Verdict> {
        let mut failed = FailedContainers::default();
        let mut verdicts: Vec<Verdict> = Vec::with_capacity(steps.len());
        for step in steps {
            self.steps.push(step.clone());
            let verdict = failed.check(step).and_then(|()| self.take(step));
            failed.note(step, &verdict);
            verdicts.push(verdict);
        }
        verdicts
    }

    fn take(&mut self, step: &Step) -> Verdict {
        if let Some(object) = self.races.remove(&step.key()) {
            self.table.insert(step.key(), object);
        }
        if let Some(faults) = self.faults.get_mut(&step.key())
            && let Some(error) = faults.pop_front()
        {
            return Err(error);
        }
        take(&mut self.table, step)
    }
}

/// Takes one step on a table as a kernel would.
pub(crate) fn take(table: &mut Table, step: &Step) -> Verdict {
    match step {
        Step::Add { key, object } => {
            if table.contains_key(key) {
                return Err(refused(EEXIST, format!("{key} exists")));
            }
            let needs = match key {
                Key::Item(ItemKey::Backend(_)) => key.container().map(|on| (on, ESRCH)),
                Key::Item(ItemKey::LoopbackEntry(_)) | Key::Guard(_) => {
                    key.container().map(|on| (on, ENOENT))
                }
                Key::LoopbackRule(family) => Some((Key::LoopbackSet(*family), ENOENT)),
                Key::Item(ItemKey::Vip(_)) => Some((Key::Link, ENODEV)),
                _ => None,
            };
            if let Some((on, errno)) = needs
                && !table.contains_key(&on)
            {
                return Err(refused(errno, format!("{on} is not there")));
            }
            known_scheduler(object)?;
            table.insert(*key, object.clone());
        }
        Step::Edit { key, object } => {
            if !table.contains_key(key) {
                return Err(refused(absent(*key), format!("{key} is not there")));
            }
            known_scheduler(object)?;
            table.insert(*key, object.clone());
        }
        Step::Remove { key } => {
            if let Key::LoopbackSet(family) = key
                && table.contains_key(&Key::LoopbackRule(*family))
            {
                return Err(refused(EBUSY, "a rule uses the set".to_owned()));
            }
            if table.remove(key).is_none() {
                return Err(refused(absent(*key), format!("{key} is not there")));
            }
            let lives_in = |other: &Key| match (key, other) {
                (Key::Link, Key::Item(ItemKey::Vip(_))) => true,
                _ => other.container() == Some(*key),
            };
            table.retain(|other, _| !lives_in(other));
        }
    }
    Ok(())
}

fn absent(key: Key) -> i32 {
    match key {
        Key::Item(ItemKey::VirtualService(_)) => ESRCH,
        Key::Link => ENODEV,
        _ => ENOENT,
    }
}

fn known_scheduler(object: &Object) -> Verdict {
    match object {
        Object::Service(spec) if spec.scheduler.parse::<Scheduler>().is_err() => Err(refused(
            ENOENT,
            format!("scheduler {} is not in this kernel", spec.scheduler),
        )),
        _ => Ok(()),
    }
}

fn unreadable(what: &'static str) -> KernelError {
    KernelError {
        what,
        source: "a fault was asked for".into(),
    }
}

fn refused(errno: i32, cause: String) -> StepError {
    StepError::from(Problem::new(errno, cause))
}

/// Gives a table with the base objects of both families, as an agent would have put them up.
#[cfg(test)]
pub(crate) fn base_table() -> Table {
    let mut table = Fake::new().table();
    table.insert(Key::Link, Object::Present);
    for family in weir_proto::model::Family::ALL {
        table.insert(Key::LoopbackSet(family), Object::Present);
        table.insert(Key::LoopbackRule(family), Object::Present);
        table.insert(Key::Lockdown(family), Object::Present);
    }
    table
}
/// Gives the part of a table that is within a scope. Costs what is in it, but for the base, whose keys lie here and there.
fn within(table: &Table, scope: &Scope) -> Table {
    let copied = |(key, object): (&Key, &Object)| (*key, object.clone());
    let Scope::Units(units) = scope else {
        return table.clone();
    };
    let mut within = Table::new();
    for unit in units {
        let one = |key: Key| table.get_key_value(&key).map(copied);
        match *unit {
            Unit::Base => {
                let base = table.iter().filter(|(key, _)| key.unit() == Unit::Base);
                within.extend(base.map(copied));
            }
            Unit::Entry(entry) => within.extend(one(Key::Item(ItemKey::LoopbackEntry(entry)))),
            Unit::Guard(guard) => within.extend(one(Key::Guard(guard))),
            Unit::Service(frontend) => {
                within.extend(one(Key::Item(ItemKey::VirtualService(frontend))));
                let (first, last) = backends_of(frontend).into_inner();
                let backends = table.range(Key::Item(first)..=Key::Item(last));
                within.extend(backends.map(copied));
            }
            Unit::Vip(address) => {
                within.extend(one(Key::Item(ItemKey::Vip(address))));
                within.extend(one(Key::Item(ItemKey::SilentVip(address))));
            }
            Unit::SyncDaemon(role) => within.extend(one(Key::Item(ItemKey::SyncDaemon(role)))),
        }
    }
    within
}
