//! Who watches a run: keeps its trace, and says what must not be.
//!
//! - Every state that a kernel comes to rest in is that of some revision the operator asked for, and none older than the
//!   one before.
//! - The generations that a node accepts never go back, and what it accepted it remembers.
//! - Nothing of somebody else's is touched, and no step is refused that no fault was ordered for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use weir_agent::kernel::fake::Fake;
use weir_agent::kernel::{StepError, Verdict};
use weir_agent::plan::{Key, Step};
use weir_proto::machine::simulated;

use crate::model::{Model, NODES, Objects, foreign, is_there, told};

/// No generation: an agent is not sure of any.
const UNSURE: u64 = u64::MAX;

/// The judge of one run. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Judge(Arc<Mutex<Inside>>);

#[derive(Debug)]
struct Inside {
    hash: u64,
    lines: u64,
    /// How many updates followed others that had no answer yet.
    followed: u64,
    /// None: the trace is only hashed.
    kept: Option<Vec<String>>,
    violation: Option<String>,
    /// What was asked for, in its order.
    models: Vec<Model>,
    nodes: Vec<Seen>,
}

/// What was seen of one node.
#[derive(Debug)]
struct Seen {
    kernel: Fake,
    wanted: BTreeMap<usize, Objects>,
    /// The model its kernel was at last.
    at: usize,
    accepted: u64,
    /// It knows what it accepted last from this generation on; the highest: it does not.
    sure_from: u64,
    /// It may not know what it made in the kernel that there is now.
    forgetful: bool,
    /// It found what it must make, made by somebody else as far as it knows.
    conflicts: bool,
    /// Keys whose next step may fail.
    faulty: BTreeSet<Key>,
}

impl Seen {
    fn may_fail(&self, key: Key) -> bool {
        let under = key.container();
        self.faulty.contains(&key) || under.is_some_and(|under| self.faulty.contains(&under))
    }
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) hash: u64,
    pub(crate) lines: u64,
    pub(crate) followed: u64,
    pub(crate) violation: Option<String>,
    pub(crate) trace: Vec<String>,
}

impl Judge {
    /// Begins, with the kernels of the nodes.
    pub(crate) fn new(kernels: Vec<Fake>, keep: bool) -> Self {
        let nodes = kernels.into_iter().map(|kernel| Seen {
            kernel,
            wanted: BTreeMap::new(),
            at: 0,
            accepted: 0,
            sure_from: 0,
            forgetful: false,
            conflicts: false,
            faulty: BTreeSet::new(),
        });
        Self(Arc::new(Mutex::new(Inside {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: 0,
            followed: 0,
            kept: keep.then(Vec::new),
            violation: None,
            models: vec![Model::start()],
            nodes: nodes.collect(),
        })))
    }

    /// Notes something that happened.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        self.lock().note(what);
    }

    /// Notes what the operator asks for; it may come to be from now on.
    pub(crate) fn asked(&self, model: &Model) {
        self.lock().models.push(model.clone());
    }

    /// Says whether a state is one that was asked for, the first one aside.
    pub(crate) fn knows(&self, model: &Model) -> bool {
        self.lock().models[1..].contains(model)
    }

    /// Notes that a node may have forgotten what it accepted.
    pub(crate) fn doubt(&self, node: usize) {
        let seen = &mut self.lock().nodes[node];
        (seen.sure_from, seen.forgetful) = (UNSURE, true);
    }

    /// Notes that a node was booted: what is in its kernel now its agent makes.
    pub(crate) fn booted(&self, node: usize) {
        let seen = &mut self.lock().nodes[node];
        (seen.forgetful, seen.conflicts) = (false, false);
    }

    /// Gives a node whose agent takes what it made itself for somebody else's, since it lost its journal: that is for a
    /// person to end.
    pub(crate) fn at_odds(&self) -> Option<usize> {
        let inside = self.lock();
        let mut nodes = inside.nodes.iter();
        nodes.position(|seen| seen.forgetful && seen.conflicts)
    }

    /// Notes that the next steps on some keys may be refused.
    pub(crate) fn expect_fault(&self, node: usize, key: Key) {
        self.lock().nodes[node].faulty.insert(key);
    }

    /// Looks at what became of steps.
    pub(crate) fn stepped(&self, node: usize, steps: &[Step], verdicts: &[Verdict]) {
        let mut inside = self.lock();
        for (step, verdict) in steps.iter().zip(verdicts) {
            inside.note(format_args!("{} {step:?} {verdict:?}", NODES[node]));
            if let Err(StepError::Refused(problem)) = verdict
                && !inside.nodes[node].may_fail(step.key())
                && problem.errno != 0
            {
                let why = format!("{} was refused {step:?}: {problem:?}", NODES[node]);
                inside.violated(why);
            }
        }
        let table = told(&inside.nodes[node].kernel.table());
        for (key, weight) in foreign() {
            if table.get(&key) != Some(&weight) {
                inside.violated(format!("{} has touched {key}", NODES[node]));
            }
        }
    }

    /// Says of each node whose kernel is not as wanted what is wrong with it.
    pub(crate) fn wrong(&self, wanted: &Model) -> Option<String> {
        let inside = self.lock();
        let mut wrong = String::new();
        for (node, seen) in inside.nodes.iter().enumerate() {
            let (table, wanted) = (told(&seen.kernel.table()), wanted.objects(node));
            let missing = wanted
                .iter()
                .filter(|(key, weight)| table.get(key) != Some(weight));
            let surplus = table.iter().filter(|(key, _)| !wanted.contains_key(key));
            for (what, (key, weight)) in missing
                .map(|object| ("lacks", object))
                .chain(surplus.map(|object| ("has", object)))
            {
                let _ = write!(wrong, "{} {what} {key} {weight:?}; ", NODES[node]);
            }
        }
        (!wrong.is_empty()).then_some(wrong)
    }

    /// Says what is wrong with the kernels if the last that was asked for is what is wanted.
    pub(crate) fn wrong_at_last(&self) -> String {
        let last = self.lock().models.last().cloned();
        let wrong = last.and_then(|last| self.wrong(&last));
        wrong.unwrap_or_else(|| "all kernels are as wanted".to_owned())
    }

    /// Says that something is not as it must be.
    pub(crate) fn violated(&self, why: String) {
        self.lock().violated(why);
    }

    pub(crate) fn has_violation(&self) -> bool {
        self.lock().violation.is_some()
    }

    pub(crate) fn end(&self) -> Ended {
        let mut inside = self.lock();
        Ended {
            hash: inside.hash,
            lines: inside.lines,
            followed: inside.followed,
            violation: inside.violation.clone(),
            trace: inside.kept.take().unwrap_or_default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(|held| held.into_inner())
    }
}

