use super::super::compile::Part;
use super::super::samples::{Alone, backend, flat, vip, virtual_service};
use super::history::{LONGEST_HISTORY, MOST_CHANGES};
use super::*;

fn claim(items: &[Item]) -> Part<'_> {
    Part {
        claimed: items.iter().collect(),
        ..Part::default()
    }
}

fn release(items: &[Item]) -> Part<'static> {
    Part {
        released: items.iter().map(Item::key).collect(),
        ..Part::default()
    }
}

fn edit(item: &Item) -> Part<'_> {
    Part {
        edited: vec![item],
        ..Part::default()
    }
}

fn change(view: &mut Alone, parts: &[Part<'_>]) {
    view.change(parts);
}

fn view(items: &[Item]) -> Alone {
    Alone::new(items)
}

/// What comes and goes; none: all is sent.
fn delta(view: &mut Alone, held: Digest) -> Option<(Vec<Item>, Vec<ItemKey>)> {
    match view.view_mut().catch_up(Some(held)) {
        CatchUp::Delta(content) => Some(flat(&content)),
        CatchUp::Nothing | CatchUp::Snapshot(_) => None,
    }
}

fn whole(view: &mut Alone, held: Option<Digest>) -> Option<Vec<Item>> {
    match view.view_mut().catch_up(held) {
        CatchUp::Snapshot(content) => Some(flat(&content).0),
        CatchUp::Nothing | CatchUp::Delta(_) => None,
    }
}

#[test]
fn preparing_changes_nothing() {
    let view = view(&[vip("10.1.0.1")]);
    let before = (view.view().generation(), view.view().digest());
    assert!(view.prepare(&[claim(&[vip("10.1.0.2")])]).is_some());
    assert_eq!((view.view().generation(), view.view().digest()), before);
}

#[test]
fn an_item_is_held_as_long_as_one_service_claims_it() {
    let shared = [vip("10.1.0.1")];
    let mut view = Alone::new(&[]);
    change(&mut view, &[claim(&shared)]);
    assert_eq!(view.view().generation(), Generation(1));
    change(&mut view, &[claim(&shared)]);
    change(&mut view, &[release(&shared)]);
    assert_eq!(
        view.view().generation(),
        Generation(1),
        "nothing changed for the node"
    );
    assert!(view.view().state().get(&shared[0].key()).is_some());
    change(&mut view, &[release(&shared)]);
    assert_eq!(view.view().generation(), Generation(2));
    assert!(view.view().state().items().is_empty());
}

#[test]
fn an_item_that_passes_from_one_service_to_another_never_goes() {
    let mine = [virtual_service("10.1.0.1:80", "web")];
    let yours = [virtual_service("10.1.0.1:80", "shop")];
    let mut view = view(&mine);
    change(&mut view, &[claim(&yours), release(&mine)]);
    assert_eq!(view.view().state().get(&mine[0].key()), Some(&yours[0]));
    assert_eq!(view.view().generation(), Generation(2));
}

#[test]
fn a_view_is_restored_with_its_generation_if_it_is_what_it_was() {
    let items = [vip("10.1.0.1"), vip("10.1.0.1"), vip("10.1.0.2")];
    let digest = view(&items).view().digest();
    let same = Alone::left(&items, Some((Generation(7), digest)));
    assert_eq!(same.view().generation(), Generation(7));
    let other = Alone::left(&items[..1], Some((Generation(7), digest)));
    assert_eq!(other.view().generation(), Generation(8));
    let new = Alone::new(&[]);
    assert_eq!(new.view().generation(), Generation(0));
}

#[test]
fn a_node_catches_up_by_what_changed_since() {
    let one = backend("10.1.0.1:80", "10.0.0.1:80", 1);
    let two = backend("10.1.0.1:80", "10.0.0.2:80", 1);
    let gone = [vip("10.1.0.9")];
    let heavier = backend("10.1.0.1:80", "10.0.0.1:80", 9);
    let mut view = view(&[one, gone[0].clone()]);
    let held = view.view().digest();
    change(&mut view, &[claim(std::slice::from_ref(&two))]);
    change(&mut view, &[release(&gone), edit(&heavier)]);
    assert_eq!(
        delta(&mut view, held),
        Some((vec![heavier, two], vec![gone[0].key()]))
    );
    let digest = view.view().digest();
    assert_eq!(view.view_mut().catch_up(Some(digest)), CatchUp::Nothing);
}

#[test]
fn a_node_that_holds_what_nobody_remembers_gets_a_snapshot() {
    let items = [vip("10.1.0.1")];
    let mut view = view(&items);
    let unknown = Some(Digest::from_bytes([9; 16]));
    assert_eq!(whole(&mut view, unknown), Some(items.to_vec()));
    assert_eq!(whole(&mut view, None), Some(items.to_vec()));
    let mut empty = Alone::new(&[]);
    assert_eq!(empty.view_mut().catch_up(None), CatchUp::Nothing);
}

#[test]
fn the_history_is_bounded_in_generations_and_in_changes() {
    let (one, two) = ([vip("10.1.0.1")], [vip("10.1.0.2")]);
    let mut view = view(&one);
    let first = view.view().digest();
    // a state that comes back is known by its newest generation, so make each one new
    for weight in 0..LONGEST_HISTORY as u32 {
        let item = [backend("10.1.0.1:80", "10.0.0.1:80", weight + 1)];
        let part = if weight == 0 {
            claim(&item)
        } else {
            edit(&item[0])
        };
        change(&mut view, &[part]);
        assert!(view.view().common.history().len() <= LONGEST_HISTORY);
    }
    assert!(whole(&mut view, Some(first)).is_some());

    let before = view.view().digest();
    let many: Vec<Item> = (0..=MOST_CHANGES as u32)
        .map(|number| {
            Item::Vip(weir_proto::model::Vip::new(
                std::net::Ipv4Addr::from(number + 1).into(),
            ))
        })
        .collect();
    change(&mut view, &[claim(&many)]);
    assert!(whole(&mut view, Some(before)).is_some());
    let before = view.view().digest();
    change(&mut view, &[claim(&two)]);
    assert!(delta(&mut view, before).is_some());
}

#[test]
fn a_generation_is_lifted_and_never_lowered() {
    let mut view = view(&[vip("10.1.0.1")]);
    view.view_mut().raise(Generation(9));
    view.view_mut().raise(Generation(3));
    assert_eq!(view.view().generation(), Generation(9));
    change(&mut view, &[claim(&[vip("10.1.0.2")])]);
    assert_eq!(view.view().generation(), Generation(10));
}
