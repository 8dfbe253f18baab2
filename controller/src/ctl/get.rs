//! `weirctl get`.
//!
//! `scope` says what a view shows, `diff` what of it changed; this room and `watch` ask and print.

mod diff;
mod events;
mod scope;
mod watch;

use std::collections::BTreeSet;

use anyhow::Result;
use weir_proto::wire;

use super::args::{DocumentForm, Form, GetArgs, To};
use super::connect::Controller;
use super::names::{View, view};
use super::now;
use super::outcome::{Trouble, print, style, tell};
use super::render::{
    self, Derived, Detail, Grid, Listing, Table, derived, derived_drain, derived_repairs,
    drain_rows, drain_target, reference_of, repair_rows,
};
use scope::{Scope, World, by_name};

/// Shows the resources of one kind: all, or those that are named or selected.
pub(super) async fn run(to: &To, args: &GetArgs) -> Result<()> {
    let (view, names) = view(&args.what, "get").map_err(Trouble::Usage)?;
    if let Some(text) = unshown(view, &names, args) {
        return Err(Trouble::Usage(text).into());
    }
    let request = match view {
        View::Events => events::request(args).map_err(Trouble::Usage)?,
        _ => wire::EventsRequest::default(),
    };
    let scope = Scope {
        view,
        names,
        selector: args.selector.clone().unwrap_or_default(),
    };
    let controller = Controller::connect(to).await?;
    if view == View::Events {
        return events::run(&controller, &scope, request, args).await;
    }
    if args.watch || args.watch_only {
        return watch::run(&controller, scope, args).await;
    }
    match view {
        View::Drains => drains(&controller, &scope, args).await,
        View::Repairs => repairs(&controller, &scope, args).await,
        _ => resources(&controller, &scope, args).await,
    }
}

/// Says why something cannot be shown so.
fn unshown(view: View, names: &[String], args: &GetArgs) -> Option<String> {
    let watched = args.watch || args.watch_only;
    let plural = view.plural();
    match (view, args.output) {
        (View::Services, Form::Ipvsadm) if watched => {
            return Some("services are not watched in this form".to_owned());
        }
        (View::Services, Form::Ipvsadm) => {}
        (_, Form::Ipvsadm) => {
            return Some(format!(
                "{plural} are not shown so: get services in this form, which has their backends"
            ));
        }
        (View::Repairs, Form::Name) => {
            return Some(
                "a repair has no name: repairs are shown as table, json or yaml".to_owned(),
            );
        }
        (
            View::Frontends | View::Backends | View::Vips | View::Drains | View::Repairs,
            Form::Json | Form::Yaml,
        ) if watched => {
            return Some(format!("{plural} are watched as a table, or by name"));
        }
        _ => {}
    }
    if view != View::Events
        && (args.about.is_some() || args.node.is_some() || !args.types.is_empty())
    {
        return Some("--for, --node and --types choose among events".to_owned());
    }
    if args.selector.is_some() {
        match view {
            View::Drains | View::Repairs | View::Events => {
                return Some(format!("{plural} have no labels"));
            }
            _ if !names.is_empty() => {
                return Some("give names or a selector, not both".to_owned());
            }
            _ => {}
        }
    }
    let number = |name: &&String| name.parse::<u64>().is_err();
    if let Some(name) = names.iter().find(number).filter(|_| view == View::Events) {
        return Some(format!(
            "{name:?} is not the number of an event: give what it is of by --for"
        ));
    }
    let address = |name: &&String| name.parse::<std::net::IpAddr>().is_err();
    match names.iter().find(address) {
        Some(name) if view == View::Vips => Some(format!("{name:?} is not an address")),
        _ => None,
    }
}

async fn resources(controller: &Controller, scope: &Scope, args: &GetArgs) -> Result<()> {
    let world = gather(controller, scope, args.output).await?;
    let listing = &world.listing;
    let owners = scope.owners(listing);
    let (text, shown) = match (args.output.document(), args.output) {
        (Some(form), _) => document(scope, listing, &owners, form)?,
        (None, Form::Ipvsadm) => ipvsadm(controller, scope, listing, &owners).await?,
        (None, _) => {
            let detail = Detail {
                wide: args.output == Form::Wide,
                now: now(),
            };
            let rows = owners.iter();
            let rows = rows.flat_map(|owner| scope.rows(&world, owner, detail));
            let rows: Vec<Vec<String>> = rows.collect();
            let shown = rows.iter().filter_map(|row| row.first().cloned());
            let shown = shown.collect();
            (set(scope, rows, args), shown)
        }
    };
    finish(scope, listing, (&text, &shown), args)
}

/// Writes services as ipvsadm does, and gives the names of those that are written.
async fn ipvsadm(
    controller: &Controller,
    scope: &Scope,
    listing: &Listing,
    owners: &[String],
) -> Result<(String, BTreeSet<String>)> {
    let services = owners.iter().filter_map(|name| listing.services.get(name));
    let services = services.map(|known| &known.it);
    let services: Vec<&wire::Service> = services
        .filter(|service| scope.selector.selects(&service.labels))
        .collect();
    let drains = match services.is_empty() {
        true => Vec::new(),
        false => controller.drains().await?,
    };
    let text = render::ipvsadm(listing, &services, &drains)?;
    let names = services.iter().map(|service| service.name.clone());
    Ok((text, names.collect()))
}

