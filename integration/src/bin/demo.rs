//! The main job, shown: one address, two pods on one node, each reaching both, itself included; and what
//! becomes of that without the loopback entry. Fails when an answer is not the one expected.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_integration::client::{self, Outcome, Proto};
use weir_integration::netns::Netns;
use weir_integration::program::{self, line};
use weir_integration::topology::Topology;
use weir_integration::weir::Weir;

const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/examples/two-pods.yaml"
);
/// The virtual address of the example.
const VIP: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 100, 100, 100), 8080);
/// The loopback entry that is taken away for a moment: of pod-x, as the agent keeps it.
const SET: &str = "WEIR-LOOPBACK";
const ENTRY: &str = "10.0.0.11,tcp:8080,10.0.0.11";
/// Even, so that round robin gives each pod its half.
const REQUESTS: usize = 6;
/// A request that is not answered costs this much of the demo.
const PATIENCE: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    program::unless_unread(demo())
}

fn demo() -> Result<()> {
    let start = Instant::now();
    let dir = tempfile::tempdir()?;
    let topology = Topology::two_pods("", dir.path()).context("building the topology")?;
    say("One node with two pods on its bridge, each serving HTTP on port 8080:")?;
    let node = &topology.node("node-a")?.netns;
    show(node.command("ip").args(["-brief", "address"]))?;

    let listen = SocketAddr::from(([127, 0, 0, 1], 7420));
    let weir = Weir::start(&topology, dir.path(), listen).context("starting weir")?;
    let shown = demonstrate(&topology, &weir, node);
    let shown = program::unless_unread(shown);
    if shown.is_err() {
        weir.show_logs();
    }
    shown?;
    say(&format!("Done in {} s.", start.elapsed().as_secs()))
}

fn demonstrate(topology: &Topology, weir: &Weir, node: &Netns) -> Result<()> {
    say("A controller and an agent run. The operator applies a file:")?;
    line(&fs::read_to_string(EXAMPLE).context(EXAMPLE)?)?;
    show(
        weir.weirctl_command(topology)?
            .args(["apply", "--wait", "-f", "deploy/examples/two-pods.yaml"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")),
    )?;

    say("Who answers at the virtual address, from where:")?;
    let both = &["pod-x", "pod-y"][..];
    table(topology, [both, both, both])?;

    say("The same without the loopback entry of pod-x, which now cannot reach itself:")?;
    show(node.command("ipset").args(["del", SET, ENTRY]))?;
    table(topology, [both, &["pod-y"], both])?;

    say("And with the entry back in its place:")?;
    show(node.command("ipset").args(["add", SET, ENTRY]))?;
    table(topology, [both, both, both])?;

    say("What the kernel and the controller say:")?;
    show(node.command("ipvsadm").arg("-Ln"))?;
    show(node.command("ipset").arg("list"))?;
    show(weir.weirctl_command(topology)?.arg("status"))
}

/// Asks from the host, from pod-x and from pod-y, prints who answered, and compares that with who should.
fn table(topology: &Topology, expected: [&[&str]; 3]) -> Result<()> {
    let places = [
        ("host", &topology.node("node-a")?.netns),
        ("pod-x", &topology.pod("pod-x")?.netns),
        ("pod-y", &topology.pod("pod-y")?.netns),
    ];
    line(&format!("  {:<8}{:<12}who", "from", "answered"))?;
    let mut wrong = Vec::new();
    for ((from, netns), pods) in places.into_iter().zip(expected) {
        let outcome =
            netns.enter(|| client::requests(Proto::Tcp, VIP.into(), REQUESTS, PATIENCE))?;
        let answered = REQUESTS - outcome.failed.len();
        let answered = format!("{answered} of {REQUESTS}");
        line(&format!("  {from:<8}{answered:<12}{outcome}"))?;
        if !as_expected(&outcome, pods) {
            wrong.push(format!(
                "from {from}: {outcome}, where {pods:?} should answer"
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

/// Round robin tries both pods: where only one should answer, the requests to the other fail.
fn as_expected(outcome: &Outcome, pods: &[&str]) -> bool {
    outcome.pods() == pods && outcome.failed.is_empty() == (pods.len() == 2)
}

fn say(text: &str) -> Result<()> {
    line(&format!("\n{text}"))
}

/// Runs a command as a user would, its line before what it prints.
fn show(command: &mut Command) -> Result<()> {
    line(&format!("  $ {}", program::told(command)))?;
    for text in program::run(command, "")?.lines() {
        line(&format!("  {text}"))?;
    }
    Ok(())
}
