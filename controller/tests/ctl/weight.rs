//! `weight`.

use super::{SET, WEB, failed, fine, start};

#[test]
fn a_weight_is_set_where_the_backend_is_written_and_nothing_else() {
    let fake = start();
    fake.apply(&format!("{WEB}---\n{SET}"));
    let both = ["weight", "web/10.0.0.11:8080=5", "web/10.0.0.31:8080=2"];
    let done = "\
backend/web/10.0.0.11:8080 configured: weight 5, was 1
backend/web/10.0.0.31:8080 configured: weight 2, was 0
";
    let dry = done.replace('\n', " (server dry run)\n");
    assert_eq!(fake.run(&[&both[..], &["--dry-run"]].concat()), fine(&dry));
    assert_eq!(fake.run(&both), fine(done));
    assert_eq!(
        fake.run(&["get", "backends", "web"]),
        fine(
            "\
NAME                 SERVICE   ADDRESS          WEIGHT   NODE     SET      AGE
web/10.0.0.11:8080   web       10.0.0.11:8080   5        node-a   <none>   <unknown>
web/10.0.0.21:8080   web       10.0.0.21:8080   1        node-a   <none>   <unknown>
web/10.0.0.31:8080   web       10.0.0.31:8080   2        <all>    web-b    <unknown>
"
        )
    );
    let again = ["weight", "web/10.0.0.11:8080=5", "--wait"];
    assert_eq!(
        fake.run(&again),
        fine("backend/web/10.0.0.11:8080 unchanged: weight 5\n")
    );
}

#[test]
fn nothing_is_changed_where_one_is_not_there() {
    let fake = start();
    fake.apply(WEB);
    let writes = fake.state().writes;
    assert_eq!(
        fake.run(&["weight", "web/10.0.0.11:8080=5", "web/10.0.0.12:8080=5"]),
        failed("error: backend/web/10.0.0.12:8080 not found; nothing was changed\n")
    );
    assert_eq!(
        fake.run(&["weight", "shop/10.0.0.11:8080=5"]),
        failed("error: service/shop not found; nothing was changed\n")
    );
    assert_eq!(fake.state().writes, writes);
}

#[test]
fn somebody_who_is_faster_is_not_written_over() {
    let fake = start();
    fake.apply(WEB);
    fake.state().faster = 2;
    assert_eq!(
        fake.run(&["weight", "web/10.0.0.11:8080=5"]),
        fine("backend/web/10.0.0.11:8080 configured: weight 5, was 1\n")
    );
    let revision = fake.state().revision;
    let expected = (revision - 1).to_string();
    let ran = fake.run(&[
        "weight",
        "web/10.0.0.11:8080=6",
        "--expected-revision",
        &expected,
    ]);
    let refused =
        format!("error: the controller says ABORTED: the revision is {revision}, not {expected}\n");
    assert_eq!(ran, failed(&refused));
    fake.state().faster = 100;
    assert_eq!(
        fake.run(&["weight", "web/10.0.0.11:8080=7"]),
        failed(
            "error: the cluster was changed by others 8 times in between; nothing was changed\n"
        )
    );
}