/// Prints what is there, and says what is not.
fn finish(
    scope: &Scope,
    listing: &Listing,
    (text, shown): (&str, &BTreeSet<String>),
    args: &GetArgs,
) -> Result<()> {
    let missing = scope.missing(listing, shown);
    let for_people = !matches!(args.output, Form::Json | Form::Yaml | Form::Ipvsadm);
    if shown.is_empty() && missing.is_empty() && for_people {
        tell(&format!("No {} found.", scope.view.plural()));
    }
    // Nothing but an error is said when none of the names is there.
    if !shown.is_empty() || missing.is_empty() {
        print(text)?;
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Trouble::absent(missing, "").into()),
    }
}

/// Sets rows as the operator wants them.
fn set(scope: &Scope, rows: Vec<Vec<String>>, args: &GetArgs) -> String {
    if args.output == Form::Name {
        let word = scope.view.singular();
        let names = rows.iter().filter_map(|row| row.first());
        return names.map(|name| format!("{word}/{name}\n")).collect();
    }
    let table = Table {
        header: scope.header(args.output == Form::Wide),
        rows,
    };
    tabled(table, args)
}

fn tabled(table: Table, args: &GetArgs) -> String {
    if table.rows.is_empty() {
        return String::new();
    }
    let Table { header, rows } = table;
    let mut grid = Grid::new(header, style());
    match args.no_headers {
        true => grid.rows(&rows),
        false => grid.with_header(&rows),
    }
}

/// Writes for programs, and gives the names of what is written.
fn document(
    scope: &Scope,
    listing: &Listing,
    owners: &[String],
    form: DocumentForm,
) -> Result<(String, BTreeSet<String>)> {
    let kind = match scope.view {
        View::Frontends => "FrontendList",
        View::Backends => "BackendList",
        View::Vips => "VipList",
        _ => {
            let resources = owners
                .iter()
                .filter_map(|name| listing.resource(scope.kind(), name));
            let resources: Vec<_> = resources.filter(|it| scope.has(it)).collect();
            let names = resources.iter().filter_map(reference_of).map(|it| it.name);
            let names = names.collect();
            let single = scope.names.len() == 1;
            let text = render::resources(&resources, single, form)?;
            return Ok((text, names));
        }
    };
    let all = owners
        .iter()
        .flat_map(|owner| scope.derived(listing, owner));
    let (names, items): (BTreeSet<String>, Vec<Derived>) = all.unzip();
    Ok((derived(kind, &items, form)?, names))
}

/// Asks for what rows are made of.
async fn gather(controller: &Controller, scope: &Scope, form: Form) -> Result<World> {
    let table = matches!(form, Form::Table | Form::Wide);
    let own = async {
        match scope.references() {
            // what is not there is missing in what is shown
            Some(references) => Ok(controller.find(&references).await?.resources),
            None => controller.list(scope.kind()).await,
        }
    };
    let sets = async {
        // services do not carry them
        let counted = match scope.view {
            View::Services => table || form == Form::Ipvsadm,
            View::Frontends => table,
            View::Backends => true,
            _ => false,
        };
        match counted {
            true => controller.list(wire::Kind::BackendSet).await,
            false => Ok(Vec::new()),
        }
    };
    let nodes = async {
        // which of them are cordoned
        let asked = match scope.view {
            View::Services => form == Form::Ipvsadm,
            View::Backends => form != Form::Name,
            _ => false,
        };
        match asked {
            true => controller.list(wire::Kind::Node).await,
            false => Ok(Vec::new()),
        }
    };
    let states = async {
        // A node may go between the two calls, so that all are asked for.
        match scope.view == View::Nodes && table {
            true => controller.node_states(Vec::new()).await,
            false => Ok(Vec::new()),
        }
    };
    let (own, sets, nodes, states) = tokio::try_join!(own, sets, nodes, states)?;
    Ok(World {
        listing: Listing::new(own.into_iter().chain(sets).chain(nodes)),
        states: by_name(states),
    })
}

async fn drains(controller: &Controller, scope: &Scope, args: &GetArgs) -> Result<()> {
    let drains = listed_drains(controller, scope).await?;
    let named = drains.iter().map(drain_name);
    let shown: BTreeSet<String> = named.collect();
    let text = match (args.output.document(), args.output) {
        (Some(form), _) => {
            let items: Vec<Derived> = drains.iter().map(|it| derived_drain(it).1).collect();
            derived("DrainList", &items, form)?
        }
        (None, Form::Name) => shown.iter().map(|name| format!("drain/{name}\n")).collect(),
        (None, _) => tabled(drain_rows(&drains, now()), args),
    };
    finish(scope, &Listing::default(), (&text, &shown), args)
}

/// Asks for the drains that are asked for.
async fn listed_drains(controller: &Controller, scope: &Scope) -> Result<Vec<wire::DrainState>> {
    let mut drains = controller.drains().await?;
    drains.retain(|drain| scope.names.is_empty() || scope.names.contains(&drain_name(drain)));
    Ok(drains)
}

fn drain_name(drain: &wire::DrainState) -> String {
    drain_target(&drain.target.clone().unwrap_or_default()).1
}

async fn repairs(controller: &Controller, scope: &Scope, args: &GetArgs) -> Result<()> {
    let states = controller.node_states(scope.names.clone()).await?;
    let text = match args.output.document() {
        Some(form) => {
            let items: Vec<Derived> = states.iter().flat_map(derived_repairs).collect();
            derived("RepairList", &items, form)?
        }
        None => {
            let table = repair_rows(&states, now());
            if table.rows.is_empty() {
                tell("No repairs found.");
            }
            tabled(table, args)
        }
    };
    print(&text)
}
