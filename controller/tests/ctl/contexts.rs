//! `config`, and whom a command calls.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use super::{Ran, WEB, command_line, failed, fine, start};

/// Runs weirctl with nothing set but this file of contexts, which is "FILE" in what it says.
fn run(file: &Path, arguments: &[&str]) -> Ran {
    let mut command = command_line(arguments);
    for name in ["WEIR_CONTROLLER", "WEIR_CONTEXT", "WEIR_TLS_CERT"] {
        command.env_remove(name);
    }
    let output = command
        .env("WEIR_CONFIG", file)
        .output()
        .expect("weirctl runs");
    ran(output, file)
}

fn ran(output: std::process::Output, file: &Path) -> Ran {
    let file = file.display().to_string();
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes)
            .expect("text")
            .replace(&file, "FILE")
    };
    Ran {
        status: output.status.code().expect("an exit status"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn place() -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("weir/config.yaml");
    (directory, file)
}

#[test]
fn contexts_are_kept_in_a_file_that_only_its_owner_reads() {
    let (_directory, file) = place();
    let set = [
        "config",
        "set-context",
        "prod",
        "--controller",
        "https://lb:7420/",
    ];
    let tls = [
        "--tls-cert",
        "/etc/c.pem",
        "--tls-key",
        "/etc/k.pem",
        "--tls-ca",
        "/etc/a.pem",
    ];
    assert_eq!(
        run(&file, &[&set[..], &tls].concat()),
        fine("Context \"prod\" created.\n")
    );
    let lab = [
        "config",
        "set-context",
        "lab",
        "--controller",
        "http://127.0.0.1:7420",
    ];
    assert_eq!(run(&file, &lab), fine("Context \"lab\" created.\n"));
    assert_eq!(
        run(&file, &["config", "current-context"]),
        failed("error: no current context is set; weirctl config use-context NAME\n")
    );
    assert_eq!(
        run(&file, &["config", "use-context", "prod"]),
        fine("Switched to context \"prod\".\n")
    );
    assert_eq!(run(&file, &["config", "current-context"]), fine("prod\n"));
    assert_eq!(
        run(&file, &["config", "get-contexts"]),
        fine(
            "\
CURRENT   NAME   CONTROLLER              CERTIFICATE
*         prod   https://lb:7420         /etc/c.pem
          lab    http://127.0.0.1:7420   <none>
"
        )
    );
    assert_eq!(
        run(&file, &["config", "get-contexts", "-o", "name"]),
        fine("prod\nlab\n")
    );
    assert_eq!(
        run(&file, &["config", "set-context", "lab", "--insecure"]),
        fine("Context \"lab\" modified.\n")
    );
    assert_eq!(
        run(&file, &["config", "view"]),
        fine(
            "\
apiVersion: weir/v1
kind: Config
currentContext: prod
contexts:
- name: prod
  controller: https://lb:7420
  tlsCert: /etc/c.pem
  tlsKey: /etc/k.pem
  tlsCa: /etc/a.pem
- name: lab
  controller: http://127.0.0.1:7420
  insecure: true
"
        )
    );
    let mode = |path: &Path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    let directory = file.parent().expect("a directory");
    assert_eq!((mode(&file), mode(directory)), (0o600, 0o700));
    let names = fs::read_dir(directory).expect("a directory").count();
    assert_eq!(names, 1, "nothing else is left there");
    assert_eq!(
        run(&file, &["config", "delete-context", "prod"]),
        Ran {
            status: 0,
            out: "deleted context prod from FILE\n".to_owned(),
            err: "warning: this was the current context; weirctl config use-context NAME sets another\n".to_owned(),
        }
    );
    assert_eq!(
        run(&file, &["config", "use-context", "prod"]),
        failed("error: no context \"prod\" in FILE (there is lab)\n")
    );
}

#[test]
fn a_context_names_the_controller_and_a_flag_or_variable_counts_more() {
    let fake = start();
    fake.apply(WEB);
    let (_directory, file) = place();
    let set = ["config", "set-context"];
    run(
        &file,
        &[&set[..], &["here", "--controller", &fake.url]].concat(),
    );
    run(
        &file,
        &[&set[..], &["away", "--controller", "http://127.0.0.1:1"]].concat(),
    );
    run(&file, &["config", "use-context", "here"]);
    let get = ["get", "services", "-o", "name"];
    let found = fine("service/web\n");
    let lost = "error: cannot reach the controller at http://127.0.0.1:1: Connection refused; check that weir-controller \
                runs there, and that --controller or WEIR_CONTROLLER names it\n";
    assert_eq!(run(&file, &get), found);
    assert_eq!(
        run(&file, &[&["--context", "away"], &get[..]].concat()),
        failed(lost)
    );
    let flag = ["--context", "away", "--controller", &fake.url];
    assert_eq!(run(&file, &[&flag, &get[..]].concat()), found);
    assert_eq!(
        run(
            &file,
            &[&["--controller", "http://127.0.0.1:1"], &get[..]].concat()
        ),
        failed(lost)
    );
    for (context, controller, expected) in [
        ("away", "", failed(lost)),
        ("away", fake.url.as_str(), found.clone()),
        ("", "http://127.0.0.1:1", failed(lost)),
        (
            "none",
            "",
            failed("error: no context \"none\" in FILE (there is here, away)\n"),
        ),
    ] {
        let mut command = command_line(&get);
        command
            .env("WEIR_CONFIG", &file)
            .env("WEIR_CONTEXT", context)
            .env_remove("WEIR_CONTROLLER");
        if !controller.is_empty() {
            command.env("WEIR_CONTROLLER", controller);
        }
        let output = command.output().expect("weirctl runs");
        assert_eq!(ran(output, &file), expected, "{context} {controller}");
    }
}

#[test]
fn a_certificate_of_the_current_context_is_not_shown_to_another_controller() {
    let fake = start();
    let (_directory, file) = place();
    let set = [
        "config",
        "set-context",
        "prod",
        "--controller",
        "https://lb:7420",
        "--tls-cert",
        "c",
    ];
    run(&file, &set);
    run(&file, &["config", "use-context", "prod"]);
    let ran = run(
        &file,
        &["--controller", &fake.url, "get", "services", "-o", "name"],
    );
    assert_eq!((ran.status, ran.err.as_str()), (0, "No services found.\n"));
    assert_eq!(
        run(&file, &["get", "services"]),
        Ran {
            status: 2,
            out: String::new(),
            err: "error: --tls-key: missing, and https:// wants it\n       \
                  --tls-ca: missing, and https:// wants it\n\nFor more information, try '--help'.\n"
                .to_owned(),
        }
    );
}

#[test]
fn everything_wrong_in_the_file_is_said_at_once() {
    let (directory, _) = place();
    let file = directory.path().join("config.yaml");
    fs::write(
        &file,
        "apiVersion: weir/v1\nkind: Config\ncontexts:\n- name: a\n  controller: lb:7420\n  token: x\n",
    )
    .expect("written");
    assert_eq!(
        run(&file, &["get", "services"]),
        failed(
            "FILE:5: contexts[0].controller: \"lb:7420\": write it like https://HOST:PORT or http://HOST:PORT\n\
             FILE:6: unknown field \"token\" in contexts[0] (there is name, controller, tlsCert, tlsKey, tlsCa, insecure)\n\
             error: 2 problems in the file of contexts\n"
        )
    );
    // who calls nobody needs no contexts
    assert_eq!(run(&file, &["version"]).status, 0);
    let absent = directory.path().join("absent.yaml");
    assert_eq!(
        run(&absent, &["config", "get-contexts"]),
        failed("error: cannot read the contexts in FILE: No such file or directory\n")
    );
}
