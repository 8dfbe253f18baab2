//! `weirctl get --watch`: what is there, and then what changes, until Ctrl-C.
//!
//! A watch goes on from the revision at which the list began, so that nothing falls between the two; what is told twice
//! changes no row. A controller that no longer has the changes since is asked for everything again.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;
use tonic::{Code, Status, Streaming};
use weir_proto::wire;

use super::diff::{Columns, Shown};
use super::scope::{Scope, World, by_name};
use super::{drain_name, listed_drains};
use crate::ctl::args::{DocumentForm, Form, GetArgs};
use crate::ctl::connect::Controller;
use crate::ctl::names::View;
use crate::ctl::now;
use crate::ctl::outcome::{Trouble, interrupted, print, style};
use crate::ctl::render::{
    Detail, Grid, Listing, Table, drain_rows, reference_of, repair_rows, resource,
};

/// How often drains are asked for, of which nobody tells: nodes tell the controller once a second.
const EVERY: Duration = Duration::from_secs(1);

/// Of resources the name tells rows apart.
const BY_NAME: Columns = Columns {
    key: 1,
    passing: &[],
};
/// Of drains also the kind and the node; the time that is left passes.
const BY_DRAIN: Columns = Columns {
    key: 3,
    passing: &[4],
};

/// Shows what is there and what changes, until it is interrupted.
pub(super) async fn run(controller: &Controller, scope: Scope, args: &GetArgs) -> Result<()> {
    let watched = async {
        match scope.view {
            View::Drains => drains(controller, &scope, args).await,
            View::Repairs => repairs(controller, &scope, args).await,
            _ => resources(controller, scope, args).await,
        }
    };
    tokio::select! {
        ended = watched => ended,
        pressed = interrupted() => pressed,
    }
}

/// What is printed, and how.
struct Sheet<'a> {
    args: &'a GetArgs,
    word: &'static str,
    grid: Grid,
    /// Whether the header is still to come.
    header: bool,
}

impl<'a> Sheet<'a> {
    fn new(scope: &Scope, header: Vec<&'static str>, args: &'a GetArgs) -> Self {
        Self {
            args,
            word: scope.view.singular(),
            grid: Grid::new(header, style()),
            header: !args.no_headers,
        }
    }

    fn print(&mut self, rows: &[Vec<String>]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        if self.args.output == Form::Name {
            let names = rows.iter().filter_map(|row| row.first());
            let lines: String = names
                .map(|name| format!("{}/{name}\n", self.word))
                .collect();
            return print(&lines);
        }
        let text = match std::mem::take(&mut self.header) {
            true => self.grid.with_header(rows),
            false => self.grid.rows(rows),
        };
        print(&text)
    }
}

/// The rows of a view that is watched, and what they are made of.
struct Watched<'a> {
    scope: Scope,
    world: World,
    shown: Shown,
    sheet: Sheet<'a>,
}

async fn resources(controller: &Controller, scope: Scope, args: &GetArgs) -> Result<()> {
    let sheet = Sheet::new(&scope, scope.header(args.output == Form::Wide), args);
    let mut watched = Watched {
        scope,
        world: World::default(),
        shown: Shown::default(),
        sheet,
    };
    let with_states =
        watched.scope.view == View::Nodes && !matches!(args.output, Form::Json | Form::Yaml);
    let mut states = match with_states {
        true => Some(watch_states(controller).await?),
        false => None,
    };
    if let Some(states) = &mut states {
        // with the first answer, which is due at once, rows are whole
        let first = controller.next(states).await?;
        watched.world.states = by_name(first.map(|it| it.nodes).unwrap_or_default());
    }
    let mut silent = args.watch_only;
    let mut first = true;
    loop {
        let (listing, revision) = list(controller, &watched.scope).await?;
        watched.replace(listing, silent)?;
        if first {
            watched.all_there()?;
        }
        (silent, first) = (false, false);
        let mut client = controller.client.clone();
        let request = wire::WatchRequest {
            from_revision: revision,
            kinds: watched
                .scope
                .kinds()
                .iter()
                .map(|kind| (*kind).into())
                .collect(),
        };
        match controller.attempt(client.watch(request)).await {
            Ok(mut changes) => match watched.follow(&mut changes, states.as_mut()).await? {
                Some(ended) if ended.code() == Code::OutOfRange => {}
                Some(ended) => return Err(controller.refusal(&ended)),
                None => return Err(controller.ended()),
            },
            Err(refused) if refused.code() == Code::OutOfRange && revision != 0 => {}
            Err(refused) => return Err(controller.refusal(&refused)),
        }
    }
}

