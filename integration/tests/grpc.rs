//! A client that was not built with weir: grpcurl knows of the controller only what its reflection says.
//! `integration/run test grpc` gets grpcurl and gives its path in WEIR_GRPCURL.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use weir_integration::daemon::Daemon;
use weir_integration::netns::Netns;
use weir_integration::program;

const WEB: &str = include_str!("../../deploy/examples/two-pods.yaml");
/// The controller listens well within a second.
const START: Duration = Duration::from_secs(20);

struct Controller {
    address: SocketAddr,
    _daemon: Daemon,
    _dir: TempDir,
}

impl Controller {
    fn start() -> Result<Controller> {
        let dir = tempfile::tempdir()?;
        let (address, admin) = free_addresses()?;
        let mut command = Command::new(program::ours("weir-controller")?);
        command
            .args(["--listen", &address.to_string()])
            .args(["--admin-listen", &admin.to_string()])
            .arg("--data-dir")
            .arg(dir.path().join("data"));
        let mut daemon = Daemon::start("weir-controller", command, dir.path())?;
        daemon.ready(START, || weirctl(address, &["status"], ""))?;
        Ok(Controller {
            address,
            _daemon: daemon,
            _dir: dir,
        })
    }

    /// Runs grpcurl against it. `before` stands before the address, `after` behind it.
    fn grpcurl(&self, before: &[&str], after: &[&str]) -> Result<String> {
        let grpcurl = std::env::var_os("WEIR_GRPCURL")
            .context("WEIR_GRPCURL names no grpcurl: use integration/run test grpc")?;
        let mut command = Command::new(grpcurl);
        command
            .arg("-plaintext")
            .args(before)
            .arg(self.address.to_string())
            .args(after);
        program::run(&mut command, "")
    }
}

fn weirctl(controller: SocketAddr, args: &[&str], input: &str) -> Result<()> {
    let mut command = Command::new(program::ours("weirctl")?);
    command.args(["--controller", &format!("http://{controller}")]);
    program::run(command.args(args), input)?;
    Ok(())
}

/// Two addresses on the loopback that nobody listened on a moment ago.
fn free_addresses() -> Result<(SocketAddr, SocketAddr)> {
    let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((one.local_addr()?, other.local_addr()?))
}

#[test]
fn it_lists_the_services() -> Result<()> {
    let services = Controller::start()?.grpcurl(&[], &["list"])?;
    let listed: Vec<&str> = services.lines().collect();
    // those of an agent's socket are not served here
    ensure!(
        listed
            == [
                "grpc.health.v1.Health",
                "weir.v1.NodeReports",
                "weir.v1.NodeSync",
                "weir.v1.Operator",
            ],
        "{services}"
    );
    Ok(())
}

#[test]
fn it_describes_a_service_and_a_message() -> Result<()> {
    let controller = Controller::start()?;
    let operator = controller.grpcurl(&[], &["describe", "weir.v1.Operator"])?;
    ensure!(operator.contains("rpc Apply"), "{operator}");
    let service = controller.grpcurl(&[], &["describe", "weir.v1.Service"])?;
    ensure!(service.contains("scheduler"), "{service}");
    Ok(())
}

#[test]
fn it_reads_a_service_that_weirctl_applied() -> Result<()> {
    let controller = Controller::start()?;
    weirctl(controller.address, &["apply", "-f", "-"], WEB)?;
    let question = json!({"ref": {"kind": "KIND_SERVICE", "name": "web"}}).to_string();
    let answer = controller.grpcurl(&["-d", &question], &["weir.v1.Operator/Get"])?;
    let resource: Value = serde_json::from_str(&answer)?;
    ensure!(resource["service"]["name"] == "web", "{answer}");
    ensure!(
        resource["service"]["frontends"][0]["port"] == 8080,
        "{answer}"
    );
    ensure!(
        resource["service"]["backends"].as_array().map(Vec::len) == Some(2),
        "{answer}"
    );
    Ok(())
}

#[test]
fn it_is_told_what_is_not_there() -> Result<()> {
    let question = json!({"ref": {"kind": "KIND_SERVICE", "name": "nowhere"}}).to_string();
    let error = Controller::start()?
        .grpcurl(&["-d", &question], &["weir.v1.Operator/Get"])
        .expect_err("there is no such service");
    let error = error.to_string();
    ensure!(error.contains("NotFound"), "{error}");
    ensure!(error.contains("google.rpc.ErrorInfo"), "{error}");
    ensure!(error.contains("RESOURCE_NOT_FOUND"), "{error}");
    Ok(())
}

#[test]
fn it_is_told_every_bad_field_and_describes_the_reasons() -> Result<()> {
    let controller = Controller::start()?;
    let service = json!({"name": "web", "frontends": [{"address": "10.0.0.1", "port": 0}]});
    let request = json!({"resources": [{"service": service}]}).to_string();
    let error = controller
        .grpcurl(&["-d", &request], &["weir.v1.Operator/Apply"])
        .expect_err("it has a bad port and no protocol");
    let error = error.to_string();
    for said in [
        "InvalidArgument",
        "FIELDS_INVALID",
        "google.rpc.BadRequest",
        "services[web].frontends[0].port",
        "services[web].frontends[0].protocol",
    ] {
        ensure!(error.contains(said), "{said}: {error}");
    }
    let reasons = controller.grpcurl(&[], &["describe", "weir.v1.ErrorReason"])?;
    ensure!(reasons.contains("FIELDS_INVALID"), "{reasons}");
    Ok(())
}

