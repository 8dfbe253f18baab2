//! What keys and answers do.

use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use super::super::order::{rank, window};
use super::super::state::Asked;
use super::*;

fn press(top: &mut Top, keys: &[KeyCode]) {
    for key in keys {
        assert_eq!(top.key(*key, KeyModifiers::NONE), Asked::Nothing);
    }
}

fn chosen(top: &Top) -> Option<&str> {
    top.view().chosen.as_deref()
}

#[test]
fn keys_end_it_and_stop_it() {
    let mut top = open(Subject::Services, (80, 24));
    let none = KeyModifiers::NONE;
    let control = KeyModifiers::CONTROL;
    for (code, modifiers, asked) in [
        (KeyCode::Char('q'), none, Asked::Quit),
        (KeyCode::Char('c'), control, Asked::Quit),
        (KeyCode::Char('z'), control, Asked::Suspend),
        (KeyCode::Char('x'), none, Asked::Nothing),
    ] {
        assert_eq!(top.key(code, modifiers), asked, "{code:?}");
    }
    // where text is typed it is a letter
    press(&mut top, &[KeyCode::Char('/'), KeyCode::Char('q')]);
    assert_eq!(top.view().filter, "q");
    assert_eq!(top.key(KeyCode::Char('c'), control), Asked::Quit);
}

#[test]
fn a_column_is_chosen_and_sorted_by_and_once_more_the_other_way_round() {
    let mut top = open(Subject::Services, (80, 24));
    assert_eq!(top.view().sort, by(Column::Connections));
    assert_eq!(names(&top)[..2], ["dns", "web"]);
    press(
        &mut top,
        &[KeyCode::Left, KeyCode::Left, KeyCode::Char('s')],
    );
    assert_eq!(
        (top.view().sort, &names(&top)[0][..]),
        (by(Column::Name), "api-gateway")
    );
    press(&mut top, &[KeyCode::Char('s')]);
    assert_eq!(names(&top)[0], "web");
    // the trend is no column to sort by
    press(&mut top, &[KeyCode::Right; 20]);
    assert_eq!(top.view().column, Some(Column::Imbalance));
    press(&mut top, &[KeyCode::Char('F')]);
    assert_eq!(names(&top)[..2], ["checkout", "web"]);
    press(&mut top, &[KeyCode::Char('r')]);
    assert_eq!(names(&top)[8..], ["web", "checkout"]);
}

#[test]
fn what_cannot_be_compared_is_last_either_way() {
    let mut top = open(Subject::Services, (80, 24));
    press(&mut top, &[KeyCode::Char('M')]);
    assert_eq!(names(&top)[8..], ["dns", "idle"]);
    press(&mut top, &[KeyCode::Char('M')]);
    assert_eq!(names(&top)[8..], ["dns", "idle"]);
}

#[test]
fn a_chosen_row_is_followed_where_it_goes() {
    let mut top = start(Subject::Services, (80, 10));
    top.answer(many(100), START);
    assert_eq!((top.lines(), chosen(&top)), (5, None));
    press(&mut top, &[KeyCode::Down]);
    let first = names(&top)[0].clone();
    assert_eq!(chosen(&top), Some(first.as_str()));
    press(&mut top, &[KeyCode::Char('r')]);
    assert_eq!(names(&top)[4], first);
    press(&mut top, &[KeyCode::Char('r')]);
    assert_eq!(names(&top)[0], first);
    press(&mut top, &[KeyCode::PageDown]);
    assert_eq!(
        (top.view().above, names(&top)[4].as_str()),
        (1, chosen(&top).expect("one"))
    );
    press(&mut top, &[KeyCode::End, KeyCode::Up]);
    assert_eq!(
        (top.view().above, names(&top)[3].as_str()),
        (95, chosen(&top).expect("one"))
    );
    press(&mut top, &[KeyCode::Home, KeyCode::Esc]);
    assert_eq!((chosen(&top), top.view().above), (None, 0));
}

#[test]
fn a_terminal_that_grows_or_shrinks_keeps_the_chosen_row_on_it() {
    let mut top = start(Subject::Services, (80, 25));
    top.answer(many(100), START);
    press(&mut top, &[KeyCode::Down; 20]);
    let row = chosen(&top).expect("one").to_owned();
    top.resize(80, 8);
    assert_eq!(names(&top).last(), Some(&row));
    top.resize(160, 205);
    assert_eq!((names(&top).len(), top.view().above), (100, 0));
}

