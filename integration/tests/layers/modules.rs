//! Which files the compiler never sees: those that no `mod` names, on the way from a target's root.

use std::collections::BTreeSet;

use crate::code::{code, part_of_a_word};
use crate::tree::Tree;

/// The files that are neither a target's root nor named by a `mod` of a file that is reached.
pub(crate) fn orphans(tree: &Tree) -> Vec<String> {
    let mut waiting: Vec<&str> = tree.keys().map(String::as_str).filter(is_root).collect();
    let mut reached: BTreeSet<String> = waiting.iter().map(|file| file.to_string()).collect();
    while let Some(file) = waiting.pop() {
        for name in declared(&code(&tree[file])) {
            let path = format!("{}/{name}.rs", home(file));
            let known = tree.get_key_value(&path);
            if let Some((path, _)) = known.filter(|(path, _)| reached.insert(path.to_string())) {
                waiting.push(path);
            }
        }
    }
    let lost = tree.keys().filter(|file| !reached.contains(*file));
    lost.map(|file| format!("{file} is named by no mod"))
        .collect()
}

/// Whether cargo takes a file for the root of a target by its place alone.
fn is_root(file: &&str) -> bool {
    let parts: Vec<&str> = file.split('/').collect();
    matches!(
        parts[..],
        [_, "build.rs"]
            | [_, "src", "lib.rs" | "main.rs"]
            | [_, "src", "bin", _]
            | [_, "src", "bin", _, "main.rs"]
            | [_, "tests" | "benches" | "examples", _]
            | [_, "tests" | "benches" | "examples", _, "main.rs"]
            // cargo-fuzz takes them by name from its own manifest, which decoders.rs compares
            | ["integration", "fuzz", "fuzz_targets", _]
    )
}

/// The directory where the modules that a file names are.
fn home(file: &str) -> &str {
    if is_root(&file) {
        file.rsplit_once('/').map_or("", |(dir, _)| dir)
    } else {
        file.trim_end_matches(".rs")
    }
}

/// The names that `mod NAME;` declares.
fn declared(code: &str) -> Vec<&str> {
    let after_mod = code.match_indices("mod ").filter_map(|(at, keyword)| {
        let whole = !code[..at].ends_with(part_of_a_word);
        whole.then_some(code[at + keyword.len()..].trim_start())
    });
    after_mod
        .filter_map(|rest| {
            let (name, _) = rest.split_once(';')?;
            name.chars().all(part_of_a_word).then_some(name)
        })
        .collect()
}
