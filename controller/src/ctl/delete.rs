//! `weirctl delete`.

use anyhow::Result;
use weir_proto::wire;

use super::apply::changes;
use super::args::{DeleteArgs, To};
use super::connect::{Controller, Found};
use super::outcome::{Trouble, print};
use super::wait::{About, Wait};
use super::{files, names};

/// Deletes what is named and prints what went, backend sets that went with their service included.
pub(super) async fn run(to: &To, args: &DeleteArgs) -> Result<()> {
    let refs = if args.files.is_empty() {
        names::references(&args.what).map_err(Trouble::Usage)?
    } else {
        files::manifests(&args.files)?.references()
    };
    let controller = Controller::connect(to).await?;
    let Found { resources, missing } = controller.find(&refs).await?;
    if !missing.is_empty() && !args.ignore_not_found {
        return Err(Trouble::missing(&missing, "; nothing was deleted").into());
    }
    let there = refs.into_iter().filter(|named| !missing.contains(named));
    let refs: Vec<wire::ResourceRef> = there.collect();
    if refs.is_empty() {
        return Ok(());
    }
    let request = wire::DeleteRequest {
        refs,
        dry_run: args.write.dry_run,
        expected_revision: args.write.expected_revision,
        allow_mass_delete: args.write.allow_mass_delete,
    };
    let mut client = controller.client.clone();
    let answer = controller.answer(client.delete(request)).await?;
    print(&changes(&answer.changes, args.write.dry_run))?;
    if args.write.wait {
        Wait::new(answer.targets, About::new(resources))
            .until_converged(&controller, answer.revision, args.write.wait_timeout)
            .await?;
    }
    Ok(())
}
