//! `memory-agent NODE CONTROLLER DIRECTORY` is an agent whose kernel is in memory: a program that tells its log and its spans
//! as the real one does, where there is no ip_vs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use weir_agent::app::{self, Settings};
use weir_agent::kernel::fake::Fake;
use weir_agent::session::{self, Identity};
use weir_proto::model::{Labels, Node, NodeName};
use weir_proto::trace::{self, Teller};

/// Nobody changes a kernel in memory behind its agent's back.
const AUDIT_INTERVAL: Duration = Duration::from_secs(3_600);

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [node, controller, directory] = args[..] else {
        bail!("usage: memory-agent NODE CONTROLLER DIRECTORY");
    };
    let teller = Teller {
        program: "weir-agent",
        instance: Some(node),
    };
    let _telling = trace::start(teller, false)?;
    let settings = Settings {
        identity: Identity {
            node: Node::new(NodeName::new(node)?, Labels::default(), vec![]),
            capabilities: vec![],
        },
        controller: session::endpoint(controller)?,
        journal: Path::new(directory).join("journal"),
        admin_listen: None,
        backend_metrics: false,
        socket: None,
        called: controller.to_owned(),
        audit_interval: AUDIT_INTERVAL,
        stale_after: None,
    };
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    app::run(settings, Fake::new(), async {
        terminated.recv().await;
    })
    .await
}
