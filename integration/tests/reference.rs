//! The reference under `deploy/reference` is what the sources say now, and misses nothing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use weir_integration::reference::{home, packaging, pages};

/// Variables of tests and benches, of builds, and of what is no program of weir.
const NOT_OURS: [&str; 10] = [
    // a shell tells by it which word it completes
    "_CLAP_COMPLETE_INDEX",
    "WEIR_CONFORMANCE",
    "WEIR_ETCD",
    "WEIR_FAULT",
    "WEIR_LOOPBACK",
    "WEIR_PLANT",
    "WEIR_SEEDS",
    "WEIR_GUARDED",
    "WEIR_LOCKDOWN",
    "WEIR_POSTROUTING",
];

fn on_disk() -> BTreeMap<String, String> {
    let entries = fs::read_dir(home()).expect("deploy/reference is there");
    let files = entries.map(|entry| {
        let entry = entry.expect("a file");
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, fs::read_to_string(entry.path()).expect("text"))
    });
    files.collect()
}

#[test]
fn the_reference_is_what_the_sources_say() {
    let (made, found) = (pages().expect("pages"), on_disk());
    let names: BTreeSet<&String> = made.keys().chain(found.keys()).collect();
    let differing: Vec<&String> = names
        .into_iter()
        .filter(|name| made.get(*name) != found.get(*name))
        .collect();
    let none: [&String; 0] = [];
    assert_eq!(
        differing, none,
        "deploy/reference is not what the sources say: run integration/run reference"
    );
}

/// Gives the text of each source of the programs, without their tests.
fn sources() -> Vec<String> {
    let mut texts = Vec::new();
    let mut waiting: Vec<_> = ["proto/src", "controller/src", "agent/src"]
        .map(|room| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(room))
        .into();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).expect("a room") {
            let path = entry.expect("a file").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !path.ends_with("tests.rs")
            {
                let text = fs::read_to_string(path).expect("text");
                let code = text
                    .split("#[cfg(test)]\nmod tests")
                    .next()
                    .unwrap_or_default();
                texts.push(code.to_owned());
            }
        }
    }
    texts
}

/// Gives what stands in quotes and is one word.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let word = |text: &&str| {
        let part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        !text.is_empty() && text.chars().all(part)
    };
    text.split('"').filter(word)
}

#[test]
fn every_variable_that_is_read_is_told() {
    let page = pages()
        .expect("pages")
        .remove("environment.md")
        .expect("a page");
    let missing: BTreeSet<String> = sources()
        .iter()
        .flat_map(|text| {
            let read = text.split("env::var").skip(1).filter_map(|rest| {
                let call = rest.split_once('(')?.1;
                call.strip_prefix('"')?.split('"').next()
            });
            let ours = quoted(text).filter(|word| {
                let upper = !word.contains(|letter: char| letter.is_ascii_lowercase());
                upper && (word.starts_with("WEIR_") || word.starts_with("OTEL_"))
            });
            read.chain(ours).map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|name| !NOT_OURS.contains(&name.as_str()) && name != "PATH")
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert_eq!(missing, BTreeSet::new(), "not in environment.md");
}

#[test]
fn every_number_that_is_named_is_told() {
    let page = pages()
        .expect("pages")
        .remove("metrics.md")
        .expect("a page");
    let told = |name: &str| {
        page.contains(&format!("`{name}`")) || page.contains(&format!("`{name}_total`"))
    };
    let missing: BTreeSet<String> = sources()
        .iter()
        .flat_map(|text| {
            let registered = text.split(".register(").skip(1).filter_map(|call| {
                let name = call.trim_start().strip_prefix('"')?.split('"').next()?;
                Some(format!("weir_controller_{name}"))
            });
            let whole = quoted(text).filter(|word| {
                let lower = !word.contains(|letter: char| letter.is_ascii_uppercase());
                lower
                    && word.starts_with("weir_")
                    && !["weir_controller", "weir_agent", "weir_proto"].contains(word)
            });
            let whole = whole.map(str::to_owned);
            registered.chain(whole).collect::<Vec<_>>()
        })
        .filter(|name| !told(name))
        .collect();
    assert_eq!(missing, BTreeSet::new(), "not in metrics.md");
}

#[test]
fn a_package_has_a_page_for_each_command_and_completes_each_program_in_each_shell() {
    let share = tempfile::tempdir().expect("a directory");
    packaging(share.path()).expect("written");
    let read = |name: &str| {
        fs::read_to_string(share.path().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let pages = pages().expect("pages");
    for (program, section) in [("weirctl", 1), ("weir-controller", 8), ("weir-agent", 8)] {
        let page = &pages[&format!("{program}.md")];
        let commands = page.lines().filter_map(|line| line.strip_prefix("## "));
        for command in commands {
            let name = command.replace(' ', "-");
            let manual = read(&format!("man/man{section}/{name}.{section}"));
            assert!(manual.contains(".SH NAME"), "{name}: {manual}");
            assert!(manual.contains(".SH OPTIONS"), "{name}: {manual}");
        }
        for file in [
            format!("bash-completion/completions/{program}"),
            format!("zsh/vendor-completions/_{program}"),
            format!("fish/vendor_completions.d/{program}.fish"),
        ] {
            assert!(read(&file).contains(program), "{file}");
        }
    }
}
