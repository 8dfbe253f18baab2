//! Every decoder on a bounded number of damaged inputs, always the same ones. `integration/run fuzz` looks further.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::thread;

use weir_integration::fuzz::{Mutator, TARGETS, Target, hex};

/// A few seconds for all decoders together, unoptimised.
const INPUTS: u64 = 20_000;

/// Checks an input, and names it when what must hold does not.
fn check(target: &Target, bytes: &[u8]) -> bool {
    let checked = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(bytes)));
    checked.unwrap_or_else(|why| {
        eprintln!("{} does not hold for {}", target.name, hex(bytes));
        panic::resume_unwind(why)
    })
}

#[test]
fn every_seed_can_be_decoded() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for seed in seeds {
            assert!(
                check(target, &seed),
                "{} refuses {}",
                target.name,
                hex(&seed)
            );
        }
    }
}

#[test]
fn what_must_hold_holds_for_twenty_thousand_damaged_inputs_of_each_decoder() {
    let (left, right) = TARGETS.split_at(TARGETS.len() / 2);
    thread::scope(|scope| {
        for half in [left, right] {
            scope.spawn(|| half.iter().for_each(damage));
        }
    });
}

fn damage(target: &Target) {
    let mut mutator = Mutator::new((target.seeds)(), 1);
    let mut decoded = 0;
    for _ in 0..INPUTS {
        let bytes = mutator.damaged();
        if check(target, &bytes) {
            decoded += 1;
            mutator.keep(bytes);
        }
    }
    // what can only be refused shows nothing of what is encoded again; nor does what is never refused, of refusing
    println!("{}: {decoded} of {INPUTS} could be decoded", target.name);
    assert!(
        decoded > INPUTS / 200 && decoded < INPUTS,
        "{}: {decoded} of {INPUTS} could be decoded",
        target.name
    );
}

#[test]
fn every_decoder_has_a_target_for_the_fuzzer_and_no_other_has() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let targets = fs::read_dir(home.join("fuzz_targets")).expect("the targets");
    let mut files: Vec<(String, String)> = targets
        .map(|file| {
            let path = file.expect("a target").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            let text = fs::read_to_string(&path).expect("a source file");
            (name.into_owned(), text)
        })
        .collect();
    files.sort();
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    let found: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(found, names);
    let manifest = fs::read_to_string(home.join("Cargo.toml")).expect("the manifest");
    for (name, text) in files {
        assert!(text.contains(&format!("check(\"{name}\", ")), "{name}.rs");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
