//! `top` on a real terminal: a pseudo-terminal, whose screen is read as a person would.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::{Pid, ttyname};
use vt100::{Color, Parser};

use super::fake::{Fake, State};
use super::top::traffic;

/// Longer than anything takes on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// A program that does not outlive what tries it.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // it has ended, save where a test failed
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A terminal with a program on it.
pub(super) struct Terminal {
    child: Program,
    master: File,
    slave: OwnedFd,
    before: Termios,
    parser: Arc<Mutex<Parser>>,
    reader: JoinHandle<()>,
}

/// What is there when the program has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) status: Option<i32>,
    /// The terminal is as it was: no screen of ours, its cursor, its lines.
    restored: [bool; 3],
}

const WELL: Left = Left {
    status: Some(0),
    restored: [true; 3],
};

impl Terminal {
    /// Starts a program on a terminal of its own, which is the one that Ctrl-C and the like come from.
    pub(super) fn start(url: &str, program: &[&str], no_colour: bool) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).expect("a pseudo-terminal");
        for end in [&pty.master, &pty.slave] {
            // programs on other terminals have no end of this one
            let kept = fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
            kept.expect("it is open");
        }
        let before = tcgetattr(&pty.slave).expect("its settings");
        let end = || Stdio::from(pty.slave.try_clone().expect("another of it"));
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .args(program)
            .env("WEIR_CONTROLLER", url)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(end())
            .stdout(end())
            .stderr(end());
        if no_colour {
            command.env("NO_COLOR", "1");
        }
        let child = command.spawn().expect("setsid of util-linux starts it");
        let master = File::from(pty.master);
        let parser = Arc::new(Mutex::new(Parser::new(some(24), some(80), 0)));
        let mut from = master.try_clone().expect("another of it");
        let to = Arc::clone(&parser);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // it ends with an error when the last other end is closed
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                to.lock().expect("nobody panicked").process(&bytes[..count]);
            }
        });
        Self {
            child: Program(child),
            master,
            slave: pty.slave,
            before,
            parser,
            reader,
        }
    }

    fn top(url: &str, arguments: &[&str]) -> Self {
        let program = [&[env!("CARGO_BIN_EXE_weirctl"), "top"], arguments].concat();
        Self::start(url, &program, false)
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("it is read");
    }

    fn resize(&self, lines: u16, columns: u16) {
        let mut parser = self.parser.lock().expect("nobody panicked");
        parser.screen_mut().set_size(some(lines), some(columns));
        drop(parser);
        let name = ttyname(&self.slave).expect("its name");
        let (lines, columns) = (lines.to_string(), columns.to_string());
        let set = Command::new("stty")
            .arg("-F")
            .arg(name)
            .args(["rows", &lines, "cols", &columns])
            .status();
        assert!(set.expect("stty of coreutils runs").success());
    }

    fn screen(&self) -> String {
        let parser = self.parser.lock().expect("nobody panicked");
        parser.screen().contents()
    }

    /// Waits until the screen is so.
    #[track_caller]
    pub(super) fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return;
            }
            assert!(Instant::now() < deadline, "no {what} on\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub(super) fn until_shown(&self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    fn is_raw(&self) -> bool {
        let now = tcgetattr(&self.slave).expect("its settings");
        !now.local_flags.contains(LocalFlags::ICANON)
    }

    /// Waits for the end.
    pub(super) fn end(mut self) -> (Left, String) {
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.0.try_wait().expect("it is ours") {
                break status.code();
            }
            let screen = self.screen();
            assert!(Instant::now() < deadline, "no end of\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        };
        let now = tcgetattr(&self.slave).expect("its settings");
        drop(self.slave);
        self.reader.join().expect("it reads to the end");
        let parser = self.parser.lock().expect("nobody panicked");
        let screen = parser.screen();
        let restored = [
            !screen.alternate_screen(),
            !screen.hide_cursor(),
            now == self.before,
        ];
        (Left { status, restored }, screen.contents())
    }
}

fn some(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a terminal has lines and columns")
}

fn busy() -> Fake {
    Fake::start(busy_state())
}

fn busy_state() -> State {
    State {
        traffic: traffic(),
        ..State::default()
    }
}

#[test]
fn a_screen_is_shown_until_q_and_the_terminal_is_given_back() {
    let fake = busy();
    let mut terminal = Terminal::top(&fake.url, &[]);
    terminal.until_shown("3 services");
    terminal.until_shown("web");
    assert!(terminal.is_raw());
    terminal.press("q");
    assert_eq!(terminal.end(), (WELL, String::new()));
}

