use super::super::table;
use super::*;

fn backend(service: &str, address: &str) -> wire::DrainTarget {
    wire::DrainTarget {
        target: Some(Target::Backend(wire::drain_target::Backend {
            service: service.to_owned(),
            address: address.to_owned(),
            port: 8080,
        })),
    }
}

fn node(name: &str) -> wire::DrainTarget {
    wire::DrainTarget {
        target: Some(Target::Node(name.to_owned())),
    }
}

/// What a node tells: so many connections, half of them being closed, until a time in seconds.
fn on(node: &str, connections: u64, until: u64, done: bool) -> wire::drain_state::OnNode {
    wire::drain_state::OnNode {
        node: node.to_owned(),
        progress: Some(wire::DrainProgress {
            active_connections: connections - connections / 2,
            inactive_connections: connections / 2,
            started_unix_ms: 900_000,
            deadline_unix_ms: until * 1_000,
            on_deadline: wire::OnDeadline::Keep.into(),
            done,
            ..wire::DrainProgress::default()
        }),
    }
}

fn asked(target: wire::DrainTarget, nodes: Vec<wire::drain_state::OnNode>) -> wire::DrainState {
    wire::DrainState {
        target: Some(target),
        asked: true,
        drain: Some(wire::Drain {
            deadline_seconds: Some(300),
            on_deadline: wire::OnDeadline::Reset.into(),
        }),
        asked_unix_ms: 940_000,
        nodes,
    }
}

#[test]
fn drains_are_shown_node_by_node_with_what_is_left() {
    let mut cut = on("node-b", 4, 990, false);
    if let Some(progress) = &mut cut.progress {
        progress.on_deadline = wire::OnDeadline::Reset.into();
    }
    let drains = [
        asked(
            backend("web", "10.0.0.11"),
            vec![
                on("node-a", 7, 1_240, false),
                on("node-a", 2, 1_240, true),
                on("node-b", 3, 1_000, false),
                on("node-c", 0, 1_240, true),
            ],
        ),
        asked(node("node-a"), vec![on("node-b", 1, 990, false), cut]),
        asked(node("node-d"), vec![]),
        wire::DrainState {
            target: Some(backend("", "fd00::11")),
            nodes: vec![on("node-a", 5, 1_001, false)],
            ..wire::DrainState::default()
        },
    ];
    assert_eq!(
        table(&drain_rows(&drains, 1_000_000)),
        "\
NAME                 KIND      NODE     CONNECTIONS   LEFT   ON-DEADLINE   STATE                        AGE
web/10.0.0.11:8080   backend   node-a   9             4m     KEEP          draining                     1m
web/10.0.0.11:8080   backend   node-b   3             -      KEEP          past deadline (keep)         1m
web/10.0.0.11:8080   backend   node-c   0             -      KEEP          done                         1m
node-a               node      node-b   5             -      KEEP,RESET    past deadline (keep,reset)   1m
node-d               node      <none>   -             -      RESET         asked                        1m
[fd00::11]:8080      backend   node-a   5             1s     KEEP          draining                     1m40s
"
    );
}

#[test]
fn repairs_are_shown_as_they_happened_on_all_nodes() {
    let repair = |seconds: u64, found: &str, expected: &str| wire::Repair {
        object: "vip 10.100.100.100".to_owned(),
        kind: "vip".to_owned(),
        found: found.to_owned(),
        expected: expected.to_owned(),
        at_unix_ms: seconds * 1_000,
    };
    let state = |name: &str, repairs| wire::NodeState {
        name: name.to_owned(),
        repairs,
        ..wire::NodeState::default()
    };
    let states = [
        state(
            "node-a",
            vec![repair(900, "", "bound"), repair(990, "bound", "")],
        ),
        state("node-b", vec![repair(950, "as a route", "as an address")]),
    ];
    assert_eq!(
        table(&repair_rows(&states, 1_000_000)),
        "\
NODE     KIND   OBJECT               FOUND        EXPECTED        AGE
node-a   vip    vip 10.100.100.100   <none>       bound           1m40s
node-b   vip    vip 10.100.100.100   as a route   as an address   50s
node-a   vip    vip 10.100.100.100   bound        <none>          10s
"
    );
}
