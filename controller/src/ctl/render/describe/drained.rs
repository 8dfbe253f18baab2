//! The page of what is drained. PURE.

use weir_proto::model::DrainDeadline;
use weir_proto::wire;

use super::{Facts, Page};
use crate::ctl::manifest::ON_DEADLINES;
use crate::ctl::render::document::word;
use crate::ctl::render::drains::{age, drain_target};
use crate::ctl::render::rows::UNKNOWN;
use crate::ctl::render::{Style, Table, human};

/// Gives what the events of a drain are of, by its name: a node, or a backend of a service, or one whose service is forgotten.
pub(crate) fn drained(name: &str) -> wire::event::Object {
    let is_backend = name.contains('/') || name.parse::<std::net::SocketAddr>().is_ok();
    wire::event::Object {
        kind: if is_backend { "backend" } else { "node" }.to_owned(),
        name: name.to_owned(),
    }
}

/// Tells everything about a drain; none: nothing of that name is drained.
pub(crate) fn describe_drain(facts: &Facts, name: &str, style: Style) -> Option<String> {
    let named = |drain: &&wire::DrainState| {
        let target = drain.target.clone().unwrap_or_default();
        drain_target(&target).1 == name
    };
    let drain = facts.drains.iter().find(named)?;
    let target = drain.target.clone().unwrap_or_default();
    let (kind, _) = drain_target(&target);
    let mut page = Page::new(facts, style);
    page.field("Name", name);
    page.field("Kind", kind);
    page.field(
        "Reason",
        match drain.asked {
            true => "an operator asked for it",
            false => "it was taken out of its service",
        },
    );
    if drain.asked {
        page.field("Age", age(drain.asked_unix_ms, facts.now));
    }
    if let Some(how) = drain.drain {
        let default = DrainDeadline::default().seconds();
        let deadline = how.deadline_seconds.unwrap_or(default);
        let deadline = human(std::time::Duration::from_secs(deadline.into()));
        page.field("Deadline", deadline);
        page.field("On deadline", word(&ON_DEADLINES, how.on_deadline));
    }
    let rows = drain.nodes.iter().map(|on| {
        let told = on.progress.clone().unwrap_or_default();
        let left = match told.deadline_unix_ms.checked_sub(facts.now) {
            Some(left @ 1..) if !told.done => human(std::time::Duration::from_secs(left / 1_000)),
            _ => UNKNOWN.to_owned(),
        };
        let state = match (told.done, left.as_str()) {
            (true, _) => "done",
            (false, UNKNOWN) => "past deadline",
            (false, _) => "draining",
        };
        let item = told.key.as_ref().map(|key| {
            let key = weir_proto::convert::item_key_from_wire(key, "key");
            key.map_or_else(|_| UNKNOWN.to_owned(), |key| key.to_string())
        });
        vec![
            on.node.clone(),
            item.unwrap_or_else(|| UNKNOWN.to_owned()),
            told.active_connections.to_string(),
            told.inactive_connections.to_string(),
            left,
            word(&ON_DEADLINES, told.on_deadline).to_owned(),
            state.to_owned(),
            age(told.started_unix_ms, facts.now),
        ]
    });
    let header = vec![
        "NODE",
        "ITEM",
        "ACTIVE",
        "INACTIVE",
        "LEFT",
        "ON-DEADLINE",
        "STATE",
        "AGE",
    ];
    let rows = rows.collect();
    page.table("Nodes", &Table { header, rows });
    page.writes(&[], |drained| *drained == target);
    page.events_of(&drained(name));
    Some(page.finish())
}
