//! Programs: where ours are, and running any of them to the end.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Finds one of this workspace's own programs, in the directory that the running one was built into.
pub fn ours(name: &str) -> Result<PathBuf> {
    let me = std::env::current_exe().context("finding the running program")?;
    let mut dir = me.parent().context("a program without a directory")?;
    if dir.ends_with("deps") {
        dir = dir.parent().context("deps without a directory around it")?;
    }
    let path = dir.join(name);
    ensure!(
        path.is_file(),
        "no {}: build it first (cargo build --workspace --bins)",
        path.display()
    );
    Ok(path)
}

/// Runs a command to the end, with `input` as its standard input, and gives its standard output. A
/// status other than 0 is an error that carries what it wrote.
pub fn run(command: &mut Command, input: &str) -> Result<String> {
    let told = told(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {told}"))?;
    let mut stdin = child.stdin.take().context("a child without its input")?;
    // A program that ends without reading its input says why in its status.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child
        .wait_with_output()
        .with_context(|| format!("waiting for {told}"))?;
    ensure!(
        output.status.success(),
        "{told}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Nobody reads standard output any more, as after `| head`.
#[derive(Debug)]
struct Unread;

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output is closed")
    }
}

impl std::error::Error for Unread {}

/// Writes a line to standard output.
pub fn line(text: &str) -> Result<()> {
    written(writeln!(io::stdout(), "{text}"))
}

fn written(done: io::Result<()>) -> Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Unread.into()),
        done => done.context("writing to standard output"),
    }
}

/// Ends a program that shows something: well, where nobody reads on.
pub fn unless_unread(shown: Result<()>) -> Result<()> {
    match shown {
        Err(error) if error.is::<Unread>() => Ok(()),
        shown => shown,
    }
}

/// Writes a command as a person would type it.
pub fn told(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(word).collect();
    line.join(" ")
}

/// Our own programs are told by their names, as if they were on the PATH.
fn word(word: &OsStr) -> String {
    let own = Path::new(word)
        .file_name()
        .filter(|name| name.to_string_lossy().starts_with("weir") && word.len() > name.len());
    own.unwrap_or(word).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_is_no_failure() {
        let ended = |kind: io::ErrorKind| unless_unread(written(Err(kind.into()))).is_ok();
        assert!(ended(io::ErrorKind::BrokenPipe));
        assert!(!ended(io::ErrorKind::StorageFull));
    }

    #[test]
    fn a_failed_command_tells_its_line_its_status_and_its_words() {
        let error = run(
            Command::new("sh").args(["-c", "read x; echo $x >&2; exit 3"]),
            "why\n",
        )
        .expect_err("status 3");
        let words = error.to_string();
        assert!(words.starts_with("sh -c read x;"), "{words}");
        assert!(words.ends_with("exit status: 3\nwhy\n"), "{words}");
    }
}
