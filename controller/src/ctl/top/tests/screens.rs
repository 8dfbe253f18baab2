//! Golden screens.

use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use ratatui::style::{Color, Modifier};

use super::*;

const NARROW: (u16, u16) = (80, 18);
const WIDE: (u16, u16) = (160, 18);

/// Holds the screen against a file of `tests/ctl/screens`.
#[track_caller]
fn assert_screen(top: &Top, name: &str) {
    let screens = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ctl/screens");
    let golden = std::fs::read_to_string(format!("{screens}/{name}.txt"));
    let golden = golden.expect("a golden screen of that name");
    let text = text(top);
    assert!(
        text == golden,
        "{name}: the screen is\n{text}and not\n{golden}"
    );
}

fn press(top: &mut Top, keys: &str) {
    for key in keys.chars() {
        top.key(KeyCode::Char(key), KeyModifiers::NONE);
    }
}

#[test]
fn services_at_80_and_at_160_columns() {
    assert_screen(&open(Subject::Services, NARROW), "services-80");
    assert_screen(&open(Subject::Services, WIDE), "services-160");
}

#[test]
fn backends_at_80_and_at_160_columns() {
    assert_screen(&open(Subject::Backends, NARROW), "backends-80");
    assert_screen(&open(Subject::Backends, WIDE), "backends-160");
}

#[test]
fn nodes_at_80_and_at_160_columns() {
    assert_screen(&open(Subject::Nodes, NARROW), "nodes-80");
    assert_screen(&open(Subject::Nodes, WIDE), "nodes-160");
}

#[test]
fn a_terminal_that_is_narrow_or_low_shows_what_it_has_room_for() {
    assert_screen(&open(Subject::Services, (46, 10)), "services-46");
    for columns in 0..40 {
        for lines in 0..12 {
            let mut top = open_once((columns, lines));
            text(&top);
            press(&mut top, "?");
            text(&top);
        }
    }
}

fn open_once(size: (u16, u16)) -> Top {
    let mut top = start(Subject::Services, size);
    top.answer(shop(0), START);
    top
}

#[test]
fn the_help_lies_over_the_rows() {
    let mut top = open(Subject::Services, (80, 30));
    press(&mut top, "?");
    assert_screen(&top, "help");
    press(&mut top, "x");
    assert!(!top.help);
}

#[test]
fn what_is_filtered_and_sorted_is_told() {
    let mut top = open(Subject::Services, NARROW);
    press(&mut top, "B/se");
    assert_screen(&top, "filter-typed");
    top.key(KeyCode::Enter, KeyModifiers::NONE);
    press(&mut top, "rj");
    assert_screen(&top, "filter");
}

#[test]
fn a_filter_that_nothing_passes_says_how_to_go_on() {
    let mut top = open(Subject::Services, NARROW);
    press(&mut top, "/nowhere");
    top.key(KeyCode::Enter, KeyModifiers::NONE);
    assert_screen(&top, "filter-nothing");
}

#[test]
fn before_the_first_answer_and_without_services_it_says_so() {
    let mut top = start(Subject::Services, (80, 10));
    assert_screen(&top, "waiting");
    let nothing = wire::TrafficResponse {
        at_unix_ms: START,
        ..wire::TrafficResponse::default()
    };
    top.answer(nothing, START);
    assert_screen(&top, "empty");
}

#[test]
fn a_controller_that_is_lost_is_told_and_the_rows_stay() {
    let mut top = open(Subject::Services, NARROW);
    let why = "Connection refused";
    top.lost(why.to_owned(), START + 140_000);
    top.lost(why.to_owned(), START + 141_000);
    assert!(top.tick(START + 145_300));
    assert_screen(&top, "lost");
    top.answer(shop(75), START + 150_000);
    assert!(!top.tick(START + 151_000));
    assert!(!text(&top).contains("lost"));
}

#[test]
fn the_backends_of_a_service_are_looked_into() {
    let mut top = open(Subject::Services, NARROW);
    press(&mut top, "N");
    press(&mut top, "jj");
    top.key(KeyCode::Enter, KeyModifiers::NONE);
    let asked = wire::TrafficRequest {
        services: vec!["checkout".to_owned()],
        backends: true,
        nodes: false,
        watch: true,
        interval_ms: 2_000,
    };
    assert_eq!(top.question(), asked);
    let mut answer = shop(71);
    answer
        .backends
        .retain(|backend| backend.service == "checkout");
    answer.services.retain(|service| service.name == "checkout");
    top.answer(answer, START + 142_000);
    press(&mut top, "p");
    assert_screen(&top, "looked-into");
    top.key(KeyCode::Esc, KeyModifiers::NONE);
    assert_eq!((top.subject, top.shown().len()), (Subject::Services, 10));
}

#[test]
fn ten_thousand_services_are_counted_and_the_first_of_them_shown() {
    let mut top = start(Subject::Services, NARROW);
    top.answer(many(10_000), START);
    press(&mut top, "G");
    assert_screen(&top, "many");
}

#[test]
fn colour_tells_what_fails_and_none_is_used_where_nobody_wants_it() {
    let top = open(Subject::Services, NARROW);
    let colours = |coloured: bool| {
        let buffer = buffer(&top, coloured);
        let cells = buffer.content().iter();
        let mut colours: Vec<Color> = cells.flat_map(|cell| [cell.fg, cell.bg]).collect();
        colours.sort_by_key(|colour| colour.to_string());
        colours.dedup();
        colours
    };
    assert_eq!(colours(true), [Color::Red, Color::Reset, Color::Yellow]);
    assert_eq!(colours(false), [Color::Reset]);
    let plain = buffer(&top, false);
    let bold = plain
        .content()
        .iter()
        .filter(|cell| cell.modifier.contains(Modifier::BOLD));
    assert!(bold.count() > 10);
}
