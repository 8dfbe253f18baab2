//! Pages that tell everything that is known of one thing. PURE.
//!
//! A field is a line, what there are many of is a table under its heading, and what stands in the way a sentence below.

mod drained;
mod node;
mod service;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::wire;

use super::drains::drain_rows;
use super::events::{event_rows, is_event_of};
use super::history::history_rows;
use super::listing::Listing;
use super::rows::{NONE, UNKNOWN, reached, state_word};
use super::{Style, Table, absence, counted, failure_text, hold, lag, rejection, styled};
use crate::ctl::wait::About;

pub(crate) use drained::{describe_drain, drained};
pub(crate) use node::describe_node;
pub(crate) use service::{describe_service, describe_set, describe_vip};

/// How many of the writes that touched something a page tells.
const WRITES: usize = 10;
/// How many of its last events.
const EVENTS: usize = 10;

/// What a page is made of: the resources, and all that is known beside them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) listing: Listing,
    pub(crate) states: BTreeMap<String, wire::NodeState>,
    pub(crate) drains: Vec<wire::DrainState>,
    /// The last writes, the newest first.
    pub(crate) history: Vec<wire::HistoryEntry>,
    /// The last one at the end.
    pub(crate) events: Vec<wire::Event>,
    /// What passes through the services that are described, and their backends.
    pub(crate) traffic: wire::TrafficResponse,
    /// Unix milliseconds.
    pub(crate) now: u64,
}

/// A page that is being written.
struct Page<'a> {
    facts: &'a Facts,
    style: Style,
    text: String,
}

/// How far the column of what fields say is from the left.
const FIELD: usize = 21;
/// How far what is under a heading is from the left.
const INDENT: &str = "  ";

impl<'a> Page<'a> {
    fn new(facts: &'a Facts, style: Style) -> Self {
        Self {
            facts,
            style,
            text: String::new(),
        }
    }

    /// Adds a line: what is told, and what is said of it.
    fn field(&mut self, name: &str, says: impl AsRef<str>) {
        let name = format!("{name}:");
        let line = format!("{name:FIELD$}{}", says.as_ref());
        self.line(&line);
    }

    /// Adds a line for each, the first beside the name.
    fn fields(&mut self, name: &str, says: impl IntoIterator<Item = String>) {
        let mut says = says.into_iter();
        self.field(name, says.next().as_deref().unwrap_or(NONE));
        for one in says {
            self.line(&format!("{:FIELD$}{one}", ""));
        }
    }

    /// Adds a table under its heading, or that there is nothing.
    fn table(&mut self, name: &str, table: &Table) {
        if table.rows.is_empty() {
            self.field(name, NONE);
            return;
        }
        self.line(&format!("{name}:"));
        let text = styled(table, self.style);
        self.indented(text.lines());
    }

