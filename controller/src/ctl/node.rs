//! `weirctl node`.

use anyhow::Result;
use weir_proto::wire;

use super::args::{NodeArgs, NodeCommand, ReleaseArgs, To};
use super::connect::Controller;
use super::outcome::print;

/// Lets a node do what it holds back, and says so.
pub(super) async fn run(to: &To, args: &NodeArgs) -> Result<()> {
    let NodeCommand::Release(ReleaseArgs { name }) = &args.command;
    let controller = Controller::connect(to).await?;
    let mut client = controller.client.clone();
    let request = wire::ReleaseNodeRequest { name: name.clone() };
    let released = controller.answer(client.release_node(request)).await?;
    let generation = released.generation;
    print(&format!(
        "node/{name} released up to generation {generation}\n"
    ))
}
