//! `weirctl history` and `rollback`.

use anyhow::Result;
use weir_proto::wire;

use super::apply::changes;
use super::args::{Form, HistoryArgs, RollbackArgs, To};
use super::connect::{Controller, Found};
use super::now;
use super::outcome::{Trouble, print, tell};
use super::render;
use super::wait::{About, Wait};

/// Shows the last writes, the newest first.
pub(super) async fn run(to: &To, args: &HistoryArgs) -> Result<()> {
    if matches!(args.output, Form::Name | Form::Ipvsadm) {
        let text = "a write has no name: history is shown as table, wide, json or yaml";
        return Err(Trouble::Usage(text.to_owned()).into());
    }
    let controller = Controller::connect(to).await?;
    let mut client = controller.client.clone();
    let request = wire::HistoryRequest { limit: args.limit };
    let entries = controller.answer(client.history(request)).await?.entries;
    let text = match args.output.document() {
        Some(form) => render::history(&entries, form)?,
        None if entries.is_empty() => {
            tell("No writes found.");
            String::new()
        }
        None => {
            let wide = args.output == Form::Wide;
            render::table(&render::history_rows(&entries, now(), wide))
        }
    };
    print(&text)
}

/// Goes back to a revision, and prints what became of each resource.
pub(super) async fn roll_back(to: &To, args: &RollbackArgs) -> Result<()> {
    let controller = Controller::connect(to).await?;
    let mut client = controller.client.clone();
    let request = wire::RollbackRequest {
        revision: args.revision,
        dry_run: args.write.dry_run,
        expected_revision: args.write.expected_revision,
        allow_mass_delete: args.write.allow_mass_delete,
    };
    let answer = controller.answer(client.rollback(request)).await?;
    if answer.changes.is_empty() {
        let revision = args.revision;
        return print(&format!("nothing changed since revision {revision}\n"));
    }
    print(&changes(&answer.changes, args.write.dry_run))?;
    if args.write.wait {
        // what is deleted again fails on no node for long: what there is now is waited for
        let refs = answer.changes.into_iter();
        let refs: Vec<_> = refs.filter_map(|change| change.r#ref).collect();
        let Found { resources, .. } = controller.find(&refs).await?;
        Wait::new(answer.targets, About::new(resources))
            .until_converged(&controller, answer.revision, args.write.wait_timeout)
            .await?;
    }
    Ok(())
}