    fn indented<'b>(&mut self, lines: impl IntoIterator<Item = &'b str>) {
        for line in lines {
            self.line(&format!("{INDENT}{line}"));
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Adds the nodes where something is, each with how far it is with it, and below why not further.
    fn nodes(&mut self, placed: &[&str], about: &About) {
        let mut rows = Vec::new();
        let mut reasons = Vec::new();
        for name in placed {
            let unknown = wire::NodeState::default();
            let state = self.facts.states.get(*name).unwrap_or(&unknown);
            let (result, why) = standing(state, about, self.facts.now);
            rows.push(vec![
                (*name).to_owned(),
                state_word(state).to_owned(),
                state.wanted_generation.to_string(),
                reached(state, state.converged_generation),
                result,
            ]);
            reasons.extend(why.into_iter().map(|why| format!("{name}: {why}")));
        }
        let table = Table {
            header: vec!["NAME", "STATE", "WANTED", "CONVERGED", "RESULT"],
            rows,
        };
        self.table("Nodes", &table);
        self.indented(reasons.iter().map(String::as_str));
    }

    /// Adds the drains of which that is true.
    fn drains(&mut self, concerns: impl Fn(&wire::DrainState) -> bool) {
        let drains = self.facts.drains.iter().filter(|drain| concerns(drain));
        let drains: Vec<wire::DrainState> = drains.cloned().collect();
        let rows = drain_rows(&drains, self.facts.now);
        self.table("Drains", &rows);
    }

    /// Adds the last writes that touched one of these, or drained something of which that is true.
    fn writes(
        &mut self,
        touched: &[wire::ResourceRef],
        drained: impl Fn(&wire::DrainTarget) -> bool,
    ) {
        let concerns = |entry: &&wire::HistoryEntry| {
            let mut changes = entry.changes.iter().filter_map(|it| it.r#ref.as_ref());
            changes.any(|named| touched.contains(named)) || entry.drains.iter().any(&drained)
        };
        let history = self.facts.history.iter().filter(concerns).take(WRITES);
        let history: Vec<wire::HistoryEntry> = history.cloned().collect();
        let rows = history_rows(&history, self.facts.now, false);
        self.table("Last writes", &rows);
    }

    /// Adds the last events of something.
    fn events(&mut self, kind: &str, name: &str) {
        self.events_of(&wire::event::Object {
            kind: kind.to_owned(),
            name: name.to_owned(),
        });
    }

    fn events_of(&mut self, object: &wire::event::Object) {
        let events = self.facts.events.iter().rev();
        let events = events.filter(|event| is_event_of(event, object));
        let mut events: Vec<wire::Event> = events.take(EVENTS).cloned().collect();
        events.reverse();
        let rows = event_rows(&events, self.facts.now, false);
        self.table("Events", &rows);
    }

    fn finish(self) -> String {
        self.text
    }
}

/// Says in a word how far a node is with something, and why not further.
fn standing(state: &wire::NodeState, about: &About, now: u64) -> (String, Vec<String>) {
    if !state.connected {
        // what it told last may be true no more
        let why = absence(state, now).into_iter();
        return ("unknown".to_owned(), why.collect());
    }
    if state.hold.is_some() {
        return ("held".to_owned(), vec![hold(state)]);
    }
    if !state.rejection.is_empty() {
        return ("rejected".to_owned(), vec![rejection(state)]);
    }
    let behind = lag(state, state.wanted_generation);
    let (result, mut why) = match behind {
        Some(behind) => ("lagging".to_owned(), vec![behind]),
        None => ("converged".to_owned(), Vec::new()),
    };
    let ours = state.failures.iter();
    let ours: Vec<String> = ours
        .filter(|failure| about.concerns(&state.name, failure))
        .map(failure_text)
        .collect();
    let named = u64::try_from(state.failures.len()).unwrap_or(u64::MAX);
    let unnamed = state.failure_count.saturating_sub(named);
    let refused = ours.len();
    why.extend(ours);
    if unnamed > 0 {
        let unnamed = usize::try_from(unnamed).unwrap_or(usize::MAX);
        let more = counted(unnamed, "failure");
        why.push(format!("and {more} it does not name, of this or of others"));
    }
    match refused {
        0 => (result, why),
        refused => (format!("refused {}", counted(refused, "item")), why),
    }
}

/// Gives the nodes that a service is on: those that have all the labels that it asks for.
fn placed<'a>(listing: &'a Listing, service: &wire::Service) -> Vec<&'a str> {
    let nodes = listing.nodes.values().filter(|node| {
        let mut wanted = service.node_selector.iter();
        wanted.all(|(key, value)| node.it.labels.get(key) == Some(value))
    });
    nodes.map(|node| node.it.name.as_str()).collect()
}

/// Names a resource.
fn named(kind: wire::Kind, name: &str) -> wire::ResourceRef {
    wire::ResourceRef {
        kind: kind.into(),
        name: name.to_owned(),
    }
}

/// Gives what is said, or that nothing is.
fn or_unknown(text: &str) -> &str {
    if text.is_empty() { UNKNOWN } else { text }
}

/// Joins names, each once.
fn joined<'b>(names: impl IntoIterator<Item = &'b str>) -> String {
    let names: BTreeSet<&str> = names.into_iter().collect();
    match names.is_empty() {
        true => NONE.to_owned(),
        false => names.into_iter().collect::<Vec<_>>().join(","),
    }
}