impl Inside {
    fn note(&mut self, what: fmt::Arguments<'_>) {
        let at = turmoil::sim_elapsed().unwrap_or_default().as_micros();
        let line = format!("{at:>9} {what}");
        // FNV-1a
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if let Some(kept) = &mut self.kept {
            kept.push(line);
        }
    }

    fn violated(&mut self, why: String) {
        self.note(format_args!("VIOLATED: {why}"));
        self.violation.get_or_insert(why);
    }

    /// Hears what an agent tells of itself.
    fn hear(&mut self, node: usize, told: &Told) {
        let generation = told.number("generation");
        match (told.message.as_str(), generation) {
            ("accepted", Some(generation)) => {
                let seen = &mut self.nodes[node];
                let (before, unsure) = (seen.accepted, seen.sure_from == UNSURE);
                seen.accepted = generation;
                if unsure {
                    seen.sure_from = generation;
                }
                if generation < before && !unsure {
                    self.violated(format!(
                        "{} accepted {generation} after {before}",
                        NODES[node]
                    ));
                }
            }
            ("remembered", Some(generation)) => {
                let Seen {
                    accepted,
                    sure_from,
                    ..
                } = self.nodes[node];
                if generation < accepted && sure_from != UNSURE {
                    self.violated(format!(
                        "{} had accepted {accepted} and remembers {generation}",
                        NODES[node]
                    ));
                }
            }
            ("the journal was damaged: waiting for the controller", _) => {
                let seen = &mut self.nodes[node];
                (seen.sure_from, seen.forgetful) = (UNSURE, true);
            }
            ("in conflict", _) => self.nodes[node].conflicts = true,
            ("passed", Some(generation)) if generation > 0 => {
                let well = told.field("failures") == "0" && told.field("ok") == "true";
                if well && generation >= self.nodes[node].sure_from {
                    self.rests(node);
                }
            }
            _ => {}
        }
    }

    /// Looks at a kernel that is as its agent wants it.
    fn rests(&mut self, node: usize) {
        let seen = &mut self.nodes[node];
        let table = told(&seen.kernel.table());
        let wanted = &mut seen.wanted;
        let mut all = (seen.at..self.models.len()).filter(|at| {
            let model = &self.models[*at];
            let wanted = wanted.entry(*at).or_insert_with(|| model.objects(node));
            is_there(&table, wanted)
        });
        match all.next() {
            Some(at) => seen.at = at,
            None => {
                let at = seen.at;
                let why = format!(
                    "{} rests in a state that is none of revision {at} or later",
                    NODES[node]
                );
                self.violated(why);
            }
        }
    }
}

/// Hears what controller and agents tell as they run.
pub(crate) struct Ears(pub(crate) Judge);

/// One thing that was told.
#[derive(Debug, Default)]
struct Told {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Told {
    fn field(&self, name: &str) -> &str {
        let mut fields = self.fields.iter();
        let found = fields.find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.field(name).parse().ok()
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }
}

impl Subscriber for Ears {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= Level::DEBUG
            && metadata.target().starts_with("weir_")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut told = Told::default();
        event.record(&mut told);
        let name = simulated::name().unwrap_or_default();
        let mut inside = self.0.lock();
        let (message, fields) = (&told.message, &told.fields);
        inside.note(format_args!("{name} {message} {fields:?}"));
        let target = event.metadata().target();
        if message == "update" && told.number("unanswered").is_some_and(|others| others > 0) {
            inside.followed += 1;
        }
        let node = NODES.iter().position(|node| *node == name);
        if let Some(node) = node.filter(|_| target.starts_with("weir_agent")) {
            inside.hear(node, &told);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
