//! A client that does not stop asking while a test does something to the node under it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::client::{self, Answer, Outcome, Proto};
use crate::eventually::eventually;
use crate::netns::Netns;

/// Between two requests: dense enough that any pause of the kernel's service would be seen.
const EVERY: Duration = Duration::from_millis(10);
/// How long a client waits for each step of a request: where everything shares one processor, an answer may take its time.
/// What must not happen is that a packet is lost: the kernel answers a SYN before any program runs, and counts those that
/// it sent again after a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// A request takes some milliseconds in the guest; a second each is ample.
const PER_REQUEST: Duration = Duration::from_secs(1);

/// Requests one after the other from a namespace, until stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    thread: JoinHandle<Result<Result<Outcome>, nix::Error>>,
}

impl Load {
    /// Starts asking `target` from inside `netns`.
    pub fn start(netns: &Netns, proto: Proto, target: SocketAddr) -> Result<Load> {
        Load::begin(netns, move || client::request(proto, target, PATIENCE))
    }

    /// Starts to open connections to one of a [`crate::farm`]'s servers at `target`, each cut once it was greeted.
    pub fn greet(netns: &Netns, target: SocketAddr) -> Result<Load> {
        Load::begin(netns, move || client::hold(target, PATIENCE)?.reset())
    }

    fn begin(netns: &Netns, ask: impl Fn() -> io::Result<Answer> + Send + 'static) -> Result<Load> {
        let stop = Arc::new(AtomicBool::new(false));
        let made = Arc::new(AtomicUsize::new(0));
        let (told, counter) = (Arc::clone(&stop), Arc::clone(&made));
        let thread = netns.spawn(move || {
            let before = resent()?;
            let mut outcome = Outcome::default();
            while !told.load(Ordering::Relaxed) {
                outcome.count(ask());
                counter.fetch_add(1, Ordering::Relaxed);
                thread::sleep(EVERY);
            }
            // one that was answered in the end had lost its first packet all the same
            match resent()? - before {
                0 => {}
                lost => outcome.failed.push(format!("{lost} SYNs had no answer")),
            }
            Ok(outcome)
        })?;
        Ok(Load { stop, made, thread })
    }

    /// Waits until `count` more requests have been made.
    pub fn more(&self, count: usize) -> Result<()> {
        let goal = self.made.load(Ordering::Relaxed) + count;
        let deadline = PER_REQUEST * u32::try_from(count)? + PATIENCE;
        eventually("the client's next requests", deadline, || {
            let made = self.made.load(Ordering::Relaxed);
            ensure!(made >= goal, "{made} of {goal} made");
            Ok(())
        })
    }

    /// Stops and tells what became of every request; SYNs that the namespace had to send again meanwhile are among what
    /// failed.
    pub fn stop(self) -> Result<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the client panicked"))?
            .context("entering the client's namespace")?
    }
}

/// How many SYNs the calling thread's namespace has sent again (`TCPSynRetrans`, `net/ipv4/proc.c`).
fn resent() -> Result<u64> {
    // not /proc/net, which is that of the process's first thread
    let text = fs::read_to_string("/proc/thread-self/net/netstat")?;
    let mut tables = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = tables.next().zip(tables.next()).context("no TcpExt")?;
    let mut counters = names.split(' ').zip(values.split(' '));
    let counter = counters.find(|(name, _)| *name == "TCPSynRetrans");
    let (_, value) = counter.context("no TCPSynRetrans")?;
    value.parse().context("TCPSynRetrans is no number")
}
