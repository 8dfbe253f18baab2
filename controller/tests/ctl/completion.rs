//! `completion`: what shells run, and what they are answered.

use std::process::Command;

use super::{NODE, WEB, command_line, run, start};

/// Completes the last word of a line as bash asks for it.
fn completed(url: &str, line: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weirctl"));
    command
        .env("XDG_CONFIG_HOME", "/nowhere")
        .env("WEIR_CONTROLLER", url)
        .env("_WEIRCTL_COMPLETE", "bash")
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_INDEX", line.len().to_string())
        .args(["--", "weirctl"])
        .args(line);
    let output = command.output().expect("weirctl runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_terminator('\n').map(str::to_owned).collect()
}

#[test]
fn names_are_those_that_the_controller_has() {
    let fake = start();
    fake.apply(&format!(
        "{WEB}---\n{}---\n{NODE}",
        WEB.replace("web", "shop")
    ));
    let url = &fake.url;
    for (line, words) in [
        (&["get", "services", ""][..], &["shop", "web"][..]),
        (&["get", "svc", "w"], &["web"]),
        (&["get", "service/s"], &["service/shop"]),
        (&["describe", "node", ""], &["node-a"]),
        (
            &["get", "backends", "web/"],
            &["web/10.0.0.11:8080", "web/10.0.0.21:8080"],
        ),
        (&["get", "vips", ""], &["10.100.100.100"]),
        (
            &["drain", "backend", "web", ""],
            &["10.0.0.11:8080", "10.0.0.21:8080"],
        ),
        (&["weight", "shop/10.0.0.1"], &["shop/10.0.0.11:8080="]),
        (&["node", "release", ""], &["node-a"]),
        (
            &["explain", "service.spec.dr"],
            &[
                "service.spec.drain",
                "service.spec.drain.deadlineSeconds",
                "service.spec.drain.onDeadline",
            ],
        ),
    ] {
        assert_eq!(completed(url, line), words, "{line:?}");
    }
    assert_eq!(completed(url, &["dr"]), ["drain"]);
    assert_eq!(
        completed(url, &["get", "--cont"]),
        ["--controller", "--context"]
    );
}

#[test]
fn where_nobody_answers_there_are_no_names_and_nothing_is_said() {
    let none: [&str; 0] = [];
    assert_eq!(
        completed("http://127.0.0.1:1", &["get", "services", "w"]),
        none
    );
    let fake = start();
    fake.state().silent = true;
    assert_eq!(completed(&fake.url, &["get", "services", "w"]), none);
    assert_eq!(completed(&fake.url, &["drain", "backe"]), ["backend"]);
}

#[test]
fn each_shell_has_something_to_run() {
    for (shell, word) in [
        ("bash", "complete -o nospace"),
        ("zsh", "#compdef weirctl"),
        (
            "fish",
            "complete --keep-order --exclusive --command weirctl",
        ),
    ] {
        let ran = run("http://127.0.0.1:1", &["completion", shell], "");
        assert_eq!((ran.status, ran.err.as_str()), (0, ""));
        assert!(ran.out.contains(word), "{}", ran.out);
        assert!(ran.out.contains("_WEIRCTL_COMPLETE"), "{}", ran.out);
    }
    let output = command_line(&["completion", "tcsh"])
        .output()
        .expect("weirctl runs");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn bash_completes_by_what_it_runs() {
    let fake = start();
    fake.apply(WEB);
    let script = format!(
        "PATH=$(dirname {weirctl}):$PATH; source <({weirctl} completion bash); \
         COMP_WORDS=(weirctl get services w); COMP_CWORD=3; COMP_TYPE=9; \
         _clap_complete_weirctl weirctl w services; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        weirctl = env!("CARGO_BIN_EXE_weirctl")
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).env("WEIR_CONTROLLER", &fake.url);
    let output = bash
        .env("XDG_CONFIG_HOME", "/nowhere")
        .output()
        .expect("bash runs");
    let out = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(out, "web", "{}", String::from_utf8_lossy(&output.stderr));
}
