//! Certificates as people make and use them, with a controller over TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Parser as _;
use tempfile::TempDir;
use weir_controller::app::Running;
use weir_controller::config::Config;
use weir_controller::ctl::pki::{Authority, Directory, Validity};
use weir_proto::model::{Identity, NodeName, Role, TrustDomain};

use crate::{Ran, command_line};

const HOUR: Duration = Duration::from_secs(60 * 60);

struct World {
    dir: TempDir,
    runtime: tokio::runtime::Runtime,
    controller: Option<Running>,
}

/// Runs a command in a directory, which is "DIR" in what it leaves.
fn ran(dir: &Path, arguments: &[&str]) -> Ran {
    let output = command_line(arguments).current_dir(dir).output();
    let output = output.expect("weirctl runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran {
        status: output.status.code().expect("a status"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn fine(dir: &Path, arguments: &[&str]) -> String {
    let ran = ran(dir, arguments);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{arguments:?}");
    ran.out
}

impl World {
    /// Makes an authority and a controller that trusts it, as the help says.
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        for command in [
            "pki init",
            "pki issue controller --name lb.example",
            "pki issue node node-a",
            "pki issue operator alice --role admin",
            "pki issue operator bob --role viewer --days 30",
        ] {
            let words: Vec<&str> = command.split(' ').collect();
            fine(dir.path(), &words);
        }
        let pki = dir.path().join("weir-pki");
        let config = Config::parse_from([
            "weir-controller".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            "--admin-listen=127.0.0.1:0".to_owned(),
            format!("--data-dir={}", dir.path().join("data").display()),
            format!("--tls-cert={}", pki.join("controller.pem").display()),
            format!("--tls-key={}", pki.join("controller.key").display()),
            format!("--tls-ca={}", pki.join("ca.pem").display()),
        ]);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let controller = runtime.block_on(weir_controller::app::start(config));
        Self {
            dir,
            runtime,
            controller: Some(controller.expect("started")),
        }
    }

    fn port(&self) -> u16 {
        let controller = self.controller.as_ref().expect("running");
        controller.operator_addr().port()
    }

    /// Calls by a URL that has no port, as somebody.
    fn call(&self, url: &str, who: &str, arguments: &[&str]) -> Ran {
        let url = format!("{url}:{}", self.port());
        let file = |end: &str| format!("weir-pki/{who}.{end}");
        let (cert, key) = (file("pem"), file("key"));
        let mut all = vec!["--controller", url.as_str()];
        if !who.is_empty() {
            all.extend([
                "--tls-cert",
                &cert,
                "--tls-key",
                &key,
                "--tls-ca",
                "weir-pki/ca.pem",
            ]);
        }
        all.extend(arguments);
        let mut ran = ran(self.dir.path(), &all);
        ran.err = ran.err.replace(&url, "URL");
        ran
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(controller) = self.controller.take() {
            let stopped = self.runtime.block_on(controller.stop());
            assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
        }
    }
}

fn refused(err: &str) -> Ran {
    Ran {
        status: 1,
        out: String::new(),
        err: err.to_owned(),
    }
}

#[test]
fn an_authority_is_made_and_issues_what_is_said_and_nothing_is_written_over_unasked() {
    let dir = tempfile::tempdir().expect("dir");
    let dir = dir.path();
    assert_eq!(
        fine(dir, &["pki", "init", "--trust-domain", "lab"]),
        "weir-pki/ca.pem: the authority of trust domain lab, for 3650d; every program's --tls-ca\n\
         weir-pki/ca.key: its key; whoever reads it can be anybody: no program needs it, keep it off their machines\n"
    );
    assert_eq!(
        fine(
            dir,
            &[
                "pki",
                "issue",
                "controller",
                "--name",
                "lb.example",
                "--name",
                "10.0.0.1"
            ]
        ),
        "weir-pki/controller.pem: the certificate of controller, called localhost, 127.0.0.1, ::1, lb.example, \
         10.0.0.1, for 365d; --tls-cert\n\
         weir-pki/controller.key: its key; --tls-key\n\
         weir-pki/ca.pem: the authority; --tls-ca\n"
    );
    fine(dir, &["pki", "issue", "node", "node-a", "--days", "7"]);
    fine(
        dir,
        &["pki", "issue", "operator", "alice", "--role", "admin"],
    );
    for (name, mode) in [
        ("ca.key", 0o600),
        ("controller.key", 0o600),
        ("node-node-a.key", 0o600),
        ("operator-alice.key", 0o600),
        ("", 0o700),
    ] {
        let about = fs::metadata(dir.join("weir-pki").join(name)).expect(name);
        assert_eq!(about.permissions().mode() & 0o777, mode, "{name}");
    }
    // valid since some minutes ago, so that what is left is a day less and some hours
    assert_eq!(
        fine(dir, &["pki", "show"]),
        "FILE                          WHO      ROLE         TRUST DOMAIN   EXPIRES IN\n\
         weir-pki/ca.pem               -        authority    lab            3649d\n\
         weir-pki/controller.pem       -        controller   lab            364d\n\
         weir-pki/node-node-a.pem      node-a   node         lab            6d23h\n\
         weir-pki/operator-alice.pem   alice    admin        lab            364d\n"
    );
    let before = fs::read(dir.join("weir-pki/node-node-a.key")).expect("read");
    assert_eq!(
        ran(dir, &["pki", "issue", "node", "node-a"]),
        refused(
            "error: weir-pki/node-node-a.pem is there already; --force puts another in its place\n"
        )
    );
    assert_eq!(
        ran(dir, &["pki", "init"]),
        refused("error: weir-pki/ca.pem is there already; --force puts another in its place\n")
    );
    let after = || fs::read(dir.join("weir-pki/node-node-a.key")).expect("read");
    assert_eq!(after(), before);
    fine(dir, &["pki", "issue", "node", "node-a", "--force"]);
    assert_ne!(after(), before);
}

#[test]
fn what_cannot_be_issued_says_why() {
    let dir = tempfile::tempdir().expect("dir");
    let dir = dir.path();
    assert_eq!(
        ran(dir, &["pki", "issue", "node", "node-a"]),
        refused(
            "error: cannot read weir-pki/ca.pem; weirctl pki init makes an authority: \
             No such file or directory (os error 2)\n"
        )
    );
    for (arguments, why) in [
        (&["pki", "issue", "node", "A"][..], "\"A\" is not a name"),
        (
            &["pki", "issue", "operator", "a", "--role", "root"],
            "\"root\" is not viewer, operator or admin",
        ),
        (
            &["pki", "issue", "controller", "--name", "a b"],
            "\"a b\" is no name of a host",
        ),
        (&["pki", "init", "--days", "0"], "0 is not in 1..="),
    ] {
        let ran = ran(dir, arguments);
        assert!(
            ran.status == 2 && ran.err.contains(why),
            "{arguments:?}: {ran:?}"
        );
    }
}

#[test]
fn an_authority_that_has_expired_issues_nothing_and_nothing_is_written_over() {
    let dir = tempfile::tempdir().expect("dir");
    let now = SystemTime::now();
    let expired = Validity {
        begins: now - 2 * HOUR,
        ends: now - HOUR,
    };
    let domain = TrustDomain::new("weir").expect("a domain");
    let (_, made) = Authority::make(&domain, expired).expect("an authority");
    let directory = Directory::new(dir.path().join("weir-pki"), false);
    directory.keep_authority(&made).expect("kept");
    let refused = ran(dir.path(), &["pki", "issue", "node", "a", "--force"]);
    assert_eq!(
        (refused.status, refused.err.as_str()),
        (
            1,
            "error: the authority in weir-pki expired 1h ago; weirctl pki init --force makes another, for everybody\n"
        )
    );
    let files = directory.files(&Identity::Node(NodeName::new("a").expect("a name")));
    assert!(!files.certificate.exists() && !files.key.exists());
}

#[test]
fn each_call_over_tls_is_answered_or_says_what_was_refused_and_why() {
    let world = World::start();
    let get = ["get", "services"];
    for url in ["https://localhost", "https://127.0.0.1"] {
        for who in ["operator-alice", "operator-bob"] {
            let ran = world.call(url, who, &get);
            let none = "No services found.\n";
            assert_eq!((ran.status, ran.err.as_str()), (0, none), "{url} {who}");
        }
    }
    let url = "https://localhost";
    assert_eq!(
        world.call(url, "operator-bob", &["node", "release", "node-a"]),
        refused(
            "error: the controller says PERMISSION_DENIED: ReleaseNode needs role admin; the certificate is that of viewer/bob\n"
        )
    );
    let files = |who: &str, why: &str| {
        refused(&format!(
            "error: the certificate in weir-pki/{who}.pem, the key in weir-pki/{who}.key and the authority in \
             weir-pki/ca.pem cannot be used: {why}\n"
        ))
    };
    assert_eq!(
        world.call(url, "node-node-a", &get),
        files(
            "node-node-a",
            "the certificate is that of node/node-a, not that of an operator"
        )
    );
    assert_eq!(
        world.call(url, "nobody", &get),
        files(
            "nobody",
            "cannot read weir-pki/nobody.pem: No such file or directory (os error 2)"
        )
    );
    assert_eq!(
        world.call("http://localhost", "", &get),
        refused(
            "error: cannot reach the controller at URL: what listens there speaks no plaintext HTTP/2; where it has \
             certificates, call it by https://, with --tls-cert, --tls-key and --tls-ca\n"
        )
    );

    let directory = Directory::new(world.dir.path().join("weir-pki"), true);
    let authority = directory.authority().expect("an authority");
    let name = NodeName::new("carol").expect("a name");
    let carol = Identity::Operator {
        role: Role::Admin,
        name,
    };
    let now = SystemTime::now();
    for (begins, ends, why) in [
        (now - 3 * HOUR, now - HOUR, "it has expired"),
        (now + HOUR, now + 3 * HOUR, "it is not valid yet"),
    ] {
        let issued = authority.issue(&carol, &[], Validity { begins, ends });
        directory
            .keep(&carol, &issued.expect("issued"))
            .expect("kept");
        assert_eq!(
            world.call(url, "operator-carol", &get),
            refused(&format!(
                "error: the controller at URL cannot be called: it refuses our certificate, that of admin/carol: {why}\n"
            ))
        );
    }
    // the controller goes on with what it has read, and everybody else has another authority from now on
    fine(world.dir.path(), &["pki", "init", "--force"]);
    assert_eq!(
        world.call(url, "operator-alice", &get),
        refused(
            "error: the controller at URL cannot be called: its certificate is refused: no authority that is trusted \
             here has signed it\n"
        )
    );
}
