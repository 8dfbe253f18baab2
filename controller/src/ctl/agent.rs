//! `weirctl --agent PATH`: what one node holds, asked of its agent over the unix socket. Nothing can be changed there.
//!
//! `seen` puts together what is to be held and what the kernel holds, `told` sets it; this room asks and prints.

mod seen;
mod told;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status, Streaming};
use weir_proto::wire;
use weir_proto::wire::agent_client::AgentClient;

use super::args::{Command, Form, GetArgs, Given, StatusArgs};
use super::now;
use super::outcome::{Trouble, interrupted, plain, print, style, tell};
use super::render::{Grid, Table, human};
use seen::{Kind, Node, rows};
use told::{documents, event_documents, event_header, event_row, is_well, page, status_document};

/// Enough for a thousand items that failed with many words.
const LARGEST_ANSWER: usize = 64 << 20;

/// An agent that can be asked.
struct Agent<'a> {
    client: AgentClient<Channel>,
    path: &'a Path,
    timeout: Duration,
}

/// Does what an agent can be asked for, and refuses the rest.
pub(super) async fn run(given: &Given, path: &Path, command: &Command) -> Result<()> {
    match command {
        Command::Get(args) => get(given, path, args).await,
        Command::Status(args) => status(given, path, args).await,
        _ => {
            let text = "--agent shows what one node holds, by get and status; everything else is asked of the controller";
            Err(Trouble::Usage(text.to_owned()).into())
        }
    }
}

async fn get(given: &Given, path: &Path, args: &GetArgs) -> Result<()> {
    let (kind, names) = Kind::asked(&args.what).map_err(Trouble::Usage)?;
    if let Some(text) = unshown(kind, args) {
        return Err(Trouble::Usage(text.to_owned()).into());
    }
    let mut agent = Agent::connect(given, path).await?;
    if kind == Kind::Events {
        return events(&mut agent, args).await;
    }
    let node = agent.node(false).await?;
    let (shown, missing) = rows(kind, &node, &names);
    if shown.is_empty() && missing.is_empty() {
        tell(&format!("No {} found.", kind.plural()));
    }
    let text = match (args.output.document(), args.output) {
        (Some(form), _) => documents(&shown, form)?,
        (None, Form::Name) => shown
            .iter()
            .map(|row| format!("{}/{}\n", kind.singular(), row.name()))
            .collect(),
        (None, _) => {
            let wide = args.output == Form::Wide;
            let rows = shown.iter().map(|row| row.cells(wide)).collect();
            tabled(
                Table {
                    header: kind.header(wide),
                    rows,
                },
                args.no_headers,
            )
        }
    };
    if !shown.is_empty() || missing.is_empty() {
        print(&text)?;
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Trouble::absent(missing, "").into()),
    }
}

/// Says why something cannot be shown so.
fn unshown(kind: Kind, args: &GetArgs) -> Option<&'static str> {
    let watched = args.watch || args.watch_only;
    match (kind, args.output) {
        _ if args.selector.is_some() => {
            Some("labels are kept by the controller: an agent knows none")
        }
        (_, Form::Ipvsadm) => Some("ipvsadm -Sn on the node itself shows its kernel so"),
        (Kind::Events, Form::Name) => {
            Some("an event has no name: events are shown as table, json or yaml")
        }
        (Kind::Events, Form::Json | Form::Yaml) if watched => Some("events are watched as a table"),
        (Kind::Events, _) => None,
        _ if watched => Some("of an agent only events are watched"),
        _ => None,
    }
}

fn tabled(table: Table, bare: bool) -> String {
    if table.rows.is_empty() {
        return String::new();
    }
    let mut grid = Grid::new(table.header, style());
    match bare {
        true => grid.rows(&table.rows),
        false => grid.with_header(&table.rows),
    }
}

async fn events(agent: &mut Agent<'_>, args: &GetArgs) -> Result<()> {
    let watch = args.watch || args.watch_only;
    if !watch {
        let events = agent.events().await?;
        if events.is_empty() {
            tell("No events found.");
        }
        return print(&match args.output.document() {
            Some(form) => event_documents(&events, form)?,
            None => {
                let rows = events.iter().map(|event| event_row(event, now()));
                let table = Table {
                    header: event_header(),
                    rows: rows.collect(),
                };
                tabled(table, args.no_headers)
            }
        });
    }
    let last = match args.watch_only {
        true => agent
            .events()
            .await?
            .last()
            .map_or(0, |event| event.sequence),
        false => 0,
    };
    tokio::select! {
        ended = watched(agent, last, args.no_headers) => ended,
        pressed = interrupted() => pressed,
    }
}

