//! The screen. PURE.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::columns::{Alarm, Column, GUTTER, Place};
use super::rows::{Detail, Row, Subject};
use super::state::{Link, Top};
use super::trend::KEPT;
use super::units::{bytes, count, grouped, rate};
use crate::ctl::render::{cut, human};

/// What stands between two parts of a line.
const BETWEEN: &str = "   ";

/// The keys that matter most, from the left; the last ones go first.
const HINTS: &str = "? help  q quit  / filter  s sort  r reverse  \u{2190}\u{2192} column  p pause  Enter backends  Tab view";

const KEYS: [(&str, &str); 14] = [
    ("1 2 3, Tab", "services, backends, nodes"),
    (
        "\u{2191} \u{2193} j k",
        "choose a row; also PgUp PgDn Home End",
    ),
    ("Enter", "the backends of the service chosen"),
    ("Esc", "back: from those, the filter, what was chosen"),
    ("/", "filter by name as you type; !TEXT: all others"),
    ("\u{2190} \u{2192} < >", "choose a column"),
    ("s", "sort by it; once more: the other way round"),
    ("N C F B", "sort by name, conn/s, fail/s, bytes/s"),
    ("A I M T", "by active, inactive, imbalance, total"),
    ("r", "sort the other way round"),
    ("p, Space", "pause, and go on"),
    ("Ctrl-Z", "back to the shell; fg comes back"),
    ("?", "this help; any key closes it"),
    ("q, Ctrl-C", "quit"),
];

const WORDS: [&str; 7] = [
    "IMBAL  services: the busiest backend over the mean",
    "       backends, nodes: this one over the mean",
    "FAIL/S connections that were not answered or refused",
    "INACT  connections that are not established",
    "CT%    how full the connection tracking is",
    "DROPS  what it lost since the controller started",
    "!      comes to a backend that never answers",
];

/// With colours, or without.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Palette {
    pub(crate) coloured: bool,
}

impl Palette {
    fn alarm(self, alarm: Alarm) -> Style {
        let colour = match alarm {
            Alarm::None => return Style::new(),
            Alarm::Warning => Color::Yellow,
            Alarm::Bad => Color::Red,
        };
        match self.coloured {
            true => Style::new().fg(colour),
            false => Style::new().add_modifier(Modifier::BOLD),
        }
    }
}

/// Draws all of it.
pub(crate) fn draw(top: &Top, palette: Palette, screen: &mut Buffer) {
    let mut sheet = Sheet {
        top,
        palette,
        screen,
    };
    sheet.views();
    sheet.sums();
    sheet.message();
    sheet.table();
    sheet.foot();
    if top.help {
        sheet.help();
    }
}

struct Sheet<'a> {
    top: &'a Top,
    palette: Palette,
    screen: &'a mut Buffer,
}

