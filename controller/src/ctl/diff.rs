//! `weirctl diff`.

use anyhow::{Result, anyhow};
use weir_proto::wire;
use weir_proto::wire::diff_response::Part;

use super::apply::refused_fields;
use super::args::{DiffArgs, To};
use super::connect::Controller;
use super::files;
use super::outcome::{Trouble, print};
use super::render::{DiffPage, counted};

/// Prints what is not the same. Something that is not is status 1.
pub(super) async fn run(to: &To, args: &DiffArgs) -> Result<()> {
    let page = match compared(to, args).await {
        Ok(page) => page,
        Err(error) => return Err(Trouble::Undecided(error).into()),
    };
    match (page.unanswered(), page.is_same()) {
        (0, true) => Ok(()),
        (0, false) => Err(Trouble::Shown.into()),
        (count, _) => {
            let nodes = counted(count, "node");
            let error = anyhow!("{nodes} could not be compared");
            Err(Trouble::Undecided(error).into())
        }
    }
}

async fn compared(to: &To, args: &DiffArgs) -> Result<DiffPage> {
    let manifests = match args.files.is_empty() {
        true => None,
        false => Some(files::manifests(&args.files)?),
    };
    let resources = manifests.as_ref().map(|manifests| manifests.resources());
    let request = wire::DiffRequest {
        resources: resources.unwrap_or_default(),
        nodes: args.nodes.clone(),
    };
    let controller = Controller::connect(to).await?;
    let mut client = controller.client.clone();
    let mut parts = controller
        .attempt(client.diff(request))
        .await
        .map_err(|status| {
            let manifests = manifests.as_ref();
            match manifests.and_then(|manifests| refused_fields(&status, manifests)) {
                Some(trouble) => trouble.into(),
                None => controller.refusal(&status),
            }
        })?;
    let mut page = DiffPage::new(manifests.is_some());
    while let Some(answer) = controller.next(&mut parts).await? {
        match answer.part {
            Some(Part::Node(node)) => page.node(node),
            Some(Part::Staged(_)) | None => {}
        }
    }
    print(&page.text(args.output)?)?;
    Ok(page)
}
