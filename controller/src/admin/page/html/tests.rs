//! What stands in the page, from what is shown.

use weir_proto::model::Revision;

use super::super::query::Query;
use super::super::seen::Tally;
use super::*;
use crate::desired::samples::{endpoint, frontend, service_name};

fn seen() -> Seen {
    Seen {
        asked: Query {
            filter: "<script>alert(1)</script>".to_owned(),
            page: 2,
            ..Query::default()
        },
        at_unix_ms: 1_700_000_000_000,
        revision: Revision(9),
        fleet: Sum::default(),
        tally: Tally {
            services: 200,
            nodes: 1,
            connected: 0,
            converged: 0,
            failures: 3,
        },
        services: vec![ServiceSeen {
            name: service_name("web"),
            frontends: vec![frontend("10.1.0.1:80"), frontend("10.1.0.1:53/udp")],
            scheduler: "wrr".to_owned(),
            sum: Sum::default(),
            backend_count: 30,
            backends: vec![BackendSeen {
                endpoint: endpoint("10.0.0.1:80"),
                weight: 1,
                node: String::new(),
                cordoned: false,
                sum: Sum::default(),
            }],
            troubles: vec!["node-a: <b>".to_owned()],
            more_troubles: 2,
        }],
        matching: 120,
        nodes: vec![NodeSeen {
            name: "node-a".to_owned(),
            state: NodeState::Gone,
            cordoned: false,
            wanted: 3,
            reached: None,
            items: 4,
            drains: 0,
            repairs: 1,
            heard_ms_ago: None,
            troubles: Vec::new(),
            more_troubles: 0,
        }],
        events: vec![EventSeen {
            number: 7,
            last_ms_ago: 61_000,
            warns: true,
            reason: "NodeDisconnected".to_owned(),
            of: "node node-a".to_owned(),
            message: "its stream ended".to_owned(),
            count: 3,
        }],
    }
}

/// The text between tags, without what is between words.
fn text(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn everything_that_is_seen_is_said_and_what_people_wrote_is_text() {
    let html = page(&seen()).into_string();
    assert!(!html.contains("<script>alert"), "{html}");
    assert!(!html.contains("<b>"), "{html}");
    let version = env!("CARGO_PKG_VERSION");
    let words = [
        "weir To the services weir As of when it was loaded. Load again",
        "Services 200 revision 9 Nodes connected 0 of 1 1 not converged Items not held 3 on all nodes",
        "Active connections 0 0 inactive New connections 0/s 0/s failed From clients 0 B/s to clients 0 B/s",
        "Services Name, label, VIP or backend Filter Show all",
        "120 of 200 have “&lt;script&gt;alert(1)&lt;/script&gt;”",
        "Name ▲ Frontends Scheduler Active New/s Failed/s In Out",
        "web 10.1.0.1:80/TCP 10.1.0.1:53/UDP wrr 0 0 0 0 B/s 0 B/s 30 backends",
        "Backends of web Backend Node Weight Active New/s Failed/s In Out 10.0.0.1:80 any 1 0 0 0 0 B/s 0 B/s",
        "The busiest 1 of 30; all with weirctl top backends . node-a: &lt;b&gt; and 2 more",
        "Previous 51–100 of 120 Next",
        "Nodes Name State Wanted Accepted Converged Items Drains Repairs Last heard What is in the way",
        "node-a gone 3 ? ? 4 0 1 never",
        "Last events Last seen Type Reason Of Message Times",
        "1 min ago Warning NodeDisconnected node node-a its stream ended 3 More with weirctl get events .",
        &format!("Read only. Version {version}. Numbers for machines: /metrics ."),
    ];
    assert_eq!(
        text(html.trim_start_matches("<!DOCTYPE html>")),
        words.join(" ")
    );
}

#[test]
fn a_cordon_is_said_of_the_node_and_of_the_backends_that_run_there() {
    let mut cordoned = seen();
    cordoned.nodes[0].cordoned = true;
    let backend = &mut cordoned.services[0].backends[0];
    (backend.node, backend.cordoned) = ("node-a".to_owned(), true);
    let text = text(&page(&cordoned).into_string());
    for said in [
        "10.0.0.1:80 node-a 0 (cordoned, else 1) 0",
        "node-a gone , cordoned 3",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn a_page_of_nothing_says_how_to_begin() {
    let nothing = Seen {
        asked: Query::default(),
        tally: Tally::default(),
        services: Vec::new(),
        matching: 0,
        nodes: Vec::new(),
        events: Vec::new(),
        ..seen()
    };
    let text = text(&page(&nothing).into_string());
    assert!(
        text.contains("There is no service yet. weirctl apply -f FILE makes one."),
        "{text}"
    );
    assert!(
        text.contains("No node yet: an agent registers its own."),
        "{text}"
    );
}

#[test]
fn while_nothing_is_loaded_it_says_so() {
    let text = text(&not_now().into_string());
    let words = "The controller is starting or stopping. Nodes go on as they are.";
    assert!(text.contains(words), "{text}");
}

#[test]
fn what_a_column_is_sorted_by_is_said_to_those_who_cannot_see_it() {
    let sorted = Seen {
        asked: Query {
            order: Order::Failed,
            ..Query::default()
        },
        ..seen()
    };
    let html = page(&sorted).into_string();
    assert_eq!(html.matches("aria-sort").count(), 1, "{html}");
    let head = r#"aria-sort="descending"><a href="/?sort=failed#services">Failed/s"#;
    assert!(html.contains(head), "{html}");
}
