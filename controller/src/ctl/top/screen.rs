//! The terminal: taken over, and given back whatever happens.

use std::io::{self, Stdout, Write};
use std::panic;
use std::sync::Once;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, raise};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{event, execute, queue};
use tokio::sync::mpsc;

use super::draw::{Palette, draw};
use super::state::Top;

/// Keys that wait to be heeded: more than anybody presses while a screen is drawn.
const KEYS: usize = 64;

/// A terminal that is ours as long as this lives.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    palette: Palette,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn take(palette: Palette) -> Result<Self> {
        // what a panic says would go to a screen that is gone a moment later
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |panicked| {
                give_back();
                before(panicked);
            }));
        });
        let doing = "cannot take over the terminal";
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).context(doing)?;
        let screen = Self { terminal, palette };
        enter().context(doing)?;
        Ok(screen)
    }

    /// Gives columns and lines.
    pub(super) fn size(&self) -> Result<(u16, u16)> {
        let size = self.terminal.size();
        let size = size.context("cannot ask the terminal for its size")?;
        Ok((size.width, size.height))
    }

    /// Draws what is other than before, in one go.
    pub(super) fn draw(&mut self, top: &Top) -> Result<()> {
        let palette = self.palette;
        let mut drawn = || -> io::Result<()> {
            queue!(io::stdout(), BeginSynchronizedUpdate)?;
            self.terminal
                .draw(|frame| draw(top, palette, frame.buffer_mut()))?;
            execute!(io::stdout(), EndSynchronizedUpdate)
        };
        drawn().context("cannot write to the terminal")
    }

    /// Stops until the shell lets us go on.
    pub(super) fn suspend(&mut self) -> Result<()> {
        give_back();
        raise(Signal::SIGTSTP).context("cannot stop")?;
        let doing = "cannot take over the terminal";
        enter().context(doing)?;
        // one that knows nothing of what was there draws everything; its own clear() asks where the cursor is, and the answer
        // would go to the thread that reads keys
        self.terminal = Terminal::new(CrosstermBackend::new(io::stdout())).context(doing)?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(
        io::stdout(),
        EnterAlternateScreen,
        Clear(ClearType::All),
        Hide
    )
}

/// Leaves the terminal as it was. Nobody is left to tell if that fails.
fn give_back() {
    let _ = execute!(
        io::stdout(),
        EndSynchronizedUpdate,
        LeaveAlternateScreen,
        Show
    );
    let _ = disable_raw_mode();
    let _ = io::stdout().flush();
}

/// Reads keys and new sizes, on a thread of its own that ends with the process: a read cannot be called back.
pub(super) fn events() -> mpsc::Receiver<io::Result<event::Event>> {
    let (sender, receiver) = mpsc::channel(KEYS);
    std::thread::spawn(move || {
        loop {
            let event = event::read();
            let over = event.is_err();
            if sender.blocking_send(event).is_err() || over {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use nix::pty::openpty;
    use nix::sys::termios::tcgetattr;

    use super::*;

    #[test]
    #[ignore = "the program of the test below, which must have a terminal"]
    fn panics_on_a_terminal() {
        let _screen = Screen::take(Palette { coloured: false }).expect("a terminal");
        panic!("something is very wrong");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        let pty = openpty(None, None).expect("a pseudo-terminal");
        let before = tcgetattr(&pty.slave).expect("its settings");
        let end = || Stdio::from(pty.slave.try_clone().expect("another of it"));
        let mut child = Command::new("setsid")
            .arg("--ctty")
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", "ctl::top::screen::tests::panics_on_a_terminal"])
            .args(["--ignored", "--nocapture"])
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("setsid of util-linux starts it");
        assert!(!child.wait().expect("it ends").success());
        let after = tcgetattr(&pty.slave).expect("its settings");
        assert_eq!(after, before);
        drop(pty.slave);
        let mut told = Vec::new();
        // it ends with an error, since the other end is closed
        let _ = File::from(pty.master).read_to_end(&mut told);
        let told = String::from_utf8_lossy(&told);
        let at = |what: &str| {
            told.find(what)
                .unwrap_or_else(|| panic!("no {what:?} in {told:?}"))
        };
        assert!(at("\u{1b}[?1049h") < at("\u{1b}[?1049l"));
        assert!(at("\u{1b}[?1049l") < at("something is very wrong"));
        assert!(at("\u{1b}[?25h") < at("something is very wrong"));
    }
}
