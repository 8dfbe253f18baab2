//! How weirctl ends: what it prints and the status it exits with.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use weir_proto::wire;

use super::render::{Style, counted, reference};

/// The exit status of a call that failed or was refused.
pub(crate) const FAILED: u8 = 1;
/// The exit status of a wrong command line; clap's own.
pub(crate) const USAGE: u8 = 2;
/// The exit status of a wait that Ctrl-C ended: as shells have it, 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// Ends that are more, or less, than one sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Lines that say what is wrong, and a sentence that sums them up.
    #[error("{summary}")]
    Detailed {
        details: Vec<String>,
        summary: String,
    },
    /// The command line is wrong in a way its parser cannot see.
    #[error("{0}")]
    Usage(String),
    /// Of a command whose status 1 is an answer: there is none.
    #[error("{0:#}")]
    Undecided(anyhow::Error),
    /// What was printed already tells of a failure.
    #[error("a failure was printed")]
    Shown,
    /// Ctrl-C ended a wait. What was waited for goes on, as this says.
    #[error("{0}")]
    Interrupted(String),
    /// Nobody reads standard output any more.
    #[error("standard output is closed")]
    Closed,
}

impl Trouble {
    /// Tells of faults in files; nothing was sent.
    pub(crate) fn faults(faults: &[impl ToString]) -> Self {
        Self::Detailed {
            details: faults.iter().map(ToString::to_string).collect(),
            summary: format!("{}; nothing was sent", counted(faults.len(), "problem")),
        }
    }

    /// Names what is not there: in the one sentence, or a line each. `rest` ends the sentence.
    pub(crate) fn missing(missing: &[wire::ResourceRef], rest: &str) -> Self {
        Self::absent(missing.iter().map(reference).collect(), rest)
    }

    /// As [`Self::missing`], of what is named as `KIND/NAME`.
    pub(crate) fn absent(missing: Vec<String>, rest: &str) -> Self {
        let lines = missing.into_iter().map(|one| one + " not found");
        let lines: Vec<String> = lines.collect();
        let (details, summary) = match lines.as_slice() {
            [one] => (Vec::new(), one.clone()),
            lines => {
                let count = counted(lines.len(), "resource");
                (lines.to_vec(), count + " not found")
            }
        };
        Self::Detailed {
            details,
            summary: summary + rest,
        }
    }
}

/// Writes to standard output at once.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Trouble::Closed.into()),
        done => done.context("cannot write to standard output"),
    }
}

/// Gives how what goes to standard output is set.
pub(crate) fn style() -> Style {
    let term = std::env::var("TERM").ok();
    let said = std::env::var_os("NO_COLOR").is_some_and(|said| !said.is_empty());
    Style::decide(io::stdout().is_terminal(), said, term.as_deref())
}

/// Waits for Ctrl-C, which ends what would go on for ever, and is no failure.
pub(crate) async fn interrupted() -> Result<()> {
    let pressed = tokio::signal::ctrl_c().await;
    pressed.context("cannot listen for Ctrl-C")
}

/// Writes to standard error. Nobody is left to tell if that fails.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Gives the innermost cause of an error, the one that says what happened, without the system's number.
pub(crate) fn plain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// Says what went wrong and gives the exit status.
pub(crate) fn conclude(done: Result<()>) -> ExitCode {
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    let (status, lines) = explain(&error);
    for line in lines {
        tell(&line);
    }
    ExitCode::from(status)
}

/// Gives the exit status and the lines for standard error.
fn explain(error: &anyhow::Error) -> (u8, Vec<String>) {
    match error.downcast_ref::<Trouble>() {
        Some(Trouble::Closed) => (0, Vec::new()),
        Some(Trouble::Shown) => (FAILED, Vec::new()),
        Some(Trouble::Interrupted(text)) => (INTERRUPTED, vec![text.clone()]),
        Some(Trouble::Usage(text)) => (
            USAGE,
            vec![
                format!("error: {text}"),
                String::new(),
                "For more information, try '--help'.".to_owned(),
            ],
        ),
        Some(Trouble::Undecided(error)) => match explain(error) {
            (0, lines) => (0, lines),
            (_, lines) => (USAGE, lines),
        },
        Some(Trouble::Detailed { details, summary }) => {
            let mut lines = details.clone();
            lines.push(format!("error: {summary}"));
            (FAILED, lines)
        }
        None => (FAILED, vec![format!("error: {error:#}")]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_status_and_its_words() {
        let text = |lines: Vec<String>| lines.join("\n");
        let explained = |error: anyhow::Error| {
            let (status, lines) = explain(&error);
            (status, text(lines))
        };
        assert_eq!(explained(Trouble::Closed.into()), (0, String::new()));
        assert_eq!(explained(Trouble::Shown.into()), (1, String::new()));
        assert_eq!(
            explained(Trouble::Usage("no kind".to_owned()).into()),
            (
                2,
                "error: no kind\n\nFor more information, try '--help'.".to_owned()
            )
        );
        assert_eq!(
            explained(Trouble::faults(&["a.yaml:1: x", "a.yaml:2: y"]).into()),
            (
                1,
                "a.yaml:1: x\na.yaml:2: y\nerror: 2 problems; nothing was sent".to_owned()
            )
        );
        let nobody = anyhow::anyhow!("nobody is there");
        assert_eq!(
            explained(Trouble::Undecided(nobody).into()),
            (2, "error: nobody is there".to_owned())
        );
        assert_eq!(
            explained(Trouble::Interrupted("interrupted; it goes on".to_owned()).into()),
            (130, "interrupted; it goes on".to_owned())
        );
        assert_eq!(
            explained(anyhow::anyhow!("cause").context("act")),
            (1, "error: act: cause".to_owned())
        );
    }
}