#[test]
fn it_watches_what_is_written() -> Result<()> {
    let controller = Controller::start()?;
    weirctl(controller.address, &["apply", "-f", "-"], WEB)?;
    // it goes on for ever, so that it is given some seconds
    let request = json!({"kinds": ["KIND_SERVICE"]}).to_string();
    let cut = controller
        .grpcurl(
            &["-max-time", "10", "-d", &request],
            &["weir.v1.Operator/Watch"],
        )
        .expect_err("a watch ends by its time");
    let told = cut.to_string();
    ensure!(told.contains("OUTCOME_CREATED"), "{told}");
    ensure!(told.contains("DeadlineExceeded"), "{told}");
    Ok(())
}

/// A controller and an agent of it in a network namespace of their own, and the agent's socket. The agent may lack what its
/// kernel has not: nothing is applied.
struct Agent {
    socket: PathBuf,
    _daemons: [Daemon; 2],
    _netns: Netns,
    _dir: TempDir,
}

impl Agent {
    fn start(name: &str) -> Result<Agent> {
        let netns = Netns::create(&format!("{name}-{}", std::process::id()))?;
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("agent.sock");
        // nobody else is in the namespace
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7420));
        let mut command = netns.command(program::ours("weir-controller")?);
        command
            .args(["--listen", &address.to_string()])
            .arg("--data-dir")
            .arg(dir.path().join("controller"));
        let controller = Daemon::start("weir-controller", command, dir.path())?;
        let mut command = netns.command(program::ours("weir-agent")?);
        command
            .args(["--node", "node-a"])
            .args(["--controller", &format!("http://{address}")])
            .arg("--socket")
            .arg(&socket)
            .arg("--data-dir")
            .arg(dir.path().join("agent"));
        let mut agent = Daemon::start("weir-agent", command, dir.path())?;
        agent.ready(START, || {
            let mut status = Command::new(program::ours("weirctl")?);
            status.arg("--agent").arg(&socket).arg("status");
            program::run(&mut status, "").map(drop)
        })?;
        Ok(Agent {
            socket,
            _daemons: [controller, agent],
            _netns: netns,
            _dir: dir,
        })
    }

    /// Runs grpcurl against its socket. `before` stands before the path, `after` behind it.
    fn grpcurl(&self, before: &[&str], after: &[&str]) -> Result<String> {
        let grpcurl = std::env::var_os("WEIR_GRPCURL")
            .context("WEIR_GRPCURL names no grpcurl: use integration/run test grpc")?;
        let mut command = Command::new(grpcurl);
        command
            // of itself it gives the path for a host, which HTTP/2 refuses
            .args(["-plaintext", "-unix", "-authority", "localhost"])
            .args(before)
            .arg(&self.socket)
            .args(after);
        program::run(&mut command, "")
    }
}

#[test]
fn an_agent_tells_over_its_socket_what_its_node_holds() -> Result<()> {
    let agent = Agent::start("weir-grpc-told")?;
    let services = agent.grpcurl(&[], &["list"])?;
    ensure!(
        services.lines().any(|line| line == "weir.v1.Agent"),
        "{services}"
    );
    let described = agent.grpcurl(&[], &["describe", "weir.v1.Agent"])?;
    for call in ["State", "Kernel", "Ledger", "Events"] {
        ensure!(described.contains(&format!("rpc {call}")), "{described}");
    }
    let state = agent.grpcurl(&[], &["weir.v1.Agent/State"])?;
    let state: Value = serde_json::from_str(&state)?;
    ensure!(state["node"] == "node-a", "{state}");
    ensure!(state["contact"]["connected"] == true, "{state}");
    let events = agent.grpcurl(&[], &["weir.v1.Agent/Events"])?;
    ensure!(events.contains("KIND_CONNECTED"), "{events}");
    let ledger = agent.grpcurl(&[], &["weir.v1.Agent/Ledger"])?;
    ensure!(!ledger.contains("weir0"), "nothing was applied: {ledger}");
    Ok(())
}

#[test]
fn an_agent_says_why_it_refuses() -> Result<()> {
    let agent = Agent::start("weir-grpc-refused")?;
    let question = json!({"kinds": ["pod"]}).to_string();
    let error = agent
        .grpcurl(&["-d", &question], &["weir.v1.Agent/Kernel"])
        .expect_err("there is no such kind");
    let error = error.to_string();
    for said in [
        "InvalidArgument",
        "FIELDS_INVALID",
        "google.rpc.BadRequest",
        "kinds[0]",
    ] {
        ensure!(error.contains(said), "{said}: {error}");
    }
    Ok(())
}
