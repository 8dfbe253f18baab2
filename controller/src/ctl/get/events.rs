//! `weirctl get events`: what happened of late, and, watched, what happens.

use std::collections::BTreeSet;

use anyhow::Result;
use tonic::Streaming;
use weir_proto::wire;

use super::scope::Scope;
use super::{finish, tabled};
use crate::ctl::args::{EventType, Form, GetArgs};
use crate::ctl::connect::Controller;
use crate::ctl::names;
use crate::ctl::now;
use crate::ctl::outcome::{interrupted, print, style};
use crate::ctl::render::{
    Grid, Listing, Table, event_document, event_header, event_list, event_rows,
};

/// Reads what is asked for.
pub(super) fn request(args: &GetArgs) -> Result<wire::EventsRequest, String> {
    let about = args.about.as_deref().map(names::event_object).transpose()?;
    let types = args.types.iter().map(|one| {
        let one = match one {
            EventType::Normal => wire::event::Type::Normal,
            EventType::Warning => wire::event::Type::Warning,
        };
        one.into()
    });
    let watch = args.watch || args.watch_only;
    Ok(wire::EventsRequest {
        node: args.node.clone().unwrap_or_default(),
        objects: about.into_iter().collect(),
        types: types.collect(),
        // its message is left out, whatever is in it
        limit: u32::from(args.watch_only),
        watch,
        ..wire::EventsRequest::default()
    })
}

/// Shows events.
pub(super) async fn run(
    controller: &Controller,
    scope: &Scope,
    request: wire::EventsRequest,
    args: &GetArgs,
) -> Result<()> {
    if !request.watch {
        let events = controller.events(request).await?;
        return show(scope, &events, args);
    }
    let mut client = controller.client.clone();
    let stream = controller.answer(client.events(request)).await?;
    tokio::select! {
        ended = watch(controller, scope, stream, args) => ended,
        pressed = interrupted() => pressed,
    }
}

fn show(scope: &Scope, events: &[wire::Event], args: &GetArgs) -> Result<()> {
    let chosen = |event: &&wire::Event| is_named(scope, event);
    let events: Vec<wire::Event> = events.iter().filter(chosen).cloned().collect();
    let names = events.iter().map(|event| event.number.to_string());
    let shown: BTreeSet<String> = names.collect();
    let text = match (args.output.document(), args.output) {
        (Some(form), _) => event_list(&events, form)?,
        (None, Form::Name) => named(&events),
        (None, _) => tabled(event_rows(&events, now(), args.output == Form::Wide), args),
    };
    finish(scope, &Listing::default(), (&text, &shown), args)
}

async fn watch(
    controller: &Controller,
    scope: &Scope,
    mut stream: Streaming<wire::EventsResponse>,
    args: &GetArgs,
) -> Result<()> {
    let wide = args.output == Form::Wide;
    let mut grid = Grid::new(event_header(wide), style());
    let mut header = !args.no_headers;
    // the first is due at once, also when there is nothing in it
    let mut next = controller.next(&mut stream).await?;
    if args.watch_only {
        next = next.map(|_| wire::EventsResponse::default());
    }
    while let Some(wire::EventsResponse { mut events }) = next {
        events.retain(|event| is_named(scope, event));
        let text = match (args.output.document(), args.output) {
            _ if events.is_empty() => String::new(),
            (Some(form), _) => {
                let all = events.iter().map(|event| event_document(event, form));
                all.collect::<Result<String>>()?
            }
            (None, Form::Name) => named(&events),
            (None, _) => {
                let Table { rows, .. } = event_rows(&events, now(), wide);
                match std::mem::take(&mut header) {
                    true => grid.with_header(&rows),
                    false => grid.rows(&rows),
                }
            }
        };
        print(&text)?;
        let answer = stream.message().await;
        next = answer.map_err(|status| controller.refusal(&status))?;
    }
    Err(controller.ended())
}

fn is_named(scope: &Scope, event: &wire::Event) -> bool {
    let mut names = scope.names.iter();
    scope.names.is_empty() || names.any(|name| name.parse() == Ok(event.number))
}

fn named(events: &[wire::Event]) -> String {
    let lines = events
        .iter()
        .map(|event| format!("event/{}\n", event.number));
    lines.collect()
}
