//! `cordon` and `uncordon`, and where a cordon is shown.

use super::{NODE, Ran, SET, WEB, failed, fine, start};

const SHUT: &str = "warning: no backend of service/web takes a new connection: cordoned node-a\n";

fn warned(out: &str, err: &str) -> Ran {
    Ran {
        err: err.to_owned(),
        ..fine(out)
    }
}

#[test]
fn a_node_is_cordoned_and_uncordoned_and_keeps_what_else_is_set_on_it() {
    let fake = start();
    fake.apply(&format!("{WEB}---\n{SET}---\n{NODE}"));
    let cordon = ["cordon", "node", "node-a"];
    assert_eq!(
        fake.run(&[&cordon[..], &["--dry-run"]].concat()),
        warned("node/node-a cordoned (server dry run)\n", SHUT)
    );
    assert_eq!(fake.run(&cordon), warned("node/node-a cordoned\n", SHUT));
    assert_eq!(
        fake.run(&["cordon", "node/node-a"]),
        warned("node/node-a already cordoned\n", SHUT)
    );
    assert_eq!(
        fake.run(&["cordon", "node-a"]),
        warned("node/node-a already cordoned\n", SHUT)
    );
    assert_eq!(
        fake.run(&["get", "node/node-a", "-o", "yaml"]),
        fine(
            "\
apiVersion: weir/v1
kind: Node
metadata:
  name: node-a
  revision: 2
spec:
  addresses:
  - \"10.0.0.1\"
  cordoned: true
"
        )
    );
    assert_eq!(
        fake.run(&["uncordon", "node", "node-a"]),
        fine("node/node-a uncordoned\n")
    );
    assert_eq!(
        fake.run(&["uncordon", "node", "node-a", "--wait"]),
        fine("node/node-a already uncordoned\n")
    );
    assert_eq!(
        fake.run(&["get", "node/node-a", "-o", "yaml"]),
        fine(
            "\
apiVersion: weir/v1
kind: Node
metadata:
  name: node-a
  revision: 3
spec:
  addresses:
  - \"10.0.0.1\"
"
        )
    );
}

#[test]
fn a_cordon_is_shown_with_the_node_and_with_what_runs_there() {
    let fake = start();
    let more = "    - {address: 10.0.0.41, port: 8080, node: node-b, weight: 5}\n";
    fake.apply(&format!("{WEB}{more}---\n{SET}---\n{NODE}"));
    assert_eq!(
        fake.run(&["cordon", "node", "node-a"]),
        fine("node/node-a cordoned\n")
    );
    for (arguments, out) in [
        (
            &["get", "nodes"][..],
            "\
NAME     STATE              WANTED   ACCEPTED   CONVERGED   ADDRESSES   AGE
node-a   unheard,cordoned   0        -          -           10.0.0.1    <unknown>
",
        ),
        (
            &["get", "backends", "web"],
            "\
NAME                 SERVICE   ADDRESS          WEIGHT                 NODE     SET      AGE
web/10.0.0.11:8080   web       10.0.0.11:8080   0 (cordoned, else 1)   node-a   <none>   <unknown>
web/10.0.0.21:8080   web       10.0.0.21:8080   0 (cordoned, else 1)   node-a   <none>   <unknown>
web/10.0.0.41:8080   web       10.0.0.41:8080   5                      node-b   <none>   <unknown>
web/10.0.0.31:8080   web       10.0.0.31:8080   0                      <all>    web-b    <unknown>
",
        ),
        (
            &["get", "backends", "web/10.0.0.21:8080", "-o", "yaml"],
            "\
apiVersion: weir/v1
kind: BackendList
items:
- service: web
  address: \"10.0.0.21\"
  port: 8080
  weight: 1
  node: node-a
  cordoned: true
",
        ),
        (
            &["get", "services", "-o", "ipvsadm"],
            "\
-A -t 10.100.100.100:8080 -s rr
-a -t 10.100.100.100:8080 -r 10.0.0.11:8080 -m -w 0
-a -t 10.100.100.100:8080 -r 10.0.0.21:8080 -m -w 0
-a -t 10.100.100.100:8080 -r 10.0.0.31:8080 -m -w 0
-a -t 10.100.100.100:8080 -r 10.0.0.41:8080 -m -w 5
",
        ),
    ] {
        assert_eq!(fake.run(arguments), fine(out), "{arguments:?}");
    }
    let page = fake.run(&["describe", "service", "web"]).out;
    let backends = "\
Backends:
  ADDRESS          WEIGHT                 NODE     UPPER    LOWER    SET
  10.0.0.11:8080   0 (cordoned, else 1)   node-a   <none>   <none>   <none>
  10.0.0.21:8080   0 (cordoned, else 1)   node-a   <none>   <none>   <none>
  10.0.0.41:8080   5                      node-b   <none>   <none>   <none>
  10.0.0.31:8080   0                      <all>    <none>   <none>   web-b
";
    assert!(page.contains(backends), "{page}");
    let page = fake.run(&["describe", "node", "node-a"]).out;
    for line in [
        "\nCordoned:            true\n",
        "\nState:               unheard,cordoned\n",
    ] {
        assert!(page.contains(line), "{page}");
    }
}

#[test]
fn nothing_is_changed_where_a_node_is_not_there_or_is_none() {
    let fake = start();
    fake.apply(NODE);
    let writes = fake.state().writes;
    assert_eq!(
        fake.run(&["cordon", "node", "node-a", "node-x"]),
        failed("error: node/node-x not found; nothing was changed\n")
    );
    assert_eq!(
        fake.run(&["cordon", "node-a", "node-x"]),
        failed("error: node/node-x not found; nothing was changed\n")
    );
    for (what, why) in [
        (
            &["services", "web"][..],
            "services are not cordoned: a node is",
        ),
        (&["node"], "name the node"),
    ] {
        let wrong = Ran {
            status: 2,
            out: String::new(),
            err: format!("error: {why}\n\nFor more information, try '--help'.\n"),
        };
        assert_eq!(fake.run(&[&["cordon"][..], what].concat()), wrong);
    }
    assert_eq!(fake.state().writes, writes);
}

#[test]
fn somebody_who_is_faster_is_not_written_over() {
    let fake = start();
    fake.apply(NODE);
    fake.state().faster = 2;
    assert_eq!(
        fake.run(&["cordon", "node", "node-a"]),
        fine("node/node-a cordoned\n")
    );
    fake.state().faster = 100;
    assert_eq!(
        fake.run(&["uncordon", "node", "node-a"]),
        failed(
            "error: the cluster was changed by others 8 times in between; nothing was changed\n"
        )
    );
}
