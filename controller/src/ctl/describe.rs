//! `weirctl describe`.

use std::net::IpAddr;

use anyhow::Result;
use weir_proto::wire;

use super::args::{DescribeArgs, To};
use super::connect::Controller;
use super::names::{View, view};
use super::now;
use super::outcome::{Trouble, print, style, tell};
use super::render::{
    Facts, Listing, describe_drain, describe_node, describe_service, describe_set, describe_vip,
    drain_target, drained,
};

/// How many of the last writes are looked through: all that the controller keeps.
const WRITES: u32 = 100;
/// How many things the events are asked for of by name.
const MOST_NAMED: usize = 20;

/// Shows a page for each thing that is named, or for all of a kind.
pub(super) async fn run(to: &To, args: &DescribeArgs) -> Result<()> {
    let (view, mut names) = view(&args.what, "describe").map_err(Trouble::Usage)?;
    check(view, &names).map_err(Trouble::Usage)?;
    let controller = Controller::connect(to).await?;
    let mut facts = gather(&controller, view, &names).await?;
    if names.is_empty() {
        names = all(view, &facts);
    }
    facts.events = controller.events(events_of(view, &names)).await?;
    if names.is_empty() {
        tell(&format!("No {} found.", view.plural()));
    }
    let style = style();
    let mut pages = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        let page = match view {
            View::Services => describe_service(&facts, &name, style),
            View::BackendSets => describe_set(&facts, &name, style),
            View::Nodes => describe_node(&facts, &name, style),
            View::Drains => describe_drain(&facts, &name, style),
            View::Vips => {
                let vip: Option<IpAddr> = name.parse().ok();
                vip.and_then(|vip| describe_vip(&facts, vip, style))
            }
            View::Frontends | View::Backends | View::Repairs | View::Events => None,
        };
        match page {
            Some(page) => pages.push(page),
            None => missing.push(format!("{}/{name}", view.singular())),
        }
    }
    // as kubectl does
    print(&pages.join("\n\n"))?;
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Trouble::absent(missing, "").into()),
    }
}

/// Says what has no page, and where it is told instead.
fn check(view: View, names: &[String]) -> Result<(), String> {
    let kind = view.plural();
    match view {
        View::Frontends | View::Backends => Err(format!(
            "{kind} are described with their service: weirctl describe service NAME"
        )),
        View::Repairs => Err(format!(
            "{kind} are described with their node: weirctl describe node NAME"
        )),
        View::Events => Err(format!(
            "{kind} are described with what they are of, and shown by weirctl get events"
        )),
        View::Vips => {
            let mut names = names.iter();
            match names.find(|name| name.parse::<IpAddr>().is_err()) {
                Some(name) => Err(format!("{name:?} is not an address")),
                None => Ok(()),
            }
        }
        View::Services | View::BackendSets | View::Nodes | View::Drains => Ok(()),
    }
}

/// Asks for all that pages of a kind are made of, at once.
async fn gather(controller: &Controller, view: View, names: &[String]) -> Result<Facts> {
    let list = async |kind: wire::Kind, wanted: bool| match wanted {
        true => controller.list(kind).await,
        false => Ok(Vec::new()),
    };
    let placed = matches!(view, View::Services | View::BackendSets | View::Vips);
    let history = async {
        let mut client = controller.client.clone();
        let request = wire::HistoryRequest { limit: WRITES };
        let history = controller.answer(client.history(request)).await?;
        anyhow::Ok(history.entries)
    };
    let states = async {
        match view {
            View::Drains => Ok(Vec::new()),
            _ => controller.node_states(Vec::new()).await,
        }
    };
    let traffic = async {
        match view {
            View::Services => controller.traffic(names).await,
            _ => Ok(wire::TrafficResponse::default()),
        }
    };
    let (services, sets, nodes, states, drains, history, traffic) = tokio::try_join!(
        list(wire::Kind::Service, placed),
        list(wire::Kind::BackendSet, placed),
        list(wire::Kind::Node, placed || view == View::Nodes),
        states,
        controller.drains(),
        history,
        traffic,
    )?;
    let resources = services.into_iter().chain(sets).chain(nodes);
    let states = states.into_iter();
    Ok(Facts {
        listing: Listing::new(resources),
        states: states.map(|it| (it.name.clone(), it)).collect(),
        drains,
        history,
        events: Vec::new(),
        traffic,
        now: now(),
    })
}

/// Asks for the events that pages have: of a few things for theirs, of many for all.
fn events_of(view: View, names: &[String]) -> wire::EventsRequest {
    use wire::event::Reason;
    let objects = names.iter().map(|name| match view {
        View::Drains => drained(name),
        // as the controller writes it
        View::Vips => wire::event::Object {
            kind: view.singular().to_owned(),
            name: name
                .parse()
                .map_or_else(|_| name.clone(), |vip: IpAddr| vip.to_string()),
        },
        _ => wire::event::Object {
            kind: view.singular().to_owned(),
            name: name.clone(),
        },
    });
    let reasons = match view {
        View::Drains => &[
            Reason::DrainAsked,
            Reason::DrainCancelled,
            Reason::DrainBegan,
            Reason::DrainDeadline,
            Reason::DrainEnded,
        ][..],
        _ => &[],
    };
    wire::EventsRequest {
        objects: match names.len() {
            ..=MOST_NAMED => objects.collect(),
            _ => Vec::new(),
        },
        reasons: reasons.iter().map(|reason| (*reason).into()).collect(),
        ..wire::EventsRequest::default()
    }
}

/// Names all of a kind.
fn all(view: View, facts: &Facts) -> Vec<String> {
    let listing = &facts.listing;
    match view {
        View::Services => listing.services.keys().cloned().collect(),
        View::BackendSets => listing.sets.keys().cloned().collect(),
        View::Nodes => listing.nodes.keys().cloned().collect(),
        View::Vips => listing.vips().map(|vip| vip.to_string()).collect(),
        View::Drains => {
            let drains = facts.drains.iter();
            let names = drains.map(|it| drain_target(&it.target.clone().unwrap_or_default()).1);
            names.collect()
        }
        View::Frontends | View::Backends | View::Repairs | View::Events => Vec::new(),
    }
}
