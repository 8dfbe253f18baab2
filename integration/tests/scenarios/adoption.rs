//! A service that somebody made with `ipvsadm` becomes weir's, in place.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use weir_integration::client::Proto;
use weir_integration::eventually::eventually;
use weir_integration::load::Load;
use weir_integration::netns::Netns;
use weir_integration::program;

use crate::site::{SOON, WEB, WEB_VIP, on_two_pods};

/// Requests between what is done to the agent.
const SOME: usize = 30;
/// Between two lines of a request that takes its time: a pod gives up after ten seconds without any.
const EVERY: Duration = Duration::from_millis(100);
/// The end of a connection that no longer works.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection that stays open: a request whose head does not end until it is told to.
struct Open {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Result<io::Result<String>, nix::Error>>,
}

impl Open {
    fn start(netns: &Netns, target: SocketAddr) -> Result<Open> {
        let end = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&end);
        let thread = netns.spawn(move || talk(target, &told))?;
        Ok(Open { end, thread })
    }

    /// Ends the request, and gives what came back.
    fn finish(self) -> Result<String> {
        self.end.store(true, Ordering::Relaxed);
        let said = self.thread.join().map_err(|_| anyhow!("it panicked"))?;
        let said = said.context("entering the client's namespace")?;
        said.context("the connection broke")
    }
}

fn talk(target: SocketAddr, end: &AtomicBool) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\n")?;
    while !end.load(Ordering::Relaxed) {
        stream.write_all(b"X-Still: here\r\n")?;
        thread::sleep(EVERY);
    }
    stream.write_all(b"\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_service_of_ipvsadm_is_adopted_without_a_connection_cut_and_then_is_as_wanted() -> Result<()> {
    on_two_pods(|site| {
        let node = &site.topology.node("node-a")?.netns;
        let ipvs = || program::run(node.command("ipvsadm").arg("-Sn"), "");
        program::run(
            node.command("ipvsadm").arg("-R"),
            "-A -t 10.100.100.100:8080 -s wrr\n\
             -a -t 10.100.100.100:8080 -r 10.0.0.11:8080 -m -w 3\n\
             -a -t 10.100.100.100:8080 -r 10.0.0.21:8080 -m -w 5\n\
             -a -t 10.100.100.100:8080 -r 10.0.0.99:8080 -m -w 0\n",
        )?;
        let theirs = ipvs()?;
        let refused = site.apply(WEB).expect_err("in conflict").to_string();
        let told = "virtual service 10.100.100.100:8080/TCP is there and is not ours";
        ensure!(refused.contains(told), "{refused}");
        // its VIP was nobody's: through it clients reach what ipvsadm made
        let load = Load::start(&site.topology.client, Proto::Tcp, WEB_VIP.parse()?)?;
        let open = Open::start(&site.topology.client, WEB_VIP.parse()?)?;
        load.more(SOME)?;
        let runs = site.weir.once(&site.topology, "node-a", &["adopt"]);
        let runs = format!("{:#}", runs.expect_err("the agent runs"));
        ensure!(runs.contains("weir-agent runs: stop it first"), "{runs}");

        site.weir.terminate_agent("node-a")?;
        let would = site
            .weir
            .once(&site.topology, "node-a", &["adopt", "--dry-run"])?;
        ensure!(would.contains("1 objects would be taken"), "{would}");
        let did = site.weir.once(&site.topology, "node-a", &["adopt"])?;
        ensure!(
            did == "took virtual service 10.100.100.100:8080/TCP\n\
                    took backend 10.0.0.11:8080 of 10.100.100.100:8080/TCP with it\n\
                    took backend 10.0.0.21:8080 of 10.100.100.100:8080/TCP with it\n\
                    took backend 10.0.0.99:8080 of 10.100.100.100:8080/TCP with it, and it will go: \
                    it is not wanted\n\
                    1 objects taken, with 3 in them, 0 left, 0 wanted and not there\n",
            "{did}"
        );
        ensure!(ipvs()? == theirs, "adopting changed {theirs}");
        load.more(SOME)?;

        site.weir.start_agent(&site.topology, "node-a")?;
        eventually("the service is as wanted", SOON, || {
            let now = ipvs()?;
            let mut lines: Vec<&str> = now.lines().map(str::trim).collect();
            lines.sort_unstable();
            ensure!(
                lines
                    == [
                        "-A -t 10.100.100.100:8080 -s rr",
                        "-a -t 10.100.100.100:8080 -r 10.0.0.11:8080 -m -w 1",
                        "-a -t 10.100.100.100:8080 -r 10.0.0.21:8080 -m -w 1",
                    ],
                "{now}"
            );
            Ok(())
        })?;
        load.more(SOME)?;
        let outcome = load.stop()?;
        ensure!(
            outcome.failed.is_empty() && outcome.pods() == ["pod-x", "pod-y"],
            "{outcome}: {:?}",
            outcome.failed
        );
        let answer = open.finish()?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

        site.weir.terminate_agent("node-a")?;
        site.weir.cleanup(&site.topology, "node-a")?;
        ensure!(ipvs()?.is_empty(), "what was adopted is ours to remove");
        Ok(())
    })
}
