//! weirctl as people run it, against a controller of the tests' own.

mod agents;
mod apply;
mod checks;
mod completion;
mod contexts;
mod cordon;
mod describe;
mod drains;
mod edit;
mod events;
mod explain;
mod fake;
mod get;
mod history;
mod import;
mod pki;
mod plans;
mod progress;
mod rollouts;
mod show;
mod terminal;
mod top;
mod waiting;
mod weight;
mod why;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use fake::{Fake, State};

/// How long a run may take: a deadline, not a measure.
const RUN_DEADLINE: Duration = Duration::from_secs(60);

/// What a run left behind. The controller's URL is "URL" in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ran {
    status: i32,
    out: String,
    err: String,
}

/// What a run that went well left behind.
fn fine(out: &str) -> Ran {
    Ran {
        status: 0,
        out: out.to_owned(),
        err: String::new(),
    }
}

/// What a run that failed left behind.
fn failed(err: &str) -> Ran {
    Ran {
        status: 1,
        out: String::new(),
        err: err.to_owned(),
    }
}

/// The command line on a terminal of 100 columns.
fn command_line(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weirctl"));
    command.args(arguments).env("COLUMNS", "100");
    // no contexts of whoever runs the tests
    command.env("XDG_CONFIG_HOME", "/nowhere");
    command
}

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = command_line(arguments);
    command
        .env("WEIR_CONTROLLER", url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs weirctl to its end; one that does not end is killed, and has no exit status then.
fn run(url: &str, arguments: &[&str], input: &str) -> Ran {
    let mut child = command(url, arguments).spawn().expect("weirctl starts");
    let id = Pid::from_raw(child.id().try_into().expect("an id"));
    let (ended, end) = mpsc::channel::<()>();
    let deadline = thread::spawn(move || {
        if end.recv_timeout(RUN_DEADLINE) == Err(RecvTimeoutError::Timeout) {
            let _ = kill(id, Signal::SIGKILL);
        }
    });
    let mut stdin = child.stdin.take().expect("a pipe");
    // A run that reads no input may be over already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("weirctl ends");
    drop(ended);
    deadline.join().expect("the deadline is over");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").replace(url, "URL");
    Ran {
        status: output.status.code().expect("an exit status"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

impl Fake {
    fn run(&self, arguments: &[&str]) -> Ran {
        run(&self.url, arguments, "")
    }

    fn apply(&self, text: &str) -> Ran {
        run(&self.url, &["apply", "-f", "-"], text)
    }
}

fn start() -> Fake {
    Fake::start(State::default())
}

const WEB: &str = "\
apiVersion: weir/v1
kind: Service
metadata: {name: web, labels: {tier: front}}
spec:
  frontends:
    - {address: 10.100.100.100, port: 8080, protocol: TCP}
  scheduler: rr
  backends:
    - {address: 10.0.0.11, port: 8080, node: node-a}
    - {address: 10.0.0.21, port: 8080, node: node-a}
";

const SET: &str = "\
apiVersion: weir/v1
kind: BackendSet
metadata: {name: web-b}
spec:
  service: web
  backends: [{address: 10.0.0.31, port: 8080, weight: 0}]
";

const NODE: &str = "\
apiVersion: weir/v1
kind: Node
metadata: {name: node-a}
spec: {addresses: [10.0.0.1]}
";

#[test]
fn a_controller_that_is_not_there_is_named_with_what_to_check() {
    assert_eq!(
        run("http://127.0.0.1:1", &["get", "services"], ""),
        failed(
            "error: cannot reach the controller at URL: Connection refused; check that weir-controller \
             runs there, and that --controller or WEIR_CONTROLLER names it\n"
        )
    );
}

#[test]
fn a_controller_that_does_not_answer_is_given_up() {
    let fake = start();
    fake.state().silent = true;
    assert_eq!(
        fake.run(&["get", "services", "--timeout", "200ms"]),
        failed("error: the controller at URL is too slow: no answer within 200ms\n")
    );
}

#[test]
fn what_is_no_controller_is_not_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("weirctl connects");
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let ran = run(&url, &["status"], "");
    server.join().expect("it accepted");
    assert_eq!((ran.status, ran.out.as_str()), (1, ""));
    let start = "error: cannot reach the controller at URL: ";
    assert!(ran.err.starts_with(start), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

#[test]
fn a_wrong_command_line_has_a_status_of_its_own() {
    let fake = start();
    for (arguments, err) in [
        (
            &["--controller", "https://lb:7420", "get", "services"][..],
            "error: --tls-cert: missing, and https:// wants it\n       \
             --tls-key: missing, and https:// wants it\n       \
             --tls-ca: missing, and https:// wants it\n\nFor more information, try '--help'.\n",
        ),
        (
            &["--controller", "http://lb:7420", "get", "services"],
            "error: --controller http://lb:7420: it is reached over a network, and what is said there is \
             neither encrypted nor authenticated: write https:// and give certificates, or say --insecure\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["--controller", "lb:7420", "status"],
            "error: invalid value 'lb:7420' for '--controller <URL>': write it like https://HOST:PORT or \
             http://HOST:PORT\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["get", "pods"],
            "error: \"pods\" is not a kind (there are services, frontends, backends, \
             backendsets, nodes, vips, drains, repairs, events)\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["get", "services", "web", "-l", "tier=front"],
            "error: give names or a selector, not both\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["apply", "--dry-run"],
            "error: the following required arguments were not provided:\n  --filename <FILE>\n\n\
             Usage: weirctl apply [OPTIONS] -f FILE...\n\nFor more information, try '--help'.\n",
        ),
        (
            &["apply", "-f", "x", "--canary", "1,10%"],
            "error: invalid value '1,10%' for '--canary <STEPS>': step 2: the last step is 100%, so that \
             every node gets it\n\nFor more information, try '--help'.\n",
        ),
        (
            &["status", "now"],
            "error: unexpected argument 'now' found\n\n\
             Usage: weirctl status [OPTIONS]\n\nFor more information, try '--help'.\n",
        ),
        (
            &["drain", "backend", "web", "10.0.0.11"],
            "error: \"10.0.0.11\" is not ADDRESS:PORT (10.0.0.11:8080, [fd00::11]:8080)\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["drain", "node", "node-a", "--deadline", "5"],
            "error: invalid value '5' for '--deadline <TIME>': \"5\" is not a time in whole seconds; \
             write it like 0s, 90s or 10m\n\nFor more information, try '--help'.\n",
        ),
        (
            &["get", "drains", "-l", "tier=front"],
            "error: drains have no labels\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["get", "repairs", "-o", "name"],
            "error: a repair has no name: repairs are shown as table, json or yaml\n\nFor more information, try '--help'.\n",
        ),
        (
            &["get", "vips", "web"],
            "error: \"web\" is not an address\n\nFor more information, try '--help'.\n",
        ),
        (
            &["get", "backends", "-o", "yaml", "-w"],
            "error: backends are watched as a table, or by name\n\nFor more information, try '--help'.\n",
        ),
        (
            &["get", "services", "-l", "tier in web"],
            "error: invalid value 'tier in web' for '--selector <QUERY>': \"tier in web\": write it like \
             tier in (front, back)\n\nFor more information, try '--help'.\n",
        ),
        (
            &["get", "services", "-o", "ipvsadm", "-w"],
            "error: services are not watched in this form\n\nFor more information, try '--help'.\n",
        ),
        (
            &["describe", "backends"],
            "error: backends are described with their service: weirctl describe service NAME\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["describe", "repairs"],
            "error: repairs are described with their node: weirctl describe node NAME\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["describe", "events"],
            "error: events are described with what they are of, and shown by weirctl get events\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["delete", "event/7"],
            "error: events go by themselves\n\nFor more information, try '--help'.\n",
        ),
        (
            &["get", "events", "-l", "tier=front"],
            "error: events have no labels\n\nFor more information, try '--help'.\n",
        ),
        (
            &["get", "events", "node-a"],
            "error: \"node-a\" is not the number of an event: give what it is of by --for\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["get", "events", "--for", "drain/web"],
            "error: events are of services, backendsets, backends, nodes, vips and rollouts, not of drains\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["get", "events", "-o", "ipvsadm"],
            "error: events are not shown so: get services in this form, which has their backends\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["get", "nodes", "--types", "warning"],
            "error: --for, --node and --types choose among events\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["get", "events", "--types", "bad"],
            "error: invalid value 'bad' for '--types <TYPES>'\n  [possible values: Normal, Warning]\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["history", "-o", "name"],
            "error: a write has no name: history is shown as table, wide, json or yaml\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["history", "-n", "101"],
            "error: invalid value '101' for '--limit <N>': 101 is not in 1..=100\n\n\
             For more information, try '--help'.\n",
        ),
        (
            &["delete", "services"],
            "error: name the services to delete\n\nFor more information, try '--help'.\n",
        ),
        (
            &["apply", "-f", "x", "--timeout", "10"],
            "error: invalid value '10' for '--timeout <TIME>': \"10\" is not a time; write it like 500ms, \
             10s or 1m30s\n\nFor more information, try '--help'.\n",
        ),
    ] {
        let wrong = Ran {
            status: 2,
            out: String::new(),
            err: err.to_owned(),
        };
        assert_eq!(fake.run(arguments), wrong, "{arguments:?}");
    }
}

#[test]
fn help_has_an_example_of_each_use() {
    for (command, golden) in [
        ("", include_str!("help/weirctl.txt")),
        ("apply", include_str!("help/apply.txt")),
        ("plan", include_str!("help/plan.txt")),
        ("diff", include_str!("help/diff.txt")),
        ("why", include_str!("help/why.txt")),
        ("get", include_str!("help/get.txt")),
        ("describe", include_str!("help/describe.txt")),
        ("delete", include_str!("help/delete.txt")),
        ("edit", include_str!("help/edit.txt")),
        ("explain", include_str!("help/explain.txt")),
        ("weight", include_str!("help/weight.txt")),
        ("config", include_str!("help/config.txt")),
        (
            "config set-context",
            include_str!("help/config-set-context.txt"),
        ),
        (
            "config get-contexts",
            include_str!("help/config-get-contexts.txt"),
        ),
        ("completion", include_str!("help/completion.txt")),
        ("drain", include_str!("help/drain.txt")),
        ("undrain", include_str!("help/undrain.txt")),
        ("cordon", include_str!("help/cordon.txt")),
        ("uncordon", include_str!("help/uncordon.txt")),
        ("history", include_str!("help/history.txt")),
        ("rollback", include_str!("help/rollback.txt")),
        ("node", include_str!("help/node.txt")),
        ("node release", include_str!("help/node-release.txt")),
        ("rollout", include_str!("help/rollout.txt")),
        ("rollout status", include_str!("help/rollout-status.txt")),
        ("rollout undo", include_str!("help/rollout-undo.txt")),
        ("status", include_str!("help/status.txt")),
        ("check", include_str!("help/check.txt")),
        ("top", include_str!("help/top.txt")),
        ("pki", include_str!("help/pki.txt")),
        ("pki init", include_str!("help/pki-init.txt")),
        ("pki issue", include_str!("help/pki-issue.txt")),
        ("pki show", include_str!("help/pki-show.txt")),
        ("version", include_str!("help/version.txt")),
        ("import", include_str!("help/import.txt")),
        (
            "import keepalived",
            include_str!("help/import-keepalived.txt"),
        ),
        ("import ipvsadm", include_str!("help/import-ipvsadm.txt")),
        (
            "import kube-proxy",
            include_str!("help/import-kube-proxy.txt"),
        ),
    ] {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let output = command_line(&arguments).output().expect("weirctl runs");
        let help = String::from_utf8(output.stdout).expect("text");
        assert_eq!((output.status.code(), help.as_str()), (Some(0), golden));
    }
}

#[test]
fn what_is_missing_is_told_the_same_whatever_the_environment_sets() {
    for (line, golden) in [
        (
            "rollback",
            "error: the following required arguments were not provided:\n  <REVISION>\n\n\
             Usage: weirctl rollback <REVISION>\n\nFor more information, try '--help'.\n",
        ),
        (
            "rollback yesterday",
            "error: invalid value 'yesterday' for '<REVISION>': \"yesterday\" is not a revision: \
             weirctl history numbers them\n\nFor more information, try '--help'.\n",
        ),
        ("config", include_str!("help/config.txt")),
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let wrong = Ran {
            status: 2,
            out: String::new(),
            err: golden.to_owned(),
        };
        assert_eq!(run("http://127.0.0.1:1", &arguments, ""), wrong);
    }
}

#[test]
fn the_version_is_shown() {
    let version = format!("weirctl {} (weir/v1)\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run("http://127.0.0.1:1", &["version"], ""), fine(&version));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let fake = start();
    fake.apply(WEB);
    let mut child = command(&fake.url, &["get", "services"])
        .spawn()
        .expect("weirctl starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("weirctl ends");
    assert_eq!(
        (output.status.code(), String::from_utf8(output.stderr)),
        (Some(0), Ok(String::new()))
    );
}
