//! `explain`.

use super::{Ran, fine, run};

fn explain(arguments: &[&str]) -> Ran {
    let arguments = [&["explain"], arguments].concat();
    run("http://127.0.0.1:1", &arguments, "")
}

#[test]
fn kinds_and_fields_are_explained_in_the_names_of_files() {
    for (arguments, page) in [
        (&["backendset"][..], include_str!("explain/backendset.txt")),
        (
            &["service.spec.frontends"],
            include_str!("explain/frontends.txt"),
        ),
        (&["svc.forwarding"], include_str!("explain/forwarding.txt")),
        (&["node.metadata"], include_str!("explain/metadata.txt")),
        (
            &["service", "--recursive"],
            include_str!("explain/recursive.txt"),
        ),
    ] {
        assert_eq!(explain(arguments), fine(page), "{arguments:?}");
    }
}

#[test]
fn what_is_not_there_is_a_wrong_command_line() {
    let wrong = |text: &str| Ran {
        status: 2,
        out: String::new(),
        err: format!("error: {text}\n\nFor more information, try '--help'.\n"),
    };
    assert_eq!(
        explain(&["service.weigth"]),
        wrong("service has no field \"weigth\" (there is apiVersion, kind, metadata, spec)")
    );
    assert_eq!(
        explain(&["service.spec.backends.weigth"]),
        wrong("service.spec.backends has no field \"weigth\"; did you mean \"weight\"?")
    );
}
