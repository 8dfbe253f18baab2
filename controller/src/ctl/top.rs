//! `weirctl top`: what passes through services, on a screen that is live, or as tables.
//!
//! `state` makes of keys and answers what is shown, `draw` makes a screen of that, `columns` says what there is room for, and
//! `order` which rows are on it; they are pure. This room, `feed` and `screen` act.

mod columns;
mod draw;
mod feed;
mod order;
mod printed;
mod rows;
mod screen;
mod state;
mod trend;
mod units;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::{Context, Result};
use ratatui::crossterm::event::{Event, KeyEventKind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use weir_proto::wire;

use super::args::{To, TopArgs, TopForm};
use super::connect::Controller;
use super::names::{self, View};
use super::now;
use super::outcome::{Trouble, interrupted, print, style, tell};
use super::render::Grid;
use columns::{Column, Sort};
use draw::Palette;
use feed::News;
use rows::Subject;
use screen::Screen;
use state::{Asked, Start, Top};

/// How often a screen is drawn anew on which time is told.
const SECOND: Duration = Duration::from_secs(1);

/// What the command line asks for.
struct Wanted {
    subject: Subject,
    names: Vec<String>,
    sort: Option<Sort>,
    interval_ms: u32,
}

/// Shows what passes, as a screen on a terminal, else as tables.
pub(super) async fn run(to: &To, args: &TopArgs) -> Result<()> {
    let wanted = wanted(args).map_err(Trouble::Usage)?;
    let plain = args.once || args.count.is_some() || args.output.is_some() || args.no_headers;
    // a dumb terminal cannot go back to a line
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    match plain || dumb || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        true => tokio::select! {
            ended = tables(to, args, &wanted) => ended,
            pressed = interrupted() => pressed,
        },
        false => live(to, args, wanted).await,
    }
}

fn wanted(args: &TopArgs) -> Result<Wanted, String> {
    let (view, names) = match args.what.as_slice() {
        [] => (View::Services, Vec::new()),
        words => names::view(words, "top")?,
    };
    let subject = match view {
        View::Services => Subject::Services,
        View::Backends => Subject::Backends,
        View::Nodes => Subject::Nodes,
        other => {
            let plural = other.plural();
            return Err(format!(
                "top shows services, backends and nodes, not {plural}"
            ));
        }
    };
    let sort_by = args.sort_by.as_ref();
    let sort = sort_by.map(|word| printed::sort_by(subject, word));
    Ok(Wanted {
        subject,
        names,
        sort: sort.transpose()?,
        interval_ms: u32::try_from(args.interval.as_millis()).unwrap_or(u32::MAX),
    })
}

async fn tables(to: &To, args: &TopArgs, wanted: &Wanted) -> Result<()> {
    let count = args.count.unwrap_or(1);
    let subject = wanted.subject;
    let controller = Controller::connect(to).await?;
    let question = wire::TrafficRequest {
        services: match subject {
            Subject::Services | Subject::Backends => wanted.names.clone(),
            Subject::Nodes => Vec::new(),
        },
        backends: subject == Subject::Backends,
        nodes: subject == Subject::Nodes,
        watch: count > 1,
        // who is answered once has no interval, and the controller refuses one
        interval_ms: if count > 1 { wanted.interval_ms } else { 0 },
    };
    let mut answers = feed::begin(&controller, &question).await?;
    for number in 0..count {
        // the first is due at once, the others when their time has come
        let answer = match number {
            0 => controller.next(&mut answers).await?,
            _ => answers
                .message()
                .await
                .map_err(|status| controller.refusal(&status))?,
        };
        let answer = answer.ok_or_else(|| controller.ended())?;
        if number > 0 && args.output != Some(TopForm::Json) {
            print("\n")?;
        }
        print_one(answer, args, wanted)?;
    }
    Ok(())
}

