//! The reference under `deploy/reference`, made of what the programs themselves say: their command lines, the comments of
//! the language, and the numbers they show.
//!
//! A page depends on nothing but the sources: no time, no environment, no terminal.

mod commands;
mod environment;
mod language;
mod metrics;
mod packaging;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory as _};

pub use packaging::packaging;

/// What stands at the top of each page.
const MADE: &str = "<!-- Made by `integration/run reference` of what the sources say; changed there, not here. -->\n\n";

/// A program by its command line, and in which section of the manual it belongs.
struct Program {
    command: Command,
    section: &'static str,
}

fn programs() -> [Program; 3] {
    [
        Program {
            command: weir_controller::ctl::command(),
            section: "1",
        },
        Program {
            command: weir_controller::config::Config::command(),
            section: "8",
        },
        Program {
            command: weir_agent::config::Cli::command(),
            section: "8",
        },
    ]
}

/// Gives each page by the name of its file.
pub fn pages() -> Result<BTreeMap<String, String>> {
    let language = language::Language::read()?;
    let mut pages = BTreeMap::new();
    let mut index = "# Reference\n\n".to_owned();
    let mut add = |name: &str, what: &str, text: String| {
        index += &format!("- [{name}]({name}): {what}\n");
        pages.insert(name.to_owned(), format!("{MADE}{text}"));
    };
    for Program { command, .. } in programs() {
        let name = format!("{}.md", command.get_name());
        let about = command.get_about().map(ToString::to_string);
        add(
            &name,
            &about.unwrap_or_default(),
            commands::page(command.clone()),
        );
    }
    add(
        "api.md",
        "every call, message and field of weir.v1",
        language.page(),
    );
    add(
        "errors.md",
        "why a call is refused: every reason",
        language.errors()?,
    );
    add(
        "metrics.md",
        "every number that the programs show",
        metrics::page(),
    );
    add(
        "environment.md",
        "every variable that the programs read",
        environment::page(programs().map(|program| program.command)),
    );
    pages.insert("README.md".to_owned(), format!("{MADE}{index}"));
    Ok(pages)
}

/// Gives where the pages are in the tree.
pub fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/reference")
}

/// Writes the pages, and takes away those that are none any more.
pub fn write(directory: &Path) -> Result<()> {
    let doing = || format!("writing {}", directory.display());
    let pages = pages()?;
    fs::create_dir_all(directory).with_context(doing)?;
    for entry in fs::read_dir(directory).with_context(doing)? {
        let entry = entry.with_context(doing)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !pages.contains_key(&name) {
            fs::remove_file(entry.path()).with_context(doing)?;
        }
    }
    for (name, text) in pages {
        fs::write(directory.join(name), text).with_context(doing)?;
    }
    Ok(())
}

/// Puts text into a cell of a table: lines that belong together are one, paragraphs stay apart.
fn cell(text: &str) -> String {
    let paragraphs = text.split("\n\n");
    let joined = paragraphs.map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let joined: Vec<String> = joined.collect();
    let text = joined.join("<br><br>");
    text.replace('|', "\\|")
        .replace("<br>", "\u{0}")
        .replace('<', "&lt;")
        .replace('\u{0}', "<br>")
}
