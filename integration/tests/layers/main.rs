//! The law of the house, in milliseconds: where each line of weir may live. Every rule is a function from
//! the tree of sources to what breaks it, held against the workspace here and against small trees that
//! break it in `tests.rs`.

mod code;
mod modules;
mod rules;
#[cfg(test)]
mod tests;
mod tree;

use tree::Tree;

fn holds(rule: impl Fn(&Tree) -> Vec<String>) {
    let broken = rule(&tree::workspace());
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn pure_rooms_open_no_door_and_read_no_clock() {
    holds(rules::pure_rooms);
}

#[test]
fn sled_is_known_to_the_room_of_durable_records_alone() {
    holds(rules::sled);
}

#[test]
fn tls_is_known_to_the_room_of_who_is_at_the_other_end_alone() {
    holds(rules::tls);
}

#[test]
fn unsafe_code_stays_in_the_one_file_that_is_audited() {
    holds(rules::audited);
}

#[test]
fn netlink_is_known_to_the_linux_kernel_room_alone() {
    holds(rules::netlink);
}

#[test]
fn wire_types_stay_at_the_doors() {
    holds(rules::wire);
}

#[test]
fn what_the_controller_answers_has_a_reason() {
    holds(rules::reasons);
}

#[test]
fn every_source_file_is_named_by_a_mod_or_is_the_root_of_a_target() {
    holds(modules::orphans);
}

#[test]
fn no_file_passes_six_hundred_lines() {
    holds(rules::ceiling);
}

#[test]
fn no_room_has_a_name_that_says_nothing() {
    holds(rules::names);
}

#[test]
fn the_workspace_is_really_looked_at() {
    let tree = tree::workspace();
    for file in [
        "proto/src/lib.rs",
        "controller/src/lib.rs",
        "agent/src/lib.rs",
        "integration/tests/layers/main.rs",
    ] {
        assert!(tree.contains_key(file), "{file} is not in the tree");
    }
}
