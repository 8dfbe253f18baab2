//! What a package of weir carries beside the programs: a page of the manual for each command, and what completes them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::aot::{Bash, Fish, Generator, Zsh};
use clap_complete::env::Shells;
use clap_mangen::Man;

use super::commands::shown;
use super::{Program, programs};

/// Where distributions keep what completes commands, from `/usr/share` on, and how they name it there.
const SHELLS: [(&str, &str, &str, &str); 3] = [
    ("bash", "bash-completion/completions", "", ""),
    ("zsh", "zsh/vendor-completions", "_", ""),
    ("fish", "fish/vendor_completions.d", "", ".fish"),
];

/// Writes both below a directory that stands for `/usr/share`.
pub fn packaging(share: &Path) -> Result<()> {
    for Program { command, section } in programs() {
        let mut command = command;
        command.build();
        pages(&command, command.get_name(), section, share)?;
        for (shell, directory, before, after) in SHELLS {
            let name = command.get_name().to_owned();
            let text = completion(&mut command, shell)?;
            let file = share.join(directory).join(format!("{before}{name}{after}"));
            put(&file, &text)?;
        }
    }
    Ok(())
}

/// Writes the page of a command and of each within it.
fn pages(command: &Command, name: &str, section: &str, share: &Path) -> Result<()> {
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    // the day on which it was made says nothing of it
    let man = man
        .title(name.to_owned())
        .section(section)
        .date("")
        .manual("weir");
    man.render(&mut page)
        .with_context(|| format!("the page of {name}"))?;
    let file = share.join(format!("man/man{section}/{name}.{section}"));
    put(&file, &page)?;
    for within in shown(command) {
        pages(
            within,
            &format!("{name}-{}", within.get_name()),
            section,
            share,
        )?;
    }
    Ok(())
}

/// Gives what completes a program: weirctl asks itself while it completes, the others know all from the start.
fn completion(command: &mut Command, shell: &str) -> Result<Vec<u8>> {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    if name == "weirctl" {
        let shells = Shells::builtins();
        let asks = shells
            .completer(shell)
            .context("a shell that is not known")?;
        asks.write_registration(
            weir_controller::ctl::COMPLETE,
            &name,
            &name,
            &name,
            &mut text,
        )?;
        return Ok(text);
    }
    match shell {
        "bash" => knows(Bash, command, &name, &mut text),
        "zsh" => knows(Zsh, command, &name, &mut text),
        _ => knows(Fish, command, &name, &mut text),
    }
    Ok(text)
}

fn knows(shell: impl Generator, command: &mut Command, name: &str, text: &mut Vec<u8>) {
    clap_complete::aot::generate(shell, command, name, text);
}

fn put(file: &Path, text: &[u8]) -> Result<()> {
    let doing = || format!("writing {}", file.display());
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory).with_context(doing)?;
    }
    fs::write(file, text).with_context(doing)
}
