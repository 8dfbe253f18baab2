//! `edit`, with editors that are scripts.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;

use super::fake::Fake;
use super::{Ran, WEB, command, failed, fine, start};

/// Edits with a script, which has the file as "$1" and a directory of its own as "$DIR".
struct Desk {
    directory: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    fn edit(&self, fake: &Fake, script: &str, arguments: &[&str]) -> Ran {
        let path = self.directory.path();
        let editor = path.join("editor");
        fs::write(&editor, script).expect("a script");
        fs::create_dir_all(path.join("tmp")).expect("a directory");
        let mut command = command(&fake.url, &[&["edit"], arguments].concat());
        command
            .env("WEIR_EDITOR", format!("sh {}", editor.display()))
            .env("EDITOR", "false")
            .env("DIR", path)
            .env("TMPDIR", path.join("tmp"))
            .stdin(Stdio::null());
        let output = command.output().expect("weirctl runs");
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes)
                .expect("text")
                .replace(&fake.url, "URL");
            text.replace(&path.display().to_string(), "DIR")
        };
        Ran {
            status: output.status.code().expect("an exit status"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// What was opened, as the script kept it under this name.
    fn seen(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).expect("the script kept it")
    }

    fn left(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.path().join("tmp")).expect("a directory");
        entries.map(|entry| entry.expect("a file").path()).collect()
    }
}

const HEAD: &str = "\
# Edit service/web: what is saved is applied. Lines at the top that begin with # are left out;
# an empty file changes nothing. What is refused is opened again, with the reasons.
#
";

const OPENED: &str = "\
apiVersion: weir/v1
kind: Service
metadata:
  name: web
  labels:
    tier: front
  revision: 1
spec:
  frontends:
  - address: \"10.100.100.100\"
    port: 8080
    protocol: TCP
  scheduler: rr
  forwarding: MASQUERADE
  hairpin: true
  vipBinding: ADDRESS
  lockdown: true
  drain:
    deadlineSeconds: 300
    onDeadline: KEEP
  backends:
  - address: \"10.0.0.11\"
    port: 8080
    weight: 1
    node: node-a
  - address: \"10.0.0.21\"
    port: 8080
    weight: 1
    node: node-a
";

#[test]
fn what_is_saved_is_applied() {
    let (fake, desk) = (start(), Desk::new());
    fake.apply(WEB);
    let script = "cp \"$1\" \"$DIR/opened\"; sed -i 's/scheduler: rr/scheduler: lc/' \"$1\"";
    assert_eq!(
        desk.edit(&fake, script, &["service/web"]),
        fine("service/web edited\n")
    );
    assert_eq!(desk.seen("opened"), format!("{HEAD}{OPENED}"));
    let shown = fake.run(&["get", "svc", "web", "-o", "yaml"]);
    let now = OPENED
        .replace("scheduler: rr", "scheduler: lc")
        .replace("revision: 1", "revision: 2");
    assert_eq!(shown, fine(&now));
    assert_eq!(desk.left(), Vec::<PathBuf>::new());
}

#[test]
fn nothing_saved_is_nothing_changed() {
    let (fake, desk) = (start(), Desk::new());
    fake.apply(WEB);
    let cancelled = Ran {
        status: 0,
        out: String::new(),
        err: "Edit cancelled, no changes made.\n".to_owned(),
    };
    for script in ["true", ": > \"$1\"", "sed -i 's/rr/rr # as it was/' \"$1\""] {
        assert_eq!(
            desk.edit(&fake, script, &["svc", "web"]),
            cancelled,
            "{script}"
        );
    }
    assert_eq!(fake.state().revision, 1);
    assert_eq!(desk.left(), Vec::<PathBuf>::new());
    assert_eq!(
        desk.edit(&fake, "exit 3", &["svc", "web"]),
        failed("error: the editor \"sh DIR/editor\" failed: exit status: 3; nothing was changed\n")
    );
    assert_eq!(
        desk.edit(&fake, "true", &["svc/shop"]),
        failed("error: service/shop not found\n")
    );
}

#[test]
fn what_is_refused_is_opened_again_with_the_reasons_and_kept() {
    let (fake, desk) = (start(), Desk::new());
    fake.apply(WEB);
    let script = "\
if [ -e \"$DIR/first\" ]; then cp \"$1\" \"$DIR/second\"; exit 0; fi
sed -i 's/port: 8080/port: 0/; s/scheduler: rr/sheduler: rr/' \"$1\"; cp \"$1\" \"$DIR/first\"";
    let ran = desk.edit(&fake, script, &["service/web"]);
    let left = desk.left();
    assert_eq!(left.len(), 1, "{left:?}");
    let kept = left[0]
        .display()
        .to_string()
        .replace(&desk.directory.path().display().to_string(), "DIR");
    assert_eq!(
        ran,
        failed(&format!(
            "A copy of your changes has been stored to \"{kept}\"\n\
             error: Edit cancelled, no valid changes were saved\n"
        ))
    );
    let second = desk.seen("second");
    let reasons: Vec<&str> = second
        .lines()
        .filter(|line| line.starts_with("# - "))
        .collect();
    assert_eq!(
        reasons,
        [
            "# - line 20: services[web].frontends[0].port: 0 is not a port (1-65535)",
            "# - line 22: unknown field \"sheduler\" in spec; did you mean \"scheduler\"?",
            "# - line 32: services[web].backends[0].port: 0 is not a port (1-65535)",
            "# - line 36: services[web].backends[1].port: 0 is not a port (1-65535)",
        ]
    );
    let line = |number: usize| second.lines().nth(number - 1).map(str::trim);
    assert_eq!(
        (line(20), line(22)),
        (Some("port: 0"), Some("sheduler: rr"))
    );
    assert_eq!(fs::read_to_string(&left[0]).expect("it is kept"), second);
}

#[test]
fn what_somebody_else_changed_meanwhile_is_shown_before_it_is_written_over() {
    let (fake, desk) = (start(), Desk::new());
    fake.apply(WEB);
    let weirctl = env!("CARGO_BIN_EXE_weirctl");
    let script = format!(
        "\
if [ -e \"$DIR/done\" ]; then cp \"$1\" \"$DIR/second\"; sed -i 's/revision: 1/revision: 2/' \"$1\"; exit 0; fi
{weirctl} weight web/10.0.0.11:8080=9 > \"$DIR/done\"
sed -i 's/scheduler: rr/scheduler: lc/' \"$1\""
    );
    assert_eq!(
        desk.edit(&fake, &script, &["service/web"]),
        fine("service/web edited\n")
    );
    let second = desk.seen("second");
    assert!(
        second.contains(
            "# - it was changed meanwhile: bring both together, and set metadata.revision to 2\n"
        ),
        "{second}"
    );
    assert!(second.contains("#       weight: 9\n"), "{second}");
    let shown = fake.run(&["get", "svc", "web", "-o", "yaml"]);
    let now = OPENED
        .replace("scheduler: rr", "scheduler: lc")
        .replace("revision: 1", "revision: 3");
    assert_eq!(shown, fine(&now));
}

#[test]
fn other_writes_meanwhile_are_no_conflict() {
    let (fake, desk) = (start(), Desk::new());
    fake.apply(WEB);
    fake.state().faster = 3;
    let script = "sed -i 's/scheduler: rr/scheduler: lc/' \"$1\"";
    assert_eq!(
        desk.edit(&fake, script, &["service/web"]),
        fine("service/web edited\n")
    );
}
