//! Network namespaces: made, worked in, and taken away with all that runs in them.
//!
//! A process costs 10 ms in the guest, so `ip` is given its work in batches, and what the kernel lets a
//! thread do (sockets, sysctls) is done by a thread that has entered the namespace.

use std::fs::{self, File};
use std::panic;
use std::path::PathBuf;
use std::process::Command;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program;

/// A network namespace with its loopback link up. Dropping it kills what runs in it and deletes it.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes a namespace. It fails when one of that name is there already.
    pub fn create(name: &str) -> Result<Netns> {
        program::run(Command::new("ip").args(["netns", "add", name]), "")?;
        let netns = Netns { name: name.into() };
        // Addresses count at once: nobody else is here who could have them.
        netns.sysctl(&[("ipv6/conf/default/accept_dad", "0")])?;
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// The name that `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `ip` inside, once, with one of its commands a line. The first that fails ends it.
    pub fn ip(&self, batch: &str) -> Result<()> {
        program::run(
            Command::new("ip").args(["-n", &self.name, "-batch", "-"]),
            batch,
        )
        .with_context(|| format!("in {}:\n{batch}", self.name))?;
        Ok(())
    }

    /// Writes sysctls inside, by their path under `/proc/sys/net`.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.enter(|| {
            settings.iter().try_for_each(|(key, value)| {
                fs::write(sysctl_path(key), value)
                    .with_context(|| format!("setting net/{key} to {value}"))
            })
        })?
    }

    /// Reads a sysctl inside, by its path under `/proc/sys/net`.
    pub fn read_sysctl(&self, key: &str) -> Result<String> {
        self.enter(|| {
            let value = fs::read_to_string(sysctl_path(key))
                .with_context(|| format!("reading net/{key}"))?;
            Ok(value.trim().to_string())
        })?
    }

    /// Calls `act` on a thread inside and waits for it.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        let door = self.door()?;
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&door, CloneFlags::CLONE_NEWNET)?;
                Ok::<T, nix::Error>(act())
            });
            inside
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
        .with_context(|| format!("entering {}", self.name))
    }

    /// Starts `act` on a thread inside.
    pub fn spawn<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T, nix::Error>>> {
        let door = self.door()?;
        Ok(thread::spawn(move || {
            setns(&door, CloneFlags::CLONE_NEWNET)?;
            Ok(act())
        }))
    }

    fn door(&self) -> Result<File> {
        let path = PathBuf::from("/run/netns").join(&self.name);
        File::open(&path).with_context(|| format!("opening {}", path.display()))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let inside = program::run(Command::new("ip").args(["netns", "pids", &self.name]), "");
        for pid in inside.iter().flat_map(|pids| pids.split_whitespace()) {
            if let Ok(pid) = pid.parse() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        if let Err(error) =
            program::run(Command::new("ip").args(["netns", "delete", &self.name]), "")
        {
            eprintln!("{error:#}");
        }
    }
}

fn sysctl_path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net").join(key)
}