#[test]
fn ctrl_c_and_the_signals_of_a_service_manager_give_the_terminal_back() {
    let fake = busy();
    let mut terminal = Terminal::top(&fake.url, &[]);
    terminal.until_shown("web");
    terminal.press("\u{3}");
    assert_eq!(terminal.end(), (WELL, String::new()));
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let terminal = Terminal::top(&fake.url, &[]);
        terminal.until_shown("web");
        let pid = i32::try_from(terminal.child.0.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it is there");
        assert_eq!(terminal.end(), (WELL, String::new()), "{signal}");
    }
}

#[test]
fn ctrl_z_gives_the_shell_back_and_fg_the_screen() {
    let fake = busy();
    let mut terminal = Terminal::start(&fake.url, &["bash", "--norc", "--noediting", "-i"], false);
    let command = format!("PS1='ready: '; {} top\n", env!("CARGO_BIN_EXE_weirctl"));
    terminal.press(&command);
    terminal.until_shown("3 services");
    terminal.press("\u{1a}");
    terminal.until_shown("Stopped");
    terminal.until_shown("ready:");
    assert!(!terminal.is_raw());
    terminal.press("fg\n");
    terminal.until_shown("3 services");
    terminal.press("q");
    terminal.until("shell", |screen| !screen.contains("3 services"));
    terminal.press("exit\n");
    let (left, _) = terminal.end();
    assert_eq!(left.status, Some(0));
}

#[test]
fn keys_change_what_is_shown() {
    let fake = busy();
    let mut terminal = Terminal::top(&fake.url, &["services", "--filter", "!idle"]);
    terminal.until_shown("2 of 3 services without");
    terminal.press("\u{1b}[B\u{1b}[B\r");
    terminal.until_shown("[2 backends of web]");
    terminal.until_shown("10.0.0.11:8080");
    terminal.press("?");
    terminal.until_shown("any key closes it");
    terminal.press("x3");
    terminal.until_shown("node-b");
    terminal.press("q");
    assert_eq!(terminal.end().0, WELL);
}

#[test]
fn a_terminal_that_gets_wider_gets_more_columns() {
    let fake = busy();
    let mut terminal = Terminal::top(&fake.url, &[]);
    terminal.until_shown("IMBAL");
    assert!(!terminal.screen().contains("BACKENDS"));
    terminal.resize(30, 160);
    terminal.until_shown("BACKENDS");
    terminal.press("q");
    assert_eq!(terminal.end().0, WELL);
}

#[test]
fn a_controller_that_goes_away_is_told_and_asked_again_until_it_is_back() {
    let fake = busy();
    let url = fake.url.clone();
    let mut terminal = Terminal::top(&url, &[]);
    terminal.until_shown("3 services");
    drop(fake);
    terminal.until_shown("controller lost for");
    terminal.until_shown("Connection refused");
    terminal.until_shown("3 services");
    let port = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let _again = Fake::start_at(port.expect("a port"), busy_state());
    terminal.until("service alone", |screen| {
        screen.contains("3 services") && !screen.contains("lost")
    });
    terminal.press("q");
    assert_eq!(terminal.end().0, WELL);
}

#[test]
fn a_controller_that_is_not_there_at_the_start_is_told_without_a_screen() {
    let (left, screen) = Terminal::top("http://127.0.0.1:1", &[]).end();
    assert_eq!((left.status, left.restored), (Some(1), [true; 3]));
    assert!(
        screen.starts_with("error: cannot reach the controller"),
        "{screen}"
    );
}

#[test]
fn colours_are_left_out_where_nobody_wants_them() {
    let fake = busy();
    let program = [env!("CARGO_BIN_EXE_weirctl"), "top"];
    for (no_colour, coloured) in [(false, true), (true, false)] {
        let mut terminal = Terminal::start(&fake.url, &program, no_colour);
        terminal.until_shown("q quit");
        let parser = terminal.parser.lock().expect("nobody panicked");
        let screen = parser.screen();
        let places = (0..24).flat_map(|line| (0..80).map(move |column| (line, column)));
        let mut cells = places.filter_map(|(line, column)| screen.cell(line, column));
        let colour = cells.any(|cell| cell.fgcolor() != Color::Default);
        drop(parser);
        assert_eq!(colour, coloured);
        terminal.press("q");
        assert_eq!(terminal.end().0, WELL);
    }
}

#[test]
fn a_table_is_written_on_a_terminal_too_when_it_is_asked_for() {
    let fake = busy();
    let (left, screen) = Terminal::top(&fake.url, &["--once"]).end();
    assert_eq!(left, WELL);
    assert!(screen.starts_with("NAME   CONN/S"), "{screen}");
}
