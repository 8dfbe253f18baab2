//! `weirctl apply`.

use anyhow::{Result, anyhow};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use weir_proto::convert::canary_to_wire;
use weir_proto::wire;

use super::args::{ApplyArgs, To};
use super::connect::Controller;
use super::files;
use super::manifest::{Manifests, in_file_words};
use super::outcome::{Trouble, print};
use super::render::{counted, outcome, reference};
use super::rollout;
use super::wait::{About, Wait};

/// The most one apply may carry (`ApplyRequest.resources`).
const LARGEST: usize = 4 << 20;

/// Reads the files, sends what they say, and prints what became of it.
pub(super) async fn run(to: &To, args: &ApplyArgs) -> Result<()> {
    let manifests = files::manifests(&args.files)?;
    let request = wire::ApplyRequest {
        resources: manifests.resources(),
        dry_run: args.write.dry_run,
        expected_revision: args.write.expected_revision,
        allow_mass_delete: args.write.allow_mass_delete,
        canary: args.canary.as_ref().map(canary_to_wire),
    };
    let size = request.encoded_len();
    if size > LARGEST {
        return Err(anyhow!(
            "the resources are {} KiB, and one apply carries {} KiB: apply them in parts",
            size >> 10,
            LARGEST >> 10
        ));
    }
    let controller = Controller::connect(to).await?;
    let mut client = controller.client.clone();
    let answer = controller
        .attempt(client.apply(request))
        .await
        .map_err(|status| match refused_fields(&status, &manifests) {
            Some(trouble) => trouble.into(),
            None => controller.refusal(&status),
        })?;
    print(&changes(&answer.changes, args.write.dry_run))?;
    let changed = |change: &wire::Change| change.outcome() != wire::change::Outcome::Unchanged;
    if args.write.wait && args.canary.is_some() && answer.changes.iter().any(changed) {
        let longest = args.write.wait_timeout;
        rollout::until_over(&controller, answer.revision, longest).await?;
    } else if args.write.wait {
        Wait::new(answer.targets, About::new(manifests.resources()))
            .until_converged(&controller, answer.revision, args.write.wait_timeout)
            .await?;
    }
    Ok(())
}

/// Says what became of each resource, as kubectl does.
pub(super) fn changes(changes: &[wire::Change], dry_run: bool) -> String {
    let mut text = String::new();
    for change in changes {
        let of = change.r#ref.as_ref().map(reference).unwrap_or_default();
        let outcome = outcome(change.outcome());
        let dry = if dry_run { " (server dry run)" } else { "" };
        text += &format!("{of} {outcome}{dry}\n");
    }
    text
}

/// Brings the fields the controller refuses to the lines they were written on.
pub(super) fn refused_fields(status: &Status, manifests: &Manifests) -> Option<Trouble> {
    if status.code() != Code::InvalidArgument {
        return None;
    }
    let fields = status.get_details_bad_request()?.field_violations;
    if fields.is_empty() {
        return None;
    }
    let details: Vec<String> = fields
        .iter()
        .map(|violation| {
            let (path, problem) = (&violation.field, &violation.description);
            match manifests.locate(path) {
                Some((file, line)) => {
                    let path = in_file_words(path);
                    format!("{file}:{line}: {path}: {problem}")
                }
                None => format!("{path}: {problem}"),
            }
        })
        .collect();
    let problems = counted(details.len(), "problem");
    Some(Trouble::Detailed {
        details,
        summary: format!("the controller found {problems}; nothing was applied"),
    })
}
