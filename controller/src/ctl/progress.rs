//! What is told of work that takes long, while it goes on: a line that is written over, on a terminal alone. And what is told
//! to those who do not wait for its end: it goes on without them.

use std::future::Future;
use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use ratatui::crossterm::terminal;

use super::outcome::{Trouble, interrupted};
use super::render::cut;

/// How wide a terminal is that does not say.
const COLUMNS: u16 = 80;

/// One line of standard error.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    /// There is somebody who sees it.
    on_terminal: bool,
    shown: bool,
}

impl ProgressLine {
    /// Begins without a line.
    pub(crate) fn new() -> Self {
        Self {
            on_terminal: io::stderr().is_terminal(),
            shown: false,
        }
    }

    /// Shows text in place of what was shown before.
    pub(crate) fn show(&mut self, text: &str) {
        if !self.on_terminal {
            return;
        }
        // what is longer would go on in a line that is not written over, as would the ^C that the terminal writes after it
        let columns = terminal::size().map_or(COLUMNS, |(columns, _)| columns);
        let text = cut(text, usize::from(columns).saturating_sub(3));
        write(&format!("{OVER}{text}"));
        self.shown = true;
    }

    /// Takes the line away, for what is told after it.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            write(OVER);
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Back to the begin of the line, and nothing on it (ECMA-48, CR and EL).
const OVER: &str = "\r\u{1b}[K";

/// Writes to standard error at once. Nobody is left to tell if that fails.
fn write(text: &str) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Waits for work that others do. Ctrl-C ends the waiting, not the work: what goes on is told, and how to look at it.
pub(crate) async fn awaited<T>(work: impl Future<Output = Result<T>>, goes_on: &str) -> Result<T> {
    tokio::select! {
        ended = work => ended,
        pressed = interrupted() => {
            pressed?;
            if io::stderr().is_terminal() {
                // the terminal has written ^C
                write(OVER);
            }
            Err(Trouble::Interrupted(format!("interrupted; {goes_on}")).into())
        }
    }
}
