//! `weirctl status`.

use anyhow::{Result, anyhow};
use tonic::Response;
use weir_proto::wire;

use super::args::{StatusArgs, To};
use super::connect::Controller;
use super::now;
use super::outcome::{Trouble, interrupted, print, style};
use super::render::{Called, is_well, status_page};

/// Shows how far each node is, once or at each change.
pub(super) async fn run(to: &To, args: &StatusArgs) -> Result<()> {
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
    let mut client = controller.client.clone();
    let request = wire::NodeStatusRequest {
        names: Vec::new(),
        watch: args.watch,
    };
    let mut stream = controller.answer(client.node_status(request)).await?;
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
        let gap = if first { "" } else { "\n" };
        let who = Called {
            url: &to.controller,
            certificate_expires_unix_ms: controller.certificate_expires_unix_ms,
        };
        let text = status_page(&who, &status, now(), style());
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