#[test]
fn each_view_asks_for_what_it_shows_and_keeps_its_order() {
    let mut top = open(Subject::Services, (80, 24));
    let asks = |top: &Top| {
        let asked = top.question();
        (asked.services, asked.backends, asked.nodes)
    };
    assert_eq!(asks(&top), (vec![], false, false));
    press(&mut top, &[KeyCode::Char('A'), KeyCode::Tab]);
    assert_eq!(
        (top.subject, asks(&top)),
        (Subject::Backends, (vec![], true, false))
    );
    assert_eq!(top.view().sort, by(Column::Connections));
    press(&mut top, &[KeyCode::Char('3')]);
    assert_eq!(
        (top.subject, asks(&top)),
        (Subject::Nodes, (vec![], false, true))
    );
    press(&mut top, &[KeyCode::Tab]);
    assert_eq!(
        (top.subject, top.view().sort),
        (Subject::Services, by(Column::Active))
    );
    press(&mut top, &[KeyCode::BackTab]);
    assert_eq!(top.subject, Subject::Nodes);
}

#[test]
fn names_that_were_given_are_asked_for_and_nodes_are_picked_out() {
    let named = |subject, name: &str| {
        Top::new(Start {
            subject,
            names: vec![name.to_owned()],
            sort: Some(by(Column::Name)),
            filter: "e".to_owned(),
            interval_ms: 500,
            url: String::new(),
            size: (80, 24),
        })
    };
    assert_eq!(named(Subject::Backends, "web").question().services, ["web"]);
    let mut top = named(Subject::Nodes, "edge-b");
    top.answer(shop(0), START);
    assert_eq!(
        (names(&top), top.question().services),
        (vec!["edge-b".to_owned()], vec![])
    );
}

#[test]
fn a_filter_is_taken_back_as_it_was() {
    let mut top = open(Subject::Services, (80, 24));
    let typed = |text: &str| text.chars().map(KeyCode::Char).collect::<Vec<_>>();
    press(&mut top, &typed("/WEB"));
    press(&mut top, &[KeyCode::Enter]);
    assert_eq!(names(&top), ["web"]);
    press(&mut top, &typed("/x"));
    assert_eq!(names(&top), [""; 0]);
    press(&mut top, &[KeyCode::Esc]);
    assert_eq!((names(&top), &top.typing), (vec!["web".to_owned()], &None));
    press(&mut top, &[KeyCode::Esc]);
    assert_eq!(names(&top).len(), 10);
    press(&mut top, &typed("/!e"));
    press(&mut top, &[KeyCode::Enter]);
    assert_eq!(names(&top), ["dns"]);
    press(&mut top, &[KeyCode::Char('/')]);
    press(&mut top, &[KeyCode::Backspace; 3]);
    assert_eq!((names(&top).len(), &top.typing), (10, &None));
}

#[test]
fn what_is_paused_stands_still_and_goes_on_with_the_newest() {
    let mut top = open(Subject::Services, (80, 24));
    // the first line tells that it stands still
    let rows = |top: &Top| text(top).lines().skip(1).collect::<Vec<_>>().join("\n");
    let before = rows(&top);
    press(&mut top, &[KeyCode::Char('p')]);
    let mut later = shop(71);
    later.services.retain(|service| service.name == "web");
    top.answer(shop(70), START + 140_000);
    top.answer(later, START + 142_000);
    assert!(text(&top).contains("PAUSED"));
    assert_eq!(rows(&top), before);
    press(&mut top, &[KeyCode::Char('p')]);
    assert_eq!(names(&top), ["web"]);
}

#[test]
fn a_row_that_comes_back_and_others_beside_it_keep_what_they_were() {
    let mut top = open(Subject::Services, (80, 24));
    let trend = |top: &Top, name: &str| {
        let rows = &top.view().sheet.rows;
        let row = rows
            .iter()
            .find(|row| row.name == name)
            .expect("it is there");
        row.trend.picture(top.view().sheet.tick, 60)
    };
    let before = trend(&top, "web");
    let mut less = shop(70);
    less.services.retain(|service| service.name != "checkout");
    top.answer(less, START + 140_000);
    assert_eq!(
        trend(&top, "web").chars().take(59).collect::<String>(),
        before[3..]
    );
    top.answer(shop(71), START + 142_000);
    assert_eq!(trend(&top, "checkout").trim_start().chars().count(), 1);
}

#[test]
fn only_what_is_seen_is_sorted_and_it_is_what_sorting_all_gives() {
    let mut answer = many(1_000);
    let rows = Subject::Services.rows(&mut answer);
    let all: Vec<usize> = (0..rows.len()).collect();
    for sort in [
        by(Column::Connections),
        by(Column::Name),
        by(Column::Imbalance),
    ] {
        let mut sorted = all.clone();
        sorted.sort_by(|one, other| sort.order(&rows, *one, *other));
        for (from, before) in [
            (0, 10),
            (500, 520),
            (990, 2_000),
            (0, 1_000),
            (7, 7),
            (2_000, 2_010),
        ] {
            let expected = sorted.get(from..before.min(1_000)).unwrap_or_default();
            assert_eq!(
                window(&rows, &all, sort, from, before),
                expected,
                "{sort:?} {from}"
            );
        }
        assert_eq!(rank(&rows, &all, sort, sorted[321]), 321);
    }
}
