//! `get` and `status`.

use weir_proto::wire::NodeState;

use super::{NODE, Ran, SET, WEB, failed, fine, run, start};

#[test]
fn get_shows_tables() {
    let fake = start();
    fake.apply(&format!("{WEB}---\n{SET}---\n{NODE}"));
    fake.state().nodes = vec![NodeState {
        name: "node-a".to_owned(),
        connected: true,
        agent_version: "0.1.0".to_owned(),
        wanted_generation: 2,
        accepted_generation: 2,
        converged_generation: 1,
        last_heard_unix_ms: 1,
        ..NodeState::default()
    }];
    for (arguments, out) in [
        (
            &["get", "svc"][..],
            "\
NAME   FRONTENDS                 SCHEDULER   FORWARDING   BACKENDS   REVISION   AGE
web    10.100.100.100:8080/TCP   rr          MASQUERADE   3          1          <unknown>
",
        ),
        (
            &["get", "backends", "web"],
            "\
NAME                 SERVICE   ADDRESS          WEIGHT   NODE     SET      AGE
web/10.0.0.11:8080   web       10.0.0.11:8080   1        node-a   <none>   <unknown>
web/10.0.0.21:8080   web       10.0.0.21:8080   1        node-a   <none>   <unknown>
web/10.0.0.31:8080   web       10.0.0.31:8080   0        <all>    web-b    <unknown>
",
        ),
        (
            &["get", "backends", "web", "-o", "yaml"],
            "\
apiVersion: weir/v1
kind: BackendList
items:
- service: web
  address: \"10.0.0.11\"
  port: 8080
  weight: 1
  node: node-a
- service: web
  address: \"10.0.0.21\"
  port: 8080
  weight: 1
  node: node-a
- service: web
  backendSet: web-b
  address: \"10.0.0.31\"
  port: 8080
  weight: 0
",
        ),
        (
            &["get", "backendset/web-b"],
            "\
NAME    SERVICE   BACKENDS   REVISION   AGE
web-b   web       1          1          <unknown>
",
        ),
        (
            &["get", "no", "-o", "wide"],
            "\
NAME     STATE       WANTED   ACCEPTED   CONVERGED   ADDRESSES   VERSION   CERTIFICATE   LABELS   MISSING   AGE
node-a   connected   2        2          1           10.0.0.1    0.1.0     <none>        <none>   <none>    <unknown>
",
        ),
        (&["get", "services", "-o", "name"], "service/web\n"),
    ] {
        assert_eq!(fake.run(arguments), fine(out), "{arguments:?}");
    }
}

#[test]
fn get_follows_every_page() {
    let fake = start();
    for name in ["a", "b", "c", "d", "e"] {
        fake.apply(&NODE.replace("node-a", name));
    }
    assert_eq!(
        fake.run(&["get", "nodes", "-o", "name"]),
        fine("node/a\nnode/b\nnode/c\nnode/d\nnode/e\n")
    );
}

#[test]
fn what_get_writes_is_applied_as_unchanged() {
    let fake = start();
    fake.apply(&format!("{WEB}---\n{}", WEB.replace("web", "web-2")));
    for form in ["yaml", "json"] {
        for (what, changes) in [
            (
                "services",
                "service/web unchanged\nservice/web-2 unchanged\n",
            ),
            ("service/web", "service/web unchanged\n"),
        ] {
            let shown = fake.run(&["get", what, "-o", form]);
            assert_eq!((shown.status, shown.err.as_str()), (0, ""));
            assert_eq!(fake.apply(&shown.out), fine(changes), "{}", shown.out);
        }
    }
}

#[test]
fn nothing_to_show_is_said_on_standard_error() {
    let fake = start();
    for (kind, err) in [
        ("services", "No services found.\n"),
        ("be", "No backends found.\n"),
        ("bs", "No backendsets found.\n"),
        ("nodes", "No nodes found.\n"),
        ("drains", "No drains found.\n"),
        ("repairs", "No repairs found.\n"),
    ] {
        let nothing = Ran {
            status: 0,
            out: String::new(),
            err: err.to_owned(),
        };
        assert_eq!(fake.run(&["get", kind]), nothing);
    }
}

#[test]
fn a_name_that_is_not_there_is_an_error_beside_those_that_are() {
    let fake = start();
    fake.apply(WEB);
    assert_eq!(
        fake.run(&["get", "services", "shop"]),
        failed("error: service/shop not found\n")
    );
    assert_eq!(
        fake.run(&["get", "services", "shop", "web", "-o", "name"]),
        Ran {
            status: 1,
            out: "service/web\n".to_owned(),
            err: "error: service/shop not found\n".to_owned(),
        }
    );
    assert_eq!(
        fake.run(&["get", "nodes", "a", "b"]),
        failed("node/a not found\nnode/b not found\nerror: 2 resources not found\n")
    );
}

