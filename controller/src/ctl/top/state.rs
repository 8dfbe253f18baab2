//! What is shown, and what keys and answers make of it. PURE.

use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use weir_proto::wire;

use super::columns::{Column, Place, Sort};
use super::order::{matching, rank, window};
use super::rows::{Row, Sheet, Subject};

/// Lines that are no rows: the views, the sums, one between, the heads, the keys.
const FRAME: u16 = 5;

/// What to show at the start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Start {
    pub(crate) subject: Subject,
    /// Names that were given: of services, or in the view of nodes of nodes. None: all.
    pub(crate) names: Vec<String>,
    pub(crate) sort: Option<Sort>,
    pub(crate) filter: String,
    pub(crate) interval_ms: u32,
    pub(crate) url: String,
    /// Columns and lines of the terminal.
    pub(crate) size: (u16, u16),
}

/// What a key asks of whoever draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To go on.
    Nothing,
    /// To end.
    Quit,
    /// To stop, and come back when the shell says so.
    Suspend,
}

/// How it stands with the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// It answers.
    Fine,
    /// It does not; what is shown is old.
    Lost {
        /// Since when, in Unix milliseconds.
        since_unix_ms: u64,
        why: String,
    },
}

/// How one subject is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    pub(crate) sheet: Sheet,
    pub(crate) sort: Sort,
    pub(crate) filter: String,
    /// The column that `s` sorts by; none: no column was chosen.
    pub(crate) column: Option<Column>,
    /// The row that was chosen, by name; none: none was, and the first ones are shown whichever they are.
    pub(crate) chosen: Option<String>,
    /// How many rows are above the screen.
    pub(crate) above: usize,
    /// The rows that pass the filter.
    pub(crate) matching: Vec<usize>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Top {
    pub(crate) subject: Subject,
    views: [View; 3],
    /// The services that were named. None: all.
    pub(crate) services: Vec<String>,
    nodes: Vec<String>,
    /// The service whose backends were asked for by Enter.
    pub(crate) focus: Option<String>,
    /// The filter as it was before it was typed over; none: nobody types.
    pub(crate) typing: Option<String>,
    pub(crate) paused: bool,
    /// The newest answer that came while it was paused.
    held: Option<wire::TrafficResponse>,
    pub(crate) help: bool,
    pub(crate) link: Link,
    pub(crate) interval_ms: u32,
    pub(crate) url: String,
    pub(crate) size: (u16, u16),
    /// Unix milliseconds.
    pub(crate) now: u64,
}

impl View {
    fn new(sort: Sort, filter: String) -> Self {
        Self {
            sheet: Sheet::default(),
            sort,
            filter,
            column: None,
            chosen: None,
            above: 0,
            matching: Vec::new(),
        }
    }

    /// Gives the place in the order of the row that was chosen; none: none was, or it is not there any more.
    fn place(&self) -> Option<usize> {
        let rows = &self.sheet.rows;
        let name = self.chosen.as_ref()?;
        let mut matching = self.matching.iter();
        let at = matching.find(|at| rows.get(**at).is_some_and(|row| row.name == *name))?;
        Some(rank(rows, &self.matching, self.sort, *at))
    }

    /// Gives the rows in the order from one place to before another.
    fn rows(&self, from: usize, before: usize) -> Vec<&Row> {
        let rows = &self.sheet.rows;
        let window = window(rows, &self.matching, self.sort, from, before);
        window.into_iter().filter_map(|at| rows.get(at)).collect()
    }

    fn choose(&mut self, place: usize) {
        let row = self.rows(place, place + 1);
        self.chosen = row.first().map(|row| row.name.clone());
    }

    /// Brings the screen to where the chosen row is, and leaves no line empty that need not be.
    fn settle(&mut self, lines: usize) {
        if let Some(place) = self.place() {
            self.above = self.above.min(place).max((place + 1).saturating_sub(lines));
        }
        self.above = self.above.min(self.matching.len().saturating_sub(lines));
    }
}

impl Top {
    /// Begins without anything to show.
    pub(crate) fn new(start: Start) -> Self {
        let Start {
            subject,
            names,
            sort,
            filter,
            interval_ms,
            url,
            size,
        } = start;
        let (services, nodes) = match subject {
            Subject::Nodes => (Vec::new(), names),
            Subject::Services | Subject::Backends => (names, Vec::new()),
        };
        let busiest = Sort::by(Column::Connections);
        let views = Subject::ALL.map(|each| match each == subject {
            true => View::new(sort.unwrap_or(busiest), filter.clone()),
            false => View::new(busiest, String::new()),
        });
        Self {
            subject,
            views,
            services,
            nodes,
            focus: None,
            typing: None,
            paused: false,
            held: None,
            help: false,
            link: Link::Fine,
            interval_ms,
            url,
            size,
            now: 0,
        }
    }