/// Lists what rows are made of, with the revision from which nothing is missing.
async fn list(controller: &Controller, scope: &Scope) -> Result<(Listing, u64)> {
    let mut listing = Listing::default();
    let mut from = u64::MAX;
    for kind in scope.kinds() {
        let (resources, revision) = controller.list_at(*kind).await?;
        from = from.min(revision);
        for resource in resources {
            listing.put(resource);
        }
    }
    Ok((listing, from))
}

async fn watch_states(controller: &Controller) -> Result<Streaming<wire::NodeStatusResponse>> {
    let mut client = controller.client.clone();
    let request = wire::NodeStatusRequest {
        names: Vec::new(),
        watch: true,
    };
    controller.answer(client.node_status(request)).await
}

impl Watched<'_> {
    /// Takes up everything anew, and tells what is other than before.
    fn replace(&mut self, listing: Listing, silent: bool) -> Result<()> {
        let before = std::mem::replace(&mut self.world.listing, listing);
        if let Some(form) = self.sheet.args.output.document() {
            let changed = self.scope.owners(&self.world.listing).into_iter();
            let kind = self.scope.kind();
            let changed = changed.filter_map(|name| {
                let now = self.world.listing.resource(kind, &name)?;
                let same = before.resource(kind, &name).as_ref() == Some(&now);
                (self.scope.has(&now) && !same).then_some(now)
            });
            let changed: Vec<_> = changed.collect();
            return if silent {
                Ok(())
            } else {
                write(&changed, form)
            };
        }
        let mut owners = self.scope.owners(&self.world.listing);
        let known: BTreeSet<&String> = owners.iter().collect();
        let gone = self.shown.owners().filter(|owner| !known.contains(owner));
        let gone: Vec<String> = gone.cloned().collect();
        owners.extend(gone);
        let rows = self.renewed(owners.iter());
        if silent {
            Ok(())
        } else {
            self.sheet.print(&rows)
        }
    }

    /// Fails when something that is named is not there.
    fn all_there(&self) -> Result<()> {
        let listing = &self.world.listing;
        let detail = self.detail();
        let owners = self.scope.owners(listing);
        let rows = owners.iter();
        let rows = rows.flat_map(|owner| self.scope.rows(&self.world, owner, detail));
        let shown = rows.filter_map(|row| row.into_iter().next());
        let missing = self.scope.missing(listing, &shown.collect());
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Trouble::absent(missing, "").into()),
        }
    }

    /// Tells what changes until a stream ends. Gives why it did; none: the controller ended it without a word.
    async fn follow(
        &mut self,
        changes: &mut Streaming<wire::WatchResponse>,
        states: Option<&mut Streaming<wire::NodeStatusResponse>>,
    ) -> Result<Option<Status>> {
        let mut states = states;
        loop {
            let told = async {
                match &mut states {
                    Some(states) => states.message().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                change = changes.message() => match change {
                    Ok(Some(change)) => self.change(change)?,
                    Ok(None) => return Ok(None),
                    Err(status) => return Ok(Some(status)),
                },
                told = told => match told {
                    Ok(Some(told)) => self.told(told.nodes)?,
                    Ok(None) => return Ok(None),
                    Err(status) => return Ok(Some(status)),
                },
            }
        }
    }

    fn change(&mut self, change: wire::WatchResponse) -> Result<()> {
        let mut touched = BTreeSet::new();
        let mut written = Vec::new();
        for event in change.events {
            let named = match event.change.and_then(|change| change.r#ref) {
                Some(named) => named,
                None => continue,
            };
            let listing = &mut self.world.listing;
            touched.extend(self.scope.touched(listing, &named));
            let shown = match event.resource {
                Some(resource) => {
                    listing.put(resource.clone());
                    Some(resource)
                }
                // what went is shown as it was last, as kubectl does
                None => listing.remove(&named),
            };
            touched.extend(self.scope.touched(listing, &named));
            written.extend(shown.filter(|it| self.scope.has(it)));
        }
        if let Some(form) = self.sheet.args.output.document() {
            written.retain(|it| {
                let kind = reference_of(it).map(|named| named.kind());
                kind == Some(self.scope.kind())
            });
            return write(&written, form);
        }
        let rows = self.renewed(touched.iter());
        self.sheet.print(&rows)
    }

    fn told(&mut self, states: Vec<wire::NodeState>) -> Result<()> {
        self.world.states = by_name(states);
        let owners = self.scope.owners(&self.world.listing);
        let rows = self.renewed(owners.iter());
        self.sheet.print(&rows)
    }

    /// Makes the rows of owners anew. Gives those that are other than before.
    fn renewed<'a>(&mut self, owners: impl Iterator<Item = &'a String>) -> Vec<Vec<String>> {
        let detail = self.detail();
        let mut changed = Vec::new();
        for owner in owners {
            let rows = self.scope.rows(&self.world, owner, detail);
            changed.extend(self.shown.take(owner, rows, BY_NAME));
        }
        changed
    }

    fn detail(&self) -> Detail {
        Detail {
            wide: self.sheet.args.output == Form::Wide,
            now: now(),
        }
    }
}

