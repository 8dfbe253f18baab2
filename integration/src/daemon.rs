//! A program that runs until it is told not to: started with a log, watched, ended one way or the other.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::eventually::eventually;
use crate::program;

/// How much of a log a failed test shows.
const TAIL: usize = 60;

/// A running program. Dropping it kills it, and shows the end of its log if a test is failing.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a command whose output goes to the end of `NAME.log` in `logs`.
    pub fn start(name: &str, mut command: Command, logs: &Path) -> Result<Daemon> {
        let log = logs.join(format!("{name}.log"));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("opening {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stderr(output.try_clone().context("sharing a log")?)
            .stdout(output)
            .spawn()
            .with_context(|| format!("starting {}", program::told(&command)))?;
        Ok(Daemon {
            name: name.into(),
            child,
            log,
        })
    }

    /// Waits until `ready` holds. A daemon that ends meanwhile fails at once, with its last words; one that
    /// is not ready in time shows the end of its log.
    pub fn ready(&mut self, deadline: Duration, ready: impl Fn() -> Result<()>) -> Result<()> {
        let what = format!("{} is ready", self.name);
        let ended = eventually(&what, deadline, || match self.child.try_wait()? {
            Some(status) => Ok(Err(anyhow!(
                "{} ended ({status}):\n{}",
                self.name,
                self.tail()
            ))),
            None => ready().map(Ok),
        });
        ended.inspect_err(|_| self.show())?
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("killing")?;
        self.child.wait().context("waiting for the killed")?;
        Ok(())
    }

    /// Stops it in its tracks, or lets it go on.
    pub fn pause(&self, paused: bool) -> Result<()> {
        self.signal(match paused {
            true => Signal::SIGSTOP,
            false => Signal::SIGCONT,
        })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, signal).with_context(|| format!("sending {signal}"))
    }

    /// Asks it to end with SIGTERM, and gives its status.
    pub fn terminate(mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let what = format!("{} ends after SIGTERM", self.name);
        eventually(&what, deadline, || match self.child.try_wait()? {
            Some(status) => Ok(status),
            None => bail!("it still runs"),
        })
    }

    /// Waits until it has ended of its own accord, and gives its status.
    pub fn ended(mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        let ended = eventually(&what, deadline, || match self.child.try_wait()? {
            Some(status) => Ok(status),
            None => bail!("it still runs"),
        });
        ended.inspect_err(|_| self.show())
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Shows the end of its log on standard error.
    pub fn show(&self) {
        eprintln!("--- the end of {}'s log\n{}", self.name, self.tail());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show();
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_daemon_that_dies_before_it_is_ready_fails_at_once_with_its_last_words() -> Result<()> {
        let logs = tempfile::tempdir()?;
        let mut daemon = Daemon::start("mayfly", shell("echo farewell; exit 4"), logs.path())?;
        let error = daemon
            .ready(SOON, || bail!("never"))
            .expect_err("it is dead");
        assert_eq!(
            error.to_string(),
            "mayfly ended (exit status: 4):\nfarewell"
        );
        Ok(())
    }

    #[test]
    fn sigterm_gives_the_status_that_the_daemon_chose() -> Result<()> {
        let logs = tempfile::tempdir()?;
        let polite = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done");
        let mut daemon = Daemon::start("polite", polite, logs.path())?;
        let log = daemon.log.clone();
        daemon.ready(SOON, || {
            let text = fs::read_to_string(&log)?;
            anyhow::ensure!(text == "up\n", "log is {text:?}");
            Ok(())
        })?;
        assert!(daemon.runs()?);
        assert_eq!(daemon.terminate(SOON)?.code(), Some(7));
        Ok(())
    }
}
