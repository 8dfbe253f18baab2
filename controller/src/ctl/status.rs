//! `weirctl status`.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Response, Status, Streaming};
use weir_proto::wire;

use super::args::{StatusArgs, To};
use super::connect::Controller;
use super::now;
use super::outcome::{Trouble, interrupted, print, style};
use super::progress::awaited;
use super::render::{Called, counted, human, is_well, status_document, status_page};
use super::wait::passes;

/// How long to leave a controller alone that went away during the wait: it restarts in about a second.
const AGAIN: Duration = Duration::from_millis(500);

/// Shows how far each node is: once, when all are well, or at each change.
pub(super) async fn run(to: &To, args: &StatusArgs) -> Result<()> {
    if args.wait {
        let goes_on = "the nodes go on: weirctl status shows how far they are";
        return awaited(until_well(to, args), goes_on).await;
    }
    if !args.watch {
        return show(to, args).await;
    }
    tokio::select! {
        ended = show(to, args) => ended,
        pressed = interrupted() => pressed,
    }
}

async fn show(to: &To, args: &StatusArgs) -> Result<()> {
    let controller = Controller::connect(to).await?;
    let begun = begin(&controller, args.watch).await;
    let mut stream = begun.map_err(|status| controller.refusal(&status))?;
    // The first answer is due at once; those after it come when something changes.
    let mut next = controller
        .attempt(async { stream.message().await.map(Response::new) })
        .await;
    let mut first = true;
    loop {
        let status = match next {
            Ok(Some(status)) => status,
            Ok(None) => {
                return Err(anyhow!(
                    "the controller at {} ended the call",
                    to.controller
                ));
            }
            Err(status) => return Err(controller.refusal(&status)),
        };
        let gap = if first || args.output.is_some() {
            ""
        } else {
            "\n"
        };
        let text = page(to, &controller, &status, args)?;
        print(&format!("{gap}{text}"))?;
        if !args.watch {
            return match status.nodes.iter().all(is_well) {
                true => Ok(()),
                false => Err(Trouble::Shown.into()),
            };
        }
        first = false;
        next = stream.message().await;
    }
}

/// Shows the nodes when all are well, or how they are when the time is over.
async fn until_well(to: &To, args: &StatusArgs) -> Result<()> {
    let longest = args.wait_timeout;
    let until = Instant::now() + longest;
    let mut last = None;
    let controller = Controller::connect(to).await?;
    loop {
        match timeout_at(until, follow(&controller, &mut last)).await {
            Ok(Ok(())) => break,
            Ok(Err(status)) if passes(&status) => {
                if timeout_at(until, sleep(AGAIN)).await.is_err() {
                    break;
                }
            }
            Ok(Err(status)) => return Err(controller.refusal(&status)),
            Err(_) => break,
        }
    }
    let waited = human(longest);
    let Some(status) = last else {
        return Err(anyhow!(
            "the controller at {} said nothing within {waited}",
            to.controller
        ));
    };
    print(&page(to, &controller, &status, args)?)?;
    let unwell = status.nodes.iter().filter(|node| !is_well(node)).count();
    match unwell {
        0 => Ok(()),
        unwell => {
            let nodes = counted(unwell, "node");
            let are = if unwell == 1 { "is" } else { "are" };
            Err(anyhow!("timed out after {waited}: {nodes} {are} not well"))
        }
    }
}

/// Follows the nodes until all are well; `last` outlives a call that is cut short.
async fn follow(
    controller: &Controller,
    last: &mut Option<wire::NodeStatusResponse>,
) -> Result<(), Status> {
    let mut stream = begin(controller, true).await?;
    loop {
        let status = stream.message().await?;
        let status = status.ok_or_else(|| Status::unavailable("the stream ended"))?;
        let well = status.nodes.iter().all(is_well);
        *last = Some(status);
        if well {
            return Ok(());
        }
    }
}

async fn begin(
    controller: &Controller,
    watch: bool,
) -> Result<Streaming<wire::NodeStatusResponse>, Status> {
    let mut client = controller.client.clone();
    let request = wire::NodeStatusRequest {
        names: Vec::new(),
        watch,
    };
    controller.attempt(client.node_status(request)).await
}

fn page(
    to: &To,
    controller: &Controller,
    status: &wire::NodeStatusResponse,
    args: &StatusArgs,
) -> Result<String> {
    let who = Called {
        url: &to.controller,
        certificate_expires_unix_ms: controller.certificate_expires_unix_ms,
    };
    match args.output {
        None => Ok(status_page(&who, status, now(), style())),
        Some(form) => status_document(&who, status, now(), (form, args.watch)),
    }
}