/// Prints resources one by one.
fn write(resources: &[wire::Resource], form: DocumentForm) -> Result<()> {
    let all = resources.iter().map(|it| resource(it, form));
    all.collect::<Result<Vec<String>>>()?
        .iter()
        .try_for_each(|text| print(text))
}

async fn drains(controller: &Controller, scope: &Scope, args: &GetArgs) -> Result<()> {
    let mut first = true;
    let mut shown = Shown::default();
    let mut sheet = Sheet::new(scope, drain_rows(&[], 0).header, args);
    loop {
        let drains = listed_drains(controller, scope).await?;
        let Table { rows, .. } = drain_rows(&drains, now());
        let changed = shown.take("", rows, BY_DRAIN);
        if !first || !args.watch_only {
            sheet.print(&changed)?;
        }
        if first {
            let names = drains.iter().map(drain_name).collect();
            let missing = scope.missing(&Listing::default(), &names);
            if !missing.is_empty() {
                return Err(Trouble::absent(missing, "").into());
            }
        }
        first = false;
        sleep(EVERY).await;
    }
}

async fn repairs(controller: &Controller, scope: &Scope, args: &GetArgs) -> Result<()> {
    let mut client = controller.client.clone();
    let request = wire::NodeStatusRequest {
        names: scope.names.clone(),
        watch: true,
    };
    let mut states = controller.answer(client.node_status(request)).await?;
    let mut next = controller.next(&mut states).await?;
    let mut first = true;
    let mut told = BTreeSet::new();
    let mut sheet = Sheet::new(scope, repair_rows(&[], 0).header, args);
    while let Some(mut answer) = next {
        let mut now_told = BTreeSet::new();
        for state in &mut answer.nodes {
            let name = state.name.clone();
            state.repairs.retain(|repair| {
                let said = [
                    &repair.kind,
                    &repair.object,
                    &repair.found,
                    &repair.expected,
                ];
                let one = (name.clone(), repair.at_unix_ms, said.map(Clone::clone));
                let is_new = !told.contains(&one);
                now_told.insert(one);
                is_new
            });
        }
        told = now_told;
        if !first || !args.watch_only {
            sheet.print(&repair_rows(&answer.nodes, now()).rows)?;
        }
        first = false;
        let answer = states.message().await;
        next = answer.map_err(|status| controller.refusal(&status))?;
    }
    Err(controller.ended())
}