impl Sheet<'_> {
    fn width(&self) -> usize {
        usize::from(self.screen.area.width)
    }

    fn height(&self) -> usize {
        usize::from(self.screen.area.height)
    }

    /// Writes text, as far as the screen goes.
    fn put(&mut self, x: usize, y: usize, text: &str, style: Style) {
        let room = self.width().saturating_sub(x);
        if room == 0 || y >= self.height() {
            return;
        }
        if let (Ok(x), Ok(y)) = (u16::try_from(x), u16::try_from(y)) {
            self.screen.set_stringn(x, y, text, room, style);
        }
    }

    fn paint(&mut self, y: usize, style: Style) {
        if let (true, Ok(y)) = (y < self.height(), u16::try_from(y)) {
            let line = Rect::new(0, y, self.screen.area.width, 1);
            self.screen.set_style(line, style);
        }
    }

    /// Which views there are, and which it is; on the right whom it shows and how often.
    fn views(&mut self) {
        let mut x = 0;
        for (number, subject) in (1..).zip(Subject::ALL) {
            let word = match (&self.top.focus, subject) {
                (Some(service), Subject::Backends) => format!("backends of {service}"),
                _ => subject.plural().to_owned(),
            };
            let (text, style) = match subject == self.top.subject {
                true => (
                    format!("[{number} {word}]"),
                    Style::new().add_modifier(Modifier::BOLD),
                ),
                false => (format!(" {number} {word} "), Style::new()),
            };
            self.put(x, 0, &text, style);
            x += text.chars().count() + 1;
        }
        let every = human(Duration::from_millis(self.top.interval_ms.into()));
        let (pace, style) = match self.top.paused {
            true => (
                "PAUSED".to_owned(),
                Style::new().add_modifier(Modifier::REVERSED),
            ),
            false => (format!("every {every}"), Style::new()),
        };
        let whom = format!("{}{BETWEEN}", self.top.url);
        let at = self.width().saturating_sub(pace.chars().count());
        if at > x {
            self.put(at, 0, &pace, style);
        }
        let at = at.saturating_sub(whom.chars().count());
        if at > x {
            self.put(at, 0, &whom, Style::new().add_modifier(Modifier::DIM));
        }
    }

    /// How many there are, and what they have together.
    fn sums(&mut self) {
        let view = self.top.view();
        if view.sheet.at_unix_ms.is_none() {
            return;
        }
        let (all, some) = (view.sheet.rows.len(), view.matching.len());
        let noun = match all {
            1 => self.top.subject.singular(),
            _ => self.top.subject.plural(),
        };
        let first = match view.filter.strip_prefix('!') {
            Some(text) if !text.is_empty() => {
                format!(
                    "{} of {} {noun} without \"{text}\"",
                    grouped(some),
                    grouped(all)
                )
            }
            None if !view.filter.is_empty() => {
                format!(
                    "{} of {} {noun} with \"{}\"",
                    grouped(some),
                    grouped(all),
                    view.filter
                )
            }
            _ => format!("{} {noun}", grouped(all)),
        };
        let sort = view.sort.column;
        // a terminal that is narrow may not have the column that it is sorted by
        let first = match self.top.columns().iter().any(|place| place.column == sort) {
            true => first,
            false => format!("{first} by {}", sort.title()),
        };
        let rows = || {
            view.matching
                .iter()
                .filter_map(|at| view.sheet.rows.get(*at))
        };
        let sum = |of: fn(&Row) -> f64| rows().map(of).sum::<f64>();
        let total = |of: fn(&Row) -> u64| rows().map(of).fold(0, u64::saturating_add);
        let parts = [
            first,
            format!(
                "{} conn/s",
                rate(sum(|row| row.counters.connections_per_second))
            ),
            format!("{}/s", bytes(sum(Row::bytes_per_second))),
            format!(
                "{} active",
                count(total(|row| row.counters.active_connections))
            ),
            format!(
                "{} inact",
                count(total(|row| row.counters.inactive_connections))
            ),
            format!(
                "{} fail/s",
                rate(sum(|row| row.counters.failed_connections_per_second))
            ),
        ];
        let mut x = GUTTER;
        for part in parts {
            let wide = part.chars().count();
            if x > GUTTER && x + wide > self.width() {
                break;
            }
            self.put(x, 1, &part, Style::new());
            x += wide + BETWEEN.len();
        }
    }

    /// That what is shown is old, and why.
    fn message(&mut self) {
        if let Link::Lost { since_unix_ms, why } = &self.top.link {
            let since = Duration::from_millis(self.top.now.saturating_sub(*since_unix_ms));
            // whole seconds: what was lost just now was lost for 0s
            let since = human(Duration::from_secs(since.as_secs()));
            let text = format!("controller lost for {since}, trying again: {why}");
            let text = cut(&text, self.width().saturating_sub(GUTTER));
            let style = self.palette.alarm(Alarm::Bad).add_modifier(Modifier::BOLD);
            self.put(GUTTER, 2, &text, style);
        }
    }

    fn table(&mut self) {
        let places = self.top.columns();
        self.paint(3, Style::new().add_modifier(Modifier::REVERSED));
        for place in &places {
            self.head(*place);
        }
        let rows = self.top.shown();
        let view = self.top.view();
        if rows.is_empty() {
            let text = match (view.sheet.at_unix_ms, view.sheet.rows.is_empty()) {
                (None, _) => "waiting for the controller",
                (_, true) => &format!("no {}", self.top.subject.plural()),
                (_, false) => "nothing has such a name: Esc takes the filter away",
            };
            self.put(GUTTER, 5, text, Style::new());
        }
        for (y, row) in (4..).zip(rows) {
            self.row(y, row, &places);
        }
    }

    fn head(&mut self, place: Place) {
        let view = self.top.view();
        let mut style = Style::new().add_modifier(Modifier::REVERSED);
        if view.column == Some(place.column) {
            style = style.add_modifier(Modifier::UNDERLINED | Modifier::BOLD);
        }
        let span = Duration::from_millis(self.top.interval_ms.into());
        let span = span * u32::try_from(KEPT).unwrap_or(0);
        let title = match place.column {
            Column::Trend => format!("{} {}", place.column.title(), human(span)),
            column => column.title().to_owned(),
        };
        let wide = title.chars().count();
        let at = match place.column.is_number() {
            true => place.at + place.width.saturating_sub(wide),
            false => place.at,
        };
        self.put(at, 3, &title, style);
        if view.sort.column == place.column {
            let mark = if view.sort.is_ascending() {
                "▲"
            } else {
                "▼"
            };
            // numbers stand on the right: before them is the gap
            let at = match place.column.is_number() {
                true => at.saturating_sub(1),
                false => at + wide,
            };
            self.put(at, 3, mark, Style::new().add_modifier(Modifier::REVERSED));
        }
    }

    fn row(&mut self, y: usize, row: &Row, places: &[Place]) {
        let view = self.top.view();
        let chosen = view.chosen.as_ref() == Some(&row.name);
        let mark = match (chosen, row.is_silent()) {
            (true, _) => ">",
            (false, true) => "!",
            (false, false) => " ",
        };
        self.put(0, y, mark, self.palette.alarm(Column::Name.alarm(row)));
        for place in places {
            let text = match place.column {
                Column::Name => shortened(self.top.name(row), row, place.width),
                Column::Trend => row.trend.picture(view.sheet.tick, place.width),
                column => {
                    let text = column.text(row);
                    format!("{text:>width$}", width = place.width)
                }
            };
            self.put(
                place.at,
                y,
                &text,
                self.palette.alarm(place.column.alarm(row)),
            );
        }
        if self.top.link != Link::Fine {
            self.paint(y, Style::new().add_modifier(Modifier::DIM));
        }
        if chosen {
            self.paint(y, Style::new().add_modifier(Modifier::REVERSED));
        }
    }

    /// The keys, or what is typed.
    fn foot(&mut self) {
        let y = self.height().saturating_sub(1);
        if y < 4 {
            return;
        }
        if self.top.typing.is_some() {
            let text = format!("/{}_", self.top.view().filter);
            return self.put(0, y, &text, Style::new());
        }
        let mut hints = HINTS;
        while hints.chars().count() > self.width().saturating_sub(GUTTER) {
            match hints.rsplit_once("  ") {
                Some((fewer, _)) => hints = fewer,
                None => return,
            }
        }
        self.put(GUTTER, y, hints, Style::new().add_modifier(Modifier::DIM));
    }

    fn help(&mut self) {
        let keys = KEYS.iter().map(|(keys, what)| format!("{keys:<11} {what}"));
        let words = WORDS.iter().map(|word| (*word).to_owned());
        let lines: Vec<String> = keys.chain([String::new()]).chain(words).collect();
        let wide = lines.iter().map(|line| line.chars().count()).max();
        let wide = wide.unwrap_or(0);
        let x = self.width().saturating_sub(wide + 4) / 2;
        let y = self.height().saturating_sub(lines.len() + 2) / 2;
        let rule = "─".repeat(wide + 2);
        let mut framed = vec![format!("┌{rule}┐")];
        framed.extend(lines.iter().map(|line| format!("│ {line:<wide$} │")));
        framed.push(format!("└{rule}┘"));
        for (y, line) in (y..).zip(framed) {
            self.put(x, y, &line, Style::reset());
        }
    }
}

/// Cuts a name so that it fits: of a backend its service's, as long as the address fits with some of it.
fn shortened(name: &str, row: &Row, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_owned();
    }
    let place = match row.detail {
        Detail::Backend { .. } if name == row.name => row.short_name(),
        _ => return cut(name, width),
    };
    // the slash, and at least a letter and what stands for the rest
    let room = width.saturating_sub(place.chars().count() + 1);
    match room {
        2.. => format!("{}/{place}", cut(row.peers(), room)),
        _ => cut(name, width),
    }
}
