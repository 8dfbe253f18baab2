//! `weirctl weight`.
//!
//! What carries a backend is read, changed and written again. A write replaces the whole of it, so it is made only at the
//! revision that was read, and tried again where somebody else was faster.

mod change;

use anyhow::{Result, anyhow};
use tonic::Code;
use weir_proto::wire;

use super::args::{To, WeightArgs};
use super::connect::{Controller, Found};
use super::outcome::{Trouble, print};
use super::wait::{About, Wait};
use change::{Changed, Wanted, change, wanted};

/// How often somebody else may be faster: it takes milliseconds, and on a cluster so busy nobody sets weights by hand.
const TRIES: usize = 8;

/// Gives backends their weights, and says which they had.
pub(super) async fn run(to: &To, args: &WeightArgs) -> Result<()> {
    let wanted = wanted(&args.backends).map_err(Trouble::Usage)?;
    let controller = Controller::connect(to).await?;
    for _ in 0..TRIES {
        let (changed, revision) = read(&controller, &wanted).await?;
        if changed.resources.is_empty() {
            return print(&changed.lines(args.write.dry_run));
        }
        let request = wire::ApplyRequest {
            resources: changed.resources.clone(),
            dry_run: args.write.dry_run,
            expected_revision: args.write.expected_revision.or(Some(revision)),
            allow_mass_delete: args.write.allow_mass_delete,
            canary: None,
        };
        let mut client = controller.client.clone();
        match controller.attempt(client.apply(request)).await {
            Ok(answer) => {
                print(&changed.lines(args.write.dry_run))?;
                if args.write.wait {
                    let wait = Wait::new(answer.targets, About::new(changed.resources));
                    let longest = args.write.wait_timeout;
                    wait.until_converged(&controller, answer.revision, longest)
                        .await?;
                }
                return Ok(());
            }
            Err(status)
                if status.code() == Code::Aborted && args.write.expected_revision.is_none() => {}
            Err(status) => return Err(controller.refusal(&status)),
        }
    }
    Err(anyhow!(
        "the cluster was changed by others {TRIES} times in between; nothing was changed"
    ))
}

/// Reads what carries the backends, and gives it changed, with the revision at which it was read.
async fn read(controller: &Controller, wanted: &[Wanted]) -> Result<(Changed, u64)> {
    let (sets, revision) = controller.list_at(wire::Kind::BackendSet).await?;
    let mut services: Vec<wire::ResourceRef> = Vec::new();
    for one in wanted {
        let named = wire::ResourceRef {
            kind: wire::Kind::Service.into(),
            name: one.service.clone(),
        };
        if !services.contains(&named) {
            services.push(named);
        }
    }
    let Found { resources, missing } = controller.find(&services).await?;
    if !missing.is_empty() {
        return Err(Trouble::missing(&missing, "; nothing was changed").into());
    }
    let changed = change(resources.into_iter().chain(sets).collect(), wanted);
    let changed = changed.map_err(|missing| Trouble::absent(missing, "; nothing was changed"))?;
    Ok((changed, revision))
}