fn print_one(mut answer: wire::TrafficResponse, args: &TopArgs, wanted: &Wanted) -> Result<()> {
    let subject = wanted.subject;
    let mut rows = subject.rows(&mut answer);
    if subject == Subject::Nodes && !wanted.names.is_empty() {
        let mut missing = wanted.names.clone();
        missing.retain(|name| rows.iter().all(|row| row.name != *name));
        if !missing.is_empty() {
            let missing = missing.into_iter().map(|name| format!("node/{name}"));
            return Err(Trouble::absent(missing.collect(), "").into());
        }
        rows.retain(|row| wanted.names.contains(&row.name));
    }
    let sort = wanted.sort.unwrap_or(Sort::by(Column::Name));
    let rows = printed::sorted(&rows, &args.filter, sort);
    if args.output == Some(TopForm::Json) {
        return print(&printed::json(subject, &rows, answer.at_unix_ms)?);
    }
    if rows.is_empty() {
        tell(&format!("No {} found.", subject.plural()));
        return Ok(());
    }
    let table = printed::table(subject, &rows, args.output == Some(TopForm::Wide));
    let mut grid = Grid::new(table.header, style());
    print(&match args.no_headers {
        true => grid.rows(&table.rows),
        false => grid.with_header(&table.rows),
    })
}

/// What ends us from outside.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Ends {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

async fn live(to: &To, args: &TopArgs, wanted: Wanted) -> Result<()> {
    let mut top = Top::new(Start {
        subject: wanted.subject,
        names: wanted.names,
        sort: wanted.sort,
        filter: args.filter.clone(),
        interval_ms: wanted.interval_ms,
        url: to.controller.clone(),
        size: (0, 0),
    });
    // who cannot be asked at all is told before there is a screen
    let controller = Controller::connect(to).await?;
    let question = top.question();
    let mut answers = feed::begin(&controller, &question).await?;
    let first = controller.next(&mut answers).await?;
    top.answer(first.ok_or_else(|| controller.ended())?, now());
    drop((answers, controller));

    let mut ends = Ends::listen()?;
    let (asks, questions) = watch::channel(question);
    // an answer that is being drawn, and no further: the next one is newer
    let (sender, mut news) = mpsc::channel(1);
    let feed = tokio::spawn(feed::follow(to.clone(), questions, sender));
    let mut screen = Screen::take(Palette {
        coloured: style().is_coloured(),
    })?;
    let (columns, lines) = screen.size()?;
    top.resize(columns, lines);
    let mut events = screen::events();
    let mut seconds = interval_at(Instant::now() + SECOND, SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stale = true;
    let ended = loop {
        if stale && let Err(error) = screen.draw(&top) {
            break Err(error);
        }
        let asked = tokio::select! {
            () = ends.wait() => break Ok(()),
            event = events.recv() => match event {
                Some(Ok(event)) => { stale = true; heed(&mut top, &event) }
                Some(Err(error)) => break Err(error).context("cannot read the terminal"),
                None => break Ok(()),
            },
            heard = news.recv() => { stale = hear(&mut top, heard); Asked::Nothing }
            _ = seconds.tick() => { stale = top.tick(now()); Asked::Nothing }
        };
        match asked {
            Asked::Nothing => {}
            Asked::Quit => break Ok(()),
            Asked::Suspend => {
                if let Err(error) = screen.suspend() {
                    break Err(error);
                }
            }
        }
        asks.send_if_modified(|question| {
            let next = top.question();
            let other = *question != next;
            *question = next;
            other
        });
    };
    feed.abort();
    ended
}

fn heed(top: &mut Top, event: &Event) -> Asked {
    match event {
        // terminals that tell of releases do so for keys that were heeded when they were pressed
        Event::Key(key) if key.kind != KeyEventKind::Release => top.key(key.code, key.modifiers),
        Event::Resize(columns, lines) => {
            top.resize(*columns, *lines);
            Asked::Nothing
        }
        _ => Asked::Nothing,
    }
}

/// Takes news. Says whether that is to be seen.
fn hear(top: &mut Top, heard: Option<News>) -> bool {
    match heard {
        // an answer to what is no longer asked would show other rows for a moment
        Some(News::Answer(question, _)) if *question != top.question() => return false,
        Some(News::Answer(_, answer)) => top.answer(answer, now()),
        Some(News::Lost(why)) => top.lost(why, now()),
        None => return false,
    }
    true
}
