//! Work that takes long, on a terminal: one line that is written over, and what Ctrl-C leaves.

use std::io::Write;

use tempfile::NamedTempFile;
use weir_proto::wire::rollout::Phase;
use weir_proto::wire::{DrainState, NodeState, NodeTarget};

use super::WEB;
use super::drains;
use super::fake::{Fake, State};
use super::rollouts::rollout;
use super::terminal::Terminal;
use super::waiting::node;

fn weirctl(fake: &Fake, arguments: &[&str]) -> Terminal {
    let program = [&[env!("CARGO_BIN_EXE_weirctl")], arguments].concat();
    Terminal::start(&fake.url, &program, false)
}

fn web() -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".yaml").expect("a file");
    file.write_all(WEB.as_bytes()).expect("it has room");
    file
}

/// Two nodes are touched by each write, and told of so.
fn touched(watches: Vec<Vec<Vec<NodeState>>>) -> State {
    let target = |node: &str| NodeTarget {
        node: node.to_owned(),
        generation: 2,
    };
    State {
        targets: vec![target("node-a"), target("node-b")],
        watches: watches.into(),
        ..State::default()
    }
}

fn apply(fake: &Fake, file: &NamedTempFile, more: &[&str]) -> Terminal {
    let path = file.path().to_str().expect("a path that is text");
    weirctl(fake, &[&["apply", "-f", path, "--wait"], more].concat())
}

/// What the terminal shows at the end, its lines as they were written.
fn ended(terminal: Terminal) -> (Option<i32>, String) {
    let (left, screen) = terminal.end();
    (left.status, screen)
}

#[test]
fn progress_is_one_line_that_goes_when_the_work_is_done() {
    let file = web();
    let answers = vec![
        vec![node("node-a", 1, 1), node("node-b", 1, 1)],
        vec![node("node-a", 2, 2), node("node-b", 2, 1)],
        vec![node("node-a", 2, 2), node("node-b", 2, 2)],
    ];
    let fake = Fake::start(touched(vec![answers]));
    let (status, screen) = ended(apply(&fake, &file, &[]));
    assert_eq!(
        (status, screen.as_str()),
        (Some(0), "service/web created\nconverged on 2 nodes")
    );
}

#[test]
fn apply_that_is_interrupted_says_that_it_goes_on_and_how_to_look() {
    let file = web();
    let answers = vec![
        vec![node("node-a", 1, 1), node("node-b", 1, 1)],
        vec![node("node-a", 2, 2), node("node-b", 1, 1)],
    ];
    let fake = Fake::start(touched(vec![answers]));
    let mut terminal = apply(&fake, &file, &[]);
    terminal.until("last word", |screen| {
        screen
            == "service/web created\n\
                waiting for 1 of 2 nodes: node-b: has not accepted generation 2; it holds 1"
    });
    terminal.press("\u{3}");
    let (status, screen) = ended(terminal);
    let golden = "service/web created\n\
                  interrupted; revision 1 is taken and goes on to the nodes: weirctl status shows how far they are";
    assert_eq!(
        (status, screen.replace('\n', " ")),
        (Some(130), golden.replace('\n', " "))
    );
    assert_eq!(fake.state().writes, 1);
}

#[test]
fn a_rollout_that_is_interrupted_goes_on() {
    let file = web();
    let golden = "interrupted; the rollout goes on: weirctl rollout status shows it, weirctl rollout pause stops it";
    let state = || State {
        rollouts: vec![vec![rollout(Phase::Running)]].into(),
        ..State::default()
    };
    let fake = Fake::start(state());
    let mut terminal = apply(&fake, &file, &["--canary", "1,50%,100%"]);
    terminal.until_shown("step 2 of 3");
    terminal.press("\u{3}");
    let (status, screen) = ended(terminal);
    let screen = screen.replace('\n', " ");
    assert_eq!(
        (status, screen),
        (Some(130), format!("service/web created {golden}"))
    );

    let fake = Fake::start(state());
    let mut terminal = weirctl(&fake, &["rollout", "status", "--watch"]);
    terminal.until_shown("node-b");
    terminal.press("\u{3}");
    let (status, screen) = ended(terminal);
    let screen = screen.replace('\n', " ");
    assert!(
        status == Some(130) && screen.ends_with(&format!(" {golden}")),
        "{status:?} {screen}"
    );
    assert_eq!(fake.state().steered, []);
}

#[test]
fn a_drain_that_is_interrupted_goes_on() {
    let fake = Fake::start(State {
        nodes: vec![node("node-a", 2, 2), node("node-b", 1, 1)],
        drains: vec![vec![DrainState {
            target: Some(drains::node("node-a")),
            asked: true,
            ..DrainState::default()
        }]]
        .into(),
        ..touched(Vec::new())
    });
    let mut terminal = weirctl(&fake, &["drain", "node", "node-a", "--wait"]);
    terminal.until_shown("waiting for node-a: has not told of it yet");
    terminal.press("\u{3}");
    let (status, screen) = ended(terminal);
    let golden = "node/node-a draining\n\
                  interrupted; the drain goes on: weirctl get drains shows it, weirctl undrain ends it";
    assert_eq!(
        (status, screen.replace('\n', " ")),
        (Some(130), golden.replace('\n', " "))
    );
    assert_eq!(fake.state().undrained, []);
}

#[test]
fn a_wait_for_nodes_that_is_interrupted_says_how_to_look() {
    let fake = Fake::start(touched(vec![vec![vec![node("node-a", 2, 1)]]]));
    let mut terminal = weirctl(&fake, &["status", "--wait"]);
    // who has asked hears Ctrl-C
    terminal.until("call", |_| fake.state().watches.is_empty());
    terminal.press("\u{3}");
    let (status, screen) = ended(terminal);
    let golden = "interrupted; the nodes go on: weirctl status shows how far they are";
    assert_eq!((status, screen.as_str()), (Some(130), golden));
}