fn node(converged: u64) -> NodeState {
    NodeState {
        name: "node-a".to_owned(),
        connected: true,
        wanted_generation: 2,
        accepted_generation: 2,
        converged_generation: converged,
        wanted_items: 5,
        ..NodeState::default()
    }
}

#[test]
fn status_succeeds_only_when_every_node_is_connected_and_has_converged() {
    let fake = start();
    fake.state().nodes = vec![node(2)];
    assert_eq!(
        fake.run(&["status"]),
        fine(
            "\
controller URL, revision 0

NODE     STATE       WANTED   ACCEPTED   CONVERGED   ITEMS   FAILED   DRAINS   REPAIRS   HEARD
node-a   connected   2        2          2           5       0        0        0         -
"
        )
    );
    fake.state().nodes = vec![NodeState {
        connected: false,
        ..node(2)
    }];
    assert_eq!(
        fake.run(&["status"]),
        Ran {
            status: 1,
            out: "\
controller URL, revision 0

NODE     STATE     WANTED   ACCEPTED   CONVERGED   ITEMS   FAILED   DRAINS   REPAIRS   HEARD
node-a   unheard   2        -          -           5       0        0        0         -

node-a: not heard from since the controller started; generation 2 waits for it
"
            .to_owned(),
            err: String::new(),
        }
    );
    fake.state().nodes = vec![node(1)];
    assert_eq!(
        fake.run(&["status"]),
        Ran {
            status: 1,
            out: "\
controller URL, revision 0

NODE     STATE       WANTED   ACCEPTED   CONVERGED   ITEMS   FAILED   DRAINS   REPAIRS   HEARD
node-a   connected   2        2          1           5       0        0        0         -

node-a: accepted generation 2, converged on generation 1 of 2
"
            .to_owned(),
            err: String::new(),
        }
    );
}

#[test]
fn status_is_shown_again_at_each_change_until_the_call_ends() {
    let fake = start();
    fake.state().watches = [vec![vec![node(1)], vec![node(2)]], vec![]].into();
    let ran = run(&fake.url, &["status", "--watch"], "");
    assert_eq!(
        (ran.status, ran.err.as_str()),
        (1, "error: the controller at URL ended the call\n")
    );
    let pages: Vec<&str> = ran.out.split("controller URL, revision 0\n").collect();
    assert_eq!(pages.len(), 3, "{}", ran.out);
    assert!(pages[1].contains("converged on generation 1 of 2"));
}

#[test]
fn status_waits_until_every_node_is_well_and_shows_it_once() {
    let fake = start();
    fake.state().watches = [vec![vec![node(1)], vec![node(1)]], vec![vec![node(2)]]].into();
    assert_eq!(
        fake.run(&["status", "--wait"]),
        fine(
            "\
controller URL, revision 0

NODE     STATE       WANTED   ACCEPTED   CONVERGED   ITEMS   FAILED   DRAINS   REPAIRS   HEARD
node-a   connected   2        2          2           5       0        0        0         -
"
        )
    );
    fake.state().watches = [vec![vec![node(1)]]].into();
    let ran = fake.run(&["status", "--wait", "--wait-timeout", "300ms"]);
    assert_eq!(
        (ran.status, ran.err.as_str()),
        (1, "error: timed out after 300ms: 1 node is not well\n")
    );
    assert!(
        ran.out.contains("converged on generation 1 of 2"),
        "{}",
        ran.out
    );
}

#[test]
fn status_is_written_for_programs() {
    let fake = start();
    let unheard = NodeState {
        connected: false,
        ..node(2)
    };
    for (nodes, status, well) in [(vec![node(2)], 0, true), (vec![node(2), unheard], 1, false)] {
        let count = nodes.len();
        fake.state().nodes = nodes;
        let ran = fake.run(&["status", "-o", "json"]);
        assert_eq!((ran.status, ran.err.as_str()), (status, ""));
        let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
        assert_eq!(json["well"], well);
        assert_eq!(json["nodes"].as_array().map(Vec::len), Some(count));
        let ran = fake.run(&["status", "-o", "yaml"]);
        assert_eq!((ran.status, ran.err.as_str()), (status, ""));
        let yaml: serde_json::Value = serde_saphyr::from_str(&ran.out).expect("YAML");
        assert_eq!(yaml, json);
    }
    fake.state().watches = [vec![vec![node(1)], vec![node(2)]], vec![]].into();
    let ran = fake.run(&["status", "--watch", "-o", "yaml"]);
    let documents = ran.out.split("---\n").map(|text| {
        let document: Option<serde_json::Value> = serde_saphyr::from_str(text).expect("YAML");
        document.map(|it| it["well"].clone())
    });
    let documents: Vec<Option<serde_json::Value>> = documents.collect();
    assert_eq!(documents, [None, Some(false.into()), Some(true.into())]);
}
