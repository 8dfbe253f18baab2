//! `weirctl plan`.

use anyhow::Result;
use weir_proto::wire;
use weir_proto::wire::plan_response::Part;

use super::apply::refused_fields;
use super::args::{PlanArgs, To};
use super::connect::Controller;
use super::files;
use super::outcome::{Trouble, print};
use super::render::PlanPage;

/// Prints what applying the files would do. Something that would change is status 1.
pub(super) async fn run(to: &To, args: &PlanArgs) -> Result<()> {
    match planned(to, args).await {
        Ok(page) if page.changes_nothing() => Ok(()),
        Ok(_) => Err(Trouble::Shown.into()),
        Err(error) => Err(Trouble::Undecided(error).into()),
    }
}

async fn planned(to: &To, args: &PlanArgs) -> Result<PlanPage> {
    let manifests = files::manifests(&args.files)?;
    let request = wire::PlanRequest {
        resources: manifests.resources(),
        expected_revision: args.expected_revision,
        allow_mass_delete: args.allow_mass_delete,
    };
    let controller = Controller::connect(to).await?;
    let mut client = controller.client.clone();
    let mut parts = controller
        .attempt(client.plan(request))
        .await
        .map_err(|status| match refused_fields(&status, &manifests) {
            Some(trouble) => trouble.into(),
            None => controller.refusal(&status),
        })?;
    let mut page = PlanPage::default();
    while let Some(answer) = controller.next(&mut parts).await? {
        match answer.part {
            Some(Part::Staged(staged)) => page.staged(staged),
            Some(Part::Node(node)) => page.node(node),
            None => {}
        }
    }
    print(&page.text(args.output)?)?;
    Ok(page)
}
