//! `weirctl get`.

use anyhow::Result;
use weir_proto::wire;
use weir_proto::wire::resource::Kind;

use super::args::{Form, GetArgs, To};
use super::connect::{Controller, Found};
use super::names::{View, view};
use super::now;
use super::outcome::{Trouble, print, tell};
use super::render::{
    self, Listing, Table, backend_rows, drain_rows, node_rows, repair_rows, service_rows, set_rows,
};

/// Shows the resources of one kind: all, or those that are named.
pub(super) async fn run(to: &To, args: &GetArgs) -> Result<()> {
    let (view, names) = view(&args.what).map_err(Trouble::Usage)?;
    if let Some(text) = unshown(view, &names, args.output) {
        return Err(Trouble::Usage(text).into());
    }
    let controller = Controller::connect(to).await?;
    let Found { resources, missing } = match view {
        // what nodes tell of is no resource
        View::Drains | View::Repairs => Found::default(),
        // Backends are shown by service.
        _ => {
            let kind = view.kind().unwrap_or(wire::Kind::Service);
            find(&controller, kind, &names).await?
        }
    };
    let text = match args.output {
        Form::Table | Form::Wide => {
            let wide = args.output == Form::Wide;
            let table = rows(&controller, (view, &names), &resources, wide).await?;
            if table.rows.is_empty() {
                if missing.is_empty() {
                    tell(&format!("No {} found.", view.plural()));
                }
                String::new()
            } else {
                render::table(&table)
            }
        }
        Form::Json | Form::Yaml if view == View::Backends => {
            let listing = with_sets(&controller, listing(&resources)).await?;
            render::backends(&listing, args.output == Form::Yaml)?
        }
        Form::Json => render::json(&resources, names.len() == 1)?,
        Form::Yaml => render::yaml(&resources, names.len() == 1)?,
        Form::Ipvsadm => {
            let listing = with_sets(&controller, listing(&resources)).await?;
            let drains = match listing.services.is_empty() {
                true => Vec::new(),
                false => controller.drains().await?,
            };
            render::ipvsadm(&listing, &drains)?
        }
        Form::Name => resources
            .iter()
            .filter_map(|resource| Some(named(resource)? + "\n"))
            .collect(),
    };
    // Nothing but an error is said when none of the names is there.
    if !resources.is_empty() || missing.is_empty() {
        print(&text)?;
    }
    match missing.as_slice() {
        [] => Ok(()),
        missing => Err(Trouble::missing(missing, "").into()),
    }
}

/// Says why something cannot be shown so.
fn unshown(view: View, names: &[String], form: Form) -> Option<String> {
    let table = matches!(form, Form::Table | Form::Wide);
    match view {
        view if form == Form::Ipvsadm && view != View::Services => Some(format!(
            "{} are not shown so: get services in this form, which has their backends",
            view.plural()
        )),
        View::Backends if form == Form::Name => Some(
            "a backend has no name of its own: get services or backendsets in this form".to_owned(),
        ),
        View::Drains | View::Repairs if !table => {
            Some(format!("{} are shown as a table alone", view.plural()))
        }
        View::Drains if !names.is_empty() => {
            Some("drains have no names: get drains shows all".to_owned())
        }
        _ => None,
    }
}

async fn find(controller: &Controller, kind: wire::Kind, names: &[String]) -> Result<Found> {
    if names.is_empty() {
        return Ok(Found {
            resources: controller.list(kind).await?,
            ..Found::default()
        });
    }
    let named = names.iter().map(|name| wire::ResourceRef {
        kind: kind.into(),
        name: name.clone(),
    });
    controller.find(&named.collect::<Vec<_>>()).await
}

/// Makes the table, asking for what it shows beside the resources themselves.
async fn rows(
    controller: &Controller,
    (view, names): (View, &[String]),
    resources: &[wire::Resource],
    wide: bool,
) -> Result<Table> {
    let listing = listing(resources);
    match view {
        View::Drains => Ok(drain_rows(&controller.drains().await?, now())),
        View::Repairs => {
            let states = controller.node_states(names.to_vec()).await?;
            Ok(repair_rows(&states, now()))
        }
        View::BackendSets => Ok(set_rows(&listing, wide)),
        View::Services => Ok(service_rows(&with_sets(controller, listing).await?, wide)),
        View::Backends => Ok(backend_rows(&with_sets(controller, listing).await?)),
        View::Nodes => {
            let nodes: Vec<wire::Node> = resources
                .iter()
                .filter_map(|resource| match &resource.kind {
                    Some(Kind::Node(node)) => Some(node.clone()),
                    _ => None,
                })
                .collect();
            // A node may go between the two calls, so that all are asked for.
            let states = match nodes.is_empty() {
                true => Vec::new(),
                false => controller.node_states(Vec::new()).await?,
            };
            let states = states
                .into_iter()
                .map(|state| (state.name.clone(), state))
                .collect();
            Ok(node_rows(&nodes, &states, wide))
        }
    }
}

/// Adds the backend sets, which services do not carry.
async fn with_sets(controller: &Controller, services: Listing) -> Result<Listing> {
    if services.services.is_empty() {
        return Ok(services);
    }
    let sets = controller.list(wire::Kind::BackendSet).await?;
    Ok(Listing {
        sets: listing(&sets).sets,
        ..services
    })
}

fn listing(resources: &[wire::Resource]) -> Listing {
    let mut listing = Listing::default();
    for resource in resources {
        match &resource.kind {
            Some(Kind::Service(service)) => {
                listing.services.push((service.clone(), resource.revision));
            }
            Some(Kind::BackendSet(set)) => listing.sets.push((set.clone(), resource.revision)),
            Some(Kind::Node(_)) | None => {}
        }
    }
    listing
}

fn named(resource: &wire::Resource) -> Option<String> {
    let (word, name) = match resource.kind.as_ref()? {
        Kind::Service(service) => ("service", &service.name),
        Kind::BackendSet(set) => ("backendset", &set.name),
        Kind::Node(node) => ("node", &node.name),
    };
    Some(format!("{word}/{name}"))
}
