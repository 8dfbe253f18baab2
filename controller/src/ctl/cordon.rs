//! `weirctl cordon` and `uncordon`.
//!
//! Nodes are read, changed and written again, as `weight` does it with backends: only at the revision that was read, and again
//! where somebody else was faster.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use tonic::Code;
use weir_proto::wire;
use weir_proto::wire::resource::Kind;

use super::args::{CordonArgs, To, UncordonArgs, Write};
use super::connect::Controller;
use super::names::cordoned;
use super::outcome::{Trouble, print, tell};
use super::render::Listing;
use super::wait::{About, Wait};

/// How often somebody else may be faster: it takes milliseconds, and on a cluster so busy nobody cordons by hand.
const TRIES: usize = 8;

/// What is asked for.
struct Asked<'a> {
    names: Vec<String>,
    cordoned: bool,
    write: &'a Write,
}

/// What becomes of the nodes.
#[derive(Debug, PartialEq)]
struct Changed {
    /// What must be written.
    resources: Vec<wire::Resource>,
    /// Each node's name, and whether it was so before.
    nodes: Vec<(String, bool)>,
    /// What the operator should know besides.
    warnings: Vec<String>,
}

/// Cordons nodes, and says so.
pub(super) async fn run(to: &To, args: &CordonArgs) -> Result<()> {
    let asked = Asked {
        names: cordoned(&args.what).map_err(Trouble::Usage)?,
        cordoned: true,
        write: &args.write,
    };
    asked.write(to).await
}

/// Ends cordons, and says so.
pub(super) async fn undo(to: &To, args: &UncordonArgs) -> Result<()> {
    let asked = Asked {
        names: cordoned(&args.what).map_err(Trouble::Usage)?,
        cordoned: false,
        write: &args.write,
    };
    asked.write(to).await
}

impl Asked<'_> {
    async fn write(self, to: &To) -> Result<()> {
        let controller = Controller::connect(to).await?;
        for _ in 0..TRIES {
            let (listing, revision) = self.read(&controller).await?;
            let changed = self.change(listing);
            let changed =
                changed.map_err(|missing| Trouble::absent(missing, "; nothing was changed"))?;
            if changed.resources.is_empty() {
                return self.tell(&changed);
            }
            let request = wire::ApplyRequest {
                resources: changed.resources.clone(),
                dry_run: self.write.dry_run,
                expected_revision: self.write.expected_revision.or(Some(revision)),
                allow_mass_delete: self.write.allow_mass_delete,
                canary: None,
            };
            let mut client = controller.client.clone();
            match controller.attempt(client.apply(request)).await {
                Ok(answer) => {
                    self.tell(&changed)?;
                    if self.write.wait {
                        let wait = Wait::new(answer.targets, About::new(changed.resources));
                        let longest = self.write.wait_timeout;
                        wait.until_converged(&controller, answer.revision, longest)
                            .await?;
                    }
                    return Ok(());
                }
                Err(status)
                    if status.code() == Code::Aborted && self.write.expected_revision.is_none() => {
                }
                Err(status) => return Err(controller.refusal(&status)),
            }
        }
        Err(anyhow!(
            "the cluster was changed by others {TRIES} times in between; nothing was changed"
        ))
    }

    /// Reads the nodes, and where nodes are to be cordoned what runs on them, with the revision from which nothing is missing.
    async fn read(&self, controller: &Controller) -> Result<(Listing, u64)> {
        let (nodes, revision) = controller.list_at(wire::Kind::Node).await?;
        let mut listing = Listing::new(nodes);
        if self.cordoned {
            for kind in [wire::Kind::Service, wire::Kind::BackendSet] {
                for resource in controller.list(kind).await? {
                    listing.put(resource);
                }
            }
        }
        Ok((listing, revision))
    }

    /// Changes the nodes. An error names those that are not there.
    fn change(&self, mut listing: Listing) -> Result<Changed, Vec<String>> {
        let missing = self.names.iter();
        let missing = missing.filter(|name| !listing.nodes.contains_key(*name));
        let missing: Vec<String> = missing.map(|name| format!("node/{name}")).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let (mut resources, mut nodes) = (Vec::new(), Vec::new());
        for name in &self.names {
            let Some(known) = listing.nodes.get_mut(name) else {
                continue;
            };
            let before = known.it.cordoned.unwrap_or(false);
            nodes.push((name.clone(), before == self.cordoned));
            if before != self.cordoned {
                known.it.cordoned = self.cordoned.then_some(true);
                resources.push(wire::Resource {
                    kind: Some(Kind::Node(known.it.clone())),
                    ..wire::Resource::default()
                });
            }
        }
        Ok(Changed {
            resources,
            nodes,
            warnings: self.warnings(&listing),
        })
    }

    /// Says which services have no backend left that takes connections, for those that the nodes have a part in.
    fn warnings(&self, listing: &Listing) -> Vec<String> {
        let asked: BTreeSet<&str> = self.names.iter().map(String::as_str).collect();
        let shut = listing.shut().into_iter();
        let shut = shut.filter(|(_, nodes)| self.cordoned && !nodes.is_disjoint(&asked));
        let warnings = shut.map(|(service, nodes)| {
            let nodes: Vec<&str> = nodes.into_iter().collect();
            let nodes = nodes.join(", ");
            format!(
                "warning: no backend of service/{service} takes a new connection: cordoned {nodes}"
            )
        });
        warnings.collect()
    }

    fn tell(&self, changed: &Changed) -> Result<()> {
        for warning in &changed.warnings {
            tell(warning);
        }
        let outcome = if self.cordoned {
            "cordoned"
        } else {
            "uncordoned"
        };
        let dry = if self.write.dry_run {
            " (server dry run)"
        } else {
            ""
        };
        let lines = changed.nodes.iter().map(|(name, already)| {
            let already = if *already { "already " } else { "" };
            format!("node/{name} {already}{outcome}{dry}\n")
        });
        print(&lines.collect::<String>())
    }
}