/// Shows events behind a number, one by one as they come.
async fn watched(agent: &mut Agent<'_>, last: u64, bare: bool) -> Result<()> {
    let mut grid = Grid::new(event_header(), style());
    let mut headed = bare;
    let request = wire::AgentEventsRequest { watch: true };
    let call = agent.client.events(request);
    let mut stream = agent_answer(agent.path, agent.timeout, call).await?;
    loop {
        // they come when something happens
        let event = stream.message().await;
        let event = event.map_err(|status| refusal(agent.path, &status))?;
        let event =
            event.ok_or_else(|| anyhow!("the agent at {} ended the call", agent.path.display()))?;
        if event.sequence <= last {
            continue;
        }
        let row = [event_row(&event, now())];
        print(&match headed {
            true => grid.rows(&row),
            false => grid.with_header(&row),
        })?;
        headed = true;
    }
}

async fn status(given: &Given, path: &Path, args: &StatusArgs) -> Result<()> {
    if args.watch {
        let text = "the status of an agent is not watched: watch get events";
        return Err(Trouble::Usage(text.to_owned()).into());
    }
    let mut agent = Agent::connect(given, path).await?;
    let state = agent.state(true).await?;
    let text = match args.output {
        None => page(path, &state, style()),
        Some(form) => status_document(path, &state, form)?,
    };
    print(&text)?;
    match is_well(&state) {
        true => Ok(()),
        false => Err(Trouble::Shown.into()),
    }
}

impl<'a> Agent<'a> {
    async fn connect(given: &Given, path: &'a Path) -> Result<Self> {
        let unreachable = |cause: &str| {
            anyhow!(
                "cannot reach the agent at {}: {cause}; check that weir-agent runs with --socket {0}, and that you may open it",
                path.display()
            )
        };
        let endpoint = Endpoint::from_shared(format!("unix:{}", path.display()))?;
        let channel = match timeout(given.timeout, endpoint.connect()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(unreachable(&plain(&error))),
            Err(_) => {
                return Err(unreachable(&format!(
                    "no answer within {}",
                    human(given.timeout)
                )));
            }
        };
        Ok(Self {
            client: AgentClient::new(channel).max_decoding_message_size(LARGEST_ANSWER),
            path,
            timeout: given.timeout,
        })
    }

    /// Gives what is to be held, and what the kernel holds.
    async fn node(&mut self, failed_only: bool) -> Result<Node> {
        let state = self.state(failed_only).await?;
        let call = self.client.kernel(wire::AgentKernelRequest::default());
        let stream = agent_answer(self.path, self.timeout, call).await?;
        let messages = self.all(stream).await?;
        let objects = messages.into_iter().flat_map(|it| it.objects).collect();
        Ok(Node { state, objects })
    }

    /// Gives how the node is, all messages in one.
    async fn state(&mut self, failed_only: bool) -> Result<wire::AgentState> {
        let call = self.client.state(wire::AgentStateRequest { failed_only });
        let stream = agent_answer(self.path, self.timeout, call).await?;
        let mut messages = self.all(stream).await?.into_iter();
        let mut state = messages.next().unwrap_or_default();
        state.items.extend(messages.flat_map(|it| it.items));
        Ok(state)
    }

    async fn events(&mut self) -> Result<Vec<wire::AgentEvent>> {
        let call = self
            .client
            .events(wire::AgentEventsRequest { watch: false });
        let stream = agent_answer(self.path, self.timeout, call).await?;
        self.all(stream).await
    }

    async fn all<T>(&self, mut stream: Streaming<T>) -> Result<Vec<T>> {
        let mut all = Vec::new();
        loop {
            let next = async { stream.message().await.map(Response::new) };
            match agent_answer(self.path, self.timeout, next).await? {
                Some(one) => all.push(one),
                None => return Ok(all),
            }
        }
    }
}

/// Waits for an answer, and puts a refusal into words.
async fn agent_answer<T>(
    path: &Path,
    patience: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T> {
    match timeout(patience, call).await {
        Ok(answer) => answer
            .map(Response::into_inner)
            .map_err(|status| refusal(path, &status)),
        Err(_) => Err(anyhow!(
            "the agent at {} is too slow: no answer within {}",
            path.display(),
            human(patience)
        )),
    }
}

fn refusal(path: &Path, status: &Status) -> anyhow::Error {
    anyhow!("the agent at {} says: {}", path.display(), status.message())
}
