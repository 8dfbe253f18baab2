//! `apply` and `delete`.

use std::fs;
use std::path::Path;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{NODE, Ran, SET, WEB, failed, fine, run, start};

#[test]
fn apply_says_what_became_of_each_resource() {
    let fake = start();
    let both = format!("{WEB}---\n{SET}");
    assert_eq!(
        fake.apply(&both),
        fine("service/web created\nbackendset/web-b created\n")
    );
    assert_eq!(
        fake.apply(&both.replace("scheduler: rr", "scheduler: lc")),
        fine("service/web configured\nbackendset/web-b unchanged\n")
    );
    assert_eq!(fake.state().revision, 2);
}

#[test]
fn a_dry_run_changes_nothing() {
    let fake = start();
    assert_eq!(
        run(&fake.url, &["apply", "--dry-run", "-f", "-"], WEB),
        fine("service/web created (server dry run)\n")
    );
    assert_eq!(fake.state().resources.len(), 0);
    fake.apply(WEB);
    assert_eq!(
        fake.run(&["delete", "svc/web", "--dry-run"]),
        fine("service/web deleted (server dry run)\n")
    );
    assert_eq!(fake.state().resources.len(), 1);
}

#[test]
fn the_files_of_a_directory_are_applied_in_order_of_name() {
    let fake = start();
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).expect("a file");
    };
    write("2.yml", SET);
    write("1.yaml", WEB);
    write(
        "3.json",
        r#"{"apiVersion": "weir/v1", "kind": "Node", "metadata": {"name": "node-a"}}"#,
    );
    write("notes.txt", "not a resource");
    let path = directory.path().display().to_string();
    assert_eq!(
        fake.run(&["apply", "-f", &path]),
        fine("service/web created\nbackendset/web-b created\nnode/node-a created\n")
    );
}

#[test]
fn everything_wrong_in_all_files_is_said_and_nothing_is_sent() {
    let fake = start();
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (one, two, none) = (path("one.yaml"), path("two.yaml"), path("none.yaml"));
    fs::write(
        &one,
        WEB.replace("port: 8080, protocol", "port: 0, protocol"),
    )
    .expect("a file");
    fs::write(
        &two,
        WEB.replace("scheduler", "schedular").replace("web", "w"),
    )
    .expect("a file");
    let ran = fake.run(&["apply", "-f", &one, "-f", &two, "-f", &none]);
    let said = ran
        .err
        .replace(&format!("{}/", directory.path().display()), "");
    assert_eq!(
        (ran.status, ran.out.as_str(), said.as_str()),
        (
            1,
            "",
            "\
none.yaml: cannot read it: No such file or directory
one.yaml:6: services[web].frontends[0].port: 0 is not a port (1-65535)
two.yaml:7: unknown field \"schedular\" in spec; did you mean \"scheduler\"?
error: 3 problems; nothing was sent
"
        )
    );
    assert_eq!(fake.state().writes, 0);
}

#[test]
fn a_file_without_resources_is_an_error() {
    assert_eq!(
        start().apply("# nothing\n"),
        failed("error: no resources in stdin\n")
    );
}

#[test]
fn fields_the_controller_refuses_are_brought_to_their_lines() {
    let fake = start();
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation("services[web].frontends[0]", "claimed by service dns");
    details.add_bad_request_violation("services[web].node_selector", "selects nothing");
    details.add_bad_request_violation("services[dns]", "in the way");
    fake.state().refusal = Some(Status::with_error_details(
        Code::InvalidArgument,
        "services[web].frontends[0]: claimed by service dns; services[dns]: in the way",
        details,
    ));
    assert_eq!(
        fake.apply(WEB),
        failed(
            "\
stdin:6: services[web].frontends[0]: claimed by service dns
stdin:1: services[web].nodeSelector: selects nothing
services[dns]: in the way
error: the controller found 3 problems; nothing was applied
"
        )
    );
}

#[test]
fn a_refusal_without_fields_is_said_in_the_controllers_words() {
    let fake = start();
    fake.state().refusal = Some(Status::unavailable("the disk is full"));
    assert_eq!(
        fake.apply(WEB),
        failed("error: the controller says UNAVAILABLE: the disk is full\n")
    );
}

#[test]
fn another_revision_than_expected_is_refused() {
    let fake = start();
    fake.apply(WEB);
    let arguments = ["apply", "-f", "-", "--expected-revision", "7"];
    assert_eq!(
        run(&fake.url, &arguments, NODE),
        failed("error: the controller says ABORTED: the revision is 1, not 7\n")
    );
}

#[test]
fn a_batch_too_large_is_not_sent() {
    let fake = start();
    let mut text = format!("{WEB}---\n{}", SET.replace("web-b", "big"));
    text = text.replace(
        "backends: [{address: 10.0.0.31, port: 8080, weight: 0}]\n",
        "backends:\n",
    );
    for place in 0..120_000u32 {
        let [_, high, mid, low] = place.to_be_bytes();
        text += &format!(
            "  - {{address: 10.{high}.{mid}.{low}, port: 1, node: {}}}\n",
            "n".repeat(30)
        );
    }
    let text = text.replace("10.0.0.0, port", "11.0.0.0, port");
    let Ran { status, err, .. } = fake.apply(&text);
    assert_eq!(
        (status, err.as_str()),
        (
            1,
            "error: the resources are 5754 KiB, and one apply carries 4096 KiB: apply them in parts\n"
        )
    );
}

#[test]
fn what_is_named_is_deleted() {
    let fake = start();
    fake.apply(&format!("{WEB}---\n{SET}---\n{NODE}"));
    assert_eq!(
        fake.run(&["delete", "bs", "web-b"]),
        fine("backendset/web-b deleted\n")
    );
    assert_eq!(
        fake.run(&["delete", "svc", "web", "nope"]),
        failed("error: service/nope not found; nothing was deleted\n")
    );
    assert_eq!(
        fake.run(&["delete", "svc", "gone", "web", "nope"]),
        failed(
            "service/gone not found\nservice/nope not found\n\
             error: 2 resources not found; nothing was deleted\n"
        )
    );
    assert_eq!(
        run(
            &fake.url,
            &["delete", "-f", "-"],
            &format!("{WEB}---\n{NODE}")
        ),
        fine("service/web deleted\nnode/node-a deleted\n")
    );
    assert_eq!(fake.state().resources.len(), 0);
}

#[test]
fn what_is_not_there_is_left_out_when_asked_for() {
    let fake = start();
    fake.apply(WEB);
    let delete = ["delete", "svc", "web", "nope", "--ignore-not-found"];
    assert_eq!(fake.run(&delete), fine("service/web deleted\n"));
    assert_eq!(fake.run(&delete), fine(""));
}

#[test]
fn the_examples_can_be_applied_one_by_one_and_together() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let mut paths = vec![examples.clone()];
    for entry in fs::read_dir(examples).expect("the examples") {
        let path = entry.expect("an example").path();
        paths.extend(
            path.extension()
                .is_some_and(|it| it == "yaml")
                .then_some(path),
        );
    }
    assert!(paths.len() > 3, "{paths:?}");
    for path in paths {
        let path = path.display().to_string();
        let ran = start().run(&["apply", "-f", &path]);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{path}");
    }
}
