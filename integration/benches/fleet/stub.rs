//! A node that says it holds whatever it is sent, and holds nothing.

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use weir_proto::wire;
use weir_proto::wire::node_sync_client::NodeSyncClient;
use weir_proto::wire::sync_request::Message;
use weir_proto::wire::sync_response;

use crate::controller::Controller;
use crate::pki;

/// Answers that may wait.
const OUTGOING: usize = 16;
/// As an agent has it: a chunk is at most 1 MiB.
const LARGEST_MESSAGE: usize = 2 << 20;

/// Comes to the controller as a node, and goes on to agree with it until the runtime ends.
pub(crate) async fn come(controller: &Controller, node: String) -> Result<()> {
    let line = controller.line(&pki::node(&node)?)?;
    let (outgoing, messages) = mpsc::channel(OUTGOING);
    let hello = wire::Hello {
        node,
        ..wire::Hello::default()
    };
    say(&outgoing, Message::Hello(hello)).await?;
    let client = NodeSyncClient::new(line.connect().await?);
    let mut client = client.max_decoding_message_size(LARGEST_MESSAGE);
    let response = client.sync(ReceiverStream::new(messages)).await?;
    tokio::spawn(agree(response.into_inner(), outgoing));
    Ok(())
}

async fn agree(
    mut updates: Streaming<wire::SyncResponse>,
    outgoing: mpsc::Sender<wire::SyncRequest>,
) -> Result<()> {
    loop {
        let response = updates.message().await?.context("the stream ended")?;
        let Some(sync_response::Message::Update(update)) = response.message else {
            continue;
        };
        if !update.last {
            continue;
        }
        let generation = update.generation;
        let accepted = wire::Accepted {
            generation,
            ..wire::Accepted::default()
        };
        say(&outgoing, Message::Accepted(accepted)).await?;
        let converged = wire::Converged {
            generation,
            ..wire::Converged::default()
        };
        say(&outgoing, Message::Converged(converged)).await?;
    }
}

async fn say(outgoing: &mpsc::Sender<wire::SyncRequest>, message: Message) -> Result<()> {
    let message = Some(message);
    let said = outgoing.send(wire::SyncRequest { message }).await;
    said.context("the stream ended")
}