    /// Gives what to ask the controller for.
    pub(crate) fn question(&self) -> wire::TrafficRequest {
        wire::TrafficRequest {
            services: match &self.focus {
                Some(service) => vec![service.clone()],
                None => self.services.clone(),
            },
            backends: self.subject == Subject::Backends,
            nodes: self.subject == Subject::Nodes,
            watch: true,
            interval_ms: self.interval_ms,
        }
    }

    pub(crate) fn view(&self) -> &View {
        &self.views[self.subject as usize]
    }

    fn view_mut(&mut self) -> &mut View {
        &mut self.views[self.subject as usize]
    }

    /// Gives the rows on the screen.
    pub(crate) fn shown(&self) -> Vec<&Row> {
        let view = self.view();
        view.rows(view.above, view.above + self.lines())
    }

    /// Gives the columns on the screen.
    pub(crate) fn columns(&self) -> Vec<Place> {
        let view = self.view();
        let rows = view
            .matching
            .iter()
            .filter_map(|at| view.sheet.rows.get(*at));
        let longest = rows.map(|row| self.name(row).chars().count()).max();
        let width = usize::from(self.size.0);
        self.subject.layout(width, longest.unwrap_or(0))
    }

    /// Gives the name of a row as it is shown.
    pub(crate) fn name<'a>(&self, row: &'a Row) -> &'a str {
        match self.focus {
            Some(_) => row.short_name(),
            None => &row.name,
        }
    }

    /// Gives how many rows the screen has room for.
    pub(crate) fn lines(&self) -> usize {
        usize::from(self.size.1.saturating_sub(FRAME))
    }

    /// Takes an answer. `now` is in Unix milliseconds.
    pub(crate) fn answer(&mut self, answer: wire::TrafficResponse, now: u64) {
        self.now = now;
        self.link = Link::Fine;
        // a view that has shown nothing yet has nothing to stop at
        match self.paused && self.view().sheet.at_unix_ms.is_some() {
            true => self.held = Some(answer),
            false => self.take(answer),
        }
    }

    /// Takes that the controller cannot be asked. `now` is in Unix milliseconds.
    pub(crate) fn lost(&mut self, why: String, now: u64) {
        self.now = now;
        let since_unix_ms = match &self.link {
            Link::Lost { since_unix_ms, .. } => *since_unix_ms,
            Link::Fine => now,
        };
        self.link = Link::Lost { since_unix_ms, why };
    }

    /// Takes that time passes. Says whether that is to be seen.
    pub(crate) fn tick(&mut self, now: u64) -> bool {
        self.now = now;
        self.link != Link::Fine
    }

    /// Takes the size of the terminal.
    pub(crate) fn resize(&mut self, columns: u16, lines: u16) {
        self.size = (columns, lines);
        self.settle();
    }

    /// Takes a key.
    pub(crate) fn key(&mut self, code: KeyCode, modifiers: KeyModifiers) -> Asked {
        if modifiers.contains(KeyModifiers::CONTROL) {
            match code {
                KeyCode::Char('c') => return Asked::Quit,
                KeyCode::Char('z') => return Asked::Suspend,
                KeyCode::Char('d' | 'f') => self.press(KeyCode::PageDown),
                KeyCode::Char('u' | 'b') => self.press(KeyCode::PageUp),
                _ => return Asked::Nothing,
            }
        } else if self.help {
            // whatever is pressed was read
            self.help = false;
        } else if self.typing.is_some() {
            self.type_filter(code);
        } else if code == KeyCode::Char('q') {
            return Asked::Quit;
        } else {
            self.press(code);
        }
        self.settle();
        Asked::Nothing
    }

    fn take(&mut self, mut answer: wire::TrafficResponse) {
        answer
            .nodes
            .retain(|node| self.nodes.is_empty() || self.nodes.contains(&node.name));
        let at = answer.at_unix_ms;
        let interval = u64::from(self.interval_ms);
        let mut told = vec![];
        // services are told in every view, but all of them only while none is looked into
        if self.focus.is_none() {
            told.push(Subject::Services);
        }
        if self.subject != Subject::Services {
            told.push(self.subject);
        }
        for subject in told {
            let rows = subject.rows(&mut answer);
            let view = &mut self.views[subject as usize];
            view.sheet.take(rows, at, interval);
            view.matching = matching(&view.sheet.rows, &view.filter);
        }
        self.settle();
    }

    fn settle(&mut self) {
        let lines = self.lines();
        self.view_mut().settle(lines);
    }

    fn refilter(&mut self) {
        let view = self.view_mut();
        view.matching = matching(&view.sheet.rows, &view.filter);
        view.above = 0;
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = None,
            KeyCode::Esc => {
                let before = self.typing.take().unwrap_or_default();
                self.view_mut().filter = before;
                self.refilter();
            }
            KeyCode::Backspace => {
                // nothing is left to take away: as less has it, that ends it
                if self.view_mut().filter.pop().is_none() {
                    self.typing = None;
                }
                self.refilter();
            }
            KeyCode::Char(letter) => {
                self.view_mut().filter.push(letter);
                self.refilter();
            }
            _ => {}
        }
    }

    fn press(&mut self, code: KeyCode) {
        let page = isize::try_from(self.lines().max(2)).unwrap_or(isize::MAX);
        match code {
            KeyCode::Char('?') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('/' | '\\') | KeyCode::F(4) => {
                self.typing = Some(self.view().filter.clone());
            }
            KeyCode::Char('p' | ' ') => self.pause(),
            KeyCode::Char('1') => self.show(Subject::Services),
            KeyCode::Char('2') => self.show(Subject::Backends),
            KeyCode::Char('3') => self.show(Subject::Nodes),
            KeyCode::Tab => self.show_next(1),
            KeyCode::BackTab => self.show_next(2),
            KeyCode::Enter => self.look_into(),
            KeyCode::Esc => self.back(),
            KeyCode::Left | KeyCode::Char('h' | '<') => self.column(false),
            KeyCode::Right | KeyCode::Char('l' | '>') => self.column(true),
            KeyCode::Char('s') => self.sort_by_column(),
            KeyCode::Char('r' | 'R') => {
                let sort = &mut self.view_mut().sort;
                sort.reversed = !sort.reversed;
            }
            KeyCode::Up | KeyCode::Char('k') => self.walk(-1),
            KeyCode::Down | KeyCode::Char('j') => self.walk(1),
            KeyCode::PageUp => self.walk(-page),
            KeyCode::PageDown => self.walk(page),
            KeyCode::Home | KeyCode::Char('g') => self.walk(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.walk(isize::MAX),
            KeyCode::Char(letter) => {
                let by = self
                    .subject
                    .sortable()
                    .find(|column| column.key() == Some(letter));
                if let Some(column) = by {
                    self.sort_by(column);
                }
            }
            _ => {}
        }
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if let Some(answer) = self.held.take() {
            self.take(answer);
        }
    }

    fn show(&mut self, subject: Subject) {
        if self.focus.take().is_some() {
            // what was looked into is a part of what is shown now
            self.views[Subject::Backends as usize].sheet = Sheet::default();
            self.views[Subject::Backends as usize].matching = Vec::new();
        }
        self.subject = subject;
        // an answer to another question
        self.held = None;
    }

    fn show_next(&mut self, steps: usize) {
        let next = (self.subject as usize + steps) % Subject::ALL.len();
        self.show(Subject::ALL[next]);
    }

    /// Shows the backends of the service that was chosen.
    fn look_into(&mut self) {
        if self.subject != Subject::Services {
            return;
        }
        let view = self.view();
        // one that is gone has no backends
        let chosen = view.place().and(view.chosen.clone());
        if let Some(service) = chosen {
            self.show(Subject::Backends);
            self.focus = Some(service);
            let view = self.view_mut();
            *view = View::new(view.sort, String::new());
        }
    }

    /// Takes back what was chosen last.
    fn back(&mut self) {
        if self.focus.is_some() {
            return self.show(Subject::Services);
        }
        let view = self.view_mut();
        if !view.filter.is_empty() {
            view.filter.clear();
            return self.refilter();
        }
        view.chosen = None;
        view.column = None;
        view.above = 0;
    }

    fn column(&mut self, right: bool) {
        let columns = self.columns().into_iter().map(|place| place.column);
        let columns: Vec<Column> = columns.filter(|it| *it != Column::Trend).collect();
        let view = self.view_mut();
        let from = view.column.unwrap_or(view.sort.column);
        let at = columns.iter().position(|column| *column == from);
        let next = match (at, right) {
            (Some(at), true) => (at + 1).min(columns.len() - 1),
            (Some(at), false) => at.saturating_sub(1),
            (None, _) => 0,
        };
        view.column = columns.get(next).copied();
    }

    fn sort_by_column(&mut self) {
        let view = self.view();
        let column = view.column.unwrap_or(view.sort.column);
        self.sort_by(column);
    }

    /// Sorts by a column; by the one that it is sorted by already, the other way round.
    fn sort_by(&mut self, column: Column) {
        let view = self.view_mut();
        view.sort = match view.sort.column == column {
            true => Sort {
                reversed: !view.sort.reversed,
                ..view.sort
            },
            false => Sort::by(column),
        };
        view.column = Some(column);
    }

    /// Chooses the row so far below, or above. The first step from no row is to the first one on the screen.
    fn walk(&mut self, by: isize) {
        let view = self.view_mut();
        let last = view.matching.len().saturating_sub(1);
        let next = match (view.place(), by) {
            (None, 1 | -1) => view.above,
            (place, by) => place.unwrap_or(view.above).saturating_add_signed(by),
        };
        view.choose(next.min(last));
    }
}
