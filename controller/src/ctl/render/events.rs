//! Events as a table and as a file. PURE

use anyhow::Result;
use serde::Serialize;
use weir_proto::wire;
use weir_proto::wire::event::{Object, Reason, Type};

use super::Table;
use super::document::List;
use super::drains::age;
use super::rows::NONE;
use super::streamed;
use super::written;
use crate::ctl::args::DocumentForm;
use crate::ctl::manifest::API_VERSION;

/// Gives the columns, which are kubectl's as far as it has them.
pub(crate) fn event_header(wide: bool) -> Vec<&'static str> {
    let mut header = vec![
        "LAST SEEN",
        "TYPE",
        "REASON",
        "NODE",
        "OBJECT",
        "COUNT",
        "MESSAGE",
    ];
    if wide {
        header.extend(["WHO", "FIRST SEEN", "NAME"]);
    }
    header
}

/// Gives one row an event. `now` is in Unix milliseconds.
pub(crate) fn event_rows(events: &[wire::Event], now: u64, wide: bool) -> Table {
    let rows = events.iter().map(|event| {
        let mut row = vec![
            age(event.last_unix_ms, now),
            type_word(event).to_owned(),
            reason_word(event),
            or_none(&event.node),
            event.object.as_ref().map_or_else(|| NONE.to_owned(), of),
            event.count.to_string(),
            // one line each, whatever a node says
            event.message.replace(['\n', '\r'], " "),
        ];
        if wide {
            row.extend([
                or_none(&event.who),
                age(event.first_unix_ms, now),
                event.number.to_string(),
            ]);
        }
        row
    });
    Table {
        header: event_header(wide),
        rows: rows.collect(),
    }
}

/// Says whether an event is of an object: of a node is what happens on it, of a service what happens to its backends.
pub(crate) fn is_event_of(event: &wire::Event, object: &Object) -> bool {
    let Some(of) = &event.object else {
        return object.kind == "node" && event.node == object.name;
    };
    let service = of.name.split_once('/').map(|(service, _)| service);
    of == object
        || (object.kind == "node" && event.node == object.name)
        || (object.kind == "service" && of.kind == "backend" && service == Some(&object.name))
}

/// Writes events as a list, to be read.
pub(crate) fn event_list(events: &[wire::Event], form: DocumentForm) -> Result<String> {
    let items: Vec<Shown> = events.iter().map(Shown::new).collect();
    let list = List {
        kind: "EventList",
        ..List::new(&items)
    };
    written(&list, form)
}

/// Writes one event of several.
pub(crate) fn event_document(event: &wire::Event, form: DocumentForm) -> Result<String> {
    let one = One {
        api_version: API_VERSION,
        kind: "Event",
        event: Shown::new(event),
    };
    streamed(&one, form)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    event: Shown,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: String,
    #[serde(rename = "type")]
    of_type: &'static str,
    reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    node: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    object: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    part: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    who: String,
    message: String,
    first_unix_ms: u64,
    last_unix_ms: u64,
    count: u64,
}

impl Shown {
    fn new(event: &wire::Event) -> Self {
        Self {
            name: event.number.to_string(),
            of_type: type_word(event),
            reason: reason_word(event),
            node: event.node.clone(),
            object: event.object.as_ref().map(of).unwrap_or_default(),
            part: event.part.clone(),
            who: event.who.clone(),
            message: event.message.clone(),
            first_unix_ms: event.first_unix_ms,
            last_unix_ms: event.last_unix_ms,
            count: event.count,
        }
    }
}

fn of(object: &Object) -> String {
    format!("{}/{}", object.kind, object.name)
}

fn or_none(text: &str) -> String {
    if text.is_empty() { NONE } else { text }.to_owned()
}

/// Gives the word for what an event is worth.
fn type_word(event: &wire::Event) -> &'static str {
    match Type::try_from(event.r#type) {
        Ok(Type::Normal) => "Normal",
        Ok(Type::Warning) => "Warning",
        Ok(Type::Unspecified) | Err(_) => "Unknown",
    }
}

/// Gives the word for what happened; one that this version does not know is shown by its number.
fn reason_word(event: &wire::Event) -> String {
    let Ok(reason) = Reason::try_from(event.reason) else {
        return format!("Reason{}", event.reason);
    };
    let name = reason.as_str_name();
    let words = name.strip_prefix("REASON_").unwrap_or(name).split('_');
    let camel = words.map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        format!("{first}{}", rest.to_lowercase())
    });
    camel.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_version_says_is_shown_by_its_number() {
        let event = wire::Event {
            r#type: 7,
            reason: 999,
            message: "two\nlines".to_owned(),
            count: 1,
            ..wire::Event::default()
        };
        let row = [
            "-",
            "Unknown",
            "Reason999",
            "<none>",
            "<none>",
            "1",
            "two lines",
        ];
        assert_eq!(event_rows(&[event], 5_000, false).rows, [row]);
    }

    #[test]
    fn a_node_has_what_happens_on_it_and_a_service_what_happens_to_its_backends() {
        let object = |text: &str| {
            let (kind, name) = text.split_once('/').expect("KIND/NAME");
            Object {
                kind: kind.to_owned(),
                name: name.to_owned(),
            }
        };
        let event = |node: &str, of: &str| wire::Event {
            node: node.to_owned(),
            object: Some(object(of)),
            ..wire::Event::default()
        };
        let drained = event("a", "backend/web/10.0.0.1:80");
        for (of, is) in [
            ("node/a", true),
            ("node/b", false),
            ("service/web", true),
            ("service/we", false),
            ("backend/web/10.0.0.1:80", true),
            ("vip/10.0.0.1", false),
        ] {
            assert_eq!(is_event_of(&drained, &object(of)), is, "{of}");
        }
        let bare = wire::Event::default();
        assert!(!is_event_of(&bare, &object("node/a")));
    }
}
