//! `get events`, and that pages have them.

use weir_proto::wire::event::{Object, Reason, Type};
use weir_proto::wire::{Event, EventsRequest};

use super::drains::within;
use super::get::until;
use super::{Ran, failed, fine, start};

fn object(kind: &str, name: &str) -> Object {
    Object {
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

/// The last at the end.
pub(super) fn events() -> Vec<Event> {
    let ago = |minutes: i64| within(-(minutes * 60 + 30));
    vec![
        Event {
            number: 1,
            r#type: Type::Normal.into(),
            reason: Reason::Applied.into(),
            object: Some(object("service", "web")),
            who: "admin/alice".to_owned(),
            message: "created at revision 1, by admin/alice".to_owned(),
            first_unix_ms: ago(7_200),
            last_unix_ms: ago(7_200),
            count: 1,
            ..Event::default()
        },
        Event {
            number: 9,
            r#type: Type::Normal.into(),
            reason: Reason::Applied.into(),
            object: Some(object("backendset", "web-b")),
            who: "admin/alice".to_owned(),
            message: "created at revision 1, by admin/alice".to_owned(),
            first_unix_ms: ago(7_000),
            last_unix_ms: ago(7_000),
            count: 1,
            ..Event::default()
        },
        Event {
            number: 14,
            r#type: Type::Normal.into(),
            reason: Reason::DrainBegan.into(),
            node: "node-a".to_owned(),
            object: Some(object("backend", "web/10.0.0.11:8080")),
            message: "3 connections may end within 300 s; then what is left is kept".to_owned(),
            first_unix_ms: ago(60),
            last_unix_ms: ago(60),
            count: 1,
            ..Event::default()
        },
        Event {
            number: 12,
            r#type: Type::Warning.into(),
            reason: Reason::DriftRepaired.into(),
            node: "node-b".to_owned(),
            object: Some(object("vip", "10.100.100.100")),
            part: "vip 10.100.100.100".to_owned(),
            message: "vip 10.100.100.100: found nothing, expected bound".to_owned(),
            first_unix_ms: ago(660),
            last_unix_ms: ago(15),
            count: 41,
            ..Event::default()
        },
    ]
}

fn later() -> Event {
    Event {
        number: 15,
        r#type: Type::Warning.into(),
        reason: Reason::NodeDisconnected.into(),
        node: "node-a".to_owned(),
        object: Some(object("node", "node-a")),
        message: "its stream ended: closed".to_owned(),
        first_unix_ms: within(-(14 * 60 + 30)),
        last_unix_ms: within(-(14 * 60 + 30)),
        count: 2,
        ..Event::default()
    }
}

#[test]
fn events_are_shown_the_last_at_the_end() {
    let fake = start();
    let nothing = Ran {
        status: 0,
        out: String::new(),
        err: "No events found.\n".to_owned(),
    };
    assert_eq!(fake.run(&["get", "events"]), nothing);
    fake.state().events = events();
    assert_eq!(
        fake.run(&["get", "events"]),
        fine(
            "\
LAST SEEN   TYPE      REASON          NODE     OBJECT                       COUNT   MESSAGE
5d          Normal    Applied         <none>   service/web                  1       created at revision 1, by admin/alice
4d20h       Normal    Applied         <none>   backendset/web-b             1       created at revision 1, by admin/alice
1h          Normal    DrainBegan      node-a   backend/web/10.0.0.11:8080   1       3 connections may end within 300 s; then what is left is kept
15m         Warning   DriftRepaired   node-b   vip/10.100.100.100           41      vip 10.100.100.100: found nothing, expected bound
"
        )
    );
    assert_eq!(
        fake.run(&["get", "ev", "12", "1", "-o", "wide", "--no-headers"]),
        fine(
            "\
5d          Normal    Applied         <none>   service/web          1       created at revision 1, by admin/alice               admin/alice   5d           1
15m         Warning   DriftRepaired   node-b   vip/10.100.100.100   41      vip 10.100.100.100: found nothing, expected bound   <none>        11h          12
"
        )
    );
    assert_eq!(
        fake.run(&["get", "events", "-o", "name"]),
        fine("event/1\nevent/9\nevent/14\nevent/12\n")
    );
    assert_eq!(
        fake.run(&["get", "event/13"]),
        failed("error: event/13 not found\n")
    );
}

#[test]
fn events_are_written_for_programs() {
    let fake = start();
    let mut drift = events().remove(3);
    (drift.first_unix_ms, drift.last_unix_ms) = (5, 6);
    fake.state().events = vec![drift];
    assert_eq!(
        fake.run(&["get", "events", "-o", "yaml"]),
        fine(
            "\
apiVersion: weir/v1
kind: EventList
items:
- name: \"12\"
  type: Warning
  reason: DriftRepaired
  node: node-b
  object: vip/10.100.100.100
  part: vip 10.100.100.100
  message: \"vip 10.100.100.100: found nothing, expected bound\"
  firstUnixMs: 5
  lastUnixMs: 6
  count: 41
"
        )
    );
    let json = fake.run(&["get", "events", "-o", "json"]).out;
    assert!(json.contains("\"kind\": \"EventList\""), "{json}");
    let (lines, _) = until(&fake, &["get", "events", "-o", "json", "-w"], 4);
    let begins = [
        "{",
        "  \"apiVersion\": \"weir/v1\",",
        "  \"kind\": \"Event\",",
        "  \"name\": \"12\",",
    ];
    assert_eq!(lines, begins);
}

#[test]
fn the_controller_is_asked_for_what_is_chosen() {
    let fake = start();
    let chosen = [
        "get",
        "events",
        "--for",
        "svc/web",
        "--node",
        "node-a",
        "--types",
        "warning,Normal",
    ];
    fake.run(&chosen);
    fake.run(&["get", "events", "--for=rollout/7"]);
    assert_eq!(
        fake.state().events_asked,
        [
            EventsRequest {
                node: "node-a".to_owned(),
                objects: vec![object("service", "web")],
                types: vec![Type::Warning.into(), Type::Normal.into()],
                ..EventsRequest::default()
            },
            EventsRequest {
                objects: vec![object("rollout", "7")],
                ..EventsRequest::default()
            },
        ]
    );
}

#[test]
fn events_are_shown_as_they_come_until_ctrl_c_and_that_is_no_failure() {
    let fake = start();
    {
        let mut state = fake.state();
        state.events = events().split_off(3);
        state.more_events = vec![later()];
    }
    let (lines, status) = until(&fake, &["get", "events", "-w"], 3);
    assert_eq!(
        lines,
        [
            "LAST SEEN   TYPE      REASON          NODE     OBJECT               COUNT   MESSAGE",
            "15m         Warning   DriftRepaired   node-b   vip/10.100.100.100   41      vip 10.100.100.100: found nothing, expected bound",
            "14m         Warning   NodeDisconnected   node-a   node/node-a          2       its stream ended: closed",
        ]
    );
    assert_eq!(status.code(), Some(0), "{status}");
    let (lines, _) = until(&fake, &["get", "events", "--watch-only", "-o", "name"], 1);
    assert_eq!(lines, ["event/15"]);
    fake.state().events.clear();
    let (lines, _) = until(&fake, &["get", "events", "--watch-only", "-o", "name"], 1);
    assert_eq!(lines, ["event/15"], "also when nothing is there");
}

#[test]
fn a_page_asks_for_the_events_of_what_it_is_of() {
    let fake = start();
    fake.apply(super::NODE);
    fake.run(&["describe", "node", "node-a"]);
    let asked = fake.state().events_asked.clone();
    let wanted = EventsRequest {
        objects: vec![object("node", "node-a")],
        ..EventsRequest::default()
    };
    assert_eq!(asked, [wanted]);
}
